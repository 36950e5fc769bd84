"""A worker of `ProcessRunner`: computes the batches of its share, one after the other."""

from __future__ import annotations

import math
import pickle
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from infbench.runners.ambient import Ambient, take_on
from infbench.runners.batches import call_without_changing, join, take
from infbench.runners.layout import ARRAY_KINDS, dumps
from infbench.runners.workers.buffers import SharedBuffer, grown
from infbench.runners.workers.caller_memory import CallerMemory, RowReader
from infbench.runners.workers.connections import receive, receive_bytes, receive_fd, send, send_bytes, send_fd, wake
from infbench.runners.workers.joint_copy import JointReader
from infbench.runners.workers.mailbox import LIMIT, NEXT, Desk
from infbench.runners.workers.messages import Done, Share, exception_to_bytes


class Worker:
    """The worker's side of a connection.

    Parameters
    ----------
    connection : Connection
        To the caller.
    estimator : object
        The template's, shared.
    control : SharedBuffer
        The desks of all workers.
    index : int
        Which of the workers this is.
    spin_s : float
        Seconds for which it polls for its next share before it sleeps.
    memory : CallerMemory or None
        The caller's.
    """

    def __init__(
        self,
        connection: Connection,
        estimator: Any,
        control: SharedBuffer,
        index: int,
        *,
        spin_s: float,
        memory: CallerMemory | None,
    ) -> None:
        self._connection = connection
        self._estimator = estimator
        self._desk = Desk(control.view(), index)
        self._spin_s = spin_s
        self._memory = memory
        self._mapped: dict[int, SharedBuffer] = {}
        self._answers: SharedBuffer | None = None
        self._known_answers: SharedBuffer | None = None  # the one that the caller knows

    def serve(self) -> None:
        """Compute shares until the caller closes the connection.

        Raises
        ------
        EOFError, ConnectionError
            When the connection ends.
        """
        while True:
            share, n_news = Share.from_bytes(self._next_message())
            for _ in range(n_news):
                self._learn()
            self._compute(share)

    def _next_message(self) -> bytes:
        """Return the next share, as it was sent: poll for it for a while, then sleep until it comes."""
        shares = self._desk.shares
        spin_until_s = time.perf_counter() + self._spin_s
        while time.perf_counter() < spin_until_s:
            if (message := shares.take()) is not None:
                return message
        shares.say_asleep()
        while (message := shares.take()) is None:
            self._connection.recv_bytes()  # empty: the caller wakes this process, or did so too late
        shares.say_awake()
        return message

    def _learn(self) -> None:
        """Map memory for rows, or forget it, or take on settings."""
        about, *rest = receive(self._connection)
        if about == "rows":
            key, n_bytes = rest
            self._mapped[key] = SharedBuffer(receive_fd(self._connection), n_bytes)
        elif about == "forget":
            self._mapped.pop(*rest).close()
        else:
            take_on(Ambient(*rest))

    def _compute(self, share: Share) -> None:
        """Compute a share and tell the caller what became of it."""
        words = self._desk.words
        at = share.start
        try:
            rows = self._find_rows(share)
            call = getattr(self._estimator, share.method)
            answers = []
            while at < share.stop and at < words[LIMIT]:
                first = at * share.batch_size - share.first_row
                X = rows(first, first + share.batch_size)
                if at >= words[LIMIT]:
                    break  # taken over while it was being read
                words[NEXT] = at + 1
                answers.append(call(X) if share.mapped is None else call_without_changing(call, X))
                at += 1
            self._hand_over(at, answers)
        except BaseException as error:
            self._tell(Done(at, failed=True), exception_to_bytes(error))

    def _find_rows(self, share: Share) -> Callable[[int, int], Any]:
        """Return a function that gives the rows from one up to another, counted from the share's `first_row`."""
        if share.place is None:
            return partial(take, pickle.loads(receive_bytes(self._connection)))
        if share.place.buffer is not None:
            return partial(take, share.place.array(self._mapped[share.place.buffer]))
        assert self._memory is not None  # or the caller would not name its memory
        if share.room is not None:
            return JointReader(self._desk, self._memory, share.place, self._mapped[share.room])
        return RowReader(self._memory, share.place, share.stop * share.batch_size - share.first_row)

    def _hand_over(self, at: int, answers: list[Any]) -> None:
        if not answers:
            self._tell(Done(at))
            return
        if not _fit_in_one_array(answers):
            self._tell(Done(at, follows=True), dumps(join(answers)))
            return
        shape = (sum(map(len, answers)), *answers[0].shape[1:])
        dtype = answers[0].dtype
        before, self._answers = self._answers, None  # `grown` closes it, even if it then finds no memory
        self._answers = grown(before, math.prod(shape) * dtype.itemsize)
        np.concatenate(answers, out=self._answers.array(shape, dtype))
        self._tell(Done(at, shape, dtype.str, is_new=self._answers is not self._known_answers))

    def _tell(self, done: Done, bulk: bytes | None = None) -> None:
        if self._desk.dones.put(done.to_bytes()):
            wake(self._connection)
        if done.is_new:
            assert self._answers is not None  # it is what is new
            send(self._connection, ("answers", self._answers.n_bytes))
            send_fd(self._connection, self._answers.fd)
            self._known_answers = self._answers
        if bulk is not None:
            send_bytes(self._connection, bulk)


def _fit_in_one_array(answers: list[Any]) -> bool:
    first = answers[0]
    if type(first) is not np.ndarray or first.ndim == 0 or first.dtype.kind not in ARRAY_KINDS + "US":
        return False
    dtype, shape = first.dtype, first.shape[1:]
    for answer in answers:
        if type(answer) is not np.ndarray or answer.dtype != dtype or answer.shape[1:] != shape:
            return False
    return True
