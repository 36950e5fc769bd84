"""Release sets: what asv.conf.json says, what uv makes of it, and what the suites do about it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

pytest.importorskip("asv", reason="asv comes with the bench extra")

from asv.config import Config
from asv.environment import get_environments
from asv.util import ProcessError

from benchmarks.common import FittedModels, check_release_set
from infbench.site import environment as plugin

ROOT = Path(__file__).parents[1]
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
LIBRARIES = ("scikit-learn", "numpy", "scipy", "joblib")

RELEASE_SETS = [
    ("1.2.2", "1.24.4", "1.10.1", "1.2.0"),
    ("1.3.2", "1.26.4", "1.11.4", "1.3.2"),
    ("1.4.2", "1.26.4", "1.13.1", "1.4.0"),
    ("1.5.2", "2.1.3", "1.14.1", "1.4.2"),
    ("1.6.1", "2.2.6", "1.15.3", "1.4.2"),
    ("1.7.2", "2.3.5", "1.16.3", "1.5.2"),
    ("1.8.0", "2.3.5", "1.16.3", "1.5.3"),
    ("1.9.1", "2.4.6", "1.17.1", "1.6.0"),
]

# Keys of the stored history: a benchmark may be added, but what is here stays as it is.
PERMANENT = {
    "cost_ratio.CostRatio.track_cost_ratio": ["model", "runner", "n_samples", "batch_size", "n_processes"],
    "cost_ratio.Scaling.track_cost_ratio": ["model", "n_processes"],
    "cost_ratio.Sizes.track_cost_ratio": ["model", "n_samples", "batch_size", "n_processes"],
    "latency.Dispatch.track_predict_s": ["runner"],
    "latency.Latency.track_predict_s": ["model", "runner", "n_samples"],
    "memory.Memory.track_pss": ["model", "runner"],
    "start_up.StartUp.timeraw_first_answer": ["start_method"],
    "throughput.Throughput.track_predict_s": ["model", "runner", "n_samples", "batch_size", "n_processes"],
}

DISCOVER = """
import json, sys
from asv_runner._aux import update_sys_path
from asv_runner.discovery import disc_benchmarks
root, out = sys.argv[1:]
update_sys_path(root)
found = [
    {key: getattr(benchmark, key) for key in ("name", "param_names", "params", "version", "pretty_name")}
    | {"valid": benchmark.check(root)}
    for benchmark in disc_benchmarks(root)
]
with open(out, "w") as file:
    json.dump(found, file)
"""


@pytest.fixture(scope="module")
def configuration() -> Config:
    return Config.load(str(ROOT / "asv.conf.json"))


def test_configuration_holds_the_release_sets_pinned(configuration):
    assert configuration.pythons == []  # otherwise asv adds an environment without pins
    held = [tuple(entry["req"][library] for library in LIBRARIES) for entry in configuration.include]
    assert held[: len(RELEASE_SETS)] == RELEASE_SETS  # others may follow
    assert len(set(held)) == len(held)
    for entry in configuration.include:
        assert sorted(entry["req"]) == sorted(LIBRARIES)
        assert entry["python"] == "3.11"


def test_plugins_are_named_so_that_asv_loads_them(configuration):
    assert f".{plugin.__name__}" in configuration.plugins
    assert all(name.startswith(".infbench.site.") for name in configuration.plugins)  # without the dot asv ignores it
    assert configuration.environment_type == plugin.ReleaseSetEnvironment.tool_name


def test_threads_are_pinned_alike_and_only_at_run_time(configuration):
    variables = [entry["env_nobuild"] for entry in configuration.include]
    assert variables == [variables[0]] * len(variables)
    assert variables[0].items() >= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}.items()
    assert all("env" not in entry for entry in configuration.include)


def test_installing_a_commit_cannot_move_a_pin(configuration):
    (install,) = configuration.install_command
    assert "--no-deps" in install.split()
    assert all("--no-build-isolation" in command.split() for command in configuration.build_command)


def test_pinned_threads_can_be_raised_again_at_run_time(configuration):
    # The native runner sets its number of threads itself; the pins must not cap it.
    script = (
        "import numpy, sklearn.ensemble, threadpoolctl\n"
        "numpy.ones((8, 8)) @ numpy.ones((8, 8))\n"
        "def counts(): return sorted({pool['num_threads'] for pool in threadpoolctl.threadpool_info()})\n"
        "at_start = counts()\n"
        "with threadpoolctl.threadpool_limits(2): print(at_start, counts())\n"
    )
    environ = {**os.environ, **configuration.include[0]["env_nobuild"]}
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True)
    assert done.stdout.strip() == "[1] [2]", done.stderr


def test_the_suites_are_exactly_the_permanent_ones(tmp_path):
    out = tmp_path / "found.json"
    command = [sys.executable, "-c", DISCOVER, str(ROOT / "benchmarks"), str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert {benchmark["name"]: benchmark["param_names"] for benchmark in found} == PERMANENT
    assert len(found) == len(PERMANENT)  # asv would find a base class once in each importing module
    for benchmark in found:
        assert benchmark["valid"], done.stdout
        assert benchmark["pretty_name"], benchmark["name"]
        assert re.fullmatch(r"\d+", benchmark["version"]), f"{benchmark['name']} has no version of its own"
        # An object's repr is not a key that lasts.
        assert all(re.fullmatch(r"'\w+'|\d+", value) for values in benchmark["params"] for value in values)


def _name_of(versions: dict[str, str]) -> str:
    return "-".join(["release-set-py3.11", *(library + versions[library] for library in sorted(versions))])


def test_guard_takes_an_environment_that_holds_what_its_name_says():
    installed = {library: metadata.version(library) for library in LIBRARIES}
    check_release_set(_name_of(installed))
    check_release_set(_name_of(installed) + "-OMP_NUM_THREADS1")
    check_release_set("existing-py_usr_bin_python3")  # promises no version


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("change", ["0.{}", "{}.1", "{}0"])
def test_guard_fails_an_environment_that_holds_something_else(library, change, monkeypatch):
    installed = {library: metadata.version(library) for library in LIBRARIES}
    name = _name_of(installed | {library: change.format(installed[library])})
    monkeypatch.setenv("ASV_ENV_NAME", name)
    with pytest.raises(RuntimeError, match=rf"{library}.*{re.escape(installed[library])}"):
        FittedModels().setup_cache()  # where asv runs it, before anything is measured


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """A folder of empty packages, which is all that uv may take anything from: no network."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for version in ("1.0", "2.0"):
        _write_wheel(folder, "numpy", version)
        _write_wheel(folder, "scikit-learn", version, requires=["numpy>=1.0"])
    for name in ("scipy", "joblib", "build", "pympler", "psutil", "threadpoolctl", "click", "rich"):
        _write_wheel(folder, name, "10.0")
    _write_wheel(folder, "setuptools", "80.0")
    _write_wheel(folder, "wheel", "80.0")
    _write_wheel(folder, "pip", "80.0", script="pip")
    for version in (metadata.version("asv_runner"), "99.0"):
        _write_wheel(folder, "asv_runner", version)
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    # Where the Python that runs the tests is: it need not be on the path.
    monkeypatch.setenv("PATH", f"{Path(sys.base_prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "somewhere_else"))  # asv itself runs in an environment
    monkeypatch.chdir(tmp_path)
    return folder


def _write_wheel(folder: Path, name: str, version: str, requires: list[str] | None = None, script: str = "") -> None:
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires or []]
    with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{module}.py", "")
        wheel.writestr(f"{info}/METADATA", "\n".join(lines) + "\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        if script:
            wheel.writestr(f"{info}/entry_points.txt", f"[console_scripts]\n{script} = {module}:main\n")
        wheel.writestr(f"{info}/RECORD", "")


def _environment(requirements: dict[str, str]):
    """Let asv make the environment object; it knows every type of environment that has been imported."""
    content = {
        "version": 1,
        "project": "small",
        "repo": ".",
        "pythons": [],
        "environment_type": "release-set",
        "include": [{"python": PYTHON, "req": requirements, "env_nobuild": {"OMP_NUM_THREADS": "1"}}],
    }
    (environment,) = get_environments(Config.from_json(content), None)
    return environment


def _installed(environment) -> dict[str, str]:
    script = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()))"
    return dict(item.split("==") for item in environment.run(["-c", script]).split())


def test_environment_holds_the_pins_and_what_asv_and_the_suites_need(wheels):
    environment = _environment({"scikit-learn": "1.0", "numpy": "1.0"})
    environment.create()
    installed = _installed(environment)
    assert (installed["scikit-learn"], installed["numpy"]) == ("1.0", "1.0")  # although there are newer ones
    assert installed["asv_runner"] == metadata.version("asv_runner")
    assert {"pympler", "psutil", "threadpoolctl"} <= set(installed)
    assert environment.name.startswith(f"release-set-py{PYTHON}-numpy1.0-scikit-learn1.0")
    assert environment.check_presence()  # asv does not build it again


def test_environment_holds_bytecode_even_where_nothing_may_write_any(wheels, monkeypatch):
    # Without it every process compiles scikit-learn again, and start-up would measure that.
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    environment = _environment({"scikit-learn": "1.0", "numpy": "1.0"})
    environment.create()
    cached = environment.run(["-c", "import numpy, scikit_learn as s; print(numpy.__cached__, s.__cached__)"])
    assert [Path(path).exists() for path in cached.split()] == [True, True]


def test_environment_that_cannot_be_built_is_named_when_it_is_to_be_used_and_leaves_nothing(wheels, caplog):
    environment = _environment({"scikit-learn": "1.0", "numpy": "0.5"})
    environment.create()  # an error here would end the whole run of asv, with all other environments
    assert f"The release set {environment.name} cannot be built" in caplog.text
    with pytest.raises(ProcessError):
        environment.install_project(None, None, "0" * 40)
    assert not environment.check_presence()
    assert not Path(environment._path).exists()
