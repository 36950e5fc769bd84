"""Packages that infbench does not install by itself: those of one runner, and asv."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from infbench.errors import MissingDependencyError


def import_extra(module: str, extra: str) -> Any:
    """Import a module of such a package, or one of infbench that needs it.

    Parameters
    ----------
    module : str
        What to import.
    extra : str
        The extra of infbench that installs it.

    Returns
    -------
    module

    Raises
    ------
    MissingDependencyError
        If it is not installed; the message says which extra to install.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as missing:
        raise MissingDependencyError(
            f"{missing.name} is not installed, it comes with infbench[{extra}]: "
            f"pip install '.[{extra}]' in infbench's folder"
        ) from missing
