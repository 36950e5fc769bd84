"""What every runner must do: checks that take a started runner of an estimator and compare it with `SerialRunner`."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from infbench import SerialRunner
from infbench.answers import check_same_answer
from infbench.errors import RunnerError


def check_outcome(runner, method, X, batch_size, *, bit_exact=True):
    """The runner returns what the serial one returns, or raises an exception of the same class."""
    try:
        with SerialRunner(runner.estimator) as serial:
            serial.run(method, X, batch_size=batch_size)
    except Exception as error:
        check_raises(runner, method, X, batch_size, type(error))
    else:
        check_answer(runner, method, X, batch_size, bit_exact=bit_exact)


def check_answer(runner, method, X, batch_size, *, bit_exact=True):
    """The runner returns what the serial one returns."""
    with SerialRunner(runner.estimator) as serial:
        expected = serial.run(method, X, batch_size=batch_size)
    for takes_over in (False, True):  # the caller might compute all that a worker has not begun
        runner.takes_over = takes_over
        got = runner.run(method, X, batch_size=batch_size)
        check_same_answer(expected, got, bit_exact=runner.bit_exact and bit_exact)


def check_raises(runner, method, X, batch_size, kind):
    with pytest.raises(kind) as raised:
        runner.run(method, X, batch_size=batch_size)
    assert raised.type is kind


def check_survives_errors(runner, X):
    """Whatever a batch raises is raised here, and the next call is right. For `estimators.Misbehaves`."""
    for mark, kind, message in [
        (-1, {"ZeroDivisionError"}, "a marked row"),
        (-3, {"Named", "WorkerError"}, "this and that"),
        (-4, {"Local", "WorkerError"}, "has no name elsewhere"),
    ]:
        runner.takes_over = False  # otherwise the caller might raise it
        with pytest.raises(Exception, match=message) as raised:
            runner.predict(_marked(X, mark), batch_size=10)
        assert raised.type.__name__ in kind
        check_answer(runner, "predict", X, 10)


def check_survives_death(runner, X):
    """A batch that kills its worker is reported, and the next call is right. For `estimators.Misbehaves`."""
    runner.takes_over = False
    with pytest.raises(RunnerError):
        runner.predict(_marked(X, -5), batch_size=10)
    check_answer(runner, "predict", X, 10)


def check_threads(runner, X, method="predict", n_wanted=1):
    """Every batch is computed with `n_wanted` threads, and the caller's limits stay. For `estimators.TellsThreads`."""
    before = _threads_by_library()
    _, n_threads, n_jobs = runner.run(method, X, batch_size=-(-len(X) // 2)).T
    assert set(n_threads) == {n_wanted}
    if n_wanted == 1:  # otherwise nobody limits the number of jobs
        assert set(n_jobs) == {1}
    assert _threads_by_library() == before


def _threads_by_library():
    return {library["filepath"]: library["num_threads"] for library in threadpool_info()}


def _marked(X, mark):
    X = X.copy()
    X[len(X) * 3 // 4, 0] = mark
    return X


def layouts(X):
    """Give the same kind of rows in every layout and type of number that an array can have."""
    return {
        "C": np.ascontiguousarray(X),
        "Fortran": np.asfortranarray(X),
        "every second row": np.repeat(X, 2, axis=0)[::2],
        "every second column": np.repeat(X, 2, axis=1)[:, ::2],
        "backwards": X[::-1],
        "columns backwards": X[:, ::-1],
        "one row, broadcast": np.broadcast_to(X[:1], X.shape),
        "a far stride": np.repeat(X, 50, axis=0)[::50],
        "float16": X.astype(np.float16),
        "float64": X.astype(np.float64),
        "big-endian": X.astype(">f4"),
        "ints": X.astype(np.int64),
        "bools": X > 0,
        "objects": X.astype(object),
        "read-only": _read_only(X),
    }


def _read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X
