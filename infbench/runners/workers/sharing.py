"""Whether it pays to share out a call, judged by earlier calls."""

from __future__ import annotations

from typing import Any

from infbench.runners.batches import Batches
from infbench.runners.trial import Trial
from infbench.runners.workers.call import plan_shares
from infbench.runners.workers.caller_memory import READ_S, READ_S_PER_BYTE
from infbench.runners.workers.rows import is_shareable

HAND_OUT_S, WAKE_S = 90e-6, 400e-6
"""What it costs to have batches computed elsewhere, and what it costs on top of that if workers sleep. With 2, 4 and 10
batches of a model that only waits, two processes were slower than one when half of the batches took 85 us, equal at 95
to 110, and faster at 125 (a `ProcessRunner` that computes them alone takes 10 us more than the serial runner); after a
pause slower at 330, equal at 430 to 840, and faster at 1,050: see docs/hand_out.py."""

_CLEARLY = 4.0
"""A call is shared out if that saves more than this many times what it costs, and not if it saves less than it costs.
In between, both ways are tried: with busy neighbours sharing out costs more than twice as much, and a worker that
computes beside the caller may slow the caller down. Now and then even a clear case is compared with computing alone:
two CPUs may be one core, and gain nothing (docs/findings.md). After a pause nothing is tried, as no two pauses are
alike."""

_SLOW_READING = 4.0
"""A worker may take this many times as long to read its rows if others use the machine's memory. A call is a clear case
only if it saves enough even then; after a pause, when nothing is tried, it is shared out only if that pays even then.
See `infbench.runners.workers.caller_memory.READ_S`."""

_PICKLED = 3
"""Rows that must be pickled take this many times as long to reach a worker as to pickle: they are sent and loaded
too."""

_MOST_KINDS = 1_000
"""How many kinds of calls are remembered; calls may have any number of rows."""


_Row = tuple[str, float]
"""What the cost of a row depends on: the method, and the row's size in bytes, 0 if nobody can tell."""


class Sharing:
    """Decides which calls of a `ProcessRunner` are shared out.

    Parameters
    ----------
    n_processes : int
        How many processes compute, the caller included.
    """

    def __init__(self, n_processes: int) -> None:
        self._n_processes = n_processes
        self._costs_s: dict[_Row, tuple[float, float]] = {}  # of a batch and of a row, in the last call
        self._pickling_s: dict[_Row, float] = {}  # of a row
        self._trials: dict[tuple[_Row, int, int], Trial[bool]] = {}
        self._trial: Trial[bool] | None = None  # of the call that is being made

    def pays(self, method: str, batches: Batches, *, asleep: bool, takes_over: bool = True) -> bool:
        """Tell whether sharing out a call takes less time than computing it alone.

        If a worker had nothing to read, sharing out would save the time of the batches that are given away. But it has
        to read, so it takes longer for a batch than the caller, which takes some batches over, so less is saved. Rows
        that cannot be read are pickled by the caller before anybody computes, which adds to what sharing out costs. If
        what is saved is close to what it costs, or may be, both ways are tried, and the faster one is taken for calls
        of this kind from then on.

        Parameters
        ----------
        method : str
        batches : Batches
        asleep : bool
            Whether the last call was so long ago that workers sleep.
        takes_over : bool, default=True
            False: everything that can be shared out is.
        """
        self._trial = None
        shares = plan_shares(len(batches), self._n_processes)
        if not shares:
            return False
        row = _row_of(method, batches)
        if not takes_over or row not in self._costs_s:
            return True
        n_given_away = len(batches) - shares[0][0]
        batch_s, row_s = self._costs_s[row]
        batch_s = max(batch_s, row_s * batches.batch_size)
        read_s = READ_S + READ_S_PER_BYTE * row[1] * batches.batch_size
        saved_s, surely_saved_s = (
            n_given_away * batch_s * 2 * batch_s / (2 * batch_s + times * read_s) for times in (1.0, _SLOW_READING)
        )
        is_pickled = bool(self._pickling_s) and not is_shareable(batches.X)
        pickling_s = self._pickling_s.get(row, 0.0) * n_given_away * batches.batch_size if is_pickled else 0.0
        cost_s = HAND_OUT_S + WAKE_S * asleep + _PICKLED * pickling_s
        if saved_s <= cost_s:
            return False
        if asleep:
            return surely_saved_s > cost_s
        kind = row, batches.n_samples, batches.batch_size
        if kind not in self._trials:
            _make_room(self._trials)
            is_clear = surely_saved_s > _CLEARLY * cost_s
            self._trials[kind] = Trial((True, False), favourite=True if is_clear else None)
        self._trial = self._trials[kind]
        return self._trial.way

    def row_s(self, method: str, batches: Batches) -> float:
        """Return the seconds that the caller took for such a row in the last call, 0 if there was none."""
        return self._costs_s.get(_row_of(method, batches), (0.0, 0.0))[1]

    def note_costs(self, method: str, batches: Batches, n_batches: int, seconds: float) -> None:
        """Note how long the caller took for the first batches."""
        row = _row_of(method, batches)
        if row not in self._costs_s:
            _make_room(self._costs_s)
        self._costs_s[row] = seconds / n_batches, seconds / batches.rows(0, n_batches)[1]

    def note_pickling(self, method: str, batches: Batches, n_rows: int, seconds: float) -> None:
        """Note how long the caller took to pickle `n_rows` rows."""
        row = _row_of(method, batches)
        if row not in self._pickling_s:
            _make_room(self._pickling_s)
        self._pickling_s[row] = seconds / n_rows

    def note_call(self, seconds: float) -> None:
        """Note how long the call took that `pays` was asked about last."""
        if self._trial is not None:
            self._trial.note(seconds)


def _row_of(method: str, batches: Batches) -> _Row:
    n_bytes = getattr(batches.X, "nbytes", 0)  # in a data frame this may be a column
    return method, n_bytes / batches.n_samples if isinstance(n_bytes, int) else 0.0


def _make_room(kinds: dict[Any, Any]) -> None:
    if len(kinds) == _MOST_KINDS:
        kinds.clear()
