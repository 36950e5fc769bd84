"""Whether an answer equals the serial one: checked before anything is timed."""

from __future__ import annotations

from typing import Any

import numpy as np

from infbench.errors import AnswerMismatchError

_ROUNDING = 1e3
"""Units in the last place by which a runner that is not bit-exact may be off: enough for sums in another order."""

_MOST_ROUNDING = 0.01
"""But never more than this: a thousand units in the last place of a float16 are as much as the number itself."""


def check_same_answer(expected: Any, got: Any, *, bit_exact: bool = True) -> None:
    """Raise unless two answers are the same.

    Parameters
    ----------
    expected, got : ndarray, list or tuple of ndarray, sparse matrix or DataFrame
    bit_exact : bool, default=True
        False: floats may differ by rounding.

    Raises
    ------
    AnswerMismatchError
        The message says what differs: the type, dtype or shape, or how many values, and the first row with one.
    """
    if type(expected) is not type(got):
        raise AnswerMismatchError(f"the answer is a {type(got).__name__}, the serial one a {type(expected).__name__}")
    if isinstance(expected, list | tuple) and expected and isinstance(expected[0], np.ndarray):
        if len(expected) != len(got):
            raise AnswerMismatchError(f"the answer has {len(got)} outputs, the serial one {len(expected)}")
        for one, other in zip(expected, got, strict=True):
            check_same_answer(one, other, bit_exact=bit_exact)
        return
    if hasattr(expected, "iloc"):
        # The values alone show neither the labels nor the types of single columns.
        if not all(one.equals(other) for one, other in zip(expected.axes, got.axes, strict=True)):
            raise AnswerMismatchError("the answer has other labels of rows or columns than the serial one")
        if not np.array_equal(expected.dtypes, got.dtypes):
            raise AnswerMismatchError("the answer has columns of another dtype than the serial one")
    if type(expected).__module__.partition(".")[0] == "polars" and expected.schema != got.schema:
        raise AnswerMismatchError("the answer has other columns than the serial one, or of another dtype")
    if hasattr(expected, "tocsr"):
        expected, got = expected.toarray(), got.toarray()
    one, other = np.asarray(expected), np.asarray(got)
    if one.dtype != other.dtype or one.shape != other.shape:
        raise AnswerMismatchError(
            f"the answer has dtype {other.dtype} and shape {other.shape}, the serial one {one.dtype} and {one.shape}"
        )
    if bit_exact or one.dtype.kind not in "fc":
        differs = (one != other) & ~((one != one) & (other != other))  # a NaN is not equal to itself
    else:
        tolerance = min(_ROUNDING * float(np.finfo(one.dtype).eps), _MOST_ROUNDING)
        differs = ~np.isclose(one, other, rtol=tolerance, atol=tolerance, equal_nan=True)
    if np.any(differs):
        row = int(np.argwhere(differs)[0][0])
        raise AnswerMismatchError(
            f"{int(np.sum(differs))} of {one.size} values differ from the serial answer, the first in row {row}: "
            f"{other[row]!r} instead of {one[row]!r}"
        )
