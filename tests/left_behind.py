"""What a test leaves behind: processes, threads, descriptors and files that were not there before it."""

from __future__ import annotations

import gc
import multiprocessing.util
import os
import re
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Collection, Hashable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

import psutil
import pytest

KINDS = ("processes", "threads", "descriptors", "files")

# One of each lives as long as the process that uses multiprocessing, loky or `ProcessRunner`. What the fork server or
# the launcher has forked shows the same command line, but is not our own child.
_HELPER = re.compile(
    r"from (multiprocessing\.(forkserver|resource_tracker)|\S*loky\S*resource_tracker) import main"
    r"|from infbench\.runners\.workers\.launcher import run_launcher"
)
_PROC_FDS = Path("/proc/self/fd")
_SHARED_MEMORY = Path("/dev/shm")

Things = dict[Hashable, str]


class Watch:
    """Tells what belongs to this run of the tests, whatever else happens on the machine.

    Parameters
    ----------
    mark : str
        ``NAME=value``, in the environment of every program that the tests start. It also finds processes whose parents
        are gone.
    directory : Path
        The temporary directory of the tests, used by nobody else.
    """

    def __init__(self, mark: str, directory: Path) -> None:
        self._mark = mark.encode()
        self._directory = directory

    def look(self) -> dict[str, Things]:
        """Return what is there now: for each of `KINDS`, identity to description."""
        return {
            "processes": self._processes(),
            "threads": {thread: repr(thread) for thread in threading.enumerate()},
            "descriptors": _descriptors(),
            "files": self._files(),
        }

    def new_since(self, before: dict[str, Things], grace_s: float, ignored: Collection[str] = ()) -> dict[str, Things]:
        """Return what is there now and was not before.

        Things that are about to go, such as an ending process, get `grace_s` seconds to do so. What only garbage holds
        is collected.
        """
        deadline = time.monotonic() + grace_s
        collected = False
        while True:
            now = self.look()
            new = {kind: _added(before[kind], now[kind]) for kind in KINDS if kind not in ignored}
            if len(now["descriptors"]) <= len(before["descriptors"]):
                new.pop("descriptors", None)  # one was exchanged for another, such as a restarted helper's
            new = {kind: things for kind, things in new.items() if things}
            if not new or (collected and time.monotonic() >= deadline):
                return new
            if collected:
                time.sleep(0.02)
            else:
                gc.collect()  # only now: it takes 0.1 s with scikit-learn loaded, and hardly any test needs it
                collected = True

    def _processes(self) -> Things:
        me = psutil.Process()
        found: Things = {}
        for process in {*me.children(recursive=True), *self._marked()}:
            with suppress(psutil.NoSuchProcess):
                command = " ".join(process.cmdline())
                helps = process.ppid() == me.pid and _HELPER.search(command)
                if not helps and process.status() != psutil.STATUS_ZOMBIE:
                    found[process] = f"{process.pid} ({process.status()}): {command[:200]}"
        return found

    def _marked(self) -> Iterator[psutil.Process]:
        for pid in psutil.pids():
            # A process may have ended meanwhile, and not every process lets us look.
            with suppress(OSError, psutil.NoSuchProcess):
                if pid != os.getpid() and self._mark in Path(f"/proc/{pid}/environ").read_bytes():
                    yield psutil.Process(pid)

    def _files(self) -> Things:
        found: Things = {path: str(path) for path in self._directory.iterdir()}
        if _SHARED_MEMORY.is_dir():
            for path in _SHARED_MEMORY.iterdir():
                ours = path.name.startswith(f"sem.loky-{os.getpid()}-")
                if ours or (path.name.startswith(("infbench", "psm_")) and not self._is_in_use_elsewhere(path)):
                    found[path] = str(path)
        return found

    def _is_in_use_elsewhere(self, path: Path) -> bool:
        """Tell whether a segment of shared memory, whose name says nothing, belongs to another program."""
        ours = {os.getpid(), *(process.pid for process in self._processes())}
        for pid in set(psutil.pids()) - ours:
            with suppress(OSError):
                if str(path) in Path(f"/proc/{pid}/maps").read_text():
                    return True
        return False


def _added(before: Things, now: Things) -> Things:
    return {thing: description for thing, description in now.items() if thing not in before}


def _descriptors() -> Things:
    if not _PROC_FDS.is_dir():
        return {}
    helpers = {forkserver._forkserver._forkserver_alive_fd, resource_tracker._resource_tracker._fd}
    if loky := sys.modules.get("joblib.externals.loky.backend.resource_tracker"):
        helpers.add(loky._resource_tracker._fd)
    found: Things = {}
    for link in list(_PROC_FDS.iterdir()):
        # The descriptor that listed the others is gone by now.
        with suppress(FileNotFoundError):
            target = link.readlink()
            if int(link.name) not in helpers:
                found[link, target] = f"{link.name} -> {target}"
    return found


@contextmanager
def watching() -> Iterator[Watch]:
    """Give this process, and all that it starts, a mark and a temporary directory of their own."""
    name, value = "INFBENCH_TESTS", uuid.uuid4().hex
    multiprocessing.util.get_temp_dir()  # of this process and its children; it removes that at its own end, after ours
    with (
        # A process that is killed at the very end may still write there.
        tempfile.TemporaryDirectory(prefix="infbench-tests-", ignore_cleanup_errors=True) as directory,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv(name, value)
        patch.setenv("TMPDIR", directory)
        patch.setenv("JOBLIB_TEMP_FOLDER", directory)  # joblib prefers /dev/shm otherwise, which everybody shares
        patch.setattr(tempfile, "tempdir", directory)
        yield Watch(f"{name}={value}", Path(directory))


def n_shared_memories(pid: int) -> int:
    """Count the pieces of mapped memory that a process shares with others."""
    return Path(f"/proc/{pid}/maps").read_text().count("memfd:infbench")
