"""The gate's findings as text."""

from __future__ import annotations

from collections.abc import Sequence

from infbench.results import GateRow
from infbench.tables import markdown_table


def gate_markdown(rows: Sequence[GateRow], base: str) -> str:
    """Return what became worse, as Markdown suitable for a pull request.

    Parameters
    ----------
    rows : sequence of GateRow
    base : str
        The commit that was measured against.

    Returns
    -------
    str
    """
    verdicts = [row.verdict for row in rows]
    if "worse" in verdicts:
        answer = f"**Worse** than {base}."
    elif "inconclusive" in verdicts:
        answer = f"**Inconclusive** against {base}: the figures are too noisy to confirm a change, or to rule one out."
    elif set(verdicts) == {"unchanged"}:
        answer = f"Not worse than {base}: a change of 20 % is excluded."
    else:
        answer = f"Not worse than {base}."
    cells = [
        (
            row.benchmark,
            row.figure,
            f"{row.change.value - 1:+.0%}",
            f"{row.change.low - 1:+.0%} to {row.change.high - 1:+.0%}",
            f"{row.noise_floor.low - 1:+.0%} to {row.noise_floor.high - 1:+.0%}",
            f"**{row.verdict}**" if row.verdict == "worse" else row.verdict,
        )
        for row in rows
    ]
    note = (
        "More is worse, for every figure. serial time: one process. cost ratio: runner's time / serial time. Both "
        "made warm passes in turn; the change is the median, with its 99 % interval. noise floor: base against base, "
        "measured alike; it counts in both directions. worse, better: the whole interval lies beyond 5 % and the noise "
        "floor's median, and the change beyond the noise floor's interval. unchanged: within 5 %, and a change of 20 % "
        "is excluded."
    )
    columns = ("benchmark", "figure", "change", "99 % interval", "noise floor", "verdict")
    return f"{answer}\n\n{markdown_table(columns, cells)}\n\n{note}\n"
