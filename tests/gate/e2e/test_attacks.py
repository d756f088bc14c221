"""What a pull request tried, with real git and real suites: nothing of it passes without a word."""

import subprocess
import sys
from pathlib import Path

import pytest

from gate.git import changed_files
from tests.gate.e2e.conftest import Project
from tests.gate.e2e.test_confirm import git
from tests.gate.e2e.test_lost_and_hidden import verdict_of

SUITE = "python -m pytest {} -p no:cacheprovider"
RULES = f"version: 1\nsuites:\n  api: {{run: {SUITE.format('test_api.py')}}}\n"
TWO = RULES + f"  bot: {{run: {SUITE.format('test_bot.py')}}}\n"
COUNTS = 'def test_calls(measure):\n    measure.count("api.calls", {})\n'


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    git(root, "config", "user.name", "kim")
    (root / ".gitignore").write_text(".gate\n__pycache__\nverdict.json\n")
    return root


def commit(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    git(root, "add", "--all")
    git(root, "commit", "-q", "-m", "code")


def accepted(project: Project) -> None:
    """Main knows what the suites do; the change begins."""
    assert project.gate("run").code == 0
    assert project.gate("baseline", "update").code == 0
    git(project.root, "add", "--all")
    git(project.root, "commit", "-q", "-m", "accepted")
    git(project.root, "switch", "-q", "-c", "change")


def judged(project: Project) -> tuple[int, list[tuple[str, str, str]]]:
    """Exit code, and kind, level and subject of each finding."""
    code, verdict = verdict_of(project, "--base", "main")
    return code, [(f["kind"], f["level"], f["subject"]) for f in verdict["findings"]]


def test_rules_whose_directory_becomes_a_link_are_missed(repository: Path):
    commit(repository, {"svc/thresholds.yaml": RULES, "svc/test_api.py": COUNTS.format(1)})
    project = Project(repository / "svc")
    accepted(project)
    git(repository, "mv", "svc", "copy")
    (repository / "svc").symlink_to("copy")
    commit(
        repository, {"copy/test_api.py": COUNTS.format(3), "copy/thresholds.yaml": RULES + "metrics: {}\n"}
    )
    project = Project(repository / "svc")
    project.gate("run")
    code, found = judged(project)
    assert code == 1
    assert ("policy-change", "fail", "thresholds.yaml") in found


def test_a_submodule_that_says_no_difference_counts_is_a_change(repository: Path, tmp_path: Path):
    library = tmp_path / "library"
    library.mkdir()
    git(library, "init", "-q", "-b", "main")
    git(library, "config", "user.name", "kim")
    commit(library, {"lib.py": "CALLS = 1\n", ".gitignore": "__pycache__\n"})
    test = 'import sys\nsys.path.insert(0, "docs/lib")\nimport lib\n\n' + COUNTS.format("lib.CALLS")
    git(repository, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library), "docs/lib")
    git(repository, "config", "-f", ".gitmodules", "submodule.docs/lib.ignore", "all")
    commit(repository, {"thresholds.yaml": RULES, "test_api.py": test})
    project = Project(repository)
    accepted(project)
    inner = repository / "docs" / "lib"
    git(inner, "config", "user.name", "kim")
    commit(inner, {"lib.py": "CALLS = 10\n"})
    git(repository, "add", "--force", "docs/lib")
    git(repository, "commit", "-q", "--allow-empty", "-m", "submodule")
    assert changed_files(repository, "main") == ["docs/lib/lib.py"]
    assert changed_files(repository, "main", "change") == ["docs/lib/lib.py"]


def test_a_known_failure_does_not_go_over_to_a_test_of_equal_code(repository: Path):
    rules = RULES.replace("test_api.py", "tests") + (
        "known_failures: {tests/test_a.py::test_one: {until: 2999-01-01}}\n"
    )
    module = "VALUE = {}\ndef {}(): assert VALUE\n"
    commit(
        repository,
        {
            "thresholds.yaml": rules,
            "tests/test_a.py": module.format(0, "test_one"),
            "tests/test_b.py": module.format(1, "test_two"),
        },
    )
    project = Project(repository)
    accepted(project)
    commit(
        repository,
        {"tests/test_a.py": module.format(1, "test_two"), "tests/test_b.py": module.format(0, "test_one")},
    )
    project.gate("run")
    code, found = judged(project)
    assert code == 1
    assert ("new-failure", "fail", "tests/test_b.py::test_one") in found


REMOVALS = {
    "report and line": """
import json, pathlib
def test_bot():
    pathlib.Path(".gate/api.json").unlink()
    manifest = pathlib.Path(".gate/.run.json")
    manifest.write_text(json.dumps({"suites": {"bot": "running"}}))
""",
    "directory": "import shutil\ndef test_bot():\n    shutil.rmtree('.gate')\n",
    "other report": """
import pathlib
def test_bot():
    report = pathlib.Path(".gate/api.json")
    report.write_text(report.read_text().replace("api.calls", "api.other"))
""",
}


@pytest.mark.parametrize("name", REMOVALS)
@pytest.mark.parametrize("base", [True, False], ids=["base", "history"])
def test_a_suite_that_takes_away_what_another_one_left(repository: Path, name: str, *, base: bool):
    project = Project(repository)
    commit(
        repository,
        {"thresholds.yaml": TWO, "test_api.py": COUNTS.format(1), "test_bot.py": "def test_bot(): pass\n"},
    )
    accepted(project)
    commit(repository, {"test_api.py": COUNTS.format(3), "test_bot.py": REMOVALS[name]})
    said = project.gate("run")
    assert said.code == 4
    assert "api: its report was changed or removed after it ended" in said.text
    code, verdict = verdict_of(project, *(["--base", "main"] if base else []))
    assert code == 4
    assert any("its report was changed or removed" in finding["message"] for finding in verdict["findings"])


def test_a_suite_renamed_among_reports_that_are_named(repository: Path):
    project = Project(repository)
    commit(
        repository,
        {"thresholds.yaml": TWO, "test_api.py": COUNTS.format(1), "test_bot.py": "def test_bot(): pass\n"},
    )
    accepted(project)
    commit(repository, {"thresholds.yaml": TWO.replace("api:", "apx:"), "test_api.py": COUNTS.format(3)})
    project.gate("run")
    code, verdict = verdict_of(project, ".gate/apx.json", ".gate/bot.json", "--base", "main")
    assert code == 1
    assert ("missing-test", "api") in [(f["kind"], f["subject"]) for f in verdict["findings"]]


@pytest.mark.parametrize("target", ["nowhere", "/dev/zero", "/dev/null", "."])
@pytest.mark.parametrize("name", ["thresholds.yaml", ".gate/api.json", "baseline"])
def test_a_link_to_no_plain_file_is_told(repository: Path, name: str, target: str):
    project = Project(repository)
    commit(repository, {"thresholds.yaml": RULES, "test_api.py": COUNTS.format(1)})
    accepted(project)
    file = next(repository.rglob("tests/baseline/**/*.jsonl")) if name == "baseline" else repository / name
    file.unlink()
    file.symlink_to(target)
    said = project.gate("check", "--no-confirm", "--json", "verdict.json")
    assert said.code == (2 if name == "thresholds.yaml" else 4)
    assert "internal error" not in said.text
    assert file.name in said.text or "tests/baseline" in said.text


@pytest.mark.parametrize("value", ["1e308", "-1e308"])
def test_a_value_that_nobody_can_measure_fails_where_it_is_recorded(repository: Path, value: str):
    test = f'def test_value(measure):\n    measure.record("api.value", {value}, unit="ratio")\n'
    commit(repository, {"thresholds.yaml": RULES, "test_api.py": test})
    project = Project(repository)
    project.gate("run")
    code, verdict = verdict_of(project)
    assert code == 1
    (finding,) = [finding for finding in verdict["findings"] if finding["level"] == "fail"]
    assert (finding["kind"], finding["where"]) == ("new-failure", "test_api.py:2")
    assert "metric 'api.value'" in finding["message"]
    assert "is out of range" in finding["message"]


def test_of_two_runs_at_once_the_second_says_so(repository: Path):
    commit(repository, {"thresholds.yaml": RULES, "test_api.py": SLOW})
    command = [sys.executable, "-c", "from gate.cli import main; main()", "run"]
    with subprocess.Popen(command, cwd=repository, stdout=subprocess.DEVNULL) as first:
        while not (repository / "begun").exists() and first.poll() is None:
            pass
        second = Project(repository).gate("run")
        (repository / "end").touch()
        assert first.wait(timeout=60) == 0
    assert second.code == 2
    assert "another gate run is writing to .gate" in second.text
    assert verdict_of(Project(repository))[0] == 0


SLOW = """
import pathlib, time
def test_slow():
    pathlib.Path("begun").touch()
    deadline = time.monotonic() + 60
    while not pathlib.Path("end").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
"""


def test_globs_that_match_no_file_are_told(repository: Path):
    rules = RULES + (
        "github: {protected: ci/ tools/*.sh ci/**/*.sh nothing/*}\n"
        "known_failures: {test_api.py::test_known: {until: 2999-01-01, paths: src/* gone/*}}\n"
    )
    files = {"ci/deep/run.sh": "", "ci/run.sh": "", "tools/a.sh": "", "src/a.py": ""}
    test = "def test_known(): assert False\n"
    commit(repository, {"thresholds.yaml": rules, "test_api.py": test, **files})
    project = Project(repository)
    project.gate("run")
    for base in ([], ["--base", "HEAD"]):
        _, verdict = verdict_of(project, *base)
        told = {f["subject"]: f["rule"] for f in verdict["findings"] if f["kind"] == "rule"}
        assert told == {
            "nothing/*": "github.protected",
            "gone/*": "known_failures[test_api.py::test_known].paths",
        }


def test_a_crashed_suite_is_not_called_finished_by_another_one(repository: Path):
    rules = TWO.replace(SUITE.format("test_api.py"), "exit 3")
    forging = """
import json, pathlib
def test_bot():
    pathlib.Path(".gate/api.json").write_text(pathlib.Path("api.json").read_text())
    manifest = pathlib.Path(".gate/.run.json")
    manifest.write_text(json.dumps({"suites": {"api": "finished", "bot": "running"}}))
"""
    project = Project(repository)
    commit(repository, {"thresholds.yaml": TWO, "test_api.py": COUNTS.format(1), "test_bot.py": ""})
    project.gate("run")
    report = (repository / ".gate" / "api.json").read_text()
    commit(repository, {"thresholds.yaml": rules, "test_bot.py": forging, "api.json": report})
    assert project.gate("run").code == 4
    code, verdict = verdict_of(project)
    assert code == 4
    assert any("suite 'api' crashed" in finding["message"] for finding in verdict["findings"])
