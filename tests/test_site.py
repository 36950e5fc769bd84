"""What the speedup page is made of: figures from asv's files, points, sentences, parts and raw tables."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("asv", reason="asv comes with the bench extra")

import asv
from site_results import RELEASES, paired, spread, together, versions_of, write_golden, write_result
from test_asv_environment import PERMANENT

import benchmarks.common
from benchmarks.cost_ratio import Scaling
from infbench.errors import InfbenchError
from infbench.models import make_model
from infbench.site import page, points, publisher, raw, stock, stored, view, words
from infbench.site.changes import find_steps
from infbench.site.points import Measured, Point, Workload, points_of
from infbench.site.stored import COST_RATIO, DISPATCH, LATENCY, MEMORY, SCALING, SIZES, START_UP, THROUGHPUT, load_runs
from infbench.stats import Estimate, ScalingLaw

ROOT = Path(__file__).parents[1]
COMMITS = [letter * 40 for letter in "abcde"]
FOREST = Workload("forest", 8_000, 1_000, 2)


def load(directory):
    return [Measured(run, points_of(run)) for run in load_runs(directory)]


def build(directory, subjects=None):
    measured = load(directory)
    return page.build_page(measured, find_steps(measured), subjects or {})


def one_run(directory, figures, **how):
    given = {"versions": versions_of("1.9.1"), "commit": COMMITS[0], "date": 1} | how
    write_result(directory, figures, **given)
    (run,) = load_runs(directory)
    return run


# What the page knows about the suites without asking them.


def test_parameters_are_those_of_the_suites():
    assert {name: list(parameters) for name, parameters in stored.PARAMETERS.items()} == PERMANENT


def test_workloads_that_are_no_parameters_are_those_of_the_suites():
    assert points.LATENCY_PROCESSES == benchmarks.common.N_PROCESSES
    suite = Scaling()
    suite.setup({"dummy": make_model("dummy", n_features=20)}, "dummy", 1)
    try:
        assert (len(suite.X), suite.batch_size) == view.SCALING_WORKLOAD
        assert type(suite.runner).__name__ == "ProcessRunner"
        assert points.SUITE_RUNNER == "process"
    finally:
        suite.teardown()


# Figures


def test_every_figure_of_the_stored_results_is_read():
    runs = load_runs(ROOT / "results")
    assert runs
    for run in runs:
        assert {key[0] for key in run.figures} <= set(PERMANENT)
        (path,) = (ROOT / "results" / run.computer.name).glob(f"{run.commit[:8]}-*{run.release_set.label}-scipy*")
        content = json.loads(path.read_text())
        for benchmark, row in content["results"].items():
            measured = [value for value in row[0] if value is not None and not math.isnan(value)]
            assert sorted(measured) == sorted(
                figure.estimate.value for key, figure in run.figures.items() if key[0] == benchmark
            )


def test_what_failed_or_is_no_number_is_left_out(tmp_path):
    path = write_result(tmp_path, paired("forest", 0.1, None), versions=versions_of("1.9.1"), commit=COMMITS[0], date=1)
    content = json.loads(path.read_text())
    content["results"][COST_RATIO][1][2] = ["'not a number'"]
    content["results"]["of.another.Suite"] = [[1.0], []]
    path.write_text(json.dumps(content))
    (run,) = load_runs(tmp_path)
    assert list(run.figures) == [(THROUGHPUT, "forest", "serial", 8_000, 1_000, 2)]


def test_another_version_of_a_benchmark_is_another_figure(tmp_path):
    one_run(tmp_path, paired("forest", 0.1, 0.06))
    (run,) = load_runs(tmp_path, {COST_RATIO: "2", THROUGHPUT: "1"})
    assert {key[0] for key in run.figures} == {THROUGHPUT}


def test_too_few_timings_have_no_interval(tmp_path):
    figures = paired("forest", 0.1, 0.06)
    few = {name: {key: value[:7] for key, value in values.items()} for name, values in figures.items()}
    for figure in one_run(tmp_path, few).figures.values():
        assert (figure.estimate.low, figure.estimate.high) == (0.0, math.inf)


def test_samples_are_those_that_were_recorded(tmp_path):
    figures = paired("forest", 0.1, 0.06)
    run = one_run(tmp_path / "with", figures)
    assert run.figures[THROUGHPUT, "forest", "process", 8_000, 1_000, 2].samples == tuple(
        figures[THROUGHPUT]["forest", "process", 8_000, 1_000, 2]
    )
    run = one_run(tmp_path / "without", figures, record_samples=False)
    assert {figure.samples for figure in run.figures.values()} == {()}


def test_release_sets_are_in_the_order_of_versions_even_where_one_is_none(tmp_path):
    for release in ("1.10.0", "1.9.1", "nightly"):
        versions = versions_of("1.9.1") | {"scikit-learn": release}
        write_result(tmp_path, paired("forest", 0.1, 0.06), versions=versions, commit=COMMITS[0], date=1)
    runs = sorted(load_runs(tmp_path), key=lambda run: run.release_set)
    assert [run.release_set.label for run in runs] == ["nightly", "1.9.1", "1.10.0"]


# Points


def test_speedup_comes_from_pairs_where_there_are_pairs(tmp_path):
    figures = paired("forest", 0.1, 0.06, cost=0.5)
    (point,) = points_of(one_run(tmp_path / "pairs", figures)).values()
    assert point.paired
    assert point.speedup.value == pytest.approx(1 / (0.5 * 1.005))
    (point,) = points_of(one_run(tmp_path / "times", {THROUGHPUT: figures[THROUGHPUT]})).values()
    assert not point.paired
    assert point.speedup.value == pytest.approx(0.1 / 0.06)
    assert point.noise_floor is None


def test_single_batches_of_the_latency_suite_are_points_too(tmp_path):
    latency = {("forest", runner, 100): spread(seconds) for runner, seconds in (("serial", 0.01), ("process", 0.02))}
    (found,) = points_of(one_run(tmp_path, {LATENCY: latency})).items()
    assert found[0] == (Workload("forest", 100, 100, 2), "process")
    assert found[1].speedup.value == pytest.approx(0.5)


def test_sizes_are_points_of_the_process_runner_with_the_noise_floor_of_their_model(tmp_path):
    figures = together(paired("forest", 0.1, 0.06), {SIZES: {("forest", 200, 20, 2): spread(2.0)}})
    found = points_of(one_run(tmp_path, figures))
    point = found[Workload("forest", 200, 20, 2), "process"]
    assert point.paired
    assert point.speedup.value == pytest.approx(0.5)
    assert (point.serial, point.parallel) == (None, None)
    assert point.noise_floor == found[FOREST, "process"].noise_floor


def test_one_process_is_the_same_whatever_it_is_compared_with(tmp_path):
    figures = paired("forest", 0.1, 0.06)
    for values, cost in ((figures[THROUGHPUT], 0.04), (figures[COST_RATIO], 0.4)):
        values["forest", "process", 8_000, 1_000, 4] = spread(cost)
    point = points_of(one_run(tmp_path, figures))[FOREST._replace(n_processes=4), "process"]
    assert point.serial.value == pytest.approx(0.1)
    assert point.noise_floor.value == pytest.approx(1.0)


# Sentences


def point(speedup, low, high, *, paired=True, floor=(0.95, 1.05)):
    noise = Estimate(1.0, *floor) if paired else None
    return Point(None, None, Estimate(speedup, low, high), noise, paired=paired)


@pytest.mark.parametrize(
    ("measured", "answer", "start", "says"),
    [
        ({8_000: point(1.8, 1.6, 1.9)}, "It pays", 8_000, "With 8,000 rows in batches of 1,000, the only number"),
        (
            {1_000: point(0.6, 0.5, 0.7), 8_000: point(1.5, 1.4, 1.6), 64_000: point(1.9, 1.8, 2.0)},
            "It pays",
            8_000,
            "wins from 8,000 rows on (it loses with 1,000), and is up to 1.90 times as fast as one process, with 64",
        ),
        ({1_000: point(1.5, 1.4, 1.6), 8_000: point(0.9, 0.8, 0.92)}, "It pays in part", None, "not with the largest"),
        ({1_000: point(0.6, 0.5, 0.7), 8_000: point(0.9, 0.8, 0.92)}, "It does not pay", None, "at best it is 0.90"),
        ({8_000: point(1.2, 1.04, 1.3)}, "Inconclusive", None, "does not stand out from the noise"),
        # What lost stands out from the noise, and must not be quoted as if it did not.
        (
            {1_000: point(0.93, 0.92, 0.94), 8_000: point(0.9, 0.8, 1.1)},
            "Inconclusive",
            None,
            "with 8,000 rows, is 0.90 times as fast",
        ),
        ({8_000: point(3.0, 2.9, 3.1, paired=False)}, "Inconclusive", None, "not measured in pairs"),
        ({8_000: point(0.5, 0.0, math.inf)}, "Inconclusive", None, "interval unknown"),
        ({8_000: point(1.8, 1.7, 1.9, floor=(0.0, math.inf))}, "Inconclusive", None, "noise floor unknown"),
        ({8_000: point(1.8, 1.7, 1.9, floor=(0.0, math.inf))}, "Inconclusive", None, "that cannot be judged"),
        # Only gains from the break-even on are quoted, not what fewer rows gain.
        (
            {100: point(2.5, 2.4, 2.6), 1_000: point(0.9, 0.8, 0.92), 8_000: point(1.5, 1.4, 1.6)},
            "It pays",
            8_000,
            "is up to 1.50 times as fast",
        ),
        (
            {1_000: point(0.9, 0.8, 1.0, paired=False), 8_000: point(1.4, 1.3, 1.5), 64_000: point(1.5, 1.4, 1.6)},
            "It pays",
            8_000,
            "wins with every number of rows measured in pairs, 8,000 and more",
        ),
        # What was not measured in pairs neither wins nor loses.
        ({1_000: point(9.0, 8.0, 10.0, paired=False), 8_000: point(0.5, 0.4, 0.6)}, "It does not pay", None, "0.50"),
    ],
)
def test_verdict(measured, answer, start, says):
    found = words.verdict("process", 2, 1_000, measured)
    assert (found.answer, found.start) == (answer, start)
    assert says in found.text


def test_where_it_breaks_even_is_told_only_where_fewer_rows_were_measured():
    found = words.verdict("process", 2, 1_000, {8_000: point(1.5, 1.4, 1.6), 64_000: point(1.9, 1.8, 2.0)})
    assert (found.start, found.fewest, found.best) == (8_000, 8_000, 64_000)
    assert "wins with every number of rows measured, 8,000 and more, and is up to 1.90" in found.text


def test_small_ratios_have_two_digits():
    assert [words.ratio(value) for value in (1.925, 0.0995, 0.02785, 0.0401)] == ["1.93", "0.10", "0.028", "0.040"]


def test_efficiencies_are_rounded_as_the_tables_do_it():
    told = [words.efficiency(Estimate(value, value, value), 2) for value in (1.65, 1.6497, 1.6494, 0.05)]
    assert told == ["83%", "83%", "82%", "3%"]


@pytest.mark.parametrize(
    ("measured", "judged"),
    [
        (point(1.5, 1.4, 1.6), "it wins"),
        (point(0.6, 0.5, 0.7), "it loses"),
        (point(1.0, 0.9, 1.1), "inconclusive"),
        (point(1.5, 1.4, 1.6, paired=False), "not judged"),
    ],
)
def test_rows_that_the_verdict_does_not_quote_have_a_sentence_of_their_own(measured, judged):
    told = words.of_size(1_000, measured)
    assert told.startswith(f"With the 1,000 rows chosen: {measured.speedup.value:.2f} times as fast")
    assert told.endswith(f"), {judged}.")


def test_neighbours_without_steps_are_not_called_missing(tmp_path):
    alone, unpaired, apart = (tmp_path / name for name in ("alone", "unpaired", "apart"))
    write_result(alone, paired("forest", 0.1, 0.06), versions=versions_of("1.9.1"), commit=COMMITS[0], date=1)
    for position, release in enumerate(RELEASES[:2]):
        figures = paired("forest", 0.1, 0.06)
        times = {THROUGHPUT: figures[THROUGHPUT]}
        write_result(unpaired, times, versions=versions_of(release), commit=COMMITS[0], date=1)
        write_result(apart, figures, versions=versions_of(release), commit=COMMITS[position], date=position)
    for directory, says in (
        (alone, "There is no other release to compare with."),
        (unpaired, "No step between these releases is judged: the speedup was not measured in pairs."),
        (
            apart,
            "No step between these releases is judged: no two of them have the same figure at the same commit.",
        ),
    ):
        parts = build(directory).parts
        (entry,) = parts["model-0-0"]["combinations"]
        assert entry["say_releases"].startswith(says)
        assert parts["changes-0"]["say"].startswith("No two results can be compared, so there is no step to judge")


def test_efficiency_that_is_told_was_measured_in_pairs():
    alone, in_pairs = point(9.0, 8.0, 10.0, paired=False), point(1.6, 1.5, 1.7)
    told = words.batches({(1, 1): alone, (8_000, 1_000): in_pairs}, 2)
    assert told.startswith(
        "Of those measured in pairs, efficiency is highest, 80%, with 8,000 rows in batches of 1,000."
    )
    assert "Of 1 size measured in pairs, 1 wins. 1 was not measured in pairs" in told
    assert words.batches({(1, 1): alone}, 2).startswith("Only 1 row in batches of 1 was measured")
    unpaired = words.batches({(1, 1): alone, (2, 1): alone}, 2)
    assert unpaired == "None of 2 sizes was measured in pairs, and so none is judged."


@pytest.mark.parametrize(
    ("measured", "says"),
    [
        ({"pool": point(1.2, 1.1, 1.3), "process": point(1.6, 1.5, 1.7)}, "process is fastest, 1.60 times one process"),
        (
            {
                "loky": point(9.0, 8.0, 10.0, paired=False),
                "pool": point(1.2, 1.1, 1.3),
                "process": point(1.6, 1.5, 1.7),
            },
            "Of those measured in pairs, process is fastest, 1.60 times one process",
        ),
        ({"process": point(1.6, 1.5, 1.7)}, "Only process was measured: 1.60 times one process"),
        (
            {"loky": point(9.0, 8.0, 10.0, paired=False), "process": point(1.6, 1.5, 1.7)},
            "Only process was measured in pairs: 1.60 times one process",
        ),
        (
            {"loky": point(9.0, 8.0, 10.0, paired=False), "process": point(1.6, 1.5, 1.7, paired=False)},
            "No runner was measured in pairs, and so none is judged.",
        ),
        ({"process": Point(None, None, None, None, paired=False)}, "No runner's speedup was measured."),
    ],
)
def test_runner_that_is_called_fastest_was_measured_in_pairs(measured, says):
    assert words.runners(measured).startswith(says)


def test_scaling_laws_are_told_only_where_they_were_fitted(tmp_path):
    def scaling(counts, **how):
        costs = {("forest", n): [cost / n * (1 + 0.1 * (n - 1)) for cost in spread(1.0, 0.05)] for n in counts}
        directory = tmp_path / "-".join(map(str, [*counts, *how]))
        one_run(directory, together(paired("forest", 0.1, 0.06), {SCALING: costs}), **how)
        (entry,) = build(directory).parts["model-0-0"]["scaling"]
        return entry

    four = scaling((1, 2, 4, 8))
    assert set(four["laws"]) == {"Amdahl", "USL"}
    assert "Amdahl's law puts the serial share at 10." in four["say"] or "at 9." in four["say"]
    assert [row[0] for row in four["points"]] == [1, 2, 4, 8]
    three = scaling((1, 2, 4))
    assert three["laws"] == {}
    assert "takes 4 numbers of processes, and 1, 2 and 4 were measured" in three["say"]
    unrecorded = scaling((1, 2, 4, 8), record_samples=False)
    assert unrecorded["laws"] == {}
    assert "were not recorded" in unrecorded["say"]


@pytest.mark.parametrize(("least", "is_told"), [(0.0, False), (0.001, True)])
def test_a_number_of_processes_is_called_the_fastest_only_where_there_is_one(least, is_told):
    law = ScalingLaw(Estimate(0.02, 0.01, 0.03), Estimate(0.002, least, 0.004), ())
    told = words.scaling({n: Estimate(1.0 * n, n, n) for n in (1, 2, 4, 8)}, law, law, recorded=True)
    assert ("would be fastest with 22 processes" in told) == is_told


# Parts


def test_releases_are_shown_at_the_commit_that_was_measured_with_most_of_them(tmp_path):
    for release in RELEASES[:4]:
        write_result(tmp_path, paired("forest", 0.1, 0.06), versions=versions_of(release), commit=COMMITS[0], date=1)
    # A newer commit with the newest release only, and a release that the older commit lacks.
    for release in RELEASES[3:]:
        write_result(tmp_path, paired("forest", 0.1, 0.03), versions=versions_of(release), commit=COMMITS[1], date=2)
    built = build(tmp_path)
    (entry,) = built.parts["model-0-0"]["combinations"]
    shown = [entry["history"][position] for position in entry["releases"]]
    labels = [built.catalog["sets"][row[0]]["label"] for row in shown]
    commits = [built.catalog["commits"][row[1]]["hash"] for row in shown]
    assert labels == RELEASES
    assert commits == [COMMITS[0]] * 4 + [COMMITS[1]]


def test_what_was_not_measured_is_named(tmp_path):
    for release in RELEASES[:3]:
        figures = together(paired("boosting", 0.1, 0.06), {} if release == RELEASES[1] else paired("forest", 0.1, 0.06))
        write_result(tmp_path, figures, versions=versions_of(release), commit=COMMITS[0], date=1)
    combinations = {entry["rows"]: entry for entry in build(tmp_path).parts["model-0-1"]["combinations"]}
    assert f"Not measured with {RELEASES[1]}." in combinations[8_000]["say_releases"]


def test_the_verdict_looks_back_to_the_oldest_release(tmp_path):
    for release, serial_s in zip(RELEASES[:3], (0.4, 0.2, 0.2), strict=True):
        figures = paired("forest", serial_s, 0.06)
        write_result(tmp_path, figures, versions=versions_of(release), commit=COMMITS[0], date=1)
    *_, newest = build(tmp_path).parts["model-0-0"]["verdicts"]
    assert newest["since"].startswith(
        f"With 8,000 rows, since scikit-learn {RELEASES[0]}: serial time 2.00 times faster"
    )
    assert f"The largest step between neighbours came with {RELEASES[1]}" in newest["since"]


def test_what_was_not_measured_is_not_said_to_have_stayed_within_the_noise(tmp_path):
    speedup_only, all_three = tmp_path / "speedup only", tmp_path / "all three"
    for release in RELEASES[:4]:
        figures = paired("forest", 0.1, 0.06)
        costs = {COST_RATIO: figures[COST_RATIO]}
        write_result(speedup_only, costs, versions=versions_of(release), commit=COMMITS[0], date=1)
        write_result(all_three, figures, versions=versions_of(release), commit=COMMITS[0], date=1)
    for directory, says in ((speedup_only, ": speedup within noise."), (all_three, " nothing moved beyond the noise.")):
        *_, newest = build(directory).parts["model-0-0"]["verdicts"]
        assert newest["since"] == f"With 8,000 rows, since scikit-learn {RELEASES[0]}{says}"


def test_a_newer_run_of_one_suite_alone_counts_there(tmp_path):
    def costs(serial_share):
        return {("forest", n): [cost / n * (1 + serial_share * (n - 1)) for cost in spread(1.0)] for n in (1, 2, 4, 8)}

    run = {"versions": versions_of("1.9.1")}
    older = together(paired("forest", 0.1, 0.06), {SCALING: costs(0.1)})
    write_result(tmp_path, older, commit=COMMITS[0], date=1, **run)
    write_result(tmp_path, {SCALING: costs(0.5)}, commit=COMMITS[1], date=2, **run)
    write_result(tmp_path, {SCALING: costs(0.5)}, machine="beta", commit=COMMITS[1], date=2, **run)
    built = build(tmp_path)
    assert [computer["name"] for computer in built.catalog["computers"]] == ["alpha"]  # it has nothing else to show
    (scaling,) = built.parts["model-0-0"]["scaling"]
    n_processes, (speedup, *_) = scaling["points"][-1]
    assert (n_processes, speedup) == (8, pytest.approx(8 / 4.5, rel=0.01))
    assert len(built.parts["model-0-0"]["verdicts"]) == 1


@pytest.mark.parametrize("failed", [COST_RATIO, THROUGHPUT])
def test_what_failed_in_a_newer_run_hides_no_older_figure(tmp_path, failed):
    run = {"versions": versions_of("1.9.1")}
    figures = paired("forest", 0.1, 0.06)
    write_result(tmp_path, figures, commit=COMMITS[0], date=1, **run)
    newer = {name: values for name, values in figures.items() if name != failed}
    write_result(tmp_path, newer, commit=COMMITS[1], date=2, **run)
    part = build(tmp_path).parts["model-0-0"]
    (verdict,) = part["verdicts"]
    assert verdict["answer"] == "It pays"
    (runners,) = part["runners"]
    times = {row["runner"]: row["time"][0] for row in runners["runners"]}
    assert times == {"serial": pytest.approx(0.1), "process": pytest.approx(0.06)}


def test_a_set_is_named_by_what_sets_it_apart(tmp_path):
    for numpy in ("2.3.5", "2.4.6"):
        versions = versions_of("1.9.1") | {"numpy": numpy}
        write_result(tmp_path, paired("forest", 0.1, 0.06), versions=versions, commit=COMMITS[0], date=1)
    older = {"versions": versions_of("1.8.0"), "commit": COMMITS[0], "date": 1}
    write_result(tmp_path, paired("forest", 0.3, 0.06), **older)
    built = build(tmp_path)
    assert [one["label"] for one in built.catalog["sets"]] == ["1.8.0", "1.9.1, numpy 2.3.5", "1.9.1, numpy 2.4.6"]
    (entry,) = built.parts["model-0-0"]["combinations"]
    assert "serial time 3.00 times faster with 1.9.1, numpy 2.3.5" in entry["say_releases"]
    assert "0 worse and 1 better with 1.9.1, numpy 2.3.5." in built.parts["changes-0"]["say"]


def test_a_machine_without_times_and_speedups_is_in_the_raw_data_only(tmp_path):
    write_golden(tmp_path, COMMITS)
    given = {"versions": versions_of("1.9.1"), "commit": COMMITS[0], "date": 1}
    write_result(tmp_path, {DISPATCH: {("process",): spread(2e-4)}}, machine="a laptop", **given)
    built = build(tmp_path)
    assert [one["name"] for one in built.catalog["computers"]] == ["alpha (2 × a CPU)", "alpha (4 × a CPU)"]
    assert all(one["models"] for one in built.catalog["computers"])
    assert "a laptop" in raw.figures_table(load_runs(tmp_path)).to_csv()


def test_same_name_with_other_cpus_is_told_apart(tmp_path):
    write_golden(tmp_path, COMMITS)
    assert [one["name"] for one in build(tmp_path).catalog["computers"]] == ["alpha (2 × a CPU)", "alpha (4 × a CPU)"]


@pytest.mark.parametrize(("ram", "told"), [("24GB", "24GB"), ("16773922816", "17 GB")])
def test_memory_of_a_machine_is_told_in_gigabytes_even_where_asv_noted_bytes(tmp_path, ram, told):
    one_run(tmp_path, paired("forest", 0.1, 0.06), facts={"ram": ram})
    (computer,) = build(tmp_path).catalog["computers"]
    assert computer["facts"] == f"2 × a CPU, x86_64, {told}, Linux"


def test_runners_have_what_was_measured_of_them_and_notes_say_what_was_not(tmp_path):
    figures = together(
        paired("forest", 0.1, 0.06),
        {MEMORY: {("forest", "process"): [2e8]}, START_UP: {("forkserver",): [1.5], ("spawn",): [2.0]}},
    )
    part = build_one(tmp_path, figures)
    (entry,) = part["runners"]
    rows = {row["runner"]: row for row in entry["runners"]}
    assert list(rows) == ["serial", "process"]
    assert (rows["process"]["start_up"][0], rows["process"]["memory"][0]) == (1.5, 2e8)
    assert (rows["serial"]["start_up"], rows["serial"]["memory"]) == (None, None)
    assert "forkserver 1.50 s and spawn 2.00 s" in part["notes"][0]
    assert "measured with forest only" in part["notes"][0]


def build_one(directory, figures):
    one_run(directory, figures)
    return build(directory).parts["model-0-0"]


def test_everything_on_the_page_is_plain_json(tmp_path):
    write_golden(tmp_path, COMMITS)
    few = {name: {key: value[:3] for key, value in values.items()} for name, values in paired("few", 1.0, 2.0).items()}
    write_result(tmp_path, few, machine="beta", versions=versions_of("1.9.1"), commit=COMMITS[0], date=1)
    built = build(tmp_path)
    json.dumps([built.catalog, built.parts], allow_nan=False)
    measured = load(tmp_path)
    tables = [
        raw.figures_table(load_runs(tmp_path)),
        raw.speedups_table(measured),
        raw.steps_table(find_steps(measured)),
    ]
    for table in tables:
        assert table.rows
        content = json.loads(table.to_json())
        assert content["columns"] == list(table.columns)
        as_text = [["" if value is None else str(value) for value in row] for row in content["rows"]]
        assert list(csv.reader(io.StringIO(table.to_csv())))[1:] == as_text


def test_table_of_speedups_holds_what_the_page_says(tmp_path):
    write_golden(tmp_path, COMMITS)
    table = raw.speedups_table(load(tmp_path))
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    at = {"model": "forest", "n_samples": 1_000, "batch_size": 1_000, "runner": "process", "num_cpu": "2"}
    (row,) = [row for row in rows if {key: row[key] for key in at} == at]
    assert row["speedup"] == pytest.approx(0.4)
    assert row["speedup_low"] < 0.4 < row["speedup_high"]
    assert row["efficiency"] == pytest.approx(0.2)
    assert (row["serial_s"], row["paired"], row["wins"]) == (None, True, False)
    assert {row["wins"] for row in rows} == {True, False, None}


def test_table_of_speedups_tells_where_the_noise_floor_was_measured(tmp_path):
    figures = together(paired("forest", 0.1, 0.06), {SIZES: {("forest", 200, 20, 2): spread(2.0)}})
    write_result(tmp_path, figures, versions=versions_of("1.9.1"), commit=COMMITS[0], date=1)
    table = raw.speedups_table(load(tmp_path))
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    floors = {row["n_samples"]: (row["noise_floor_n_samples"], row["noise_floor_batch_size"]) for row in rows}
    assert floors == dict.fromkeys((200, 8_000), (8_000, 1_000))


# The publisher


def test_no_results_are_a_page_too(tmp_path):
    publisher.write_page(tmp_path / "speedup", [], project="small", subjects={})
    assert '"computers": []' in (tmp_path / "speedup" / "index.html").read_text()


def test_navigation_gets_one_entry(tmp_path):
    index = tmp_path / "index.html"
    index.write_text('<ul>\n\t<li id="nav-li-" class="active"></li>\n</ul>')
    for _ in range(2):
        publisher.add_nav_entry(index)
        assert index.read_text().count("speedup/index.html") == 1
    index.write_text("<ul></ul>")
    with pytest.raises(InfbenchError, match="no navigation"):
        publisher.add_nav_entry(index)


def test_commits_keep_their_order_where_asv_publishes_a_range(tmp_path):
    results, html = tmp_path / "results", tmp_path / "html"
    for position, commit in enumerate(COMMITS):
        how = {"versions": versions_of("1.9.1"), "commit": commit, "date": 9 - position}  # dates may mislead
        write_result(results, paired("forest", 0.1, 0.06), **how)
    html.mkdir()
    (html / "index.html").write_text('<li id="nav-li-"></li>')
    conf = SimpleNamespace(project="small", results_dir=str(results), html_dir=str(html), env_dir=str(tmp_path / "env"))
    repo = SimpleNamespace(get_revisions=lambda commits: {commit: COMMITS.index(commit) for commit in commits})
    publisher.SpeedupPublisher.publish(conf, repo, None, None, {COMMITS[1]: 1})  # the range is that commit
    table = json.loads((html / "speedup" / "figures.json").read_text())
    commits = [row[table["columns"].index("commit")] for row in table["rows"]]
    assert list(dict.fromkeys(commits)) == COMMITS


def test_wheel_holds_the_templates(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(ROOT / "infbench", source / "infbench", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "requirements.txt", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = ["uv", "build", "--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable]
    environ = {**os.environ, "TMPDIR": str(tmp_path)}  # where uv leaves its locks
    done = subprocess.run([*command, "--out-dir", tmp_path, source], env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    templates = ROOT / "infbench" / "site" / "templates"
    assert {str(path.relative_to(ROOT)) for path in templates.rglob("*") if path.is_file()} <= set(names)


def test_asvs_own_page_loads_from_beside_it_what_packages_have(tmp_path):
    source = Path(asv.__file__).parent / "www" / "index.html"
    index = tmp_path / "index.html"
    shutil.copy(source, index)
    modules = tmp_path / "node_modules"
    assert len(stock.take_along(index, modules)) == len(stock._PACKAGED)  # nothing is installed
    assert index.read_text() == source.read_text()
    for path in stock._PACKAGED.values():
        (modules / path).parent.mkdir(parents=True, exist_ok=True)
        (modules / path).write_text(path)
    assert stock.take_along(index, modules) == []
    loaded = re.findall(r"<(?:script|link)\b[^>]*?\b(?:src|href)=\"([^\"]+)\"[^>]*>", index.read_text())
    assert not [address for address in loaded if "//" in address]
    assert "integrity" not in index.read_text()
    for name, path in stock._PACKAGED.items():
        assert f"vendor/{name}" in loaded
        assert (tmp_path / "vendor" / name).read_text() == path
