"""The sentences of the speedup page. Every function is pure, and says nothing that its figures do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from math import floor, sqrt

from infbench.site.changes import Meaning, Outcome, Quantity, Step
from infbench.site.points import Point
from infbench.site.stored import ReleaseSet
from infbench.stats import MIN_COUNTS, Estimate, ScalingLaw, break_even
from infbench.tables import SMALL_RATIO, format_duration, format_ratio


class Answer(StrEnum):
    """Whether several processes pay."""

    PAYS = "It pays"
    IN_PART = "It pays in part"
    DOES_NOT = "It does not pay"
    INCONCLUSIVE = "Inconclusive"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer and its reason.

    Attributes
    ----------
    answer : Answer
    text : str
        The figures, in a sentence.
    start : int or None
        Number of rows from which on it pays.
    fewest : int
        The fewest rows that were judged. If it pays from these on, it may pay with even fewer.
    best : int
        Number of rows whose speedup the text quotes.
    """

    answer: Answer
    text: str
    start: int | None
    fewest: int
    best: int


def number(count: int) -> str:
    """Return a count with commas between thousands."""
    return f"{count:,}"


def ratio(value: float) -> str:
    """Return a ratio as the page's tables show it: rounded to four digits, then again, ties upwards as in browsers."""
    digits = four_digits(value)
    if digits < SMALL_RATIO:
        return format_ratio(digits)
    return str(Decimal(digits).quantize(Decimal("0.01"), ROUND_HALF_UP))


def four_digits(value: float) -> float:
    """Return a figure with the four digits that the page has; the raw data has all of them."""
    return float(f"{value:.4g}")


def per_process(speedup: Estimate, n_processes: int) -> float:
    """Return an efficiency, from the rounded speedup so that it is the same everywhere on the page."""
    return four_digits(speedup.value) / n_processes


def efficiency(speedup: Estimate, n_processes: int) -> str:
    """Return an efficiency as the page's tables show it."""
    return f"{floor(per_process(speedup, n_processes) * 100 + 0.5)}%"


def listed(items: Sequence[str]) -> str:
    """Join words: ``"a, b and c"``."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def duration(estimate: Estimate) -> str:
    """Return the median of a duration, with the unit that suits it."""
    return format_duration(estimate.value).replace(" us", " µs")


def interval(estimate: Estimate) -> str:
    """Return the interval in words."""
    if not estimate.is_bounded:
        return "interval unknown"
    return f"99 % interval {ratio(estimate.low)} to {ratio(estimate.high)}"


def wins(point: Point) -> bool | None:
    """Tell whether a runner is faster than one process; None if that is inconclusive.

    It is conclusive only if the speedup was measured in pairs and its whole interval lies outside that of the noise
    floor.
    """
    if point.speedup is None or not point.paired or point.noise_floor is None:
        return None
    if point.speedup.low > max(1.0, point.noise_floor.high):
        return True
    if point.speedup.high < min(1.0, point.noise_floor.low):
        return False
    return None


def verdict(runner: str, n_processes: int, batch_size: int, points: Mapping[int, Point]) -> Verdict:
    """Say whether a runner pays with batches of one size, from how many rows on, and by how much.

    Parameters
    ----------
    runner : str
    n_processes, batch_size : int
    points : mapping of int to Point
        Number of rows to what was measured, at least one; each has a speedup.

    Returns
    -------
    Verdict
    """
    # What was not measured in pairs may be shown, but decides nothing.
    judged = {n_samples: point for n_samples, point in points.items() if point.paired} or points
    outcomes = {n_samples: wins(point) for n_samples, point in judged.items()}
    answer, start = _answer(outcomes)
    best = _quoted(judged, outcomes, start or 0)
    speedup = _speedup(judged[best])
    alone = len(judged) == 1
    who = f"{runner} (n_processes={n_processes})"
    sizes = f"{_rows(best)} in batches of {number(batch_size)}"
    gain = f"{ratio(speedup.value)} times as fast as one process"
    evidence = f"{interval(speedup)}{_floor(judged[best])}, efficiency {efficiency(speedup, n_processes)}"
    measured = "measured" if len(judged) == len(points) else "measured in pairs"
    only = f"With {sizes}, the only number of rows measured{' in pairs' if judged[best].paired else ''}, "
    in_batches = f"In batches of {number(batch_size)} rows, {who}"
    if start is not None:
        text = f"{only}{who} wins: it is {gain} ({evidence})."
        if not alone:
            range_ = f"{in_batches} wins {_from(start, outcomes, measured)}"
            text = f"{range_}, and is up to {gain}, with {_rows(best)} ({evidence})."
    elif answer == Answer.IN_PART:
        winning = listed([number(n_samples) for n_samples, won in sorted(outcomes.items()) if won])
        text = f"{in_batches} wins with {winning} rows, but not with the largest number {measured}: it is up to "
        text += f"{gain}, with {_rows(best)} ({evidence})."
    elif answer == Answer.DOES_NOT:
        text = f"{only}{who} loses: it is {gain} ({evidence})."
        if not alone:
            text = f"{in_batches} loses with every number of rows {measured}: at best it is {gain}, with {_rows(best)} "
            text += f"({evidence})."
    elif judged[best].paired:
        subject = f"{only}{who}" if alone else f"{in_batches}, with {_rows(best)},"
        noise_floor = judged[best].noise_floor
        is_known = speedup.is_bounded and noise_floor is not None and noise_floor.is_bounded
        so = "does not stand out from the noise" if is_known else "cannot be judged"
        text = f"{subject} is {gain} ({evidence}): that {so}."
    else:
        text = f"With {sizes}, {who} is {gain} ({evidence}). It was not measured in pairs, and so is not judged."
    return Verdict(answer, text, start, min(judged), best)


def _answer(outcomes: Mapping[int, bool | None]) -> tuple[Answer, int | None]:
    """Return the answer and, if it pays, from how many rows on: given what `wins` says of each number of rows."""
    start = break_even({n_samples: won is True for n_samples, won in outcomes.items()})
    if start is not None:
        return Answer.PAYS, start
    if any(outcomes.values()):
        return Answer.IN_PART, None
    return Answer.INCONCLUSIVE if None in outcomes.values() else Answer.DOES_NOT, None


def _quoted(points: Mapping[int, Point], outcomes: Mapping[int, bool | None], start: int) -> int:
    """Return the number of rows with the highest speedup among those that may be quoted.

    Only rows that won may be quoted as what can be gained, and only rows that did not lose as inconclusive.
    """
    won = [n_samples for n_samples in points if outcomes[n_samples] and n_samples >= start]
    unclear = [n_samples for n_samples in points if outcomes[n_samples] is None]
    return max(won or unclear or points, key=lambda n_samples: _speedup(points[n_samples]).value)


def of_size(n_samples: int, point: Point) -> str:
    """Say how a runner does with a number of rows that is not the one its verdict quotes.

    Parameters
    ----------
    n_samples : int
    point : Point
        It has a speedup.
    """
    speedup = _speedup(point)
    judged = {True: "it wins", False: "it loses", None: "inconclusive"}[wins(point)] if point.paired else "not judged"
    return (
        f"With the {_rows(n_samples)} chosen: {ratio(speedup.value)} times as fast as one process "
        f"({interval(speedup)}{_floor(point)}), {judged}."
    )


def _rows(count: int) -> str:
    return _counted(count, "row")


def _speedup(point: Point) -> Estimate:
    assert point.speedup is not None
    return point.speedup


def _floor(point: Point) -> str:
    if point.noise_floor is None or not point.noise_floor.is_bounded:
        return "; noise floor unknown" if point.paired else "; from times of separate processes"
    whose = "" if point.floor_of is None else f", of {_rows(point.floor_of.n_samples)}"
    return f"; noise floor {ratio(point.noise_floor.low)} to {ratio(point.noise_floor.high)}{whose}"


def _from(start: int, outcomes: Mapping[int, bool | None], measured: str) -> str:
    below = max((n_samples for n_samples in outcomes if n_samples < start), default=None)
    if below is None:  # nobody knows where it breaks even
        return f"with every number of rows {measured}, {number(start)} and more"
    return f"from {_rows(start)} on ({'it loses' if outcomes[below] is False else 'inconclusive'} with {number(below)})"


def factor(step: Step) -> str:
    """Say the size and the direction of a step: ``"1.65 times faster"``."""
    up = step.ratio.value > 1
    if step.quantity == Quantity.SPEEDUP:
        return f"{ratio(step.size)} times {'higher' if up else 'lower'}"
    return f"{ratio(step.size)} times {'slower' if up else 'faster'}"


def outcome_of(step: Step) -> str:
    """Say what a step is, in the words of its quantity."""
    if step.is_change:
        reason = f", {step.reason}" if step.reason and step.meaning == Meaning.NEITHER else ""
        return f"{step.quantity} {factor(step)}{reason}"
    return f"{step.quantity} {step.outcome}"


def since(steps: Sequence[Step], release: str, n_samples: int) -> str:
    """Say what happened since a release.

    Parameters
    ----------
    steps : sequence of Step
        The steps from that release to the one shown, one for each quantity that was measured with both.
    release : str
        Its name.
    n_samples : int
        Rows that were measured.
    """
    if not steps:
        return ""
    begin = f"With {_rows(n_samples)}, since {release}"
    if len(steps) == len(Quantity) and all(step.outcome == Outcome.NOISE for step in steps):
        return f"{begin} nothing moved beyond the noise."
    return f"{begin}: {', '.join(outcome_of(step) for step in steps)}."


def changes_sentence(
    steps: Sequence[Step], name: str, labels: Mapping[ReleaseSet, str], *, n_shown: int, paired: bool
) -> str:
    """Say how many steps of a selection stand out from the noise, and which.

    Parameters
    ----------
    steps : sequence of Step
        All steps between neighbours, the largest first.
    name : str
        What the neighbours are: ``"release"`` or ``"commit"``.
    labels : mapping of ReleaseSet to str
        What the page calls each.
    n_shown : int
        How many releases or commits there are.
    paired : bool
        Whether the speedup was measured in pairs. Otherwise there are no steps.
    """
    if not steps:
        if n_shown < 2:
            return f"There is no other {name} to compare with."
        of_releases = " at the same commit" if name == "release" else ""
        why = f"no two of them have the same figure{of_releases}" if paired else "the speedup was not measured in pairs"
        return f"No step between these {name}s is judged: {why}."
    changes = [step for step in steps if step.is_change]
    open_ = sum(step.outcome == Outcome.INCONCLUSIVE for step in steps)
    unclear = f" {_counted(open_, 'step')} {'is' if open_ == 1 else 'are'} inconclusive." if open_ else ""
    if not changes:
        return f"No step between neighbouring {name}s stands out from the noise.{unclear}"
    told = listed([f"{outcome_of(step)} with {end_of(step, labels)}" for step in changes[:3]])
    more = f", and {_counted(len(changes) - 3, 'more')}" if len(changes) > 3 else ""
    stand = "stands" if len(changes) == 1 else "stand"
    return f"{_counted(len(changes), 'step')} {stand} out from the noise: {told}{more}.{unclear}"


def end_of(step: Step, labels: Mapping[ReleaseSet, str]) -> str:
    """Name what a step leads to."""
    return step.commits[1][:8] if step.kind == "commit" else labels[step.release_sets[1]]


def summary(steps: Sequence[Step], labels: Mapping[ReleaseSet, str]) -> str:
    """Say how the steps of a computer divide, and what came with each release.

    Parameters
    ----------
    steps : sequence of Step
    labels : mapping of ReleaseSet to str
        What the page calls each, from the oldest to the newest.
    """
    if not steps:
        return (
            "No two results can be compared, so there is no step to judge: that takes a workload measured in pairs, "
            "with two releases at the same commit or at two commits with the same libraries."
        )
    count = {outcome: sum(step.outcome == outcome for step in steps) for outcome in Outcome}
    changed = count[Outcome.HIGHER] + count[Outcome.LOWER]
    return (
        f"Of {_counted(len(steps), 'step')} between neighbours, {number(changed)} "
        f"{'stands' if changed == 1 else 'stand'} out from the noise, {number(count[Outcome.NOISE])} "
        f"{'lies' if count[Outcome.NOISE] == 1 else 'lie'} within it, and {number(count[Outcome.INCONCLUSIVE])} "
        f"{'is' if count[Outcome.INCONCLUSIVE] == 1 else 'are'} inconclusive.{_by_release(steps, labels)}"
    )


def _by_release(steps: Sequence[Step], labels: Mapping[ReleaseSet, str]) -> str:
    found = Counter((step.release_sets[1], step.meaning) for step in steps if step.kind == "release" and step.is_change)
    told = [
        f"{found[release_set, Meaning.WORSE]} worse and {found[release_set, Meaning.BETTER]} better with {label}"
        for release_set, label in reversed(list(labels.items()))
        if (release_set, Meaning.WORSE) in found or (release_set, Meaning.BETTER) in found
    ]
    return f" By release: {listed(told)}." if told else ""


def _counted(count: int, what: str) -> str:
    return f"{number(count)} {what}{'s' if count != 1 and what != 'more' else ''}"


def scaling(
    speedups: Mapping[int, Estimate], amdahl: ScalingLaw | None, usl: ScalingLaw | None, *, recorded: bool
) -> str:
    """Say how the speedup grows with the number of processes.

    Parameters
    ----------
    speedups : mapping of int to Estimate
        Number of processes to speedup; at least one.
    amdahl, usl : ScalingLaw or None
        The fits; None if there is none.
    recorded : bool
        Whether the timings, which a fit needs, were recorded.
    """
    best = max(speedups, key=lambda n_processes: speedups[n_processes].value)
    most = (
        f"The highest speedup is {ratio(speedups[best].value)}, with n_processes={best}: efficiency "
        f"{efficiency(speedups[best], best)}."
    )
    if amdahl is None or usl is None:
        if len(speedups) >= MIN_COUNTS and not recorded:
            return f"{most} No law is fitted, because the single timings were not recorded."
        counts = listed([str(n_processes) for n_processes in sorted(speedups)])
        return f"{most} No law is fitted: a fit takes {MIN_COUNTS} numbers of processes, and {counts} were measured."
    peak = ""
    if usl.coherency.low > 0:  # otherwise there may be no such number
        at = sqrt(max(1 - usl.contention.value, 0.0) / usl.coherency.value)
        peak = f" and would be fastest with {at:.0f} processes" if at > 1 else ""
    return (
        f"{most} Amdahl's law puts the serial share at {_share(amdahl.contention)}; the Universal Scalability Law "
        f"finds contention {_share(usl.contention)}, coherency {usl.coherency.value:.2g} ({usl.coherency.low:.2g} to "
        f"{usl.coherency.high:.2g}){peak}."
    )


def _share(estimate: Estimate) -> str:
    return f"{estimate.value:.1%} ({estimate.low:.1%} to {estimate.high:.1%})"


def batches(points: Mapping[tuple[int, int], Point], n_processes: int) -> str:
    """Say where a runner is most efficient.

    Parameters
    ----------
    points : mapping of (int, int) to Point
        Rows and batch size to what was measured, at least one; each has a speedup.
    n_processes : int
    """
    judged = {cell: point for cell, point in points.items() if point.paired}
    best = max(judged or points, key=lambda cell: _speedup(points[cell]).value)
    won = sum(wins(point) is True for point in judged.values())
    lost = sum(wins(point) is False for point in judged.values())
    unclear = len(judged) - won - lost
    if len(points) == 1:
        were = "was" if best[0] == 1 else "were"
        return (
            f"Only {_rows(best[0])} in batches of {number(best[1])} {were} measured: efficiency "
            f"{efficiency(_speedup(points[best]), n_processes)}. A map takes more sizes."
        )
    if not judged:
        return f"None of {_counted(len(points), 'size')} was measured in pairs, and so none is judged."
    counts = [
        f"{number(count)} {one if count == 1 else many}"
        for count, one, many in ((won, "wins", "win"), (lost, "loses", "lose"), (unclear, "is unclear", "are unclear"))
        if count
    ]
    rest = len(points) - len(judged)
    tally = f" Of {_counted(len(judged), 'size')} measured in pairs, {listed(counts)}."
    apart = (
        f" {number(rest)} {'was' if rest == 1 else 'were'} not measured in pairs, and so not judged." if rest else ""
    )
    return (
        f"{'Of those measured in pairs, efficiency' if rest else 'Efficiency'} is highest, "
        f"{efficiency(_speedup(points[best]), n_processes)}, with {_rows(best[0])} in batches of "
        f"{number(best[1])}.{tally}{apart}"
    )


def runners(points: Mapping[str, Point]) -> str:
    """Say which of the runners that were measured in pairs is fastest.

    Parameters
    ----------
    points : mapping of str to Point
        Runner to what was measured, of one workload. At least one.
    """
    measured = {name: point for name, point in points.items() if point.speedup is not None}
    if not measured:
        return "No runner's speedup was measured."
    rated = sorted(
        ((name, _speedup(point)) for name, point in measured.items() if point.paired), key=lambda pair: -pair[1].value
    )
    if not rated:
        return "No runner was measured in pairs, and so none is judged."
    name, speedup = rated[0]
    gain = f"{ratio(speedup.value)} times one process ({interval(speedup)})"
    all_paired = len(rated) == len(measured)
    if len(rated) == 1:
        return f"Only {name} was measured{'' if all_paired else ' in pairs'}: {gain}."
    other, next_ = rated[1]
    apart = "" if speedup.low > next_.high else ", though their intervals overlap"
    of = "" if all_paired else "Of those measured in pairs, "
    return f"{of}{name} is fastest, {gain}; next comes {other} with {ratio(next_.value)}{apart}."
