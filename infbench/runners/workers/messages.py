"""What `ProcessRunner`, the launcher, a template and its workers say to each other.

Unless stated otherwise, a message is a small pickled tuple; rows and answers lie in memory. Tuples hold plain values
only, as instances of a class take pickle ten times as long.

To the launcher, over a connection:

- ``("launch", modules, preparation, inner_threads, spin_s)``, then the descriptor of a socket: load the modules, and
  fork a template that serves on it, prepared as multiprocessing prepares a process. Answer: its process id, or the
  system's error.

To a template, over a connection:

- ``("load", n_bytes, how_to_read)``, then the descriptors of the control memory, of the caller's memory unless
  `how_to_read` is None, and of a file that holds the pickled estimator. Answer: ``("loaded",)``, or
  ``("failed", error)`` if it does not load.
- ``("fork", index)``, then the descriptor of a socket: fork a worker that serves on it. Answer: its process id.
- ``("end", pid)``: kill a worker unless it has ended. Answer: its exit code.

To a worker and back, through the mailboxes of its `infbench.runners.workers.mailbox.Desk`: a `Share`, a `Done`. What
does not fit there goes over the worker's connection, after the message that announces it:

- after a `Share`, a number of `News`: ``("rows", key, n_bytes)`` with the descriptor of memory that places refer to by
  this key; ``("forget", key)``, no place will do so any more; or ``("settings", sklearn, numpy)``, an `Ambient`. Then,
  if the share has no place, its rows, pickled;
- after a `Done`, if the answers lie in new memory, ``("answers", n_bytes)`` with its descriptor; or, if they are not
  plain numbers, the answers, pickled; or an error.

An empty message means nothing: it wakes a receiver that sleeps, so that it looks into its mailbox.

When a connection ends, so does the process that serves on it.
"""

from __future__ import annotations

import pickle
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from infbench.errors import WorkerError
from infbench.runners.layout import dumps

if TYPE_CHECKING:
    import numpy as np

    from infbench.runners.workers.buffers import SharedBuffer


class Place(NamedTuple):
    """Where an array lies, with its strides: another memory order can change the last bit of an answer.

    Parameters
    ----------
    buffer : int or None
        The key by which the worker knows the memory. None: the caller's own, which can be read but not mapped.
    dtype : str
    shape, strides : tuple of int
        The strides in bytes.
    offset : int
        Where its first element is, in bytes from the beginning of the memory; in the caller's own, an address.
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
        return Place(self.buffer, self.dtype, shape, self.strides, offset, self.writeable)  # half `_replace`'s time

    def array(self, buffer: SharedBuffer) -> np.ndarray[Any, Any]:
        """Return the array that lies at this place in `buffer`."""
        found = buffer.array(self.shape, self.dtype, offset=self.offset, strides=self.strides)
        found.flags.writeable = self.writeable
        return found


class News(NamedTuple):
    """A message to a worker about what its share needs, and the descriptor that follows it, if any."""

    message: tuple[Any, ...]
    fd: int | None = None


class Share(NamedTuple):
    """A worker's part of a call: the batches from `start` up to `stop`, or up to its `LIMIT` if that is lower.

    `place` tells where to find the rows from `first_row` on. Without a place they follow, pickled. With a `room`, the
    key of mapped memory, the caller helps to copy them there: see `infbench.runners.workers.joint_copy`.
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

    The answers are an array of `shape` and `dtype` in the worker's shared memory, which follows if it `is_new`. If
    `follows`, they come next, pickled. If `failed`, what batch `stop` raised comes next.
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


def exception_to_bytes(error: BaseException) -> bytes:
    """Pickle an exception with its traceback, in a form that is known to load.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    bytes
        For `exception_from_bytes`. An exception that cannot be pickled, or does not load with the same text, is
        replaced by a `WorkerError` that holds its type and text.
    """
    text = "".join(traceback.format_exception(error))
    for form in (error, _Uninitialised(error)):
        with suppress(Exception):
            pickled = dumps((form, text))
            again, _ = pickle.loads(pickled)
            if str(again) == str(error):
                return pickled
    return pickle.dumps((WorkerError.instead_of(error), text))


class _Uninitialised:
    """An exception that is loaded without its ``__init__``, which may want other arguments than the exception kept."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> Any:
        return _make_uninitialised, (type(self._error), self._error.args, self._error.__dict__)


def _make_uninitialised(kind: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]) -> BaseException:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


def exception_from_bytes(pickled: bytes) -> BaseException:
    """Return the exception that `exception_to_bytes` was given; the worker's traceback is its cause."""
    error: BaseException
    error, text = pickle.loads(pickled)
    error.__cause__ = WorkerTraceback(text)
    return error
