"""Two commits against each other: a real repository, real turns."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infbench.report import gate_markdown
from infbench.results import GateRow
from infbench.stats import Estimate

ROOT = Path(__file__).parents[1]
SILENT = Estimate(1.0, 0.98, 1.02)
SLOWER = """
import time
from infbench.runners.process import ProcessRunner as _Runner

def _slower(self, method, batches, _run=_Runner._run):
    begun_s = time.perf_counter()
    answer = _run(self, method, batches)
    time.sleep(9 * (time.perf_counter() - begun_s))  # so much that a single turn shows it on a loaded machine, too
    return answer

_Runner._run = _slower
"""


def git(*arguments, cwd):
    identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=cwd, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Give a repository that holds this package as it is."""
    path = tmp_path_factory.mktemp("gate")
    shutil.copytree(ROOT / "infbench", path / "infbench", ignore=shutil.ignore_patterns("__pycache__"))
    git("init", "--quiet", cwd=path)
    git("add", "--all", cwd=path)
    git("commit", "--quiet", "--message", "base", cwd=path)
    return path


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
    return ["--base", "HEAD", "--model", "hist_gradient_boosting", "--turns", "1"]


def test_runner_that_takes_ten_times_as_long_is_caught(repository, quick):
    module = repository / "infbench" / "runners" / "process.py"
    before = module.read_text()
    module.write_text(before + SLOWER)
    try:
        code, out, errors = finish(start(repository, *quick, "--markdown", "gate.md"))
    finally:
        module.write_text(before)
    assert (code, errors) == (1, "")
    assert out.startswith("**Worse** than HEAD.")
    rows = [line.split("|")[1:-1] for line in out.splitlines() if line.startswith("| hist")]
    assert [row[1].strip() for row in rows] == ["cost ratio", "time"]
    assert all("**worse**" in row[-1] and int(row[2].strip(" %+")) > 50 for row in rows)
    assert (repository / "gate.md").read_text() == out
    assert git("worktree", "list", cwd=repository).count("\n") == 0


@pytest.mark.timeout(7_200)
def test_no_change_raises_no_alarm(repository, request):
    if not request.config.getoption("full"):
        pytest.skip("20 whole runs take an hour: PYTEST_ARGS='--full -k no_alarm'")
    for _ in range(20):
        code, out, errors = finish(start(repository, "--base", "HEAD"))
        assert (code in {0, 3}, errors) == (True, "")
        assert "orse**" not in out


@pytest.mark.leaves_behind("files", reason="a killed fork server cannot remove its folder")
def test_interrupted_leaves_no_process_and_no_worktree(repository, quick, nothing_left_behind):
    process = start(repository, *quick)
    deadline_s = time.monotonic() + 60
    while "\n" not in git("worktree", "list", cwd=repository):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    code, out, errors = finish(process)
    assert (code, out) == (130, "")
    assert errors.endswith("Error: interrupted\n")
    assert git("worktree", "list", cwd=repository).count("\n") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--base", "no-such-branch"], "no such commit"),
        (["--base", "HEAD", "--runner", "gpu"], "unknown runner 'gpu'"),
        (["--base", "HEAD", "--model", "forrest"], "unknown model 'forrest'"),
        (["--base", "HEAD", "--turns", "0"], "turns must be a positive int, got 0"),
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
        (Estimate(1.08, 1.06, 1.12), Estimate(1.0, 0.8, 1.3), "unchanged"),
        (Estimate(1.0, 0.95, 1.05), SILENT, "unchanged"),
        (Estimate(1.0, 0.8, 1.3), SILENT, "inconclusive"),
        (Estimate(0.8, 0.7, 0.9), SILENT, "better"),
    ],
)
def test_verdict(change, noise, verdict):
    assert GateRow("a", "time", change, noise).verdict == verdict


def test_report_says_the_worst_first():
    worse = GateRow("forest, process", "time", Estimate(1.25, 1.2, 1.3), SILENT)
    unclear = GateRow("forest, process", "cost ratio", Estimate(1.0, 0.7, 1.3), SILENT)
    fine = GateRow("dummy, process", "time", Estimate(0.99, 0.97, 1.01), SILENT)
    assert gate_markdown([fine, unclear, worse], "main").startswith("**Worse** than main.")
    assert gate_markdown([fine, unclear], "main").startswith("**Inconclusive** against main")
    assert gate_markdown([fine], "main").startswith("Not worse than main.")
    assert "| forest, process | time | +25% | +20% to +30% | -2% to +2% | **worse** |" in gate_markdown([worse], "main")
