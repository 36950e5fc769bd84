"""Release sets: those in asv.conf.json, and newer ones on the package index."""

from __future__ import annotations

import json
import subprocess
import textwrap
from pathlib import Path
from typing import Any

from asv.util import UserError, load_json
from packaging.version import Version
from uv import find_uv_bin

from infbench.errors import InfbenchError, InvalidParameterError

_PINNED = ("numpy", "scipy", "joblib", "scikit-learn")
"""In the order in which asv.conf.json names them."""

_WATCHED = ("scikit-learn", "numpy", "joblib")


def newer_release_set(config: str | Path) -> str | None:
    """Return the entry to be added to asv.conf.json, if there is a newer minor release of a watched library.

    Parameters
    ----------
    config : str or Path
        asv's configuration. The index is the one that uv is configured to use.

    Returns
    -------
    str or None
        JSON for ``include``: the newest versions that work with each other and with the Python of the newest entry.
        None if that entry already has these minor releases of scikit-learn, numpy and joblib.

    Raises
    ------
    InvalidParameterError
        If the configuration cannot be read, or has no entry with all libraries and a Python.
    InfbenchError
        If uv finds no versions; the message holds what it said.
    """
    newest, python = _newest_entry(config)
    found = _resolve(python)
    if all(Version(found[name]).release[:2] <= Version(newest["req"][name]).release[:2] for name in _WATCHED):
        return None
    return json.dumps({**newest, "req": found}, indent=4)


def add_release_set(config: str | Path, entry: str) -> None:
    """Add an entry below the others in asv.conf.json, and leave the rest as it is.

    Parameters
    ----------
    config : str or Path
    entry : str
        From `newer_release_set`.

    Raises
    ------
    InvalidParameterError
        If the file does not have the form of infbench's own.
    """
    path = Path(config)
    before, include, after = path.read_text(encoding="utf-8").partition('\n    "include": [\n')
    entries, end, after = after.partition("\n    ]")
    if not include or not end:
        raise InvalidParameterError(f'{config} must hold the lines `    "include": [` and `    ]`')
    path.write_text(f"{before}{include}{entries},\n{textwrap.indent(entry, ' ' * 8)}{end}{after}", encoding="utf-8")


def _newest_entry(config: str | Path) -> tuple[dict[str, Any], str]:
    """Return the newest entry, and its Python."""
    try:
        entries = load_json(str(config), js_comments=True)["include"]
        newest: dict[str, Any] = max(
            entries, key=lambda entry: [Version(entry["req"][name]) for name in reversed(_PINNED)]
        )
        return newest, str(newest["python"])
    except (OSError, UserError, KeyError, TypeError, ValueError) as error:
        raise InvalidParameterError(f"{config} must hold release sets under `include`: {error!r}") from error


def _resolve(python: str) -> dict[str, str]:
    options = ["--quiet", "--no-header", "--no-annotate", "--python-version", python]
    command = [find_uv_bin(), "pip", "compile", *options, "-"]
    wanted = "\n".join(reversed(_PINNED))  # uv gives the first its newest version, and the others what works with it
    done = subprocess.run(command, input=wanted, capture_output=True, text=True, check=False)  # noqa: S603  # uv
    if done.returncode != 0:
        raise InfbenchError(f"uv finds no versions: {done.stderr.strip()}")
    versions = dict(line.split("==") for line in done.stdout.split() if "==" in line)
    return {name: versions[name] for name in _PINNED}
