"""Lets the examples in docstrings be collected where the packages of the bench extra are not installed."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore = [] if find_spec("asv") else ["infbench/site"]
