"""The launcher starts all templates of a program, and nothing that happens to it spoils a runner."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from multiprocessing import forkserver, spawn
from pathlib import Path

import numpy as np
import psutil
import pytest
from contracts import check_answer
from estimators import AlarmsWhenLoaded, AlarmsWhenPickled, Rows, TellsSurroundings
from programs import run_program, start_program, wait_until_gone

import infbench
from infbench.errors import WorkerStartError
from infbench.runners.workers.launcher import launcher

ROWS = np.arange(1_000.0).reshape(500, 2)


class Alarm(Exception):
    """What a handler of a signal raises."""


def started_runner(start_method=None):
    runner = infbench.ProcessRunner(Rows(), n_processes=2, start_method=start_method).start()
    runner.takes_over = False
    return runner


def kill_launcher():
    if launcher.pid is not None:
        os.kill(launcher.pid, signal.SIGKILL)


def sockets(pid):
    """Return the identities of the sockets that a process has."""
    found = set()
    for fd in list(Path(f"/proc/{pid}/fd").iterdir()):
        with suppress(FileNotFoundError):  # closed meanwhile
            found.add(str(fd.readlink()))
    return {link for link in found if link.startswith("socket:")}


def test_a_template_finds_the_libraries_loaded_whatever_was_started_before(tmp_path):
    program = """
        import multiprocessing
        import numpy as np
        import infbench
        from estimators import TellsWhatIsLoaded

        if __name__ == "__main__":
            with multiprocessing.get_context("forkserver").Pool(1) as pool:
                pool.map(abs, [1])
            pool.join()
            model = infbench.make_model("dummy")
            for estimator in (TellsWhatIsLoaded(model), TellsWhatIsLoaded(None)):
                with infbench.ProcessRunner(estimator, n_processes=2, start_method="forkserver") as runner:
                    runner.takes_over = False
                    print(runner.predict(np.zeros((2, 2)), batch_size=1)[1])
            with infbench.ProcessRunner(estimator, n_processes=2, start_method="spawn") as runner:
                runner.takes_over = False
                print(runner.predict(np.zeros((2, 2)), batch_size=1)[1])
    """
    assert run_program(tmp_path, program).split() == ["True", "True", "False"]


def test_an_estimator_that_is_not_scikit_learn_s_does_not_load_it(tmp_path):
    """Neither in the program, where that takes a second, nor in its workers."""
    program = """
        import sys
        import numpy as np
        import infbench
        from estimators import TellsSklearn

        if __name__ == "__main__":
            for name in ("serial", "process", "threads", "auto"):
                with infbench.make_runner(name, TellsSklearn(), n_processes=1 if name == "serial" else 2) as runner:
                    runner.takes_over = False
                    print(name, *runner.predict(np.zeros((4, 2)), batch_size=2))
            print("sklearn" in sys.modules)
    """
    told = [f"{name} False False False False" for name in ("serial", "process", "threads", "auto")]
    assert run_program(tmp_path, program).splitlines() == [*told, "False"]


def test_what_the_program_has_changed_since_holds(tmp_path):
    """Its path, its folder, a module of its own."""
    program = """
        import os, sys
        from importlib import reload
        from pathlib import Path
        import numpy as np
        import infbench

        def answer(estimator):
            with infbench.ProcessRunner(estimator, n_processes=2, start_method="forkserver") as runner:
                runner.takes_over = False
                return runner.predict(np.zeros((2, 2)), batch_size=1).tolist()

        if __name__ == "__main__":
            from estimators import Rows
            answer(Rows())
            folder = Path(__file__).parent / "later"
            folder.mkdir()
            os.chdir(folder)
            sys.path.insert(0, str(folder))
            for number in ("1", "22"):
                Path("number.txt").write_text(number)
                Path("found_later.py").write_text(
                    "import numpy as np\\nclass Reads:\\n    def predict(self, X):\\n"
                    f"        return np.full(len(X), {number} * float(open('number.txt').read()))"
                )
                if "found_later" in sys.modules:
                    reload(sys.modules["found_later"])
                from found_later import Reads
                print(*answer(Reads()))
    """
    assert run_program(tmp_path, program).splitlines() == ["1.0 1.0", "484.0 484.0"]


def test_workers_have_the_environment_and_the_cpus_that_the_program_has_at_their_start(monkeypatch):
    """Not those that it had when it started the first ones."""
    launched = infbench.ProcessRunner(TellsSurroundings(), n_processes=2, start_method="forkserver")
    with launched:
        pass
    cpus = os.sched_getaffinity(0)
    monkeypatch.setenv("INFBENCH_TEST", "changed")
    os.sched_setaffinity(0, {max(cpus)})
    try:
        with launched:
            launched.takes_over = False
            assert set(launched.predict(np.zeros((2, 2)), batch_size=1)) == {f"changed {[max(cpus)]}"}
    finally:
        os.sched_setaffinity(0, cpus)


def test_what_the_program_writes_while_it_is_imported_is_written_once_each_time(tmp_path):
    program = """
        import numpy as np
        import infbench
        from estimators import Rows

        print("imported")

        if __name__ == "__main__":
            with infbench.ProcessRunner(Rows(), n_processes=3, start_method="forkserver") as runner:
                runner.predict(np.zeros((9, 2)), batch_size=1)
    """
    assert run_program(tmp_path, program).split() == ["imported"] * 2  # by the program and its template


def test_memory_of_the_program_outlives_a_template_that_opened_it(tmp_path):
    """Both must share one resource tracker: one of the template's own would remove the memory at its end."""
    program = """
        from multiprocessing.shared_memory import SharedMemory
        import numpy as np
        import infbench
        from estimators import AttachesMemory

        if __name__ == "__main__":
            memory = SharedMemory(create=True, size=8)
            for _ in range(2):
                with infbench.ProcessRunner(
                    AttachesMemory(memory.name), n_processes=2, start_method="forkserver"
                ) as runner:
                    runner.predict(np.zeros((4, 2)), batch_size=1)
            memory.close()
            memory.unlink()
    """
    assert run_program(tmp_path, program) == ""


def test_a_frozen_program_runs_no_launcher(tmp_path):
    """It would run itself instead, and so on."""
    program = """
        import sys
        import infbench
        from estimators import Rows

        if __name__ == "__main__":
            sys.frozen = True
            print(infbench.ProcessRunner(Rows(), n_processes=2).start_method)
            try:
                infbench.ProcessRunner(Rows(), n_processes=2, start_method="forkserver").start()
            except infbench.errors.RunnerError as error:
                print(error)
    """
    default, error = run_program(tmp_path, program).splitlines()
    assert default == "spawn"
    assert "frozen" in error
    assert "start_method='spawn'" in error


@pytest.mark.parametrize("start_method", ["forkserver", "spawn"])
def test_an_interpreter_that_has_no_name_is_told(tmp_path, start_method):
    """Such as that of a program that embeds Python."""
    program = """
        import multiprocessing, sys
        import infbench
        from estimators import Rows

        if __name__ == "__main__":
            multiprocessing.set_executable("")
            try:
                infbench.ProcessRunner(Rows(), n_processes=2, start_method=sys.argv[1]).start()
            except infbench.errors.WorkerStartError as error:
                print(error)
    """
    assert "multiprocessing.set_executable()" in run_program(tmp_path, program, start_method)


@pytest.mark.parametrize("around", ["fork", "spawn", "loky"])
def test_a_runner_starts_in_a_worker_of_another_library_and_ends_with_it(tmp_path, around):
    """Workers of `multiprocessing.Pool` are daemonic, and may not have children of multiprocessing."""
    program = """
        import multiprocessing, sys
        import joblib
        import numpy as np
        import psutil
        import infbench
        from infbench.errors import RunnerError
        from estimators import Rows

        def work(n_rows):
            rows = np.arange(2.0 * n_rows).reshape(n_rows, 2)
            runner = infbench.ProcessRunner(Rows(), n_processes=2, start_method="forkserver").start()
            runner.takes_over = False
            assert (runner.predict(rows, batch_size=1) == rows[:, 0]).all()
            kept.append(runner)
            try:
                infbench.ProcessRunner(Rows(), n_processes=2, start_method="spawn").start()
            except RunnerError as error:
                return [child.pid for child in psutil.Process().children(recursive=True)], str(error)

        kept = []

        if __name__ == "__main__":
            if sys.argv[1] == "loky":
                (pids, error), = joblib.Parallel(n_jobs=2)([joblib.delayed(work)(4)])
                joblib.externals.loky.get_reusable_executor().shutdown(kill_workers=True)
            else:
                with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:  # which it ends by a signal
                    pids, error = pool.apply(work, (4,))
            print(error, *pids, sep="\\n")
    """
    error, *pids = run_program(tmp_path, program, around).splitlines()
    assert error.endswith("can start only with start_method='forkserver', got 'spawn'")
    assert len(pids) >= 3  # the launcher, the template and the worker
    wait_until_gone([int(pid) for pid in pids], within_s=10)


def test_the_start_method_of_multiprocessing_stays_for_the_program_to_set(tmp_path):
    program = """
        import multiprocessing
        import numpy as np
        import infbench
        from estimators import Rows

        if __name__ == "__main__":
            with infbench.ProcessRunner(Rows(), n_processes=2, start_method="forkserver"):
                multiprocessing.set_start_method("spawn")
                with infbench.ProcessRunner(Rows(), n_processes=2, start_method="forkserver"):
                    print(multiprocessing.get_start_method())
    """
    assert run_program(tmp_path, program) == "spawn\n"


@pytest.mark.parametrize("start_method", ["forkserver", "spawn", "fork"])
def test_children_of_multiprocessing_are_only_those_of_the_program(start_method):
    before = list(forkserver._forkserver._preload_modules)
    with started_runner(start_method) as runner:
        check_answer(runner, "predict", ROWS, 50)
        assert multiprocessing.active_children() == []
    assert forkserver._forkserver._preload_modules == before


def test_killed_it_is_replaced_and_its_templates_live_on():
    with started_runner() as old:
        template_pid = old._crew.template.pid
        killed = launcher.pid
        kill_launcher()
        with started_runner() as new:
            assert launcher.pid not in (None, killed)
            for runner in (old, new):
                check_answer(runner, "predict", ROWS, 50)
        os.kill(old._crew.workers[0].pid, signal.SIGKILL)
        check_answer(old, "predict", ROWS, 50)
        assert old._crew.template.pid == template_pid
    wait_until_gone([template_pid], within_s=10)


def test_a_template_that_is_stopped_does_not_hold_up_the_end(monkeypatch):
    monkeypatch.setattr("infbench.runners.workers.crew._EXIT_TIMEOUT_S", 0.1)
    runner = started_runner()
    template = psutil.Process(runner._crew.template.pid)
    template.suspend()
    runner.close()
    assert not psutil.wait_procs([template], timeout=10)[1]


def test_threads_may_start_runners_at_once():
    runners = []
    threads = [threading.Thread(target=lambda: runners.append(started_runner())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({runner._crew.template.pid for runner in runners}) == 6
    assert {psutil.Process(runner._crew.template.pid).ppid() for runner in runners} == {launcher.pid}
    for runner in runners:
        check_answer(runner, "predict", ROWS, 50)
        runner.close()


@pytest.mark.parametrize("start_method", ["forkserver", "fork"])
def test_a_fork_in_the_middle_of_a_start_keeps_no_template(start_method):
    """Forks by other threads, such as those of a pool that replaces its workers."""
    forks, is_over = [], threading.Event()

    def fork_on():
        while not is_over.wait(0.001) and len(forks) < 300:
            pid = os.fork()
            if pid == 0:
                os.write(tells, b".")  # that it has done what a fork does first
                time.sleep(60)
                os._exit(0)
            forks.append(pid)

    is_told, tells = os.pipe()
    others, ours = sockets(os.getpid()), set()
    switch_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that many fall between two steps of a start
    thread = threading.Thread(target=fork_on)
    thread.start()
    try:
        for _ in range(5):
            with started_runner(start_method) as runner:
                for pid in (runner._crew.template.pid, runner._crew.workers[0].pid):
                    ours |= sockets(pid) - others
    finally:
        is_over.set()
        thread.join()
        sys.setswitchinterval(switch_s)
    try:
        assert forks
        assert ours
        for _ in forks:
            os.read(is_told, 1)
        assert not ours & set().union(*map(sockets, forks))
    finally:
        for pid in forks:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(is_told)
        os.close(tells)


@pytest.mark.leaves_behind("descriptors", reason="counted here: see what the signal module says of such handlers")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # of a file that threadpoolctl has just opened
@pytest.mark.parametrize("is_there", [True, False], ids=["launcher is there", "launcher starts"])
def test_a_handler_that_raises_in_the_middle_of_a_start(is_there, times, alarm):
    """It may cost one descriptor, if it comes in the microseconds before Python has stored its number."""

    def act():
        raise Alarm

    before = psutil.Process().num_fds()
    rounds = times(6, 60)
    for round_ in rounds:
        start_with_alarm(round_, is_there, alarm, act)
    gc.collect()
    assert psutil.Process().num_fds() - before <= 1 + len(rounds) // 30


@pytest.mark.parametrize("is_there", [True, False], ids=["launcher is there", "launcher starts"])
def test_a_handler_that_starts_another_in_the_middle_of_a_start(is_there, times, alarm):
    def act():
        with started_runner() as other:
            check_answer(other, "predict", ROWS, 50)

    for round_ in times(6, 60):
        start_with_alarm(round_, is_there, alarm, act)


@pytest.mark.parametrize(
    ("estimator", "start_method"),
    [
        (AlarmsWhenPickled(), "forkserver"),
        *((AlarmsWhenLoaded(), name) for name in ("forkserver", "spawn", "fork")),
    ],
)
def test_a_time_limit_that_runs_out_in_a_start_is_told_as_such(estimator, start_method, alarm, monkeypatch):
    def act():
        raise TimeoutError("as most handlers of SIGALRM raise")

    monkeypatch.setattr("infbench.runners.workers.crew._EXIT_TIMEOUT_S", 0.1)  # a template that loads hears nothing
    alarm(60, act)
    with pytest.raises(TimeoutError, match="as most handlers"):
        infbench.ProcessRunner(estimator, n_processes=2, start_method=start_method).start()


def test_what_else_a_handler_raises_while_the_estimator_is_pickled_is_the_cause(alarm):
    def act():
        raise Alarm

    alarm(60, act)
    with pytest.raises(WorkerStartError, match="cannot be pickled for the workers: Alarm") as raised:
        infbench.ProcessRunner(AlarmsWhenPickled(), n_processes=2).start()
    assert isinstance(raised.value.__cause__, Alarm)


def start_with_alarm(round_, is_there, alarm, act):
    if not is_there:
        kill_launcher()
    try:
        alarm((0.0005 if is_there else 0.02) * (1 + 3 * round_ % 20), act)
        started_runner().close()
        while signal.getitimer(signal.ITIMER_REAL)[0]:
            time.sleep(0.001)
    except Alarm:
        pass
    except WorkerStartError as error:  # it came while the estimator was pickled, which may fail in any way
        if not isinstance(error.__cause__, Alarm):
            raise
    with started_runner() as runner:
        check_answer(runner, "predict", ROWS, 50)


@pytest.mark.parametrize("delay_s", [0.02, 0.2, 0.5])
def test_ctrl_c_while_it_loads_is_told_once(tmp_path, delay_s):
    program = """
        import joblib  # or Ctrl-C might come while the program itself loads it
        import infbench
        from estimators import Rows

        if __name__ == "__main__":
            runner = infbench.ProcessRunner(Rows(), n_processes=2, start_method="forkserver")
            print(flush=True)
            runner.start()
            input()
    """
    with start_program(tmp_path, program) as caller:
        caller.stdout.readline()
        time.sleep(delay_s)
        os.killpg(caller.pid, signal.SIGINT)
        _, errors = caller.communicate(timeout=60)
    assert errors.count("Traceback") == errors.count("KeyboardInterrupt") == 1, errors
    assert errors.splitlines()[-1] == "KeyboardInterrupt"


@pytest.mark.parametrize("is_there", [True, False], ids=["launcher is there", "launcher starts"])
def test_a_handler_of_ctrl_c_that_is_none_of_pythons_stays(tmp_path, is_there):
    """Such as that of a server that is written in C and runs Python, like uWSGI. Here it ends the process, with a 2."""
    program = """
        import ctypes, signal, time
        import infbench
        from estimators import Rows

        if __name__ == "__main__":
            libc = ctypes.CDLL(None)
            libc.signal(signal.SIGINT, ctypes.cast(libc._exit, ctypes.c_void_p))
            print(flush=True)
            with infbench.ProcessRunner(Rows(), n_processes=2, start_method="forkserver"):
                print("started", flush=True)
                time.sleep(60)
    """
    with start_program(tmp_path, program) as caller:
        caller.stdout.readline()
        if is_there:
            caller.stdout.readline()
        else:
            time.sleep(0.2)
        os.killpg(caller.pid, signal.SIGINT)
        assert caller.communicate(timeout=60)[1] == ""
    assert caller.returncode == signal.SIGINT


def test_a_program_that_cannot_be_imported_is_told(tmp_path):
    program = "import infbench, estimators\ninfbench.ProcessRunner(estimators.Rows(), 2).start()\n"
    with start_program(tmp_path, program) as caller:
        _, errors = caller.communicate(timeout=60)
    assert caller.returncode == 1
    assert errors.rstrip().endswith("have the line `if __name__ == '__main__':`?")


@pytest.mark.parametrize("executable", ["/bin/false", "/nowhere/python"])
def test_that_does_not_come_up_is_an_error_and_the_next_start_works(executable):
    """As in a server that embeds Python: Python then takes the server for its executable."""
    kill_launcher()
    before = spawn.get_executable()
    multiprocessing.set_executable(executable)
    try:
        with pytest.raises(WorkerStartError, match=f"the launcher process died: can {executable} run infbench"):
            started_runner()
    finally:
        multiprocessing.set_executable(before)
    started_runner().close()


def test_a_system_that_allows_no_more_processes_is_told_and_costs_no_runner(tmp_path):
    """RLIMIT_NPROC, which does not bind root: root becomes somebody else, who may still read everything."""
    program = """
        import os, resource
        import numpy as np
        import infbench
        from infbench.errors import WorkerStartError
        from infbench.runners.workers.launcher import launcher
        from estimators import Rows

        if __name__ == "__main__":
            ROWS = np.eye(4)
            with infbench.ProcessRunner(Rows(), n_processes=2, start_method="forkserver") as runner:
                runner.takes_over = False
                before = resource.prlimit(launcher.pid, resource.RLIMIT_NPROC)
                resource.prlimit(launcher.pid, resource.RLIMIT_NPROC, (1, before[1]))
                try:
                    infbench.ProcessRunner(Rows(), n_processes=2, start_method="forkserver").start()
                except WorkerStartError as error:
                    print(error)
                resource.prlimit(launcher.pid, resource.RLIMIT_NPROC, before)
                for _ in range(2):
                    assert (runner.predict(ROWS, batch_size=1) == ROWS[:, 0]).all()
                    infbench.ProcessRunner(Rows(), n_processes=2, start_method="forkserver").start().close()
    """
    somebody = ["setpriv", "--reuid=65534", "--clear-groups"]
    somebody += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    out = run_program(tmp_path, program, before=somebody if os.geteuid() == 0 else ())
    assert out.startswith("the system cannot start a worker: BlockingIOError")
