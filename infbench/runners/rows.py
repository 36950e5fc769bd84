"""Where workers find the rows of a call.

Rows of numbers are never sent. There are three places where a worker may find them:

- the caller's own memory, from which a worker reads one batch at a time: the caller copies nothing, and what it takes
  over from a worker has cost nobody anything;
- an array of `SharedRows.empty`, whose memory a worker maps: nobody copies anything;
- where the system lets nobody read the caller's memory, a copy in shared memory.
"""

from __future__ import annotations

import itertools
import math
import mmap
import os
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from infbench.runners.buffers import SharedBuffer, grown
from infbench.runners.caller_memory import OwnMemory, address_of
from infbench.runners.crew import WorkerHandle
from infbench.runners.messages import ARRAY_KINDS, News, Place, extent


def is_shareable(X: Any) -> bool:
    """Tell whether the values of `X` lie in `X` itself, so that another process can read them there.

    Object arrays hold pointers, which mean nothing elsewhere; subclasses of ndarray may hold more than an array.
    """
    return type(X) is np.ndarray and X.dtype.kind in ARRAY_KINDS and X.size > 0


class _Lent(NamedTuple):
    """Shared memory that a user holds an array in."""

    fd: int
    n_bytes: int
    address: int


class SharedRows:
    """The caller's side of the rows.

    Attributes
    ----------
    own_memory : OwnMemory or None
        How workers read this process's memory; None where that is not possible. They are told when they start.
    """

    def __init__(self) -> None:
        try:
            self.own_memory: OwnMemory | None = OwnMemory()
        except OSError:
            self.own_memory = None
        self._keys = itertools.count()
        self._lent: dict[int, _Lent] = {}
        self._copy: SharedBuffer | None = None
        self._copy_key = -1

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
        OSError
            Where there is not enough memory.
        """
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        buffer = SharedBuffer.create(math.prod(shape) * np.dtype(dtype).itemsize)
        memory = mmap.mmap(buffer.fd, buffer.n_bytes)
        array: np.ndarray[Any, Any] = np.ndarray(shape, dtype, memory)
        key = next(self._keys)
        self._lent[key] = _Lent(os.dup(buffer.fd), buffer.n_bytes, address_of(array))
        # All views of the array refer to the mapping, not to the array: whoever has rows in it keeps it.
        weakref.finalize(memory, self._take_back, key)
        buffer.close()
        return array

    def place(self, X: np.ndarray[Any, Any]) -> Place:
        """Say where workers find `X`, and copy it there if it must be.

        It keeps the memory order and the strides of `X`: BLAS takes another path for another layout, and the answer
        may then differ in the last bit.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            It must stay alive, and its values the same, until the workers have answered.

        Raises
        ------
        OSError
            Where there is not enough memory for a copy.
        """
        interface = X.__array_interface__
        address, is_read_only = interface["data"]
        place = Place(None, interface["typestr"], X.shape, X.strides, address, not is_read_only)
        if self.own_memory is not None and not self._lent:
            return place
        before, n_bytes = extent(X.shape, X.strides, X.itemsize)
        begin = address - before
        for key, lent in self._lent.copy().items():
            if lent.address <= begin and begin + n_bytes <= lent.address + lent.n_bytes:
                return place._replace(buffer=key, offset=address - lent.address)
        if self.own_memory is not None:
            return place
        room = self._room(n_bytes)
        place = place._replace(buffer=self._copy_key, offset=before)
        place._replace(writeable=True).array(room)[...] = X
        return place

    def news(self, worker: WorkerHandle, place: Place) -> list[News]:
        """Return what a worker must be told before it looks for rows in `place`, and take it as told."""
        told: list[News] = []
        if worker.shown:
            here = {*self._lent, self._copy_key}
            told += [News(("forget", gone)) for gone in worker.shown - here]
            worker.shown &= here
        key = place.buffer
        if key is None or key in worker.shown:
            return told
        worker.shown.add(key)
        if key in self._lent:
            fd, n_bytes, _ = self._lent[key]
        else:
            assert self._copy is not None
            fd, n_bytes = self._copy.fd, self._copy.n_bytes
        return [*told, News(("rows", key, n_bytes), fd)]

    def close(self) -> None:
        """Give back all memory but that of arrays that are still in use. May be called again."""
        for key in tuple(self._lent):
            self._take_back(key)
        if self._copy is not None:
            self._copy.close()
            self._copy = None
        if self.own_memory is not None:
            self.own_memory.close()
            self.own_memory = None

    def _room(self, n_bytes: int) -> SharedBuffer:
        """Return memory for a copy, kept from call to call."""
        before, self._copy = (
            self._copy,
            None,
        )  # should there be no memory for a larger one, the old one is closed already
        self._copy = grown(before, n_bytes)
        if self._copy is not before:
            self._copy_key = next(self._keys)
        return self._copy

    def _take_back(self, key: int) -> None:
        lent = self._lent.pop(key, None)
        if lent is not None:
            os.close(lent.fd)
