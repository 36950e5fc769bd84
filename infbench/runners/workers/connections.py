"""Connections between a caller and its helpers: made, written to, read from and ended."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any
from weakref import WeakSet

from infbench.runners.signals import broken_pipe_raises

_WITH_FD = b"."
"""A descriptor cannot be sent without a byte of data."""


def private_pipe() -> tuple[Connection, Connection]:
    """Return the two ends of a connection; forks of this process close their copies.

    Otherwise a fork that lives on would keep the other side from noticing that an end is closed, or its process dead.
    """
    with _forks_wait:
        ends: tuple[Connection, Connection] = multiprocessing.Pipe(duplex=True)
        _private.update(ends)
    for end in ends:
        os.set_blocking(end.fileno(), True)  # they do not block if gevent has replaced Python's sockets
    return ends


@contextmanager
def kept_by_forks(end: Connection) -> Iterator[None]:
    """Return a context manager; forks that the calling thread makes inside it keep this end of a private pipe."""
    _thread.keeps = end
    try:
        yield
    finally:
        _thread.keeps = None


@contextmanager
def _socket_of(connection: Connection) -> Iterator[socket.socket]:
    """Return a context manager; it gives a private copy, as a socket, for what a Connection cannot do."""
    with _forks_wait:
        copy = socket.fromfd(connection.fileno(), socket.AF_UNIX, socket.SOCK_STREAM)
        _private.add(copy)
    with copy:
        copy.settimeout(None)  # the program may have set another timeout for all sockets ...
        os.set_blocking(copy.fileno(), True)  # ... and then, or with gevent, the connection would not block any more
        yield copy


_private: WeakSet[Connection | socket.socket] = WeakSet()
_forks_wait = threading.RLock()  # held during a fork, and while something private is made and noted
_thread = threading.local()


def _after_fork_in_child() -> None:
    keeps = getattr(_thread, "keeps", None)
    for ours in _private:
        if ours is not keeps:
            with suppress(OSError):
                ours.close()
    _private.clear()
    _forks_wait.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_forks_wait.acquire, after_in_parent=_forks_wait.release, after_in_child=_after_fork_in_child
    )


def send(connection: Connection, message: Any) -> None:
    """Send a message. `Connection.send` would make a new pickler class each time, which costs more than the sending."""
    send_bytes(connection, pickle.dumps(message, pickle.HIGHEST_PROTOCOL))


def wake(connection: Connection) -> None:
    """Send the empty message."""
    send_bytes(connection, b"")


def send_bytes(connection: Connection, message: bytes) -> None:
    """Send a message as it is."""
    with broken_pipe_raises():
        connection.send_bytes(message)


def receive_any(connection: Connection) -> bytes:
    """Receive the next message, as it was sent.

    Raises
    ------
    EOFError, ConnectionError
        If the other side is gone.
    """
    try:
        return connection.recv_bytes()
    except OSError as error:
        if type(error) is OSError and error.errno is None:  # how multiprocessing says that it ended mid-message
            raise EOFError(*error.args) from error
        raise


def receive_bytes(connection: Connection) -> bytes:
    """Receive the next message that is not empty, as it was sent.

    Raises
    ------
    EOFError, ConnectionError
        If the other side is gone.
    """
    while not (message := receive_any(connection)):
        pass
    return message


def receive(connection: Connection) -> Any:
    """Receive the next message that is not empty.

    Raises
    ------
    EOFError, ConnectionError
        If the other side is gone.
    """
    return pickle.loads(receive_bytes(connection))


def send_fd(connection: Connection, fd: int) -> None:
    """Send a descriptor, which the caller still has to close."""
    with _socket_of(connection) as ours, broken_pipe_raises():
        # Not with multiprocessing: from Python 3.14 on it waits for an answer, which others may read as theirs.
        socket.send_fds(ours, [_WITH_FD], [fd])


def receive_fd(connection: Connection) -> int:
    """Receive a descriptor. The caller closes it.

    Raises
    ------
    EOFError, ConnectionError
        If the other side is gone.
    """
    with _socket_of(connection) as ours:
        _, fds, _, _ = socket.recv_fds(ours, len(_WITH_FD), 1)
    if not fds:
        raise EOFError
    fd = int(fds[0])
    os.set_inheritable(fd, False)  # or processes that start later would keep the memory
    return fd


def hang_up(connection: Connection, how: int) -> None:
    """Close a connection for the other side, even if other processes have copies of this end.

    Parameters
    ----------
    connection : Connection
    how : int
        ``socket.SHUT_RDWR``; or ``socket.SHUT_WR``, to go on reading until the other side closes it too.
    """
    with suppress(OSError), _socket_of(connection) as ours:
        ours.shutdown(how)
