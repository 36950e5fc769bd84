"""mpire, as its documentation shows it."""

from __future__ import annotations

import pickle
import signal
from typing import Any, ClassVar

from infbench.extras import import_extra
from infbench.runners.base import Runner
from infbench.runners.batches import Batches, join, packed
from infbench.runners.inner_threads import inner_threads_of_worker
from infbench.runners.pool import check_start_method
from infbench.runners.travel import errors_that_travel


class MpireRunner(Runner):
    """Maps the batches over an ``mpire.WorkerPool`` that keeps its workers, each batch and each answer pickled.

    The estimator travels once, as mpire's shared object.

    Parameters
    ----------
    estimator : object
        A fitted, picklable estimator.
    n_processes : int or None, default=None
        mpire's ``n_jobs``. The caller waits for them.
    inner_threads : int or None, default=1
        BLAS and OpenMP threads in each worker.
    start_method : {"forkserver", "spawn", "fork"} or None, default=None
        See `infbench.runners.pool.PoolRunner`.

    Raises
    ------
    MissingDependencyError
        If mpire is not installed.

    Notes
    -----
    A batch, or an array of the estimator, that is contiguous in neither order becomes C-ordered on its way. BLAS then
    takes another path, and floats may differ from the serial ones in the last bit.

    If a worker is killed, mpire may wait forever: a worker that was just sending an answer takes the lock of the queue
    of answers with it, and mpire waits for the others to send theirs (seen in mpire 2.10.2, in about one of ten such
    deaths).
    """

    name: ClassVar[str] = "mpire"
    closes_after_call: ClassVar[bool] = True

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
        self._mpire = import_extra("mpire", "mpire")

    def _start(self) -> None:
        self._pool = self._mpire.WorkerPool(
            n_jobs=self.n_processes,
            shared_objects=(self.estimator, self.inner_threads),
            start_method=self.start_method,
            keep_alive=True,
        )

    def _close(self) -> None:
        self._pool.terminate()
        del self._pool  # and its semaphores

    def _run(self, method: str, batches: Batches) -> Any:
        tasks = [(method, packed(batch)) for batch in batches]
        try:
            answers = self._pool.map(
                _compute,
                tasks,
                chunk_size=1,
                worker_init=_leave_ctrl_c_to_the_caller,
                concatenate_numpy_output=False,
            )
            return join(answers)
        except BaseException:
            if self._started_in_pid is not None:  # otherwise a signal handler has closed it
                self._close()
                self._start()
            raise


def _leave_ctrl_c_to_the_caller(_shared: tuple[Any, int | None]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _compute(shared: tuple[Any, int | None], method: str, batch: Any) -> Any:
    estimator, inner_threads = shared
    with inner_threads_of_worker(inner_threads).limited(), errors_that_travel(_pickled_as_by_mpire):
        return getattr(estimator, method)(batch)


def _pickled_as_by_mpire(error: BaseException) -> bytes:
    # mpire rebuilds exceptions without their constructor. A class that cannot be named makes it wait forever.
    return pickle.dumps((type(error), error.args, error.__dict__))
