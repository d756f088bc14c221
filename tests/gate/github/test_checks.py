"""The check run: conclusion, annotations in portions, never two."""

import msgspec
import pytest

from gate.github import checks
from gate.github.checks import Check, write_check
from gate.report.annotations import Annotation, annotations, workflow_commands
from gate.verdict import Finding
from tests.gate.github.conftest import HEAD
from tests.gate.unit.test_golden import VERDICTS, all_kinds, passed

RUN = (42, 1)


def check(number: int = 1, verdict="failed", run=RUN) -> Check:
    remarks = [Annotation("a.py", n + 1, n + 1, "failure", "broken", "new-failure") for n in range(number)]
    return Check(
        "regression-gate / verdict", HEAD, run, verdict, f"{verdict}: 1 new failure", "text", remarks
    )


@pytest.mark.parametrize("number", [0, 1, 50, 51, 120, 700])
def test_annotations_go_in_portions_of_fifty(number, double, connect):
    write_check(connect(), check(number))
    (kept,) = double.checks
    assert len(kept["output"]["annotations"]) == min(number, 500)
    assert double.violations == []


@pytest.mark.parametrize("word", VERDICTS)
def test_everything_but_passed_fails(word, double, connect):
    write_check(connect(), check(verdict=word))
    assert double.checks[0]["conclusion"] == ("success" if word == "passed" else "failure")


@pytest.mark.parametrize("kind", ["silent-after", "drop-after", "malformed", "drop", "silent"])
def test_a_lost_answer_leaves_one_check(kind, double, connect):
    double.fail("checks/create", kind)
    write_check(connect(), check(60))
    assert [len(kept["output"]["annotations"]) for kept in double.checks] == [60]


def test_annotations_stand_where_it_failed():
    found = {remark.title: remark for remark in annotations(all_kinds()[1])}
    assert (found["new-failure"].path, found["new-failure"].start_line) == ("tests/c.py", 3)
    assert found["policy-change"].path == "thresholds.yaml"
    assert found["policy-change"].annotation_level == "warning"
    assert annotations(passed()[1]) == []


def test_commands_of_the_log_hold_no_command_of_a_test():
    hostile = Finding("new-failure", "fail", "tests/a.py::test[::set-output name=x::y]", "a\n::error::b %0A",
                      where="tests/a,b.py:7")  # fmt: skip
    verdict = all_kinds()[1]
    lines = workflow_commands(type(verdict)(**{**{k: getattr(verdict, k) for k in verdict.__struct_fields__},
                                               "findings": (hostile,)}))  # fmt: skip
    assert lines[1].startswith("::error file=tests/a%2Cb.py,line=7,title=new-failure::")
    assert "\n" not in lines[1]
    assert "%250A" in lines[1]
    assert workflow_commands(passed()[1]) == []


def test_a_service_in_a_directory_has_its_files_there():
    found = {remark.title: remark.path for remark in annotations(all_kinds()[1], "services/shop")}
    assert found["new-failure"] == "services/shop/tests/c.py"
    assert found["policy-change"] == "thresholds.yaml", "git names it from the top"
    assert workflow_commands(all_kinds()[1], "services/shop")[1].startswith("::error file=services/shop/")


def test_of_many_errors_the_verdict_comes_first_and_github_shows_all():
    findings = tuple(
        Finding("new-failure", "fail", f"tests/a.py::test_{n}", "broken", nodeids=(f"tests/a.py::test_{n}",))
        for n in range(20)
    )
    lines = workflow_commands(msgspec.structs.replace(all_kinds()[1], findings=findings))
    assert lines[0].startswith("::error title=regression gate::failed: 20 new failures")
    assert len(lines) == 10, "GitHub shows ten of a step"


def shown(double) -> tuple[str, str]:
    """What GitHub shows: the check that was created last."""
    last = double.checks[-1]
    return last["conclusion"], last["output"]["title"]


def test_an_older_run_that_ends_last_writes_nothing(double, connect):
    double.add_run(43, HEAD)
    assert write_check(connect(), check(verdict="failed", run=(43, 1))) == "created"
    assert write_check(connect(), check(verdict="passed", run=(42, 2))) == "superseded"
    assert shown(double) == ("failure", "failed: 1 new failure")


def test_a_further_attempt_has_the_last_word(double, connect):
    write_check(connect(), check(verdict="failed", run=(42, 1)))
    assert write_check(connect(), check(verdict="passed", run=(42, 2))) == "created"
    assert shown(double)[0] == "success"
    assert write_check(connect(), check(verdict="failed", run=(42, 1))) == "superseded"
    assert shown(double)[0] == "success"


def test_who_is_overtaken_while_it_writes_says_what_the_younger_one_says(double, connect, monkeypatch):
    double.add_run(43, HEAD)
    looked = checks._younger  # pyright: ignore[reportPrivateUsage]

    def overtaken(github, one):
        found = looked(github, one)
        if not double.checks and one.run == (42, 1):  # between its look and its write
            write_check(connect(), check(verdict="failed", run=(43, 1)))
        return found

    monkeypatch.setattr(checks, "_younger", overtaken)
    assert write_check(connect(), check(verdict="passed", run=(42, 1))) == "superseded"
    assert len(double.checks) == 2
    assert {c["conclusion"] for c in double.checks} == {"failure"}
    assert shown(double) == ("failure", "failed: 1 new failure")
    assert double.violations == []


def test_a_run_that_never_took_place_is_no_younger_one(double, connect):
    write_check(connect(), check(verdict="passed", run=(10**15, 1)))
    assert write_check(connect(), check(verdict="failed")) == "created"
    assert shown(double)[0] == "failure"


def test_a_check_that_somebody_else_wrote_is_not_asked(double, connect):
    write_check(connect(), check(verdict="passed"))
    double.checks[-1]["external_id"] = "deploy 99.1"
    assert write_check(connect(), check(verdict="failed")) == "created"
