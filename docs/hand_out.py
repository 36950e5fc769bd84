"""Show how much work there must be for `ProcessRunner` to gain by having another process compute half of it.

    .venv/bin/python docs/hand_out.py

Two models, one that only waits and one that gives all rows the same answer, predict batches of 100 rows, in turn in one
process and in two, which share every call whatever it costs. The calls follow each other, or come after a pause, when
the worker sleeps.
"""

from __future__ import annotations

import time
from functools import partial
from itertools import product
from statistics import median
from typing import Any

import infbench
from infbench.stats import ratio_estimate
from infbench.timing import time_after_pauses, time_in_turn

BATCH_SIZE = 100
ROUNDS = 40
WAITING = {"warm": (50, 60, 70, 80, 90, 100, 120, 150), "after a pause": (300, 400, 500, 600, 800, 1_000)}
"""How long half of the batches take, in microseconds."""
ANSWERING = {"warm": (6, 8, 10, 12, 16, 20), "after a pause": (30, 40, 50, 60, 80)}
"""How many batches there are."""
TIMED = {"warm": time_in_turn, "after a pause": time_after_pauses}


class Waits:
    """Answers after a while, during which it keeps its CPU busy."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def predict(self, X: Any) -> Any:
        """Return the first column."""
        end_s = time.perf_counter() + self.seconds
        while time.perf_counter() < end_s:
            pass
        return X[:, 0]


def compute(estimator: Any, X: Any) -> None:
    """Predict all batches, with no runner around it."""
    for first in range(0, len(X), BATCH_SIZE):
        estimator.predict(X[first : first + BATCH_SIZE])


def take_turns(when: str, estimator: Any, n_batches: int, *, takes_over: bool) -> list[tuple[float, ...]]:
    """Return the seconds of the bare calls, of one process and of two, which know the cost from an earlier call."""
    X = infbench.make_data(n_samples=n_batches * BATCH_SIZE, random_state=0)
    with infbench.SerialRunner(estimator) as one, infbench.ProcessRunner(estimator, n_processes=2) as two:
        two.takes_over = takes_over
        two.predict(X, batch_size=BATCH_SIZE)
        calls = [partial(runner.predict, X, batch_size=BATCH_SIZE) for runner in (one, two)]
        return TIMED[when]([partial(compute, estimator, X), *calls], ROUNDS)


def show(when: str, name: str, estimator: Any, n_batches: int) -> None:
    """Print what two processes gain."""
    bare_s, one_s, two_s = take_turns(when, estimator, n_batches, takes_over=False)
    speedup = ratio_estimate(one_s, two_s)
    print(
        f"{when}, {name}, {n_batches} batches, half of them {median(bare_s) / 2 * 1e6:.0f} us: "
        f"speedup {speedup.value:.2f} [{speedup.low:.2f}, {speedup.high:.2f}]",
        flush=True,
    )


def show_alone() -> None:
    """Print how much longer a call that is not shared takes than with the serial runner."""
    _, one_s, two_s = take_turns("warm", Waits(10e-6), 2, takes_over=True)
    print(f"warm, waits, 2 batches that are not shared: {(median(two_s) - median(one_s)) * 1e6:.0f} us more")


def main() -> None:
    """Print a line for each model, number of batches and time that half of them take."""
    show_alone()
    for when in TIMED:
        for n_batches, half_us in product((2, 4, 10), WAITING[when]):
            show(when, "waits", Waits(half_us * 2e-6 / n_batches), n_batches)
        for n_batches in ANSWERING[when]:
            show(when, "answers", infbench.make_model("dummy"), n_batches)


if __name__ == "__main__":
    main()
