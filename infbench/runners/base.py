"""What a runner is.

A runner holds a fitted estimator and predicts on many rows with it, batch after batch. Runners differ in what computes
a batch: this process, other processes, or threads. They do not differ in the answer: on the same batches every runner
returns what `SerialRunner` returns, bit for bit, with the same dtype, shape and order of rows, or raises an exception
of the same class. (A runner that cannot promise the last bit says so in `Runner.bit_exact`, or in its notes if it
depends on the memory layout of the rows; docs/runners.md says which runners compute under the caller's settings.)

A runner is started once and then used for many calls. ::

    with SomeRunner(estimator, n_processes=4) as runner:
        labels = runner.predict(X, batch_size=1_000)

Writing a runner takes three methods, `_start`, `_close` and `_run`, and a line in `infbench.runners.RUNNERS`. What all
runners need (checking arguments, splitting into batches, joining the answers) is here and in
`infbench.runners.batches`. `tests/contracts.py` holds the tests that every runner must pass.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np

from infbench.checks import check_positive_int
from infbench.errors import MissingMethodError, RunnerError
from infbench.machine import usable_cpus
from infbench.runners.batches import Batches, check_rows, sliceable

METHODS = ("predict", "predict_proba", "decision_function", "transform")
"""Methods of an estimator that a runner can call."""


def check_estimator(estimator: Any) -> None:
    """Raise unless the estimator is fitted, as far as can be told.

    Parameters
    ----------
    estimator : object
        It is checked only if it and all estimators among its parameters are scikit-learn's. Others may keep what they
        have learnt where scikit-learn does not look for it, or may learn nothing.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        What the estimator's own methods would raise, but before any process starts.
    """
    parts = (estimator, *parameters_of(estimator).values())
    if not hasattr(estimator, "fit") or not all(_of_sklearn(part) for part in parts if hasattr(part, "fit")):
        return
    from sklearn.utils.validation import check_is_fitted  # only now: other estimators do not need it loaded

    # Before 1.6, scikit-learn does not know by itself that stateless transformers have nothing to fit.
    is_old = hasattr(estimator, "_get_tags") and not hasattr(estimator, "__sklearn_tags__")
    stateless = is_old and estimator._more_tags().get("stateless", False)  # noqa: SLF001
    if (is_old or hasattr(estimator, "__sklearn_tags__")) and not stateless:
        check_is_fitted(estimator)


def _of_sklearn(estimator: Any) -> bool:
    kind = estimator if isinstance(estimator, type) else type(estimator)
    return kind.__module__.split(".")[0] == "sklearn"


def parameters_of(estimator: Any) -> dict[str, Any]:
    """Return what ``get_params`` gives; nothing if the estimator does not keep its parameters as scikit-learn's do.

    Parameters
    ----------
    estimator : object
    """
    try:
        return dict(estimator.get_params())
    except Exception:
        return {}


def check_method(estimator: Any, method: str) -> None:
    """Raise unless the estimator has the method and a runner can call it.

    Parameters
    ----------
    estimator : object
    method : str

    Raises
    ------
    MissingMethodError
    """
    if method not in METHODS or not hasattr(estimator, method):
        available = [name for name in METHODS if hasattr(estimator, name)]
        raise MissingMethodError(
            f"{type(estimator).__name__} has no method {method!r} for a runner to call, it has: {', '.join(available)}"
        )


class Runner(ABC):
    """One way to run an estimator over batches.

    Parameters
    ----------
    estimator : object
        A fitted estimator. It is not changed and must not be changed while the runner is in use.
    n_processes : int or None, default=None
        How many processes compute, including the caller if it computes too. None: one for each CPU that this process
        may use, by affinity and container limits.
    inner_threads : int or None, default=1
        BLAS and OpenMP threads within each process that computes. None leaves the libraries at their defaults.

    Attributes
    ----------
    name : str
        The runner's name in `infbench.RUNNERS`.
    bit_exact : bool
        Whether the answer equals the serial one to the last bit. If not, labels are still equal and floats agree up to
        rounding.
    shares_out_rows : bool
        Whether the batches of a call may be computed side by side. If not, a call has one batch by default.
    closes_after_call : bool
        Whether closing the runner in a signal handler, in the middle of a call, takes effect only when that call is
        over, because what the runner is built on cannot be ended earlier.
    takes_over : bool
        Whether a process that has finished its own share may take over part of another's, if the runner can do that.
        Without it, each process computes its own share of every call, even of one that is quicker computed alone.
    estimator, n_processes, inner_threads
        As given; `n_processes` is always a number.

    Raises
    ------
    InvalidParameterError
        If a number is not a positive int.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    Notes
    -----
    Threads may share a runner: their calls take turns, and starting and closing wait until the current call is over. A
    fork of the process may not use it: it gets a `RunnerError`.
    """

    name: ClassVar[str]
    bit_exact: ClassVar[bool] = True
    shares_out_rows: ClassVar[bool] = True
    closes_after_call: ClassVar[bool] = False
    takes_over: bool = True
    _is_called: bool
    _must_close: bool

    def __init__(self, estimator: Any, n_processes: int | None = None, *, inner_threads: int | None = 1) -> None:
        check_positive_int("n_processes", n_processes, allow_none=True)
        check_positive_int("inner_threads", inner_threads, allow_none=True)
        check_estimator(estimator)
        self.estimator = estimator
        self.n_processes = usable_cpus() if n_processes is None else int(n_processes)
        self.inner_threads = None if inner_threads is None else int(inner_threads)
        self._make_turn()
        self._started_in_pid: int | None = None

    def start(self) -> Self:
        """Start what the runner needs. May be called again; then it does nothing.

        Returns
        -------
        Runner
            The runner itself, ready. The code that starts it must close it.

        Raises
        ------
        RunnerError
            In a fork of the process that started it, and if the runner cannot run in this process or on this system.
        WorkerStartError
            If workers fail to start; none is left running then.
        """
        self._leave_turn_to_parent()
        if self._started_in_pid is not None:
            self._check_started()
        with self._turn:
            if self._started_in_pid is None:
                self._start()
                self._started_in_pid = os.getpid()
        return self

    def close(self) -> None:
        """End everything that `start` started. May be called again; then it does nothing.

        For closing in a signal handler, in the middle of a call, see `closes_after_call`.
        """
        self._leave_turn_to_parent()
        if self._started_in_pid not in (None, os.getpid()):
            self._started_in_pid = None
            self._close_in_fork()
            return
        with self._turn:
            started_in_pid, self._started_in_pid = self._started_in_pid, None
            if started_in_pid is None:
                return
            if self._is_called and self.closes_after_call:
                self._must_close = True
            else:
                self._close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def predict(self, X: Any, *, batch_size: int | None = None) -> Any:
        """Call the estimator's ``predict`` on all rows.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Anything that the estimator takes.
        batch_size : int or None, default=None
            Rows handed to one call of the estimator. None: an even share for each process, or all rows if the runner
            does not share them out: ``serial``, ``forest``, ``native`` and, if it does not pay, ``auto``.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            What the estimator returns, with the batches joined in the order of the rows.

        Raises
        ------
        InvalidParameterError
            If `batch_size` is not a positive int, or `X` has no rows, is not two-dimensional, or has a different number
            of features from the rows that the estimator was fitted on.
        MissingMethodError
            If the estimator has no such method.
        RunnerError
            If the runner is not started or is already running a call on this thread, or if a worker fails.
        Exception
            Whatever the estimator raises: the exception of the first failing batch or, with ``pool``,
            ``pool_per_task``, ``loky``, ``threading``, ``mpire``, ``dask`` and ``ray``, that of any failing batch.
        """
        return self.run("predict", X, batch_size=batch_size)

    def predict_proba(self, X: Any, *, batch_size: int | None = None) -> Any:
        """Call the estimator's ``predict_proba`` on all rows; otherwise as `predict`.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), or list of n_outputs such arrays
        """
        return self.run("predict_proba", X, batch_size=batch_size)

    def decision_function(self, X: Any, *, batch_size: int | None = None) -> Any:
        """Call the estimator's ``decision_function`` on all rows; otherwise as `predict`.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
        """
        return self.run("decision_function", X, batch_size=batch_size)

    def transform(self, X: Any, *, batch_size: int | None = None) -> Any:
        """Call the estimator's ``transform`` on all rows; otherwise as `predict`.

        Returns
        -------
        ndarray, sparse matrix or DataFrame of shape (n_samples, n_components)
        """
        return self.run("transform", X, batch_size=batch_size)

    def run(self, method: str, X: Any, *, batch_size: int | None = None) -> Any:
        """Call a method of the estimator on all rows.

        Parameters
        ----------
        method : str
            One of `METHODS`, if the estimator has it.
        X, batch_size
            See `predict`.

        Returns
        -------
        ndarray, list of ndarray, sparse matrix or DataFrame
            See the method of that name.

        Raises
        ------
        Exception
            See `predict`.
        """
        check_positive_int("batch_size", batch_size, allow_none=True)
        check_method(self.estimator, method)
        n_samples = check_rows(X, self.estimator)
        if batch_size is None:
            batch_size = self.default_batch_size(n_samples, method)
        self._check_started()
        with self._turn:
            if self._is_called:
                raise RunnerError(
                    f"{type(self).__name__} is already running a call on this thread: a signal handler cannot use it"
                )
            return self._call(method, Batches(sliceable(X), n_samples, int(batch_size)))

    def _call(self, method: str, batches: Batches) -> Any:
        """Compute all batches, then close if a signal handler has asked for that meanwhile."""
        self._is_called = True
        try:
            self._check_started()  # another thread, or a signal handler, may have closed it meanwhile
            return self._run(method, batches)
        finally:
            self._is_called = False
            if self._must_close:
                self._must_close = False
                self._close()

    def default_batch_size(self, n_samples: int, method: str = "predict") -> int:  # noqa: ARG002  # for `auto`
        """Return the default number of rows of a batch: the fewest batches that keep every process busy.

        Parameters
        ----------
        n_samples : int
        method : str, default="predict"
            The method to be called; ``auto`` decides for each method separately.

        Returns
        -------
        int
        """
        return -(-n_samples // self.n_processes) if self.shares_out_rows else n_samples

    def empty(self, shape: int | Sequence[int], dtype: Any = np.float64) -> np.ndarray[Any, Any]:
        """Return a new array for rows, in the memory that suits the runner best.

        Parameters
        ----------
        shape, dtype
            As for `numpy.empty`.

        Returns
        -------
        ndarray of shape `shape`
            Not initialised. It may outlive the runner. With ``process`` it takes two file descriptors while it lives.

        Raises
        ------
        RunnerError
            If the runner is not started.
        ValueError
            If a length is negative.
        MemoryError, OSError
            If there is not enough memory.
        """
        self._check_started()
        return self._empty(shape, dtype)

    def _make_turn(self) -> None:
        self._turn = threading.RLock()  # a signal handler may close what its own thread is using
        self._turn_pid = os.getpid()
        self._is_called = self._must_close = False

    def _leave_turn_to_parent(self) -> None:
        """Make a new lock in a fork: the thread that held the old one does not exist there and cannot release it."""
        if self._turn_pid != os.getpid():
            self._make_turn()

    def _check_started(self) -> None:
        if self._started_in_pid is None:
            raise RunnerError(f"{type(self).__name__} is not started: use it in a `with` statement or call start()")
        if self._started_in_pid != os.getpid():
            raise RunnerError(
                f"{type(self).__name__} was started in process {self._started_in_pid} and cannot be used in its fork "
                f"{os.getpid()}: make a runner of its own there"
            )

    def _check_not_closed(self, cause: BaseException | None = None) -> None:
        """Raise, in the middle of a call, if a signal handler has closed the runner."""
        if self._started_in_pid is None:
            raise RunnerError("the runner was closed during the call") from cause

    def _empty(self, shape: int | Sequence[int], dtype: Any) -> np.ndarray[Any, Any]:
        return np.empty(shape, dtype)

    @abstractmethod
    def _start(self) -> None:
        """Start; leave nothing behind on failure."""

    @abstractmethod
    def _close(self) -> None:
        """End everything, even after a call that was interrupted half-way."""

    def _close_in_fork(self) -> None:  # noqa: B027  # most runners hold nothing there
        """Release what a fork has inherited of the runner, without touching the process that started it."""

    @abstractmethod
    def _run(self, method: str, batches: Batches) -> Any:
        """Compute all batches and return the joined answer."""
