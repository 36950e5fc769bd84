"""Worker processes over shared memory; the caller computes too."""

from __future__ import annotations

import itertools
import math
import select
import sys
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar

from infbench.errors import InvalidParameterError, RunnerError, UnknownNameError, WorkerDied, WorkerTimeoutError
from infbench.machine import usable_cpus
from infbench.runners.ambient import ambient
from infbench.runners.base import Runner
from infbench.runners.batches import Batches, call_without_changing, join
from infbench.runners.inner_threads import InnerThreads
from infbench.runners.layout import dumps, is_packed
from infbench.runners.signals import raised_by_handler
from infbench.runners.workers import joint_copy
from infbench.runners.workers.call import Call, Held, plan_shares
from infbench.runners.workers.connections import receive_any
from infbench.runners.workers.crew import Crew
from infbench.runners.workers.handle import WorkerHandle
from infbench.runners.workers.mailbox import LIMIT, NEXT
from infbench.runners.workers.messages import News, Share
from infbench.runners.workers.rows import SharedRows, is_shareable
from infbench.runners.workers.sharing import Sharing
from infbench.runners.workers.start_methods import START_METHODS, check_start_is_possible, default_start_method

if TYPE_CHECKING:
    import numpy as np

_MOST_PATIENCE_S = 10.0  # poll() takes no infinity

_LOOK_EVERY_S = 0.05
"""How often the caller looks after its workers while it computes: often enough to replace a dead one at once, seldom
enough to cost nothing."""

_SPIN_S = 200e-6
"""How long both sides poll for a message before they sleep, if every process has a CPU of its own: about as long as it
takes to be woken. That takes some 100 us, and costs the other side, which is computing, some 50 us. So between calls in
quick succession nobody sleeps, and polling never costs much more than sleeping would have."""

_WAIT_SHARE, _MOST_WAIT_S = 0.1, 1e-3
"""A caller that has nothing left to compute polls for the last answers: for this share of the time that the call has
taken, but for at most this long. Workers finish a little later than the caller, as they began later, and having to be
woken then made calls of 2.5 to 20 ms up to 1 % longer."""


class ProcessRunner(Runner):
    """Shares the batches out among processes that were started once and hold the estimator.

    Numeric rows and answers are never pickled: workers read the rows from the caller's memory, batch by batch, and
    leave their answers in shared memory. The caller computes too: the first batches are its own, and when it has
    finished them it takes over half of what the slowest worker has not begun, until nothing is left. So it never waits
    for a worker that is late. If earlier calls suggest that computing alone takes less time, it computes alone.

    Parameters
    ----------
    estimator : object
        A fitted estimator, picklable.
    n_processes : int or None, default=None
        How many processes compute, the caller included: there are ``n_processes - 1`` workers.
    inner_threads : int or None, default=1
        BLAS and OpenMP threads in each process. With 1, the estimator's ``n_jobs`` has no effect.
    start_method : {"forkserver", "spawn", "fork"} or None, default=None
        How the template process starts, from which all workers are forked. ``"forkserver"``: forked by a launcher that
        has loaded the libraries, one for all runners of a program (not multiprocessing's fork server). ``"spawn"``: as
        a new process. ``"fork"``: forked by the caller, which may hang if the caller has used OpenMP or holds locks in
        other threads. None: forkserver on Linux, unless the program is frozen, as by PyInstaller; otherwise spawn.
    timeout : float or None, default=None
        Seconds that a worker may spend on one batch. None: as long as it takes.

    Raises
    ------
    InvalidParameterError
        If a parameter is not one of those.

    Notes
    -----
    A worker that dies is replaced and its share is computed once more; if it dies again, the call raises `WorkerDied`
    and the runner stays usable. An exception raised by the estimator keeps its type and has the worker's traceback as
    its cause. If rows or answers are not plain numbers (data frames, sparse matrices, objects), each share of them is
    pickled, once in each direction; `timeout` does not cover sending them, and limits the time that a worker takes to
    load them as if that were a batch.

    Rows of a data frame are sent without the gaps between them. So with a single row, or with rows that are not
    consecutive, as in ``frame[::2]``, BLAS may take another path in a worker, and the last bit of a float may differ.

    Workers compute under the settings of the calling thread: scikit-learn's configuration and numpy's error handling.
    If an estimator changes its rows in place, as ``StandardScaler(copy=False)`` does, only the rows that the caller
    computes change.

    If every process has a CPU of its own and computes with one thread, the workers' affinity keeps them off the CPU
    that the caller is on. The caller itself may run anywhere.

    Workers end with the runner: when it is closed or garbage-collected, and when the caller exits or is killed.

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
        is_number = isinstance(timeout, Real) and not isinstance(timeout, bool)
        if timeout is not None and not (is_number and timeout > 0):
            raise InvalidParameterError(f"timeout must be a positive number of seconds or None, got {timeout!r}")
        self.start_method = start_method or default_start_method()
        self.timeout = None if timeout is None else float(timeout)

    def _start(self) -> None:
        if not hasattr(select, "poll"):
            raise RunnerError(f"ProcessRunner needs a POSIX system, got {sys.platform}: use PoolRunner there")
        if self.n_processes > 1:
            check_start_is_possible(self.start_method)
        self._inner_threads = InnerThreads(self.inner_threads)
        self._spin_s = _SPIN_S if usable_cpus() >= self.n_processes else 0.0
        self._rows = SharedRows()
        try:
            self._crew = Crew(
                self.estimator,
                self.n_processes - 1,
                self.inner_threads,
                self.start_method,
                spin_s=self._spin_s,
                own_memory=self._rows.own_memory,
            )
        except BaseException:
            self._rows.close()
            raise
        self._release = weakref.finalize(self, _release, self._crew, self._rows)
        self._torn = False
        self._ended_s = -math.inf  # when the last call ended
        self._sharing = Sharing(self.n_processes)
        self._patience_ms = None if self.timeout is None else min(self.timeout / 10, _MOST_PATIENCE_S) * 1_000
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
        began_s = time.perf_counter()
        try:
            asleep = began_s - self._ended_s > self._spin_s
            shared = self._sharing.pays(method, batches, asleep=asleep, takes_over=self.takes_over)
            answer = self._run_shared(method, batches) if shared else self._run_alone(method, batches)
            self._sharing.note_call(time.perf_counter() - began_s)
            self._check_not_closed()  # nothing else notices that if no worker has had a share
            return answer
        finally:
            self._rows.let_go()
            self._ended_s = time.perf_counter()

    def _run_alone(self, method: str, batches: Batches) -> Any:
        compute = getattr(self.estimator, method)
        with self._inner_threads.limited():
            began_s = time.perf_counter()
            answers = [compute(batch) for batch in batches]
            self._sharing.note_costs(method, batches, len(batches), time.perf_counter() - began_s)
        return join(answers)

    def _run_shared(self, method: str, batches: Batches) -> Any:
        call = Call(method, batches)
        try:
            self._hand_out(call, self._idle_workers(call))
            with self._inner_threads.limited():
                began_s = time.perf_counter()
                self._compute(call, 0, call.n_own)
                if not call.errors:
                    self._sharing.note_costs(method, batches, call.n_own, time.perf_counter() - began_s)
                if self.takes_over:
                    self._take_over(call)
            self._wait(call)
            for held in call.held.values():  # nobody needs the rest: a batch raised, or it was taken over
                held.worker.stop()
        except BaseException as error:
            # A signal handler may have raised in the middle of a message, and the rest of it would be read as the next
            # one. The errors that are raised here on purpose never come in the middle of one.
            self._torn = not isinstance(error, WorkerDied | WorkerTimeoutError)
            if self._started_in_pid is None and _may_come_from_closing(error):
                if call.errors:
                    raise call.take_error() from None
                self._check_not_closed(error)
            call.errors.clear()  # a cycle would keep them, and all rows, until the next garbage collection
            for worker in self._crew.workers:
                worker.stop()
            raise
        return call.answer()

    def _idle_workers(self, call: Call) -> list[WorkerHandle]:
        """Return the workers that can take a share now.

        A worker may still be at a batch that the last call no longer needed: an earlier one raised, or the caller took
        it over.
        """
        if self._torn:
            self._crew.restart()
            self._watch()
            self._torn = False
        if self._poll.poll(0) or any(worker.busy for worker in self._crew.workers):
            self._look_after(call, 0)
        workers = [worker for worker in self._crew.workers if not worker.busy]
        while len(workers) < len(self._crew.workers) and not self.takes_over:
            self._sleep(call)
            workers = [worker for worker in self._crew.workers if not worker.busy]
        return workers

    def _hand_out(self, call: Call, workers: list[WorkerHandle]) -> None:
        """Give each of the workers its share."""
        batches = call.batches
        shares = plan_shares(len(batches), 1 + len(workers))
        if not shares:
            return  # all workers are still at batches that the last call did not wait for
        self._crew.keep_off_this_cpu()
        call.n_own = shares[0][0]
        X, first_row = batches.X, batches.rows(call.n_own, call.n_own)[0]
        place = self._rows.place(X[first_row:]) if is_shareable(X) else None
        settings = ambient()
        copies_too = place is not None and place.buffer is None and self._copies_too(call, len(shares))
        copies = []
        for worker, (start, stop) in zip(workers, shares, strict=False):
            pickled = room = None
            if place is None:
                first_row = batches.rows(start, stop)[0]
                pickled = self._pickle(call, start, stop)
            elif copies_too:
                room, copy = self._rows.copy_jointly(worker, batches.take(start, stop))
                copies.append(copy)
            share = Share(call.method, start, stop, batches.batch_size, first_row, room, place)
            held = call.held[worker.index] = Held(worker, share, pickled, settings, limit=stop)
            self._send(held)
        for _ in itertools.zip_longest(*copies):  # a piece for each worker in turn
            pass

    def _pickle(self, call: Call, start: int, stop: int) -> bytes:
        """Pickle the rows of a share, and note how long that took."""
        first_row, last_row = call.batches.rows(start, stop)
        began_s = time.perf_counter()
        rows = call.batches.take(start, stop)
        if hasattr(rows, "iloc"):  # a view: between its columns lie the frame's other rows
            rows = rows.copy()
        pickled = dumps(rows, main_is_importable=self._crew.main_is_importable)
        self._sharing.note_pickling(call.method, call.batches, last_row - first_row, time.perf_counter() - began_s)
        return pickled

    def _copies_too(self, call: Call, n_workers: int) -> bool:
        """Tell whether the caller should copy rows with its workers: if each has one batch, and it pays."""
        X, batch_size = call.batches.X, call.batches.batch_size
        if not self._spin_s or len(call.batches) != 1 + n_workers:
            return False
        pays = joint_copy.pays(batch_size * X.strides[0], batch_size * self._sharing.row_s(call.method, call.batches))
        return pays and is_packed(X.shape, X.strides, X.itemsize)

    def _send(self, held: Held) -> None:
        worker, share = held.worker, held.share
        worker.desk.words[NEXT], worker.desk.words[LIMIT] = share.start, held.limit
        news = self._rows.news(worker, share)
        if worker.settings != held.settings:
            worker.settings = held.settings
            news.append(News(("settings", *held.settings)))
        try:
            worker.send(share, news, held.pickled)
        except ConnectionError:
            pass  # it is dead: `_look_after` will notice that and replace it

    def _compute(self, call: Call, start: int, stop: int, *, are_shared: bool = False) -> None:
        """Compute batches in this process, looking after the workers now and then.

        A worker may begin a batch just as the caller takes it over: it must find shared rows unchanged.
        """
        compute = getattr(self.estimator, call.method)
        if are_shared:
            compute = partial(call_without_changing, compute)
        looked_s = time.monotonic()
        for index in range(start, stop):
            try:
                call.own[index] = compute(call.batches[index])
            except Exception as error:
                if raised_by_handler(error):
                    raise  # at once, without waiting for the batches before this one
                call.fail(index, error)
                return
            if time.monotonic() - looked_s > _LOOK_EVERY_S:
                self._look_after(call, 0)
                looked_s = time.monotonic()
                if index > min(call.errors, default=index):  # an earlier batch raised: nobody needs the rest
                    return

    def _take_over(self, call: Call) -> None:
        """Compute what the workers have not begun, half of the largest rest at a time, until nothing is left."""
        while True:
            self._collect(call)
            held = max(call.held.values(), key=Held.rest, default=None)
            if held is None or (rest := held.rest()) <= 0:
                return
            stop = held.limit
            held.end_at(stop - (rest + 1) // 2)
            self._compute(call, held.limit, stop, are_shared=held.share.mapped is not None)

    def _wait(self, call: Call) -> None:
        now_s = time.perf_counter()
        look_s = min(_WAIT_SHARE * (now_s - call.began_s), _MOST_WAIT_S)
        spin_until_s = now_s + (max(self._spin_s, look_s) if self._spin_s else 0.0)
        while call.is_waiting():
            if time.perf_counter() < spin_until_s:
                self._collect(call)
            else:
                self._sleep(call)

    def _sleep(self, call: Call) -> None:
        """Wait until a worker wakes this process, or is gone."""
        busy = [worker for worker in self._crew.workers if worker.busy]
        for worker in busy:
            worker.desk.dones.say_asleep()
        try:
            if not self._collect(call):
                self._look_after(call, self._patience_ms)
        finally:
            with suppress(ValueError):  # a failed restart has released the desks
                for worker in busy:
                    worker.desk.dones.say_awake()

    def _collect(self, call: Call) -> Sequence[WorkerHandle]:
        """Take the workers' answers; return the workers that need no further look now."""
        answered = []
        for worker in self._crew.workers:
            if not worker.busy:
                continue
            held = call.held.get(worker.index)
            try:
                received = worker.receive()
            except (EOFError, ConnectionError):
                self._heal(worker, call)
                return self._crew.workers  # descriptors have changed
            if received is not None:
                answered.append(worker)
                if held is not None:
                    call.finish(held, *received)
        return answered

    def _look_after(self, call: Call, wait_ms: float | None) -> None:
        """Take the workers' answers, and replace workers that are dead or take too long.

        First sleep until one of them sends something, for at most `wait_ms`; None is as long as it takes.
        """
        readable = [self._by_fd[fd] for fd, _ in self._poll.poll(wait_ms)]
        answered = self._collect(call)
        for worker in readable:
            if worker in answered:
                continue
            try:
                receive_any(worker.connection)  # it woke this process, or did so too late
            except (EOFError, ConnectionError):
                self._heal(worker, call)
                return  # descriptors have changed
        if self.timeout is not None:
            for worker in self._crew.workers:
                if worker.busy and worker.seconds_at_a_batch() > self.timeout:
                    self._give_up(worker, call)

    def _heal(self, worker: WorkerHandle, call: Call) -> None:
        """Replace a dead worker and let the new one compute its share, but only once."""
        rows = {index: held.rows_in_work(call.batches) for index, held in call.held.items()}  # restarts make new desks
        exit_code = self._crew.replace(worker)
        self._watch()
        for index, held in call.held.items():
            # The other workers are fine, unless the template was gone as well.
            if held.worker.busy or not held.is_needed():
                continue
            if held.retried:
                raise WorkerDied(rows[index], exit_code)
            held.retried = True
            self._send(held)

    def _give_up(self, worker: WorkerHandle, call: Call) -> None:
        held = call.held.get(worker.index)
        if held is None or worker.desk.words[NEXT] > held.limit:  # its batch is an earlier call's, or nobody needs it
            self._heal(worker, call)
            return
        rows = held.rows_in_work(call.batches)
        self._crew.replace(worker)
        self._watch()
        assert self.timeout is not None  # without one, nobody gives up
        raise WorkerTimeoutError(rows, self.timeout)


def _may_come_from_closing(error: BaseException) -> bool:
    """Tell whether a call may have failed with this because a signal handler closed the runner during it."""
    is_of_that_kind = isinstance(error, ValueError | OSError) and not isinstance(error, TimeoutError)
    return is_of_that_kind and not raised_by_handler(error)


def _release(crew: Crew, rows: SharedRows) -> None:
    try:
        crew.close()
    finally:
        rows.close()
