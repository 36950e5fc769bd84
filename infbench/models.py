"""Models by name, fitted so that they give the same answers every time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from infbench.data import load_training_data
from infbench.errors import InvalidParameterError, UnknownNameError


def make_model(
    name: str = "random_forest", *, n_features: int | None = None, random_state: int = 0, data: str = "synthetic"
) -> Any:
    """Fit a classifier.

    The same arguments give the same answers, bit for bit, under the same releases of scikit-learn, numpy and scipy,
    whatever the number of CPUs.

    Parameters
    ----------
    name : str, default="random_forest"
        One of `MODELS`.
    n_features : int or None, default=None
        Columns of the rows to fit on. None: those that a real set has; 20 synthetic ones.
    random_state : int, default=0
        Seed of the synthetic rows and of the fit, from 0 to 4294967295.
    data : str, default="synthetic"
        What to fit on, one of `infbench.data.DATA`: predict on the rows that `infbench.load_data` gives for that name.

    Returns
    -------
    estimator
        A fitted scikit-learn classifier, its ``n_jobs`` left at scikit-learn's default.

    Raises
    ------
    UnknownNameError
        If no model or no data set has that name.
    InvalidParameterError
        If a number is out of range, or a real data set has another number of features.

    Examples
    --------
    >>> make_model("dummy", n_features=5).n_features_in_
    5
    """
    if name not in MODELS:
        raise UnknownNameError("model", name, MODELS)
    X, y = load_training_data(data, n_features, random_state)
    from threadpoolctl import threadpool_limits

    model = MODELS[name](random_state)
    # A matrix product shared out among threads is rounded differently for every number of threads. The model is made
    # before this, because the libraries to be limited must be loaded by now.
    with threadpool_limits(limits=1):
        model.fit(X, y)
    return model


def read_model(path: str) -> Any:
    """Read a fitted estimator that was saved with ``joblib.dump`` or ``pickle.dump``.

    Parameters
    ----------
    path : str
        Reading such a file runs code that its author chose.

    Returns
    -------
    estimator

    Raises
    ------
    InvalidParameterError
        If it cannot be read, or holds no estimator; the message says why.
    """
    import joblib

    try:
        estimator = joblib.load(path)
    except Exception as error:  # loading an object may fail in any way
        raise InvalidParameterError(f"{path} must be an estimator saved with joblib.dump: {error!r}") from error
    if isinstance(estimator, type) or not hasattr(estimator, "fit"):
        got = f"the class {estimator.__name__}" if isinstance(estimator, type) else type(estimator).__name__
        raise InvalidParameterError(f"{path} must be an estimator saved with joblib.dump, got {got}")
    return estimator


def _random_forest(random_state: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=100, random_state=random_state)


def _extra_trees(random_state: int) -> Any:
    from sklearn.ensemble import ExtraTreesClassifier

    return ExtraTreesClassifier(n_estimators=100, random_state=random_state)


def _hist_gradient_boosting(random_state: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=100, random_state=random_state)


def _logistic_regression(random_state: int) -> Any:
    from sklearn.linear_model import LogisticRegression

    # Unscaled real rows take up to 5,100 iterations; `pipeline` is the model that scales them.
    return LogisticRegression(max_iter=20_000)


def _mlp(random_state: int) -> Any:
    from sklearn.neural_network import MLPClassifier

    # `tol` is coarser than the default 1e-4, which takes five times as long on synthetic rows. No early stopping
    # either: on the few rows of wine it ends before anything is learnt.
    return MLPClassifier(tol=1e-3, max_iter=5_000, random_state=random_state)


def _k_neighbors(random_state: int) -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier()


def _svc(random_state: int) -> Any:
    from sklearn.svm import SVC

    return SVC()


def _pipeline(random_state: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression())


def _dummy(random_state: int) -> Any:
    from sklearn.dummy import DummyClassifier

    return DummyClassifier()  # always predicts the commonest class, which costs nothing


MODELS: dict[str, Callable[[int], Any]] = {
    "random_forest": _random_forest,
    "extra_trees": _extra_trees,
    "hist_gradient_boosting": _hist_gradient_boosting,
    "logistic_regression": _logistic_regression,
    "mlp": _mlp,
    "k_neighbors": _k_neighbors,
    "svc": _svc,
    "pipeline": _pipeline,
    "dummy": _dummy,
}
"""Name -> function that takes a random_state and returns the estimator, not yet fitted."""
