"""What is called a change: planted ones, and properties that must hold whatever was measured."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

pytest.importorskip("asv", reason="asv comes with the bench extra")

from hypothesis import given
from hypothesis import strategies as st
from site_results import (
    BATCH,
    GOLDEN,
    PROCESSES,
    ROWS,
    paired,
    spread,
    together,
    versions_of,
    write_golden,
    write_result,
)

from infbench.site.changes import Meaning, Noise, Outcome, Quantity, find_steps, judge
from infbench.site.points import Measured, Point, Workload, points_of
from infbench.site.repeats import Repeats, repeat_noise
from infbench.site.stored import COST_RATIO, THROUGHPUT, load_runs
from infbench.stats import Estimate

COMMITS = [letter * 40 for letter in "abcde"]
FACTOR = st.floats(1.0, 5.0)
RATIO = (
    st.lists(st.floats(0.05, 20.0), min_size=3, max_size=3)
    .map(sorted)
    .map(lambda bounds: Estimate(bounds[1], bounds[0], bounds[2]))
)
NOISE = st.builds(Noise, floor=FACTOR, repeat=st.none() | FACTOR)


def steps_in(directory):
    return find_steps([Measured(run, points_of(run)) for run in load_runs(directory)])


def told(step):
    ends = [COMMITS.index(commit) for commit in step.commits]
    if step.kind == "release":
        ends = [release_set.label for release_set in step.release_sets]
    about = (step.kind, step.workload.model, step.quantity.value, *ends, step.meaning.value)
    return (*about, step.size, step.skipped, step.reason)


def test_golden_results_give_exactly_the_planted_changes(tmp_path):
    write_golden(tmp_path, COMMITS)
    steps = steps_in(tmp_path)
    found = sorted((told(step) for step in steps if step.is_change), key=str)
    planted = sorted(GOLDEN, key=str)
    assert [(*row[:6], *row[7:]) for row in found] == [(*row[:6], *row[7:]) for row in planted]
    assert [row[6] for row in found] == pytest.approx([row[6] for row in planted], rel=0.02)
    sizes = [step.size for step in steps]
    assert sizes == pytest.approx(sorted(sizes, reverse=True))


def test_change_says_which_library_moved(tmp_path):
    write_golden(tmp_path, COMMITS)
    (step,) = (step for step in steps_in(tmp_path) if step.is_change and told(step)[1:5] == GOLDEN[9][1:5])
    assert step.moved == [("scikit-learn", "1.7.2", "1.8.0"), ("joblib", "1.5.2", "1.5.3")]
    (step,) = (step for step in steps_in(tmp_path) if step.is_change and told(step)[:5] == GOLDEN[0][:5])
    assert step.moved == []


def test_rise_that_may_be_noise_is_no_change(tmp_path):
    write_golden(tmp_path, COMMITS)
    (serial,) = (
        step
        for step in steps_in(tmp_path)
        if step.workload.model == "shaky" and step.quantity == Quantity.SERIAL and step.size > 1.4
    )
    assert serial.outcome == Outcome.INCONCLUSIVE
    assert serial.meaning == Meaning.NEITHER


def test_other_cpus_are_another_computer_even_under_the_same_name(tmp_path):
    write_golden(tmp_path, COMMITS)
    assert not [step for step in steps_in(tmp_path) if COMMITS[4] in step.commits]


def test_releases_are_compared_on_the_same_commit_only(tmp_path):
    write_result(tmp_path, paired("forest", 0.1, 0.06), versions=versions_of("1.8.0"), commit=COMMITS[0], date=1)
    write_result(tmp_path, paired("forest", 0.3, 0.06), versions=versions_of("1.9.1"), commit=COMMITS[1], date=2)
    assert steps_in(tmp_path) == []
    write_result(tmp_path, paired("forest", 0.1, 0.06), versions=versions_of("1.9.1"), commit=COMMITS[0], date=1)
    release = [step for step in steps_in(tmp_path) if step.kind == "release"]
    assert {step.commits for step in release} == {(COMMITS[0], COMMITS[0])}
    assert {step.outcome for step in release} == {Outcome.NOISE}


def test_releases_are_compared_on_the_newest_commit_that_both_were_measured_with(tmp_path):
    for position, later_s in enumerate((0.1, 0.3)):
        how = {"commit": COMMITS[position], "date": position}
        write_result(tmp_path, paired("forest", 0.1, 0.06), versions=versions_of("1.8.0"), **how)
        write_result(tmp_path, paired("forest", later_s, 0.06), versions=versions_of("1.9.1"), **how)
    (serial,) = (step for step in steps_in(tmp_path) if (step.kind, step.quantity) == ("release", Quantity.SERIAL))
    assert serial.commits == (COMMITS[1], COMMITS[1])
    assert serial.size == pytest.approx(3.0)


def test_a_release_that_shares_no_commit_hides_no_step_around_it(tmp_path):
    for release, serial_s, position in (("1.7.2", 0.1, 0), ("1.8.0", 0.1, 1), ("1.9.1", 0.3, 0)):
        how = {"commit": COMMITS[position], "date": position}
        write_result(tmp_path, paired("forest", serial_s, 0.06), versions=versions_of(release), **how)
    (serial,) = (step for step in steps_in(tmp_path) if step.quantity == Quantity.SERIAL)
    assert [release_set.label for release_set in serial.release_sets] == ["1.7.2", "1.9.1"]
    assert (serial.outcome, serial.skipped) == (Outcome.HIGHER, 1)


def test_a_step_that_the_others_confirm_by_less_than_half_is_inconclusive(tmp_path):
    for share, outcome in ((0.6, Outcome.LOWER), (0.4, Outcome.INCONCLUSIVE)):
        directory = tmp_path / str(share)
        for release, slower in (("1.8.0", 1.0), ("1.9.1", 2.0)):
            # The pairs say that several processes take twice as long; their own time shows only a share of that.
            figures = paired("forest", 0.1, 0.06 * slower**share, cost=0.6 * slower)
            write_result(directory, figures, versions=versions_of(release), commit=COMMITS[0], date=1)
        (speedup,) = (step for step in steps_in(directory) if step.quantity == Quantity.SPEEDUP)
        assert speedup.outcome == outcome


@pytest.mark.parametrize(
    ("serial", "parallel", "outcomes"),
    [
        ((0.10, 0.145), (0.06, 0.12), {Outcome.INCONCLUSIVE}),  # serial time moved half as far, but is no change
        ((0.10, 0.11), (0.06, 0.12), {Outcome.HIGHER}),
        ((0.10, 0.20), (0.06, 0.12), {Outcome.HIGHER}),
    ],
)
def test_time_of_several_processes_with_that_of_one_is_a_change_only_if_both_are(tmp_path, serial, parallel, outcomes):
    for release, serial_s, parallel_s in zip(("1.8.0", "1.9.1"), serial, parallel, strict=True):
        figures = paired("forest", serial_s, parallel_s, cost=0.6 * (parallel_s / 0.06) / (serial_s / 0.10))
        if serial == (0.10, 0.145):  # the times of one process reach down to what they were
            figures[THROUGHPUT] = {
                key: spread(serial_s, 0.5) if key[1] == "serial" else values
                for key, values in figures[THROUGHPUT].items()
            }
        write_result(tmp_path, figures, versions=versions_of(release), commit=COMMITS[0], date=1)
    steps = {step.quantity: step for step in steps_in(tmp_path)}
    assert {steps[Quantity.PARALLEL].outcome} == outcomes


def test_serial_time_is_told_once_however_many_runners_there_are(tmp_path):
    for release, factor in (("1.8.0", 1.0), ("1.9.1", 2.0)):
        figures = paired("forest", 0.1 * factor, 0.06 * factor)
        more = {
            benchmark: {
                (model, "pool", *rest): value for (model, runner, *rest), value in values.items() if runner != "serial"
            }
            for benchmark, values in figures.items()
        }
        write_result(tmp_path, together(figures, more), versions=versions_of(release), commit=COMMITS[0], date=1)
    changes = [(step.quantity, step.runner) for step in steps_in(tmp_path) if step.is_change]
    assert sorted(changes) == [("parallel time", "pool"), ("parallel time", "process"), ("serial time", "serial")]


def test_without_a_noise_floor_or_an_interval_nothing_is_a_change(tmp_path):
    for release, factor in (("1.8.0", 1.0), ("1.9.1", 9.0)):
        figures = paired("forest", 0.1 * factor, 0.06 * factor)
        write_result(
            tmp_path / "floor",
            {
                name: {key: value for key, value in values.items() if key[1] != "serial"}
                for name, values in figures.items()
            },
            versions=versions_of(release),
            commit=COMMITS[0],
            date=1,
        )
        few = {name: {key: value[:3] for key, value in values.items()} for name, values in figures.items()}
        write_result(tmp_path / "few", few, versions=versions_of(release), commit=COMMITS[0], date=1)
    for directory in ("floor", "few"):
        steps = steps_in(tmp_path / directory)
        assert steps
        assert not [step for step in steps if step.is_change]


def of_runners(figures, runners):
    """Give each runner the figures of the one that was planted."""
    return {
        benchmark: {
            (model, name, *rest): value
            for (model, runner, *rest), value in values.items()
            for name in (("serial",) if runner == "serial" else runners)
        }
        for benchmark, values in figures.items()
    }


@pytest.mark.parametrize("runners", [("process",), ("process", "pool")])
def test_serial_time_is_there_whichever_runner_was_measured_beside_it(tmp_path, runners):
    for release, serial_s, measured in (("1.7.2", 0.1, runners), ("1.8.0", 0.2, ("pool",)), ("1.9.1", 0.2, runners)):
        figures = of_runners(paired("forest", serial_s, 0.6 * serial_s), measured)
        write_result(tmp_path, figures, versions=versions_of(release), commit=COMMITS[0], date=1)
    steps = [step for step in steps_in(tmp_path) if step.quantity == Quantity.SERIAL]
    assert [(*(one.label for one in step.release_sets), step.outcome) for step in steps] == [
        ("1.7.2", "1.8.0", Outcome.HIGHER),
        ("1.8.0", "1.9.1", Outcome.NOISE),
    ]


def test_serial_time_must_be_confirmed_by_a_runner_that_both_ends_have(tmp_path):
    for release, serial_s, measured in (("1.8.0", 0.1, ("process", "pool")), ("1.9.1", 0.2, ("pool",))):
        figures = of_runners(paired("forest", serial_s, 0.06, cost=0.6), measured)
        write_result(tmp_path, figures, versions=versions_of(release), commit=COMMITS[0], date=1)
    (serial,) = (step for step in steps_in(tmp_path) if step.quantity == Quantity.SERIAL)
    assert serial.outcome == Outcome.INCONCLUSIVE


def test_serial_time_must_be_confirmed_by_a_runner_that_has_all_figures(tmp_path):
    for release, serial_s in (("1.8.0", 0.1), ("1.9.1", 0.2)):
        figures = of_runners(paired("forest", serial_s, 0.06, cost=0.6), ("process", "pool"))
        if release == "1.9.1":  # the pairs of one runner failed; the other's contradict it
            del figures[COST_RATIO]["forest", "process", ROWS, BATCH, PROCESSES]
        write_result(tmp_path, figures, versions=versions_of(release), commit=COMMITS[0], date=1)
    (serial,) = (step for step in steps_in(tmp_path) if step.quantity == Quantity.SERIAL)
    assert serial.outcome == Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("before", "after", "meaning", "reason"),
    [
        ((0.10, 0.05), (0.10, 0.10), Meaning.WORSE, "parallel time became longer"),
        ((0.10, 0.05), (0.05, 0.05), Meaning.NEITHER, "only because serial time became shorter"),
        ((0.10, 0.05), (0.20, 0.05), Meaning.NEITHER, "only because serial time became longer"),
        (
            (0.10, 0.05),
            (0.04, 0.03),
            Meaning.NEITHER,
            "only because serial time became shorter by more than parallel time did",
        ),
        ((0.10, 0.05), (0.05, 0.10), Meaning.WORSE, "parallel time became longer, and serial time became shorter"),
        ((0.10, 0.05), (0.10, 0.02), Meaning.BETTER, "parallel time became shorter"),
    ],
)
def test_a_speedup_says_what_moved_it(tmp_path, before, after, meaning, reason):
    for release, times in (("1.8.0", before), ("1.9.1", after)):
        write_result(tmp_path, paired("forest", *times), versions=versions_of(release), commit=COMMITS[0], date=1)
    (speedup,) = (step for step in steps_in(tmp_path) if step.quantity == Quantity.SPEEDUP)
    assert speedup.is_change
    assert (speedup.meaning, speedup.reason) == (meaning, reason)


@pytest.mark.parametrize(
    ("after", "shares", "reason"),
    [
        ((0.08, 0.03), (0.03, 0.9), "serial time became shorter; what parallel time did is inconclusive"),
        ((0.10, 0.03), (0.03, 0.9), "serial time stayed within the noise; what parallel time did is inconclusive"),
        ((0.13, 0.05), (0.9, 0.9), "which of the two times moved it is inconclusive"),
    ],
)
def test_a_speedup_that_neither_time_explains_says_what_each_did(tmp_path, after, shares, reason):
    for release, times in (("1.8.0", (0.10, 0.06)), ("1.9.1", after)):
        figures = paired("forest", *times)
        figures[THROUGHPUT] = {
            key: spread(seconds, share) for key, seconds, share in zip(figures[THROUGHPUT], times, shares, strict=True)
        }
        write_result(tmp_path, figures, versions=versions_of(release), commit=COMMITS[0], date=1)
    (speedup,) = (step for step in steps_in(tmp_path) if step.quantity == Quantity.SPEEDUP)
    assert (speedup.outcome, speedup.meaning, speedup.reason) == (Outcome.HIGHER, Meaning.BETTER, reason)


def test_parallel_time_that_the_pairs_contradict_is_inconclusive(tmp_path):
    for release, parallel_s in (("1.8.0", 0.06), ("1.9.1", 0.12)):
        figures = paired("forest", 0.1, parallel_s, cost=0.6)  # the pairs saw no such thing
        write_result(tmp_path, figures, versions=versions_of(release), commit=COMMITS[0], date=1)
    outcomes = {step.quantity: step.outcome for step in steps_in(tmp_path)}
    assert outcomes == {"serial time": "within noise", "parallel time": "inconclusive", "speedup": "within noise"}


def test_speedup_that_the_times_contradict_is_inconclusive(tmp_path):
    for release, cost in (("1.8.0", 0.6), ("1.9.1", 1.1)):
        figures = paired("forest", 0.1, 0.06, cost=cost)  # a slow moment of the machine, and of the pairs only
        write_result(tmp_path, figures, versions=versions_of(release), commit=COMMITS[0], date=1)
    outcomes = {step.quantity: step.outcome for step in steps_in(tmp_path)}
    assert outcomes == {"serial time": "within noise", "parallel time": "within noise", "speedup": "inconclusive"}


def test_speedup_that_no_times_could_confirm_is_inconclusive(tmp_path):
    for release, parallel_s in (("1.8.0", 0.06), ("1.9.1", 0.12)):
        figures = {COST_RATIO: paired("forest", 0.1, parallel_s)[COST_RATIO]}
        write_result(tmp_path, figures, versions=versions_of(release), commit=COMMITS[0], date=1)
    (speedup,) = steps_in(tmp_path)
    assert (speedup.outcome, speedup.meaning) == (Outcome.INCONCLUSIVE, Meaning.NEITHER)


def test_a_machine_that_is_slower_for_a_whole_run_makes_no_change(tmp_path):
    models = {"forest": (0.1, 0.06), "boosting": (0.2, 0.11), "linear": (0.01, 0.008)}

    def outcomes(name, of_linear):
        for release, slow in (("1.8.0", 1.0), ("1.9.1", 1.3)):
            times = {model: [value * slow for value in seconds] for model, seconds in models.items()}
            if release == "1.9.1":
                times["linear"] = [value * of_linear for value in times["linear"]]
            figures = together(*(paired(model, *seconds) for model, seconds in times.items()))
            write_result(tmp_path / name, figures, versions=versions_of(release), commit=COMMITS[0], date=1)
        steps = [step for step in steps_in(tmp_path / name) if step.quantity != Quantity.SPEEDUP]
        return {(step.workload.model, step.outcome) for step in steps}

    assert outcomes("alike", 1.0) == {(model, Outcome.INCONCLUSIVE) for model in models}
    # What a release does to one model more than the machine does to all is a change of that model.
    assert outcomes("one more", 2.0) == {
        ("forest", Outcome.INCONCLUSIVE),
        ("boosting", Outcome.INCONCLUSIVE),
        ("linear", Outcome.HIGHER),
    }


def test_a_speedup_that_rises_as_one_process_gets_slower_is_not_better(tmp_path):
    for release, serial_s, parallel_s in (("1.8.0", 0.1, 0.06), ("1.9.1", 0.2, 0.09)):
        figures = paired("forest", serial_s, parallel_s)
        for key in figures[THROUGHPUT]:
            if key[1] == "process":  # so uncertain that nobody can tell whether it moved
                figures[THROUGHPUT][key] = spread(parallel_s, 0.9)
        write_result(tmp_path, figures, versions=versions_of(release), commit=COMMITS[0], date=1)
    steps = {step.quantity: step for step in steps_in(tmp_path)}
    assert steps[Quantity.PARALLEL].outcome == Outcome.INCONCLUSIVE
    speedup = steps[Quantity.SPEEDUP]
    assert (speedup.outcome, speedup.meaning) == (Outcome.HIGHER, Meaning.NEITHER)
    assert speedup.reason == "serial time became longer; what parallel time did is inconclusive"


@given(RATIO, NOISE)
def test_nothing_within_the_noise_is_a_change_and_no_interval_that_reaches_into_the_floor(ratio, noise):
    outcome = judge(ratio, noise)
    size = max(ratio.value, 1 / ratio.value)
    if size <= noise.factor:
        assert outcome == Outcome.NOISE
    if outcome == Outcome.HIGHER:
        assert ratio.low > noise.floor
        assert ratio.value > noise.factor
    if outcome == Outcome.LOWER:
        assert 1 / ratio.high > noise.floor * (1 - 1e-9)
        assert 1 / ratio.value > noise.factor


@given(RATIO, NOISE)
def test_the_way_back_is_the_opposite_change(ratio, noise):
    opposite = {Outcome.HIGHER: Outcome.LOWER, Outcome.LOWER: Outcome.HIGHER}
    outcome = judge(ratio, noise)
    close = any(
        math.isclose(edge, noise.floor, rel_tol=1e-9) for edge in (ratio.low, 1 / ratio.high, ratio.high, 1 / ratio.low)
    )
    size = max(ratio.value, 1 / ratio.value)
    if not close and not math.isclose(size, noise.factor, rel_tol=1e-9):
        assert judge(ratio.inverse(), noise) == opposite.get(outcome, outcome)


@given(RATIO)
def test_unknown_noise_leaves_everything_open(ratio):
    assert judge(ratio, Noise(math.inf, None)) == Outcome.INCONCLUSIVE


def point(serial_s, parallel_s, speedup):
    exactly = lambda value: Estimate(value, value, value)  # noqa: E731
    return Point(exactly(serial_s), exactly(parallel_s), exactly(speedup), exactly(1.0), paired=True)


@given(st.lists(st.tuples(st.floats(1e-4, 10.0), st.floats(1e-4, 10.0)), min_size=4, max_size=12))
def test_repetitions_that_agree_have_no_noise_whatever_was_measured(times):
    assert repeat_noise(point(serial, parallel, serial / parallel) for serial, parallel in times) == pytest.approx(1.0)


def test_repeat_noise_grows_with_how_far_repetitions_lie_apart():
    noises = [
        repeat_noise(point(0.1, 0.1, apart if index % 2 else 1 / apart) for index in range(8))
        for apart in (1.05, 1.2, 1.5)
    ]
    assert 1.05 < noises[0] < noises[1] < noises[2]
    assert repeat_noise([point(0.1, 0.1, 1.2)] * 3) is None


def test_where_repetitions_are_few_those_of_the_whole_computer_count():
    of_pool, of_loky = (Workload("forest", 8_000, 1_000, 2), "pool"), (Workload("forest", 8_000, 1_000, 2), "loky")
    points = [point(0.1, 0.1, 1.2), point(0.1, 0.1, 1 / 1.2)]
    few = Repeats([SimpleNamespace(points={of_pool: one}) for one in points])
    assert few.of_runner(*of_pool) is None
    more = Repeats([SimpleNamespace(points={of_pool: one, of_loky: one}) for one in points])
    assert more.of_runner(*of_pool) == repeat_noise([*points, *points]) > 1.2
