"""Medians and intervals of paired ratios."""

from __future__ import annotations

import random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infbench.stats import Estimate, bootstrap_median, paired_ratios, ratio_estimate

DURATIONS = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=30)


@given(DURATIONS)
def test_interval_holds_the_median_and_lies_within_the_values(values):
    estimate = bootstrap_median(values)
    assert min(values) <= estimate.low <= estimate.value == median(values) <= estimate.high <= max(values)


@given(DURATIONS, st.randoms())
def test_order_does_not_matter(values, order):
    shuffled = list(values)
    order.shuffle(shuffled)
    assert bootstrap_median(shuffled) == bootstrap_median(values)


def test_interval_covers_the_true_median():
    generator = random.Random(0)
    covered = 0
    for _ in range(300):
        estimate = bootstrap_median([generator.gauss(2.0, 0.5) for _ in range(15)])
        covered += estimate.low <= 2.0 <= estimate.high
    assert 0.88 <= covered / 300 <= 1.0


def test_drift_that_slows_both_halves_of_a_pair_cancels():
    drift = [1.0 + step / 3 for step in range(11)]
    estimate = ratio_estimate([2.0 * slow for slow in drift], drift)
    assert (estimate.low, estimate.value, estimate.high) == pytest.approx((2.0, 2.0, 2.0))


def test_inverse_changes_the_bounds():
    assert Estimate(0.5, 0.4, 0.8).inverse() == Estimate(2.0, 1.25, 2.5)


def test_what_cannot_be_paired_or_estimated_is_refused():
    with pytest.raises(ValueError, match="got 2 and 1"):
        paired_ratios([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="got 0 and 0"):
        paired_ratios([], [])
    with pytest.raises(ValueError, match="got none"):
        bootstrap_median([])
    with pytest.raises(ValueError, match="between 0 and 1, got 95"):
        bootstrap_median([1.0], confidence=95)
