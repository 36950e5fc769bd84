"""The launcher: one process for a whole program, which has the libraries loaded and forks the templates of all runners.

So the second template and all after it start in milliseconds, and none is a fork of the caller, which may have threads.
The fork server of multiprocessing is the same idea, but belongs to the program: whatever starts it first decides for
good what it loads, and if the program is killed, the server's folder is left behind.

The launcher itself runs none of the program's code. Each template first does what any process of multiprocessing does:
it takes on the path, the folder and the arguments of the program, and imports its main module.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from multiprocessing import resource_tracker, spawn, util
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from infbench.runners.inner_threads import InnerThreads
from infbench.runners.signals import ctrl_c_waits, leave_ending_to_the_caller
from infbench.runners.workers.connections import private_pipe, receive, receive_fd, send, send_fd
from infbench.runners.workers.helper import TEMPLATE_NAME, Helper
from infbench.runners.workers.messages import exception_from_bytes, exception_to_bytes
from infbench.runners.workers.template import flush_streams, run_template, share_resource_tracker

_PROGRAM = (
    "import sys; sys.path[:] = {path!r}; "
    "from infbench.runners.workers.launcher import run_launcher; run_launcher{fds!r}"
)
_INSTALLED = {"site-packages", "dist-packages"}
_OF_MULTIPROCESSING = ("fork", "spawn", "forkserver")
STDIN = "<stdin>"
"""The ``__file__`` of a main module that Python reads from standard input."""


class Launcher:
    """The caller's side of the launcher. Its process starts with the first template, and ends with the caller."""

    def __init__(self) -> None:
        self.forget()

    @property
    def pid(self) -> int | None:
        """Its process id, if there is one."""
        return None if self._helper is None else self._helper.pid

    def launch(self, modules: list[str], *arguments: Any) -> Helper:
        """Have a template forked.

        Parameters
        ----------
        modules : list of str
            What the launcher loads first, but only once, and only if installed. Other modules may change while the
            program runs, and are left to the template.
        *arguments
            Those of `run_template` that follow the connection.

        Returns
        -------
        Helper
            The template. The caller ends it.

        Raises
        ------
        EOFError, ConnectionError
            If the launcher does not come up, or dies.
        OSError
            If the system starts no more processes.
        """
        modules = ["infbench.runners.workers.worker", *filter(_is_installed, modules)]
        preparation = _preparation()
        order = ("launch", modules, preparation, *arguments)
        with self._lock:
            if self._helper is not None:
                with suppress(EOFError, ConnectionError):  # it has been killed
                    return self._give(order)
            self._start(preparation["sys_path"])
            return self._give(order)

    def forget(self) -> None:
        """Return to the initial state, in a fork of the process that the launcher belongs to."""
        self._lock = threading.RLock()
        self._helper: Helper | None = None

    def _start(self, path: list[str]) -> None:
        ours, theirs = private_pipe()
        helper = Helper(ours)
        tracker_fd = resource_tracker.getfd()
        assert tracker_fd is not None  # it runs from now on
        fds = (theirs.fileno(), tracker_fd)
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001
        python, program = spawn.get_executable(), _PROGRAM.format(path=list(map(str, path)), fds=fds)
        with theirs, ctrl_c_waits():
            # Not a child of multiprocessing: it would have to import the program, and be listed among its children.
            helper.pid = util.spawnv_passfds(os.fsencode(python), [python, *flags, "-c", program], fds)
            self._keep(helper)

    def _keep(self, helper: Helper) -> None:
        """Keep `helper` for the next order, and end the one that a signal handler may have launched meanwhile."""
        other, self._helper = self._helper, helper
        if other is not None:
            _end(other)

    def _give(self, order: tuple[Any, ...]) -> Helper:
        ours, theirs = private_pipe()
        template = Helper(ours)
        launcher, self._helper = self._helper, None  # a signal handler that launches in the middle starts another one
        assert launcher is not None  # nobody orders before it is started
        try:
            with theirs:
                send(launcher.connection, order)
                send_fd(launcher.connection, theirs.fileno())
            answer = receive(launcher.connection)
        except BaseException:
            ours.close()
            _end(launcher)  # or the next order would get the answer to this one
            raise
        self._keep(launcher)
        if isinstance(answer, bytes):
            ours.close()
            raise exception_from_bytes(answer)
        template.pid = answer
        return template


launcher = Launcher()
"""The launcher of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=launcher.forget)


def _end(launcher: Helper) -> None:
    """End the launcher's process. Its templates live on: their callers end them."""
    launcher.end(grace_s=0)
    if launcher.pid is not None:
        with suppress(ChildProcessError):  # if the program ignores SIGCHLD
            os.waitpid(launcher.pid, 0)


def main_is_importable() -> bool:
    """Tell whether other processes can import the main module.

    They cannot import that of a notebook or an interactive session, for which there is no file; nor the ``__main__.py``
    of a package, a folder or an archive, which multiprocessing does not import.
    """
    main = sys.modules["__main__"]
    _, _, name = getattr(getattr(main, "__spec__", None), "name", "").rpartition(".")
    return getattr(main, "__file__", STDIN) != STDIN and name != "__main__"


def _preparation() -> dict[str, Any]:
    """Return what multiprocessing tells its processes, and what they would inherit from the launcher, out of date."""
    start_method = multiprocessing.get_start_method(allow_none=True)
    preparation = spawn.get_preparation_data(TEMPLATE_NAME)
    preparation["authkey"] = bytes(preparation["authkey"])
    if not main_is_importable():
        preparation.pop("init_main_from_path", None)
    if start_method is None:
        multiprocessing.set_start_method(None, force=True)  # the call above set it, but that is for the program to do
    if start_method not in _OF_MULTIPROCESSING:  # none, or a library's own, which only that knows
        del preparation["start_method"]
    preparation["environ"] = dict(os.environ)
    if hasattr(os, "sched_getaffinity"):
        preparation["cpus"] = os.sched_getaffinity(0)
    return preparation


def _is_installed(module: str) -> bool:
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and not _INSTALLED.isdisjoint(Path(file).parts)


def run_launcher(fd: int, tracker_fd: int) -> None:
    """Serve as the launcher until the caller closes the connection.

    Parameters
    ----------
    fd : int
        Descriptor of the connection.
    tracker_fd : int
        That of the program's resource tracker, which templates and workers share, as multiprocessing's processes do.
    """
    leave_ending_to_the_caller()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # `ctrl_c_waits` has blocked it
    resource_tracker._resource_tracker._fd = tracker_fd  # type: ignore[attr-defined]  # noqa: SLF001
    share_resource_tracker()
    connection = Connection(fd)
    with suppress(EOFError, ConnectionError):
        while True:
            _reap()
            _, modules, preparation, *arguments = receive(connection)
            template_fd = receive_fd(connection)
            _load(modules, preparation["sys_path"])
            answer: int | bytes
            try:
                answer = os.fork()
            except OSError as error:
                answer = exception_to_bytes(error)
            if answer == 0:
                connection.close()
                process = multiprocessing.get_context("spawn").Process(
                    target=_become_template,
                    args=(Connection(template_fd), preparation, *arguments),
                    daemon=True,
                )
                os._exit(process._bootstrap())  # type: ignore[attr-defined]  # noqa: SLF001
            os.close(template_fd)
            send(connection, answer)


def _reap() -> None:
    """Reap templates that have ended, and let the system reap those that end later: nobody needs their exit codes."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _load(modules: list[str], path: list[str]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a module may wait for what it starts while it is imported
    sys.path[:] = path
    importlib.invalidate_caches()
    are_new = not sys.modules.keys() >= set(modules)
    for module in modules:
        with suppress(BaseException):  # the template that needs it gets the error again
            importlib.import_module(module)
    if are_new:
        # The first look at the libraries' files takes 10 ms; templates inherit what it finds, and report any errors.
        with suppress(Exception):
            InnerThreads(1)
    flush_streams()  # or every template would write again what is buffered


def _become_template(connection: Connection, preparation: dict[str, Any], *arguments: Any) -> None:
    os.environ.clear()
    os.environ.update(preparation["environ"])
    if "cpus" in preparation:
        with suppress(OSError):  # a container's CPUs have changed meanwhile
            os.sched_setaffinity(0, preparation["cpus"])
    process = multiprocessing.current_process()
    process._inheriting = True  # type: ignore[attr-defined]  # noqa: SLF001  # the main module must start nothing now
    spawn.prepare(preparation)
    del process._inheriting  # type: ignore[attr-defined]  # noqa: SLF001
    run_template(connection, *arguments)
