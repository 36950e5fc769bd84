"""Every kind of rows, estimator and answer: workers return what the serial runner returns, or raise the same."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from contracts import check_answer, check_outcome, check_raises
from scipy import sparse
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingRegressor, IsolationForest, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier, LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

import infbench
from infbench.runners import make_runner

X = infbench.make_data(n_samples=90, n_features=6, random_state=2)
HIGH = X[:, 0] > 0
THIRDS = np.digitize(X[:, 0], [-0.5, 0.5])
FRAME = pd.DataFrame(X, columns=list("abcdef"), index=range(1_000, 1_090))
MIXED = FRAME[["a", "b"]].assign(
    city=pd.Categorical(np.array(["Bern", "Oslo", "Rome"])[THIRDS]), street=np.array(["High", "Long"])[HIGH.astype(int)]
)


def mixed_columns(model):
    encode = ColumnTransformer([("text", OneHotEncoder(), ["city", "street"])], remainder=StandardScaler())
    return make_pipeline(encode, model).fit(MIXED, THIRDS)


@pytest.fixture(params=["process", "threads"])
def start(request):
    """Give a function that makes an unstarted runner: one with workers, and one that shares everything."""
    return lambda estimator, n_processes=2: make_runner(request.param, estimator, n_processes=n_processes)


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["few", "some", "ever so many"])[THIRDS],
        np.array(["few", "some", "ever so many"], dtype=object)[THIRDS],
        HIGH,
        THIRDS.astype(np.int8),
        np.stack([THIRDS, HIGH], axis=1),
        np.stack([THIRDS, HIGH], axis=1).astype(str),
    ],
    ids=["text", "objects", "bools", "small ints", "two outputs", "two outputs of text"],
)
def test_labels(start, labels):
    with start(DecisionTreeClassifier(random_state=0).fit(X, labels)) as runner:
        np.testing.assert_array_equal(runner.predict(X), labels)  # the tree knows its rows by heart
        check_answer(runner, "predict", X, 7)
        check_answer(runner, "predict_proba", X, 7)  # a list of arrays, for two outputs


@pytest.mark.parametrize(
    ("estimator", "methods"),
    [
        (RandomForestClassifier(10, random_state=0).fit(X, np.stack([THIRDS, HIGH], 1)), ["predict", "predict_proba"]),
        (MultiOutputClassifier(LogisticRegression()).fit(X, np.stack([THIRDS, HIGH], 1)), ["predict", "predict_proba"]),
        (KNeighborsClassifier().fit(X, THIRDS), ["predict", "predict_proba"]),
        (HistGradientBoostingRegressor(max_iter=10, random_state=0).fit(X, X[:, 0]), ["predict"]),
        (LinearRegression().fit(X, X[:, :2]), ["predict"]),
        (IsolationForest(n_estimators=10, random_state=0).fit(X), ["predict", "decision_function"]),
        (LocalOutlierFactor(novelty=True).fit(X), ["predict", "decision_function"]),
        (PCA(3, random_state=0).fit(X), ["transform"]),
        (StandardScaler().set_output(transform="pandas").fit(X), ["transform"]),
        (OneHotEncoder(handle_unknown="ignore").fit(X.round()), ["transform"]),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "fit") else "-",
)
def test_estimators(start, estimator, methods):
    with start(estimator) as runner:
        for method in methods:
            check_answer(runner, method, X, 13)
            check_answer(runner, method, X[:9], 1)  # pickle does not keep the layout of a LinearRegression's arrays


def test_columns_of_text_and_categories(start):
    with start(mixed_columns(LogisticRegression())) as runner:
        check_answer(runner, "predict_proba", MIXED, 11)
        check_answer(runner, "predict", MIXED[["street", "b", "city", "a"]], 11)  # it looks for columns by name
        check_raises(runner, "predict", MIXED.drop(columns="city"), 11, ValueError)
        check_answer(runner, "predict", MIXED, 11)


def test_frames_keep_their_index(start):
    with start(StandardScaler().set_output(transform="pandas").fit(FRAME)) as runner:
        check_answer(runner, "transform", FRAME, 11)
        assert list(runner.transform(FRAME).index) == list(FRAME.index)
        for wrong in (FRAME[list("fedcba")], FRAME.rename(columns={"a": "z"}), FRAME[["a"]]):
            check_raises(runner, "transform", wrong, 11, ValueError)


def test_sparse_rows_and_answers(start):
    counts = sparse.csr_matrix(np.abs(X).round())
    with start(TfidfTransformer().fit(counts)) as runner:
        check_answer(runner, "transform", counts, 11)
        check_answer(runner, "transform", counts.tocsc(), 11)
        for form in ("coo", "dia", "bsr", "lil", "dok"):
            check_answer(runner, "transform", counts.asformat(form), 11)
            whole = runner.transform(counts.asformat(form), batch_size=11)
            np.testing.assert_array_equal(whole.toarray(), runner.estimator.transform(counts).toarray())


def test_masked_and_missing_values(start):
    masked = np.ma.masked_array(X, mask=X > 1)
    with start(HistGradientBoostingRegressor(max_iter=10, random_state=0).fit(X, X[:, 0])) as runner:
        check_answer(runner, "predict", masked, 11)
        check_answer(runner, "predict", np.where(X > 1, np.nan, X), 11)
        check_outcome(runner, "predict", np.where(X > 1, np.inf, X), 11)  # refused, by both


def test_masked_rows_with_gaps_keep_the_last_bit():
    """Plain pickling would lose the gaps, and BLAS would take another path."""
    W = np.random.default_rng(0).normal(size=(600, 30))
    masked = np.ma.masked_array(np.repeat(W, 2, axis=1)[:, ::2], mask=W > 9)
    with make_runner("process", LinearRegression().fit(W, np.sin(W[:, 0])), n_processes=2) as runner:
        for rows in (masked, masked[::-1], masked[:, ::-1]):
            check_answer(runner, "predict", rows, 17)


def test_frames_of_polars():
    polars = pl.from_pandas(FRAME)
    with make_runner("process", StandardScaler().set_output(transform="polars").fit(polars), n_processes=2) as runner:
        expected = runner.estimator.transform(polars)
        for batch_size in (11, 1_000):
            for takes_over in (True, False):
                runner.takes_over = takes_over
                assert runner.transform(polars, batch_size=batch_size).equals(expected)
                check_answer(runner, "transform", polars, batch_size)


@pytest.mark.parametrize("n_processes", [1, 5])
def test_more_processes_than_rows_or_batches(start, n_processes):
    with start(LogisticRegression().fit(X, THIRDS), n_processes) as runner:
        for n_samples, batch_size in [(1, 1), (3, 1), (3, 2), (90, 89), (90, 1_000)]:
            check_answer(runner, "predict_proba", X[:n_samples], batch_size)
