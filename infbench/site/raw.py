"""Everything behind the speedup page, as plain tables for people who want the raw data."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isinf
from typing import Any

from infbench.site.changes import Step
from infbench.site.points import Measured, Workload
from infbench.site.stored import LIBRARIES, PARAMETERS, Computer, Run
from infbench.site.words import wins
from infbench.stats import Estimate


@dataclass(frozen=True)
class Table:
    """Columns, and rows of plain values; None if a value is unknown."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    def to_csv(self) -> str:
        """Return the table as CSV with a header; None is an empty cell."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        return out.getvalue()

    def to_json(self) -> str:
        """Return the table as a JSON object of columns and rows."""
        return json.dumps({"columns": self.columns, "rows": self.rows}, separators=(",", ":"), allow_nan=False)


_COMPUTER = ("machine", "cpu", "num_cpu", "arch")
_VERSIONS = (*LIBRARIES, "python")
_PARAMETERS = tuple(dict.fromkeys(name for names in PARAMETERS.values() for name in names))


def figures_table(runs: Iterable[Run]) -> Table:
    """Return every figure of every run, a row each; `low` and `high` bound its 99 % interval.

    Parameters
    ----------
    runs : iterable of Run
    """
    rows = []
    for run in runs:
        versions = dict(run.release_set.versions)
        of_run = (*_of_computer(run.computer), *(versions.get(name) for name in _VERSIONS), run.commit, run.date)
        for (benchmark, *values), figure in run.figures.items():
            known = dict(zip(PARAMETERS[benchmark], values, strict=True))
            given = (known.get(name) for name in _PARAMETERS)
            rows.append((*of_run, benchmark, *given, *_flat(figure.estimate), len(figure.samples) or None))
    columns = (*_COMPUTER, *_VERSIONS, "commit", "commit_date_ms", "benchmark", *_PARAMETERS)
    return Table((*columns, "value", "low", "high", "n_recorded"), rows)


def speedups_table(measured: Iterable[Measured]) -> Table:
    """Return what every runner gained in every run, a row each: the figures that the page shows.

    `wins` tells whether the runner is faster than one process, and is empty if that is inconclusive.
    `noise_floor_n_samples` and `noise_floor_batch_size` tell how many rows, and rows in a batch, the noise floor was
    measured with.

    Parameters
    ----------
    measured : iterable of Measured
    """
    names = ("serial_s", "parallel_s", "speedup", "noise_floor")
    columns = (
        *_COMPUTER,
        *_VERSIONS,
        *("commit", "commit_date_ms"),
        *(*Workload._fields, "runner"),
        *(column for name in names for column in (name, f"{name}_low", f"{name}_high")),
        *("noise_floor_n_samples", "noise_floor_batch_size"),
        *("efficiency", "paired", "wins"),
    )
    rows = []
    for one in measured:
        run, versions = one.run, dict(one.run.release_set.versions)
        of_run = (*_of_computer(run.computer), *(versions.get(name) for name in _VERSIONS), run.commit, run.date)
        for (workload, runner), point in one.points.items():
            estimates = (point.serial, point.parallel, point.speedup, point.noise_floor)
            values = [value for estimate in estimates for value in _flat(estimate)]
            floor_of = None if point.noise_floor is None else point.floor_of or workload
            floor_sizes = (None, None) if floor_of is None else (floor_of.n_samples, floor_of.batch_size)
            told = (*floor_sizes, point.efficiency(workload.n_processes), point.paired, wins(point))
            rows.append((*of_run, *workload, runner, *values, *told))
    return Table(columns, rows)


def steps_table(steps: Sequence[Step]) -> Table:
    """Return every step between neighbours, a row each, whether it is a change or not.

    Parameters
    ----------
    steps : sequence of Step
    """
    columns = (
        *_COMPUTER,
        "kind",
        "quantity",
        *("model", "n_samples", "batch_size", "n_processes", "runner"),
        *(f"{name}_{end}" for end in ("before", "after") for name in _VERSIONS),
        *("commit_before", "commit_after", "skipped", "before", "after", "ratio", "low", "high"),
        *("noise_floor", "repeat_noise", "outcome", "meaning", "reason"),
    )
    rows = [
        (
            *_of_computer(step.computer),
            step.kind,
            step.quantity.value,
            *step.workload,
            step.runner,
            *(dict(release_set.versions).get(name) for release_set in step.release_sets for name in _VERSIONS),
            *step.commits,
            step.skipped,
            step.before.value,
            step.after.value,
            *_flat(step.ratio),
            None if isinf(step.noise.floor) else step.noise.floor,
            step.noise.repeat,
            step.outcome.value,
            step.meaning.value,
            step.reason,
        )
        for step in steps
    ]
    return Table(columns, rows)


def _of_computer(computer: Computer) -> tuple[str, ...]:
    return computer.name, computer.cpu, computer.n_cpus, computer.architecture


def _flat(estimate: Estimate | None) -> tuple[float | None, ...]:
    if estimate is None:
        return None, None, None
    return estimate.value, *estimate.bounds
