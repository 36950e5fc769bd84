"""The speedup page in a real browser: what it shows, against the stored results, and what it asks of the outside."""

from __future__ import annotations

import contextlib
import functools
import http.server
import itertools
import json
import math
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from statistics import median
from urllib.parse import parse_qs, urlencode

import pytest

pytest.importorskip("asv", reason="asv comes with the bench extra")
pytest.importorskip("playwright", reason="Playwright comes with the test extra")

from playwright.sync_api import sync_playwright
from site_results import GOLDEN, RELEASES, paired, together, versions_of, write_benchmarks, write_golden, write_result

from infbench.site import publisher, stock
from infbench.site.stored import load_runs

ROOT = Path(__file__).parents[1]
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

CONFIGURATION = {
    "version": 1,
    "project": "small",
    "repo": ".",
    "branches": ["main"],
    "environment_type": "existing",
    "plugins": [".infbench.site.publisher"],
    "html_dir": "html",
    "results_dir": "results",
}
SUBJECTS = ["Begin", "Hand out rows <b>faster</b>", "Rename", "Copy everything twice", "Move to another machine"]

# The browser, which all tests here share, starts helpers and opens files when it likes; it takes them along at its end.
pytestmark = pytest.mark.leaves_behind("processes", "files", "descriptors", reason="the browser outlives each test")


@pytest.fixture(scope="module")
def browser():
    if BROWSER is None:
        reason = "there is no browser: on Debian, apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """Publish the golden results with asv itself, in a repository whose commits they name."""
    root = tmp_path_factory.mktemp("golden")
    environ = {**os.environ, "HOME": str(root), "GIT_CONFIG_GLOBAL": os.devnull}

    def run(*command):
        done = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    run("git", "init", "--quiet", "--initial-branch=main")
    who = ["-c", "user.name=tester", "-c", "user.email=tester@example.com"]
    for subject in SUBJECTS:
        run("git", *who, "commit", "--quiet", "--allow-empty", "--message", subject)
    commits = run("git", "rev-list", "--reverse", "main").split()
    write_golden(root / "results", commits)
    (root / "asv.conf.json").write_text(json.dumps(CONFIGURATION))
    run(sys.executable, "-m", "asv", "publish", "--no-pull")
    return root, commits


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Write the page of the results that this repository holds."""
    directory = tmp_path_factory.mktemp("reference") / "speedup"
    publisher.write_page(directory, load_runs(ROOT / "results"), project="infbench", subjects={})
    return directory


REFERENCE_MACHINES = [path.name for path in sorted((ROOT / "results").iterdir()) if path.is_dir()]


@pytest.fixture
def visit(browser):
    """Open a page in a context of its own; by its end, nothing may have failed or been loaded from elsewhere."""
    opened = []

    def visit(address, width=1400, scheme="light", **choice):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page = context.new_page()
        asked, wrong = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: wrong.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        opened.append((context, address, asked, wrong))
        page.goto(f"{address}#{urlencode(choice)}" if choice else address)
        settle(page)
        return page

    yield visit
    for context, address, asked, wrong in opened:
        context.close()
        assert wrong == []
        assert asked
        assert [url for url in asked if not url.startswith((address.rpartition("/")[0], "data:"))] == []


def settle(page, condition="document.body.dataset.ready === (location.hash || '#')"):
    """Wait until the page shows what its address says. Its security policy lets Playwright wait in no other way."""
    deadline = time.monotonic() + 20
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, f"{page.url}: {page.inner_text('#status')}"
        page.wait_for_timeout(10)


def at(directory):
    return (directory / "index.html").as_uri()


# What the stored results say, read without any code of the project.


def stored(directory, benchmark):
    """Return release, commit, CPUs and parameters to median, and bounds of the interval, from the files themselves.

    The newest commit comes last.
    """
    found = {}
    contents = [json.loads(path.read_text()) for path in directory.rglob("*.json")]
    for content in sorted(contents, key=lambda content: content.get("date", 0)):
        if benchmark not in content.get("results", {}):
            continue
        row = dict(zip(content["result_columns"], content["results"][benchmark], strict=False))
        keys = itertools.product(*([text.strip("'") for text in values] for values in row["params"]))
        for key, samples, *bounds in zip(
            keys, row["samples"], row["stats_ci_99_a"], row["stats_ci_99_b"], strict=False
        ):
            if samples:
                release = (content["params"]["scikit-learn"], content["commit_hash"], content["params"]["num_cpu"])
                found[release + key] = median(samples), *bounds
    return found


COST = "cost_ratio.CostRatio.track_cost_ratio"
TIME = "throughput.Throughput.track_predict_s"


# What a chart shows, read off it as a person would: positions, and the numbers beside the axis.


def read_chart(page, section, number=0):
    """Return the points of a chart by series, in the units of its axis: value, low and high of each."""
    return page.evaluate(
        """([section, number]) => {
            const chart = document.querySelectorAll(`#${section} figure`)[number].querySelector('svg[role="img"]');
            const box = (element) => element.getBoundingClientRect();
            const middle = (element) => (box(element).top + box(element).bottom) / 2;
            const units = {s: 1, ms: 1e-3, "µs": 1e-6};
            const ticks = [...chart.querySelectorAll(".grid")].map((line, i) => {
                const [value, unit] = chart.querySelectorAll(".tick.y")[i].textContent.split(" ");
                return [Number(value) * (unit ? units[unit] : 1), middle(line)];
            });
            const [[zero, bottom], [most, top]] = [ticks[0], ticks[ticks.length - 1]];
            const value = (y) => zero + (bottom - y) / (bottom - top) * (most - zero);
            const marks = (series) => [...series.querySelectorAll(".mark")];
            return [...chart.querySelectorAll(".series")].map((series) => marks(series).map((mark) => {
                const whisker = mark.querySelector(".whisker");
                const shape = [...mark.children].find((child) => child !== whisker);
                return [value(middle(shape)), whisker && value(box(whisker).bottom), whisker && value(box(whisker).top),
                        (box(shape).left + box(shape).right) / 2];
            }));
        }""",
        [section, number],
    )


def labels(page, section, number=0):
    """Return what stands below the places of a chart, from left to right: a list for each row of labels."""
    rows = page.evaluate(
        """([section, number]) => {
            const figure = document.querySelectorAll(`#${section} figure`)[number];
            return [...figure.querySelectorAll(".tick.x")].map((text) => {
                const box = text.getBoundingClientRect();
                return [Math.round(box.top), box.left, text.textContent];
            });
        }""",
        [section, number],
    )
    ordered = sorted(rows, key=lambda row: (row[0], row[1]))
    return [[text for _, _, text in row] for _, row in itertools.groupby(ordered, key=lambda row: row[0])]


def table(page, section):
    """Return the cells of a section's table, a list for each row."""
    return page.evaluate(
        """(section) => [...document.querySelectorAll(`#${section} tbody tr`)]
            .map((row) => [...row.children].map((cell) => cell.innerText.trim()))""",
        section,
    )


def close(shown, expected):
    # A pixel is some half a percent of a chart's height.
    return shown == pytest.approx(expected, rel=0.02, abs=0.012 * max(expected))


@pytest.mark.parametrize("model", ["random_forest", "hist_gradient_boosting", "logistic_regression"])
@pytest.mark.parametrize("runner", ["process", "loky"])
@pytest.mark.parametrize("machine", REFERENCE_MACHINES)
def test_charts_by_release_show_what_is_stored(reference, visit, machine, model, runner):
    results = ROOT / "results" / machine
    page = visit(at(reference), machine=machine, model=model, runner=runner)
    costs, times = stored(results, COST), stored(results, TIME)
    workload = tuple(page.input_value(f"#choice-{key}") for key in ("rows", "batch", "processes"))
    newest = {key[0]: key[:3] for key in costs if key[3:] == (model, runner, *workload)}
    releases = sorted(newest.values(), key=lambda key: [int(n) for n in key[0].split(".")])
    assert len(releases) >= 8
    assert labels(page, "releases")[0] == [release for release, _, _ in releases]
    serial, parallel = read_chart(page, "releases", 0)
    (speedup,) = read_chart(page, "releases", 1)
    for points, name in ((serial, "serial"), (parallel, runner)):
        expected = [times[(*release, model, name, *workload)] for release in releases]
        for part in range(3):
            assert close([point[part] for point in points], [one[part] for one in expected])
    inverse = [costs[(*release, model, runner, *workload)] for release in releases]
    expected = [(1 / value, 1 / high, 1 / low) for value, low, high in inverse]
    for part in range(3):
        assert close([point[part] for point in speedup], [one[part] for one in expected])
    rows = table(page, "releases")
    assert [float(row[5]) for row in rows] == [
        pytest.approx(value, abs=0.006 if value > 0.1 else 0.06 * value)  # rounded twice
        for value, _, _ in expected
    ]
    shown = [[float(bound) for bound in row[6].split(" to ")] for row in rows]
    assert shown == [pytest.approx([low, high], abs=0.006) for _, low, high in expected]


def test_chart_by_commit_shows_what_is_stored(golden, visit):
    root, commits = golden
    page = visit(at(root / "html" / "speedup"), model="forest", libraries="1.9.1")
    expected = stored(root / "results", TIME)
    assert labels(page, "commits")[0] == [commit[:8] for commit in commits[:4]]
    _, parallel = read_chart(page, "commits", 0)
    key = ("forest", "process", "8000", "1000", "2")
    assert close(
        [point[0] for point in parallel], [expected[("1.9.1", commit, "2", *key)][0] for commit in commits[:4]]
    )
    rows = table(page, "commits")
    assert [row[0] for row in rows] == [commit[:8] for commit in reversed(commits[:4])]
    assert [row[-1] for row in rows] == list(reversed(SUBJECTS[:4]))


def test_chart_of_processes_shows_what_is_stored_the_ideal_and_both_laws(golden, visit):
    root, commits = golden
    page = visit(at(root / "html" / "speedup"), model="forest", libraries="1.9.1")
    costs = stored(root / "results", "cost_ratio.Scaling.track_cost_ratio")
    (points,) = read_chart(page, "scaling")
    counts = [1, 2, 4, 8, 16]
    assert labels(page, "scaling")[0] == [str(n) for n in counts]
    expected = [1 / costs["1.9.1", commits[0], "2", "forest", str(n)][0] for n in counts]
    assert close([point[0] for point in points], expected)
    # Places lie as far apart as the numbers do, or the ideal would be no line.
    x = [point[3] for point in points]
    assert [(at_ - x[0]) / (x[-1] - x[0]) for at_ in x] == pytest.approx([(n - 1) / 15 for n in counts], abs=0.01)
    assert page.locator("#scaling .ideal").count() == 1
    assert page.locator("#scaling .law-amdahl.area, #scaling .law-usl.area").count() == 2
    text = page.inner_text("#scaling .sentence")
    assert "Amdahl's law puts the serial share at" in text
    (contention,) = re.findall(r"contention ([\d.]+)%", text)
    assert float(contention) == pytest.approx(4.0, abs=1.0)  # planted in the golden results


def test_a_law_needs_four_counts(reference, visit):
    page = visit(at(reference), model="random_forest", runner="process")
    assert page.locator("#scaling .area").count() == 0
    assert "No law is fitted" in page.inner_text("#scaling")


def test_threads_are_not_called_processes(reference, visit):
    page = visit(at(reference), model="random_forest", runner="native")
    for section in ("releases", "batches", "commits"):
        assert "native (n_processes=2)" in page.inner_text(f"#{section}")
    assert "native, 2 processes" not in page.inner_text("main")


def test_map_of_efficiency_shows_what_is_stored_and_where_it_breaks_even(golden, visit):
    root, commits = golden
    page = visit(at(root / "html" / "speedup"), model="forest", libraries="1.9.1", runner="process")
    costs = stored(root / "results", COST)
    rows = table(page, "batches")
    # 8,000 rows in batches of 1,000 were measured again by a newer commit.
    expected = {
        (int(key[5]), int(key[6])): 1 / value / 2
        for key, (value, _, _) in sorted(costs.items(), key=lambda item: commits.index(item[0][1]))
        if key[0] == "1.9.1" and key[2] == "2" and key[3:5] == ("forest", "process")
    }
    shown = {tuple(int(text.replace(",", "")) for text in row[:2]): row[2] for row in rows}
    assert shown == {size: f"{round(share * 100)}%" for size, share in expected.items()}
    cells = page.locator("#batches .cell-value").all_text_contents()
    assert sorted(cells) == sorted(shown.values())
    judged = {tuple(row[:2]): row[5] for row in rows}
    assert judged["1,000", "1,000"] == "✗ loses"
    assert judged["8,000", "1,000"] == "✓ wins"
    # 2 columns, 3 rows, one cell empty: the line runs below 1,000 rows, in both columns.
    assert page.locator("#batches .edge").get_attribute("d").count("h") == 2
    assert page.locator("#batches .cell.none").count() == 1


def test_runners_are_shown_side_by_side_with_what_they_cost(golden, visit):
    root, _ = golden
    page = visit(at(root / "html" / "speedup"), model="forest", libraries="1.9.1")
    rows = {row[0]: row[1:] for row in table(page, "runners")}
    assert list(rows) == ["serial", "process", "pool"]
    assert rows["pool"][:2] == ["160 ms", "0.63"]
    assert [row[4:] for row in rows.values()] == [
        ["30.0 µs", "–", "80.0 MB"],
        ["200 µs", "2.60 s", "250 MB"],
        ["1.00 ms", "–", "–"],
    ]


DRAW_ABOVE_ALL_POINTS = """() => {
  const figure = document.createElement("figure");
  const rows = [{ name: "pool", value: 0.8, low: 0.7, high: 0.9 }, { name: "dask", value: null }];
  charts.dots(figure, { width: 600, format: String, title: "", label: "", rule: 1, band: [0.9, 1.9], rows });
  const of = (name) => Number(figure.querySelector("rect.band").getAttribute(name));
  return [of("x"), of("x") + of("width")];
}"""


def test_a_noise_floor_above_all_points_is_drawn_within_the_chart(reference, visit):
    low, high = visit(at(reference)).evaluate(DRAW_ABOVE_ALL_POINTS)
    assert 0 < low < high < 600


def test_golden_results_give_exactly_the_planted_table(golden, visit):
    root, commits = golden
    page = visit(at(root / "html" / "speedup"), machine="alpha (2 × a CPU)")
    shown = [[cell.split("\n") for cell in row] for row in table(page, "changes")]
    assert len(shown) == len(GOLDEN)
    marks = {"worse": "▼ worse", "better": "▲ better", "neither": "● neither"}
    for row, (kind, model, quantity, before, after, meaning, size, skipped, reason) in zip(shown, GOLDEN, strict=True):
        what, change, shown_size, (interval,), *_, step, moved = row
        low, high = map(float, interval.split(" to "))
        assert 1.03 < low < float(shown_size[0]) < high  # outside of the planted noise floor
        assert what[0] == f"{model}: {quantity}"
        assert change[0] == marks[meaning]
        assert change[1].endswith(reason)
        assert float(shown_size[0]) == pytest.approx(size, rel=0.02)
        ends = [commits[one][:8] if kind == "commit" else one for one in (before, after)]
        assert step[0] == " → ".join(ends)
        assert ("1 between was not measured" in step[1]) == bool(skipped)
        if kind == "commit":
            assert step[1].startswith(SUBJECTS[after])
            assert moved == ["none: the code of this project"]
        else:
            assert moved[0] == f"scikit-learn {before} → {after}"
    page.select_option("#choice-show", "worse")
    settle(page)
    assert [row[1].split("\n")[0] for row in table(page, "changes")] == ["▼ worse"] * sum(
        row[5] == "worse" for row in GOLDEN
    )
    page.select_option("#choice-show", "inconclusive")
    settle(page)
    assert {row[0].split(":")[0] for row in table(page, "changes")} == {"shaky"}
    page.select_option("#choice-machine", "alpha (4 × a CPU)")
    settle(page)
    assert "there is no step to judge" in page.inner_text("#changes")


def test_choice_lives_in_the_address(golden, visit):
    root, _ = golden
    address = at(root / "html" / "speedup")
    page = visit(address, machine="alpha (2 × a CPU)")
    page.select_option("#choice-model", "forest")
    settle(page)
    page.select_option("#choice-runner", "pool")
    settle(page)
    page.select_option("#choice-libraries", "1.9.1")
    settle(page)
    choice = {key: values[0] for key, values in parse_qs(page.url.partition("#")[2]).items()}
    assert choice == {
        "machine": "alpha (2 × a CPU)",
        "model": "forest",
        "rows": "8000",
        "batch": "1000",
        "runner": "pool",
        "processes": "2",
        "libraries": "1.9.1",
        "show": "changes",
    }
    again = visit(address, **choice)
    for section in ("verdict", "releases", "batches", "runners", "changes"):
        assert again.inner_text(f"#{section}") == page.inner_text(f"#{section}")
    page.go_back()
    page.go_back()
    settle(page, "document.querySelector('#choice-runner').value === 'process'")
    # A row of the table of changes leads to its charts.
    page.locator("#changes tbody a", has_text="boosting: speedup").click()
    settle(page, "document.querySelector('#choice-model').value === 'boosting'")
    assert "boosting" in page.inner_text("#verdict .answer")


def test_links_lead_to_what_they_show_and_focus_stays_where_it_is(golden, visit):
    root, _ = golden
    choice = {"machine": "alpha (2 × a CPU)", "model": "forest", "runner": "pool", "libraries": "1.9.1"}
    page = visit(at(root / "html" / "speedup"), **choice)
    focused = "document.activeElement.id"
    before = page.url
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate(focused) == "verdict"
    assert page.url == before
    page.evaluate("location.hash = 'releases'")  # a place on the page, and no choice
    settle(page, "true")
    assert page.input_value("#choice-runner") == "pool"
    for kind, section in (("1.7.2 → 1.8.0", "releases"), ("the code of this project", "commits")):
        page.locator("#changes tbody tr", has_text=kind).first.locator("a").click()
        settle(page, f"{focused} === '{section}'")
        top = page.evaluate(f"document.getElementById('{section}').getBoundingClientRect().top")
        assert 0 <= top < 900
    page.focus("#choice-show")
    page.select_option("#choice-show", "worse")
    settle(page)
    assert page.evaluate(focused) == "choice-show"
    assert {row[1].split("\n")[0] for row in table(page, "changes")} == {"▼ worse"}
    page.select_option("#choice-show", "changes")
    page.select_option("#choice-of", "boosting")
    settle(page)
    assert {row[0].split(":")[0] for row in table(page, "changes")} == {"boosting"}
    assert "of=boosting" in page.url


def test_inconclusive_steps_of_one_model_are_not_counted_against_those_of_all(golden, tmp_path, visit, monkeypatch):
    root, _ = golden
    choice = {"machine": "alpha (2 × a CPU)"}
    page = visit(at(root / "html" / "speedup"), **choice)
    page.select_option("#choice-show", "inconclusive")
    settle(page)
    page.select_option("#choice-of", "forest")
    settle(page)
    assert "No step of forest is inconclusive." in page.inner_text("#changes")
    assert page.locator("#changes .note").count() == 0
    page.select_option("#choice-show", "changes")
    settle(page)
    page.select_option("#choice-of", "shaky")
    settle(page)
    assert "no such change of shaky stands out from the noise." in page.inner_text("#changes")
    monkeypatch.setattr("infbench.site.page._MAX_INCONCLUSIVE", 1)
    publisher.write_page(tmp_path / "speedup", load_runs(root / "results"), project="small", subjects={})
    page = visit(at(tmp_path / "speedup"), **choice, show="inconclusive", of="forest")
    assert "No step of forest is among the largest that are inconclusive." in page.inner_text("#changes")
    assert "inconclusive steps of all models, the page has the 1 largest" in page.inner_text("#changes .note")


def test_an_older_tab_does_not_show_a_newer_edition(tmp_path, visit):
    def publish(*models):
        results = tmp_path / "-".join(models)
        for position, model in enumerate(models):
            figures = paired(model, 0.1, 0.06)
            write_result(results, figures, versions=versions_of(RELEASES[position]), commit="a" * 40, date=1)
        publisher.write_page(tmp_path / "speedup", load_runs(results), project="small", subjects={})

    publish("aaa", "bbb")
    page = visit(at(tmp_path / "speedup"), model="aaa")
    publish("aaa", "aab", "bbb")
    page.select_option("#choice-model", "bbb")
    settle(page, "document.getElementById('status').textContent !== ''")
    assert "this page was published anew, reload it" in page.inner_text("#status")
    page.reload()
    settle(page)
    assert "bbb" in page.inner_text("#verdict .answer")


def test_a_release_set_is_found_by_what_it_was_called_when_it_was_the_only_one(tmp_path, visit):
    for joblib in ("1.5.3", "1.6.0"):
        versions = versions_of("1.8.0") | {"joblib": joblib}
        write_result(tmp_path / "results", paired("forest", 0.1, 0.06), versions=versions, commit="a" * 40, date=1)
    write_result(
        tmp_path / "results", paired("forest", 0.1, 0.06), versions=versions_of("1.9.1"), commit="a" * 40, date=1
    )
    publisher.write_page(tmp_path / "speedup", load_runs(tmp_path / "results"), project="small", subjects={})
    page = visit(at(tmp_path / "speedup"), libraries="1.8.0")
    assert page.input_value("#choice-libraries") == "1.8.0, joblib 1.6.0"
    assert "There is no release set “1.8.0” here." in page.inner_text("#status")


def test_a_machine_is_found_by_what_it_was_called_when_it_had_one_kind_of_cpus(golden, visit):
    root, _ = golden
    page = visit(at(root / "html" / "speedup"), machine="alpha")
    assert page.input_value("#choice-machine") == "alpha (4 × a CPU)"
    assert "There is no machine “alpha” here." in page.inner_text("#status")


def test_the_table_of_releases_says_where_the_verdict_is_of_a_newer_commit(golden, visit):
    root, commits = golden
    page = visit(at(root / "html" / "speedup"), machine="alpha (2 × a CPU)", model="forest", libraries="1.9.1")
    assert page.locator("#releases tr[aria-current=true] th").all_inner_texts() == ["1.9.1"]
    told = f"The verdict above is of commit {commits[3][:8]}, measured with scikit-learn 1.9.1 since."
    assert told in page.inner_text("#releases .note")
    page.select_option("#choice-libraries", "1.8.0")
    settle(page)
    assert "The verdict above" not in page.inner_text("#releases .note")


def test_times_that_were_not_measured_are_no_empty_chart(golden, visit):
    root, _ = golden
    page = visit(at(root / "html" / "speedup"), model="forest", libraries="1.9.1", rows="64000", runner="process")
    assert page.input_value("#choice-rows") == "64000"
    assert page.locator("#releases .axis").all_text_contents() == ["Speedup"]
    assert "no times" in page.inner_text("#releases .note")


def test_what_does_not_exist_or_was_not_measured_is_said(golden, visit):
    root, _ = golden
    address = at(root / "html" / "speedup")
    page = visit(address, machine="alpha (2 × a CPU)", model="no_such_model")
    assert "There is no model “no_such_model” here." in page.inner_text("#status")
    page = visit(
        address, machine="alpha (2 × a CPU)", model="forest", runner="pool", rows="64000", batch="1000", processes="2"
    )
    assert page.inner_text("#status").startswith("Not measured together: runner pool")
    assert page.input_value("#choice-runner") == "pool"
    page = visit(address, machine="alpha (2 × a CPU)", model="forest", runner="pool", libraries="1.5.2")
    assert "Not measured" in page.inner_text("#verdict .answer")


@contextlib.contextmanager
def serving(directory):
    """Serve a directory on the loopback address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def served(golden):
    root, _ = golden
    with serving(root / "html") as address:
        yield address


def test_page_works_from_any_server_and_asvs_navigation_leads_to_it(served, visit, golden):
    root, _ = golden
    page = visit(f"{served}/speedup/index.html", model="forest")
    assert len(table(page, "releases")) == len(RELEASES)
    (link,) = re.findall(r'<a href="([^"]+)">Speedup</a>', (root / "html" / "index.html").read_text())
    assert (root / "html" / link).is_file()
    links = page.eval_on_selector_all("a[href]", "links => links.map(link => link.href)")
    for link in links:
        path = link.removeprefix(served).partition("#")[0]
        assert path.startswith("/")
        assert (root / "html" / path.lstrip("/")).is_file(), link


@pytest.mark.skipif(not (ROOT / ".asv/npm/.done").is_file(), reason="make .asv/npm/.done fetches what asv's pages load")
def test_asvs_own_pages_open_without_a_network(golden, tmp_path, browser):
    root, _ = golden
    shutil.copytree(root / "html", tmp_path / "html")
    assert stock.take_along(tmp_path / "html" / "index.html", ROOT / ".asv/npm/node_modules") == []
    context = browser.new_context()
    page = context.new_page()
    elsewhere = []
    with serving(tmp_path / "html") as address:
        page.on("request", lambda request: None if request.url.startswith(address) else elsewhere.append(request.url))
        page.goto(f"{address}/index.html")
        page.wait_for_selector("#summarygrid-display a")
        page.locator("#nav a", has_text="Benchmark list").click()
        page.wait_for_selector("#summarylist-body td")
        page.goto(f"{address}/index.html#throughput.Throughput.track_predict_s")
        page.wait_for_selector("#main-graph canvas")
        page.wait_for_load_state("networkidle")
        page.locator("#nav a", has_text="Speedup").click()
        settle(page)
        context.close()
    assert elsewhere == []


EVIL = "</script><img src=x onerror=window.hacked=1><script>window.hacked=1</script>\"'`${window.hacked=1}&amp;\u2028|"


def test_script_in_every_string_of_a_result_is_inert(tmp_path, visit):
    results = tmp_path / "results"
    for position, release in enumerate(RELEASES):
        evil = EVIL + release
        figures = together(paired(evil, 0.1 * (position + 1), 0.06), paired("forest", 0.1, 0.06))
        for values in figures.values():
            values |= {
                (model, EVIL, *rest): value for (model, runner, *rest), value in values.items() if runner != "serial"
            }
        path = write_result(results, figures, versions=versions_of(release), commit=f"{position}" * 40, date=1)
        content = json.loads(path.read_text())
        content["params"] |= {key: EVIL + value for key, value in content["params"].items()}
        content["commit_hash"] = content["commit_hash"] + EVIL
        path.write_text(json.dumps(content))
    machine = results / "alpha" / "machine.json"
    machine.write_text(json.dumps(json.loads(machine.read_text()) | {"machine": EVIL + "alpha"}))
    runs = load_runs(results)
    assert len(runs) == len(RELEASES)
    subjects = {run.commit: EVIL for run in runs}
    publisher.write_page(tmp_path / "speedup", runs, project=EVIL, subjects=subjects)
    page = visit(at(tmp_path / "speedup"))
    models = page.eval_on_selector_all("#choice-model option", "options => options.map(option => option.value)")
    assert models == sorted(["forest", *(EVIL + release for release in RELEASES)])
    for model in (models[0], models[-1]):
        page.select_option("#choice-model", model)
        settle(page)
        page.select_option("#choice-runner", EVIL)
        settle(page)
        assert EVIL.replace("\u2028", "") in page.inner_text("#verdict").replace("\u2028", "")
        assert page.evaluate("window.hacked") is None
        assert page.locator("img, iframe, object, embed").count() == 0
        assert page.locator("script").count() == 3 + page.evaluate("document.head.querySelectorAll('script').length")
    # What is not drawn is inert as well: no part of the page closes its script.
    html = (tmp_path / "speedup" / "index.html").read_text()
    assert html.count("</script>") == 3
    assert "<img" not in html


LOOK = """() => {
    const seen = (color) => { const [r, g, b, a = 1] = color.match(/[\\d.]+/g).map(Number); return {r, g, b, a}; };
    const linear = (v) => v <= 0.04045 * 255 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4;
    const luminance = ({r, g, b}) => [r, g, b].map(linear)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (element) => {
        for (let one = element; one; one = one.parentElement) {
            const color = seen(getComputedStyle(one).backgroundColor);
            if (color.a > 0.5) return color;
        }
        return {r: 255, g: 255, b: 255};
    };
    const poor = [];
    for (const element of document.querySelectorAll("body *")) {
        const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
        if (!own || element.closest("noscript, script, option, .skip") || !element.getClientRects().length) continue;
        if (element.classList.contains("cell-value") || element.classList.contains("cell-note")) continue;
        const style = getComputedStyle(element);
        const color = seen(element.closest("svg") ? style.fill : style.color);
        const [light, dark] = [luminance(color), luminance(behind(element))].sort((a, b) => b - a);
        const contrast = (light + 0.05) / (dark + 0.05);
        if (contrast < 4.5) poor.push([element.tagName, element.textContent.slice(0, 40), contrast]);
    }
    const cut = [...document.querySelectorAll("figure svg text")].filter((text) => {
        const [inner, outer] = [text.getBoundingClientRect(), text.ownerSVGElement.getBoundingClientRect()];
        return inner.left < outer.left - 1 || inner.right > outer.right + 1 || inner.bottom > outer.bottom + 1;
    }).map((text) => text.textContent);
    return {poor, cut, wide: document.documentElement.scrollWidth - innerWidth};
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 800, 390])
def test_page_fits_every_width_and_is_legible_in_both_schemes(golden, visit, width, scheme):
    root, _ = golden
    page = visit(at(root / "html" / "speedup"), width=width, scheme=scheme, model="forest", libraries="1.9.1")
    assert page.evaluate(LOOK) == {"poor": [], "cut": [], "wide": 0}


def test_labels_of_releases_do_not_run_into_each_other_on_a_phone(reference, visit):
    page = visit(at(reference), width=390)
    overlaps = page.evaluate(
        """() => [...document.querySelectorAll("#releases svg[role='img']")].flatMap((chart) => {
            const boxes = [...chart.querySelectorAll(".tick.x")].map((text) => text.getBoundingClientRect());
            return boxes.flatMap((one, i) => boxes.slice(i + 1).filter((other) =>
                Math.abs(one.top - other.top) < 2 && one.right > other.left && other.right > one.left));
        }).length"""
    )
    assert overlaps == 0


def test_everything_can_be_reached_and_read_with_the_keyboard(golden, visit):
    root, _ = golden
    page = visit(at(root / "html" / "speedup"), model="forest", libraries="1.9.1")
    reached = []
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.id || document.activeElement.getAttribute('aria-label') || ''")
        )
    for name in ("machine", "model", "rows", "batch", "runner", "processes", "libraries", "show"):
        assert f"choice-{name}" in reached
    charts = {name for name in reached if "The table has the same figures" in name}
    assert len(charts) == page.locator("figure:has(.readout) svg[role=img]").count() > 0
    without_steps = ("Efficiency by", "Speedup by runner")
    assert not any(name.startswith(without_steps) for name in charts)
    page.focus("#choice-model")
    page.keyboard.press("ArrowUp")
    settle(page)
    assert page.input_value("#choice-model") == "boosting"
    page.locator("#releases svg[role=img]").first.focus()
    readout = page.locator("#releases .readout").first
    page.keyboard.press("Home")
    assert "scikit-learn 1.5.2" in readout.inner_text()
    page.keyboard.press("ArrowRight")
    assert "scikit-learn 1.6.1" in readout.inner_text()
    assert "one process 100 ms" in readout.inner_text()
    page.set_viewport_size({"width": 900, "height": 900})  # all is drawn anew
    settle(page, "document.body.clientWidth <= 900")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("Serial and parallel time by")


def test_without_results_the_page_says_so(tmp_path, browser):
    publisher.write_page(tmp_path / "speedup", [], project="small", subjects={})
    page = browser.new_page()
    page.goto(at(tmp_path / "speedup"))
    assert "There are no results yet" in page.inner_text("#status")
    page.close()


def test_eight_releases_and_ten_commits_are_a_light_page(tmp_path):
    figures = together(
        *(
            {
                name: {
                    (model, runner, rows, *rest): value
                    for (_, _, _, *rest), value in values.items()
                    for runner in runners
                    for rows in (1_000, 8_000)
                }
                for name, values in paired("model", 0.1, 0.06).items()
            }
            for model in ("random_forest", "hist_gradient_boosting", "logistic_regression")
            for runners in (("serial", "process", "pool", "native", "loky"),)
        )
    )
    for number, release in itertools.product(range(10), range(8)):
        versions = versions_of("1.9.1") | {"scikit-learn": f"1.{release}.0"}
        write_result(tmp_path / "results", figures, versions=versions, commit=f"{number}" * 40, date=number)
    write_benchmarks(tmp_path / "results")
    publisher.write_page(tmp_path / "speedup", load_runs(tmp_path / "results"), project="p", subjects={})
    sizes = {
        path.relative_to(tmp_path / "speedup"): path.stat().st_size for path in (tmp_path / "speedup").rglob("*.*")
    }
    names = {path.name for path in sizes if path.parts[0] == "data"}
    assert names == {"changes-0.js", "model-0-0.js", "model-0-1.js", "model-0-2.js"}
    loaded = [
        size for path, size in sizes.items() if path.parts[0] != "data" and path.suffix in {".html", ".js", ".css"}
    ]
    parts = [size for path, size in sizes.items() if path.parts[0] == "data"]
    assert sum(loaded) + sum(parts) < 300_000 * math.ceil(len(parts) / 2)
    assert sum(loaded) + max(parts) < 300_000
