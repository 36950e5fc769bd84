"""Lets asv save every benchmark as soon as it is finished.

asv itself saves when an environment has run all of its benchmarks, so an interruption loses up to that much. It has no
hook for saving earlier; this wraps the two methods through which every result passes. asv loads this module through
``plugins`` in ``asv.conf.json``.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from asv.results import Results

_load_data, _add_result = Results.load_data, Results.add_result


@wraps(_load_data)
def _load_data_and_remember(self: Any, result_dir: str) -> None:
    _load_data(self, result_dir)
    self.infbench_result_dir = result_dir  # a dry run loads nothing, and so saves nothing


@wraps(_add_result)
def _add_result_and_save(self: Any, *arguments: Any, **options: Any) -> None:
    _add_result(self, *arguments, **options)
    if hasattr(self, "infbench_result_dir"):
        self.save(self.infbench_result_dir)


Results.load_data, Results.add_result = _load_data_and_remember, _add_result_and_save
