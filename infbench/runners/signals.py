"""Signals that arrive while processes start, are written to, or are about to end."""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from traceback import walk_tb
from typing import Any

_MOST_ACTION_BYTES = 256  # of a struct sigaction, which takes 152 on Linux


@contextmanager
def ctrl_c_waits() -> Iterator[None]:
    """Return a context manager; a Ctrl-C inside it takes effect at its end, and never in processes started inside it.

    A terminal sends Ctrl-C to all of its processes. This is for a library that starts several processes and cannot be
    stopped half-way. It does nothing outside the main thread, the only one that is told of Ctrl-C, or if the system
    cannot block signals.
    """
    tell: Any = signal.getsignal(signal.SIGINT)
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not callable(tell) or not in_main_thread or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # a later start, with a process, would unblock the signal for that process
    came: list[Any] = []
    sigaction = ctypes.CDLL(None).sigaction
    action = ctypes.create_string_buffer(_MOST_ACTION_BYTES)  # it may not be Python's: uWSGI has its own
    sigaction(signal.SIGINT, None, action)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        # New processes and threads inherit what is blocked. Other threads may take the signal all the same: hence the
        # handler too.
        signal.signal(signal.SIGINT, lambda *arguments: came.append(arguments))
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        yield
    finally:
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        finally:
            signal.signal(signal.SIGINT, tell)
            sigaction(signal.SIGINT, action, None)
            if came:  # also if something was raised inside
                signal.raise_signal(signal.SIGINT)


def leave_ending_to_the_caller() -> None:
    """Ignore Ctrl-C and SIGTERM, which terminals and service managers send to every process of a program.

    The program may have a call to finish first. Helpers end with the program, as their connections do.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: None)  # processes that an estimator starts would inherit SIG_IGN


def raised_by_handler(error: BaseException) -> bool:
    """Tell whether a signal handler raised an exception, which then has nothing to do with the code it interrupted.

    Only handlers that are functions or methods are recognised.
    """
    handlers = map(signal.getsignal, signal.valid_signals())
    codes = {getattr(handler, "__code__", None) for handler in handlers}
    return any(frame.f_code in codes for frame, _ in walk_tb(error.__traceback__))


@contextmanager
def broken_pipe_raises() -> Iterator[None]:
    """Return a context manager in which writing to a process that is gone only raises BrokenPipeError.

    Python always does this, except in programs that restore SIGPIPE's default action, which ends them.
    """
    if signal.getsignal(signal.SIGPIPE) is not signal.SIG_DFL:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
    try:
        yield
    finally:
        if signal.SIGPIPE in signal.sigpending():
            signal.sigwait({signal.SIGPIPE})
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
