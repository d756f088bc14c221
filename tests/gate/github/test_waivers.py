"""Who may permit a regression, for which commit, and what a waiver does to a verdict."""

import pytest

from gate.github.client import GitHub
from gate.github.commands import obey
from gate.github.context import Context
from gate.github.waivers import find_waivers
from gate.policy import Policy
from gate.verdict import Finding, Waiver
from gate.waivers import Waivers, apply_waivers
from tests.gate.github.conftest import HEAD, OLD

AFTER, BEFORE = "2026-11-20T10:00:00Z", "2026-11-20T08:00:00Z"
WAIVE = "/gate waive api.home.p50 the index is worth it"


def found(double, connect, *, self_waivers=True) -> Waivers:
    result = find_waivers(connect("reader"), 7, self_waivers=self_waivers)
    assert double.violations == []
    return result


@pytest.mark.parametrize("who", ["kim", "ada"])
def test_who_may_write_can_waive(who, double, connect):
    double.add_comment(7, who, WAIVE)
    (waiver,) = found(double, connect).granted
    assert (waiver.subject, waiver.by, waiver.reason) == ("api.home.p50", who, "the index is worth it")
    assert waiver.source.startswith("https://github.com/acme/shop/pull/7#issuecomment-")


@pytest.mark.parametrize("quote", ['"', "`"])
def test_a_test_whose_name_has_spaces_stands_in_quotes(quote, double, connect):
    double.add_comment(7, "kim", f"/gate waive {quote}t.py::test_x[hello world]{quote} it is gone for good")
    (waiver,) = found(double, connect).granted
    assert (waiver.subject, waiver.reason) == ("t.py::test_x[hello world]", "it is gone for good")


REFUSED = {
    "who may only read": (lambda d: d.add_comment(7, "sam", WAIVE), "has no write access"),
    "a stranger who is called owner": (lambda d: d.add_comment(7, "eve", WAIVE), "has no write access"),
    "given for an older commit": (
        lambda d: d.add_comment(7, "kim", WAIVE, at=BEFORE),
        "older than the newest run",
    ),
    "an edited comment": (
        lambda d: d.add_comment(7, "kim", WAIVE, edited="2026-11-20T11:00:00Z"),
        "was edited",
    ),
    "without a reason": (lambda d: d.add_comment(7, "kim", "/gate waive api.home.p50"), "gives no reason"),
    "a label by who may only read": (lambda d: d.add_label(7, "sam", "gate-waiver"), "has no write access"),
    "a label of an older commit": (lambda d: d.add_label(7, "kim", "gate-waiver", at=BEFORE), "older"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_count_is_refused_with_its_reason(name, double, connect):
    prepare, says = REFUSED[name]
    prepare(double)
    waivers = found(double, connect)
    assert waivers.granted == ()
    assert says in waivers.refused[0]


def test_a_push_ends_it(double, connect):
    double.add_comment(7, "kim", WAIVE)
    double.pulls[7]["head"] = OLD
    double.add_run(43, OLD, at="2026-11-20T12:00:00Z")
    assert found(double, connect).granted == ()


def test_nothing_counts_before_a_run_began(double, connect):
    double.runs.clear()
    double.add_comment(7, "kim", WAIVE)
    assert found(double, connect).granted == ()


def test_a_label_that_was_taken_off_permits_nothing(double, connect):
    double.add_label(7, "kim", "gate-waiver")
    assert [w.subject for w in found(double, connect).granted] == ["*"]
    double.add_label(7, "kim", "gate-waiver", event="unlabeled")
    assert found(double, connect).granted == ()


def test_a_solo_maintainer_can_waive_unless_the_rules_forbid_it(double, connect):
    double.add_comment(7, "kim", WAIVE)  # who opened the pull request
    assert found(double, connect).granted
    refused = found(double, connect, self_waivers=False)
    assert not refused.granted
    assert "forbids waivers by the author" in refused.refused[0]


@pytest.mark.parametrize(
    "body",
    [
        "please /gate waive api.home.p50 x",
        "> /gate waive api.home.p50 x",
        "/gate waiver a b",
        "/gatewaive a b",
        "hello",
    ],
)
def test_only_a_command_is_a_command(body, double, connect):
    double.add_comment(7, "kim", body)
    assert found(double, connect) == Waivers(HEAD)


def finding(subject="api.home.p50", kind="regression", **more) -> Finding:
    return Finding(**({"kind": kind, "level": "fail", "subject": subject, "message": "slower"} | more))


def granted(*subjects: str) -> Waivers:
    return Waivers(HEAD, tuple(Waiver(subject, "kim", "because") for subject in subjects))


@pytest.mark.parametrize("subject", ["api.home.p50", "api.home", "api", "*"])
def test_what_is_waived_stays_visible_and_does_not_fail(subject):
    (result,), used = apply_waivers([finding()], granted(subject))
    assert (result.level, result.state) == ("warn", "waived")
    assert result.message == "slower; waived by kim: because"
    assert [waiver.subject for waiver in used] == [subject]


@pytest.mark.parametrize("kind", ["new-failure", "changed-failure", "report-error", "invalid-load", "flaky"])
def test_what_cannot_be_permitted_fails_whatever_is_waived(kind):
    results, used = apply_waivers([finding("tests/a.py::test_b", kind)], granted("tests/a.py::test_b", "*"))
    assert results[0].level == "fail"
    assert used == ()


def test_a_waiver_is_about_its_subject_alone_and_says_when_it_permits_nothing():
    other = finding("api.homely.p50")
    results, used = apply_waivers([other], granted("api.home"))
    assert results[0] == other
    assert used == ()
    assert "has no effect" in results[1].message


def about(double, number: int, body: str, login: str) -> Context:
    comment = {"id": number, "body": body, "created_at": AFTER, "updated_at": AFTER, "user": {"login": login},
               "html_url": f"https://github.com/acme/shop/pull/7#issuecomment-{number}"}  # fmt: skip
    payload = {"issue": {"number": 7, "pull_request": {}}, "comment": comment}
    return Context("acme/shop", "writer", double.url, event="issue_comment", payload=payload)


@pytest.mark.parametrize(("who", "reaction", "reruns"), [("kim", "+1", [42]), ("sam", "confused", [])])
def test_a_command_starts_the_judgement_again_if_it_counts(who, reaction, reruns, double):
    number = double.add_comment(7, who, WAIVE)
    with GitHub(about(double, number, WAIVE, who), pace=0.001) as github:
        said = obey(github, Policy(), "regression-gate.yml")
    assert double.reactions == [(number, reaction)]
    assert double.reruns == reruns
    assert said == ("run 42 judges once more" if reruns else said)
    assert double.violations == []


def test_reports_that_are_too_old_are_measured_anew(double):
    double.runs[0]["at"] = "2026-11-18T09:00:00Z"
    number = double.add_comment(7, "kim", WAIVE)
    with GitHub(about(double, number, WAIVE, "kim"), pace=0.001) as github:
        obey(github, Policy(), "regression-gate.yml")
    assert (double.reruns, double.reruns_of_all) == ([], [42])


def test_a_run_that_is_going_on_will_read_it(double):
    double.runs[0]["status"] = "in_progress"
    number = double.add_comment(7, "kim", WAIVE)
    with GitHub(about(double, number, WAIVE, "kim"), pace=0.001) as github:
        assert "is going on" in obey(github, Policy(), "regression-gate.yml")
    assert (double.reruns, double.reactions) == ([], [(number, "+1")])


def test_runs_of_other_workflows_end_no_waiver(double, connect):
    double.add_label(7, "kim", "gate-waiver")
    double.add_run(43, HEAD, at="2026-11-20T23:00:00Z", path="labels.yml")
    mine = ".github/workflows/regression-gate.yml"
    assert find_waivers(connect(), 7, self_waivers=True, workflow=mine).granted
    assert not find_waivers(connect(), 7, self_waivers=True).granted


def test_a_run_that_cannot_be_started_again_is_said(double):
    number = double.add_comment(7, "kim", WAIVE)
    double.fail("actions/re-run-workflow-failed-jobs", "refuse", status=403, message="already running")
    with GitHub(about(double, number, WAIVE, "kim"), pace=0.001) as github:
        assert "already running" in obey(github, Policy(), "regression-gate.yml")
    assert double.reactions == [(number, "confused")]
