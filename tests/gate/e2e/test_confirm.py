"""A suspect is measured again, base beside head: real processes, a real worktree, a real slowdown."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.gate.e2e.conftest import Project

CODE = "def work():\n    return sum(range(20_000))\n\n\ndef other():\n    return sum(range(20_000))\n"

TESTS = """
import pytest

from app import other, work

pytestmark = pytest.mark.measure(seconds=0.1)

def test_work(measure):
    assert measure("app.work", work) == 199990000

def test_other(measure):
    assert measure("app.other", other) == 199990000
"""

THRESHOLDS = """version: 1
suites:
  api: {run: python -m pytest test_api.py -p no:cacheprovider}
defaults: {tolerance: 20 %}
metrics:
  "*.p95": {tolerance: off}
"""


def git(root: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.invalid")
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=root, check=True, timeout=60, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Project:
    """A repository with code, tests, and accepted runs that pretend the code was twice as fast."""
    root = tmp_path / "repository"
    root.mkdir()
    (root / "app.py").write_text(CODE)
    (root / "test_api.py").write_text(TESTS)
    (root / "thresholds.yaml").write_text(THRESHOLDS)
    (root / ".gitignore").write_text(".gate\n__pycache__\n")
    project = Project(root)
    git(root, "init", "-q", "-b", "main")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "code")
    assert project.gate("run").code == 0

    def halve(document: dict) -> None:
        for test in document["tests"]:
            for metric in test["metadata"]["gate"]["metrics"]:
                if "samples" in metric:
                    metric["samples"] = [value / 2 for value in metric["samples"]]
                else:
                    metric["value"] /= 2

    project.edit(halve)
    project.accept(5)
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "baseline")
    return project


def test_the_change_is_confirmed_and_the_bystander_cleared(repository: Project):
    """History suspects both, because it pretends; the machine accuses only what was changed."""
    (repository.root / "app.py").write_text(
        CODE.replace("20_000", "30_000 - 10_000) if sum(range(20_000)) else (1", 1)
    )
    assert repository.gate("run").code == 0
    result = repository.gate("check", "--base", "main", "--json", "verdict.json")
    assert result.code == 1, result.text
    verdict = json.loads((repository.root / "verdict.json").read_text())
    states = {f["subject"]: f["state"] for f in verdict["findings"] if f["kind"] == "regression"}
    assert states["app.work.p50"] == "confirmed", result.text
    assert states.get("app.other.p50", "cleared") in {"cleared", "inconclusive"}, result.text
    confirmed = next(f for f in verdict["findings"] if f["subject"] == "app.work.p50")
    assert confirmed["interval"][0] > 0
    assert confirmed["interval"][0] < confirmed["change"] < confirmed["interval"][1]
    assert "on this machine base → head" in confirmed["message"]
    assert len(git(repository.root, "worktree", "list").splitlines()) == 1
    assert git(repository.root, "status", "--porcelain", "--untracked-files=no").split() == ["M", "app.py"]


def test_unchanged_code_is_the_machines_and_never_red(repository: Project):
    assert repository.gate("run").code == 0
    result = repository.gate("check", "--base", "main", "--json", "verdict.json")
    assert result.code == 0, result.text
    findings = json.loads((repository.root / "verdict.json").read_text())["findings"]
    assert {finding["state"] for finding in findings if finding["kind"] == "regression"} == {"machine"}


def test_a_side_that_crashes_is_an_error_with_its_output(repository: Project):
    (repository.root / "app.py").write_text(
        "import os\nif os.environ.get('GATE_BATON'): raise SystemExit('boom')\n" + CODE
    )
    assert repository.gate("run").code == 0
    result = repository.gate("check", "--base", "main")
    assert result.code == 4, result.text
    assert "boom" in result.text, result.text
    assert len(git(repository.root, "worktree", "list").splitlines()) == 1
