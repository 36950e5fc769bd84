"""Every command in README.md works as it stands there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest

from infbench.data import make_data
from infbench.models import make_model

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.partition(" #")[0].strip()
    for kind, block in re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
    if not kind
    for line in block.splitlines()
    if line and not line.startswith(" ")
]
PROGRAMS = [command for command in COMMANDS if command.startswith("python ")]
SMALL = ["--n-samples", "60", "--batch-size", "20", "--repeat", "3"]


def run(command, folder):
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True)


def test_there_are_commands():
    assert {"make bench", "make test", "python benchmark.py", "python quick_test.py"} <= set(COMMANDS)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("make ")])
def test_make_targets_exist(command):
    done = run([*shlex.split(command), "--dry-run"], ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("pip ")])
def test_requirements_are_what_the_tests_run_with(command):
    # They are installed already, so this needs no network; a requirement that is missing here would.
    done = run([sys.executable, "-m", *shlex.split(command), "--no-index"], ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [command for command in PROGRAMS if " peers " not in command])
def test_programs_answer(command, tmp_path):
    joblib.dump(make_model("dummy"), tmp_path / "model.joblib")
    np.save(tmp_path / "rows.npy", make_data(n_samples=80))
    script, *arguments = shlex.split(command)[1:]
    path = [script] if script == "-m" else [str(ROOT / script)]
    cheap = [] if "--model" in command else ["--model", "dummy"]  # the forest takes seconds to fit
    several = "--n-samples" in arguments
    small = ["--n-samples", "60,80", *SMALL[2:]] if several else SMALL
    done = run([sys.executable, *path, *arguments, *small, *cheap], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    said = "It pays where both intervals" if several else "times as fast as a single process"
    assert said in " ".join(done.stdout.split())
    if script == "benchmark.py":
        assert (tmp_path / "results.txt").read_text(encoding="utf-8") == done.stdout


@pytest.mark.parametrize("command", [command for command in PROGRAMS if " peers " in command])
def test_peers_are_compared(command, tmp_path):
    small = ["--model", "dummy", "--size", "60:20", "--repeat", "3"]
    done = run([sys.executable, *shlex.split(command)[1:], *small], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(name in done.stdout for name in ("DUMMY", "process", "futures", "geometric mean"))


def test_no_command_is_left_out():
    programs = (
        "make ",
        "pip ",
        "python ",
        "asv ",
        ".venv/bin/infbench releases ",
    )  # the last one is in test_releases.py
    assert all(command.startswith(programs) for command in COMMANDS)


def test_table_is_what_the_stored_results_say():
    (arguments,) = re.findall(r"`\.venv/bin/infbench (history [^`]+)`\s+prints it", TEXT)
    done = run([sys.executable, "-m", "infbench", *arguments.split(), "--results", str(ROOT / "results")], ROOT)
    assert done.returncode == 0, done.stderr
    assert f"```text\n{done.stdout}```" in TEXT
