"""What the workflows may do."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

# Job -> what it may write. A job that is not here may write nothing.
MAY_WRITE = {
    "comment.comment": {"pull-requests"},
    "nightly.keep": {"contents"},
    "nightly.publish": {"pages", "id-token"},
    "releases.propose": {"actions", "contents", "pull-requests"},
}

MACHINE = "github-ubuntu-24.04"
WHO = ("-c", "user.name=tester", "-c", "user.email=tester@example.com")

# A stand-in for GitHub's command, which opens and lists pull requests by their branches alone. It knows one artifact.
GH = """\
case "$1 $2" in
"run download") mkdir -p "$7" && cp -r "$HOME/artifact/." "$7" ;;
"pr list") grep -sx -e "$4" "$HOME/pulls" || true ;;
"pr create") test ! -e "$HOME/forbidden" && echo "$5" >> "$HOME/pulls" ;;
esac
"""


def put_command(path, script):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def scripts(workflow, job):
    """Give what the steps of a job run, by name or id."""
    content = yaml.safe_load((ROOT / ".github" / "workflows" / f"{workflow}.yml").read_text(encoding="utf-8"))
    return {step.get("name", step.get("id")): step["run"] for step in content["jobs"][job]["steps"] if "run" in step}


@pytest.fixture
def run(tmp_path):
    """Give a function that runs a command with a home of its own, where `bin` comes first on PATH."""
    put_command(tmp_path / "bin" / "gh", GH)
    environ = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "HOME": str(tmp_path)}
    environ["PATH"] = f"{tmp_path / 'bin'}{os.pathsep}{environ['PATH']}"

    def run(*command, cwd, **more):
        done = subprocess.run(command, cwd=cwd, env=environ | more, check=True, capture_output=True, text=True)
        return done.stdout

    return run


@pytest.fixture
def origin(tmp_path, run):
    """Give a repository to be cloned, with one commit."""
    origin = tmp_path / "origin"
    (origin / "results").mkdir(parents=True)
    (origin / "results" / "benchmarks.json").write_text("old")
    (origin / "asv.conf.json").write_text("")
    run("git", "init", "--quiet", "--initial-branch=main", cwd=origin)
    run("git", "add", "--all", cwd=origin)
    run("git", *WHO, "commit", "--quiet", "--message", "begin", cwd=origin)
    return origin


@pytest.fixture
def night(tmp_path, run, origin):
    """Give a function that does what the job does in a fresh clone, and returns the files that are kept then.

    The bench writes as asv does, unless it failed before it measured anything: then there is no text.
    """
    work, artifact = tmp_path / "work", tmp_path / "artifact"

    def night(text, *, network=True):
        run("git", "clone", "--quiet", str(origin), str(work), cwd=tmp_path)
        run("git", "remote", "set-url", "origin", str(origin) if network else "nowhere", cwd=work)
        measure = scripts("nightly", "measure")["Take over the results of earlier nights"]
        run("bash", "-e", "-c", measure, cwd=work)
        if text is not None:
            (work / "results" / "benchmarks.json").write_text(text)
            (work / "results" / MACHINE).mkdir(exist_ok=True)
            (work / "results" / MACHINE / f"{text}.json").write_text(text)
        (work / "results").rename(artifact)
        shutil.rmtree(work)
        run("git", "clone", "--quiet", str(origin), str(work), cwd=tmp_path)
        run("bash", "-e", "-c", scripts("nightly", "keep")["Keep the results"], cwd=work)
        for path in (work, artifact):
            shutil.rmtree(path)
        return run("git", "ls-tree", "-r", "--name-only", "results", cwd=origin).split()

    return night


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.stem)
def workflow(request):
    return request.param.stem, yaml.safe_load(request.param.read_text(encoding="utf-8"))


def test_there_is_one_for_each_purpose():
    assert [path.stem for path in WORKFLOWS] == ["ci", "comment", "compare", "nightly", "releases"]


def test_nothing_is_allowed_but_what_a_job_needs(workflow):
    name, content = workflow
    assert content["permissions"] == {}
    for job, description in content["jobs"].items():
        writes = {scope for scope, access in description["permissions"].items() if access == "write"}
        assert writes == MAY_WRITE.get(f"{name}.{job}", set())
        assert description["timeout-minutes"] <= 90


def test_actions_are_pinned_by_commit_and_say_which_version_that_is(workflow):
    name, content = workflow
    text = (ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8")
    uses = re.findall(r"uses: (.*)", text)
    assert len(uses) == sum("uses" in step for job in content["jobs"].values() for step in job["steps"])
    assert all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line) for line in uses)


def test_a_night_keeps_its_results_whatever_asv_wrote_into_tracked_files(run, origin, night):
    (origin / "results" / "reference").mkdir()
    (origin / "results" / "reference" / "old.json").write_text("")
    run("git", "add", "--all", cwd=origin)
    run("git", *WHO, "commit", "--quiet", "--message", "results", cwd=origin)
    night("first")
    run("git", "rm", "--quiet", "-r", "results/reference", cwd=origin)
    run("git", *WHO, "commit", "--quiet", "--message", "they were wrong", cwd=origin)
    own = [f"results/{MACHINE}/{name}.json" for name in ("first", "second")]
    assert night("second") == ["results/benchmarks.json", *own]


def test_a_network_that_fails_costs_no_earlier_night(night):
    night("first")
    assert f"results/{MACHINE}/first.json" in night("second", network=False)


def test_a_night_that_measured_nothing_does_not_stop_the_next(night):
    assert night(None) == ["results/benchmarks.json"]
    assert night("first") == ["results/benchmarks.json", f"results/{MACHINE}/first.json"]


def test_a_night_adds_nothing_to_what_other_cpus_measured_of_this_commit(tmp_path, run, origin):
    tonight = {"cpu": "A", "num_cpu": "4"}
    noted = json.dumps({MACHINE: tonight})
    put_command(origin / ".venv" / "bin" / "asv", f"echo '{noted}' > ~/.asv-machine.json")
    put_command(tmp_path / "bin" / "make", f'ls results/{MACHINE} > "$HOME/found"')
    commit = run("git", "rev-parse", "HEAD", cwd=origin)[:8]
    files = {
        f"{commit}-same.json": {"params": tonight},
        f"{commit}-other.json": {"params": tonight | {"cpu": "B"}},
        f"{commit}-fewer.json": {"params": tonight | {"num_cpu": "2"}},
        "earlier-other.json": {"params": tonight | {"cpu": "B"}},
        "machine.json": tonight | {"cpu": "B"},  # of last night: asv writes it when it runs
    }
    (origin / "results" / MACHINE).mkdir()
    for name, content in files.items():
        (origin / "results" / MACHINE / name).write_text(json.dumps(content))
    run("bash", "-e", "-c", scripts("nightly", "measure")["bench"], cwd=origin)
    found = set((tmp_path / "found").read_text().split())
    assert found == {f"{commit}-same.json", "earlier-other.json", "machine.json"}


def test_new_releases_get_their_pull_request_though_it_could_not_be_opened_at_first(tmp_path, run, origin):
    script = scripts("releases", "propose")["Open the pull request"]
    work = tmp_path / "work"
    (tmp_path / "artifact").mkdir()

    def monday(day, numpy="2.5.0"):
        libraries = {"numpy": numpy, "scipy": "1.18.0", "joblib": "1.6.1", "scikit-learn": "1.10.0"}
        (tmp_path / "artifact" / "asv.conf.json").write_text(json.dumps({"req": libraries}, indent=4))
        run("git", "clone", "--quiet", str(origin), str(work), cwd=tmp_path)
        try:
            run("bash", "-e", "-c", script, cwd=work, GIT_COMMITTER_DATE=f"2030-01-{day}T06:00:00Z")
        finally:
            shutil.rmtree(work)

    (tmp_path / "forbidden").touch()  # as repositories begin: Actions may not open pull requests
    with pytest.raises(subprocess.CalledProcessError):
        monday("07")
    branch = run("git", "for-each-ref", "--format=%(refname:short)", "refs/heads/release-set-*", cwd=origin).strip()
    assert branch == "release-set-numpy-2.5-joblib-1.6-scikit-learn-1.10"
    (tmp_path / "forbidden").unlink()
    monday("14")
    monday("21")
    monday("28", numpy="2.5.1")
    assert (tmp_path / "pulls").read_text().split() == [branch]
    assert run("git", "log", "-1", "--format=%cs", branch, cwd=origin).strip() == "2030-01-14"
    monday("28", numpy="2.6.0")
    assert (tmp_path / "pulls").read_text().split() == [branch, branch.replace("2.5", "2.6")]


def test_the_machine_of_a_night_is_one_that_asv_knows_with_its_cpus(tmp_path):
    pytest.importorskip("asv", reason="asv comes with the bench extra")
    script = scripts("nightly", "measure")["bench"]
    (measured_on,) = re.findall(r'ASV_ARGS="--machine (\S+)', script)
    assert script.index("asv machine") < script.index("make bench")
    commands = re.findall(r"^\.venv/bin/(asv machine .*)$", script, re.MULTILINE)
    for command in commands:
        environ = {**os.environ, "HOME": str(tmp_path)}
        subprocess.run(["bash", "-e", "-c", f"{sys.executable} -m {command}"], cwd=ROOT, env=environ, check=True)
    noted = json.loads((tmp_path / ".asv-machine.json").read_text())[measured_on]
    assert noted["num_cpu"].isdecimal()
    assert all(noted[fact] for fact in ("arch", "cpu", "os", "ram"))


def test_what_a_stranger_wrote_never_becomes_part_of_a_script(workflow):
    _, content = workflow
    for job in content["jobs"].values():
        for step in job["steps"]:
            assert "${{" not in step.get("run", "")


def test_code_of_a_pull_request_never_meets_a_token_that_writes(workflow):
    name, content = workflow
    triggers = content[True]  # YAML takes `on` for a boolean
    assert "pull_request_target" not in triggers
    if "pull_request" in triggers:
        assert not any(key.startswith(f"{name}.") for key in MAY_WRITE)
    if "workflow_run" in triggers:
        assert not any("checkout" in step.get("uses", "") for job in content["jobs"].values() for step in job["steps"])


_INSTALLED = r"\b(make|pip|uv)\b|\.venv/|\.ci/"
_TOKEN = r"github\.token|secrets\."


def test_what_is_installed_never_meets_a_token(workflow):
    _, content = workflow
    for job in content["jobs"].values():
        # Not even one after the other: what has run once may have left something on the machine.
        installs = any(re.search(_INSTALLED, step.get("run", "")) for step in job["steps"])
        environ = [content.get("env"), job.get("env"), *(step.get("env") for step in job["steps"])]
        has_token = re.search(_TOKEN, str(environ)) is not None
        assert not (installs and (has_token or "write" in job["permissions"].values()))
        for step in job["steps"]:
            if "actions/checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False
            script = step.get("run", "")
            if "git push" in script:
                assert re.search(_TOKEN, str(step["env"]))
                assert script.index("gh auth setup-git") < script.index("git push")
