"""asv from end to end: a small repository whose second commit is slower, and what asv's own files say about it."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("asv", reason="asv comes with the bench extra")

from asv.results import Results

ROOT = Path(__file__).parents[1]
MACHINE = "small"

CONFIGURATION = {
    "version": 1,
    "project": "small",
    "repo": ".",
    "branches": ["main"],
    "environment_type": "existing",  # needs no network: the interpreter that runs this test
    "launch_method": "forkserver",
    "html_dir": "html",
    "results_dir": "results",
    "plugins": [".infbench.site.saving"],
}

SUITE = """
from infbench.data import make_data
from infbench.measure import paired_cost_samples
from small import LateRunner, SleepingEstimator


class Cost:
    version = "1"

    def setup(self):
        self.runner = LateRunner(SleepingEstimator()).start()
        self.X = make_data(n_samples=100)

    def teardown(self):
        self.runner.close()

    def track_cost_ratio(self):
        samples = paired_cost_samples(self.runner, self.X, batch_size=100, repeat=15)
        return {"samples": samples, "number": 1}

    track_cost_ratio.unit = "parallel / serial time"

    def time_predict(self):
        self.runner.predict(self.X, batch_size=100)


def track_known():
    return {"samples": [3.0, 1.0, 2.0, 5.0, 4.0, 8.0, 7.0, 6.0, 9.0], "number": 1}
"""

# Sleeping is a slowdown that no loaded machine can hide: it takes at least as long as asked for. The serial answer
# sleeps too: beside an answer of some microseconds, a single pause of the machine would be a larger slowdown.
PROJECT = """
import time

from infbench.runners.serial import SerialRunner


class SleepingEstimator:
    def predict(self, X):
        time.sleep(0.01)
        return X[:, 0]


class LateRunner(SerialRunner):
    def _run(self, method, batches):
        time.sleep({delay_s})
        return super()._run(method, batches)
"""


class Repository:
    """A repository with the suite and two commits, and asv to run on it."""

    def __init__(self, path: Path, suite: str = SUITE) -> None:
        self.path = path
        home = path / "home"  # where asv keeps what it knows about machines
        home.mkdir(parents=True)
        self._environ = {
            **os.environ,
            "HOME": str(home),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "COLUMNS": "200",
            "PYTHONPATH": str(ROOT),
        }
        (path / "benchmarks").mkdir()
        # asv takes PYTHONPATH away from benchmarks.
        (path / "benchmarks" / "__init__.py").write_text(f"import sys\n\nsys.path[:0] = {[str(path), str(ROOT)]}\n")
        (path / "benchmarks" / "suite.py").write_text(suite)
        (path / "asv.conf.json").write_text(json.dumps(CONFIGURATION))
        (path / ".gitignore").write_text("/home/\n/html/\n/results/\n__pycache__/\n")
        self._run("git", "init", "--quiet", "--initial-branch=main")
        self.asv("machine", "--yes", "--machine", MACHINE)

    def commit(self, delay_s: float) -> str:
        (self.path / "small.py").write_text(PROJECT.format(delay_s=delay_s))
        self._run("git", "add", "--all")
        who = ["-c", "user.name=tester", "-c", "user.email=tester@example.com"]
        self._run("git", *who, "commit", "--quiet", "--message", f"Predict {delay_s} s later")
        return self._run("git", "rev-parse", "HEAD").strip()

    def measure(self, commit: str) -> None:
        """Run the suite on a commit that is checked out: an existing environment takes the code that is there."""
        self._run("git", "checkout", "--quiet", commit)
        self.asv(
            "run",
            "--set-commit-hash",
            commit,
            "--machine",
            MACHINE,
            "--show-stderr",
            *["-a", "rounds=1", "-a", "repeat=15"],
        )

    def asv(self, *args: str) -> str:
        return self._run(sys.executable, "-m", "asv", *args)

    def stored(self, commit: str, benchmark: str) -> dict[str, object]:
        """Return one line of a result file of asv, by column."""
        (path,) = (self.path / "results" / MACHINE).glob(f"{commit[:8]}-*.json")
        content = json.loads(path.read_text())
        return dict(zip(content["result_columns"], content["results"][benchmark], strict=False))

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, cwd=self.path, env=self._environ, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Repository, str, str]:
    repository = Repository(tmp_path_factory.mktemp("end_to_end"))
    fast = repository.commit(delay_s=0.0)
    slow = repository.commit(delay_s=0.1)
    for commit in (fast, slow):
        repository.measure(commit)
    repository._run("git", "checkout", "--quiet", "main")
    return repository, fast, slow


def test_samples_of_a_tracked_figure_become_median_interval_and_quartiles(measured):
    # asv does not document this, but the suites rely on it.
    repository, fast, _ = measured
    known = repository.stored(fast, "suite.track_known")
    assert known["result"] == [5.0]
    assert known["stats_q_25"] == [3.0]
    assert known["stats_q_75"] == [7.0]
    assert known["stats_repeat"] == [9]
    assert 1.0 <= known["stats_ci_99_a"][0] < 5.0 < known["stats_ci_99_b"][0] <= 9.0


@pytest.mark.parametrize("benchmark", ["suite.Cost.track_cost_ratio", "suite.Cost.time_predict"])
def test_slowdown_is_stored_for_the_commit_that_has_it(measured, benchmark):
    repository, fast, slow = measured
    before, after = repository.stored(fast, benchmark), repository.stored(slow, benchmark)
    assert before["stats_ci_99_b"][0] < after["stats_ci_99_a"][0]
    assert after["result"][0] > 2 * before["result"][0]


def test_compare_marks_the_slowdown_as_worse(measured):
    repository, fast, slow = measured
    slower, faster = repository.asv("compare", fast, slow), repository.asv("compare", slow, fast)
    for benchmark in ("suite.Cost.track_cost_ratio", "suite.Cost.time_predict"):
        assert (_mark(slower, benchmark), _mark(faster, benchmark)) == ("+", "-")
    assert _mark(slower, "suite.track_known") == ""


def test_published_graphs_show_the_stored_figures(measured):
    repository, fast, slow = measured
    repository.asv("publish")
    html = repository.path / "html"
    index = json.loads((html / "index.json").read_text())
    revisions = {commit: int(revision) for revision, commit in index["revision_to_hash"].items()}
    for benchmark in ("suite.Cost.track_cost_ratio", "suite.track_known"):
        assert benchmark in index["benchmarks"]
        (graph,) = (html / "graphs" / "branch-main").rglob(f"{benchmark}.json")
        points = dict(json.loads(graph.read_text()))
        for commit in (fast, slow):
            (stored,) = repository.stored(commit, benchmark)["result"]
            assert points[revisions[commit]] == pytest.approx(stored, rel=1e-5)


def test_show_prints_the_median(measured):
    repository, _, slow = measured
    (stored,) = repository.stored(slow, "suite.Cost.track_cost_ratio")["result"]
    shown = repository.asv("show", slow)
    assert "suite.Cost.track_cost_ratio" in shown
    assert str(stored) in shown


def _mark(comparison: str, benchmark: str) -> str:
    """Return what `asv compare` says of a benchmark: ``+`` for slower, ``-`` for faster, nothing for no difference."""
    (row,) = [line for line in comparison.splitlines() if benchmark in line]
    return row.split("|")[1].strip()


WAITING = """
import pathlib, time

def track_a_finished_one():
    return 7

def track_b_that_waits():
    pathlib.Path("HERE", "waits").touch()
    while not pathlib.Path("HERE", "go on").exists():
        time.sleep(0.01)
    return 8
"""


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        pytest.param(
            signal.SIGKILL,
            marks=pytest.mark.leaves_behind(
                "processes", "files", reason="a killed asv leaves its fork server and its folder"
            ),
        ),
    ],
)
def test_interrupted_run_keeps_what_was_finished_and_goes_on(tmp_path, number):
    repository = Repository(tmp_path, WAITING.replace("HERE", str(tmp_path)))
    commit = repository.commit(0.0)
    run = ["run", "--set-commit-hash", commit, "--machine", MACHINE]
    command = [sys.executable, "-m", "asv", *run]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=repository._environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not (tmp_path / "waits").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    process.wait(30)
    assert repository.stored(commit, "suite.track_a_finished_one")["result"] == [7]
    (tmp_path / "go on").touch()
    again = repository.asv(*run, "--skip-existing-successful")
    assert "track_a_finished_one" not in again
    assert repository.stored(commit, "suite.track_a_finished_one")["result"] == [7]
    assert repository.stored(commit, "suite.track_b_that_waits")["result"] == [8]


def test_results_are_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    importlib.import_module("infbench.site.saving")  # as asv loads it
    results = Results({"machine": MACHINE}, {}, "a" * 40, 1, "3.11", "env", {})
    results.save(str(tmp_path))
    (file,) = (tmp_path / MACHINE).iterdir()
    before = file.read_bytes()

    def write_half(path, *_, **__):
        Path(path).write_text('{"commit_hash": "aaa')
        raise KeyboardInterrupt

    monkeypatch.setattr("asv.util.write_json", write_half)
    with pytest.raises(KeyboardInterrupt):
        results.save(str(tmp_path))
    assert [path.read_bytes() for path in (tmp_path / MACHINE).iterdir()] == [before]
    monkeypatch.undo()
    results.save(str(tmp_path))
    assert [path.read_bytes() for path in (tmp_path / MACHINE).iterdir()] == [before]


COUNTING = """
import os, time
import psutil

def track_wakes_per_second():
    server = psutil.Process(os.getppid())
    before = server.num_ctx_switches().voluntary
    time.sleep(1)
    return server.num_ctx_switches().voluntary - before
"""


def test_fork_server_hardly_wakes_while_a_benchmark_runs(tmp_path):
    repository = Repository(tmp_path, COUNTING)
    quiet_server = (ROOT / "benchmarks" / "quiet_server.py").read_text()
    (tmp_path / "benchmarks" / "quiet_server.py").write_text(quiet_server)
    commit = repository.commit(0.0)
    repository.measure(commit)
    (wakes,) = repository.stored(commit, "suite.track_wakes_per_second")["result"]
    assert 0 < wakes < 100
