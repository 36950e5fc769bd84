from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.utils.validation import check_is_fitted

from infbench.data import DATA, load_data, load_training_data
from infbench.errors import InvalidParameterError, UnknownNameError
from infbench.models import MODELS, make_model

NAMES = [
    "random_forest",
    "extra_trees",
    "hist_gradient_boosting",
    "logistic_regression",
    "mlp",
    "k_neighbors",
    "svc",
    "pipeline",
    "dummy",
]


def answers(model: Any, X: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the finest answer that the model gives: a label hides most differences."""
    method = "predict_proba" if hasattr(model, "predict_proba") else "decision_function"
    return np.asarray(getattr(model, method)(X))


@pytest.fixture
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have models fitted on a tenth of the rows: how many there are does not matter to what is asked."""

    def load_some(*args: Any) -> tuple[Any, Any]:
        X, y = load_training_data(*args)
        return X[:500], y[:500]

    monkeypatch.setattr("infbench.models.load_training_data", load_some)


def test_names() -> None:
    assert list(MODELS) == NAMES


# A warning of a fit (of an iteration that did not converge, say) fails the test: pytest makes it an error.
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("name", NAMES)
def test_every_model_fits_every_data_set_and_predicts_its_rows(name: str, data: str) -> None:
    X_training, y = load_training_data(data)
    X = load_data(data, n_samples=300)
    model = make_model(name, data=data)
    check_is_fitted(model)
    assert model.n_features_in_ == X.shape[1]
    assert_array_equal(model.classes_, np.unique(y))
    labels = model.predict(X)
    assert labels.shape == (300,)
    assert labels.dtype == np.int64
    if name == "dummy":
        assert len(np.unique(labels)) == 1
    else:
        # What it learnt is worth something: a model that always says the same would hide wrong rows.
        assert model.score(X_training, y) > np.bincount(y).max() / len(y) + 0.1
        assert len(np.unique(labels)) > 1


@pytest.mark.usefixtures("few_rows")
@pytest.mark.parametrize("name", NAMES)
def test_same_arguments_give_the_same_answers(name: str) -> None:
    X = load_data("synthetic", n_samples=500, n_features=5)
    first, second = (answers(make_model(name, n_features=5, random_state=3), X) for _ in range(2))
    assert first.tobytes() == second.tobytes()


@pytest.mark.usefixtures("few_rows")
@pytest.mark.parametrize("name", [name for name in NAMES if name != "dummy"])
def test_another_seed_gives_another_model(name: str) -> None:
    X = load_data("synthetic", n_samples=500, n_features=5)
    assert (
        answers(make_model(name, n_features=5), X) != answers(make_model(name, n_features=5, random_state=1), X)
    ).any()


def test_answers_do_not_depend_on_the_number_of_threads() -> None:
    # Without the limit, logistic_regression on digits, for one, differs between one thread and two.
    code = """
import hashlib
from threadpoolctl import threadpool_limits
from infbench import load_data, make_model
for name in ("logistic_regression", "mlp", "hist_gradient_boosting"):
    model = make_model(name, data="digits" if name == "logistic_regression" else "wine")
    with threadpool_limits(limits=1):
        answers = model.predict_proba(load_data("digits" if name == "logistic_regression" else "wine"))
    print(name, hashlib.sha256(answers.tobytes()).hexdigest())
"""

    def start(n_threads: int) -> subprocess.Popen[str]:
        variables = {f"{library}_NUM_THREADS": str(n_threads) for library in ("OMP", "OPENBLAS", "MKL")}
        environment = {**os.environ, **variables}
        return subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)

    with start(1) as one, start(4) as four:
        told = [process.communicate(timeout=100)[0] for process in (one, four)]
    assert told[0] == told[1] != ""


def test_make_model_leaves_the_thread_pools_as_they_were() -> None:
    from threadpoolctl import threadpool_info, threadpool_limits

    make_model("mlp", data="wine")  # everything is loaded now
    with threadpool_limits(limits=2):
        before = [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()]
        make_model("logistic_regression", data="wine")
        assert [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()] == before


@pytest.mark.usefixtures("few_rows")
def test_defaults() -> None:
    from sklearn.ensemble import RandomForestClassifier

    model = make_model()
    assert isinstance(model, RandomForestClassifier)
    assert model.n_estimators == 100
    assert model.n_features_in_ == 20
    assert model.n_jobs is None


@pytest.mark.parametrize("name", NAMES)
def test_n_jobs_stays_at_its_default(name: str) -> None:
    model = MODELS[name](0)
    assert {
        key: value for key, value in model.get_params().items() if key.endswith("n_jobs") and value is not None
    } == {}


@pytest.mark.usefixtures("few_rows")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_features", [1, 33])
def test_any_number_of_synthetic_features(name: str, n_features: int) -> None:
    model = make_model(name, n_features=n_features)
    assert model.predict(load_data("synthetic", n_samples=3, n_features=n_features)).shape == (3,)


@pytest.mark.parametrize("name", ["forrest", "", "Random_Forest", None, 1])
def test_unknown_models_are_answered_with_the_list(name: Any) -> None:
    with pytest.raises(UnknownNameError) as caught:
        make_model(name)
    assert str(caught.value) == f"unknown model {name!r}, allowed: {', '.join(NAMES)}"


def test_the_model_is_checked_before_the_data() -> None:
    with pytest.raises(UnknownNameError, match=r"^unknown model 'x', "):
        make_model("x", data="y")
    with pytest.raises(UnknownNameError, match=r"^unknown data set 'y', allowed: synthetic, digits, "):
        make_model("dummy", data="y")


def test_numbers_are_checked() -> None:
    with pytest.raises(InvalidParameterError, match=r"^n_features must be a positive int or None, got True$"):
        make_model(n_features=True)
    with pytest.raises(InvalidParameterError, match=r"^n_features of wine must be 13 or None, got 20$"):
        make_model(data="wine", n_features=20)
    with pytest.raises(InvalidParameterError, match=r"^random_state must be an int from 0 to 4294967295, got -1$"):
        make_model(random_state=-1)
