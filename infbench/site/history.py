"""asv's stored results, read as the speedup by release set."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.version import Version

from infbench.errors import InfbenchError
from infbench.results import HistoryRow
from infbench.stats import Estimate

COST_RATIO = "cost_ratio.CostRatio.track_cost_ratio"
THROUGHPUT = "throughput.Throughput.track_predict_s"
LIBRARIES = ("scikit-learn", "numpy", "scipy", "joblib")

_BASELINE = "serial"

Workload = tuple[str, int, int, int]
"""Model, n_samples, batch_size, n_processes."""


def load_history(results_dir: str | Path) -> list[HistoryRow]:
    """Read the newest figures of every machine and release set.

    Parameters
    ----------
    results_dir : str or Path
        asv's ``results_dir``.

    Returns
    -------
    list of HistoryRow
        By machine, model, runner, then by release set from the oldest to the newest. Where a cost ratio is missing
        there is no row.

    Raises
    ------
    InfbenchError
        Where there is no such directory, or no cost ratio in it.
    """
    from asv.results import iter_results

    if not Path(results_dir).is_dir():
        raise InfbenchError(f"{results_dir} is no directory of asv results: `asv run` makes one")
    newest: dict[tuple[Any, ...], HistoryRow] = {}
    for result in sorted(iter_results(str(results_dir)), key=lambda result: result.date):
        for row in _rows_of(result):
            key = (row.machine, row.model, row.runner, row.n_samples, row.batch_size, row.n_processes)
            newest[(*key, *row.versions.values())] = row
    if not newest:
        raise InfbenchError(f"{results_dir} holds no result of {COST_RATIO}")
    return sorted(newest.values(), key=_order)


def _order(row: HistoryRow) -> tuple[Any, ...]:
    versions = [Version(row.versions[library]) for library in LIBRARIES if library in row.versions]
    return row.machine, row.model, row.runner, row.n_samples, row.batch_size, row.n_processes, versions


def _rows_of(result: Any) -> Iterator[HistoryRow]:
    costs: dict[tuple[Workload, str], Estimate] = {}
    for workload, runner, value, stats in _values(result, COST_RATIO):
        low, high = (stats or {}).get("ci_99_a"), (stats or {}).get("ci_99_b")
        costs[workload, runner] = Estimate(value, value if low is None else low, value if high is None else high)
    times_s = {(workload, runner): value for workload, runner, value, _ in _values(result, THROUGHPUT)}
    versions = {library: result.params[library] for library in LIBRARIES if library in result.params}
    for (workload, runner), cost in costs.items():
        if runner == _BASELINE:
            continue
        noise = costs.get((workload, _BASELINE))
        yield HistoryRow(
            machine=result.params["machine"],
            model=workload[0],
            runner=runner,
            n_samples=workload[1],
            batch_size=workload[2],
            n_processes=workload[3],
            versions=versions,
            commit=result.commit_hash,
            serial_s=times_s.get((workload, _BASELINE)),
            parallel_s=times_s.get((workload, runner)),
            speedup=cost.inverse(),
            noise_floor=None if noise is None else noise.inverse(),
        )


def _values(result: Any, benchmark: str) -> Iterator[tuple[Workload, str, float, dict[str, Any] | None]]:
    """Give workload, runner, value and statistics of a benchmark, without what failed or was skipped."""
    if benchmark not in result.get_all_result_keys():
        return
    params = result.get_result_params(benchmark)
    values = result.get_result_value(benchmark, params)
    stats = result.get_result_stats(benchmark, params)
    for names, value, stat in zip(itertools.product(*params), values, stats, strict=True):
        if value is None or math.isnan(value):
            continue
        model, runner, n_samples, batch_size, n_processes = (name.strip("'") for name in names)
        yield (model, int(n_samples), int(batch_size), int(n_processes)), runner, value, stat
