"""asv's result files, read as the figures of the suites: every value with its interval."""

from __future__ import annotations

import ast
import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, total_ordering
from pathlib import Path
from typing import Any

from asv.results import iter_results
from packaging.version import InvalidVersion, Version

from infbench.errors import InfbenchError
from infbench.stats import Estimate

COST_RATIO = "cost_ratio.CostRatio.track_cost_ratio"
SIZES = "cost_ratio.Sizes.track_cost_ratio"
SCALING = "cost_ratio.Scaling.track_cost_ratio"
THROUGHPUT = "throughput.Throughput.track_predict_s"
LATENCY = "latency.Latency.track_predict_s"
DISPATCH = "latency.Dispatch.track_predict_s"
START_UP = "start_up.StartUp.timeraw_first_answer"
MEMORY = "memory.Memory.track_pss"

PARAMETERS: dict[str, tuple[str, ...]] = {
    COST_RATIO: ("model", "runner", "n_samples", "batch_size", "n_processes"),
    SIZES: ("model", "n_samples", "batch_size", "n_processes"),
    SCALING: ("model", "n_processes"),
    THROUGHPUT: ("model", "runner", "n_samples", "batch_size", "n_processes"),
    LATENCY: ("model", "runner", "n_samples"),
    DISPATCH: ("runner",),
    START_UP: ("start_method",),
    MEMORY: ("model", "runner"),
}
"""Names of the parameters of each benchmark, in order. Result files hold only their values; the names never change."""

LIBRARIES = ("scikit-learn", "numpy", "scipy", "joblib")

_MIN_REPEAT = 8
"""With fewer timings, asv's interval of a median says nothing: it may even reach below zero."""


@dataclass(frozen=True, slots=True, order=True)
class Computer:
    """What was measured on. The same name with different CPUs is another computer: their times are never compared."""

    name: str
    cpu: str
    n_cpus: str
    architecture: str

    @property
    def cpus(self) -> str:
        """How many CPUs of which kind."""
        return " × ".join(part for part in (self.n_cpus, self.cpu) if part) or "unknown CPUs"


def computer_names(computers: Iterable[Computer]) -> dict[Computer, str]:
    """Return what to call each computer: its name, with its CPUs if another has the same name."""
    distinct = sorted(set(computers))
    n_named = Counter(computer.name for computer in distinct)
    return {one: one.name if n_named[one.name] == 1 else f"{one.name} ({one.cpus})" for one in distinct}


@total_ordering
@dataclass(frozen=True, slots=True)
class ReleaseSet:
    """The versions of the libraries and of Python that were used. An older one sorts before a newer one.

    Attributes
    ----------
    versions : tuple of (str, str)
        Library and version, in the order of `LIBRARIES`, then Python. What a result does not name is left out.
    """

    versions: tuple[tuple[str, str], ...]

    def __lt__(self, other: ReleaseSet) -> bool:
        return self._order() < other._order()

    @property
    def label(self) -> str:
        """The version of the first library that is known, which is scikit-learn's."""
        return self.versions[0][1] if self.versions else "unknown"

    def _order(self) -> tuple[Any, ...]:
        known = dict(self.versions)
        return tuple(_version_order(known.get(library, "")) for library in (*LIBRARIES, "python"))


@dataclass(frozen=True, slots=True)
class Figure:
    """One value of a benchmark.

    Attributes
    ----------
    estimate : Estimate
        Median with asv's 99 % interval; zero to infinity if there were too few timings for one.
    samples : tuple of float
        The timings; empty if they were not recorded.
    """

    estimate: Estimate
    samples: tuple[float, ...]


@dataclass(frozen=True)
class Run:
    """What one result file holds: a commit, measured on a computer with a release set.

    Attributes
    ----------
    computer : Computer
    release_set : ReleaseSet
    commit : str
        Hash of the infbench commit.
    date : int
        When the commit was made, in milliseconds since 1970. A commit that is amended or rebased keeps its date.
    measured : int
        When the last of its benchmarks began, in milliseconds since 1970; 0 if that is unknown.
    figures : dict
        Benchmark and the values of its parameters, in the order of `PARAMETERS`, to the figure. Numbers of rows and
        the like are ints. What failed or was skipped is left out.
    facts : dict of str to str
        What else the file says about the computer.
    """

    computer: Computer
    release_set: ReleaseSet
    commit: str
    date: int
    measured: int
    figures: dict[tuple[Any, ...], Figure]
    facts: dict[str, str]


def load_runs(results_dir: str | Path, benchmark_versions: Mapping[str, Any] | None = None) -> list[Run]:
    """Read every result file.

    Parameters
    ----------
    results_dir : str or Path
        asv's ``results_dir``.
    benchmark_versions : mapping of str to str, optional
        Benchmark to its version. A figure that another version measured is left out. By default all are taken.

    Returns
    -------
    list of Run
        Sorted by date, then by when they were measured.

    Raises
    ------
    InfbenchError
        If there is no such directory.
    """
    if not Path(results_dir).is_dir():
        raise InfbenchError(f"{results_dir} is no directory of asv results: `asv run` makes one")
    runs = [_run_of(result, benchmark_versions) for result in iter_results(str(results_dir))]
    return sorted(runs, key=lambda run: (run.date, run.measured, run.commit, run.computer, run.release_set))


def noted_versions(results_dir: str | Path) -> dict[str, str] | None:
    """Return the versions of all benchmarks, as asv has noted them beside the results; None if it has not.

    Parameters
    ----------
    results_dir : str or Path

    Raises
    ------
    InfbenchError
        If the file is damaged.
    """
    path = Path(results_dir) / "benchmarks.json"
    if not path.is_file():
        return None
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
        return {name: str(benchmark["version"]) for name, benchmark in noted.items() if isinstance(benchmark, dict)}
    except (ValueError, AttributeError, KeyError) as error:
        raise InfbenchError(f"{path} must hold the benchmarks as asv notes them: {error!r}") from error


def _run_of(result: Any, benchmark_versions: Mapping[str, Any] | None) -> Run:
    known = {key: str(value) for key, value in result.params.items() if value is not None}
    return Run(
        computer=Computer(
            name=known.get("machine", ""),
            cpu=known.get("cpu", ""),
            n_cpus=known.get("num_cpu", ""),
            architecture=known.get("arch", ""),
        ),
        release_set=ReleaseSet(tuple((name, known[name]) for name in (*LIBRARIES, "python") if name in known)),
        commit=str(result.commit_hash),
        date=int(result.date or 0),
        measured=max((int(began or 0) for began in result.started_at.values()), default=0),
        figures=dict(_figures_of(result, benchmark_versions)),
        facts={key: known[key] for key in ("os", "ram") if key in known},
    )


def _figures_of(result: Any, benchmark_versions: Mapping[str, Any] | None) -> Iterator[tuple[tuple[Any, ...], Figure]]:
    for benchmark in result.get_all_result_keys():
        names = PARAMETERS.get(benchmark)
        params = result.get_result_params(benchmark)
        if names is None or len(params) != len(names):
            continue
        version = result.benchmark_version.get(benchmark)
        if benchmark_versions is not None and version not in (None, benchmark_versions.get(benchmark, version)):
            continue
        of_all = zip(
            itertools.product(*params),
            result.get_result_value(benchmark, params),
            result.get_result_stats(benchmark, params),
            result.get_result_samples(benchmark, params),
            strict=True,
        )
        for values, value, stats, samples in of_all:
            # A bool is an int, but no figure. NaN, which asv stores for a skip, is not above zero.
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                continue
            try:
                key = tuple(
                    int(text) if name.startswith("n_") or name == "batch_size" else _text(text)
                    for name, text in zip(names, values, strict=True)
                )
            except ValueError:
                continue
            yield (benchmark, *key), Figure(_estimate(float(value), stats or {}), tuple(samples or ()))


def _estimate(value: float, stats: dict[str, Any]) -> Estimate:
    low, high = stats.get("ci_99_a"), stats.get("ci_99_b")
    if (stats.get("repeat") or 0) < _MIN_REPEAT or low is None or high is None or not 0 < low <= high < math.inf:
        return Estimate(value, 0.0, math.inf)
    # asv rounds the bounds to five digits, but not the median.
    return Estimate(value, min(low, value), max(high, value))


def _text(shown: str) -> str:
    """Return the string whose repr asv stored."""
    try:
        return str(ast.literal_eval(shown))
    except (SyntaxError, ValueError):
        return shown


@cache  # release sets are compared again and again
def _version_order(text: str) -> tuple[int, Any]:
    try:
        return 1, Version(text)
    except InvalidVersion:
        return 0, text
