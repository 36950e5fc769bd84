"""Memory of the whole process tree."""

from __future__ import annotations

from typing import Any

import infbench
from infbench.measure import check_runner
from infbench.memory import tree_pss_bytes

from .common import BATCH_SIZE, N_PROCESSES, N_SAMPLES, FittedModels, rows, skip_without_cpus


class Memory(FittedModels):
    """Proportional set size of the caller and all its descendants, with the runner's default start method."""

    params = (["random_forest"], ["serial", "process", "pool"])
    param_names = ("model", "runner")

    def setup(self, models: dict[str, Any], model: str, runner: str) -> None:
        skip_without_cpus(N_PROCESSES)
        n_processes = 1 if runner == "serial" else N_PROCESSES
        self.runner = infbench.make_runner(runner, models[model], n_processes=n_processes).start()
        self.runner.predict(rows(N_SAMPLES), batch_size=BATCH_SIZE)

    def track_pss(self, *_: Any) -> int:
        assert self.runner is not None
        n_bytes = tree_pss_bytes()
        check_runner(self.runner, rows(N_SAMPLES), batch_size=BATCH_SIZE)  # not before: it takes memory itself
        return n_bytes

    track_pss.pretty_name = "Memory of all processes"  # type: ignore[attr-defined]
    track_pss.unit = "bytes"  # type: ignore[attr-defined]
    track_pss.version = "2"  # type: ignore[attr-defined]
