"""Processes that serve on a connection, as seen from the caller: the launcher and the templates."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from infbench.runners.workers.connections import hang_up, kept_by_forks, private_pipe
from infbench.runners.workers.template import run_template

TEMPLATE_NAME = "infbench-template"


class Helper:
    """The caller's side of a launcher or a template.

    Parameters
    ----------
    connection : Connection
        To the process, from `private_pipe`.

    Attributes
    ----------
    connection
        As given.
    pid : int or None
        None until the process is known.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.pid: int | None = None
        self._process: BaseProcess | None = None

    @classmethod
    def start_template(cls, start_method: str, *arguments: Any) -> Helper:
        """Start a template with multiprocessing.

        Parameters
        ----------
        start_method : {"spawn", "fork"}
        *arguments
            Those of `run_template` that follow the connection.

        Returns
        -------
        Helper

        Raises
        ------
        OSError
            If the system starts no process.
        """
        ours, theirs = private_pipe()
        process: BaseProcess = multiprocessing.get_context(start_method).Process(  # type: ignore[attr-defined]
            target=run_template, args=(theirs, *arguments), name=TEMPLATE_NAME, daemon=True
        )
        helper = cls(ours)
        helper._process = process
        try:
            with kept_by_forks(theirs):
                process.start()
        finally:
            theirs.close()
            # Not a child that the program should find among its own, or that a fork should end when it exits.
            multiprocessing.process._children.discard(process)  # type: ignore[attr-defined]  # noqa: SLF001
        helper.pid = process.pid
        return helper

    def end(self, grace_s: float) -> None:
        """Close the connection, upon which the process ends, and kill it if it does not do so within `grace_s`.

        After this it is ending, or gone. In a fork of the caller, whose connection is closed already, nothing happens.
        """
        try:
            if not self.connection.closed:
                hang_up(self.connection, socket.SHUT_WR)
                if not self._ends_within(grace_s) and self.pid is not None:
                    with suppress(ProcessLookupError):
                        os.kill(self.pid, signal.SIGKILL)
                if self._process is not None:
                    self._join(self._process, grace_s)
        finally:
            self.connection.close()

    def _ends_within(self, grace_s: float) -> bool:
        """Tell whether the process closes its end of the connection in time, as it does when it ends."""
        deadline_s = time.monotonic() + grace_s
        try:
            while self.connection.poll(max(0.0, deadline_s - time.monotonic())):
                self.connection.recv_bytes()  # sent before it was told to end
        except (EOFError, OSError):
            return True
        return False

    @staticmethod
    def _join(process: BaseProcess, grace_s: float) -> None:
        process.join(grace_s)
        if process.exitcode is None:
            process.kill()
            process.join()
        with suppress(ValueError):  # if the program ignores SIGCHLD, nobody learns of its end
            process.close()
