"""The checks of numbers that several modules share; no import heavier than the standard library's."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from infbench.errors import InvalidParameterError

_MAX_RANDOM_STATE = 2**32 - 1


def check_positive_int(name: str, value: Any, *, allow_none: bool = False) -> None:
    """Check that `value` is a whole number of at least 1.

    A bool, a float and a text are refused even if Python would take them for a number: ``True`` rows or ``2.0``
    processes are a mistake by the caller. The integers of numpy are allowed.

    Parameters
    ----------
    name : str
        The parameter's name, for the message.
    value : object
        The value that was given.
    allow_none : bool, default=False
        Let None pass too.

    Raises
    ------
    InvalidParameterError

    Examples
    --------
    >>> check_positive_int("batch_size", None, allow_none=True)
    >>> check_positive_int("n_samples", True)
    Traceback (most recent call last):
    ...
    infbench.errors.InvalidParameterError: n_samples must be a positive int, got True
    """
    if allow_none and value is None:
        return
    if not _is_int(value) or value < 1:
        allowed = "a positive int or None" if allow_none else "a positive int"
        raise InvalidParameterError(f"{name} must be {allowed}, got {value!r}")


def check_random_state(value: Any) -> None:
    """Check that `value` is a seed that numpy and scikit-learn take: an int from 0 to 4294967295.

    Parameters
    ----------
    value : object
        The value that was given as ``random_state``.

    Raises
    ------
    InvalidParameterError
        For everything else, None included: nothing here is ever seeded from the clock.
    """
    if not _is_int(value) or not 0 <= value <= _MAX_RANDOM_STATE:
        raise InvalidParameterError(f"random_state must be an int from 0 to {_MAX_RANDOM_STATE}, got {value!r}")


def _is_int(value: Any) -> bool:
    # Not `operator.index`: it also takes arrays without dimensions, which can be changed after the check.
    return type(value) is int or (isinstance(value, Integral) and not isinstance(value, bool))
