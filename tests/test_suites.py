"""The suites themselves: one combination of parameters of each, run as asv runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("asv_runner", reason="asv comes with the bench extra")

from test_asv_environment import PERMANENT

ROOT = Path(__file__).parents[1]

# Suite, and its parameters.
COMBINATIONS = {
    "cost_ratio.CostRatio": ("logistic_regression", "process", 4_000, 500, 2),
    "cost_ratio.Sizes": ("logistic_regression", 200, 20, 2),
    "cost_ratio.Scaling": ("random_forest", 2),
    "latency.Latency": ("random_forest", "forest", 10),
    "latency.Dispatch": ("process",),
    "memory.Memory": ("random_forest", "process"),
    "throughput.Throughput": ("logistic_regression", "pool", 4_000, 500, 2),
}

# In a process of its own: importing the suites changes asv's fork server.
RUN = """
import json, sys
from importlib import import_module

if __name__ == "__main__":
    found, models = {}, None
    for name, parameters in json.load(sys.stdin).items():
        module, suite = name.split(".")
        one = getattr(import_module(f"benchmarks.{module}"), suite)()
        models = models or one.setup_cache()
        one.setup(models, *parameters)
        try:
            (track,) = (getattr(one, method) for method in dir(one) if method.startswith("track_"))
            found[name] = track(models, *parameters)
        finally:
            one.teardown(models, *parameters)
    print(json.dumps(found))
"""

START_UP = """
from benchmarks.start_up import StartUp

if __name__ == "__main__":
    suite = StartUp()
    suite.setup("fork")
    statement, setup = suite.timeraw_first_answer("fork")
    exec(setup + statement)
    runner.close()
    print((answer == expected).all())
"""


def run(code, tmp_path, *, environment="", **options):
    script = tmp_path / "run.py"
    script.write_text(code)
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "ASV_ENV_NAME": environment}
    return subprocess.run([sys.executable, script], env=environ, capture_output=True, text=True, **options)


def test_each_gives_what_asv_keeps(tmp_path):
    done = run(RUN, tmp_path, input=json.dumps(COMBINATIONS))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("memory.Memory") > 10_000_000
    assert set(found) == {*COMBINATIONS} - {"memory.Memory"}
    assert {*COMBINATIONS, "start_up.StartUp"} == {name.rpartition(".")[0] for name in PERMANENT}
    for kept in found.values():
        assert kept["number"] == 1
        assert len(kept["samples"]) >= 9
        assert min(kept["samples"]) > 0


def test_start_up_ends_with_the_right_answer(tmp_path):
    done = run(START_UP, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


@pytest.mark.parametrize("code", [RUN, START_UP])
def test_other_versions_than_the_environment_promises_are_refused(tmp_path, code):
    environment = "release-set-py3.11-joblib0.1-numpy0.1-scikit-learn0.1-scipy0.1"
    done = run(code, tmp_path, environment=environment, input=json.dumps(COMBINATIONS))
    assert done.returncode == 1
    assert f"RuntimeError: the environment {environment} has scikit-learn " in done.stderr
