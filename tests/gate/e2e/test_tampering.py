"""Ten pull requests that bend the rules, or try to: what was red stays red, and the reader is told first."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gate.report.comment import comment
from gate.verdict import read_verdict
from tests.gate.e2e.conftest import THRESHOLDS, Project, begin_history
from tests.gate.github.rig import git

WORKFLOW = ".github/workflows/regression-gate.yml"
CALLS = "api.home.calls{service=store}"
OTHER = "test_api.py::test_other"
RULES = f"{THRESHOLDS}  {CALLS}: {{tolerance: 0}}\n"
REGRESSION, FAILURE = ("regression", CALLS), ("new-failure", OTHER)


@pytest.fixture
def change(project: Project) -> Project:
    """A branch with one more call and a new failure, off a main with a pinned baseline of five runs."""
    (project.root / "thresholds.yaml").write_text(RULES)
    (project.root / ".gitignore").write_text(".gate\n__pycache__\nverdict.json\n")
    workflow = project.root / WORKFLOW
    workflow.parent.mkdir(parents=True)
    workflow.write_text("name: regression-gate\n")
    project.accept(5)
    assert project.gate("baseline", "pin").code == 0
    begin_history(project.root)
    git(project.root, "switch", "--quiet", "--create", "change")
    project.edit(more_calls)
    project.edit(fail)
    return project


def entry_of(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(test for test in document["tests"] if test["nodeid"] == f"test_api.py::{name}")


def metrics_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    return entry_of(document, "test_home")["metadata"]["gate"]["metrics"]


def more_calls(document: dict[str, Any]) -> None:
    (counted,) = (metric for metric in metrics_of(document) if metric["name"].startswith("api.home.calls"))
    counted["value"] = 2


def fail(document: dict[str, Any]) -> None:
    crash = {"path": "test_api.py", "lineno": 13, "message": "AssertionError: broken"}
    stage = {"duration": 0.1, "outcome": "failed", "crash": crash}
    entry_of(document, "test_other").update(outcome="failed", call=stage)
    document["exitcode"] = 1


def rules(old: str, new: str) -> Callable[[Project], None]:
    def edit(project: Project) -> None:
        assert old in RULES
        (project.root / "thresholds.yaml").write_text(RULES.replace(old, new))

    return edit


def baseline(old: str, new: str, kind: str = "") -> Callable[[Project], None]:
    def edit(project: Project) -> None:
        file = stored(project)
        lines = file.read_text().splitlines(keepends=True)
        forged = [line.replace(old, new) if f'"kind":"{kind}' in line else line for line in lines]
        assert forged != lines
        file.write_text("".join(forged))

    return edit


def stored(project: Project) -> Path:
    (file,) = (project.root / "tests" / "baseline").rglob("*.jsonl")
    return file


def without_metric(project: Project) -> None:
    """The suite no longer counts, and no rule asks for it."""

    def drop(document: dict[str, Any]) -> None:
        metrics = metrics_of(document)
        metrics[:] = [metric for metric in metrics if not metric["name"].startswith("api.home.calls")]

    project.edit(drop)
    rules(f"  {CALLS}: {{tolerance: 0}}\n", "")(project)


def without_test(project: Project) -> None:
    def drop(document: dict[str, Any]) -> None:
        document["tests"].remove(entry_of(document, "test_other"))
        document["summary"] = {"passed": 2, "total": 2, "collected": 2}
        document["collectors"] = []
        document["exitcode"] = 0

    project.edit(drop)


def without_workflow(project: Project) -> None:
    (project.root / WORKFLOW).unlink()


def symlink(project: Project) -> None:
    """The directory of the baseline points to one that was forged."""
    baseline('service=store}":1', 'service=store}":2')(project)
    directory = project.root / "tests" / "baseline"
    shutil.move(directory, project.root / "mine")
    directory.symlink_to("../mine", target_is_directory=True)


TAMPERINGS = {
    "raised tolerance": (rules(f"{CALLS}: {{tolerance: 0}}", f"{CALLS}: {{tolerance: 300 %}}"), REGRESSION),
    "deleted metric": (without_metric, ("missing-metric", CALLS)),
    "edited baseline value": (baseline('service=store}":1', 'service=store}":2', "accepted"), REGRESSION),
    "added known failure": (
        rules("metrics:", f"known_failures: {{{OTHER}: {{until: 2999-01-01}}}}\nmetrics:"),
        FAILURE,
    ),
    "removed test": (without_test, ("missing-test", OTHER)),
    "widened glob": (rules(f"  {CALLS}: {{tolerance: 0}}\n", '  "*": {tolerance: 900 %}\n'), REGRESSION),
    "changed pin": (baseline('service=store}":1', 'service=store}":2', "pin"), REGRESSION),
    "replaced schema": (baseline("gate.baseline/3", "gate.baseline/99"), REGRESSION),
    "removed workflow": (without_workflow, REGRESSION),
    "symlinked baseline": (symlink, REGRESSION),
}


@pytest.mark.parametrize("name", TAMPERINGS)
@pytest.mark.parametrize("committed", [True, False], ids=["committed", "work tree"])
def test_what_was_red_stays_red_and_the_change_of_the_rules_is_told_first(
    change: Project, name: str, committed: bool
):
    tamper, red = TAMPERINGS[name]
    tamper(change)
    if committed:
        git(change.root, "add", "--all")
        git(change.root, "commit", "--quiet", "--allow-empty", "--message", name)
    result, verdict = change.check("--base", "main")
    assert (result.code, verdict["verdict"]) == (1, "failed"), result.text
    failing = {(f["kind"], f["subject"]) for f in verdict["findings"] if f["level"] == "fail"}
    assert red in failing
    assert len(failing) == 2, "both of what was red, in one way or another"
    text = comment(read_verdict((change.root / "verdict.json").read_bytes()))
    assert text.index("**This pull request changes the rules:**") < text.index("\n| "), "before every finding"


def test_without_tampering_no_change_of_the_rules_is_told(change: Project):
    result, verdict = change.check("--base", "main")
    assert result.code == 1
    assert "policy-change" not in {finding["kind"] for finding in verdict["findings"]}


def rules_of(suites: str) -> str:
    files = {"api": "test_api.py"}
    lines = [
        f"  {name}: {{run: python -m pytest {files.get(name, 'test_more.py')} -p no:cacheprovider}}\n"
        for name in suites.split()
    ]
    return f"version: 1\nsuites:\n{''.join(lines)}defaults: {{confirm: off}}\n"


@pytest.mark.parametrize(
    ("before", "after", "gone"),
    [("api", "api more", []), ("api more", "api", ["more"]), ("api more", "api other", ["more"])],
)
def test_the_suites_may_grow_but_not_shrink(change: Project, before: str, after: str, gone: list[str]):
    """What is run, the rules of the head say; a suite that the base does not know is one of its own."""
    rules = change.root / "thresholds.yaml"
    (change.root / "test_more.py").write_text("def test_more():\n    pass\n")
    git(change.root, "rm", "-r", "--quiet", "tests")
    rules.write_text(rules_of(before))
    git(change.root, "add", "--all")
    git(change.root, "commit", "--quiet", "--message", "base")
    git(change.root, "branch", "--force", "main")
    rules.write_text(rules_of(after))
    shutil.rmtree(change.root / ".gate")
    assert change.gate("run").code == 0
    result, verdict = change.check("--base", "main")
    assert [suite["name"] for suite in verdict["suites"]] == after.split(), result.text
    red = [f for f in verdict["findings"] if f["level"] == "fail"]
    assert [(f["kind"], f["subject"]) for f in red] == [("missing-test", suite) for suite in gone], (
        result.text
    )
    assert result.code == bool(gone)
    told = [f["subject"] for f in verdict["findings"] if f["kind"] == "policy-change"]
    assert told == ["thresholds.yaml"], "what left is told once"


def test_without_a_base_the_rules_are_those_of_the_change(change: Project):
    """What `--base` is for."""
    TAMPERINGS["raised tolerance"][0](change)
    _, verdict = change.check()
    assert CALLS not in {finding["subject"] for finding in verdict["findings"] if finding["level"] == "fail"}
