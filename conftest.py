"""Lets pytest collect the examples in docstrings even if the packages of the bench extra are not installed."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore = [] if find_spec("asv") else ["infbench/site"]
