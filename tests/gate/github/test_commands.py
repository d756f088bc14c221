"""`gate comment`, `relay`, `waivers` and `obey` as a job calls them."""

import json

import pytest
from hypothesis import HealthCheck, given, settings

from gate.verdict import to_json
from tests.gate.github.conftest import HEAD, TOKEN
from tests.gate.github.test_relay import event
from tests.gate.unit.test_comment import confirmed
from tests.gate.unit.test_foreign_verdict import assert_inert, forged
from tests.gate.unit.test_golden import passed


def test_a_comment_is_written_and_then_left_alone(job, double):
    result = job.gate("comment", "verdict.json")
    assert (result.code, result.out.strip()) == (0, "comment on #7: created")
    assert job.gate("comment", "verdict.json").out.strip() == "comment on #7: unchanged"
    assert "https://github.com/acme/shop/actions/runs/42" in double.bodies(7)[0]


def test_nothing_to_say_writes_nothing_unless_the_rules_ask_for_it(job, double):
    (job.root / "verdict.json").write_bytes(to_json(passed()[1]))
    assert "not needed, nothing to report" in job.gate("comment", "verdict.json").out
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


def test_a_run_says_nothing_if_a_younger_one_judges_the_same_commit(job, double):
    double.add_run(43, HEAD)
    said = job.gate("comment", "nothing.json").out
    assert "run 43 is newer and judges the same commit" in said
    assert double.bodies(7) == []


def test_a_run_that_is_started_again_when_a_newer_one_has_judged_is_outdated(job, double, monkeypatch):
    (job.root / "event.json").write_text(about("main"))
    monkeypatch.setenv("GITHUB_RUN_ATTEMPT", "2")
    assert job.gate("waivers", "-o", "w.json").out.strip() == "no waivers"
    double.add_run(50, HEAD, path="lint.yml")
    double.add_run(51, HEAD, source="eve:topic")
    assert job.gate("waivers", "-o", "w.json").out.strip() == "no waivers"
    double.add_run(43, HEAD)
    assert "run 43 is newer and judges the same commit" in job.gate("waivers", "-o", "w.json").out
    assert job.gate("check", "--waivers", "w.json", "--no-confirm").code == 4


def test_a_pull_request_that_shares_its_head_is_judged_by_no_rules(job, double):
    (job.root / "event.json").write_text(about("main"))
    double.add_pull(8, HEAD, owner="eve", branch="other")
    assert job.gate("waivers", "-o", "w.json").out.strip() == "no waivers", "the same base: the same rules"
    double.pulls[8]["base"] = "old"
    assert "#7, #8 have the same head commit" in job.gate("waivers", "-o", "w.json").out
    assert job.gate("check", "--waivers", "w.json", "--no-confirm").code == 4


def test_a_closed_pull_request_is_not_judged(job, double):
    """It could have been opened for the check alone that its head shares with another one."""
    (job.root / "event.json").write_text(about("main"))
    double.pulls[7]["state"] = "closed"
    assert "#7 is closed" in job.gate("waivers", "-o", "w.json").out
    assert job.gate("check", "--waivers", "w.json", "--no-confirm").code == 4
    assert "no comment: #7 is closed" in job.gate("comment", "verdict.json").out


OPERATIONS = ["pulls/list", "pulls/list-files", "issues/list-events", "actions/list-workflow-runs-for-repo"]


@pytest.mark.parametrize("operation", [*OPERATIONS, "actions/list-jobs-for-workflow-run-attempt"])
def test_what_github_does_not_answer_leaves_no_older_green(operation, job, double, monkeypatch):
    tell(job, double, monkeypatch, (42, 1, GREEN, BEFORE))
    monkeypatch.setattr("gate.cli.conversing.PACE", 0.001)
    double.fail(operation, "refuse", times=10_000, status=404)
    tell(job, double, monkeypatch, (42, 2, RED, BEFORE))
    assert [check["conclusion"] for check in double.checks] == ["success", "failure"]


def test_a_comment_that_is_refused_keeps_no_other_gate_from_being_told(job, double, monkeypatch):
    monkeypatch.setattr("gate.cli.conversing.PACE", 0.001)
    for gate in ("api", "web"):
        double.add_artifact(42, {"verdict.json": RED}, f"regression-{gate}")
    (job.root / "event.json").write_text(json.dumps(event(conclusion="failure")))
    double.fail("issues/list-comments", "refuse", times=10_000, status=403)
    assert job.gate("relay", "--gate", "api", "--gate", "web").code == 4
    assert len(double.checks) == 2


def test_rules_that_cannot_be_read_leave_a_file_of_waivers_and_their_own_message(job):
    (job.root / "thresholds.yaml").write_text("version: 1\nsuites: {api: 7}\n")
    assert job.gate("waivers", "-o", "w.json").code == 2
    for waivers in ("w.json", "nothing.json"):
        job.gate("check", "--waivers", waivers, "--json", "v.json", "--no-confirm")
        (finding,) = json.loads((job.root / "v.json").read_text())["findings"]
        assert ("thresholds.yaml:2:" in finding["message"]) is (waivers == "w.json")
        assert ("nothing.json cannot be read" in finding["message"]) is (waivers != "w.json")


def test_an_empty_name_means_the_only_gate(job, double):
    for _ in range(2):
        assert job.gate("comment", "verdict.json", "--gate", "").code == 0
    (body,) = double.bodies(7)
    assert body.startswith("<!-- regression-gate: gate run 42.1 failed -->")


def test_without_the_permission_for_checks_the_comment_is_written(job, double):
    double.tokens[TOKEN] = {**double.tokens["writer"], "checks": "read"}
    double.add_artifact(42, {"verdict.json": RED})
    (job.root / "event.json").write_text(json.dumps(event(conclusion="failure")))
    result = job.gate("relay")
    assert result.code == 4
    assert "check 'regression-gate / verdict' of aaaaaaaaaaaa not written: " in result.err
    assert "checks: write" in result.err
    assert "failed: 2 regressions" in double.bodies(7)[0]


def about(base: str) -> str:
    """The event of a run for a base branch."""
    return json.dumps({"pull_request": {"number": 7, "head": {"sha": HEAD}, "base": {"ref": base}}})


def test_a_run_for_another_base_branch_is_outdated(job, double):
    (job.root / "event.json").write_text(about("lax"))
    assert (
        "this run is for base branch lax, and #7 is now for main" in job.gate("comment", "verdict.json").out
    )
    assert double.bodies(7) == []
    assert (
        "this run is for base branch lax, and #7 is now for main" in job.gate("waivers", "-o", "w.json").out
    )
    checked = job.gate("check", "--waivers", "w.json", "--json", "v.json", "--no-confirm")
    assert checked.code == 4
    assert "this run is for base branch lax, and #7 is now for main" in checked.out
    (job.root / "event.json").write_text(about("main"))
    assert job.gate("waivers", "-o", "w.json").out.strip() == "no waivers"


@pytest.mark.parametrize(("attempt", "code"), [("1", ""), ("2", "GitHub did not say whether")])
def test_a_further_attempt_that_cannot_ask_for_the_base_is_no_verdict(
    attempt, code, job, double, monkeypatch
):
    """The pull request may be for another branch since the first attempt."""
    monkeypatch.setattr("gate.cli.conversing.PACE", 0.001)
    monkeypatch.setenv("GITHUB_RUN_ATTEMPT", attempt)
    (job.root / "event.json").write_text(about("main"))
    double.fail("pulls/get", "refuse", times=10_000, status=403)
    assert job.gate("waivers", "-o", "w.json").code == 4
    assert code in json.loads((job.root / "w.json").read_text())["outdated"]
    assert bool(json.loads((job.root / "w.json").read_text())["outdated"]) is bool(code)


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
    assert "by sam does not count: sam has no write access" in result.out
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
@pytest.mark.long
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


GREEN = to_json(passed()[1])
RED = to_json(confirmed())
LATER = "2026-11-20T09:30:00Z"


def tell(job, double, monkeypatch, ran: tuple[int, int, bytes, str]) -> None:
    """A run ends, and the second workflow tells of it."""
    run, attempt, verdict, created = ran
    double.artifacts.clear()
    double.add_artifact(run, {"verdict.json": verdict})
    conclusion = "success" if verdict == GREEN else "failure"
    ended = event(id=run, run_attempt=attempt, conclusion=conclusion, created_at=created)
    (job.root / "event.json").write_text(json.dumps(ended))
    monkeypatch.setenv("GITHUB_EVENT_NAME", "workflow_run")
    assert job.gate("relay").code == 0
    assert double.violations == []


BEFORE = "2026-11-20T09:00:00Z"
SEQUENCES = {
    "attempt 1 red, attempt 2 green": (((42, 1, RED, BEFORE), (42, 2, GREEN, BEFORE)), "success"),
    "attempt 1 green, attempt 2 red": (((42, 1, GREEN, BEFORE), (42, 2, RED, BEFORE)), "failure"),
    "two runs, the older green one ends last": (((43, 1, RED, LATER), (42, 1, GREEN, BEFORE)), "failure"),
    "two runs, the older red one ends last": (((43, 1, GREEN, LATER), (42, 1, RED, BEFORE)), "success"),
    "the older one is started again": (
        ((42, 1, GREEN, BEFORE), (43, 1, RED, LATER), (42, 2, GREEN, BEFORE)), "failure",
    ),
    "told twice": (((42, 1, RED, BEFORE), (42, 1, RED, BEFORE)), "failure"),
}  # fmt: skip


@pytest.mark.parametrize("changed", [False, True], ids=["same base", "another base before the younger run"])
@pytest.mark.parametrize("name", SEQUENCES)
def test_check_and_comment_belong_to_the_youngest_question(name, changed, job, double, monkeypatch):
    steps, ends = SEQUENCES[name]
    if any(run == 43 for run, *_ in steps):
        double.add_run(43, HEAD, at=LATER)
        if changed:
            double.change_base(7, "main", at=LATER)
    for ran in steps:
        tell(job, double, monkeypatch, ran)
    assert double.checks[-1]["conclusion"] == ends
    said = [body.splitlines()[0].rpartition(" ")[0] for body in double.bodies(7)]
    words = {"passed" if line.endswith("passed") else "failed" for line in said} or {"passed"}
    assert words == {"passed" if ends == "success" else "failed"}


def test_a_green_of_a_laxer_base_is_not_the_last_word(job, double, monkeypatch):
    """Its base is changed, nothing judges that, and the old run is started again."""
    tell(job, double, monkeypatch, (42, 1, GREEN, BEFORE))
    double.change_base(7, "main", at=LATER)
    tell(job, double, monkeypatch, (42, 2, GREEN, BEFORE))
    assert double.checks[-1]["conclusion"] == "failure"
    assert "the base branch was changed after this run began" in double.bodies(7)[0]


def test_each_gate_of_a_run_has_its_check_and_its_comment(job, double):
    double.jobs[42] = [
        ("regression-gate (api)", "success"),
        ("regression-gate (web)", "failure"),
        ("lint", "failure"),
    ]
    double.add_artifact(42, {"verdict.json": GREEN}, "regression-api")
    double.add_artifact(42, {"verdict.json": RED}, "regression-web")
    (job.root / "event.json").write_text(json.dumps(event(conclusion="failure")))
    assert job.gate("relay", "--gate", "api", "--gate", "web").code == 0
    checks = [(check["name"], check["conclusion"]) for check in double.checks]
    assert job.gate("relay", "--gate", "web").code == 0, "as a second step, for another directory"
    assert [check["name"] for check in double.checks[2:]] == ["regression-gate / verdict (web)"]
    assert checks == [
        ("regression-gate / verdict (api)", "success"), ("regression-gate / verdict (web)", "failure"),
    ]  # fmt: skip
    (body,) = double.bodies(7)
    assert body.startswith("<!-- regression-gate: web run 42.1 failed -->")
    assert double.violations == []


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize("operation", ["pulls/list", "actions/list-workflow-runs-for-repo"])
def test_a_token_that_may_not_ask_for_other_runs_comments(operation, status, job, double, monkeypatch):
    double.fail(operation, "refuse", times=10_000, status=status)
    (job.root / "event.json").write_text(about("main"))
    assert job.gate("comment", "verdict.json").out.strip() == "comment on #7: created"
    assert job.gate("waivers", "-o", "w.json").out.strip() == "no waivers"
    monkeypatch.setenv("GITHUB_RUN_ATTEMPT", "2")
    assert "GitHub did not say whether" in job.gate("waivers", "-o", "w.json").out
