"""Splitting rows into batches, and joining the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from infbench.errors import InvalidParameterError
from infbench.runners.layout import brought_together, copy_with_strides

_TEXT = "USO"
"""Kinds of arrays that may have one dimension: estimators for documents take them like that."""


def check_rows(X: Any, estimator: Any) -> int:
    """Return the number of rows of `X`, after the checks that do not read its values.

    Parameters
    ----------
    X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
    estimator : object
        If it has ``n_features_in_``, an array must have as many columns. DataFrames are left to the estimator, which
        checks the names of the columns too.

    Returns
    -------
    int
        n_samples, at least 1.

    Raises
    ------
    InvalidParameterError
    """
    if not (hasattr(X, "shape") or hasattr(X, "__len__")) or getattr(X, "shape", None) == ():
        raise InvalidParameterError(f"X must hold rows, got {type(X).__name__}")
    if isinstance(X, np.ndarray) and not (X.ndim == 1 and X.dtype.kind in _TEXT):
        if X.ndim != 2:
            raise InvalidParameterError(f"X must have 2 dimensions (n_samples, n_features), got shape {X.shape}")
        n_features = getattr(estimator, "n_features_in_", X.shape[1])
        if X.shape[1] != n_features:
            raise InvalidParameterError(
                f"X must have {n_features} features, as {type(estimator).__name__} was fitted on, got {X.shape[1]}"
            )
    n_samples = X.shape[0] if hasattr(X, "shape") else len(X)
    if n_samples == 0:
        raise InvalidParameterError("X must have at least one row, got none")
    return int(n_samples)


def sliceable(X: Any) -> Any:
    """Return `X`, or its rows in a format that can be sliced if it is a sparse matrix in one that cannot."""
    return X.tocsr() if hasattr(X, "tocsr") and X.format in {"coo", "dia", "bsr"} else X


def untouchable(X: Any) -> Any:
    """Return rows for an estimator that may change them in place: a read-only view of an array, otherwise a copy.

    Parameters
    ----------
    X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
    """
    if isinstance(X, np.ndarray):
        view = X.view()
        view.flags.writeable = False
        return view
    return X.copy() if hasattr(X, "copy") else X


def call_without_changing(call: Callable[[Any], Any], X: np.ndarray[Any, Any]) -> Any:
    """Compute rows that other processes see too, and that must stay as they are in case this one dies half-way."""
    may_change = X.flags.writeable
    if may_change and not X.flags.forc:  # the copy that an estimator makes of read-only rows would have no gaps
        near = brought_together(X)
        return call(copy_with_strides(X)[0] if near is X else near)
    X.flags.writeable = False
    try:
        return call(X)
    except ValueError as error:
        if not may_change or "read-only" not in str(error):
            raise
        return call(copy_with_strides(X)[0])


def take(X: Any, start: int, stop: int) -> Any:
    """Return the rows from `start` up to `stop`, as a view if `X` can give one."""
    return X.iloc[start:stop] if hasattr(X, "iloc") else X[start:stop]


def packed(batch: Any) -> Any:
    """Return a batch in a form that keeps its memory order when it is pickled.

    A slice of rows of a Fortran-ordered array is contiguous in neither order, and pickle would make it C-ordered. BLAS
    would then take another path, and the answer might differ in the last bit.
    """
    if isinstance(batch, np.ndarray) and not batch.flags.forc:
        return batch.copy(order="K")
    return batch


@dataclass(frozen=True, slots=True)
class Batches:
    """All rows, cut into batches of one length; the last one may be shorter.

    Attributes
    ----------
    X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
    n_samples : int
        Rows of `X`.
    batch_size : int
        Rows of a batch.
    """

    X: Any
    n_samples: int
    batch_size: int

    def __len__(self) -> int:
        return -(-self.n_samples // self.batch_size)

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.take(index, index + 1)

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def take(self, start: int, stop: int) -> Any:
        """Return all rows from batch `start` up to batch `stop`, as a view if `X` can give one."""
        return take(self.X, *self.rows(start, stop))

    def rows(self, start: int, stop: int) -> tuple[int, int]:
        """Return the first row of batch `start` and one past the last row of the batch before `stop`."""
        return start * self.batch_size, min(stop * self.batch_size, self.n_samples)


def join(outputs: Sequence[Any]) -> Any:
    """Join the answers for consecutive batches.

    Parameters
    ----------
    outputs : sequence
        At least one answer: ndarrays, sparse matrices, DataFrames of pandas or polars, or lists or tuples with one
        ndarray for each output. All are of one kind.

    Returns
    -------
    object
        One answer of that kind. Fixed-width text gets the width of the widest batch.
    """
    first = outputs[0]
    if len(outputs) == 1:
        return first
    if type(first) is np.ndarray:
        return np.concatenate(outputs)
    if isinstance(first, list | tuple) and first and isinstance(first[0], np.ndarray):
        joined = [join(parts) for parts in zip(*outputs, strict=True)]
        return joined if isinstance(first, list) else tuple(joined)
    if isinstance(first, list):
        return [value for output in outputs for value in output]
    if hasattr(first, "iloc"):
        import pandas as pd

        return pd.concat(outputs)
    if type(first).__module__.partition(".")[0] == "polars":
        import polars as pl

        return pl.concat(outputs)
    if hasattr(first, "tocsr"):
        from scipy import sparse

        return sparse.vstack(outputs, format=first.format)
    if isinstance(first, np.ma.MaskedArray):
        return np.ma.concatenate(outputs)  # type: ignore[no-untyped-call]
    return np.concatenate(outputs)
