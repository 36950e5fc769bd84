"""CPUs that stay awake while something is timed.

While one process computes, all CPUs but its own have nothing to do, and may fall asleep. Where serial and parallel runs
take turns, each parallel run would then wait for CPUs to wake and to come back to speed, which is no property of a
runner in steady use: on the reference machine, a virtual one, that takes up to 5 % off a speedup (docs/awake.py).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from infbench.machine import usable_cpus

# Gives way to every other process at once, and ends with the one that started it, however that ends.
_KEEPER = """
import os, sys
cpu, parent = map(int, sys.argv[1:])
os.sched_setaffinity(0, {cpu})
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
print("awake", flush=True)
while os.getppid() == parent:
    for _ in range(1_000_000):
        pass
"""


def wakeful_cpus() -> list[int]:
    """Return the numbers of the CPUs that `cpus_awake` keeps awake, all that this process may use or none.

    Returns
    -------
    list of int
        Empty where that would do harm or cannot be done: where CPUs are threads of one core, and an idle one that is
        kept awake slows its sibling; where a container may use less time than its CPUs have; and outside of Linux.
    """
    if not hasattr(os, "SCHED_IDLE"):
        return []
    cpus = sorted(os.sched_getaffinity(0))
    return cpus if usable_cpus() >= len(cpus) and all(map(_has_a_core_of_its_own, cpus)) else []


@contextmanager
def cpus_awake() -> Iterator[None]:
    """Return a context manager; inside it `wakeful_cpus` have something to do that gives way to everything else."""
    with ExitStack() as keepers:
        for cpu in wakeful_cpus():
            keeper = keepers.enter_context(
                subprocess.Popen(  # noqa: S603  # our own program, with our own arguments
                    [sys.executable, "-I", "-S", "-c", _KEEPER, str(cpu), str(os.getpid())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    # In this session: Linux shares time out among sessions first, see sched(7) on autogroups.
                )
            )
            keepers.callback(_end, keeper)
            assert keeper.stdout is not None
            keeper.stdout.readline()  # it runs
        yield


def _end(keeper: subprocess.Popen[bytes]) -> None:
    keeper.kill()
    keeper.wait()  # on a busy machine it gives way to others even when it is to end


def _has_a_core_of_its_own(cpu: int) -> bool:
    try:
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text(encoding="ascii")
    except OSError:
        return False
    return siblings.strip() == str(cpu)
