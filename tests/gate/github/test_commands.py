"""`gate comment`, `relay`, `waivers` and `obey` as a job calls them."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from gate.verdict import to_json
from tests.gate.e2e.conftest import Project
from tests.gate.github.conftest import HEAD
from tests.gate.github.test_relay import event
from tests.gate.unit.test_comment import confirmed
from tests.gate.unit.test_foreign_verdict import assert_inert, forged
from tests.gate.unit.test_golden import passed

TOKEN = "ghs_secretsecretsecret"


@pytest.fixture
def job(tmp_path: Path, double, monkeypatch) -> Project:
    """A work tree in a job of pull request 7."""
    (tmp_path / "thresholds.yaml").write_text("version: 1\nsuites: {api: {run: pytest}}\n")
    (tmp_path / "verdict.json").write_bytes(to_json(confirmed()))
    (tmp_path / "event.json").write_text(json.dumps({"pull_request": {"number": 7}}))
    double.tokens[TOKEN] = double.tokens["writer"]
    for name, value in {
        "GITHUB_REPOSITORY": "acme/shop",
        "GITHUB_API_URL": double.url,
        "GITHUB_EVENT_PATH": str(tmp_path / "event.json"),
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_TOKEN": TOKEN,
        "GITHUB_RUN_ID": "42",
        "GITHUB_RUN_ATTEMPT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    return Project(tmp_path)


def test_a_comment_is_written_and_then_left_alone(job, double):
    result = job.gate("comment", "verdict.json")
    assert (result.code, result.out.strip()) == (0, "comment on #7: created")
    assert job.gate("comment", "verdict.json").out.strip() == "comment on #7: unchanged"
    assert "https://github.com/acme/shop/actions/runs/42" in double.bodies(7)[0]


def test_nothing_to_say_writes_nothing_unless_the_rules_ask_for_it(job, double):
    (job.root / "verdict.json").write_bytes(to_json(passed()[1]))
    assert "unneeded" in job.gate("comment", "verdict.json").out
    rules = job.root / "thresholds.yaml"
    rules.write_text(rules.read_text() + "github: {comment: always}\n")
    assert "created" in job.gate("comment", "verdict.json").out
    assert len(double.bodies(7)[0].splitlines()) == 2


def test_a_token_that_only_reads_is_no_error_and_says_what_is_missing(job, double):
    double.tokens[TOKEN] = double.tokens["reader"]
    result = job.gate("comment", "verdict.json")
    assert result.code == 0
    assert "the job needs one of: issues: write, pull-requests: write" in result.err
    assert "the verdict stands" in result.err


@pytest.mark.parametrize("kind", ["drop", "malformed", "html", "silent"])
def test_the_token_is_in_no_output(kind, job, double, monkeypatch):
    monkeypatch.setattr("gate.github.client.TIMEOUT", 0.2)
    monkeypatch.setattr("gate.cli.conversing.PACE", 0.001)
    double.fail("*", kind, times=10_000, status=502)
    result = job.gate("comment", "verdict.json")
    assert result.code == 4
    assert TOKEN not in result.text
    assert "GitHub: " in result.err


WRONG = {
    "no repository": ({"GITHUB_REPOSITORY": ""}, "set it to OWNER/NAME"),
    "no web address": ({"GITHUB_API_URL": "ftp://x"}, "is no web address"),
    "no event": ({"GITHUB_EVENT_PATH": "/nowhere"}, "GITHUB_EVENT_PATH cannot be read"),
    "no pull request": ({"GITHUB_EVENT_PATH": ""}, "name it with --pull NUMBER"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_usage_names_the_remedy(name, job, monkeypatch):
    variables, says = WRONG[name]
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    result = job.gate("comment", "verdict.json")
    assert result.code == 2
    assert says in result.err


def test_a_run_of_an_older_commit_says_nothing_any_more(job, double):
    event = {"pull_request": {"number": 7, "head": {"sha": "b" * 40}}}
    (job.root / "event.json").write_text(json.dumps(event))
    assert "has a newer commit" in job.gate("comment", "verdict.json").out
    assert double.bodies(7) == []


def test_without_a_verdict_the_comment_says_so(job, double):
    assert job.gate("comment", "nothing.json").code == 0
    assert "error: 1 unusable report" in double.bodies(7)[0]


def test_a_command_to_the_runner_in_a_waiver_is_none(job, double):
    double.add_comment(7, "sam", "/gate waive ##[error]x ##[add-mask]y")
    assert "##[" not in job.gate("waivers", "--output", "waivers.json").text


def test_a_person_names_the_pull_request(job, double, monkeypatch):
    monkeypatch.setenv("GITHUB_EVENT_PATH", "")
    assert job.gate("comment", "verdict.json", "--pull", "7").code == 0
    assert len(double.bodies(7)) == 1


def test_a_file_that_is_no_verdict_is_refused(job):
    (job.root / "verdict.json").write_text("{}")
    result = job.gate("comment", "verdict.json")
    assert result.code == 2
    assert "is no verdict" in result.err


def test_waivers_are_written_for_the_check(job, double):
    double.add_comment(7, "kim", "/gate waive api.home.p50 because")
    double.add_comment(7, "sam", "/gate waive api.other.p50 please")
    result = job.gate("waivers", "--output", "waivers.json")
    assert result.code == 0
    assert "waiver of api.home.p50 by kim: because" in result.out
    assert "by sam does not count: who gave it may not write" in result.out
    kept = json.loads((job.root / "waivers.json").read_text())
    assert kept["head"] == HEAD
    assert [waiver["subject"] for waiver in kept["granted"]] == ["api.home.p50"]


def test_after_the_merge_the_waivers_of_the_pull_request_count(job, double, monkeypatch):
    double.add_comment(7, "kim", "/gate waive api.home.p50 because")
    double.pulls[7]["merged"] = "c" * 40
    monkeypatch.setenv("GITHUB_EVENT_NAME", "push")
    monkeypatch.setenv("GITHUB_SHA", "c" * 40)
    (job.root / "event.json").write_text("{}")
    assert "waiver of api.home.p50 by kim" in job.gate("waivers", "--output", "waivers.json").out
    monkeypatch.setenv("GITHUB_SHA", "d" * 40)
    assert "no pull request" in job.gate("waivers", "--output", "waivers.json").out
    assert double.violations == []


def test_no_waiver_counts_if_github_cannot_be_asked(job, double, monkeypatch):
    monkeypatch.setattr("gate.cli.conversing.PACE", 0.001)
    double.fail("*", "refuse", times=10_000, status=500)
    assert job.gate("waivers", "--output", "waivers.json").code == 4
    assert json.loads((job.root / "waivers.json").read_text())["granted"] == []


@pytest.mark.parametrize("command", ["relay", "obey"])
def test_the_commands_of_the_second_workflow_want_its_events(command, job):
    result = job.gate(command)
    assert result.code == 2
    assert "it is for on: " in result.err


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(forged() | forged(wild=True))
def test_for_any_verdict_the_relay_writes_a_check(job, double, data: bytes):
    (job.root / "event.json").write_text(json.dumps(event(conclusion="failure")))
    double.artifacts.clear()
    double.checks.clear()
    double.add_artifact(42, {"verdict.json": data})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITHUB_EVENT_NAME", "workflow_run")
        patch.setattr("gate.cli.conversing.PACE", 0.001)
        assert job.gate("relay").code == 0
    assert [check["conclusion"] for check in double.checks] == ["failure"]
    assert_inert(double.checks[0]["output"]["summary"])
    assert double.violations == []
