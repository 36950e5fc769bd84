"""Time for many rows, by runner and by number of rows: rows per second follow from it."""

from __future__ import annotations

from typing import Any

from .common import BATCH_SIZE, MODELS, N_PROCESSES, N_SAMPLES, RUNNERS, WarmRunner


class Throughput(WarmRunner):
    """Seconds for all rows, in batches of 500, by a runner with 2 processes."""

    params = (MODELS, RUNNERS, [1_000, N_SAMPLES], [BATCH_SIZE], [N_PROCESSES])
    param_names = ("model", "runner", "n_samples", "batch_size", "n_processes")

    def setup(
        self, models: dict[str, Any], model: str, runner: str, n_samples: int, batch_size: int, n_processes: int
    ) -> None:
        if runner not in ("serial", "process") and n_samples < N_SAMPLES:
            raise NotImplementedError("few rows of another runner: the dispatch overhead tells what they cost")
        self.start(models, model, runner, n_samples, batch_size, n_processes)

    def track_predict_s(self, *_: Any) -> dict[str, Any]:
        return self.seconds()

    track_predict_s.pretty_name = "Predict many rows"  # type: ignore[attr-defined]
    track_predict_s.unit = "seconds"  # type: ignore[attr-defined]
    track_predict_s.version = "1"  # type: ignore[attr-defined]
