"""What a measurement leaves behind, and its way through a file."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import replace
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infbench.errors import ResultFormatError
from infbench.machine import Machine, describe_machine
from infbench.results import SCHEMA_VERSION, Comparison, HistoryRow, comparisons_from_json, comparisons_to_json, pooled
from infbench.stats import Estimate, ratio_estimate

MACHINE = Machine(
    cpu="Some CPU",
    n_cpus=8,
    n_cpus_usable=4,
    load_1min=0.25,
    system="Linux x86_64",
    python="3.11.9",
    versions={"infbench": "0.1.0", "scikit-learn": "1.5.2"},
    inner_threads={"openblas": 4},
)


def comparison(**changes):
    values = {
        "model": "random_forest",
        "data": "synthetic",
        "runner": "process",
        "method": "predict",
        "n_samples": 1_000,
        "n_features": 20,
        "batch_size": 100,
        "serial_batch_size": 1_000,
        "n_processes": 4,
        "inner_threads": 1,
        "random_state": 0,
        "serial_s": (2.0, 2.2, 2.4),
        "parallel_s": (1.0, 1.0, 0.8),
        "serial_again_s": (2.0, 2.0, 2.0),
        "serial_default_threads_s": (1.5, 1.1, 1.6),
        "paused_serial_s": (2.0, 2.2),
        "paused_parallel_s": (4.0, 4.4),
        "loop_alone_s": (1.0, 1.0, 1.5),
        "loops_together_s": (0.25, 0.5, 0.5),
        "start_s": 2.5,
        "first_call_s": 0.04,
        "added_pss_bytes": 48_300_000,
        "machine": MACHINE,
    }
    return Comparison(**values | changes)


DURATION = st.floats(1e-9, 1e6)


@st.composite
def comparisons(draw):
    rounds = st.lists(DURATION, min_size=(repeat := draw(st.integers(1, 15))), max_size=repeat).map(tuple)
    return comparison(
        model=draw(st.text(max_size=10)),
        n_processes=draw(st.integers(1, 64)),
        serial_s=draw(rounds),
        parallel_s=draw(rounds),
        serial_again_s=draw(rounds),
        serial_default_threads_s=draw(st.just(()) | rounds),
        loop_alone_s=draw(rounds),
        loops_together_s=draw(rounds),
        start_s=draw(DURATION),
    )


@given(st.lists(comparisons(), max_size=3))
def test_file_gives_back_what_was_measured_to_the_last_digit(measured):
    text = comparisons_to_json(measured)
    assert text.endswith("}\n")
    assert comparisons_from_json(text) == measured
    assert comparisons_to_json(comparisons_from_json(text)) == text


@given(comparisons())
def test_derived_figures_follow_from_the_stored_durations(measured):
    stored = json.loads(comparisons_to_json([measured]))["comparisons"][0]
    speedup = ratio_estimate(stored["serial_s"], stored["parallel_s"])
    noise = ratio_estimate(stored["serial_s"], stored["serial_again_s"])
    pairs = {
        "speedup": ("serial_s", "parallel_s"),
        "noise_floor": ("serial_s", "serial_again_s"),
        "speedup_over_default_threads": ("serial_default_threads_s", "parallel_s"),
        "speedup_after_pause": ("paused_serial_s", "paused_parallel_s"),
        "loop_speedup": ("loop_alone_s", "loops_together_s"),
    }
    expected = {"pays": measured.pays, "efficiency": speedup.value / stored["n_processes"]}
    for name, (numerators, denominators) in pairs.items():
        if stored[numerators]:
            figure = ratio_estimate(stored[numerators], stored[denominators])
            bounds = [figure.low, figure.high] if len(stored[numerators]) >= 6 else None
            expected |= {name: figure.value, f"{name}_interval": bounds}
        else:
            expected |= {name: None, f"{name}_interval": None}
    assert stored["derived"] == expected
    assert (measured.speedup, *measured.speedup_interval) == (speedup.value, speedup.low, speedup.high)
    assert measured.noise_floor == noise
    assert measured.serial_median_s == median(stored["serial_s"])
    assert measured.parallel_median_s == median(stored["parallel_s"])
    assert measured.repeat == len(stored["serial_s"])


def test_figures_by_hand():
    measured = comparison()  # ratios 2, 2.2 and 3; against the default threads 1.5, 1.1 and 2
    assert measured.speedup == 2.2
    assert measured.efficiency == 0.55
    assert measured.noise_floor.value == 1.1
    assert measured.speedup_over_default_threads.value == 1.5
    assert measured.loop_speedup.value == 3.0
    assert (measured.serial_median_s, measured.parallel_median_s) == (2.2, 1.0)


def test_no_default_threads_no_speedup_over_them():
    assert comparison(serial_default_threads_s=()).speedup_over_default_threads is None


def test_ratio_is_of_pairs_and_not_of_medians():
    drift = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
    other_order = comparison(serial_s=drift, parallel_s=drift[::-1])
    assert comparison(serial_s=drift, parallel_s=drift).speedup_interval == (1.0, 1.0)
    low, high = other_order.speedup_interval
    assert low < 1 / 8
    assert high > 8


def test_few_rounds_bound_nothing_and_the_file_stays_json():
    rounds = dict.fromkeys(("serial_s", "parallel_s", "serial_again_s"), (1.0,) * 5)
    measured = comparison(**rounds, serial_default_threads_s=())
    assert measured.speedup_interval == (0.0, math.inf)
    stored = json.loads(comparisons_to_json([measured]), parse_constant=pytest.fail)
    assert stored["comparisons"][0]["derived"]["speedup_interval"] is None


def test_what_was_looked_at_beats_what_somebody_wrote_into_the_file():
    stored = json.loads(comparisons_to_json([comparison()]))
    stored["comparisons"][0]["derived"]["speedup"] = 99.0
    assert comparisons_from_json(json.dumps(stored)) == [comparison()]


def test_real_machine_goes_through_a_file():
    measured = comparison(machine=describe_machine())
    assert comparisons_from_json(comparisons_to_json([measured])) == [measured]


@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (comparison(), "n_samples"),
        (comparison(), "speedup"),
        (MACHINE, "n_cpus"),
        (Estimate(1.0, 1.0, 1.0), "value"),
    ],
    ids=["comparison", "derived figure", "machine", "estimate"],
)
def test_results_are_frozen(thing, name):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(thing, name, 2.0)


def with_comparison(**changes):
    stored = json.loads(comparisons_to_json([comparison()]))
    stored["comparisons"][0] |= changes
    return json.dumps(stored)


def without(name):
    stored = json.loads(comparisons_to_json([comparison()]))
    del stored["comparisons"][0][name]
    return json.dumps(stored)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not an infbench result file"),
        ("no JSON", "not an infbench result file"),
        ("[]", "not an infbench result file"),
        ("null", "not an infbench result file"),
        ("{}", "not an infbench result file.*schema_version"),
        ('{"schema_version": 1}', "not an infbench result file.*comparisons"),
        ('{"schema_version": 1, "comparisons": null}', "not an infbench result file"),
        ('{"schema_version": 1, "comparisons": 3}', "not an infbench result file"),
        ('{"schema_version": 6, "comparisons": []}', "schema_version must be 1 to 5, got 6"),
        ('{"schema_version": "1", "comparisons": []}', "schema_version must be 1 to 5, got '1'"),
        ('{"schema_version": null, "comparisons": []}', "schema_version must be 1 to 5, got None"),
        ('{"schema_version": 1, "comparisons": [{}]}', "not a stored comparison.*model"),
        ('{"schema_version": 1, "comparisons": [null]}', "not a stored comparison"),
        ('{"schema_version": 1, "comparisons": ["text"]}', "not a stored comparison"),
        (comparisons_to_json([comparison()])[:-20], "not an infbench result file"),
        (without("parallel_s"), "not a stored comparison.*parallel_s"),
        (without("machine"), "not a stored comparison.*machine"),
        (with_comparison(machine=None), "not a stored comparison"),
        (with_comparison(machine={"cpu": "Some CPU"}), "not a stored comparison.*n_cpus"),
    ],
)
def test_other_files_are_refused(text, message):
    with pytest.raises(ResultFormatError, match=message):
        comparisons_from_json(text)


def test_version_stands_in_the_file():
    assert json.loads(comparisons_to_json([])) == {"schema_version": SCHEMA_VERSION, "comparisons": []}


def test_efficiency_of_a_row_of_history_is_by_process():
    row = HistoryRow(
        machine="eight_cores",
        model="svc",
        runner="process",
        n_samples=1_000,
        batch_size=100,
        n_processes=4,
        versions={"scikit-learn": "1.5.2"},
        commit="0" * 40,
        serial_s=None,
        parallel_s=None,
        speedup=Estimate(3.0, 2.9, 3.1),
        noise_floor=None,
    )
    assert row.efficiency == 0.75


def test_files_of_older_versions_are_read():
    stored = json.loads(comparisons_to_json([comparison()]))
    stored["schema_version"] = 4
    for name in ("loop_alone_s", "loops_together_s"):
        del stored["comparisons"][0][name]
    fourth = comparison(loop_alone_s=(), loops_together_s=())
    assert comparisons_from_json(json.dumps(stored)) == [fourth]
    assert fourth.loop_speedup is None
    stored["schema_version"] = 3
    del stored["comparisons"][0]["serial_batch_size"]  # all that was not there yet
    third = replace(fourth, serial_batch_size=100)
    assert comparisons_from_json(json.dumps(stored)) == [third]
    stored["schema_version"] = 2
    for name in ("paused_serial_s", "paused_parallel_s"):
        del stored["comparisons"][0][name]
    second = replace(third, paused_serial_s=(), paused_parallel_s=())
    assert comparisons_from_json(json.dumps(stored)) == [second]
    stored["schema_version"] = 1
    del stored["comparisons"][0]["added_pss_bytes"]
    assert comparisons_from_json(json.dumps(stored)) == [replace(second, added_pss_bytes=None)]


def test_speedup_after_a_pause():
    assert comparison().speedup_after_pause.value == 0.5
    assert comparison(paused_serial_s=(), paused_parallel_s=()).speedup_after_pause is None


def test_parts_of_a_comparison_are_pooled_round_by_round():
    first, second = comparison(), comparison(serial_s=(9.0,), parallel_s=(3.0,), serial_again_s=(9.0,), start_s=0.1)
    whole = pooled([first, second])
    assert whole.serial_s == (2.0, 2.2, 2.4, 9.0)
    assert whole.speedup == pytest.approx(median([2.0, 2.2, 3.0, 3.0]))
    assert whole.paused_parallel_s == (4.0, 4.4, 4.0, 4.4)
    assert whole.loops_together_s == (0.25, 0.5, 0.5) * 2
    assert (whole.start_s, whole.machine) == (2.5, MACHINE)
    assert pooled([first]) == first
