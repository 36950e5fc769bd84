"""The runner that is fastest for the call at hand."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from statistics import median
from typing import Any, ClassVar, NamedTuple

from infbench.errors import RunnerError
from infbench.runners import make_runner, runner_class
from infbench.runners.base import Runner
from infbench.runners.batches import Batches, untouchable
from infbench.runners.forest import is_forest
from infbench.runners.trial import Trial
from infbench.runners.workers.sharing import HAND_OUT_S
from infbench.timing import time_after_pauses

_WEIGHTS = {"serial": 1.1, "threads": 1.1, "process": 1.0, "forest": 1.0}
"""Factors that costs are multiplied by before they are compared, since measured costs are inexact. `ProcessRunner`
computes alone what it finds not worth sharing out. So the serial way must promise to save a tenth: otherwise a gain
would be given up though there was nothing to lose. Two threads may share a CPU throughout one call and not in the next;
workers are kept apart."""

_BRIEF, _BRIEF_S = 0.9, 0.0005
"""The serial way's factor for calls that take less than `_BRIEF_S` seconds that way. There, the 5 to 10 us that
`ProcessRunner` takes to decide and to compute alone count, so another way must promise to save a tenth."""

_FOREST_ROWS = 1_000
"""If there are several batches of more rows than this, sharing out rows has always been the better way for a forest."""

_MANY = 4
"""Batches for each process that are measured at most: enough to tell the cost of a batch from that of a call."""

_ROUNDS, _TURN_S, _MOST_S = 5, 0.01, 0.3
"""All ways take turns of `_TURN_S` seconds, or of one call if that is longer, for `_ROUNDS` rounds or until `_MOST_S`
seconds are over: what slows the machine for a moment must not hit one way alone. What counts is the median turn, and
the median call in a turn: now and then a worker happens to be awake, or two threads happen to be on two CPUs, and the
best time would promise what most calls do not keep."""

_WORTH_A_TRY = 1.5
"""Ways that promise to take at most this many times as long as the fastest are tried now and then, in the program's own
calls: the machine may have been busy with the program's start when they were measured. In the long run each such way
costs 1 % at most, see `infbench.runners.trial`."""

_PAUSED_AFTER_S = 0.005
"""A call after a longer pause is a different kind of call: workers and their CPUs have been asleep, and caches are
cold. On a 2-CPU virtual machine, calls of 0.5 ms gain 1.4 on two processes if they follow each other, gain 1.1 after a
pause of 3 ms, and lose after one of 10 ms."""

_PAUSES, _SLEEP_S, _SHORT_S = 3, 0.02, 0.02
"""The cost of a pause is measured with `_PAUSES` pauses of `_SLEEP_S` seconds, if a call takes less than `_SHORT_S`
seconds: longer calls hardly notice a pause."""


_MOST_TRIALS = 1_000
"""Most trials that are kept, since calls may come with any number of rows."""


class Shape(NamedTuple):
    """Calls whose batches cost about the same.

    `n_batches` counts at most four for each process; `n_rows_log2` is the binary logarithm of a batch's rows, rounded
    up.
    """

    method: str
    n_batches: int
    n_rows_log2: int


class Kind(NamedTuple):
    """Calls that go the same way."""

    method: str
    n_samples: int
    batch_size: int
    after_pause: bool


class Cost(NamedTuple):
    """What a call costs, in seconds: `call_s` by itself, `batch_s` for each batch, `pause_s` for a pause before it.

    If batches are computed side by side, a partial round of them counts as full: with 2 processes, 3 batches as 4.
    """

    call_s: float
    batch_s: float
    pause_s: float

    def seconds(self, n_batches: int, *, after_pause: bool) -> float:
        """Return how long a call of this many batches takes."""
        return self.call_s + n_batches * self.batch_s + after_pause * self.pause_s


class AutoRunner(Runner):
    """Measures what the estimator costs in each way, and then takes the fastest way for each call.

    It chooses among the runners ``serial``, ``threads``, ``process`` and, for a forest, ``forest``. All of them give
    the same answer, so the choice affects nothing but the time. A call after a pause may go a different way from one
    that follows the last at once, since waking workers takes longer than some calls do.

    Parameters
    ----------
    estimator : object
        A fitted, picklable estimator whose methods may be called from several threads.
    n_processes : int or None, default=None
        How many processes, or threads, may compute.
    inner_threads : int or None, default=1
        BLAS and OpenMP threads in each process.

    Attributes
    ----------
    costs : dict of Shape to dict of str to Cost
        For calls of each shape, the costs of each runner that could compute them, measured with the rows of the first
        such call.
    trials : dict of Kind to Trial
        For each kind of call, the way that the next one will go, and `Trial.typical_s`, the seconds that led to this
        choice: from `costs`, and from calls made since. A way that is only slightly better does not count as better.
    chosen : str or None
        The runner that computed the last call.

    Notes
    -----
    The attributes exist from the first start on.

    The first call of each kind takes longer, because it computes some of its batches in every way, several times, and
    after pauses too. That takes about half a second, or several times as long as the call itself if that is more, plus
    the time to start runners that were not needed before. Later, eight calls in a row go another way now and then, if
    that way is not much slower: at first after 50 calls, in the end after 400, and soon if calls have become slower
    than another way was. If that way turns out to be faster, all calls go that way.

    Without a `batch_size`, the first call with a given number of rows has an even share for each process. If it shows
    that no share is worth giving away, later calls have all rows in one batch, as the estimator itself would.

    Examples
    --------
    >>> import infbench
    >>> X = infbench.make_data(n_samples=1_000, n_features=20)
    >>> with AutoRunner(infbench.make_model("dummy"), n_processes=2) as runner:
    ...     answer = runner.predict(X, batch_size=500)
    ...     runner.chosen in {"serial", "threads", "process"}
    True
    """

    name: ClassVar[str] = "auto"

    def default_batch_size(self, n_samples: int, method: str = "predict") -> int:
        """Return an even share for each process, or `n_samples` once no share is known to be worth giving away."""
        is_kept = self._started_in_pid is not None and (method, n_samples) in self._kept
        return n_samples if is_kept else super().default_batch_size(n_samples)

    def _start(self) -> None:
        self.costs: dict[Shape, dict[str, Cost]] = {}
        self.chosen: str | None = None
        self.trials: dict[Kind, Trial[str]] = {}
        self._kept: set[tuple[str, int]] = set()  # methods and numbers of rows whose even shares are not given away
        self._last_s = -math.inf
        self._runners: dict[str, Runner] = {}
        self._open = ExitStack()

    def _close(self) -> None:
        self._open.close()

    _close_in_fork = _close

    def _run(self, method: str, batches: Batches) -> Any:
        begun_s = time.monotonic()
        paused = begun_s - self._last_s > _PAUSED_AFTER_S
        try:
            # A plain tuple: making a Kind of it takes longer than everything else here.
            trial = self.trials.get((method, batches.n_samples, batches.batch_size, paused))  # type: ignore[call-overload]
            if trial is None or batches.batch_size == batches.n_samples:
                trial = self._find_trial(method, batches, paused=paused)
            self.chosen = way = "serial" if trial is None else trial.way
            runner = self._runners.get(way) or self._runner(way)  # without `get`, calls of 30 us take 0.7 % longer
            runner.takes_over = self.takes_over
            # Everything was checked when this runner was called, and most close at once: skipping `_call` saves 0.5 us.
            compute = runner._call if runner.closes_after_call else runner._run  # noqa: SLF001
            answer = compute(method, batches)
        except RunnerError as error:  # of a runner that a signal handler has closed along with this one
            self._check_not_closed(error)
            raise
        finally:
            self._last_s = time.monotonic()
        if trial is not None and trial.has_choice and trial.note(self._last_s - begun_s):
            self._note_kept(method, batches.n_samples)
        return answer

    def _find_trial(self, method: str, batches: Batches, *, paused: bool) -> Trial[str] | None:
        """Return the trial that knows the way for such a call, None if there is only one way."""
        if batches.batch_size == batches.n_samples:
            even = self._kept_trial(method, batches.n_samples, paused=paused)
            if even is not None:
                return even
        kind = Kind(method, batches.n_samples, batches.batch_size, paused)
        if kind in self.trials:
            return self.trials[kind]
        if len(self.trials) >= _MOST_TRIALS:
            self.trials.clear()
            self._kept.clear()
        # The estimator may refuse these rows, or change them each time that it is measured: then there is only one way.
        with suppress(ValueError):
            for after_pause in (False, True):
                trial = self._begin_trial(method, batches, after_pause=after_pause)
                self.trials[kind._replace(after_pause=after_pause)] = trial
            self._note_kept(method, batches.n_samples)
        return self.trials.get(kind)

    def _kept_trial(self, method: str, n_samples: int, *, paused: bool = False) -> Trial[str] | None:
        """Return the trial of even shares, if its way at present is to give none of them away.

        So calls with all rows in one batch, because that has turned out to be best, count in that trial, and shares
        will be tried again.
        """
        even = self.trials.get(Kind(method, n_samples, super().default_batch_size(n_samples), paused))
        return None if even is None or runner_class(even.way).shares_out_rows else even

    def _note_kept(self, method: str, n_samples: int) -> None:
        if self._kept_trial(method, n_samples) is not None:
            self._kept.add((method, n_samples))
        else:
            self._kept.discard((method, n_samples))

    def _begin_trial(self, method: str, batches: Batches, *, after_pause: bool) -> Trial[str]:
        ways = self._ways(batches)
        if len(ways) == 1:
            return Trial(ways)
        n_batches = len(batches)
        n_rows = min(batches.batch_size, batches.n_samples)
        shape = Shape(method, min(n_batches, _MANY * self.n_processes), (n_rows - 1).bit_length())
        if shape not in self.costs:
            self.costs[shape] = self._measure(ways, method, batches)
        known_s = {
            name: cost.seconds(self._n_counted(name, n_batches), after_pause=after_pause)
            for name, cost in self.costs[shape].items()
            if name in ways  # calls of one shape need not all have few enough rows for `forest`
        }
        counted_s = {name: _weighted(name, seconds) for name, seconds in known_s.items()}
        # Handing batches out takes longer than some calls do. For these, only ways that promise a gain are worth a try.
        most_s = _WORTH_A_TRY * min(counted_s.values()) if known_s["serial"] > HAND_OUT_S else counted_s["serial"]
        return Trial([name for name, seconds in counted_s.items() if seconds <= most_s], known_s, weigh=_weighted)

    def _ways(self, batches: Batches) -> list[str]:
        """Return the runners that may be useful, the serial one first."""
        ways = ["serial"]
        if self.n_processes > 1:
            if len(batches) > 1:
                ways += ["threads", "process"]
            is_small = min(batches.batch_size, batches.n_samples) <= _FOREST_ROWS
            if (is_small or len(batches) == 1) and is_forest(self.estimator):
                ways.append("forest")
        return ways

    def _n_counted(self, name: str, n_batches: int) -> int:
        if not runner_class(name).shares_out_rows:
            return n_batches
        return math.ceil(n_batches / self.n_processes) * self.n_processes

    def _measure(self, ways: list[str], method: str, batches: Batches) -> dict[str, Cost]:
        """Measure what each way costs: one round of batches, several rounds, and several rounds after a pause."""
        n_few, n_many = (min(len(batches), n) for n in (self.n_processes, _MANY * self.n_processes))
        loads = [(name, n_batches) for name in ways for n_batches in sorted({n_few, n_many})]
        rows = {n: untouchable(batches.take(0, n)) for n in (n_few, n_many)}
        calls = {
            (name, n): partial(self._runner(name).run, method, rows[n], batch_size=batches.batch_size)
            for name, n in loads
        }
        typical_s = dict(zip(loads, _typical_seconds(list(calls.values())), strict=True))
        many_s = paused_s = {name: typical_s[name, n_many] for name in ways}
        if many_s["serial"] < _SHORT_S:
            paused = time_after_pauses([calls[name, n_many] for name in ways], _PAUSES, _SLEEP_S, at_rest=False)
            paused_s = dict(zip(ways, map(median, paused), strict=True))
        costs = {}
        for name in ways:
            few, many = self._n_counted(name, n_few), self._n_counted(name, n_many)
            more_s = many_s[name] - typical_s[name, n_few]
            batch_s = max(0.0, more_s / (many - few)) if many > few else many_s[name] / many
            call_s, pause_s = many_s[name] - many * batch_s, paused_s[name] - many_s[name]
            costs[name] = Cost(max(0.0, call_s), batch_s, max(0.0, pause_s))
        return costs

    def _runner(self, name: str) -> Runner:
        if name not in self._runners:
            n_processes = None if name == "serial" else self.n_processes
            runner = make_runner(name, self.estimator, n_processes=n_processes, inner_threads=self.inner_threads)
            self._runners[name] = self._open.enter_context(runner)
            if self._started_in_pid is None:  # a signal handler has meanwhile closed `self`, but not this runner
                self._open.close()
        return self._runners[name]


def _weighted(name: str, seconds: float) -> float:
    """Return the weighted seconds by which a way is compared."""
    return seconds * (_BRIEF if name == "serial" and seconds < _BRIEF_S else _WEIGHTS[name])


def _typical_seconds(calls: list[Callable[[], Any]]) -> list[float]:
    """Return the seconds that each call takes, the median of its turns."""
    for call in calls:
        call()  # the first call may start something
    turns_s: list[list[float]] = [[] for _ in calls]
    rounds, end_s = 0, time.perf_counter() + _MOST_S
    while rounds == 0 or (rounds < _ROUNDS and time.perf_counter() < end_s):
        for call, of_call_s in zip(calls, turns_s, strict=True):
            taken_s: list[float] = []
            now_s = time.perf_counter()
            turn_ends_s = now_s + _TURN_S
            while now_s < turn_ends_s:
                begun_s = now_s
                call()
                now_s = time.perf_counter()
                taken_s.append(now_s - begun_s)
            of_call_s.append(median(taken_s))
        rounds += 1
    return [median(of_call_s) for of_call_s in turns_s]
