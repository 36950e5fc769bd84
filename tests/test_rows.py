"""The three places where a worker finds its rows: the caller's memory, memory that both map, and a copy."""

from __future__ import annotations

import ctypes
import gc
import io
import os
import pickle
import signal
import time

import numpy as np
import psutil
import pytest
from contracts import check_answer, check_outcome, layouts
from estimators import ClipsWhatIsNegative, Identity, Rows
from left_behind import n_shared_memories
from numpy.lib.stride_tricks import as_strided
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import infbench
from infbench.errors import InvalidParameterError
from infbench.runners.layout import dump
from infbench.runners.workers import caller_memory, joint_copy, rows
from infbench.runners.workers.buffers import SharedBuffer
from infbench.runners.workers.caller_memory import CallerMemory, OwnMemory, RowReader, address_of
from infbench.runners.workers.messages import Place

ROWS = infbench.make_data(n_samples=101, n_features=6, random_state=1)
WIDE = np.zeros((100_000, 20))


def worker_of(runner):
    return psutil.Process(runner._crew.workers[0].pid)


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


def no_memory():
    raise OSError("this system has no such file")


@pytest.fixture(scope="module", params=["the caller's memory", "by descriptor", "jointly", "mapped memory", "a copy"])
def place(request):
    """Give a runner whose worker computes its share, and a function that puts rows where the parameter says."""
    estimator = infbench.make_model("logistic_regression", n_features=6)
    # Only a fork of this process has what is patched in it.
    runner = infbench.ProcessRunner(estimator, 2, start_method="fork" if request.param == "by descriptor" else None)
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "by descriptor":
            patch.setattr(caller_memory, "_process_vm_readv", None)
        if request.param == "a copy":
            patch.setattr(rows, "OwnMemory", no_memory)
        runner.start()
    with runner, pytest.MonkeyPatch.context() as patch:
        if request.param == "jointly":
            patch.setattr(joint_copy, "pays", lambda n_bytes, batch_s: True)
        assert (runner._rows.own_memory is None) == (request.param == "a copy")
        runner.takes_over = False
        yield runner, mapped if request.param == "mapped memory" else lambda _, X: X


@pytest.mark.leaves_behind("descriptors", reason="its runner and the runner's memory serve the next test too")
@pytest.mark.parametrize("layout", layouts(ROWS))
@pytest.mark.parametrize("batch_size", [13, 60])
def test_answer_equals_the_serial_one_for_every_layout(place, layout, batch_size):
    runner, put = place
    check_answer(runner, "predict_proba", put(runner, layouts(ROWS)[layout]), batch_size)


class TestTraffic:
    def test_rows_are_read_once_and_answers_never_sent(self, monkeypatch):
        # The system counts what is read through a descriptor; only a fork of this process has what is patched in it.
        monkeypatch.setattr(caller_memory, "_process_vm_readv", None)
        with infbench.ProcessRunner(Rows(), n_processes=2, start_method="fork") as runner:
            runner.takes_over = False
            runner.predict(WIDE, batch_size=1_000)
            before = worker_of(runner).io_counters()
            runner.predict(WIDE, batch_size=1_000)
            after = worker_of(runner).io_counters()
        share_bytes = 56 * 1_000 * WIDE[0].nbytes  # of 100 batches the worker gets 56
        assert share_bytes <= after.read_chars - before.read_chars < share_bytes + 2_000
        assert after.write_chars - before.write_chars < 2_000

    @pytest.fixture
    def mapped_parts(self):
        """Give a generator that predicts an array of a runner, and parts of it, and yields each of them."""

        def compute(runner):
            X = runner.empty(WIDE.shape)
            X[...] = np.arange(len(X))[:, None]
            for part in (X, X[7:], X[:, ::3], X.reshape(-1, 10)):
                np.testing.assert_array_equal(runner.predict(part, batch_size=1_000), part[:, 0])
                yield part

        return compute

    def test_mapped_rows_are_not_even_read(self, mapped_parts, monkeypatch):
        monkeypatch.setattr(caller_memory, "_process_vm_readv", None)
        with infbench.ProcessRunner(Rows(), n_processes=2, start_method="fork") as runner:
            runner.takes_over = False
            for part in mapped_parts(runner):
                before = worker_of(runner).io_counters().read_chars
                runner.predict(part, batch_size=1_000)
                assert worker_of(runner).io_counters().read_chars - before < 2_000

    def test_mapped_rows_are_mapped_once(self, mapped_parts, runner):
        for _ in mapped_parts(runner):
            assert n_shared_memories(worker_of(runner).pid) == 3  # its words, the answers, and this one

    def test_memory_is_told_to_be_gone_before_its_address_may_be_another_s(self, monkeypatch):
        shared, seen = rows.SharedRows(), []
        take_back = shared._take_back

        def look(key):
            with open("/proc/self/maps", encoding="utf-8") as maps:
                seen.append(any(line.startswith(f"{shared._lent[key].address:x}-") for line in maps))
            take_back(key)

        monkeypatch.setattr(shared, "_take_back", look)
        X = shared.empty((1_000, 1_000), np.float64)
        view = X[3:]
        del X
        assert (len(shared._lent), seen) == (1, [])
        del view
        assert (len(shared._lent), seen) == (0, [True])
        shared.close()

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
            counts.add(
                (n_shared_memories(worker_of(runner).pid), worker_of(runner).num_fds(), psutil.Process().num_fds())
            )
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


def caller_memory_of(pid, address):
    with open(f"/proc/{pid}/mem", "rb") as memory:
        memory.seek(address)
        return memory.read(16)


def place_of(X):
    return Place(None, X.dtype.str, X.shape, X.strides, address_of(X), True)


@pytest.fixture
def own_memory():
    memory = OwnMemory()
    yield memory
    memory.close()


@pytest.fixture(params=["by number", "by descriptor"])
def way(request, monkeypatch):
    """Leave one way to read another process's memory."""
    if request.param == "by descriptor":
        monkeypatch.setattr(caller_memory, "_process_vm_readv", None)
    return {"by number": "_read_by_pid", "by descriptor": "_read_by_fd"}[request.param]


class TestReader:
    def test_of_a_process_that_goes(self, own_memory, way):
        wait, end = os.pipe()
        pid = os.fork()  # with the rows and the sample where this process has them
        if pid == 0:
            os.close(end)
            os.read(wait, 1)  # until the other end is closed
            os._exit(0)
        fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
        try:
            memory = CallerMemory(fd, pid, own_memory.sample_address)
            assert memory._read.__name__ == way
            read = RowReader(memory, place_of(ROWS), 0)
            np.testing.assert_array_equal(read(7, 200), ROWS[7:])
            os.close(wait)
            os.close(end)
            os.waitpid(pid, 0)
            with pytest.raises(EOFError, match="is gone"):
                read(0, 20)
        finally:
            os.close(fd)

    def test_of_memory_that_is_not_there(self, own_memory, way):
        memory = CallerMemory(own_memory.fd, own_memory.pid, own_memory.sample_address)
        with pytest.raises(OSError, match=r"Input/output error|Bad address"):
            RowReader(memory, place_of(ROWS)._replace(offset=4096), 10)(0, 10)

    def test_that_gets_less_than_it_asked_for_goes_on(self, own_memory):
        class Short(CallerMemory):
            """A system that hands over at most 1,000 bytes at once, where the real one stops at 2 GB."""

            def __init__(self, *about):
                super().__init__(*about)
                read = self._read
                self._read = lambda memory, address: read(memoryview(memory).cast("B")[:1_000], address)

        memory = Short(own_memory.fd, own_memory.pid, own_memory.sample_address)
        np.testing.assert_array_equal(RowReader(memory, place_of(ROWS), 101)(0, 101), ROWS)

    @pytest.mark.parametrize(
        ("X", "n_readings"),
        [
            (np.random.default_rng(0).random((10_000, 20)), 3),  # 160 bytes a row: 32 batches at once
            (np.random.default_rng(0).random((10_000, 40))[:, ::2], 80),
        ],
        ids=["packed", "with gaps"],
    )
    def test_reads_several_small_batches_at_once(self, own_memory, X, n_readings):
        class Counting(CallerMemory):
            n_readings = n_bytes = 0

            def read(self, memory, address):
                self.n_readings += 1
                self.n_bytes += memory.nbytes
                super().read(memory, address)

        memory = Counting(own_memory.fd, own_memory.pid, own_memory.sample_address)
        read = RowReader(memory, place_of(X), 8_000)
        batches = [read(first, first + 100) for first in range(0, 8_000, 100)]
        np.testing.assert_array_equal(np.concatenate(batches), X[:8_000])
        assert {(batch.shape, batch.strides) for batch in batches} == {((100, 20), X.strides)}
        assert memory.n_readings == n_readings
        assert memory.n_bytes <= 8_000 * X.strides[0]  # none twice, and none behind the end

    @pytest.mark.parametrize("batch_size", [1, 999, 1_000, 4_000])
    def test_batches_that_end_elsewhere_than_what_was_read(self, own_memory, batch_size):
        X = np.random.default_rng(0).random((3_500, 40))
        memory = CallerMemory(own_memory.fd, own_memory.pid, own_memory.sample_address)
        read = RowReader(memory, place_of(X), 4_000)  # of a last batch that is shorter
        batches = [read(first, first + batch_size) for first in range(0, 3_500, batch_size)]
        np.testing.assert_array_equal(np.concatenate(batches), X)

    def test_by_a_number_that_now_is_another_process_s(self, own_memory):
        """The other process has the same memory, except for the sample that tells processes apart."""
        wait, end = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(end)
            ctypes.memset(own_memory.sample_address, 0, 16)
            os.read(wait, 1)
            os._exit(0)
        try:
            deadline_s = time.monotonic() + 5
            while caller_memory_of(pid, own_memory.sample_address) != bytes(16):
                assert time.monotonic() < deadline_s
            memory = CallerMemory(own_memory.fd, pid, own_memory.sample_address)
            assert memory._read == memory._read_by_fd
        finally:
            os.close(end)
            os.close(wait)
            os.waitpid(pid, 0)

    def test_by_a_number_that_is_another_process(self, own_memory):
        memory = CallerMemory(own_memory.fd, os.getppid(), own_memory.sample_address)
        np.testing.assert_array_equal(RowReader(memory, place_of(ROWS), 101)(0, 101), ROWS)


def test_rows_without_columns_are_nobodys_to_read():
    with infbench.ProcessRunner(Identity(), n_processes=2) as runner:
        check_answer(runner, "transform", np.empty((100, 0)), 10)


@pytest.mark.parametrize("is_mapped", [True, False])
def test_rows_that_nobody_may_change_stay_so(is_mapped):
    with infbench.ProcessRunner(ClipsWhatIsNegative(), n_processes=2) as runner:
        X = (runner.empty if is_mapped else np.empty)((100, 2))
        X[...] = 1.0
        X[90] = -5.0
        X.flags.writeable = False
        check_outcome(runner, "predict", X, 10)
        check_outcome(runner, "predict", X[:90], 10)
        X.flags.writeable = True
        assert runner.predict(X, batch_size=10)[90] == 0.0


def test_mapped_rows_with_gaps_keep_them_where_an_estimator_may_change_its_rows():
    """scikit-learn copies what it may not change, which closes the gaps: BLAS takes another path."""
    W = np.random.default_rng(0).normal(size=(600, 30))
    model = make_pipeline(StandardScaler(copy=False), LinearRegression()).fit(W.copy(), np.sin(W[:, 0]))
    S = np.empty((600, 60))[:, ::2]
    S[...] = W
    with infbench.SerialRunner(model) as serial:
        expected = serial.predict(S, batch_size=17)
    with infbench.ProcessRunner(model, n_processes=2) as runner:
        for takes_over in (False, True):
            runner.takes_over = takes_over
            X = runner.empty((600, 60))[:, ::2]
            X[...] = W
            np.testing.assert_array_equal(runner.predict(X, batch_size=17), expected)


def test_rows_that_reach_past_a_mapped_array_are_not_looked_for_in_it(runner):
    X = runner.empty((100, 2))
    X[...] = 1.0
    assert runner._rows.place(X[10:]).buffer is not None
    assert runner._rows.place(as_strided(X, shape=(10_000, 2))).buffer is None


def test_arrays_of_an_estimator_keep_their_strides_on_the_way():
    estimator = Rows()
    estimator.arrays = [np.arange(24.0).reshape(4, 6)[::2, ::3], np.arange(24.0).reshape(4, 6)[::-1, 1:4].T]
    pickled = io.BytesIO()
    dump(estimator, pickled)
    arrived = pickle.loads(pickled.getvalue()).arrays
    for before, after in zip(estimator.arrays, arrived, strict=True):
        np.testing.assert_array_equal(before, after)
        assert after.strides == before.strides


@pytest.mark.parametrize("shape", [12, np.int64(12), (12,), [3, 4], (0, 5), (), (np.int8(100), np.int8(100))])
@pytest.mark.parametrize("dtype", [np.float32, "<U7", object])
def test_arrays_for_rows_are_made_as_numpy_makes_them(shape, dtype):
    with infbench.ProcessRunner(Rows(), n_processes=1) as runner:
        made, expected = runner.empty(shape, dtype), np.empty(shape, dtype)
        assert (made.shape, made.dtype) == (expected.shape, expected.dtype)


def test_impossible_array_is_refused_and_leaves_nothing_open():
    with infbench.ProcessRunner(Rows(), n_processes=2) as runner:
        n_open = psutil.Process().num_fds()
        with pytest.raises(InvalidParameterError, match=r"no negative number, got \(3, -1\)"):
            runner.empty((3, -1))
        with pytest.raises(OSError, match=r".*"):
            runner.empty((2**50, 2**5))
        assert psutil.Process().num_fds() == n_open


def test_memory_is_reserved_however_often_a_timer_interrupts_that():
    """Such as a profiler's, which also counts what the kernel does for the program."""
    before = signal.signal(signal.SIGPROF, lambda *_: None)
    signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
    try:
        SharedBuffer.create(1 << 28).close()  # takes longer than a tick of the kernel
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def test_worker_forgets_mapped_memory_whatever_rows_come_next():
    with infbench.ProcessRunner(Rows(), n_processes=2) as runner:
        runner.takes_over = False
        X = runner.empty((1_000, 2))
        X[...] = 1
        runner.predict(X, batch_size=100)
        n_mapped = n_shared_memories(worker_of(runner).pid)
        del X
        gc.collect()
        runner.predict(np.ones((1_000, 2), dtype=object), batch_size=100)  # pickled
        assert n_shared_memories(worker_of(runner).pid) == n_mapped - 1


@pytest.mark.parametrize("make", [lambda: SharedBuffer.create(100), OwnMemory], ids=["SharedBuffer", "OwnMemory"])
def test_memory_that_nobody_closes_gives_its_descriptor_back(make):
    memory = make()
    fd = memory.fd
    os.fstat(fd)
    del memory
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


@pytest.mark.parametrize("dtype", [">f8", "longdouble", ">c16", "i2"])
def test_rows_that_come_in_several_pieces(dtype):
    """As more than 2 GB do, which is the most that the system hands over at once."""
    X = np.arange(600).reshape(100, 6).astype(dtype)
    own = OwnMemory()
    try:
        memory = CallerMemory(own.fd, own.pid, own.sample_address)
        whole = memory._read
        memory._read = lambda target, address: whole(np.asarray(target).reshape(-1).view(np.uint8)[:1_000], address)
        interface = X.__array_interface__
        place = Place(None, interface["typestr"], X.shape, X.strides, interface["data"][0], writeable=True)
        np.testing.assert_array_equal(RowReader(memory, place, 90)(10, 90), X[10:90])
    finally:
        own.close()
