"""In which ways `ProcessRunner` may start its processes, here and now."""

from __future__ import annotations

import multiprocessing
import sys
from multiprocessing import spawn

from infbench.errors import RunnerError, WorkerStartError
from infbench.runners.launcher import STDIN

START_METHODS = ("forkserver", "spawn", "fork")


def default_start_method() -> str:
    """Return ``"forkserver"`` where that is safe: elsewhere than on Linux libraries may not be forked."""
    return "forkserver" if sys.platform == "linux" and not _is_frozen() else "spawn"


def check_start_is_possible(start_method: str) -> None:
    """Raise where this process, as it is, can start no other in that way.

    Parameters
    ----------
    start_method : {"forkserver", "spawn", "fork"}

    Raises
    ------
    RunnerError
        Where another one has to be taken.
    WorkerStartError
        Where the program has to be started otherwise, or has to name a Python.
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
