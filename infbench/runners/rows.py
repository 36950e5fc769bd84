"""The memory in which workers find the rows of a call."""

from __future__ import annotations

from multiprocessing import reduction
from typing import Any

import numpy as np

from infbench.runners.buffers import SharedBuffer, grown
from infbench.runners.crew import WorkerHandle
from infbench.runners.messages import ARRAY_KINDS, ArrayLayout, send


def is_shareable(X: Any) -> bool:
    """Tell whether the values of `X` lie in `X` itself, so that another process can read a copy of the memory.

    Object arrays hold pointers, which mean nothing elsewhere; subclasses of ndarray may hold more than an array.
    """
    return type(X) is np.ndarray and X.dtype.kind in ARRAY_KINDS


class SharedRows:
    """Shared memory that is kept from call to call and holds the rows of one call at a time.

    Attributes
    ----------
    buffer : SharedBuffer or None
        None before the first rows.
    generation : int
        Goes up whenever `buffer` is another one, so that each worker is told once.
    """

    def __init__(self) -> None:
        self.buffer: SharedBuffer | None = None
        self.generation = 0

    def lay_out(self, X: np.ndarray[Any, Any]) -> ArrayLayout:
        """Make room for `X` and say where it will lie. Nothing is copied yet.

        The layout keeps the memory order and the strides of `X`: BLAS takes another path for another layout, and the
        answer may then differ in the last bit.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)

        Returns
        -------
        ArrayLayout

        Raises
        ------
        OSError
            Where there is not enough memory.
        """
        offset, n_bytes = _extent(X)
        self._make_room(n_bytes)
        return ArrayLayout(X.dtype.str, X.shape, X.strides, offset, bool(X.flags.writeable))

    def array(self, layout: ArrayLayout) -> np.ndarray[Any, Any]:
        """Return the array that lies so in the memory now, to be written to."""
        assert self.buffer is not None
        return layout._replace(writeable=True).array(self.buffer)

    def show(self, worker: WorkerHandle) -> None:
        """Send the memory to a worker, unless it has it."""
        if worker.rows_generation != self.generation and self.buffer is not None:
            send(worker.connection, ("rows", self.buffer.n_bytes))
            reduction.send_handle(worker.connection, self.buffer.fd, worker.pid)
            worker.rows_generation = self.generation

    def close(self) -> None:
        """Give the memory back. May be called again."""
        if self.buffer is not None:
            self.buffer.close()
            self.buffer = None

    def _make_room(self, n_bytes: int) -> None:
        before = self.buffer
        self.buffer = None  # should there be no memory for a larger one, the old one is closed already
        self.buffer = grown(before, n_bytes)
        if self.buffer is not before:
            self.generation += 1


def _extent(X: np.ndarray[Any, Any]) -> tuple[int, int]:
    """Return the offset of the first element in the smallest memory that holds all of `X`, and its size, in bytes."""
    steps = [(length - 1) * stride for length, stride in zip(X.shape, X.strides, strict=True)]
    before = -sum(step for step in steps if step < 0)
    after = sum(step for step in steps if step > 0)
    return before, before + after + X.itemsize
