"""asv's stored results, read as the speedup by release set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infbench.errors import InfbenchError
from infbench.results import HistoryRow
from infbench.site.points import points_of
from infbench.site.stored import COST_RATIO, LIBRARIES, ReleaseSet, Run, computer_names, load_runs, noted_versions


def load_history(results_dir: str | Path) -> list[HistoryRow]:
    """Read the newest figures of every machine and release set.

    Parameters
    ----------
    results_dir : str or Path
        asv's ``results_dir``.

    Returns
    -------
    list of HistoryRow
        Sorted by machine, model, runner and workload, then by release set from the oldest to the newest. Without a
        cost ratio there is no row.

    Raises
    ------
    InfbenchError
        If there is no such directory, or if it holds no cost ratio or a damaged list of benchmarks.
    """
    newest: dict[tuple[Any, ...], tuple[ReleaseSet, HistoryRow]] = {}
    runs = load_runs(results_dir, noted_versions(results_dir))
    names = computer_names(run.computer for run in runs)
    for run in runs:
        for row in _rows_of(run, names[run.computer]):
            key = (row.machine, row.model, row.runner, row.n_samples, row.batch_size, row.n_processes)
            newest[(*key, *row.versions.values())] = run.release_set, row
    if not newest:
        raise InfbenchError(f"{results_dir} holds no result of {COST_RATIO}")
    return [newest[key][1] for key in sorted(newest, key=lambda key: (key[:6], newest[key][0]))]


def _rows_of(run: Run, machine: str) -> Iterator[HistoryRow]:
    versions = dict(run.release_set.versions)
    for (workload, runner), point in points_of(run).items():
        if (COST_RATIO, workload.model, runner, *workload[1:]) not in run.figures or point.speedup is None:
            continue
        yield HistoryRow(
            machine=machine,
            model=workload.model,
            runner=runner,
            n_samples=workload.n_samples,
            batch_size=workload.batch_size,
            n_processes=workload.n_processes,
            versions={library: versions[library] for library in LIBRARIES if library in versions},
            commit=run.commit,
            serial_s=None if point.serial is None else point.serial.value,
            parallel_s=None if point.parallel is None else point.parallel.value,
            speedup=point.speedup,
            noise_floor=point.noise_floor,
        )
