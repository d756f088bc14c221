"""Twenty changes merged on main, some red, with pushes, manual runs and schedules after each."""

import json
from pathlib import Path

import pytest

from tests.gate.e2e.conftest import Project
from tests.gate.e2e.test_own_base import CONFTEST, RULES, accepted, commit, write

CODE = """
def work():
    return sum(range(%(steps)d))

def queries():
    return %(queries)d

def ok():
    return %(ok)s
"""
TEST = """
import shop

def test_work(measure):
    measure("shop.work", shop.work)
    measure.count("shop.queries", shop.queries())

def test_ok():
    assert shop.ok()
"""
GOOD = {"steps": 20_000, "queries": 3, "ok": "True"}
SLOW, MORE, BROKEN = {"steps": 80_000}, {"queries": 9}, {"ok": "False"}
CHANGES: list[dict[str, object] | None] = [
    None, None, BROKEN, BROKEN, {}, None, SLOW, SLOW, {}, None,
    MORE, MORE, {}, None, {**BROKEN, **SLOW}, SLOW, {}, None, MORE, {},
]  # fmt: skip
"""What is wrong after each merge; None: only prose changes."""
EVENTS = (("push", "HEAD~1"), ("workflow_dispatch", "HEAD"), ("schedule", "HEAD"))


@pytest.mark.long
def test_nothing_red_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rules = (
        RULES.replace("budget: 20 s", "budget: 30 s, tolerance: 30 %")
        + 'metrics: {"*.p95": {tolerance: off}}\n'
    )
    files = {"shop.py": CODE % GOOD, "tests/test_a.py": CONFTEST % "." + TEST, "thresholds.yaml": rules}
    project = accepted(tmp_path, files)
    for _ in range(4):
        project.gate("run")
        project.gate("baseline", "update")
    commit(project, "five runs")
    wrong: dict[str, object] = {}
    for number, change in enumerate(CHANGES):
        if change is None:
            write(tmp_path, {"README.md": f"Words {number}.\n"})
        else:
            wrong = change
            write(tmp_path, {"shop.py": f"# {number}\n" + CODE % {**GOOD, **wrong}})
        commit(project, f"merge {number}")
        for event, base in EVENTS:
            monkeypatch.setenv("GITHUB_EVENT_NAME", event)
            project.gate("run")
            result = project.gate("check", "--base", base, "--json", "verdict.json")
            where = f"merge {number} ({wrong or 'good'}), {event}:\n{result.text}"
            assert (result.code == 0) is (not wrong), where
            said = project.gate("baseline", "update", "--verdict", "verdict.json")
            assert (said.code == 0) is (not wrong), where + said.text
        if not wrong:
            commit(project, f"accept {number}")
        assert_good(project)


def assert_good(project: Project) -> None:
    """No accepted run holds a failed test, more queries, or much slower work."""
    (file,) = (project.root / "tests/baseline").glob("*/api.jsonl")
    text = file.read_text()
    assert '"failed"' not in text
    lines = [json.loads(line) for line in text.splitlines()]
    values = [
        value for line in lines for name, value in line.get("values", {}).items() if name == "shop.queries"
    ]
    assert set(values) <= {3}
