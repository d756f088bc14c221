"""What enters the memory: never silently what got worse, and then with who and why."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from gate.baseline import AcceptedRun
from gate.baseline.expected import expected
from gate.baseline.files import read_baseline
from tests.gate.e2e.conftest import THRESHOLDS, Project

STAGE = {
    "duration": 0.1,
    "outcome": "failed",
    "crash": {"path": "test_api.py", "lineno": 13, "message": "AssertionError: broken"},
}


def strict(project: Project) -> None:
    """Tolerances that tell a time eight times as long, and one of an eighth."""
    (project.root / "thresholds.yaml").write_text(THRESHOLDS.replace("400 %", "50 %"))


def more_calls(document: dict[str, Any]) -> None:
    (calls,) = [m for m in recorded(document) if m["name"] == "api.home.calls"]
    calls["value"] += 1
    document["created"] += 60


def slower(document: dict[str, Any], factor: float = 8.0) -> None:
    (sample,) = [m for m in recorded(document) if m["name"] == "api.home"]
    sample["samples"] = [factor * value for value in sample["samples"]]
    document["created"] += 60


def recorded(document: dict[str, Any]) -> list[dict[str, Any]]:
    (test,) = [t for t in document["tests"] if t["nodeid"].endswith("::test_home")]
    return test["metadata"]["gate"]["metrics"]


def runs(project: Project) -> tuple[AcceptedRun, ...]:
    """The accepted runs, as they are read where there is no repository."""
    (suite,) = expected(read_baseline(project.root / "tests/baseline")).suites
    return suite.runs


def waived(project: Project) -> list[str]:
    return [str(one) for one in runs(project)[-1].waived]


def test_more_work_enters_only_with_a_reason(project: Project):
    project.accept(1)
    project.edit(more_calls)
    refused = project.gate("baseline", "update", "--commit", "c1")
    assert refused.code == 1
    assert "api.home.calls{service=store}: regression: 1 → 2" in refused.err
    assert "gate baseline accept --subject SUBJECT --reason TEXT" in refused.err
    assert "api.home.calls{service=store}" not in runs(project)[-1].values, "the rest is accepted"
    assert project.check()[0].code == 1, "what was expected stays"
    allowed = project.gate(
        "baseline", "accept", "--commit", "c1", "--reason", "two stores\nnow", "--by", "anna"
    )
    assert allowed.code == 0, allowed.text
    assert waived(project) == ["api.home.calls{service=store}: anna: two stores now"]
    assert "permitted: api.home.calls{service=store}: anna: two stores now" in allowed.out
    assert project.check()[0].code == 0
    assert "waived: api.home.calls" in project.gate("history", "api.home.calls").out


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda test: test.update(outcome="failed", call=STAGE), "AssertionError: broken"),
        (lambda test: test.update(outcome="skipped", setup=STAGE | {"outcome": "skipped"}), "now skipped"),
        (
            lambda test: test.update(nodeid="test_api.py::test_new"),
            "is in the accepted runs, but not in this run",
        ),
    ],
    ids=["fails", "is skipped", "is gone"],
)
def test_a_test_that_no_longer_passes_enters_only_with_a_reason(
    project: Project, change: Callable[[dict[str, Any]], None], says: str
):
    def edit(document: dict[str, Any]) -> None:
        document["created"] += 60
        change(next(test for test in document["tests"] if test["nodeid"] == "test_api.py::test_other"))
        document["exitcode"] = int(any(test["outcome"] == "failed" for test in document["tests"]))

    project.accept(1)
    project.edit(edit)
    refused = project.gate("baseline", "update", "--commit", "c1")
    assert (refused.code, says in refused.err) == (1, True), refused.text
    assert project.check()[0].code == 1
    because = ("--reason", "we know", "--by", "anna")
    assert project.gate("baseline", "accept", "--commit", "c1", *because).code == 0
    assert waived(project) == ["test_api.py::test_other: anna: we know"]
    assert project.check()[0].code == 0, "it is no news any more"


def test_old_failures_of_the_first_run_are_red_with_entries_to_paste(project: Project):
    """Who begins to use the gate may have some; a record of them permits nothing."""

    def edit(document: dict[str, Any]) -> None:
        document["tests"][1].update(outcome="failed", call=STAGE)
        document["exitcode"] = 1

    project.edit(edit)
    accepted = project.gate("baseline", "update", "--commit", "c1")
    assert accepted.code == 1
    assert project.check()[0].code == 1
    entries = accepted.err[accepted.err.index("known_failures:") :]
    rules = project.root / "thresholds.yaml"
    rules.write_text(f"{rules.read_text()}\n{entries}")
    assert project.check()[0].code == 0


def test_a_reason_covers_what_it_names_as_long_as_it_lasts(project: Project):
    def edit(document: dict[str, Any]) -> None:
        document["created"] += 60
        document["tests"][1].update(outcome="failed", call=STAGE)
        document["exitcode"] = 1

    project.accept(1)
    project.edit(more_calls)
    project.edit(edit)
    because = ("baseline", "accept", "--commit", "c1", "--reason", "ticket 7", "--by", "anna")
    subject = ("--subject", "test_api.py::test_other", "--until", "2999-01-01")
    refused = project.gate(*because, *subject)
    assert refused.code == 1
    assert "api.home.calls{service=store}: regression: 1 → 2" in refused.err
    assert waived(project) == ["test_api.py::test_other: anna: ticket 7"]
    shown = project.gate("baseline", "show").out
    assert "test_api.py::test_other: anna: ticket 7 (until 2999-01-01)" in shown
    (kept,) = (project.root / "tests" / "baseline").rglob("*.jsonl")
    kept.write_text(kept.read_text().replace("2999-01-01", "2000-01-01"))
    kinds = {f["kind"] for f in project.check()[1]["findings"] if f["level"] == "fail"}
    assert kinds == {"regression", "new-failure"}
    assert "anna accepted it until 2000-01-01" in " ".join(project.check()[0].out.split())
    for day in ("soon", "2000-01-01"):
        assert project.gate(*because, "--until", day).code == 2
    nothing = project.gate(*because, "--subject", "api.hom")
    assert nothing.code == 2
    assert "--subject 'api.hom' matches nothing that got worse in this run ('api.home.calls" in nothing.err


def test_accepting_twice_changes_nothing(project: Project):
    project.accept(1)
    project.edit(more_calls)
    accept = ("baseline", "accept", "--commit", "c1", "--reason", "two stores", "--by", "anna")
    files = []
    for _ in range(2):
        assert project.gate(*accept).code == 0
        files.append({p.name: p.read_bytes() for p in project.root.glob("tests/baseline/*/*.jsonl")})
    assert files[0] == files[1]


def test_a_time_that_only_looks_worse_enters_and_an_accepted_one_begins_a_new_level(project: Project):
    """History alone accuses nobody, and a memory without slow runs would not know the noise."""
    strict(project)
    project.accept(4)
    project.edit(slower)
    _, verdict = project.check()
    assert "regression" in {finding["kind"] for finding in verdict["findings"]}
    assert project.gate("baseline", "accept", "--commit", "c9", "--reason", "planned", "--by", "a").code == 0
    _, verdict = project.check()
    assert "regression" not in {finding["kind"] for finding in verdict["findings"]}
    project.edit(lambda document: slower(document, 1 / 8))
    _, verdict = project.check()
    assert "improvement" in {finding["kind"] for finding in verdict["findings"]}
    assert project.gate("baseline", "update", "--commit", "c10").code == 0
    assert "api.home.p50" in runs(project)[-1].improved
    assert "better than before" in project.gate("history", "api.home.p50").out
    _, verdict = project.check()
    assert {"regression", "improvement"}.isdisjoint(finding["kind"] for finding in verdict["findings"])


def test_a_verdict_tells_what_became_better(project: Project):
    strict(project)
    project.accept(4)
    project.edit(lambda document: slower(document, 1 / 8))
    project.check()
    assert json.loads((project.root / "verdict.json").read_text())["verdict"] == "passed"
    accepted = project.gate("baseline", "update", "--commit", "c9", "--verdict", "verdict.json")
    assert accepted.code == 0, accepted.text
    assert "api.home.p50" in runs(project)[-1].improved


def test_a_reason_is_needed(project: Project):
    project.accept(1)
    assert project.gate("baseline", "accept", "--commit", "c1").code == 2
    empty = project.gate("baseline", "accept", "--commit", "c1", "--reason", " ", "--by", "anna")
    assert (empty.code, "--reason is empty" in empty.err) == (2, True)


def test_a_verdict_lets_in_what_it_judged_and_nothing_else(project: Project):
    project.accept(1)
    project.edit(lambda document: document.update(created=document["created"] + 60))
    _, verdict = project.check()
    assert verdict["verdict"] == "passed"
    file = project.root / "verdict.json"
    unlike = {"suites": [verdict["suites"][0] | {"report": "0" * 16}]}
    for other in ({"suites": []}, {"head": {"commit": "d" * 40}}, unlike):
        file.write_text(json.dumps(verdict | other))
        project.edit(lambda document: document["gate"].update(commit="c" * 40))
        refused = project.gate("baseline", "update", "--commit", "c" * 40, "--verdict", "verdict.json")
        assert (refused.code, "nothing was accepted" in refused.err) == (4, True), refused.text
    assert len(runs(project)) == 1


def test_the_reason_of_a_run_stays_when_it_is_accepted_again(project: Project):
    project.accept(1)
    project.edit(more_calls)
    because = ("--reason", "two stores", "--by", "anna")
    assert project.gate("baseline", "accept", "--commit", "c1", *because).code == 0
    assert project.gate("baseline", "update", "--commit", "c1").code == 0
    assert waived(project) == ["api.home.calls{service=store}: anna: two stores"]


def test_a_run_from_the_future_is_refused(project: Project):
    project.edit(lambda document: document.update(created=document["created"] + 10_000_000))
    refused = project.gate("baseline", "update", "--commit", "c1")
    assert (refused.code, "set the clock of the machine" in refused.err) == (4, True), refused.text


def test_what_nobody_could_judge_is_let_pass_and_not_remembered(project: Project):
    strict(project)
    project.accept(2)
    project.edit(slower)
    _, verdict = project.check()
    service, test = "127.0.0.1:8000", "test_api.py::test_home"
    shown = {"level": "warn", "state": "waived", "nodeids": [test], "message": "…; waived by kim: staging"}
    verdict["findings"] = [
        shown | {"kind": "unaccounted", "subject": service},
        shown
        | {"kind": "regression", "subject": "api.home.p50", "suite": "performance", "shared": [service]},
    ]
    verdict["account"] = {
        "differences": [{"kind": "service", "what": service, "state": "unaccounted"}],
        "tests": {test: {"touched": True, "unaccounted": [0]}},
    }
    verdict["waivers"] = [{"subject": service, "by": "kim", "reason": "staging"}]
    verdict.update(verdict="passed", exit_code=0)
    (project.root / "verdict.json").write_text(json.dumps(verdict))
    accepted = project.gate("baseline", "update", "--commit", "c9", "--verdict", "verdict.json")
    assert accepted.code == 0, accepted.text
    before, last = runs(project)[-2:]
    assert [str(one) for one in last.waived] == [f"{service}: kim: staging"]
    assert ("api.home.p50" in before.values, "api.home.p50" in last.values) == (True, False)
    project.edit(lambda document: document.update(created=document["created"] + 60))
    _, verdict = project.check()
    (again,) = [f for f in verdict["findings"] if f["subject"] == "api.home.p50"]
    assert (again["kind"], again["level"]) == ("regression", "fail")


def test_what_breaks_a_limit_is_held_back_until_somebody_lets_it_in(project: Project):
    rules = project.root / "thresholds.yaml"
    rules.write_text(THRESHOLDS.replace("metrics:\n", "metrics:\n  api.home.p50: {target: 1 ns}\n"))
    refused = project.gate("baseline", "update", "--commit", "c1")
    assert (refused.code, "over its target of 1 ns" in refused.err) == (1, True), refused.text
    assert "api.home.p50" not in runs(project)[-1].values
    because = ("--reason", "not yet", "--by", "anna", "--subject", "api.home")
    assert project.gate("baseline", "accept", "--commit", "c1", *because).code == 0
    assert "api.home.p50" in runs(project)[-1].values
