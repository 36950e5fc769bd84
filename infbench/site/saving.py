"""Makes asv save every benchmark as soon as it is finished, and write each file completely or not at all.

asv itself saves when an environment has run all of its benchmarks, so an interruption may lose all of them, and one in
the middle of saving leaves a file that asv cannot read. It has no hook for either; this wraps the methods that every
result passes through. asv loads this module through ``plugins`` in ``asv.conf.json``.
"""

from __future__ import annotations

from functools import wraps
from pathlib import Path
from typing import Any

from asv.results import Results

_load_data, _add_result, _save = Results.load_data, Results.add_result, Results.save


@wraps(_load_data)
def _load_data_and_remember(self: Any, result_dir: str) -> None:
    _load_data(self, result_dir)
    self.infbench_result_dir = result_dir  # a dry run loads nothing, and so saves nothing


@wraps(_add_result)
def _add_result_and_save(self: Any, *arguments: Any, **options: Any) -> None:
    _add_result(self, *arguments, **options)
    if hasattr(self, "infbench_result_dir"):
        self.save(self.infbench_result_dir)


@wraps(_save)
def _save_whole(self: Any, result_dir: str) -> None:
    name = self._filename
    self._filename = f"{name}.new"  # which asv does not take for results
    written = Path(result_dir, self._filename)
    try:
        _save(self, result_dir)
        written.replace(Path(result_dir, name))
    finally:
        self._filename = name
        written.unlink(missing_ok=True)


Results.load_data, Results.add_result = _load_data_and_remember, _add_result_and_save
Results.save = _save_whole
