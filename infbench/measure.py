"""Paired, interleaved timing of a runner against the serial one.

Serial and parallel take turns within one process, round after round, and each round gives one ratio: whatever slows the
machine for a while slows both halves of a pair. The serial runner is timed twice in every round, and the ratio of its
two times is the noise floor: what no difference at all looks like on this machine, right now. Plain loops are timed in
every round too, alone and at once: they show what the machine's CPUs are good for, right now.

Calls timed in this way are warm. Calls after a pause are timed separately.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np

from infbench.answers import check_same_answer
from infbench.checks import check_positive_int, check_random_state
from infbench.errors import InvalidParameterError
from infbench.loops import PlainLoops
from infbench.machine import describe_machine
from infbench.memory import tells_pss, tree_pss_bytes
from infbench.results import Comparison
from infbench.runners import make_runner
from infbench.runners.base import Runner, check_method, parameters_of
from infbench.runners.batches import check_rows, untouchable
from infbench.runners.serial import SerialRunner
from infbench.timing import NOTICES_S, Progress, time_after_pauses, time_in_turn


def compare(
    estimator: Any,
    X: Any,
    *,
    runner: str = "process",
    n_processes: int | None = None,
    batch_size: int | None = None,
    method: str = "predict",
    repeat: int = 11,
    least_s: float = 0.0,
    model: str = "",
    data: str = "",
    random_state: int = 0,
    progress: Progress | None = None,
) -> Comparison:
    """Measure how many times as fast as the serial runner a runner is.

    Parameters
    ----------
    estimator : object
        A fitted estimator.
    X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
        Rows to predict.
    runner : str, default="process"
        A name of `infbench.RUNNERS`.
    n_processes : int or None, default=None
        How many processes compute; None: one for each CPU that this process may use.
    batch_size : int or None, default=None
        Rows of a batch, for both runners. None: the serial runner is given all rows at once, as the estimator would be,
        and the other one uses its default, see `Runner.default_batch_size`.
    method : str, default="predict"
        The estimator's method.
    repeat : int, default=11
        Rounds, each a pair. Fewer than 6 give no interval.
    least_s : float, default=0.0
        About how many seconds the warm rounds take at least: if calls are short, there are more than `repeat` rounds.
    model, data : str
        Labels for the report; `model` defaults to the estimator's class.
    random_state : int, default=0
        The seed that made `X`, for the report.
    progress : callable or None, default=None
        Called with the number of finished rounds and of all rounds; for the first time before any is finished.

    Returns
    -------
    Comparison

    Raises
    ------
    InvalidParameterError, UnknownNameError, MissingMethodError, sklearn.exceptions.NotFittedError
        Before any process starts.
    MissingDependencyError
        If the runner needs a package that is not installed; before any process starts.
    AnswerMismatchError
        If the runner's answer is not the serial one; nothing has been timed then.
    RunnerError
        If the runner fails. What the estimator raises is passed on as it is.

    Examples
    --------
    >>> import infbench
    >>> X = infbench.make_data(n_samples=1_000, n_features=20)
    >>> result = compare(infbench.make_model("dummy"), X, n_processes=2, batch_size=100, repeat=3)
    >>> result.speedup > 0 and result.efficiency == result.speedup / 2
    True
    """
    check_comparable(
        estimator, X, runner=runner, n_processes=n_processes, batch_size=batch_size, method=method, repeat=repeat
    )
    check_random_state(random_state)
    if not 0 <= least_s < math.inf:
        raise InvalidParameterError(f"least_s must be a number of seconds from 0 on, got {least_s!r}")
    machine = describe_machine()
    n_samples = check_rows(X, estimator)
    X = untouchable(X)  # it is used again and again
    candidate = make_runner(runner, estimator, n_processes=n_processes)
    serial_batch_size = int(batch_size or n_samples)
    with ExitStack() as open_runners:
        serial = open_runners.enter_context(SerialRunner(estimator))
        runners: list[Runner] = [serial, candidate, serial]
        if any(n_threads > 1 for n_threads in machine.inner_threads.values()) or _has_jobs(estimator):
            runners.append(open_runners.enter_context(SerialRunner(estimator, inner_threads=None)))
        bytes_before = tree_pss_bytes() if tells_pss() else None
        started_s = time.perf_counter()
        open_runners.enter_context(candidate)
        ready_s = time.perf_counter()
        candidate.run(method, X, batch_size=batch_size)
        answered_s = time.perf_counter()
        # `auto` has decided by now.
        batch_size = int(batch_size or candidate.default_batch_size(n_samples, method))
        added_pss_bytes = None if bytes_before is None else tree_pss_bytes() - bytes_before
        check_runner(candidate, X, batch_size=batch_size, method=method)
        passes = [_one_pass(one, method, X, batch_size if one is candidate else serial_batch_size) for one in runners]
        for one_pass in (passes[0], *passes[3:]):
            one_pass()  # these have not been called yet
        loops = open_runners.enter_context(PlainLoops(candidate.n_processes))
        timed_s = time_in_turn(passes, repeat, progress, least_s=least_s, after_each=loops.time)
        serial_s, parallel_s, serial_again_s, *default_threads_s = timed_s
        paused_s: list[tuple[float, ...]] = [(), ()]
        if max(min(serial_s), min(parallel_s)) < NOTICES_S:
            paused_s = time_after_pauses(passes[:2], repeat)
    return Comparison(
        model=model or type(estimator).__name__,
        data=data,
        runner=runner,
        method=method,
        n_samples=n_samples,
        n_features=_n_features(X),
        batch_size=batch_size,
        serial_batch_size=serial_batch_size,
        n_processes=candidate.n_processes,
        inner_threads=1,
        random_state=int(random_state),
        serial_s=serial_s,
        parallel_s=parallel_s,
        serial_again_s=serial_again_s,
        serial_default_threads_s=default_threads_s[0] if default_threads_s else (),
        paused_serial_s=paused_s[0],
        paused_parallel_s=paused_s[1],
        loop_alone_s=tuple(loops.alone_s),
        loops_together_s=tuple(loops.together_s),
        start_s=ready_s - started_s,
        first_call_s=answered_s - ready_s,
        added_pss_bytes=added_pss_bytes,
        machine=machine,
    )


def check_comparable(
    estimator: Any,
    X: Any,
    *,
    runner: str,
    n_processes: int | None,
    batch_size: int | None,
    method: str,
    repeat: int,
) -> None:
    """Refuse what `compare` cannot measure, before any process starts.

    Parameters
    ----------
    estimator, X, runner, n_processes, batch_size, method, repeat
        See `compare`.

    Raises
    ------
    InvalidParameterError, UnknownNameError, MissingMethodError, sklearn.exceptions.NotFittedError
    MissingDependencyError
        If the runner needs a package that is not installed.
    """
    make_runner(runner, estimator, n_processes=n_processes)
    check_positive_int("batch_size", batch_size, allow_none=True)
    check_positive_int("repeat", repeat)
    check_method(estimator, method)
    check_rows(X, estimator)


def paired_cost_samples(
    runner: Runner, X: Any, *, batch_size: int, method: str = "predict", repeat: int = 11
) -> list[float]:
    """Return parallel time / serial time for each round: the suites track this ratio because lower is better.

    Parameters
    ----------
    runner : Runner
        Started. A serial one gives the noise floor.
    X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
    batch_size : int
    method : str, default="predict"
    repeat : int, default=11
        Rounds.

    Returns
    -------
    list of float
        Of length `repeat`.

    Raises
    ------
    AnswerMismatchError
        If the runner's answer is not the serial one; nothing has been timed then.
    """
    check_runner(runner, X, batch_size=batch_size, method=method)
    X = untouchable(X)
    with SerialRunner(runner.estimator) as serial:
        passes = [_one_pass(timed, method, X, batch_size) for timed in (serial, runner)]
        serial_s, runner_s = time_in_turn(passes, repeat)
    return [ours / theirs for ours, theirs in zip(runner_s, serial_s, strict=True)]


def check_runner(runner: Runner, X: Any, *, batch_size: int, method: str = "predict") -> None:
    """Raise unless a runner's answer is the serial one when every process computes its own share of it.

    Parameters
    ----------
    runner : Runner
        Started.
    X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
    batch_size : int
    method : str, default="predict"

    Raises
    ------
    AnswerMismatchError
    """
    with SerialRunner(runner.estimator) as serial:
        expected = serial.run(method, untouchable(X), batch_size=batch_size)
    took_over, runner.takes_over = runner.takes_over, False  # otherwise the caller might compute everything itself
    try:
        # Twice, as a call that follows another at once may go another way than one after a pause.
        answers = [runner.run(method, untouchable(X), batch_size=batch_size) for _ in range(2)]
    finally:
        runner.takes_over = took_over
    for got in answers:
        check_same_answer(expected, got, bit_exact=runner.bit_exact)


def _has_jobs(estimator: Any) -> bool:
    """Tell whether an estimator, or one inside it, was made to run on several threads or processes."""
    n_jobs = [value for name, value in parameters_of(estimator).items() if name.split("__")[-1] == "n_jobs"]
    return any(value not in (None, 1) for value in n_jobs)


def _n_features(X: Any) -> int:
    shape = X.shape if hasattr(X, "shape") else np.shape(X)
    return int(shape[1]) if len(shape) == 2 else 0


def _one_pass(runner: Runner, method: str, X: Any, batch_size: int) -> Callable[[], Any]:
    return lambda: runner.run(method, X, batch_size=batch_size)
