"""`concurrent.futures`, as its documentation shows it."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, ClassVar

from infbench.errors import RunnerError
from infbench.runners.base import Runner
from infbench.runners.batches import Batches, join, packed
from infbench.runners.pool import check_start_method, compute_with_kept, keep


class FuturesRunner(Runner):
    """Maps the batches over a `concurrent.futures.ProcessPoolExecutor`, each batch and each answer pickled.

    The estimator travels once, in the initializer.

    Parameters
    ----------
    estimator, n_processes, inner_threads, start_method
        As for `infbench.runners.pool.PoolRunner`, whose note on C-ordered batches holds here too.
    """

    name: ClassVar[str] = "futures"
    closes_after_call: ClassVar[bool] = True  # a handler that interrupts `submit` would wait for its lock

    def __init__(
        self,
        estimator: Any,
        n_processes: int | None = None,
        *,
        inner_threads: int | None = 1,
        start_method: str | None = None,
    ) -> None:
        super().__init__(estimator, n_processes, inner_threads=inner_threads)
        self.start_method = check_start_method(start_method)

    def _start(self) -> None:
        context = multiprocessing.get_context(self.start_method)
        self._pool = ProcessPoolExecutor(
            self.n_processes, context, initializer=keep, initargs=(self.estimator, self.inner_threads)
        )

    def _close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _run(self, method: str, batches: Batches) -> Any:
        answers = []
        try:
            for answer in self._pool.map(compute_with_kept, [(method, packed(batch)) for batch in batches]):
                self._check_not_closed()
                answers.append(answer)
        except BrokenProcessPool as broken:
            self._close()
            self._start()
            raise RunnerError(f"a worker of the executor died: {broken}") from broken
        return join(answers)
