"""Where nothing that a suite runs has changed, what the machine did is told and does not fail."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from gate.baseline import Baseline
from gate.model import SuiteRun
from gate.policy import Policy
from gate.verdict import Verdict
from pytest_regression_gate.metrics import LoadRun
from tests.gate.build import (
    OTHER_MACHINE,
    baseline_of,
    history,
    judge,
    metric,
    of_kind,
    one,
    outcome,
    policy_of,
    run_of,
    suite_run,
)

LIMITS = {
    "a.p50": "{target: 200 ms, tolerance: off}",
    "a.rate": "{better: higher, target: 50 req/s, tolerance: off}",
    "a.share": "{target: 5 %}",
    "a.calls": "{critical: 3}",
    "a.warned": "{warning: 1 ms}",
}
WAITED = LoadRun(requests=2000, errors=0, warm_up=50, waited=0.3)


def limits_of(suite: SuiteRun) -> Policy:
    return policy_of({name: LIMITS[name] for name in suite.metrics if name in LIMITS})


def known(name: str, values: Sequence[float], unit: str = "ms", **more: Any) -> Baseline:
    return history(name, values, unit, **more) if values else Baseline()


def untouched(suite: SuiteRun, baseline: Baseline | None = None) -> Verdict:
    return judge(run_of(suite), baseline or Baseline(), limits_of(suite), untouched={suite.name})


@pytest.mark.parametrize(("name", "value", "unit"), [("a.p50", 300, "ms"), ("a.rate", 10, "req/s")])
@pytest.mark.parametrize("accepted", [(), (1.0,)])
def test_a_limit_on_a_time_or_a_rate_is_the_machines(
    name: str, value: float, unit: str, accepted: tuple[float]
):
    better = "higher" if unit == "req/s" else "lower"
    usual = [199.0 if better == "lower" else 51 for _ in accepted]
    verdict = untouched(
        suite_run([metric(name, value, unit, better=better)]), known(name, usual, unit, better=better)
    )
    finding = one(verdict, "limit")
    assert (finding.level, finding.state, verdict.exit_code) == ("info", "machine", 0)
    assert "nothing that it runs has changed since it was accepted" in finding.message


def test_a_warning_is_the_machines_as_well():
    verdict = untouched(suite_run([metric("a.warned", 2)]))
    assert (one(verdict, "limit").level, verdict.summary.warn) == ("info", 1), (
        "but the environment is warned of"
    )


@pytest.mark.parametrize(
    ("accepted", "level"), [((250, 199, 240), "fail"), ((250, 199, 190), "info"), ((), "info")]
)
def test_a_limit_that_the_accepted_runs_break_as_well_is_a_promise_that_is_not_kept(accepted, level):
    verdict = untouched(suite_run([metric("a.p50", 300)]), known("a.p50", accepted))
    assert one(verdict, "limit").level == level


def test_accepted_runs_of_another_machine_break_no_promise_here():
    elsewhere = baseline_of(suite_run([metric("a.p50", 900)], environment=OTHER_MACHINE))
    assert one(untouched(suite_run([metric("a.p50", 300)]), elsewhere), "limit").level == "info"


@pytest.mark.parametrize(("name", "value", "unit"), [("a.share", 0.2, "ratio"), ("a.calls", 4, "count")])
def test_a_limit_on_what_no_machine_moves_fails(name: str, value: float, unit: str):
    verdict = untouched(suite_run([metric(name, value, unit, exact=unit == "count")]))
    assert (one(verdict, "limit").level, verdict.exit_code) == ("fail", 1)


def test_what_has_changed_is_held_to_its_limits():
    suite = suite_run([metric("a.p50", 300)])
    verdict = judge(run_of(suite), Baseline(), limits_of(suite), untouched={"other"})
    assert one(verdict, "limit").level == "fail"


def load(how: LoadRun) -> SuiteRun:
    rate = how.errors / how.requests
    return suite_run(
        [metric("l.p50", 9), metric("l.throughput", 9, "req/s"), metric("l.error_rate", rate, "ratio")],
        loads={"l": how},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("how", "level", "code"),
    [
        (WAITED, "info", 0),
        (msgspec.structs.replace(WAITED, steal=0.5), "info", 0),
        (msgspec.structs.replace(WAITED, errors=1000), "fail", 3),
        (msgspec.structs.replace(WAITED, waited=0.0, errors=1000), "fail", 3),
        (msgspec.structs.replace(WAITED, generator=0.9), "fail", 3),
    ],
)
def test_a_load_that_only_the_machine_made_invalid_is_told(how: LoadRun, level: str, code: int):
    verdict = untouched(load(how))
    assert (one(verdict, "invalid-load").level, verdict.exit_code) == (level, code)
    touched = judge(run_of(load(how)), Baseline(), policy_of())
    assert (one(touched, "invalid-load").level, touched.exit_code) == ("fail", 3)


def test_a_failing_test_fails_wherever_nothing_changed():
    verdict = untouched(suite_run(tests=[outcome(result="failed", signature="S")]))
    assert of_kind(verdict, "new-failure")
    assert verdict.exit_code == 1
