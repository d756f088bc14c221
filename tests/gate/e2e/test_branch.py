"""The branch itself is judged: `gate check --base HEAD` on what was committed, red or not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.gate.e2e.conftest import Project, Result
from tests.gate.e2e.test_confirm import git

CODE = "def work():\n    return sum(range(20_000))\n"
TESTS = """
import pytest
from app import work

@pytest.mark.measure(seconds=0.02)
def test_work(measure):
    assert measure("app.work", work) == 199990000
"""
THRESHOLDS = """version: 1
suites:
  api: {run: python -m pytest test_api.py -p no:cacheprovider}
defaults: {tolerance: 500 %, budget: 30 s}
metrics:
  app.work.p50: {target: 1 s}
"""


@pytest.fixture
def branch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A repository with an accepted run of its newest code, and a report of what is checked out."""
    monkeypatch.delenv("GITHUB_EVENT_NAME", raising=False)
    (tmp_path / "app.py").write_text(CODE)
    (tmp_path / "test_api.py").write_text(TESTS)
    (tmp_path / "thresholds.yaml").write_text(THRESHOLDS)
    (tmp_path / ".gitignore").write_text(".gate\n__pycache__\nverdict.json\n")
    project = Project(tmp_path)
    git(tmp_path, "init", "-q", "-b", "main")
    commit(project)
    assert project.gate("run").code == 0
    assert project.gate("baseline", "update").code == 0
    commit(project)
    assert project.gate("run").code == 0
    return project


def commit(project: Project) -> None:
    git(project.root, "add", ".")
    git(project.root, "commit", "-q", "-m", "change")


def judged(project: Project, *arguments: str) -> tuple[Result, list[dict[str, Any]]]:
    result = project.gate("check", "--base", "HEAD", "--json", "verdict.json", *arguments)
    return result, json.loads((project.root / "verdict.json").read_text())["findings"]


def hours(document: dict[str, Any]) -> None:
    """A machine on which everything takes hours."""
    for test in document["tests"]:
        for metric in test["metadata"]["gate"]["metrics"]:
            if "samples" in metric:
                metric["samples"] = [value + 1e7 for value in metric["samples"]]


def test_a_limit_that_the_machine_breaks_does_not_fail(branch: Project):
    branch.edit(hours)
    result, findings = judged(branch)
    assert result.code == 0, result.text
    (limit,) = (f for f in findings if f["kind"] == "limit")
    assert (limit["level"], limit["state"]) == ("info", "machine")


@pytest.mark.parametrize("file", ["README.md", "docs/index.md", "data.bin"])
def test_a_limit_is_the_machines_where_no_test_opens_what_was_committed(branch: Project, file: str):
    (branch.root / file).parent.mkdir(exist_ok=True)
    (branch.root / file).write_text("More words.\n")
    commit(branch)
    assert branch.gate("run").code == 0
    branch.edit(hours)
    assert judged(branch)[0].code == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "app.py").write_text(CODE + "# a remark\n"),
        pytest.param(
            lambda root: (root / "test_api.py").write_text(TESTS + "# a remark\n"), marks=pytest.mark.long
        ),
    ],
)
def test_a_limit_that_committed_code_may_break_fails(branch: Project, change: Callable[[Path], None]):
    change(branch.root)
    commit(branch)
    assert branch.gate("run").code == 0
    branch.edit(hours)
    result, findings = judged(branch)
    assert result.code == 3, result.text
    (limit,) = (f for f in findings if f["kind"] == "limit")
    assert (limit["level"], limit["state"]) == ("fail", "inconclusive")
    assert "another figure than beside the base" in limit["message"]


def test_a_test_that_was_committed_failing_is_red_and_its_own_commit_is_no_excuse(branch: Project):
    # Of another size: Python takes a source of the same size and second for the one that it has compiled.
    (branch.root / "app.py").write_text(CODE.replace("20_000", "9_000"))
    commit(branch)
    assert branch.gate("run").code == 0
    result, findings = judged(branch)
    assert result.code == 1, result.text
    (failure,) = (f for f in findings if f["level"] == "fail")
    assert failure["kind"] == "new-failure"
    assert "failed in 4 of 4 runs: " in failure["message"]
