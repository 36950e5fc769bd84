"""Separate programs, for what would harm the tests' own process or depends on how a program begins."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil

HERE = Path(__file__).parent

PLAIN = """

class Plain:
    def fit(self, X, y):
        return self

    def predict(self, X):
        return X[:, 0]

MODELS["plain"] = lambda random_state: Plain()
"""
"""Adds a model to infbench. It needs no library but numpy, so that processes with it start sooner."""


def git(*arguments, cwd):
    """Run git under the name of nobody, and return what it prints."""
    identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=cwd, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def start_program(folder, program, *arguments, before=()):
    """Start a program that can import infbench and the tests, as a terminal does: in a process group of its own.

    `before` is the start of a command that ends with the one to run.
    """
    path = folder / "program.py"
    path.write_text(textwrap.dedent(program))
    return subprocess.Popen(
        [*before, sys.executable, path, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run_program(folder, program, *arguments, before=()):
    """Run a program, which must end well and write nothing to standard error; return what it writes."""
    with start_program(folder, program, *arguments, before=before) as caller:
        out, errors = caller.communicate()
    assert (caller.returncode, errors) == (0, "")
    return out


def wait_until_gone(pids, within_s):
    """Wait for the end of processes, which may stay zombies if nobody asks how they ended."""
    deadline_s = time.monotonic() + within_s
    while any(map(_is_there, pids)):
        assert time.monotonic() < deadline_s, f"still there: {pids}"
        time.sleep(0.02)


def _is_there(pid):
    try:
        return psutil.Process(pid).status() != "zombie"
    except psutil.NoSuchProcess:
        return False
