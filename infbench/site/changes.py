"""Steps between neighbouring releases and neighbouring commits: which are changes, and of what."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from infbench.site.points import BASELINE, Key, Measured, Point, Workload
from infbench.site.repeats import Repeats, moved_together
from infbench.site.stored import Computer, ReleaseSet
from infbench.stats import Estimate, quotient


class Quantity(StrEnum):
    """The figure that a step compares."""

    SERIAL = "serial time"
    PARALLEL = "parallel time"
    SPEEDUP = "speedup"


class Outcome(StrEnum):
    """How a step is judged."""

    HIGHER = "higher"
    LOWER = "lower"
    NOISE = "within noise"
    INCONCLUSIVE = "inconclusive"


class Meaning(StrEnum):
    """Whether a change is good."""

    WORSE = "worse"
    BETTER = "better"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class Noise:
    """What a step must exceed to be a change.

    Attributes
    ----------
    floor : float
        Factor, 1 or more: the bound farthest from 1 of the noise floors (serial against serial) of both ends. Infinite
        if either is unknown.
    repeat : float or None
        Factor, 1 or more: how far apart repetitions of this measurement lie on this computer; None if there are too few
        to tell.
    """

    floor: float
    repeat: float | None

    @property
    def factor(self) -> float:
        """The larger of the two."""
        return max(self.floor, self.repeat or 1.0)


@dataclass(frozen=True, slots=True)
class Step:
    """One quantity of one workload, before and after.

    Attributes
    ----------
    computer : Computer
    kind : str
        ``"release"`` or ``"commit"``.
    quantity : Quantity
    workload : Workload
    runner : str
        ``"serial"`` for the serial time.
    release_sets : tuple of ReleaseSet
        Before and after; twice the same one for a step between commits.
    commits : tuple of str
        Before and after; twice the same one for a step between releases.
    skipped : int
        How many release sets or commits between the two lack this figure.
    before, after : Estimate
        Seconds, or speedups.
    ratio : Estimate
        After / before.
    noise : Noise
    outcome : Outcome
    meaning : Meaning
        ``NEITHER`` if the step is no change, or if a speedup moved because the serial time did, as far as is known.
    reason : str
        What moved a speedup, in words; otherwise empty.
    """

    computer: Computer
    kind: str
    quantity: Quantity
    workload: Workload
    runner: str
    release_sets: tuple[ReleaseSet, ReleaseSet]
    commits: tuple[str, str]
    skipped: int
    before: Estimate
    after: Estimate
    ratio: Estimate
    noise: Noise
    outcome: Outcome
    meaning: Meaning
    reason: str

    @property
    def is_change(self) -> bool:
        """Whether the step is larger than the noise."""
        return self.outcome in {Outcome.HIGHER, Outcome.LOWER}

    @property
    def size(self) -> float:
        """The ratio, or its inverse if that is larger."""
        return max(self.ratio.value, 1 / self.ratio.value)

    @property
    def moved(self) -> list[tuple[str, str, str]]:
        """Library, version before and version after, for each library whose version differs."""
        before, after = (dict(release_set.versions) for release_set in self.release_sets)
        return [
            (library, before.get(library, "none"), after.get(library, "none"))
            for library in dict.fromkeys([*before, *after])
            if before.get(library) != after.get(library)
        ]


def judge(ratio: Estimate, noise: Noise) -> Outcome:
    """Tell a change from noise.

    Parameters
    ----------
    ratio : Estimate
        After / before.
    noise : Noise

    Returns
    -------
    Outcome
        A change if the size exceeds both kinds of noise and the whole interval lies outside the noise floor;
        inconclusive if the size does but the interval does not, or if the noise is unknown; noise otherwise.
    """
    if max(ratio.value, 1 / ratio.value) <= noise.factor:
        # An infinite factor means that the noise is unknown, not that it is large.
        return Outcome.INCONCLUSIVE if math.isinf(noise.factor) else Outcome.NOISE
    if ratio.low > noise.floor:
        return Outcome.HIGHER
    if ratio.high * noise.floor < 1:
        return Outcome.LOWER
    return Outcome.INCONCLUSIVE


def find_steps(measured: Sequence[Measured]) -> list[Step]:
    """Return every step between neighbouring releases and between neighbouring commits, changes or not.

    Neighbouring releases are compared on the newest commit that both were measured with, neighbouring commits on the
    same release set, and both on the same computer only. If a release or commit lacks a figure, its neighbours are
    compared with each other instead. Workloads whose speedup was never measured in pairs have no noise floor, and so no
    steps.

    Parameters
    ----------
    measured : sequence of Measured
        In the order of the history.

    Returns
    -------
    list of Step
        The largest first.
    """
    by_computer: dict[Computer, list[Measured]] = defaultdict(list)
    for one in measured:
        by_computer[one.run.computer].append(one)
    steps = [step for members in by_computer.values() for step in _steps_on_one(members)]
    # Ties must not depend on the order of files, nor on the last digit.
    return sorted(steps, key=lambda step: (-round(step.size, 6), step.kind, step.workload, step.runner, step.quantity))


def compare(
    before: Measured,
    after: Measured,
    key: Key,
    quantity: Quantity,
    repeats: Repeats,
    *,
    kind: str = "release",
    skipped: int = 0,
) -> Step | None:
    """Return the step of one quantity from one run to another, or None if either lacks it."""
    if quantity == Quantity.SERIAL:  # any runner will do; one with all figures at both ends can confirm the step
        alike = (other for other in (key, *before.points) if other[0].of_one_process == key[0].of_one_process)
        of_both = (other for other in alike if other in before.points and other in after.points)
        key = max(of_both, key=lambda other: _n_figures(before, other) + _n_figures(after, other), default=key)
    ends = _figure(before, key, quantity), _figure(after, key, quantity)
    if ends[0] is None or ends[1] is None:
        return None
    ratio = quotient(ends[1], ends[0])
    points = [_point(one, key, quantity) for one in (before, after)]
    floor = max(_farther_bound(point.noise_floor) for point in points if point is not None)
    repeat = repeats.of_serial(key[0]) if quantity == Quantity.SERIAL else repeats.of_runner(*key)
    noise = Noise(floor, repeat)
    outcome = judge(ratio, noise)
    if outcome in _OPPOSITE and not _confirmed(before, after, key, quantity, ratio, repeats=repeats):
        outcome = Outcome.INCONCLUSIVE
    meaning, reason = Meaning.NEITHER, ""
    if outcome in _OPPOSITE and quantity == Quantity.SPEEDUP:
        serial = compare(before, after, key, Quantity.SERIAL, repeats)
        parallel = compare(before, after, key, Quantity.PARALLEL, repeats)
        assert serial is not None  # otherwise nothing would have confirmed the speedup
        assert parallel is not None
        meaning, reason = _meaning_of_speedup(outcome, serial.outcome, parallel.outcome)
    elif outcome in _OPPOSITE:
        meaning = Meaning.WORSE if outcome == Outcome.HIGHER else Meaning.BETTER
    return Step(
        computer=after.run.computer,
        kind=kind,
        quantity=quantity,
        workload=key[0],
        runner=BASELINE if quantity == Quantity.SERIAL else key[1],
        release_sets=(before.run.release_set, after.run.release_set),
        commits=(before.run.commit, after.run.commit),
        skipped=skipped,
        before=ends[0],
        after=ends[1],
        ratio=ratio,
        noise=noise,
        outcome=outcome,
        meaning=meaning,
        reason=reason,
    )


def _steps_on_one(measured: list[Measured]) -> Iterator[Step]:
    repeats = Repeats(measured)
    sets = sorted({one.run.release_set for one in measured})
    of_set = {one: [other for other in measured if other.run.release_set == one] for one in sets}
    told: set[tuple[str, int, int]] = set()  # whose serial time
    for key in dict.fromkeys(key for one in measured for key, point in one.points.items() if point.paired):
        for quantity in Quantity:
            if quantity == Quantity.SERIAL:  # the same for every runner, and for every number of processes
                if key[0].of_one_process in told:
                    continue
                told.add(key[0].of_one_process)
            members = [one for one in measured if _figure(one, key, quantity) is not None]
            pairs = [("release", *pair) for pair in _release_pairs(sets, members)]
            pairs += [("commit", *pair) for group in of_set.values() for pair in _commit_pairs(group, members)]
            for kind, before, after, skipped in pairs:
                step = compare(before, after, key, quantity, repeats, kind=kind, skipped=skipped)
                assert step is not None
                yield step


_Pair = tuple[Measured, Measured, int]


def _release_pairs(sets: Sequence[ReleaseSet], members: Sequence[Measured]) -> Iterator[_Pair]:
    by_set: dict[ReleaseSet, dict[str, Measured]] = defaultdict(dict)
    for one in members:
        by_set[one.run.release_set][one.run.commit] = one
    present = [release_set for release_set in sets if release_set in by_set]
    for position, newer in enumerate(present):
        for older in reversed(present[:position]):
            common = [commit for commit in by_set[older] if commit in by_set[newer]]
            if common:
                skipped = sets.index(newer) - sets.index(older) - 1
                yield by_set[older][common[-1]], by_set[newer][common[-1]], skipped
                break


def _commit_pairs(of_set: Sequence[Measured], members: Sequence[Measured]) -> Iterator[_Pair]:
    position = {one.run.commit: index for index, one in enumerate(of_set)}
    present = [one for one in members if one.run.release_set == of_set[0].run.release_set]
    for older, newer in pairwise(present):
        if older.run.commit != newer.run.commit:
            yield older, newer, position[newer.run.commit] - position[older.run.commit] - 1


def _point(one: Measured, key: Key, quantity: Quantity) -> Point | None:
    """Return the point that has a figure; for a serial time, any runner and any number of processes will do."""
    if key in one.points or quantity != Quantity.SERIAL:
        return one.points.get(key)
    wanted = key[0].of_one_process
    return next((point for (workload, _), point in one.points.items() if workload.of_one_process == wanted), None)


def _figure(one: Measured, key: Key, quantity: Quantity) -> Estimate | None:
    point = _point(one, key, quantity)
    if point is None:
        return None
    if quantity == Quantity.SPEEDUP:
        return point.speedup if point.paired else None
    return point.serial if quantity == Quantity.SERIAL else point.parallel


def _n_figures(one: Measured, key: Key) -> int:
    return sum(_figure(one, key, quantity) is not None for quantity in Quantity)


def _confirmed(
    before: Measured, after: Measured, key: Key, quantity: Quantity, ratio: Estimate, *, repeats: Repeats
) -> bool:
    """Tell whether the other figures confirm at least half of a step.

    If the machine is slow during one benchmark, a step appears in what that benchmark measures. The two times and the
    paired speedup are measured at three different moments, and any two of them predict the third. If the machine is
    slow during a whole run, a step appears in all times, those of the other models included. If it is slow for a while,
    a step appears in the time of several processes, and a smaller one in that of one process.
    """
    step = math.log(ratio.value)
    if quantity != Quantity.SPEEDUP and _is_half_of(step, math.log(moved_together(before, after, key[0].model))):
        return False
    if quantity == Quantity.PARALLEL:
        serial = compare(before, after, key, Quantity.SERIAL, repeats)
        if serial is not None and not serial.is_change and _is_half_of(step, math.log(serial.ratio.value)):
            return False
    implied = 1.0
    for figure, exponent in _FROM_OTHERS[quantity]:
        ends = _figure(before, key, figure), _figure(after, key, figure)
        if ends[0] is None or ends[1] is None:
            # A speedup that nothing confirms may be noise; for a time, the checks above must do.
            return quantity != Quantity.SPEEDUP
        implied *= (ends[1].value / ends[0].value) ** exponent
    return _is_half_of(step, math.log(implied))


def _is_half_of(step: float, other: float) -> bool:
    """Tell whether `other` has the sign of `step` and at least half its size; both are logarithms."""
    return other * math.copysign(1.0, step) >= abs(step) / 2


def _farther_bound(noise_floor: Estimate | None) -> float:
    if noise_floor is None or noise_floor.low <= 0:
        return math.inf
    return max(noise_floor.high, 1 / noise_floor.low, 1.0)


_FROM_OTHERS = {
    Quantity.SERIAL: ((Quantity.PARALLEL, 1), (Quantity.SPEEDUP, 1)),
    Quantity.PARALLEL: ((Quantity.SERIAL, 1), (Quantity.SPEEDUP, -1)),
    Quantity.SPEEDUP: ((Quantity.SERIAL, 1), (Quantity.PARALLEL, -1)),
}
"""Each quantity as the product of powers of the other two: speedup = serial time / parallel time."""

_OPPOSITE = {Outcome.HIGHER: Outcome.LOWER, Outcome.LOWER: Outcome.HIGHER}
_BECAME = {Outcome.HIGHER: "longer", Outcome.LOWER: "shorter"}


def _meaning_of_speedup(outcome: Outcome, serial: Outcome, parallel: Outcome) -> tuple[Meaning, str]:
    """Say whether a changed speedup is good, and which of the two times moved it."""
    meaning = Meaning.BETTER if outcome == Outcome.HIGHER else Meaning.WORSE
    serial_became = f"serial time became {_BECAME[outcome]}"
    if parallel == _OPPOSITE[outcome]:
        parallel_became = f"parallel time became {_BECAME[parallel]}"
        return meaning, f"{parallel_became}, and {serial_became}" if serial == outcome else parallel_became
    if serial == outcome:
        if parallel == Outcome.NOISE:
            return Meaning.NEITHER, f"only because {serial_became}"
        if parallel == outcome:
            return Meaning.NEITHER, f"only because {serial_became} by more than parallel time did"
        return Meaning.NEITHER, f"{serial_became}; what parallel time did is inconclusive"
    if serial == parallel:
        noise = "neither time alone moved beyond its noise"
        return meaning, noise if serial == Outcome.NOISE else "which of the two times moved it is inconclusive"
    return meaning, f"{_move('serial time', serial)}; {_move('parallel time', parallel)}"


def _move(what: str, outcome: Outcome) -> str:
    if outcome in _BECAME:
        return f"{what} became {_BECAME[outcome]}"
    return f"what {what} did is inconclusive" if outcome == Outcome.INCONCLUSIVE else f"{what} stayed within the noise"
