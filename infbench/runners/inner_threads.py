"""The threads inside one process: BLAS, OpenMP, and joblib's under scikit-learn."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
            self._blas, self._openmp = (controller.select(user_api=name) for name in ("blas", "openmp"))

    @contextmanager
    def limited(self) -> Iterator[None]:
        """Return a context manager; the limits hold inside it and the old ones come back after it."""
        if self._n_threads is None:
            yield
            return
        import joblib

        with ExitStack() as limits:
            if not _of_blas.is_needless(self._blas, self._n_threads):
                limits.enter_context(_of_blas.held(self._blas, self._n_threads))
            if not _have(self._openmp, self._n_threads):
                limits.enter_context(self._openmp.limit(limits=self._n_threads))
            if self._n_threads == 1:
                limits.enter_context(joblib.parallel_backend("sequential"))
            yield


class _Shared:
    """A limit that all threads of this process share."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.n_inside = 0
        self._limit: Any = None

    def is_needless(self, libraries: Any, n_threads: int) -> bool:
        """Tell whether the libraries have that number of threads without any limit of this."""
        with self.lock:
            return self.n_inside == 0 and _have(libraries, n_threads)

    @contextmanager
    def held(self, libraries: Any, n_threads: int) -> Iterator[None]:
        with self.lock:
            if self.n_inside == 0:
                self._limit = libraries.limit(limits=n_threads)
            self.n_inside += 1
        try:
            yield
        finally:
            with self.lock:
                self.n_inside -= 1
                if self.n_inside == 0:
                    self._limit.restore_original_limits()


def _have(libraries: Any, n_threads: int) -> bool:
    return all(library.get_num_threads() == n_threads for library in libraries.lib_controllers)


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
