"""Accepted runs that are older than the base: what it has moved or removed is no fault of the next change."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.gate.e2e.conftest import Project
from tests.gate.e2e.test_confirm import git

BEFORE = """
import pytest

def test_home(measure):
    measure.count("api.home.calls", 3)
    measure.record("api.size", 2, unit="MB")

@pytest.mark.parametrize("n", [1, 2])
def test_old(n, measure):
    measure.count("api.old.calls", 4, n=str(n))
    assert n

def test_removed():
    assert sum([1, 2]) == 3
"""
MERGED = BEFORE.replace("test_old", "test_new").partition("\ndef test_removed")[0]
THRESHOLDS = """version: 1
suites:
  api: {run: python -m pytest -p no:cacheprovider}
defaults: {tolerance: 500 %, confirm: suspects, budget: 60 s}
"""


@pytest.fixture
def behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A test was renamed and another one removed, all that was merged, and no run of it was accepted yet."""
    monkeypatch.delenv("GITHUB_EVENT_NAME", raising=False)
    root = tmp_path / "repository"
    root.mkdir()
    project = Project(root)
    (root / "test_api.py").write_text(BEFORE)
    (root / "thresholds.yaml").write_text(THRESHOLDS)
    (root / ".gitignore").write_text(".gate\n__pycache__\nverdict.json\n")
    git(root, "init", "-q", "-b", "main")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "code")
    accept(project)
    (root / "test_api.py").write_text(MERGED)
    git(root, "commit", "-qam", "reviewed and merged")
    git(root, "checkout", "-q", "-b", "change")
    return project


def accept(project: Project) -> None:
    assert project.gate("run").code == 0
    assert project.gate("baseline", "accept", "--reason", "reviewed", "--by", "me").code == 0
    git(project.root, "add", ".")
    git(project.root, "commit", "-q", "-m", "accepted")


def judged(project: Project, *arguments: str) -> tuple[dict[str, str], list[dict[str, Any]], str]:
    """What is red, and how; all findings; what was printed."""
    assert project.gate("run").code == 0
    result = project.gate("check", "--base", "main", "--json", "verdict.json", *arguments)
    findings = json.loads((project.root / "verdict.json").read_text())["findings"]
    red = {f["subject"].removeprefix("test_api.py::"): f["kind"] for f in findings if f["level"] == "fail"}
    assert result.code == (1 if red else 0), result.text
    return red, findings, " ".join(result.text.split())


def test_what_the_base_has_moved_or_removed_is_not_missing(behind: Project):
    (behind.root / "helper.py").write_text("ANSWER = 42\n")
    red, findings, text = judged(behind, "--no-confirm")
    assert red == {}, text
    (told,) = (f for f in findings if f["kind"] == "environment" and f["subject"] == "api")
    assert (told["level"], told["message"]) == (
        "info", "the accepted runs are older than the base, which has moved 2 and removed 1 of the tests",
    )  # fmt: skip
    assert {f["kind"] for f in findings} == {"environment"}  # no moved, new or missing test


def test_what_the_change_takes_away_of_it_is_red(behind: Project):
    file = behind.root / "test_api.py"
    file.write_text(file.read_text().replace("test_new", "helper").replace('calls", 3', 'calls", 4'))
    red, findings, text = judged(behind)
    assert red == {
        "test_new[1]": "missing-test", "test_new[2]": "missing-test", "api.home.calls": "regression"
    }, text  # fmt: skip
    assert "what the base itself has lost or raised is red here, too" in text
    assert [f["level"] for f in findings if f["kind"] == "environment"] == ["warn", "info"]


def test_what_the_change_moves_on_is_followed_twice(behind: Project):
    file = behind.root / "test_api.py"
    file.write_text(MERGED.replace("test_new", "test_newest"))
    red, findings, text = judged(behind)
    assert red == {}, text
    assert [f["message"] for f in findings if f["kind"] == "moved-test"] == [
        "is test_api.py::test_new, renamed with the same code"
    ]


def test_the_branch_itself_is_judged_by_what_was_accepted(behind: Project, monkeypatch: pytest.MonkeyPatch):
    (behind.root / "helper.py").write_text("ANSWER = 42\n")
    monkeypatch.setenv("GITHUB_EVENT_NAME", "push")
    red, _, text = judged(behind)
    assert red == {"test_removed": "missing-test"}, text
    assert "renamed with the same code" in text


def test_memory_that_knows_the_base_says_nothing_of_it(behind: Project):
    git(behind.root, "checkout", "-q", "main")
    accept(behind)
    git(behind.root, "checkout", "-q", "-b", "another")
    file = behind.root / "test_api.py"
    file.write_text(file.read_text().replace("test_home", "helper"))
    red, _, text = judged(behind)
    assert red == {"test_home": "missing-test"}, text
    assert "older than the base" not in text


def test_memory_of_what_came_later_says_nothing_of_an_older_base(behind: Project, tmp_path: Path):
    memory = ("--baseline", str(tmp_path / "memory"))
    assert behind.gate("run").code == 0
    assert behind.gate("baseline", "update", *memory).code == 0
    git(behind.root, "branch", "-f", "main", "main~1")
    git(behind.root, "checkout", "-q", "main")
    red, _, text = judged(behind, *memory)
    assert red == {}, text
    assert re.search(r"no accepted run of suite 'api'.* yet", text), text  # in a column of its own


def test_without_any_accepted_run_the_base_counts_its_work(behind: Project):
    git(behind.root, "rm", "-qr", "tests/baseline")
    git(behind.root, "commit", "-qm", "no accepted runs")
    git(behind.root, "branch", "-qf", "main")
    (behind.root / "test_api.py").write_text(MERGED.replace('calls", 3', 'calls", 6'))
    git(behind.root, "commit", "-qam", "twice the work")
    red, _, text = judged(behind)
    assert red == {"api.home.calls": "regression"}, text
    assert "3 → 6" in text
