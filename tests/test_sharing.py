"""Which calls are shared out: by what they cost, and where that is close, by what both ways have taken."""

from __future__ import annotations

import numpy as np
import pytest

from infbench.runners import sharing
from infbench.runners.batches import Batches
from infbench.runners.sharing import Sharing, Trial

COST_S, WAKE_S = 1e-3, 5e-3
N_BATCHES = 10


@pytest.fixture(autouse=True)
def _costs(monkeypatch):
    monkeypatch.setattr(sharing, "HAND_OUT_S", COST_S)
    monkeypatch.setattr(sharing, "WAKE_S", WAKE_S)
    monkeypatch.setattr(sharing, "READ_S", 0.0)
    monkeypatch.setattr(sharing, "READ_S_PER_BYTE", 0.0)


def batches_of(n_batches):
    return Batches(np.zeros((2 * n_batches, 1)), 2 * n_batches, 2)


def sharing_that_saves(seconds):
    """Return one that knows that another process would save so much of ten batches."""
    made = Sharing(n_processes=2)
    made.note_costs("predict", batches_of(N_BATCHES), 1, seconds / 5)
    return made


def pays(made, *, asleep=False):
    return made.pays("predict", batches_of(N_BATCHES), asleep=asleep)


class TestSharing:
    def test_the_first_call_is_shared_as_nobody_knows_its_cost(self):
        assert pays(Sharing(n_processes=2))

    @pytest.mark.parametrize(("n_batches", "n_processes"), [(1, 2), (10, 1)])
    def test_never_what_cannot_be(self, n_batches, n_processes):
        assert not Sharing(n_processes).pays("predict", batches_of(n_batches), asleep=False)

    @pytest.mark.parametrize(("saved_s", "expected"), [(0.4 * COST_S, False), (5 * COST_S, True)])
    def test_what_is_clear_is_not_tried(self, saved_s, expected):
        made = sharing_that_saves(saved_s)
        for _ in range(100):
            assert pays(made) is expected
            made.note_call(1.0 if expected else 0.0)  # whatever that says

    @pytest.mark.parametrize("saved_s", [0.7 * COST_S, 2 * COST_S])
    @pytest.mark.parametrize("faster", [True, False])
    def test_what_is_close_goes_the_way_that_took_less(self, faster, saved_s):
        made = sharing_that_saves(saved_s)
        ways = []
        for _ in range(200):
            ways.append(pays(made))
            made.note_call(1.0 if ways[-1] is faster else 1.1)
        assert ways[:16] == [saved_s > COST_S] * 8 + [saved_s < COST_S] * 8
        assert set(ways[16:]) == {faster}

    def test_calls_after_a_pause_are_of_another_kind(self):
        made = sharing_that_saves(3 * COST_S)
        ways = {asleep: [] for asleep in (True, False)}
        for _ in range(50):
            for asleep, taken in ways.items():
                taken.append(pays(made, asleep=asleep))
                made.note_call(1.0 if taken[-1] is not asleep else 1.1)
        assert (ways[True][-1], ways[False][-1]) == (False, True)

    def test_a_call_that_was_clear_tells_nothing_of_those_that_are_close(self):
        made = sharing_that_saves(2 * COST_S)
        for _ in range(8):
            assert pays(made)
            made.note_call(1.0)
        assert not pays(made)  # the other way is tried
        made.note_costs("predict", batches_of(N_BATCHES), 1, 1.0)
        for _ in range(8):
            assert pays(made)
            made.note_call(1.0)
        made.note_costs("predict", batches_of(N_BATCHES), 1, 2 * COST_S / 5)
        assert not pays(made)  # it still is

    def test_keeps_no_more_kinds_than_it_may(self, monkeypatch):
        monkeypatch.setattr(sharing, "_MOST_KINDS", 3)
        made = sharing_that_saves(COST_S)
        for n_batches in range(8, 14):
            made.pays("predict", batches_of(n_batches), asleep=False)
            assert 1 <= len(made._trials) <= 3


class TestTrial:
    def test_changes_its_way_when_the_other_has_become_faster(self):
        trial = Trial(way=True)
        takes_s = {True: 1.0, False: 2.0}
        for _ in range(300):
            trial.note(takes_s[trial.way])
        assert trial.way is True
        takes_s = {True: 1.0, False: 0.5}
        for _ in range(400):
            trial.note(takes_s[trial.way])
        assert trial.way is False

    def test_forgives_calls_that_were_interrupted(self):
        trial = Trial(way=True)
        for call in range(16):
            interrupted = trial.way and call in {3, 7}
            trial.note(9.0 if interrupted else 1.0 if trial.way else 2.0)
        assert trial.way is True

    def test_does_not_count_the_first_calls_of_a_try(self):
        """They find workers asleep, or what the other way has left in the caches."""
        trial = Trial(way=True)
        for call in range(16):
            trial.note(9.0 if call % 8 < 3 and trial.way else 1.0 if trial.way else 2.0)
        assert trial.way is True
