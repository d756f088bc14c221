"""Accepted runs, pushed to a real remote: many at once, killed, refused; none is lost, none there twice."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gate.baseline import AcceptedRun
from gate.baseline.expected import expected
from gate.baseline.files import parse_baseline, read_baseline
from tests.gate.e2e.conftest import Project
from tests.gate.github.double import Double
from tests.gate.github.rig import AUTHOR, git

KILLS = int(os.environ.get("GATE_KILLS", "6"))


@pytest.fixture
def remote(project: Project, tmp_path: Path) -> Path:
    """A bare repository with the project and a baseline of one run."""
    project.accept(1)
    (project.root / ".gitignore").write_text(".gate\n__pycache__\n*.json\n")
    git(project.root, "init", "--quiet", "--initial-branch", "main")
    git(project.root, "add", "--all")
    git(project.root, "commit", "--quiet", "--message", "base")
    git(tmp_path, "clone", "--quiet", "--bare", str(project.root), "remote.git")
    return tmp_path / "remote.git"


def clone(remote: Path, project: Project, name: str, *options: str) -> Project:
    """A clone with the report of a run of its own."""
    root = remote.parent / name
    git(remote.parent, "clone", "--quiet", *options, f"file://{remote}", name)
    shutil.copytree(project.root / ".gate", root / ".gate")
    other = Project(root)
    number = int("".join(filter(str.isdigit, name)) or 0)
    other.edit(lambda document: document.update(created=document["created"] + number))
    return other


def start(project: Project, commit: str, *more: str) -> "subprocess.Popen[str]":
    command = ["baseline", "update", "--commit", commit, "--push", "main", "--quiet", *more]
    return subprocess.Popen(
        [sys.executable, "-c", "from gate.cli import main; main()", *command], cwd=project.root,
        env=os.environ | AUTHOR, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def runs_in(remote: Path, branch: str = "main") -> tuple[AcceptedRun, ...]:
    """What the baseline on the remote's branch holds; every line of it is read."""
    names = git(remote, "ls-tree", "-r", "--name-only", branch).splitlines()
    files = {
        name: git(remote, "show", f"{branch}:{name}").encode() for name in names if name.endswith(".jsonl")
    }
    (suite,) = expected(parse_baseline(files)).suites
    return suite.runs


@pytest.mark.long
def test_twenty_at_once_are_all_there_and_none_is_there_twice(project: Project, remote: Path):
    clones = [clone(remote, project, f"clone{n}") for n in range(1, 21)]
    processes = [start(other, f"c{n}") for n, other in enumerate(clones, start=1)]
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 20, said
    commits = [run.commit for run in runs_in(remote)]
    assert sorted(commits) == sorted(["c0", *(f"c{n}" for n in range(1, 21))])
    git(remote, "fsck", "--strict")
    assert git(remote, "log", "--merges", "--format=%h", "main") == "", "the history is linear"
    assert len(git(remote, "log", "--format=%h", "main").splitlines()) == 21


@pytest.mark.long
def test_killed_at_any_moment_the_store_verifies_and_the_next_call_adds_what_is_missing(
    project: Project, remote: Path
):
    chance = random.Random(7)
    other = clone(remote, project, "clone1")
    for number in range(KILLS):
        process = start(other, f"c{number}")
        time.sleep(chance.uniform(0.05, 0.9))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        kept = {run.commit for run in runs_in(remote)}  # whole, whatever happened
        assert kept <= {"c0", *(f"c{n}" for n in range(number + 1))}
        again = start(other, f"c{number}")
        again.communicate(timeout=60)
        assert again.returncode == 0
        assert f"c{number}" in {run.commit for run in runs_in(remote)}
        other.edit(lambda document: document.update(created=document["created"] + 1))
    git(remote, "fsck", "--strict")
    assert git(other.root, "status", "--porcelain") == ""


def test_the_work_tree_is_not_touched_and_the_message_has_figures(project: Project, remote: Path):
    other = clone(remote, project, "clone3")
    (other.root / "test_api.py").write_text("half done")
    before = git(other.root, "status", "--porcelain")
    result = other.gate("baseline", "update", "--commit", "c3", "--push", "main")
    assert result.code == 0, result.text
    assert "pushed " in result.out
    assert git(other.root, "status", "--porcelain") == before
    message = git(remote, "log", "-1", "--format=%B", "main")
    assert message.splitlines()[0] == "chore(baseline): accept c3 [skip ci]"
    assert "8 metrics, 3 tests" in message
    assert git(remote, "show", "main:test_api.py") == (project.root / "test_api.py").read_text().strip()


def test_the_same_run_twice_changes_nothing(project: Project, remote: Path):
    other = clone(remote, project, "clone1")
    for said in ("pushed ", "main already has this run"):
        assert said in other.gate("baseline", "update", "--commit", "c1", "--push", "main").out
    assert len(git(remote, "log", "--format=%h", "main").splitlines()) == 2


@pytest.mark.long
def test_twenty_in_one_directory_are_all_there_though_some_are_killed(project: Project):
    """Without a remote: under a lock, by rename."""
    document = json.loads(project.report.read_text())
    processes: list[subprocess.Popen[str]] = []
    for number in range(20):
        file = project.root / f"run{number}" / "api.json"
        file.parent.mkdir()
        file.write_text(json.dumps(document | {"created": document["created"] + number / 100}))
        command = ["baseline", "update", str(file), "--commit", f"c{number}", "--quiet"]
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", "from gate.cli import main; main()", *command],
                cwd=project.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
        )  # fmt: skip
    for process in processes[::7]:
        process.kill()
    said = [process.communicate(timeout=120)[0] for process in processes]
    alive = [number for number, process in enumerate(processes) if process.returncode == 0]
    assert {number for number in range(20) if number % 7} <= set(alive), said
    assert project.gate("baseline", "verify").code == 0
    (suite,) = read_baseline(project.root / "tests" / "baseline").suites
    commits = [record.commit for record in suite.records]
    assert len(commits) == len(set(commits))
    assert {f"c{number}" for number in alive} <= set(commits)


def test_another_attempt_of_a_run_takes_its_place(project: Project, remote: Path):
    other = clone(remote, project, "clone1")
    for _ in range(3):
        other.edit(lambda document: document.update(created=document["created"] + 1))
        assert other.gate("baseline", "update", "--commit", "c1", "--run", "42", "--push", "main").code == 0
    assert [run.commit for run in runs_in(remote)] == ["c0", "c1"]
    assert other.gate("baseline", "update", "--commit", "c1", "--run", "43", "--push", "main").code == 0
    assert len(runs_in(remote)) == 2, "the same report is the same run, whoever brings it"


def test_a_protected_branch_refuses_with_the_remedy(project: Project, remote: Path):
    hook = remote / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho 'protected branch: checks are required' >&2\nexit 1\n")
    hook.chmod(0o755)
    result = clone(remote, project, "clone1").gate("baseline", "update", "--commit", "c1", "--push", "main")
    assert result.code == 1
    assert "rejected the push to main: pre-receive hook declined" in result.err
    assert "--pull-request" in result.err
    assert [run.commit for run in runs_in(remote)] == ["c0"]


@pytest.fixture
def protected(remote: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    """The remote takes no push to main; the API that opens pull requests is told to the gate."""
    hook = remote / "hooks" / "update"
    hook.write_text('#!/bin/sh\ntest "$1" != refs/heads/main || { echo "protected branch" >&2; exit 1; }\n')
    hook.chmod(0o755)
    with Double().serving() as double:
        monkeypatch.setenv("GITHUB_REPOSITORY", "acme/shop")
        monkeypatch.setenv("GITHUB_API_URL", double.url)
        monkeypatch.setenv("GITHUB_TOKEN", "writer")
        monkeypatch.delenv("GITHUB_EVENT_PATH", raising=False)
        yield double


def test_a_pull_request_brings_what_a_protected_branch_refuses(
    project: Project, remote: Path, protected: Double
):
    for number in (1, 2):
        other = clone(remote, project, f"clone{number}")
        result = other.gate(
            "baseline", "update", "--commit", f"c{number}", "--push", "main", "--pull-request"
        )
        assert (result.code, "pull request #" in result.out) == (0, True), result.text
    assert len(protected.asked("pulls/create")) == 1, "the second run goes to the same one"
    assert protected.violations == []
    assert [run.commit for run in runs_in(remote)] == ["c0"]
    assert [run.commit for run in runs_in(remote, "gate-baseline-for/main")] == ["c0", "c1", "c2"]
    assert git(remote, "rev-parse", "gate-baseline-for/main^") == git(remote, "rev-parse", "main")


def test_a_branch_that_is_not_there_is_begun_without_history(project: Project, remote: Path):
    other = clone(remote, project, "clone1")
    assert other.gate("baseline", "update", "--commit", "c1", "--push", "gate-baseline").code == 0
    assert [run.commit for run in runs_in(remote, "gate-baseline")] == ["c1"]
    assert git(remote, "log", "--format=%P", "gate-baseline") == ""


def test_a_policy_that_names_a_branch_keeps_the_baseline_there(project: Project, remote: Path):
    other = clone(remote, project, "clone1")
    rules = other.root / "thresholds.yaml"
    rules.write_text(rules.read_text() + "baseline_branch: gate-baseline\n")
    git(other.root, "rm", "-r", "--quiet", "tests/baseline")
    git(other.root, "commit", "--all", "--quiet", "--message", "a branch for the baseline")
    git(other.root, "push", "--quiet", "origin", "main")
    commit = git(other.root, "rev-parse", "HEAD")
    refused = other.gate("baseline", "update", "--commit", commit)
    assert (refused.code, "keeps the baseline on branch gate-baseline" in refused.err) == (2, True)
    assert "no accepted runs in" in other.gate("baseline", "show").out
    for _ in range(2):
        done = other.gate("baseline", "update", "--commit", commit, "--push", "main")
        assert done.code == 0, done.text
        other.edit(lambda document: document.update(created=document["created"] + 1))
    assert [run.commit for run in runs_in(remote, "gate-baseline")] == [commit] * 2
    assert git(remote, "rev-parse", "main") == commit, "the code's branch is left alone"
    git(other.root, "switch", "--quiet", "--create", "change")
    git(other.root, "commit", "--quiet", "--allow-empty", "--message", "work")
    _, verdict = other.check("--base", "origin/main")
    assert verdict["environment"]["comparable_runs"] == 2
    for command in (["show"], ["verify"]):
        assert "gate-baseline" in other.gate("baseline", *command).out or command == ["show"]
    assert other.gate("history", "api.home").code == 0
    assert other.gate("explain", "api.home").code == 0
    assert other.gate("baseline", "pin").code == 2


def test_a_rebuild_takes_the_place_of_what_was_remembered(project: Project, remote: Path):
    other = clone(remote, project, "clone1")
    other.edit(lambda document: document.update(created=document["created"] + 9))
    assert other.gate("baseline", "update", "--commit", "c9", "--baseline", "fresh").code == 0
    rebuild = ("baseline", "rebuild", "fresh", "--push", "main", "--by", "kim")
    assert other.gate(*rebuild, "--reason", " ").code == 2
    done = other.gate(*rebuild, "--reason", "new machines")
    assert done.code == 0, done.text
    (run,) = runs_in(remote)
    assert (run.commit, *map(str, run.waived)) == ("c9", "*: kim: new machines")
    message = git(remote, "log", "-1", "--format=%B", "main")
    assert message.startswith("chore(baseline): rebuild from runs of c9 [skip ci]")
    assert "rebuilt by kim: new machines" in message
    (other.root / "empty").mkdir()
    nothing = other.gate("baseline", "rebuild", "empty", "--reason", "x", "--by", "kim", "--push", "main")
    assert (nothing.code, "gate calibrate --new-baseline" in nothing.err) == (2, True)


def test_a_rebuild_that_waits_is_not_undone_by_the_next_update(
    project: Project, remote: Path, protected: Double
):
    other = clone(remote, project, "clone1")
    assert other.gate("baseline", "update", "--commit", "c9", "--baseline", "fresh").code == 0
    waits = ("--push", "main", "--pull-request")
    done = other.gate("baseline", "rebuild", "fresh", "--reason", "new", "--by", "kim", *waits)
    assert done.code == 0, done.text
    for number in (2, 3):
        later = clone(remote, project, f"clone{number}")
        done = later.gate("baseline", "update", "--commit", f"c{number}", *waits)
        assert done.code == 0, done.text
    assert [run.commit for run in runs_in(remote, "gate-baseline-for/main")] == ["c9", "c2", "c3"]


def test_a_clone_without_history_does_not_undo_what_a_rebuild_did(
    project: Project, remote: Path, protected: Double
):
    other = clone(remote, project, "clone1")
    assert other.gate("baseline", "update", "--commit", "c9", "--baseline", "fresh").code == 0
    waits = ("--push", "main", "--pull-request")
    assert other.gate("baseline", "rebuild", "fresh", "--reason", "new", "--by", "kim", *waits).code == 0
    git(remote, "update-ref", "refs/heads/main", newer_than(remote, "main"))
    shallow = clone(remote, project, "clone2", "--depth", "1")
    done = shallow.gate("baseline", "update", "--commit", "c2", *waits)
    assert done.code == 0, done.text
    assert [run.commit for run in runs_in(remote, "gate-baseline-for/main")] == ["c9", "c2"]


def newer_than(remote: Path, branch: str) -> str:
    """A commit on top of a branch that changes nothing."""
    return git(remote, "commit-tree", "-p", branch, "-m", "newer", f"{branch}^{{tree}}")


def test_a_branch_whose_name_another_one_begins_with_is_said_at_once(project: Project, remote: Path):
    git(remote, "branch", "runs/main", "main")
    result = clone(remote, project, "clone1").gate("baseline", "update", "--commit", "c1", "--push", "runs")
    assert (result.code, "exists; cannot create" in result.err) == (1, True), result.text


def test_a_shallow_clone_pushes_too(project: Project, remote: Path):
    other = clone(remote, project, "clone1", "--depth", "1")
    assert other.gate("baseline", "update", "--commit", "c1", "--push", "main").code == 0
    assert len(runs_in(remote)) == 2


def test_a_damaged_baseline_of_the_remote_is_not_written_over(project: Project, remote: Path):
    breaker = clone(remote, project, "clone1")
    (file,) = (breaker.root / "tests" / "baseline").rglob("*.jsonl")
    file.write_bytes(file.read_bytes()[:-9])
    git(breaker.root, "commit", "--all", "--quiet", "--message", "broken")
    git(breaker.root, "push", "--quiet", "origin", "main")
    tip = git(remote, "rev-parse", "main")
    result = clone(remote, project, "clone2").gate("baseline", "update", "--commit", "c2", "--push", "main")
    assert result.code == 4
    assert "damaged line" in result.err
    assert git(remote, "rev-parse", "main") == tip


def test_no_remote_is_said(project: Project, remote: Path):
    other = clone(remote, project, "clone1")
    result = other.gate(
        "baseline", "update", "--commit", "c1", "--push", "main", "--remote", str(remote.parent / "no")
    )
    assert result.code == 2
    assert "git ls-remote" in result.err
    assert json.loads(other.report.read_text())["created"] > 0
