"""The errors that infbench raises, all of them kinds of `InfbenchError`."""

from __future__ import annotations

from collections.abc import Iterable


class InfbenchError(Exception):
    """Base class of every error that infbench raises by itself."""


class InvalidParameterError(InfbenchError, ValueError):
    """A parameter has a value that is not allowed; the message says what is allowed and what was given."""


class UnknownNameError(InvalidParameterError):
    """A model, runner, data set or method has no such name.

    Parameters
    ----------
    kind : str
        What was asked for, as the message should call it: ``"model"``.
    name : object
        The name that was given.
    allowed : iterable of str
        The names that exist, in the order in which they should be listed.

    Examples
    --------
    >>> raise UnknownNameError("model", "forrest", ["random_forest", "svc"])
    Traceback (most recent call last):
    ...
    infbench.errors.UnknownNameError: unknown model 'forrest', allowed: random_forest, svc
    """

    def __init__(self, kind: str, name: object, allowed: Iterable[str]) -> None:
        self._arguments = (kind, name, tuple(allowed))
        super().__init__(f"unknown {kind} {name!r}, allowed: {', '.join(self._arguments[2])}")

    def __reduce__(self) -> tuple[type[UnknownNameError], tuple[str, object, tuple[str, ...]]]:
        return UnknownNameError, self._arguments


class MissingMethodError(InfbenchError, AttributeError):
    """The estimator does not have the method that was asked for."""


class MissingDependencyError(InfbenchError, ImportError):
    """An optional package is not installed; the message names the extra that installs it."""


class RunnerError(InfbenchError, RuntimeError):
    """A runner cannot do what it was asked to do in its present state."""


class WorkerDied(RunnerError):
    """A worker process ended while it held rows, and so did the one that took them over.

    Attributes
    ----------
    rows : tuple of (int, int)
        First row and one past the last row of the batch that the worker was computing.
    exit_code : int or None
        The worker's exit code, in the form of `multiprocessing.Process.exitcode`: ``-N`` for signal N. None if it is
        unknown.
    """

    def __init__(self, rows: tuple[int, int], exit_code: int | None) -> None:
        super().__init__(
            f"a worker process died with exit code {exit_code} while computing rows {rows[0]} to {rows[1]}"
        )
        self.rows = rows
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[type[WorkerDied], tuple[tuple[int, int], int | None]]:
        return WorkerDied, (self.rows, self.exit_code)


class WorkerStartError(RunnerError):
    """The workers could not be started, or could not load the estimator."""


class WorkerTimeoutError(TimeoutError, RunnerError):
    """A worker took longer for a batch than it is allowed; it was killed and replaced.

    Attributes
    ----------
    rows : tuple of (int, int)
        First row and one past the last row of the batch that the worker was computing.
    timeout_s : float
        Seconds that it was allowed.
    """

    def __init__(self, rows: tuple[int, int], timeout_s: float) -> None:
        super().__init__(
            f"a worker did not finish rows {rows[0]} to {rows[1]} within {timeout_s} s; it was killed and replaced"
        )
        self.rows = rows
        self.timeout_s = timeout_s

    def __reduce__(self) -> tuple[type[WorkerTimeoutError], tuple[tuple[int, int], float]]:
        return WorkerTimeoutError, (self.rows, self.timeout_s)


class WorkerError(RunnerError):
    """An exception of a worker that cannot reach the caller as it is; the message holds its type and its text."""

    @classmethod
    def instead_of(cls, error: BaseException) -> WorkerError:
        """Return the error that is passed on instead."""
        return cls(f"a worker raised {type(error).__module__}.{type(error).__qualname__}: {error}")


class AnswerMismatchError(InfbenchError):
    """A runner's answer differs from the serial one, so that timing it would mean nothing."""


class ResultFormatError(InfbenchError, ValueError):
    """A stored result cannot be read: it is not a result file, is damaged, or was written by a newer version."""
