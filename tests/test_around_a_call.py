"""What a program may do around a call: signals, threads, forks, settings, rows of any kind. Done for real."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import sklearn
from contracts import check_answer, check_outcome
from estimators import ChangesRows, Column, Overflows, Rows, Slow, SlowElsewhere
from numpy.lib.stride_tricks import as_strided
from programs import run_program, start_program
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info, threadpool_limits

import infbench
from infbench.errors import RunnerError, WorkerStartError
from infbench.runners import make_runner
from infbench.runners.inner_threads import InnerThreads
from infbench.runners.layout import brought_together
from infbench.runners.signals import ctrl_c_waits
from infbench.runners.workers import caller_memory
from infbench.runners.workers.caller_memory import CallerMemory, OwnMemory
from infbench.runners.workers.launcher import launcher

ROOT = Path(__file__).parents[1]
ROWS = np.arange(1_000.0).reshape(500, 2)
WIDE = infbench.make_data(n_samples=300, n_features=400, random_state=3)


OUTLIVED = """
import os, time
import infbench
from infbench.runners.workers.launcher import launcher
from estimators import Rows

if __name__ == "__main__":
    runner = infbench.ProcessRunner(Rows(), n_processes=3).start()
    fork = os.fork()
    if fork == 0:
        time.sleep(60)
        os._exit(0)
    print(fork, launcher.pid, runner._crew.template.pid, *(worker.pid for worker in runner._crew.workers), flush=True)
    time.sleep(60)
"""


class Alarm(Exception):
    """What a handler of a signal raises."""


def raise_alarm():
    raise Alarm


class TestSignals:
    def test_what_a_handler_raises_leaves_the_next_answer_exact(self, alarm):
        frame = pd.DataFrame(ROWS, columns=["a", "b"])  # pickled: its messages are long

        def call_for_ever(X):
            while True:
                runner.predict(X, batch_size=10)

        with infbench.ProcessRunner(Column(0.001), n_processes=3) as runner:
            for round_ in range(16):
                os.kill(runner._crew.workers[round_ % 2].pid, signal.SIGKILL)
                with pytest.raises(Alarm):  # noqa: PT012  # it may come at once
                    alarm(0.002 * (1 + round_), raise_alarm)
                    call_for_ever((ROWS, frame)[round_ % 2])
                for X in (frame, ROWS):
                    np.testing.assert_array_equal(runner.predict(X, batch_size=100), ROWS[:, 0])
            runner.takes_over = False  # it needs all workers
            np.testing.assert_array_equal(runner.predict(frame, batch_size=100), ROWS[:, 0])
            assert not any(worker.busy for worker in runner._crew.workers)

    def test_a_replacement_that_came_to_no_end_kills_nobody(self):
        bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        with infbench.ProcessRunner(Rows(), n_processes=3) as runner, bystander:
            worker = runner._crew.workers[0]
            worker.disconnect()  # it has no process now, as far as it knows
            assert runner._crew.replace(worker) is None
            runner._watch()
            np.testing.assert_array_equal(runner.predict(ROWS, batch_size=10), ROWS[:, 0])
            assert bystander.poll() is None
            bystander.communicate(b"\n")

    @pytest.mark.parametrize("name", ["process", "pool", "pool_per_task", "futures", "threads", "threading"])
    def test_a_handler_may_close_the_runner_and_raise_what_it_likes(self, alarm, name):
        def close():
            runner.close()

        def end():
            close()
            raise SystemExit(7)

        def give_up():
            close()
            raise TimeoutError("after 7 s")

        for act, expected in ((end, SystemExit), (give_up, TimeoutError), (close, RunnerError)):
            with (  # noqa: PT012  # it may come at once
                make_runner(name, Slow(0.01), n_processes=2) as runner,
                pytest.raises(expected, match=r"7|closed during the call") as raised,
            ):
                runner.predict(ROWS, batch_size=250)  # workers are up
                alarm(0.05, act)
                runner.predict(ROWS, batch_size=5)
            assert raised.type is expected

    @pytest.mark.parametrize("n_processes", [1, 2])
    def test_a_handler_may_close_the_runner_while_the_caller_computes_alone(self, alarm, n_processes):
        with infbench.ProcessRunner(SlowElsewhere(0.01, 0.5), n_processes) as runner:
            runner.predict(ROWS, batch_size=250)  # the caller takes the second batch over, and the worker stays at it
            alarm(0.05, runner.close)
            with pytest.raises(RunnerError, match="closed during the call"):
                runner.predict(ROWS, batch_size=25)

    @pytest.mark.parametrize("name", ["pool", "pool_per_task", "futures", "threads", "threading"])
    def test_a_handler_may_close_the_runner_while_batches_are_handed_over(self, alarm, name):
        many = np.zeros((40_000, 1))
        for delay_s in (0.002, 0.02):
            with make_runner(name, Rows(), n_processes=2) as runner:
                runner.predict(many[:10], batch_size=1)
                alarm(delay_s, runner.close)
                with pytest.raises(RunnerError, match=r"closed during the call|is not started"):  # it may come before
                    runner.predict(many, batch_size=1)

    @pytest.mark.leaves_behind("threads", "descriptors", reason="mpire's monitor lives as long as the process")
    def test_a_handler_that_closes_mpire_or_loky_gets_all_answers(self, alarm):
        for name in ("mpire", "loky"):
            with make_runner(name, Slow(0.01), n_processes=2) as runner:
                runner.predict(ROWS, batch_size=250)
                alarm(0.05, runner.close)
                np.testing.assert_array_equal(runner.predict(ROWS, batch_size=20), ROWS[:, 0])
                with pytest.raises(RunnerError, match="is not started"):
                    runner.predict(ROWS)

    @pytest.mark.parametrize("delay_s", [0.01, 0.03, 0.1, 0.3])
    def test_a_handler_may_close_auto_while_it_starts_and_measures(self, alarm, delay_s):
        with make_runner("auto", Slow(0.001), n_processes=2) as runner:
            alarm(delay_s, runner.close)
            with pytest.raises(RunnerError, match="closed during the call"):
                runner.predict(ROWS, batch_size=5)
            for started in runner._runners.values():
                with pytest.raises(RunnerError, match="is not started"):
                    started.predict(ROWS)

    def test_ctrl_c_while_something_starts_is_told_whatever_else_is(self):
        with pytest.raises(KeyboardInterrupt) as raised, ctrl_c_waits():  # noqa: PT012
            os.kill(os.getpid(), signal.SIGINT)
            raise LookupError("it does not start")
        assert isinstance(raised.value.__context__, LookupError)

    @pytest.mark.parametrize("name", ["serial", "process", "threads"])
    def test_a_handler_that_uses_the_runner_is_told(self, alarm, name):
        with make_runner(name, Slow(0.02), n_processes=None if name == "serial" else 2) as runner:
            with pytest.raises(RunnerError, match="is already running a call on this thread"):  # noqa: PT012
                alarm(0.05, lambda: runner.predict(ROWS))
                runner.predict(ROWS, batch_size=10)
            np.testing.assert_array_equal(runner.predict(ROWS, batch_size=100), ROWS[:, 0])

    @pytest.mark.parametrize("start_method", ["forkserver", "spawn", "fork"])
    def test_an_ignored_sigchld_leaves_no_trace(self, start_method, tmp_path):
        run_lines(
            tmp_path,
            f"""
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            with infbench.ProcessRunner(Slow(0.001), n_processes=2, start_method={start_method!r}) as runner:
                os.kill(runner._crew.workers[0].pid, signal.SIGKILL)
                assert (runner.predict(ROWS, batch_size=10) == ROWS[:, 0]).all()
            """,
        )


def threads_of_blas():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


class TestThreads:
    @pytest.mark.parametrize("name", ["process", "auto", "futures", "threads"])
    def test_closing_waits_for_a_call(self, name):
        answers = []
        runner = make_runner(name, Slow(0.01), n_processes=2).start()
        caller = threading.Thread(target=lambda: answers.append(runner.predict(ROWS, batch_size=10)))
        caller.start()
        time.sleep(0.1)
        runner.close()
        caller.join()
        np.testing.assert_array_equal(answers[0], ROWS[:, 0])
        with pytest.raises(RunnerError, match="not started"):
            runner.predict(ROWS)

    def test_a_call_that_waits_while_the_runner_is_closed_starts_nothing(self):
        raised = []

        def call():
            try:
                runner.predict(ROWS, batch_size=10)
            except RunnerError as error:
                raised.append(str(error))

        runner = infbench.ProcessRunner(Slow(0.01), n_processes=2).start()
        with runner._turn:
            callers = [threading.Thread(target=call) for _ in range(3)]
            for caller in callers:
                caller.start()
            time.sleep(0.1)
            runner.close()
        for caller in callers:
            caller.join()
        assert len(raised) == 3
        assert all("is not started" in text for text in raised)

    def test_started_at_once_by_several_it_starts_once(self):
        runner = infbench.ProcessRunner(Rows(), n_processes=2)
        threads = [threading.Thread(target=runner.start) for _ in range(4)]
        before = {child.pid for child in psutil.Process().children(recursive=True)}
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        started = {child.pid for child in psutil.Process().children(recursive=True)} - before
        assert started - {launcher.pid} == {runner._crew.template.pid, runner._crew.workers[0].pid}
        runner.close()

    def test_the_limit_of_blas_ends_with_the_last_that_needs_it(self):
        with threadpool_limits(limits=2, user_api="blas"):
            if threads_of_blas() != {2}:
                pytest.fail(f"the libraries take no limit: {threadpool_info()}")
            first, second = InnerThreads(1), InnerThreads(1)
            one, other = first.limited(), second.limited()
            one.__enter__()
            other.__enter__()
            assert threads_of_blas() == {1}
            one.__exit__(None, None, None)
            assert threads_of_blas() == {1}
            late = InnerThreads(1)  # it sees the other's limit, not the number of threads without one
            other.__exit__(None, None, None)
            assert threads_of_blas() == {2}
            with late.limited():
                assert threads_of_blas() == {1}

    def test_the_limit_of_blas_holds_in_any_thread(self):
        """The libraries' own limits are for the first thread that sets one, and the others are ignored."""
        inner = InnerThreads(1)
        seen = []
        is_in, leaves, has_left, may_end = (threading.Event() for _ in range(4))

        def first():
            with inner.limited():
                is_in.set()
                leaves.wait()
            has_left.set()
            may_end.wait()  # a thread that has ended holds nothing

        def second():
            is_in.wait()
            with inner.limited():
                leaves.set()
                has_left.wait()
                seen.append(threads_of_blas())
            seen.append(threads_of_blas())

        threads = [threading.Thread(target=target) for target in (first, second)]
        of_this_thread = threadpool_limits(limits=2, user_api="blas")
        try:
            if threads_of_blas() != {2}:
                pytest.fail(f"the libraries take no limit: {threadpool_info()}")
            for thread in threads:
                thread.start()
            threads[1].join()
            with threadpool_limits(limits=1, user_api="blas"):  # of somebody else, after both threads
                seen.append(threads_of_blas())
            seen.append(threads_of_blas())
        finally:
            may_end.set()
            of_this_thread.restore_original_limits()
        threads[0].join()
        assert seen == [{1}, {2}, {1}, {2}]

    def test_hold_wherever_they_are_entered(self):
        """What held in the thread that prepared them need not hold in the one that computes, nor later."""
        if len(os.sched_getaffinity(0)) < 2:
            pytest.skip("the libraries take one thread by themselves")
        HistGradientBoostingRegressor(max_iter=2).fit(WIDE[:, :3], WIDE[:, 0])  # loads OpenMP
        with threadpool_limits(limits=1):
            inner = InnerThreads(1)
        seen = []

        def look():
            with inner.limited():
                seen.extend(library["num_threads"] for library in threadpool_info() if library["user_api"] == "openmp")

        assert max(library["num_threads"] for library in threadpool_info()) > 1
        look()
        other = threading.Thread(target=look)
        other.start()
        other.join()
        assert len(seen) >= 2
        assert set(seen) == {1}


def run_lines(folder, lines):
    """Run lines in a separate program, which must end well and say nothing."""
    head = """
        import os, signal, sys, warnings
        warnings.filterwarnings("ignore", "This process .* is multi-threaded, use of fork")  # from Python 3.12 on
        import numpy as np
        import psutil
        import infbench
        from estimators import Rows, Slow

        ROWS = np.arange(1_000.0).reshape(500, 2)

        def use_one_of_its_own():
            with infbench.ProcessRunner(Rows(), n_processes=2) as own:
                assert own.start_method == "forkserver"
                own.takes_over = False
                assert (own.predict(ROWS, batch_size=10) == ROWS[:, 0]).all()

        def main():
    """
    body = textwrap.indent(textwrap.dedent(lines).strip(), "    ")
    program = f'{textwrap.dedent(head)}{body}\n\nif __name__ == "__main__":\n    main()\n'
    assert run_program(folder, program) == ""


class TestForks:
    def test_one_that_lives_on_keeps_no_worker(self):
        runner = infbench.ProcessRunner(Rows(), n_processes=3).start()
        pids = [runner._crew.template.pid, *(worker.pid for worker in runner._crew.workers)]
        fork = os.fork()
        if fork == 0:
            time.sleep(30)
            os._exit(0)
        try:
            runner.close()
            deadline_s = time.monotonic() + 10
            while any(psutil.pid_exists(pid) for pid in pids) and time.monotonic() < deadline_s:
                time.sleep(0.01)
            assert not [pid for pid in pids if psutil.pid_exists(pid)]
        finally:
            os.kill(fork, signal.SIGKILL)
            os.waitpid(fork, 0)

    def test_one_that_outlives_its_killed_caller_keeps_no_worker(self, tmp_path):
        with start_program(tmp_path, OUTLIVED) as caller:
            fork, *pids = map(int, caller.stdout.readline().split())
            try:
                caller.kill()
                left = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
                assert not psutil.wait_procs(left, timeout=10)[1]
                assert psutil.pid_exists(fork)
            finally:
                os.kill(fork, signal.SIGKILL)

    @pytest.mark.parametrize("what", ["start", "close"])
    def test_one_does_not_wait_for_a_thread_that_was_about_to_start_a_runner(self, what):
        runner = infbench.ProcessRunner(Rows(), n_processes=1)
        held, done = threading.Event(), threading.Event()

        def hold():
            with runner._turn:
                held.set()
                done.wait()

        other = threading.Thread(target=hold)
        other.start()
        held.wait()
        fork = os.fork()
        if fork == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(20)
            getattr(runner, what)()
            os._exit(0)
        done.set()
        other.join()
        assert os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]) == 0

    def test_one_cannot_start_what_its_parent_started(self):
        with infbench.ProcessRunner(Rows(), n_processes=2) as runner:
            fork = os.fork()
            if fork == 0:
                try:
                    runner.start()
                except RunnerError:
                    os._exit(0)
                finally:
                    os._exit(1)
            assert os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]) == 0

    def test_one_may_have_a_runner_of_its_own_and_ends_no_other(self, tmp_path):
        run_lines(
            tmp_path,
            """
            with infbench.ProcessRunner(Rows(), n_processes=2) as runner:
                pids = [runner._crew.template.pid, runner._crew.workers[0].pid]
                pid = os.fork()
                if pid == 0:
                    use_one_of_its_own()
                    sys.exit(0)  # through all that is done at an exit
                assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
                runner.takes_over = False
                assert (runner.predict(ROWS, batch_size=10) == ROWS[:, 0]).all()
                assert pids == [runner._crew.template.pid, runner._crew.workers[0].pid]
                assert all(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)
            """,
        )

    def test_one_computes_whatever_other_threads_were_at(self, tmp_path):
        """They may have been setting the limits of BLAS, or computing under them; neither is a thread of the fork."""
        run_lines(
            tmp_path,
            """
            import threading
            from infbench.runners.inner_threads import InnerThreads, _of_process
            from threadpoolctl import threadpool_info, threadpool_limits

            def n_threads():
                return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

            def hold():
                with InnerThreads(1).limited(), _of_process.lock:
                    held.set()
                    done.wait()

            held, done = threading.Event(), threading.Event()
            with threadpool_limits(limits=2, user_api="blas"):
                other = threading.Thread(target=hold)
                other.start()
                held.wait()
                pid = os.fork()
                if pid == 0:
                    signal.alarm(30)
                    with InnerThreads(2).limited():
                        os._exit(0 if n_threads() == {2} else 2)
                done.set()
                other.join()
                with InnerThreads(1).limited():  # and one that forks while it computes goes on
                    inside = os.fork()
                if inside == 0:
                    with InnerThreads(1).limited():
                        as_it_must_be = n_threads() == {1}
                    os._exit(0 if as_it_must_be and n_threads() == {2} else 2)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            assert os.waitstatus_to_exitcode(os.waitpid(inside, 0)[1]) == 0
            """,
        )

    def test_one_that_is_the_first_to_start_a_runner_may_do_so(self, tmp_path):
        run_lines(
            tmp_path,
            """
            pid = os.fork()
            if pid == 0:
                use_one_of_its_own()
                sys.exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            """,
        )


class TestSettings:
    @pytest.mark.parametrize("name", ["process", "threads", "auto"])
    def test_of_the_calling_thread_hold_for_all_that_compute(self, name):
        scaler = StandardScaler().fit(WIDE)
        with make_runner(name, scaler, n_processes=2) as runner:
            runner.takes_over = False
            for output in ("default", "pandas", "default"):
                with sklearn.config_context(transform_output=output):
                    check_answer(runner, "transform", WIDE, 50)
        with make_runner(name, Overflows(), n_processes=2) as runner:
            runner.takes_over = False
            for over in ("ignore", "raise", "ignore"):
                with np.errstate(over=over):
                    check_outcome(runner, "predict", ROWS, 50)

    @pytest.mark.parametrize("name", ["process", "threads"])
    @pytest.mark.parametrize("over", ["call", "log"])
    def test_whom_numpy_tells_of_errors_is_for_the_calling_thread_alone(self, name, over):
        told = set()

        class Listener:
            def __call__(self, *_):
                told.add(threading.get_ident())

            write = __call__

        with make_runner(name, Overflows(), n_processes=2) as runner, np.errstate(over=over, call=Listener()):
            check_answer(runner, "predict", ROWS, 50)
            by_serial, told = told, set()
            runner.predict(ROWS, batch_size=50)
        assert by_serial == {threading.get_ident()}
        assert told == (by_serial if name == "process" else set())  # threads compute all, and the caller nothing

    def test_of_a_new_worker_are_those_of_the_one_that_died(self):
        with infbench.ProcessRunner(StandardScaler().fit(WIDE), n_processes=2) as runner:
            runner.takes_over = False
            with sklearn.config_context(transform_output="pandas"):
                check_answer(runner, "transform", WIDE, 50)
                os.kill(runner._crew.workers[0].pid, signal.SIGKILL)
                check_answer(runner, "transform", WIDE, 50)


class TestRows:
    def test_that_a_dying_worker_has_changed_are_computed_as_they_were(self, tmp_path):
        with infbench.ProcessRunner(ChangesRows(tmp_path / "dead"), n_processes=2) as runner:
            runner.takes_over = False
            X = runner.empty(ROWS.shape)
            X[...] = ROWS
            np.testing.assert_array_equal(runner.predict(X, batch_size=50), ROWS[:, 0] * 2)
            assert (tmp_path / "dead").exists()
            n_own = 250
            np.testing.assert_array_equal(X[:n_own], ROWS[:n_own] * 2)
            np.testing.assert_array_equal(X[n_own:], ROWS[n_own:])

    @pytest.mark.parametrize("order", ["C", "F"])
    @pytest.mark.parametrize("kind", ["memmap", "masked", "objects"])
    def test_of_other_kinds_keep_the_last_bit(self, kind, order, tmp_path):
        X = np.array(WIDE[:, :30], dtype=np.float64, order=order)
        model = LinearRegression().fit(X, np.sin(X[:, :3]))
        rows = {
            "memmap": lambda: np.memmap(tmp_path / "rows", X.dtype, "w+", shape=X.shape, order=order),
            "masked": lambda: np.ma.masked_array(X, mask=False),
            "objects": lambda: X.astype(object, order="K"),
        }[kind]()
        if kind == "memmap":
            rows[...] = X
        with infbench.ProcessRunner(model, n_processes=2) as runner:
            runner.takes_over = False
            check_answer(runner, "predict", rows, 17)

    @pytest.mark.parametrize(
        "X",
        [WIDE[:, :5], WIDE[:, ::90], WIDE.T[::90].T, np.asfortranarray(WIDE.T)[::90, :5], WIDE[::-1, :5]],
        ids=["columns", "every 90th column", "same, as rows", "by column", "backwards"],
    )
    def test_that_lie_far_apart(self, X):
        with infbench.ProcessRunner(LinearRegression().fit(X, X[:, :2]), n_processes=2) as runner:
            runner.takes_over = False
            check_answer(runner, "predict", X, 7)
            assert runner._rows._near is None
        near = brought_together(X)
        np.testing.assert_array_equal(near, X)
        assert near.flags.forc == X.flags.forc
        assert (np.sign(near.strides) == np.sign(X.strides)).all()
        assert (min(near.strides) == X.itemsize) == (min(X.strides) == X.itemsize)
        apart = 1 + (near.shape[0] - 1) * abs(near.strides[0]) + (near.shape[1] - 1) * abs(near.strides[1])
        assert apart < 4 * near.nbytes or X.strides[0] < 0

    def test_of_objects_and_answers_whose_class_no_other_process_can_import(self):
        code = """
import numpy as np
import infbench

class Text:
    def __init__(self, text):
        self.text = text

class Lengths:
    def predict(self, X):
        return np.array([len(each.text) for each in X[:, 0]])

    def transform(self, X):
        return np.array([[Text(each.text.upper()) for each in row] for row in X], dtype=object)

X = np.array([[Text("a" * n)] for n in range(1, 5)], dtype=object)
with infbench.ProcessRunner(Lengths(), n_processes=2) as runner:
    runner.takes_over = False
    print(*runner.predict(X, batch_size=2))
    answer = runner.transform(X, batch_size=2)
    print(*(each.text for each in answer[:, 0]), {type(each) is Text for each in answer[:, 0]})
"""
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
        assert (done.stdout, done.stderr) == ("1 2 3 4\nA AA AAA AAAA {True}\n", "")

    def test_that_repeat_themselves_or_lie_close_stay_where_they_are(self):
        for X in (WIDE, WIDE[:, :200], WIDE.T, np.broadcast_to(WIDE[:1], (50, 400)), as_strided(WIDE, (9, 9), (0, 4))):
            assert brought_together(X) is X

    def test_of_frames_with_missing_numbers_and_of_forests_with_jobs(self):
        X = WIDE[:, :4].astype(np.float64)
        X[::7, 1] = np.nan
        with threadpool_limits(limits=1):
            forest = RandomForestRegressor(20, n_jobs=-1, random_state=0).fit(X, np.sin(WIDE[:, 0]))
            with make_runner("forest", forest, n_processes=2) as runner:
                for _ in range(10):
                    check_answer(runner, "predict", X, 300)
            frame = pd.DataFrame(X, columns=list("abcd")).astype("Float64")
            assert frame.isna().any().any()
            named = RandomForestRegressor(20, random_state=0).fit(frame.astype(float), np.sin(WIDE[:, 0]))
            with make_runner("forest", named, n_processes=2) as runner:
                check_answer(runner, "predict", frame, 300)


class TestSystem:
    def test_that_starts_no_worker_is_told(self):
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        runner = infbench.ProcessRunner(Rows(), n_processes=9, start_method="spawn")
        resource.setrlimit(resource.RLIMIT_NOFILE, (psutil.Process().num_fds() + 6, before[1]))
        try:
            with pytest.raises(WorkerStartError, match="the system cannot start a worker: OSError"):
                runner.start()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        with runner:
            np.testing.assert_array_equal(runner.predict(ROWS, batch_size=10), ROWS[:, 0])

    def test_that_stops_to_allow_a_read_is_read_in_the_other_way(self, monkeypatch):
        own = OwnMemory()
        try:
            memory = CallerMemory(own.fd, own.pid, own.sample_address)
            assert memory._read == memory._read_by_pid

            def refuse(*_):
                ctypes.set_errno(errno.EPERM)
                return -1

            monkeypatch.setattr(caller_memory, "_process_vm_readv", refuse)
            target = np.empty_like(ROWS)
            memory.read(target, caller_memory.address_of(ROWS))
            np.testing.assert_array_equal(target, ROWS)
            assert memory._read == memory._read_by_fd
        finally:
            own.close()


@pytest.mark.parametrize("name", ["threading", "loky"])
def test_what_a_handler_raises_comes_through_and_a_runner_that_it_closed_stays_closed(alarm, name):
    with make_runner(name, Slow(0.02), n_processes=2) as runner:
        runner.predict(ROWS, batch_size=250)

        def end():
            runner.close()
            raise SystemExit(7)

        with pytest.raises(SystemExit, match="7"):  # noqa: PT012  # it may come at once
            alarm(0.1, end)
            runner.predict(ROWS, batch_size=5)
        with pytest.raises(RunnerError, match="is not started"):
            runner.predict(ROWS)


def test_a_loky_runner_that_is_closed_leaves_the_others_their_workers():
    with make_runner("loky", Rows(), n_processes=2) as one:
        with make_runner("loky", Rows(), n_processes=2) as other:
            for runner in (one, other):
                check_answer(runner, "predict", ROWS, 50)
        check_answer(one, "predict", ROWS, 50)
