"""Which of several ways to make a call is the fastest, found out by making calls in each of them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Generic, TypeVar

Way = TypeVar("Way")

_TRIED, _COUNTED = 8, 5
"""For how many calls a way is tried, and how many of them count, the last ones: the first ones find workers asleep, or
what another way has left in the caches."""

_KEPT_AT_FIRST, _KEPT_AT_MOST = 50, 400
"""For how many calls the fastest way is kept at first, and at most: twice as many each time that it is found to be the
fastest again. Then the others are tried, as the machine may have changed, or may have been busy when they were tried
before. If the fastest way becomes slower than another one was, they are tried at once."""

_FAVOURED, _GLANCED = 8, 3
"""How many times as many calls keep to a way that is most likely the fastest, and in how many calls another way is
tried then: one call in a thousand in the long run."""

_REMEMBERED = 3
"""How many turns of a way are remembered. Their median counts: a machine may be busy in all calls of one turn."""


class Trial(Generic[Way]):
    """Finds the fastest of several ways to make calls of the same cost: tries each, and the others again and again.

    Parameters
    ----------
    ways : sequence
        Tried in this order.
    known_s : mapping of way to float or None, default=None
        The seconds that a call is already known to take in each way: the fastest is taken first, before the others are
        tried.
    favourite : object or None, default=None
        The way that is most likely the fastest, by far. It is taken first, and kept longer than others; these are tried
        in a few calls only.
    weigh : callable, optional
        What ``weigh(way, seconds)`` returns is compared, instead of the seconds.

    Attributes
    ----------
    way : object
        For the next call.
    has_choice : bool
        Whether there is more than one way. If there is only one, nothing needs to be noted.

    Examples
    --------
    >>> trial, ways = Trial(["here", "there"]), []
    >>> for _ in range(100):
    ...     ways.append(trial.way)
    ...     turn_has_ended = trial.note(1.0 if trial.way == "there" else 2.0)
    >>> ways == ["here"] * 8 + ["there"] * (8 + 50) + ["here"] * 8 + ["there"] * 26
    True
    """

    way: Way

    def __init__(
        self,
        ways: Sequence[Way],
        known_s: Mapping[Way, float] | None = None,
        *,
        favourite: Way | None = None,
        weigh: Callable[[Way, float], float] = lambda _, seconds: seconds,
    ) -> None:
        self._turns_s = {way: deque([known_s[way]] if known_s else [], maxlen=_REMEMBERED) for way in ways}
        self.has_choice = len(ways) > 1
        self._calls_s: deque[float] = deque(maxlen=_COUNTED)
        self._favourites = [] if favourite is None else [favourite]
        self._to_try = [] if known_s or self._favourites else list(ways)
        self._weigh = weigh
        self._fastest: Way | None = None
        self._n_kept = _KEPT_AT_FIRST
        self._begin_turn()

    @property
    def typical_s(self) -> dict[Way, float]:
        """The seconds that a call takes, judged by its last turns, in each way for which they are known."""
        return {way: median(turns_s) for way, turns_s in self._turns_s.items() if turns_s}

    def note(self, seconds: float) -> bool:
        """Note how long a call in this `way` took, and tell whether the turn of this way has ended with it."""
        self._calls_s.append(seconds)
        self._n_left -= 1
        if self._n_left > 0 and (self._n_left % _TRIED or not self._has_fallen_behind()):
            return False
        self._turns_s[self.way].append(median(self._calls_s))
        self._begin_turn()
        return True

    def _has_fallen_behind(self) -> bool:
        """Tell whether the last call, and most of those before, took longer than another way did.

        Computing a median takes as long as some calls do, so it is done only if there is reason to.
        """
        if len(self._calls_s) < _COUNTED or self._weigh(self.way, self._calls_s[-1]) <= self._others_s:
            return False
        return self._weigh(self.way, median(self._calls_s)) > self._others_s

    def _begin_turn(self) -> None:
        self._calls_s.clear()
        if self._to_try:
            self.way = self._to_try.pop(0)
            self._n_left = _GLANCED if self._favourites and self.way not in self._favourites else _TRIED
        else:
            typical_s = self.typical_s or dict.fromkeys(self._favourites, 0.0)
            self.way = min(typical_s, key=lambda way: self._weigh(way, typical_s[way]))
            is_still_fastest = self.way == self._fastest
            self._n_kept = min(2 * self._n_kept, _KEPT_AT_MOST) if is_still_fastest else _KEPT_AT_FIRST
            self._fastest = self.way
            self._n_left = self._n_kept * (_FAVOURED if self.way in self._favourites else 1)
            self._to_try = [way for way in self._turns_s if way != self.way]
        others_s = (self._weigh(way, s) for way, s in self.typical_s.items() if way != self.way)
        self._others_s = min(others_s, default=math.inf)  # the fastest of them
