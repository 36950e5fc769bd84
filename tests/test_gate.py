"""Two commits against each other: a real repository, real turns."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from programs import PLAIN, git

from infbench import cli
from infbench.gate import _Pass, _rounds, _rows, blame
from infbench.report_gate import gate_markdown
from infbench.results import GateRow
from infbench.stats import Estimate

ROOT = Path(__file__).parents[1]
SILENT = Estimate(1.0, 0.98, 1.02)
SLOWER = """
import time
from infbench.runners.{module} import {runner} as _Runner

def _slower(self, method, batches, _run=_Runner._run):
    begun_s = time.perf_counter()
    answer = _run(self, method, batches)
    until_s = time.perf_counter() + {more} * (time.perf_counter() - begun_s)
    while time.perf_counter() < until_s:
        pass
    return answer

_Runner._run = _slower
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Give a repository that holds this package as it is, with one more model."""
    path = tmp_path_factory.mktemp("gate")
    shutil.copytree(ROOT / "infbench", path / "infbench", ignore=shutil.ignore_patterns("__pycache__"))
    with open(path / "infbench" / "models.py", "a", encoding="utf-8") as file:
        file.write(PLAIN)
    git("init", "--quiet", cwd=path)
    git("add", "--all", cwd=path)
    git("commit", "--quiet", "--message", "base", cwd=path)
    return path


@pytest.fixture
def slower(repository):
    """Give a function that makes a runner of the working tree take ``1 + more`` times as long."""

    def make_slower(module, runner, more):
        with open(repository / "infbench" / "runners" / f"{module}.py", "a", encoding="utf-8") as file:
            file.write(SLOWER.format(module=module, runner=runner, more=more))

    yield make_slower
    git("checkout", "--quiet", "--", "infbench", cwd=repository)


def start(repository, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "infbench", "gate", *arguments],
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(repository)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, errors = process.communicate(timeout=1_000)
    return process.returncode, out, errors


@pytest.fixture
def quick():
    return ["--base", "HEAD", "--model", "plain", "--turns", "8"]


def verdicts(out):
    """Give the change in percent and the verdict of each figure of the table that `quick` leads to."""
    lines = [line for line in out.splitlines() if line.startswith("| plain, ")]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return {(row[0], row[1]): (int(row[2].rstrip("%")), row[-1]) for row in rows}


@pytest.mark.timeout(600)
def test_runner_that_takes_ten_times_as_long_is_caught(repository, slower, quick):
    slower("threads", "ThreadsRunner", 9)  # so much that it shows on a loaded machine, too
    code, out, errors = finish(start(repository, *quick, "--runner", "threads", "--markdown", "gate.md"))
    assert (code, errors) == (1, "")
    assert out.startswith("**Worse** than HEAD.")
    rows = verdicts(out)
    assert [figure for _, figure in rows] == ["serial time", "time", "cost ratio"]
    for figure in ("time", "cost ratio"):
        change, verdict = rows["plain, threads", figure]
        assert change > 50
        assert verdict == "**worse**"
    assert (repository / "gate.md").read_text() == out
    assert git("worktree", "list", cwd=repository).count("\n") == 0


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ([Estimate(1.0, 0.99, 1.01), Estimate(0.5, 0.45, 0.55)], 0),
        ([Estimate(1.0, 0.99, 1.01), Estimate(1.1, 0.9, 1.3)], 3),
        ([Estimate(1.1, 0.9, 1.3), Estimate(1.5, 1.4, 1.6)], 1),
    ],
    ids=["unchanged and better", "inconclusive", "worse"],
)
def test_verdicts_are_exit_codes(changes, code, monkeypatch, capsys):
    rows = [GateRow("plain", "time", change, SILENT) for change in changes]
    monkeypatch.setattr("infbench.gate.run_gate", lambda *_, **__: rows)  # which takes minutes to be so sure
    with pytest.raises(SystemExit) as ended:
        cli.main(["gate", "--base", "HEAD"])
    assert ended.value.code == code
    assert capsys.readouterr().out == gate_markdown(rows, "HEAD")


FAILS = """
from infbench.runners.process import ProcessRunner as _Runner

def _fail(self):
    raise LookupError("nobody is at home")

_Runner._start = _fail
"""


def test_why_a_side_failed_is_told(repository, quick):
    module = repository / "infbench" / "runners" / "process.py"
    before = module.read_text()
    module.write_text(before + FAILS)
    try:
        code, out, errors = finish(start(repository, *quick))
    finally:
        module.write_text(before)
    assert (code, out) == (1, "")
    assert errors.startswith(f"Error: the process of {repository.name} failed with exit code 1:\n")
    assert errors.endswith("LookupError: nobody is at home\n")


@pytest.mark.timeout(1_200)
def test_runner_that_takes_a_fifth_longer_is_caught(repository, slower, request):
    if not request.config.getoption("full"):
        pytest.skip("whole runs take minutes: PYTEST_ARGS='--full -k fifth_longer'")
    slower("process", "ProcessRunner", 0.2)
    code, out, errors = finish(start(repository, "--base", "HEAD"))
    print(f"exit code {code}\n{out}")
    assert (code, errors) == (1, "")


@pytest.mark.timeout(7_200)
def test_no_change_raises_no_alarm(repository, request):
    if not request.config.getoption("full"):
        pytest.skip("20 whole runs take half an hour: PYTEST_ARGS='--full -k no_alarm -rP'")
    codes = []
    for _ in range(20):
        code, out, errors = finish(start(repository, "--base", "HEAD"))
        codes.append(code)
        print(f"exit code {code}\n{out}{errors}")
    print(f"exit codes: {codes}")
    assert set(codes) <= {0, 3}, codes
    assert codes.count(0) > len(codes) / 2, f"a gate that is mostly inconclusive is of no use: {codes}"


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_stopped_leaves_no_process_and_no_folder(repository, quick, nothing_left_behind, stop):
    process = start(repository, *quick)
    gate = psutil.Process(process.pid)
    # Three sides, and what their runners started: a signal to the gate alone would leave all of these behind.
    deadline_s = time.monotonic() + 60
    while len(children := gate.children(recursive=True)) < 3 * (1 + 3):  # a launcher, a template and a worker each
        assert process.poll() is None, finish(process)
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    process.send_signal(stop)
    code, out, errors = finish(process)
    assert (code, out) == (130, "")
    assert errors.endswith("Error: interrupted\n")
    assert not psutil.wait_procs(children, timeout=10)[1]
    nothing_left_behind()
    assert git("worktree", "list", cwd=repository).count("\n") == 0
    assert git("status", "--porcelain", "--untracked-files=no", cwd=repository) == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--base", "no-such-branch"], "no such commit"),
        (["--base", "HEAD", "--runner", "gpu"], "unknown runner 'gpu'"),
        (["--base", "HEAD", "--model", "forrest"], "unknown model 'forrest'"),
        (["--base", "HEAD", "--turns", "0"], "turns must be a positive int, got 0"),
        (["--base", "HEAD", "--turns", "7"], "turns must be at least 8, fewer bound no 99 % interval, got 7"),
        (
            ["--base", "HEAD", "--runner", "forest", "--model", "dummy"],
            "the forest runner takes RandomForestClassifier",
        ),
        (
            ["--base", "HEAD", "--runner", "serial", "--model", "dummy"],
            "n_processes must be 1 or None for the serial runner, got 2",
        ),
        (["--base", "HEAD", "--markdown", "no/such.md"], "its folder does not exist"),
        ([], "Missing option '--base'"),
    ],
)
def test_wrong_usage_is_refused(repository, arguments, message):
    code, out, errors = finish(start(repository, *arguments))
    assert (code, out) == (2, "")
    assert message in errors


@pytest.mark.parametrize(
    ("change", "noise", "verdict"),
    [
        (Estimate(1.2, 1.1, 1.3), SILENT, "worse"),
        (Estimate(1.2, 1.04, 1.3), SILENT, "inconclusive"),
        (Estimate(1.2, 1.1, 1.3), Estimate(1.0, 0.7, 1.25), "inconclusive"),
        (Estimate(1.2, 1.1, 1.3), Estimate(1.15, 1.1, 1.19), "inconclusive"),
        (Estimate(1.08, 1.06, 1.12), Estimate(1.0, 0.8, 1.3), "inconclusive"),
        (Estimate(1.06, 1.02, 1.1), SILENT, "inconclusive"),
        (Estimate(1.03, 1.02, 1.04), SILENT, "unchanged"),
        (Estimate(9.0, 0.0, math.inf), SILENT, "inconclusive"),
        (Estimate(1.0, 0.95, 1.05), SILENT, "unchanged"),
        (Estimate(1.0, 0.8, 1.3), SILENT, "inconclusive"),
        (Estimate(0.8, 0.7, 0.9), SILENT, "better"),
        # Equal sides that differ by this much, whichever was divided by the other.
        (Estimate(1.08, 1.06, 1.12), Estimate(1.15, 1.11, 1.25), "inconclusive"),
        (Estimate(1.08, 1.06, 1.12), Estimate(0.87, 0.80, 0.90), "inconclusive"),
        (Estimate(0.92, 0.89, 0.94), Estimate(0.87, 0.80, 0.90), "inconclusive"),
        (Estimate(0.92, 0.89, 0.94), Estimate(1.15, 1.11, 1.25), "inconclusive"),
    ],
)
def test_verdict(change, noise, verdict):
    assert GateRow("a", "time", change, noise).verdict == verdict


def test_a_machine_that_drifts_and_a_process_that_is_lucky_are_no_change():
    def rounds(of_turn):
        """Give what a slower and slower machine measures of three sides, the last of which is always a bit slower."""
        slow = [1.3 ** (of_turn + step / 10) for step in range(9)]
        return [tuple(_Pass(0.1 * f * s, 0.06 * f * s) for s in (1.0, 1.05, 1.1)) for f in slow]

    rows = {row.figure: row for row in _rows("forest, process", [rounds(turn) for turn in range(9)])}
    for figure in ("serial time", "time"):
        assert rows[figure].change.value == pytest.approx(1.05 / 1.1**0.5)
        assert rows[figure].noise_floor.value == pytest.approx(1.1)
        assert rows[figure].verdict == "unchanged"
    assert rows["cost ratio"].change.value == pytest.approx(1.0)


def test_every_side_is_the_first_as_often_as_the_others():
    order = []

    class Side:
        def __init__(self, name):
            self.name = name

        def make_pass(self):
            order.append(self.name)
            return _Pass(0.2, 0.1)

        def go_on(self):
            order.append("end")

    rounds = _rounds([Side(name) for name in "abc"])
    assert len(rounds) >= 7
    assert "".join(order[:12]) == "abcabcbcacab"
    assert order[-3:] == ["end"] * 3


def row(figure, value):
    return GateRow("forest, process", figure, Estimate(value, value * 0.99, value * 1.01), SILENT)


@pytest.mark.parametrize(
    ("serial", "runner", "verdict"),
    [
        (0.7, 1.0, "only serial is faster"),
        (0.7, 0.8, "only serial is faster"),
        (0.8, 1.2, "worse"),
        (1.0, 1.3, "worse"),
        (1.0, 1.0, "unchanged"),
        (1.3, 1.0, "only serial is slower"),
        (1.2, 0.8, "better"),
    ],
)
def test_cost_ratio_takes_no_blame_for_serial(serial, runner, verdict):
    cost = blame(row("cost ratio", runner / serial), serial=row("serial time", serial), runner=row("time", runner))
    assert cost.verdict == verdict
    alarm = verdict == "worse"
    assert gate_markdown([cost], "main").startswith("**Worse**" if alarm else "Not worse")
    unsure = GateRow("forest, process", "serial time", Estimate(0.9, 0.8, 0.99), Estimate(1.0, 0.85, 1.15))
    assert unsure.verdict == "inconclusive"
    assert blame(row("cost ratio", 1.11), serial=unsure, runner=row("time", 1.0)).verdict == "only serial is faster"
    assert blame(row("cost ratio", 1.3), serial=unsure, runner=row("time", 1.17)).verdict == "worse"
    assert f"| {'**worse**' if alarm else verdict} |" in gate_markdown([cost], "main")


def test_a_little_that_serial_has_gained_excuses_no_more_than_that():
    serial = GateRow("forest, process", "serial time", Estimate(0.99, 0.985, 0.995), SILENT)
    unsure = GateRow("forest, process", "time", Estimate(1.15, 0.99, 1.3), SILENT)
    assert blame(row("cost ratio", 1.16), serial=serial, runner=unsure).verdict == "worse"


def test_report_says_the_worst_first():
    worse = GateRow("forest, process", "time", Estimate(1.25, 1.2, 1.3), SILENT)
    unclear = GateRow("forest, process", "cost ratio", Estimate(1.0, 0.7, 1.3), SILENT)
    fine = GateRow("dummy, process", "time", Estimate(0.99, 0.97, 1.01), SILENT)
    assert gate_markdown([fine, unclear, worse], "main").startswith("**Worse** than main.")
    assert gate_markdown([fine, unclear], "main").startswith("**Inconclusive** against main")
    assert gate_markdown([fine], "main").startswith("Not worse than main: a change of 20 % is excluded.\n")
    faster = GateRow("forest, process", "time", Estimate(0.7, 0.65, 0.75), SILENT)
    assert gate_markdown([fine, faster], "main").startswith("Not worse than main.\n")
    assert "| forest, process | time | +25% | +20% to +30% | -2% to +2% | **worse** |" in gate_markdown([worse], "main")
