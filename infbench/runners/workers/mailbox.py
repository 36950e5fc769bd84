"""What a caller and its worker write to each other, in memory that both see.

A message through a socket costs two system calls on either side, and a third each time that a receiver asks whether it
has come. A mailbox is read like any memory: there and back takes 5 us, compared with some 50 through a socket. A
mailbox cannot wake a receiver that sleeps, so the receiver says when it goes to sleep, and the sender then wakes it.
"""

from __future__ import annotations

import threading

NEXT, UNREAD, LIMIT, COPIED = 0, 1, 8, 9
"""Words of a desk. `NEXT` is the batch that the worker will begin next, written by the worker. `LIMIT` is where it
stops, written by the caller, which lowers it to take over the last batches. Neither is guarded: if the worker begins a
batch just as the caller takes it over, both compute it and the answer is the same. For `UNREAD`, which the worker
writes, and `COPIED`, which the caller writes, see `infbench.runners.workers.joint_copy`. The caller sets them all
before it sends a share."""

_LINE_BYTES = 64
"""A cache line: what a processor fetches from another at once. The two sides write to different lines."""

_WORDS_BYTES = 2 * _LINE_BYTES
_MAILBOX_BYTES = 1024
DESK_BYTES = _WORDS_BYTES + 2 * _MAILBOX_BYTES

_NUMBER, _SIZE = 0, 1


class Fence:
    """Orders writes for other processes: they see all that came before the call before any that come after it.

    A processor may change that order, and may read early what comes later. Releasing a lock and acquiring it again are
    the two halves of a barrier against this.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def __call__(self) -> None:
        """Keep the order."""
        self._lock.release()
        self._lock.acquire()


class Desk:
    """What one worker and the caller share. Each makes its own `Desk` in the same memory.

    Parameters
    ----------
    memory : memoryview of uint8
        That of all desks.
    index : int
        Which of them this is.

    Attributes
    ----------
    words : memoryview of int64
        Indexed by `NEXT`, `UNREAD`, `LIMIT` and `COPIED`.
    keep_order : Fence
        Keeps the words in order with what they tell of.
    shares : Mailbox
        To the worker.
    dones : Mailbox
        To the caller.
    """

    def __init__(self, memory: memoryview, index: int) -> None:
        begin = index * DESK_BYTES
        shares, dones, end = (begin + _WORDS_BYTES + i * _MAILBOX_BYTES for i in range(3))
        self.words = memory[begin:shares].cast("q")
        self.keep_order = Fence()
        self.shares = Mailbox(memory[shares:dones])
        self.dones = Mailbox(memory[dones:end])

    def clear(self) -> None:
        """Empty both mailboxes, for a new worker. Only while the other end is not in use."""
        self.shares.clear()
        self.dones.clear()

    def close(self) -> None:
        """Let go of the memory."""
        self.words.release()
        self.shares.close()
        self.dones.close()


class Mailbox:
    """One end of a place for one message. The sender puts the next one only when it knows that the last one was taken.

    Parameters
    ----------
    memory : memoryview of uint8
        Shared.
    """

    def __init__(self, memory: memoryview) -> None:
        self._asleep = memory[:8].cast("q")  # the receiver's
        self._words = memory[_LINE_BYTES : _LINE_BYTES + 16].cast("q")  # the sender's, like all that follows
        self._bytes = memory[_LINE_BYTES + 16 :]
        self._n_taken = 0
        self._keep_order = Fence()

    def clear(self) -> None:
        """Begin anew, empty and with a receiver that is awake. Only while the other end is not in use."""
        self._asleep[0] = self._words[_NUMBER] = self._n_taken = 0

    def put(self, message: bytes) -> bool:
        """Leave a message.

        Parameters
        ----------
        message : bytes
            At most some 900.

        Returns
        -------
        bool
            Whether the receiver sleeps, and must be woken by other means.
        """
        size = len(message)
        self._bytes[:size] = message
        self._words[_SIZE] = size
        self._keep_order()
        self._words[_NUMBER] += 1
        self._keep_order()
        return self._asleep[0] == 1

    def take(self) -> bytes | None:
        """Return the message that was put since the last one was taken, or None."""
        if self._words[_NUMBER] == self._n_taken:
            return None
        self._keep_order()
        self._n_taken += 1
        return bytes(self._bytes[: self._words[_SIZE]])

    def say_asleep(self) -> None:
        """Tell the sender that the receiver must be woken. Look once more after this, and only then sleep."""
        self._asleep[0] = 1
        self._keep_order()

    def say_awake(self) -> None:
        """Tell the sender that the receiver looks by itself."""
        self._asleep[0] = 0

    def close(self) -> None:
        """Let go of the memory."""
        for view in (self._asleep, self._words, self._bytes):
            view.release()
