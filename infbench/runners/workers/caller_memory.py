"""The caller's memory, read by its workers."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from infbench.runners.layout import extent, is_packed
from infbench.runners.workers.messages import Place

Buffer = Any  # an ndarray or a memoryview

READ_S, READ_S_PER_BYTE = 10e-6, 0.2e-9
"""How long a worker takes to read a batch, and on top of that for each byte, if it lies in no cache: 8 kB that lay in
none were measured at 9 to 12 us, 4 MB at 0.7 to 0.8 ms. On another machine, whose memory others use too, 4 MB took 0.4
ms from a cache and 2.5 ms otherwise: see docs/read_rows.py."""

_AHEAD_BYTES = 1 << 19
"""If a batch is smaller than this, the next ones are read along with it, up to this size in all: the fixed cost of each
read took 0.5 to 2.4 % of calls with batches of 8 and 80 kB. Reading more gained no more, and may not fit in a cache."""

_SAMPLE_BYTES = 16
_Piece = ctypes.c_size_t * 2  # struct iovec: an address and a number of bytes


def _find_process_vm_readv() -> Callable[..., int] | None:
    function = getattr(ctypes.CDLL(None, use_errno=True), "process_vm_readv", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, _Piece, ctypes.c_ulong, _Piece, ctypes.c_ulong, ctypes.c_ulong)
        function.restype = ctypes.c_ssize_t
    return function


_process_vm_readv = _find_process_vm_readv()


def address_of(array: np.ndarray[Any, Any]) -> int:
    """Return the address of the first element of an array."""
    address: int = array.__array_interface__["data"][0]
    return address


class OwnMemory:
    """The memory of this process, opened so that other processes can be sent what they need to read it.

    Attributes
    ----------
    fd : int
        A descriptor to read it from. -1 when it is closed.
    pid : int
    sample_address : int
        The address of a few bytes that no other process has there: by them a reader checks whose memory it reads.

    Raises
    ------
    OSError
        If the system has no such file, or reading it does not work as it should.

    Notes
    -----
    Linux checks permissions when the file is opened, and a process may always open its own: see proc_pid_mem(5). The
    descriptor does not keep the memory alive; once its process is gone, there is nothing to read.
    """

    fd: int = -1

    def __init__(self) -> None:
        self._sample = np.frombuffer(os.urandom(_SAMPLE_BYTES), np.uint8)
        self.pid = os.getpid()
        self.sample_address = address_of(self._sample)
        self.fd = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
        if not self._reads_as_it_should():
            self.close()
            raise OSError(errno.EIO, "does not read as it should", "/proc/self/mem")

    def close(self) -> None:
        """Close the descriptor. May be called again."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()  # a signal handler may have raised before anybody did so

    def _reads_as_it_should(self) -> bool:
        try:
            return os.pread(self.fd, _SAMPLE_BYTES, self.sample_address) == self._sample.tobytes()
        except OSError:
            return False


class CallerMemory:
    """The memory of another process, for reading.

    Parameters
    ----------
    fd, pid, sample_address : int
        From its `OwnMemory`. The descriptor is not closed here.

    Notes
    -----
    There are two ways. process_vm_readv(2) is faster, 0.4 ms for 4 MB instead of 0.7, but some systems allow it to none
    but a parent: see ptrace(2) on Yama. The descriptor can always be read.
    """

    def __init__(self, fd: int, pid: int, sample_address: int) -> None:
        self._fd = fd
        self._pid = pid
        self._here, self._there = _Piece(), _Piece()
        self._read = self._read_by_fd
        if _process_vm_readv is not None:
            self._read = self._read_by_pid
            sample = np.empty(_SAMPLE_BYTES, np.uint8)
            try:
                self._read(sample, sample_address)  # falls back to the descriptor by itself if not allowed
                is_right = sample.tobytes() == os.pread(fd, _SAMPLE_BYTES, sample_address)
            except OSError:
                is_right = False
            if not is_right:
                self._read = self._read_by_fd

    def read(self, memory: Buffer, address: int) -> None:
        """Fill `memory` with what lies at an address of the other process.

        Parameters
        ----------
        memory : ndarray or memoryview
            Contiguous and writable.
        address : int

        Raises
        ------
        EOFError
            If the process is gone.
        OSError
            If it has no memory at that address (any more).
        """
        n_bytes = self._read(memory, address)
        while 0 < n_bytes < memory.nbytes:  # the system reads at most 2 GB at once
            rest = memoryview(memory).cast("B")[n_bytes:]
            done = self._read(rest, address + n_bytes)
            n_bytes = n_bytes + done if done else 0
        if n_bytes == 0:
            raise EOFError("the process whose memory is read is gone")

    def _read_by_fd(self, memory: Buffer, address: int) -> int:
        return os.preadv(self._fd, [memory], address)

    def _read_by_pid(self, memory: Buffer, address: int) -> int:
        assert _process_vm_readv is not None  # or this is not called
        here, there = self._here, self._there
        here[0], there[0] = ctypes.addressof(ctypes.c_char.from_buffer(memory)), address
        here[1] = there[1] = memory.nbytes
        n_bytes: int = _process_vm_readv(self._pid, here, 1, there, 1, 0)
        if n_bytes < 0:
            number = ctypes.get_errno()
            if number == errno.ESRCH:
                return 0
            if number == errno.EPERM:  # to all but a parent, or because the caller has changed its user
                self._read = self._read_by_fd
                return self._read_by_fd(memory, address)
            raise OSError(number, os.strerror(number))
        return n_bytes


class RowReader:
    """Copies rows out of another process's memory, several small batches at a time.

    Parameters
    ----------
    memory : CallerMemory
    place : Place
        Of an array of shape (n_samples, n_features) in that memory.
    end : int
        One past the last row that will be asked for: later ones are not read ahead.
    """

    def __init__(self, memory: CallerMemory, place: Place, end: int) -> None:
        self._memory = memory
        self._place = place
        self._strides = place.strides
        self._dtype = np.dtype(place.dtype)
        self._end = end
        self._is_packed = is_packed(place.shape, place.strides, self._dtype.itemsize)
        self._n_ahead = _AHEAD_BYTES // max(1, place.strides[0]) if self._is_packed else 0
        self._here: np.ndarray[Any, Any]
        self._first = self._last = 0  # of the rows that are here

    def __call__(self, first: int, last: int) -> np.ndarray[Any, Any]:
        """Copy some rows.

        Parameters
        ----------
        first, last : int
            The first row, and one past the last one; rows past the end are left out, as in a slice.

        Returns
        -------
        ndarray of shape (n_rows, n_features)
            With the strides of the array, in memory that is never written to again, so that an answer may refer to it.

        Raises
        ------
        EOFError, OSError
            See `CallerMemory.read`.
        """
        if first < self._first or last > self._last:
            n_batches = max(1, self._n_ahead // (last - first))
            read_to = max(last, min(first + n_batches * (last - first), self._end))
            self._here = self._read(first, read_to)
            self._first, self._last = first, read_to
        return self._here[first - self._first : last - self._first]

    def _read(self, first: int, last: int) -> np.ndarray[Any, Any]:
        rows = self._place.rows(first, last)
        array: np.ndarray[Any, Any]
        if self._is_packed:
            array = np.empty(rows.shape, self._dtype)
            self._memory.read(array, rows.offset)
        else:
            array = self._read_strided(rows.shape, rows.offset)
        if not self._place.writeable:
            array.flags.writeable = False
        return array

    def _read_strided(self, shape: tuple[int, ...], begin: int) -> np.ndarray[Any, Any]:
        before, n_bytes = extent(shape, self._strides, self._dtype.itemsize)
        memory: Any  # a buffer of either kind
        if n_bytes <= 2 * shape[0] * shape[1] * self._dtype.itemsize:
            memory = np.empty(n_bytes, np.uint8)
            self._memory.read(memory, begin - before)
        else:
            memory = mmap.mmap(-1, n_bytes)  # a page that is never touched takes no memory
            self._read_pieces(memoryview(memory), shape, begin, before)
        return np.ndarray(shape, self._dtype, memory, before, self._strides)

    def _read_pieces(self, memory: memoryview, shape: tuple[int, ...], begin: int, before: int) -> None:
        """Read each row, or each column if columns lie further apart, but not what lies between them."""
        outer = 0 if abs(self._strides[0]) >= abs(self._strides[1]) else 1
        inner = slice(1 - outer, 2 - outer)
        piece_before, piece_bytes = extent(shape[inner], self._strides[inner], self._dtype.itemsize)
        for index in range(shape[outer]):
            at = index * self._strides[outer] - piece_before
            self._memory.read(memory[before + at : before + at + piece_bytes], begin + at)
