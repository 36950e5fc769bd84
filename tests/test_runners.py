"""The contract, over every runner."""

from __future__ import annotations

import os

import numpy as np
import psutil
import pytest
from contracts import (
    check_answer,
    check_outcome,
    check_raises,
    check_survives_death,
    check_survives_errors,
    check_threads,
    layouts,
)
from estimators import ListOfArrays, Misbehaves, Objects, SparseRows, TellsThreads, TupleOfArrays, Words
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info

import infbench
from infbench.errors import InvalidParameterError, MissingMethodError, RunnerError, UnknownNameError
from infbench.runners import RUNNERS, make_runner

N_FEATURES = 6
ELSEWHERE = {"mpire", "dask", "ray"}  # see test_other_libraries.py
ANY_ESTIMATOR = [name for name in RUNNERS if name not in {"forest", *ELSEWHERE}]
ROWS = infbench.make_data(n_samples=101, n_features=N_FEATURES, random_state=1)

LIVES_ON = pytest.mark.leaves_behind(
    "descriptors",
    "threads",
    "processes",
    "files",
    reason="its runner serves the next test too",
)


def runner_of(name, estimator):
    return make_runner(name, estimator, n_processes=None if name == "serial" else 2)


@pytest.fixture(scope="module")
def estimators():
    """Give an estimator for each runner."""
    usual = infbench.make_model("logistic_regression", n_features=N_FEATURES)
    labels = np.array(["few", "more", "many"])[np.digitize(ROWS[:, 0], [-0.5, 0.5])]
    forest = RandomForestClassifier(20, random_state=0).fit(ROWS, labels)
    return {name: forest if name == "forest" else usual for name in RUNNERS}


@pytest.fixture(scope="module")
def estimator(estimators):
    return estimators["serial"]


# Not loky: its workers and semaphores would count as left behind by the first test. It has runners of its own below.
@pytest.fixture(scope="module", params=[name for name in RUNNERS if name not in {"loky", *ELSEWHERE}])
def runner(request, estimators):
    with runner_of(request.param, estimators[request.param]) as started:
        yield started


@LIVES_ON
class TestAnswers:
    @pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
    @pytest.mark.parametrize("batch_size", [1, 7, 50, 101, 1_000, None])
    def test_equal_the_serial_ones(self, runner, method, batch_size):
        if batch_size is None and hasattr(runner.estimator, method):
            assert runner.run(method, ROWS).shape[0] == len(ROWS)
        check_outcome(runner, method, ROWS, batch_size or 17)  # not every estimator has every method

    @pytest.mark.parametrize("layout", layouts(ROWS))
    def test_equal_the_serial_ones_for_every_layout_and_type(self, runner, layout):
        X = layouts(ROWS)[layout]
        # What it pickles arrives C-ordered, which may change a last bit: its docstring says so.
        loses_layout = runner.name in {"pool", "pool_per_task", "futures"} and not X.flags.forc
        check_answer(runner, "predict_proba", X, 13, bit_exact=not loses_layout)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_raise_what_the_serial_runner_raises(self, runner, value):
        X = ROWS.copy()
        X[90] = value
        check_outcome(runner, "predict", X, 10)
        check_answer(runner, "predict", ROWS, 10)

    def test_lists_and_sparse_matrices(self, runner):
        from scipy import sparse

        check_answer(runner, "predict", ROWS.tolist(), 20)
        for kind in (sparse.csr_matrix, sparse.csc_matrix):
            check_answer(runner, "predict", kind(ROWS), 20)

    def test_one_row(self, runner):
        check_answer(runner, "predict", ROWS[:1], 10)


@LIVES_ON
@settings(max_examples=40)
@given(n_samples=st.integers(1, 101), batch_size=st.integers(1, 120))
def test_any_number_of_rows_and_batches(process_runner, n_samples, batch_size):
    check_answer(process_runner, "predict_proba", ROWS[:n_samples], batch_size)


@pytest.fixture(scope="module", params=[1, 2, 4])
def process_runner(request, estimator):
    with infbench.ProcessRunner(estimator, n_processes=request.param) as started:
        yield started


@pytest.mark.parametrize("name", ["process", "pool"])
@pytest.mark.parametrize(
    ("estimator", "method"),
    [
        (Words(), "predict"),
        (Objects(), "predict"),
        (ListOfArrays(), "predict_proba"),
        (TupleOfArrays(), "predict"),
        (SparseRows(), "transform"),
    ],
    ids=["text of many widths", "objects", "list of arrays", "tuple of arrays", "sparse"],
)
def test_answers_of_every_kind(name, estimator, method):
    with runner_of(name, estimator) as runner:
        check_answer(runner, method, np.abs(ROWS) * 10, 8)


def test_data_frames_and_their_errors():
    import pandas as pd
    from sklearn.linear_model import LogisticRegression

    frame = pd.DataFrame(ROWS, columns=list("abcdef"))
    model = LogisticRegression().fit(frame, ROWS[:, 0] > 0)
    with infbench.ProcessRunner(model, n_processes=2) as runner:
        check_answer(runner, "predict", frame, 10)
        check_raises(runner, "predict", frame[list("fedcba")], 10, ValueError)
        check_raises(runner, "predict", frame[["a"]], 10, ValueError)
        check_answer(runner, "predict", frame, 10)


class TestFaults:
    @pytest.mark.parametrize("name", ANY_ESTIMATOR)
    def test_error_of_a_batch_comes_through_and_the_next_call_is_right(self, name):
        with runner_of(name, Misbehaves()) as runner:
            for _ in range({"process": 34, "loky": 1}.get(name, 3)):  # loky starts new workers after each error
                check_survives_errors(runner, ROWS)

    # multiprocessing's pool waits forever for what a dead worker had: its notes say so. Threads cannot die alone.
    @pytest.mark.parametrize("name", ["process", "futures", "loky"])
    def test_death_of_a_worker_is_told_and_the_next_call_is_right(self, name):
        with runner_of(name, Misbehaves()) as runner:
            check_survives_death(runner, ROWS)

    @pytest.mark.parametrize("inner_threads", [1, 2])
    @pytest.mark.parametrize("name", [name for name in ANY_ESTIMATOR if name != "native"])
    def test_a_batch_is_computed_with_as_many_threads_as_asked_for(self, name, inner_threads):
        n_processes = None if name == "serial" else 2
        with make_runner(name, TellsThreads(), n_processes=n_processes, inner_threads=inner_threads) as runner:
            check_threads(runner, ROWS, n_wanted=inner_threads)

    @pytest.mark.parametrize("name", ANY_ESTIMATOR)
    def test_threads_of_the_caller_are_as_before_after_an_error(self, name):
        before = {library["filepath"]: library["num_threads"] for library in threadpool_info()}
        with runner_of(name, Misbehaves()) as runner:
            bad = ROWS.copy()
            bad[0, 0] = -1  # the others still compute when this one raises
            with pytest.raises(ZeroDivisionError):
                runner.predict(bad, batch_size=1)
        assert {library["filepath"]: library["num_threads"] for library in threadpool_info()} == before

    @pytest.mark.parametrize("name", [name for name in RUNNERS if name not in ELSEWHERE])
    def test_closed_in_a_fork_it_still_runs_in_the_caller(self, name, estimators):
        with runner_of(name, estimators[name]) as runner:
            check_answer(runner, "predict", ROWS, 10)
            pid = os.fork()
            if pid == 0:
                try:
                    runner.close()
                    os._exit(0)
                finally:
                    os._exit(1)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            check_answer(runner, "predict", ROWS, 10)


class TestLifetime:
    @pytest.mark.parametrize("name", [name for name in RUNNERS if name not in ELSEWHERE])
    def test_start_and_close_twice_and_again(self, name, estimators):
        runner = runner_of(name, estimators[name])
        with pytest.raises(RunnerError, match="not started"):
            runner.predict(ROWS)
        with pytest.raises(RunnerError, match="not started"):
            runner.empty((2, N_FEATURES))
        for _ in range(2):
            assert runner.start() is runner
            runner.start()
            X = runner.empty(ROWS.shape, ROWS.dtype)
            assert (X.shape, X.dtype) == (ROWS.shape, ROWS.dtype)
            X[...] = ROWS
            check_answer(runner, "predict", X, 30)
            runner.close()
            runner.close()
        with pytest.raises(RunnerError, match="not started"):
            runner.predict(ROWS)


class TestRefusals:
    """Nothing is started before it is clear that it can be used."""

    @pytest.fixture(autouse=True)
    def no_new_process(self):
        before = set(psutil.Process().children(recursive=True))
        yield
        assert set(psutil.Process().children(recursive=True)) <= before

    @pytest.mark.parametrize("value", [0, -1, True, 2.0, "2"])
    @pytest.mark.parametrize("name", RUNNERS)
    def test_number_of_processes(self, name, value, estimators):
        with pytest.raises(InvalidParameterError, match=rf"n_processes must be a positive int or None, got {value!r}"):
            make_runner(name, estimators[name], n_processes=value)

    @pytest.mark.parametrize("value", [0, -1, True, 2.0, "2"])
    def test_batch_size(self, value, estimators):
        for name, estimator in estimators.items():
            with pytest.raises(
                InvalidParameterError, match=rf"batch_size must be a positive int or None, got {value!r}"
            ):
                runner_of(name, estimator).predict(ROWS, batch_size=value)

    @pytest.mark.parametrize(
        ("X", "message"),
        [
            (ROWS[:0], "at least one row"),
            (ROWS[0], "2 dimensions"),
            (ROWS[None], "2 dimensions"),
            (None, "X must hold rows, got NoneType"),
            (np.float64(3), "X must hold rows, got float64"),
            (ROWS[:, :5], "6 features, as (LogisticRegression|RandomForestClassifier) was fitted on, got 5"),
        ],
        ids=["empty", "1-D", "3-D", "none", "number", "features"],
    )
    def test_rows(self, X, message, estimators):
        for name, estimator in estimators.items():
            with pytest.raises(InvalidParameterError, match=message):
                runner_of(name, estimator).predict(X)

    def test_names(self, estimator):
        with pytest.raises(UnknownNameError, match="unknown runner 'proces', allowed: serial, process, forest, auto"):
            make_runner("proces", estimator)
        with pytest.raises(MissingMethodError, match=r"no method 'transform'.*it has: predict, predict_proba"):
            runner_of("process", estimator).transform(ROWS)
        with pytest.raises(UnknownNameError, match="unknown start_method 'thread'"):
            infbench.ProcessRunner(estimator, start_method="thread")

    def test_unfitted_estimator(self):
        for name in RUNNERS:
            with pytest.raises(NotFittedError):
                make_runner(name, RandomForestClassifier())

    def test_estimator_of_others_that_keeps_nothing_where_scikit_learn_looks(self):
        class Log(TransformerMixin, BaseEstimator):
            def fit(self, X, y=None):
                return self

            def transform(self, X):
                return np.log1p(np.abs(X))

        for estimator in (Log(), make_pipeline(Log())):
            assert make_runner("serial", estimator).n_processes == 1
        with pytest.raises(NotFittedError):
            make_runner("serial", make_pipeline(StandardScaler()))


def test_documents_may_come_as_an_array(nothing_left_behind):
    documents = np.array(["one fish", "two fish", "red fish", "blue fish"] * 5)
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(documents, np.arange(20) % 2)
    for name in ("serial", "process", "pool"):
        with runner_of(name, model) as runner:
            check_answer(runner, "predict_proba", documents, 5)
            check_answer(runner, "predict_proba", documents.astype(object), 5)


def test_threads_may_be_a_number_of_numpy():
    with infbench.ProcessRunner(
        infbench.make_model("dummy"), n_processes=np.int64(2), inner_threads=np.int64(1)
    ) as runner:
        assert type(runner.inner_threads) is int
        check_answer(runner, "predict", infbench.make_data(n_samples=40, n_features=20), 10)
