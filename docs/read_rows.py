"""Show how long a worker of `ProcessRunner` takes to read a batch from its caller's memory.

    .venv/bin/python docs/read_rows.py

For each of several sizes: 50 batches that begin 4 MB apart, and so are in no cache when they are read, and one that is
read again and again. The quartiles are in brackets.
"""

from __future__ import annotations

import multiprocessing
import time
from statistics import quantiles

import numpy as np

from infbench.runners.workers.caller_memory import CallerMemory, OwnMemory, address_of

ALL_BYTES = 200_000_000
BATCH_BYTES = (8_000, 80_000, 400_000, 4_000_000)
READS = 50


def show(memory: CallerMemory, batch_bytes: int, addresses: list[int]) -> None:
    """Print how long it takes to read what lies at each address."""
    batch = np.empty(batch_bytes, np.uint8)
    seconds = []
    for address in addresses:
        began_s = time.perf_counter()
        memory.read(batch, address)
        seconds.append(time.perf_counter() - began_s)
    low, typical, high = (value * 1e6 for value in quantiles(seconds, n=4))
    where = "the same again" if len({*addresses}) == 1 else "another each time"
    print(f"{batch_bytes:>9,} bytes, {where:<17}: {typical:>6.1f} us [{low:.1f}, {high:.1f}]", flush=True)


def work(fd: int, pid: int, sample_address: int, address: int) -> None:
    """Read the memory of the process that this one was forked from."""
    memory = CallerMemory(fd, pid, sample_address)
    for batch_bytes in BATCH_BYTES:
        step = ALL_BYTES // READS
        show(memory, batch_bytes, [address + read * step for read in range(READS)])
        show(memory, batch_bytes, [address] * READS)


def main() -> None:
    """Fork the worker once there is something to read."""
    rows = np.random.default_rng(0).integers(0, 256, ALL_BYTES, np.uint8)
    own = OwnMemory()
    place = own.fd, own.pid, own.sample_address, address_of(rows)
    worker = multiprocessing.get_context("fork").Process(target=work, args=place)
    worker.start()
    worker.join()
    own.close()


if __name__ == "__main__":
    main()
