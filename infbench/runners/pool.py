"""`multiprocessing.Pool`, as its documentation shows it."""

from __future__ import annotations

import multiprocessing
import multiprocessing.pool
import signal
from typing import Any, ClassVar

from infbench.errors import UnknownNameError
from infbench.runners.base import Runner
from infbench.runners.batches import Batches, join, packed
from infbench.runners.inner_threads import InnerThreads, inner_threads_of_worker
from infbench.runners.travel import errors_that_travel

_LOOK_EVERY_S = 0.1


class PoolRunner(Runner):
    """Maps the batches over a `multiprocessing.Pool`, each batch and each answer pickled.

    The estimator travels once, in the pool's initializer.

    Parameters
    ----------
    estimator : object
        A fitted, picklable estimator.
    n_processes : int or None, default=None
        Workers of the pool. The caller waits for them.
    inner_threads : int or None, default=1
        BLAS and OpenMP threads in each worker.
    start_method : {"forkserver", "spawn", "fork"} or None, default=None
        How workers start. None: forkserver if the system has it, otherwise spawn. fork, multiprocessing's default
        before Python 3.14, makes workers hang if the caller has used OpenMP.

    Raises
    ------
    InvalidParameterError
        If a parameter is invalid.

    Notes
    -----
    A batch, or an array of the estimator, that is contiguous in neither order becomes C-ordered on its way. BLAS then
    takes another path, and floats may differ from the serial ones in the last bit.

    multiprocessing's pool waits forever for the batch of a worker that was killed, and for workers that cannot load the
    estimator: it starts new ones and forgets the batch.
    """

    name: ClassVar[str] = "pool"
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

    def _start(self) -> None:
        context = multiprocessing.get_context(self.start_method)
        self._pool: multiprocessing.pool.Pool = context.Pool(
            self.n_processes, initializer=keep, initargs=(self.estimator, self.inner_threads)
        )

    def _close(self) -> None:
        self._pool.terminate()
        self._pool.join()
        del self._pool  # and its semaphores

    def _run(self, method: str, batches: Batches) -> Any:
        tasks = [(method, packed(batch)) for batch in batches]
        return join(self._answers(self._pool.map_async(compute_with_kept, tasks, chunksize=1)))

    def _answers(self, result: multiprocessing.pool.ApplyResult[list[Any]]) -> list[Any]:
        """Wait for the answers, or until a signal handler has closed the runner."""
        while not result.ready():
            result.wait(_LOOK_EVERY_S)
            self._check_not_closed()
        return result.get()


class PoolPerTaskRunner(PoolRunner):
    """Like `PoolRunner`, but the estimator travels with every batch: what people write first, shown for comparison.

    Parameters
    ----------
    estimator, n_processes, inner_threads, start_method
        See `PoolRunner`.
    """

    name: ClassVar[str] = "pool_per_task"

    def _start(self) -> None:
        context = multiprocessing.get_context(self.start_method)
        self._pool = context.Pool(self.n_processes, initializer=_leave_ctrl_c_to_the_caller)

    def _run(self, method: str, batches: Batches) -> Any:
        tasks = [(self.estimator, method, packed(batch), self.inner_threads) for batch in batches]
        return join(self._answers(self._pool.starmap_async(_compute_limited, tasks, chunksize=1)))


def check_start_method(start_method: str | None) -> str:
    """Return a start method of multiprocessing: the one given, or the safe one of this system.

    Parameters
    ----------
    start_method : str or None

    Returns
    -------
    str

    Raises
    ------
    UnknownNameError
    """
    available = multiprocessing.get_all_start_methods()
    if start_method is not None and start_method not in available:
        raise UnknownNameError("start_method", start_method, available)
    return start_method or ("forkserver" if "forkserver" in available else "spawn")


_estimator: Any = None
_limit: Any = None


def keep(estimator: Any, inner_threads: int | None) -> None:
    """Prepare a worker: keep the estimator, limit the threads, and leave Ctrl-C to the caller."""
    global _estimator, _limit
    _leave_ctrl_c_to_the_caller()
    _estimator = estimator
    _limit = InnerThreads(inner_threads).limited()  # kept, as it ends once nothing refers to it
    _limit.__enter__()


def _leave_ctrl_c_to_the_caller() -> None:
    # It reaches every process of the terminal; the caller ends the pool, and workers need not print anything.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def compute_with_kept(task: tuple[str, Any]) -> Any:
    """Compute a batch with the estimator that `keep` was given."""
    return _compute(_estimator, *task)


def _compute(estimator: Any, method: str, batch: Any) -> Any:
    with errors_that_travel():
        return getattr(estimator, method)(batch)


def _compute_limited(estimator: Any, method: str, batch: Any, inner_threads: int | None) -> Any:
    # Not when the worker starts: the libraries that are to be limited are loaded with the first estimator.
    with inner_threads_of_worker(inner_threads).limited():
        return _compute(estimator, method, batch)
