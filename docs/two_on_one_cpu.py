"""Show two ways in which a caller and its worker come to share one CPU while another is idle, without infbench.

    python docs/two_on_one_cpu.py

First: a message through a socket wakes a worker on the sender's CPU. Both then compute the same, by turns with a worker
that may wake anywhere and with one that is kept off that CPU. Second: threads of OpenBLAS keep looking for work after a
product of two matrices.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import statistics
import time
from hashlib import pbkdf2_hmac
from multiprocessing.connection import Connection

TURNS = 40
PAUSE_S = 0.05
LOOK_S = 0.012

this_cpu = ctypes.CDLL(None).sched_getcpu


def compute() -> None:
    """Compute for about 5 ms."""
    pbkdf2_hmac("sha256", b"", b"", 16_000)


def work(connection: Connection) -> None:
    """Compute whenever a message comes, and tell on which CPU that was."""
    while connection.recv_bytes():
        cpu = this_cpu()
        compute()
        connection.send(cpu)


def show_where_a_worker_wakes() -> None:
    """Print how often the worker woke on the caller's CPU, and how long both took."""
    cpus = os.sched_getaffinity(0)
    ours, theirs = multiprocessing.Pipe()
    worker = multiprocessing.Process(target=work, args=(theirs,), daemon=True)
    worker.start()
    n_together = {"anywhere": 0, "kept off": 0}
    both_s: dict[str, list[float]] = {"anywhere": [], "kept off": []}
    alone_s = []
    for turn in range(2 * TURNS):
        where = ("anywhere", "kept off")[turn % 2]
        time.sleep(PAUSE_S)
        begun_s = time.perf_counter()
        compute()
        alone_s.append(time.perf_counter() - begun_s)
        cpu = this_cpu()
        os.sched_setaffinity(worker.pid, cpus - {cpu} if where == "kept off" else cpus)
        begun_s = time.perf_counter()
        ours.send_bytes(b"compute")
        compute()
        n_together[where] += ours.recv() == cpu
        both_s[where].append(time.perf_counter() - begun_s)
    ours.send_bytes(b"")
    worker.join()
    print(f"alone: {statistics.median(alone_s) * 1e3:.1f} ms")
    for where, seconds in both_s.items():
        print(
            f"both, worker {where}: {statistics.median(seconds) * 1e3:.1f} ms; "
            f"it woke on the caller's CPU {n_together[where]} times of {TURNS}"
        )


def show_how_long_threads_look_for_work() -> None:
    """Print for how long threads use a CPU after the last product of two matrices."""
    import numpy as np

    A = np.ones((500, 500))
    lengths_s = []
    for _ in range(10):
        A @ A
        begun_s = time.perf_counter()
        busy = True
        while busy:
            used_s = time.process_time()
            time.sleep(LOOK_S)
            busy = time.process_time() - used_s > LOOK_S / 4
        lengths_s.append(time.perf_counter() - begun_s - LOOK_S)
    print(f"numpy {np.__version__}: its threads look for work for {statistics.median(lengths_s) * 1e3:.0f} ms")


if __name__ == "__main__":
    show_where_a_worker_wakes()
    show_how_long_threads_look_for_work()
