"""Medians and intervals of paired ratios."""

from __future__ import annotations

import math
import random
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infbench.stats import (
    Estimate,
    break_even,
    estimate_median,
    fit_scaling,
    paired_ratios,
    quotient,
    ratio_estimate,
)

DURATION = st.floats(1e-6, 1e3)
DURATIONS = st.lists(DURATION, min_size=1, max_size=30)
PAIRS = st.lists(st.tuples(DURATION, DURATION), min_size=1, max_size=30)
# Powers of two change no digit, so that what is scaled must be equal and not only close.
SCALE = st.integers(-8, 8).map(lambda power: 2.0**power)


def scaled(estimate, factor):
    return Estimate(estimate.value * factor, estimate.low * factor, estimate.high * factor)


@given(DURATIONS)
def test_interval_holds_the_median_and_lies_within_the_values(values):
    estimate = estimate_median(values)
    assert estimate.low <= estimate.value == median(values) <= estimate.high
    assert estimate.is_bounded == (len(values) >= 6)
    if estimate.is_bounded:
        assert min(values) <= estimate.low
        assert estimate.high <= max(values)


@given(PAIRS, st.randoms(use_true_random=False))
def test_order_of_the_pairs_does_not_matter(pairs, order):
    shuffled = list(pairs)
    order.shuffle(shuffled)
    assert ratio_estimate(*zip(*shuffled, strict=True)) == ratio_estimate(*zip(*pairs, strict=True))


@given(PAIRS, SCALE)
def test_unit_of_one_side_scales_the_ratio_and_a_common_unit_cancels(pairs, factor):
    above, below = zip(*pairs, strict=True)
    estimate = ratio_estimate(above, below)
    scaled_above = [value * factor for value in above]
    assert ratio_estimate(scaled_above, below) == scaled(estimate, factor)
    assert ratio_estimate(scaled_above, [value * factor for value in below]) == estimate


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


@pytest.mark.parametrize(("confidence", "fewest"), [(0.95, 6), (0.99, 8)])
def test_too_few_values_have_no_interval(confidence, fewest):
    values = [float(number) for number in range(1, fewest + 1)]
    assert estimate_median(values[1:], confidence=confidence) == Estimate(median(values[1:]), 0.0, math.inf)
    assert estimate_median(values, confidence=confidence).is_bounded
    assert estimate_median([3.0]) == Estimate(3.0, 0.0, math.inf)
    assert estimate_median([3.0]).inverse() == Estimate(1 / 3.0, 0.0, math.inf)


@pytest.mark.parametrize(
    ("n_values", "confidence", "low"),
    [
        (9, 1 - 2 / 512, 1.0),  # the smallest and the largest, if the median is outside of them twice in 512 cases
        (9, 1 - 2 * (1 + 9) / 512, 2.0),
        (9, 1 - 2 * (1 + 9 + 36) / 512, 3.0),
        (6, 1 - 2 * (1 + 6) / 64, 2.0),
    ],
)
def test_bounds_are_the_values_that_hold_the_median_so_often(n_values, confidence, low):
    estimate = estimate_median([float(number) for number in range(1, n_values + 1)], confidence=confidence)
    assert (estimate.low, estimate.high) == pytest.approx((low, n_values + 1 - low))


def test_more_confidence_takes_a_wider_interval():
    generator = random.Random(0)
    values = [generator.gauss(2.0, 0.5) for _ in range(15)]
    narrow, usual, wide = (estimate_median(values, confidence=share) for share in (0.5, 0.95, 0.999))
    assert wide.low < usual.low < narrow.low <= narrow.high < usual.high < wide.high


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("n_rounds", [8, 9, 10, 11, 15, 35])
def test_interval_covers_the_true_median_as_often_as_it_says(n_rounds, confidence):
    """Ratios of skewed durations, whose true median is 2."""
    generator = random.Random(n_rounds)
    n_trials = 2_000
    covered = 0
    for _ in range(n_trials):
        below = [generator.lognormvariate(0.0, 0.2) for _ in range(n_rounds)]
        above = [2.0 * generator.lognormvariate(0.0, 0.2) for _ in range(n_rounds)]
        estimate = ratio_estimate(above, below, confidence=confidence)
        covered += estimate.low <= 2.0 <= estimate.high
    chance = math.sqrt(confidence * (1 - confidence) / n_trials)
    assert covered / n_trials == pytest.approx(confidence, abs=4 * chance + 0.01)


def test_drift_that_slows_both_halves_of_a_pair_cancels():
    drift = [2.0**step for step in range(11)]  # a machine that ends a thousand times as slow as it began
    estimate = ratio_estimate([1.5 * slow for slow in drift], drift)
    assert estimate == Estimate(1.5, 1.5, 1.5)


@given(st.lists(st.floats(0.01, 100.0), min_size=6, max_size=30), st.floats(0.1, 10.0))
def test_any_common_disturbance_cancels(slowness, ratio):
    estimate = ratio_estimate([ratio * slow for slow in slowness], slowness)
    assert (estimate.low, estimate.value, estimate.high) == pytest.approx((ratio, ratio, ratio))


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
        estimate_median([])


@pytest.mark.parametrize("confidence", [0, 1, -0.5, 95, float("nan")])
def test_confidence_that_is_no_share_is_refused(confidence):
    with pytest.raises(ValueError, match=f"between 0 and 1, got {confidence}"):
        estimate_median([1.0], confidence=confidence)


ESTIMATE = st.lists(st.floats(1e-6, 1e6), min_size=3, max_size=3).map(sorted).map(lambda b: Estimate(b[1], b[0], b[2]))


@given(ESTIMATE, ESTIMATE)
def test_quotient_is_no_surer_than_either_side_and_turns_round_with_them(above, below):
    ratio = quotient(above, below)
    assert ratio.low <= ratio.value <= ratio.high
    widths = [one.high / one.low for one in (above, below)]
    assert ratio.high / ratio.low >= max(widths) * (1 - 1e-9)
    assert ratio.high / ratio.low <= widths[0] * widths[1] * (1 + 1e-9)
    turned = quotient(below, above).inverse()
    assert [turned.value, turned.low, turned.high] == pytest.approx([ratio.value, ratio.low, ratio.high])


@given(ESTIMATE)
def test_quotient_with_something_exact_only_scales(estimate):
    ratio = quotient(estimate, Estimate(2.0, 2.0, 2.0))
    assert [ratio.value, ratio.low, ratio.high] == pytest.approx(
        [estimate.value / 2, estimate.low / 2, estimate.high / 2]
    )


@pytest.mark.parametrize("extreme", [Estimate(1.0, 0.0, math.inf), Estimate(1e300, 1e-300, 1e305)])
def test_quotient_of_what_nobody_knows_is_unknown_and_no_error(extreme):
    for ratio in (quotient(extreme, Estimate(2.0, 1.0, 3.0)), quotient(Estimate(2.0, 1.0, 3.0), extreme)):
        assert ratio.low < 1e-200
        assert ratio.high > 1e200


@given(st.dictionaries(st.integers(1, 10**6), st.booleans()))
def test_from_break_even_on_every_number_of_rows_wins(wins):
    start = break_even(wins)
    if start is None:
        assert not wins or not wins[max(wins)]
    else:
        assert all(won for n_samples, won in wins.items() if n_samples >= start)
        below = [n_samples for n_samples in wins if n_samples < start]
        assert not below or not wins[max(below)]


def costs_of(contention, coherency, counts=(1, 2, 4, 8, 16), spread=0.0):
    generator = random.Random(0)
    return {
        n: [
            (1 + contention * (n - 1) + coherency * n * (n - 1)) / n * generator.lognormvariate(0, spread)
            for _ in range(9)
        ]
        for n in counts
    }


LAWS = {"contention": st.floats(0.0, 0.9), "coherency": st.floats(1e-4, 0.1)}


@settings(max_examples=5)  # each fits thousands of times
@given(**LAWS)
def test_scaling_law_is_found_again(contention, coherency):
    law = fit_scaling(costs_of(contention, coherency), coherency=True)
    assert law.contention.value == pytest.approx(contention, abs=1e-6)
    assert law.coherency.value == pytest.approx(coherency, rel=1e-6)
    for n, speedup in law.curve:
        assert speedup.value == pytest.approx(n / (1 + contention * (n - 1) + coherency * n * (n - 1)))
    amdahl = fit_scaling(costs_of(contention, 0.0), coherency=False)
    assert amdahl.contention.value == pytest.approx(contention, abs=1e-9)
    assert amdahl.coherency == Estimate(0.0, 0.0, 0.0)


def test_intervals_of_a_scaling_law_hold_the_truth_and_widen_with_the_noise():
    exact, noisy = (fit_scaling(costs_of(0.05, 0.004, spread=spread), coherency=True) for spread in (0.01, 0.1))
    assert exact.contention.low <= 0.05 <= exact.contention.high
    assert exact.coherency.low <= 0.004 <= exact.coherency.high
    assert noisy.contention.high - noisy.contention.low > exact.contention.high - exact.contention.low
    assert [n for n, _ in exact.curve] == list(range(1, 17))
    assert all(speedup.low <= speedup.value <= speedup.high for _, speedup in exact.curve)


def test_parameters_of_a_scaling_law_are_never_negative():
    faster_than_ideal = {n: [0.8 / n] * 9 for n in (1, 2, 4, 8)}
    law = fit_scaling(faster_than_ideal, coherency=True)
    assert (law.contention.value, law.coherency.value) == (0.0, 0.0)
    slower_than_serial = {n: [2.0] * 9 for n in (1, 2, 4, 8)}
    assert fit_scaling(slower_than_serial, coherency=False).contention.value == 1.0
    slower_still = fit_scaling({1: [1.0] * 9} | {n: [1.5] * 9 for n in (2, 4, 8)}, coherency=True)
    assert slower_still.contention.value == 1.0
    assert slower_still.coherency.value > 0  # contention alone makes no process slower than one


def test_scaling_law_takes_four_numbers_of_processes():
    with pytest.raises(ValueError, match=r"at least 4 .* got \[1, 2, 4\]"):
        fit_scaling(costs_of(0.1, 0.0, counts=(1, 2, 4)), coherency=False)
    with pytest.raises(ValueError, match="at least 4"):
        fit_scaling(costs_of(0.1, 0.0) | {32: []}, coherency=False)
