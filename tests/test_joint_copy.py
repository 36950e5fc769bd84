"""Rows that a worker and its caller copy together: all are there, however many each copies."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress

import numpy as np
import psutil
import pytest
from estimators import Dies, Rows, Slow
from hypothesis import given
from hypothesis import strategies as st
from left_behind import n_shared_memories

import infbench
from infbench.errors import WorkerDied
from infbench.runners import process
from infbench.runners.workers import caller_memory, joint_copy
from infbench.runners.workers.buffers import SharedBuffer
from infbench.runners.workers.caller_memory import CallerMemory, OwnMemory, address_of
from infbench.runners.workers.joint_copy import JointReader, copy_from_begin, prepare
from infbench.runners.workers.mailbox import COPIED, DESK_BYTES, Desk
from infbench.runners.workers.messages import Place

TWO_BATCHES = np.arange(200_000.0).reshape(100_000, 2)
HALF = len(TWO_BATCHES) // 2
HALF_BYTES = TWO_BATCHES[:HALF].nbytes


class MemoryAndCaller(CallerMemory):
    """Lets the caller copy `n_pieces` before each piece of the worker's."""

    def __init__(self, own_memory, caller, n_pieces):
        super().__init__(own_memory.fd, own_memory.pid, own_memory.sample_address)
        self.caller = caller
        self.n_pieces = iter(n_pieces)
        self.n_read = 0

    def read(self, memory, address):
        for _ in range(next(self.n_pieces, 0)):
            next(self.caller, None)
        super().read(memory, address)
        self.n_read += 1


@given(
    n_rows=st.integers(1, 400),
    before=st.integers(0, 60),
    n_pieces=st.lists(st.integers(0, 5), max_size=60),
    piece_bytes=st.integers(1, 64),
)
def test_all_rows_are_there_whoever_is_faster(n_rows, before, n_pieces, piece_bytes):
    X = np.random.default_rng(n_rows).integers(0, 256, (n_rows + 5, 3), np.uint8)
    batch = X[3 : n_rows + 3]
    room, own_memory = SharedBuffer.create(batch.nbytes), OwnMemory()
    desk = Desk(memoryview(bytearray(DESK_BYTES)), 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joint_copy, "PIECE_BYTES", piece_bytes)
        prepare(desk, batch.nbytes)
        caller = copy_from_begin(desk, batch.reshape(-1), room.array((batch.nbytes,), np.uint8))
        for _ in range(before):
            next(caller, None)
        memory = MemoryAndCaller(own_memory, caller, n_pieces)
        place = Place(None, X.dtype.str, X.shape, X.strides, address_of(X), False)
        copy = JointReader(desk, memory, place, room)(3, n_rows + 3)
        assert desk.words[COPIED] + memory.n_read * piece_bytes < batch.nbytes + 2 * piece_bytes
        for _ in caller:  # what it still copies changes nothing
            pass
    np.testing.assert_array_equal(copy, batch)
    assert not copy.flags.writeable
    room.close()
    own_memory.close()


@pytest.fixture
def runner():
    with infbench.ProcessRunner(Slow(0.05), n_processes=2) as runner:
        runner.takes_over = False  # the worker computes its share, however fast the caller is
        runner.predict(TWO_BATCHES, batch_size=HALF)  # now it knows how long that takes
        yield runner


def wait_until_copied(worker):
    deadline_s = time.monotonic() + 20
    while worker.desk.words[COPIED] < HALF_BYTES:
        assert time.monotonic() < deadline_s
        time.sleep(0.001)


@pytest.fixture
def stopped(runner):
    """Give the runner's worker, stopped, and a call that waits for it after the caller has copied all rows."""
    worker = runner._crew.workers[0]
    os.kill(worker.pid, signal.SIGSTOP)
    answers = []
    call = threading.Thread(target=lambda: answers.append(runner.predict(TWO_BATCHES, batch_size=HALF)))
    call.start()
    try:
        wait_until_copied(worker)
        yield worker
    finally:
        with suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGCONT)
        call.join()
    np.testing.assert_array_equal(answers[0], TWO_BATCHES[:, 0])


def n_read(worker):
    return psutil.Process(worker.pid).io_counters().read_chars


class TestRunner:
    def test_worker_that_comes_late_finds_the_rows(self, monkeypatch):
        # The system counts what is read through a descriptor; only a fork of this process has what is patched in it.
        monkeypatch.setattr(caller_memory, "_process_vm_readv", None)
        with infbench.ProcessRunner(Slow(0.05), n_processes=2, start_method="fork") as runner:
            runner.takes_over = False
            worker = runner._crew.workers[0]
            before = n_read(worker)
            runner.predict(TWO_BATCHES, batch_size=HALF)
            alone = n_read(worker)
            assert alone - before >= HALF_BYTES
            call = threading.Thread(target=runner.predict, args=[TWO_BATCHES], kwargs={"batch_size": HALF})
            os.kill(worker.pid, signal.SIGSTOP)
            call.start()
            try:
                wait_until_copied(worker)
            finally:
                os.kill(worker.pid, signal.SIGCONT)
                call.join()
            assert n_read(worker) - alone < 2_000

    def test_worker_that_is_killed_meanwhile(self, stopped):
        os.kill(stopped.pid, signal.SIGKILL)

    def test_worker_that_goes_on(self, stopped):
        os.kill(stopped.pid, signal.SIGCONT)

    def test_rows_that_kill_are_named(self, monkeypatch):
        monkeypatch.setattr(joint_copy, "pays", lambda n_bytes, batch_s: True)
        marked = TWO_BATCHES.copy()
        marked[HALF + 7, 0] = -1
        with infbench.ProcessRunner(Dies(), n_processes=2) as runner:
            runner.takes_over = False
            for _ in range(3):
                with pytest.raises(WorkerDied, match=f"rows {HALF} to {2 * HALF}"):
                    runner.predict(marked, batch_size=HALF)
                assert runner._crew.workers[0].desk.words[COPIED] > 0
            np.testing.assert_array_equal(runner.predict(TWO_BATCHES, batch_size=HALF), TWO_BATCHES[:, 0])

    def test_every_call_has_its_own_rows(self, runner):
        for n_samples in (100_000, 70_000, 300_001, 50, 100_000):
            X = np.arange(2.0 * n_samples).reshape(n_samples, 2) + n_samples
            np.testing.assert_array_equal(runner.predict(X), X[:, 0])
        assert n_shared_memories(runner._crew.workers[0].pid) == 3  # its words, the answers, and the rows

    def test_a_room_for_each_worker(self, monkeypatch):
        monkeypatch.setattr(process, "usable_cpus", lambda: 4)
        with infbench.ProcessRunner(Slow(0.05), n_processes=4) as runner:
            runner.takes_over = False
            for shift in range(3):
                X = np.arange(800_001.0).reshape(-1, 1) + shift
                np.testing.assert_array_equal(runner.predict(X), X[:, 0])
            assert [n_shared_memories(worker.pid) for worker in runner._crew.workers] == [3, 3, 3]

    def test_rows_of_a_model_that_costs_nothing_are_the_workers_to_copy(self, monkeypatch):
        monkeypatch.setattr(joint_copy, "READ_S_PER_BYTE", 1.0)  # interrupted or not, a model costs nothing beside it
        with infbench.ProcessRunner(Rows(), n_processes=2) as runner:
            runner.takes_over = False
            for _ in range(3):
                runner.predict(np.zeros((10, 100_000)), batch_size=5)
            assert n_shared_memories(runner._crew.workers[0].pid) == 2  # its words and the answers
