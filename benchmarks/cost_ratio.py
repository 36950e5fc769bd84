"""What multi-process inference costs, as a share of serial inference."""

from __future__ import annotations

from typing import Any

from infbench.measure import paired_cost_samples

from .common import BATCH_SIZE, MODELS, N_PROCESSES, N_ROUNDS, N_SAMPLES, RUNNERS, FittedModels, rows, started


class _Paired(FittedModels):
    X: Any
    batch_size: int

    def cost_samples(self, model: str) -> dict[str, Any]:
        assert self.runner is not None
        samples = paired_cost_samples(self.runner, self.X, batch_size=self.batch_size, repeat=N_ROUNDS[model])
        return {"samples": samples, "number": 1}  # asv keeps their median and interval


class CostRatio(_Paired):
    """Parallel time / serial time over the same batches; each sample is a pair that was measured side by side.

    The runner ``serial`` is the noise floor: serial / serial, measured in the same way.
    """

    params = (MODELS, RUNNERS, [N_SAMPLES], [BATCH_SIZE], [N_PROCESSES])
    param_names = ("model", "runner", "n_samples", "batch_size", "n_processes")

    def setup(
        self, models: dict[str, Any], model: str, runner: str, n_samples: int, batch_size: int, n_processes: int
    ) -> None:
        self.runner = started(runner, models[model], n_processes)
        self.X = rows(n_samples)
        self.batch_size = batch_size

    def track_cost_ratio(self, _models: dict[str, Any], model: str, *_: Any) -> dict[str, Any]:
        return self.cost_samples(model)

    track_cost_ratio.pretty_name = "Cost ratio"  # type: ignore[attr-defined]
    track_cost_ratio.unit = "parallel / serial time"  # type: ignore[attr-defined]
    track_cost_ratio.version = "2"  # type: ignore[attr-defined]


class Sizes(_Paired):
    """The cost ratio of the process runner by number of rows and rows of a batch: from which batch on it pays."""

    params = (MODELS, [200, 1_000], [20, 100, 500], [N_PROCESSES])
    param_names = ("model", "n_samples", "batch_size", "n_processes")

    def setup(self, models: dict[str, Any], model: str, n_samples: int, batch_size: int, n_processes: int) -> None:
        if batch_size >= n_samples:
            raise NotImplementedError("a single batch, which nobody shares out")
        if model == "random_forest" and n_samples > 10 * batch_size:
            raise NotImplementedError("50 calls of a forest take 5 s, and gain little more than 10 do")
        self.runner = started("process", models[model], n_processes)
        self.X = rows(n_samples)
        self.batch_size = batch_size

    def track_cost_ratio(self, _models: dict[str, Any], model: str, *_: Any) -> dict[str, Any]:
        return self.cost_samples(model)

    track_cost_ratio.pretty_name = "Cost ratio by rows and batch"  # type: ignore[attr-defined]
    track_cost_ratio.unit = "parallel / serial time"  # type: ignore[attr-defined]
    track_cost_ratio.version = "2"  # type: ignore[attr-defined]


class Scaling(_Paired):
    """The cost ratio of the process runner by number of processes."""

    params = (["random_forest"], [1, 2, 4, 8, 16])
    param_names = ("model", "n_processes")

    def setup(self, models: dict[str, Any], model: str, n_processes: int) -> None:
        self.runner = started("process", models[model], n_processes)
        self.batch_size = 250
        self.X = rows(16 * self.batch_size)  # as many batches for one process as for any other

    def track_cost_ratio(self, _models: dict[str, Any], model: str, *_: Any) -> dict[str, Any]:
        return self.cost_samples(model)

    track_cost_ratio.pretty_name = "Cost ratio by number of processes"  # type: ignore[attr-defined]
    track_cost_ratio.unit = "parallel / serial time"  # type: ignore[attr-defined]
    track_cost_ratio.version = "2"  # type: ignore[attr-defined]
