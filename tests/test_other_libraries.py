"""mpire, dask and ray, for real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import distributed
import numpy as np
import psutil
import pytest
from contracts import check_answer, check_raises, check_survives_death, check_survives_errors, check_threads
from estimators import Misbehaves, TellsProcess

import infbench
from infbench.errors import MissingDependencyError
from infbench.extras import import_extra
from infbench.runners import make_runner

HERE = Path(__file__).parent
ROWS = infbench.make_data(n_samples=101, n_features=6, random_state=1)

KEEP_SOMETHING = pytest.mark.leaves_behind(
    "threads", "files", "descriptors", reason="event loops and logs of these libraries live as long as the process"
)


@pytest.fixture(autouse=True)
def workers_can_import_the_estimators(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parent)]))


@KEEP_SOMETHING
@pytest.mark.filterwarnings("default")  # theirs, about what they do inside
@pytest.mark.parametrize("name", ["mpire", "dask"])  # ray takes seconds to start: see the next test
def test_contract(name, nothing_left_behind):
    runner = make_runner(name, infbench.make_model("logistic_regression", n_features=6), n_processes=2)
    with runner:
        check_answer(runner, "predict", ROWS, 50)
    with runner:  # once more
        for method, batch_size in [
            ("predict", 13),
            ("predict_proba", 50),
            ("decision_function", 101),
            ("predict", 1_000),
        ]:
            check_answer(runner, method, ROWS, batch_size)
        check_answer(runner, "predict_proba", np.asfortranarray(ROWS), 13, bit_exact=name != "dask")
        check_raises(runner, "predict", np.full_like(ROWS, np.nan), 20, ValueError)
        check_answer(runner, "predict", ROWS.tolist(), 20)
    runner.close()
    nothing_left_behind(grace_s=10)


@KEEP_SOMETHING
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", ["mpire", "dask", "ray"])
def test_threads_and_faults(name, monkeypatch):
    # How often they retry rows that have killed a worker: each time costs seconds.
    monkeypatch.setitem(distributed.config["distributed"]["scheduler"], "allowed-failures", 0)
    monkeypatch.setenv("RAY_TASK_MAX_RETRIES", "0")
    with make_runner(name, Misbehaves(), n_processes=2) as runner:
        check_threads(runner, ROWS, "transform")
        for batch_size in (1, 50, 1_000):
            check_answer(runner, "predict", ROWS, batch_size)
        check_survives_errors(runner, ROWS)
        if name != "mpire":  # which may then wait forever: its notes say so
            check_survives_death(runner, ROWS)
        assert {str(address) for address, _ in _listened_to() if not address.is_loopback} == set()
        assert 8787 not in {port for _, port in _listened_to()}  # dask's own choice, which others may have, too
        pid = os.fork()
        if pid == 0:
            try:
                runner.close()
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        check_answer(runner, "predict", ROWS, 10)


def _listened_to():
    """Give the addresses and ports at which this process and its descendants take connections."""
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            for connection in process.net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN:
                    address = ip_address(connection.laddr.ip)
                    yield getattr(address, "ipv4_mapped", None) or address, connection.laddr.port


@KEEP_SOMETHING
@pytest.mark.filterwarnings("default")
def test_dask_cluster_of_others(tmp_path):
    """A scheduler and two workers that were started elsewhere and stay when the runner is closed."""
    file = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(file), "--nthreads", "1"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    processes = [subprocess.Popen([*command, *options], **quiet)]
    try:
        deadline_s = time.monotonic() + 60
        while not file.exists():
            assert processes[0].poll() is None
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        processes += [subprocess.Popen([*worker, "--no-dashboard"], **quiet) for _ in range(2)]
        import json

        address = json.loads(file.read_text())["address"]
        with make_runner("dask", TellsProcess(), n_processes=2, address=address) as runner:
            runner._client.wait_for_workers(2, timeout=60)
            pids = set(runner.predict(ROWS, batch_size=5))
        ours = {process.pid for parent in processes for process in psutil.Process(parent.pid).children(recursive=True)}
        assert pids
        assert pids <= ours | {process.pid for process in processes}
        assert all(process.poll() is None for process in processes)
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(30)


STARTS = """
import sys, time
from estimators import Rows
from infbench.runners import make_runner

if __name__ == "__main__":
    runner = make_runner(sys.argv[1], Rows(), n_processes=2)
    print("starts", flush=True)
    with runner:
        time.sleep(60)
"""


@KEEP_SOMETHING
@pytest.mark.parametrize("name", ["dask", "ray"])
def test_ctrl_c_while_it_starts(name, tmp_path, nothing_left_behind):
    script = tmp_path / "starts.py"
    script.write_text(STARTS)
    caller = subprocess.Popen(
        [sys.executable, script, name],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert caller.stdout.readline() == "starts\n"
        time.sleep(0.4)
        os.killpg(caller.pid, signal.SIGINT)  # as a terminal does: to everybody
        _, errors = caller.communicate(timeout=40)
        assert errors.rstrip().endswith("KeyboardInterrupt")
        assert errors.count("Traceback") == 1  # nobody else says anything
    finally:
        caller.kill()
    nothing_left_behind(grace_s=10)


def test_missing_one_is_named_with_its_extra():
    with pytest.raises(
        MissingDependencyError, match=r"no_such_library is not installed, it comes with infbench\[dask\]: pip install"
    ):
        import_extra("no_such_library", "dask")
