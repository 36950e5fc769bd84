"""All runners side by side, over a grid of models and sizes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain, product
from multiprocessing.connection import Connection
from typing import Any

from infbench.errors import InvalidParameterError, MissingDependencyError
from infbench.results import Comparison, Peer, pooled

MODELS = ("random_forest", "hist_gradient_boosting", "logistic_regression", "mlp", "dummy")
SIZES = ((1_000, 500), (1_000, 100), (10_000, 1_000), (100_000, 1_000), (100_000, 50_000))
"""Rows, and rows of a batch."""

_VISITS = 3
"""In how many parts the rounds are measured, with all other models, runners and sizes between them. Otherwise all
rounds of a runner could fall into the seconds or minutes for which a virtual machine is slow."""

_REFUSALS = (MissingDependencyError, InvalidParameterError)

_ROUND_S = 0.3
"""Seconds that a round takes at least: one round of short calls, 0.06 s, becomes five. That costs little, and a virtual
CPU may change its speed as often as the calls take turns."""

QUICK_MODELS = ("random_forest", "logistic_regression")
QUICK_SIZES = ((1_000, 100), (10_000, 1_000))


def measure_peers(
    models: Sequence[str],
    runners: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    *,
    n_processes: int | None = None,
    repeat: int = 11,
    random_state: int = 0,
) -> Iterator[Peer]:
    """Measure every runner with every model and size, each pair of a runner and a model in a process of its own.

    That process and its workers have one inner thread each. A runner that fails is reported with its problem; the other
    runners, and the sizes with which it does not fail, are measured all the same.

    Parameters
    ----------
    models, runners : sequence of str
        Names.
    sizes : sequence of (int, int)
        n_samples and batch_size. At least one.
    n_processes : int or None, default=None
        As for `infbench.measure.compare`.
    repeat : int, default=11
        Rounds of each size, five times as many for short calls. `visits` tells how they are spread over the whole time.
    random_state : int, default=0

    Yields
    ------
    Peer
        By model, then by runner, in each visit: with all rounds that have been measured so far.
    """
    how = {"n_processes": n_processes, "random_state": random_state}
    parts: dict[tuple[str, str], list[Peer]] = defaultdict(list)
    for n_rounds, (model, runner) in product(visits(repeat), product(models, runners)):
        of_pair = parts[model, runner]
        # What has failed once is not measured again.
        left = [(one.n_samples, one.batch_size) for one in of_pair[-1].comparisons] if of_pair else sizes
        if left:
            of_pair.append(_measure_elsewhere(model, runner, left, {**how, "repeat": n_rounds}))
        yield _put_together(of_pair)


def visits(repeat: int) -> list[int]:
    """Return how many of the rounds are measured in each visit to a runner and a model."""
    return [len(range(visit, repeat, _VISITS)) for visit in range(min(repeat, _VISITS))]


def _put_together(parts: Sequence[Peer]) -> Peer:
    """Return the outcome of several visits."""
    by_size: dict[tuple[int, int], list[Comparison]] = defaultdict(list)
    for one in chain.from_iterable(part.comparisons for part in parts):
        by_size[one.n_samples, one.batch_size].append(one)
    problems = dict.fromkeys(part.problem for part in parts if part.problem)
    return replace(parts[0], comparisons=tuple(map(pooled, by_size.values())), problem="; ".join(problems))


def _measure_elsewhere(model: str, runner: str, sizes: Sequence[tuple[int, int]], how: dict[str, Any]) -> Peer:
    """Measure in a new process, which ends when this one ends, in whatever way."""
    # Not a daemonic process: runners start processes of their own, and a daemonic process may not.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_send_measured, args=(theirs, model, runner, sizes, how))
    with ours:
        process.start()
        theirs.close()
        try:
            measured: Peer = ours.recv()
        except EOFError:
            measured = Peer(model, runner, (), "its process died")
        process.join()
    return measured


def _send_measured(connection: Connection, model: str, runner: str, sizes: Any, how: dict[str, Any]) -> None:
    signal.signal(signal.SIGINT, _interrupt_once)
    threading.Thread(target=_interrupt_at_end_of, args=(connection,), daemon=True).start()
    with suppress(KeyboardInterrupt):
        connection.send(_measure(model, runner, sizes, **how))


def _interrupt_once(*_: Any) -> None:
    """Handle the first Ctrl-C only: it may come from a terminal, and again from the other side during closing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _interrupt_at_end_of(connection: Connection) -> None:
    """Wait until the other side closes the connection, then do what Ctrl-C does."""
    with suppress(EOFError, OSError):
        connection.recv_bytes()
    os.kill(os.getpid(), signal.SIGINT)


def _measure(
    model: str,
    runner: str,
    sizes: Sequence[tuple[int, int]],
    *,
    n_processes: int | None,
    repeat: int,
    random_state: int,
) -> Peer:
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"  # before the libraries are loaded; also for workers that nothing else limits
    from infbench.data import make_data
    from infbench.measure import compare
    from infbench.models import make_model

    estimator = make_model(model, random_state=random_state)
    comparisons: list[Comparison] = []
    problems: dict[tuple[int, int], Exception] = {}
    for n_samples, batch_size in sizes:
        try:
            comparison = compare(
                estimator,
                make_data(n_samples=n_samples, random_state=random_state),
                runner=runner,
                n_processes=n_processes,
                batch_size=batch_size,
                repeat=repeat,
                least_s=repeat * _ROUND_S,
                model=model,
                data="synthetic",
                random_state=random_state,
            )
        except Exception as error:  # noqa: BLE001  # any error is reported, and the other sizes are measured
            problems[n_samples, batch_size] = error
        else:
            comparisons.append(comparison)
    refused = not comparisons and all(isinstance(problem, _REFUSALS) for problem in problems.values())
    return Peer(model, runner, tuple(comparisons), _told(problems, len(sizes)), refused=refused)


def _told(problems: dict[tuple[int, int], Exception], n_sizes: int) -> str:
    """Return what went wrong, and with which sizes, unless it was the same with all."""
    by_text: dict[str, list[str]] = {}
    for (n_samples, batch_size), problem in problems.items():
        text = str(problem) if isinstance(problem, _REFUSALS) else f"{type(problem).__name__}: {problem}"
        by_text.setdefault(text, []).append(f"{n_samples:,} / {batch_size:,}")
    if [len(sizes) for sizes in by_text.values()] == [n_sizes]:
        return next(iter(by_text))
    return "; ".join(f"{', '.join(sizes)}: {text}" for text, sizes in by_text.items())
