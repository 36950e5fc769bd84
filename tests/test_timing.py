"""How callables are timed."""

from __future__ import annotations

import threading
import time
from collections import Counter
from hashlib import pbkdf2_hmac

import pytest

from infbench import timing
from infbench.timing import time_after_pauses, time_in_turn


class Clock:
    """Advances by as much as the callables say that they take, and not at all in between."""

    def __init__(self):
        self.now_ns = 0
        self.others_ns = 0  # what threads that the callables left running have taken of another CPU
        self.calls = []
        self.pauses_s = []

    def perf_counter_ns(self):
        return self.now_ns

    def perf_counter(self):
        return self.now_ns / 1e9

    def process_time(self):
        return (self.now_ns + self.others_ns) / 1e9

    thread_time = perf_counter

    def sleep(self, seconds):
        self.pauses_s.append(seconds)

    def taking(self, name, *durations_ns):
        """Return a callable that takes the durations one after the other, and then the last one again and again."""
        remaining = list(durations_ns)

        def call():
            self.calls.append(name)
            self.now_ns += remaining.pop(0) if len(remaining) > 1 else remaining[0]

        return call


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


class TestTurns:
    @pytest.mark.parametrize("names", ["a", "ab", "abc", "abcd"])
    def test_begin_with_another_callable_each_round(self, clock, names):
        n_rounds = 2 * len(names)
        time_in_turn([clock.taking(name, 10**8) for name in names], n_rounds)
        warm_up, timed = clock.calls[: len(names)], clock.calls[len(names) :]
        assert "".join(warm_up) == names  # tells how many calls make a turn
        rounds = ["".join(timed[i : i + len(names)]) for i in range(0, len(timed), len(names))]
        assert len(rounds) == n_rounds
        assert [names.index(each[0]) for each in rounds] == [i % len(names) for i in range(n_rounds)]
        assert all(Counter(each) == Counter(names) for each in rounds)

    def test_durations_are_seconds_per_call_by_round(self, clock):
        durations = time_in_turn([clock.taking("a", 30_000_000), clock.taking("b", *range(10**8, 10**9, 10**8))], 3)
        assert durations == [(0.03, 0.03, 0.03), (0.2, 0.3, 0.4)]

    def test_of_short_calls_begin_with_as_many_that_are_not_timed(self, clock):
        cold_and_warm = [10_000_000, *[9_000_000, 2_000_000] * 3]
        passes = [clock.taking(name, *cold_and_warm) for name in "abc"]
        assert time_in_turn(passes, 3) == [(0.002, 0.002, 0.002)] * 3
        cold_and_warm = [6_000_000, 5_000_000, *[9_000_000, 3_000_000, 2_000_000, 2_000_000] * 3]
        passes = [clock.taking(name, *cold_and_warm) for name in "abc"]
        assert time_in_turn(passes, 3) == [(0.002, 0.002, 0.002)] * 3

    def test_that_follow_a_turn_of_their_own_are_warm_already(self, clock):
        a, b = clock.taking("a", 10_000_000), clock.taking("b", 10_000_000)
        time_in_turn([a, b], 3)
        assert "".join(clock.calls) == "ab" + "aa bb  b aa  a bb".replace(" ", "")
        clock.calls.clear()
        time_in_turn([a], 3)
        assert "".join(clock.calls) == "a" + "aa a a".replace(" ", "")

    def test_of_others_wait_for_threads_and_those_of_its_own_do_not(self, clock):
        a, b = clock.taking("a", 10_000_000), clock.taking("b", 10_000_000)

        def with_another_thread():
            a()
            clock.others_ns += 2_000_000

        time_in_turn([with_another_thread, b], 3)
        assert "".join(clock.calls) == "ab" + "aa bb  b aa  a bb".replace(" ", "")
        assert len(clock.pauses_s) == 1 + 2  # at first, and whenever b follows a

    def test_of_long_calls_hold_nothing_else(self, clock):
        assert time_in_turn([clock.taking("a", 10**8, 3 * 10**8, 2 * 10**8)], 2) == [(0.3, 0.2)]

    @pytest.mark.parametrize(
        ("duration_ns", "n_calls"), [(10_000_000, 1), (9_999_999, 2), (4_000_000, 3), (1_000_000, 10), (10_000, 1_000)]
    )
    def test_hold_as_many_calls_as_are_worth_dividing(self, clock, duration_ns, n_calls):
        durations = time_in_turn([clock.taking("a", duration_ns), clock.taking("b", 10**8)], 4)
        n_warm_up = 1 if n_calls == 1 else 2  # the first of several may find workers asleep
        # The turn of round 2 is warm already.
        assert Counter(clock.calls) == {"a": n_warm_up + (3 + 4) * n_calls, "b": 1 + 4}
        assert durations[0] == pytest.approx((duration_ns / 1e9,) * 4)

    def test_of_what_takes_no_time_at_all_come_to_an_end(self, clock):
        assert time_in_turn([clock.taking("a", 0)], 2) == [(0.0, 0.0)]
        assert len(clock.calls) <= 2 + 3 * 10_000

    @pytest.mark.parametrize(
        ("least_s", "durations_ns", "n_rounds"),
        [
            (0.0, (2_000_000, 2_000_000), 3),
            (0.12, (2_000_000, 2_000_000), 3),
            (0.5, (2_000_000, 5_000_000), 13),  # two turns of twice 10 ms are a round
            (0.5, (2_000_000, 50_000_000), 5),  # 20 and 100 ms
            (0.5, (2_000_000, 10**8), 5),  # 20 and 100 ms: the second is not repeated
            (0.5, (10**9, 10**9), 3),
        ],
    )
    def test_are_more_where_calls_are_short(self, clock, least_s, durations_ns, n_rounds):
        passes = [clock.taking(name, duration_ns) for name, duration_ns in zip("ab", durations_ns, strict=True)]
        assert [len(rounds) for rounds in time_in_turn(passes, 3, least_s=least_s)] == [n_rounds] * 2

    def test_are_told_before_the_first_round_and_after_each(self, clock):
        done = []
        pass_ = clock.taking("a", 10**8)
        time_in_turn([pass_], 3, lambda *rounds: done.append((*rounds, len(clock.calls))))
        assert done == [(0, 3, 1), (1, 3, 2), (2, 3, 3), (3, 3, 4)]

    def test_are_followed_by_what_is_to_follow_each_round(self, clock):
        a, b = clock.taking("a", 10_000_000), clock.taking("b", 10_000_000)

        def with_another_thread():
            b()
            clock.others_ns += 2_000_000

        def look():
            clock.calls.append(f" {len(clock.pauses_s)} ")

        time_in_turn([a, with_another_thread], 3, after_each=look)
        # Threads are at rest by then, and every turn is warmed up.
        assert "".join(clock.calls) == "ab" + "aabb 2 bbaa 3 aabb 4 "

    @pytest.mark.parametrize("time_them", [time_in_turn, time_after_pauses])
    def test_wait_until_threads_that_others_left_running_are_at_rest(self, clock, time_them):
        left_s, seen_s = 0.0, []

        def look():
            seen_s.append(left_s)
            clock.now_ns += 10**7

        def leave_a_thread_running():
            nonlocal left_s
            left_s = 0.1
            clock.now_ns += 10**7
            clock.others_ns += 10**7

        def sleep(seconds):
            nonlocal left_s
            clock.now_ns += round(seconds * 1e9)
            clock.others_ns += round(min(left_s, seconds) * 1e9)
            left_s = max(0.0, left_s - seconds)

        clock.sleep = sleep
        time_them([look, leave_a_thread_running], 3)
        assert set(seen_s) == {0.0}

    def test_see_what_real_threads_compute(self):
        before_s = timing._cpu_seconds_of_others()
        thread = threading.Thread(target=pbkdf2_hmac, args=("sha256", b"", b"", 200_000))
        thread.start()
        thread.join()
        assert timing._cpu_seconds_of_others() - before_s > 0.01

    def test_do_not_wait_for_ever(self, clock):
        def spin():
            clock.now_ns += 10**7
            clock.others_ns += clock.now_ns  # whenever one looks, it has computed

        clock.sleep = lambda seconds: spin()
        assert time_in_turn([spin], 1) == [(0.01,)]

    def test_measure_real_time(self):
        ((first, second),) = time_in_turn([lambda: time.sleep(0.02)], 2)
        assert min(first, second) >= 0.02

    def test_after_a_pause_hold_one_call_each(self, clock):
        assert time_after_pauses([clock.taking("a", 9_000_000, 2_000_000), clock.taking("b", 10)], 2) == [
            (0.009, 0.002),
            (1e-8, 1e-8),
        ]
        assert "".join(clock.calls) == "abab"
        assert clock.pauses_s == [0.012, *[0.05] * 4]  # whether any thread is running, once
