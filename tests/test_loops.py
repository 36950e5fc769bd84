"""What the CPUs get done at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from statistics import median

import pytest

from infbench import loops
from infbench.loops import PlainLoops

ROOT = Path(__file__).parents[1]
CPUS = sorted(os.sched_getaffinity(0))


@pytest.fixture
def one_cpu():
    os.sched_setaffinity(0, CPUS[:1])
    yield
    os.sched_setaffinity(0, CPUS)


@pytest.mark.parametrize("n_loops", [len(CPUS), len(CPUS) + 3])
def test_each_loop_has_a_cpu_and_ends_with_the_block(n_loops, monkeypatch):
    looks = []
    monkeypatch.setattr(loops, "_MOST", n_loops)
    monkeypatch.setattr(
        loops,
        "_blocks_per_s_from",
        lambda begin_s: looks.append((threading.current_thread(), os.sched_getaffinity(0))) or 1.0,
    )
    with PlainLoops(n_loops) as plain:
        for _ in range(3):
            plain.time()
    one_by_one, at_once = looks[:: 1 + n_loops], [looks[i : i + n_loops] for i in (1, 2 + n_loops, 3 + 2 * n_loops)]
    threads = [thread for thread, _ in one_by_one]
    assert len(set(threads)) == min(n_loops, 3)  # each time, a different one runs alone
    for each in at_once:
        assert len({thread for thread, _ in each}) == n_loops
        assert {cpu for _, cpus in each for cpu in cpus} == set(CPUS[:n_loops])
        assert all(len(cpus) == 1 for _, cpus in each)
    assert not any(thread.is_alive() for thread, _ in looks)
    assert os.sched_getaffinity(0) == set(CPUS)  # of the thread that asked
    assert plain.alone_s == [1.0] * 3
    assert plain.together_s == pytest.approx([1 / n_loops] * 3)


@pytest.mark.parametrize("n_loops", [len(CPUS) - 1, 17])
def test_fewer_loops_than_cpus_and_very_many_are_not_timed(n_loops):
    """A runner may have any two of four CPUs, which share a core or not; many threads would wait for each other."""
    before = threading.active_count()
    with PlainLoops(n_loops) as plain:
        plain.time()
        assert threading.active_count() == before
    assert plain.alone_s == plain.together_s == []


@pytest.mark.usefixtures("one_cpu")
@pytest.mark.parametrize("n_loops", [4, 16])
def test_loops_that_share_a_cpu_gain_little(n_loops):
    """Beside three other processes, 4 loops get 4/7 of the CPU, and one alone gets 1/4: they gain 2.3."""
    with PlainLoops(n_loops) as plain:
        for _ in range(21):
            plain.time()
    gains = [alone_s / together_s for alone_s, together_s in zip(plain.alone_s, plain.together_s, strict=True)]
    assert median(gains) < 0.8 * n_loops
    assert min(*plain.alone_s, *plain.together_s) > 0


def test_what_fails_ends_the_loops_too():
    before = threading.active_count()
    with suppress(LookupError), PlainLoops(3) as plain:
        plain.time()
        raise LookupError
    assert threading.active_count() == before


def test_what_is_documented_follows_from_what_was_measured():
    command = [sys.executable, "docs/shared_core.py", "docs/shared_core.json"]
    rows = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert rows.count("\n") == 3
    assert rows in (ROOT / "docs" / "findings.md").read_text()
