"""What several CPUs get done at once, whatever computes on them.

Two CPUs may be the two halves of one core; those of a virtual machine may be so for seconds and then not, or have a
neighbour on the other half. Then both together get little more done than one alone, and no runner can change that. A
single process is as fast as ever meanwhile, so the noise floor does not show it.
"""

from __future__ import annotations

import hashlib
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import cycle, islice
from types import TracebackType
from typing import Self

_BLOCK = bytes(1 << 18)
"""Hashing it takes a third of a millisecond, in which other threads may run Python, and no memory but a CPU's caches.
Most operations of this hash need not wait for one another, so that one loop keeps a whole core busy."""

_LOOK_S = 0.004
"""So long each loop computes: a hundred times as long as it takes to wake its thread."""


class PlainLoops:
    """Threads that do nothing but compute, one on each CPU that this process may use, or more.

    To be used in a ``with`` statement, which ends them. Where they are fewer than the CPUs, they are not timed: the
    system chooses which CPUs a runner has then, and these may share a core or not.

    Parameters
    ----------
    n_loops : int
        How many compute at once.

    Attributes
    ----------
    alone_s, together_s : list of float
        Seconds for a block: of a loop that computes alone, and of all of them at once, where it is the time of a block
        divided by `n_loops`, if none slows another down. An element for each call of `time` that timed them.

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
        n_threads = self._n_loops if self._n_loops >= len(cpus) else 0
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
        """Time a loop alone, another one with each call, and then all of them at once."""
        if not self._threads:
            return
        alone = self._threads[len(self.alone_s) % self._n_loops]
        self.alone_s.append(_begin(alone).result())
        at_once = [_begin(thread) for thread in self._threads]
        self.together_s.append(1 / sum(1 / loop.result() for loop in at_once))


_HAS_AFFINITY = hasattr(os, "sched_setaffinity")


def _stay_on(cpu: int) -> None:
    """Keep the calling thread on a CPU, where the system can do so and still has that one."""
    if _HAS_AFFINITY:
        with suppress(OSError):
            os.sched_setaffinity(0, {cpu})


def _begin(thread: ThreadPoolExecutor) -> Future[float]:
    # The time until a loop begins counts: where CPUs are too few, others compute then.
    return thread.submit(_seconds_per_block, time.perf_counter())


def _seconds_per_block(begun_s: float) -> float:
    n_blocks, now_s = 0, begun_s
    while now_s - begun_s < _LOOK_S:
        hashlib.blake2b(_BLOCK)
        n_blocks += 1
        now_s = time.perf_counter()
    return (now_s - begun_s) / n_blocks
