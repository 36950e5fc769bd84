"""Comparisons as text: for a terminal, for Markdown, for a spreadsheet."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from statistics import median

from infbench.results import Comparison, loops_at_once
from infbench.stats import Estimate
from infbench.tables import (
    PROSE_WIDTH,
    format_bytes,
    format_duration,
    format_interval,
    format_ratio,
    markdown_list,
    markdown_table,
    text_list,
    text_table,
)


def verdict(comparison: Comparison) -> str:
    """Say whether the runner pays, as `Comparison.pays` decides, and give the evidence.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    str
    """
    return " ".join(_claim_and_evidence(comparison))


_ANSWERS = {True: "It pays", False: "It does not pay", None: "Inconclusive"}


def subject(comparison: Comparison) -> str:
    """Return the runner as a sentence names it."""
    # Not "2 processes": what computes in the runner `native` are threads.
    return f"{comparison.runner} with n_processes={comparison.n_processes}"


def _claim_and_evidence(comparison: Comparison) -> list[str]:
    speedup, noise = comparison.speedup_estimate, comparison.noise_floor
    times = format_ratio(speedup.value)
    over_default = comparison.speedup_over_default_threads
    intervals = f"95 % interval {format_interval(speedup)}; noise floor {format_interval(noise)}"
    told = [
        f"{_ANSWERS[comparison.pays]}: {subject(comparison)} is {times} times as fast as a single process",
        f"({intervals}), efficiency {comparison.efficiency:.0%}.",
    ]
    if over_default is not None:
        other = _value_and_interval(over_default)
        told.append(f"Against a single process with the libraries' default threads: {other}.")
    loops = comparison.loop_speedup
    if loops is not None and loops.high < _WHOLE * comparison.n_processes:
        gain = f"gain no more than {_value_and_interval(loops)}"
        told.append(f"On these CPUs, {comparison.n_processes} plain loops at once {gain}.")
    n_batches = -(-comparison.n_samples // comparison.batch_size)
    may_be_smaller = comparison.batch_size > 1 and comparison.runner not in _SHARE_OUT_NO_BATCHES
    if may_be_smaller and n_batches < comparison.n_processes:
        batches = f"{n_batches} batch{'es' if n_batches > 1 else ''}"
        told.append(f"Only {batches} to share out: take a smaller batch_size.")
    return told


_SHARE_OUT_NO_BATCHES = {"native", "forest", "auto"}

_WHOLE = 0.9
"""If plain loops gain less than this share of their number, the report says so: few runners can gain more then."""


def _value_and_interval(estimate: Estimate) -> str:
    return f"{format_ratio(estimate.value)} ({format_interval(estimate)})"


def comparison_text(comparisons: Sequence[Comparison]) -> str:
    """Return the report for a terminal and for ``results.txt``.

    Parameters
    ----------
    comparisons : sequence of Comparison
        At least one; all of the same estimator and rows, each of a different runner.

    Returns
    -------
    str
        Plain text, ends with a line feed.
    """
    blocks = [
        "\n".join("\n  ".join(_claim_and_evidence(comparison)) for comparison in comparisons),
        text_table(_TIME_COLUMNS, [_time_cells(comparison) for comparison in comparisons]),
        textwrap.fill(_TIME_NOTE, PROSE_WIDTH),
        *_pause_blocks(comparisons, text_table, partial(textwrap.fill, width=PROSE_WIDTH)),
        text_table(_OTHER_COLUMNS, [_other_cells(comparison) for comparison in comparisons]),
        textwrap.fill(_other_note(comparisons[0]), PROSE_WIDTH),
        text_list(conditions(comparisons)),
    ]
    return "\n\n".join(blocks) + "\n"


def comparison_markdown(comparisons: Sequence[Comparison]) -> str:
    """Return the report as Markdown, suitable for an issue or a pull request.

    Parameters
    ----------
    comparisons : sequence of Comparison
        See `comparison_text`.

    Returns
    -------
    str
    """
    blocks = [
        "\n".join(f"- {verdict(comparison)}" for comparison in comparisons),
        markdown_table(_TIME_COLUMNS, [_time_cells(comparison) for comparison in comparisons]),
        _TIME_NOTE,
        *_pause_blocks(comparisons, markdown_table, str),
        markdown_table(_OTHER_COLUMNS, [_other_cells(comparison) for comparison in comparisons]),
        _other_note(comparisons[0]),
        markdown_list(conditions(comparisons)),
    ]
    return "\n\n".join(blocks) + "\n"


def comparison_csv(comparisons: Sequence[Comparison]) -> str:
    """Return a table of plain numbers, a row for each runner; durations in seconds.

    Parameters
    ----------
    comparisons : sequence of Comparison

    Returns
    -------
    str
        CSV with a header.
    """
    rows = [_csv_row(comparison) for comparison in comparisons]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


_TIME_COLUMNS = (
    "runner",
    "processes",
    "single",
    "multi",
    "speedup",
    "95 % interval",
    "efficiency",
    "noise floor",
    "rows/s",
)
_TIME_NOTE = (
    "single: time of one process with one inner thread (BLAS, OpenMP). multi: time of the runner. Medians of runs that "
    "took turns; speedup: single / multi, round by round. efficiency: speedup / processes. noise floor: single / "
    "single, measured in the same way. rows/s: of the runner."
)


def _time_cells(comparison: Comparison) -> tuple[str, ...]:
    return (
        comparison.runner,
        str(comparison.n_processes),
        format_duration(comparison.serial_median_s),
        format_duration(comparison.parallel_median_s),
        format_ratio(comparison.speedup),
        format_interval(comparison.speedup_estimate),
        f"{comparison.efficiency:.0%}",
        format_interval(comparison.noise_floor),
        f"{_rows_per_s(comparison):,.0f}",
    )


PAUSE_COLUMNS = ("single, after a pause", "multi, after a pause", "speedup", "95 % interval")
PAUSE_NOTE = (
    "after a pause: one run by itself, 50 ms after the last one. Workers sleep by then, and so may CPUs. All other "
    "times are of runs that follow each other."
)


def _pause_blocks(
    comparisons: Sequence[Comparison],
    table: Callable[[Sequence[str], Sequence[Sequence[str]]], str],
    prose: Callable[[str], str],
) -> list[str]:
    rows = [(one.runner, *pause_cells(one)) for one in comparisons if one.paused_serial_s]
    return [table(("runner", *PAUSE_COLUMNS), rows), prose(PAUSE_NOTE)] if rows else []


def pause_cells(comparison: Comparison) -> tuple[str, ...]:
    """Return the cells for `PAUSE_COLUMNS`, of a comparison that was measured after pauses too."""
    speedup = comparison.speedup_after_pause
    assert speedup is not None  # it is measured
    return (
        format_duration(median(comparison.paused_serial_s)),
        format_duration(median(comparison.paused_parallel_s)),
        format_ratio(speedup.value),
        format_interval(speedup),
    )


_OTHER_COLUMNS = (
    "runner",
    "start-up",
    "first call",
    "memory",
    "single, default threads",
    "speedup over that",
    "95 % interval",
)


def _other_cells(comparison: Comparison) -> tuple[str, ...]:
    over_default = comparison.speedup_over_default_threads
    return (
        comparison.runner,
        format_duration(comparison.start_s),
        format_duration(comparison.first_call_s),
        format_bytes(comparison.added_pss_bytes),
        format_duration(_default_threads_s(comparison)),
        "-" if over_default is None else format_ratio(over_default.value),
        "-" if over_default is None else format_interval(over_default),
    )


def _other_note(comparison: Comparison) -> str:
    threads = max(comparison.machine.inner_threads.values(), default=1)
    default_threads = (
        "single, default threads: one process with the threads that the libraries and the estimator's own n_jobs use "
        f"by default; BLAS and OpenMP use {threads}."
        if comparison.serial_default_threads_s
        else "The libraries use one inner thread by default, so there is no other single-process time."
    )
    return (
        "start-up and first call: cold, once each; a runner below another may find libraries loaded already. All other "
        f"times are warm. memory: what the runner added to that of this process and its descendants. {default_threads}"
    )


def _csv_row(comparison: Comparison) -> dict[str, object]:
    return {
        "model": comparison.model,
        "data": comparison.data,
        "runner": comparison.runner,
        "method": comparison.method,
        "n_samples": comparison.n_samples,
        "n_features": comparison.n_features,
        "batch_size": comparison.batch_size,
        "serial_batch_size": comparison.serial_batch_size,
        "n_processes": comparison.n_processes,
        "repeat": comparison.repeat,
        "random_state": comparison.random_state,
        "serial_s": comparison.serial_median_s,
        "parallel_s": comparison.parallel_median_s,
        "rows_per_s": _rows_per_s(comparison),
        "pays": comparison.pays,
        **_figure("speedup", comparison.speedup_estimate),
        "efficiency": comparison.efficiency,
        **_figure("noise_floor", comparison.noise_floor),
        **_figure("loop_speedup", comparison.loop_speedup),
        **_figure("speedup_after_pause", comparison.speedup_after_pause),
        "start_s": comparison.start_s,
        "first_call_s": comparison.first_call_s,
        "added_pss_bytes": comparison.added_pss_bytes,
        "serial_default_threads_s": _default_threads_s(comparison),
        **_figure("speedup_over_default_threads", comparison.speedup_over_default_threads),
        "n_cpus_usable": comparison.machine.n_cpus_usable,
        "load_1min": comparison.machine.load_1min,
        "python": comparison.machine.python,
        **comparison.machine.versions,
    }


def _figure(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    value, (low, high) = (None, (None, None)) if estimate is None else (estimate.value, estimate.bounds)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _rows_per_s(comparison: Comparison) -> float:
    return comparison.n_samples / comparison.parallel_median_s


def _default_threads_s(comparison: Comparison) -> float | None:
    return median(comparison.serial_default_threads_s) if comparison.serial_default_threads_s else None


def conditions(comparisons: Sequence[Comparison]) -> Iterable[tuple[str, str]]:
    """Yield what was measured, where and with what, as pairs of a name and a text."""
    comparison = comparisons[0]
    machine = comparison.machine
    yield "model", comparison.model
    yield "method", comparison.method
    yield "data", comparison.data or "given"
    yield "n_samples", ", ".join(dict.fromkeys(f"{one.n_samples:,}" for one in comparisons))
    yield "n_features", f"{comparison.n_features:,}"
    yield "n_processes", _of_each(comparisons, "n_processes")
    at_once = any(one.batch_size != one.serial_batch_size == one.n_samples for one in comparisons)
    yield "batch_size", _of_each(comparisons, "batch_size") + "; single: all rows at once" * at_once
    n_rounds = [one.repeat for one in comparisons]
    yield "repeat", str(max(n_rounds)) if min(n_rounds) == max(n_rounds) else f"{min(n_rounds)} to {max(n_rounds)}"
    yield "seed", str(comparison.random_state)
    yield "CPUs", machine.cpus
    n_loops, gains = loops_at_once(comparisons)
    if gains:
        least = min(gains, key=lambda gain: gain.value)
        yield "CPUs at once", f"{n_loops} plain loops gain {_value_and_interval(least)}"
    yield "load", "unknown" if machine.load_1min is None else f"{machine.load_1min:.2f} (mean of the minute before)"
    yield "system", f"{machine.system}, Python {machine.python}"
    yield "versions", machine.libraries


def _of_each(comparisons: Sequence[Comparison], name: str) -> str:
    """Return the number that all runners share, or each runner's if they differ."""
    numbers = {f"{getattr(one, name):,} ({one.runner})": f"{getattr(one, name):,}" for one in comparisons}
    return next(iter(numbers.values())) if len(set(numbers.values())) == 1 else ", ".join(numbers)
