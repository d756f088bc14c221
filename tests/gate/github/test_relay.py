"""What the telling side believes of a run that executed foreign code: the attack table."""

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gate.github.artifacts import HostileError, unpacked
from gate.github.client import GitHub
from gate.github.context import Context, ContextError
from gate.github.names import artifact_of
from gate.github.relay import NothingToTellError, answer, ended_run, question
from gate.pipeline.load import load_policy
from gate.policy import Policy
from gate.verdict import Verdict, read_verdict, to_json
from tests.gate.github.conftest import HEAD, OLD
from tests.gate.unit.test_comment import confirmed
from tests.gate.unit.test_golden import passed

GREEN: Verdict = msgspec.structs.replace(passed()[1], findings=())
RED: Verdict = confirmed()
NO_RULES = Policy()


def event(
    *, conclusion: str = "success", head: str = HEAD, owner: str = "acme", **more: Any
) -> dict[str, Any]:
    run = {
        "id": 42,
        "head_sha": head,
        "head_branch": "topic",
        "event": "pull_request",
        "conclusion": conclusion,
        "created_at": "2026-11-20T09:00:00Z",
        "path": ".github/workflows/regression-gate.yml",
        "run_attempt": 1,
        "pull_requests": [],
        "head_repository": {"owner": {"login": owner}},
    }
    return {"workflow_run": run | more}


@dataclass
class Told:
    pull: int
    commit: str
    verdict: Verdict


def relayed(double, payload: dict[str, Any], policy: Policy = NO_RULES, gate: str = "gate") -> Told:
    context = Context("acme/shop", "writer", double.url, event="workflow_run", payload=payload)
    with GitHub(context, timeout=5, pace=0.001) as github:
        asked = question(github, ended_run(context))
        found = answer(github, asked, policy, "thresholds.yaml", gate=gate, workflow="regression-gate.yml")
    assert double.violations == []
    return Told(asked.pull, asked.run.head_sha, found)


def leave(double, verdict: Verdict | bytes) -> None:
    double.add_artifact(42, {"verdict.json": verdict if isinstance(verdict, bytes) else to_json(verdict)})


def test_what_the_run_said_is_told(double):
    leave(double, RED)
    found = relayed(double, event(conclusion="failure"))
    assert (found.pull, found.commit) == (7, HEAD)
    assert found.verdict == RED


def test_the_pull_request_of_a_fork_is_found_by_branch_and_commit(double):
    double.add_pull(8, HEAD, owner="stranger")
    leave(double, GREEN)
    assert relayed(double, event(owner="stranger")).pull == 8


NOTHING = {
    "another commit meanwhile": event(head=OLD),
    "waits for an approval": event(conclusion="action_required"),
    "a push": event(event="push"),
    "a closed pull request": event(owner="nobody"),
}


@pytest.mark.parametrize("name", NOTHING)
def test_nothing_to_tell(name, double):
    leave(double, GREEN)
    with pytest.raises(NothingToTellError):
        relayed(double, NOTHING[name])


def test_another_event_is_wrong_usage(double):
    with pytest.raises(ContextError):
        relayed(double, {"pull_request": {"number": 7}})


@pytest.mark.parametrize("conclusion", ["cancelled", "skipped", "failure", "startup_failure"])
def test_a_run_that_judged_nothing_is_an_error(conclusion, double):
    assert relayed(double, event(conclusion=conclusion)).verdict.verdict == "error"


def test_a_cancelled_run_that_a_younger_one_replaces_is_not_told(double):
    double.add_run(43, HEAD)
    with pytest.raises(NothingToTellError, match="run 43 is newer"):
        relayed(double, event(conclusion="cancelled"))


def test_another_workflow_that_calls_itself_the_gate_is_an_error(double):
    leave(double, GREEN)
    verdict = relayed(double, event(path=".github/workflows/mine.yml")).verdict
    assert verdict.verdict == "error"
    assert "mine.yml, not of regression-gate.yml" in verdict.findings[0].message


def test_of_two_pull_requests_with_one_head_none_is_green(double):
    """One of them may have a base with laxer rules; the check belongs to the commit of both."""
    double.add_pull(8, HEAD)
    double.pulls[8]["base"] = "lax"
    leave(double, GREEN)
    verdict = relayed(double, event()).verdict
    assert verdict.verdict == "error"
    assert "#7, #8" in verdict.findings[0].message


def test_a_group_of_the_merge_queue_gets_a_check_and_no_comment(double):
    leave(double, GREEN)
    found = relayed(double, event(event="merge_group", head_branch=f"gh-readonly-queue/main/pr-7-{HEAD}"))
    assert (found.pull, found.commit, found.verdict.verdict) == (0, HEAD, "passed")


def archive(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name.replace("__", "/").replace("_dot_", "."), data)
    return packed.getvalue()


def link() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        entry = zipfile.ZipInfo("verdict.json")
        entry.create_system, entry.external_attr = 3, 0o120777 << 16
        file.writestr(entry, "/etc/passwd")
    return packed.getvalue()


def packed_by(method: int) -> bytes:
    """Small, and of any size when unpacked: bzip2 and lzma unpack more than they are asked for."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as file:
        file.writestr("verdict.json", to_json(GREEN))
    return packed.getvalue()


def bad_name() -> bytes:
    data = bytearray(archive(**{"verdict.jsoé": b"x"}))
    return bytes(data.replace("é".encode(), b"\xff\xfe"))


def bomb() -> bytes:
    """A gigabyte of zeros in a megabyte."""
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file,
        file.open("verdict.json", "w", force_zip64=True) as member,
    ):
        for _ in range(1024):
            member.write(bytes(2**20))
    return packed.getvalue()


def doctored(**changes: Any) -> bytes:
    return json.dumps(json.loads(to_json(GREEN)) | changes).encode()


FORGED: dict[str, tuple[bytes, str]] = {
    "no archive": (b"PK\x03\x04 nonsense", "cannot be unpacked"),
    "a path out of it": (archive(**{"../../verdict.json": to_json(GREEN)}), "holds no verdict.json"),
    "a link": (link(), "no plain file"),
    "bzip2": (packed_by(zipfile.ZIP_BZIP2), "a method that is not supported"),
    "lzma": (packed_by(zipfile.ZIP_LZMA), "a method that is not supported"),
    "a name that is no text": (bad_name(), "cannot be unpacked"),
    "cut off": (archive(**{"verdict.json": to_json(GREEN)})[:-22], "cannot be unpacked"),
    "no JSON": (archive(**{"verdict.json": b"{"}), "is no verdict"),
    "deep nesting": (archive(**{"verdict.json": b"[" * 1_000_000}), "is no verdict"),
    "wrong types": (archive(**{"verdict.json": doctored(findings=7)}), "is no verdict"),
    "unknown word": (archive(**{"verdict.json": doctored(verdict="splendid")}), "is no verdict"),
    "another schema": (archive(**{"verdict.json": doctored(schema="gate.verdict/9")}), "has the schema"),
    "word and code differ": (archive(**{"verdict.json": doctored(exit_code=1)}), "exit code 1"),
    "passed with failures": (
        archive(**{"verdict.json": doctored(findings=[{"kind": "regression", "level": "fail", "subject": "x",
                                                       "message": "slow", "state": "confirmed"}])}),
        "its findings do not",
    ),
    "not a number": (
        archive(**{"verdict.json": to_json(GREEN).replace(b'"exit_code": 0', b'"exit_code": NaN')}),
        "is no verdict",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_artifact_is_an_error_and_never_green(name, double):
    data, says = FORGED[name]
    double.add_artifact(42, data)
    verdict = relayed(double, event()).verdict
    assert verdict.verdict == "error"
    assert says in verdict.findings[0].message


def test_a_bomb_is_not_unpacked(double):
    double.add_artifact(42, bomb())
    verdict = relayed(double, event()).verdict
    assert verdict.verdict == "error"
    assert "is over 67,108,864 bytes" in verdict.findings[0].message


def test_an_artifact_that_is_too_large_is_not_fetched(double, monkeypatch):
    monkeypatch.setattr("gate.github.artifacts._MOST_PACKED", 1000)
    double.add_artifact(42, bytes(1001))
    assert "has 1,001 bytes" in relayed(double, event()).verdict.findings[0].message
    assert "actions/download-artifact" not in [request.operation for request in double.received]


def test_no_artifact_is_an_error_not_silence(double):
    double.add_artifact(42, {"verdict.json": to_json(GREEN)}, name="something-else")
    assert relayed(double, event(conclusion="failure")).verdict.verdict == "error"


@pytest.mark.parametrize(
    ("verdict", "conclusion"), [(GREEN, "failure"), (RED, "success"), (GREEN, "timed_out")]
)
def test_verdict_and_conclusion_must_agree(verdict, conclusion, double):
    leave(double, verdict)
    found = relayed(double, event(conclusion=conclusion)).verdict
    assert found.verdict == "error"
    assert "the run ended as" in found.findings[0].message


CHANGED = {
    "thresholds.yaml": True,
    "tests/baseline/x/load.jsonl": True,
    ".github/workflows/regression-gate.yml": True,
    "action.yml": True,
    "conftest.py": True,
    "tests/load/conftest.py": True,
    "ci/plugin.py": True,
    "shop/cart.py": False,
    "docs/baseline.md": False,
    "thresholds.yaml.bak": False,
}


def test_what_changes_the_rules_is_told_first_even_if_the_run_kept_silent(double):
    leave(double, GREEN)
    double.files[7] = list(CHANGED)
    found = relayed(double, event(), Policy(protected="ci/*")).verdict
    assert {f.subject for f in found.findings} == {name for name, protected in CHANGED.items() if protected}
    assert found.verdict == "passed"
    assert found.findings[0].kind == "policy-change"


def test_a_forged_number_and_a_hostile_branch_change_nothing(double):
    branch = 'x"; touch owned; echo $(id) #?head=a:b&state=all'
    double.pulls[7]["branch"] = branch
    leave(double, doctored(pull=99, pull_request={"number": 99}))
    double.add_artifact(42, {"pull_request_number": b"99"}, name="pull_request")
    assert relayed(double, event(head_branch=branch)).pull == 7


def test_this_repository_protects_the_gate_that_judges_it():
    policy = load_policy(Path(__file__).parents[3] / "thresholds.yaml")
    for name in (
        "gate/measure/pytest_regression_gate/plugin.py",
        "gate/judge/metrics.py",
        "pyproject.toml",
        "Makefile",
    ):
        assert policy.protects(name, "thresholds.yaml")
    assert not policy.protects("tests/jorge/buyer.py", "thresholds.yaml")


def test_more_files_than_github_lists_may_hide_a_change_of_the_rules(double):
    leave(double, GREEN)
    double.files[7] = [f"shop/part{n}.py" for n in range(3000)]
    (found,) = relayed(double, event()).verdict.findings
    assert (found.kind, found.subject) == ("policy-change", "changed files")


def test_a_waiver_that_nobody_gave_does_not_count(double):
    waived = [msgspec.structs.replace(f, level="warn", state="waived") for f in RED.findings]
    leave(double, msgspec.structs.replace(RED, findings=tuple(waived), verdict="passed", exit_code=0))
    assert relayed(double, event()).verdict.verdict == "failed"
    double.add_comment(7, "kim", "/gate waive bot.seller.analyze_intent because")
    assert relayed(double, event()).verdict.verdict == "passed"


def test_the_token_does_not_go_to_the_store_of_artifacts(double):
    leave(double, GREEN)
    relayed(double, event())  # asserts that the double saw no violation


def test_a_verdict_is_read_back_as_it_was_written():
    assert read_verdict(to_json(RED)) == RED
    assert unpacked(archive(**{"verdict.json": b"x"})) == b"x"
    with pytest.raises(HostileError):
        unpacked(b"")


LATER = "2026-11-20T09:30:00Z"


def test_a_run_that_began_before_the_base_was_changed_is_not_told_if_a_younger_one_judges(double):
    """Its rules are those of another branch, which may be lax."""
    leave(double, GREEN)
    double.change_base(7, "main", at=LATER)
    double.add_run(43, HEAD, at=LATER)
    with pytest.raises(NothingToTellError, match="run 43 is newer"):
        relayed(double, event(run_attempt=2))


def test_without_a_younger_run_a_change_of_the_base_is_an_error(double):
    leave(double, GREEN)
    double.change_base(7, "main", at=LATER)
    verdict = relayed(double, event(run_attempt=2)).verdict
    assert verdict.verdict == "error"
    assert "the base branch was changed after this run began" in verdict.findings[0].message


def test_the_run_that_the_change_of_the_base_started_is_told(double):
    leave(double, GREEN)
    double.change_base(7, "main", at=LATER)
    double.add_run(43, HEAD, at=LATER)
    double.artifacts = {n: (43, *rest) for n, (_, *rest) in double.artifacts.items()}
    assert relayed(double, event(id=43, created_at=LATER)).verdict == GREEN
    with pytest.raises(NothingToTellError, match="run 43 is newer"):
        relayed(double, event(created_at=LATER))  # the same second, but older


JOBS: dict[str, tuple[list[tuple[str, str]], str, str, str]] = {
    "a lint job beside it failed": (
        [("lint", "failure"), ("regression-gate", "success")],
        "gate",
        "failure",
        "passed",
    ),
    "as the reusable workflow names it": (
        [("lint", "failure"), ("api / Plan", "success"), ("api / regression-gate", "success")],
        "gate",
        "failure",
        "passed",
    ),
    "another gate failed": (
        [("api / regression-gate", "success"), ("web / regression-gate", "failure")],
        "api",
        "failure",
        "passed",
    ),
    "a matrix": (
        [("regression-gate (3.11)", "success"), ("regression-gate (3.1)", "failure")],
        "3.11",
        "failure",
        "passed",
    ),
    "a name with a slash": (
        [("regression-gate (api/v1 – Python 3.12, x)", "success"), ("regression-gate", "failure")],
        "api/v1 – Python 3.12",
        "failure",
        "passed",
    ),
    "its own job failed, the run may go on": ([("regression-gate", "failure")], "gate", "success", "error"),
    "two of one name, which one is not known": (
        [("a / regression-gate", "success"), ("b / regression-gate", "failure")],
        "gate",
        "failure",
        "error",
    ),
    "one that is only called like it": (
        [("regression-gate", "failure"), ("regression-gate (gate)", "success")],
        "gate",
        "failure",
        "error",
    ),
    "the caller of the reusable workflow is called like it": (
        [
            ("lint", "failure"),
            ("regression-gate / Plan", "success"),
            ("regression-gate / Measure api", "success"),
            ("regression-gate / regression-gate", "success"),
        ],
        "gate",
        "failure",
        "passed",
    ),
    "two callers that name their gates": (
        [
            ("regression-gate (api/v1) / Plan", "success"),
            ("regression-gate (api/v1) / regression-gate", "success"),
            ("regression-gate (web) / Plan", "success"),
            ("regression-gate (web) / regression-gate", "failure"),
        ],
        "api/v1",
        "failure",
        "passed",
    ),
    "no job of that name": ([("tests", "success"), ("lint", "failure")], "gate", "failure", "error"),
    "no job of that name, all passed": (
        [("tests", "success"), ("lint", "success")],
        "gate",
        "success",
        "passed",
    ),
    "it was cancelled": ([("regression-gate", "cancelled")], "gate", "success", "error"),
}


@pytest.mark.parametrize("name", JOBS)
def test_the_gate_is_judged_by_its_own_job(name, double):
    jobs, gate, conclusion, word = JOBS[name]
    double.jobs[42] = jobs
    double.add_artifact(42, {"verdict.json": to_json(GREEN)}, artifact_of(gate))
    assert relayed(double, event(conclusion=conclusion), gate=gate).verdict.verdict == word


def test_an_attempt_that_died_is_not_told_with_the_verdict_of_the_one_before(double):
    leave(double, RED)
    double.jobs[42] = [("regression-gate", "failure")]
    double.started = "2026-11-20T11:00:00Z"  # after the artifact was left
    (finding,) = relayed(double, event(conclusion="failure", run_attempt=2)).verdict.findings
    assert "the job 'regression-gate' left no verdict in attempt 2" in finding.message


@pytest.mark.parametrize(("owner", "branch"), [("acme", "topic2"), ("eve", "topic2"), ("eve", "topic")])
def test_of_two_pull_requests_with_one_head_none_is_green_whatever_their_branches(owner, branch, double):
    double.add_pull(8, HEAD, branch=branch, owner=owner)
    double.pulls[8]["base"] = "lax"
    leave(double, GREEN)
    for at, (of, there) in {7: ("acme", "topic"), 8: (owner, branch)}.items():
        found = relayed(double, event(owner=of, head_branch=there))
        assert (found.pull, found.verdict.verdict) == (at, "error")
        assert "#7, #8 have the same head commit" in found.verdict.findings[0].message


@pytest.mark.parametrize("owner", ["acme", "eve"])
def test_pull_requests_with_one_head_and_one_base_have_one_question(owner, double):
    double.add_pull(8, HEAD, branch="topic2", owner=owner)
    leave(double, GREEN)
    assert relayed(double, event()).verdict == GREEN
    double.change_base(8, "main", at="2026-11-20T08:00:00Z")  # nobody knows for which it was judged
    assert relayed(double, event()).verdict.verdict == "error"


def test_a_closed_pull_request_of_the_branch_for_laxer_rules_is_not_told_as_this_one(double):
    """Who opens it and closes it at once starts a run whose event does not say of which it is."""
    double.add_pull(8, HEAD)
    double.pulls[8] |= {"base": "old", "state": "closed"}
    leave(double, GREEN)
    found = relayed(double, event())
    assert (found.pull, found.verdict.verdict) == (7, "error")
    assert "#7, #8 have the same head commit and other base branches" in found.verdict.findings[0].message


@pytest.mark.parametrize("field", ["conclusion", "status"])
def test_a_run_that_waits_for_an_approval_is_no_newer_one(field, double):
    double.add_run(43, HEAD)
    double.runs[-1][field] = "action_required"
    leave(double, RED)
    assert relayed(double, event(conclusion="failure")).verdict == RED


def test_a_run_of_another_pull_request_is_no_newer_one(double):
    double.add_run(50, HEAD, at="2026-11-20T10:30:00Z", source="eve:topic2")
    leave(double, GREEN)
    double.change_base(7, "main", at="2026-11-20T09:30:00Z")
    assert "the base branch was changed" in relayed(double, event()).verdict.findings[0].message


def test_a_run_whose_fork_was_deleted_is_told(double):
    leave(double, RED)
    assert relayed(double, event(conclusion="failure", head_repository=None)).verdict == RED


@pytest.mark.parametrize("operation", ["actions/list-workflow-run-artifacts", "actions/download-artifact"])
def test_what_cannot_be_fetched_is_an_error_and_not_silence(operation, double):
    """An older check would go on saying what it says."""
    leave(double, GREEN)
    double.fail(operation, "refuse", times=10_000, status=404)
    assert relayed(double, event()).verdict.verdict == "error"


def test_what_to_call_the_job_is_said(double):
    leave(double, GREEN)
    double.jobs[42] = [("tests", "success"), ("lint", "failure")]
    (finding,) = relayed(double, event(conclusion="failure")).verdict.findings
    assert "the run ended as failure" in finding.message
    assert "call it 'regression-gate'" in finding.message
