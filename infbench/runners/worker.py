"""A worker of `ProcessRunner`: computes the batches of its share, one after the other."""

from __future__ import annotations

import math
import os
import pickle
import select
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from infbench.runners.batches import join, take
from infbench.runners.buffers import SharedBuffer, grown
from infbench.runners.caller_memory import RowReader
from infbench.runners.messages import (
    ARRAY_KINDS,
    LIMIT,
    NEXT,
    WORDS,
    ArrayLayout,
    Done,
    Share,
    exception_to_bytes,
    receive,
    send,
)


class Worker:
    """The worker's side of a connection.

    Parameters
    ----------
    connection : Connection
        To the caller.
    estimator : object
        The template's, shared.
    control : SharedBuffer
        Words of all workers.
    index : int
        Which of the workers this is: where its words are.
    spin_s : float
        Seconds for which it looks for its next share before it sleeps. To wake a sleeping process costs its waker some
        100 us, more than many a share takes.
    memory_fd : int or None
        For reading the caller's memory.
    """

    def __init__(
        self,
        connection: Connection,
        estimator: Any,
        control: SharedBuffer,
        index: int,
        *,
        spin_s: float,
        memory_fd: int | None,
    ) -> None:
        self._connection = connection
        self._estimator = estimator
        self._words = control.view(control.n_bytes).cast("q")[index * WORDS : (index + 1) * WORDS]
        self._spin_s = spin_s
        self._poll = select.poll()
        self._poll.register(connection.fileno(), select.POLLIN)
        self._memory_fd = memory_fd
        self._mapped: dict[int, SharedBuffer] = {}
        self._answers: SharedBuffer | None = None

    def serve(self) -> None:
        """Compute shares until the caller closes the connection.

        Raises
        ------
        EOFError, ConnectionError
            At the end of the connection.
        """
        while True:
            spin_until_s = time.perf_counter() + self._spin_s
            while time.perf_counter() < spin_until_s and not self._poll.poll(0):
                pass
            message = receive(self._connection)
            if message[0] == "share":
                self._connection.send_bytes(self._compute(Share.from_message(message)))
            elif message[0] == "rows":
                _, key, n_bytes = message
                self._mapped[key] = SharedBuffer(reduction.recv_handle(self._connection), n_bytes)
            else:
                self._mapped.pop(message[1]).close()

    def _compute(self, share: Share) -> bytes:
        at = share.start
        try:
            rows = self._find_rows(share)
            call = getattr(self._estimator, share.method)
            answers = []
            while at < share.stop and at < self._words[LIMIT]:
                first = at * share.batch_size - share.first_row
                X = rows(first, first + share.batch_size)
                if at >= self._words[LIMIT]:
                    break  # taken over while it was being read
                self._words[NEXT] = at + 1
                answers.append(call(X))
                at += 1
            done = self._hand_over(at, answers)
            return pickle.dumps(done.to_message(), pickle.HIGHEST_PROTOCOL)
        except BaseException as error:
            return pickle.dumps(Done(at, error=exception_to_bytes(error)).to_message())

    def _find_rows(self, share: Share) -> Callable[[int, int], Any]:
        """Return what gives the rows from one up to another, counted from the share's first row."""
        if share.place is None:
            return partial(take, pickle.loads(self._connection.recv_bytes()))
        buffer, layout = share.place
        if buffer is not None:
            return partial(take, layout.array(self._mapped[buffer]))
        assert self._memory_fd is not None  # or the caller would not name its memory
        return RowReader(self._memory_fd, layout)

    def _hand_over(self, at: int, answers: list[Any]) -> Done:
        if not answers:
            return Done(at)
        if not _fit_in_one_array(answers):
            return Done(at, answers=join(answers))
        shape = (sum(map(len, answers)), *answers[0].shape[1:])
        dtype = answers[0].dtype
        n_bytes = math.prod(shape) * dtype.itemsize
        if self._answers is None or self._answers.n_bytes < n_bytes:
            self._answers = grown(self._answers, n_bytes)
            send(self._connection, ("answers", self._answers.n_bytes))
            reduction.send_handle(self._connection, self._answers.fd, os.getppid())
        layout = ArrayLayout(dtype.str, shape, None, 0, True)
        np.concatenate(answers, out=layout.array(self._answers))
        return Done(at, layout)


def _fit_in_one_array(answers: list[Any]) -> bool:
    first = answers[0]
    return all(
        type(answer) is np.ndarray
        and answer.dtype == first.dtype
        and answer.dtype.kind in ARRAY_KINDS + "US"
        and answer.ndim > 0
        and answer.shape[1:] == first.shape[1:]
        for answer in answers
    )
