"""From how many rows on it pays, of durations that are known beforehand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_report import N_ROUNDS, PAYS, tables

from infbench.report_sizes import sizes_markdown, sizes_text

UNSURE = (1.0,) * 4 + (2.0,) + (4.0,) * 4
"""Takes half as long as the serial runner, or twice as long."""


def measured(by_rows):
    """Return comparisons of a runner: rows to how many times as fast as the serial one it is, None if unknown."""
    return [
        replace(
            PAYS,
            n_samples=n_samples,
            batch_size=n_samples // 4,
            serial_batch_size=n_samples,
            parallel_s=UNSURE if speedup is None else (2.0 / speedup,) * N_ROUNDS,
            serial_default_threads_s=(),
        )
        for n_samples, speedup in by_rows.items()
    ]


@pytest.mark.parametrize(
    ("comparisons", "claim"),
    [
        (measured({100: 0.5, 1_000: 1.5, 9_000: 3.0}), "pays from 1,000 rows on."),
        (measured({9_000: 3.0, 100: None, 1_000: 1.5}), "pays from 1,000 rows on."),
        (measured({100: 1.5, 1_000: 0.5, 9_000: 3.0}), "pays from 9,000 rows on."),
        (measured({100: 1.5, 1_000: 3.0}), "pays from 100 rows on, the fewest that were measured."),
        (measured({100: 0.5, 1_000: 0.8}), "pays with none of these numbers of rows."),
        (measured({100: None, 1_000: None}), "is inconclusive with 100, 1,000 rows."),
        (measured({100: 0.5, 1_000: None}), "is inconclusive with 1,000 rows, and does not pay with 100."),
        (
            measured({100: 1.5, 1_000: 1.5, 9_000: 0.5}),
            "pays with 100, 1,000 rows, but not with 9,000, the most that were measured.",
        ),
        (
            measured({100: 1.5, 1_000: 1.5, 9_000: None}),
            "pays with 100, 1,000 rows, and is inconclusive with 9,000, the most that were measured.",
        ),
    ],
)
def test_the_answer_comes_first(comparisons, claim):
    for report in (sizes_text, sizes_markdown):
        first_block, *_ = report(comparisons).split("\n\n")
        assert " ".join(first_block.split()) == f"process with n_processes=4 {claim}"


def test_each_number_of_rows_has_a_row_of_figures():
    one, other = measured({1_000: 1.6, 100: 0.5})
    (rows, paused) = tables(sizes_text([replace(one, serial_default_threads_s=(1.0,) * N_ROUNDS), other]))
    assert rows == [
        ["100", "25", "2.00 s", "4.00 s", "0.50", "0.50 to 0.50", "1.00 to 1.00", "-", "no"],
        ["1,000", "250", "2.00 s", "1.25 s", "1.60", "1.60 to 1.60", "1.00 to 1.00", "0.80 to 0.80", "no"],
    ]
    assert paused == [
        ["100", "2.20 s", "4.40 s", "0.50", "0.50 to 0.50"],
        ["1,000", "2.20 s", "4.40 s", "0.50", "0.50 to 0.50"],
    ]


def test_each_runner_has_its_own_answer():
    fast, slow = measured({100: 2.0, 1_000: 2.0}), measured({100: 0.5, 1_000: 0.5})
    slow = [replace(one, runner="pool", paused_serial_s=(), paused_parallel_s=()) for one in slow]
    blocks = sizes_text([*fast, *slow]).split("\n\n")
    assert blocks[0] == "process with n_processes=4 pays from 100 rows on, the fewest that were measured."
    assert blocks[3] == "pool with n_processes=4 pays with none of these numbers of rows."
    assert len(tables(sizes_text([*fast, *slow]))) == 3


def test_text_fits_every_terminal_and_tells_the_conditions():
    text = sizes_text(measured({100: None, 100_000: 1.9}))
    assert text.isascii()
    assert text.endswith("\n")
    assert all(line == line.rstrip() and len(line) <= 100 for line in text.splitlines())
    conditions = dict(line.split(":", 1) for line in text.split("\n\n")[-1].splitlines())
    assert conditions["n_samples"].strip() == "100, 100,000"
    assert conditions["n_processes"].strip() == "4"
    assert "batch_size" not in conditions


def test_what_was_not_measured_after_pauses_is_not_told_of():
    long = [replace(one, paused_serial_s=(), paused_parallel_s=()) for one in measured({100: 2.0, 1_000: 2.0})]
    assert "pause" not in sizes_text(long)
    assert "| rows | batch |" in sizes_markdown(long)
