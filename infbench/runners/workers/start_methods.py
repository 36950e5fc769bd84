"""The ways in which `ProcessRunner` may start its processes, here and now."""

from __future__ import annotations

import multiprocessing
import sys
from multiprocessing import spawn

from infbench.errors import RunnerError, WorkerStartError
from infbench.runners.workers.launcher import STDIN

START_METHODS = ("forkserver", "spawn", "fork")


def default_start_method() -> str:
    """Return ``"forkserver"`` if that is safe, else ``"spawn"``: libraries may be forked on Linux only."""
    return "forkserver" if sys.platform == "linux" and not _is_frozen() else "spawn"


def check_start_is_possible(start_method: str) -> None:
    """Raise if this process, as it is, cannot start others in that way.

    Parameters
    ----------
    start_method : {"forkserver", "spawn", "fork"}

    Raises
    ------
    RunnerError
        If another start method has to be taken.
    WorkerStartError
        If the program has to be started in another way, or has to name a Python.
    """
    if start_method == "forkserver" and _is_frozen():
        raise RunnerError(
            "in a frozen program, which can run no Python but itself, ProcessRunner can start only with "
            "start_method='spawn', after multiprocessing.freeze_support(), or 'fork', got 'forkserver'"
        )
    if start_method != "forkserver" and multiprocessing.current_process().daemon:
        raise RunnerError(
            "in a daemonic process, to which multiprocessing allows no children, ProcessRunner can start only with "
            f"start_method='forkserver', got {start_method!r}"
        )
    around = multiprocessing.get_start_method(allow_none=True)
    if start_method == "spawn" and around not in (None, *START_METHODS):
        raise RunnerError(
            f"in a process of {around}, ProcessRunner can start only with start_method='forkserver', got 'spawn'"
        )
    if start_method == "spawn" and getattr(sys.modules["__main__"], "__file__", None) == STDIN:
        raise WorkerStartError(
            "multiprocessing cannot import a program that is read from standard input in the processes that it "
            "starts: save it as a file, or take start_method='forkserver'"
        )
    if start_method != "fork" and not spawn.get_executable():
        raise WorkerStartError(
            "sys.executable names no Python, as where another program has it built in: name one that runs infbench "
            "to multiprocessing.set_executable()"
        )


def _is_frozen() -> bool:
    return bool(getattr(sys, "frozen", False))
