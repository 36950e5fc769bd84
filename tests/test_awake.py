"""CPUs that are kept awake while something is timed, and the processes that do it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from infbench import awake
from infbench.awake import cpus_awake, wakeful_cpus

CPUS = sorted(os.sched_getaffinity(0))


def keepers():
    """Return the children of this process that give way to all others."""
    return [child for child in psutil.Process().children() if os.sched_getscheduler(child.pid) == os.SCHED_IDLE]


@pytest.fixture
def cores(monkeypatch):
    """Let this machine have a core for each CPU, whatever it has."""
    monkeypatch.setattr(awake, "_has_a_core_of_its_own", lambda cpu: True)
    monkeypatch.setattr(awake, "usable_cpus", lambda: len(CPUS))


def test_each_cpu_has_something_to_do_that_gives_way_to_everything(cores):
    with cpus_awake():
        assert sorted(cpu for keeper in keepers() for cpu in keeper.cpu_affinity()) == CPUS
        for keeper in keepers():
            assert os.getsid(keeper.pid) == os.getsid(0)  # sessions share time out before any priority counts
    assert keepers() == []


def test_they_end_when_what_is_timed_raises(cores):
    with pytest.raises(ZeroDivisionError), cpus_awake():
        raise ZeroDivisionError
    assert keepers() == []


def test_they_end_with_a_process_that_is_killed(cores):
    code = """
import os, sys, time
from infbench import awake
awake.wakeful_cpus = lambda: [int(sys.argv[1])]
with awake.cpus_awake():
    import psutil
    print(psutil.Process().children()[0].pid, flush=True)
    time.sleep(60)
"""
    command = [sys.executable, "-c", code, str(CPUS[0])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as process:
        keeper = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    deadline_s = time.monotonic() + 10
    while psutil.pid_exists(keeper) and psutil.Process(keeper).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_a_container_with_less_time_than_its_cpus_have_is_left_alone(cores, monkeypatch):
    assert wakeful_cpus() == CPUS
    monkeypatch.setattr(awake, "usable_cpus", lambda: len(CPUS) - 0.5)
    assert wakeful_cpus() == []


def test_threads_of_one_core_are_left_alone(cores, monkeypatch):
    monkeypatch.setattr(awake, "_has_a_core_of_its_own", lambda cpu: cpu != CPUS[-1])
    assert wakeful_cpus() == []
    with cpus_awake():
        assert keepers() == []


def test_siblings_are_as_the_system_tells(monkeypatch):
    told = {}
    monkeypatch.setattr(Path, "read_text", lambda path, encoding: told[str(path)])
    for siblings, alone in [("3\n", True), ("3,7\n", False), ("2-3\n", False)]:
        told["/sys/devices/system/cpu/cpu3/topology/thread_siblings_list"] = siblings
        assert awake._has_a_core_of_its_own(3) is alone
