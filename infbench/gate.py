"""Two commits of infbench against each other, for continuous integration."""

from __future__ import annotations

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

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
n_processes, batch_size = int(n_processes), int(batch_size)
with open(path, "rb") as file:
    estimators, X = pickle.load(file)
best_s = {}
for model, estimator in estimators.items():
    serial = infbench.make_runner("serial", estimator)
    runner = infbench.make_runner(runner_name, estimator, n_processes=n_processes)
    passes = {"serial": serial, "runner": runner}
    best_s[model] = best = dict.fromkeys(passes, float("inf"))
    with serial, runner:
        expected = serial.predict(X, batch_size=batch_size)
        assert (runner.predict(X, batch_size=batch_size) == expected).all(), "the answer is not the serial one"
        begun_s, rounds = time.perf_counter(), 0
        while rounds < 5 or time.perf_counter() - begun_s < 0.4:
            for name, one in passes.items():
                t = time.perf_counter()
                one.predict(X, batch_size=batch_size)
                best[name] = min(best[name], time.perf_counter() - t)
            rounds += 1
print(json.dumps({"file": infbench.__file__, "best_s": best_s}))
"""

_Turn = dict[str, dict[str, float]]
"""Seconds of the fastest pass, by model and then by ``"serial"`` and ``"runner"``."""

_FIGURES: dict[str, Callable[[dict[str, float]], float]] = {
    "serial time": lambda best_s: best_s["serial"],
    "time": lambda best_s: best_s["runner"],
    "cost ratio": lambda best_s: best_s["runner"] / best_s["serial"],
}


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

    The two take turns, each turn a process of its own, and the base has the first and the last one. For every model a
    turn keeps its fastest pass, as whatever else happens on the machine only adds. Each turn of the working tree gives
    one ratio to the geometric mean of the bases around it, so that a drift of the machine cancels, and these two give
    one of base to base: the noise floor.

    Parameters
    ----------
    base : str
        A commit, as git knows it. Its files are unpacked in a temporary folder; the repository stays as it is.
    models : sequence of str
    runner : str, default="process"
        It is started with what it takes by itself.
    n_processes : int, default=2
    turns : int, default=9
        Turns of the working tree. With fewer than 8 the intervals mean little.
    progress : callable or None, default=None
        Called with the number of finished turns of the working tree and of all of them.

    Returns
    -------
    list of GateRow
        For each model the time of the serial runner, that of the runner, and the cost ratio.

    Raises
    ------
    InvalidParameterError
        Where this is no git repository, or there is no such commit, or no infbench in it.
    InfbenchError
        Where a turn fails; the message holds what it printed.
    """
    from infbench.data import make_data
    from infbench.models import make_model

    head = Path(_git("rev-parse", "--show-toplevel").decode().strip())
    commit = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}").decode().strip()
    rounds: list[tuple[_Turn, _Turn, _Turn]] = []
    # A process that was killed may still be about to write there: that must not hide why it was killed.
    with tempfile.TemporaryDirectory(prefix="infbench-gate-", ignore_cleanup_errors=True) as folder:
        old = Path(folder, "base")
        with tarfile.open(fileobj=io.BytesIO(_git("-C", str(head), "archive", commit, "infbench"))) as archive:
            archive.extractall(old, filter="data")
        workload = Path(folder, "workload.pickle")
        estimators = {model: make_model(model) for model in models}
        workload.write_bytes(pickle.dumps((estimators, make_data(n_samples=_N_SAMPLES))))
        before = _turn(old, workload, runner, n_processes)
        for done in range(turns):
            now, after = (_turn(root, workload, runner, n_processes) for root in (head, old))
            rounds.append((before, now, after))
            before = after  # the base between two turns of the working tree is measured once, and stands for both
            if progress is not None:
                progress(done + 1, turns)
    return [row for model in estimators for row in _rows(model, runner, rounds)]


def _rows(model: str, runner: str, rounds: Sequence[tuple[_Turn, _Turn, _Turn]]) -> list[GateRow]:
    rows = {}
    for figure, of in _FIGURES.items():
        values = [tuple(of(turn[model]) for turn in turns) for turns in rounds]
        changes = [now / (before * after) ** 0.5 for before, now, after in values]
        noises = [after / before for before, _, after in values]
        change, noise = (bootstrap_median(ratios, confidence=_CONFIDENCE) for ratios in (changes, noises))
        rows[figure] = GateRow(f"{model}, {runner}", figure, change, noise)
    rows["cost ratio"] = blame(rows["cost ratio"], serial=rows["serial time"], runner=rows["time"])
    return list(rows.values())


def blame(cost: GateRow, *, serial: GateRow, runner: GateRow) -> GateRow:
    """Return a cost ratio that takes neither blame nor praise for what the serial runner alone did.

    Parameters
    ----------
    cost, serial, runner : GateRow
        The ratio, and the times that it is made of.

    Returns
    -------
    GateRow
        With a `cause` where the ratio rose only because serial is faster, or fell only because it is slower.
    """
    if cost.verdict == "worse" and serial.verdict == "better" and runner.verdict != "worse":
        return replace(cost, cause="only serial is faster")
    if cost.verdict == "better" and serial.verdict == "worse" and runner.verdict != "better":
        return replace(cost, cause="only serial is slower")
    return cost


def _turn(root: Path, workload: Path, runner: str, n_processes: int) -> _Turn:
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    process = subprocess.Popen(  # noqa: S603  # our own program, with our own arguments
        [sys.executable, "-c", _TURN, str(workload), runner, str(n_processes), str(_BATCH_SIZE)],
        cwd=root,
        # What a turn that is killed leaves in its temporary folder goes with ours.
        env={**os.environ, **one_thread, "PYTHONPATH": str(root), "TMPDIR": str(workload.parent)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that it can be ended with all processes that it started
    )
    try:
        out, errors = process.communicate()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    if process.returncode != 0:
        raise InfbenchError(f"a turn of {root.name} failed with exit code {process.returncode}:\n{errors.strip()}")
    turn: dict[str, Any] = json.loads(out)
    if root.resolve() not in Path(turn["file"]).resolve().parents:
        raise InfbenchError(f"a turn of {root} took infbench from {turn['file']}")
    best_s: _Turn = turn["best_s"]
    return best_s


def _git(*arguments: str) -> bytes:
    done = subprocess.run(["git", *arguments], capture_output=True, check=False)  # noqa: S603, S607
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip() or "no such commit"
        raise InvalidParameterError(f"git {' '.join(arguments)} failed: {reason}")
    return done.stdout
