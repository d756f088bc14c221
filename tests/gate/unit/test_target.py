"""What the selftest rehearses with."""

import pytest
import yaml

from gate.policy import Policy
from gate.selftest.cases import Outcome, green
from gate.selftest.target import choose, loosened, narrowed, undivided
from gate.thresholds import parse_policy
from pytest_regression_gate import sabotage
from tests.gate.build import metric, outcome, policy_of, run_of, suite_run


def timed(subject: str, value: float, nodeid: str):
    return [metric(f"{subject}.{name}", value, nodeid=nodeid) for name in ("p50", "cpu")]


def chosen(metrics, tests=None, policy: Policy | None = None):
    return choose(run_of(suite_run(metrics, tests)), policy or policy_of())


def test_an_operation_that_the_clock_can_measure_is_preferred():
    target = chosen([*timed("tiny", 0.001, "t.py::test_a"), *timed("big", 1.0, "t.py::test_b")])
    assert target.timed.subject == "big"
    assert target.tests == ("t.py::test_b", "t.py::test_a")
    assert target.breaks == "t.py::test_a"


def test_a_time_without_tolerance_or_not_of_the_fixture_is_not_made_slower():
    off = policy_of({"big.p50": "{tolerance: off}"})
    assert chosen(timed("big", 1.0, "t.py::test_b"), policy=off).timed is None
    assert chosen([metric("big.p50", 1.0, nodeid="t.py::test_b")]).timed is None


def test_a_duration_is_nothing_that_a_test_records():
    name = "test.duration{test=t.py::test_a}"
    assert chosen([metric(name, 1.0, nodeid="t.py::test_a")]).recorded is None


@pytest.mark.parametrize(("code", "ok"), [(0, True), (1, False), (2, False), (3, None), (4, False)])
def test_a_check_that_is_left_open_says_nothing_about_the_gate(code: int, ok: bool | None):
    assert green(Outcome("word", code)).ok is ok


def test_only_tests_that_pass_can_be_made_to_fail():
    assert chosen([], [outcome("t.py::test_a", "failed"), outcome("t.py::test_b", "skipped")]) is None
    assert chosen([], [outcome("t.py::test_a", "failed"), outcome("t.py::test_b")]).breaks == "t.py::test_b"


@pytest.mark.parametrize("tolerance", ["5 %", "400 %"])
def test_the_delay_is_beyond_any_tolerance(tolerance):
    target = chosen(
        timed("big", 2.0, "t.py::test_b"), policy=policy_of({"big.p50": f"{{tolerance: {tolerance}}}"})
    )
    assert (2.0 + target.delay) / 2.0 >= 1.5 * (1 + target.tolerance)


def test_the_delay_is_beyond_the_floor():
    policy = policy_of({"big.p50": "{tolerance: 5 %, floor: 50 ms}"})
    assert chosen(timed("big", 2.0, "t.py::test_b"), policy=policy).delay == 100


DOCUMENT = {
    "version": 1,
    "suites": {"api": {"run": "pytest"}},
    "metrics": {"a.p50": {"target": "1 s"}, "b.p50": {"target": "1 s"}, "*.calls": {"tolerance": 0}},
}


def test_promises_that_are_not_answered_leave_the_policy_and_nothing_else_does():
    assert narrowed(DOCUMENT, ["a.p50"])["metrics"] == {
        "a.p50": {"target": "1 s"},
        "*.calls": {"tolerance": 0},
    }
    assert narrowed(DOCUMENT, ["a.p50", "b.p50"]) == DOCUMENT


def test_suites_in_shards_run_in_one_piece():
    document = {"version": 1, "suites": {"api": {"run": "x", "shards": 4}, "b": {"run": "y"}}}
    assert undivided(document, [])["suites"] == {"api": {"run": "x"}, "b": {"run": "y"}}


def test_the_loosened_policy_judges_nothing():
    policy = parse_policy(yaml.safe_dump(loosened(DOCUMENT, ["a.p50"])))
    rule = policy.rule(metric("a.p50", 1.0))
    assert rule.target is None
    assert rule.tolerance.value == float("inf")


def test_a_method_or_a_function_is_made_to_fail():
    class Tests:
        def test_one(self): ...

    module = {"Tests": Tests, "test_two": lambda: None}
    sabotage.fail(module, "Tests::test_one")
    sabotage.fail(module, "test_two")
    for call in (Tests().test_one, module["test_two"]):
        with pytest.raises(AssertionError, match=sabotage.MESSAGE):
            call()
