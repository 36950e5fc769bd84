"""Time for one batch, and for what a runner adds to it."""

from __future__ import annotations

from typing import Any

from .common import MODELS, RUNNERS, WarmRunner


class Latency(WarmRunner):
    """Seconds for a single batch of few rows: what a request waits for. Only ``forest`` shares out a single batch."""

    params = (MODELS, ["serial", "process", "forest"], [1, 10, 100, 1_000])
    param_names = ("model", "runner", "n_samples")

    def setup(self, models: dict[str, Any], model: str, runner: str, n_samples: int) -> None:
        if runner == "forest" and model != "random_forest":
            raise NotImplementedError("the forest runner takes forests only")
        self.start(models, model, runner, n_samples, n_samples)

    def track_predict_s(self, *_: Any) -> dict[str, Any]:
        return self.seconds()

    track_predict_s.pretty_name = "Predict a single batch"  # type: ignore[attr-defined]
    track_predict_s.unit = "seconds"  # type: ignore[attr-defined]
    track_predict_s.version = "1"  # type: ignore[attr-defined]


class Dispatch(WarmRunner):
    """Seconds for two batches of a model that costs nothing, both handed out: the price of the runner itself."""

    params = (RUNNERS,)
    param_names = ("runner",)

    def setup(self, models: dict[str, Any], runner: str) -> None:
        self.start(models, "dummy", runner, 1_000, 500)
        assert self.runner is not None
        self.runner.takes_over = False  # or ``process`` would see that it is not worth it

    def track_predict_s(self, *_: Any) -> dict[str, Any]:
        return self.seconds()

    track_predict_s.pretty_name = "Dispatch overhead"  # type: ignore[attr-defined]
    track_predict_s.unit = "seconds"  # type: ignore[attr-defined]
    track_predict_s.version = "2"  # type: ignore[attr-defined]
