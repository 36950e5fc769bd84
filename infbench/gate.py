"""Measures two commits of infbench against each other, for continuous integration."""

from __future__ import annotations

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import IO, Any, NamedTuple

from infbench.errors import InfbenchError, InvalidParameterError
from infbench.results import UNCHANGED, GateRow
from infbench.stats import estimate_median

MODELS = ("random_forest", "hist_gradient_boosting", "logistic_regression")

_N_SAMPLES, _BATCH_SIZE = 4_000, 500
_CONFIDENCE, _MIN_TURNS = 0.99, 8
"""Fewer turns give no bounded interval of that confidence."""

_LEAST_PASSES, _LEAST_S = 7, 1.0
"""How many passes of each side, and how many seconds in all, a turn measures a model for at least."""

_END_S = 10.0
"""How long a side may take to close its runner."""

# One side: a process with the infbench of one commit, which makes a pass for each line that it reads. It uses only what
# every commit has.
_SIDE_PROGRAM = """
import json, pickle, sys, time
import infbench

path, runner_name, n_processes, batch_size = sys.argv[1:]
n_processes, batch_size = int(n_processes), int(batch_size)
print(json.dumps(infbench.__file__), flush=True)
with open(path, "rb") as file:
    estimators, X = pickle.load(file)

def seconds(runner):
    runner.predict(X, batch_size=batch_size)  # its workers are awake now, whatever the others did meanwhile
    n_calls, begun_s = 0, time.perf_counter()
    while True:
        runner.predict(X, batch_size=batch_size)
        n_calls += 1
        taken_s = time.perf_counter() - begun_s
        if taken_s > 0.01:
            return taken_s / n_calls

for estimator in estimators:
    serial = infbench.make_runner("serial", estimator)
    runner = infbench.make_runner(runner_name, estimator, n_processes=n_processes)
    with serial, runner:
        expected = serial.predict(X, batch_size=batch_size)
        assert (runner.predict(X, batch_size=batch_size) == expected).all(), "the answer is not the serial one"
        for line in sys.stdin:
            if line != "pass\\n":
                break
            print(json.dumps([seconds(serial), seconds(runner)]), flush=True)
"""


class _Pass(NamedTuple):
    """Seconds of a call of the serial runner, and of one of the other runner right after it, both warm."""

    serial_s: float
    runner_s: float


_FIGURES: dict[str, Callable[[_Pass], float]] = {
    "serial time": lambda one: one.serial_s,
    "time": lambda one: one.runner_s,
    "cost ratio": lambda one: one.runner_s / one.serial_s,
}

_Round = tuple[_Pass, _Pass, _Pass]
"""A pass of the base, one of the working tree and one of the base again, in any order."""


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

    A turn starts three processes, two of the base and one of the working tree, which make passes alternately. The time
    of the working tree's pass divided by the geometric mean of the two others is the change, one of the base's divided
    by the other is noise, and a turn's result is the median over all passes. So neither a machine that drifts nor a
    process that happens to be fast or slow looks like a change.

    Parameters
    ----------
    base : str
        A commit, as git knows it. Its files are unpacked in a temporary folder; the repository stays as it is.
    models : sequence of str
    runner : str, default="process"
        It is started with its default options.
    n_processes : int, default=2
    turns : int, default=9
        At least 8: fewer give no bounded 99 % interval.
    progress : callable or None, default=None
        Called with the number of finished turns and of all turns.

    Returns
    -------
    list of GateRow
        For each model, the time of the serial runner, that of the runner, and the cost ratio.

    Raises
    ------
    InvalidParameterError
        If there are too few turns, this is not a git repository, the commit does not exist or holds no infbench, or the
        runner does not take one of the models.
    InfbenchError
        If a process fails; the message holds what it printed.
    """
    from infbench.data import make_data
    from infbench.models import make_model
    from infbench.runners import make_runner

    if turns < _MIN_TURNS:
        raise InvalidParameterError(f"turns must be at least {_MIN_TURNS}, fewer bound no 99 % interval, got {turns}")
    head = Path(_git("rev-parse", "--show-toplevel").decode().strip())
    commit = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}").decode().strip()
    measured: list[list[list[_Round]]] = []  # by turn and model
    # A process that was killed may still be writing there: that must not hide why it was killed.
    with tempfile.TemporaryDirectory(prefix="infbench-gate-", ignore_cleanup_errors=True) as folder:
        old = Path(folder, "base")
        packed = _git("-C", str(head), "archive", "--format=zip", commit, "infbench")
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            archive.extractall(old)
        workload = Path(folder, "workload.pickle")
        estimators = [make_model(model) for model in models]
        for estimator in estimators:
            make_runner(runner, estimator, n_processes=n_processes)  # refuses models that it is not made for
        workload.write_bytes(pickle.dumps((estimators, make_data(n_samples=_N_SAMPLES))))
        for done in range(turns):
            with ExitStack() as stack:
                sides = [
                    stack.enter_context(_started(root, workload, runner, n_processes)) for root in (old, head, old)
                ]
                measured.append([_rounds(sides) for _ in models])
            if progress is not None:
                progress(done + 1, turns)
    return [
        row
        for index, model in enumerate(models)
        for row in _rows(f"{model}, {runner}", [turn[index] for turn in measured])
    ]


def _rounds(sides: Sequence[_Side]) -> list[_Round]:
    """Measure a model, and go on to the next one."""
    for side in sides:
        side.make_pass()  # the first pass is not warm
    rounds: list[_Round] = []
    end_s = time.monotonic() + _LEAST_S
    while len(rounds) < _LEAST_PASSES or time.monotonic() < end_s:
        first = len(rounds) % len(sides)  # so that no side is always first, or always after the same one
        passes = {side: side.make_pass() for side in (*sides[first:], *sides[:first])}
        before, now, after = (passes[side] for side in sides)
        rounds.append((before, now, after))
    for side in sides:
        side.go_on()
    return rounds


def _rows(benchmark: str, turns: Sequence[Sequence[_Round]]) -> list[GateRow]:
    rows = {}
    for figure, of in _FIGURES.items():
        changes, noises = [], []
        for rounds in turns:
            values = [(of(before), of(now), of(after)) for before, now, after in rounds]
            changes.append(median(now / (before * after) ** 0.5 for before, now, after in values))
            noises.append(median(after / before for before, _, after in values))
        change, noise = (estimate_median(ratios, confidence=_CONFIDENCE) for ratios in (changes, noises))
        rows[figure] = GateRow(benchmark, figure, change, noise)
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
        With a `cause` if the ratio rose only because serial is faster, or fell only because it is slower: the whole
        interval of the serial time shows that, the whole interval of the runner's time does not show a change in the
        ratio's direction, and nothing remains that serial does not explain.
    """
    unexplained = cost.change.value * serial.change.value
    if cost.verdict == "worse" and serial.change.high < 1 and runner.change.low <= 1 and unexplained < UNCHANGED:
        return replace(cost, cause="only serial is faster")
    if cost.verdict == "better" and serial.change.low > 1 and runner.change.high >= 1 and unexplained > 1 / UNCHANGED:
        return replace(cost, cause="only serial is slower")
    return cost


class _Side:
    """A process with the infbench of one commit."""

    def __init__(self, root: Path, process: subprocess.Popen[str], errors: IO[str]) -> None:
        self._root = root
        self._process = process
        self._errors = errors

    def make_pass(self) -> _Pass:
        return _Pass(*self._ask("pass"))

    def go_on(self) -> None:
        """Let it start the runner of the next model, or end after the last one."""
        self._tell("next")

    def check_origin(self) -> None:
        file = self._answer()
        if self._root.resolve() not in Path(file).resolve().parents:
            raise InfbenchError(f"the process of {self._root} took infbench from {file}")

    def _ask(self, line: str) -> Any:
        self._tell(line)
        return self._answer()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # `_answer` says why

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self._errors.seek(0)
            said = self._errors.read().strip()
            raise InfbenchError(f"the process of {self._root.name} failed with exit code {code}:\n{said}")
        return json.loads(line)


@contextmanager
def _started(root: Path, workload: Path, runner: str, n_processes: int) -> Iterator[_Side]:
    """Start a side; it ends with the context, along with everything that it started."""
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with (
        tempfile.TemporaryFile("w+", dir=workload.parent) as errors,
        subprocess.Popen(  # noqa: S603  # our own program, with our own arguments
            [sys.executable, "-c", _SIDE_PROGRAM, str(workload), runner, str(n_processes), str(_BATCH_SIZE)],
            cwd=root,
            # So what a killed process leaves in its temporary folder is removed with ours.
            env={**os.environ, **one_thread, "PYTHONPATH": str(root), "TMPDIR": str(workload.parent)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,  # so that it can be ended with all processes that it started
        ) as process,
    ):
        try:
            side = _Side(root, process, errors)
            side.check_origin()
            yield side
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_S)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            assert process.stdin is not None
            with suppress(BrokenPipeError):  # for a line that it did not read: it would hide why it failed
                process.stdin.close()


def _git(*arguments: str) -> bytes:
    done = subprocess.run(["git", *arguments], capture_output=True, check=False)  # noqa: S603, S607
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip() or "no such commit"
        raise InvalidParameterError(f"git {' '.join(arguments)} failed: {reason}")
    return done.stdout
