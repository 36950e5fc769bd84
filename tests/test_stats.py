"""Medians and intervals of paired ratios."""

from __future__ import annotations

import random
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infbench.stats import Estimate, bootstrap_median, paired_ratios, ratio_estimate

DURATION = st.floats(1e-6, 1e3)
DURATIONS = st.lists(DURATION, min_size=1, max_size=30)
PAIRS = st.lists(st.tuples(DURATION, DURATION), min_size=1, max_size=30)
# Powers of two change no digit, so that what is scaled must be equal and not only close.
SCALE = st.integers(-8, 8).map(lambda power: 2.0**power)

few_examples = settings(max_examples=40)  # each costs thousands of resampled medians


def scaled(estimate, factor):
    return Estimate(estimate.value * factor, estimate.low * factor, estimate.high * factor)


@few_examples
@given(DURATIONS)
def test_interval_holds_the_median_and_lies_within_the_values(values):
    estimate = bootstrap_median(values)
    assert min(values) <= estimate.low <= estimate.value == median(values) <= estimate.high <= max(values)


@few_examples
@given(PAIRS, st.randoms(use_true_random=False))
def test_order_of_the_pairs_does_not_matter(pairs, order):
    shuffled = list(pairs)
    order.shuffle(shuffled)
    assert ratio_estimate(*zip(*shuffled, strict=True)) == ratio_estimate(*zip(*pairs, strict=True))


@few_examples
@given(PAIRS, SCALE)
def test_unit_of_one_side_scales_the_ratio_and_a_common_unit_cancels(pairs, factor):
    above, below = zip(*pairs, strict=True)
    estimate = ratio_estimate(above, below)
    scaled_above = [value * factor for value in above]
    assert ratio_estimate(scaled_above, below) == scaled(estimate, factor)
    assert ratio_estimate(scaled_above, [value * factor for value in below]) == estimate


@few_examples
@given(st.lists(st.tuples(DURATION, DURATION), min_size=1, max_size=29).filter(lambda pairs: len(pairs) % 2))
def test_exchanged_sides_give_the_inverse(pairs):
    above, below = zip(*pairs, strict=True)
    assert ratio_estimate(below, above).value == pytest.approx(ratio_estimate(above, below).inverse().value)


@given(st.lists(st.floats(1e-9, 1e9), min_size=3, max_size=3).map(sorted))
def test_inverse_of_the_inverse_is_the_estimate(bounds):
    low, value, high = bounds
    estimate = Estimate(value, low, high)
    inverse = estimate.inverse()
    assert inverse.low <= inverse.value <= inverse.high
    again = inverse.inverse()
    assert (again.low, again.value, again.high) == pytest.approx((low, value, high))


def test_inverse_changes_the_bounds():
    assert Estimate(0.5, 0.4, 0.8).inverse() == Estimate(2.0, 1.25, 2.5)


def test_same_values_give_the_same_interval_whatever_else_is_random():
    values = [random.Random(3).lognormvariate(0, 1) for _ in range(4)] + [1.0, 2.0, 4.0, 8.0]
    random.seed(1)
    first = bootstrap_median(values)
    random.seed(2)
    assert bootstrap_median(values) == first
    state = random.getstate()
    bootstrap_median(values)
    assert random.getstate() == state, "the caller's own random numbers have been used up"


def test_seed_changes_the_resampling_and_nothing_else():
    generator = random.Random(0)
    values = [generator.gauss(2.0, 0.5) for _ in range(30)]
    estimates = [bootstrap_median(values, random_state=seed) for seed in range(20)]
    assert {estimate.value for estimate in estimates} == {median(values)}
    assert len({(estimate.low, estimate.high) for estimate in estimates}) > 1


def test_more_confidence_takes_a_wider_interval():
    generator = random.Random(0)
    values = [generator.gauss(2.0, 0.5) for _ in range(15)]
    narrow, usual, wide = (bootstrap_median(values, confidence=share) for share in (0.5, 0.95, 0.999))
    assert wide.low < usual.low < narrow.low <= narrow.high < usual.high < wide.high


@pytest.mark.parametrize("n_rounds", [9, 11, 15])
def test_interval_covers_the_true_median(n_rounds):
    """In 95 of 100 measurements, about: of ratios of skewed durations, whose true median is 2."""
    generator = random.Random(n_rounds)
    n_trials = 250
    covered = 0
    for _ in range(n_trials):
        below = [generator.lognormvariate(0.0, 0.2) for _ in range(n_rounds)]
        above = [2.0 * generator.lognormvariate(0.0, 0.2) for _ in range(n_rounds)]
        estimate = ratio_estimate(above, below)
        covered += estimate.low <= 2.0 <= estimate.high
    assert 0.90 <= covered / n_trials <= 0.99


def test_half_the_confidence_covers_half_as_often():
    """An interval that always covers says no more than one that never does."""
    generator = random.Random(0)
    covered = 0
    for _ in range(250):
        estimate = bootstrap_median([generator.gauss(2.0, 0.5) for _ in range(15)], confidence=0.5)
        covered += estimate.low <= 2.0 <= estimate.high
    assert 0.4 <= covered / 250 <= 0.7


def test_drift_that_slows_both_halves_of_a_pair_cancels():
    drift = [2.0**step for step in range(11)]  # a machine that ends a thousand times as slow as it began
    estimate = ratio_estimate([1.5 * slow for slow in drift], drift)
    assert estimate == Estimate(1.5, 1.5, 1.5)


@few_examples
@given(st.lists(st.floats(0.01, 100.0), min_size=1, max_size=30), st.floats(0.1, 10.0))
def test_any_common_disturbance_cancels(slowness, ratio):
    estimate = ratio_estimate([ratio * slow for slow in slowness], slowness)
    assert (estimate.low, estimate.value, estimate.high) == pytest.approx((ratio, ratio, ratio))


def test_one_value_is_its_own_interval():
    assert bootstrap_median([3.0]) == Estimate(3.0, 3.0, 3.0)


@pytest.mark.parametrize("function", [paired_ratios, ratio_estimate])
@pytest.mark.parametrize(
    ("numerators", "denominators", "lengths"),
    [([1.0, 2.0], [1.0], "2 and 1"), ([], [1.0], "0 and 1"), ([1.0], [], "1 and 0"), ([], [], "0 and 0")],
)
def test_what_cannot_be_paired_is_refused(function, numerators, denominators, lengths):
    with pytest.raises(ValueError, match=f"got {lengths}"):
        function(numerators, denominators)


def test_median_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one value, got none"):
        bootstrap_median([])


@pytest.mark.parametrize("confidence", [0, 1, -0.5, 95, float("nan")])
def test_confidence_that_is_no_share_is_refused(confidence):
    with pytest.raises(ValueError, match=f"between 0 and 1, got {confidence}"):
        bootstrap_median([1.0], confidence=confidence)
