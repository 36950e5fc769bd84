"""Rows to predict on, and rows to fit on: seeded synthetic ones, and the real sets that come with scikit-learn.

Everything is float32, and the same bytes under every release of numpy and scikit-learn: a history over releases that
compared different rows would be meaningless.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from infbench.checks import check_positive_int, check_random_state
from infbench.errors import InvalidParameterError, UnknownNameError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rows = NDArray[np.float32]
    Labels = NDArray[np.int64]

DATA: tuple[str, ...] = ("synthetic", "digits", "breast_cancer", "wine", "diabetes")
"""Names of the data sets. All but the first are bundled with scikit-learn, so that nothing is downloaded."""

_N_SAMPLES = 100_000
_N_TRAINING_SAMPLES = 5_000
_N_FEATURES = 20
_LABEL_NOISE = 0.01


def make_data(n_samples: int = _N_SAMPLES, n_features: int = _N_FEATURES, random_state: int = 0) -> Rows:
    """Make synthetic rows to predict on.

    Parameters
    ----------
    n_samples : int, default=100_000
        Rows.
    n_features : int, default=20
        Columns.
    random_state : int, default=0
        Seed, from 0 to 4294967295.

    Returns
    -------
    ndarray of shape (n_samples, n_features), dtype float32
        Independent standard normal values, C-contiguous. Fewer rows are the first rows of more.

    Raises
    ------
    InvalidParameterError
        Also if there is not enough memory for that many.

    Examples
    --------
    >>> make_data(n_samples=3, n_features=2).shape
    (3, 2)
    """
    import numpy as np

    check_positive_int("n_samples", n_samples)
    check_positive_int("n_features", n_features)
    check_random_state(random_state)
    # RandomState, not default_rng: numpy has frozen the stream of the former forever and may change that of the latter
    # in any release, and every release set must see the same rows.
    with _must_fit(n_samples, n_features):
        return np.random.RandomState(random_state).standard_normal((n_samples, n_features)).astype(np.float32)


def read_data(path: str, n_samples: int | None = None) -> Any:
    """Read rows that were saved with ``numpy.save``, ``joblib.dump`` or ``pickle.dump``.

    Parameters
    ----------
    path : str
        Reading a file written by one of the last two runs code that its author chose.
    n_samples : int or None, default=None
        How many rows to return; if the file has fewer, they are repeated. None: those of the file.

    Returns
    -------
    ndarray or DataFrame of shape (n_samples, n_features)
        With the dtypes of the file.

    Raises
    ------
    InvalidParameterError
        If the file cannot be read, or holds neither a two-dimensional array of numbers nor a data frame, with at least
        one row.
    """
    import numpy as np

    check_positive_int("n_samples", n_samples, allow_none=True)
    rows = _read_rows(path)
    is_frame = hasattr(rows, "iloc")
    if not (is_frame or isinstance(rows, np.ndarray)):
        raise InvalidParameterError(f"{path} must hold an array or a data frame, got {type(rows).__name__}")
    if rows.ndim != 2 or not len(rows) or not (is_frame or rows.dtype.kind in "biuf"):
        got = f"shape {rows.shape}" if is_frame else f"{rows.dtype} of shape {rows.shape}"
        raise InvalidParameterError(f"{path} must hold numbers, (n_samples, n_features), got {got}")
    if n_samples is None:
        return rows
    with _must_fit(n_samples, rows.shape[1]):
        repeated = np.resize(np.arange(len(rows)), n_samples)
        return rows.iloc[repeated] if is_frame else rows[repeated]


def _read_rows(path: str) -> Any:
    import joblib
    import numpy as np
    from numpy.lib.format import MAGIC_PREFIX

    try:
        with open(path, "rb") as file:
            is_numpy = file.read(len(MAGIC_PREFIX)) == MAGIC_PREFIX
        return np.load(path) if is_numpy else joblib.load(path)
    except Exception as error:  # loading an object may fail in any way
        raise InvalidParameterError(
            f"{path} must be an array saved with numpy.save, or a data frame with joblib.dump: {error!r}"
        ) from error


def make_training_data(
    n_samples: int = _N_TRAINING_SAMPLES, n_features: int = _N_FEATURES, random_state: int = 0
) -> tuple[Rows, Labels]:
    """Make synthetic rows to fit on, with their classes.

    The rows are distributed like those of `make_data` but come from another stream, so that no model predicts on rows
    that it was fitted on. The classes depend on the first half of the features, on each less than on the one before,
    and with half that weight on products of neighbouring features; 1 % of them are wrong. That makes forests about as
    deep and as big as ``make_classification(5_000, 20, n_informative=10)`` does.

    Parameters
    ----------
    n_samples : int, default=5_000
        Rows.
    n_features : int, default=20
        Columns, of which ``max(1, n_features // 2)`` matter.
    random_state : int, default=0
        Seed, from 0 to 4294967295.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features), dtype float32
        C-contiguous.
    y : ndarray of shape (n_samples,), dtype int64
        0 or 1, about half of each.

    Raises
    ------
    InvalidParameterError
    """
    import numpy as np

    check_positive_int("n_samples", n_samples)
    check_positive_int("n_features", n_features)
    check_random_state(random_state)
    # An array seeds differently from an int, so no random_state of make_data gives this stream.
    stream = np.random.RandomState([random_state, 1])
    X = stream.standard_normal((n_samples, n_features))
    n_informative = max(1, n_features // 2)
    score = np.zeros(n_samples)
    # Sums and products, one after the other: their last bits are the same everywhere, unlike those of a matrix product,
    # a sine or an exponential.
    for feature in range(n_informative):
        neighbour = (feature + 1) % n_informative
        score += (X[:, feature] + 0.5 * X[:, feature] * X[:, neighbour]) / (feature + 1)
    wrong = stream.random_sample(n_samples) < _LABEL_NOISE
    y = (score > np.median(score)) ^ wrong
    return X.astype(np.float32), y.astype(np.int64)


def load_data(
    name: str = "synthetic", n_samples: int | None = None, n_features: int | None = None, random_state: int = 0
) -> Rows:
    """Return as many rows of a data set as asked for.

    Parameters
    ----------
    name : str, default="synthetic"
        One of `DATA`.
    n_samples : int or None, default=None
        Rows. A real set is repeated, in order, until there are that many. None: all rows of a real set, once; 100,000
        synthetic ones.
    n_features : int or None, default=None
        Columns. None: those that a real set has; 20 synthetic ones.
    random_state : int, default=0
        Seed of the synthetic rows. Real rows do not depend on it.

    Returns
    -------
    ndarray of shape (n_samples, n_features), dtype float32
        C-contiguous; the caller may change it.

    Raises
    ------
    UnknownNameError
        If no data set has that name.
    InvalidParameterError
        If a number is out of range, or a real set has another number of features.

    Examples
    --------
    >>> load_data("wine", n_samples=1_000).shape
    (1000, 13)
    """
    _check_name(name)
    check_positive_int("n_samples", n_samples, allow_none=True)
    check_positive_int("n_features", n_features, allow_none=True)
    check_random_state(random_state)
    if name == "synthetic":
        return make_data(n_samples or _N_SAMPLES, n_features or _N_FEATURES, random_state)
    import numpy as np

    X, _ = _load_bundled(name, n_features)
    with _must_fit(n_samples or len(X), X.shape[1]):
        return np.resize(X, (n_samples or len(X), X.shape[1]))  # np.resize fills up with repetitions


def load_training_data(
    name: str = "synthetic", n_features: int | None = None, random_state: int = 0
) -> tuple[Rows, Labels]:
    """Return the rows and classes of a data set that models are fitted on.

    Parameters
    ----------
    name : str, default="synthetic"
        One of `DATA`.
    n_features : int or None, default=None
        Columns. None: those that a real set has; 20 synthetic ones.
    random_state : int, default=0
        Seed of the synthetic rows. Real rows do not depend on it.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features), dtype float32
        C-contiguous. Of a real set: all its rows, which are the rows to predict on too.
    y : ndarray of shape (n_samples,), dtype int64
        Classes. The target of diabetes is a quantity; here it is 1 above its median and 0 up to it, so that every
        classifier can be fitted on every set.

    Raises
    ------
    UnknownNameError
        If no data set has that name.
    InvalidParameterError
        If a number is out of range, or a real set has another number of features.
    """
    _check_name(name)
    check_positive_int("n_features", n_features, allow_none=True)
    check_random_state(random_state)
    if name == "synthetic":
        return make_training_data(n_features=n_features or _N_FEATURES, random_state=random_state)
    return _load_bundled(name, n_features)


def _check_name(name: str) -> None:
    if name not in DATA:
        raise UnknownNameError("data set", name, DATA)


@contextmanager
def _must_fit(n_samples: int, n_features: int) -> Iterator[None]:
    try:
        yield
    except (MemoryError, ValueError, OverflowError) as error:  # numpy's errors for more bytes than possible
        raise InvalidParameterError(
            f"n_samples x n_features must fit in memory, got {n_samples:,} x {n_features:,}"
        ) from error


def _load_bundled(name: str, n_features: int | None) -> tuple[Rows, Labels]:
    import numpy as np
    from sklearn import datasets

    if name == "diabetes":
        # Unscaled: scaled values come from the release's own arithmetic, and scikit-learn 1.8 changed their last bits.
        X, y = datasets.load_diabetes(return_X_y=True, scaled=False)
        y = y > np.median(y)
    else:
        X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    if n_features not in (None, X.shape[1]):
        raise InvalidParameterError(f"n_features of {name} must be {X.shape[1]} or None, got {n_features!r}")
    # float32 also because scikit-learn 1.8 reads some decimals of diabetes one bit (of a float64) differently.
    return np.ascontiguousarray(X, dtype=np.float32), y.astype(np.int64)
