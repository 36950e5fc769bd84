"""Rules of the house that no other tool keeps: who may import whom, what stays light, and that examples are run."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infbench.runners import RUNNERS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "infbench"

# Part of the package -> the parts that it may import. A part is a module, or a folder whose modules know each other.
# A part names only parts above its own line.
LEAVES = {"errors", "checks", "stats", "machine"}
MAY_IMPORT = {
    "errors": set(),
    "checks": {"errors"},
    "stats": {"errors", "checks"},
    "machine": {"errors", "checks"},
    "data": LEAVES,
    "models": LEAVES | {"data"},
    "results": LEAVES,
    "extras": {"errors"},
    "timing": set(),
    "loops": set(),
    "runners": LEAVES | {"extras", "timing"},
    "memory": LEAVES,
    "answers": {"errors"},
    "measure": LEAVES | {"data", "models", "results", "timing", "loops", "runners", "memory", "answers"},
    "peers": LEAVES | {"data", "models", "results", "measure"},
    "gate": LEAVES | {"data", "models", "results", "runners"},
    "tables": {"stats"},
    "report": LEAVES | {"results", "tables"},
    "report_gate": LEAVES | {"results", "tables"},
    "report_history": LEAVES | {"results", "tables"},
    "report_peers": LEAVES | {"results", "tables"},
    "report_sizes": LEAVES | {"results", "tables", "report"},
    "site": LEAVES | {"results", "tables"},
    "outputs": {"errors"},
    "cli": LEAVES
    | {
        "data",
        "models",
        "results",
        "extras",
        "runners",
        "memory",
        "measure",
        "peers",
        "gate",
        "report",
        "report_gate",
        "report_history",
        "report_peers",
        "report_sizes",
        "site",
        "outputs",
    },
}
# These gather names from everywhere, and hold nothing else.
FACES = {"infbench", "infbench.__main__"}

# What runs in a worker process must not bring the caller's side along.
WORKER_SIDE = {"infbench.runners.workers.worker", "infbench.runners.workers.template"}
CALLER_SIDE = {"infbench.runners.process", "infbench.runners.workers.crew", "infbench.runners.workers.handle"}

# Only the command line speaks to the user and ends the program. A template is a process of its own, and ends itself.
MAY_PRINT = {"infbench.cli"}
MAY_EXIT = {"infbench.cli", "infbench.__main__", "infbench.runners.workers.template"}

# None of these may be loaded by `import infbench`, `import infbench.cli` or `infbench --help`.
HEAVY = {
    "asv",
    "asv_runner",
    "jinja2",
    "joblib",
    "numpy",
    "pandas",
    "psutil",
    "rich.progress",
    "scipy",
    "sklearn",
    "threadpoolctl",
}

HELP = """
import sys
from infbench.cli import main
sys.argv = ["infbench", "--help"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


def _module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


PATHS = {_module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in PATHS.items()}


def _part(module: str) -> str:
    return module.split(".")[1]


def _imports(module: str, tree: ast.AST) -> Iterator[str]:
    """Yield the full name of every module that a module imports, at its top or inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}, line {node.lineno}: relative imports hide where a name comes from"
            assert node.module is not None
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in TREES else node.module


def _is_for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


class _AtRunTime(ast.NodeTransformer):
    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if _is_for_types_only(node) else self.generic_visit(node)


def _reached_from(module: str) -> set[str]:
    """Return the modules of this package that importing a module may load, packages above it included."""
    reached: set[str] = set()
    waiting = {module}
    while waiting:
        name = waiting.pop()
        reached.add(name)
        parent = name.rpartition(".")[0]
        tree = _AtRunTime().visit(ast.parse(PATHS[name].read_text(encoding="utf-8")))
        waiting |= ({parent, *_imports(name, tree)} & TREES.keys()) - reached
    return reached


def _calls(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.lineno
        elif isinstance(node, ast.Name) and node.id == "SystemExit":
            yield node.id, node.lineno


def _run(code: str) -> str:
    """Run some lines in a fresh interpreter, in the checkout, and return what they print on stdout."""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_table_has_no_circle():
    seen: set[str] = set()
    for part, allowed in MAY_IMPORT.items():
        assert allowed <= seen, f"{part} stands before {', '.join(sorted(allowed - seen))}"
        seen.add(part)


@pytest.mark.parametrize("module", sorted(TREES.keys() - FACES))
def test_imports_point_one_way(module):
    part = _part(module)
    assert part in MAY_IMPORT, f"{part} is new: give it a line in MAY_IMPORT"
    for imported in _imports(module, TREES[module]):
        if imported == "infbench":
            names = {
                alias.name
                for node in ast.walk(TREES[module])
                if isinstance(node, ast.ImportFrom) and node.module == "infbench"
                for alias in node.names
            }
            assert names == {"__version__"}, f"{module} imports {names}: name the module that it comes from"
        elif imported.startswith("infbench.") and _part(imported) != part:
            assert _part(imported) in MAY_IMPORT[part], f"{module} imports {imported}"


@pytest.mark.parametrize("module", sorted(WORKER_SIDE))
def test_a_worker_never_loads_the_callers_side(module):
    assert not _reached_from(module) & CALLER_SIDE


@pytest.mark.parametrize("module", sorted(module for module in TREES if module.startswith("infbench.runners.workers")))
def test_worker_processes_know_no_runner(module):
    runners = {where.partition(":")[0] for where in RUNNERS.values()}
    assert not set(_imports(module, TREES[module])) & runners


@pytest.mark.parametrize("module", sorted(TREES))
def test_only_site_imports_asv(module):
    if module.startswith("infbench.site"):
        return
    roots = {name.partition(".")[0] for name in _imports(module, TREES[module])}
    assert not roots & {"asv", "asv_runner"}


@pytest.mark.parametrize("module", sorted(TREES))
def test_only_the_command_line_prints_or_exits(module):
    for call, line in _calls(TREES[module]):
        if call == "print":
            assert module in MAY_PRINT, f"{module}, line {line} prints"
        if call in {"sys.exit", "exit", "quit", "SystemExit"}:
            assert module in MAY_EXIT, f"{module}, line {line} ends the program"


@pytest.mark.parametrize(
    "code",
    ["import infbench", "import infbench.cli", HELP],
    ids=["import infbench", "import infbench.cli", "infbench --help"],
)
def test_what_is_always_loaded_is_light(code):
    last = _run(f"{code}\nimport json, sys\nprint()\nprint(json.dumps(list(sys.modules)))").splitlines()[-1]
    loaded = set(json.loads(last))
    assert "infbench" in loaded
    assert not loaded & HEAVY


def test_every_public_name_is_there():
    _run("import infbench\nassert set(infbench.__all__) <= set(dir(infbench))\nfrom infbench import *")


def test_examples_are_collected():
    """An example that is not collected could claim anything."""
    collected = _run(
        "import pytest, sys\n"
        "sys.exit(pytest.main(['--collect-only', '-qq', '-p', 'no:cacheprovider', 'infbench', 'README.md']))"
    )
    with_examples = [path for path in PATHS.values() if "    >>> " in path.read_text(encoding="utf-8")]
    assert with_examples
    for path in [*with_examples, ROOT / "README.md"]:
        assert f"{path.relative_to(ROOT)}: " in collected, f"no example of {path.relative_to(ROOT)} is collected"


def test_readme_names_what_ci_runs():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^make \w+", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    assert commands
    assert all(command in readme for command in commands)
