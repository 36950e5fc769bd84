"""Forests whose trees are shared out."""

from __future__ import annotations

import os
import signal

import numpy as np
import pandas as pd
import pytest
from contracts import check_answer, check_outcome, check_raises
from estimators import DyingTree
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)

import infbench
from infbench.errors import InvalidParameterError, WorkerDied, WorkerTimeoutError
from infbench.runners import make_runner
from infbench.runners.forest import ForestRunner

ROWS = infbench.make_data(n_samples=300, n_features=5, random_state=1)
LABELS = np.array(["few", "many", "several"])[np.digitize(ROWS[:, 0], [-0.5, 0.5])]
FORESTS = {
    "classes": RandomForestClassifier(33, random_state=0).fit(ROWS, LABELS),
    "numbers": RandomForestRegressor(20, random_state=0).fit(ROWS, np.sin(ROWS[:, 0].astype(float))),  # none is exact
    "extra classes": ExtraTreesClassifier(20, random_state=0).fit(ROWS, LABELS == "few"),
    "extra numbers": ExtraTreesRegressor(20, random_state=0).fit(ROWS, -ROWS[:, 0]),
    "weighted": RandomForestClassifier(20, class_weight="balanced", random_state=0).fit(ROWS, LABELS),
    "a single tree": RandomForestRegressor(1, random_state=0).fit(ROWS, ROWS[:, 0]),
}


@pytest.mark.parametrize("n_processes", [1, 2, 3])
@pytest.mark.parametrize("kind", FORESTS)
def test_answers_equal_the_forest_s_to_the_last_bit(kind, n_processes):
    with make_runner("forest", FORESTS[kind], n_processes=n_processes) as runner:
        for n_samples, batch_size in [(1, 1), (6, 1), (10, 10), (40, 7), (300, 300)]:
            for method in ("predict", "predict_proba"):
                if hasattr(FORESTS[kind], method):
                    check_answer(runner, method, ROWS[:n_samples], batch_size)


@pytest.mark.leaves_behind("descriptors", "processes", reason="one runner for all examples")
def test_any_rows():
    finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
    with make_runner("forest", FORESTS["numbers"], n_processes=2) as runner:

        @settings(max_examples=30)
        @given(st.lists(st.lists(finite, min_size=5, max_size=5), min_size=1, max_size=8))
        def holds(rows):
            check_answer(runner, "predict", np.array(rows), 3)

        holds()


def test_all_rows_are_one_batch_unless_somebody_says_otherwise(monkeypatch):
    with make_runner("forest", FORESTS["classes"], n_processes=2) as runner:
        seen = []
        run_batch = runner._run_batch
        monkeypatch.setattr(
            runner, "_run_batch", lambda method, batch: seen.append(len(batch)) or run_batch(method, batch)
        )
        np.testing.assert_array_equal(runner.predict(ROWS), FORESTS["classes"].predict(ROWS))
        runner.predict(ROWS, batch_size=200)
    assert seen == [300, 200, 100]


def test_more_rows_than_are_held_at_once():
    X = infbench.make_data(n_samples=2_500, n_features=5, random_state=2)
    with make_runner("forest", FORESTS["classes"], n_processes=2) as runner:
        check_answer(runner, "predict_proba", X, 2_400)


class TestDataFrames:
    @pytest.fixture
    def runner(self):
        frame = pd.DataFrame(ROWS, columns=list("abcde"))
        with make_runner(
            "forest", RandomForestClassifier(10, random_state=0).fit(frame, LABELS), n_processes=2
        ) as runner:
            yield runner

    def test_with_the_columns_that_the_forest_knows(self, runner):
        check_answer(runner, "predict_proba", pd.DataFrame(ROWS, columns=list("abcde")), 50)

    @pytest.mark.parametrize("columns", [list("edcba"), list("abcdx")])
    def test_with_others(self, runner, columns):
        check_raises(runner, "predict_proba", pd.DataFrame(ROWS, columns=columns), 50, ValueError)

    def test_array_instead_gets_the_same_warning(self, runner):
        with pytest.warns(UserWarning, match="does not have valid feature names"):
            runner.predict(ROWS, batch_size=50)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_rows_that_need_a_look_are_the_forest_s_own_business(value):
    X = ROWS.astype(np.float64)
    X[100, 2] = value
    with make_runner("forest", FORESTS["classes"], n_processes=2) as runner:
        check_outcome(runner, "predict", X, 50)


class Derived(RandomForestClassifier):
    """May do anything."""


@pytest.mark.parametrize(
    ("estimator", "name"),
    [
        (infbench.make_model("dummy", n_features=5), "DummyClassifier"),
        (Derived(5).fit(ROWS, LABELS), "Derived"),
        (RandomForestRegressor(5).fit(ROWS, ROWS[:, :2]), "RandomForestRegressor"),
    ],
)
def test_others_are_refused(estimator, name):
    with pytest.raises(InvalidParameterError, match=f"with one output, got {name}"):
        make_runner("forest", estimator)


def test_death_of_a_worker_names_the_rows_and_not_the_trees():
    X = infbench.make_data(n_samples=60, n_features=4)
    y = X[:, 0] > 0
    forest = RandomForestClassifier(20, random_state=0).fit(X, y)
    forest.estimators_[-1] = DyingTree(forest.estimators_[-1])
    with ForestRunner(forest, n_processes=2) as runner:
        runner.takes_over = False
        rows = X.copy()
        rows[25, 1] = 1e7
        with pytest.raises(WorkerDied, match="while computing rows 20 to 40") as died:
            runner.predict(rows, batch_size=20)
        assert died.value.rows == (20, 40)
        check_answer(runner, "predict_proba", X, 20)


def test_stuck_worker_names_the_rows():
    X = infbench.make_data(n_samples=60, n_features=4)
    forest = RandomForestClassifier(20, random_state=0).fit(X, X[:, 0] > 0)
    with ForestRunner(forest, n_processes=2, timeout=0.2) as runner:
        runner.takes_over = False
        os.kill(runner._trees._crew.workers[0].pid, signal.SIGSTOP)
        with pytest.raises(WorkerTimeoutError, match=r"rows 0 to 20 within 0\.2 s"):
            runner.predict(X, batch_size=20)
        runner._trees.timeout = None  # right answers may take longer on a busy machine
        check_answer(runner, "predict_proba", X, 20)
