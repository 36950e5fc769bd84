"""How arrays lie in memory: copies keep this, as another order can change the last bit of an answer."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import numpy as np

_FAR = 4
"""Rows that are spread over more than this many times their own size are brought together before workers read or get
them: another page of memory, and a system call, for each row would take longer than most models do."""

_MOST_GAPS = 100
"""An array that is still spread over more than this many times its own size is pickled without the gaps between its
values."""

_IS_NOT_BY_NAME = (pickle.PicklingError, AttributeError, TypeError)
"""What pickle raises if a name leads nowhere, or to something that it does not take for a class or a function."""

ARRAY_KINDS = "biufc"
"""Kinds of dtype whose values lie in the array itself, so that another process can read them."""


def extent(shape: Sequence[int], strides: Sequence[int], itemsize: int) -> tuple[int, int]:
    """Return where the first element is in the smallest memory that holds an array, and that memory's size, in bytes.

    Parameters
    ----------
    shape, strides : sequence of int
        The strides in bytes; any may be negative.
    itemsize : int

    Returns
    -------
    (int, int)

    Examples
    --------
    >>> extent((3, 2), (-16, 8), 8)
    (32, 48)
    """
    steps = [(length - 1) * stride for length, stride in zip(shape, strides, strict=True)]
    before = -sum(step for step in steps if step < 0)
    return before, before + sum(step for step in steps if step > 0) + itemsize


def is_packed(shape: Sequence[int], strides: Sequence[int], itemsize: int) -> bool:
    """Tell whether the rows of an array lie one after the other without gaps, and the values of a row too.

    Parameters
    ----------
    shape, strides : sequence of int
        Of two dimensions; the strides in bytes.
    itemsize : int

    Returns
    -------
    bool
    """
    return tuple(strides) == (shape[1] * itemsize, itemsize)


def copy_with_strides(
    array: np.ndarray[Any, Any],
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], int]:
    """Copy an array and keep its strides: another memory order can change the last bit of an answer.

    Parameters
    ----------
    array : ndarray

    Returns
    -------
    copy : ndarray
        With the shape, the dtype and the strides of the array.
    memory : ndarray of uint8
        What the copy lies in, zero between its values.
    before : int
        Where the copy's first element is in that memory, in bytes.
    """
    import numpy as np

    before, n_bytes = extent(array.shape, array.strides, array.itemsize)
    memory = np.zeros(n_bytes, np.uint8)
    copy: np.ndarray[Any, Any] = np.ndarray(array.shape, array.dtype, memory, before, array.strides)
    copy[...] = array
    return copy, memory, before


def brought_together(X: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a more compact copy of rows that lie far apart, and other rows as they are.

    BLAS takes another path if rows, or the values of a row, follow each other without a gap, and the last bit may then
    differ. So where there are gaps, some remain.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        `X` itself, or a copy.
    """
    import numpy as np

    _, n_bytes = extent(X.shape, X.strides, X.itemsize)
    if X.ndim != 2 or n_bytes <= _FAR * X.nbytes or min(X.strides) <= 0:
        return X
    by_column = X.strides[0] < X.strides[1]
    outer, inner = X.shape[::-1] if by_column else X.shape
    step = 1 if min(X.strides) == X.itemsize else 2
    near = np.empty((outer, step * inner + 1), X.dtype)[:, : step * inner : step]
    near = near.T if by_column else near
    near[...] = X
    near.flags.writeable = X.flags.writeable
    return near


def dumps(content: Any, *, main_is_importable: bool = True) -> bytes:
    """Return what `dump` writes."""
    file = io.BytesIO()
    dump(content, file, main_is_importable=main_is_importable)
    return file.getvalue()


def dump(content: Any, file: BinaryIO, *, main_is_importable: bool = True) -> None:
    """Pickle something so that its arrays keep their memory order: another one can change the last bit of an answer.

    Parameters
    ----------
    content : object
        An estimator, its rows, its answers, or what it raised.
    file : binary file
        Empty. The caller closes it.
    main_is_importable : bool, default=True
        Whether other processes can import the main module, which they cannot if it is a notebook.

    Raises
    ------
    Exception
        Whatever its parts raise when they are pickled.

    Notes
    -----
    Classes and functions are pickled by their name in a module; those without one, such as a lambda, or from a module
    that cannot be imported, are pickled by value.
    """
    if not main_is_importable:
        _by_value_pickler()(file, pickle.HIGHEST_PROTOCOL).dump(content)
        return
    try:
        _LayoutPickler(file, pickle.HIGHEST_PROTOCOL).dump(content)
    except _IS_NOT_BY_NAME:
        file.seek(0)
        file.truncate()
        with suppress(*_IS_NOT_BY_NAME):
            _by_value_pickler()(file, pickle.HIGHEST_PROTOCOL).dump(content)
            return
        raise


class _LayoutPickler(pickle.Pickler):
    """Keeps the strides of arrays that are not contiguous, as the `coef_` of a `LinearRegression` may be."""

    def reducer_override(self, part: Any) -> Any:
        return _reduce_array(part)


@cache
def _by_value_pickler() -> type[pickle.Pickler]:
    try:
        import cloudpickle
    except ImportError:  # joblib before 1.6 brings its own
        from joblib.externals import cloudpickle

    class ByValuePickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, part: Any) -> Any:
            reduced = _reduce_array(part)
            return super().reducer_override(part) if reduced is NotImplemented else reduced

    return ByValuePickler


def _reduce_array(part: Any) -> Any:
    import numpy as np

    if not isinstance(part, np.ndarray) or part.flags.forc:
        return NotImplemented
    has_values = part.dtype.kind in ARRAY_KINDS
    if type(part) is np.ma.MaskedArray and has_values:
        return _make_masked, (part.data, part.mask, part.fill_value)
    near = brought_together(part) if type(part) is np.ndarray and has_values else None
    if near is None or extent(near.shape, near.strides, near.itemsize)[1] > _MOST_GAPS * near.nbytes:
        return part.copy(order="K").__reduce_ex__(pickle.HIGHEST_PROTOCOL)  # by default it would become C-ordered
    _, memory, before = copy_with_strides(near)
    return np.ndarray, (near.shape, near.dtype, memory, before, near.strides)


def _make_masked(data: Any, mask: Any, fill_value: Any) -> Any:
    import numpy as np

    return np.ma.MaskedArray(data, mask, fill_value=fill_value)
