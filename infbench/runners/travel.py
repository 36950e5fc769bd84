"""Errors of an estimator on their way from a worker to the caller, where a library brings them.

Most libraries pickle what an estimator raised, and some of them wait for ever when the caller cannot load it.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from infbench.errors import WorkerError


@contextmanager
def errors_that_travel(dumps: Callable[[BaseException], bytes] = pickle.dumps) -> Iterator[None]:
    """Return a context manager for a worker; what is raised inside it, and could not be brought over, is replaced.

    Parameters
    ----------
    dumps : callable, default=pickle.dumps
        Pickles an exception as the library does that is in use.

    Raises
    ------
    WorkerError
        Instead of an exception that cannot be pickled or loaded again; the message holds its type and text.
    """
    try:
        yield
    except Exception as error:
        try:
            pickle.loads(dumps(error))
        except Exception:
            raise WorkerError.instead_of(error) from error
        raise
