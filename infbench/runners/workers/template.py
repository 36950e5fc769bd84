"""The template process: loads the estimator once, then forks the workers.

Workers that are forked from one template share its memory, so another worker costs milliseconds and next to no memory,
and a dead one is replaced as quickly. Forking is safe here, but not in the caller, because a template never computes:
it has no thread of BLAS or OpenMP that a fork could break.

If the template is spawned, this module loads neither numpy nor the estimator's library before it has set their numbers
of threads. If it is forked, it finds them loaded, and limits them.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, NoReturn

from infbench.runners.signals import leave_ending_to_the_caller
from infbench.runners.workers.connections import receive, receive_fd, send
from infbench.runners.workers.messages import exception_to_bytes

if TYPE_CHECKING:
    from infbench.runners.workers.worker import Worker

_EXIT_GRACE_S = 0.2
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from malloc.h


def run_template(connection: Connection, inner_threads: int | None, spin_s: float) -> None:
    """Serve as the template process until the caller closes the connection.

    Parameters
    ----------
    connection : Connection
        To the caller.
    inner_threads : int or None
        BLAS and OpenMP threads of every worker.
    spin_s : float
        Seconds for which a worker polls for its next share before it sleeps.
    """
    leave_ending_to_the_caller()
    share_resource_tracker()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if the program ignores it, no child can be waited for
    pids: set[int] = set()
    try:
        _serve_as_template(connection, inner_threads, spin_s, pids)
    except (EOFError, ConnectionError):
        pass  # the caller closed the connection, or is gone
    finally:
        _end_all(pids)


def _serve_as_template(connection: Connection, inner_threads: int | None, spin_s: float, pids: set[int]) -> None:
    _, control_bytes, how_to_read = receive(connection)
    control_fd = receive_fd(connection)
    memory_fd = receive_fd(connection) if how_to_read else None
    try:
        estimator = _load(receive_fd(connection), inner_threads)
    except BaseException as error:
        send(connection, ("failed", exception_to_bytes(error)))
        return
    from infbench.runners.inner_threads import InnerThreads
    from infbench.runners.workers.buffers import SharedBuffer
    from infbench.runners.workers.caller_memory import CallerMemory
    from infbench.runners.workers.worker import Worker

    memory = None if memory_fd is None else CallerMemory(memory_fd, *how_to_read)
    _keep_freed_memory()
    flush_streams()  # or every worker would write again what the program wrote during its import
    with InnerThreads(inner_threads).limited():  # workers inherit it
        # What is alive now lives as long as the template. Once frozen, it is left alone by collections in workers,
        # which would otherwise copy the pages that all processes share. A collection here would copy those of the
        # launcher, which takes 150 ms.
        gc.freeze()
        send(connection, ("loaded",))
        while True:
            message = receive(connection)
            if message[0] == "fork":
                socket_fd = receive_fd(connection)
                pid = os.fork()
                if pid == 0:
                    connection.close()
                    control = SharedBuffer(control_fd, control_bytes)
                    worker = partial(Worker, Connection(socket_fd), estimator, control, message[1])
                    _work_and_exit(partial(worker, spin_s=spin_s, memory=memory))
                os.close(socket_fd)
                pids.add(pid)
                send(connection, pid)
            else:
                pids.remove(message[1])  # raises for others: only its own may be killed
                send(connection, _end(message[1]))


def _load(fd: int, inner_threads: int | None) -> Any:
    if inner_threads is not None:
        for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ[variable] = str(inner_threads)  # for libraries that a worker loads later
    with os.fdopen(fd, "rb"), mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as pickled:
        return pickle.loads(pickled)


def share_resource_tracker() -> None:
    """Let forks of this process have its resource tracker, as multiprocessing's own forks do.

    Since 2026, Python 3.14 takes it away from all other forks (https://github.com/python/cpython/issues/146313).
    """
    if (intent := getattr(resource_tracker, "_fork_intent", None)) is not None:
        intent.preserve_fd = True


def _keep_freed_memory() -> None:
    """Let workers keep the memory that they free, for their next batch, but give back what loading has left.

    By default glibc gives freed memory back to the system after each batch and takes it again, page by page, for the
    next: a logistic regression then takes twice as long for 1,000 rows. But it keeps what loading has left: a forest
    copies its trees as it loads, and leaves as much free memory between them as they take. See mallopt(3),
    malloc_trim(3).
    """
    glibc = ctypes.CDLL(None)
    if hasattr(glibc, "mallopt") and hasattr(glibc, "malloc_trim"):
        glibc.malloc_trim(0)
        mallopt = glibc.mallopt
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # the most that it accepts
        mallopt(_M_TRIM_THRESHOLD, 1 << 30)


def _end(pid: int) -> int:
    """Kill a child unless it ended by itself, and return its exit code as multiprocessing would."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    if ended == 0:
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def _end_all(pids: set[int]) -> None:
    """Let idle workers end by themselves, which they do when the caller is gone, and kill the busy ones."""
    deadline = time.monotonic() + _EXIT_GRACE_S
    while pids and time.monotonic() < deadline:
        for pid in tuple(pids):
            if os.waitpid(pid, os.WNOHANG)[0]:
                pids.discard(pid)
        time.sleep(0.001)
    for pid in pids:
        _end(pid)


def _work_and_exit(make_worker: Callable[[], Worker]) -> NoReturn:
    """Be a worker, then leave without the template's clean-up, which is not the worker's to do."""
    exit_code = 1
    try:
        make_worker().serve()
    except (EOFError, ConnectionError):
        exit_code = 0  # the caller is gone
    except BaseException:
        traceback.print_exc()
    finally:
        flush_streams()
        os._exit(exit_code)


def flush_streams() -> None:
    """Write out what is buffered for standard output and standard error."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # it is None, or closed, or nobody reads it
            stream.flush()
