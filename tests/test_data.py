"""Rows: the same ones for ever."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infbench.checks import check_positive_int, check_random_state
from infbench.data import DATA, load_data, load_training_data, make_data, make_training_data
from infbench.errors import InvalidParameterError, UnknownNameError

REAL = {"digits": (1797, 64), "breast_cancer": (569, 30), "wine": (178, 13), "diabetes": (442, 10)}


def test_synthetic_rows_are_the_ones_of_the_stored_history():
    digest = hashlib.sha256(make_data(n_samples=100, n_features=5, random_state=0).tobytes()).hexdigest()
    assert (
        digest == hashlib.sha256(np.random.RandomState(0).standard_normal((100, 5)).astype("f4").tobytes()).hexdigest()
    )
    np.testing.assert_allclose(make_data(n_samples=1, n_features=3)[0], [1.764052, 0.400157, 0.978738], rtol=1e-6)


@given(n_samples=st.integers(1, 200), n_features=st.integers(1, 30), random_state=st.integers(0, 2**32 - 1))
def test_shape_type_and_order(n_samples, n_features, random_state):
    X = make_data(n_samples, n_features, random_state)
    assert (X.shape, X.dtype, X.flags.c_contiguous) == ((n_samples, n_features), np.float32, True)
    np.testing.assert_array_equal(X, make_data(n_samples + 1, n_features, random_state)[:-1])


def test_rows_to_fit_on_are_others():
    X, y = make_training_data()
    assert not set(map(bytes, X)) & set(map(bytes, make_data(n_samples=10_000)))
    assert (X.shape, y.shape) == ((5_000, 20), (5_000,))
    assert 0.45 < y.mean() < 0.55


@pytest.mark.parametrize("name", REAL)
def test_real_rows_are_repeated_in_order(name):
    n_rows, n_features = REAL[name]
    once = load_data(name)
    assert (once.shape, once.dtype) == ((n_rows, n_features), np.float32)
    twice = load_data(name, n_samples=2 * n_rows + 3)
    np.testing.assert_array_equal(twice, np.concatenate([once, once, once[:3]]))
    X, y = load_training_data(name)
    np.testing.assert_array_equal(X, once)
    assert len(y) == n_rows


def test_names_and_numbers_that_are_refused():
    with pytest.raises(UnknownNameError, match=f"unknown data set 'iris', allowed: {', '.join(DATA)}"):
        load_data("iris")
    with pytest.raises(InvalidParameterError, match="n_features of wine must be 13 or None, got 20"):
        load_data("wine", n_features=20)
    with pytest.raises(InvalidParameterError, match="n_samples must be a positive int, got 0"):
        make_data(n_samples=0)
    with pytest.raises(InvalidParameterError, match="random_state must be an int from 0 to 4294967295, got None"):
        make_data(random_state=None)


@given(st.one_of(st.booleans(), st.floats(), st.text(), st.integers(max_value=0), st.just(np.array(3))))
def test_only_positive_ints_pass(value):
    with pytest.raises(InvalidParameterError, match="n_samples must be a positive int, got"):
        check_positive_int("n_samples", value)


@pytest.mark.parametrize("value", [1, np.int32(7), 2**40])
def test_ints_of_numpy_pass(value):
    check_positive_int("n_samples", value)
    check_random_state(np.int64(3))
