"""Which calls are shared out: by what they cost, and where that is close, by what both ways have taken."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from infbench.runners.batches import Batches
from infbench.runners.workers import sharing
from infbench.runners.workers.sharing import Sharing

COST_S, WAKE_S = 1e-3, 5e-3
N_BATCHES = 10


@pytest.fixture(autouse=True)
def _costs(monkeypatch):
    monkeypatch.setattr(sharing, "HAND_OUT_S", COST_S)
    monkeypatch.setattr(sharing, "WAKE_S", WAKE_S)
    monkeypatch.setattr(sharing, "READ_S", 0.0)
    monkeypatch.setattr(sharing, "READ_S_PER_BYTE", 0.0)


def batches_of(n_batches, n_features=1):
    return Batches(np.zeros((2 * n_batches, n_features)), 2 * n_batches, 2)


def sharing_that_saves(seconds):
    """Return a `Sharing` that knows that another process would save this much of ten batches."""
    made = Sharing(n_processes=2)
    note_saving(made, seconds)
    return made


def note_saving(made, seconds):
    made.note_costs("predict", batches_of(N_BATCHES), 1, seconds / 5)


def pays(made, *, asleep=False, batches=None):
    return made.pays("predict", batches or batches_of(N_BATCHES), asleep=asleep)


class TestSharing:
    def test_the_first_call_is_shared_as_nobody_knows_its_cost(self):
        assert pays(Sharing(n_processes=2))

    @pytest.mark.parametrize(("n_batches", "n_processes"), [(1, 2), (10, 1)])
    def test_never_what_cannot_be(self, n_batches, n_processes):
        for takes_over in (True, False):
            assert not Sharing(n_processes).pays("predict", batches_of(n_batches), asleep=False, takes_over=takes_over)

    def test_all_that_can_be_where_nobody_takes_over(self):
        made = sharing_that_saves(0.1 * COST_S)
        assert made.pays("predict", batches_of(N_BATCHES), asleep=True, takes_over=False)
        made.note_call(1.0)  # which tells nothing
        assert not pays(made)

    @pytest.mark.parametrize("saved_s", [5 * COST_S, 1_000 * COST_S])
    def test_what_is_clear_is_looked_at_all_the_same_now_and_then(self, saved_s):
        """Two CPUs may be one core, and nothing that is known beforehand tells."""
        made = sharing_that_saves(saved_s)
        ways = []
        for _ in range(1_000):
            ways.append(pays(made))
            made.note_call(1.2 if ways[-1] else 1.0)
        assert ways.index(False) == 400
        assert ways[400:].count(True) < 50

    @pytest.mark.parametrize(("saved_s", "expected"), [(0.9 * COST_S, False), (5 * COST_S, True)])
    def test_what_is_clear_is_not_tried_at_first(self, saved_s, expected):
        made = sharing_that_saves(saved_s)
        for _ in range(100):
            assert pays(made) is expected
            made.note_call(1.0 if expected else 0.0)  # whatever that says

    @pytest.mark.parametrize(("saved_s", "expected"), [(0.8 * (COST_S + WAKE_S), False), (2 * WAKE_S, True)])
    def test_nothing_is_tried_after_a_pause(self, saved_s, expected):
        made = sharing_that_saves(saved_s)
        for _ in range(100):
            assert pays(made, asleep=True) is expected
            made.note_call(1.0 if expected else 0.0)

    @pytest.mark.parametrize(("saved_s", "expected"), [(7 * COST_S, False), (9 * COST_S, True)])
    def test_after_a_pause_reading_counts_as_slow(self, monkeypatch, saved_s, expected):
        made = sharing_that_saves(saved_s)
        monkeypatch.setattr(sharing, "WAKE_S", COST_S)
        monkeypatch.setattr(sharing, "READ_S_PER_BYTE", 2 * COST_S / (2 * 8))
        assert pays(made, asleep=True) is expected

    @pytest.mark.parametrize("saved_s", [1.1 * COST_S, 3.5 * COST_S])
    @pytest.mark.parametrize("faster", [True, False])
    def test_what_is_close_goes_the_way_that_took_less(self, faster, saved_s):
        made = sharing_that_saves(saved_s)
        ways = []
        for _ in range(200):
            ways.append(pays(made))
            made.note_call(1.0 if ways[-1] is faster else 1.1)
        assert ways[:16] == [True] * 8 + [False] * 8
        assert [ways[16:].count(way) for way in (faster, not faster)] == [50 + 100 + 18, 2 * 8]

    @pytest.mark.parametrize(("read_s", "is_tried"), [(COST_S / 100, False), (2 * COST_S, True)])
    def test_what_is_clear_only_where_reading_is_fast_is_tried(self, monkeypatch, read_s, is_tried):
        made = sharing_that_saves(6 * COST_S)
        monkeypatch.setattr(sharing, "READ_S_PER_BYTE", read_s / (2 * 8))  # of a batch of two rows
        ways = []
        for _ in range(20):
            ways.append(pays(made))
            made.note_call(1.0)
        assert set(ways) == ({True, False} if is_tried else {True})

    def test_what_was_tried_is_not_forgotten_for_one_call_that_took_longer(self):
        made = sharing_that_saves(2 * COST_S)
        for _ in range(16):
            made.note_call(1.1 if pays(made) else 1.0)
        note_saving(made, 100 * COST_S)
        assert not pays(made)

    def test_rows_of_other_sizes_are_tried_by_themselves(self):
        made = sharing_that_saves(2 * COST_S)
        kinds = [batches_of(N_BATCHES), batches_of(N_BATCHES, 3), Batches(np.zeros((19, 1)), 19, 2)]
        made.note_costs("predict", kinds[1], 1, 2 * COST_S / 5)
        ways = [[] for _ in kinds]
        for _ in range(20):
            for kind, batches in enumerate(kinds):
                ways[kind].append(pays(made, batches=batches))
                made.note_call(1.0 if ways[kind][-1] == (kind != 1) else 1.1)
        assert [taken[-1] for taken in ways] == [True, False, True]

    def test_what_rows_of_other_bytes_cost_is_another_thing(self):
        made = sharing_that_saves(0.1 * COST_S)
        assert pays(made, batches=batches_of(N_BATCHES, 3))  # nobody knows
        made.note_costs("predict", batches_of(N_BATCHES, 3), 1, 1.0)
        assert not pays(made)
        assert made.row_s("predict", batches_of(1, 3)) == 0.5
        assert made.row_s("predict", batches_of(1, 4)) == 0.0

    def test_what_must_be_pickled_costs_more_to_share_out(self):
        made = Sharing(n_processes=2)
        batches = Batches(pd.DataFrame({"nbytes": np.zeros(20)}), 20, 2)  # nobody can tell how many bytes its rows have
        made.note_costs("predict", batches, 1, 10 * COST_S / 5)
        assert pays(made, batches=batches)
        made.note_pickling("predict", batches, 10, 3.1 * COST_S)
        assert not pays(made, batches=batches)
        made.note_costs("predict", batches, 1, 100 * COST_S / 5)
        assert pays(made, batches=batches)

    @pytest.mark.parametrize("X", [np.full((20, 2), None), np.ma.zeros((20, 2))], ids=["objects", "masked"])
    def test_so_does_an_array_that_must_be(self, X):
        made = Sharing(n_processes=2)
        batches = Batches(X, 20, 2)
        made.note_costs("predict", batches, 1, 10 * COST_S / 5)
        assert pays(made, batches=batches)
        made.note_pickling("predict", batches, 10, 3.1 * COST_S)
        assert not pays(made, batches=batches)
        plain = Batches(np.zeros(X.shape), 20, 2)  # as many bytes, which workers read
        assert pays(made, batches=plain)

    def test_keeps_no_more_kinds_than_it_may(self, monkeypatch):
        monkeypatch.setattr(sharing, "_MOST_KINDS", 3)
        made = Sharing(n_processes=2)
        for n_features in range(1, 8):
            batches = batches_of(N_BATCHES, n_features)
            made.note_costs("predict", batches, 1, 2 * COST_S / 5)
            pays(made, batches=batches)
            assert 1 <= len(made._trials) <= 3
            assert 1 <= len(made._costs_s) <= 3
