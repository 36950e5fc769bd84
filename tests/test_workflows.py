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
    "nightly.measure": {"contents"},
    "nightly.publish": {"pages", "id-token"},
    "releases.check": {"actions", "contents", "pull-requests"},
}


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


def test_a_night_keeps_its_results_whatever_asv_wrote_into_tracked_files(tmp_path):
    content = yaml.safe_load((ROOT / ".github" / "workflows" / "nightly.yml").read_text(encoding="utf-8"))
    steps = {step["name"]: step["run"] for step in content["jobs"]["measure"]["steps"] if "name" in step}
    environ = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "HOME": str(tmp_path)}
    work = tmp_path / "work"

    def run(*command, cwd=work):
        subprocess.run(command, cwd=cwd, env=environ, check=True, capture_output=True, text=True)

    def night(text):
        """Do what the job does in a fresh clone, with a bench that writes as asv does."""
        run("git", "clone", "--quiet", str(tmp_path / "origin"), str(work), cwd=tmp_path)
        run("bash", "-e", "-c", steps["Take over the results of earlier nights"])
        (work / "results" / "benchmarks.json").write_text(text)
        (work / "results" / "github-ubuntu-24.04").mkdir(exist_ok=True)
        (work / "results" / "github-ubuntu-24.04" / f"{text}.json").write_text(text)
        run("bash", "-e", "-c", steps["Keep the results"])
        shutil.rmtree(work)

    origin = tmp_path / "origin"
    (origin / "results").mkdir(parents=True)
    (origin / "results" / "benchmarks.json").write_text("old")
    (origin / "code.py").write_text("")
    run("git", "init", "--quiet", "--initial-branch=main", cwd=origin)
    run("git", "add", "--all", cwd=origin)
    who = ("-c", "user.name=tester", "-c", "user.email=tester@example.com")
    run("git", *who, "commit", "--quiet", "--message", "begin", cwd=origin)
    (origin / "results" / "reference").mkdir()
    (origin / "results" / "reference" / "old.json").write_text("")
    run("git", "add", "--all", cwd=origin)
    run("git", *who, "commit", "--quiet", "--message", "results", cwd=origin)
    night("first")
    run("git", "rm", "--quiet", "-r", "results/reference", cwd=origin)
    run("git", *who, "commit", "--quiet", "--message", "they were wrong", cwd=origin)
    night("second")
    listed = subprocess.run(
        ["git", "ls-tree", "-r", "--name-only", "results"], cwd=origin, capture_output=True, text=True, check=True
    )
    own = [f"results/github-ubuntu-24.04/{name}.json" for name in ("first", "second")]
    assert listed.stdout.split() == ["results/benchmarks.json", *own]


def test_the_machine_of_a_night_is_one_that_asv_knows_with_its_cpus(tmp_path):
    pytest.importorskip("asv", reason="asv comes with the bench extra")
    content = yaml.safe_load((ROOT / ".github" / "workflows" / "nightly.yml").read_text(encoding="utf-8"))
    (script,) = (step["run"] for step in content["jobs"]["measure"]["steps"] if step.get("id") == "bench")
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
