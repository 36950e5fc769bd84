"""Memory of a process and of all that it started."""

from __future__ import annotations

import sys


def tells_pss() -> bool:
    """Tell whether `tree_pss_bytes` works on this system."""
    return sys.platform == "linux"


def tree_pss_bytes(pid: int | None = None) -> int:
    """Return the proportional set size of a process and all its descendants.

    A page that several processes share counts for each with its part, so the sum is what the tree really occupies.

    Parameters
    ----------
    pid : int or None, default=None
        The root of the tree. None: this process.

    Returns
    -------
    int
        Bytes. Processes that end meanwhile count for nothing.

    Raises
    ------
    psutil.NoSuchProcess
        Where there is no such process.
    AttributeError
        Where the system does not tell: only Linux does.
    """
    import psutil

    root = psutil.Process(pid)
    total = int(root.memory_full_info().pss)
    for child in root.children(recursive=True):
        try:
            total += int(child.memory_full_info().pss)
        except psutil.NoSuchProcess:
            continue
    return total
