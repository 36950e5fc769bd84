"""The threads inside one process: BLAS, OpenMP, and joblib's under scikit-learn."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any


class InnerThreads:
    """Limits the threads of the libraries that are loaded now.

    Two workers with two BLAS or OpenMP threads each on two cores are slower than one process with two. So each process
    that computes gets one, unless its user asks for another number.

    Parameters
    ----------
    n_threads : int or None
        Threads for BLAS and OpenMP. With 1 a nested ``n_jobs`` counts for nothing either: joblib runs one job after the
        other. None: no limit at all.

    Notes
    -----
    Looking for the loaded libraries takes milliseconds, so it is done once, here; entering `limited` takes some 20 us,
    or a few where all of them have that number of threads already, as they do under ``OMP_NUM_THREADS=1``.

    OpenMP's limits hold for the calling thread. BLAS has one for the whole process: it is set by the first that enters
    `limited`, of all instances in all threads, and put back by the last that leaves.
    """

    def __init__(self, n_threads: int | None) -> None:
        self._n_threads = n_threads
        if n_threads is not None:
            from threadpoolctl import ThreadpoolController

            controller = ThreadpoolController()
            self._blas, self._openmp = (controller.select(user_api=name).lib_controllers for name in ("blas", "openmp"))

    @contextmanager
    def limited(self) -> Iterator[None]:
        """Return a context manager; the limits hold inside it and the old ones come back after it."""
        if self._n_threads is None:
            yield
            return
        import joblib

        holds_blas = _of_blas.take(self._blas, self._n_threads)
        try:
            openmp_before = _limit(self._openmp, self._n_threads)
            try:
                with joblib.parallel_backend("sequential") if self._n_threads == 1 else nullcontext():
                    yield
            finally:
                _put_back(self._openmp, openmp_before)
        finally:
            if holds_blas:
                _of_blas.let_go()


class _Shared:
    """A limit that all threads of this process share."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.n_inside = 0

    def take(self, libraries: Sequence[Any], n_threads: int) -> bool:
        """Tell whether there is a limit now, to be let go of; none is needed where nothing would change."""
        with self.lock:
            if self.n_inside == 0:
                self._libraries, self._before = libraries, _limit(libraries, n_threads)
                if not self._before:
                    return False
            self.n_inside += 1
            return True

    def let_go(self) -> None:
        """Put the numbers of threads back, if nobody else needs the limit."""
        with self.lock:
            self.n_inside -= 1
            if self.n_inside == 0:
                _put_back(self._libraries, self._before)


def _limit(libraries: Sequence[Any], n_threads: int) -> list[int]:
    """Set the threads of libraries; return what they had, nothing if all had that number already.

    This is what `threadpoolctl.threadpool_limits` does, in less time.
    """
    before = [library.get_num_threads() for library in libraries]
    if all(n_before == n_threads for n_before in before):
        return []
    _release_control(libraries)
    for library in libraries:
        library.set_num_threads(n_threads)
    return before


def _put_back(libraries: Sequence[Any], before: list[int]) -> None:
    if before:
        _release_control(libraries)
        for library, n_threads in zip(libraries, before, strict=True):
            library.set_num_threads(n_threads)
        _release_control(libraries)


def _release_control(libraries: Sequence[Any]) -> None:
    """Let any thread set the threads of OpenBLAS.

    From version 3.8 on, threadpoolctl lets one thread only, and ignores the others: the first that did, until it ends
    or, where it did so in a ``with`` block, until that ends. So it is called before, for this thread, and after, for
    the others.
    """
    for library in libraries:
        if hasattr(library, "clear_controlling_thread"):
            library.clear_controlling_thread(force=True)
            return  # they all share it


_of_blas = _Shared()


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
