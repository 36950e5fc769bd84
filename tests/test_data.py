from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from infbench.checks import check_positive_int, check_random_state
from infbench.data import DATA, load_data, load_training_data, make_data, make_training_data
from infbench.errors import InvalidParameterError, UnknownNameError

REAL_SHAPES = {"digits": (1797, 64), "breast_cancer": (569, 30), "wine": (178, 13), "diabetes": (442, 10)}
NOT_POSITIVE_INTS = [0, -1, True, False, 2.0, "2", np.float64(2), np.True_, np.array(2), [2], 1j, np.int64(0)]
SEEDS = st.integers(0, 2**32 - 1)


def sha256(*arrays: np.ndarray[Any, Any]) -> str:
    """Hash the values as little-endian bytes, so that the machine's own order does not matter."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("n_samples", [10**15, 10**30])
@pytest.mark.parametrize(("name", "n_features"), [("synthetic", 20), ("wine", 13)])
def test_more_rows_than_memory_are_refused(name, n_features, n_samples):
    message = rf"n_samples x n_features must fit in memory, got 1[,0]* x {n_features}$"
    with pytest.raises(InvalidParameterError, match=message):
        load_data(name, n_samples=n_samples)


# --- checks


@given(st.integers(min_value=1), st.booleans())
def test_positive_ints_pass(value, allow_none) -> None:
    check_positive_int("n_samples", value, allow_none=allow_none)


@given(st.sampled_from([np.int8, np.uint8, np.int32, np.int64, np.uint64]), st.integers(1, 127))
def test_numpy_integers_pass(kind: type[np.integer[Any]], value: int) -> None:
    check_positive_int("n_samples", kind(value))


@given(
    st.one_of(
        st.integers(max_value=0), st.booleans(), st.floats(), st.text(), st.binary(), st.lists(st.integers()), st.none()
    )
)
def test_everything_else_is_refused_by_name_and_value(value: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        check_positive_int("n_processes", value)
    assert str(caught.value) == f"n_processes must be a positive int, got {value!r}"


def test_none_passes_only_where_allowed() -> None:
    check_positive_int("batch_size", None, allow_none=True)
    with pytest.raises(InvalidParameterError, match=r"^batch_size must be a positive int, got None$"):
        check_positive_int("batch_size", None)
    with pytest.raises(InvalidParameterError, match=r"^batch_size must be a positive int or None, got 0$"):
        check_positive_int("batch_size", 0, allow_none=True)


@pytest.mark.parametrize("value", NOT_POSITIVE_INTS, ids=repr)
@pytest.mark.parametrize("allow_none", [False, True])
def test_look_alikes_of_positive_ints_are_refused(value, allow_none) -> None:
    with pytest.raises(InvalidParameterError, match=r"^n must be a positive int"):
        check_positive_int("n", value, allow_none=allow_none)


@pytest.mark.parametrize("value", [-1, 2**32, True, 0.0, "0", None, [0]], ids=repr)
def test_seeds_out_of_range_are_refused(value: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        check_random_state(value)
    assert str(caught.value) == f"random_state must be an int from 0 to 4294967295, got {value!r}"


def test_checks_data_and_models_import_without_numpy() -> None:
    code = """
import sys
import infbench.checks, infbench.data, infbench.models
print([name for name in ("numpy", "sklearn", "scipy", "joblib", "threadpoolctl") if name in sys.modules])
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "[]"


# --- synthetic rows


@given(st.integers(1, 60), st.integers(1, 30), SEEDS)
def test_make_data_has_the_shape_asked_for_and_depends_on_the_seed_alone(
    n_samples: int, n_features: int, random_state: int
) -> None:
    X = make_data(n_samples, n_features, random_state)
    assert X.shape == (n_samples, n_features)
    assert X.dtype == np.float32
    assert X.flags.c_contiguous
    assert np.isfinite(X).all()
    assert_array_equal(X, make_data(n_samples, n_features, random_state))


@given(st.integers(1, 60), st.integers(1, 60), SEEDS)
def test_fewer_rows_are_the_first_of_more(few: int, more: int, random_state: int) -> None:
    few, more = sorted((few, more))
    assert_array_equal(make_data(few, 7, random_state), make_data(more, 7, random_state)[:few])


def test_make_data_defaults() -> None:
    X = make_data()
    assert X.shape == (100_000, 20)
    assert abs(X.mean()) < 0.01
    assert abs(X.std() - 1) < 0.01


def test_make_data_is_the_same_for_ever() -> None:
    # Results are compared over years on these rows: this hash must never be changed.
    assert sha256(make_data(100, 5, 0)) == "f7cab164bd581d255b11e4fc46329c54469bd1f9fddf0d35c2358b3aacbdc81b"


def test_training_data_is_the_same_for_ever() -> None:
    assert sha256(*make_training_data(100, 6, 0)) == "82cef619a7bc2ab8e84824c1a209c5951ba792eae0e9ed81c67ac74bddd67ede"


def test_numpy_integers_make_the_same_rows() -> None:
    assert_array_equal(make_data(np.int64(3), np.uint8(2), np.int32(1)), make_data(3, 2, 1))  # type: ignore[arg-type]


def test_seeds_give_different_rows() -> None:
    assert not np.isin(make_data(100, 5, 0), make_data(100, 5, 1)).any()
    assert not np.isin(make_training_data(100, 5, 0)[0], make_training_data(100, 5, 1)[0]).any()


@pytest.mark.parametrize("random_state", [0, 1, 2**32 - 1])
def test_no_row_to_predict_on_is_a_row_to_fit_on(random_state: int) -> None:
    X, _ = make_training_data(random_state=random_state)
    predict_on = {row.tobytes() for other in (0, 1, random_state) for row in make_data(20_000, 20, other)}
    assert not predict_on & {row.tobytes() for row in X}


@given(st.integers(2, 60), st.integers(1, 30), SEEDS)
def test_training_data_shapes(n_samples: int, n_features: int, random_state: int) -> None:
    X, y = make_training_data(n_samples, n_features, random_state)
    assert X.shape == (n_samples, n_features)
    assert X.dtype == np.float32
    assert X.flags.c_contiguous
    assert y.shape == (n_samples,)
    assert y.dtype == np.int64
    assert set(y) <= {0, 1}


def test_classes_follow_half_of_the_features_and_not_only_linearly() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import PolynomialFeatures

    X, y = make_training_data(20_000, 20, 3)
    assert abs(y.mean() - 0.5) < 0.01

    def score(features: np.ndarray[Any, Any]) -> float:
        return float(
            LogisticRegression(max_iter=1_000).fit(features[:10_000], y[:10_000]).score(features[10_000:], y[10_000:])
        )

    informative = PolynomialFeatures(2, include_bias=False).fit_transform(X[:, :10])
    assert 0.85 < score(X[:, :10]) < 0.93  # straight lines are not enough
    assert 0.97 < score(informative) < 0.995  # products are, but for the wrong labels
    assert score(X[:, 10:]) < 0.55  # the other half tells nothing


def test_forest_is_as_big_as_on_make_classification() -> None:
    from sklearn.datasets import make_classification
    from sklearn.ensemble import RandomForestClassifier

    def mean_nodes(X: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> float:
        forest = RandomForestClassifier(n_estimators=20, random_state=0).fit(X, y)
        return float(np.mean([tree.tree_.node_count for tree in forest.estimators_]))

    reference = mean_nodes(*make_classification(5_000, 20, n_informative=10, random_state=0))
    assert 2 / 3 < mean_nodes(*make_training_data()) / reference < 3 / 2


# --- data sets by name


def test_names() -> None:
    assert DATA == ("synthetic", "digits", "breast_cancer", "wine", "diabetes")


def test_synthetic_is_make_data() -> None:
    assert_array_equal(load_data(n_samples=50, n_features=4, random_state=9), make_data(50, 4, 9))
    assert_array_equal(load_data("synthetic"), make_data())
    X, y = load_training_data("synthetic", 4, 9)
    assert_array_equal(X, make_training_data(5_000, 4, 9)[0])
    assert_array_equal(y, make_training_data(5_000, 4, 9)[1])


@pytest.mark.parametrize("name", REAL_SHAPES)
def test_real_rows_come_once_by_default_and_repeat_in_order(name: str) -> None:
    shape = REAL_SHAPES[name]
    once = load_data(name)
    assert once.shape == shape
    n_samples = 2 * shape[0] + 5
    X = load_data(name, n_samples=n_samples)
    assert X.shape == (n_samples, shape[1])
    assert X.dtype == np.float32
    assert X.flags.c_contiguous
    assert X.flags.writeable
    assert_array_equal(X, np.concatenate([once, once, once[:5]]))
    assert_array_equal(load_data(name, n_samples=5), once[:5])


@pytest.mark.parametrize("name", REAL_SHAPES)
def test_real_rows_are_scikit_learns(name: str) -> None:
    from sklearn import datasets

    options = {"scaled": False} if name == "diabetes" else {}
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True, **options)
    ours, classes = load_training_data(name)
    assert_array_equal(ours, X.astype(np.float32))
    assert_array_equal(ours, load_data(name))
    assert classes.dtype == np.int64
    assert_array_equal(classes, y > np.median(y) if name == "diabetes" else y)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("digits", "faf2d98f61250c1cdc0b114323133d3c58da04f5c5d28bb78e4bde3c936a75b1"),
        ("breast_cancer", "f86286b06e0eb4fbbb699d6ba5df7f1432e65642369ae111d0e47b47d02338bc"),
        ("wine", "300d849b9eb766c3058bcebb4f806f42766e213cbcd8402c411d3d592747e011"),
        ("diabetes", "bd90f6c4d96752f136cb5d5dc1a82f3d9a84d2e0eeaae6dbe2aff201f7d1a30d"),
    ],
)
def test_real_rows_are_the_same_under_every_release(name: str, expected: str) -> None:
    assert sha256(*load_training_data(name)) == expected


def test_diabetes_has_two_even_classes() -> None:
    _, y = load_training_data("diabetes")
    assert np.bincount(y).tolist() == [221, 221]


def test_rows_are_the_callers_own() -> None:
    load_data("wine")[:] = 0
    assert load_data("wine").any()


def test_real_rows_do_not_depend_on_the_seed() -> None:
    assert_array_equal(load_data("wine", random_state=0), load_data("wine", random_state=1))


@pytest.mark.parametrize("load", [load_data, load_training_data])
@pytest.mark.parametrize("name", ["iris", "", "Digits", None, 3, ["digits"]])
def test_unknown_names_are_answered_with_the_list(load: Any, name: Any) -> None:
    with pytest.raises(UnknownNameError) as caught:
        load(name)
    allowed = "synthetic, digits, breast_cancer, wine, diabetes"
    assert str(caught.value) == f"unknown data set {name!r}, allowed: {allowed}"


@pytest.mark.parametrize("load", [load_data, load_training_data])
@pytest.mark.parametrize(("name", "shape"), REAL_SHAPES.items())
def test_a_real_set_keeps_its_features(load: Any, name: str, shape: tuple[int, int]) -> None:
    given_explicitly = load(name, n_features=shape[1])
    assert (given_explicitly[0] if isinstance(given_explicitly, tuple) else given_explicitly).shape == shape
    with pytest.raises(InvalidParameterError, match=rf"^n_features of {name} must be {shape[1]} or None, got 20$"):
        load(name, n_features=20)


@pytest.mark.parametrize("make", [make_data, make_training_data])
@pytest.mark.parametrize("parameter", ["n_samples", "n_features"])
@pytest.mark.parametrize("value", [0, -1, True, 2.0, "2", None], ids=repr)
def test_makers_check_their_numbers(make: Any, parameter: str, value: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        make(**{parameter: value})
    assert str(caught.value) == f"{parameter} must be a positive int, got {value!r}"


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize(
    ("load", "parameter"),
    [(load_data, "n_samples"), (load_data, "n_features"), (load_training_data, "n_features")],
)
@pytest.mark.parametrize("value", [0, -1, True, 2.0, "2"], ids=repr)
def test_loaders_check_their_numbers(load: Any, parameter: str, name: str, value: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        load(name, **{parameter: value})
    assert str(caught.value) == f"{parameter} must be a positive int or None, got {value!r}"


@pytest.mark.parametrize("call", [make_data, make_training_data, load_data, load_training_data])
@pytest.mark.parametrize("value", [-1, True, 1.0, "1", None], ids=repr)
def test_everybody_checks_the_seed(call: Any, value: Any) -> None:
    with pytest.raises(InvalidParameterError, match=r"^random_state must be an int from 0 to 4294967295, got "):
        call(random_state=value)
