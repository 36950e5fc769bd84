"""Time for many rows, by runner and by number of rows: rows per second follow from it."""

from __future__ import annotations

from typing import Any

from .common import BATCH_SIZE, MODELS, N_PROCESSES, N_SAMPLES, RUNNERS, WarmRunner


class Throughput(WarmRunner):
    """Seconds for all rows, in batches of 1,000, by a runner with 2 processes."""

    params = (MODELS, RUNNERS, [1_000, N_SAMPLES], [BATCH_SIZE], [N_PROCESSES])
    param_names = ("model", "runner", "n_samples", "batch_size", "n_processes")
    rounds = 1
    repeat = (3, 9, 1.0)
    warmup_time = 0.1

    def setup(
        self, models: dict[str, Any], model: str, runner: str, n_samples: int, batch_size: int, n_processes: int
    ) -> None:
        if runner == "loky" and n_samples == batch_size:
            raise NotImplementedError("a single batch of loky: the dispatch overhead tells what it costs")
        self.start(runner, models[model], n_samples, batch_size, n_processes)

    def time_predict(self, *_: Any) -> None:
        self.predict()

    time_predict.pretty_name = "Predict many rows"  # type: ignore[attr-defined]
    time_predict.version = "1"  # type: ignore[attr-defined]
