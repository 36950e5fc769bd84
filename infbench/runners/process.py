"""Processes over shared memory, the caller computing too."""

from __future__ import annotations

import multiprocessing
import pickle
import select
import sys
import time
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from infbench.errors import InvalidParameterError, RunnerError, UnknownNameError, WorkerDied, WorkerTimeoutError
from infbench.machine import usable_cpus
from infbench.runners.base import Runner
from infbench.runners.batches import Batches
from infbench.runners.call import Call, Held, plan_shares
from infbench.runners.crew import Crew, WorkerHandle
from infbench.runners.inner_threads import InnerThreads
from infbench.runners.messages import LIMIT, NEXT, Done, Share, receive, send
from infbench.runners.rows import SharedRows, is_shareable

if TYPE_CHECKING:
    import numpy as np

START_METHODS = ("forkserver", "spawn", "fork")

_ATTEND_EVERY_S = 0.05
"""How often the caller looks after its workers while it computes: often enough to replace a dead one at once, seldom
enough to cost nothing."""

_SPIN_S = 200e-6
"""How long both sides look for a message before they sleep, where every process has a CPU of its own. To be woken takes
some 50 us and costs the other side, which is computing, some 100 us; so calls in quick succession never sleep."""


class ProcessRunner(Runner):
    """Shares the batches out among processes that were started once and hold the estimator.

    Rows and answers of numbers are never pickled: workers read the rows from the caller's memory, batch by batch, and
    their answers lie in shared memory. The caller computes too: the first batches are its own, and when it has finished
    them it takes over half of what the slowest worker has not begun, until nothing is left. So it never waits for a
    worker that is late.

    Parameters
    ----------
    estimator : object
        A fitted estimator, picklable.
    n_processes : int or None, default=None
        How many processes compute, the caller included: there are ``n_processes - 1`` workers.
    inner_threads : int or None, default=1
        BLAS and OpenMP threads in each process. With 1, ``n_jobs`` of the estimator counts for nothing.
    start_method : {"forkserver", "spawn", "fork"} or None, default=None
        How the process is started from which all workers are forked. None: forkserver on Linux, otherwise spawn. A
        fork of a caller that has used OpenMP or holds locks in other threads may hang, so it is never the default.
    timeout : float or None, default=None
        Seconds that a worker may spend on one batch. None: as long as it takes.

    Raises
    ------
    InvalidParameterError
        Where a parameter is not one of those.

    Notes
    -----
    A worker that dies is replaced and its share is computed once more; if it dies again, the call raises `WorkerDied`
    and the runner stays usable. An exception of the estimator comes back with its type, the worker's traceback as its
    cause. Where rows or answers are not plain numbers (data frames, sparse matrices, objects), a share of them is
    pickled, once, in each direction.

    Workers end with the runner: when it is closed or collected, and when the caller exits or is killed.

    Examples
    --------
    >>> import infbench
    >>> X = infbench.make_data(n_samples=1_000, n_features=20)
    >>> with ProcessRunner(infbench.make_model("logistic_regression"), n_processes=2) as runner:
    ...     runner.predict_proba(X, batch_size=100).shape
    (1000, 2)
    """

    name: ClassVar[str] = "process"

    def __init__(
        self,
        estimator: Any,
        n_processes: int | None = None,
        *,
        inner_threads: int | None = 1,
        start_method: str | None = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(estimator, n_processes, inner_threads=inner_threads)
        if start_method is not None and start_method not in START_METHODS:
            raise UnknownNameError("start_method", start_method, START_METHODS)
        if timeout is not None and not timeout > 0:
            raise InvalidParameterError(f"timeout must be a positive number of seconds or None, got {timeout!r}")
        self.start_method = start_method or ("forkserver" if sys.platform == "linux" else "spawn")
        self.timeout = timeout

    def _start(self) -> None:
        if not hasattr(select, "poll"):
            raise RunnerError(f"ProcessRunner needs a POSIX system, got {sys.platform}: use PoolRunner there")
        if multiprocessing.current_process().daemon and self.n_processes > 1:
            raise RunnerError("ProcessRunner cannot start in a daemonic process, which may not have children")
        self._inner_threads = InnerThreads(self.inner_threads)
        self._rows = SharedRows()
        self._spin_s = _SPIN_S if usable_cpus() >= self.n_processes else 0.0
        try:
            self._crew = Crew(
                self.estimator,
                self.n_processes - 1,
                self.inner_threads,
                self.start_method,
                spin_s=self._spin_s,
                memory_fd=self._rows.memory_fd,
            )
        except BaseException:
            self._rows.close()
            raise
        self._release = weakref.finalize(self, _release, self._crew, self._rows)
        self._torn = False
        self._patience_ms = None if self.timeout is None else self.timeout * 1_000 / 10
        self._watch()

    def _close(self) -> None:
        self._release()

    _close_in_fork = _close

    def _empty(self, shape: int | Sequence[int], dtype: Any) -> np.ndarray[Any, Any]:
        # Workers map this memory, so rows in it, or in a part of it, are never copied.
        return self._rows.empty(shape, dtype)

    def _watch(self) -> None:
        self._poll = select.poll()
        for worker in self._crew.workers:
            self._poll.register(worker.connection.fileno(), select.POLLIN)
        self._by_fd = {worker.connection.fileno(): worker for worker in self._crew.workers}

    def _run(self, method: str, batches: Batches) -> Any:
        call = Call(method, batches)
        try:
            self._hand_out(call, self._idle_workers(call))
            with self._inner_threads.limited():
                self._compute(call, 0, call.n_own)
                if self.takes_over:
                    self._take_over(call)
            self._wait(call)
            return call.answer()
        except BaseException as error:
            for worker in self._crew.workers:
                worker.words[LIMIT] = 0
            # Ctrl-C may have come in the middle of a message, and the rest of it would be read as the next one.
            self._torn = not isinstance(error, Exception)
            raise

    def _idle_workers(self, call: Call) -> list[WorkerHandle]:
        """Return the workers that can take a share now.

        One may still be at a batch that the last call had no need to wait for: others raised, or took it over.
        """
        if self._torn:
            self._crew.restart()
            self._watch()
            self._torn = False
        workers = self._crew.workers
        self._attend(call, 0)
        while not self.takes_over and any(worker.busy for worker in workers):
            self._attend(call, self._patience_ms)
        return [worker for worker in workers if not worker.busy]

    def _hand_out(self, call: Call, workers: list[WorkerHandle]) -> None:
        """Give each of the workers its share."""
        batches = call.batches
        shares = plan_shares(len(batches), 1 + len(workers))
        if not shares:
            return
        call.n_own = shares[0][0]
        X, first_row = batches.X, batches.rows(call.n_own, call.n_own)[0]
        place = self._rows.place(X[first_row:]) if is_shareable(X) else None
        for worker, (start, stop) in zip(workers, shares, strict=False):
            pickled = None
            if place is None:
                first_row, _ = batches.rows(start, stop)
                pickled = pickle.dumps(batches.take(start, stop), pickle.HIGHEST_PROTOCOL)
            share = Share(call.method, start, stop, batches.batch_size, first_row, place)
            held = call.held[worker.index] = Held(worker, share, pickled, limit=stop)
            self._send(held)

    def _send(self, held: Held) -> None:
        worker, share = held.worker, held.share
        worker.words[NEXT], worker.words[LIMIT] = share.start, held.limit
        worker.begin()
        try:
            if share.place is not None:
                self._rows.show(worker, share.place)
            send(worker.connection, share.to_message())
            if held.pickled is not None:
                worker.connection.send_bytes(held.pickled)
        except OSError:
            pass  # it is dead: `_receive` finds that, whoever else notices first, and heals it

    def _compute(self, call: Call, start: int, stop: int) -> None:
        """Compute batches in this process, looking after the workers now and then."""
        compute = getattr(self.estimator, call.method)
        attended_s = time.monotonic()
        for index in range(start, stop):
            try:
                call.own[index] = compute(call.batches[index])
            except Exception as error:
                call.errors[index] = error
                return
            if call.held and time.monotonic() - attended_s > _ATTEND_EVERY_S:
                self._attend(call, 0)
                attended_s = time.monotonic()

    def _take_over(self, call: Call) -> None:
        """Compute what the workers have not begun, half of the largest rest at a time, until nothing is left."""
        while not call.errors:
            self._attend(call, 0)
            held = max(call.held.values(), key=Held.rest, default=None)
            if held is None or (rest := held.rest()) <= 0:
                return
            stop = held.limit
            held.limit = held.worker.words[LIMIT] = stop - (rest + 1) // 2
            self._compute(call, held.limit, stop)

    def _wait(self, call: Call) -> None:
        spin_until_s = time.perf_counter() + self._spin_s
        while call.is_waiting():
            self._attend(call, 0 if time.perf_counter() < spin_until_s else self._patience_ms)

    def _attend(self, call: Call, wait_ms: float | None) -> None:
        """Take what workers have sent, and replace those that are dead or take too long."""
        for fd, _ in self._poll.poll(wait_ms):
            if not self._receive(self._by_fd[fd], call):
                return  # descriptors have changed
        if self.timeout is not None:
            for worker in self._crew.workers:
                if worker.busy and worker.seconds_at_a_batch() > self.timeout:
                    self._give_up(worker, call)

    def _receive(self, worker: WorkerHandle, call: Call) -> bool:
        """Take a worker's answer; return whether it is still the same process."""
        held = call.held.get(worker.index)
        try:
            message = receive(worker.connection)
            if message[0] == "answers":
                worker.take_answers(message[1])
                message = receive(worker.connection)
        except (EOFError, OSError):
            self._heal(worker, call)
            return False
        worker.busy = False
        if held is not None:
            call.finish(held, Done.from_message(message))
        return True

    def _heal(self, worker: WorkerHandle, call: Call) -> None:
        """Replace a dead worker and let the new one compute the share, once."""
        exit_code = self._crew.replace(worker)
        self._watch()
        for held in call.held.values():
            if held.worker.busy:  # the others are fine, unless the template was gone as well
                continue
            if held.retried:
                raise WorkerDied(held.rows_in_work(call.batches), exit_code)
            held.retried = True
            self._send(held)

    def _give_up(self, worker: WorkerHandle, call: Call) -> None:
        self._crew.replace(worker)
        self._watch()
        if worker.index in call.held:
            first, last = call.held[worker.index].rows_in_work(call.batches)
            raise WorkerTimeoutError(
                f"a worker did not finish rows {first} to {last} within {self.timeout} s; it was killed and replaced"
            )


def _release(crew: Crew, rows: SharedRows) -> None:
    crew.close()
    rows.close()
