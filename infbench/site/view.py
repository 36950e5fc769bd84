"""One computer's part of the speedup page, model by model: what its charts and tables show, and say."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isinf
from typing import Any

from infbench.site import words
from infbench.site.changes import Quantity, Step, compare
from infbench.site.points import BASELINE, SUITE_RUNNER, Key, Measured, Point, Workload, points_of
from infbench.site.repeats import Repeats
from infbench.site.stored import COST_RATIO, DISPATCH, MEMORY, SCALING, SIZES, START_UP, Figure, ReleaseSet, Run
from infbench.stats import MIN_COUNTS, Estimate, fit_scaling

SCALING_WORKLOAD = (4_000, 250)
"""Rows and batch size of the scaling suite, which does not have them as parameters."""

_START_METHOD = "forkserver"
"""The start method that the runner of the start-up suite uses by default."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Index:
    """Positions of release sets and commits in the catalog, and its labels of release sets."""

    sets: dict[ReleaseSet, int]
    labels: dict[ReleaseSet, str]
    commits: dict[str, int]


class View:
    """One computer's results, model by model.

    Parameters
    ----------
    index : Index
    measured : sequence of Measured
        Of that computer only, in the order of the history.
    steps : sequence of Step
        Of that computer only.
    """

    def __init__(self, index: Index, measured: Sequence[Measured], steps: Sequence[Step]) -> None:
        self._index = index
        self._repeats = Repeats(measured)
        self._history: dict[Key, list[Measured]] = defaultdict(list)
        # The newest value of each figure counts: a run that failed, or ran only some suites, hides no older figure.
        newest: dict[ReleaseSet, Run] = {}
        for one in measured:
            older = newest.get(one.run.release_set)
            figures = one.run.figures if older is None else {**older.figures, **one.run.figures}
            newest[one.run.release_set] = replace(one.run, figures=figures)
            for key in one.points:
                self._history[key].append(one)
        self._figures = {release_set: run.figures for release_set, run in newest.items()}
        self._points = {release_set: points_of(run) for release_set, run in newest.items()}
        self._steps: dict[tuple[Any, str], list[Step]] = defaultdict(list)
        for step in steps:
            # A step of the serial time belongs to every runner, with every number of processes.
            about = step.workload.of_one_process if step.runner == BASELINE else (step.workload, step.runner)
            self._steps[about, step.kind].append(step)

    def of_model(self, model: str) -> Json:
        """Return the part of a model."""
        keys = sorted(key for key in self._history if key[0].model == model)
        sets = sorted(self._points)
        return {
            "combinations": [self._combination(key) for key in keys],
            "verdicts": [entry for one in sets for entry in self._verdicts(model, one)],
            "maps": [entry for one in sets for entry in self._maps(model, one)],
            "runners": [entry for one in sets for entry in self._runners(model, one)],
            "scaling": [entry for one in sets for entry in self._scaling(model, one)],
            "notes": {self._index.sets[one]: _runner_notes(self._figures[one]) for one in sets},
        }

    def overview(self, model: str) -> Json:
        """Return the verdict on a model's newest release set, for the workload and runner that the page shows first."""
        # Of otherwise equal ones, the one that was measured most often has the most to tell.
        workload, runner = max(
            (key for key in self._history if key[0].model == model),
            key=lambda key: (
                self._newest_set(key),
                self._history[key][-1].points[key].paired,
                key[1] == SUITE_RUNNER,
                len(self._history[key]),
                key[0][1:],
            ),
        )
        newest = self._newest_set((workload, runner))
        at = {
            "model": model,
            "rows": workload.n_samples,
            "batch": workload.batch_size,
            "runner": runner,
            "processes": workload.n_processes,
            "set": self._index.sets[newest],
        }
        points = self._along_rows(newest, workload, runner)
        if not points:
            return at
        found = words.verdict(runner, workload.n_processes, workload.batch_size, points)
        speedup = points[found.best].speedup
        assert speedup is not None
        return at | {
            "answer": found.answer,
            "start": found.start,
            "fewest": found.fewest,
            "speedup": with_bounds(speedup),
            "efficiency": words.per_process(speedup, workload.n_processes),
        }

    def _newest_set(self, key: Key) -> ReleaseSet:
        return max(one.run.release_set for one in self._history[key])

    def _combination(self, key: Key) -> Json:
        workload, runner = key
        members = self._history[key]
        steps = self._told_steps(key)
        compared = _commit_to_compare(members)
        position_of = list(enumerate(members))
        by_set = {one.run.release_set: position for position, one in position_of}
        by_set |= {one.run.release_set: position for position, one in position_of if one.run.commit == compared}
        ordered = sorted(by_set)
        missing = [label for one, label in self._index.labels.items() if one in self._points and one not in by_set]
        paired = any(one.points[key].paired for one in members)
        labels = self._index.labels
        say = [words.changes_sentence(steps["release"], "release", labels, n_shown=len(ordered), paired=paired)]
        if missing:
            say.append(f"Not measured with {words.listed(missing)}.")
        of_commits = {}
        for release_set in ordered:
            of_set = [step for step in steps["commit"] if step.release_sets[1] == release_set]
            n_shown = sum(one.run.release_set == release_set for one in members)
            told = words.changes_sentence(of_set, "commit", labels, n_shown=n_shown, paired=paired)
            of_commits[self._index.sets[release_set]] = told
        return {
            "rows": workload.n_samples,
            "batch": workload.batch_size,
            "runner": runner,
            "processes": workload.n_processes,
            "history": [
                [self._index.sets[one.run.release_set], self._index.commits[one.run.commit], *_row(one.points[key])]
                for one in members
            ],
            "releases": [by_set[release_set] for release_set in ordered],
            "say_releases": " ".join(say),
            "say_commits": of_commits,
        }

    def _told_steps(self, key: Key) -> dict[str, list[Step]]:
        """Return the steps of a runner, and those of the serial time, by kind, the largest first."""
        return {
            kind: sorted(self._steps[key, kind] + self._steps[key[0].of_one_process, kind], key=lambda step: -step.size)
            for kind in ("release", "commit")
        }

    def _along_rows(self, release_set: ReleaseSet, workload: Workload, runner: str) -> dict[int, Point]:
        return {
            other.n_samples: point
            for (other, name), point in sorted(self._points[release_set].items())
            if name == runner and other._replace(n_samples=workload.n_samples) == workload and point.speedup is not None
        }

    def _verdicts(self, model: str, release_set: ReleaseSet) -> Iterator[Json]:
        seen = set()
        for workload, runner in sorted(self._points[release_set]):
            about = (workload.batch_size, runner, workload.n_processes)
            points = self._along_rows(release_set, workload, runner)
            if workload.model != model or about in seen or not points:
                continue
            seen.add(about)
            found = words.verdict(runner, workload.n_processes, workload.batch_size, points)
            paired = [n_samples for n_samples, point in points.items() if point.paired]
            text = self._since((workload._replace(n_samples=max(paired)), runner), release_set) if paired else ""
            yield {
                "batch": workload.batch_size,
                "runner": runner,
                "processes": workload.n_processes,
                "set": self._index.sets[release_set],
                "answer": found.answer,
                "text": found.text,
                "of_rows": {
                    n_samples: words.of_size(n_samples, point)
                    for n_samples, point in points.items()
                    if n_samples != found.best
                },
                "since": text,
            }

    def _since(self, key: Key, release_set: ReleaseSet) -> str:
        """Say what changed from the oldest release set to this one, and which step was the largest."""
        members = self._history[key]
        newest = [one for one in members if one.run.release_set == release_set]
        older = [one for one in members if one.run.release_set < release_set]
        if not older:
            return ""
        oldest = min(one.run.release_set for one in older)
        before = {one.run.commit: one for one in older if one.run.release_set == oldest}
        common = [one for one in newest if one.run.commit in before]
        if not common:
            return ""
        ends = before[common[-1].run.commit], common[-1]
        steps = [compare(*ends, key, quantity, self._repeats) for quantity in Quantity]
        labels = self._index.labels
        release = f"scikit-learn {labels[oldest]}"
        told = words.since([step for step in steps if step is not None], release, key[0].n_samples)
        changes = [step for step in self._told_steps(key)["release"] if step.is_change]
        changes = [step for step in changes if step.release_sets[1] <= release_set]
        if changes:
            told += f" The largest step between neighbours came with {words.end_of(changes[0], labels)}: "
            told += f"{words.outcome_of(changes[0])}."
        return told

    def _maps(self, model: str, release_set: ReleaseSet) -> Iterator[Json]:
        of_runner: dict[tuple[str, int], dict[tuple[int, int], Point]] = defaultdict(dict)
        for (workload, runner), point in sorted(self._points[release_set].items()):
            if workload.model == model and point.speedup is not None:
                of_runner[runner, workload.n_processes][workload.n_samples, workload.batch_size] = point
        for (runner, n_processes), points in of_runner.items():
            cells = []
            for (n_samples, batch_size), point in points.items():
                assert point.speedup is not None
                cells.append(
                    {
                        "rows": n_samples,
                        "batch": batch_size,
                        "efficiency": words.per_process(point.speedup, n_processes),
                        "speedup": with_bounds(point.speedup),
                        "paired": point.paired,
                        "wins": words.wins(point),
                    }
                )
            yield {
                "runner": runner,
                "processes": n_processes,
                "set": self._index.sets[release_set],
                "cells": cells,
                "say": words.batches(points, n_processes),
            }

    def _runners(self, model: str, release_set: ReleaseSet) -> Iterator[Json]:
        of_workload: dict[Workload, dict[str, Point]] = defaultdict(dict)
        for (workload, runner), point in self._points[release_set].items():
            if workload.model == model:
                of_workload[workload][runner] = point
        figures = self._figures[release_set]
        for workload, points in sorted(of_workload.items()):
            serial = next((point.serial for point in points.values() if point.serial is not None), None)
            baseline = Point(serial, serial, None, None, paired=False)
            rows = []
            for runner, point in {BASELINE: baseline, **points}.items():
                start_up = figures.get((START_UP, _START_METHOD)) if runner == SUITE_RUNNER else None
                efficiency = None if point.speedup is None else words.per_process(point.speedup, workload.n_processes)
                rows.append(
                    {
                        "runner": runner,
                        "time": with_bounds(point.parallel),
                        "speedup": with_bounds(point.speedup),
                        "efficiency": efficiency,
                        "paired": point.paired,
                        "per_call": _figure_of(figures.get((DISPATCH, runner))),
                        "start_up": _figure_of(start_up),
                        "memory": _figure_of(figures.get((MEMORY, model, runner))),
                    }
                )
            yield {
                "rows": workload.n_samples,
                "batch": workload.batch_size,
                "processes": workload.n_processes,
                "set": self._index.sets[release_set],
                "runners": rows,
                "say": words.runners(points),
            }

    def _scaling(self, model: str, release_set: ReleaseSet) -> Iterator[Json]:
        of_workload: dict[tuple[str, int, int], dict[int, tuple[Estimate, Figure | None]]] = defaultdict(dict)
        for (workload, runner), point in sorted(self._points[release_set].items()):
            if workload.model == model and point.paired and point.speedup is not None:
                at = (runner, workload.n_samples, workload.batch_size)
                figures = self._figures[release_set]
                figure = figures.get((COST_RATIO, model, runner, *workload[1:])) or figures.get((SIZES, *workload))
                of_workload[at][workload.n_processes] = point.speedup, figure
        own: dict[int, tuple[Estimate, Figure | None]] = {
            key[2]: (figure.estimate.inverse(), figure)
            for key, figure in self._figures[release_set].items()
            if key[:2] == (SCALING, model)
        }
        if own:
            at = (SUITE_RUNNER, *SCALING_WORKLOAD)
            of_workload[at] = {**own, **of_workload[at]}
        for (runner, n_samples, batch_size), counts in of_workload.items():
            if len(counts) < 2:
                continue
            speedups = {n_processes: speedup for n_processes, (speedup, _) in sorted(counts.items())}
            samples = {n: figure.samples for n, (_, figure) in sorted(counts.items()) if figure and figure.samples}
            recorded = len(samples) == len(counts)
            amdahl, usl = (
                fit_scaling(samples, coherency=coherency, confidence=0.99)
                if recorded and len(samples) >= MIN_COUNTS
                else None
                for coherency in (False, True)
            )
            yield {
                "runner": runner,
                "rows": n_samples,
                "batch": batch_size,
                "set": self._index.sets[release_set],
                "points": [[n, with_bounds(speedup)] for n, speedup in speedups.items()],
                "laws": {
                    name: [[n, with_bounds(speedup)] for n, speedup in law.curve]
                    for name, law in (("Amdahl", amdahl), ("USL", usl))
                    if law is not None
                },
                "say": words.scaling(speedups, amdahl, usl, recorded=recorded),
            }


def _commit_to_compare(members: Sequence[Measured]) -> str:
    """Return the newest of the commits that were measured with the most release sets, so that only libraries differ."""
    n_sets = Counter(one.run.commit for one in members)
    position = {one.run.commit: index for index, one in enumerate(members)}
    return max(n_sets, key=lambda commit: (n_sets[commit], position[commit]))


def _runner_notes(figures: Mapping[tuple[Any, ...], Figure]) -> str:
    started = [f"{key[1]} {words.duration(figure.estimate)}" for key, figure in figures.items() if key[0] == START_UP]
    notes = ["Per call: seconds for two batches of a model that costs nothing."]
    notes.append(
        f"Start-up: from nothing to the first answer, measured for {SUITE_RUNNER}, by start method: "
        f"{words.listed(started)}."
        if started
        else "Start-up was not measured."
    )
    models = dict.fromkeys(key[1] for key in figures if key[0] == MEMORY)
    notes.append(
        f"Memory: the caller and all its descendants, each page shared by n processes counted as 1/n; measured with "
        f"{words.listed(list(models))} only."
        if models
        else "Memory was not measured."
    )
    return " ".join(notes)


def _row(point: Point) -> list[Any]:
    """Return a point as a list, and not by name: there is one for each workload, runner and run."""
    figures = [with_bounds(one) for one in (point.serial, point.parallel, point.speedup, point.noise_floor)]
    return [*figures, int(point.paired)]


def with_bounds(estimate: Estimate | None) -> list[float | None] | None:
    """Return a value and its bounds, as the page has them; None for each bound if nothing is known about them."""
    return None if estimate is None else [rounded(value) for value in (estimate.value, *estimate.bounds)]


def _figure_of(figure: Figure | None) -> list[float | None] | None:
    return None if figure is None else with_bounds(figure.estimate)


def rounded(value: float | None) -> float | None:
    """Return a figure with the digits that the page has; None if it is unknown or infinite."""
    return None if value is None or isinf(value) else words.four_digits(value)
