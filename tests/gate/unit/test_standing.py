"""What the base gave in a run of its own, where the accepted runs are older than it."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from gate.confirm import behind
from gate.confirm.behind import ask_base, in_question
from gate.confirm.sides import Side
from gate.evidence import Confirmation, from_json, to_json, together
from gate.judge import judge
from gate.model import Better, Metric, SuiteRun, TestOutcome
from gate.verdict import Finding, Verdict
from tests.gate.build import NODEID, baseline_of, metric, of_kind, outcome, policy_of, run_of, suite_run

GONE = "tests/test_api.py::test_gone"


def count(value: float, name: str = "api.calls", better: Better = "lower", unit: str = "count") -> Metric:
    return metric(name, value, unit, exact=True, better=better)


def verdict(
    now: SuiteRun, before: SuiteRun, at_base: dict[str, float | None], metrics: dict[str, str] | None = None
) -> Verdict:
    kept = from_json(to_json(Confirmation(at_base=at_base)))
    return judge(
        run_of(now), baseline_of(before), policy_of(metrics), base="b" * 40, confirmation=together([kept])
    )


def answers(
    monkeypatch: pytest.MonkeyPatch, now: SuiteRun, before: SuiteRun, there: SuiteRun | None
) -> tuple[dict[str, float | None], tuple[str, ...]]:
    """What the base is asked after a run, and gives."""
    policy = policy_of()
    findings = judge(run_of(now), baseline_of(before), policy).findings
    monkeypatch.setattr(behind, "run_side", lambda *_, **__: there)
    side = Side("base", Path(), Path(), Path(), "", shared=False)
    return ask_base(side, in_question(findings, run_of(now), {"api"}), run_of(now), policy, 60.0)


def run(values: Iterable[Metric] = (), tests: Sequence[TestOutcome] = ()) -> SuiteRun:
    return suite_run(values, [outcome(), *tests])


@pytest.mark.parametrize(
    ("there", "better", "now", "level"),
    [
        (5.0, "lower", 5.0, "info"),
        (6.0, "lower", 5.0, "info"),
        (4.0, "lower", 5.0, "fail"),
        (2.0, "higher", 2.0, "info"),
        (2.5, "higher", 2.0, "fail"),
    ],
)
def test_a_work_count_is_red_if_it_is_worse_than_the_bases_own(
    there: float, better: Better, now: float, level: str
):
    judged = verdict(run([count(now, better=better)]), run([count(3, better=better)]), {"api.calls": there})
    (finding,) = of_kind(judged, "regression")
    assert (finding.level, judged.exit_code) == (level, 0 if level == "info" else 1)
    assert finding.baseline == (there if level == "info" else 3)
    assert bool([f for f in of_kind(judged, "environment") if "older than the base" in f.message]) == (
        level == "info"
    )


def test_a_work_count_may_be_worse_than_the_bases_own_by_its_tolerance():
    rules = {"api.calls": "{tolerance: 20 %}"}
    assert verdict(run([count(11)]), run([count(3)]), {"api.calls": 10.0}, rules).exit_code == 0
    assert verdict(run([count(13)]), run([count(3)]), {"api.calls": 10.0}, rules).exit_code == 1


def test_what_nobody_asked_the_base_about_stays_red():
    before = run([count(3), metric("api.size", 2, "MB")], [outcome(GONE)])
    judged = verdict(run([count(5)]), before, {GONE: None})
    levels = {finding.subject: finding.level for finding in judged.findings if finding.kind != "environment"}
    assert levels == {GONE: "info", "api.calls": "fail", "api.size": "fail", "api": "warn"}
    (less,) = of_kind(judged, "policy-change")
    assert less.message == "has less to judge than the base: 1 metric of it did not run"


def test_only_memory_that_is_behind_is_in_question():
    before = run([count(3)], [outcome(GONE)])
    findings = judge(run_of(run([count(5)])), baseline_of(before), policy_of()).findings
    asked = in_question(findings, run_of(run([count(5)])), {"api"})
    assert {finding.subject for finding in asked} == {GONE, "api.calls"}
    assert in_question(findings, run_of(run([count(5)])), ()) == []
    late = [Finding(kind="regression", level="fail", subject="api.p50", suite="api", message="slow")]
    assert in_question(late, run_of(run([metric("api.p50", 3)])), {"api"}) == []  # that is compared anyway


def test_the_base_gives_its_counts_in_the_unit_of_the_head(monkeypatch: pytest.MonkeyPatch):
    now, before = run([count(5000, unit="ms")]), run([count(3000, unit="ms")])
    assert answers(monkeypatch, now, before, run([count(5, unit="s")])) == ({"api.calls": 5000.0}, ())
    assert answers(monkeypatch, now, before, run([count(5, unit="MB")])) == ({}, ())
    assert answers(monkeypatch, now, before, run()) == ({}, ())


@pytest.mark.parametrize(
    ("there", "absent"),
    [
        ([], True),
        ([outcome(GONE)], False),
        ([outcome(GONE, "skipped")], False),
        ([outcome(GONE, "failed")], False),
        ([outcome("tests/test_api.py", "error")], False),
    ],
    ids=["lacks it", "passes it", "skips it", "fails it", "cannot collect its file"],
)
def test_the_base_lacks_a_test(monkeypatch: pytest.MonkeyPatch, there: list[TestOutcome], absent: bool):
    found = answers(monkeypatch, run(), run(tests=[outcome(GONE)]), run(tests=there))
    assert found == ({GONE: None} if absent else {}, ())


@pytest.mark.parametrize(("result", "shared"), [("skipped", True), ("passed", False), ("failed", False)])
def test_the_base_skips_a_test(monkeypatch: pytest.MonkeyPatch, result: str, shared: bool):
    now = run(tests=[outcome(GONE, "skipped")])
    found = answers(monkeypatch, now, run(tests=[outcome(GONE)]), run(tests=[outcome(GONE, result)]))  # pyright: ignore[reportArgumentType]
    assert found == ({GONE: None} if shared else {}, ())


def test_the_base_lacks_a_metric_if_it_measures_none_of_its_statistics(monkeypatch: pytest.MonkeyPatch):
    both = [metric("api.home.p50", 3), metric("api.home.p95", 4)]
    assert answers(monkeypatch, run(), run(both), run()) == ({"api.home": None}, ())
    assert answers(monkeypatch, run(), run(both), run(both[:1])) == ({}, ())
    assert answers(monkeypatch, run(both[:1]), run(both), run(both[:1])) == ({"api.home.p95": None}, ())
    fails = suite_run((), [outcome(NODEID, "failed")])
    assert answers(monkeypatch, run(), run(both), fails) == ({}, ())


def test_a_base_that_gives_no_report_answers_nothing(monkeypatch: pytest.MonkeyPatch):
    assert answers(monkeypatch, run(), run(tests=[outcome(GONE)]), None) == ({}, ("api",))


def test_a_suite_that_takes_too_long_is_not_run(monkeypatch: pytest.MonkeyPatch):
    slow = SuiteRun(**{name: getattr(run(), name) for name in SuiteRun.__struct_fields__} | {"seconds": 58.0})
    assert answers(monkeypatch, slow, run(tests=[outcome(GONE)]), run()) == ({}, ("api",))
