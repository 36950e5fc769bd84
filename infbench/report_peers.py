"""All runners side by side, as text and as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from statistics import geometric_mean, median

from infbench.results import Comparison, Peer, loops_at_once
from infbench.stats import Estimate
from infbench.tables import PROSE_WIDTH, format_bytes, format_duration, format_ratio, markdown_table, text_table


def peers_text(peers: Sequence[Peer]) -> str:
    """Return a table for each model, with a row for each runner, and the geometric means over all models.

    Parameters
    ----------
    peers : sequence of Peer
        By model.

    Returns
    -------
    str
        Plain text, ends with a line feed.
    """
    prose = map(partial(textwrap.fill, width=PROSE_WIDTH), [*_problems(peers), *_notes(peers)])
    return "\n\n".join([*_tables(peers, text_table, str.upper), *prose]) + "\n"


def peers_markdown(peers: Sequence[Peer]) -> str:
    """Return what `peers_text` does, as Markdown, beginning with what the figures mean."""
    return "\n\n".join([*_notes(peers), *_tables(peers, markdown_table, "### {}".format), *_problems(peers)]) + "\n"


def _tables(
    peers: Sequence[Peer],
    table: Callable[[Sequence[str], Sequence[Sequence[str]]], str],
    title: Callable[[str], str],
) -> Iterator[str]:
    sizes = list(dict.fromkeys(_size(comparison) for peer in peers for comparison in peer.comparisons))
    for model, group in groupby(peers, key=lambda peer: peer.model):
        members = list(group)
        columns = ("runner", *(f"{n_samples:,} / {batch:,}" for n_samples, batch in sizes), "start-up", "memory")
        rows = [*_serial_rows(members, sizes), *(_peer_cells(peer, sizes) for peer in members)]
        yield f"{title(model)}\n\n{table(columns, rows)}"
    means = list(_mean_rows(peers))
    if means:
        yield f"{title('all models')}\n\n{table(_MEAN_COLUMNS, means)}"


def _problems(peers: Sequence[Peer]) -> Iterator[str]:
    yield from dict.fromkeys(f"{peer.runner}: {peer.problem}" for peer in peers if peer.problem)


def _notes(peers: Sequence[Peer]) -> Iterator[str]:
    yield _PEERS_NOTE
    measured = [comparison for peer in peers for comparison in peer.comparisons]
    if measured:
        yield " ".join([_conditions(measured), *_told_of_loops(measured)])


_PEERS_NOTE = (
    "Columns: rows / rows of a batch. Figures: serial time / runner's time, median of paired rounds, with its 95 % "
    "interval. noise floor: serial time / serial time, measured in the same way, the widest of all runners. "
    "start-up: to the first answer, of the first size. memory: what the runner added, at most. after a pause: single "
    "runs 50 ms after the last one, if they take less than 0.1 s, so over fewer cells for a slow runner. A dash: not "
    "measured."
)


def _conditions(comparisons: Sequence[Comparison]) -> str:
    one = comparisons[0]
    machine = one.machine
    n_processes = max(comparison.n_processes for comparison in comparisons)  # that of the serial runner is always 1
    but = " (native: threads in place of processes)" if any(c.runner == "native" for c in comparisons) else ""
    return (
        f"Measured with n_processes={n_processes} and one inner thread in each{but}, seed {one.random_state}, on "
        f"{machine.n_cpus_usable} usable CPUs of {machine.n_cpus} ({machine.cpu or 'unknown model'}): "
        f"{machine.system}, Python {machine.python}, {machine.libraries}."
    )


def _told_of_loops(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Say what plain loops have gained, which shows what the CPUs were good for, and how much that varied."""
    n_loops, estimates = loops_at_once(comparisons)
    if gains := [estimate.value for estimate in estimates]:
        yield (
            f"{n_loops} plain loops at once gained {median(gains):.2f} on these CPUs, in the median of {len(gains)} "
            f"comparisons, and {min(gains):.2f} to {max(gains):.2f} in single ones."
        )


_MEAN_COLUMNS = ("runner", "geometric mean", "cells", "after a pause", "cells")


def _size(comparison: Comparison) -> tuple[int, int]:
    return comparison.n_samples, comparison.batch_size


def _serial_rows(peers: Sequence[Peer], sizes: Sequence[tuple[int, int]]) -> Iterator[tuple[str, ...]]:
    by_size = {size: [c for peer in peers for c in peer.comparisons if _size(c) == size] for size in sizes}
    times = (
        format_duration(median(c.serial_median_s for c in by_size[size])) if by_size[size] else "-" for size in sizes
    )
    yield "(serial time)", *times, "", ""
    widest = (max((c.noise_floor for c in by_size[size]), key=_known_width, default=None) for size in sizes)
    yield "(noise floor)", *(map(_with_interval, widest)), "", ""


def _peer_cells(peer: Peer, sizes: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    measured = {_size(comparison): comparison for comparison in peer.comparisons}
    first = peer.comparisons[0] if peer.comparisons else None
    added = [c.added_pss_bytes for c in peer.comparisons if c.added_pss_bytes is not None]
    return (
        peer.runner,
        *(_with_interval(measured[size].speedup_estimate if size in measured else None) for size in sizes),
        format_duration(None if first is None else first.start_s + first.first_call_s),
        format_bytes(max(added, default=None)),
    )


def _mean_rows(peers: Sequence[Peer]) -> Iterator[tuple[str, ...]]:
    for runner in dict.fromkeys(peer.runner for peer in peers):
        comparisons = [c for peer in peers if peer.runner == runner for c in peer.comparisons]
        if comparisons:
            warm = [c.speedup for c in comparisons]
            after_pause = [speedup.value for c in comparisons if (speedup := c.speedup_after_pause) is not None]
            yield runner, *_mean_cells(warm), *_mean_cells(after_pause)


def _mean_cells(speedups: Sequence[float]) -> tuple[str, str]:
    return f"{geometric_mean(speedups):.2f}" if speedups else "-", str(len(speedups))


def _known_width(estimate: Estimate) -> float:
    return estimate.high / estimate.low if estimate.is_bounded else 0.0


def _with_interval(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    if not estimate.is_bounded:
        return f"{format_ratio(estimate.value)} (unknown)"
    return f"{format_ratio(estimate.value)} ({format_ratio(estimate.low)}-{format_ratio(estimate.high)})"
