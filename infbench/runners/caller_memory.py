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


def read_rows(memory_fd: int, layout: ArrayLayout, first: int, last: int) -> np.ndarray[Any, Any]:
    """Copy some rows out of another process's memory.

    Parameters
    ----------
    memory_fd : int
        From `open_own_memory` of that process.
    layout : ArrayLayout
        Of an array of shape (n_samples, n_features), its offset an address.
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
    assert layout.strides is not None
    itemsize = np.dtype(layout.dtype).itemsize
    shape = (min(last, layout.shape[0]) - first, layout.shape[1])
    begin = layout.offset + first * layout.strides[0]
    before, n_bytes = extent(shape, layout.strides, itemsize)
    # What lies between the outer axis's pieces is not read where it is more than the pieces.
    outer = 0 if abs(layout.strides[0]) >= abs(layout.strides[1]) else 1
    inner = 1 - outer
    piece_before, piece_bytes = extent(shape[inner : inner + 1], layout.strides[inner : inner + 1], itemsize)
    memory: Any  # a buffer of either kind
    if n_bytes <= 2 * shape[outer] * piece_bytes:
        memory = np.empty(n_bytes, np.uint8)
        _fill(memory_fd, begin - before, memoryview(memory))
    else:
        memory = mmap.mmap(-1, n_bytes)  # a page that is never touched takes no memory
        for index in range(shape[outer]):
            at = index * layout.strides[outer] - piece_before
            _fill(memory_fd, begin + at, memoryview(memory)[before + at : before + at + piece_bytes])
    array: np.ndarray[Any, Any] = np.ndarray(shape, layout.dtype, memory, before, layout.strides)
    array.flags.writeable = layout.writeable
    return array


def _fill(memory_fd: int, address: int, into: memoryview) -> None:
    done = 0
    while done < len(into):
        n_bytes = os.preadv(memory_fd, [into[done:]], address + done)
        if n_bytes == 0:
            raise EOFError("the process whose memory is read is gone")
        done += n_bytes
