"""Rows that a worker and its caller copy together.

A worker that holds one large batch cannot begin before it has all its rows, and nobody can take over part of a batch:
the worker is late by the time that the copy takes. So both copy. The caller goes from the first byte on, the worker
from the last one back, and both stop where they meet. Neither waits for the other: a worker that was asleep finds more
done, and if the caller does nothing, the worker copies everything itself. A piece may be copied twice, to the same
values.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from infbench.runners.workers.buffers import SharedBuffer
from infbench.runners.workers.caller_memory import READ_S_PER_BYTE, CallerMemory
from infbench.runners.workers.mailbox import COPIED, UNREAD, Desk
from infbench.runners.workers.messages import Place

PIECE_BYTES = 1 << 18
"""What is copied at once: some 50 us of work, so that neither side repeats much of what the other has done."""


def pays(n_bytes: int, batch_s: float) -> bool:
    """Tell whether the caller should copy half of a worker's only batch before it computes its own.

    Parameters
    ----------
    n_bytes : int
        Of the batch.
    batch_s : float
        Seconds that the caller takes to compute such a batch.

    Returns
    -------
    bool
        False if the batch is small, or if computing it takes less than half the time of the copy: the caller would then
        be faster if it computed both batches itself.

    Examples
    --------
    >>> pays(4_000_000, batch_s=0.7e-3), pays(4_000_000, batch_s=0.1e-3), pays(40_000, batch_s=0.1e-3)
    (True, False, False)
    """
    return n_bytes >= 2 * PIECE_BYTES and batch_s > n_bytes * READ_S_PER_BYTE / 2


def prepare(desk: Desk, n_bytes: int) -> None:
    """Say that nothing has been copied. Only before the worker gets its share."""
    desk.words[COPIED], desk.words[UNREAD] = 0, n_bytes


def copy_from_begin(desk: Desk, source: np.ndarray[Any, Any], target: np.ndarray[Any, Any]) -> Iterator[None]:
    """Do the caller's part, a piece at each step.

    Parameters
    ----------
    desk : Desk
        The worker's.
    source, target : ndarray of uint8, shape (n_bytes,)
    """
    words, copied = desk.words, 0
    while copied < words[UNREAD]:
        piece = slice(copied, copied + PIECE_BYTES)
        target[piece] = source[piece]
        desk.keep_order()
        words[COPIED] = copied = min(piece.stop, len(source))
        yield


class JointReader:
    """Does the worker's part.

    Parameters
    ----------
    desk : Desk
    memory : CallerMemory
    place : Place
        Of an array of shape (n_samples, n_features) in that memory, packed.
    room : SharedBuffer
        Where the worker's batch goes.
    """

    def __init__(self, desk: Desk, memory: CallerMemory, place: Place, room: SharedBuffer) -> None:
        self._desk = desk
        self._memory = memory
        self._place = place
        self._room = room

    def __call__(self, first: int, last: int) -> np.ndarray[Any, Any]:
        """Copy the rows of the share's only batch, except for what the caller copies.

        Parameters
        ----------
        first, last : int
            The first row, and one past the last one; rows past the end are left out, as in a slice.

        Returns
        -------
        ndarray of shape (n_rows, n_features)
            In the room.

        Raises
        ------
        EOFError, OSError
            See `CallerMemory.read`.
        """
        rows = self._place.rows(first, last)
        batch = self._room.array(rows.shape, rows.dtype)
        target = self._room.array((batch.nbytes,), np.uint8)
        words, unread = self._desk.words, batch.nbytes
        while unread > words[COPIED]:
            begin = max(0, unread - PIECE_BYTES)
            self._memory.read(target[begin:unread], rows.offset + begin)
            words[UNREAD] = unread = begin
        self._desk.keep_order()
        batch.flags.writeable = rows.writeable
        return batch
