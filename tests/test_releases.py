"""Release sets that are missing, asked of a small package index on this machine."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
import zipfile
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("asv", reason="asv comes with the bench extra")

from asv.util import load_json

from infbench.errors import InvalidParameterError
from infbench.site.releases import newer_release_set

ROOT = Path(__file__).parents[1]
NEWEST = load_json(str(ROOT / "asv.conf.json"), js_comments=True)["include"][-1]["req"]


def later(name, n_minor, patch):
    """Give a version that is so many minor releases after that of the newest release set."""
    major, minor, *_ = NEWEST[name].split(".")
    return f"{major}.{int(minor) + n_minor}.{patch}"


NEXT = later("scikit-learn", 1, 0)
NOTHING_NEWER = "No newer release that works with the Python of the newest set.\n"


def put(folder, name, version, requires=()):
    """Put a wheel without code on the index."""
    distribution = name.replace("-", "_")
    stem = f"{distribution}-{version}"
    project = folder / name
    project.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(project / f"{stem}-py3-none-any.whl", "w") as wheel:
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", "Requires-Python: >=3.11"]
        lines += [f"Requires-Dist: {requirement}" for requirement in requires]
        wheel.writestr(f"{stem}.dist-info/METADATA", "\n".join(lines) + "\n")
        wheel.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{stem}.dist-info/RECORD", "")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def index(tmp_path):
    """Give a folder, and a function that runs the command with that folder as its package index."""
    folder = tmp_path / "simple"
    for name, version in NEWEST.items():
        put(folder, name, version, ["numpy", "scipy", "joblib"] if name == "scikit-learn" else ())
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}/simple"
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("UV_", "PIP_"))}
    environ |= {"UV_DEFAULT_INDEX": address, "UV_NO_CONFIG": "1", "UV_CACHE_DIR": str(tmp_path / "cache")}
    environ |= {"PYTHONPATH": str(ROOT)}

    def run(*arguments):
        command = [sys.executable, "-m", "infbench", "releases", *arguments]
        return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)

    yield folder, run
    server.shutdown()
    thread.join()
    server.server_close()


def test_nothing_is_newer(index):
    done = index[1]("--check")
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        NOTHING_NEWER,
        "",
    )


def test_patch_release_makes_no_set(index):
    put(index[0], "scikit-learn", later("scikit-learn", 0, 99))
    assert index[1]("--check").returncode == 0


def test_new_release_is_printed_as_an_entry_with_what_works_with_it(index):
    folder, run = index
    numpy, joblib = later("numpy", 1, 1), later("joblib", 1, 0)
    put(folder, "scikit-learn", NEXT, [f"numpy<={numpy}", "scipy", f"joblib>={joblib}"])
    put(folder, "numpy", numpy)
    put(folder, "numpy", later("numpy", 2, 0))
    put(folder, "joblib", joblib)
    done = run("--check")
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout) == {
        "python": "3.11",
        "req": {"numpy": numpy, "scipy": NEWEST["scipy"], "joblib": joblib, "scikit-learn": NEXT},
        "env_nobuild": {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    }
    assert run().returncode == 0  # without --check it is no failure


def test_entry_is_added_below_the_others(index, tmp_path):
    folder, run = index
    path = tmp_path / "asv.conf.json"
    path.write_text((ROOT / "asv.conf.json").read_text())
    assert run("--add", "--config", str(path)).returncode == 0
    assert path.read_text() == (ROOT / "asv.conf.json").read_text()
    put(folder, "scikit-learn", NEXT)
    assert run("--add", "--config", str(path)).returncode == 0
    before, after = (load_json(str(file), js_comments=True)["include"] for file in (ROOT / "asv.conf.json", path))
    assert after[:-1] == before
    assert after[-1]["req"]["scikit-learn"] == NEXT
    kept = set(path.read_text().splitlines())
    assert set((ROOT / "asv.conf.json").read_text().splitlines()) <= kept
    assert run("--check", "--config", str(path)).returncode == 0


def test_versions_that_do_not_work_together_are_a_failure_and_say_why(index):
    folder, run = index
    for wheel in (folder / "scikit-learn").iterdir():
        wheel.unlink()
    put(folder, "scikit-learn", NEXT, ["numpy>=3"])
    done = run("--check")
    assert (done.returncode, done.stdout) == (1, "")
    assert "uv finds no versions" in done.stderr
    assert "numpy" in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        *(None, "no JSON", "[]", "{}", '{"include": []}', '{"include": null}', '{"include": ["x"]}'),
        json.dumps({"include": [{"req": NEWEST}]}),
    ],
)
def test_configuration_without_release_sets_is_refused(text, tmp_path):
    path = tmp_path / "asv.conf.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InvalidParameterError, match="must hold release sets under `include`"):
        newer_release_set(str(path))


@pytest.mark.parametrize(("missing", "command"), [("asv", "releases"), ("uv", "releases"), ("asv", "history")])
def test_where_a_package_of_the_extra_is_missing_the_command_names_the_extra(missing, command):
    code = f"import sys; sys.modules[{missing!r}] = None; from infbench.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, command], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "is not installed, it comes with infbench[bench]" in done.stderr
    assert "Traceback" not in done.stderr
