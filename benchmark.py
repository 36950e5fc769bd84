"""One process against several: prints the comparison and writes it to results.txt.

Change the parameters here, or give them on the command line: ``python benchmark.py --n-samples 20000``. Everything that
``infbench compare`` takes may be given.
"""

from __future__ import annotations

import sys

from infbench.cli import main

n_samples = 50_000  # rows to predict
n_features = None  # columns; None: 20 synthetic ones, or those of other data
n_processes = None  # processes that compute; None: one for each CPU that may be used
batch_size = 1_000  # rows of a batch

# Worker processes import this file too, and must not start the benchmark again.
if __name__ == "__main__":
    main(
        [
            "compare",
            f"--n-samples={n_samples}",
            f"--n-features={n_features}",
            f"--n-processes={n_processes}",
            f"--batch-size={batch_size}",
            "--output=results.txt",
            *sys.argv[1:],
        ]
    )
