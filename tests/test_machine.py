"""What is said about the machine, against what the system says by other ways."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

import pytest
from programs import git

import infbench
from infbench.machine import LIBRARIES, describe_machine, library_versions, usable_cpus

ROOT = Path(__file__).parents[1]


def run(code, *options, cwd=ROOT, **environ):
    """Run some lines in a fresh interpreter, in the checkout, and return what they print, as JSON."""
    done = subprocess.run(
        [sys.executable, *options, "-c", code], cwd=cwd, env=os.environ | environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity to set")
def test_cpus_that_the_process_may_not_use_do_not_count():
    code = """
import json, os
from infbench.machine import describe_machine, usable_cpus
from infbench.runners import make_runner
before = usable_cpus()
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
machine = describe_machine()
n_processes = make_runner("threads", object()).n_processes
print(json.dumps([before, usable_cpus(), machine.n_cpus_usable, n_processes, machine.n_cpus]))
"""
    before, after, usable, n_processes, all_of_them = run(code)
    assert before == usable_cpus()
    assert (after, usable, n_processes) == (1, 1, 1)
    assert all_of_them == os.cpu_count()


def test_usable_cpus_are_some_of_all():
    assert 1 <= usable_cpus() <= os.cpu_count()


def test_versions_are_those_that_are_imported():
    import joblib
    import numpy as np
    import scipy
    import sklearn

    versions = library_versions()
    assert list(versions) == list(LIBRARIES)
    imported = {"scikit-learn": sklearn, "numpy": np, "scipy": scipy, "joblib": joblib}
    assert {name: versions[name] for name in imported} == {
        name: module.__version__ for name, module in imported.items()
    }
    assert {name: versions[name] for name in imported} == {name: metadata.version(name) for name in imported}
    assert versions["infbench"].partition("+")[0] == infbench.__version__


VERSIONS = "import json\nfrom infbench.machine import library_versions\nprint(json.dumps(library_versions()))"


def test_versions_without_any_installed_package():
    """Neither numpy nor an installed infbench: a bare checkout says what it can."""
    assert run(VERSIONS, "-E", "-S") == {"infbench": library_versions()["infbench"]}


def test_version_of_a_checkout_names_its_commit(tmp_path):
    def version(**environ):
        return run(VERSIONS, "-S", cwd=tmp_path, PYTHONPATH=str(tmp_path), **environ)["infbench"]

    shutil.copytree(ROOT / "infbench", tmp_path / "infbench", ignore=shutil.ignore_patterns("__pycache__"))
    assert version() == infbench.__version__
    git("init", "--quiet", cwd=tmp_path)
    assert version() == infbench.__version__
    git("commit", "--quiet", "--allow-empty", "--message", "that does not track the package", cwd=tmp_path)
    assert version() == infbench.__version__
    git("add", "infbench", cwd=tmp_path)
    git("commit", "--quiet", "--message", "that does", cwd=tmp_path)
    named = f"{infbench.__version__}+g{git('rev-parse', '--short', 'HEAD', cwd=tmp_path)}"
    assert version() == named
    (tmp_path / "notes.txt").touch()
    assert version() == named
    assert version(PATH=str(tmp_path)) == infbench.__version__  # without git
    with open(tmp_path / "infbench" / "errors.py", "a", encoding="utf-8") as file:
        file.write("# changed\n")
    assert version() == f"{named}.dirty"


class TestDescription:
    def test_is_made_of_what_a_file_can_hold(self):
        machine = describe_machine()
        stored = json.loads(json.dumps(asdict(machine), allow_nan=False))
        assert type(machine)(**stored) == machine

    def test_says_what_the_system_says(self):
        machine = describe_machine()
        assert machine.n_cpus == os.cpu_count()
        assert machine.n_cpus_usable == usable_cpus()
        assert machine.load_1min >= 0
        assert machine.system == f"{os.uname().sysname} {os.uname().machine}"
        assert sys.version.startswith(machine.python)
        assert machine.versions == library_versions()

    @pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="the system does not tell its processor this way")
    def test_names_the_processor_as_the_system_does(self):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = {value.strip() for key, _, value in (line.partition(":") for line in lines) if key == "model name\t"}
        assert not names or describe_machine().cpu in names

    @pytest.mark.parametrize("n_threads", [1, 3])
    def test_tells_the_threads_that_libraries_would_use(self, n_threads):
        code = """
import json
import sklearn.ensemble
from infbench.machine import describe_machine
print(json.dumps(describe_machine().inner_threads))
"""
        threads = {f"{library}_NUM_THREADS": str(n_threads) for library in ("OMP", "OPENBLAS", "MKL")}
        inner_threads = run(code, **threads)
        assert "openmp" in inner_threads
        assert set(inner_threads.values()) <= {n_threads, min(n_threads, os.cpu_count())}
