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
NEEDS_A_FILE = """
from pathlib import Path
import pytest

HERE = Path(__file__).with_name("data.bin").exists()

if not HERE:
    pytest.skip("no data", allow_module_level=True)

def test_of_the_file():
    assert HERE

def test_of_the_file_too():
    assert HERE
"""
THRESHOLDS = """version: 1
suites:
  api: {run: python -m pytest -p no:cacheprovider}
defaults: {tolerance: 500 %, confirm: suspects, budget: 60 s}
"""


@pytest.fixture
def behind(tmp_path: Path) -> Project:
    """A test rewritten under another name, one skipped, a count raised, a metric dropped; all merged."""
    root = tmp_path / "repository"
    root.mkdir()
    project = Project(root)
    (root / "test_api.py").write_text(BEFORE)
    (root / "test_data.py").write_text(NEEDS_A_FILE)
    (root / "data.bin").touch()
    (root / "thresholds.yaml").write_text(THRESHOLDS)
    (root / ".gitignore").write_text(".gate\n__pycache__\nverdict.json\nkept.json\ndata.bin\n")
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


def judged(project: Project, *arguments: str) -> tuple[int, set[str], str]:
    """Exit code, what is red, and what was printed."""
    result = project.gate("check", "--base", "main", "--json", "verdict.json", *arguments)
    findings = json.loads((project.root / "verdict.json").read_text())["findings"]
    red = {f["subject"].removeprefix("test_api.py::") for f in findings if f["level"] == "fail"}
    return result.code, red, result.text


OF_THE_BASE = {"test_old", "test_slow", "api.size", "api.home.calls"}


def without_data(project: Project) -> None:
    """The worktree of the base does not have it; without these tests, memory and head agree on more."""
    (project.root / "test_data.py").unlink()
    git(project.root, "checkout", "-q", "main")
    git(project.root, "commit", "-qam", "no data any more")
    git(project.root, "checkout", "-q", "-B", "change")


def test_what_the_base_itself_lost_or_raised_is_told_and_not_red(behind: Project):
    without_data(behind)
    (behind.root / "helper.py").write_text("ANSWER = 42\n")
    assert behind.gate("run").code == 0
    code, red, text = judged(behind)
    assert (code, red) == (0, set()), text
    assert "the accepted runs are older than the base, so all of api is run on it" in text
    assert "were compared with a run of the base itself" in " ".join(text.split())
    code, red, text = judged(behind, "--no-confirm")
    assert (code, red) == (
        1,
        OF_THE_BASE | {f"test_data.py::{name}" for name in ("test_of_the_file", "test_of_the_file_too")},
    ), text


def test_what_the_change_adds_to_it_is_red_also_when_it_was_measured_elsewhere(behind: Project):
    without_data(behind)
    file = behind.root / "test_api.py"
    text = file.read_text().replace('"api.home.calls", 5', '"api.home.calls", 6')
    text = text.replace("def test_kept", "def helper").replace("def test_new", "def helper_too")
    file.write_text(text)
    assert behind.gate("run").code == 0
    assert behind.gate("confirm", "--keep", "kept.json", "--base", "main").code == 0
    for arguments in ((), ("--confirmation", "kept.json")):
        code, red, text = judged(behind, *arguments)
        assert (code, red) == (1, {"test_kept", "test_new", "api.home.calls"}), text
        assert "5 → 6" in text


def test_a_base_without_what_git_ignores_is_no_witness(behind: Project):
    """It runs none of the tests of a file that it has and did not change; the change removes one of them."""
    file = behind.root / "test_data.py"
    file.write_text(file.read_text().replace("def test_of_the_file_too", "def helper"))
    assert behind.gate("run").code == 0
    code, red, text = judged(behind)
    assert (code, red) == (1, OF_THE_BASE | {"test_data.py::test_of_the_file_too"}), text
    assert "not believed: test_data.py::test_of_the_file does not run there" in " ".join(text.split())
    file.unlink()
    assert behind.gate("run").code == 0
    code, red, text = judged(behind)
    assert (code, red) == (1, {"test_data.py::test_of_the_file", "test_data.py::test_of_the_file_too"}), text


def test_a_test_that_is_skipped_under_another_name_is_red(behind: Project):
    without_data(behind)
    file = behind.root / "test_api.py"
    text = file.read_text().replace(
        "import pytest\n", 'import pytest\n\npytestmark = pytest.mark.skip("later")\n'
    )
    (behind.root / "test_moved.py").write_text(text)
    file.unlink()
    assert behind.gate("run").code == 0
    code, red, text = judged(behind)
    assert (code, red) == (
        1,
        {f"test_moved.py::{name}" for name in ("test_home", "test_kept", "test_new")},
    ), text


def test_what_nobody_accepted_is_not_accepted_by_the_next_change(behind: Project):
    without_data(behind)
    (behind.root / "helper.py").write_text("ANSWER = 42\n")
    assert behind.gate("run").code == 0
    assert judged(behind)[0] == 0
    done = behind.gate("baseline", "update", "--verdict", "verdict.json")
    assert done.code == 1, done.text
    assert "api.home.calls: 3 → 5" in done.text
    assert behind.gate("baseline", "accept", "--reason", "so be it", "--by", "me").code == 0


def test_memory_that_knows_the_base_needs_no_run_of_it(behind: Project):
    git(behind.root, "checkout", "-q", "main")
    accept(behind)
    git(behind.root, "checkout", "-q", "-b", "another")
    file = behind.root / "test_api.py"
    file.write_text(file.read_text().replace("def test_kept", "def helper"))
    assert behind.gate("run").code == 0
    code, red, text = judged(behind)
    assert (code, red) == (1, {"test_kept"}), text
    assert "older than the base" not in text


def test_memory_that_is_ahead_of_the_base_is_not_behind(behind: Project, tmp_path: Path):
    """It knows a test that the base did not have yet."""
    memory = ("--baseline", str(tmp_path / "memory"))
    assert behind.gate("run").code == 0
    assert behind.gate("baseline", "update", *memory).code == 0
    git(behind.root, "branch", "-f", "main", "main~1")
    git(behind.root, "checkout", "-q", "main")
    assert behind.gate("run").code == 0
    code, red, text = judged(behind, *memory)
    assert (code, red) == (1, {"test_new"}), text
    assert "older than the base" not in text
