"""The command line: the only module that prints or exits.

Everything heavy is imported inside the commands, so that ``infbench --help`` answers at once.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from infbench import __version__
from infbench.errors import AnswerMismatchError, InfbenchError, InvalidParameterError, MissingMethodError

if TYPE_CHECKING:
    from infbench.measure import Progress
    from infbench.results import Comparison

EXIT_FAILED, EXIT_USAGE, EXIT_MISMATCH, EXIT_INTERRUPTED = 1, 2, 4, 130

_QUICK = {"n_samples": 1_000, "batch_size": 100, "repeat": 9}
_USUAL = {"n_samples": 100_000, "batch_size": None, "repeat": 11}


class _Number(click.ParamType[Any]):
    """An integer, or whatever came: the library says what is allowed, in the same words for everybody."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return int(value) if isinstance(value, str) and re.fullmatch(r"[+-]?\d+", value) else value


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Find out whether multi-process inference pays for a scikit-learn model, by how much, and from which batch on."""


@cli.command()
@click.option("--model", default="random_forest", show_default=True, help="Name of the model.")
@click.option("--data", default="synthetic", show_default=True, help="Name of the data set.")
@click.option(
    "--runner",
    "runners",
    multiple=True,
    default=["process"],
    show_default=True,
    help="How to run on several processes. May be given several times, or as a list with commas.",
)
@click.option("--method", default="predict", show_default=True, help="Method of the model.")
@click.option("--n-samples", type=_Number(), help="Rows to predict. [default: 100000]")
@click.option("--n-features", type=_Number(), help="Columns. [default: those of the data set, 20 synthetic ones]")
@click.option("--n-processes", type=_Number(), help="Processes that compute. [default: the usable CPUs]")
@click.option("--batch-size", type=_Number(), help="Rows of a batch. [default: an even share for each process]")
@click.option("--repeat", type=_Number(), help="Rounds of alternating runs. [default: 11]")
@click.option("--seed", type=_Number(), default=0, show_default=True, help="Seed of the data and the model.")
@click.option("--output", type=click.Path(), help="Write the report there as well.")
@click.option("--json", "json_file", type=click.Path(), help="Write everything that was measured there.")
@click.option("--csv", "csv_file", type=click.Path(), help="Write a row of plain numbers for each runner there.")
@click.option("--markdown", "markdown_file", type=click.Path(), help="Write the report as Markdown there.")
@click.option("--quick", is_flag=True, help="Few rows and rounds, where they are not given: an answer in seconds.")
def compare(
    *,
    runners: Sequence[str],
    output: str | None,
    json_file: str | None,
    csv_file: str | None,
    markdown_file: str | None,
    quick: bool,
    **workload: Any,
) -> None:
    """Measure one process against several, in turn, and report time, speedup and efficiency.

    Exit code 0: fine, 1: failed, 2: wrong usage, 4: a runner's answer differs from the serial one.
    """
    files = {"text": output, "json": json_file, "csv": csv_file, "markdown": markdown_file}
    with _errors_as_exit_codes():
        for path in filter(None, files.values()):
            _check_writable(path)
        for name, value in (_QUICK if quick else _USUAL).items():
            if workload[name] is None:
                workload[name] = value
        names = list(dict.fromkeys(name.strip() for names in runners for name in names.split(",")))
        finished: list[Comparison] = []
        try:
            for comparison in _measure(names, **workload):
                finished.append(comparison)  # noqa: PERF402  # what is finished must be there after an interruption
        except KeyboardInterrupt:
            if finished:
                _deliver(finished, files)
            _fail(EXIT_INTERRUPTED, f"interrupted after {len(finished)} of {len(names)} runners")
        _deliver(finished, files)


@cli.command()
@click.option("--results", default="results", show_default=True, type=click.Path(), help="Where asv keeps its results.")
@click.option("--machine", help="Only this machine.")
@click.option("--model", help="Only this model.")
@click.option("--runner", default="process", show_default=True, help="Only this runner; `all` for all.")
def history(*, results: str, machine: str | None, model: str | None, runner: str) -> None:
    """Print the speedup by library release, from asv's stored results."""
    from infbench.report import history_text

    with _errors_as_exit_codes():
        try:
            from infbench.site.history import load_history
        except ModuleNotFoundError as error:
            from infbench.errors import MissingDependencyError

            raise MissingDependencyError(f"{error.name} is missing: pip install 'infbench[bench]'") from error
        rows = load_history(results)
        for attribute, wanted in (
            ("machine", machine),
            ("model", model),
            ("runner", None if runner == "all" else runner),
        ):
            if wanted is not None:
                known = sorted({getattr(row, attribute) for row in rows})
                rows = [row for row in rows if getattr(row, attribute) == wanted]
                if not rows:
                    raise InvalidParameterError(f"no results of {attribute} {wanted!r}, there are: {', '.join(known)}")
        click.echo(history_text(rows), nl=False)


def _measure(
    runners: Sequence[str],
    *,
    model: str,
    data: str,
    method: str,
    n_samples: Any,
    n_features: Any,
    n_processes: Any,
    batch_size: Any,
    repeat: Any,
    seed: Any,
) -> Iterator[Comparison]:
    """Measure one runner after the other. Everything that can be refused is refused before the first."""
    from infbench.checks import check_positive_int
    from infbench.data import load_data
    from infbench.measure import check_comparable, compare
    from infbench.models import make_model
    from infbench.runners import runner_class

    check_positive_int("n_processes", n_processes, allow_none=True)
    check_positive_int("batch_size", batch_size, allow_none=True)
    check_positive_int("repeat", repeat)
    for name in runners:
        runner_class(name)
    X = load_data(data, n_samples=n_samples, n_features=n_features, random_state=seed)
    estimator = make_model(model, n_features=n_features, random_state=seed, data=data)
    how = {"batch_size": batch_size, "method": method, "repeat": repeat}
    of_each = {name: None if name == "serial" else n_processes for name in runners}
    for name in runners:
        check_comparable(estimator, X, runner=name, n_processes=of_each[name], **how)
    for name in runners:
        with _progress(f"{model}, {name}") as progress:
            yield compare(
                estimator,
                X,
                runner=name,
                n_processes=of_each[name],
                model=model,
                data=data,
                random_state=seed,
                progress=progress,
                **how,
            )


def _deliver(comparisons: list[Comparison], files: dict[str, str | None]) -> None:
    from infbench.report import comparison_csv, comparison_markdown, comparison_text
    from infbench.results import comparisons_to_json

    formats = {
        "text": comparison_text,
        "json": comparisons_to_json,
        "csv": comparison_csv,
        "markdown": comparison_markdown,
    }
    for name, path in files.items():
        if path is not None:
            _write(path, formats[name](comparisons))
    click.echo(comparison_text(comparisons), nl=False)


@contextmanager
def _progress(title: str) -> Iterator[Progress | None]:
    """Show a bar on stderr, if that is a terminal, once the first round tells that it will take a while."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _check_writable(path: str) -> None:
    """Raise unless a file can be written at `path`; nothing there is touched."""
    target = Path(path).resolve()
    if target.is_dir():
        reason = "it is a folder"
    elif not target.parent.is_dir():
        reason = "its folder does not exist"
    elif not os.access(target.parent, os.W_OK) or (target.exists() and not os.access(target, os.W_OK)):
        reason = "permission denied"
    else:
        return
    raise InvalidParameterError(f"cannot write {path}: {reason}")


def _write(path: str, text: str) -> None:
    """Write a file whole or not at all: an interruption leaves the old one as it was."""
    target = Path(path).resolve()
    with tempfile.NamedTemporaryFile("w", dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
        file.write(text)
    mode = target.stat().st_mode if target.exists() else 0o666 & ~_umask()
    written = Path(file.name)
    written.chmod(mode)
    written.replace(target)


def _umask() -> int:
    mask = os.umask(0)  # there is no way to ask without setting
    os.umask(mask)
    return mask


@contextmanager
def _errors_as_exit_codes() -> Iterator[None]:
    """End with a message and an exit code, and without a traceback, where the library raises one of its errors."""
    try:
        yield
    except (InvalidParameterError, MissingMethodError) as error:
        raise click.UsageError(str(error)) from error
    except AnswerMismatchError as error:
        _fail(EXIT_MISMATCH, f"the answers differ, so nothing is reported: {error}")
    except InfbenchError as error:
        _fail(EXIT_FAILED, str(error))


def _fail(exit_code: int, message: str) -> NoReturn:
    click.echo(f"Error: {message}", err=True)
    sys.exit(exit_code)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Parameters
    ----------
    args : sequence of str or None, default=None
        The arguments. None: those of the process.
    """
    try:
        sys.exit(cli.main(args=None if args is None else list(args), prog_name="infbench", standalone_mode=True))
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
