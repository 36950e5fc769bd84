"""Paired timing."""

from __future__ import annotations

import os
from statistics import median

import numpy as np
import psutil
import pytest
from estimators import (
    CannotBePickled,
    NotOfScikitLearn,
    Raises,
    Rows,
    Slow,
    SlowAtFirst,
    SlowElsewhere,
    TellsBatches,
    TellsProcess,
)
from scipy import sparse
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import infbench
from infbench.errors import AnswerMismatchError, InvalidParameterError, MissingMethodError, UnknownNameError
from infbench.machine import usable_cpus
from infbench.measure import check_comparable, check_runner, compare, paired_cost_samples
from infbench.results import comparisons_from_json, comparisons_to_json

X = np.arange(400.0).reshape(200, 2)


class TestCompare:
    @pytest.mark.parametrize("runner", ["serial", "process", "pool", "native"])
    def test_result_holds_what_was_measured(self, runner):
        n_processes = None if runner == "serial" else 2
        done = []
        result = compare(
            Rows(),
            X,
            runner=runner,
            n_processes=n_processes,
            batch_size=50,
            repeat=3,
            data="counted",
            random_state=7,
            progress=lambda *rounds: done.append(rounds),
        )
        assert (result.model, result.data, result.runner, result.method) == ("Rows", "counted", runner, "predict")
        assert (result.n_samples, result.n_features, result.batch_size, result.random_state) == (200, 2, 50, 7)
        assert result.n_processes == (n_processes or 1)
        assert result.inner_threads == 1
        assert len(result.serial_s) == len(result.parallel_s) == len(result.serial_again_s) == result.repeat == 3
        assert len(result.serial_default_threads_s) == (
            3 if any(n_threads > 1 for n_threads in result.machine.inner_threads.values()) else 0
        )
        assert (
            min(*result.serial_s, *result.parallel_s, *result.serial_again_s, result.start_s, result.first_call_s) > 0
        )
        assert result.speedup == median(a / b for a, b in zip(result.serial_s, result.parallel_s, strict=True))
        assert done == [(0, 3), (1, 3), (2, 3), (3, 3)]
        assert len(result.paused_serial_s) == len(result.paused_parallel_s) == 3
        n_timed = 3 if result.n_processes >= len(os.sched_getaffinity(0)) else 0
        assert len(result.loop_alone_s) == len(result.loops_together_s) == n_timed
        assert comparisons_from_json(comparisons_to_json([result])) == [result]

    def test_numbers_of_numpy_can_be_stored(self):
        sizes = {"batch_size": np.int64(50), "random_state": np.uint8(7), "n_processes": np.int32(2)}
        result = compare(Rows(), X, runner="threads", repeat=1, **sizes)
        assert comparisons_from_json(comparisons_to_json([result])) == [result]

    def test_what_takes_long_is_not_measured_after_pauses(self):
        result = compare(Slow(0.06), X, runner="native", n_processes=2, batch_size=100, repeat=1)
        assert result.paused_serial_s == result.paused_parallel_s == ()

    def test_batch_is_what_the_runner_takes_unless_somebody_says_otherwise(self):
        result = compare(Rows(), X[:99], runner="threads", n_processes=2, model="mine", repeat=1)
        assert (result.batch_size, result.serial_batch_size, result.model) == (50, 99, "mine")
        forest = infbench.make_model("random_forest", n_features=2)
        for runner in ("forest", "native"):
            assert compare(forest, X[:99], runner=runner, n_processes=2, repeat=1).batch_size == 99

    @pytest.mark.parametrize(("batch_size", "serial_ones"), [(None, {50, 49, 99}), (33, {33})])
    def test_the_serial_runner_is_given_all_rows_at_once_unless_somebody_says_otherwise(self, batch_size, serial_ones):
        """As the estimator itself would be: two calls in its place would make it look slow."""
        estimator = TellsBatches()
        compare(estimator, X[:99], runner="pool", n_processes=2, batch_size=batch_size, repeat=1)
        assert estimator.batches.keys() == serial_ones  # some to compare the answers; a pool computes elsewhere
        if batch_size is None:
            assert estimator.batches[99] > 2 * estimator.batches[50]

    def test_other_methods_and_other_rows(self):
        model = infbench.make_model("logistic_regression", n_features=2)
        rows = sparse.csr_matrix(X / 400)
        result = compare(model, rows, n_processes=2, batch_size=70, method="predict_proba", repeat=1)
        assert (result.method, result.model) == ("predict_proba", "LogisticRegression")
        assert (result.n_samples, result.n_features) == (200, 2)
        of_lists = compare(model, [[0.0, 1.0]] * 20, n_processes=2, repeat=1)
        assert (of_lists.n_samples, of_lists.n_features) == (20, 2)

    @pytest.mark.parametrize("runner", ["process", "pool"])
    def test_processes_that_wait_at_the_same_time_are_faster(self, runner):
        assert compare(Slow(0.02), X, runner=runner, n_processes=2, batch_size=50, repeat=2).speedup > 1

    @pytest.mark.skipif(usable_cpus() == 1, reason="one inner thread is the default with one CPU")
    def test_no_first_call_is_among_those_that_are_timed(self):
        estimator = SlowAtFirst()
        compare(estimator, X, runner="threads", n_processes=2, batch_size=50, repeat=1)
        assert estimator.n_calls > 10 * len(X) / 50  # as it is quick, a turn has several calls

    @pytest.mark.parametrize("runner", ["process", "pool"])
    def test_handicap_of_the_workers_shows(self, runner):
        result = compare(SlowElsewhere(0.005, 0.05), X, runner=runner, n_processes=2, batch_size=50, repeat=3)
        assert result.speedup < result.noise_floor.value / 2  # the floor is of the serial runner alone
        assert result.first_call_s > 0.05
        assert result.added_pss_bytes > 1_000_000  # a process

    @pytest.mark.parametrize("runner", ["process", "pool"])
    def test_another_answer_is_not_timed(self, runner):
        done = []
        with pytest.raises(AnswerMismatchError, match="values differ from the serial answer, the first in row "):
            compare(
                TellsProcess(),
                X,
                runner=runner,
                n_processes=2,
                batch_size=50,
                progress=lambda *rounds: done.append(rounds),
            )
        assert done == []

    @pytest.mark.parametrize("runner", ["process", "pool"])
    def test_error_of_the_estimator_comes_through(self, runner):
        marked = X.copy()
        marked[150, 0] = -1
        with pytest.raises(ZeroDivisionError, match="a marked row"):
            compare(Raises(), marked, runner=runner, n_processes=2, batch_size=50)

    def test_interrupted_between_rounds_ends_the_workers(self, nothing_left_behind):
        def interrupt(done, _):
            if done == 1:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            compare(Rows(), X, n_processes=2, batch_size=50, progress=interrupt)
        nothing_left_behind()


def never_sent():
    """Return an estimator that cannot be sent to a worker: any other error was raised before a worker started."""

    class NeverSent(CannotBePickled):
        n_features_in_ = 2

    return NeverSent()


REFUSALS = [
    *(
        ({name: value}, InvalidParameterError, f"{name} must be a positive int.*, got {value!r}")
        for name in ("n_processes", "batch_size", "repeat")
        for value in (0, -1, True, 2.0, "2")
    ),
    ({"repeat": None}, InvalidParameterError, "repeat must be a positive int, got None"),
    ({"runner": "proces"}, UnknownNameError, "unknown runner 'proces', allowed: serial, process, forest, auto"),
    ({"method": "fit"}, MissingMethodError, "'fit'.*it has: predict"),
    ({"method": "transform"}, MissingMethodError, "'transform'.*it has: predict"),
    ({"X": X[:0]}, InvalidParameterError, "at least one row"),
    ({"X": X[0]}, InvalidParameterError, "2 dimensions"),
    ({"X": X[None]}, InvalidParameterError, "2 dimensions"),
    ({"X": X[:, :1]}, InvalidParameterError, "2 features.*got 1"),
]


class TestRefusals:
    @pytest.mark.parametrize(("wrong", "error", "message"), REFUSALS)
    def test_come_before_any_process(self, wrong, error, message):
        before = psutil.Process().children(recursive=True)
        with pytest.raises(error, match=message):
            compare(never_sent(), **{"X": X, "n_processes": 2} | wrong)
        assert set(psutil.Process().children(recursive=True)) <= set(before)

    @pytest.mark.parametrize(("wrong", "error", "message"), REFUSALS)
    def test_may_be_asked_for_alone(self, wrong, error, message):
        right = {"X": X, "runner": "process", "n_processes": 2, "batch_size": 50, "method": "predict", "repeat": 3}
        check_comparable(never_sent(), **right)
        with pytest.raises(error, match=message):
            check_comparable(never_sent(), **right | wrong)

    @pytest.mark.parametrize("least_s", [-0.1, float("inf"), float("nan")])
    def test_seconds_that_nobody_can_measure_for(self, least_s):
        with pytest.raises(
            InvalidParameterError, match=f"least_s must be a number of seconds from 0 on, got {least_s}"
        ):
            compare(never_sent(), X, least_s=least_s)

    @pytest.mark.parametrize("seed", [None, -1, 1.5, "now"])
    def test_seed_that_made_no_rows(self, seed):
        with pytest.raises(
            InvalidParameterError, match=f"random_state must be an int from 0 to 4294967295, got {seed!r}"
        ):
            compare(never_sent(), X, random_state=seed)

    def test_estimator_that_is_not_fitted(self):
        from sklearn.exceptions import NotFittedError
        from sklearn.linear_model import LogisticRegression

        before = psutil.Process().children(recursive=True)
        with pytest.raises(NotFittedError):
            compare(LogisticRegression(), X)
        assert set(psutil.Process().children(recursive=True)) <= set(before)

    def test_serial_runner_with_processes(self):
        with pytest.raises(InvalidParameterError, match="n_processes must be 1 or None for the serial runner, got 2"):
            compare(Rows(), X, runner="serial", n_processes=2)


class TestCostSamples:
    def test_are_one_positive_ratio_for_each_round(self):
        with infbench.SerialRunner(Rows()) as runner:
            samples = paired_cost_samples(runner, X, batch_size=50, repeat=5)
        assert len(samples) == 5
        assert min(samples) > 0

    def test_are_below_one_where_processes_wait_at_the_same_time(self):
        with infbench.ProcessRunner(Slow(0.02), n_processes=2) as runner:
            assert median(paired_cost_samples(runner, X, batch_size=50, repeat=3)) < 1

    def test_are_above_one_where_workers_have_a_handicap(self):
        with infbench.ProcessRunner(SlowElsewhere(0.005, 0.05), n_processes=2) as runner:
            assert median(paired_cost_samples(runner, X, batch_size=50, repeat=3)) > 1

    def test_are_not_taken_where_the_answer_differs(self):
        with (
            infbench.ProcessRunner(TellsProcess(), n_processes=2) as runner,
            pytest.raises(AnswerMismatchError, match="values differ"),
        ):
            paired_cost_samples(runner, X, batch_size=50)

    def test_of_another_method(self):
        model = infbench.make_model("logistic_regression", n_features=2)
        with infbench.SerialRunner(model) as runner:
            assert len(paired_cost_samples(runner, X, batch_size=50, method="decision_function", repeat=2)) == 2


def test_what_only_the_second_answer_shows_is_found():
    class WrongAfterwards(infbench.SerialRunner):
        n_calls = 0

        def _run(self, method, batches):
            self.n_calls += 1
            return super()._run(method, batches) + (self.n_calls > 1)

    with WrongAfterwards(Rows()) as runner, pytest.raises(AnswerMismatchError):
        check_runner(runner, X, batch_size=50)


def test_an_estimator_that_changes_its_rows_is_measured_and_the_rows_are_not_changed():
    X = infbench.make_data(n_samples=400, n_features=5)
    before = X.copy()
    scaler = StandardScaler(copy=False).fit(X.copy())
    result = compare(scaler, X, method="transform", n_processes=2, batch_size=100, repeat=3)
    assert result.speedup > 0
    np.testing.assert_array_equal(X, before)


def test_what_only_looks_like_an_estimator_of_scikit_learn_is_measured():
    with threadpool_limits(limits=1):  # otherwise nobody would ask for its n_jobs
        assert compare(NotOfScikitLearn(), np.ones((40, 2)), n_processes=2, batch_size=10, repeat=3).speedup > 0
