"""asv's own pages without a network: the scripts and styles that they would download come from npm packages."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

_PACKAGED = {
    "bootstrap.min.css": "bootstrap/dist/css/bootstrap.min.css",
    "bootstrap.min.js": "bootstrap/dist/js/bootstrap.min.js",
    "jquery-3.3.1.min.js": "jquery/dist/jquery.min.js",
    "jquery.flot.categories.min.js": "jquery.flot/jquery.flot.categories.js",
    "jquery.flot.min.js": "jquery.flot/jquery.flot.js",
    "jquery.flot.orderBars.js": "flot-orderbars/js/jquery.flot.orderBars.js",
    "jquery.flot.selection.min.js": "jquery.flot/jquery.flot.selection.js",
    "jquery.flot.time.min.js": "jquery.flot/jquery.flot.time.js",
    "md5.min.js": "blueimp-md5/js/md5.min.js",
    "stupidtable.min.js": "stupid-table-plugin/stupidtable.min.js",
}
"""Name of a file that asv's page loads, to its path in the packages of ``npm/package.json``. flot is packaged
unminified; stupidtable is packaged only in a later version, which does the same."""

_DIRECTORY = "vendor"

_LOADED = re.compile(
    r"""(?P<before><(?:script|link)\b[^>]*?\b(?:src|href)=")https?://[^"]*/(?P<name>[^"/]+)(?P<after>"[^>]*>)"""
)
_OF_A_NETWORK = re.compile(r'\s(?:integrity|crossorigin|referrerpolicy)="[^"]*"')


def take_along(index: Path, node_modules: Path) -> list[str]:
    """Copy what asv's page loads from a network beside the page, and make it load the copies.

    Parameters
    ----------
    index : Path
        asv's ``index.html``.
    node_modules : Path
        Where npm has installed the packages.

    Returns
    -------
    list of str
        Names of the files that the page still loads from a network, because no package has them.
    """
    missing: list[str] = []
    directory = index.parent / _DIRECTORY

    def beside(match: re.Match[str]) -> str:
        name = match["name"]
        source = node_modules / _PACKAGED.get(name, name)
        if not source.is_file():
            missing.append(name)
            return match[0]
        directory.mkdir(exist_ok=True)
        shutil.copyfile(source, directory / name)
        # The page's checksums are those of other builds of the same files; npm has checked these by its own.
        return f"{match['before']}{_DIRECTORY}/{name}{_OF_A_NETWORK.sub('', match['after'])}"

    text = index.read_text(encoding="utf-8")
    index.write_text(_LOADED.sub(beside, text), encoding="utf-8")
    return missing
