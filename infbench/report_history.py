"""The speedup by release set as text."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from infbench.results import HistoryRow
from infbench.tables import PROSE_WIDTH, format_duration, format_interval, text_table

_LIBRARIES = ("scikit-learn", "numpy", "joblib")
_COLUMNS = (
    *_LIBRARIES,
    "serial",
    "parallel",
    "speedup",
    "99 % interval",
    "efficiency",
    "noise floor",
)


def history_text(rows: Sequence[HistoryRow]) -> str:
    """Return the speedup by release set, with a table for each machine, model, runner and workload.

    Parameters
    ----------
    rows : sequence of HistoryRow
        In the order in which they should appear; those that belong to one table must follow each other.

    Returns
    -------
    str
    """
    blocks = []
    for _, group in groupby(rows, key=_table):
        members = list(group)
        one = members[0]
        title = (
            f"{one.model}, {one.runner} with n_processes={one.n_processes}, "
            f"{one.n_samples:,} rows in batches of {one.batch_size:,}, on {one.machine}"
        )
        commits = textwrap.fill(_commits(members), PROSE_WIDTH)
        blocks.append(f"{title}\n{commits}\n{text_table(_COLUMNS, [_cells(row) for row in members])}")
    blocks.append(
        textwrap.fill(
            "speedup: serial time / parallel time, median of the paired ratios with its 99 % interval. serial, "
            "parallel: timed separately, minutes apart, while the machine's speed may change, so that dividing one by "
            "the other gives a less exact speedup. noise floor: serial time / serial time, measured in the same way as "
            "the speedup. efficiency: speedup / n_processes.",
            PROSE_WIDTH,
        )
    )
    return "\n\n".join(blocks) + "\n"


def _table(row: HistoryRow) -> tuple[object, ...]:
    return row.machine, row.model, row.runner, row.n_samples, row.batch_size, row.n_processes


def _commits(rows: Sequence[HistoryRow]) -> str:
    """Say which commit of infbench was measured: a release set that failed has its row from an earlier one."""
    ((usual, _),) = Counter(row.commit for row in rows).most_common(1)
    others = [
        f"{row.commit[:8]} with {', '.join(f'{name} {version}' for name, version in row.versions.items())}"
        for row in rows
        if row.commit != usual
    ]
    return "; ".join([f"infbench of commit {usual[:8]}", *others])


def _cells(row: HistoryRow) -> tuple[str, ...]:
    return (
        *(row.versions.get(library, "-") for library in _LIBRARIES),
        format_duration(row.serial_s),
        format_duration(row.parallel_s),
        f"{row.speedup.value:.2f}",
        format_interval(row.speedup),
        f"{row.efficiency:.0%}",
        "-" if row.noise_floor is None else format_interval(row.noise_floor),
    )
