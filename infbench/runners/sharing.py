"""Whether it pays to share a call out, going by the calls before it."""

from __future__ import annotations

from typing import Any

from infbench.runners.batches import Batches
from infbench.runners.call import plan_shares
from infbench.runners.caller_memory import READ_S, READ_S_PER_BYTE
from infbench.runners.rows import is_shareable
from infbench.runners.trial import Trial

HAND_OUT_S, WAKE_S = 90e-6, 400e-6
"""What it costs to have batches computed elsewhere, and what it costs more where workers sleep. With 2, 4 and 10
batches of a model that only waits, two processes were slower than one where half of the batches took 85 us, equal at 95
to 110, and faster at 125 (and who computes them alone takes 10 us more than the serial runner); after a pause slower at
330, equal at 430 to 840, and faster at 1,050: see docs/hand_out.py."""

_CLEARLY = 4.0
"""What saves more than so many times what it costs is shared out, what saves less than it costs is not. What lies
between is tried, as with busy neighbours it costs more than twice as much, and a worker that computes beside the caller
may slow it down. Now and then even what is clear is compared with what it takes alone: two CPUs may be one core, and
gain nothing (docs/findings.md). After a pause nothing is tried, as no pause is like another."""

_SLOW_READING = 4.0
"""So many times as long as elsewhere a worker may take to read its rows, where others use the machine's memory: what
saves that much even then is clear, and after a pause, when nothing is tried, no other is shared out. See
`infbench.runners.caller_memory.READ_S`."""

_PICKLED = 3
"""Rows that must be pickled take so many times as long as that to reach a worker, as they are sent and loaded too."""

_MOST_KINDS = 1_000
"""Of calls are kept; rows may come in any number."""


_Row = tuple[str, float]
"""What a row costs depends on: the method, and the bytes that it has, 0 where nobody can tell."""


class Sharing:
    """Decides which calls of a `ProcessRunner` are shared out.

    Parameters
    ----------
    n_processes : int
        How many compute, the caller included.
    """

    def __init__(self, n_processes: int) -> None:
        self._n_processes = n_processes
        self._costs_s: dict[_Row, tuple[float, float]] = {}  # of a batch and of a row, in the last call
        self._pickling_s: dict[_Row, float] = {}  # of a row
        self._trials: dict[tuple[_Row, int, int], Trial[bool]] = {}
        self._trial: Trial[bool] | None = None  # of the call that is being made

    def pays(self, method: str, batches: Batches, *, asleep: bool, takes_over: bool = True) -> bool:
        """Tell whether to share a call out takes less time than to compute it alone.

        It would save the time of the batches that are given away, if a worker had nothing to read. As it has, it takes
        longer for a batch than the caller, who takes some of them over, and so less is saved. What cannot be read is
        pickled, by the caller, before anybody computes, and adds to what sharing out costs. Where that is close to
        what it costs, or may be, both ways are tried, and the faster one is taken for calls of this kind from then on.

        Parameters
        ----------
        method : str
        batches : Batches
        asleep : bool
            Whether it is so long since the last call that workers sleep.
        takes_over : bool, default=True
            False: all that can be shared out is.
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
        """Keep what the caller took for the first batches."""
        row = _row_of(method, batches)
        if row not in self._costs_s:
            _make_room(self._costs_s)
        self._costs_s[row] = seconds / n_batches, seconds / batches.rows(0, n_batches)[1]

    def note_pickling(self, method: str, batches: Batches, n_rows: int, seconds: float) -> None:
        """Keep what the caller took to pickle so many rows."""
        row = _row_of(method, batches)
        if row not in self._pickling_s:
            _make_room(self._pickling_s)
        self._pickling_s[row] = seconds / n_rows

    def note_call(self, seconds: float) -> None:
        """Keep what the whole call took, the last one that was asked about."""
        if self._trial is not None:
            self._trial.note(seconds)


def _row_of(method: str, batches: Batches) -> _Row:
    n_bytes = getattr(batches.X, "nbytes", 0)  # of a data frame it may be a column
    return method, n_bytes / batches.n_samples if isinstance(n_bytes, int) else 0.0


def _make_room(kinds: dict[Any, Any]) -> None:
    if len(kinds) == _MOST_KINDS:
        kinds.clear()
