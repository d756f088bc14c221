"""Known failures of thresholds.yaml: which entry holds, when it ends, and who hears of it."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.baseline import Baseline
from gate.baseline.records import SuiteRecords
from gate.evidence import Confirmation, Rerun
from gate.located import LocatedError
from gate.model import Run
from gate.policy import Policy
from gate.thresholds import parse_policy
from gate.verdict import Verdict, Waiver, to_json
from gate.waivers import NO_WAIVERS, Waivers
from tests.gate.build import (
    CREATED,
    HEADER,
    MACHINE,
    NODEID,
    OTHER_MACHINE,
    accept,
    baseline_from,
    baseline_of,
    judge,
    of_kind,
    one,
    outcome,
    run_of,
    suite_run,
)

TODAY = datetime.fromtimestamp(CREATED, UTC).date()
LATE = "httpx.ReadTimeout | src/pay.py | timed out after N s"


def days(number: int) -> str:
    return (TODAY + timedelta(days=number)).isoformat()


def policy_of(*entries: str) -> Policy:
    return parse_policy(HEADER + "known_failures:\n" + "".join(f"  {entry}\n" for entry in entries))


def entry(until: int = 100, **more: str) -> str:
    fields = {"until": days(until), **{key: f'"{value}"' for key, value in more.items()}}
    return f"{NODEID}: {{{', '.join(f'{key}: {value}' for key, value in fields.items())}}}"


def failing(nodeid: str = NODEID, signature: str = LATE):
    return outcome(nodeid, "failed", signature=signature, message="late", where="tests/test_api.py:7")


def judged(
    policy: Policy,
    *tests,
    baseline: Baseline | None = None,
    waivers: Waivers = NO_WAIVERS,
    confirmation: Confirmation | None = None,
    touched=frozenset(),
    scheduled=False,
) -> Verdict:
    run = run_of(suite_run(tests=tests))
    return judge(
        run,
        baseline or Baseline(),
        policy,
        waivers=waivers,
        confirmation=confirmation,
        touched=touched,
        scheduled=scheduled,
    )


def found(verdict: Verdict) -> list[tuple[str, str, str]]:
    return [(f.kind, f.level, f.subject) for f in verdict.findings if f.kind != "environment"]


# The file.


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("t.py::a: {until: 24.12.2026}", "4:20: known_failures[t.py::a].until: '24.12.2026' is no date; w"),
        ("t.py::a: {until: 2026-02-30}", "4:20: known_failures[t.py::a].until: '2026-02-30' is no date: day"),
        ("t.py::a: {untill: 2026-12-24}", "4:13: known_failures[t.py::a]: unknown key 'untill'; did you"),
        ("t.py::a: {owner: me}", "4:3: known_failures[t.py::a]: 'until' is missing; say how long"),
        ("t.py::a:", "4:11: known_failures[t.py::a] must be a mapping of keys and values, not nothing"),
        ("t.py: {until: 2026-12-24}", "4:3: known_failures[t.py] names no test; write t.py::TEST, or t"),
        ("t.py::a: {since: 2026-12-25, until: 2026-12-24}", "4:20: known_failures[t.py::a].since: 2026-1"),
        ("t.py::a: {until: 2026-12-24, owner: [a]}", "4:39: known_failures[t.py::a].owner must be a single"),
    ],
)  # fmt: skip
def test_a_mistake_is_located_and_says_what_to_write(text, message):
    with pytest.raises(LocatedError) as error:
        policy_of(text)
    assert f"thresholds.yaml:{message}" in str(error.value)


def test_a_date_needs_no_quotes_and_may_have_them():
    policy = policy_of(f"t.py::a: {{until: {days(1)}}}", f't.py::b: {{until: "{days(1)}"}}')
    assert len({known.until for known in policy.known_failures}) == 1


@pytest.mark.parametrize(
    ("pattern", "nodeid", "covered"),
    [
        ("t.py::test_a", "t.py::test_a", True),
        ("t.py::test_a", "t.py::test_a[x]", True),
        ("t.py::test_a", "t.py::test_a[x::y[1]]", True),
        ("t.py::test_a", "t.py::test_ab", False),
        ("t.py::test_a[x]", "t.py::test_a[x]", True),
        ("t.py::test_a[x]", "t.py::test_a[y]", False),
        ("t.py::test_a[x]", "t.py::test_a", False),
        ("t.py::*", "t.py::Test::test_a[x]", True),
        ("tests/*::test_a", "tests/api/t.py::test_a[x]", True),
        ("tests/*::test_a", "other/t.py::test_a", False),
        ("tests/*", "tests/t.py::test_a", True),
        ("t?py::test_a", "t.py::test_a", False),
    ],
)
def test_a_pattern_covers_all_parameters_of_a_test(pattern, nodeid, covered):
    policy = policy_of(f'"{pattern}": {{until: {days(1)}}}')
    assert (policy.known_failure(nodeid) is not None) is covered


@pytest.mark.parametrize("order", [1, -1])
def test_the_most_specific_entry_wins(order):
    patterns = ["*", "t.py::*", "t.py::test_a*", "t.py::test_a", "t.py::test_a[x]"]
    policy = policy_of(*(f'"{pattern}": {{until: {days(1)}}}' for pattern in patterns[::order]))
    names = ["u.py::x", "t.py::x", "t.py::test_ab", "t.py::test_a[y]", "t.py::test_a[x]"]
    assert [policy.known_failure(name).pattern for name in names] == patterns  # pyright: ignore


# Failures.


def test_a_failure_that_an_entry_covers_is_known_and_says_whose_it_is():
    verdict = judged(policy_of(entry(owner="@payments", issue="shop#12")), failing())
    finding = one(verdict, "known-failure")
    assert (finding.level, finding.subject) == ("info", NODEID)
    assert finding.message == f"permitted until {days(100)} (@payments, shop#12): late"
    assert verdict.verdict == "passed"


@pytest.mark.parametrize(
    ("signature", "kind"),
    [("*ReadTimeout*", "known-failure"), (LATE, "known-failure"), ("* | src/pay.py | *", "known-failure"),
     ("*KeyError*", "changed-failure"), ("ReadTimeout", "changed-failure")],
)  # fmt: skip
def test_another_failure_than_the_entrys_is_a_changed_one(signature, kind):
    verdict = judged(policy_of(entry(signature=signature)), failing())
    finding = one(verdict, kind)
    assert finding.level == ("fail" if kind == "changed-failure" else "info")
    if kind == "changed-failure":
        assert (
            finding.message == f"late (thresholds.yaml permits the failure {signature}; this one is {LATE})"
        )


def test_what_the_baseline_fails_with_too_is_known_whatever_the_entry_expects():
    baseline = baseline_of(suite_run(tests=[failing()]))
    verdict = judged(policy_of(entry(signature="*KeyError*")), failing(), baseline=baseline)
    assert one(verdict, "known-failure").message == "accepted by kim (ticket 7): late"


def test_an_entry_about_another_test_permits_nothing():
    verdict = judged(policy_of(entry()), failing("tests/test_api.py::test_other"), outcome())
    assert [f.subject for f in of_kind(verdict, "new-failure")] == ["tests/test_api.py::test_other"]


def test_an_entry_that_covers_no_test_of_a_whole_run_is_told():
    verdict = judged(policy_of(entry()), outcome("t.py::other"))
    finding = one(verdict, "known-failure")
    assert (finding.level, finding.subject) == ("warn", NODEID)
    assert finding.message == "line 4 of thresholds.yaml matches no test of the run"
    assert not of_kind(judge(Run({}), Baseline(), policy_of(entry())), "known-failure")


# The end of an entry.

BYSTANDER = {}
TOUCHES_TEST = {"touched": frozenset({"tests/test_api.py", "README.md"})}
TOUCHES_BELOW = {"touched": frozenset({"svc/tests/test_api.py"})}
TOUCHES_OWNER = {"touched": frozenset({"src/payments/card.py"})}
SCHEDULED = {"scheduled": True}


@pytest.mark.parametrize(
    ("until", "who", "level"),
    [
        (15, BYSTANDER, None),
        (15, TOUCHES_TEST, None),
        (15, SCHEDULED, None),
        (14, BYSTANDER, "warn"),
        (0, TOUCHES_TEST, "warn"),
        (0, SCHEDULED, "warn"),
        (-1, BYSTANDER, "warn"),
        (-1, TOUCHES_TEST, "fail"),
        (-1, TOUCHES_BELOW, "fail"),
        (-1, TOUCHES_OWNER, "fail"),
        (-1, SCHEDULED, "fail"),
        (-400, BYSTANDER, "warn"),
    ],
)
def test_the_end_of_an_entry_is_red_only_for_who_can_mend_it(until, who, level):
    policy = policy_of(entry(until, owner="@payments", paths="src/payments/* lib/*"))
    names = [f"{NODEID}[{n}]" for n in range(3)]
    verdict = judged(policy, *(failing(name) for name in names), **who)
    ends = [f for f in of_kind(verdict, "known-failure") if f.subject == NODEID]
    assert [f.level for f in ends] == ([level] if level else []), "one per entry, not one per test"
    assert verdict.verdict == ("failed" if level == "fail" else "passed")
    for finding in ends:
        assert f"until {days(until)} (@payments)" in finding.message
        assert finding.nodeids == tuple(names)
        assert ("; expired, and" in finding.message) is (until < 0)


def test_an_expiry_tells_what_to_do():
    (finding,) = judged(policy_of(entry(-1)), failing(f"{NODEID}[1]"), **TOUCHES_TEST).of_level("fail")
    assert finding.remedy.startswith("fix the test, or change the date in thresholds.yaml")
    assert finding.reproduce == f"pytest '{NODEID}[1]'"
    assert finding.where == "tests/test_api.py:7"


@pytest.mark.parametrize(
    ("left", "told"), [(0, "this is the last day"), (1, "1 day left"), (9, "9 days left")]
)
def test_the_days_that_are_left_are_told(left, told):
    verdict = judged(policy_of(entry(left)), failing(f"{NODEID}[1]"))
    (finding,) = [f for f in verdict.of_level("warn") if f.kind == "known-failure"]
    assert finding.message == f"permitted until {days(left)}: {told}"


def test_the_day_is_that_of_the_run_in_utc():
    policy = policy_of(entry(0))
    midnight = datetime.fromisoformat(f"{days(1)}T00:00:00+00:00").timestamp()
    for created, expired in ((midnight - 1, False), (midnight, True)):
        run = run_of(suite_run(tests=[failing(f"{NODEID}[1]")], created=created))
        (finding,) = [f for f in judge(run, Baseline(), policy).findings if f.subject == NODEID]
        assert ("; expired, and" in finding.message) is expired


def test_the_place_of_the_machine_that_judges_changes_no_day(monkeypatch):
    at_noon = datetime.fromisoformat(f"{days(0)}T12:00:00+00:00").timestamp()
    run = run_of(suite_run(tests=[failing()], created=at_noon))
    said: set[bytes] = set()
    try:
        for zone in ("UTC", "Pacific/Auckland", "Pacific/Honolulu", "<+13>-13", "<-13>13"):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            said.add(to_json(judge(run, Baseline(), policy_of(entry(0)))))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert len(said) == 1


def test_another_failure_is_not_told_as_an_expired_one():
    verdict = judged(policy_of(entry(-1, signature="*KeyError*")), failing(), **TOUCHES_TEST)
    assert found(verdict) == [("changed-failure", "fail", NODEID)]


def test_a_second_look_does_not_excuse_what_expired():
    again = Confirmation(reruns={NODEID: Rerun((4, 4), (3, 3))})
    verdict = judged(policy_of(entry(-1)), failing(), confirmation=again, **TOUCHES_TEST)
    assert verdict.verdict == "failed"


def test_a_waiver_permits_an_expired_entry_once():
    waivers = Waivers("h", (Waiver(NODEID, "kim", "release day"),))
    verdict = judged(policy_of(entry(-1)), failing(), waivers=waivers, **TOUCHES_TEST)
    assert verdict.verdict == "passed"
    assert [f.state for f in verdict.of_level("warn") if f.kind == "known-failure"] == ["waived"]


# The ratchet.


def passing_since(number: int, accepted: int = 1) -> Baseline:
    """The test failed once and then passed in accepted runs, the first of them some days ago."""
    begin = CREATED - number * 86_400
    known = accept(None, suite_run(tests=[failing()], created=begin - 9), "c")
    for n in range(accepted):
        known = accept(known, suite_run(tests=[outcome()], created=begin + n), f"c{n}")
    return baseline_from(known)


@pytest.mark.parametrize(
    ("since", "who", "level"),
    [
        (0, TOUCHES_TEST, "info"),
        (14, SCHEDULED, "info"),
        (15, BYSTANDER, "warn"),
        (15, TOUCHES_TEST, "fail"),
        (15, TOUCHES_OWNER, "fail"),
        (15, SCHEDULED, "fail"),
    ],
)
def test_an_entry_whose_test_passes_has_to_go_after_a_grace(since, who, level):
    policy = policy_of(entry(paths="src/payments/*"))
    finding = one(judged(policy, outcome(), baseline=passing_since(since), **who), "fixed")
    assert (finding.level, finding.subject) == (level, NODEID)
    if level != "info":
        assert finding.message.startswith(f"has passed since {days(-since)} and is still a known failure")


@pytest.mark.parametrize(
    ("accepted", "message"),
    [(0, "passes; its known_failures entry is removed after 3 accepted runs in a row that pass (0 so far)"),
     (1, "passes; its known_failures entry is removed after 3 accepted runs in a row that pass (1 so far)"),
     (2, "passes; the next baseline update removes its known_failures entry"),
     (5, "passes; the next baseline update removes its known_failures entry")],
)  # fmt: skip
def test_a_known_failure_that_passes_is_a_notice(accepted, message):
    verdict = judged(policy_of(entry()), outcome(), baseline=passing_since(3, accepted))
    assert found(verdict) == [("fixed", "info", NODEID)]
    assert one(verdict, "fixed").message == message


def test_an_entry_that_still_fails_with_one_parameter_is_not_passing():
    tests = (outcome(f"{NODEID}[1]"), failing(f"{NODEID}[2]"))
    verdict = judged(policy_of(entry()), *tests, baseline=passing_since(30))
    assert not of_kind(verdict, "fixed")
    tests = (outcome(f"{NODEID}[1]"), failing(f"{NODEID}[2]"))
    verdict = judged(policy_of(entry(signature="*KeyError*")), *tests)
    assert [f.kind for f in verdict.findings if f.kind in {"fixed", "known-failure"}] == []


def test_an_entry_passes_since_the_last_of_its_tests_does():
    first, second = f"{NODEID}[1]", f"{NODEID}[2]"
    known = None
    for ago, result in ((30, "failed"), (20, "failed"), (10, "passed")):
        tests = [outcome(first), outcome(second, result)]
        known = accept(known, suite_run(tests=tests, created=CREATED - ago * 86_400), f"{ago}")
    verdict = judged(policy_of(entry()), outcome(first), outcome(second), baseline=baseline_from(known))  # pyright: ignore
    assert one(verdict, "fixed").level == "info"


def test_a_skipped_test_says_nothing_of_its_entry():
    assert found(judged(policy_of(entry(-1)), outcome(result="skipped"), **SCHEDULED)) == []


# Since when a test passes.


def records(*results: str, environment=MACHINE, start: int = 0, step: int = 1) -> SuiteRecords:
    known = None
    for n, result in enumerate(results):
        run = suite_run(
            tests=[outcome(result=result)], created=CREATED + start + step * n, environment=environment
        )
        known = accept(known, run, f"{start + step * n:x}")
    assert known is not None
    return known


def history(*results: str) -> Baseline:
    return baseline_from(records(*results))


P, F, S = "passed", "failed", "skipped"


@pytest.mark.parametrize(
    ("results", "number"),
    [
        ((P,), 1),
        ((F, P), 1),
        ((F, P, P, P), 3),
        ((P, P, F), 0),
        ((P, F, P), 1),
        ((P, P, S), 0),
        ((F, S, P, P), 2),
    ],
)
def test_passes_are_counted_since_the_last_failure(results, number):
    assert len(history(*results).passes("api", NODEID)) == number


def test_a_failure_in_another_environment_is_a_failure():
    here = records(P, P, P, P, step=10)
    for start in (-5, 5, 35):
        elsewhere = records(F, environment=OTHER_MACHINE, start=start)
        assert len(baseline_from(here, elsewhere).passes("api", NODEID)) == 0
    mended = records(F, P, environment=OTHER_MACHINE, start=5, step=10)
    assert len(baseline_from(here, mended).passes("api", NODEID)) == 4


@given(st.lists(st.sampled_from([P, F]), min_size=1, max_size=8))
def test_as_many_passes_as_runs_passed_at_the_end(results):
    number = next((n for n, result in enumerate(reversed(results)) if result == F), len(results))
    assert len(history(*results).passes("api", NODEID)) == number


def test_the_same_inputs_give_the_same_bytes():
    policy = policy_of(entry(-1), f'"*": {{until: {days(3)}}}')
    tests = [failing(), failing("t.py::b"), failing("t.py::a")]
    assert len({to_json(judged(policy, *order)) for order in (tests, tests[::-1])}) == 1
