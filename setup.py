"""For tools that look for this file; everything is configured in pyproject.toml."""

from __future__ import annotations

from setuptools import setup

setup()
