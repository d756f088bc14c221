"""Accepted runs that are older than the base: what the base lost or raised is no fault of the next change."""

import json
from pathlib import Path

import pytest

from tests.gate.e2e.conftest import Project
from tests.gate.e2e.test_confirm import git

BEFORE = """
import pytest

def test_home(measure):
    measure.count("api.home.calls", 3)
    measure.record("api.size", 2, unit="MB")

def test_kept(measure):
    measure.count("api.kept.calls", 3)

def test_old():
    assert sum([1, 2]) == 3

def test_slow():
    assert True
"""
MERGED = """
import pytest

def test_home(measure):
    measure.count("api.home.calls", 5)

def test_kept(measure):
    measure.count("api.kept.calls", 3)

def test_new():
    assert sum([1, 2, 3]) == 6

@pytest.mark.skip(reason="the machine has no disk")
def test_slow():
    assert True
"""
THRESHOLDS = """version: 1
suites:
  api: {run: python -m pytest test_api.py -p no:cacheprovider}
defaults: {tolerance: 500 %, confirm: suspects, budget: 60 s}
"""


@pytest.fixture
def behind(tmp_path: Path) -> Project:
    """A test rewritten under another name, one skipped, a count raised, a metric dropped; all merged."""
    root = tmp_path / "repository"
    root.mkdir()
    project = Project(root)
    (root / "test_api.py").write_text(BEFORE)
    (root / "thresholds.yaml").write_text(THRESHOLDS)
    (root / ".gitignore").write_text(".gate\n__pycache__\nverdict.json\nkept.json\n")
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
    assert project.gate("baseline", "accept", "--reason", "reviewed").code == 0
    git(project.root, "add", ".")
    git(project.root, "commit", "-q", "-m", "accepted")


def judged(project: Project, *arguments: str) -> tuple[int, dict[str, str], str]:
    """Exit code, level by what is called lost or raised, and what was printed."""
    result = project.gate("check", "--base", "main", "--json", "verdict.json", *arguments)
    findings = json.loads((project.root / "verdict.json").read_text())["findings"]
    kinds = {"missing-test", "missing-metric", "newly-skipped", "regression"}
    levels = {f["subject"].removeprefix("test_api.py::"): f["level"] for f in findings if f["kind"] in kinds}
    return result.code, levels, result.text


OF_THE_BASE = {"test_old": "info", "test_slow": "info", "api.size": "info", "api.home.calls": "info"}


def test_what_the_base_itself_lost_or_raised_is_told_and_not_red(behind: Project):
    (behind.root / "helper.py").write_text("ANSWER = 42\n")
    assert behind.gate("run").code == 0
    code, levels, text = judged(behind)
    assert (code, levels) == (0, OF_THE_BASE), text
    assert "the accepted runs are older than the base, so all of api is run on it" in text
    code, levels, text = judged(behind, "--no-confirm")
    assert (code, set(levels.values())) == (1, {"fail"}), text


def test_what_the_change_adds_to_it_is_red_also_when_it_was_measured_elsewhere(behind: Project):
    file = behind.root / "test_api.py"
    text = file.read_text().replace('"api.home.calls", 5', '"api.home.calls", 6')
    file.write_text(text.replace("def test_kept", "def helper"))
    assert behind.gate("run").code == 0
    assert behind.gate("confirm", "--keep", "kept.json", "--base", "main").code == 0
    for arguments in ((), ("--confirmation", "kept.json")):
        code, levels, text = judged(behind, *arguments)
        assert (code, levels) == (1, OF_THE_BASE | {"test_kept": "fail", "api.home.calls": "fail"}), text


def test_memory_that_knows_the_base_needs_no_run_of_it(behind: Project):
    git(behind.root, "checkout", "-q", "main")
    accept(behind)
    git(behind.root, "checkout", "-q", "-b", "another")
    file = behind.root / "test_api.py"
    file.write_text(file.read_text().replace("def test_kept", "def helper"))
    assert behind.gate("run").code == 0
    code, levels, text = judged(behind)
    assert (code, levels) == (1, {"test_kept": "fail"}), text
    assert "older than the base" not in text
