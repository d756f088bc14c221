"""A suspect is measured again, base beside head: real processes, a real worktree, a real slowdown."""

import json
import re
import shutil
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


@pytest.mark.parametrize(("change", "kind", "code"), [("neutral", "known-limit", 0), ("slower", "limit", 1)])
def test_a_limit_that_is_broken_is_judged_beside_the_base(
    repository: Project, change: str, kind: str, code: int
):
    """On a slow machine a limit is broken before the change as well; a slower head is red for it."""
    rules = repository.root / "thresholds.yaml"
    limit = """metrics:
  "*": {tolerance: off}
  app.work.p50: {critical: 1 ns}
"""
    rules.write_text(rules.read_text().partition("defaults:")[0] + limit)
    git(repository.root, "commit", "-q", "-a", "-m", "a limit")
    edited = CODE.replace("20_000", "30_000 - 10_000) if sum(range(20_000)) else (1", 1)
    edited = edited if change == "slower" else CODE.replace("def work", "one = 1\n\n\ndef work", 1)
    (repository.root / "app.py").write_text(edited)
    assert repository.gate("run").code == 0
    result = repository.gate("check", "--base", "main", "--json", "verdict.json")
    findings = json.loads((repository.root / "verdict.json").read_text())["findings"]
    (found,) = (f for f in findings if f["kind"] in {"limit", "known-limit"})
    assert (found["kind"], result.code) == (kind, code), result.text
    assert "beside the base" in found["message"]


@pytest.mark.parametrize(("attempt", "said"), [("1", ""), ("9", "3 times the budget")])
def test_a_further_attempt_of_a_workflow_has_more_time(
    repository: Project, monkeypatch: pytest.MonkeyPatch, attempt: str, said: str
):
    monkeypatch.setenv("GITHUB_RUN_ATTEMPT", attempt)
    rules = repository.root / "thresholds.yaml"
    rules.write_text(
        rules.read_text().replace("tolerance: 20 %", "tolerance: 20 %, budget: 1 s, confirm: suspects")
    )
    git(repository.root, "commit", "-q", "-a", "-m", "a budget")
    (repository.root / "app.py").write_text(CODE.replace("def work", "one = 1\n\n\ndef work", 1))
    assert repository.gate("run").code == 0
    result = repository.gate("check", "--base", "main")
    assert (said in result.text) if said else ("times the budget" not in result.text), result.text


UNTIDY = """
@pytest.fixture(autouse=True)
def tidy():
    yield
    assert work() != 199990000
"""
AGAIN = """TRIES = []

@pytest.mark.flaky(reruns=1)
def test_work(measure):
    TRIES.append(measure("app.work", work))
    assert len(TRIES) > 1

def test_other"""


@pytest.mark.parametrize(
    ("answer", "tests"),
    [
        ("'error'", TESTS),
        pytest.param("199990000", TESTS + UNTIDY, marks=pytest.mark.long),
        pytest.param(
            "199990000",
            re.sub("def test_work.*def test_other", AGAIN, TESTS, flags=re.DOTALL),
            marks=pytest.mark.long,
        ),
    ],
    ids=["fails", "fails in its end", "passes when tried again"],
)
def test_what_does_not_pass_on_the_base_is_never_called_slower_on_the_head(
    repository: Project, answer: str, tests: str
):
    """The base answers at once, and the change mends it, which takes its time."""
    app, file = repository.root / "app.py", repository.root / "test_api.py"
    app.write_text(CODE.replace("    return", f"    return {answer}\n    return", 1))
    file.write_text(tests)
    git(repository.root, "rm", "-qr", "tests")
    git(repository.root, "commit", "-qam", "fast, and not sound")
    app.write_text(CODE)
    file.write_text(TESTS)
    assert repository.gate("run").code == 0
    result = repository.gate("check", "--base", "main", "--json", "verdict.json")
    assert result.code == 0, result.text
    assert "gave nothing to compare" in (repository.root / "verdict.json").read_text()


@pytest.mark.long
def test_a_test_that_fails_in_the_comparison_alone_is_told(repository: Project):
    tests = repository.root / "test_api.py"
    tests.write_text(
        TESTS.replace("def test_other", "    assert 'GATE_LOCKSTEP' not in os.environ\n\ndef test_other")
    )
    tests.write_text("import os\n" + tests.read_text())
    assert repository.gate("run").code == 0
    result = repository.gate("check", "--base", "main", "--json", "verdict.json")
    assert result.code == 3, result.text
    note = "passes alone and fails beside the base, so it was not compared: test_api.py::test_work"
    findings = json.loads((repository.root / "verdict.json").read_text())["findings"]
    assert [f["level"] for f in findings if f["message"] == note] == ["warn"], result.text


@pytest.mark.parametrize(
    ("place", "command"),
    [(".", "python -m pytest -q service"), (".", "make -s -C service"), ("service", "python -m pytest -q .")],
)
def test_a_base_without_rules_need_not_have_the_suite(repository: Project, place: str, command: str):
    """The change that brings the gate brings the tests, and perhaps what starts them."""
    root = repository.root
    git(root, "rm", "-qr", ".")
    git(root, "commit", "-qm", "no gate yet")
    git(root, "switch", "-qc", "gate")
    (root / "service").mkdir()
    (root / "service" / "Makefile").write_text("all:\n\tpython -m pytest -q .\n")
    (root / "service" / "app.py").write_text(CODE)
    (root / "service" / "test_api.py").write_text(TESTS)
    (root / ".gitignore").write_text(".gate\n__pycache__\n")
    (root / place / "thresholds.yaml").write_text(re.sub("run: [^}]*", f"run: {command}", THRESHOLDS))
    git(root, "add", ".")
    git(root, "commit", "-qm", "the gate")
    project = Project(root / place)
    assert project.gate("run").code == 0
    result = project.gate("check", "--base", "main")
    assert result.code == 0, result.text
    assert "is new in this change" in result.text


def test_reports_are_no_change_of_the_code(repository: Project):
    """A repository that ignores nothing, as its owner may not know what to ignore."""
    git(repository.root, "rm", "-q", ".gitignore")
    git(repository.root, "commit", "-qm", "nothing is ignored")
    (repository.root / "README.md").write_text("words")
    shutil.rmtree(repository.root / "__pycache__", ignore_errors=True)
    assert repository.gate("run").code == 0
    shutil.rmtree(repository.root / "__pycache__", ignore_errors=True)
    result = repository.gate("check", "--base", "main", "--json", ".gate/verdict.json")
    assert result.code == 0, result.text
    findings = json.loads((repository.root / ".gate" / "verdict.json").read_text())["findings"]
    assert {finding["state"] for finding in findings if finding["kind"] == "regression"} == {"machine"}


def test_where_history_alone_decides_a_kept_comparison_changes_nothing(repository: Project):
    rules, kept = repository.root / "thresholds.yaml", repository.root / ".gate" / "kept.json"
    rules.write_text(rules.read_text().replace("tolerance: 20 %", "tolerance: 20 %, confirm: off"))
    git(repository.root, "commit", "-qam", "history decides")
    (repository.root / "app.py").write_text(CODE + "\n\nMORE = 1\n")
    assert repository.gate("run").code == 0
    assert repository.gate("confirm", "--base", "main", "--keep", kept).code == 0
    for kept_or_not in ([], ["--confirmation", kept]):
        result = repository.gate("check", "--base", "main", *kept_or_not)
        assert result.code == 1, result.text


def test_what_is_kept_never_outlives_the_next_measurement(repository: Project):
    kept, report = repository.root / ".gate" / "kept.json", repository.report
    assert repository.gate("run").code == 0
    assert repository.gate("confirm", "--base", "main", "--keep", kept, "--report", report).code == 0
    assert kept.exists()
    assert repository.gate("check", "--base", "main", "--confirmation", kept).code == 0
    report.write_text("")
    assert repository.gate("confirm", "--base", "main", "--keep", kept, "--report", report).code == 4
    assert not kept.exists()


@pytest.mark.parametrize("complete", [pytest.param(True, marks=pytest.mark.long), False])
def test_a_base_with_dependencies_of_its_own_is_measured_with_them_or_not_at_all(
    repository: Project, *, complete: bool
):
    """The library of the head is slower than the one that the base's lock file names."""
    root, rules = repository.root, repository.root / "thresholds.yaml"
    packages = Path(pytest.__file__).parent.parent
    given = packages if complete else root
    rules.write_text(
        f'install: echo {given} > "$(echo $VIRTUAL_ENV/lib/python*/site-packages)/x.pth"\n'
        + rules.read_text()
    )
    (root / "uv.lock").write_text("1")
    git(root, "add", ".")
    git(root, "commit", "-qm", "locked")
    (root / "uv.lock").write_text("2")
    (root / "app.py").write_text(CODE.replace("    return", "    sum(range(20_000))\n    return", 1))
    assert repository.gate("run").code == 0
    result = repository.gate("check", "--base", "main", "--json", "verdict.json")
    assert result.code == (1 if complete else 4), result.text
    assert ("must install pytest and regression-gate" in result.text) is not complete


def test_a_side_that_crashes_is_an_error_with_its_output(repository: Project):
    (repository.root / "app.py").write_text(
        "import os\nif os.environ.get('GATE_LOCKSTEP'): raise SystemExit('boom')\n" + CODE
    )
    assert repository.gate("run").code == 0
    result = repository.gate("check", "--base", "main")
    assert result.code == 4, result.text
    assert "boom" in result.text, result.text
    assert len(git(repository.root, "worktree", "list").splitlines()) == 1
