"""How much several CPUs get done at once, whatever computes on them.

Two CPUs may be the two halves of one core. Those of a virtual machine may be so for some seconds and then not, or have
a neighbour on the other half of their core. Then both together get little more done than one alone, and no runner can
change that. A single process is as fast as ever meanwhile, so the noise floor does not show it.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import cycle, islice
from types import TracebackType
from typing import Self

_BLOCK = bytes(1 << 18)
"""Hashing it takes a third of a millisecond, during which other threads may run Python, and uses no memory but a CPU's
caches. Most operations of this hash need not wait for one another, so that one loop keeps a whole core busy."""

_LOOK_S = 0.004
"""How long each loop computes: a hundred times as long as waking its thread takes."""

_HAND_OUT_S = 30e-6
"""How long it takes to hand a loop to its thread. No loop begins before all are handed out."""

_MOST = 16
"""More loops are not timed: between blocks each needs Python's global lock, and would have to wait for it."""


class PlainLoops:
    """Threads that do nothing but compute, one or more on each CPU that this process may use.

    To be used in a ``with`` statement, which ends them. Fewer loops than CPUs are not timed: the system then chooses
    which CPUs a runner gets, and these may share a core or not. Nor are more than 16 loops.

    Parameters
    ----------
    n_loops : int
        How many compute at once.

    Attributes
    ----------
    alone_s, together_s : list of float
        Seconds per block: of a loop that computes alone, and of all loops at once. If no loop slows another down, the
        latter is the former divided by `n_loops`. One element for each call of `time` that timed them.

    Examples
    --------
    >>> import os
    >>> with PlainLoops(os.cpu_count()) as loops:
    ...     loops.time()
    >>> loops.alone_s[0] > 0, loops.together_s[0] > 0
    (True, True)
    """

    def __init__(self, n_loops: int) -> None:
        self.alone_s: list[float] = []
        self.together_s: list[float] = []
        self._n_loops = n_loops
        self._open = ExitStack()

    def __enter__(self) -> Self:
        cpus = sorted(os.sched_getaffinity(0)) if _HAS_AFFINITY else list(range(os.cpu_count() or 1))
        n_threads = self._n_loops if len(cpus) <= self._n_loops <= _MOST else 0
        self._threads = [
            self._open.enter_context(ThreadPoolExecutor(1, "infbench-loop", _stay_on, (cpu,)))
            for cpu in islice(cycle(cpus), n_threads)
        ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open.close()

    def time(self) -> None:
        """Time one loop alone, a different one in each call, and then all loops at once."""
        if not self._threads:
            return
        alone = self._threads[len(self.alone_s) % self._n_loops]
        self.alone_s.append(1 / _blocks_per_s([alone]))
        self.together_s.append(1 / _blocks_per_s(self._threads))


_HAS_AFFINITY = hasattr(os, "sched_setaffinity")


def _stay_on(cpu: int) -> None:
    """Keep the calling thread on a CPU, if the system can do so and still has that CPU."""
    if _HAS_AFFINITY:
        with suppress(OSError):
            os.sched_setaffinity(0, {cpu})


def _blocks_per_s(threads: Sequence[ThreadPoolExecutor]) -> float:
    """Return how many blocks per second all threads get done at once."""
    total = 0.0
    while not total:  # 0 if none of them got a CPU in time
        begin_s = time.perf_counter() + len(threads) * _HAND_OUT_S
        loops = [thread.submit(_blocks_per_s_from, begin_s) for thread in threads]
        total = sum(loop.result() for loop in loops)
    return total


def _blocks_per_s_from(begin_s: float) -> float:
    time.sleep(max(0.0, begin_s - time.perf_counter()))
    n_blocks, now_s = 0, time.perf_counter()
    # The time until the loop begins counts: if there are too few CPUs, other loops compute meanwhile.
    while now_s - begin_s < _LOOK_S:
        hashlib.blake2b(_BLOCK)
        n_blocks += 1
        now_s = time.perf_counter()
    return n_blocks / (now_s - begin_s)
