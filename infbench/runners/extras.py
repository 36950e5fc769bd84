"""Packages that only one runner needs."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from infbench.errors import MissingDependencyError


def import_extra(module: str, extra: str) -> Any:
    """Import a package that infbench does not install by itself.

    Parameters
    ----------
    module : str
        What to import.
    extra : str
        The extra of infbench that brings it.

    Returns
    -------
    module

    Raises
    ------
    MissingDependencyError
        Where it is not installed; the message says which extra to install.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as missing:
        raise MissingDependencyError(
            f"{missing.name} is not installed, it comes with infbench[{extra}]: "
            f"pip install '.[{extra}]' in infbench's folder"
        ) from missing
