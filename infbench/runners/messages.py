"""What `ProcessRunner`, its template and its workers say to each other.

Every message is a pickled tuple, small, over a duplex connection; rows and answers lie in memory. A tuple holds plain
values only, as instances of a class take pickle ten times as long.

To the template:

- ``("load", n_bytes, readable)``, then the descriptor of the control memory, then, where `readable`, the one for
  reading the caller's memory, then the pickled estimator. Answer: ``("loaded",)``, or ``("failed", error)`` where it
  does not load.
- ``("fork", index)``, then the descriptor of a socket: fork a worker that serves there. Answer: its process id.
- ``("end", pid)``: kill a worker unless it has ended. Answer: its exit code.

To a worker:

- ``("rows", key, n_bytes)``, then a descriptor: places name this memory by the key.
- ``("forget", key)``: no place will name it any more.
- ``("share", ...)``, a `Share`: compute it. Where it has no place, its rows follow pickled. Answer: ``("done", ...)``,
  a `Done`, and before it, where the answers lie in new memory, ``("answers", n_bytes)`` with a descriptor.

The end of a connection ends who serves there.
"""

from __future__ import annotations

import io
import pickle
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, NamedTuple

from infbench.errors import WorkerError

if TYPE_CHECKING:
    import numpy as np

    from infbench.runners.buffers import SharedBuffer

NEXT, LIMIT, WORDS = 0, 1, 2
"""A worker's words in the control memory, 64-bit integers. `NEXT` is the batch that it will begin next, written by the
worker. `LIMIT` is where it stops, written by the caller, who lowers it to take the last batches over. Neither is
guarded: if the worker begins a batch just as the caller takes it over, both compute it and the answer is the same."""

_MOST_GAPS = 100
"""An array that takes up so many times its own size is pickled without what lies between its values."""

ARRAY_KINDS = "biufc"
"""Kinds of dtype whose values lie in the array itself, so that another process can read them."""


class ArrayLayout(NamedTuple):
    """How an array lies in memory, with the strides that it had: another order can change a last bit.

    `offset` is where its first element is, in bytes.
    """

    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    offset: int
    writeable: bool

    def array(self, buffer: SharedBuffer) -> np.ndarray[Any, Any]:
        """Return the array that lies so in `buffer`."""
        found = buffer.array(self.shape, self.dtype, offset=self.offset, strides=self.strides)
        found.flags.writeable = self.writeable
        return found


class Place(NamedTuple):
    """Where a worker finds an array: in the memory that it knows by the key `buffer`.

    None is the caller's own memory, which can be read but not mapped; the layout's offset is an address then.
    """

    buffer: int | None
    layout: ArrayLayout


class Share(NamedTuple):
    """A worker's part of a call: the batches from `start` up to `stop`, or up to its `LIMIT` where that is lower.

    `place` tells where to find the rows from `first_row` on. Without one they follow pickled.
    """

    method: str
    start: int
    stop: int
    batch_size: int
    first_row: int
    place: Place | None

    def to_message(self) -> tuple[Any, ...]:
        """Return what is sent."""
        place = None if self.place is None else (self.place.buffer, tuple(self.place.layout))
        return ("share", *self[:-1], place)

    @classmethod
    def from_message(cls, message: tuple[Any, ...]) -> Share:
        """Return what was sent."""
        share = cls(*message[1:])
        if share.place is None:
            return share
        buffer, layout = share.place
        return share._replace(place=Place(buffer, ArrayLayout(*layout)))


class Done(NamedTuple):
    """What became of a share: the batches from its start up to `stop` are done.

    Either `layout` tells where the answers lie in the worker's shared memory, or `answers` holds them, or `error` is
    what batch `stop` raised.
    """

    stop: int
    layout: ArrayLayout | None = None
    answers: Any = None
    error: bytes | None = None

    def to_message(self) -> tuple[Any, ...]:
        """Return what is sent."""
        stop, layout, *rest = self
        return ("done", stop, None if layout is None else tuple(layout), *rest)

    @classmethod
    def from_message(cls, message: tuple[Any, ...]) -> Done:
        """Return what was sent."""
        _, stop, layout, *rest = message
        return cls(stop, None if layout is None else ArrayLayout(*layout), *rest)


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


def send(connection: Connection, message: Any) -> None:
    """Send a message. `Connection.send` would make a new pickler class each time, which costs more than the sending."""
    connection.send_bytes(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))


def receive(connection: Connection) -> Any:
    """Receive a message.

    Raises
    ------
    EOFError, OSError
        Where the other side is gone.
    """
    return pickle.loads(connection.recv_bytes())


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
        before, n_bytes = extent(part.shape, part.strides, part.itemsize)
        if n_bytes > _MOST_GAPS * part.nbytes:
            return NotImplemented
        memory = np.zeros(n_bytes, np.uint8)
        np.ndarray(part.shape, part.dtype, memory, before, part.strides)[...] = part
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
