"""What the suites share: the workload, the fitted models, and the checks before anything is timed."""

from __future__ import annotations

import os
from importlib import metadata
from typing import Any

# asv's fork server imports the suite once and forks it for every combination of parameters. What the fitted models need
# is imported here; otherwise each of those forks would spend 2 s on it.
import sklearn.dummy
import sklearn.ensemble
import sklearn.linear_model  # noqa: F401

import infbench
from infbench import measure, timing
from infbench.machine import usable_cpus
from infbench.runners.base import Runner

from . import quiet_server  # noqa: F401  # otherwise asv would keep taking a CPU from the workers

RELEASE_SET = ("scikit-learn", "numpy", "scipy", "joblib")

MODELS = ["random_forest", "hist_gradient_boosting", "logistic_regression"]
RUNNERS = ["serial", "process", "pool", "native", "loky"]
N_SAMPLES = 4_000
BATCH_SIZE = 500
N_FEATURES = 20
N_PROCESSES = 2

N_ROUNDS = {"random_forest": 9, "hist_gradient_boosting": 9, "logistic_regression": 25, "dummy": 25}
"""Samples of each benchmark. Passes of a cheap model are noisy but short, so it gets more of them."""


def check_release_set(environment: str) -> None:
    """Raise unless the installed versions are those that an environment's name promises.

    Parameters
    ----------
    environment : str
        asv's name of the environment. Libraries that it does not name may have any version.

    Raises
    ------
    RuntimeError
        A wrong version would be measured, and its result stored as that of another version.
    """
    for library in RELEASE_SET:
        if f"-{library}" not in environment:
            continue
        installed = metadata.version(library)
        if f"-{library}{installed}-" not in f"{environment}-":
            raise RuntimeError(f"the environment {environment} has {library} {installed} installed")


def rows(n_samples: int) -> Any:
    """Return the rows to predict: float32 of shape (n_samples, N_FEATURES), the same ones under every release set."""
    return infbench.make_data(n_samples=n_samples, n_features=N_FEATURES, random_state=0)


def started(name: str, estimator: Any, n_processes: int = N_PROCESSES) -> Runner:
    """Start a runner for a suite that measures it warm. The suite closes it in its teardown.

    Raises
    ------
    NotImplementedError
        If there are fewer CPUs than processes. asv takes it for "skipped": another machine's results may have it.
    """
    skip_without_cpus(n_processes)
    if name == "serial":
        return infbench.make_runner(name, estimator).start()
    # A fork of this process finds the libraries loaded, which saves 2 s for each combination of parameters. It is safe
    # as long as nothing here has used OpenMP: asv has only imported the suite, and the estimator comes fitted from
    # `setup_cache`, which ran in another process. How workers start makes no difference to warm figures.
    options = {"start_method": "fork"} if name in ("process", "forest", "pool") else {}
    return infbench.make_runner(name, estimator, n_processes=n_processes, **options).start()


def skip_without_cpus(n_cpus: int) -> None:
    """Skip a benchmark, with the reason, if this process may use fewer CPUs."""
    if usable_cpus() < n_cpus:
        raise NotImplementedError(f"needs {n_cpus} CPUs, this process may use {usable_cpus()}")


class FittedModels:
    """Base of all suites: fits the models once for each environment and closes the runner."""

    runner: Runner | None = None

    def setup_cache(self) -> dict[str, Any]:
        """Fit every model, once for all suites: asv keeps the result by the place where this is defined."""
        check_release_set(os.environ.get("ASV_ENV_NAME", ""))
        return {name: infbench.make_model(name, n_features=N_FEATURES) for name in [*MODELS, "dummy"]}

    def teardown(self, *_: Any) -> None:
        """Close the runner that `setup` started, if it got that far."""
        if self.runner is not None:
            self.runner.close()


class WarmRunner(FittedModels):
    """Base of the suites that time the calls of a runner that has been running for a while."""

    def start(
        self,
        models: dict[str, Any],
        model: str,
        runner: str,
        n_samples: int,
        batch_size: int,
        n_processes: int = N_PROCESSES,
    ) -> None:
        """Start a runner, make the rows, and check that its answer is the serial one."""
        self.runner = started(runner, models[model], n_processes)
        self.n_rounds = N_ROUNDS[model]
        self.X = rows(n_samples)
        self.batch_size = batch_size
        measure.check_runner(self.runner, self.X, batch_size=batch_size)

    def seconds(self) -> dict[str, Any]:
        """Return the seconds of a pass over all rows, several times, in the form that asv keeps.

        asv's own ``time_*`` would run `setup` and `teardown` around every sample, and so time runners that have only
        just started.
        """
        runner = self.runner
        assert runner is not None
        (samples,) = timing.time_in_turn([lambda: runner.predict(self.X, batch_size=self.batch_size)], self.n_rounds)
        return {"samples": samples, "number": 1}
