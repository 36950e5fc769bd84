"""All runners side by side."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from statistics import geometric_mean
from subprocess import PIPE

import psutil
import pytest
from programs import PLAIN
from test_report import PAYS

from infbench.report_peers import peers_markdown, peers_text
from infbench.results import Peer, comparisons_from_json, comparisons_to_json
from infbench.tables import format_ratio

ROOT = Path(__file__).parents[1]


def start(*arguments, cwd, customize=""):
    """Start the program; all of its processes first import one more model, and what `customize` adds."""
    (cwd / "sitecustomize.py").write_text(f"from infbench.models import MODELS\n{PLAIN}{customize}")
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(cwd), str(ROOT)])}
    command = [sys.executable, "-m", "infbench", "peers", *arguments]
    return subprocess.Popen(command, cwd=cwd, env=environ, stdout=PIPE, stderr=PIPE, text=True)


def run(*arguments, cwd, customize=""):
    with start(*arguments, cwd=cwd, customize=customize) as process:
        out, errors = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, errors)


def test_command_prints_the_table_and_writes_every_format(tmp_path):
    done = run(
        *("--model", "plain", "--runner", "process", "--runner", "forest", "--runner", "threads"),
        *("--size", "60:20", "--size", "40:40", "--n-processes", "2", "--repeat", "3"),
        *("--json", "all.json", "--csv", "all.csv", "--markdown", "all.md"),
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    comparisons = comparisons_from_json((tmp_path / "all.json").read_text())
    cells = [(c.model, c.runner, c.n_samples, c.batch_size, c.n_processes) for c in comparisons]
    assert cells == [("plain", runner, *size, 2) for runner in ("process", "threads") for size in ((60, 20), (40, 40))]
    assert all(c.repeat >= 3 for c in comparisons)
    assert all(c.machine.inner_threads.get("openblas", 1) == 1 for c in comparisons)
    for comparison in comparisons:
        (line, _) = (line for line in done.stdout.splitlines() if line.startswith(f"{comparison.runner} "))
        assert f" {format_ratio(comparison.speedup)} (" in line
    assert "forest: the forest runner takes RandomForestClassifier" in done.stdout
    rows = csv.DictReader((tmp_path / "all.csv").read_text().splitlines())
    assert [row["runner"] for row in rows] == [c.runner for c in comparisons]
    assert re.match(r"Columns: .*\n\nMeasured with n_processes=2 .*\n\n### plain\n", (tmp_path / "all.md").read_text())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "100"], "--size must be N_SAMPLES:BATCH_SIZE, two positive ints, got '100'"),
        (["--size", "0:5"], "two positive ints, got '0:5'"),
        (["--model", "forrest"], "unknown model 'forrest', allowed: "),
        (["--runner", "gpu"], "unknown runner 'gpu', allowed: "),
        (["--repeat", "0"], "repeat must be a positive int"),
        (["--json", "no/such/folder.json"], "its folder does not exist"),
    ],
)
def test_wrong_usage_is_refused(arguments, message, tmp_path):
    done = run(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


BROKEN = """
import os
import infbench.runners
from infbench.runners.base import Runner

infbench.runners.RUNNERS |= {"dies": "sitecustomize:Dies", "raises": "sitecustomize:Raises"}

class Dies(Runner):
    def _start(self):
        os._exit(3)
    def _close(self): ...
    def _run(self, method, batches): ...

class Raises(Dies):
    def _start(self):
        raise LookupError("nobody is at home")
"""


def test_runners_that_fail_are_named_and_the_others_measured(tmp_path):
    runners = [word for name in ("dies", "raises", "threads") for word in ("--runner", name)]
    done = run("--model", "plain", "--size", "60:20", "--repeat", "3", *runners, cwd=tmp_path, customize=BROKEN)
    assert done.returncode == 1
    assert "dies: its process died" in done.stdout
    assert "raises: LookupError: nobody is at home" in done.stdout
    assert any(line.startswith("threads") and line.endswith(" 1") for line in done.stdout.splitlines())
    assert done.stderr == "Error: failed: dies with plain, raises with plain\n"


def test_where_nothing_can_be_measured_the_reasons_are_told(tmp_path):
    how = ("--model", "dummy,svc", "--size", "60:20", "--repeat", "1", "--json", "all.json")
    done = run("--runner", "forest,serial", "--n-processes", "2", *how, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    first, *reasons = done.stderr.splitlines()
    assert first == "Error: nothing was measured"
    assert [reason.partition(": ")[0] for reason in reasons] == [
        f"{runner} with {model}" for model in ("dummy", "svc") for runner in ("forest", "serial")
    ]
    assert "the forest runner takes RandomForestClassifier" in reasons[0]
    assert "n_processes must be 1 or None for the serial runner, got 2" in reasons[1]
    assert not (tmp_path / "all.json").exists()


def test_a_name_that_comes_twice_is_measured_once(tmp_path):
    how = ("--model", "plain", "--model", "plain", "--size", "60:20", "--repeat", "1", "--json", "all.json")
    done = run("--runner", "threads,threads", *how, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(comparisons_from_json((tmp_path / "all.json").read_text())) == 1


COUNTS = """
import infbench.runners
from infbench.runners.serial import SerialRunner

infbench.runners.RUNNERS |= {"counts": "sitecustomize:Counts", "again": "sitecustomize:Again"}

class Counts(SerialRunner):
    name = "counts"
    def _start(self):
        super()._start()
        self.n_rows = 0
    def _run(self, method, batches):
        self.n_rows = batches.n_samples
        return super()._run(method, batches)
    def _close(self):
        with open("visits", "a") as visits:
            visits.write(f"{self.name} {self.n_rows}, ")
        super()._close()

class Again(Counts):
    name = "again"
"""


@pytest.mark.parametrize(("repeat", "n_visits"), [(7, 3), (2, 2), (1, 1)])
def test_runners_and_sizes_take_turns(repeat, n_visits, tmp_path):
    sizes = ("--size", "60:20", "--size", "40:40", "--repeat", str(repeat), "--json", "all.json")
    done = run("--model", "plain", "--runner", "counts,again", *sizes, cwd=tmp_path, customize=COUNTS)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "visits").read_text() == n_visits * "counts 60, counts 40, again 60, again 40, "
    comparisons = comparisons_from_json((tmp_path / "all.json").read_text())
    assert [(c.n_samples, len(c.paused_serial_s)) for c in comparisons] == [(60, repeat), (40, repeat)] * 2
    assert all(c.repeat > repeat for c in comparisons)  # a call takes microseconds


FAILS_WITH_40 = """
import infbench.runners
from infbench.runners.serial import SerialRunner

infbench.runners.RUNNERS |= {"fails": "sitecustomize:Fails"}

class Fails(SerialRunner):
    def _run(self, method, batches):
        if batches.n_samples == 40:
            raise LookupError("not with 40")
        return super()._run(method, batches)
"""


def test_a_size_that_fails_costs_the_others_no_round(tmp_path):
    sizes = ("--size", "40:40", "--size", "60:20", "--repeat", "7", "--json", "all.json")
    done = run("--model", "plain", "--runner", "fails", *sizes, cwd=tmp_path, customize=FAILS_WITH_40)
    assert (done.returncode, done.stderr) == (1, "Error: failed: fails with plain\n")
    assert "fails: 40 / 40: LookupError: not with 40" in done.stdout
    (measured,) = comparisons_from_json((tmp_path / "all.json").read_text())
    assert (measured.n_samples, len(measured.paused_serial_s)) == (60, 7)


STOPS = """
import infbench.runners, os, signal, time
from infbench.runners.serial import SerialRunner

infbench.runners.RUNNERS |= {"stops": "sitecustomize:Stops"}

class Stops(SerialRunner):
    def _start(self):
        super()._start()
        try:
            open("visited", "x").close()
        except FileExistsError:
            os.kill(os.getppid(), signal.SIGINT)
            time.sleep(60)
"""


def test_stopped_during_a_later_visit_tells_what_has_been_measured(tmp_path):
    how = ("--size", "60:20", "--repeat", "7", "--json", "all.json")
    done = run("--model", "plain", "--runner", "stops", *how, cwd=tmp_path, customize=STOPS)
    assert (done.returncode, done.stderr) == (130, "Error: interrupted\n")
    assert any(line.startswith("stops ") for line in done.stdout.splitlines())
    (measured,) = comparisons_from_json((tmp_path / "all.json").read_text())
    assert len(measured.paused_serial_s) == 3


@pytest.mark.parametrize(
    ("stop", "runner"),
    [(signal.SIGINT, "process"), (signal.SIGTERM, "process"), (signal.SIGKILL, "process"), (signal.SIGINT, "pool")],
)
def test_stopped_leaves_no_process(stop, runner, tmp_path):
    size = ("--size", "20000:100", "--repeat", "1000")
    with start("--model", "plain", "--runner", runner, *size, cwd=tmp_path) as process:
        deadline_s = time.monotonic() + 60
        # The process that measures, and what its runner started: a signal to the program alone would leave both.
        while len(children := psutil.Process(process.pid).children(recursive=True)) < 4:
            assert process.poll() is None
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        process.send_signal(stop)
        out, errors = process.communicate()
    assert not psutil.wait_procs(children, timeout=10)[1]
    assert out == ""
    if stop != signal.SIGKILL:
        assert process.returncode == 130
        assert "Error: interrupted\n" in errors
    if runner == "process":  # workers of the other may say by themselves that they were interrupted
        assert "Traceback" not in errors


FAST = replace(PAYS, runner="process", n_samples=1_000, batch_size=100)
PEERS = [
    Peer("random_forest", "process", (FAST, replace(FAST, n_samples=9_000, parallel_s=tuple(FAST.serial_s)))),
    Peer("random_forest", "pool", (replace(FAST, runner="pool"),), "RunnerError: it broke"),
    Peer("random_forest", "ray", (), "ray is not installed, it comes with infbench[ray]", refused=True),
    Peer("dummy", "process", (FAST,)),
]


def test_report_has_a_table_for_each_model_and_the_means():
    text = peers_text(PEERS)
    assert [line for line in text.splitlines() if line.isupper() and " " not in line] == ["RANDOM_FOREST", "DUMMY"]
    speedups = [comparison.speedup for peer in (PEERS[0], PEERS[3]) for comparison in peer.comparisons]
    mean = next(line.split() for line in text.split("ALL MODELS")[1].splitlines() if line.startswith("process"))
    paused = FAST.speedup_after_pause.value
    assert mean == ["process", f"{geometric_mean(speedups):.2f}", "3", f"{paused:.2f}", "3"]
    row = next(line.split() for line in text.splitlines() if line.startswith("pool"))
    assert (row[1], row[3]) == (f"{FAST.speedup:.2f}", "-")  # the second size was not measured
    assert "pool: RunnerError: it broke" in text
    assert "ray: ray is not installed" in text
    assert "n_processes=4 and one inner thread in each, seed 7, on 4 usable CPUs of 8 (Some CPU)" in " ".join(
        text.split()
    )


def test_conditions_are_those_of_all_runners():
    serial = Peer("dummy", "serial", (replace(FAST, runner="serial", n_processes=1),))
    native = Peer("dummy", "native", (replace(FAST, runner="native"),))
    assert "n_processes=4 and one inner thread in each, seed" in peers_markdown([serial, PEERS[3]])
    told = "n_processes=4 and one inner thread in each (native: threads in place of processes), seed"
    assert told in peers_markdown([serial, PEERS[3], native])


def test_what_plain_loops_gained_is_told_where_it_was_measured():
    n_loops, gained = FAST.n_processes, FAST.loop_speedup.value
    serial = replace(FAST, runner="serial", n_processes=1, loops_together_s=FAST.loop_alone_s)
    slow = replace(FAST, loops_together_s=tuple(2 * seconds for seconds in FAST.loops_together_s))
    peers = [Peer("dummy", "process", (FAST, FAST, slow)), Peer("dummy", "serial", (serial,))]
    told = " ".join(peers_text(peers).split())
    assert f"{n_loops} plain loops at once gained {gained:.2f} on these CPUs, in the median of 3 comparisons" in told
    assert told.endswith(f"and {gained / 2:.2f} to {gained:.2f} in single ones.")
    unknown = replace(FAST, loop_alone_s=(), loops_together_s=())
    assert "plain loops" not in peers_text([Peer("dummy", "process", (unknown,))])


def test_a_runner_with_too_few_rounds_does_not_hide_the_noise_of_the_others():
    few = replace(FAST, runner="threads", **dict.fromkeys(("serial_s", "parallel_s", "serial_again_s"), (1.0,) * 4))
    text = peers_text([Peer("dummy", "process", (FAST,)), Peer("dummy", "threads", (few,))])
    assert next(line.split()[2:4] for line in text.splitlines() if line.startswith("(noise")) == ["1.00", "(1.00-1.00)"]


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "docs").glob("peers*.json")))
def test_what_is_documented_follows_from_what_was_measured(name):
    text = (ROOT / "docs" / f"{name}.json").read_text()
    comparisons = comparisons_from_json(text)
    assert comparisons_to_json(comparisons) == text
    by_cell = groupby(comparisons, key=lambda one: (one.model, one.runner))
    lines = peers_markdown([Peer(model, runner, tuple(group)) for (model, runner), group in by_cell]).splitlines()
    assert set(lines) <= set((ROOT / "docs" / f"{name}.md").read_text().splitlines())


def test_table_of_the_documentation_is_that_of_the_stored_measurements():
    comparisons = comparisons_from_json((ROOT / "docs" / "peers.json").read_text())
    lines = (ROOT / "docs" / "runners.md").read_text().splitlines()
    models = list(dict.fromkeys(one.model for one in comparisons))
    assert "| ".join(["", "runner ", "mean ", *(f"`{model}` " for model in models)]) + "|" in lines
    for runner in {one.runner for one in comparisons}:
        of_model = [
            [one.speedup for one in comparisons if (one.runner, one.model) == (runner, model)] for model in models
        ]
        ranges = [f"{format_ratio(min(each))} to {format_ratio(max(each))}" if each else "–" for each in of_model]
        mean = geometric_mean(one.speedup for one in comparisons if one.runner == runner)
        assert " | ".join([f"| `{runner}`", f"{mean:.2f}", *ranges]) + " |" in lines


def test_markdown_says_the_same():
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in peers_markdown(PEERS).splitlines()]
    assert ["process", "3", "3"] in [[row[0], *row[2::2]] for row in cells if len(row) == 5]
    assert all(len({len(row) for row in table}) == 1 for table in _tables(cells))


def _tables(rows):
    table = []
    for row in [*rows, [""]]:
        if len(row) > 1:
            table.append(row)
        elif table:
            yield table
            table = []
