"""Figures as text, and tables of them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from infbench.stats import Estimate

PROSE_WIDTH = 96

_TABLE_WIDTH = 1_000  # wider than any table: a number must never be cut or wrapped
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))


def format_duration(seconds: float | None) -> str:
    """Return a duration with three digits and the unit that suits it; a dash for None.

    Examples
    --------
    >>> format_duration(1.386), format_duration(0.0725), format_duration(4.2e-5), format_duration(None)
    ('1.39 s', '72.5 ms', '42.0 us', '-')
    """
    if seconds is None:
        return "-"
    # What would be rounded to 1,000 takes the next unit.
    scale, unit = next(((scale, unit) for scale, unit in _UNITS if seconds >= 0.9995 * scale), _UNITS[-1])
    value = seconds / scale
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}"


def format_interval(estimate: Estimate) -> str:
    """Return the bounds of an interval, as in ``"1.83 to 1.90"``; ``"unknown"`` if there were too few values for it."""
    if not estimate.is_bounded:
        return "unknown"
    return f"{format_ratio(estimate.low)} to {format_ratio(estimate.high)}"


SMALL_RATIO = 0.0995
"""For ratios below this, two decimals would show fewer than two significant digits."""


def format_ratio(value: float) -> str:
    """Return a ratio with two decimals, or with two significant digits if it is small.

    Examples
    --------
    >>> format_ratio(1.926), format_ratio(0.0142), format_ratio(0.0201)
    ('1.93', '0.014', '0.020')
    """
    return f"{value:.2f}" if value >= SMALL_RATIO else f"{value:#.2g}"


def format_bytes(n_bytes: float | None) -> str:
    """Return a size in megabytes (a million bytes); a dash for None.

    Examples
    --------
    >>> format_bytes(48_300_000), format_bytes(None)
    ('48 MB', '-')
    """
    return "-" if n_bytes is None else f"{n_bytes / 1e6:.0f} MB"


def text_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table for a terminal: the first column aligned to the left, the others to the right."""
    from rich.box import Box
    from rich.console import Console
    from rich.table import Table

    # One rule below the header, of a character that every encoding has: no terminal must make the report fail.
    rule = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
    table = Table(box=rule, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console(
        file=io.StringIO(), width=_TABLE_WIDTH, color_system=None, force_terminal=False, markup=False, emoji=False
    )
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def text_list(pairs: Iterable[tuple[str, str]]) -> str:
    """Return names with their values for a terminal, one line each."""
    return "\n".join(f"{name + ':':<14}{value}" for name, value in pairs)


def markdown_list(pairs: Iterable[tuple[str, str]]) -> str:
    """Return what `text_list` does, as Markdown."""
    return "\n".join(f"- {name}: {value}" for name, value in pairs)


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, aligned like that of `text_table`."""
    lines = [columns, ["---"] + ["---:"] * (len(columns) - 1), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
