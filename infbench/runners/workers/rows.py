"""Where workers find the rows of a call.

Rows of numbers are never sent. There are three places where a worker may find them:

- the caller's own memory, from which a worker reads a batch, or several small ones, at a time: the caller copies
  nothing, and what it takes over from a worker has cost hardly anything;
- an array of `SharedRows.empty`, whose memory a worker maps: nobody copies anything, unless the rows of a batch have
  gaps;
- a copy in shared memory, if the system lets nobody read the caller's memory.

If a worker's share is one large batch, the worker and the caller may copy it together: see
`infbench.runners.workers.joint_copy`.
"""

from __future__ import annotations

import itertools
import math
import mmap
import operator
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from infbench.errors import InvalidParameterError
from infbench.runners.layout import ARRAY_KINDS, brought_together, extent
from infbench.runners.workers import joint_copy
from infbench.runners.workers.buffers import SharedBuffer, grown
from infbench.runners.workers.caller_memory import OwnMemory, address_of
from infbench.runners.workers.handle import WorkerHandle
from infbench.runners.workers.messages import News, Place, Share


def is_shareable(X: Any) -> bool:
    """Tell whether the values of `X` lie in `X` itself, so that another process can read them there.

    Object arrays hold pointers, which mean nothing elsewhere. Subclasses of ndarray may hold more than an array, except
    for memmap, whose values lie in memory like those of any array.
    """
    return type(X) in (np.ndarray, np.memmap) and X.dtype.kind in ARRAY_KINDS and X.size > 0


class _Lent(NamedTuple):
    """Shared memory in which a user holds an array."""

    fd: int
    n_bytes: int
    address: int


class _Mapping(mmap.mmap):
    """Memory that tells when it is about to go. A weak reference would tell when it may be another's already."""

    let_go: Callable[[], None]

    def __del__(self) -> None:
        self.let_go()


class _Room(NamedTuple):
    """Shared memory for copies, kept from call to call."""

    key: int
    buffer: SharedBuffer


_OF_ALL = -1
"""The owner of a room whose copy all workers read; the owner of any other room is the index of its worker."""


class SharedRows:
    """The caller's side of the rows.

    Attributes
    ----------
    own_memory : OwnMemory or None
        How workers read this process's memory; None if that is not possible. They are told when they start.
    """

    def __init__(self) -> None:
        try:
            self.own_memory: OwnMemory | None = OwnMemory()
        except OSError:
            self.own_memory = None
        self._keys = itertools.count()
        self._near: np.ndarray[Any, Any] | None = None
        self._lent: dict[int, _Lent] = {}
        self._rooms: dict[int, _Room] = {}

    def empty(self, shape: int | Sequence[int], dtype: Any) -> np.ndarray[Any, Any]:
        """Return a new array in memory that workers can map.

        Parameters
        ----------
        shape, dtype
            As for `numpy.empty`.

        Returns
        -------
        ndarray of shape `shape`
            Its memory lives as long as the array and all views of it, whatever becomes of the runner.

        Raises
        ------
        InvalidParameterError
            If a length is negative.
        OSError
            If there is not enough memory.
        """
        dtype = np.dtype(dtype)
        if dtype.kind not in ARRAY_KINDS:  # pointers mean nothing to other processes
            return np.empty(shape, dtype)
        lengths = tuple(map(operator.index, shape if isinstance(shape, Sequence) else (shape,)))
        if any(length < 0 for length in lengths):
            raise InvalidParameterError(f"shape must hold no negative number, got {shape}")
        n_bytes = math.prod(lengths) * dtype.itemsize
        buffer = SharedBuffer.create(n_bytes)
        try:
            # All views of the array refer to the mapping, not to the array: any of them keeps the mapping alive.
            memory = _Mapping(buffer.fd, buffer.n_bytes)
            key = next(self._keys)
            memory.let_go = partial(self._take_back, key)
            array: np.ndarray[Any, Any] = np.ndarray(lengths, dtype, memory)
            self._lent[key] = _Lent(os.dup(buffer.fd), buffer.n_bytes, address_of(array))
        finally:
            buffer.close()
        return array

    def place(self, X: np.ndarray[Any, Any]) -> Place:
        """Return where workers find `X`, and copy it there if necessary.

        The memory order and the strides of `X` are kept: BLAS takes another path for another layout, and the answer may
        then differ in the last bit.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            It must stay alive and unchanged until the workers have answered.

        Raises
        ------
        OSError
            If there is not enough memory for a copy.
        """
        interface = X.__array_interface__
        address, is_read_only = interface["data"]
        place = Place(None, interface["typestr"], X.shape, X.strides, address, not is_read_only)
        if self.own_memory is not None and not self._lent and X.flags.forc:
            return place
        before, n_bytes = extent(X.shape, X.strides, X.itemsize)
        begin = address - before
        for key, lent in self._lent.copy().items():
            if lent.address <= begin and begin + n_bytes <= lent.address + lent.n_bytes:
                return place._replace(buffer=key, offset=address - lent.address)
        if (near := brought_together(X)) is not X:
            self._near = near
            return self.place(near)
        if self.own_memory is not None:
            return place
        room = self._room(_OF_ALL, n_bytes)
        place = place._replace(buffer=room.key, offset=before)
        place._replace(writeable=True).array(room.buffer)[...] = X
        return place

    def let_go(self) -> None:
        """Forget the rows of a call that has ended."""
        self._near = None

    def copy_jointly(self, worker: WorkerHandle, batch: np.ndarray[Any, Any]) -> tuple[int, Iterator[None]]:
        """Prepare a copy that this process and a worker make together.

        Parameters
        ----------
        worker : WorkerHandle
            It has no share yet.
        batch : ndarray of shape (n_rows, n_features)
            All rows of its share, packed.

        Returns
        -------
        int
            The share's room.
        iterator
            Each step copies a piece. To be used up once the share is sent.

        Raises
        ------
        OSError
            If there is not enough memory.
        """
        room = self._room(worker.index, batch.nbytes)
        joint_copy.prepare(worker.desk, batch.nbytes)
        target = room.buffer.array((batch.nbytes,), np.uint8)
        return room.key, joint_copy.copy_from_begin(worker.desk, batch.reshape(-1).view(np.uint8), target)

    def news(self, worker: WorkerHandle, share: Share) -> list[News]:
        """Return what a worker must be told before it looks for the rows of a share, and note it as told."""
        told: list[News] = []
        rooms = {room.key: room.buffer for room in self._rooms.values()}
        if worker.shown:
            here = {*self._lent, *rooms}
            told += [News(("forget", gone)) for gone in worker.shown - here]
            worker.shown &= here
        key = share.mapped
        if key is None or key in worker.shown:
            return told
        worker.shown.add(key)
        memory = self._lent[key] if key in self._lent else rooms[key]
        return [*told, News(("rows", key, memory.n_bytes), memory.fd)]

    def close(self) -> None:
        """Give back all memory except that of arrays that are still in use. May be called again."""
        for key in tuple(self._lent):
            self._take_back(key)
        while self._rooms:
            self._rooms.popitem()[1].buffer.close()
        if self.own_memory is not None:
            self.own_memory.close()
            self.own_memory = None

    def _room(self, whose: int, n_bytes: int) -> _Room:
        room = self._rooms.get(whose)
        if room is None or room.buffer.n_bytes < n_bytes:
            # Popped first: `grown` closes it, even if it then finds no memory for a larger one.
            before = self._rooms.pop(whose).buffer if room is not None else None
            room = self._rooms[whose] = _Room(next(self._keys), grown(before, n_bytes))
        return room

    def _take_back(self, key: int) -> None:
        lent = self._lent.pop(key, None)
        if lent is not None:
            os.close(lent.fd)
