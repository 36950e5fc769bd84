"""Medians and intervals of paired ratios: pure functions over sequences of numbers."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

_N_RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A median with its interval.

    Attributes
    ----------
    value : float
        The median.
    low, high : float
        Bounds of the interval; ``low <= value <= high``.
    """

    value: float
    low: float
    high: float

    def inverse(self) -> Estimate:
        """Return the estimate of ``1 / x``; the bounds change places."""
        return Estimate(1 / self.value, 1 / self.high, 1 / self.low)


def paired_ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Divide pair by pair: what was measured side by side is compared side by side.

    A machine whose speed drifts slows both halves of a pair, so the drift cancels in each ratio; in a ratio of two
    medians it does not.

    Parameters
    ----------
    numerators, denominators : sequence of float
        Durations of the same length, element ``i`` of both measured in the same round. Positive.

    Returns
    -------
    list of float

    Raises
    ------
    ValueError
        Where the lengths differ or are zero.
    """
    if len(numerators) != len(denominators) or not numerators:
        raise ValueError(f"need as many numerators as denominators, got {len(numerators)} and {len(denominators)}")
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def bootstrap_median(values: Sequence[float], *, confidence: float = 0.95, random_state: int = 0) -> Estimate:
    """Estimate the median of `values` with a percentile bootstrap interval.

    Parameters
    ----------
    values : sequence of float
        At least one; fewer than about 8 give an interval that is too narrow.
    confidence : float, default=0.95
        Share of the resampled medians that lies inside the interval, between 0 and 1.
    random_state : int, default=0
        Seed of the resampling: the same values always give the same interval.

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        Where there is no value, or `confidence` is not between 0 and 1.

    References
    ----------
    B. Efron and R. Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3 (the percentile interval).

    Examples
    --------
    >>> bootstrap_median([1.9, 1.8, 2.0, 1.9, 1.7, 1.9, 1.8, 1.9, 2.1])
    Estimate(value=1.9, low=1.8, high=2.0)
    """
    if not values:
        raise ValueError("need at least one value, got none")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence!r}")
    generator = random.Random(random_state)
    ordered = sorted(values)
    medians = sorted(median(generator.choices(ordered, k=len(ordered))) for _ in range(_N_RESAMPLES))
    tail = (1 - confidence) / 2
    low = medians[math.floor(tail * (_N_RESAMPLES - 1))]
    high = medians[math.ceil((1 - tail) * (_N_RESAMPLES - 1))]
    value = median(ordered)
    # With an even number of values a resampled median can miss the plain one on one side: never let it out.
    return Estimate(value, min(low, value), max(high, value))


def ratio_estimate(
    numerators: Sequence[float], denominators: Sequence[float], *, confidence: float = 0.95, random_state: int = 0
) -> Estimate:
    """Estimate the median of the paired ratios, with its interval.

    Parameters
    ----------
    numerators, denominators : sequence of float
        See `paired_ratios`.
    confidence, random_state
        See `bootstrap_median`.

    Returns
    -------
    Estimate
    """
    ratios = paired_ratios(numerators, denominators)
    return bootstrap_median(ratios, confidence=confidence, random_state=random_state)
