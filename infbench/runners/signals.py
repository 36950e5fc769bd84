"""Ctrl-C, which a terminal sends to every process in it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ctrl_c_waits() -> Iterator[None]:
    """Return a context manager; a Ctrl-C inside it is told at its end, and never to the processes started inside it.

    Signals that are blocked stay so in new processes and threads. So these leave Ctrl-C to the caller, who ends them in
    order. (Where the system cannot block signals, nothing changes.)
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
