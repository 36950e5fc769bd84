"""One call of `ProcessRunner`: who holds which batches, and the answers so far."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from infbench.runners.ambient import Ambient
from infbench.runners.batches import Batches, join
from infbench.runners.workers.handle import WorkerHandle
from infbench.runners.workers.mailbox import LIMIT, NEXT
from infbench.runners.workers.messages import Done, Share


@lru_cache
def plan_shares(n_batches: int, n_processes: int) -> tuple[tuple[int, int], ...]:
    """Share batches out.

    Parameters
    ----------
    n_batches, n_processes : int

    Returns
    -------
    tuple of (int, int)
        First batch and one past the last, for each worker that gets any. The batches before the first share are the
        caller's own: at least one, and of many batches a little less than an even share. If the caller gives away too
        much, it takes some of it back, which costs nothing, while no worker can take over from it.

    Examples
    --------
    >>> plan_shares(100, 2)
    ((44, 100),)
    >>> plan_shares(5, 2), plan_shares(3, 4), plan_shares(1, 2)
    (((3, 5),), ((1, 2), (2, 3)), ())
    """
    n_workers = min(n_processes, n_batches) - 1
    if n_workers == 0:
        return ()
    even = n_batches // (n_workers + 1)
    share = even + even // (8 * n_workers)
    first = n_batches - n_workers * share
    return tuple((start, start + share) for start in range(first, n_batches, share))


@dataclass
class Held:
    """A share that a worker holds, up to `limit`: the rest has been taken over, or nobody needs it."""

    worker: WorkerHandle
    share: Share
    pickled: bytes | None
    settings: Ambient
    limit: int
    retried: bool = False

    def is_needed(self) -> bool:
        """Tell whether any of the batches that the worker is to compute is needed."""
        return self.share.start < self.limit

    def end_at(self, limit: int) -> None:
        """Leave the batches from `limit` on to the caller, or to nobody."""
        self.limit = self.worker.desk.words[LIMIT] = limit

    def rest(self) -> int:
        """Return how many batches the caller may take over: those that the worker has not begun.

        It is 0 for a share that a worker died of: the caller might be the next to die of it.
        """
        return 0 if self.retried else self.limit - self.worker.desk.words[NEXT]

    def rows_in_work(self, batches: Batches) -> tuple[int, int]:
        """Return the first row and one past the last of the batch that the worker is at."""
        batch = max(self.worker.desk.words[NEXT] - 1, self.share.start)
        return batches.rows(batch, batch + 1)


class Call:
    """One call: what is to be computed, and what has been.

    Attributes
    ----------
    method : str
    batches : Batches
    began_s : float
        By `time.perf_counter`.
    n_own : int
        How many batches, the first ones, the caller keeps for itself.
    own : dict of int to object
        Batch to its answer, for those that the caller computed.
    joined : dict of int to (int, object)
        First batch of a share to one past its last and the joined answers, for those that a worker computed.
    errors : dict of int to BaseException
        Batch to what it raised.
    held : dict of int to Held
        Index of a worker to the share that it has yet to answer.
    """

    def __init__(self, method: str, batches: Batches) -> None:
        self.method = method
        self.batches = batches
        self.began_s = time.perf_counter()
        self.n_own = len(batches)
        self.own: dict[int, Any] = {}
        self.joined: dict[int, tuple[int, Any]] = {}
        self.errors: dict[int, BaseException] = {}
        self.held: dict[int, Held] = {}

    def is_waiting(self) -> bool:
        """Tell whether a worker holds batches that the answer needs and nobody else has computed."""
        return any(held.is_needed() for held in self.held.values())

    def fail(self, batch: int, error: BaseException) -> None:
        """Take what a batch raised. Nobody needs what comes after the first batch that raised."""
        self.errors[batch] = error
        for held in self.held.values():
            if batch < held.limit:
                held.end_at(batch)

    def finish(self, held: Held, done: Done, answers: Any) -> None:
        """Take what became of a share."""
        del self.held[held.worker.index]
        if done.failed:
            self.fail(done.stop, answers)
        elif done.stop > held.share.start:
            self.joined[held.share.start] = done.stop, answers

    def take_error(self) -> BaseException:
        """Return the error of the first batch that has one, and forget all errors."""
        error = self.errors[min(self.errors)]
        self.errors.clear()
        return error

    def answer(self) -> Any:
        """Join the answers in the order of the batches, or raise the error of the first batch that has one."""
        if self.errors:
            error = self.take_error()
            try:
                raise error
            finally:
                del error  # a cycle would keep it, and all rows, until the next garbage collection
        parts, index = [], 0
        while index < len(self.batches):
            if index in self.joined:
                index, part = self.joined[index]
            else:
                part = self.own[index]
                index += 1
            parts.append(part)
        return join(parts)
