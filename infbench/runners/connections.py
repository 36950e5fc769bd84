"""Connections between a caller and its helpers: made, written to, read from and ended."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any
from weakref import WeakSet


def private_pipe() -> tuple[Connection, Connection]:
    """Return the two ends of a connection, of which a fork of this process closes its copies.

    With one, a fork that lives on would keep the other side from noticing that an end is closed, or its process dead.
    """
    ends: tuple[Connection, Connection] = multiprocessing.Pipe(duplex=True)
    _private.update(ends)
    return ends


_private: WeakSet[Connection] = WeakSet()


def _close_private() -> None:
    for end in _private:
        with suppress(OSError):
            end.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_private)


def send(connection: Connection, message: Any) -> None:
    """Send a message. `Connection.send` would make a new pickler class each time, which costs more than the sending."""
    connection.send_bytes(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))


def wake(connection: Connection) -> None:
    """Send the empty message."""
    connection.send_bytes(b"")


def receive_any(connection: Connection) -> bytes:
    """Receive the next message, as it was sent.

    Raises
    ------
    EOFError, ConnectionError
        Where the other side is gone.
    """
    try:
        return connection.recv_bytes()
    except OSError as error:
        if type(error) is OSError and error.errno is None:  # how multiprocessing says that it ended in a message
            raise EOFError(*error.args) from error
        raise


def receive_bytes(connection: Connection) -> bytes:
    """Receive the next message that is not empty, as it was sent.

    Raises
    ------
    EOFError, ConnectionError
        Where the other side is gone.
    """
    while not (message := receive_any(connection)):
        pass
    return message


def receive(connection: Connection) -> Any:
    """Receive the next message that is not empty.

    Raises
    ------
    EOFError, ConnectionError
        Where the other side is gone.
    """
    return pickle.loads(receive_bytes(connection))


def hang_up(connection: Connection, how: int) -> None:
    """Close a connection for the other side, whoever else has a copy of this one.

    Parameters
    ----------
    connection : Connection
    how : int
        ``socket.SHUT_RDWR``; or ``socket.SHUT_WR``, where it is read until the other side closes it too.
    """
    with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as ours:
        ours.shutdown(how)
