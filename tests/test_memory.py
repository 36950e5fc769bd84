"""Memory of a tree of processes, against what the processes are known to take."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from estimators import LeavesHoles, Rows

import infbench
from infbench.memory import tree_pss_bytes

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the proportional set size")

MB = 1_000_000

# The root fills a shared piece of memory, and so do the three processes that it forks.
SHARED = """
import json, mmap, os, sys
from infbench.memory import tree_pss_bytes

def fill():
    for start in range(0, len(memory), mmap.PAGESIZE):
        memory[start] = 1

before = tree_pss_bytes()
memory = mmap.mmap(-1, 40_000_000)
fill()
figures = [tree_pss_bytes() - before]
filled, tell_filled = os.pipe()
wait, end = os.pipe()
pids = []
for _ in range(3):
    if (pid := os.fork()) == 0:
        os.close(end)
        fill()
        os.write(tell_filled, b"x")
        os.read(wait, 1)  # until the root has closed its end
        os._exit(0)
    pids.append(pid)
for _ in range(3):
    os.read(filled, 1)
figures.append(tree_pss_bytes() - before)
os.close(end)
for pid in pids:
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # it has ended; nobody has taken notice
figures.append(tree_pss_bytes() - before)
for _ in range(3):
    os.wait()
print(json.dumps(figures))
"""

CHILD = """
import sys
sys.stdin.readline()
memory = bytearray(b"x" * 50_000_000)
print("allocated", flush=True)
sys.stdin.readline()
"""

# The one that allocates is a grandchild of the root.
GRANDCHILD = f"""
import subprocess, sys
sys.exit(subprocess.run([sys.executable, "-c", {CHILD!r}]).returncode)
"""


@pytest.mark.parametrize("program", [CHILD, GRANDCHILD], ids=["child", "grandchild"])
def test_tree_grows_by_what_a_descendant_allocates(program):
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "allocated\n"
        with_all, of_the_child = tree_pss_bytes(), tree_pss_bytes(child.pid)
        child.communicate("\n")
    assert 50 * MB <= of_the_child <= 100 * MB
    assert with_all > of_the_child
    # The child's interpreter goes too, and pages that both shared are ours alone from now on.
    assert 40 * MB <= with_all - tree_pss_bytes() <= 100 * MB


def test_page_that_processes_share_counts_once():
    run = subprocess.run([sys.executable, "-c", SHARED], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    alone, with_three_children, with_three_dead_ones = json.loads(run.stdout)
    assert 39 * MB <= alone <= 50 * MB
    assert 39 * MB <= with_three_children <= 70 * MB  # and not 160
    assert 39 * MB <= with_three_dead_ones <= 50 * MB


def test_tree_is_this_process_unless_somebody_says_otherwise():
    assert tree_pss_bytes() == pytest.approx(tree_pss_bytes(os.getpid()), rel=0.1)


def test_process_that_is_not_there():
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    with pytest.raises(psutil.NoSuchProcess):
        tree_pss_bytes(gone.pid)


def test_a_template_keeps_no_memory_that_loading_has_left_free():
    def template_and_worker(estimator):
        with infbench.ProcessRunner(estimator, n_processes=2) as runner:
            pids = (runner._crew.template.pid, runner._crew.workers[0].pid)
            return sum(psutil.Process(pid).memory_full_info().pss for pid in pids)

    assert template_and_worker(LeavesHoles(500)) - template_and_worker(LeavesHoles(0)) < 10 * MB


def test_the_caller_makes_no_copy_of_the_estimator_as_it_starts():
    estimator = Rows()
    estimator.coef_ = np.ones(100 * MB // 8)
    peak_before = reset_peak_bytes()
    with infbench.ProcessRunner(estimator, n_processes=2):
        assert peak_bytes() - peak_before < 10 * MB


def reset_peak_bytes():
    """Forget the most memory that this process has had, and return what it has now."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes()


def peak_bytes():
    """Return the most memory that this process has had."""
    (kilobytes,) = re.findall(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return 1_024 * int(kilobytes)
