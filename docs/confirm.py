"""Time one estimator's `predict` under two installations of scikit-learn, in turn, with nothing of infbench.

    python docs/confirm.py OLD_PYTHON NEW_PYTHON MODEL N_ROWS

The interpreters are those of two environments, as asv makes them in .asv/env. Each turn is a process of its own and
keeps its fastest call; each two neighbouring turns give one ratio, new / old.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

TURNS = 15
TURN = """
import sys, time
import numpy as np, sklearn
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

model, n_rows = sys.argv[1], int(sys.argv[2])
X, y = make_classification(5_000, 20, n_informative=10, random_state=0)
X = X.astype("float32")
estimator = {
    "logistic_regression": LogisticRegression(),
    "hist_gradient_boosting": HistGradientBoostingClassifier(random_state=0),
    "random_forest": RandomForestClassifier(random_state=0),
}[model].fit(X, y)
rows, best_s, end_s = X[:n_rows], float("inf"), time.perf_counter() + 0.5
while time.perf_counter() < end_s:
    begun_s = time.perf_counter()
    estimator.predict(rows)
    best_s = min(best_s, time.perf_counter() - begun_s)
print(sklearn.__version__, best_s)
"""


def main() -> None:
    """Print the two times and their ratio."""
    *pythons, model, n_rows = sys.argv[1:]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    best_s: dict[str, list[float]] = {}
    for _ in range(TURNS):
        for python in pythons:
            command = [python, "-c", TURN, model, n_rows]
            done = subprocess.run(command, env=one_thread, check=True, capture_output=True, text=True)
            version, seconds = done.stdout.split()
            best_s.setdefault(version, []).append(float(seconds))
    (old, old_s), (new, new_s) = best_s.items()
    ratios = sorted(b / a for a, b in zip(old_s, new_s, strict=True))
    print(
        f"{model}, {n_rows} rows: {statistics.median(old_s) * 1e6:.0f} us with {old}, "
        f"{statistics.median(new_s) * 1e6:.0f} us with {new}; new / old {statistics.median(ratios):.2f}, "
        f"{TURNS} turns from {ratios[0]:.2f} to {ratios[-1]:.2f}"
    )


if __name__ == "__main__":
    main()
