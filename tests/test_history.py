"""asv's stored results, read as the speedup by release set."""

from __future__ import annotations

import itertools
import time

import pytest

pytest.importorskip("asv", reason="asv comes with the bench extra")

from asv.machine import Machine
from asv.results import Results
from asv.runner import BenchmarkResult
from asv.util import write_json

from infbench.errors import InfbenchError
from infbench.site.history import load_history
from infbench.site.stored import COST_RATIO, THROUGHPUT

MODELS = ["random_forest", "logistic_regression"]
RUNNERS = ["serial", "process"]
PARAMS = [[repr(name) for name in MODELS], [repr(name) for name in RUNNERS], ["8000"], ["1000"], ["2"]]
SET_OF_1_9 = {"scikit-learn": "1.9.1", "numpy": "2.4.6", "scipy": "1.17.1", "joblib": "1.6.0"}

# By model and runner, in the order of PARAMS. Nine equal samples would have no interval, so each figure is spread.
COSTS = {("random_forest", "serial"): 1.0, ("random_forest", "process"): 0.5, ("logistic_regression", "serial"): 1.0}
DURATIONS_S = {("random_forest", "serial"): 0.2, ("random_forest", "process"): 0.1}


def store(
    directory,
    *,
    costs=COSTS,
    durations_s=DURATIONS_S,
    versions=SET_OF_1_9,
    machine="m",
    commit="a" * 40,
    date=1,
    n_cpus=None,
):
    """Let asv write a result file; a combination without a figure is one that failed."""
    facts = {"machine": machine} | ({} if n_cpus is None else {"num_cpu": n_cpus})
    write_json(str(directory / machine / "machine.json"), facts, Machine.api_version)
    name = "-".join(["release-set-py3.11", *(library + version for library, version in sorted(versions.items()))])
    results = Results(facts | versions, versions, commit, date, "3.11", name, {})
    for benchmark, figures in ((COST_RATIO, costs), (THROUGHPUT, durations_s)):
        if figures is None:
            continue
        samples = [
            [figures[key] * (1 + step / 100) for step in range(-4, 5)] if key in figures else None
            for key in itertools.product(MODELS, RUNNERS)
        ]
        outcome = BenchmarkResult(
            result=[None if values is None else True for values in samples],
            samples=samples,
            number=[None if values is None else 1 for values in samples],
            errcode=0,
            stderr="",
            profile=None,
        )
        results.add_result({"name": benchmark, "version": "1", "params": PARAMS}, outcome)
    results.save(str(directory))


def test_speedup_is_the_inverse_of_the_cost_and_its_bounds_change_places(tmp_path):
    store(tmp_path)
    (row,) = load_history(tmp_path)
    assert (row.machine, row.model, row.runner) == ("m", "random_forest", "process")
    assert (row.n_samples, row.batch_size, row.n_processes) == (8_000, 1_000, 2)
    assert row.versions == SET_OF_1_9
    assert row.commit == "a" * 40
    assert row.speedup.value == pytest.approx(2.0)
    assert 1 / (0.5 * 1.04) <= row.speedup.low < 2.0 < row.speedup.high <= 1 / (0.5 * 0.96)
    assert row.efficiency == pytest.approx(1.0)


def test_noise_floor_and_durations_belong_to_the_same_workload(tmp_path):
    store(tmp_path)
    (row,) = load_history(tmp_path)
    assert row.noise_floor is not None
    assert row.noise_floor.value == pytest.approx(1.0)
    assert row.noise_floor.low < 1.0 < row.noise_floor.high
    assert row.serial_s == pytest.approx(0.2)
    assert row.parallel_s == pytest.approx(0.1)


def test_missing_figures_are_none_and_a_missing_cost_is_no_row(tmp_path):
    costs = {("random_forest", "process"): 0.5}  # no noise floor; logistic_regression failed altogether
    store(tmp_path, costs=costs, durations_s=None)
    (row,) = load_history(tmp_path)
    assert row.model == "random_forest"
    assert (row.serial_s, row.parallel_s, row.noise_floor) == (None, None, None)


def test_release_sets_are_in_the_order_of_their_versions(tmp_path):
    for version in ("1.10.0", "1.9.1", "1.2.2"):  # as text 1.10 comes before 1.2
        store(tmp_path, versions=SET_OF_1_9 | {"scikit-learn": version})
    assert [row.versions["scikit-learn"] for row in load_history(tmp_path)] == ["1.2.2", "1.9.1", "1.10.0"]


def test_the_newest_commit_counts_for_each_release_set_and_machine(tmp_path):
    old, new = "a" * 40, "b" * 40
    store(tmp_path, commit=new, date=2, costs=COSTS | {("random_forest", "process"): 0.25})
    store(tmp_path, commit=old, date=1)
    store(tmp_path, commit=old, date=1, machine="other")
    store(tmp_path, commit=old, date=1, versions=SET_OF_1_9 | {"joblib": "1.5.0"})
    speedups = {
        (row.machine, row.versions["joblib"]): (row.commit, round(row.speedup.value)) for row in load_history(tmp_path)
    }
    assert speedups == {("m", "1.6.0"): (new, 4), ("m", "1.5.0"): (old, 2), ("other", "1.6.0"): (old, 2)}


def test_of_commits_of_one_date_the_one_that_was_measured_later_counts(tmp_path):
    """One that was amended keeps its date."""
    store(tmp_path, commit="b" * 40)
    time.sleep(0.002)  # asv keeps milliseconds
    store(tmp_path, commit="a" * 40, costs=COSTS | {("random_forest", "process"): 0.25})
    assert [row.commit for row in load_history(tmp_path)] == ["a" * 40]


def test_the_same_name_with_other_cpus_is_another_machine(tmp_path):
    store(tmp_path, n_cpus="2")
    store(tmp_path, n_cpus="4", commit="b" * 40, date=2)
    store(tmp_path, machine="other", commit="c" * 40, n_cpus="2")
    assert [row.machine for row in load_history(tmp_path)] == ["m (2)", "m (4)", "other"]


def test_a_failed_newer_run_does_not_hide_the_last_good_one(tmp_path):
    store(tmp_path, commit="a" * 40, date=1)
    store(tmp_path, commit="b" * 40, date=2, costs={}, durations_s={})  # what asv stores of a build that failed
    (row,) = load_history(tmp_path)
    assert row.commit == "a" * 40


@pytest.mark.parametrize("text", ['{"cost_ratio', "[]", '{"latency.Latency.track_predict_s": {}}'])
def test_damaged_list_of_benchmarks_is_refused(tmp_path, text):
    store(tmp_path)
    (tmp_path / "benchmarks.json").write_text(text)
    with pytest.raises(InfbenchError, match="must hold the benchmarks as asv notes them"):
        load_history(tmp_path)


def test_directory_without_results_is_refused(tmp_path):
    with pytest.raises(InfbenchError, match="no directory"):
        load_history(tmp_path / "nothing")
    with pytest.raises(InfbenchError, match="holds no result"):
        load_history(tmp_path)
    store(tmp_path, costs=None)
    with pytest.raises(InfbenchError, match="holds no result"):
        load_history(tmp_path)
