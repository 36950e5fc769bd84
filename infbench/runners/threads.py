"""Threads of this process."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, ClassVar

from infbench.runners.ambient import ambient, take_on
from infbench.runners.base import Runner
from infbench.runners.batches import Batches, join
from infbench.runners.inner_threads import InnerThreads


class ThreadsRunner(Runner):
    """Maps the batches over a `concurrent.futures.ThreadPoolExecutor`.

    Nothing is copied and nothing is pickled, but only code that releases Python's global lock runs at the same time.

    Parameters
    ----------
    estimator : object
        A fitted estimator whose methods may be called from several threads.
    n_processes : int or None, default=None
        Threads of the pool. The caller waits for them.
    inner_threads : int or None, default=1
        BLAS and OpenMP threads of each of them.
    """

    name: ClassVar[str] = "threads"
    closes_after_call: ClassVar[bool] = True  # a handler that interrupts `submit` would wait for its lock

    def _start(self) -> None:
        self._inner_threads = InnerThreads(self.inner_threads)
        self._pool = ThreadPoolExecutor(self.n_processes, thread_name_prefix="infbench")

    def _close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _run(self, method: str, batches: Batches) -> Any:
        call = getattr(self.estimator, method)
        settings = ambient()

        def compute(batch: Any) -> Any:
            self._check_not_closed()  # otherwise the call would go on to its end
            take_on(settings)
            # The limits of OpenMP and of nested jobs belong to a thread, so each sets its own.
            with self._inner_threads.limited():
                return call(batch)

        # Most BLAS libraries have one limit for the process: held here, it is not set and restored for every batch.
        with self._inner_threads.limited():
            futures: list[Future[Any]] = []
            try:
                for batch in batches:
                    futures.append(self._pool.submit(compute, batch))  # noqa: PERF401  # keeps those before an error
                return join([future.result() for future in futures])
            except BaseException:
                # Otherwise the limit of BLAS would hold for the caller until the last of them has ended.
                wait([future for future in futures if not future.cancel()])
                raise
