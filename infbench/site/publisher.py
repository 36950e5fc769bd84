"""The speedup page in the site that `asv publish` writes.

asv finds the class through ``plugins`` in ``asv.conf.json``, and calls it after writing its own pages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

from asv.console import log
from asv.plugins.git import Git
from asv.publishing import OutputPublisher

from infbench.errors import InfbenchError
from infbench.site.changes import find_steps
from infbench.site.page import build_page
from infbench.site.points import Measured, points_of
from infbench.site.raw import figures_table, speedups_table, steps_table
from infbench.site.stock import take_along
from infbench.site.stored import Run, load_runs, noted_versions

_TEMPLATES = files("infbench.site") / "templates" / "speedup"
_NAV_ENTRY = '<li id="nav-li-speedup"><a href="speedup/index.html">Speedup</a></li>'
_FIRST_NAV_ENTRY = re.compile(r'<li id="nav-li-"')


class SpeedupPublisher(OutputPublisher):  # type: ignore[misc]  # asv has no types
    """Write the speedup page beside asv's, and add an entry for it to asv's navigation."""

    name: ClassVar[str] = "speedup"
    button_label: ClassVar[str] = "Speedup"
    description: ClassVar[str] = "What multi-process inference gains, by library release and by commit"
    order: ClassVar[float] = 10

    @classmethod
    def publish(cls, conf: Any, repo: Any, benchmarks: Any, graphs: Any, revisions: Mapping[str, int]) -> None:  # noqa: ARG003
        """Publish the page; as `graphs` know no release, the stored results are read again."""
        runs = load_runs(conf.results_dir, noted_versions(conf.results_dir))
        # In the order of the history, not of the dates: a rebased commit keeps its date. `revisions` will not do: with
        # `asv publish RANGE`, it has only the commits of the range and the tags.
        order = repo.get_revisions({run.commit for run in runs})
        runs.sort(key=lambda run: order.get(run.commit, -1))
        log.info(f"Writing the speedup page of {len(runs)} results")
        html_dir = Path(conf.html_dir)
        write_page(html_dir / "speedup", runs, project=conf.project, subjects=_subjects(repo))
        add_nav_entry(html_dir / "index.html")
        missing = take_along(html_dir / "index.html", Path(conf.env_dir).parent / "npm" / "node_modules")
        if missing:
            log.info(f"asv's own pages load {len(missing)} files from a network: `make preview` fetches them")


def write_page(directory: Path, runs: Sequence[Run], *, project: str, subjects: Mapping[str, str]) -> None:
    """Write the speedup page, which needs neither a network nor a server.

    Parameters
    ----------
    directory : Path
        Where to; created if missing. Files of the same name are replaced.
    runs : sequence of Run
        What to show, in the order of the history.
    project : str
        Name of the project.
    subjects : mapping of str to str
        Commit to the first line of its message, if known.
    """
    from jinja2 import Environment

    measured = [Measured(run, points_of(run)) for run in runs]
    steps = find_steps(measured)
    page = build_page(measured, steps, subjects)
    (directory / "data").mkdir(parents=True, exist_ok=True)
    edition = sha256(json.dumps([page.catalog, page.parts], sort_keys=True).encode()).hexdigest()[:16]
    template = Environment(autoescape=True).from_string((_TEMPLATES / "index.html").read_text(encoding="utf-8"))
    texts = {
        "index.html": template.render(project=project, catalog=page.catalog, edition=edition) + "\n",
        **{
            name: (_TEMPLATES / name).read_text(encoding="utf-8") for name in ("charts.js", "speedup.js", "speedup.css")
        },
        **{f"data/{name}.js": _as_script(name, edition, part) for name, part in page.parts.items()},
    }
    tables = {"figures": figures_table(runs), "speedups": speedups_table(measured), "changes": steps_table(steps)}
    for name, table in tables.items():
        texts |= {f"{name}.csv": table.to_csv(), f"{name}.json": table.to_json()}
    for name, text in texts.items():
        (directory / name).write_text(text, encoding="utf-8")


def _as_script(name: str, edition: str, part: dict[str, Any]) -> str:
    """Return a part as a script that hands it over: a page opened as a file may load scripts, but not fetch."""
    content = json.dumps(part, separators=(",", ":"), allow_nan=False)
    return f"infbenchPart({json.dumps(name)},{json.dumps(edition)},{content});\n"


def add_nav_entry(index: Path) -> None:
    """Put "Speedup" first in the navigation of asv's page, unless it is there already.

    Raises
    ------
    InfbenchError
        If the page has no such navigation: this is not the version of asv that was tested.
    """
    text = index.read_text(encoding="utf-8")
    if _NAV_ENTRY in text:
        return
    changed, found = _FIRST_NAV_ENTRY.subn(lambda match: f"{_NAV_ENTRY}\n\t{match[0]}", text, count=1)
    if not found:
        raise InfbenchError(f"{index} has no navigation to add the speedup page to")
    index.write_text(changed, encoding="utf-8")


def _subjects(repo: Any) -> dict[str, str]:
    """Return the first line of every commit's message."""
    if not isinstance(repo, Git):
        return {}
    lines = repo._run_git(["log", "--all", "--format=%H %s"]).splitlines()  # noqa: SLF001  # asv offers no other way
    return dict(line.partition(" ")[::2] for line in lines)
