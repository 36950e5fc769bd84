"""`benchmark.py` and `quick_test.py`: the original program, with its parameters and what it reports."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = ["benchmark.py", "quick_test.py"]
PARAMETERS = {"n_samples": "321", "n_features": "7", "n_processes": "2", "batch_size": "43"}

# The default model takes seconds to fit, and what is measured here does not matter.
CHEAP = ["--model", "dummy", "--repeat", "1"]


def run(script, *args, cwd):
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, script, *args]
    return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True)


def conditions(report):
    found = dict(re.findall(r"^(\w+): +(\S.*)$", report, re.MULTILINE))
    return {name: found[name] for name in PARAMETERS}


def test_the_quick_one_answers_as_it_stands(tmp_path):
    quick = run(ROOT / "quick_test.py", cwd=tmp_path)
    assert (quick.returncode, quick.stderr) == (0, "")
    assert re.search(r"^model: +random_forest$", quick.stdout, re.MULTILINE)
    header = next(line for line in quick.stdout.splitlines() if line.startswith("runner"))
    assert {"single", "multi", "speedup", "efficiency"} <= set(header.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("script", SCRIPTS)
def test_parameters_can_be_edited_at_the_top(tmp_path, script):
    text = (ROOT / script).read_text(encoding="utf-8")
    for name, value in PARAMETERS.items():
        text, n_edits = re.subn(rf"^{name} = \S+", f"{name} = {value}", text, flags=re.MULTILINE)
        assert n_edits == 1
    (tmp_path / script).write_text(text, encoding="utf-8")
    edited = run(script, *CHEAP, cwd=tmp_path)
    assert (edited.returncode, edited.stderr) == (0, "")
    assert conditions(edited.stdout) == PARAMETERS


@pytest.mark.parametrize("script", SCRIPTS)
def test_parameters_can_be_given(tmp_path, script):
    args = [f"--{name.replace('_', '-')}={value}" for name, value in PARAMETERS.items()]
    given = run(ROOT / script, *CHEAP, *args, "--runner", "native", "--csv", "new.csv", cwd=tmp_path)
    assert (given.returncode, given.stderr) == (0, "")
    assert conditions(given.stdout) == PARAMETERS
    assert re.search(r"^versions: .*scikit-learn \d.*, numpy \d.*joblib \d", given.stdout, re.MULTILINE)
    assert (tmp_path / "new.csv").exists()
    assert (tmp_path / "results.txt").exists() == (script == "benchmark.py")


@pytest.mark.parametrize(("script", "name"), list(zip(SCRIPTS * 2, PARAMETERS, strict=True)))
def test_a_wrong_parameter_is_refused(tmp_path, script, name):
    text = (ROOT / script).read_text(encoding="utf-8")
    (tmp_path / script).write_text(re.sub(rf"(?m)^{name} = \S+", f"{name} = 0", text), encoding="utf-8")
    refused = run(script, *CHEAP, cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.splitlines()[-1] == f"Error: {name} must be a positive int or None, got 0"
    assert not (tmp_path / "results.txt").exists()


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_import_of_a_worker_starts_nothing(tmp_path, script):
    """Workers import the main script under another name."""
    imported = run("-c", f"import runpy; runpy.run_path({str(ROOT / script)!r}, run_name='__mp_main__')", cwd=tmp_path)
    assert (imported.returncode, imported.stdout, imported.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())
