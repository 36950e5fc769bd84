"""Memory of a process and all its descendants."""

from __future__ import annotations

import sys
from pathlib import Path


def tells_pss() -> bool:
    """Tell whether `tree_pss_bytes` works on this system."""
    return sys.platform == "linux" and Path("/proc/self/smaps").exists()  # a kernel may be built without it


def tree_pss_bytes(pid: int | None = None) -> int:
    """Return the proportional set size of a process and all its descendants.

    A page that several processes share is divided among them, so the sum is what the tree really occupies.

    Parameters
    ----------
    pid : int or None, default=None
        The root of the tree. None: this process.

    Returns
    -------
    int
        Bytes. Descendants that end meanwhile do not count, nor do those of other users, which cannot be inspected.

    Raises
    ------
    psutil.NoSuchProcess
        If there is no such process.
    AttributeError
        If the system does not tell: see `tells_pss`.
    """
    import psutil

    root = psutil.Process(pid)
    total = int(root.memory_full_info().pss)
    for child in root.children(recursive=True):
        try:
            total += int(child.memory_full_info().pss)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total
