"""Time one estimator's `predict` under two installations of scikit-learn, in turn, without infbench.

    python docs/confirm.py OLD_PYTHON NEW_PYTHON MODEL N_ROWS [BACKEND]

The interpreters are those of two environments, such as asv makes in .asv/env. Each turn is a process of its own and
keeps its fastest call; each old turn and the new one after it give one ratio, new / old. With one of joblib's backends
(loky, threading), a call predicts eight batches of N_ROWS in two jobs of a `joblib.Parallel` that was used before.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

TURNS = 15
TURN = """
import sys, time
import joblib, sklearn
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

model, n_rows, backend = sys.argv[1], int(sys.argv[2]), sys.argv[3]
X, y = make_classification(5_000, 20, n_informative=10, random_state=0)
X = X.astype("float32")
estimator = {
    "logistic_regression": LogisticRegression(),
    "hist_gradient_boosting": HistGradientBoostingClassifier(random_state=0),
    "random_forest": RandomForestClassifier(random_state=0),
}[model].fit(X, y)
rows = X[:n_rows]

def fastest(call):
    call()
    best_s, end_s = float("inf"), time.perf_counter() + 0.5
    while time.perf_counter() < end_s:
        begun_s = time.perf_counter()
        call()
        best_s = min(best_s, time.perf_counter() - begun_s)
    return best_s

if backend:
    with joblib.Parallel(n_jobs=2, backend=backend) as parallel:
        best_s = fastest(lambda: parallel(joblib.delayed(estimator.predict)(rows) for _ in range(8)))
else:
    best_s = fastest(lambda: estimator.predict(rows))
print(f"{sklearn.__version__}, joblib {joblib.__version__}; {best_s}")
"""


def main() -> None:
    """Print the two times and their ratio."""
    old, new, model, n_rows, *backend = sys.argv[1:]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    best_s: list[list[float]] = [[], []]
    versions = ["", ""]
    for _ in range(TURNS):
        for side, python in enumerate((old, new)):
            command = [python, "-c", TURN, model, n_rows, "".join(backend)]
            done = subprocess.run(command, env=one_thread, check=True, capture_output=True, text=True)
            versions[side], seconds = done.stdout.split("; ")
            best_s[side].append(float(seconds))
    old_s, new_s = best_s
    ratios = sorted(b / a for a, b in zip(old_s, new_s, strict=True))
    print(
        f"{' '.join([model, *backend])}, {n_rows} rows: "
        f"{statistics.median(old_s) * 1e6:.0f} us with scikit-learn {versions[0]}, "
        f"{statistics.median(new_s) * 1e6:.0f} us with scikit-learn {versions[1]}; "
        f"new / old {statistics.median(ratios):.2f}, {TURNS} turns from {ratios[0]:.2f} to {ratios[-1]:.2f}"
    )


if __name__ == "__main__":
    main()
