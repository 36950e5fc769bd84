"""What it does to a speedup whether CPUs may fall asleep while others have their turn.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python docs/awake.py

Measures the same speedups with and without the processes of `infbench.awake`, in blocks that alternate, in one process
for each model. Printed are the medians of the paired ratios with their 95 % intervals. In short blocks there is little
to see: what one has woken is still awake in the next.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial

import infbench
from infbench import measure
from infbench.awake import cpus_awake, wakeful_cpus
from infbench.stats import ratio_estimate

BLOCKS, ROUNDS = 4, 25
WORKLOADS = (
    ("random_forest", 1_000, 500),
    ("hist_gradient_boosting", 1_000, 500),
    ("hist_gradient_boosting", 10_000, 1_000),
    ("logistic_regression", 1_000, 500),
    ("logistic_regression", 10_000, 1_000),
    ("mlp", 1_000, 500),
    ("mlp", 100_000, 50_000),
)


def main() -> None:
    """Print a row for each workload."""
    print(f"{len(wakeful_cpus())} CPUs can be kept awake here")
    print(f"{'model, rows / rows of a batch':<44}{'may sleep':>22}{'kept awake':>22}")
    for model, n_samples, batch_size in WORKLOADS:
        estimator = infbench.make_model(model)
        X = infbench.make_data(n_samples=n_samples)
        ways = {"may sleep": nullcontext, "kept awake": cpus_awake}
        serial_s: dict[str, list[float]] = {way: [] for way in ways}
        parallel_s: dict[str, list[float]] = {way: [] for way in ways}
        with infbench.SerialRunner(estimator) as serial, infbench.ProcessRunner(estimator, n_processes=2) as process:
            passes = [partial(runner.predict, X, batch_size=batch_size) for runner in (serial, process)]
            for _ in range(BLOCKS):
                for way, context in ways.items():
                    measure.cpus_awake = context  # what `time_in_turn` enters
                    serial_block_s, parallel_block_s = measure.time_in_turn(passes, ROUNDS)
                    serial_s[way] += serial_block_s
                    parallel_s[way] += parallel_block_s
        estimates = [ratio_estimate(serial_s[way], parallel_s[way]) for way in ways]
        cells = (f"{one.value:.2f} [{one.low:.2f}, {one.high:.2f}]" for one in estimates)
        print(f"{f'{model}, {n_samples:,} / {batch_size:,}':<44}", *(f"{cell:>21}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
