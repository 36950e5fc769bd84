r"""Show what two processes gain in the rounds of a comparison, grouped by what plain loops gained in the same rounds.

::

    export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
    .venv/bin/infbench compare --model logistic_regression --n-samples 10000 --batch-size 1000 --n-processes 2 \
        --repeat 300 --json docs/shared_core.json
    .venv/bin/python docs/shared_core.py docs/shared_core.json
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from infbench.results import Comparison, comparisons_from_json
from infbench.stats import paired_ratios

KINDS = {"below 1.4": (0.0, 1.4), "1.4 to 1.75": (1.4, 1.75), "above": (1.75, float("inf"))}


def rows(comparison: Comparison) -> Iterator[str]:
    """Yield a row of a Markdown table for each kind of round: medians of what was measured in those rounds."""
    loops = paired_ratios(comparison.loop_alone_s, comparison.loops_together_s)
    ratios = (
        loops,
        paired_ratios(comparison.serial_s, comparison.parallel_s),
        paired_ratios(comparison.serial_s, comparison.serial_again_s),
    )
    for kind, (least, most) in KINDS.items():
        chosen = [i for i, gain in enumerate(loops) if least <= gain < most]
        figures = [f"{median(values[i] for i in chosen):.2f}" if chosen else "-" for values in ratios]
        yield f"| {kind} | {len(chosen)} | {' | '.join(figures)} |"


if __name__ == "__main__":
    for measured in comparisons_from_json(Path(sys.argv[1]).read_text(encoding="utf-8")):
        print(*rows(measured), sep="\n")
