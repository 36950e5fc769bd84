"""What `ProcessRunner`, the launcher, a template and its workers say to each other.

Every message is a pickled tuple, small; rows and answers lie in memory. A tuple holds plain values only, as instances
of a class take pickle ten times as long.

To the launcher, over a connection:

- ``("launch", modules, preparation, inner_threads, spin_s)``, then the descriptor of a socket: load the modules, and
  fork a template that serves there, prepared as multiprocessing prepares a process. Answer: its process id, or the
  system's error.

To a template, over a connection:

- ``("load", n_bytes, how_to_read)``, then the descriptor of the control memory, then, unless `how_to_read` is None, the
  one of the caller's memory, then the pickled estimator. Answer: ``("loaded",)``, or ``("failed", error)`` where it
  does not load.
- ``("fork", index)``, then the descriptor of a socket: fork a worker that serves there. Answer: its process id.
- ``("end", pid)``: kill a worker unless it has ended. Answer: its exit code.

To a worker and back, through the mailboxes of its `infbench.runners.mailbox.Desk`: a `Share`, a `Done`. What does not
fit there goes over its connection, after the message that tells of it:

- after a `Share`, a number of `News`: ``("rows", key, n_bytes)`` with a descriptor, places name this memory by the key;
  ``("forget", key)``, no place will name it any more; or ``("settings", sklearn, numpy)``, an `Ambient`. Then, where
  the share has no place, its rows, pickled;
- after a `Done`, where the answers lie in new memory, ``("answers", n_bytes)`` with its descriptor; or, where they are
  no plain numbers, the answers, pickled; or an error.

An empty message means nothing: it wakes a receiver that sleeps, so that it looks into its mailbox.

The end of a connection ends who serves there.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import socket
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakSet

from infbench.errors import WorkerError

if TYPE_CHECKING:
    import numpy as np

    from infbench.runners.buffers import SharedBuffer

_MOST_GAPS = 100
"""An array that takes up so many times its own size is pickled without what lies between its values."""

ARRAY_KINDS = "biufc"
"""Kinds of dtype whose values lie in the array itself, so that another process can read them."""


class Place(NamedTuple):
    """Where an array lies, with the strides that it has: another order can change a last bit.

    Parameters
    ----------
    buffer : int or None
        The key by which the worker knows the memory. None is the caller's own, which can be read but not mapped.
    dtype : str
    shape, strides : tuple of int
        The strides in bytes.
    offset : int
        Where its first element is, in bytes from the begin of the memory: an address in the caller's own.
    writeable : bool
    """

    buffer: int | None
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    writeable: bool

    def rows(self, first: int, last: int) -> Place:
        """Return where some of its rows lie; rows past the end are left out, as in a slice."""
        shape = (min(last, self.shape[0]) - first, *self.shape[1:])
        offset = self.offset + first * self.strides[0]
        return Place(self.buffer, self.dtype, shape, self.strides, offset, self.writeable)  # half of `_replace`'s time

    def array(self, buffer: SharedBuffer) -> np.ndarray[Any, Any]:
        """Return the array that lies so in `buffer`."""
        found = buffer.array(self.shape, self.dtype, offset=self.offset, strides=self.strides)
        found.flags.writeable = self.writeable
        return found


class News(NamedTuple):
    """A message to a worker about what its share needs, and the descriptor that follows it, if any."""

    message: tuple[Any, ...]
    fd: int | None = None


class Share(NamedTuple):
    """A worker's part of a call: the batches from `start` up to `stop`, or up to its `LIMIT` where that is lower.

    `place` tells where to find the rows from `first_row` on. Without one they follow, pickled. With a `room`, the
    key of mapped memory, the caller copies them there too: see `infbench.runners.joint_copy`.
    """

    method: str
    start: int
    stop: int
    batch_size: int
    first_row: int
    room: int | None
    place: Place | None

    @property
    def mapped(self) -> int | None:
        """The key of the memory that the worker must have mapped, if any."""
        return self.place.buffer if self.place is not None and self.room is None else self.room

    def to_bytes(self, n_news: int) -> bytes:
        """Return what is sent."""
        return pickle.dumps((n_news, *self[:-1], *(self.place or ())), pickle.HIGHEST_PROTOCOL)

    @classmethod
    def from_bytes(cls, message: bytes) -> tuple[Share, int]:
        """Return what was sent, and how many news follow it."""
        n_news, method, start, stop, batch_size, first_row, room, *place = pickle.loads(message)
        return cls(method, start, stop, batch_size, first_row, room, Place(*place) if place else None), n_news


class Done(NamedTuple):
    """What became of a share: the batches from its start up to `stop` are done.

    The answers are an array of `shape` and `dtype` in the worker's shared memory, which follows if it `is_new`; or they
    follow, pickled, if it `follows`. What batch `stop` raised follows if it `failed`.
    """

    stop: int
    shape: tuple[int, ...] = ()
    dtype: str = ""
    is_new: bool = False
    follows: bool = False
    failed: bool = False

    def to_bytes(self) -> bytes:
        """Return what is sent."""
        return pickle.dumps(tuple(self), pickle.HIGHEST_PROTOCOL)

    @classmethod
    def from_bytes(cls, message: bytes) -> Done:
        """Return what was sent."""
        return cls(*pickle.loads(message))


class WorkerTraceback(Exception):
    """The traceback of an exception that was raised in a worker; the cause of what the caller gets."""

    def __str__(self) -> str:
        return f"\n\n{self.args[0]}"


def extent(shape: Sequence[int], strides: Sequence[int], itemsize: int) -> tuple[int, int]:
    """Return where the first element is in the smallest memory that holds an array, and that memory's size, in bytes.

    Parameters
    ----------
    shape, strides : sequence of int
        The strides in bytes; any may be negative.
    itemsize : int

    Returns
    -------
    (int, int)

    Examples
    --------
    >>> extent((3, 2), (-16, 8), 8)
    (32, 48)
    """
    steps = [(length - 1) * stride for length, stride in zip(shape, strides, strict=True)]
    before = -sum(step for step in steps if step < 0)
    return before, before + sum(step for step in steps if step > 0) + itemsize


def is_packed(shape: Sequence[int], strides: Sequence[int], itemsize: int) -> bool:
    """Tell whether the rows of an array lie one after the other without gaps, and the values of a row too.

    Parameters
    ----------
    shape, strides : sequence of int
        Of two dimensions; the strides in bytes.
    itemsize : int

    Returns
    -------
    bool
    """
    return tuple(strides) == (shape[1] * itemsize, itemsize)


def copy_with_strides(
    array: np.ndarray[Any, Any],
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], int]:
    """Copy an array so that it lies in memory as it did: another order can change a last bit.

    Parameters
    ----------
    array : ndarray

    Returns
    -------
    copy : ndarray
        With the shape, the dtype and the strides of the array.
    memory : ndarray of uint8
        What the copy lies in, zero between its values.
    before : int
        Where its first element is in that memory, in bytes.
    """
    import numpy as np

    before, n_bytes = extent(array.shape, array.strides, array.itemsize)
    memory = np.zeros(n_bytes, np.uint8)
    copy: np.ndarray[Any, Any] = np.ndarray(array.shape, array.dtype, memory, before, array.strides)
    copy[...] = array
    return copy, memory, before


def call_without_changing(call: Callable[[Any], Any], X: np.ndarray[Any, Any]) -> Any:
    """Compute rows that other processes see too, and that are needed as they are should this one die half-way."""
    X.flags.writeable = False
    try:
        return call(X)
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        return call(copy_with_strides(X)[0])


def send(connection: Connection, message: Any) -> None:
    """Send a message. `Connection.send` would make a new pickler class each time, which costs more than the sending."""
    connection.send_bytes(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))


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


def estimator_to_bytes(estimator: Any) -> bytes:
    """Pickle an estimator so that its arrays lie in memory as they did: another order can change a last bit.

    Parameters
    ----------
    estimator : object

    Returns
    -------
    bytes
        For `pickle.loads`.

    Raises
    ------
    Exception
        Whatever its parts raise when they are pickled.
    """
    file = io.BytesIO()
    _LayoutPickler(file, pickle.HIGHEST_PROTOCOL).dump(estimator)
    return file.getvalue()


class _LayoutPickler(pickle.Pickler):
    """Keeps the strides of arrays that are contiguous in no order, as the `coef_` of a `LinearRegression` may be."""

    def reducer_override(self, part: Any) -> Any:
        import numpy as np

        if type(part) is not np.ndarray or part.flags.forc or part.dtype.kind not in ARRAY_KINDS:
            return NotImplemented
        if extent(part.shape, part.strides, part.itemsize)[1] > _MOST_GAPS * part.nbytes:
            return NotImplemented
        _, memory, before = copy_with_strides(part)
        return np.ndarray, (part.shape, part.dtype, memory, before, part.strides)


def exception_to_bytes(error: BaseException) -> bytes:
    """Pickle an exception with its traceback, in a form that is known to load.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    bytes
        For `exception_from_bytes`. An exception that cannot be pickled, or not be made again from its arguments, is
        replaced by a `WorkerError` that holds its type and text.
    """
    text = "".join(traceback.format_exception(error))
    try:
        pickled = pickle.dumps((error, text))
        pickle.loads(pickled)
    except Exception:
        name = f"{type(error).__module__}.{type(error).__qualname__}"
        pickled = pickle.dumps((WorkerError(f"a worker raised {name}: {error}"), text))
    return pickled


def exception_from_bytes(pickled: bytes) -> BaseException:
    """Return the exception that `exception_to_bytes` was given; the worker's traceback is its cause."""
    error: BaseException
    error, text = pickle.loads(pickled)
    error.__cause__ = WorkerTraceback(text)
    return error
