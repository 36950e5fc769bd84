"""The check of an answer against the serial one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from infbench.answers import check_same_answer
from infbench.errors import AnswerMismatchError


def arrays(elements, dtype):
    return st.lists(elements, min_size=1, max_size=40).map(lambda values: np.array(values, dtype))


ANSWERS = st.one_of(
    arrays(st.floats(width=64), np.float64),
    arrays(st.floats(width=32), np.float32),
    arrays(st.integers(-5, 5), np.int64),
    arrays(st.booleans(), np.bool_),
    arrays(st.text("abc", max_size=3), np.str_),
    arrays(st.sampled_from(["a", 1, None, 2.5, float("nan")]), object),
)


@given(ANSWERS, st.booleans())
def test_copies_are_the_same(answer, bit_exact):
    check_same_answer(answer, answer.copy(), bit_exact=bit_exact)


@given(st.integers(1, 30), st.integers(1, 4), st.data())
def test_message_counts_the_values_that_differ_and_names_the_first_row(n_rows, n_columns, data):
    expected = np.zeros((n_rows, n_columns))
    changed = data.draw(st.sets(st.integers(0, expected.size - 1), min_size=1))
    got = expected.copy()
    got.flat[list(changed)] = 1.0
    first_row = min(changed) // n_columns
    with pytest.raises(
        AnswerMismatchError,
        match=rf"^{len(changed)} of {expected.size} values differ from .*, the first in row {first_row}: ",
    ):
        check_same_answer(expected, got)


@pytest.mark.parametrize(
    ("expected", "got", "message"),
    [
        (np.zeros(3), np.zeros(3, "f4"), "dtype float32.*float64"),
        (np.zeros(3), np.zeros((3, 1)), r"shape \(3, 1\).*\(3,\)"),
        (np.zeros(3), np.zeros(2), r"shape \(2,\).*\(3,\)"),
        (np.zeros(3), [0.0, 0.0, 0.0], "is a list, the serial one a ndarray"),
        (np.zeros(3), np.array([0, 0, 0.5]), "1 of 3 values differ.*row 2: .*0.5.* instead of .*0.0"),
        (np.array([1, 2]), np.array([1, 3]), "1 of 2.*row 1: .*3.* instead of .*2"),
        (np.array([np.nan, 1.0]), np.array([0.0, 1.0]), "1 of 2.*row 0"),
        (np.array([0.0, 1.0]), np.array([0.0, np.nan]), "1 of 2.*row 1"),
        (np.array(["a", "b"]), np.array(["a", "c"]), "1 of 2.*row 1: .*'c'.* instead of .*'b'"),
        (np.array(["a", "b"]), np.array(["a", "bb"]), "dtype <U2.*<U1"),
        (np.array(["a", None], object), np.array(["a", 1], object), "1 of 2.*row 1: 1 instead of None"),
        ([np.zeros(2)], [np.zeros(2), np.zeros(2)], "2 outputs, the serial one 1"),
        ([np.zeros(2), np.zeros(3)], [np.zeros(2), np.array([0.0, 1.0, 0.0])], "1 of 3.*row 1"),
        (["a", "b"], ["a", "c"], "1 of 2.*row 1"),
        (sparse.csr_matrix(np.eye(2)), sparse.csr_matrix(np.ones((2, 2))), "2 of 4.*row 0"),
        (
            sparse.csr_matrix(np.eye(2)),
            sparse.csc_matrix(np.eye(2)),
            "is a csc_matrix, the serial one a csr_matrix",
        ),
        (sparse.csr_matrix(np.eye(2)), sparse.csr_matrix(np.eye(2, dtype="f4")), "dtype float32"),
        (sparse.csr_matrix(np.eye(2)), np.eye(2), "is a ndarray, the serial one a csr_matrix"),
    ],
)
@pytest.mark.parametrize("bit_exact", [True, False])
def test_answers_that_differ(expected, got, message, bit_exact):
    with pytest.raises(AnswerMismatchError, match=message):
        check_same_answer(expected, got, bit_exact=bit_exact)


@pytest.mark.parametrize(
    "answer",
    [
        [np.zeros(2), np.full((2, 3), np.nan)],
        [],
        ["a", "b"],
        sparse.csr_matrix([[0.0, np.nan], [1.0, 0.0]]),
        sparse.csc_matrix(np.eye(3)),
        np.array([np.inf, -np.inf, np.nan]),
    ],
    ids=["list of arrays", "empty list", "list of text", "CSR", "CSC", "no numbers"],
)
@pytest.mark.parametrize("bit_exact", [True, False])
def test_answers_of_other_kinds_that_are_the_same(answer, bit_exact):
    check_same_answer(answer, answer.copy(), bit_exact=bit_exact)


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.assign(a=[1.0, 2.0, 4.0]),
        lambda frame: frame[["b", "a"]],
        lambda frame: frame.rename(columns={"a": "c"}),
        lambda frame: frame.set_axis([0, 1, 0]),
        lambda frame: frame.astype({"a": np.float32}),
        lambda frame: frame[:2],
    ],
    ids=["value", "order of columns", "name of a column", "index", "dtype of a column", "rows"],
)
def test_data_frames(change):
    import pandas as pd

    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [4.0, np.nan, 6.0]})
    check_same_answer(frame, frame.copy())
    check_same_answer(frame.rename(columns={"a": "schema"}), frame.rename(columns={"a": "schema"}))
    check_same_answer(frame["b"], frame["b"].copy())
    no_label = frame.set_axis([0.0, np.nan, 1.0])
    check_same_answer(no_label, no_label.copy())
    with pytest.raises(AnswerMismatchError):
        check_same_answer(frame, change(frame))


@pytest.mark.parametrize(
    ("dtype", "rounding", "error"), [(np.float64, 1e-14, 1e-9), (np.float32, 1e-6, 1e-2), (np.float16, 1e-3, 0.1)]
)
@pytest.mark.parametrize("magnitude", [1, -1, 1_000])
def test_rounding_is_allowed_where_it_is_said_and_nothing_more(magnitude, dtype, rounding, error):
    expected = np.full(3, magnitude, dtype)
    rounded, wrong = ((expected * (1 + size)).astype(dtype) for size in (rounding, error))
    check_same_answer(expected, rounded, bit_exact=False)
    with pytest.raises(AnswerMismatchError, match="3 of 3"):
        check_same_answer(expected, rounded)
    with pytest.raises(AnswerMismatchError, match="3 of 3"):
        check_same_answer(expected, wrong, bit_exact=False)


def test_smallest_difference_counts():
    with pytest.raises(AnswerMismatchError, match=r"1 of 2.*row 1"):
        check_same_answer(np.zeros(2), np.array([0.0, 5e-324]))
