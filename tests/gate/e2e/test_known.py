"""Known failures in a real repository: from the base alone, until their date, gone once they are mended."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.gate.e2e.conftest import TESTS, THRESHOLDS, Project, begin_history
from tests.gate.github.rig import git

OTHER = "test_api.py::test_other"


@pytest.fixture
def repository(project: Project) -> Project:
    """The project with a baseline of one run, on a branch off main."""
    project.accept(1)
    (project.root / ".gitignore").write_text(".gate\n__pycache__\n*.json\n")
    (project.root / "shop").mkdir(exist_ok=True)
    (project.root / "shop" / "__init__.py").touch()
    begin_history(project.root)
    git(project.root, "switch", "--quiet", "--create", "change")
    return project


def commit(project: Project) -> None:
    git(project.root, "add", "--all")
    git(project.root, "commit", "--quiet", "--message", "change")


def day_of_run(project: Project) -> date:
    return datetime.fromtimestamp(json.loads(project.report.read_text())["created"], UTC).date()


def entry(project: Project, days: int) -> str:
    until = day_of_run(project) + timedelta(days=days)
    fields = ('signature: "*ReadTimeout*"', f"until: {until}", "paths: shop/*")
    return "".join(("known_failures:\n", f"  {OTHER}:\n", *(f"    {field}\n" for field in fields)))


def rules(project: Project, text: str) -> None:
    (project.root / "thresholds.yaml").write_text(THRESHOLDS + text)


def on_main(project: Project, text: str) -> None:
    """Give main other rules; the change begins there."""
    git(project.root, "switch", "--quiet", "main")
    rules(project, text)
    commit(project)
    git(project.root, "switch", "--quiet", "--force-create", "change")


def of_other(change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    return lambda document: [change(test) for test in document["tests"] if test["nodeid"] == OTHER] and None


def fail(project: Project, message: str = "httpx.ReadTimeout: after 5 s") -> None:
    crash = {"path": str(project.root / "test_api.py"), "lineno": 13, "message": message}
    stage = {"duration": 0.1, "outcome": "failed", "crash": crash}
    project.edit(of_other(lambda test: test.update(outcome="failed", call=stage)))
    project.edit(lambda document: document.update(exitcode=1))


def check(project: Project) -> tuple[int, dict[str, str]]:
    """The exit code, and what failed or warns, by subject."""
    result, verdict = project.check("--base", "main")
    worth = [f for f in verdict["findings"] if f["level"] != "info" and f["kind"] != "environment"]
    return result.code, {f["subject"]: f"{f['kind']} {f['level']}" for f in worth}


def test_only_an_entry_of_the_base_makes_a_failure_known(repository: Project):
    fail(repository)
    assert check(repository) == (1, {OTHER: "new-failure fail"})
    rules(repository, entry(repository, 100))
    assert check(repository) == (1, {OTHER: "new-failure fail", "thresholds.yaml": "policy-change warn"})
    on_main(repository, entry(repository, 100))
    assert check(repository) == (0, {})
    assert "permitted until" in repository.gate("check", "--base", "main", "--no-confirm").out
    fail(repository, "KeyError: 'price'")
    assert check(repository) == (1, {OTHER: "changed-failure fail"})


@pytest.mark.parametrize("days", [0, -1])
def test_an_expired_entry_is_red_for_who_touches_it_and_for_the_schedule(
    repository: Project, days: int, monkeypatch: pytest.MonkeyPatch
):
    fail(repository)
    on_main(repository, entry(repository, days))
    over = (1, {OTHER: "known-failure fail"}) if days < 0 else (0, {OTHER: "known-failure warn"})
    (repository.root / "README.md").write_text("a bystander")
    assert check(repository) == (0, {OTHER: "known-failure warn"})
    monkeypatch.setenv("GITHUB_EVENT_NAME", "schedule")
    assert check(repository) == over
    monkeypatch.setenv("GITHUB_EVENT_NAME", "pull_request")
    (repository.root / "shop").mkdir(exist_ok=True)
    (repository.root / "shop" / "card.py").write_text("PRICE = 1\n")
    assert check(repository) == over
    shutil.rmtree(repository.root / "shop")
    (repository.root / "test_api.py").write_text(f"{TESTS}\n# touched\n")
    assert check(repository) == over


def accepted(project: Project, number: int, *more: str | Path) -> str:
    project.edit(lambda document: document.update(created=document["created"] + number))
    result = project.gate("baseline", "update", "--commit", f"d{number}", *more)
    assert result.code == 0, result.text
    return result.out


def test_a_mended_test_leaves_the_rules_with_its_third_accepted_run(repository: Project):
    kept = "  # kept\n  test_api.py::test_gone: {until: 2033-01-01}\n"
    before = f"{THRESHOLDS}# Known.\n{entry(repository, 9)}{kept}"
    (repository.root / "thresholds.yaml").write_text(before)
    assert "mended" not in accepted(repository, 2)
    assert (repository.root / "thresholds.yaml").read_text() == before
    assert f"{OTHER} passes again; its entry was removed from thresholds.yaml" in accepted(repository, 3)
    left = f"{THRESHOLDS}# Known.\nknown_failures:\n{kept}"
    assert (repository.root / "thresholds.yaml").read_text() == left


def test_a_test_that_a_verdict_calls_flaky_keeps_its_entry(repository: Project):
    rules(repository, entry(repository, 9))
    flaky = {
        "kind": "flaky",
        "level": "warn",
        "subject": OTHER,
        "message": "now and then",
        "nodeids": [OTHER],
    }
    for number in (2, 3, 4):
        repository.edit(lambda document: document.update(created=document["created"] + 1))
        _, verdict = repository.check()
        verdict["findings"].append(flaky)
        (repository.root / "verdict.json").write_text(json.dumps(verdict))
        update = ("baseline", "update", "--commit", f"d{number}", "--verdict", "verdict.json")
        done = repository.gate(*update)
        assert done.code == 0, done.text
        assert "mended" not in done.out


@pytest.fixture
def remote(repository: Project, tmp_path: Path) -> Path:
    """A bare repository whose main has a known failure."""
    on_main(repository, entry(repository, 9))
    git(tmp_path, "clone", "--quiet", "--bare", str(repository.root), "remote.git")
    git(repository.root, "remote", "add", "origin", f"file://{tmp_path / 'remote.git'}")
    git(repository.root, "switch", "--quiet", "main")
    return tmp_path / "remote.git"


def test_a_push_edits_the_rules_as_the_remote_holds_them(repository: Project, remote: Path, tmp_path: Path):
    accepted(repository, 2, "--push", "main")
    git(tmp_path, "clone", "--quiet", "--branch", "main", f"file://{remote}", "other")
    theirs = (
        tmp_path / "other" / "thresholds.yaml"
    ).read_text() + "  'test_web.py::*': {until: 2033-01-01}\n"
    (tmp_path / "other" / "thresholds.yaml").write_text(theirs)
    git(tmp_path / "other", "commit", "--quiet", "--all", "--message", "one more")
    git(tmp_path / "other", "push", "--quiet", "origin", "main")
    out = accepted(repository, 3, "--push", "main")
    assert f"{OTHER} passes again; its entry was removed from thresholds.yaml" in out
    left = git(remote, "show", "main:thresholds.yaml")
    assert left == f"{THRESHOLDS}known_failures:\n  'test_web.py::*': {{until: 2033-01-01}}"
    message = git(remote, "log", "-1", "--format=%B", "main")
    assert message.splitlines()[0] == "chore(baseline): accept d3 [skip ci]"
    assert f"{OTHER} passes again; its entry was removed from thresholds.yaml" in message.splitlines()
    assert OTHER in (repository.root / "thresholds.yaml").read_text(), "the work tree is not touched"
    assert (
        "main already has this run"
        in repository.gate("baseline", "update", "--commit", "d3", "--push", "main").out
    )


def test_a_branch_of_its_own_for_the_baseline_says_what_to_remove(repository: Project, remote: Path):
    for number in (2, 3):
        accepted(repository, number, "--push", "gate-baseline")
    out = accepted(repository, 4, "--push", "gate-baseline")
    assert f"{OTHER} passes again; remove its entry from thresholds.yaml" in out
    names = git(remote, "ls-tree", "-r", "--name-only", "gate-baseline").splitlines()
    assert all(name.endswith(".jsonl") for name in names)


CODE = "def test_other():\n    assert True\n"
GONE = {OTHER: "missing-test fail", "api": "policy-change warn"}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (CODE, {}),
        (CODE.replace("assert True", "pass"), GONE),
        ('import pytest\n\n@pytest.mark.slow\n' + CODE, GONE),
    ],
)  # fmt: skip
def test_a_moved_test_is_the_same_only_with_the_same_code(
    repository: Project, code: str, expected: dict[str, str]
):
    new = "shop/test_more.py::test_other"
    (repository.root / "test_api.py").write_text(TESTS.replace(CODE, ""))
    (repository.root / "shop").mkdir(exist_ok=True)
    (repository.root / "shop" / "test_more.py").write_text(code)
    repository.edit(of_other(lambda test: test.update(nodeid=new)))
    assert check(repository) == (bool(expected), expected)
    out = repository.gate("check", "--base", "main", "--no-confirm").out
    assert ("1 test of test_api.py, moved here" in " ".join(out.split())) is not bool(expected)


def test_a_known_failure_stays_known_where_its_test_moves(repository: Project):
    fail(repository)
    on_main(repository, entry(repository, 100))
    test_a_moved_test_is_the_same_only_with_the_same_code(repository, CODE, {})
    verdict = json.loads((repository.root / "verdict.json").read_text())
    (moved,) = [f for f in verdict["findings"] if f["kind"] == "moved-test"]
    assert moved["remedy"] == f"let known_failures[{OTHER}] follow"
