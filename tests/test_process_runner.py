"""What can go wrong with processes, done to them for real."""

from __future__ import annotations

import gc
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from fractions import Fraction
from pathlib import Path

import numpy as np
import psutil
import pytest
from contracts import check_answer
from estimators import (
    CannotBePickled,
    Dies,
    FailsElsewhereWhenTold,
    FailsToLoad,
    MisbehavesLate,
    NotOfScikitLearn,
    Raises,
    RaisesHereSlowElsewhere,
    RaisesLocal,
    RaisesLock,
    RaisesNamed,
    RaisesNamedOfSystem,
    RaisesOrIsSlow,
    Rows,
    Slow,
    SlowElsewhere,
    Stuck,
    StuckElsewhere,
    TellsProcess,
    TellsThreads,
    WideWithoutRoom,
)
from programs import start_program, wait_until_gone

import infbench
from infbench.errors import InvalidParameterError, RunnerError, WorkerDied, WorkerStartError, WorkerTimeoutError
from infbench.runners import make_runner, process
from infbench.runners.workers import sharing
from infbench.runners.workers.mailbox import LIMIT, NEXT
from infbench.runners.workers.messages import WorkerTraceback

HERE = Path(__file__).parent
HAND_OUT_S = sharing.HAND_OUT_S  # as it is outside of tests
START_METHODS = ["forkserver", "spawn", "fork"]
ROWS = np.arange(1_000.0).reshape(500, 2)
MARKED = ROWS.copy()
MARKED[499, 0] = -1  # in the last batch, which is a worker's unless the caller takes it over


def worker_pids(runner):
    return [worker.pid for worker in runner._crew.workers]


def note_shared_calls(runner):
    """Return the list to which each call that is shared out will be added."""
    shared, share = [], runner._run_shared
    runner._run_shared = lambda *call: shared.append(call) or share(*call)
    return shared


def kill_if_there(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # the one before it was killed too late to be missed, and has only now been replaced


@pytest.fixture(params=START_METHODS)
def start_method(request):
    return request.param


class TestDeath:
    def test_idle_worker_is_replaced(self, start_method):
        with infbench.ProcessRunner(Rows(), n_processes=3, start_method=start_method) as runner:
            old = worker_pids(runner)
            for pid in old:
                os.kill(pid, signal.SIGKILL)
            while any(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in old):
                time.sleep(0.001)
            np.testing.assert_array_equal(runner.predict(ROWS, batch_size=10), ROWS[:, 0])
            np.testing.assert_array_equal(runner.predict(ROWS, batch_size=10), ROWS[:, 0])
            assert not set(old) & set(worker_pids(runner))

    def test_busy_worker_at_a_random_moment(self, start_method, times):
        generator = random.Random(0)
        with infbench.ProcessRunner(Slow(0.002), n_processes=2, start_method=start_method) as runner:
            runner.predict(ROWS, batch_size=10)
            for _ in times(10, 200):
                killer = threading.Timer(generator.uniform(0, 0.06), kill_if_there, worker_pids(runner)[:1])
                killer.start()
                np.testing.assert_array_equal(runner.predict(ROWS, batch_size=10), ROWS[:, 0])
                killer.join()
                np.testing.assert_array_equal(runner.predict(ROWS, batch_size=10), ROWS[:, 0])

    def test_two_busy_workers_at_once(self, start_method):
        with infbench.ProcessRunner(Slow(0.01), n_processes=3, start_method=start_method) as runner:
            old = worker_pids(runner)
            killers = [threading.Timer(0.05, os.kill, (pid, signal.SIGKILL)) for pid in old]
            for killer in killers:
                killer.start()
            np.testing.assert_array_equal(runner.predict(ROWS, batch_size=10), ROWS[:, 0])
            for killer in killers:
                killer.join()
            np.testing.assert_array_equal(runner.predict(ROWS, batch_size=10), ROWS[:, 0])
            assert not set(old) & set(worker_pids(runner))

    def test_answers_of_a_worker_that_dies_after_it_gave_them(self):
        late = ROWS[:300].copy()
        late[250, 0] = -2  # the last batch takes its time
        with infbench.ProcessRunner(Rows(), n_processes=3) as runner:
            runner.takes_over = False  # the last batch is the other worker's, however late it is
            for _ in range(5):
                killer = threading.Timer(0.15, os.kill, (worker_pids(runner)[0], signal.SIGKILL))
                killer.start()
                np.testing.assert_array_equal(runner.predict(late, batch_size=100), late[:, 0])
                killer.join()

    def test_rows_that_kill_are_tried_twice_and_named(self, start_method):
        with infbench.ProcessRunner(Dies(), n_processes=2, start_method=start_method) as runner:
            runner.takes_over = False
            with pytest.raises(WorkerDied, match=r"exit code -9 while computing rows 250 to 500") as raised:
                runner.predict(MARKED, batch_size=250)
            assert (raised.value.rows, raised.value.exit_code) == ((250, 500), -9)
            np.testing.assert_array_equal(runner.predict(ROWS, batch_size=250), ROWS[:, 0])

    def test_template_is_replaced_too(self):
        with infbench.ProcessRunner(Rows(), n_processes=3) as runner:
            runner.takes_over = False  # otherwise the caller might do without them
            old = [runner._crew.template.pid, *worker_pids(runner)]
            for pid in old:
                os.kill(pid, signal.SIGKILL)
            for _ in range(3):
                np.testing.assert_array_equal(runner.predict(ROWS, batch_size=10), ROWS[:, 0])
            assert not set(old) & {runner._crew.template.pid, *worker_pids(runner)}

    def test_stuck_worker_is_killed_after_the_timeout(self, start_method):
        with infbench.ProcessRunner(Stuck(), n_processes=2, start_method=start_method, timeout=0.5) as runner:
            stuck = worker_pids(runner)[0]
            runner.takes_over = False
            with pytest.raises(WorkerTimeoutError, match=r"rows 250 to 500 within 0.5 s"):
                runner.predict(MARKED, batch_size=250)
            assert not psutil.pid_exists(stuck)
            runner.takes_over = True
            np.testing.assert_array_equal(runner.predict(ROWS, batch_size=250), ROWS[:, 0])

    @pytest.mark.leaves_behind("processes", reason="nobody ends a worker at a batch when its template is gone")
    def test_rows_of_a_stuck_worker_are_named_where_the_template_is_gone_too(self):
        marked = ROWS.copy()
        marked[420, 0] = -1  # in a batch that is not the first of its share
        with infbench.ProcessRunner(Stuck(), n_processes=2, timeout=0.5) as runner:
            runner.takes_over = False
            os.kill(runner._crew.template.pid, signal.SIGKILL)
            with pytest.raises(WorkerTimeoutError, match=r"rows 400 to 450 within 0.5 s"):
                runner.predict(marked, batch_size=50)

    @pytest.mark.leaves_behind("processes", reason="nobody ends a worker at a batch when its template is gone")
    def test_one_stuck_at_an_earlier_call_takes_no_other_along(self):
        """Without a template, all workers must be replaced to replace one, in the middle of another one's share."""
        marked, late = ROWS.copy(), ROWS.copy()
        marked[[0, 300], 0] = -1  # a worker gets stuck, and the caller raises
        late[-1, 0] = -2
        with infbench.ProcessRunner(StuckElsewhere(), n_processes=3, timeout=0.6) as runner:
            before = worker_pids(runner)
            with pytest.raises(ZeroDivisionError):
                runner.predict(marked, batch_size=100)
            runner.predict(ROWS[:200], batch_size=100)  # which finds one at work, and looks for how long
            time.sleep(0.35)
            os.kill(runner._crew.template.pid, signal.SIGKILL)
            np.testing.assert_array_equal(runner.predict(late, batch_size=250), late[:, 0])
            assert not set(before) & set(worker_pids(runner))


class TestErrors:
    @pytest.mark.parametrize(
        ("estimator", "kind", "message"),
        [
            (RaisesNamed(), "Named", "this and that"),
            (RaisesNamedOfSystem(), "WorkerError", "NamedOfSystem: this and that"),
            (RaisesLock(), "WorkerError", "ValueError: .*lock"),
            (RaisesLocal(), "Local", "has no name"),
        ],
        ids=["arguments", "arguments of an OSError", "lock", "local class"],
    )
    def test_come_as_what_they_are_or_as_worker_errors(self, estimator, kind, message):
        with infbench.ProcessRunner(estimator, n_processes=2) as runner:
            runner.takes_over = False
            with pytest.raises(Exception, match=message) as raised:
                runner.predict(MARKED, batch_size=250)
            assert raised.type.__name__ == kind
            assert isinstance(raised.value.__cause__, WorkerTraceback)
            assert "estimators.py" in str(raised.value.__cause__)
            np.testing.assert_array_equal(runner.predict(ROWS, batch_size=250), ROWS[:, 0])

    def test_lets_go_of_the_rows_at_once(self):
        gc.disable()  # no reference cycle may keep them
        try:
            with infbench.ProcessRunner(Raises(), n_processes=2) as runner:
                X = np.zeros((100, 2))
                X[7] = -1
                rows = weakref.ref(X)
                try:
                    runner.predict(X, batch_size=10)
                except ZeroDivisionError:
                    del X
                assert rows() is None
        finally:
            gc.enable()

    def test_in_what_was_taken_over_wait_for_nothing_that_others_have_not_begun(self):
        with infbench.ProcessRunner(RaisesHereSlowElsewhere(0.0, 0.5), n_processes=2) as runner:
            with pytest.raises(ZeroDivisionError):
                runner.predict(MARKED, batch_size=5)  # 56 batches are the worker's at first, 0.5 s each
            words = runner._crew.workers[0].desk.words
            assert words[NEXT] <= 44 + 5
            np.testing.assert_array_equal(runner.predict(ROWS, batch_size=5), ROWS[:, 0])

    def test_of_others_end_what_was_taken_over_after_them(self, tmp_path):
        estimator = FailsElsewhereWhenTold(tmp_path / "now", n_batches=60)  # of 44 of its own and 28 taken over
        with infbench.ProcessRunner(estimator, n_processes=2) as runner:
            with pytest.raises(ZeroDivisionError, match="as it was told"):
                runner.predict(ROWS, batch_size=5)
            assert 60 <= estimator.n_here < 72

    def test_of_a_signal_handler_that_closes_come_before_those_of_the_estimator(self, alarm):
        X = ROWS[:300].copy()
        X[100:150:10, 0] = -2  # one worker takes 1.5 s, and the other raises at once
        X[200, 0] = -1

        def end():
            runner.close()
            raise SystemExit(7)

        with infbench.ProcessRunner(Raises(), n_processes=3) as runner:
            runner.takes_over = False
            alarm(0.5, end)
            with pytest.raises(SystemExit):
                runner.predict(X, batch_size=10)

    def test_of_a_signal_handler_wait_for_nobody(self, alarm):
        def give_up():
            raise TimeoutError("after 0.35 s")

        with infbench.ProcessRunner(SlowElsewhere(0.005, 60.0), n_processes=2) as runner:
            alarm(0.35, give_up)  # the caller takes 0.22 s for its own share, and then takes over
            with pytest.raises(TimeoutError, match=r"after 0\.35 s"):
                runner.predict(ROWS, batch_size=5)
            assert runner._crew.workers[0].busy  # it was not waited for
            np.testing.assert_array_equal(runner.predict(ROWS, batch_size=500), ROWS[:, 0])

    def test_of_the_first_batch_counts_whoever_raises_first(self):
        X = ROWS.copy()
        X[[100, 260], 0] = -1, -3  # the caller raises the one, late; its worker has raised the other by then
        with infbench.ProcessRunner(MisbehavesLate(), n_processes=2) as runner:
            for _ in range(3):
                with pytest.raises(ZeroDivisionError):
                    runner.predict(X, batch_size=10)

    def test_leave_the_next_answer_exact(self, start_method):
        with infbench.ProcessRunner(Raises(), n_processes=2, start_method=start_method) as runner:
            for index in range(100):
                marked = ROWS.copy()
                marked[(index * 37) % len(ROWS), 0] = -1
                with pytest.raises(ZeroDivisionError, match="a marked row"):
                    runner.predict(marked, batch_size=10)
                np.testing.assert_array_equal(runner.predict(ROWS[index:], batch_size=10), ROWS[index:, 0])

    def test_end_what_others_were_to_compute(self):
        """They take no time away from the next call."""
        marked = ROWS.copy()
        marked[0, 0] = -1
        with infbench.ProcessRunner(RaisesOrIsSlow(0.02), n_processes=2) as runner:
            with pytest.raises(ZeroDivisionError):
                runner.predict(marked, batch_size=1)  # 5 s for the worker
            words = runner._crew.workers[0].desk.words
            assert words[LIMIT] == 0
            time.sleep(0.1)
            begun = words[NEXT]
            time.sleep(0.2)
            assert words[NEXT] == begun
            runner.takes_over = False  # it waits for the worker
            np.testing.assert_array_equal(runner.predict(ROWS, batch_size=250), ROWS[:, 0])

    def test_estimator_that_cannot_be_pickled(self, nothing_left_behind):
        with pytest.raises(WorkerStartError, match=r"cannot be pickled for the workers: TypeError\('not this one'\)"):
            infbench.ProcessRunner(CannotBePickled(), n_processes=2).start()

    def test_estimator_that_does_not_load(self, start_method, nothing_left_behind):
        with pytest.raises(WorkerStartError, match="loads in its own process only"):
            infbench.ProcessRunner(FailsToLoad(), n_processes=2, start_method=start_method).start()


class TestUse:
    def test_threads_take_turns(self):
        answers = {}
        with infbench.ProcessRunner(Slow(0.001), n_processes=2) as runner:

            def use(factor):
                answers[factor] = [runner.predict(ROWS * factor, batch_size=20) for _ in range(5)]

            threads = [threading.Thread(target=use, args=(factor,)) for factor in (1, 2, 3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        for factor in (1, 2, 3):
            for answer in answers[factor]:
                np.testing.assert_array_equal(answer, ROWS[:, 0] * factor)

    def test_fork_of_the_caller_is_told_and_harms_nothing(self):
        with infbench.ProcessRunner(Rows(), n_processes=2) as runner:
            workers = worker_pids(runner)
            pid = os.fork()
            if pid == 0:
                try:
                    runner.predict(ROWS)
                except RunnerError as error:
                    runner.close()
                    os._exit(0 if "cannot be used in its fork" in str(error) else 2)
                finally:
                    os._exit(1)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            np.testing.assert_array_equal(runner.predict(ROWS, batch_size=10), ROWS[:, 0])
            assert worker_pids(runner) == workers

    def test_what_the_program_starts_later_keeps_no_memory_of_answers(self):
        with infbench.ProcessRunner(Rows(), n_processes=2) as runner:
            runner.takes_over = False
            runner.predict(ROWS, batch_size=250)
            assert not os.get_inheritable(runner._crew.workers[0].answers.fd)

    def test_what_was_taken_over_is_not_computed_twice(self):
        with infbench.ProcessRunner(SlowElsewhere(0.0, 0.05), n_processes=2) as runner:
            for _ in range(3):
                runner.predict(ROWS, batch_size=10)  # the worker computes a batch or two of its 25 or more
                time.sleep(0.3)
                assert runner._crew.workers[0].desk.words[NEXT] < 40

    def test_interrupted_call_leaves_a_usable_runner(self):
        with infbench.ProcessRunner(Slow(0.02), n_processes=2) as runner:
            for _ in range(3):
                killer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
                with pytest.raises(KeyboardInterrupt):  # noqa: PT012  # it may come at once
                    killer.start()
                    runner.predict(ROWS, batch_size=1)  # 5 s, if nobody interrupted it
                killer.join()
                np.testing.assert_array_equal(runner.predict(ROWS, batch_size=100), ROWS[:, 0])

    def test_workers_compute_with_one_thread(self, start_method):
        with infbench.ProcessRunner(TellsThreads(), n_processes=2, start_method=start_method) as runner:
            runner.takes_over = False
            pids, n_threads, n_jobs = runner.predict(ROWS, batch_size=250).T
        assert len(set(pids)) == 2
        assert set(n_threads) == {1}
        assert set(n_jobs) == {1}

    @pytest.mark.parametrize("inner_threads", [1, None])
    def test_workers_leave_the_cpu_of_the_caller_to_it(self, inner_threads, monkeypatch):
        monkeypatch.setattr(process, "usable_cpus", lambda: 2)  # whatever share of them a container may use
        cpus = os.sched_getaffinity(0)
        with infbench.ProcessRunner(Rows(), n_processes=2, inner_threads=inner_threads) as runner:
            runner.takes_over = False  # otherwise it might go on without a worker that is late
            try:
                for cpu in cpus:
                    os.sched_setaffinity(0, {cpu})
                    runner.predict(ROWS, batch_size=250)
                    others = (cpus - {cpu} if inner_threads == 1 else set()) or cpus
                    (pid,) = worker_pids(runner)
                    assert os.sched_getaffinity(pid) == others
                os.kill(pid, signal.SIGKILL)
                while worker_pids(runner) == [pid]:
                    runner.predict(ROWS, batch_size=250)
                runner.predict(ROWS, batch_size=250)
                assert os.sched_getaffinity(*worker_pids(runner)) == others
            finally:
                os.sched_setaffinity(0, cpus)

    def test_caller_computes_alone_what_is_not_worth_handing_out(self, monkeypatch):
        monkeypatch.setattr(sharing, "HAND_OUT_S", 5e-3)
        with infbench.ProcessRunner(TellsProcess(), n_processes=2) as runner:
            runner.predict(ROWS, batch_size=250)  # nobody knows the cost before
            shared = note_shared_calls(runner)
            for _ in range(20):
                runner.predict(ROWS, batch_size=250)
            assert len(shared) < 5  # on a busy machine, too, few of these calls take that long
            runner.takes_over = False
            assert {*runner.predict(ROWS, batch_size=250)} == {os.getpid(), *worker_pids(runner)}

    @pytest.mark.parametrize(
        ("last", "last_batch_size", "batch_size"),
        [pytest.param(ROWS, 250, 50, id="batches"), pytest.param(ROWS[:2], 1, 250, id="rows")],
    )
    def test_more_than_the_last_call_had_is_handed_out(self, monkeypatch, last, last_batch_size, batch_size):
        monkeypatch.setattr(sharing, "HAND_OUT_S", 2e-3)
        with infbench.ProcessRunner(TellsProcess(1e-3), n_processes=2) as runner:

            def is_shared():  # unless the worker is so late that the caller takes over all of it
                runner.predict(last, batch_size=last_batch_size)
                return len({*runner.predict(ROWS, batch_size=batch_size)}) == 2

            assert any(is_shared() for _ in range(20))

    def test_caller_computes_alone_what_takes_longer_to_read(self, monkeypatch):
        monkeypatch.setattr(sharing, "HAND_OUT_S", HAND_OUT_S)
        monkeypatch.setattr(sharing, "READ_S_PER_BYTE", 1.0)
        with infbench.ProcessRunner(TellsProcess(1e-3), n_processes=2) as runner:
            runner.predict(ROWS, batch_size=50)
            assert {*runner.predict(ROWS, batch_size=50)} == {os.getpid()}

    def test_caller_computes_more_alone_while_workers_sleep(self, monkeypatch):
        monkeypatch.setattr(sharing, "WAKE_S", 1.0)
        monkeypatch.setattr(process, "usable_cpus", lambda: 2)  # otherwise they sleep whenever there is nothing to do
        with infbench.ProcessRunner(TellsProcess(1e-3), n_processes=2) as runner:
            runner.predict(ROWS, batch_size=50)
            time.sleep(2 * process._SPIN_S)
            assert {*runner.predict(ROWS, batch_size=50)} == {os.getpid()}
            # They are awake for the next call, unless this process is interrupted before it.
            assert any(len({*runner.predict(ROWS, batch_size=50)}) == 2 for _ in range(20))

    def test_caller_computes_alone_what_has_taken_longer_when_it_was_shared(self, monkeypatch):
        monkeypatch.setattr(sharing, "HAND_OUT_S", 10e-3)  # close to what another process would save with half of it
        monkeypatch.setattr(process, "_SPIN_S", 0.1)  # so that a late call does not count as one after a pause
        monkeypatch.setattr(process, "usable_cpus", lambda: 2)
        with infbench.ProcessRunner(SlowElsewhere(20e-3, 0.1), n_processes=2) as runner:
            shared = note_shared_calls(runner)
            for n_calls in (25, 25):
                shared.clear()
                for _ in range(n_calls):
                    np.testing.assert_array_equal(runner.predict(ROWS, batch_size=250), ROWS[:, 0])
            assert len(shared) < n_calls / 2

    def test_collected_runner_ends_its_workers(self, nothing_left_behind):
        runner = infbench.ProcessRunner(Rows(), n_processes=2).start()
        pids = worker_pids(runner)
        del runner
        gc.collect()
        deadline_s = time.monotonic() + 5
        while any(map(psutil.pid_exists, pids)):
            assert time.monotonic() < deadline_s
            time.sleep(0.01)

    def test_nothing_grows(self, start_method, times):
        process = psutil.Process()
        counts = set()
        for index in times(5, 1_000):
            with infbench.ProcessRunner(Rows(), n_processes=2, start_method=start_method) as runner:
                for _ in range(20):
                    runner.predict(ROWS, batch_size=50)
            if index > 1:
                counts.add((process.num_fds(), process.num_threads()))
        assert len(counts) == 1

    def test_memory_does_not_grow_from_call_to_call(self, times):
        with infbench.ProcessRunner(Rows(), n_processes=2) as runner:
            runner.takes_over = False  # otherwise it would compute most calls alone
            worker = psutil.Process(worker_pids(runner)[0])
            gc.collect()  # the garbage of other tests: its end, and what is put in its place, are not this runner's
            for _ in range(500):
                runner.predict(ROWS, batch_size=50)
            before = [(p.memory_full_info().uss, p.num_fds()) for p in (psutil.Process(), worker)]
            for _ in times(2_000, 10_000):
                runner.predict(ROWS, batch_size=50)
            after = [(p.memory_full_info().uss, p.num_fds()) for p in (psutil.Process(), worker)]
        for (uss_before, fds_before), (uss_after, fds_after) in zip(before, after, strict=True):
            assert fds_after == fds_before
            assert uss_after - uss_before < 1_000_000  # 500 bytes a call would be more


SMALL_SHM = """
import numpy as np
import infbench
from estimators import Rows

if __name__ == "__main__":
    X = np.arange(4_000_000.0).reshape(-1, 2)  # 32 MB, and as many again in answers of the workers
    with infbench.ProcessRunner(Rows(), n_processes=2) as runner:
        runner.takes_over = False
        assert (runner.predict(X, batch_size=100_000) == X[:, 0]).all()
        Y = runner.empty(X.shape)
        Y[...] = X
        assert (runner.predict(Y, batch_size=100_000) == X[:, 0]).all()
    print("right")
"""


def test_small_shared_memory_folder_does_not_matter(tmp_path):
    """A container's /dev/shm often has 64 MB, and writing past its end kills a process by SIGBUS."""
    unshare = ["unshare", "--mount", *(() if os.geteuid() == 0 else ("--user", "--map-root-user"))]
    if subprocess.run(
        [*unshare, "mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", "/dev/shm"], capture_output=True
    ).returncode:
        pytest.skip("this system lets nobody mount a file system of their own, not even in a namespace")
    script = tmp_path / "caller.py"
    script.write_text(SMALL_SHM)
    command = f"mount -t tmpfs -o size=8m tmpfs /dev/shm && exec {sys.executable} {script}"
    path = os.pathsep.join([str(HERE), str(HERE.parent)])
    run = subprocess.run(
        [*unshare, "sh", "-c", command], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "right\n", "")


WITHOUT_FILE = """
import sys
import numpy as np
import infbench

class Doubles:
    def predict(self, X):
        return double(X[:, 0])

def double(values):
    return FACTOR * values

FACTOR = 2

if __name__ == "__main__":
    for start_method in sys.argv[1:]:
        with infbench.ProcessRunner(Doubles(), n_processes=2, start_method=start_method) as runner:
            runner.takes_over = False
            print(runner.predict(np.eye(4), batch_size=2))
"""
DOUBLED = "[2. 0. 0. 0.]\n"


def run_python(*arguments, **others):
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, **others)


def test_program_on_the_command_line():
    """It has no file, like a notebook, or what is typed at a prompt."""
    run = run_python("-c", WITHOUT_FILE, *START_METHODS)
    assert (run.returncode, run.stdout, run.stderr) == (0, 3 * DOUBLED, "")


def test_program_on_standard_input():
    run = run_python("-", "forkserver", "fork", "spawn", input=WITHOUT_FILE)
    assert run.stdout == 2 * DOUBLED
    # multiprocessing would say no more than that a file is missing.
    last_line = run.stderr.splitlines()[-1]
    assert last_line.startswith("infbench.errors.WorkerStartError: multiprocessing cannot import a program")
    assert run.stderr.count("Traceback") == 1


@pytest.mark.parametrize("command", [["program"], ["-m", "program"]], ids=["folder", "package"])
def test_program_that_is_a_folder(tmp_path, command):
    """From a folder, multiprocessing imports no main module."""
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "__main__.py").write_text(WITHOUT_FILE)
    run = run_python(*command, *START_METHODS, cwd=tmp_path)
    assert (run.returncode, run.stdout, run.stderr) == (0, 3 * DOUBLED, "")


def test_what_a_module_has_no_name_for_is_pickled_all_the_same(start_method):
    class LocalError(Exception):
        pass

    class Local(Rows):
        def predict(self, X):
            if X[0, 0] == -1:
                raise LocalError(X[0, 1])
            return super().predict(X) + self.more(X)

    estimator = Local()
    estimator.more = lambda X: X[:, 1]
    estimator.strided = np.arange(24.0).reshape(4, 6)[::2, ::3]
    marked = ROWS.copy()
    marked[100] = -1, 7
    with infbench.ProcessRunner(estimator, n_processes=2, start_method=start_method) as runner:
        runner.takes_over = False
        check_answer(runner, "predict", ROWS, 50)
        with pytest.raises(LocalError, match="7"):
            runner.predict(marked, batch_size=50)
        check_answer(runner, "predict", ROWS, 50)


CALLER = """
import os, sys, time
import numpy as np
import infbench
from estimators import Slow

if __name__ == "__main__":
    state, *start_methods = sys.argv[1:]
    runners = [infbench.ProcessRunner(Slow(0.2), n_processes=3, start_method=name).start() for name in start_methods]
    crews = [runner._crew for runner in runners]
    print(*(process.pid for crew in crews for process in (crew.template, *crew.workers)), flush=True)
    if state == "busy":
        runners[0].predict(np.zeros((1000, 2)), batch_size=10)
    elif state == "idle":
        time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize(
    ("state", "start_methods"), [("idle", START_METHODS), *(("busy", [name]) for name in START_METHODS)]
)
def test_workers_end_with_a_caller_that_is_killed(tmp_path, number, state, start_methods):
    with start_program(tmp_path, CALLER, state, *start_methods) as caller:
        pids = [int(pid) for pid in caller.stdout.readline().split()]
        time.sleep(0.3)
        caller.send_signal(number)
        _, errors = caller.communicate(timeout=30)
        wait_until_gone(pids, within_s=10)
    # The caller's own traceback, and no warning of anything that was left.
    assert [line for line in errors.splitlines() if "Error" in line or "Warning" in line] == []
    assert errors.count("Traceback") == errors.count("KeyboardInterrupt") == (number == signal.SIGINT)


def test_a_program_that_is_told_to_end_may_finish_its_call_first(tmp_path, start_method):
    """As by a service manager, which signals every process of the program."""
    program = """
        import signal, sys
        import numpy as np
        import infbench
        from estimators import Slow

        if __name__ == "__main__":
            told = []
            signal.signal(signal.SIGTERM, lambda *_: told.append(True))
            with infbench.ProcessRunner(Slow(0.1), n_processes=3, start_method=sys.argv[1]) as runner:
                runner.takes_over = False
                pids = [runner._crew.template.pid, *(worker.pid for worker in runner._crew.workers)]
                print(*pids, flush=True)
                X = np.arange(60.0).reshape(30, 2)
                while not told:
                    assert (runner.predict(X, batch_size=1) == X[:, 0]).all()
                assert pids == [runner._crew.template.pid, *(worker.pid for worker in runner._crew.workers)]
    """
    with start_program(tmp_path, program, start_method) as caller:
        pids = [int(pid) for pid in caller.stdout.readline().split()]
        time.sleep(0.3)
        os.killpg(caller.pid, signal.SIGTERM)
        _, errors = caller.communicate(timeout=60)
        wait_until_gone(pids, within_s=10)
    assert (caller.returncode, errors) == (0, "")


def test_exit_without_close_is_silent(tmp_path):
    with start_program(tmp_path, CALLER, "done", *START_METHODS) as caller:
        out, errors = caller.communicate(timeout=60)
        assert (caller.returncode, errors) == (0, "")
        wait_until_gone([int(pid) for pid in out.split()], within_s=10)


OPENMP_FIRST = """
import sys
from sklearn.cluster import KMeans
import infbench

if __name__ == "__main__":
    X = infbench.make_data(n_samples=2_000, n_features=20)
    models = [infbench.make_model(name) for name in ("hist_gradient_boosting", "k_neighbors")]
    for model in (*models, KMeans(8, n_init=1, random_state=0).fit(X)):
        expected = model.predict(X)
        for start_method in sys.argv[1:]:
            with infbench.ProcessRunner(model, n_processes=2, start_method=start_method) as runner:
                assert (runner.predict(X, batch_size=100) == expected).all()
    print("right")
"""


def test_openmp_in_the_caller_does_not_hang_the_workers(tmp_path):
    with start_program(tmp_path, OPENMP_FIRST, *START_METHODS) as caller:
        try:
            out, errors = caller.communicate(timeout=60)
        finally:
            caller.kill()
        assert (out, errors) == ("right\n", "")


@pytest.mark.parametrize("name", ["serial", "process", "pool"])
def test_what_only_looks_like_an_estimator_of_scikit_learn_is_run(name):
    with make_runner(name, NotOfScikitLearn(), n_processes=None if name == "serial" else 2) as runner:
        check_answer(runner, "predict", ROWS, 10)


def test_answers_that_find_no_room_are_told_and_the_next_call_is_right():
    X = np.arange(400.0).reshape(200, 2)
    wide = X.copy()
    wide[100:, 0] = -1  # all that the worker gets
    with infbench.ProcessRunner(WideWithoutRoom(), n_processes=2) as runner:
        runner.takes_over = False
        runner.predict(X, batch_size=50)
        with pytest.raises(OSError, match="File too large"):
            runner.predict(wide, batch_size=50)
        for _ in range(2):
            np.testing.assert_array_equal(runner.predict(X, batch_size=50), X[:, :1])


def test_what_cannot_be_pickled_runs_alone():
    with infbench.ProcessRunner(CannotBePickled(), n_processes=1) as runner:
        np.testing.assert_array_equal(runner.predict(ROWS, batch_size=10), ROWS[:, 0])


def test_timeout_is_that_of_a_batch_and_not_of_a_share():
    with infbench.ProcessRunner(Slow(0.15), n_processes=2, timeout=1.0) as runner:
        runner.takes_over = False
        np.testing.assert_array_equal(runner.predict(ROWS[:16], batch_size=1), ROWS[:16, 0])


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan"), "5", True])
def test_timeout_that_is_none_is_refused(timeout):
    with pytest.raises(InvalidParameterError, match="timeout must be a positive number of seconds or None, got"):
        infbench.ProcessRunner(Rows(), timeout=timeout)


@pytest.mark.parametrize("timeout", [float("inf"), np.float32(9.5), Fraction(19, 2), 9])
def test_timeout_may_be_endless_and_of_any_kind_of_number(timeout):
    with infbench.ProcessRunner(Slow(0.02), n_processes=2, timeout=timeout) as runner:
        runner.takes_over = False
        check_answer(runner, "predict", ROWS[:40], 10)


def test_a_default_timeout_of_sockets_is_for_those_of_the_program(start_method):
    socket.setdefaulttimeout(0.01)
    try:
        with infbench.ProcessRunner(Slow(0.05), n_processes=2, start_method=start_method) as runner:
            runner.takes_over = False
            for _ in range(2):
                check_answer(runner, "predict", ROWS[:40], 10)
    finally:
        socket.setdefaulttimeout(None)


def test_a_worker_that_dies_is_replaced_where_sigpipe_would_end_the_program(tmp_path):
    program = """
        import os, signal, sys, time
        import numpy as np
        import infbench
        from estimators import Rows

        if __name__ == "__main__":
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            X = np.arange(200.0).reshape(100, 2)
            objects = X.astype(object)
            for start_method in sys.argv[1:]:
                with infbench.ProcessRunner(Rows(), n_processes=2, start_method=start_method) as runner:
                    runner.takes_over = False
                    for rows in (X, X, objects):
                        os.kill(runner._crew.workers[0].pid, signal.SIGKILL)
                        time.sleep(0.05)
                        assert (runner.predict(rows, batch_size=10) == rows[:, 0]).all()
                    for pid in (runner._crew.template.pid, runner._crew.workers[0].pid):
                        os.kill(pid, signal.SIGKILL)
                    time.sleep(0.05)
                    assert (runner.predict(X, batch_size=10) == X[:, 0]).all()
            assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
            print("right", flush=True)
            signal.raise_signal(signal.SIGPIPE)
    """
    with start_program(tmp_path, program, *START_METHODS) as caller:
        out, errors = caller.communicate(timeout=60)
    assert (caller.returncode, out, errors) == (-signal.SIGPIPE, "right\n", "")
