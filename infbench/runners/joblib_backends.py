"""joblib's own processes and threads, as its documentation shows them."""

from __future__ import annotations

import threading
from typing import Any, ClassVar
from weakref import WeakSet

import joblib
from joblib.externals.loky.backend import reduction
from joblib.externals.loky.process_executor import BrokenProcessPool

from infbench.errors import RunnerError
from infbench.runners.base import Runner
from infbench.runners.batches import Batches, join, packed
from infbench.runners.inner_threads import InnerThreads, inner_threads_of_worker
from infbench.runners.travel import errors_that_travel


class _JoblibRunner(Runner):
    """Hands each batch to a reused ``joblib.Parallel``."""

    # Ended in the middle of a call, joblib would wait forever for its threads, or hide a handler's error with its own.
    closes_after_call: ClassVar[bool] = True

    def _start(self) -> None:
        with self._backend():
            self._parallel = joblib.Parallel(n_jobs=self.n_processes)
        self._parallel.__enter__()

    def _close(self) -> None:
        self._parallel.__exit__(None, None, None)

    def _backend(self) -> Any:
        """Return the context in which ``joblib.Parallel`` finds its backend."""
        raise NotImplementedError

    def _task(self, method: str, batch: Any) -> Any:
        """Return the task of a batch, as joblib takes it."""
        raise NotImplementedError

    def _run(self, method: str, batches: Batches) -> Any:
        try:
            answers = self._parallel(self._task(method, batch) for batch in batches)
            return _joined(answers, len(batches))
        except BaseException:
            # After an error, joblib returns left-over answers with the next call in the same context (seen in joblib
            # 1.3 to 1.6).
            if self._started_in_pid is not None:
                self._close()
                self._start()
            raise


class LokyRunner(_JoblibRunner):
    """Hands each batch to ``joblib.Parallel`` with the loky backend.

    The estimator is an argument of every task: joblib dumps its large arrays to a memory map, and pickles the rest with
    each batch.

    Parameters
    ----------
    estimator : object
        A fitted, picklable estimator.
    n_processes : int or None, default=None
        joblib's ``n_jobs``. The caller waits for them.
    inner_threads : int or None, default=1
        BLAS and OpenMP threads in each worker.

    Notes
    -----
    A batch, or an array of the estimator, that is contiguous in neither order becomes C-ordered on its way. BLAS then
    takes another path, and floats may differ from the serial ones in the last bit.

    loky has one set of workers in a process. Closing the last of these runners ends the workers, even if another
    ``joblib.Parallel`` in the process is using them.
    """

    name: ClassVar[str] = "loky"
    _started: ClassVar[WeakSet[LokyRunner]] = WeakSet()  # all of them share the workers

    def _start(self) -> None:
        super()._start()
        LokyRunner._started.add(self)

    def _backend(self) -> Any:
        options = {} if self.inner_threads is None else {"inner_max_num_threads": self.inner_threads}
        return joblib.parallel_backend("loky", n_jobs=self.n_processes, **options)

    def _task(self, method: str, batch: Any) -> Any:
        return joblib.delayed(compute_in_worker)(self.estimator, method, packed(batch), self.inner_threads)

    def _close(self) -> None:
        LokyRunner._started.discard(self)
        if not LokyRunner._started:
            # loky would keep its workers and its memory maps for the next use by anything in this process.
            self._parallel._backend.abort_everything(ensure_ready=False)  # noqa: SLF001  # its users have no other way
        super()._close()

    def _run(self, method: str, batches: Batches) -> Any:
        try:
            return super()._run(method, batches)
        except BrokenProcessPool as broken:
            raise RunnerError(f"a worker of loky died, or could not load its task: {broken}") from broken


class ThreadingRunner(_JoblibRunner):
    """Hands each batch to ``joblib.Parallel`` with the threading backend.

    Parameters
    ----------
    estimator : object
        A fitted estimator whose methods may be called from several threads.
    n_processes : int or None, default=None
        joblib's ``n_jobs``. The caller waits for them.
    inner_threads : int or None, default=1
        BLAS and OpenMP threads of each thread.
    """

    name: ClassVar[str] = "threading"

    def _start(self) -> None:
        self._inner_threads = InnerThreads(self.inner_threads)
        self._threads: set[threading.Thread] = set()
        super()._start()

    def _close(self) -> None:
        super()._close()
        # joblib does not wait for them, and the limit of BLAS would hold for the caller until the last one has ended.
        for thread in self._threads - {threading.current_thread()}:
            thread.join()

    def _backend(self) -> Any:
        return joblib.parallel_backend("threading", n_jobs=self.n_processes)

    def _task(self, method: str, batch: Any) -> Any:
        return joblib.delayed(self._compute)(method, batch)

    def _compute(self, method: str, batch: Any) -> Any:
        self._check_not_closed()  # otherwise the call would go on to its end
        self._threads.add(threading.current_thread())
        # The limits of OpenMP and of nested jobs belong to a thread, so each sets its own.
        with self._inner_threads.limited():
            return getattr(self.estimator, method)(batch)

    def _run(self, method: str, batches: Batches) -> Any:
        # Most BLAS libraries have one limit for the process: held here, it is not set and restored for every batch.
        with self._inner_threads.limited():
            return super()._run(method, batches)


def _joined(answers: list[Any], n_batches: int) -> Any:
    if len(answers) != n_batches:
        raise RunnerError(f"joblib returned {len(answers)} answers for {n_batches} batches")
    return join(answers)


def compute_in_worker(estimator: Any, method: str, batch: Any, inner_threads: int | None) -> Any:
    """Compute a batch in a worker that receives the estimator with each task."""
    with inner_threads_of_worker(inner_threads).limited(), errors_that_travel(reduction.dumps):
        return getattr(estimator, method)(batch)
