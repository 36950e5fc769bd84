"""What the reports say about durations that are known beforehand."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest

from infbench.machine import Machine
from infbench.report import comparison_csv, comparison_markdown, comparison_text, verdict
from infbench.report_history import history_text
from infbench.report_sizes import sizes_text
from infbench.results import Comparison, HistoryRow, pooled
from infbench.stats import Estimate
from infbench.tables import format_duration

N_ROUNDS = 9

MACHINE = Machine(
    cpu="Some CPU",
    n_cpus=8,
    n_cpus_usable=4,
    load_1min=0.25,
    system="Linux x86_64",
    python="3.11.9",
    versions={"infbench": "0.1.0", "scikit-learn": "1.5.2", "numpy": "2.1.3", "joblib": "1.4.2"},
    inner_threads={"openblas": 4, "openmp": 4},
)

# Twice as fast on four processes; the libraries' default threads take a quarter off the serial time.
PAYS = Comparison(
    model="random_forest",
    data="synthetic",
    runner="process",
    method="predict_proba",
    n_samples=12_000,
    n_features=20,
    batch_size=1_500,
    serial_batch_size=1_500,
    n_processes=4,
    inner_threads=1,
    random_state=7,
    serial_s=(2.0,) * N_ROUNDS,
    parallel_s=(1.0,) * N_ROUNDS,
    serial_again_s=(2.0,) * N_ROUNDS,
    serial_default_threads_s=(1.5,) * N_ROUNDS,
    paused_serial_s=(2.2,) * N_ROUNDS,
    paused_parallel_s=(4.4,) * N_ROUNDS,
    loop_alone_s=(3.0,) * N_ROUNDS,
    loops_together_s=(0.8,) * N_ROUNDS,
    start_s=2.5,
    first_call_s=0.035,
    added_pss_bytes=48_300_000,
    machine=MACHINE,
)
LOSES = replace(PAYS, runner="pool", parallel_s=(8.0,) * N_ROUNDS, start_s=0.25)
# The ratios to the second serial run reach from 0.8 to 1.25, so a fifth more or less means nothing.
NOISE = tuple(2.0 * factor for factor in (0.8, 0.8, 0.8, 0.8, 1.0, 1.25, 1.25, 1.25, 1.25))
INCONCLUSIVE = replace(PAYS, runner="loky", parallel_s=(1.8,) * N_ROUNDS, serial_again_s=NOISE)


def row(**changes):
    values = {
        "machine": "two_cores",
        "model": "random_forest",
        "runner": "process",
        "n_samples": 10_000,
        "batch_size": 1_000,
        "n_processes": 2,
        "versions": {"scikit-learn": "1.2.2", "numpy": "1.24.4", "scipy": "1.10.1", "joblib": "1.2.0"},
        "commit": "0" * 40,
        "serial_s": 0.1684,
        "parallel_s": 0.0921,
        "speedup": Estimate(1.82, 1.75, 1.88),
        "noise_floor": Estimate(1.0, 0.98, 1.03),
    }
    return HistoryRow(**values | changes)


def tables(text):
    """Return the rows of every table below its header and its rule, each cut into cells."""
    lines = [*text.splitlines(), ""]
    rules = [i for i, line in enumerate(lines) if line and not line.strip("-")]
    return [
        [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines[i + 1 : lines.index("", i)]]
        for i in rules
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (123.4, "123 s"),
        (12.34, "12.3 s"),
        (1.0, "1.00 s"),
        (0.9994, "999 ms"),
        (0.9996, "1.00 s"),
        (0.012, "12.0 ms"),
        (0.001, "1.00 ms"),
        (0.000_25, "250 us"),
        (0.000_000_5, "0.50 us"),
    ],
)
def test_durations_have_three_digits_and_a_unit_that_suits_them(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("comparison", "sentence"),
    [
        (
            PAYS,
            (
                "It pays: process with n_processes=4 is 2.00 times as fast as a single process "
                "(95 % interval 2.00 to 2.00; noise floor 1.00 to 1.00), efficiency 50%. "
                "Against a single process with the libraries' default threads: 1.50 (1.50 to 1.50)."
            ),
        ),
        (
            LOSES,
            (
                "It does not pay: pool with n_processes=4 is 0.25 times as fast as a single process "
                "(95 % interval 0.25 to 0.25; noise floor 1.00 to 1.00), efficiency 6%. "
                "Against a single process with the libraries' default threads: 0.19 (0.19 to 0.19)."
            ),
        ),
        (
            INCONCLUSIVE,
            (
                "Inconclusive: loky with n_processes=4 is 1.11 times as fast as a single process "
                "(95 % interval 1.11 to 1.11; noise floor 0.80 to 1.25), efficiency 28%. "
                "Against a single process with the libraries' default threads: 0.83 (0.83 to 0.83)."
            ),
        ),
    ],
    ids=["pays", "loses", "inconclusive"],
)
def test_the_verdict_is_one_sentence(comparison, sentence):
    assert verdict(comparison) == sentence


def test_batches_too_few_to_be_shared_out_are_told():
    alone = replace(PAYS, n_samples=500, batch_size=500, n_processes=2)
    assert verdict(alone).endswith(" Only 1 batch to share out: take a smaller batch_size.")
    few = replace(PAYS, n_samples=1_000, batch_size=500, n_processes=4)
    assert verdict(few).endswith(" Only 2 batches to share out: take a smaller batch_size.")
    one_row = replace(alone, n_samples=1, batch_size=1)  # there is no smaller batch
    others = [replace(alone, runner=name) for name in ("forest", "native")]
    for enough in (replace(few, n_processes=2), *others, one_row):
        assert "to share out" not in verdict(enough)


@pytest.mark.parametrize(("gain", "is_told"), [(3.59, True), (3.61, False), (1.0, True)])
def test_cpus_that_get_less_done_at_once_are_told_of(gain, is_told):
    shared = replace(PAYS, loops_together_s=(3.0 / gain,) * N_ROUNDS)
    told = f" On these CPUs, 4 plain loops at once gain no more than {gain:.2f} ({gain:.2f} to {gain:.2f})."
    assert (told in verdict(shared)) == is_told
    assert ("plain loops" in verdict(shared)) == is_told
    few = replace(shared, loop_alone_s=(3.0,) * 5, loops_together_s=(3.0 / gain,) * 5)  # no interval
    assert "plain loops" not in verdict(few)
    unknown = replace(shared, loop_alone_s=(), loops_together_s=())
    assert "plain loops" not in comparison_text([unknown])
    assert f"4 plain loops gain {gain:.2f}" in comparison_markdown([PAYS, unknown, shared])  # the least


def test_one_loop_is_none_at_once():
    serial = replace(PAYS, runner="serial", n_processes=1, loops_together_s=PAYS.loop_alone_s)
    assert "plain loops" not in comparison_text([serial])
    assert "4 plain loops gain 3.75" in comparison_text([serial, PAYS])


def test_conditions_that_differ_name_their_runners():
    other = replace(LOSES, runner="forest", batch_size=2_000, n_processes=2)
    for text in (comparison_text([PAYS, other]), comparison_markdown([PAYS, other])):
        assert f"{PAYS.batch_size:,} (process), 2,000 (forest)" in text
        assert "4 (process), 2 (forest)" in text
        assert "all rows at once" not in text
    assert "(process)" not in comparison_text([PAYS, LOSES])


def test_a_single_process_that_was_given_all_rows_at_once_is_told_of():
    at_once = replace(PAYS, serial_batch_size=PAYS.n_samples)
    assert "batch_size:   1,500; single: all rows at once\n" in comparison_text([at_once])
    assert "- batch_size: 1,500; single: all rows at once\n" in comparison_markdown([at_once])


def test_a_noise_floor_below_one_makes_no_slower_runner_pay():
    drifting = tuple(2.0 / 0.9 for _ in range(N_ROUNDS))  # the second serial run was always slower
    slower = replace(PAYS, parallel_s=(2.0 / 0.95,) * N_ROUNDS, serial_again_s=drifting, serial_default_threads_s=())
    assert verdict(slower).startswith("Inconclu")


@pytest.mark.parametrize(
    ("default_s", "answer"), [(1.5, "It pays"), (1.0, "Inconclusive"), (0.8, "It does not pay"), (None, "It pays")]
)
def test_what_is_no_faster_than_the_libraries_own_threads_does_not_pay(default_s, answer):
    default_threads_s = () if default_s is None else (default_s,) * N_ROUNDS
    assert verdict(replace(PAYS, serial_default_threads_s=default_threads_s)).startswith(f"{answer}: process with")


def test_the_text_begins_with_the_answers():
    lines = [line.strip() for line in comparison_text([PAYS, LOSES]).splitlines()]
    assert " ".join(lines[:3]) == verdict(PAYS)
    assert " ".join(lines[3:6]) == verdict(LOSES)


def test_each_runner_has_a_row_with_its_figures():
    text = comparison_text([PAYS, LOSES])
    times, paused, others = tables(text)
    assert times == [
        ["process", "4", "2.00 s", "1.00 s", "2.00", "2.00 to 2.00", "50%", "1.00 to 1.00", "12,000"],
        ["pool", "4", "2.00 s", "8.00 s", "0.25", "0.25 to 0.25", "6%", "1.00 to 1.00", "1,500"],
    ]
    assert paused == [
        ["process", "2.20 s", "4.40 s", "0.50", "0.50 to 0.50"],
        ["pool", "2.20 s", "4.40 s", "0.50", "0.50 to 0.50"],
    ]
    assert others == [
        ["process", "2.50 s", "35.0 ms", "48 MB", "1.50 s", "1.50", "1.50 to 1.50"],
        ["pool", "250 ms", "35.0 ms", "48 MB", "1.50 s", "0.19", "0.19 to 0.19"],
    ]
    assert "BLAS and OpenMP use 4." in " ".join(text.split())


def test_one_inner_thread_by_default_leaves_no_other_baseline():
    single = replace(PAYS, serial_default_threads_s=(), machine=replace(MACHINE, inner_threads={}))
    text = comparison_text([single])
    assert tables(text)[2] == [["process", "2.50 s", "35.0 ms", "48 MB", "-", "-", "-"]]
    assert "one inner thread by default" in " ".join(text.split())
    assert next(csv.DictReader(comparison_csv([single]).splitlines()))["serial_default_threads_s"] == ""


def test_a_run_that_takes_too_long_to_notice_a_pause_is_not_told_of():
    long = replace(PAYS, paused_serial_s=(), paused_parallel_s=())
    assert [len(rows) for rows in tables(comparison_text([PAYS, long]))] == [2, 1, 2]
    text = comparison_text([long])
    assert len(tables(text)) == 2
    assert "pause" not in text
    assert next(csv.DictReader(comparison_csv([long]).splitlines()))["speedup_after_pause"] == ""


def test_the_conditions_are_all_there():
    conditions = dict(line.split(":", 1) for line in comparison_text([PAYS]).split("\n\n")[-1].splitlines())
    assert {name: value.strip() for name, value in conditions.items()} == {
        "model": "random_forest",
        "method": "predict_proba",
        "data": "synthetic",
        "n_samples": "12,000",
        "n_features": "20",
        "n_processes": "4",
        "batch_size": "1,500",
        "repeat": "9",
        "seed": "7",
        "CPUs": "4 usable of 8, Some CPU",
        "CPUs at once": "4 plain loops gain 3.75 (3.75 to 3.75)",
        "load": "0.25 (mean of the minute before)",
        "system": "Linux x86_64, Python 3.11.9",
        "versions": "infbench 0.1.0, scikit-learn 1.5.2, numpy 2.1.3, joblib 1.4.2",
    }


def test_text_is_the_same_everywhere(monkeypatch):
    comparisons, rows = [PAYS, LOSES, INCONCLUSIVE], [row()]
    here = comparison_text(comparisons), history_text(rows)
    for name, value in {"COLUMNS": "20", "LINES": "5", "FORCE_COLOR": "1", "TERM": "dumb", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
        assert (comparison_text(comparisons), history_text(rows)) == here


@pytest.mark.parametrize("text", [comparison_text([PAYS, LOSES, INCONCLUSIVE]), history_text([row()])])
def test_text_fits_every_terminal(text):
    assert text.isascii()
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert all(line == line.rstrip() and len(line) <= 100 for line in text.splitlines())


def test_a_number_is_never_cut_however_long_it_is():
    huge = replace(PAYS, n_samples=10**12, serial_s=(1e6,) * N_ROUNDS, parallel_s=(1.0,) * N_ROUNDS)
    assert "1000000.00 to 1000000.00" in comparison_text([huge])
    assert "1,000,000,000,000" in comparison_text([huge])


def test_a_ratio_that_is_small_keeps_two_digits():
    slow = replace(PAYS, parallel_s=(571.0,) * N_ROUNDS, paused_parallel_s=(628.0,) * N_ROUNDS)
    assert "is 0.0035 times as fast as a single process (95 % interval 0.0035 to 0.0035;" in verdict(slow)
    for text in (comparison_text([slow]), comparison_markdown([slow]), sizes_text([slow])):
        assert "0.00 " not in text
        assert text.count("0.0035") >= 4  # the figure and its interval, twice


def test_rounds_that_differ_in_number_are_told():
    more = pooled([PAYS] * 4)
    assert "repeat:       9 to 36\n" in comparison_text([more, PAYS])
    assert "repeat:       36\n" in comparison_text([more, more])


def test_csv_holds_plain_numbers():
    first, second = csv.DictReader(comparison_csv([PAYS, LOSES]).splitlines())
    assert (first["runner"], second["runner"]) == ("process", "pool")
    assert {name: float(first[name]) for name in ("serial_s", "parallel_s", "start_s", "first_call_s")} == {
        "serial_s": 2.0,
        "parallel_s": 1.0,
        "start_s": 2.5,
        "first_call_s": 0.035,
    }
    assert float(first["speedup"]) == 2.0
    assert float(second["speedup"]) == float(second["speedup_low"]) == float(second["speedup_high"]) == 0.25
    assert float(first["efficiency"]) == 0.5
    assert float(first["loop_speedup"]) == float(first["loop_speedup_low"]) == 3.75
    assert float(first["rows_per_s"]) == 12_000
    assert float(first["serial_default_threads_s"]) == float(first["speedup_over_default_threads"]) == 1.5
    assert first["speedup_over_default_threads_low"] == first["speedup_over_default_threads_high"] == "1.5"
    assert (first["pays"], second["pays"]) == ("True", "False")
    assert next(csv.DictReader(comparison_csv([INCONCLUSIVE]).splitlines()))["pays"] == ""
    assert first["scikit-learn"] == "1.5.2"


def test_markdown_has_the_verdicts_and_whole_tables():
    lines = comparison_markdown([PAYS, LOSES]).splitlines()
    assert lines[:2] == [f"- {verdict(PAYS)}", f"- {verdict(LOSES)}"]
    tables = [line for line in lines if line.startswith("|")]
    assert [line.split(" | ")[0] for line in tables] == ["| runner", "| ---", "| process", "| pool"] * 3
    for table in (tables[:4], tables[4:8], tables[8:]):
        assert len({line.count("|") for line in table}) == 1
    assert "- seed: 7" in lines


def test_history_has_a_row_for_each_release_set():
    newer = row(
        versions={"scikit-learn": "1.9.1", "numpy": "2.4.6", "joblib": "1.6.0"},
        speedup=Estimate(1.5, 1.4, 1.6),
        serial_s=None,
        parallel_s=None,
        noise_floor=None,
    )
    text = history_text([row(), newer])
    assert text.splitlines()[:2] == [
        "random_forest, process with n_processes=2, 10,000 rows in batches of 1,000, on two_cores",
        "infbench of commit 00000000",
    ]
    assert tables(text) == [
        [
            ["1.2.2", "1.24.4", "1.2.0", "168 ms", "92.1 ms", "1.82", "1.75 to 1.88", "91%", "0.98 to 1.03"],
            ["1.9.1", "2.4.6", "1.6.0", "-", "-", "1.50", "1.40 to 1.60", "75%", "-"],
        ]
    ]


def test_a_row_of_another_commit_is_told_of():
    versions = {"scikit-learn": "1.3.2", "numpy": "1.26.4"}
    text = history_text([row(commit="b" * 40, versions=versions), row(), row()])
    assert text.splitlines()[1] == "infbench of commit 00000000; bbbbbbbb with scikit-learn 1.3.2, numpy 1.26.4"


@pytest.mark.parametrize(
    "difference",
    [
        {"machine": "other"},
        {"model": "svc"},
        {"runner": "pool"},
        {"n_samples": 20_000},
        {"batch_size": 10},
        {"n_processes": 4},
    ],
    ids=lambda difference: next(iter(difference)),
)
def test_what_cannot_be_compared_does_not_share_a_table(difference):
    text = history_text([row(), row(**difference)])
    assert len(tables(text)) == 2
    assert len([line for line in text.splitlines() if " rows in batches of " in line]) == 2
