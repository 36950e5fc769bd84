"""The results of measurements: frozen dataclasses, and their versioned JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from itertools import chain
from statistics import median
from typing import Any

from infbench.errors import ResultFormatError
from infbench.machine import Machine
from infbench.stats import Estimate, ratio_estimate

SCHEMA_VERSION = 5
_ADDED: dict[str, Any] = {
    "added_pss_bytes": None,
    "paused_serial_s": (),
    "paused_parallel_s": (),
    "loop_alone_s": (),
    "loops_together_s": (),
}
"""Fields that results of older versions lack, with their values there. In those, all runners had the same batches."""


@dataclass(frozen=True)
class Comparison:
    """One estimator, one data set, one runner: serial against parallel, measured in pairs.

    Element ``i`` of every sequence of durations belongs to the same round, so they may be divided pair by pair.

    Attributes
    ----------
    model, data, runner, method : str
        What was measured. `model` and `data` are labels; `runner` is a name of `infbench.RUNNERS`.
    n_samples, n_features, batch_size, n_processes : int
        Rows, columns, rows of a batch, and processes that compute.
    serial_batch_size : int
        Rows of a batch of the serial runner: all rows if no batch size was asked for.
    inner_threads : int
        BLAS and OpenMP threads that each process was limited to, except that of `native`, which computes with
        `n_processes` of them.
    random_state : int
        Seed of the data.
    serial_s, parallel_s, serial_again_s : tuple of float
        Seconds for one pass over all rows, by round. `serial_again_s` is a second serial run in the same round: its
        ratio to `serial_s` is the noise floor.
    serial_default_threads_s : tuple of float
        Seconds for a serial pass with the libraries' default number of threads, measured in the same rounds; empty if
        the default is one thread.
    paused_serial_s, paused_parallel_s : tuple of float
        Seconds for a single pass after a pause of 50 ms, by round; empty if passes take too long for a pause to matter.
    loop_alone_s, loops_together_s : tuple of float
        Seconds per block of a plain loop that computes alone, and per block if `n_processes` loops compute at once, by
        round, see `infbench.loops.PlainLoops`. Empty if the machine has more CPUs than that, if there are very many
        processes, and in results of schema versions before 5.
    start_s : float
        Seconds from `start()` until all workers are ready, measured once; the first start in a process is a cold one.
    first_call_s : float
        Seconds for the first call after the start, measured once.
    added_pss_bytes : int or None
        Memory that the runner added to this process and its descendants (PSS) by the end of the first call. None if the
        system does not tell, and in results of schema version 1.
    machine : Machine
        The conditions.
    """

    model: str
    data: str
    runner: str
    method: str
    n_samples: int
    n_features: int
    batch_size: int
    serial_batch_size: int
    n_processes: int
    inner_threads: int
    random_state: int
    serial_s: tuple[float, ...]
    parallel_s: tuple[float, ...]
    serial_again_s: tuple[float, ...]
    serial_default_threads_s: tuple[float, ...]
    paused_serial_s: tuple[float, ...]
    paused_parallel_s: tuple[float, ...]
    loop_alone_s: tuple[float, ...]
    loops_together_s: tuple[float, ...]
    start_s: float
    first_call_s: float
    added_pss_bytes: int | None
    machine: Machine

    @property
    def repeat(self) -> int:
        """Number of rounds."""
        return len(self.serial_s)

    @cached_property
    def speedup_estimate(self) -> Estimate:
        """Serial time / parallel time: median of the paired ratios, with its 95 % interval."""
        return ratio_estimate(self.serial_s, self.parallel_s)

    @property
    def speedup(self) -> float:
        """Serial time / parallel time, median of the paired ratios."""
        return self.speedup_estimate.value

    @property
    def speedup_interval(self) -> tuple[float, float]:
        """95 % interval of `speedup`; zero to infinity with fewer than 6 rounds."""
        return self.speedup_estimate.low, self.speedup_estimate.high

    @property
    def efficiency(self) -> float:
        """Speedup per process that computes."""
        return self.speedup / self.n_processes

    @cached_property
    def noise_floor(self) -> Estimate:
        """Serial time / serial time, measured like the speedup: what no difference looks like here."""
        return ratio_estimate(self.serial_s, self.serial_again_s)

    @cached_property
    def speedup_over_default_threads(self) -> Estimate | None:
        """Speedup over the serial run with the libraries' default threads; None if that is one thread."""
        if not self.serial_default_threads_s:
            return None
        return ratio_estimate(self.serial_default_threads_s, self.parallel_s)

    @cached_property
    def speedup_after_pause(self) -> Estimate | None:
        """Speedup of a single pass after a pause; None if that was not measured."""
        if not self.paused_serial_s:
            return None
        return ratio_estimate(self.paused_serial_s, self.paused_parallel_s)

    @cached_property
    def loop_speedup(self) -> Estimate | None:
        """Time per block of one plain loop / that of `n_processes` loops at once; None if that was not measured.

        About the most that a runner can gain on these CPUs. With large data a runner may gain more, as several CPUs
        have more cache than one.
        """
        if not self.loop_alone_s:
            return None
        return ratio_estimate(self.loop_alone_s, self.loops_together_s)

    @property
    def pays(self) -> bool | None:
        """Whether the runner pays; None if that is inconclusive.

        It pays if the whole interval of its speedup lies above that of the noise floor and above 1, and that of the
        speedup over default threads, if measured, does too. It does not pay if either lies below both.
        """
        noise, over_default = self.noise_floor, self.speedup_over_default_threads
        judged = [self.speedup_estimate] if over_default is None else [self.speedup_estimate, over_default]
        if all(one.low > max(noise.high, 1) for one in judged):
            return True
        return False if any(one.high < min(noise.low, 1) for one in judged) else None

    @property
    def serial_median_s(self) -> float:
        """Median seconds of a serial pass."""
        return median(self.serial_s)

    @property
    def parallel_median_s(self) -> float:
        """Median seconds of a parallel pass."""
        return median(self.parallel_s)

    def to_dict(self) -> dict[str, Any]:
        """Return the stored form: what was measured and, for readers' convenience, what follows from it."""
        return {
            **asdict(self),
            "derived": {
                "pays": self.pays,
                **_told("speedup", self.speedup_estimate),
                "efficiency": self.efficiency,
                **_told("noise_floor", self.noise_floor),
                **_told("speedup_over_default_threads", self.speedup_over_default_threads),
                **_told("speedup_after_pause", self.speedup_after_pause),
                **_told("loop_speedup", self.loop_speedup),
            },
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Comparison:
        """Read what `to_dict` wrote; the derived figures are computed anew.

        Raises
        ------
        ResultFormatError
            If a field is missing.
        """
        try:
            known = {**_ADDED, "serial_batch_size": stored.get("batch_size"), **stored}
            values: dict[str, Any] = {field.name: known[field.name] for field in fields(cls)}
            values["machine"] = Machine(**values["machine"])
        except (AttributeError, KeyError, TypeError) as error:
            raise ResultFormatError(f"not a stored comparison: {error!r}") from error
        for name, value in values.items():
            if isinstance(value, list):
                values[name] = tuple(value)
        return cls(**values)


def _told(name: str, estimate: Estimate | None) -> dict[str, Any]:
    """Return a figure and its interval as JSON has them: null if it was not measured, or is not bounded."""
    if estimate is None:
        return {name: None, f"{name}_interval": None}
    return {name: estimate.value, f"{name}_interval": list(estimate.bounds) if estimate.is_bounded else None}


def loops_at_once(comparisons: Sequence[Comparison]) -> tuple[int, list[Estimate]]:
    """Return the largest number of plain loops at once, and what they gained in each comparison that timed as many.

    Parameters
    ----------
    comparisons : sequence of Comparison
        At least one.

    Returns
    -------
    n_loops : int
    gains : list of Estimate
        Empty for a single loop, as nothing runs at once then.
    """
    n_loops = max(one.n_processes for one in comparisons)
    gains = (one.loop_speedup for one in comparisons if one.n_processes == n_loops > 1)
    return n_loops, [gain for gain in gains if gain is not None]


def pooled(parts: Sequence[Comparison]) -> Comparison:
    """Put together the rounds of one comparison that was measured in several parts.

    Parameters
    ----------
    parts : sequence of Comparison
        At least one, in the order in which they were measured.

    Returns
    -------
    Comparison
        With all rounds. What is measured only once, and the machine, come from the first part.
    """
    rounds: dict[str, Any] = {
        field.name: tuple(chain.from_iterable(getattr(part, field.name) for part in parts))
        for field in fields(Comparison)
        if isinstance(getattr(parts[0], field.name), tuple)
    }
    return replace(parts[0], **rounds)


def comparisons_to_json(comparisons: Sequence[Comparison]) -> str:
    """Return the text of a result file.

    Parameters
    ----------
    comparisons : sequence of Comparison

    Returns
    -------
    str
        JSON with ``schema_version`` and ``comparisons``; ends with a line feed.
    """
    stored = {"schema_version": SCHEMA_VERSION, "comparisons": [comparison.to_dict() for comparison in comparisons]}
    return json.dumps(stored, indent=2, allow_nan=False) + "\n"


def comparisons_from_json(text: str) -> list[Comparison]:
    """Read a result file.

    Parameters
    ----------
    text : str
        What `comparisons_to_json` wrote, in this version or an older one.

    Returns
    -------
    list of Comparison

    Raises
    ------
    ResultFormatError
        If the text is not a result file, or was written by a newer version.
    """
    try:
        stored = json.loads(text)
        version, comparisons = stored["schema_version"], list(stored["comparisons"])
    except (ValueError, KeyError, TypeError) as error:
        raise ResultFormatError(f"not an infbench result file: {error!r}") from error
    if version not in range(1, SCHEMA_VERSION + 1):
        raise ResultFormatError(f"schema_version must be 1 to {SCHEMA_VERSION}, got {version!r}")
    return [Comparison.from_dict(comparison) for comparison in comparisons]


@dataclass(frozen=True)
class Peer:
    """The outcome for one runner with one model, when all runners are measured side by side.

    Attributes
    ----------
    model, runner : str
    comparisons : tuple of Comparison
        One for each size that was measured.
    problem : str
        Why some or all are missing; empty if none is.
    refused : bool
        Whether the runner cannot do this at all, because it is not installed or is made for other models.
    """

    model: str
    runner: str
    comparisons: tuple[Comparison, ...]
    problem: str = ""
    refused: bool = False


UNCHANGED = 1.05
"""A change by a smaller factor does not count as one."""


@dataclass(frozen=True, slots=True)
class GateRow:
    """A figure for which less is better: one commit's divided by another's.

    Attributes
    ----------
    benchmark, figure : str
        What was measured, and which figure of it.
    change : Estimate
        New / old: above 1 is worse.
    noise_floor : Estimate
        Old / old, measured in the same way.
    cause : str
        Why it changed, if the runner deserves neither praise nor blame for it; empty otherwise.
    """

    benchmark: str
    figure: str
    change: Estimate
    noise_floor: Estimate
    cause: str = ""

    @property
    def verdict(self) -> str:
        """``"worse"``, ``"better"``, ``"unchanged"`` or ``"inconclusive"``, or the cause if there is one.

        Worse or better: the whole interval of the change lies beyond 5 % and the median of the noise floor, and the
        change itself beyond the noise floor's interval. Unchanged: the change is within 5 %, and its interval excludes
        20 %.
        """
        if self.cause:
            return self.cause
        low, high, noise = self.change.low, self.change.high, self.noise_floor
        # It is chance which of the two equal sides was divided by the other: noise counts in both directions.
        least = max(UNCHANGED, noise.value, 1 / noise.value)
        most = max(noise.high, 1 / noise.low if noise.low else math.inf)
        if low > least and self.change.value > most:
            return "worse"
        if high < 1 / least and self.change.value < 1 / most:
            return "better"
        close = 1 / UNCHANGED < self.change.value < UNCHANGED
        return "unchanged" if close and low > 1 / 1.2 and high < 1.2 else "inconclusive"


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One model under one release set, from asv's stored results.

    Attributes
    ----------
    machine : str
        asv's name of the machine.
    model, runner : str
        What ran.
    n_samples, batch_size, n_processes : int
        The workload.
    versions : dict of str to str
        Library to version: the release set.
    commit : str
        Hash of the infbench commit that was measured.
    serial_s, parallel_s : float or None
        Median seconds of one pass; None if the results lack them.
    speedup : Estimate
        Median of the paired ratios, with asv's 99 % interval.
    noise_floor : Estimate or None
        Serial against serial, measured in the same way.
    """

    machine: str
    model: str
    runner: str
    n_samples: int
    batch_size: int
    n_processes: int
    versions: dict[str, str]
    commit: str
    serial_s: float | None
    parallel_s: float | None
    speedup: Estimate
    noise_floor: Estimate | None

    @property
    def efficiency(self) -> float:
        """Speedup per process that computes."""
        return self.speedup.value / self.n_processes
