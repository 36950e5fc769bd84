"""The caller's memory, read by its workers through a descriptor."""

from __future__ import annotations

import mmap
import os
from typing import Any

import numpy as np

from infbench.runners.messages import ArrayLayout, extent


def address_of(array: np.ndarray[Any, Any]) -> int:
    """Return where the first element of an array is."""
    address: int = array.__array_interface__["data"][0]
    return address


def open_own_memory() -> int | None:
    """Open this process's memory for reading, so that other processes can be sent the descriptor.

    Returns
    -------
    int or None
        A descriptor, the receiver's to close. None where the system has no such file, or it does not read as it should.

    Notes
    -----
    Linux looks at permissions when the file is opened, and a process may always open its own: see proc_pid_mem(5). The
    descriptor does not keep the memory alive; when its process has gone, there is nothing to be read.
    """
    probe = np.arange(8, dtype=np.uint8)
    try:
        fd = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if os.pread(fd, probe.nbytes, address_of(probe)) == probe.tobytes():
            return fd
    except OSError:
        pass
    os.close(fd)
    return None


class RowReader:
    """Copies rows out of another process's memory.

    Parameters
    ----------
    memory_fd : int
        From `open_own_memory` of that process. It stays the giver's to close.
    layout : ArrayLayout
        Of an array of shape (n_samples, n_features), its offset an address.
    """

    def __init__(self, memory_fd: int, layout: ArrayLayout) -> None:
        assert layout.strides is not None
        self._memory_fd = memory_fd
        self._layout = layout
        self._strides = layout.strides
        self._dtype = np.dtype(layout.dtype)

    def __call__(self, first: int, last: int) -> np.ndarray[Any, Any]:
        """Copy some rows.

        Parameters
        ----------
        first, last : int
            The first row, and one past the last one; rows past the end are left out, as in a slice.

        Returns
        -------
        ndarray of shape (n_rows, n_features)
            With the strides of the array, in memory of its own, so that an answer may refer to it.

        Raises
        ------
        EOFError
            Where the process is gone.
        OSError
            Where it has no memory there (any more).
        """
        n_samples, n_features = self._layout.shape
        shape = (min(last, n_samples) - first, n_features)
        begin = self._layout.offset + first * self._strides[0]
        before, n_bytes = extent(shape, self._strides, self._dtype.itemsize)
        memory: Any  # a buffer of either kind
        if n_bytes <= 2 * shape[0] * shape[1] * self._dtype.itemsize:
            memory = np.empty(n_bytes, np.uint8)
            self._fill(memory, begin - before)
        else:
            memory = mmap.mmap(-1, n_bytes)  # a page that is never touched takes no memory
            self._fill_pieces(memoryview(memory), shape, begin, before)
        array: np.ndarray[Any, Any] = np.ndarray(shape, self._dtype, memory, before, self._strides)
        if not self._layout.writeable:
            array.flags.writeable = False
        return array

    def _fill_pieces(self, memory: memoryview, shape: tuple[int, ...], begin: int, before: int) -> None:
        """Read each row, or each column where they lie further apart, and not what lies between them."""
        outer = 0 if abs(self._strides[0]) >= abs(self._strides[1]) else 1
        inner = slice(1 - outer, 2 - outer)
        piece_before, piece_bytes = extent(shape[inner], self._strides[inner], self._dtype.itemsize)
        for index in range(shape[outer]):
            at = index * self._strides[outer] - piece_before
            self._fill(memory[before + at : before + at + piece_bytes], begin + at)

    def _fill(self, memory: Any, address: int) -> None:
        n_bytes = os.preadv(self._memory_fd, [memory], address)
        while 0 < n_bytes < len(memory):
            done = os.preadv(self._memory_fd, [memory[n_bytes:]], address + n_bytes)
            n_bytes = n_bytes + done if done else 0
        if n_bytes == 0:
            raise EOFError("the process whose memory is read is gone")
