"""`gate baseline learn`: which runs teach, and what is believed of an artifact."""

import io
import json
import zipfile
from typing import Any

import pytest

from gate.verdict import to_json
from tests.gate.e2e.conftest import Project
from tests.gate.github.conftest import HEAD
from tests.gate.unit.test_golden import passed


def ended(**more: Any) -> dict[str, Any]:
    run = {
        "id": 42,
        "head_sha": HEAD,
        "head_branch": "main",
        "event": "push",
        "conclusion": "success",
        "created_at": "2026-11-20T09:00:00Z",
        "run_attempt": 1,
        "head_repository": {"full_name": "acme/shop", "owner": {"login": "acme"}},
    }
    return {"workflow_run": run | more, "repository": {"default_branch": "main"}}


def learn(job: Project, *arguments: str, **more: Any):
    (job.root / "event.json").write_text(json.dumps(ended(**more)))
    return job.gate("baseline", "learn", *arguments)


NOTHING = {
    "a pull request": ({"event": "pull_request"}, "runs started by pull_request are not accepted"),
    "a schedule": ({"event": "schedule"}, "runs started by schedule are not accepted"),
    "another branch": (
        {"head_branch": "topic"},
        "is on branch 'topic' of acme/shop, not on branch 'main' of acme/shop",
    ),
    "a fork's main": (
        {"head_repository": {"full_name": "eve/shop", "owner": {"login": "eve"}}},
        "is on branch 'main' of eve/shop",
    ),
    "cancelled": ({"conclusion": "cancelled"}, "ended as cancelled"),
    "failed before it judged": ({"conclusion": "failure"}, "so it was not judged"),
}


@pytest.mark.parametrize("name", NOTHING)
def test_what_teaches_nothing_is_said(name, job):
    more, says = NOTHING[name]
    result = learn(job, **more)
    assert (result.code, result.err) == (0, "")
    assert "nothing to accept: " in result.out
    assert says in result.out


def test_a_green_run_without_a_verdict_is_an_error(job):
    result = learn(job, "--gate", "api/v1")
    assert result.code == 4
    assert (
        "the run left no artifact 'regression-api%2Fv1'; does the workflow run a gate of this name?"
        in result.err
    )


def test_a_verdict_without_reports_is_an_error(job, double):
    double.add_artifact(42, {"verdict.json": to_json(passed()[1])}, "regression-gate")
    result = learn(job)
    assert result.code == 4
    assert "the run left no artifact measured-gate~*" in result.err


def packed(name: str, mode: int = 0o100644) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        entry = zipfile.ZipInfo(name)
        entry.create_system, entry.external_attr = 3, mode << 16
        archive.writestr(entry, "/etc/passwd")
    return data.getvalue()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (packed("../../owned.json"), "which is no plain file in it"),
        (packed("/owned.json"), "which is no plain file in it"),
        (packed("a/../../owned.json"), "which is no plain file in it"),
        (packed("api.json", 0o120777), "which is no plain file in it"),
        (b"PK nonsense", "cannot be unpacked"),
    ],
)
def test_nothing_is_unpacked_outside_its_directory(data, says, job, double):
    double.add_artifact(42, {"verdict.json": to_json(passed()[1])}, "regression-gate")
    double.add_artifact(42, data, "measured-gate~all")
    result = learn(job)
    assert result.code == 4
    assert "artifact 'measured-gate~all': it" in result.err
    assert says in result.err


def test_another_event_is_wrong_usage(job):
    result = job.gate("baseline", "learn")
    assert result.code == 2
    assert "it is for on: workflow_run" in result.err


def test_a_gate_that_left_nothing_keeps_no_other_one_from_learning(job, double):
    double.add_artifact(42, {"verdict.json": to_json(passed()[1])}, "regression-web")
    result = learn(job, "--gate", "api", "--gate", "web")
    assert result.code == 4
    assert "gate api: GitHub: the run left no artifact 'regression-api'" in result.err
    assert "gate web: GitHub: the run left no artifact measured-web~*" in result.err
