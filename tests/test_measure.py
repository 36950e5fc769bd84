"""Paired timing, and the check of the answers before it."""

from __future__ import annotations

import time
from collections import Counter
from statistics import median
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from estimators import Raises, Rows, Slow, SlowElsewhere, TellsProcess
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import infbench
from infbench import measure
from infbench.errors import AnswerMismatchError, InvalidParameterError, MissingMethodError, UnknownNameError
from infbench.measure import (
    check_comparable,
    check_same_answer,
    compare,
    paired_cost_samples,
    time_after_pauses,
    time_in_turn,
)
from infbench.results import comparisons_from_json, comparisons_to_json

X = np.arange(400.0).reshape(200, 2)


class Clock:
    """Goes on by as much as the callables say that they take, and not at all in between."""

    def __init__(self):
        self.now_ns = 0
        self.calls = []

    def perf_counter_ns(self):
        return self.now_ns

    def taking(self, name, *durations_ns):
        """Return a callable that takes the durations one after the other, and then the last one for ever."""
        remaining = list(durations_ns)

        def call():
            self.calls.append(name)
            self.now_ns += remaining.pop(0) if len(remaining) > 1 else remaining[0]

        return call


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(measure, "time", SimpleNamespace(perf_counter_ns=clock.perf_counter_ns))
    return clock


class TestTurns:
    @pytest.mark.parametrize("names", ["a", "ab", "abc", "abcd"])
    def test_begin_with_another_callable_each_round(self, clock, names):
        n_rounds = 2 * len(names)
        time_in_turn([clock.taking(name, 30_000_000) for name in names], n_rounds)
        warm_up, timed = clock.calls[: len(names)], clock.calls[len(names) :]
        assert "".join(warm_up) == names  # tells how many calls make a turn
        rounds = ["".join(timed[i : i + len(names)]) for i in range(0, len(timed), len(names))]
        assert len(rounds) == n_rounds
        assert [names.index(each[0]) for each in rounds] == [i % len(names) for i in range(n_rounds)]
        assert all(Counter(each) == Counter(names) for each in rounds)

    def test_durations_are_seconds_per_call_by_round(self, clock):
        durations = time_in_turn([clock.taking("a", 30_000_000), clock.taking("b", *range(10**8, 10**9, 10**8))], 3)
        assert durations == [(0.03, 0.03, 0.03), (0.2, 0.3, 0.4)]

    def test_of_short_calls_begin_with_one_that_is_not_timed(self, clock):
        cold_and_warm = [10_000_000, *[9_000_000, 2_000_000] * 3]
        assert time_in_turn([clock.taking("a", *cold_and_warm)], 3, warm=True) == [(0.002, 0.002, 0.002)]

    @pytest.mark.parametrize(
        ("duration_ns", "n_calls"), [(10_000_000, 1), (9_999_999, 2), (4_000_000, 3), (1_000_000, 10), (10_000, 1_000)]
    )
    def test_hold_as_many_calls_as_are_worth_dividing(self, clock, duration_ns, n_calls):
        durations = time_in_turn([clock.taking("a", duration_ns), clock.taking("b", 30_000_000)], 4)
        assert Counter(clock.calls) == {"a": 1 + 4 * n_calls, "b": 1 + 4}
        assert durations[0] == pytest.approx((duration_ns / 1e9,) * 4)

    def test_of_what_takes_no_time_at_all_come_to_an_end(self, clock):
        assert time_in_turn([clock.taking("a", 0)], 2) == [(0.0, 0.0)]
        assert len(clock.calls) <= 1 + 2 * 10_000

    def test_are_told_before_the_first_round_and_after_each(self, clock):
        done = []
        pass_ = clock.taking("a", 30_000_000)
        time_in_turn([pass_], 3, lambda *rounds: done.append((*rounds, len(clock.calls))))
        assert done == [(0, 3, 1), (1, 3, 2), (2, 3, 3), (3, 3, 4)]

    def test_measure_real_time(self):
        ((first, second),) = time_in_turn([lambda: time.sleep(0.02)], 2)
        assert min(first, second) >= 0.02

    def test_after_a_pause_hold_one_call_each(self, clock, monkeypatch):
        pauses_s = []
        monkeypatch.setattr(measure.time, "sleep", pauses_s.append, raising=False)
        assert time_after_pauses([clock.taking("a", 9_000_000, 2_000_000), clock.taking("b", 10)], 2) == [
            (0.009, 0.002),
            (1e-8, 1e-8),
        ]
        assert "".join(clock.calls) == "abab"
        assert pauses_s == [0.05] * 4


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


class TestAnswers:
    @given(ANSWERS, st.booleans())
    def test_copies_are_the_same(self, answer, bit_exact):
        check_same_answer(answer, answer.copy(), bit_exact=bit_exact)

    @given(st.integers(1, 30), st.integers(1, 4), st.data())
    def test_message_counts_the_values_that_differ_and_names_the_first_row(self, n_rows, n_columns, data):
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
    def test_that_differ(self, expected, got, message, bit_exact):
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
    def test_of_other_kinds_that_are_the_same(self, answer, bit_exact):
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
    def test_data_frames(self, change):
        import pandas as pd

        frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [4.0, np.nan, 6.0]})
        check_same_answer(frame, frame.copy())
        check_same_answer(frame["b"], frame["b"].copy())
        no_label = frame.set_axis([0.0, np.nan, 1.0])
        check_same_answer(no_label, no_label.copy())
        with pytest.raises(AnswerMismatchError):
            check_same_answer(frame, change(frame))

    @pytest.mark.parametrize(
        ("dtype", "rounding", "error"), [(np.float64, 1e-14, 1e-9), (np.float32, 1e-6, 1e-2), (np.float16, 1e-3, 0.1)]
    )
    @pytest.mark.parametrize("magnitude", [1, -1, 1_000])
    def test_rounding_is_allowed_where_it_is_said_and_nothing_more(self, magnitude, dtype, rounding, error):
        expected = np.full(3, magnitude, dtype)
        rounded, wrong = ((expected * (1 + size)).astype(dtype) for size in (rounding, error))
        check_same_answer(expected, rounded, bit_exact=False)
        with pytest.raises(AnswerMismatchError, match="3 of 3"):
            check_same_answer(expected, rounded)
        with pytest.raises(AnswerMismatchError, match="3 of 3"):
            check_same_answer(expected, wrong, bit_exact=False)

    def test_smallest_difference_counts(self):
        with pytest.raises(AnswerMismatchError, match=r"1 of 2.*row 1"):
            check_same_answer(np.zeros(2), np.array([0.0, 5e-324]))


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
        assert comparisons_from_json(comparisons_to_json([result])) == [result]

    def test_what_takes_long_is_not_measured_after_pauses(self):
        result = compare(Slow(0.06), X, runner="native", n_processes=2, batch_size=100, repeat=1)
        assert result.paused_serial_s == result.paused_parallel_s == ()

    def test_batch_is_an_even_share_unless_somebody_says_otherwise(self):
        result = compare(Rows(), X[:99], runner="native", n_processes=2, model="mine", repeat=1)
        assert (result.batch_size, result.model) == (50, "mine")

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

    @pytest.mark.parametrize("runner", ["process", "pool"])
    def test_handicap_of_the_workers_shows(self, runner):
        result = compare(SlowElsewhere(0.005, 0.05), X, runner=runner, n_processes=2, batch_size=50, repeat=3)
        assert result.speedup < 1

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
    """Return an estimator that cannot be sent to a worker: what is raised instead was raised before any start."""

    class NeverSent(Rows):
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
