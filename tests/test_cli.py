"""The command line, run as its users run it."""

from __future__ import annotations

import csv
import json
import os
import pickle
import pty
import re
import select
import shlex
import signal
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import psutil
import pytest
from estimators import Fitted
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeRegressor

from infbench.report import comparison_csv, comparison_markdown, comparison_text
from infbench.report_sizes import sizes_markdown, sizes_text
from infbench.results import comparisons_from_json

ROOT = Path(__file__).parents[1]

SIZES = ["--n-samples", "400", "--batch-size", "50", "--n-processes", "2", "--repeat", "3"]


def environ(*folders):
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*folders, ROOT, ROOT / "tests"])), "TERM": "xterm"}


def infbench(*args, cwd):
    command = [sys.executable, "-m", "infbench", *map(str, args)]
    return subprocess.run(command, cwd=cwd, env=environ(), capture_output=True, text=True)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Return the arguments of a small comparison. Its model needs only numpy, so that programs start sooner."""
    file = tmp_path_factory.mktemp("models") / "fitted.joblib"
    joblib.dump(Fitted(), file)
    return ["compare", "--model-file", str(file), *SIZES]


@pytest.fixture(scope="module")
def long(small):
    """Return the arguments of a comparison that is long enough to be seen, and to be stopped."""
    # Each turn lasts at least 10 ms; a round has at least three turns, and two pauses of 50 ms on top. So even on the
    # fastest machine, this takes longer than the second after which the bar appears.
    sizes = ["--n-samples", "200", "--batch-size", "100", "--n-processes", "2", "--repeat", "12"]
    return [*small, *sizes]


def content(folder):
    """Return the names of all files, hidden ones too, and what is in them."""
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Run a small comparison of two runners that writes all files; one of them was there before."""
    folder = tmp_path_factory.mktemp("written")
    (folder / "old.txt").write_text("old\n" * 10_000)
    (folder / "old.txt").chmod(0o640)
    files = ["--output", "old.txt", "--json", "new.json", "--csv", "new.csv", "--markdown", "new.md"]
    runners = ["--runner", "process", "--runner", "threads,process"]
    model = ["--model", "logistic_regression", "--seed", 5]
    return folder, infbench("compare", *model, *SIZES, *runners, *files, cwd=folder)


def test_a_comparison_is_printed_and_nothing_else(written):
    _, run = written
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    assert [line.split()[:2] for line in run.stdout.splitlines() if re.match(r"(process|threads)  ", line)][:2] == [
        ["process", "2"],
        ["threads", "2"],
    ]
    assert re.search(r"^(It pays|It does not pay|Inconclusive): process with n_processes=2 is ", run.stdout)
    conditions = dict(line.split(":", 1) for line in run.stdout.split("\n\n")[-1].splitlines())
    wanted = {
        "model": "logistic_regression",
        "method": "predict",
        "data": "synthetic",
        "n_samples": "400",
        "n_features": "20",
        "n_processes": "2",
        "batch_size": "50",
        "repeat": "3",
        "seed": "5",
    }
    assert {name: conditions[name].strip() for name in wanted} == wanted


def test_all_files_tell_the_same(written):
    folder, run = written
    comparisons = comparisons_from_json((folder / "new.json").read_text())
    assert [comparison.runner for comparison in comparisons] == ["process", "threads"]
    assert (folder / "old.txt").read_text() == comparison_text(comparisons) == run.stdout
    assert (folder / "new.csv").read_text() == comparison_csv(comparisons)
    assert (folder / "new.md").read_text() == comparison_markdown(comparisons)
    assert set(content(folder)) == {"old.txt", "new.json", "new.csv", "new.md"}


def test_figures_of_csv_follow_from_the_durations_in_json(written):
    folder, _ = written
    with open(folder / "new.csv", encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    stored = json.loads((folder / "new.json").read_text())["comparisons"]
    for row, one in zip(rows, stored, strict=True):
        ratios = sorted(a / b for a, b in zip(one["serial_s"], one["parallel_s"], strict=True))
        assert float(row["speedup"]) == one["derived"]["speedup"] == ratios[1]
        assert float(row["efficiency"]) == one["derived"]["efficiency"] == ratios[1] / 2
        assert float(row["serial_s"]) == sorted(one["serial_s"])[1]
        assert float(row["rows_per_s"]) == 400 / sorted(one["parallel_s"])[1]


def test_files_get_the_permissions_of_any_other_file(written):
    folder, _ = written
    (folder / "any").touch()
    assert stat.S_IMODE((folder / "new.csv").stat().st_mode) == stat.S_IMODE((folder / "any").stat().st_mode)
    assert stat.S_IMODE((folder / "old.txt").stat().st_mode) == 0o640
    (folder / "any").unlink()


# Runs the real `main` for many lists of arguments in one process, which spares loading scikit-learn each time, and
# tells at the end whether any of them started a process: one that lives, or one that has been waited for.
REFUSALS = """
import contextlib, io, json, resource, sys
import psutil
from infbench.cli import main

answers = []
for args in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(args)
        except SystemExit as end:
            code = end.code
    answers.append([code, out.getvalue(), err.getvalue()])
children = len(psutil.Process().children()) + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps([answers, children]))
"""

POSITIVE_OR_NONE = {
    f"--{name} {value}": f"{name.replace('-', '_')} must be a positive int or None, got {got}"
    for name in ("n-processes", "batch-size")
    for value, got in {
        "0": "0",
        "-1": "-1",
        "True": "'True'",
        "2.0": "'2.0'",
        "1e3": "'1e3'",
        "'2 x'": "'2 x'",
        "''": "''",
        "２": "'２'",  # noqa: RUF001  # int() would take this digit
    }.items()
}
REFUSED = POSITIVE_OR_NONE | {
    "--n-samples 0": "n_samples must be a positive int or None, got 0",
    "--n-features 2.5": "n_features must be a positive int or None, got '2.5'",
    "--repeat 0": "repeat must be a positive int, got 0",
    "--repeat None": "repeat must be a positive int, got None",
    "--seed -1": "random_state must be an int from 0 to 4294967295, got -1",
    "--seed now": "random_state must be an int from 0 to 4294967295, got 'now'",
    "--model forrest": "unknown model 'forrest', allowed: random_forest, extra_trees, hist_gradient_boosting, "
    "logistic_regression, mlp, k_neighbors, svc, pipeline, dummy",
    "--data iris": "unknown data set 'iris', allowed: synthetic, digits, breast_cancer, wine, diabetes",
    "--data wine --n-features 20": "n_features of wine must be 13 or None, got 20",
    "--runner gpu": "unknown runner 'gpu', allowed: serial, process, forest",
    "--runner process --runner serial,gpu": "unknown runner 'gpu', allowed: serial, process, forest",
    "--runner process,": "unknown runner '', allowed: serial, process, forest",
    "--method transform": "DummyClassifier has no method 'transform' for a runner to call, it has: predict, "
    "predict_proba",
    "--method fit": "DummyClassifier has no method 'fit' for a runner to call, it has: predict, predict_proba",
    "--runner native,forest": "the forest runner takes RandomForestClassifier",
    "--model dummy --model-file old.txt": "either --model or --model-file may be given, got both",
    "--data wine --data-file old.txt": "either --data or --data-file may be given, got both",
    "--data-file old.txt": "old.txt must be an array saved with numpy.save, or a data frame with joblib.dump: ",
    "--data-file missing.npy": "missing.npy must be an array saved with numpy.save, or a data frame with joblib.dump: ",
    "--data-file text.npy": "text.npy must hold numbers, (n_samples, n_features), got <U1 of shape (2, 1)",
    "--data-file flat.npy": "flat.npy must hold numbers, (n_samples, n_features), got float64 of shape (3,)",
    "--data-file rows.npy --seed None": "random_state must be an int from 0 to 4294967295, got None",
    "--csv /dev/fd/999": "cannot write /dev/fd/999: Bad file descriptor",
    "--csv /dev/fd/99999999999": "cannot write /dev/fd/99999999999: no file can be made there",
    "--data-file rows.npy --csv ./rows.npy": "cannot write ./rows.npy: it is one of the inputs",
    "--model-file linked.npy --json rows.npy": "cannot write rows.npy: it is one of the inputs",
    "--output loop.txt": "cannot write loop.txt: it is a link to itself",
    f"--output {'x' * 250}": f"cannot write {'x' * 250}: no file can be made there (File name too long)",
    "--data-file rows.npy --n-features 5": "n_features must be 2, as in rows.npy, got 5",
    "--output missing/results.txt": "cannot write missing/results.txt: its folder does not exist",
    "--output new.txt --json missing/new.json": "cannot write missing/new.json: its folder does not exist",
    "--markdown .": "cannot write .: it is a folder",
    "--json a.txt --csv ./a.txt": "cannot write a.txt: it is named for two outputs",
    "--csv old.txt/new.csv": "cannot write old.txt/new.csv: its folder does not exist",
    "--output old.txt --batch-size 0": "batch_size must be a positive int or None, got 0",
    "--colour": "No such option",
}
if Path("/proc").is_dir():
    # Nobody can make a file there, although the permissions tell root otherwise.
    REFUSED["--output /proc/results.txt"] = "cannot write /proc/results.txt: no file can be made there"


def refused(folder, commands):
    """Give exit code, stdout and stderr of each command, and a number other than 0 if any started a process."""
    run = subprocess.run(
        [sys.executable, "-c", REFUSALS],
        cwd=folder,
        env=environ(),
        input=json.dumps(commands),
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("refusals")
    (folder / "old.txt").write_text("old\n")
    for name, array in (("text", np.array([["a"], ["b"]])), ("flat", np.zeros(3)), ("rows", np.zeros((3, 2)))):
        np.save(folder / f"{name}.npy", array)
    (folder / "linked.npy").symlink_to("rows.npy")
    (folder / "loop.txt").symlink_to("loop.txt")
    answers, children = refused(folder, [["compare", "--model", "dummy", *shlex.split(line)] for line in REFUSED])
    return dict(zip(REFUSED, answers, strict=True)), children, folder


@pytest.mark.parametrize("line", REFUSED)
def test_wrong_usage_is_refused_with_the_reason(refusals, line):
    code, out, err = refusals[0][line]
    assert (code, out) == (2, "")
    message = err.splitlines()[-1]
    assert message.startswith(f"Error: {REFUSED[line]}")


def test_a_refusal_comes_before_any_process_and_touches_no_file(refusals):
    _, children, folder = refusals
    assert children == 0
    links = {"linked.npy", "loop.txt"}
    assert {path.name for path in folder.iterdir()} == {"old.txt", "text.npy", "flat.npy", "rows.npy", *links}
    assert (folder / "old.txt").read_text() == "old\n"


def test_a_model_and_rows_of_ones_own_are_measured(tmp_path):
    X = np.random.RandomState(0).standard_normal((120, 3))
    joblib.dump(DecisionTreeRegressor(random_state=0).fit(X, X[:, 0]), tmp_path / "tree.joblib")
    (tmp_path / "tree.pickle").write_bytes(pickle.dumps(DecisionTreeRegressor(random_state=0).fit(X, X[:, 0])))
    np.save(tmp_path / "rows.npy", X)
    how = ["compare", "--n-processes", "2", "--repeat", "3", "--json", "all.json"]
    for given, n_samples, runners in (
        (["--model-file", "tree.joblib", "--data-file", "rows.npy", "--batch-size", "30"], 120, "process,native"),
        (["--model-file", "tree.pickle", "--n-samples", "50", "--batch-size", "10"], 50, "native"),
        (["--model", "dummy", "--data-file", "rows.npy", "--n-samples", "500", "--batch-size", "100"], 500, "native"),
    ):
        run = infbench(*how, *given, "--runner", runners, cwd=tmp_path)
        assert (run.returncode, run.stderr) == (0, "")
        comparisons = comparisons_from_json((tmp_path / "all.json").read_text())
        assert [one.runner for one in comparisons] == runners.split(",")
        assert {(one.n_samples, one.n_features) for one in comparisons} == {(n_samples, 3)}
        assert {one.model for one in comparisons} == {given[1]}


def test_a_quick_answer_takes_few_rows_and_more_rounds_of_short_calls(tmp_path, small):
    np.save(tmp_path / "rows.npy", np.arange(6_000.0).reshape(3_000, 2))
    files = [*small[:3], "--data-file", "rows.npy", "--json", "all.json"]
    run = infbench(*files, "--runner", "native", "--n-processes", 2, "--quick", cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    (comparison,) = comparisons_from_json((tmp_path / "all.json").read_text())
    assert comparison.n_samples == 1_000
    assert comparison.repeat > 9


def test_a_pipeline_is_measured_on_a_data_frame(tmp_path):
    frame = pd.DataFrame({"size": np.arange(40.0), "city": ["Bern", "Oslo"] * 20})
    encode = ColumnTransformer([("city", OneHotEncoder(), ["city"])], remainder="passthrough")
    joblib.dump(make_pipeline(encode, DecisionTreeRegressor()).fit(frame, frame["size"]), tmp_path / "model.joblib")
    joblib.dump(frame, tmp_path / "rows.joblib")
    files = ["--model-file", "model.joblib", "--data-file", "rows.joblib", "--json", "all.json"]
    sizes = ["--n-samples", "100", "--batch-size", "20", "--n-processes", "2", "--repeat", "3"]
    run = infbench("compare", *files, *sizes, cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    (comparison,) = comparisons_from_json((tmp_path / "all.json").read_text())
    assert (comparison.n_samples, comparison.n_features) == (100, 2)


def test_what_the_estimator_raises_is_told(tmp_path):
    joblib.dump(LogisticRegression().fit([[0.0], [1.0]], [0, 1]), tmp_path / "model.joblib")
    np.save(tmp_path / "rows.npy", np.full((40, 1), np.nan))
    files = ["--model-file", "model.joblib", "--data-file", "rows.npy", "--output", "results.txt"]
    run = infbench("compare", *files, "--runner", "native", "--n-processes", "2", cwd=tmp_path)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("Error: native with model.joblib: ValueError: Input X contains NaN")
    assert not (tmp_path / "results.txt").exists()


MISFITS = {
    "missing.joblib": "missing.joblib must be an estimator saved with joblib.dump: FileNotFound",
    "rows.npy": "rows.npy must be an estimator saved with joblib.dump",
    "list.joblib": "list.joblib must be an estimator saved with joblib.dump, got list",
    "class.joblib": "class.joblib must be an estimator saved with joblib.dump, got the class DecisionTreeRegressor",
    "tree.joblib --data-file rows.npy": "X must have 3 features, as DecisionTree",
    "new.joblib --data-file rows.npy": "This DecisionTreeRegressor instance is not fitted",
}


def test_a_file_that_does_not_fit_is_refused(tmp_path):
    X = np.zeros((9, 3))
    joblib.dump(DecisionTreeRegressor().fit(X, X[:, 0]), tmp_path / "tree.joblib")
    joblib.dump(DecisionTreeRegressor(), tmp_path / "new.joblib")
    joblib.dump([1], tmp_path / "list.joblib")
    joblib.dump(DecisionTreeRegressor, tmp_path / "class.joblib")
    np.save(tmp_path / "rows.npy", np.zeros((9, 2)))
    answers, children = refused(tmp_path, [["compare", "--model-file", *line.split()] for line in MISFITS])
    assert children == 0
    for (code, out, err), message in zip(answers, MISFITS.values(), strict=True):
        assert (code, out) == (2, "")
        assert err.splitlines()[-1].startswith(f"Error: {message}")


def test_wrong_usage_ends_the_real_program_with_2(tmp_path):
    run = infbench("compare", "--batch-size", 0, cwd=tmp_path)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.splitlines()[-1] == "Error: batch_size must be a positive int or None, got 0"


def test_too_many_rows_for_the_memory_are_told_without_a_traceback(tmp_path):
    run = infbench("compare", "--model", "dummy", "--n-samples", 10**14, cwd=tmp_path)
    assert (run.returncode, run.stdout) == (2, "")
    assert "Error: n_samples x n_features must fit in memory, got 100,000,000,000,000 x 20" in run.stderr


def test_none_may_be_asked_for(tmp_path):
    """With None, all rows of a real data set are taken, in batches as each runner makes them, also with --quick."""
    sizes = ["--n-samples", "None", "--batch-size", "None", "--n-processes", "2", "--repeat", "1", "--quick"]
    how = ["compare", "--model", "dummy", "--data", "wine", "--runner", "threads,native"]
    run = infbench(*how, *sizes, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert re.search(r"^n_samples: +178$", run.stdout, re.MULTILINE)
    batch_sizes = r"89 \(threads\), 178 \(native\); single: all rows at once"
    assert re.search(rf"^batch_size: +{batch_sizes}$", run.stdout, re.MULTILINE)


def test_several_numbers_of_rows_tell_from_how_many_on_it_pays(tmp_path):
    how = ["--model", "dummy", "--runner", "threads,native", "--n-samples", "400, 40,400"]
    files = ["--output", "all.txt", "--json", "all.json", "--csv", "all.csv", "--markdown", "all.md"]
    run = infbench("compare", *how, "--n-processes", "2", "--repeat", "3", *files, cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    comparisons = comparisons_from_json((tmp_path / "all.json").read_text())
    assert [(one.runner, one.n_samples, one.batch_size, one.serial_batch_size) for one in comparisons] == [
        ("threads", 400, 200, 400),
        ("threads", 40, 20, 40),
        ("native", 400, 400, 400),
        ("native", 40, 40, 40),
    ]
    assert run.stdout == (tmp_path / "all.txt").read_text() == sizes_text(comparisons)
    assert (tmp_path / "all.md").read_text() == sizes_markdown(comparisons)
    assert (tmp_path / "all.csv").read_text() == comparison_csv(comparisons)


@pytest.mark.parametrize(("n_samples", "got"), [("10,x", "'x'"), ("10,", "''"), ("10,None", "None"), ("10,0", "0")])
def test_each_number_of_rows_is_checked(tmp_path, n_samples, got):
    run = infbench("compare", "--model", "dummy", "--n-samples", n_samples, cwd=tmp_path)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.splitlines()[-1] == f"Error: n_samples must be a positive int, got {got}"


FAILS = """
import infbench.runners
from infbench.runners.serial import SerialRunner

infbench.runners.RUNNERS |= {"fails": "sitecustomize:Fails"}

class Fails(SerialRunner):
    def _start(self):
        raise OSError(12, "no process for you")
"""


def test_a_runner_that_the_system_fails_loses_no_finished_result(tmp_path, small):
    (tmp_path / "sitecustomize.py").write_text(FAILS)
    command = [sys.executable, "-m", "infbench", *small, "--n-processes", "1", "--runner", "native,fails,threads"]
    run = subprocess.run(
        [*command, "--json", "all.json"], cwd=tmp_path, env=environ(tmp_path), capture_output=True, text=True
    )
    assert run.returncode == 1
    assert run.stderr.splitlines() == [
        "Only 1 of 3 measurements were finished.",
        f"Error: fails with {small[2]}: OSError: [Errno 12] no process for you",
    ]
    (native,) = comparisons_from_json((tmp_path / "all.json").read_text())
    assert run.stdout == comparison_text([native])


def test_special_files_are_written_to_and_not_replaced(tmp_path, small):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "real.txt").touch()
    (tmp_path / "link.txt").symlink_to("real.txt")
    with subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE, text=True) as reader:
        files = ["--output", tmp_path / "pipe", "--markdown", tmp_path / "link.txt"]
        run = infbench(*small, "--runner", "native", *files, cwd=tmp_path)
        # The reader waits until the other side is opened; if the program fails to, the test must not hang.
        if run.returncode != 0:
            reader.kill()
        assert run.returncode == 0, run.stderr
        assert reader.communicate()[0] == run.stdout
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text().startswith("- ")


def test_a_full_disk_does_not_take_the_answer_along(tmp_path, small):
    if not Path("/dev/full").exists():
        pytest.skip("the system has no /dev/full")
    run = infbench(*small, "--runner", "native", "--output", "/dev/full", "--csv", "new.csv", cwd=tmp_path)
    assert run.returncode == 1
    assert run.stderr == "Error: cannot write /dev/full: No space left on device\n"
    assert re.search(r"^native ", run.stdout, re.MULTILINE)
    assert (tmp_path / "new.csv").read_text().startswith("model,")


# A model whose answer depends on who computes it, and one whose workers die.
MODELS = """
import os
import time

import numpy as np


class Disagrees:
    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.full(len(X), os.getpid())


class Kills:
    def fit(self, X, y):
        self.parent_ = os.getpid()
        return self

    def predict(self, X):
        if os.getpid() != self.parent_:
            os._exit(3)
        time.sleep(0.05)  # or the caller might have computed all before a worker begins
        return X[:, 0]
"""
PROGRAM = """
import sys

import infbench.models
import strange
from infbench.cli import main

if __name__ == "__main__":
    infbench.models.MODELS["disagrees"] = lambda random_state: strange.Disagrees()
    infbench.models.MODELS["kills"] = lambda random_state: strange.Kills()
    main(sys.argv[1:])
"""


def run_strange(folder, *args):
    modules = folder / "modules"
    modules.mkdir()
    (modules / "strange.py").write_text(MODELS)
    (modules / "program.py").write_text(PROGRAM)
    (folder / "results.txt").write_text("old\n")
    sizes = [
        "--n-samples",
        "400",
        "--batch-size",
        "100",
        "--n-processes",
        "2",
        "--repeat",
        "1",
        "--output",
        "results.txt",
        "--json",
        "new.json",
    ]
    command = [sys.executable, modules / "program.py", "compare", *args, *sizes]
    return subprocess.run(command, cwd=folder, env=environ(modules), capture_output=True, text=True)


def test_an_answer_that_differs_is_no_result(tmp_path):
    run = run_strange(tmp_path, "--model", "disagrees", "--runner", "native,process")  # threads share a process id
    assert (run.returncode, run.stdout) == (4, "")
    assert re.fullmatch(
        r"Error: the answers differ, so nothing is reported: "
        r"process: \d+ of 400 values differ from the serial answer, .+\n",
        run.stderr,
    )
    assert content(tmp_path) == {"results.txt": "old\n"}


def test_a_runner_that_fails_leaves_the_results_of_those_before_it(tmp_path):
    run = run_strange(tmp_path, "--model", "kills", "--runner", "native,process")
    assert run.returncode == 1
    only, error, *_ = run.stderr.splitlines()
    assert only == "Only 1 of 2 measurements were finished."
    assert error.startswith("Error: process: a worker process died with exit code 3 ")
    assert "Traceback" not in run.stderr
    assert (tmp_path / "results.txt").read_text() == run.stdout
    (native,) = comparisons_from_json((tmp_path / "new.json").read_text())
    assert native.runner == "native"


def test_a_full_disk_behind_stdout_is_told_without_a_traceback(tmp_path, small):
    if not Path("/dev/full").exists():
        pytest.skip("the system has no /dev/full")
    command = [sys.executable, "-m", "infbench", *small, "--runner", "native", "--csv", "new.csv"]
    with open("/dev/full", "w", encoding="utf-8") as full:
        run = subprocess.run(command, cwd=tmp_path, env=environ(), stdout=full, stderr=subprocess.PIPE, text=True)
    assert run.returncode != 0
    assert run.stderr.splitlines()[0] == "Error: [Errno 28] No space left on device"
    assert (tmp_path / "new.csv").read_text().startswith("model,")


def test_a_file_that_is_open_already_goes_on(tmp_path, small):
    """Such as a redirected stdout, which is a regular file and must not be replaced."""
    command = [sys.executable, "-m", "infbench", *small, "--runner", "native", "--csv", "/dev/stdout"]
    (tmp_path / "all.txt").write_text("before\n")
    with open(tmp_path / "all.txt", "a", encoding="utf-8") as file:
        run = subprocess.run(command, cwd=tmp_path, env=environ(), stdout=file, stderr=subprocess.PIPE, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    before, columns, _, *report = (tmp_path / "all.txt").read_text().splitlines()
    assert (before, columns.split(",")[0]) == ("before", "model")
    assert any(line.startswith("n_samples:") for line in report)


def test_a_closed_stdout_breaks_no_worker(tmp_path, small):
    command = [sys.executable, "-m", "infbench", *small, "--runner", "process", "--csv", "new.csv"]
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
    run = subprocess.run(closed, cwd=tmp_path, env=environ(), stderr=subprocess.PIPE, text=True)
    assert "Traceback" not in run.stderr
    assert (tmp_path / "new.csv").read_text().startswith("model,")


@contextmanager
def on_a_terminal(*args, cwd):
    """Start the program with a terminal for stderr, in a process group of its own."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "infbench", *args]
    with subprocess.Popen(
        command, cwd=cwd, env=environ(), stdout=subprocess.PIPE, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        try:
            yield process, ours
        finally:
            os.close(ours)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def read_until(terminal, pattern=None):
    """Read a terminal until a pattern appears or, without one, until its last user is gone."""
    text = ""
    while pattern is None or not re.search(pattern, text):
        assert select.select([terminal], [], [], 60)[0], f"nothing more came after {text!r}"
        try:
            read = os.read(terminal, 65_536)
        except OSError:  # how Linux says that the other side is closed
            read = b""
        if not read:
            assert pattern is None, f"{pattern} is not in {text!r}"
            break
        text += read.decode()
    return text


def test_progress_goes_to_the_terminal_and_the_answer_to_stdout(tmp_path, long):
    with on_a_terminal(*long, "--runner", "native", "--output", "results.txt", cwd=tmp_path) as (process, terminal):
        shown = read_until(terminal)
        out = process.stdout.read().decode()
        assert process.wait() == 0
    assert "measure native" in shown
    assert "12/12" in shown
    assert out == (tmp_path / "results.txt").read_text()
    assert out.isascii()
    assert "\x1b" not in out


def press_ctrl_c(process):
    os.killpg(process.pid, signal.SIGINT)  # a terminal tells all that run in it


@pytest.mark.parametrize(
    ("stop", "runner", "ends_within_s"),
    [
        *((press_ctrl_c, runner, 3) for runner in ("process", "pool", "loky")),
        *((subprocess.Popen.terminate, runner, 10) for runner in ("process", "futures", "loky")),
    ],
)
def test_stopped_leaves_no_process_and_loses_no_finished_result(tmp_path, long, stop, runner, ends_within_s):
    files = ["--output", "results.txt", "--json", "new.json"]
    half = ["--repeat", "6"]  # with two runners it takes as long
    with on_a_terminal(*long, *half, "--runner", f"native,{runner}", *files, cwd=tmp_path) as (process, terminal):
        read_until(terminal, f"measure {runner}")
        begun = psutil.Process(process.pid).children(recursive=True)
        stop(process)
        shown = read_until(terminal)
        out = process.stdout.read().decode()
        assert process.wait() == 130
    assert begun
    assert not psutil.wait_procs(begun, timeout=ends_within_s)[1]
    assert shown.replace("\r", "").endswith("Only 1 of 2 measurements were finished.\nError: interrupted\n")
    if runner == "process":  # workers of the other two may say by themselves that they were interrupted
        assert "Traceback" not in shown
    assert out == (tmp_path / "results.txt").read_text()
    (native,) = comparisons_from_json((tmp_path / "new.json").read_text())
    assert (native.runner, native.repeat) == ("native", 6)


def test_ctrl_c_before_anything_is_finished_writes_nothing(tmp_path, long):
    (tmp_path / "results.txt").write_text("old\n")
    with on_a_terminal(*long, "--output", "results.txt", cwd=tmp_path) as (process, terminal):
        read_until(terminal, "measure process")
        os.killpg(process.pid, signal.SIGINT)
        shown = read_until(terminal)
        assert process.stdout.read() == b""
        assert process.wait() == 130
    assert shown.replace("\r", "").endswith("Error: interrupted\n")
    assert "Traceback" not in shown
    assert content(tmp_path) == {"results.txt": "old\n"}


@pytest.fixture
def asv_results(tmp_path):
    """Return a folder of results of two release sets and two machines, as asv writes them."""
    pytest.importorskip("asv", reason="asv comes with the bench extra")
    from asv.results import Results
    from asv.runner import BenchmarkResult

    from infbench.site.stored import COST_RATIO, THROUGHPUT

    params = [["'random_forest'"], ["'serial'", "'process'", "'pool'"], ["10000"], ["1000"], ["2"]]
    benchmarks = {
        COST_RATIO: [1.0, 0.5, 0.8],
        THROUGHPUT: [0.2, 0.1, 0.16],
    }
    for machine in ("one", "two"):
        (tmp_path / "stored" / machine).mkdir(parents=True)
        (tmp_path / "stored" / machine / "machine.json").write_text(json.dumps({"machine": machine, "version": 1}))
        for number, release in enumerate(("1.10.0", "1.2.2")):  # sorted as text they would change places
            versions = {"scikit-learn": release, "numpy": "1.26.4", "joblib": "1.2.0"}
            machine_params = {"machine": machine, "python": "3.11", **versions}
            results = Results(
                machine_params, versions, "0" * 40, 1_700_000_000_000 + number, "3.11", f"env{number}", {}
            )
            for name, values in benchmarks.items():
                one = BenchmarkResult(values, [None] * 3, [None] * 3, 0, "", None)
                results.add_result({"name": name, "version": "1", "params": params}, one, record_samples=True)
            results.save(str(tmp_path / "stored"))
    return tmp_path / "stored"


def test_history_prints_the_newest_release_last_and_process_only(asv_results):
    run = infbench("history", "--results", asv_results, "--machine", "two", cwd=asv_results)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    title, commit, _, rule, older, newer, *_ = run.stdout.splitlines()
    assert commit == "infbench of commit 00000000"
    assert title == "random_forest, process with n_processes=2, 10,000 rows in batches of 1,000, on two"
    assert set(rule) == {"-"}
    expected = ["1.26.4", "1.2.0", "200 ms", "100 ms", "2.00", "unknown", "100%", "unknown"]
    assert [re.split(" {2,}", line) for line in (older, newer)] == [["1.2.2", *expected], ["1.10.0", *expected]]
    assert "pool" not in run.stdout


def test_history_of_all_runners_and_machines(asv_results):
    run = infbench("history", "--results", asv_results, "--runner", "all", cwd=asv_results)
    titles = [line for line in run.stdout.splitlines() if line.startswith("random_forest, ")]
    assert [(line.split()[1], line.split()[-1]) for line in titles] == [
        ("pool", "one"),
        ("process", "one"),
        ("pool", "two"),
        ("process", "two"),
    ]


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--machine", "three"], 2, "no results of machine 'three', there are: one, two"),
        (["--model", "svc"], 2, "no results of model 'svc', there are: random_forest"),
        (["--runner", "loky"], 2, "no results of runner 'loky', there are: pool, process"),
        (["--results", "missing"], 1, "missing is no directory of asv results"),
    ],
    ids=["machine", "model", "runner", "results"],
)
def test_history_says_what_there_is(asv_results, args, code, message):
    run = infbench("history", "--results", asv_results, *args, cwd=asv_results)
    assert (run.returncode, run.stdout) == (code, "")
    assert run.stderr.splitlines()[-1].startswith(f"Error: {message}")


def test_help_names_every_option(tmp_path):
    run = infbench("compare", "--help", cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    assert set(re.findall(r"^ +(--[a-z-]+)", run.stdout, re.MULTILINE)) == {
        f"--{name}"
        for name in (
            *("model", "data", "runner", "method", "n-samples", "n-features", "n-processes", "batch-size", "repeat"),
            *("seed", "output", "json", "csv", "markdown", "quick", "model-file", "data-file"),
        )
    }


def test_version(tmp_path):
    from infbench import __version__

    assert infbench("--version", cwd=tmp_path).stdout == f"infbench, version {__version__}\n"
