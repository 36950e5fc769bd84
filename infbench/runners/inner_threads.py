"""The threads inside one process: BLAS, OpenMP, and joblib's under scikit-learn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache, partial


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
    or next to nothing where all of them had that number of threads then, as they do under ``OMP_NUM_THREADS=1``.
    BLAS limits hold for the whole process while `limited` is entered, OpenMP's for the calling thread.
    """

    def __init__(self, n_threads: int | None) -> None:
        self._n_threads = n_threads
        if n_threads is not None:
            from threadpoolctl import ThreadpoolController

            controller = ThreadpoolController()
            as_wanted = all(library.num_threads == n_threads for library in controller.lib_controllers)
            self._limit = nullcontext if as_wanted else partial(controller.limit, limits=n_threads)

    @contextmanager
    def limited(self) -> Iterator[None]:
        """Return a context manager; the limits hold inside it and the old ones come back after it."""
        if self._n_threads is None:
            yield
            return
        import joblib

        with self._limit():
            if self._n_threads > 1:
                yield
                return
            with joblib.parallel_backend("sequential"):
                yield


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
