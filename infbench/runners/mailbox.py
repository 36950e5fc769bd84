"""What a caller and its worker write to each other, in memory that both see.

A message through a socket costs two system calls on either side, and a third each time that a receiver asks whether it
has come. A mailbox is looked into as any memory is: there and back takes 5 us, where a socket takes some 50. What a
mailbox cannot do is wake a receiver that sleeps, so the receiver says when it does, and the sender sees to that.
"""

from __future__ import annotations

import threading

NEXT, UNREAD, LIMIT, COPIED = 0, 1, 8, 9
"""Words of a desk. `NEXT` is the batch that the worker will begin next, written by the worker. `LIMIT` is where it
stops, written by the caller, who lowers it to take the last batches over. Neither is guarded: if the worker begins a
batch just as the caller takes it over, both compute it and the answer is the same. For `UNREAD`, the worker's, and
`COPIED`, the caller's, see `infbench.runners.joint_copy`. The caller sets them all before it sends a share."""

_LINE_BYTES = 64
"""What a processor fetches from another at once. What two sides write lies in different ones."""

_WORDS_BYTES = 2 * _LINE_BYTES
_MAILBOX_BYTES = 1024
DESK_BYTES = _WORDS_BYTES + 2 * _MAILBOX_BYTES

_NUMBER, _SIZE = 0, 1


class Fence:
    """Lets other processes see all that was written before it is called before they see anything written after it.

    A processor may change that order, and may read early what comes later. Giving a lock back and taking it again are
    the two halves of what forbids it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def __call__(self) -> None:
        """Keep the order."""
        self._lock.release()
        self._lock.acquire()


class Desk:
    """What one worker and the caller share. Each makes its own end of it.

    Parameters
    ----------
    memory : memoryview of uint8
        Of all desks.
    index : int
        Which of them this is.

    Attributes
    ----------
    words : memoryview of int64
        At `NEXT`, `UNREAD`, `LIMIT` and `COPIED`.
    keep_order : Fence
        For what is written where the words tell of it.
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
        """Make both mailboxes empty, for a worker that has yet to look. Only while the other end is not in use."""
        self.shares.clear()
        self.dones.clear()

    def close(self) -> None:
        """Let go of the memory."""
        self.words.release()
        self.shares.close()
        self.dones.close()


class Mailbox:
    """One end of a place for one message. The sender puts the next one when it knows that the last one was taken.

    Parameters
    ----------
    memory : memoryview of uint8
        Shared.
    """

    def __init__(self, memory: memoryview) -> None:
        self._asleep = memory[:8].cast("q")  # the receiver's
        self._words = memory[_LINE_BYTES : _LINE_BYTES + 16].cast("q")  # the sender's, as all that follows
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
        """Have the sender told that the receiver must be woken. Look once more after this, and only then sleep."""
        self._asleep[0] = 1
        self._keep_order()

    def say_awake(self) -> None:
        """Have the sender told that the receiver looks by itself."""
        self._asleep[0] = 0

    def close(self) -> None:
        """Let go of the memory."""
        for view in (self._asleep, self._words, self._bytes):
            view.release()
