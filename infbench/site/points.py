"""Serial time, parallel time, speedup and noise floor of every workload: what the figures of one run say together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from infbench.site.stored import COST_RATIO, LATENCY, SIZES, THROUGHPUT, Figure, Run
from infbench.stats import Estimate, quotient

BASELINE = "serial"

SUITE_RUNNER = "process"
"""Runner of the suites that have no parameter for it."""

LATENCY_PROCESSES = 2
"""`n_processes` of the latency suite, which does not have it as a parameter."""


class Workload(NamedTuple):
    """What a runner was given to do."""

    model: str
    n_samples: int
    batch_size: int
    n_processes: int

    @property
    def of_one_process(self) -> tuple[str, int, int]:
        """Model, rows and batch size: what one process was given, whatever number of processes it is compared with."""
        return self[:3]


@dataclass(frozen=True, slots=True)
class Point:
    """One runner against one process, over the same batches.

    Attributes
    ----------
    serial, parallel : Estimate or None
        Seconds of one pass over all rows, each measured in a process of its own.
    speedup : Estimate or None
        Serial time / parallel time.
    noise_floor : Estimate or None
        Serial time / serial time, measured like a paired speedup.
    paired : bool
        Whether the speedup comes from pairs that were measured side by side. Otherwise it is the quotient of the two
        times, which is wrong if the machine changes its speed between them.
    floor_of : Workload or None
        If the noise floor was not measured on this workload, the one that it comes from: the model's largest that has
        one.
    """

    serial: Estimate | None
    parallel: Estimate | None
    speedup: Estimate | None
    noise_floor: Estimate | None
    paired: bool
    floor_of: Workload | None = None

    def efficiency(self, n_processes: int) -> float | None:
        """Speedup per process that computes."""
        return None if self.speedup is None else self.speedup.value / n_processes


Key = tuple[Workload, str]
"""Workload and runner."""

Points = dict[Key, Point]
"""What was measured. The baseline itself is not among the runners."""


@dataclass(frozen=True)
class Measured:
    """A run with its points."""

    run: Run
    points: Points


def points_of(run: Run) -> Points:
    """Put the figures of a run together.

    Parameters
    ----------
    run : Run

    Returns
    -------
    dict of (Workload, str) to Point
        A runner with neither a time nor a speedup is left out.
    """
    costs = {
        **{_of_sizes(key): figure for key, figure in run.figures.items() if key[0] == SIZES},
        **{_workload(key): figure for key, figure in run.figures.items() if key[0] == COST_RATIO},
    }
    largest: dict[str, Workload] = {}
    for workload, runner in sorted(costs):
        if runner == BASELINE:
            largest[workload.model] = workload
    # If both suites measured the same workload, the one for throughput counts.
    times = {
        **{_single_batch(key): figure for key, figure in run.figures.items() if key[0] == LATENCY},
        **{_workload(key): figure for key, figure in run.figures.items() if key[0] == THROUGHPUT},
    }
    points: Points = {}
    for workload, runner in dict.fromkeys([*costs, *times]):
        if runner == BASELINE:
            continue
        cost = costs.get((workload, runner))
        noise, floor_of = _of_baseline(costs, workload), None
        if noise is None and cost is not None and (floor_of := largest.get(workload.model)):
            noise = costs[floor_of, BASELINE]
        serial, parallel = _of_baseline(times, workload), times.get((workload, runner))
        speedup = None
        if cost is not None:
            speedup = cost.estimate.inverse()
        elif serial is not None and parallel is not None:
            speedup = quotient(serial.estimate, parallel.estimate)
        points[workload, runner] = Point(
            serial=None if serial is None else serial.estimate,
            parallel=None if parallel is None else parallel.estimate,
            speedup=speedup,
            noise_floor=None if noise is None else noise.estimate.inverse(),
            paired=cost is not None,
            floor_of=floor_of,
        )
    return points


def _workload(key: tuple[Any, ...]) -> Key:
    _, model, runner, n_samples, batch_size, n_processes = key
    return Workload(model, n_samples, batch_size, n_processes), runner


def _of_sizes(key: tuple[Any, ...]) -> Key:
    return Workload(*key[1:]), SUITE_RUNNER


def _single_batch(key: tuple[Any, ...]) -> Key:
    _, model, runner, n_samples = key
    return Workload(model, n_samples, n_samples, LATENCY_PROCESSES), runner


def _of_baseline(figures: Mapping[Key, Figure], workload: Workload) -> Figure | None:
    """Return the serial figure of a workload: it is the same whatever `n_processes` it is compared with."""
    found = figures.get((workload, BASELINE))
    if found is None:
        found = next(
            (
                figure
                for (other, runner), figure in figures.items()
                if runner == BASELINE and other._replace(n_processes=workload.n_processes) == workload
            ),
            None,
        )
    return found
