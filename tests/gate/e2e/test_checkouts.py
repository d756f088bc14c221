"""However a job checked the code out, the base is found and judges, or it is said what to fetch."""

from pathlib import Path

import pytest

from tests.gate.e2e.conftest import Project, begin_history
from tests.gate.e2e.test_tampering import CALLS, RULES, fail, more_calls
from tests.gate.github.rig import git


@pytest.fixture
def remote(project: Project, tmp_path: Path) -> Path:
    """A bare repository whose main moved on after the topic branch began, and accepted one more call."""
    root = project.root
    (root / "thresholds.yaml").write_text(RULES)
    (root / ".gitignore").write_text(".gate\n__pycache__\nverdict.json\n")
    project.accept(3)
    begin_history(root)
    git(root, "switch", "--quiet", "--create", "topic")
    (root / "service.py").write_text("CALLS = 2\n")
    save(project, "topic")
    git(root, "switch", "--quiet", "main")
    project.edit(more_calls)
    project.edit(lambda document: document.update(created=document["created"] + 60))
    accepted = ("baseline", "accept", "--commit", "HEAD", "--by", "kim", "--reason", "wanted")
    assert project.gate(*accepted).code == 0
    save(project, "main moves on")
    git(tmp_path, "clone", "--quiet", "--bare", str(root), "remote.git")
    return tmp_path / "remote.git"


def save(project: Project, message: str) -> None:
    git(project.root, "add", "--all")
    git(project.root, "commit", "--quiet", "--message", message)


def clone(remote: Path, project: Project, *options: str, name: str = "work") -> Project:
    """A clone of the topic branch with the report of a run that has one call more than the merge base."""
    root = remote.parent / name
    git(remote.parent, "clone", "--quiet", "--branch", "topic", *options, f"file://{remote}", name)
    (root / ".gate").mkdir()
    (root / ".gate" / "api.json").write_bytes(project.report.read_bytes())
    return Project(root)


def regressions(project: Project, base: str) -> list[str]:
    """What is red, judged by a base."""
    _, verdict = project.check("--base", base)
    assert "report-error" not in {finding["kind"] for finding in verdict["findings"]}
    return [f["subject"] for f in verdict["findings"] if f["level"] == "fail"]


def test_the_merge_base_judges_and_not_the_tip_that_moved_on(project: Project, remote: Path):
    work = clone(remote, project)
    assert regressions(work, "origin/main") == [CALLS]


def test_depth_one_says_what_to_fetch_and_works_afterwards(project: Project, remote: Path):
    work = clone(remote, project, "--depth", "1")
    unknown = work.gate("check", "--base", "origin/main")
    remedy = "git fetch origin main:refs/remotes/origin/main"
    assert (unknown.code, remedy in unknown.err) == (2, True), unknown.err
    git(work.root, *remedy.split()[1:], "--quiet", "--depth", "1")
    shallow = work.gate("check", "--base", "origin/main")
    assert (shallow.code, "git fetch --unshallow" in shallow.err) == (2, True), shallow.err
    git(work.root, "fetch", "--quiet", "--unshallow", "origin")
    assert regressions(work, "origin/main") == [CALLS]


def test_a_detached_head(project: Project, remote: Path):
    work = clone(remote, project)
    git(work.root, "checkout", "--quiet", "--detach")
    assert regressions(work, "origin/main") == [CALLS]


def test_the_merge_commit_of_a_pull_request_is_judged_by_its_first_parent(project: Project, remote: Path):
    """As `actions/checkout` makes it: a detached merge of the tip of main and the topic."""
    work = clone(remote, project)
    git(work.root, "checkout", "--quiet", "--detach", "origin/main")
    git(work.root, "merge", "--quiet", "--no-ff", "--message", "merge", "topic")
    assert regressions(work, "HEAD^1") == [], "main has accepted the second call"
    work.edit(fail)
    assert regressions(work, "HEAD^1") == ["test_api.py::test_other"]


def test_the_merge_commit_of_a_pull_request_at_depth_two(project: Project, remote: Path):
    work = clone(remote, project)
    git(work.root, "checkout", "--quiet", "--detach", "origin/main")
    git(work.root, "merge", "--quiet", "--no-ff", "--message", "merge", "topic")
    git(work.root, "push", "--quiet", "origin", "HEAD:refs/pull/7/merge")
    root = remote.parent / "job"
    git(remote.parent, "init", "--quiet", "job")
    git(root, "fetch", "--quiet", "--depth", "2", f"file://{remote}", "refs/pull/7/merge")
    git(root, "checkout", "--quiet", "--detach", "FETCH_HEAD")
    (root / ".gate").mkdir()
    (root / ".gate" / "api.json").write_bytes(project.report.read_bytes())
    refused = Project(root).gate("check", "--base", "HEAD^1")
    assert (refused.code, "fetch-depth: 0" in refused.err) == (2, True), refused.text
    git(root, "remote", "add", "origin", f"file://{remote}")
    assert regressions(Project(root), "HEAD^1") == [], "what is missing of the history was fetched"


def test_a_fork_is_judged_by_the_repository_it_came_from(project: Project, remote: Path):
    git(remote.parent, "clone", "--quiet", "--bare", str(remote), "fork.git")
    work = clone(remote.parent / "fork.git", project)
    missing = work.gate("check", "--base", "upstream/main")
    assert (missing.code, "git remote add upstream" in missing.err) == (2, True), missing.err
    git(work.root, "remote", "add", "upstream", str(remote))
    git(work.root, "fetch", "--quiet", "upstream")
    assert regressions(work, "upstream/main") == [CALLS]


def test_a_default_branch_with_another_name(project: Project, remote: Path):
    git(remote, "branch", "--move", "main", "trunk")
    work = clone(remote, project)
    gone = work.gate("check", "--base", "origin/main")
    assert (gone.code, "origin/main" in gone.err) == (2, True)
    assert regressions(work, "origin/trunk") == [CALLS]


def test_the_first_run_of_all_is_judged_by_limits_and_says_so(project: Project):
    git(project.root, "init", "--quiet", "--initial-branch", "main")
    (project.root / ".gitignore").write_text(".gate\n__pycache__\nverdict.json\n")
    save(project, "first")
    result, verdict = project.check("--base", "HEAD")
    assert (result.code, verdict["verdict"]) == (0, "passed")
    (said,) = (f for f in verdict["findings"] if "no accepted run" in f["message"])
    assert (said["kind"], said["level"]) == ("environment", "warn")
    assert said["message"] == "no accepted run of suite 'api' yet: judged by limits alone"
    assert "gate baseline update" in said["remedy"]
    project.edit(fail)
    result, verdict = project.check("--base", "HEAD")
    assert result.code == 1, "a failing test is red without any history"
