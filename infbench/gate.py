"""Two commits of infbench against each other, for continuous integration."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from infbench.errors import InfbenchError, InvalidParameterError
from infbench.results import GateRow
from infbench.stats import bootstrap_median

MODELS = ("random_forest", "hist_gradient_boosting", "logistic_regression")

_N_SAMPLES, _BATCH_SIZE = 4_000, 500
_CONFIDENCE = 0.99

# A process of its own for every turn, with the infbench of one commit. It uses what every commit has.
_TURN = """
import json, pickle, sys, time
import infbench

path, runner_name, n_processes, batch_size = sys.argv[1:]
with open(path, "rb") as file:
    estimator, X = pickle.load(file)
serial = infbench.make_runner("serial", estimator)
runner = infbench.make_runner(runner_name, estimator, n_processes=int(n_processes))
passes = {"serial_s": serial, "runner_s": runner}
best_s = dict.fromkeys(passes, float("inf"))
with serial, runner:
    expected = serial.predict(X, batch_size=int(batch_size))
    assert (runner.predict(X, batch_size=int(batch_size)) == expected).all(), "the answer is not the serial one"
    begun_s, rounds = time.perf_counter(), 0
    while rounds < 7 or time.perf_counter() - begun_s < 0.5:
        for name, one in passes.items():
            t = time.perf_counter()
            one.predict(X, batch_size=int(batch_size))
            best_s[name] = min(best_s[name], time.perf_counter() - t)
        rounds += 1
print(json.dumps({"file": infbench.__file__, **best_s}))
"""


class _Ratios(NamedTuple):
    change: list[float]
    noise: list[float]


def run_gate(
    base: str,
    *,
    models: Sequence[str] = MODELS,
    runner: str = "process",
    n_processes: int = 2,
    turns: int = 9,
    progress: Callable[[int, int], None] | None = None,
) -> list[GateRow]:
    """Measure the working tree against another commit of the repository.

    For every model the two take turns, each turn a process of its own: the base, the working tree, the base again. A
    turn keeps its fastest pass, as whatever else happens on the machine only adds. Each three turns give one ratio of
    the working tree to the geometric mean of the bases around it, so that a drift of the machine cancels, and one of
    base to base: the noise floor.

    Parameters
    ----------
    base : str
        A commit, as git knows it.
    models : sequence of str
    runner : str, default="process"
        It is started with what it takes by itself.
    n_processes : int, default=2
    turns : int, default=9
        Rounds of three turns for each model.
    progress : callable or None, default=None
        Called with the number of finished rounds and of all rounds.

    Returns
    -------
    list of GateRow
        For each model the cost ratio and the time of the runner.

    Raises
    ------
    InvalidParameterError
        Where this is no git repository, or there is no such commit.
    InfbenchError
        Where a turn fails; the message holds what it printed.
    """
    from infbench.data import make_data
    from infbench.models import make_model

    head = Path(_git("rev-parse", "--show-toplevel"))
    commit = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}")
    rows = []
    with tempfile.TemporaryDirectory(prefix="infbench-gate-") as folder, _worktree(head, commit, folder) as base_root:
        for position, model in enumerate(models):
            workload = Path(folder, "workload.pickle")
            workload.write_bytes(pickle.dumps((make_model(model), make_data(n_samples=_N_SAMPLES))))
            figures = {"cost ratio": (_cost, _Ratios([], [])), "time": (_runner_s, _Ratios([], []))}
            for done in range(turns):
                before, now, after = (
                    _turn(root, workload, runner, n_processes) for root in (base_root, head, base_root)
                )
                for of, ratios in figures.values():
                    ratios.change.append(of(now) / (of(before) * of(after)) ** 0.5)
                    ratios.noise.append(of(after) / of(before))
                if progress is not None:
                    progress(position * turns + done + 1, len(models) * turns)
            for figure, (_, ratios) in figures.items():
                change, floor = (bootstrap_median(values, confidence=_CONFIDENCE) for values in ratios)
                rows.append(GateRow(f"{model}, {runner}", figure, change, floor))
    return rows


def _cost(turn: dict[str, Any]) -> float:
    cost: float = turn["runner_s"] / turn["serial_s"]
    return cost


def _runner_s(turn: dict[str, Any]) -> float:
    seconds: float = turn["runner_s"]
    return seconds


@contextmanager
def _worktree(head: Path, commit: str, folder: str) -> Iterator[Path]:
    """Check a commit out beside the working tree, and forget it afterwards."""
    path = Path(folder, "base")
    _git("-C", str(head), "worktree", "add", "--quiet", "--detach", str(path), commit)
    try:
        yield path
    finally:
        _git("-C", str(head), "worktree", "remove", "--force", str(path))


def _turn(root: Path, workload: Path, runner: str, n_processes: int) -> dict[str, Any]:
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(  # noqa: S603  # our own program, with our own arguments
        [sys.executable, "-c", _TURN, str(workload), runner, str(n_processes), str(_BATCH_SIZE)],
        cwd=root,
        env={**os.environ, **one_thread, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise InfbenchError(f"a turn of {root.name} failed with exit code {done.returncode}:\n{done.stderr.strip()}")
    turn: dict[str, Any] = json.loads(done.stdout)
    if root.resolve() not in Path(turn["file"]).resolve().parents:
        raise InfbenchError(f"a turn of {root} took infbench from {turn['file']}")
    return turn


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)  # noqa: S603, S607
    if done.returncode != 0:
        raise InvalidParameterError(f"git {' '.join(arguments)} failed: {done.stderr.strip() or 'no such commit'}")
    return done.stdout.strip()
