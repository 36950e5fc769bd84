"""From how many rows on a runner pays: several numbers of rows side by side, as text and as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from infbench.report import PAUSE_COLUMNS, PAUSE_NOTE, conditions, pause_cells, subject
from infbench.results import Comparison
from infbench.stats import break_even
from infbench.tables import (
    PROSE_WIDTH,
    format_duration,
    format_interval,
    format_ratio,
    markdown_list,
    markdown_table,
    text_list,
    text_table,
)


def sizes_text(comparisons: Sequence[Comparison]) -> str:
    """Return the answer and a table for each runner, with a row for each number of rows.

    Parameters
    ----------
    comparisons : sequence of Comparison
        At least one; all of the same estimator, and those of one runner each with a different number of rows.

    Returns
    -------
    str
        Plain text, ends with a line feed.
    """
    return _sizes_report(comparisons, text_table, partial(textwrap.fill, width=PROSE_WIDTH), text_list)


def sizes_markdown(comparisons: Sequence[Comparison]) -> str:
    """Return what `sizes_text` does, as Markdown."""
    return _sizes_report(comparisons, markdown_table, str, markdown_list)


def _sizes_report(
    comparisons: Sequence[Comparison],
    table: Callable[[Sequence[str], Sequence[Sequence[str]]], str],
    prose: Callable[[str], str],
    listed: Callable[[Iterable[tuple[str, str]]], str],
) -> str:
    blocks = []
    for runner in dict.fromkeys(comparison.runner for comparison in comparisons):
        of_runner = sorted((one for one in comparisons if one.runner == runner), key=_n_samples)
        blocks += [prose(_claim(of_runner)), table(_COLUMNS, [_cells(one) for one in of_runner])]
        paused = [(f"{one.n_samples:,}", *pause_cells(one)) for one in of_runner if one.paused_serial_s]
        if paused:
            blocks.append(table(("rows", *PAUSE_COLUMNS), paused))
    blocks.append(prose(_NOTE))
    if any(one.paused_serial_s for one in comparisons):
        blocks.append(prose(PAUSE_NOTE))
    # The table already has the batch size of each.
    blocks.append(listed((name, value) for name, value in conditions(comparisons) if name != "batch_size"))
    return "\n\n".join(blocks) + "\n"


def _claim(comparisons: Sequence[Comparison]) -> str:
    """Say from how many rows on a runner pays; the comparisons are sorted by number of rows."""
    who = subject(comparisons[0])
    answers = [(one.n_samples, one.pays) for one in comparisons]
    by_answer = {
        wanted: ", ".join(f"{n_samples:,}" for n_samples, answer in answers if answer is wanted)
        for wanted in (True, False, None)
    }
    fewest, most = comparisons[0].n_samples, comparisons[-1].n_samples
    if not by_answer[True] and not by_answer[None]:
        return f"{who} pays with none of these numbers of rows."
    if not by_answer[True]:
        rest = f", and does not pay with {by_answer[False]}" if by_answer[False] else ""
        return f"{who} is inconclusive with {by_answer[None]} rows{rest}."
    threshold = break_even({n_samples: answer is True for n_samples, answer in answers})
    if threshold is None:
        but = "but not with" if answers[-1][1] is False else "and is inconclusive with"
        return f"{who} pays with {by_answer[True]} rows, {but} {most:,}, the most that were measured."
    if threshold == fewest:
        return f"{who} pays from {fewest:,} rows on, the fewest that were measured."
    return f"{who} pays from {threshold:,} rows on."


_COLUMNS = ("rows", "batch", "single", "multi", "speedup", "95 % interval", "noise floor", "over default", "pays")
_NOTE = (
    "batch: rows of a batch of the runner; a single process gets the same, or all rows at once if no batch_size was "
    "given. single: time of one process with one inner thread (BLAS, OpenMP). multi: time of the runner. Medians of "
    "runs that took turns; speedup: single / multi, round by round. noise floor: single / single, measured in the same "
    "way. over default: interval of the speedup over a single process with the libraries' default threads, if these "
    "are more than one. It pays where both intervals lie above that of the noise floor, and above 1."
)


def _n_samples(comparison: Comparison) -> int:
    return comparison.n_samples


def _cells(comparison: Comparison) -> tuple[str, ...]:
    over_default = comparison.speedup_over_default_threads
    return (
        f"{comparison.n_samples:,}",
        f"{comparison.batch_size:,}",
        format_duration(comparison.serial_median_s),
        format_duration(comparison.parallel_median_s),
        format_ratio(comparison.speedup),
        format_interval(comparison.speedup_estimate),
        format_interval(comparison.noise_floor),
        "-" if over_default is None else format_interval(over_default),
        {True: "yes", False: "no", None: "inconclusive"}[comparison.pays],
    )
