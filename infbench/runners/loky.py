"""joblib's own processes."""

from __future__ import annotations

from typing import Any, ClassVar

import joblib

from infbench.errors import RunnerError
from infbench.runners.base import Runner
from infbench.runners.batches import Batches, join, packed
from infbench.runners.inner_threads import InnerThreads


class LokyRunner(Runner):
    """Hands each batch to ``joblib.Parallel`` with the loky backend, as joblib's documentation shows it.

    The estimator is an argument of every task: joblib dumps large arrays in it to a memory map, and the rest is pickled
    with each batch.

    Parameters
    ----------
    estimator : object
        A fitted estimator, picklable.
    n_processes : int or None, default=None
        joblib's ``n_jobs``. The caller waits for them.
    inner_threads : int or None, default=1
        BLAS and OpenMP threads in each worker.

    Notes
    -----
    A batch that is contiguous in no order becomes C-ordered on its way. BLAS then takes another path, and floats may
    differ from the serial ones in the last bit.
    """

    name: ClassVar[str] = "loky"

    def _start(self) -> None:
        self._enter()

    def _close(self) -> None:
        self._parallel.__exit__(None, None, None)
        # loky keeps its workers for the next use by anybody in this process, for five minutes.
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(wait=True, kill_workers=True)

    def _enter(self) -> None:
        options = {} if self.inner_threads is None else {"inner_max_num_threads": self.inner_threads}
        with joblib.parallel_backend("loky", n_jobs=self.n_processes, **options):
            self._parallel = joblib.Parallel(n_jobs=self.n_processes)
        self._parallel.__enter__()

    def _run(self, method: str, batches: Batches) -> Any:
        call = joblib.delayed(_compute)
        try:
            answers = self._parallel(
                call(self.estimator, method, packed(batch), self.inner_threads) for batch in batches
            )
        except BaseException:
            # After an error a context hands out left-over answers with the next call (seen in joblib 1.3 to 1.6).
            self._close()
            self._enter()
            raise
        if len(answers) != len(batches):
            raise RunnerError(f"joblib returned {len(answers)} answers for {len(batches)} batches")
        return join(answers)


def _compute(estimator: Any, method: str, batch: Any, inner_threads: int | None) -> Any:
    with InnerThreads(inner_threads).limited():
        return getattr(estimator, method)(batch)
