"""Errors of an estimator on their way from a worker to the caller, if another library carries them.

Most libraries pickle what an estimator raised, and some of them wait forever if the caller cannot load it.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from infbench.errors import WorkerError


@contextmanager
def errors_that_travel(dumps: Callable[[BaseException], bytes] = pickle.dumps) -> Iterator[None]:
    """Return a context manager for a worker that replaces errors raised inside it that cannot reach the caller.

    Parameters
    ----------
    dumps : callable, default=pickle.dumps
        Pickles an exception as the library in use does.

    Raises
    ------
    WorkerError
        Instead of an exception that cannot be pickled or loaded again; the message holds its type and its text.
    """
    try:
        yield
    except Exception as error:
        try:
            pickle.loads(dumps(error))
        except Exception:
            raise WorkerError.instead_of(error) from error
        raise
