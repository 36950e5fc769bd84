"""The runner that chooses."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from contracts import check_answer
from estimators import DozesOffElsewhere, Rows, Slow, SlowAsWritten, SlowElsewhere, SlowToTransform
from scipy import sparse
from sklearn.preprocessing import StandardScaler

import infbench
from infbench.runners import auto as auto_module
from infbench.runners import make_runner

ROWS = np.arange(4_000.0).reshape(2_000, 2)


def auto(estimator, n_processes=2):
    return make_runner("auto", estimator, n_processes=n_processes)


def test_what_waits_is_done_side_by_side():
    with auto(Slow(0.005)) as runner:
        check_answer(runner, "predict", ROWS, 200)
        assert runner.chosen in {"process", "threads"}


def test_what_only_this_process_does_well_stays_here():
    with auto(SlowElsewhere(0.002, 0.05)) as runner:
        check_answer(runner, "predict", ROWS, 1_000)
        assert runner.chosen in {"serial", "threads"}


def test_what_others_do_well_unless_they_were_asleep_depends_on_the_pause_before(monkeypatch):
    monkeypatch.setattr("infbench.runners.auto._PAUSED_AFTER_S", 0.04)  # a busy machine makes pauses of its own
    with auto(DozesOffElsewhere(0.002, 0.03)) as runner:
        check_answer(runner, "predict", ROWS, 500)
        stayed_here = []
        for pause_s in (0.05, 0.0, 0.0, 0.05):
            time.sleep(pause_s)
            runner.predict(ROWS, batch_size=500)
            stayed_here.append(runner.chosen == "serial")
        assert stayed_here == [True, False, False, True]


def test_what_was_the_best_way_on_a_machine_that_was_busy_is_left_when_it_is_not_any_more(tmp_path, monkeypatch):
    monkeypatch.setattr("infbench.runners.auto._WORTH_A_TRY", 100.0)  # whatever a busy machine makes of it
    elsewhere_s = tmp_path / "seconds"
    elsewhere_s.write_text("0.001")
    with auto(SlowAsWritten(0.005, elsewhere_s)) as runner:
        check_answer(runner, "predict", ROWS, 500)
        assert runner.chosen == "process"
        elsewhere_s.write_text("0.04")
        ways = []
        while len(ways) < 400 and ways[-20:] != ["serial"] * 20:  # more in a row than when it is only tried
            runner.predict(ROWS, batch_size=500)
            ways.append(runner.chosen)
        assert ways[0] == "process"
        assert ways[-1] == "serial"


def test_calls_that_take_less_than_to_hand_batches_out_go_one_way_only(monkeypatch):
    """In calls of 30 us, the cost of trying another way shows, and there is nothing to gain."""
    monkeypatch.setattr("infbench.runners.auto.HAND_OUT_S", 1e-3)
    X = infbench.make_data(n_samples=1_000, n_features=20)
    with auto(infbench.make_model("dummy")) as runner:
        check_answer(runner, "predict", X, 500)
        assert not any(trial.has_choice for trial in runner.trials.values())
        ways = set()
        for _ in range(500):
            runner.predict(X, batch_size=500)
            ways.add(runner.chosen)
        assert ways == {"serial"}


@pytest.fixture(scope="module")
def forest():
    return infbench.make_model("random_forest")


def test_single_row_of_a_forest_is_shared_out(forest):
    X = infbench.make_data(n_samples=1, n_features=20)
    with auto(forest) as runner:
        check_answer(runner, "predict_proba", X, 1)
        assert runner.chosen == "forest"


def test_few_rows_of_a_forest_are_few_whatever_a_batch_may_hold(forest):
    with auto(forest) as runner:
        check_answer(runner, "predict_proba", infbench.make_data(n_samples=1, n_features=20), 10_000)
        assert runner.chosen == "forest"


def test_single_batch_of_anything_else_and_a_single_process_need_no_measurement():
    with auto(Slow(0.001)) as runner:
        check_answer(runner, "predict", ROWS, 2_000)
        assert (runner.chosen, runner.costs) == ("serial", {})
    with auto(Slow(0.001), n_processes=1) as runner:
        check_answer(runner, "predict", ROWS, 100)
        assert (runner.chosen, runner.costs) == ("serial", {})


@pytest.mark.parametrize(("estimator", "expected"), [(Rows(), 2_000), (Slow(0.005), 1_000)], ids=["kept", "shared"])
def test_rows_that_are_not_worth_sharing_out_are_one_batch_from_then_on(estimator, expected):
    with auto(estimator) as runner:
        assert runner.default_batch_size(2_000) == 1_000
        for _ in range(2):
            np.testing.assert_array_equal(runner.predict(ROWS), ROWS[:, 0])
        assert runner.default_batch_size(2_000) == expected
        assert runner.default_batch_size(1_000) == 500  # nobody knows yet
    assert runner.default_batch_size(2_000) == 1_000


def test_what_is_known_of_one_method_says_nothing_of_another():
    with auto(SlowToTransform()) as runner:
        for _ in range(3):
            np.testing.assert_array_equal(runner.predict(ROWS), ROWS[:, 0])
            np.testing.assert_array_equal(runner.transform(ROWS), ROWS)
        assert runner.default_batch_size(2_000) == 2_000
        assert runner.default_batch_size(2_000, "transform") == 1_000
        assert runner.chosen in {"threads", "process"}


def test_rows_of_a_forest_that_are_shared_out_by_trees_are_one_batch_from_then_on(forest, monkeypatch):
    monkeypatch.setattr("infbench.runners.auto._FOREST_ROWS", 1)
    X = infbench.make_data(n_samples=2, n_features=20)
    with auto(forest) as runner:
        for n_rows in (1, 2, 2):
            assert runner.default_batch_size(2) == n_rows
            runner.predict(X)
            assert runner.chosen == "forest"


@pytest.mark.parametrize("sizes", [(3, 4), (4, 3)])
def test_what_is_known_of_fewer_rows_of_a_forest_counts_where_it_can(forest, monkeypatch, sizes):
    monkeypatch.setattr("infbench.runners.auto._FOREST_ROWS", 3)
    with auto(forest) as runner:
        for n_rows in sizes:
            check_answer(runner, "predict", infbench.make_data(n_samples=2 * n_rows, n_features=20), n_rows)
        (costs,) = runner.costs.values()
        assert ("forest" in costs) == (sizes[0] == 3)
        ways = {kind.batch_size: set(trial.typical_s) for kind, trial in runner.trials.items()}
        assert "forest" not in ways[4]
        assert all(ways.values())


def test_costs_are_kept_by_kind_of_call():
    with auto(Slow(0.001)) as runner:
        for batch_size in (500, 490, 100):
            runner.predict(ROWS, batch_size=batch_size)
        runner.predict(ROWS[:1_500], batch_size=100)
        assert [tuple(shape) for shape in runner.costs] == [("predict", 4, 9), ("predict", 5, 9), ("predict", 8, 7)]
        for costs in runner.costs.values():
            assert list(costs) == ["serial", "threads", "process"]
            assert min(min(cost) for cost in costs.values()) >= 0


@pytest.mark.parametrize(
    ("model", "way"),
    [
        *(("random_forest", way) for way in ("serial", "threads", "process", "forest")),
        ("logistic_regression", "threads"),
        ("mlp", "process"),
    ],
)
def test_answers_equal_the_serial_ones_whatever_is_chosen(forest, model, way, monkeypatch):
    monkeypatch.setattr("infbench.runners.auto._weighted", lambda name, _: 0.0 if name == way else 1.0)
    monkeypatch.setattr("infbench.runners.auto._TURN_S", 0.001)  # the times count for nothing
    X = infbench.make_data(n_samples=500, n_features=20)
    with auto(forest if model == "random_forest" else infbench.make_model(model)) as runner:
        for method in ("predict", "predict_proba"):
            for batch_size in (50, 250):
                check_answer(runner, method, X, batch_size)
                assert runner.chosen == way
            check_answer(runner, method, X, 500)


@pytest.mark.parametrize(
    ("costs_s", "expected"),
    [
        ({"serial": 1.0, "process": 1.09}, "process"),  # which computes alone what does not pay
        ({"serial": 1.0, "process": 1.11}, "serial"),
        ({"serial": 1.0, "threads": 0.99, "process": 1.0}, "process"),
        ({"serial": 1.0, "threads": 0.9, "process": 1.0}, "threads"),
        ({"serial": 4e-4, "process": 3.7e-4}, "serial"),  # there it counts that it has to find out
        ({"serial": 4e-4, "process": 3.5e-4}, "process"),
    ],
)
def test_what_is_measured_must_promise_a_tenth(costs_s, expected):
    assert min(costs_s, key=lambda name: auto_module._weighted(name, costs_s[name])) == expected


@pytest.mark.parametrize("as_rows", [np.array, pd.DataFrame, sparse.csr_matrix])
def test_an_estimator_that_changes_its_rows_finds_them_as_they_are(as_rows):
    X = infbench.make_data(n_samples=400, n_features=5)
    scaler = StandardScaler(copy=False, with_mean=False).fit(X)
    with auto(scaler) as runner:
        for _ in range(2):
            scaled = runner.transform(as_rows(X.copy()), batch_size=100)
            expected = X / scaler.scale_.astype(np.float32)
            np.testing.assert_allclose(scaled.toarray() if sparse.issparse(scaled) else scaled, expected, rtol=1e-6)
