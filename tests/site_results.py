"""Result files with planted figures, as asv itself would write them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asv.machine import Machine
from asv.results import Results
from asv.runner import BenchmarkResult
from asv.util import write_json

from infbench.site.stored import COST_RATIO, DISPATCH, MEMORY, PARAMETERS, SCALING, START_UP, THROUGHPUT

NUMPY = {"1.5.2": "2.1.3", "1.6.1": "2.2.6", "1.7.2": "2.3.5", "1.8.0": "2.3.5", "1.9.1": "2.4.6"}
JOBLIB = {"1.5.2": "1.4.2", "1.6.1": "1.4.2", "1.7.2": "1.5.2", "1.8.0": "1.5.3", "1.9.1": "1.6.0"}
RELEASES = list(NUMPY)

ROWS, BATCH, PROCESSES = 8_000, 1_000, 2

Figures = dict[str, dict[tuple[Any, ...], Any]]
"""Benchmark, and the values of its parameters, to the timings."""


def versions_of(release: str) -> dict[str, str]:
    """Return the release set of a version of scikit-learn."""
    return {"scikit-learn": release, "numpy": NUMPY[release], "scipy": "1.15.3", "joblib": JOBLIB[release]}


def spread(value: float, share: float = 0.03) -> list[float]:
    """Return nine timings, evenly spread around a median, the farthest `share` away."""
    return [value * (1 + share * step / 4) for step in (0, 3, -2, 4, -1, 2, -4, 1, -3)]


def write_result(
    directory: Path,
    figures: Mapping[str, Mapping[tuple[Any, ...], Any]],
    *,
    machine: str = "alpha",
    cpu: str = "a CPU",
    n_cpus: int = 2,
    versions: Mapping[str, str],
    commit: str,
    date: int,
    record_samples: bool = True,
    facts: Mapping[str, str] | None = None,
) -> Path:
    """Let asv write a result file; a combination of parameters without a figure is one that failed."""
    of_machine = {
        "machine": machine,
        "cpu": cpu,
        "num_cpu": str(n_cpus),
        "arch": "x86_64",
        "os": "Linux",
        "ram": "24GB",
    }
    of_machine |= facts or {}
    write_json(str(directory / machine / "machine.json"), of_machine, Machine.api_version)
    environment = "-".join([f"set{n_cpus}", *(library + version for library, version in sorted(versions.items()))])
    # asv replaces what a file's name cannot hold.
    environment = "".join(letter if letter.isalnum() or letter in ".-" else "_" for letter in environment)
    results = Results(
        of_machine | {"python": "3.11"} | dict(versions), dict(versions), commit, date, "3.11", environment, {}
    )
    for benchmark, values in figures.items():
        params = [[_shown(value) for value in dict.fromkeys(column)] for column in zip(*values, strict=True)]
        known = {tuple(_shown(value) for value in key): timings for key, timings in values.items()}
        samples = [known.get(key) for key in itertools.product(*params)]
        outcome = BenchmarkResult(
            result=[None if timings is None else True for timings in samples],
            samples=samples,
            number=[None if timings is None else 1 for timings in samples],
            errcode=0,
            stderr="",
            profile=None,
        )
        results.add_result(
            {"name": benchmark, "version": "1", "params": params}, outcome, record_samples=record_samples
        )
    results.save(str(directory))
    return directory / results._filename


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str) else str(value)


def paired(
    model: str, serial_s: float, parallel_s: float | None, *, share: float = 0.03, cost: float | None = None
) -> Figures:
    """Return the figures of one model and the runner ``process``: times, cost ratio and noise floor.

    A `parallel_s` of None is a time that failed; then only `cost` says what the pairs measured.
    """
    ratio = parallel_s / serial_s if cost is None and parallel_s is not None else cost
    at = (ROWS, BATCH, PROCESSES)
    times = {(model, "serial", *at): spread(serial_s, share)}
    if parallel_s is not None:
        times[model, "process", *at] = spread(parallel_s, share)
    costs = {(model, "serial", *at): spread(1.0, share)}
    if ratio is not None:
        # Repetitions never agree exactly: here they differ by half a percent.
        costs[model, "process", *at] = spread(ratio * 1.005, share)
    return {THROUGHPUT: times, COST_RATIO: costs}


def together(*parts: Figures) -> Figures:
    """Put the figures of several models into one."""
    return {
        benchmark: {key: value for part in parts for key, value in part.get(benchmark, {}).items()}
        for benchmark in dict.fromkeys(name for part in parts for name in part)
    }


def write_benchmarks(directory: Path) -> None:
    """Write asv's ``benchmarks.json``, as if every benchmark had been discovered with these parameters."""
    found = {}
    for path in sorted(directory.glob("*/*.json")):
        if path.name == "machine.json":
            continue
        results = Results.load(str(path))
        for name in results.get_all_result_keys():
            entry = found.setdefault(
                name,
                {
                    "name": name,
                    "param_names": list(PARAMETERS[name]),
                    "params": [[] for _ in PARAMETERS[name]],
                    "version": "1",
                    "type": "track",
                    "unit": "seconds",
                    "code": "",
                    "pretty_name": name,
                },
            )
            for known, new in zip(entry["params"], results.get_result_params(name), strict=True):
                known += [value for value in new if value not in known]
    write_json(str(directory / "benchmarks.json"), found, 2)


def write_golden(directory: Path, commits: list[str]) -> None:
    """Write results with planted changes: see `GOLDEN` for what they are.

    Parameters
    ----------
    directory : Path
        asv's ``results_dir``.
    commits : list of str
        Five hashes, from the oldest.
    """
    serial_s = {"1.5.2": 0.100, "1.6.1": 0.102, "1.7.2": 0.150, "1.8.0": 0.150, "1.9.1": 0.100}
    parallel_s = {"1.5.2": 0.060, "1.6.1": 0.061, "1.7.2": 0.090, "1.8.0": None, "1.9.1": 0.060}
    boosting_s = {"1.5.2": 0.100, "1.6.1": 0.100, "1.7.2": 0.100, "1.8.0": 0.070, "1.9.1": 0.070}
    for release in RELEASES:
        newest = release == RELEASES[-1]
        figures = together(
            _of_every_kind() if newest else {},
            paired("forest", serial_s[release], parallel_s[release], cost=0.6 if release == "1.8.0" else None),
            paired("boosting", boosting_s[release], 0.060),
            # So wide that a rise by half may be noise.
            paired("shaky", 0.15 if newest else 0.1, 0.15 if newest else 0.1, share=0.3),
        )
        write_result(directory, figures, versions=versions_of(release), commit=commits[0], date=1_000)
    for number, forest_s in enumerate((0.040, 0.041, 0.066), start=1):
        figures = together(paired("forest", 0.100, forest_s), paired("boosting", 0.070, 0.060))
        write_result(
            directory, figures, versions=versions_of("1.9.1"), commit=commits[number], date=1_000 + number * 86_400_000
        )
    # The same name with twice the CPUs: never compared with the other.
    write_result(
        directory,
        paired("forest", 0.050, 0.020),
        n_cpus=4,
        versions=versions_of("1.9.1"),
        commit=commits[4],
        date=1_000 + 4 * 86_400_000,
    )
    write_benchmarks(directory)


def _of_every_kind() -> Figures:
    """Return figures of ``forest`` that one release has and no other: they make no step."""
    sizes = {(1_000, 100): 1.4, (1_000, 1_000): 2.5, (8_000, 100): 0.9, (64_000, 1_000): 0.52}
    costs = {("forest", "process", *size, PROCESSES): spread(cost) for size, cost in sizes.items()}
    floors = {("forest", "serial", *size, PROCESSES): spread(1.0) for size in sizes}
    pools = {("forest", "pool", ROWS, BATCH, PROCESSES): spread(1.6)}
    return {
        COST_RATIO: costs | floors | pools,
        THROUGHPUT: {("forest", "pool", ROWS, BATCH, PROCESSES): spread(0.16)},
        SCALING: {
            ("forest", n): spread((1 + 0.04 * (n - 1) + 0.003 * n * (n - 1)) / n, 0.05) for n in (1, 2, 4, 8, 16)
        },
        DISPATCH: {("serial",): spread(3e-5), ("process",): spread(2e-4), ("pool",): spread(1e-3)},
        START_UP: {("forkserver",): [2.5, 2.7], ("spawn",): [3.0, 3.2]},
        MEMORY: {("forest", "serial"): [8e7], ("forest", "process"): [2.5e8]},
    }


ONLY_SERIAL = "only because serial time became shorter"

# kind, model, quantity, from, to, meaning, size, how many between, reason; the largest first. Commits are numbers.
GOLDEN = [
    ("commit", "forest", "parallel time", 2, 3, "worse", 0.066 / 0.041, 0, ""),
    ("commit", "forest", "speedup", 2, 3, "worse", 0.066 / 0.041, 0, "parallel time became longer"),
    ("commit", "forest", "parallel time", 0, 1, "better", 1.5, 0, ""),
    ("commit", "forest", "speedup", 0, 1, "better", 1.5, 0, "parallel time became shorter"),
    ("release", "forest", "parallel time", "1.7.2", "1.9.1", "better", 1.5, 1, ""),
    ("release", "forest", "serial time", "1.8.0", "1.9.1", "better", 1.5, 0, ""),
    ("release", "forest", "parallel time", "1.6.1", "1.7.2", "worse", 0.090 / 0.061, 0, ""),
    ("release", "forest", "serial time", "1.6.1", "1.7.2", "worse", 0.150 / 0.102, 0, ""),
    ("release", "boosting", "speedup", "1.7.2", "1.8.0", "neither", 1 / 0.7, 0, ONLY_SERIAL),
    ("release", "boosting", "serial time", "1.7.2", "1.8.0", "better", 1 / 0.7, 0, ""),
]
