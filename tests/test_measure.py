"""Paired timing, and the check of the answers before it."""

from __future__ import annotations

import dataclasses

import numpy as np
import psutil
import pytest
from estimators import Rows, Slow, TellsProcess
from scipy import sparse

import infbench
from infbench.errors import AnswerMismatchError, InvalidParameterError, ResultFormatError, UnknownNameError
from infbench.measure import check_same_answer, compare, paired_cost_samples, time_in_turn
from infbench.memory import tree_pss_bytes
from infbench.results import comparisons_from_json, comparisons_to_json
from infbench.runners.process import ProcessRunner

X = np.arange(400.0).reshape(200, 2)


class TestTurns:
    def test_take_the_same_number_and_begin_with_another_each_round(self):
        calls = []

        def slowly(name):
            def call():
                calls.append(name)
                # Longer than the shortest turn, so that each turn is one call.
                infbench.SerialRunner(Slow(0.012)).start().predict(X[:1])

            return call

        done = []
        durations = time_in_turn([slowly("a"), slowly("b")], 3, lambda *rounds: done.append(rounds))
        assert calls[2:] == ["a", "b", "b", "a", "a", "b"]  # the first two tell how many calls make a turn
        assert [len(seconds) for seconds in durations] == [3, 3]
        assert all(seconds >= 0.012 for each in durations for seconds in each)
        assert done == [(0, 3), (1, 3), (2, 3), (3, 3)]

    def test_of_something_short_hold_many_calls(self):
        calls = []
        time_in_turn([lambda: calls.append(1)], 2)
        assert len(calls) > 100


class TestAnswers:
    @pytest.mark.parametrize(
        ("expected", "got", "message"),
        [
            (np.zeros(3), np.zeros(3, "f4"), "dtype float32"),
            (np.zeros(3), np.zeros((3, 1)), r"shape \(3, 1\)"),
            (np.zeros(3), [0, 0, 0], "list"),
            (np.zeros(3), np.array([0, 0, 1e-300]), "1 of 3 values differ.*row 2"),
            ([np.zeros(2)], [np.zeros(2), np.zeros(2)], "2 outputs"),
            (sparse.csr_matrix(np.eye(2)), sparse.csr_matrix(np.ones((2, 2))), "2 of 4"),
            (np.array(["a", "b"]), np.array(["a", "c"]), "row 1"),
        ],
    )
    def test_that_differ(self, expected, got, message):
        with pytest.raises(AnswerMismatchError, match=message):
            check_same_answer(expected, got)

    def test_not_a_number_equals_itself(self):
        check_same_answer(np.array([np.nan, 1.0]), np.array([np.nan, 1.0]))

    def test_rounding_is_allowed_where_it_is_said_and_nothing_more(self):
        one = np.ones(3)
        check_same_answer(one, one + 1e-14, bit_exact=False)
        with pytest.raises(AnswerMismatchError):
            check_same_answer(one, one + 1e-14)
        with pytest.raises(AnswerMismatchError):
            check_same_answer(one, one + 1e-9, bit_exact=False)


class TestCompare:
    @pytest.mark.parametrize("runner", ["serial", "process", "native"])
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
            progress=lambda *n: done.append(n),
        )
        assert (result.n_samples, result.n_features, result.batch_size, result.repeat) == (200, 2, 50, 3)
        assert result.n_processes == (n_processes or 1)
        assert len(result.serial_s) == len(result.parallel_s) == len(result.serial_again_s) == 3
        assert result.speedup == np.median(np.array(result.serial_s) / np.array(result.parallel_s))
        assert result.efficiency == result.speedup / result.n_processes
        assert result.start_s > 0
        assert result.first_call_s > 0
        assert done == [(0, 3), (1, 3), (2, 3), (3, 3)]
        assert comparisons_from_json(comparisons_to_json([result])) == [result]

    def test_processes_that_wait_at_the_same_time_are_faster(self):
        assert compare(Slow(0.02), X, n_processes=2, batch_size=20, repeat=3).speedup > 1

    def test_another_answer_is_not_timed(self):
        done = []
        with pytest.raises(AnswerMismatchError, match="values differ"):
            compare(TellsProcess(), X, n_processes=2, batch_size=50, progress=lambda *n: done.append(n))
        assert done == []

    @pytest.mark.parametrize(
        ("wrong", "error"),
        [
            ({"runner": "proces"}, UnknownNameError),
            ({"repeat": 0}, InvalidParameterError),
            ({"n_processes": 0}, InvalidParameterError),
            ({"batch_size": 1.5}, InvalidParameterError),
            ({"method": "fit"}, AttributeError),
            ({"X": X[:0]}, InvalidParameterError),
        ],
    )
    def test_refusals_come_before_any_process(self, wrong, error):
        before = psutil.Process().children(recursive=True)
        with pytest.raises(error):
            compare(Rows(), **{"X": X} | wrong)
        assert psutil.Process().children(recursive=True) == before

    def test_samples_of_the_suites_are_costs(self):
        with ProcessRunner(Slow(0.02), n_processes=2) as runner:
            samples = paired_cost_samples(runner, X, batch_size=20, repeat=4)
        assert len(samples) == 4
        assert max(samples) < 1


class TestResults:
    def test_are_frozen(self):
        result = compare(Rows(), X, runner="serial", batch_size=50, repeat=1)
        with pytest.raises(dataclasses.FrozenInstanceError):
            result.n_samples = 1

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("no JSON", "not an infbench result file"),
            ("[]", "not an infbench result file"),
            ('{"schema_version": 2, "comparisons": []}', "schema_version must be 1, got 2"),
            ('{"schema_version": 1, "comparisons": [{}]}', "not a stored comparison"),
        ],
    )
    def test_other_files_are_refused(self, text, message):
        with pytest.raises(ResultFormatError, match=message):
            comparisons_from_json(text)


def test_memory_of_a_tree_counts_the_children():
    before = tree_pss_bytes()
    with ProcessRunner(Rows(), n_processes=2, start_method="spawn"):
        assert tree_pss_bytes() > before + 5_000_000
