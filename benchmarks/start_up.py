"""Time from nothing to the first answer."""

from __future__ import annotations

import os
from typing import Any

from .common import N_FEATURES, N_PROCESSES, check_release_set

_SETUP = f"""
import infbench
X = infbench.make_data(n_samples=2, n_features={N_FEATURES})
estimator = infbench.make_model("logistic_regression", n_features={N_FEATURES})
expected = estimator.predict(X)
"""

_STATEMENT = """
runner = infbench.ProcessRunner(estimator, n_processes={n_processes}, start_method="{start_method}")
answer = runner.start().predict(X, batch_size=1)
assert (answer == expected).all()
"""


class StartUp:
    """Seconds to start the workers and get the first answer from them, in an interpreter that has started none before.

    Each timing is taken in a fresh interpreter, in which the caller has imported scikit-learn and the workers have not.
    The environment holds compiled bytecode.
    """

    params = (["forkserver", "spawn", "fork"],)
    param_names = ("start_method",)
    number = 1
    rounds = 1
    repeat = 2
    warmup_time = 0

    def setup(self, *_: Any) -> None:
        check_release_set(os.environ.get("ASV_ENV_NAME", ""))

    def timeraw_first_answer(self, start_method: str) -> tuple[str, str]:
        return _STATEMENT.format(n_processes=N_PROCESSES, start_method=start_method), _SETUP

    timeraw_first_answer.pretty_name = "Start to first answer"  # type: ignore[attr-defined]
    timeraw_first_answer.version = "2"  # type: ignore[attr-defined]
