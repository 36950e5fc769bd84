"""Results as text: for a terminal, for Markdown, for a spreadsheet. Every function returns a string."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from itertools import groupby
from statistics import median

from infbench.results import Comparison, HistoryRow
from infbench.stats import Estimate

_WIDTH = 200  # wide enough for every table: a number must never be cut or wrapped
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))


def format_duration(seconds: float | None) -> str:
    """Return a duration with three digits and the unit that suits it; a dash for None.

    Examples
    --------
    >>> format_duration(1.386), format_duration(0.0725), format_duration(4.2e-5), format_duration(None)
    ('1.39 s', '72.5 ms', '42.0 us', '-')
    """
    if seconds is None:
        return "-"
    scale, unit = next(((scale, unit) for scale, unit in _UNITS if seconds >= scale), _UNITS[-1])
    value = seconds / scale
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}"


def format_interval(estimate: Estimate) -> str:
    """Return the bounds of an interval: ``"1.83 to 1.90"``."""
    return f"{estimate.low:.2f} to {estimate.high:.2f}"


def verdict(comparison: Comparison) -> str:
    """Say in a sentence whether the runner pays.

    A speedup counts only where its whole interval lies outside the interval of the noise floor.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    str
    """
    speedup, noise = comparison.speedup_estimate, comparison.noise_floor
    subject = f"{comparison.runner} with {comparison.n_processes} " + (
        "process" if comparison.n_processes == 1 else "processes"
    )
    figures = f"{speedup.value:.2f} times as fast as one process (95 % interval {format_interval(speedup)})"
    if speedup.low > max(noise.high, 1):
        return f"{subject} pays: {figures}, efficiency {comparison.efficiency:.0%}."
    if speedup.high < min(noise.low, 1):
        return f"{subject} does not pay: {figures}."
    return f"{subject} makes no difference that can be told from noise: {figures}; noise {format_interval(noise)}."


def comparison_text(comparisons: Sequence[Comparison]) -> str:
    """Return the report for a terminal and for ``results.txt``.

    Parameters
    ----------
    comparisons : sequence of Comparison
        At least one; all of the same estimator, rows and batches, each of another runner.

    Returns
    -------
    str
        Plain text, ends with a line feed.
    """
    first = comparisons[0]
    blocks = [
        f"{first.model}.{first.method} on {first.data or 'the given'} rows: one process against several",
        "\n".join(verdict(comparison) for comparison in comparisons),
        _text_table(_COMPARISON_COLUMNS, [_comparison_cells(comparison) for comparison in comparisons]),
        "\n".join(_explanations(first)),
        "\n".join(f"{name + ':':<20}{value}" for name, value in _conditions(first)),
    ]
    return "\n\n".join(blocks) + "\n"


def comparison_markdown(comparisons: Sequence[Comparison]) -> str:
    """Return the report as Markdown, fit for an issue or a pull request.

    Parameters
    ----------
    comparisons : sequence of Comparison
        See `comparison_text`.

    Returns
    -------
    str
    """
    verdicts = "\n".join(f"- {verdict(comparison)}" for comparison in comparisons)
    table = _markdown_table(_COMPARISON_COLUMNS, [_comparison_cells(comparison) for comparison in comparisons])
    conditions = "\n".join(f"- {name}: {value}" for name, value in _conditions(comparisons[0]))
    return f"{verdicts}\n\n{table}\n\n{conditions}\n"


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
    rows = [
        {
            "model": comparison.model,
            "data": comparison.data,
            "runner": comparison.runner,
            "method": comparison.method,
            "n_samples": comparison.n_samples,
            "n_features": comparison.n_features,
            "batch_size": comparison.batch_size,
            "n_processes": comparison.n_processes,
            "repeat": comparison.repeat,
            "random_state": comparison.random_state,
            "serial_s": comparison.serial_median_s,
            "parallel_s": comparison.parallel_median_s,
            "serial_default_threads_s": _default_threads_s(comparison),
            "start_s": comparison.start_s,
            "first_call_s": comparison.first_call_s,
            "speedup": comparison.speedup,
            "speedup_low": comparison.speedup_interval[0],
            "speedup_high": comparison.speedup_interval[1],
            "efficiency": comparison.efficiency,
            "noise_low": comparison.noise_floor.low,
            "noise_high": comparison.noise_floor.high,
            "n_cpus_usable": comparison.machine.n_cpus_usable,
            "load_1min": comparison.machine.load_1min,
            "python": comparison.machine.python,
            **comparison.machine.versions,
        }
        for comparison in comparisons
    ]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def history_text(rows: Sequence[HistoryRow]) -> str:
    """Return the speedup by release set, a table for each machine, model and runner.

    Parameters
    ----------
    rows : sequence of HistoryRow
        In the order in which they should stand; those that belong to one table follow each other.

    Returns
    -------
    str
    """
    blocks = []
    for (machine, model, runner), group in groupby(rows, key=lambda row: (row.machine, row.model, row.runner)):
        members = list(group)
        one = members[0]
        title = (
            f"{model}, {runner} with {one.n_processes} processes, "
            f"{one.n_samples:,} rows in batches of {one.batch_size:,}, on {machine}"
        )
        blocks.append(f"{title}\n{_text_table(_HISTORY_COLUMNS, [_history_cells(row) for row in members])}")
    blocks.append(
        "speedup = serial time / parallel time, median of paired ratios with its 99 % interval; "
        "noise = serial / serial,\nmeasured in the same way; efficiency = speedup / processes."
    )
    return "\n\n".join(blocks) + "\n"


_COMPARISON_COLUMNS = (
    "runner",
    "processes",
    "single process",
    "multi process",
    "rows/s",
    "speedup",
    "95 % interval",
    "efficiency",
    "noise floor",
)


def _comparison_cells(comparison: Comparison) -> tuple[str, ...]:
    return (
        comparison.runner,
        str(comparison.n_processes),
        format_duration(comparison.serial_median_s),
        format_duration(comparison.parallel_median_s),
        f"{comparison.n_samples / comparison.parallel_median_s:,.0f}",
        f"{comparison.speedup:.2f}",
        format_interval(comparison.speedup_estimate),
        f"{comparison.efficiency:.0%}",
        format_interval(comparison.noise_floor),
    )


_HISTORY_COLUMNS = (
    "scikit-learn",
    "numpy",
    "joblib",
    "serial",
    "parallel",
    "speedup",
    "99 % interval",
    "efficiency",
    "noise",
)


def _history_cells(row: HistoryRow) -> tuple[str, ...]:
    return (
        row.versions.get("scikit-learn", "-"),
        row.versions.get("numpy", "-"),
        row.versions.get("joblib", "-"),
        format_duration(row.serial_s),
        format_duration(row.parallel_s),
        f"{row.speedup.value:.2f}",
        format_interval(row.speedup),
        f"{row.efficiency:.0%}",
        "-" if row.noise_floor is None else format_interval(row.noise_floor),
    )


def _default_threads_s(comparison: Comparison) -> float | None:
    return median(comparison.serial_default_threads_s) if comparison.serial_default_threads_s else None


def _explanations(comparison: Comparison) -> Iterable[str]:
    yield "Medians of alternating runs. Single process: one process with one inner thread (BLAS, OpenMP)."
    over_default = comparison.speedup_over_default_threads
    if over_default is not None:
        threads = max(comparison.machine.inner_threads.values())
        yield (
            f"Single process with the libraries' default of {threads} inner threads: "
            f"{format_duration(_default_threads_s(comparison))}; "
            f"{comparison.runner} is {over_default.value:.2f} times as fast ({format_interval(over_default)})."
        )
    yield "Noise floor: single process against itself, measured in the same way."
    yield (
        f"Cold, once: start {format_duration(comparison.start_s)}, "
        f"first call {format_duration(comparison.first_call_s)} ({comparison.runner})."
    )


def _conditions(comparison: Comparison) -> Iterable[tuple[str, str]]:
    machine = comparison.machine
    yield "n_samples", f"{comparison.n_samples:,}"
    yield "n_features", f"{comparison.n_features:,}"
    yield "n_processes", str(comparison.n_processes)
    yield "batch_size", f"{comparison.batch_size:,}"
    yield "repeat", str(comparison.repeat)
    yield "seed", str(comparison.random_state)
    yield "CPUs", f"{machine.n_cpus_usable} usable of {machine.n_cpus}, {machine.cpu}, load {machine.load_1min:.2f}"
    yield "system", f"{machine.system}, Python {machine.python}"
    yield "versions", ", ".join(f"{library} {version}" for library, version in machine.versions.items())


def _text_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console(file=io.StringIO(), width=_WIDTH, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] + ["---:"] * (len(columns) - 1), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
