"""The processes behind `ProcessRunner`, as seen from the caller: brought up, replaced, and ended."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import spawn
from typing import Any, BinaryIO
from weakref import WeakSet

from infbench.errors import RunnerError, WorkerStartError
from infbench.runners.base import parameters_of
from infbench.runners.layout import dump
from infbench.runners.workers.buffers import SharedBuffer, anonymous_file
from infbench.runners.workers.caller_memory import OwnMemory
from infbench.runners.workers.connections import private_pipe, receive, send, send_fd
from infbench.runners.workers.handle import WorkerHandle
from infbench.runners.workers.helper import Helper
from infbench.runners.workers.launcher import launcher, main_is_importable
from infbench.runners.workers.mailbox import DESK_BYTES, Desk
from infbench.runners.workers.messages import exception_from_bytes

_EXIT_TIMEOUT_S = 2.0
_DIED = (
    "the template process died while it loaded the estimator; does the script that starts it have the line "
    "`if __name__ == '__main__':`?"
)


class Crew:
    """A template process and the workers that it forked.

    Parameters
    ----------
    estimator : object
        Pickled for every template that starts.
    n_workers : int
    inner_threads : int or None
        BLAS and OpenMP threads of each worker.
    start_method : {"forkserver", "spawn", "fork"}
        How the template starts: forked by the launcher, as a new process, or forked by the caller. It always forks the
        workers itself.
    spin_s : float
        Seconds for which a worker polls for its next share before it sleeps; 0 if there are not enough CPUs.
    own_memory : OwnMemory or None
        The caller's memory, for the workers to read. The caller closes it, but not before the crew.

    Attributes
    ----------
    workers : list of WorkerHandle
    template : Helper or None
        None if there are no workers.
    main_is_importable : bool
        Whether workers can have the main module, and so load what is pickled by name from it.

    Raises
    ------
    WorkerStartError
        If the estimator cannot be pickled, or does not load in the template. No process is left running then.
    """

    def __init__(
        self,
        estimator: Any,
        n_workers: int,
        inner_threads: int | None,
        start_method: str,
        *,
        spin_s: float,
        own_memory: OwnMemory | None,
    ) -> None:
        self._estimator = estimator
        self._start_method = start_method
        self._inner_threads = inner_threads
        self._spin_s = spin_s
        self._own_memory = own_memory
        # A fork has the main module, whatever that is.
        self.main_is_importable = start_method == "fork" or main_is_importable()
        self._this_cpu = _find_sched_getcpu() if spin_s and inner_threads == 1 else None
        self._cpus = os.sched_getaffinity(0) if self._this_cpu else set()
        self._is_closed = False
        self.template: Helper | None = None
        self._control: SharedBuffer | None = None
        self.workers = [WorkerHandle(index) for index in range(n_workers)]
        _crews.add(self)
        try:
            self._bring_up()
        except BaseException:
            self.close()
            raise

    def keep_off_this_cpu(self) -> None:
        """Move all workers away from the CPU that the caller computes on.

        A message wakes a worker on the CPU of its sender, as the kernel expects the sender to sleep next. But the
        caller computes, and it takes tens of milliseconds until the kernel moves the two apart: longer than most calls.
        If threads of the estimator need CPUs as well, workers may use all of them.
        """
        if self._this_cpu is None:
            return
        cpu = self._this_cpu()
        for worker in self.workers:
            if worker.kept_off != cpu and (others := self._cpus - {cpu}):
                worker.kept_off = cpu
                with suppress(OSError):  # it is dead, which will be noticed, or a container's CPUs have changed
                    os.sched_setaffinity(worker.pid, others)

    def replace(self, worker: WorkerHandle) -> int | None:
        """End a worker's process, if it has not ended, and fork another in its place.

        Parameters
        ----------
        worker : WorkerHandle
            One of `workers`.

        Returns
        -------
        int or None
            The exit code of the old process; None if the template was gone too, so that nobody can tell.

        Raises
        ------
        WorkerStartError
            If no new process can start.
        RunnerError
            If a signal handler has closed the runner.
        """
        pid = worker.pid
        worker.disconnect()
        exit_code: int | None = None
        with _start_errors(), suppress(EOFError, ConnectionError):
            if pid != -1 and self.template is not None:  # if not, an earlier replacement was cut short
                send(self.template.connection, ("end", pid))
                exit_code = receive(self.template.connection)
                self._fork(self.template, worker)
                return exit_code
        self.restart()
        return exit_code

    def close(self) -> None:
        """End all processes and give back the memory. A fork of the caller only drops its own copies."""
        self._is_closed = True
        try:
            for worker in self.workers:
                worker.disconnect()
            self._end_template()
        finally:
            self._clear_desks()

    def restart(self) -> None:
        """End all processes and bring up new ones.

        Raises
        ------
        WorkerStartError, RunnerError
            See `replace`.
        """
        for worker in self.workers:
            worker.disconnect()
        self._end_template()
        self._clear_desks()
        self._bring_up()

    def _bring_up(self) -> None:
        self._check_open()
        if not self.workers:  # the caller computes alone
            return
        with _start_errors():
            # New with every template: if the last one was killed, one of its workers may still be at a batch.
            self._control = SharedBuffer.create(len(self.workers) * DESK_BYTES)
            memory = self._control.view()
            for worker in self.workers:
                worker.desk = Desk(memory, worker.index)
            with os.fdopen(anonymous_file(), "wb") as pickled:
                self._pickle(pickled)
                self.template = self._start_template()
                self._check_open()
                self._load(self.template, pickled)
            for worker in self.workers:
                self._fork(self.template, worker)

    def _check_open(self) -> None:
        if self._is_closed:
            self._end_template()
            raise RunnerError("the runner was closed during the call")

    def _clear_desks(self) -> None:
        if self._control is not None:
            for worker in self.workers:
                if hasattr(worker, "desk"):  # it has none if a signal handler raised first
                    worker.desk.close()
            self._control.close()
            self._control = None

    def _pickle(self, file: BinaryIO) -> None:
        try:
            dump(self._estimator, file, main_is_importable=self.main_is_importable)
            file.flush()
        except TimeoutError:  # raised by a signal handler
            raise
        except Exception as broken:
            raise WorkerStartError(f"the estimator cannot be pickled for the workers: {broken!r}") from broken

    def _start_template(self) -> Helper:
        arguments = (self._inner_threads, self._spin_s)
        if self._start_method != "forkserver":
            return Helper.start_template(self._start_method, *arguments)
        try:
            return launcher.launch(_modules_of(self._estimator), *arguments)
        except (EOFError, ConnectionError) as gone:
            python = os.fsdecode(spawn.get_executable())
            raise WorkerStartError(
                f"the launcher process died: can {python} run infbench? If not, name a Python that can to "
                "multiprocessing.set_executable()"
            ) from gone

    def _load(self, template: Helper, pickled: BinaryIO) -> None:
        """Have the template load the estimator."""
        assert self._control is not None  # it is made just before
        memory = self._own_memory
        how_to_read = None if memory is None else (memory.pid, memory.sample_address)
        try:
            send(template.connection, ("load", self._control.n_bytes, how_to_read))
            send_fd(template.connection, self._control.fd)
            if memory is not None:
                send_fd(template.connection, memory.fd)
            send_fd(template.connection, pickled.fileno())  # a connection would copy its megabytes bit by bit
            answer = receive(template.connection)
        except (EOFError, ConnectionError) as gone:
            raise WorkerStartError(_DIED) from gone
        if answer[0] == "failed":
            error = exception_from_bytes(answer[1])
            raise WorkerStartError(f"the estimator does not load in another process: {error!r}") from error

    def _fork(self, template: Helper, worker: WorkerHandle) -> None:
        ours, theirs = private_pipe()
        worker.desk.clear()
        try:
            send(template.connection, ("fork", worker.index))
            send_fd(template.connection, theirs.fileno())
            worker.connect(ours, receive(template.connection))
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()

    def _end_template(self) -> None:
        template, self.template = self.template, None
        if template is not None:
            template.end(_EXIT_TIMEOUT_S)


@contextmanager
def _start_errors() -> Iterator[None]:
    """Turn the errors of a system that starts no process into the `WorkerStartError` that callers know."""
    try:
        yield
    except TimeoutError:  # raised by a signal handler: nothing here has a time limit
        raise
    except (EOFError, OSError) as error:
        raise WorkerStartError(f"the system cannot start a worker: {error!r}") from error


_crews: WeakSet[Crew] = WeakSet()


def _after_fork_in_child() -> None:
    """Leave all crews, and their memory, to the process that made them."""
    for crew in _crews:
        with suppress(Exception):  # nobody would see it here
            crew.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def _find_sched_getcpu() -> Callable[[], int] | None:
    """Return a function that tells the CPU of the calling thread, or None if processes cannot be moved."""
    return getattr(ctypes.CDLL(None), "sched_getcpu", None) if hasattr(os, "sched_setaffinity") else None


def _modules_of(estimator: Any) -> list[str]:
    """Return the modules that define an estimator and the estimators inside it."""
    modules = {type(part).__module__ for part in (estimator, *parameters_of(estimator).values())}
    return sorted(modules - {"builtins", "__main__"})
