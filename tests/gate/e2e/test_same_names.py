"""The same tests under two configurations are two suites of one gate: neither says anything of the other."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.gate.e2e.conftest import Project, begin_history
from tests.gate.github.rig import git

RULES = """version: 1
suites:
  sqlite: {run: env DB=sqlite python -m pytest tests -p no:cacheprovider}
  postgres: {run: env DB=postgres python -m pytest tests -p no:cacheprovider}
defaults: {budget: 30 s, tolerance: 100 %}
"""
CODE = "def ask(db): return 3\n\ndef name(db): return db\n"
TESTS = """
import os, app

def test_calls(measure):
    measure.count("app.calls", app.ask(os.environ["DB"]))

def test_name():
    assert app.name(os.environ["DB"]) == os.environ["DB"]
"""
WORSE = """
def ask(db): return 6 if db == "postgres" else 3

def name(db): return db if db == "sqlite" else "?"
"""
OF_POSTGRES = ["app.calls{suite=postgres}", "postgres:tests/test_a.py::test_name"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text(TESTS)
    (tmp_path / "conftest.py").touch()
    (tmp_path / "app.py").write_text(CODE)
    (tmp_path / "thresholds.yaml").write_text(RULES)
    (tmp_path / ".gitignore").write_text(".gate/\n__pycache__/\n")
    begin_history(tmp_path)
    project = Project(tmp_path)
    assert project.gate("run").code == 0
    assert project.gate("baseline", "update").code == 0
    commit(tmp_path, "accept")
    return project


def commit(root: Path, message: str) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", message)


def failing(verdict: dict[str, Any]) -> list[str]:
    return sorted(f["subject"] for f in verdict["findings"] if f["level"] == "fail")


def test_both_are_judged_and_what_got_worse_in_one_is_named(project: Project, tmp_path: Path):
    assert project.gate("run").code == 0
    result, verdict = project.check()
    assert result.code == 0, result.text
    assert verdict["summary"]["tests"]["passed"] == 4

    (project.root / "app.py").write_text(WORSE)
    commit(project.root, "worse")
    assert project.gate("run").code == 0
    for arguments in ((), ("--base", "HEAD~1")):
        result = project.gate("check", "--json", "verdict.json", *arguments)
        verdict = json.loads((tmp_path / "verdict.json").read_text())
        assert result.code == 1, result.text
        assert failing(verdict) == OF_POSTGRES
        assert "Fix the failing test first: pytest tests/test_a.py::test_name" in result.text
    (failure,) = [f for f in verdict["findings"] if f["kind"] == "new-failure"]
    assert "of the head, 0 of" in failure["message"], "the base was asked about it"


def test_what_is_permitted_of_one_is_not_of_the_other(project: Project):
    (project.root / "app.py").write_text(WORSE)
    commit(project.root, "worse")
    assert project.gate("run").code == 0
    refused = project.gate("baseline", "update")
    assert refused.code == 1
    known = '"postgres:tests/test_a.py::test_name": {until: '
    assert known in refused.text

    accepted = project.gate(
        "baseline", "accept", "--subject", OF_POSTGRES[0], "--reason", "wanted", "--by", "me"
    )
    assert accepted.code == 1, "the failing test is not accepted along"
    until = refused.text.partition(known)[2].partition("}")[0]
    entry = f"known_failures:\n  {known}{until}}}\n"
    (project.root / "thresholds.yaml").write_text(RULES + entry)
    result, verdict = project.check()
    assert result.code == 0, result.text
    assert {f["subject"] for f in verdict["findings"] if f["kind"] == "known-failure"} == {OF_POSTGRES[1]}

    # The other one gets as bad: what is permitted is not for it.
    (project.root / "app.py").write_text(WORSE.replace('db == "postgres"', "db").replace("sqlite", "none"))
    commit(project.root, "both")
    assert project.gate("run").code == 0
    result, verdict = project.check()
    assert result.code == 1, result.text
    assert failing(verdict) == ["app.calls{suite=sqlite}", "sqlite:tests/test_a.py::test_name"]


def test_what_is_stored_has_the_names_that_pytest_knows(project: Project):
    (file,) = (project.root / "tests" / "baseline").rglob("postgres.jsonl")
    text = file.read_text()
    assert '"app.calls"' in text
    assert "postgres:tests" not in text
    assert "suite=postgres" not in text


def test_rules_for_one_of_them_hold_where_it_is_judged_alone(project: Project):
    limit = 'metrics: {"app.calls{suite=postgres}": {critical: 2}}\n'
    (project.root / "thresholds.yaml").write_text(RULES + limit)
    assert project.gate("run").code == 0
    for arguments in ((), ("--suite", "postgres")):
        result, verdict = project.check(*arguments)
        assert result.code == 1, result.text
        assert failing(verdict) == OF_POSTGRES[:1]
    for command in (("history", OF_POSTGRES[0]), ("explain", OF_POSTGRES[0]), ("explain", OF_POSTGRES[1])):
        shown = project.gate(*command)
        assert shown.code == 0, shown.text
        assert "sqlite" not in shown.text
    asked = project.gate("confirm", OF_POSTGRES[0], "--base", "HEAD")
    assert asked.code == 2
    assert "app.calls{suite=postgres} is an exact count" in asked.text
