"""The caller's side of one worker."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from infbench.runners.ambient import Ambient
from infbench.runners.workers.buffers import SharedBuffer
from infbench.runners.workers.connections import (
    hang_up,
    receive,
    receive_bytes,
    receive_fd,
    send,
    send_bytes,
    send_fd,
    wake,
)
from infbench.runners.workers.mailbox import LIMIT, NEXT, Desk
from infbench.runners.workers.messages import Done, News, Share, exception_from_bytes


class WorkerHandle:
    """The caller's side of one worker.

    Attributes
    ----------
    index : int
        Which of the workers this is.
    pid : int
        -1 if there is no process.
    desk : Desk
        What it and the caller write to each other.
    connection : Connection
    busy : bool
        Whether a share has been sent, and its `Done` not yet received.
    answers : SharedBuffer or None
        The memory where the worker puts its answers.
    shown : set of int
        Keys of the row memory that the worker has mapped.
    kept_off : int or None
        The CPU that the process may not use.
    settings : Ambient or None
        The settings that the worker has taken on.
    """

    def __init__(self, index: int) -> None:
        self.index = index
        self.pid = -1
        self.busy = False
        self.answers: SharedBuffer | None = None
        self.shown: set[int] = set()
        self.kept_off: int | None = None
        self.settings: Ambient | None = None
        self.desk: Desk
        self.connection: Connection
        self._seen_next = -1
        self._seen_s = 0.0

    def connect(self, connection: Connection, pid: int) -> None:
        """Attach a new process to this worker."""
        self.connection = connection
        self.pid = pid
        self.busy = False
        self.shown = set()
        self.kept_off = None
        self.settings = None

    def stop(self) -> None:
        """Let the worker begin no further batch of its share."""
        with suppress(ValueError):  # a failed restart, or closing, has released the desk
            self.desk.words[LIMIT] = 0

    def send(self, share: Share, news: Sequence[News], pickled: bytes | None) -> None:
        """Hand a share over; see `Share` for what follows it."""
        self.busy = True
        self._seen_next = share.start
        if self.desk.shares.put(share.to_bytes(len(news))):
            wake(self.connection)
        for message, fd in news:
            send(self.connection, message)
            if fd is not None:
                send_fd(self.connection, fd)
        if pickled is not None:
            send_bytes(self.connection, pickled)
        self._seen_s = time.monotonic()

    def receive(self) -> tuple[Done, Any] | None:
        """Return the `Done` of the share with its answers or what it raised, or None if the worker has yet to report.

        Raises
        ------
        EOFError, ConnectionError
            If the worker is gone.
        """
        message = self.desk.dones.take()
        if message is None:
            return None
        done = Done.from_bytes(message)
        answers: Any = None
        if done.is_new:
            _, n_bytes = receive(self.connection)
            if self.answers is not None:
                self.answers.close()
            self.answers = SharedBuffer(receive_fd(self.connection), n_bytes)
        if done.shape:
            assert self.answers is not None  # a worker sends it with the first answer that lies in it
            answers = self.answers.array(done.shape, done.dtype)
        elif done.follows:
            answers = receive(self.connection)
        elif done.failed:
            answers = exception_from_bytes(receive_bytes(self.connection))
        self.busy = False
        return done, answers

    def seconds_at_a_batch(self) -> float:
        """Return how long the worker has been at its present batch, as far as repeated calls can tell."""
        if self.desk.words[NEXT] != self._seen_next:
            self._seen_next = self.desk.words[NEXT]
            self._seen_s = time.monotonic()
        return time.monotonic() - self._seen_s

    def disconnect(self) -> None:
        """Close the connection, which ends the process when it is idle, and drop its memory."""
        self.busy = False
        if self.pid != -1:
            self.pid = -1
            hang_up(self.connection, socket.SHUT_RDWR)  # does nothing in a fork, where it is closed already
            self.connection.close()
            if self.answers is not None:
                self.answers.close()
                self.answers = None
