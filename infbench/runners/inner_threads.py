"""The threads inside one process: BLAS, OpenMP, and joblib's under scikit-learn."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any


class InnerThreads:
    """Limits the threads of the libraries that are loaded now.

    On two cores, two workers with two BLAS or OpenMP threads each are slower than one process with two threads. So each
    process that computes gets one thread, unless its user asks for another number.

    Parameters
    ----------
    n_threads : int or None
        Threads for BLAS and OpenMP. With 1, a nested ``n_jobs`` has no effect either: joblib runs one job after the
        other. None: no limit at all.

    Notes
    -----
    Looking for the loaded libraries takes milliseconds, so it is done only once, when an instance is made. Entering
    `limited` takes some 25 us, or a few if all libraries have that number of threads already, as they do under
    ``OMP_NUM_THREADS=1``.

    Limits of OpenMP hold for the calling thread, and so do those of MKL and of an OpenBLAS that is built on OpenMP.
    Other BLAS libraries have one limit for the whole process. Among all instances in all threads, the first to enter
    `limited` sets it, and the last to leave puts the old one back. A limit that is set elsewhere meanwhile is lost, and
    a process forked meanwhile keeps the limit.
    """

    def __init__(self, n_threads: int | None) -> None:
        self._n_threads = n_threads
        if n_threads is not None:
            from threadpoolctl import ThreadpoolController

            libraries = ThreadpoolController().lib_controllers
            self._of_thread = [library for library in libraries if _is_limited_by_thread(library)]
            self._of_process = [library for library in libraries if library not in self._of_thread]

    @contextmanager
    def limited(self) -> Iterator[None]:
        """Return a context manager; the limits hold inside it, and the old ones are restored after it."""
        if self._n_threads is None:
            yield
            return
        import joblib

        held = _of_process.take(self._of_process, self._n_threads)
        try:
            before = _threads_to_put_back(self._of_thread, self._n_threads)
            try:
                _set_threads(self._of_thread, [self._n_threads] * len(before))
                with joblib.parallel_backend("sequential") if self._n_threads == 1 else nullcontext():
                    yield
            finally:
                _set_threads(self._of_thread, before)
        finally:
            if held:
                _of_process.let_go()


def _is_limited_by_thread(library: Any) -> bool:
    is_on_openmp = library.internal_api == "openblas" and library.threading_layer == "openmp"
    return bool(is_on_openmp or library.internal_api == "mkl" or library.user_api == "openmp")


class _Shared:
    """A limit that all threads of this process share."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # a signal handler may compute too, in the middle of this
        self.n_inside = 0
        self._mine = threading.local()
        self._libraries: Sequence[Any] = ()
        self._before: list[int] = []

    def take(self, libraries: Sequence[Any], n_threads: int) -> bool:
        """Tell whether there now is a limit that must be let go of; none is needed if it would change nothing."""
        with self.lock:
            if self.n_inside == 0:
                before = _threads_to_put_back(libraries, n_threads)
                if not before:
                    return False
                self._libraries, self._before = libraries, before
                _release_control(libraries)
                try:
                    _set_threads(libraries, [n_threads] * len(before))
                except BaseException:  # of a signal handler
                    _set_threads(libraries, before)
                    raise
            self.n_inside += 1
            self._mine.n_inside = self._n_mine() + 1
            return True

    def let_go(self) -> None:
        """Restore the numbers of threads, if nothing else needs the limit."""
        with self.lock:
            self.n_inside -= 1
            self._mine.n_inside -= 1
            if self.n_inside == 0:
                _release_control(self._libraries)
                _set_threads(self._libraries, self._before)
                _release_control(self._libraries)

    def forget_others(self) -> None:
        """Count only this thread's limits: in a fork the other threads do not exist, and never let go of theirs."""
        self.lock = threading.RLock()
        self.n_inside = self._n_mine()

    def _n_mine(self) -> int:
        return getattr(self._mine, "n_inside", 0)


def _threads_to_put_back(libraries: Sequence[Any], n_threads: int) -> list[int]:
    """Return how many threads each of the libraries has now, nothing if all have that number already."""
    before = [library.get_num_threads() for library in libraries]
    return [] if all(n_before == n_threads for n_before in before) else before


def _set_threads(libraries: Sequence[Any], numbers: Sequence[int]) -> None:
    """Set the threads of each library, or of none if there are no numbers.

    `threadpoolctl.threadpool_limits` does the same, but takes twice as long, because it queries every property of each
    library.
    """
    for library, n_threads in zip(libraries, numbers, strict=False):
        library.set_num_threads(n_threads)


def _release_control(libraries: Sequence[Any]) -> None:
    """Let any thread set the threads of OpenBLAS.

    From version 3.8 on, threadpoolctl lets only one thread do so and ignores the others: the first that did, until it
    ends or, if it did so in a ``with`` block, until that block ends. So this is called before a limit is set or
    removed, for the calling thread, and after it is removed, for the others.
    """
    for library in libraries:
        if hasattr(library, "clear_controlling_thread"):
            library.clear_controlling_thread(force=True)
            return  # they all share it


_of_process = _Shared()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_of_process.forget_others)


@cache
def inner_threads_of_worker(n_threads: int | None) -> InnerThreads:
    """Return the `InnerThreads` of a worker process that computes task after task, made with the first task.

    Parameters
    ----------
    n_threads : int or None

    Returns
    -------
    InnerThreads
    """
    return InnerThreads(n_threads)
