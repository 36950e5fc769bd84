"""The package's face: what `import infbench` gives, and what it does not load. `test_house` names what is too heavy."""

from __future__ import annotations

import ast
import copy
import inspect
import pickle
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import infbench
from infbench import errors

ROOT = Path(__file__).parents[1]


def run(code):
    """Run some lines in a fresh interpreter, in the checkout, and return what they print."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_import_loads_nothing_but_the_package_itself():
    loaded = run("import sys\nimport infbench\nprint(*sys.modules)")
    assert [name for name in loaded if name.partition(".")[0] == "infbench"] == ["infbench"]
    assert not {"numpy", "sklearn", "joblib", "scipy"} & set(loaded)


def test_a_light_name_loads_no_heavy_module():
    loaded = run(
        "import sys\nimport infbench\ninfbench.InfbenchError, infbench.RUNNERS, infbench.DATA\nprint(*sys.modules)"
    )
    assert "infbench.errors" in loaded
    assert not {"numpy", "sklearn", "joblib", "scipy"} & set(loaded)


@pytest.mark.parametrize("name", infbench.__all__)
def test_every_public_name_is_there_and_the_same_each_time(name):
    value = getattr(infbench, name)
    assert getattr(infbench, name) is value
    assert name in dir(infbench)
    if hasattr(value, "__module__"):
        assert getattr(import_module(value.__module__), name) is value


def test_public_names_are_what_their_modules_hold():
    """Named twice in the package, for type checkers and for the interpreter: both must say the same."""
    tree = ast.parse((ROOT / "infbench" / "__init__.py").read_text(encoding="utf-8"))
    (for_types,) = (node for node in tree.body if isinstance(node, ast.If))
    imported = {}
    for node in for_types.body:
        assert isinstance(node, ast.ImportFrom)
        imported |= {alias.asname: (node.module, alias.name) for alias in node.names}
    assert {"__version__", *imported} == set(infbench.__all__)
    for name, (module, original) in imported.items():
        assert getattr(infbench, name) is getattr(import_module(module), original)


def test_dir_holds_every_public_name_before_any_is_used():
    assert set(infbench.__all__) <= set(run("import infbench\nprint(*dir(infbench))"))


def test_name_that_is_not_there():
    assert not hasattr(infbench, "no_such_name")
    with pytest.raises(AttributeError, match="module 'infbench' has no attribute 'no_such_name'"):
        _ = infbench.no_such_name
    with pytest.raises(ImportError, match="no_such_name"):
        exec("from infbench import no_such_name")


ERRORS = [
    errors.UnknownNameError("model", "forrest", ["random_forest", "svc"]),
    errors.UnknownNameError("model", "forrest", (name for name in ("random_forest", "svc"))),
    errors.WorkerDied((10, 20), -9),
    errors.WorkerTimeoutError((10, 20), 0.5),
    *(
        kind("what happened")
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.InfbenchError)
        and kind not in {errors.UnknownNameError, errors.WorkerDied, errors.WorkerTimeoutError}
    ),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "through", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))], ids=["copy", "pickle"]
)
def test_errors_come_through_to_other_processes(error, through):
    """A pool waits forever if its worker raised an error that cannot be made again in the caller."""
    again = through(error)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)
    assert isinstance(again, infbench.InfbenchError)


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.InvalidParameterError, ValueError),
        (errors.UnknownNameError, ValueError),
        (errors.ResultFormatError, ValueError),
        (errors.MissingMethodError, AttributeError),
        (errors.MissingDependencyError, ImportError),
        (errors.RunnerError, RuntimeError),
        (errors.WorkerTimeoutError, TimeoutError),
    ],
)
def test_errors_are_also_what_python_would_raise(kind, builtin):
    assert issubclass(kind, builtin)
