"""How callables are timed: warm and in turn, or each after a pause."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

_SAMPLE_S = 0.01
"""Shortest duration that gives a useful ratio: a pass that takes less is repeated within its turn."""

NOTICES_S = 0.1
"""A call that takes less is affected by a pause before it: its workers have slept, and so may have their CPUs; its data
have left the caches. With 50 ms between calls, two processes take 3.6 to 5.7 times as long for calls of 0.3 or 0.4 ms,
1.3 times for one of 4 ms, 1.1 to 1.5 times for 9 to 15 ms, and at most 1.1 times for 31 and 36 ms
(docs/peers_quiet.json, `process`)."""

_PAUSE_S = 0.05
"""Long enough for workers to sleep and for CPUs to slow down."""

_LOOK_S, _MOST_S = 0.012, 1.0
"""How long to check whether threads are still running (a kernel may count their time in ticks of up to 10 ms), and how
long to wait for them at most."""

_MUCH = 0.1
"""Threads that take more than this share of a CPU are not at rest."""

Progress = Callable[[int, int], None]


def time_in_turn(
    passes: Sequence[Callable[[], Any]],
    repeat: int,
    progress: Progress | None = None,
    *,
    least_s: float = 0.0,
    after_each: Callable[[], Any] | None = None,
) -> list[tuple[float, ...]]:
    """Time callables in turn, round after round, warm.

    A turn of short calls begins with as many calls that are not timed, unless the turn before was of the same callable:
    so the timed calls are warm, whatever the other callables have done in their turns. After a turn in which other
    threads of this process computed, such as those of a numeric library, the turn of another callable waits until they
    rest.

    Parameters
    ----------
    passes : sequence of callable
        Called without arguments. Warm them up first.
    repeat : int
        Rounds. Each begins with the next callable, so that none is always first, or always after the same one.
    progress : callable or None, default=None
        See `infbench.compare`.
    least_s : float, default=0.0
        About how many seconds all rounds take at least: if calls are short, there are more than `repeat` rounds.
    after_each : callable or None, default=None
        Called without arguments after each round, when all threads are at rest.

    Returns
    -------
    list of tuple of float
        For each callable, its seconds per call, by round.
    """
    durations_s: list[list[float]] = [[] for _ in passes]
    estimates_s = [_estimated_s(call) for call in passes]
    repeat = max(repeat, math.ceil(least_s / sum(map(_turn_s, estimates_s))))
    _wait_for_threads()
    if progress is not None:
        progress(0, repeat)
    last, others_computed = None, False
    for done in range(repeat):
        for turn in range(len(passes)):
            which = (done + turn) % len(passes)
            call, n_calls = passes[which], _calls_in_a_turn(estimates_s[which])
            if which != last:
                if others_computed:
                    _wait_for_threads()
                if estimates_s[which] < NOTICES_S:
                    _seconds_per_call(call, n_calls)
            seconds, others_computed = _time(call, n_calls)
            durations_s[which].append(seconds)
            last = which
        if after_each is not None:
            if others_computed:
                _wait_for_threads()
            after_each()
            last, others_computed = None, False
        if progress is not None:
            progress(done + 1, repeat)
    return [tuple(values) for values in durations_s]


def time_after_pauses(
    passes: Sequence[Callable[[], Any]], repeat: int, pause_s: float = _PAUSE_S, *, at_rest: bool = True
) -> list[tuple[float, ...]]:
    """Time single calls of several callables in turn, each after a pause in which the machine may fall asleep.

    Parameters
    ----------
    passes : sequence of callable
        Called without arguments.
    repeat : int
        Rounds.
    pause_s : float, default=0.05
        Seconds of a pause.
    at_rest : bool, default=True
        Whether a pause begins only when the other threads of this process are at rest, as in `time_in_turn`. In a
        program that serves others they may never be.

    Returns
    -------
    list of tuple of float
        For each callable, its seconds, by round.
    """
    durations_s: list[list[float]] = [[] for _ in passes]
    others_computed = True  # as far as is known
    for _ in range(repeat):
        for call, values in zip(passes, durations_s, strict=True):
            if at_rest and others_computed:
                _wait_for_threads()
            time.sleep(pause_s)
            seconds, others_computed = _time(call, 1)
            values.append(seconds)
    return [tuple(values) for values in durations_s]


def _time(call: Callable[[], Any], n_calls: int) -> tuple[float, bool]:
    """Return the seconds per call, and whether other threads of this process have computed meanwhile."""
    others_s = _cpu_seconds_of_others()
    seconds = _seconds_per_call(call, n_calls)
    return seconds, _cpu_seconds_of_others() - others_s > _MUCH * n_calls * seconds


def _seconds_per_call(call: Callable[[], Any], n_calls: int) -> float:
    begun_ns = time.perf_counter_ns()
    for _ in range(n_calls):
        call()
    return (time.perf_counter_ns() - begun_ns) / 1e9 / n_calls


def _estimated_s(call: Callable[[], Any]) -> float:
    """Return what a call takes, by timing one. A short one may have found workers asleep, so another is timed then."""
    seconds = _seconds_per_call(call, 1)
    return seconds if seconds >= _SAMPLE_S else min(seconds, _seconds_per_call(call, 1))


def _wait_for_threads() -> None:
    """Wait until the other threads of this process are at rest, for a second at most.

    Threads of a numeric library look for more work before they sleep, those of OpenBLAS for 2**28 cycles, which is
    0.13 s at 2.1 GHz (https://github.com/OpenMathLib/OpenBLAS/issues/1614). A runner that computes on two processes
    meanwhile has little more than one CPU.
    """
    end_s = time.perf_counter() + _MOST_S
    busy = True
    while busy and time.perf_counter() < end_s:
        others_s = _cpu_seconds_of_others()
        time.sleep(_LOOK_S)
        busy = _cpu_seconds_of_others() - others_s > _MUCH * _LOOK_S


def _cpu_seconds_of_others() -> float:
    """Return the CPU seconds that all threads of this process but the present one have taken."""
    return time.process_time() - time.thread_time()


def _calls_in_a_turn(estimate_s: float) -> int:
    return max(1, math.ceil(_SAMPLE_S / max(estimate_s, 1e-6)))


def _turn_s(estimate_s: float) -> float:
    """Return the seconds that a turn takes, including the calls that are not timed."""
    return max(estimate_s, _SAMPLE_S) * (2 if estimate_s < NOTICES_S else 1)
