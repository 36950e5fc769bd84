"""How long a CPU that has had nothing to do takes to come back to speed, with nothing of infbench.

    python docs/asleep.py

Needs Linux and two CPUs. One is busy all the time, as with serial inference. The other has nothing to do for 0.2 s
and then gets work: equal pieces of about 0.2 ms, timed one by one, for 0.4 s. Printed is how long a piece takes, by the
time since the pause, divided by what one takes at the end: once by itself, and once with a process on that CPU that
gives way to every other one, as `infbench.awake` starts it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

import numpy as np

ROUNDS = 20
PAUSE_S, WORK_S = 0.2, 0.4
AGES_MS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 300)
BUSY = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
if sys.argv[2] == "idle":
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
while True:
    pass
"""
SMALL, LARGE = np.ones((64, 64), np.float32), np.ones((1_000_000,), np.float32)
PIECES = {
    "in the first cache": lambda: [SMALL @ SMALL for _ in range(20)],
    "over 4 MB": LARGE.sum,
}


def ages_and_seconds(piece: str) -> list[tuple[float, float]]:
    """Return the time since the pause and the time that it took of each piece, in seconds."""
    work = PIECES[piece]
    time.sleep(PAUSE_S)
    begun_s = now_s = time.perf_counter()
    done = []
    while now_s - begun_s < WORK_S:
        before_s = now_s
        work()
        now_s = time.perf_counter()
        done.append((before_s - begun_s, now_s - before_s))
    return done


def slowness(piece: str) -> list[float]:
    """Return the median time of a piece for each of `AGES_MS`, divided by that of the last of them."""
    by_age: list[list[float]] = [[] for _ in AGES_MS]
    for _ in range(ROUNDS):
        for age_s, seconds in ages_and_seconds(piece):
            by_age[sum(age_s * 1e3 >= from_ms for from_ms in AGES_MS) - 1].append(seconds)
    medians = [statistics.median(values) if values else float("nan") for values in by_age]
    return [value / medians[-1] for value in medians]


def main() -> None:
    """Print a table."""
    busy, ours = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {ours})
    print(f"{'ms after the pause:':<38}", *(f"{age:>5}" for age in AGES_MS))
    with subprocess.Popen([sys.executable, "-c", BUSY, str(busy), "busy"]) as neighbour:
        for piece in PIECES:
            print(f"{piece + ', asleep before:':<38}", *(f"{ratio:5.2f}" for ratio in slowness(piece)), flush=True)
            with subprocess.Popen([sys.executable, "-c", BUSY, str(ours), "idle"]) as keeper:
                ratios = slowness(piece)
                keeper.kill()
            print(f"{piece + ', kept awake:':<38}", *(f"{ratio:5.2f}" for ratio in ratios), flush=True)
        neighbour.kill()


if __name__ == "__main__":
    main()
