"""How far apart repetitions of a measurement lie on a computer."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from statistics import median

from infbench.site.points import Key, Measured, Point, Workload

_MIN_REPEATS = 4
"""With fewer repetitions of a measurement, nobody can tell how far apart they lie."""

_REPEAT_NOISE_SDS = 3.5
"""A step of fewer standard deviations than this may come from repeating the measurement alone."""


def repeat_noise(points: Iterable[Point]) -> float | None:
    """Tell how far apart repetitions of a measurement lie on a computer.

    A speedup is measured twice: in pairs, side by side, and as the quotient of two times from separate processes, some
    minutes apart. Both would be the same on a machine without noise, whatever the libraries do.

    Parameters
    ----------
    points : iterable of Point
        Of the same computer, workload and runner; all release sets and commits.

    Returns
    -------
    float or None
        A factor, 1 or more: three and a half standard deviations of a step between two measurements. None with fewer
        than four points that have all three figures.

    Notes
    -----
    The logarithms of serial time, parallel time and paired speedup each carry the noise of one measurement: the
    difference between the two speedups carries three of these, and a step carries two. The standard deviation is taken
    from the median of the absolute values, so that a single bad run does not hide every change from then on. Noise has
    longer tails than a normal distribution: a few steps in a hundred exceed this by chance, so it is never the only
    test that a change has to pass.
    """
    apart = [
        abs(math.log(point.serial.value / point.parallel.value / point.speedup.value))
        for point in points
        if point.paired and point.serial is not None and point.parallel is not None and point.speedup is not None
    ]
    if len(apart) < _MIN_REPEATS:
        return None
    standard_deviation = 1.4826 * median(apart)  # of a normal distribution
    return math.exp(min(_REPEAT_NOISE_SDS * math.sqrt(2 / 3) * standard_deviation, 100.0))


def moved_together(before: Measured, after: Measured, model: str) -> float:
    """Tell by what factor the times of all other models moved from one run to another.

    A machine that was slower on the second day makes all times longer, those of one process and of several alike.

    Parameters
    ----------
    before, after : Measured
        On one computer.
    model : str
        The model whose times do not count.

    Returns
    -------
    float
        The median of after / before, over the times of all other models; 1 if there are none.
    """
    steps = [
        getattr(after.points[key], time).value / getattr(point, time).value
        for key, point in before.points.items()
        if key[0].model != model and key in after.points
        for time in ("serial", "parallel")
        if getattr(point, time) is not None and getattr(after.points[key], time) is not None
    ]
    return median(steps) if steps else 1.0


class Repeats:
    """The repeat noise of everything that was measured on one computer.

    Parameters
    ----------
    measured : iterable of Measured
    """

    def __init__(self, measured: Iterable[Measured]) -> None:
        by_key: dict[Key, list[Point]] = defaultdict(list)
        by_workload: dict[Workload, list[Point]] = defaultdict(list)
        for one in measured:
            for key, point in one.points.items():
                by_key[key].append(point)
                by_workload[key[0]].append(point)
        self._of_runner = {key: repeat_noise(points) for key, points in by_key.items()}
        self._of_serial = {workload: repeat_noise(points) for workload, points in by_workload.items()}
        self._of_model: dict[tuple[str, str], float] = {}
        for (workload, runner), noise in self._of_runner.items():
            if noise is not None:
                about = (workload.model, runner)
                self._of_model[about] = max(noise, self._of_model.get(about, noise))
        self._of_all = repeat_noise(point for points in by_key.values() for point in points)

    def of_runner(self, workload: Workload, runner: str) -> float | None:
        """Return the repeat noise of a runner's time, and of its speedup.

        A workload without its own, such as one whose speedup was measured in one way only, takes the largest of the
        other workloads of its model and runner.
        """
        own = self._of_runner.get((workload, runner))
        return self._at_least_of_all(own or self._of_model.get((workload.model, runner)))

    def of_serial(self, workload: Workload) -> float | None:
        """Return the repeat noise of the serial time: as all runners share that, it comes from all of them."""
        return self._at_least_of_all(self._of_serial.get(workload))

    def _at_least_of_all(self, own: float | None) -> float | None:
        """Return the larger of `own` and the computer's noise: repetitions may agree by chance, or be too few."""
        return max((noise for noise in (own, self._of_all) if noise is not None), default=None)
