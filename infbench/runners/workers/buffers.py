"""Memory that several processes see at once, without a name in any file system."""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

_PAGE_BYTES = mmap.PAGESIZE

_PIECE_BYTES = 1 << 20
"""Memory is reserved in pieces of this size. A signal in the middle of one makes the kernel begin it anew, so a piece
that takes longer than the interval of a timer, such as a profiler's, would never be finished."""


class SharedBuffer:
    """Anonymous shared memory, reached through a file descriptor that may be sent to another process.

    There is no name, so nothing stays behind when all its processes are gone, even killed ones, and the size of
    ``/dev/shm`` does not matter. All pages are reserved on creation: a machine without room for them says so here, with
    an `OSError`, and not later with SIGBUS.

    Attributes
    ----------
    fd : int
        The descriptor, owned by this object. -1 when it is closed.
    n_bytes : int
        Size: whole pages.
    """

    fd: int = -1

    def __init__(self, fd: int, n_bytes: int) -> None:
        try:
            self._map = mmap.mmap(fd, n_bytes)
        except BaseException:
            os.close(fd)
            raise
        self.fd = fd
        self.n_bytes = n_bytes

    @classmethod
    def create(cls, n_bytes: int) -> SharedBuffer:
        """Reserve memory of at least `n_bytes`.

        Raises
        ------
        OSError
            If there is not enough memory.
        """
        n_bytes = max(1, -(-n_bytes // _PAGE_BYTES)) * _PAGE_BYTES
        if n_bytes > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):  # the kernel would try, then kill
            raise OSError(errno.ENOMEM, f"{n_bytes:,} bytes are more than this machine has")
        fd = anonymous_file()
        try:
            if hasattr(os, "posix_fallocate"):
                for begin in range(0, n_bytes, _PIECE_BYTES):
                    os.posix_fallocate(fd, begin, min(_PIECE_BYTES, n_bytes - begin))
            else:
                os.ftruncate(fd, n_bytes)
        except BaseException:
            os.close(fd)
            raise
        return cls(fd, n_bytes)

    def array(
        self, shape: Sequence[int], dtype: Any, *, offset: int = 0, strides: Sequence[int] | None = None
    ) -> np.ndarray[Any, Any]:
        """Return an array that lies in this memory.

        Parameters
        ----------
        shape, dtype, offset, strides
            As for `numpy.ndarray`; `offset` and `strides` in bytes.

        Returns
        -------
        ndarray of shape `shape`
            A view. It keeps the memory mapped after `close`, for as long as it lives.
        """
        return np.ndarray(shape, dtype, self._map, offset, strides)

    def view(self) -> memoryview:
        """Return all bytes, without a copy."""
        return memoryview(self._map)

    def close(self) -> None:
        """Give the descriptor back, and the memory as soon as no array lies in it. May be called again."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
            # Not `self._map.close()`, which would unmap the memory under the arrays that lie in it: numpy keeps a
            # reference to the mapping, but no lock on it. The mapping goes with the last of them.
            del self._map

    def __del__(self) -> None:
        self.close()  # a signal handler may have raised before anybody did so


def grown(buffer: SharedBuffer | None, n_bytes: int) -> SharedBuffer:
    """Return `buffer` if it holds `n_bytes`; otherwise close it and return a larger one in its place.

    The first touch of a page costs some twenty times as much as writing it again, so buffers are kept between calls,
    and grow seldom: by at least half.
    """
    if buffer is not None:
        if buffer.n_bytes >= n_bytes:
            return buffer
        n_bytes = max(n_bytes, buffer.n_bytes + buffer.n_bytes // 2)
        buffer.close()
    return SharedBuffer.create(n_bytes)


def anonymous_file() -> int:
    """Return the descriptor of a new unnamed file, in memory if the system has such files. The caller closes it."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("infbench", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:  # no memfd outside Linux
        return os.dup(file.fileno())
