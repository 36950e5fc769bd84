"""The command line: the only module that prints or exits.

Everything heavy is imported inside the commands, so that ``infbench --help`` answers at once.
"""

from __future__ import annotations

import errno
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, NoReturn

import click
from click.core import ParameterSource

from infbench import __version__
from infbench.data import DATA, load_data, read_data
from infbench.errors import (
    AnswerMismatchError,
    InfbenchError,
    InvalidParameterError,
    MissingMethodError,
    RunnerError,
    UnknownNameError,
)
from infbench.extras import import_extra
from infbench.models import MODELS, make_model, read_model
from infbench.outputs import check_writable, write_whole
from infbench.runners import RUNNERS, runner_class

if TYPE_CHECKING:
    from infbench.results import Comparison, Peer

    Show = Callable[[str, int], None]  # what is being done, and rounds that are finished

EXIT_FAILED, EXIT_USAGE, EXIT_INCONCLUSIVE, EXIT_MISMATCH, EXIT_INTERRUPTED = 1, 2, 3, 4, 130

_QUICK = {"n_samples": [1_000], "repeat": 9}
_USUAL = {"n_samples": [100_000], "repeat": 11}

_QUICK_S, _USUAL_S = 1.0, 5.0
"""Seconds that the rounds take at least, unless their number is given. A virtual machine may be slow, or fast, for
seconds at a time, and all rounds of a short call would fall into one such period."""

_BAR_AFTER_S = 1.0


def _number(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Any:
    """Return an int, None, or the text itself: the library then says what is allowed, in the same words everywhere."""
    if value is None or value == "None":
        return None
    return int(value) if re.fullmatch(r"[+-]?[0-9]{1,99}", value) else value


def _numbers(context: click.Context, parameter: click.Parameter, value: str | None) -> list[Any]:
    """Return what `_number` returns for each part of a list with commas, without duplicates."""
    parts = [None] if value is None else [part.strip() for part in value.split(",")]
    return list(dict.fromkeys(_number(context, parameter, part) for part in parts))


_number_option = partial(click.option, callback=_number, metavar="INTEGER")

_LIST_HELP = "May be given several times, or as a list with commas."


def _names(values: Sequence[str]) -> list[str]:
    """Return the names without duplicates."""
    return list(dict.fromkeys(name.strip() for value in values for name in value.split(",")))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Find out whether multi-process inference pays for a scikit-learn model, by how much, and from which batch on."""


@cli.command()
@click.option("--model", default="random_forest", show_default=True, help=f"One of {', '.join(MODELS)}.")
@click.option("--data", default="synthetic", show_default=True, help=f"One of {', '.join(DATA)}.")
@click.option(
    "--model-file", type=click.Path(), help="Your own fitted estimator, saved with joblib.dump or pickle.dump."
)
@click.option(
    "--data-file",
    type=click.Path(),
    help="Your own rows: an array saved with numpy.save, or a data frame with joblib.dump. [default: synthetic ones]",
)
@click.option(
    "--runner",
    "runners",
    multiple=True,
    default=["process"],
    show_default=True,
    help=f"How to run on several processes: {', '.join(RUNNERS)}. {_LIST_HELP}",
)
@click.option("--method", default="predict", show_default=True, help="Method of the model.")
@click.option(
    "--n-samples",
    callback=_numbers,
    metavar="INTEGER[,INTEGER...]",
    help="Rows to predict. Several: from how many on does it pay? [default: 100000]",
)
@_number_option("--n-features", help="Columns. [default: those of the data set, 20 synthetic ones]")
@_number_option("--n-processes", help="Processes that compute. [default: the usable CPUs]")
@_number_option("--batch-size", help="Rows of a batch. [default: all rows, or an even share for each process]")
@_number_option("--repeat", help="Rounds of alternating runs. [default: 11, or as many as take 5 s]")
@_number_option("--seed", default="0", show_default=True, help="Seed of the data and the model.")
@click.option("--output", type=click.Path(), help="Write the report there as well.")
@click.option("--json", "json_file", type=click.Path(), help="Write everything that was measured there.")
@click.option("--csv", "csv_file", type=click.Path(), help="Write a row of plain numbers for each runner there.")
@click.option("--markdown", "markdown_file", type=click.Path(), help="Write the report as Markdown there.")
@click.option("--quick", is_flag=True, help="Use few rows and rounds, unless given: an answer in seconds.")
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

    Exit code 0: fine, 1: failed, 2: wrong usage, 4: a runner's answer differs from the serial one, 130: interrupted.
    """
    files = {"text": output, "json": json_file, "csv": csv_file, "markdown": markdown_file}
    given = click.get_current_context().get_parameter_source
    with _errors_as_exit_codes():
        inputs = [workload[file] for file in ("model_file", "data_file") if workload[file] is not None]
        check_writable([path for path in files.values() if path is not None], inputs=inputs)
        defaults = _QUICK if quick else _USUAL
        # Not `is None`: None may have been asked for.
        workload |= {name: value for name, value in defaults.items() if given(name) is ParameterSource.DEFAULT}
        least_s = 0.0
        if given("repeat") is ParameterSource.DEFAULT:
            least_s = _QUICK_S if quick else _USUAL_S
        for file, name in (("model_file", "model"), ("data_file", "data")):
            if workload[file] is not None and given(name) is not ParameterSource.DEFAULT:
                raise InvalidParameterError(f"either --{name} or --{name}-file may be given, got both")
        if workload["data_file"] is not None and given("n_samples") is ParameterSource.DEFAULT and not quick:
            workload["n_samples"] = [None]  # those of the file
        names = _names(runners)
        finished: list[Comparison] = []
        try:
            for comparison in _measure(names, least_s=least_s, **workload):
                finished.append(comparison)  # noqa: PERF402  # what is finished must survive an interruption
        except (KeyboardInterrupt, RunnerError):
            if finished:
                _deliver_comparisons(finished, files)
                n_wanted = len(names) * len(workload["n_samples"])
                click.echo(f"Only {len(finished)} of {n_wanted} measurements were finished.", err=True)
            raise
        _deliver_comparisons(finished, files)


@cli.command()
@click.option("--model", "models", multiple=True, help=f"Name of a model. {_LIST_HELP} [default: five]")
@click.option("--runner", "runners", multiple=True, help=f"Name of a runner. {_LIST_HELP} [default: all]")
@click.option(
    "--size", "sizes", multiple=True, metavar="N_SAMPLES:BATCH_SIZE", help="May be given several times. [default: five]"
)
@_number_option("--n-processes", help="Processes that compute. [default: the usable CPUs]")
@_number_option("--repeat", help="Rounds of alternating runs, more if they are short. [default: 11]")
@_number_option("--seed", default="0", show_default=True, help="Seed of the data and the models.")
@click.option("--json", "json_file", type=click.Path(), help="Write everything that was measured there.")
@click.option("--csv", "csv_file", type=click.Path(), help="Write a row of plain numbers for each cell there.")
@click.option("--markdown", "markdown_file", type=click.Path(), help="Write the tables as Markdown there.")
@click.option("--quick", is_flag=True, help="Few models, sizes and rounds, unless given.")
def peers(
    *,
    models: Sequence[str],
    runners: Sequence[str],
    sizes: Sequence[str],
    n_processes: Any,
    repeat: Any,
    seed: Any,
    json_file: str | None,
    csv_file: str | None,
    markdown_file: str | None,
    quick: bool,
) -> None:
    """Measure every runner with every model and size, and print the tables.

    Each pair of a runner and a model has its own process, with one inner thread everywhere. All pairs are visited three
    times, for a third of the rounds, so that a slow minute of the machine does not hit all rounds of a runner.

    Exit code 0: fine, 1: a runner failed, or none could be measured, 2: wrong usage, 130: interrupted.
    """
    with _errors_as_exit_codes():
        from infbench.checks import check_positive_int, check_random_state
        from infbench.peers import MODELS as USUAL_MODELS
        from infbench.peers import QUICK_MODELS, QUICK_SIZES, SIZES, measure_peers, visits
        from infbench.report import comparison_csv
        from infbench.report_peers import peers_markdown, peers_text
        from infbench.results import comparisons_to_json

        check_writable([path for path in (json_file, csv_file, markdown_file) if path is not None])
        if repeat is None:
            repeat = 9 if quick else 11
        check_positive_int("n_processes", n_processes, allow_none=True)
        check_positive_int("repeat", repeat)
        check_random_state(seed)
        models = _names(models) or (QUICK_MODELS if quick else USUAL_MODELS)
        runners = _names(runners) or [name for name in RUNNERS if name != "serial"]
        grid = [_size(size) for size in sizes] or (QUICK_SIZES if quick else SIZES)
        _check_models(models)
        for name in runners:
            runner_class(name)
        measured: dict[tuple[str, str], Peer] = {}
        try:
            with _progress("start", len(models) * len(runners) * len(visits(repeat))) as show:
                how = {"n_processes": n_processes, "repeat": repeat, "random_state": seed}
                for n_done, peer in enumerate(measure_peers(models, runners, grid, **how), start=1):
                    measured[peer.model, peer.runner] = peer
                    show(f"{peer.model}, {peer.runner}", n_done)
        finally:
            finished = list(measured.values())
            comparisons = [comparison for peer in finished for comparison in peer.comparisons]
            if comparisons:
                _deliver(
                    peers_text(finished),
                    (json_file, lambda: comparisons_to_json(comparisons)),
                    (csv_file, lambda: comparison_csv(comparisons)),
                    (markdown_file, lambda: peers_markdown(finished)),
                )
        if not comparisons:
            reasons = [f"{peer.runner} with {peer.model}: {peer.problem}" for peer in finished]
            raise RunnerError("\n".join(["nothing was measured", *reasons]))
        failed = [f"{peer.runner} with {peer.model}" for peer in finished if peer.problem and not peer.refused]
        if failed:
            raise RunnerError(f"failed: {', '.join(failed)}")


@cli.command()
@click.option("--base", required=True, metavar="REV", help="The commit to measure against.")
@click.option("--model", "models", multiple=True, help=f"Name of a model. {_LIST_HELP} [default: three]")
@click.option("--runner", default="process", show_default=True, help="Name of a runner.")
@_number_option("--n-processes", default="2", show_default=True, help="Processes that compute.")
@_number_option("--turns", default="9", show_default=True, help="Turns, each of which starts both sides afresh.")
@click.option("--markdown", "markdown_file", type=click.Path(), help="Write the table there as well.")
def gate(
    *, base: str, models: Sequence[str], runner: str, n_processes: Any, turns: Any, markdown_file: str | None
) -> None:
    """Measure the working tree against a commit, in turn, and print what became worse.

    Exit code 0: nothing is worse, 1: something is, or it failed, 2: wrong usage, 3: inconclusive, 130: interrupted.
    """
    with _errors_as_exit_codes():
        from infbench.checks import check_positive_int
        from infbench.gate import MODELS as USUAL_MODELS
        from infbench.gate import run_gate
        from infbench.report_gate import gate_markdown

        check_writable([markdown_file] if markdown_file else [])
        check_positive_int("n_processes", n_processes)
        check_positive_int("turns", turns)
        runner_class(runner)
        models = _names(models) or USUAL_MODELS
        _check_models(models)
        how = {"runner": runner, "n_processes": n_processes, "turns": turns}
        with _progress(f"measure against {base}", turns) as show:
            progress = _showing(show, f"measure against {base}", 0, turns)
            rows = run_gate(base, models=models, progress=progress, **how)
        report = gate_markdown(rows, base)
        _deliver(report, (markdown_file, lambda: report))
        verdicts = {row.verdict for row in rows}
    if "worse" in verdicts:
        sys.exit(EXIT_FAILED)
    if "inconclusive" in verdicts:
        sys.exit(EXIT_INCONCLUSIVE)


@cli.command()
@click.option("--check", is_flag=True, help="Exit with 1 if there is a release set to be added.")
@click.option("--add", is_flag=True, help="Add it to the configuration.")
@click.option("--config", default="asv.conf.json", show_default=True, type=click.Path(), help="asv's configuration.")
def releases(*, check: bool, add: bool, config: str) -> None:
    """Ask the package index for newer releases than those of asv.conf.json, and print the entry to be added.

    Exit code 0: fine, 1: failed, or with --check, there is a newer release; 2: wrong usage.
    """
    with _errors_as_exit_codes():
        release_sets = import_extra("infbench.site.releases", "bench")
        newer = release_sets.newer_release_set(config)
        if add and newer is not None:
            release_sets.add_release_set(config, newer)
        click.echo("No newer release that works with the Python of the newest set." if newer is None else newer)
    if check and newer is not None:
        sys.exit(EXIT_FAILED)


@cli.command()
@click.option("--results", default="results", show_default=True, type=click.Path(), help="Where asv keeps its results.")
@click.option("--machine", help="Only this machine.")
@click.option("--model", help="Only this model.")
@click.option("--runner", default="process", show_default=True, help="Only this runner; `all` for all.")
def history(*, results: str, machine: str | None, model: str | None, runner: str) -> None:
    """Print the speedup by library release, from asv's stored results."""
    with _errors_as_exit_codes():
        from infbench.report_history import history_text

        rows = import_extra("infbench.site.history", "bench").load_history(results)
        for attribute, wanted in (
            ("machine", machine),
            ("model", model),
            ("runner", None if runner == "all" else runner),
        ):
            if wanted is not None:
                known = sorted({getattr(row, attribute) for row in rows})
                # A machine's name is followed by its CPUs if it was measured with several kinds of them.
                rows = [row for row in rows if f"{getattr(row, attribute)} (".startswith(f"{wanted} (")]
                if not rows:
                    raise InvalidParameterError(f"no results of {attribute} {wanted!r}, there are: {', '.join(known)}")
        click.echo(history_text(rows), nl=False)


def _measure(
    runners: Sequence[str],
    *,
    model: str,
    data: str,
    model_file: str | None,
    data_file: str | None,
    method: str,
    n_samples: list[Any],
    n_features: Any,
    n_processes: Any,
    batch_size: Any,
    repeat: Any,
    seed: Any,
    least_s: float,
) -> Iterator[Comparison]:
    """Measure one runner after the other, each with every number of rows.

    Everything that can be refused is refused before the first measurement.
    """
    from infbench.checks import check_positive_int, check_random_state
    from infbench.measure import check_comparable, compare
    from infbench.runners.batches import take

    for number in n_samples:
        check_positive_int("n_samples", number, allow_none=len(n_samples) == 1)
    most = n_samples[0] if len(n_samples) == 1 else max(n_samples)
    check_positive_int("n_processes", n_processes, allow_none=True)
    check_positive_int("batch_size", batch_size, allow_none=True)
    check_positive_int("repeat", repeat)
    check_random_state(seed)
    for name in runners:
        runner_class(name)
    if model_file is None:
        _check_models([model])
    n_rounds = repeat * len(runners) * len(n_samples)
    with _progress(f"fit {model}" if model_file is None else f"load {model_file}", n_rounds) as show:
        estimator = None if model_file is None else read_model(model_file)
        if data_file is None:
            n_columns = getattr(estimator, "n_features_in_", None) if n_features is None else n_features
            X = load_data(data, n_samples=most, n_features=n_columns, random_state=seed)
        else:
            X = read_data(data_file, n_samples=most)
            if n_features not in (None, X.shape[1]):
                raise InvalidParameterError(f"n_features must be {X.shape[1]}, as in {data_file}, got {n_features!r}")
        if estimator is None:
            fit_on = data if data_file is None else "synthetic"
            estimator = make_model(model, n_features=X.shape[1], random_state=seed, data=fit_on)
        how = {"batch_size": batch_size, "method": method, "repeat": repeat}
        of_each = {name: None if name == "serial" else n_processes for name in runners}
        try:
            for name in runners:
                check_comparable(estimator, X, runner=name, n_processes=of_each[name], **how)
        except InfbenchError:
            raise
        except ValueError as error:  # NotFittedError of scikit-learn, which need not be loaded for other estimators
            raise InvalidParameterError(str(error)) from error
        for position, (name, number) in enumerate(product(runners, n_samples)):
            what = name if len(n_samples) == 1 else f"{name}, {number:,} rows"
            show(f"start {what}", position * repeat)
            try:
                comparison = compare(
                    estimator,
                    take(X, 0, len(X) if number is None else number),
                    runner=name,
                    n_processes=of_each[name],
                    model=model_file or model,
                    data=data_file or data,
                    random_state=seed,
                    progress=_showing(show, f"measure {what}", position * repeat, repeat),
                    least_s=least_s,
                    **how,
                )
            except AnswerMismatchError as error:
                raise AnswerMismatchError(f"{what}: {error}") from error
            except RunnerError as error:
                raise RunnerError(f"{what}: {error}") from error
            except InfbenchError:
                raise
            except Exception as error:  # whatever an estimator may raise
                raise RunnerError(f"{what} with {model_file or model}: {type(error).__name__}: {error}") from error
            yield comparison


def _showing(show: Show, what: str, finished_before: int, wanted: int) -> Callable[[int, int], None]:
    """Return a function that shows finished rounds, scaled to the number wanted: there may be more than that."""
    return lambda finished, total: show(what, finished_before + wanted * finished // total)


def _deliver_comparisons(comparisons: list[Comparison], files: dict[str, str | None]) -> None:
    from infbench.report import comparison_csv, comparison_markdown, comparison_text
    from infbench.report_sizes import sizes_markdown, sizes_text
    from infbench.results import comparisons_to_json

    several = len({comparison.n_samples for comparison in comparisons}) > 1
    report = (sizes_text if several else comparison_text)(comparisons)
    _deliver(
        report,
        (files["text"], lambda: report),
        (files["json"], lambda: comparisons_to_json(comparisons)),
        (files["csv"], lambda: comparison_csv(comparisons)),
        (files["markdown"], lambda: (sizes_markdown if several else comparison_markdown)(comparisons)),
    )


def _deliver(report: str, *files: tuple[str | None, Callable[[], str]]) -> None:
    """Write the files, then print the report: a full disk must not prevent the report, nor a closed pipe the files."""
    failures = []
    for path, text in files:
        try:
            if path is not None:
                write_whole(path, text())
        except OSError as error:
            failures.append(f"cannot write {path}: {error.strerror}")
    click.echo(report, nl=False)
    if failures:
        raise InfbenchError("; ".join(failures))


def _check_models(names: Sequence[str]) -> None:
    for name in names:
        if name not in MODELS:
            raise UnknownNameError("model", name, MODELS)


def _size(text: str) -> tuple[int, int]:
    """Return n_samples and batch_size of ``"N_SAMPLES:BATCH_SIZE"``."""
    match = re.fullmatch(r"([1-9][0-9]{0,11}):([1-9][0-9]{0,11})", text)
    if match is None:
        raise InvalidParameterError(f"--size must be N_SAMPLES:BATCH_SIZE, two positive ints, got {text!r}")
    return int(match[1]), int(match[2])


@contextmanager
def _progress(what: str, total: int) -> Iterator[Show]:
    """Show a bar on stderr, if that is a terminal and it takes longer than a second."""
    if not sys.stderr.isatty():
        yield lambda _what, _finished: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # It is drawn between rounds only: a thread that draws all the time would slow down what is being timed.
    bar = Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False)
    task = bar.add_task(what, total=total)
    begin = threading.Timer(_BAR_AFTER_S, bar.start)
    begin.daemon = True
    begin.start()
    try:
        yield lambda what, finished: bar.update(task, description=what, completed=finished, refresh=True)
    finally:
        begin.cancel()
        begin.join()
        bar.stop()


@contextmanager
def _errors_as_exit_codes() -> Iterator[None]:
    """End with a message and an exit code, without a traceback, if the library raises one of its errors.

    SIGTERM, with which CI, systemd and others end a job, acts as Ctrl-C does: processes end, and finished measurements
    are reported.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except (InvalidParameterError, MissingMethodError) as error:
        raise click.UsageError(str(error)) from error
    except AnswerMismatchError as error:
        _fail(EXIT_MISMATCH, f"the answers differ, so nothing is reported: {error}")
    except InfbenchError as error:
        _fail(EXIT_FAILED, str(error))
    except MemoryError as error:
        _fail(EXIT_FAILED, f"not enough memory: {error}")
    except KeyboardInterrupt:
        _fail(EXIT_INTERRUPTED, "interrupted")
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise  # nobody reads the output any more: click then ends quietly
        _fail(EXIT_FAILED, str(error))
    finally:
        signal.signal(signal.SIGTERM, before)


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
    cli.main(args=None if args is None else list(args), prog_name="infbench")
