"""The three places where a worker finds its rows: the caller's memory, memory that both map, and a copy."""

from __future__ import annotations

import gc
import os
import signal

import numpy as np
import psutil
import pytest
from contracts import check_answer, layouts
from estimators import Identity, Rows

import infbench
from infbench.runners import rows
from infbench.runners.caller_memory import RowReader, address_of, open_own_memory
from infbench.runners.messages import ArrayLayout

ROWS = infbench.make_data(n_samples=101, n_features=6, random_state=1)
WIDE = np.zeros((100_000, 20))


def worker_of(runner):
    return psutil.Process(runner._crew.workers[0].pid)


def n_mapped(process):
    """Count the shared memory that a process has mapped."""
    with open(f"/proc/{process.pid}/maps") as maps:
        return sum("memfd:infbench" in line for line in maps)


@pytest.fixture
def runner():
    with infbench.ProcessRunner(Rows(), n_processes=2) as runner:
        runner.takes_over = False  # the worker computes its share, however fast the caller is
        yield runner


def mapped(runner, X):
    """Copy the memory of `X` to where the worker maps it, and give an array with the strides of `X` in it."""
    if X.dtype == object:
        return X
    low, high = np.lib.array_utils.byte_bounds(X)
    memory = runner.empty(high - low, np.uint8)
    placed = np.ndarray(X.shape, X.dtype, memory, address_of(X) - low, X.strides)
    placed[...] = X
    placed.flags.writeable = X.flags.writeable
    return placed


@pytest.fixture(scope="module", params=["the caller's memory", "mapped memory", "a copy"])
def place(request):
    """Give a runner whose worker computes its share, and what puts rows where this parameter says."""
    runner = infbench.ProcessRunner(infbench.make_model("logistic_regression", n_features=6), n_processes=2)
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "a copy":
            patch.setattr(rows, "open_own_memory", lambda: None)
        runner.start()
    with runner:
        assert (runner._rows.memory_fd is None) == (request.param == "a copy")
        runner.takes_over = False
        yield runner, mapped if request.param == "mapped memory" else lambda _, X: X


@pytest.mark.leaves_behind("descriptors", reason="its runner and the runner's memory serve the next test too")
@pytest.mark.parametrize("layout", layouts(ROWS))
@pytest.mark.parametrize("batch_size", [13, 60])
def test_answer_equals_the_serial_one_for_every_layout(place, layout, batch_size):
    runner, put = place
    check_answer(runner, "predict_proba", put(runner, layouts(ROWS)[layout]), batch_size)


class TestTraffic:
    def test_rows_are_read_once_and_answers_never_sent(self, runner):
        runner.predict(WIDE, batch_size=1_000)
        before = worker_of(runner).io_counters()
        runner.predict(WIDE, batch_size=1_000)
        after = worker_of(runner).io_counters()
        share_bytes = 56 * 1_000 * WIDE[0].nbytes  # of 100 batches the worker gets 56
        assert share_bytes <= after.read_chars - before.read_chars < share_bytes + 2_000
        assert after.write_chars - before.write_chars < 2_000

    def test_mapped_rows_are_not_even_read(self, runner):
        X = runner.empty(WIDE.shape)
        X[...] = np.arange(len(X))[:, None]
        for part in (X, X[7:], X[:, ::3], X.reshape(-1, 10)):
            np.testing.assert_array_equal(runner.predict(part, batch_size=1_000), part[:, 0])
            before = worker_of(runner).io_counters().read_chars
            runner.predict(part, batch_size=1_000)
            assert worker_of(runner).io_counters().read_chars - before < 2_000
        assert n_mapped(worker_of(runner)) == 3  # its words, the answers, and this one

    def test_worker_forgets_mapped_memory_that_is_gone(self, runner):
        counts = set()
        for _ in range(5):
            X = runner.empty(WIDE.shape)
            X[...] = 1
            part = X[5:]
            del X
            np.testing.assert_array_equal(runner.predict(part, batch_size=1_000), part[:, 0])
            del part
            gc.collect()
            runner.predict(WIDE, batch_size=1_000)
            counts.add((n_mapped(worker_of(runner)), worker_of(runner).num_fds(), psutil.Process().num_fds()))
        assert len(counts) == 1

    def test_mapped_rows_outlive_their_runner(self):
        with infbench.ProcessRunner(Rows(), n_processes=2) as runner:
            X = runner.empty((100, 2), np.float32)
            X[...] = 3
        assert (X == 3).all()
        with infbench.ProcessRunner(Rows(), n_processes=2) as runner:
            np.testing.assert_array_equal(runner.predict(X, batch_size=10), X[:, 0])

    def test_every_batch_has_memory_of_its_own(self):
        with infbench.ProcessRunner(Identity(), n_processes=2) as runner:
            runner.takes_over = False
            X = np.arange(2_000.0).reshape(1_000, 2)
            np.testing.assert_array_equal(runner.transform(X, batch_size=10), X)

    def test_worker_that_does_not_come_is_not_waited_for(self, runner):
        runner.takes_over = True
        os.kill(worker_of(runner).pid, signal.SIGSTOP)
        try:
            for n_samples in (1_000, 2_000):
                X = np.arange(20.0 * n_samples).reshape(n_samples, 20)
                np.testing.assert_array_equal(runner.predict(X, batch_size=10), X[:, 0])
        finally:
            os.kill(worker_of(runner).pid, signal.SIGCONT)
        runner.takes_over = False
        np.testing.assert_array_equal(runner.predict(X, batch_size=10), X[:, 0])


class TestReader:
    def test_of_memory_that_is_not_there(self):
        fd = open_own_memory()
        try:
            with pytest.raises(OSError, match="Input/output error"):
                RowReader(fd, ArrayLayout("<f8", (10, 2), (16, 8), 4096, True))(0, 10)
        finally:
            os.close(fd)

    def test_of_a_process_that_is_gone(self):
        wait, end = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(end)
            os.read(wait, 1)  # until the other end is closed
            os._exit(0)
        fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
        os.close(wait)
        os.close(end)
        os.waitpid(pid, 0)
        try:
            with pytest.raises(EOFError, match="is gone"):
                RowReader(fd, ArrayLayout("<f8", (101, 6), (48, 8), address_of(ROWS), True))(0, 10)
        finally:
            os.close(fd)
