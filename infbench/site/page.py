"""The data of the speedup page: everything that it shows, ready to be drawn. Nothing is computed in the browser."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from infbench.site import words
from infbench.site.changes import Outcome, Step
from infbench.site.points import Measured
from infbench.site.stored import Computer, ReleaseSet, Run, computer_names
from infbench.site.view import Index, Json, View, rounded, with_bounds

_MAX_INCONCLUSIVE = 200  # the rest is in the raw data


@dataclass(frozen=True)
class Page:
    """What the page loads.

    Attributes
    ----------
    catalog : dict
        What there is to choose from, and the part that holds each choice: loaded with the page.
    parts : dict of str to dict
        Name of a part to its content: each is loaded when it is chosen.
    """

    catalog: Json
    parts: dict[str, Json]


def build_page(measured: Sequence[Measured], steps: Sequence[Step], subjects: Mapping[str, str]) -> Page:
    """Put together what the page shows.

    Parameters
    ----------
    measured : sequence of Measured
        In the order of the history.
    steps : sequence of Step
        What `find_steps` finds in them.
    subjects : mapping of str to str
        Commit to the first line of its message, if known.

    Returns
    -------
    Page
    """
    # A computer with neither a time nor a speedup is in the raw data only.
    shown = {one.run.computer for one in measured if one.points}
    measured = [one for one in measured if one.run.computer in shown]
    sets = sorted({one.run.release_set for one in measured})
    labels = dict(zip(sets, _labels(sets), strict=True))
    commits = list({one.run.commit: one.run for one in measured}.values())
    index = Index(
        sets={release_set: position for position, release_set in enumerate(sets)},
        labels=labels,
        commits={run.commit: position for position, run in enumerate(commits)},
    )
    computers, parts = [], {}
    by_computer: dict[Computer, list[Measured]] = defaultdict(list)
    for one in measured:
        by_computer[one.run.computer].append(one)
    names = computer_names(by_computer)
    for position, (computer, members) in enumerate(sorted(by_computer.items())):
        own_steps = [step for step in steps if step.computer == computer]
        view = View(index, members, own_steps)
        entry: Json = {
            "name": names[computer],
            "facts": _facts(computer, members[-1].run),
            "models": [],
            "overview": [],
            "changes": f"changes-{position}",
        }
        parts[entry["changes"]] = _changes(index, own_steps)
        for number, model in enumerate(sorted({key[0].model for one in members for key in one.points})):
            part = f"model-{position}-{number}"
            parts[part] = view.of_model(model)
            entry["models"].append({"name": model, "part": part})
            entry["overview"].append(view.overview(model))
        computers.append(entry)
    catalog = {
        "computers": computers,
        "sets": [{"label": label, "versions": dict(release_set.versions)} for release_set, label in labels.items()],
        "commits": [{"hash": run.commit, "date": run.date, "subject": subjects.get(run.commit, "")} for run in commits],
    }
    return Page(catalog, parts)


def _changes(index: Index, steps: Sequence[Step]) -> Json:
    changes = [step for step in steps if step.is_change]
    unclear = [step for step in steps if step.outcome == Outcome.INCONCLUSIVE]
    return {
        "changes": [_step(index, step) for step in changes],
        "inconclusive": [_step(index, step) for step in unclear[:_MAX_INCONCLUSIVE]],
        "n_inconclusive": len(unclear),
        "say": words.summary(steps, index.labels),
    }


def _step(index: Index, step: Step) -> Json:
    return {
        "kind": step.kind,
        "quantity": step.quantity,
        "model": step.workload.model,
        "rows": step.workload.n_samples,
        "batch": step.workload.batch_size,
        "runner": step.runner,
        "processes": step.workload.n_processes,
        "sets": [index.sets[release_set] for release_set in step.release_sets],
        "commits": [index.commits[commit] for commit in step.commits],
        "skipped": step.skipped,
        "before": rounded(step.before.value),
        "after": rounded(step.after.value),
        "size": with_bounds(step.ratio if step.ratio.value >= 1 else step.ratio.inverse()),
        "noise": rounded(step.noise.factor),
        "meaning": step.meaning,
        "say": words.factor(step),
        "reason": step.reason,
        "moved": [f"{library} {before} → {after}" for library, before, after in step.moved],
    }


def _facts(computer: Computer, run: Run) -> str:
    ram = run.facts.get("ram", "")
    if ram.isdecimal():  # asv itself stores bytes
        ram = f"{int(ram) / 1e9:.0f} GB"
    known = [computer.cpus, computer.architecture, ram, run.facts.get("os", "")]
    return ", ".join(part for part in known if part)


def _labels(sets: Iterable[ReleaseSet]) -> list[str]:
    """Name release sets by their first library and, if that is not unique, by what else differs."""
    sets = list(sets)
    labels = []
    for release_set in sets:
        alike = [dict(other.versions) for other in sets if other.label == release_set.label]
        others = [
            f"{library} {version}"
            for library, version in release_set.versions[1:]
            if any(other.get(library) != version for other in alike)
        ]
        labels.append(", ".join([release_set.label, *others]))
    return labels
