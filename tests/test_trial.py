"""Which way is the fastest, by trying."""

from __future__ import annotations

from infbench.runners.trial import Trial


def make_calls(trial, takes_s, n_calls):
    """Make `n_calls` calls that take `takes_s[way]`; return the ways that they went."""
    ways = []
    for _ in range(n_calls):
        ways.append(trial.way)
        trial.note(takes_s[trial.way])
    return ways


def test_every_way_is_tried_and_the_fastest_is_kept_to():
    ways = make_calls(Trial("abc"), {"a": 3.0, "b": 1.0, "c": 2.0}, 24 + 50 + 16 + 100 + 16 + 1)
    others = 8 * "a" + 8 * "c"
    assert "".join(ways) == 8 * "a" + 8 * "b" + 8 * "c" + 50 * "b" + others + 100 * "b" + others + "b"


def test_the_others_are_tried_less_and_less_but_never_given_up():
    ways = make_calls(Trial("ab"), {"a": 1.0, "b": 2.0}, 10_000)
    kept = [len(turn) for turn in "".join(ways).split(8 * "b")[1:-1]]
    assert kept == [50, 100, 200] + [400] * (len(kept) - 3)
    assert len(kept) > 10


def test_the_only_way_is_kept_to():
    assert set(make_calls(Trial("a"), {"a": 1.0}, 1_000)) == {"a"}


def test_what_is_known_is_not_tried_at_first():
    ways = make_calls(Trial("ab", {"a": 2.0, "b": 1.0}), {"a": 2.0, "b": 1.0}, 50 + 8 + 1)
    assert "".join(ways) == 50 * "b" + 8 * "a" + "b"


def test_what_was_known_wrongly_is_found_out():
    trial = Trial("ab", {"a": 1.0, "b": 1.5})
    make_calls(trial, {"a": 2.0, "b": 1.0}, 50 + 8)
    assert trial.way == "b"


def test_a_favourite_is_kept_to_for_long_and_others_are_glanced_at():
    ways = make_calls(Trial("ab", favourite="a"), {"a": 1.0, "b": 2.0}, 20_000)
    glances = "".join(ways).split("bbb")
    assert [len(kept) for kept in glances[:-1]] == [400, 800, 1_600] + [3_200] * (len(glances) - 4)
    assert len(glances) > 5


def test_a_favourite_that_is_slower_is_found_out_and_so_is_what_it_gains_later():
    trial = Trial("ab", favourite="a")
    ways = "".join(make_calls(trial, {"a": 2.0, "b": 1.0}, 2_000))
    assert ways.startswith(400 * "a" + 3 * "b" + 50 * "b" + 8 * "a" + 100 * "b" + 8 * "a")
    ways = "".join(make_calls(trial, {"a": 0.5, "b": 1.0}, 2_000))
    assert ways[1_000:].count("b") == 3
    ways = "".join(make_calls(trial, {"a": 2.0, "b": 1.0}, 500))
    assert ways[:100].count("a") < 30  # what the other takes is known


def test_the_way_changes_when_another_has_become_faster():
    trial = Trial("ab")
    assert make_calls(trial, {"a": 1.0, "b": 2.0}, 300)[-1] == "a"
    assert make_calls(trial, {"a": 1.0, "b": 0.5}, 1_000)[-1] == "b"


def test_one_bad_turn_of_the_fastest_way_is_forgiven():
    trial = Trial("ab")
    make_calls(trial, {"a": 1.0, "b": 2.0}, 16 + 50 + 8 + 95)
    make_calls(trial, {"a": 9.0, "b": 2.0}, 5)
    assert (trial.way, trial.typical_s) == ("b", {"a": 1.0, "b": 2.0})
    make_calls(trial, {"a": 9.0, "b": 2.0}, 8)
    assert trial.way == "a"


def test_a_way_that_has_become_slower_than_another_was_is_left_soon():
    trial = Trial("ab")
    make_calls(trial, {"a": 1.0, "b": 2.0}, 10_000)
    assert set(make_calls(trial, {"a": 3.0, "b": 2.0}, 100)[40:80]) == {"b"}


def test_a_way_that_has_become_slower_but_is_the_fastest_still_is_kept_to():
    trial = Trial("ab")
    make_calls(trial, {"a": 1.0, "b": 2.0}, 10_000)
    ways = make_calls(trial, {"a": 3.0, "b": 4.0}, 10_000)
    assert ways.count("b") < 300


def test_the_others_are_tried_soon_again_when_another_way_has_become_the_fastest():
    trial = Trial("ab")
    make_calls(trial, {"a": 1.0, "b": 2.0}, 10_000)
    ways = make_calls(trial, {"a": 3.0, "b": 2.0}, 10_000)
    kept = [len(turn) for turn in "".join(ways).split("a") if len(turn) > 8]
    assert kept[:5] == [8 + 50, 100, 200, 400, 400]


def test_calls_that_were_interrupted_are_forgiven():
    trial = Trial("ab")
    for call in range(16):
        interrupted = trial.way == "a" and call in {3, 7}
        trial.note(9.0 if interrupted else 1.0 if trial.way == "a" else 2.0)
    assert trial.way == "a"


def test_the_first_calls_of_a_turn_do_not_count():
    """They find workers asleep, or what the other way has left in the caches."""
    trial = Trial("ab")
    for call in range(16):
        slow = call in {0, 1, 2, 4, 6}
        trial.note(9.0 if slow else 1.0 if trial.way == "a" else 2.0)
    assert trial.way == "a"


def test_tells_when_a_turn_has_ended():
    trial = Trial("ab")
    ended = [trial.note(1.0) for _ in range(16 + 50 + 8)]
    assert [call + 1 for call, is_last in enumerate(ended) if is_last] == [8, 16, 16 + 50, 16 + 50 + 8]


def test_what_a_way_counts_as_decides_and_what_it_took_is_told():
    trial = Trial("ab", {"a": 2.0, "b": 1.0}, weigh=lambda way, seconds: 3 * seconds if way == "b" else seconds)
    assert trial.way == "a"
    make_calls(trial, {"a": 2.0, "b": 0.5}, 50 + 8)
    assert trial.typical_s == {"a": 2.0, "b": 0.75}
    assert trial.way == "a"
    make_calls(trial, {"a": 2.0, "b": 0.5}, 100 + 8)
    assert (trial.way, trial.typical_s["b"]) == ("b", 0.5)
