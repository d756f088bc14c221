"""Failing tests, run again: alone, then with all of their suite, as far as the time goes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from gate.confirm.rerun import MOST, TIMES, run_again
from gate.evidence import Confirmation, Rerun
from gate.model import SuiteRun, TestOutcome
from gate.pipeline.align import with_reruns
from gate.policy import Policy, Suite
from gate.sides.side import Side
from tests.gate.build import NODEID, baseline_of, judge, metric, one, outcome, policy_of, run_of, suite_run

FAILS, PASSES = outcome(result="failed", signature="x"), outcome()
OTHERWISE = outcome(result="failed", signature="y")
SIDES = {"pytest tests": (Side("base", Path("base"), Path()), Side("head", Path("head"), Path()))}


@dataclass
class Machine:
    """Answers in place of processes: what becomes of the test in its first, second, ... run."""

    alone: Mapping[str, Sequence[TestOutcome]]
    """By side."""
    whole: Mapping[str, Sequence[TestOutcome | None]] = field(default_factory=dict)
    """The same when all of the suite is run; None: it leaves no report."""
    seconds: float = 1.0
    """That each run takes."""
    now: float = 0.0
    ran: list[str] = field(default_factory=list)

    def run(
        self, side: Side, suite: Suite, nodeids: Sequence[str], policy: Policy, *, number: int, seconds: float
    ) -> Mapping[str, SuiteRun]:
        what = f"{side.name} {'alone' if nodeids else 'whole'}"
        self.ran.append(what)
        self.now += min(self.seconds, seconds)
        if self.seconds > seconds:
            return {}
        script = (self.alone if nodeids else self.whole)[side.name]
        found = script[min(self.ran.count(what), len(script)) - 1]
        if not found:
            return {}
        measured = [] if found.failed else [metric("x.calls", 4, "count", exact=True)]
        return {"api": suite_run(measured, [msgspec.structs.replace(PASSES, nodeid="other"), found])}


def again(machine: Machine, budget: float = 60.0, suite_seconds: float = 1.0) -> Rerun:
    found = run_again(
        SIDES,
        [FAILS],
        policy_of(),
        {"api": suite_seconds},
        budget,
        run=machine.run,
        clock=lambda: machine.now,
    )
    return found[NODEID]


def always(base: TestOutcome, head: TestOutcome) -> dict[str, list[TestOutcome]]:
    return {"base": [base], "head": [head]}


def test_both_sides_run_it_alone_and_take_turns_to_begin():
    machine = Machine(always(PASSES, FAILS))
    rerun = again(machine)
    assert machine.ran == ["head alone", "base alone", "base alone", "head alone", "head alone", "base alone"]
    assert (rerun.head, rerun.base, rerun.unclear) == ((4, 4), (0, 3), "")


@pytest.mark.parametrize(("base", "known", "changed"), [(FAILS, True, False), (OTHERWISE, False, True)])
def test_the_base_fails_as_well(base: TestOutcome, known: bool, changed: bool):
    rerun = again(Machine(always(base, FAILS)))
    assert (rerun.known, rerun.changed, rerun.flaky) == (known, changed, False)


def test_what_passes_alone_and_with_the_others_is_flaky_and_the_base_is_not_asked_for_that():
    machine = Machine(always(PASSES, PASSES), always(PASSES, PASSES))
    assert again(machine).flaky
    assert machine.ran[6:] == ["head whole"]


def test_what_fails_each_time_among_the_others_is_no_flake():
    machine = Machine(always(PASSES, PASSES), always(PASSES, FAILS))
    rerun = again(machine)
    assert machine.ran[6:] == ["head whole", "base whole"] * TIMES
    assert rerun == Rerun(head=(4, 4), base=(0, 3), alike=False, alone=False)
    assert not rerun.flaky


def test_what_fails_each_time_among_the_others_on_both_sides_is_known():
    assert again(Machine(always(PASSES, PASSES), always(FAILS, FAILS))).known


@pytest.mark.parametrize("head", [[FAILS, PASSES], [FAILS, FAILS, PASSES]])
def test_what_passes_among_the_others_once_is_flaky(head: list[TestOutcome]):
    """A test that fails in half of all runs of its suite would be called new in a quarter of them."""
    assert again(Machine(always(PASSES, PASSES), {"base": [PASSES], "head": head})).flaky


def test_what_fails_sometimes_on_the_base_is_flaky():
    whole = {"base": [FAILS, PASSES], "head": [FAILS]}
    assert again(Machine(always(PASSES, PASSES), whole)).flaky


def test_a_test_that_passes_sometimes_alone_is_flaky_without_its_suite():
    machine = Machine({"base": [PASSES], "head": [FAILS, PASSES]})
    assert again(machine).flaky
    assert len(machine.ran) == 2 * TIMES


@pytest.mark.parametrize(
    ("seconds", "suite_seconds", "whole"),
    [
        (1.0, 100.0, 0),  # a pair of runs would be over after three times the budget
        (8.0, 75.0, 2),  # the second pair would be
        (1.0, 0.0, 2 * TIMES),  # nobody knows how long it takes: it is tried
    ],
)
def test_where_the_time_is_over_nobody_knows_and_it_stays_red(
    seconds: float, suite_seconds: float, whole: int
):
    machine = Machine(always(PASSES, PASSES), always(PASSES, FAILS), seconds)
    rerun = again(machine, suite_seconds=suite_seconds)
    assert machine.ran.count("head whole") + machine.ran.count("base whole") == whole
    assert not rerun.flaky
    assert bool(rerun.unclear) is (whole < 2 * TIMES)


@pytest.mark.parametrize("lost", ["base", "head"])
def test_a_whole_suite_that_leaves_no_report_excuses_nothing(lost: str):
    whole: dict[str, list[TestOutcome | None]] = {"base": [PASSES], "head": [FAILS]} | {lost: [None]}
    rerun = again(Machine(always(PASSES, PASSES), whole))
    assert "its whole suite" in rerun.unclear
    assert not rerun.flaky


def test_what_could_not_even_be_run_alone_is_said():
    rerun = again(Machine(always(PASSES, PASSES), seconds=100.0))
    assert rerun.unclear == "there was no time to run it again"
    assert not rerun.flaky
    assert not rerun.known


def test_so_many_failures_are_one_cause():
    machine = Machine(always(PASSES, PASSES))
    failed = [outcome(f"t.py::{number}", "failed") for number in range(MOST + 1)]
    assert run_again(SIDES, failed, policy_of(), {}, 60.0, run=machine.run) == {}
    assert machine.ran == []


def test_what_a_flaky_test_measured_when_it_passed_is_judged():
    """One paid call more does not hide behind a failure that goes away."""
    rerun = again(Machine(always(PASSES, PASSES), always(PASSES, PASSES)))
    assert [m.value for m in rerun.metrics] == [4]
    baseline = baseline_of(suite_run([metric("x.calls", 3, "count", exact=True)], [PASSES]))
    run = run_of(suite_run(tests=[FAILS]))
    confirmation = Confirmation(reruns={NODEID: rerun})
    verdict = judge(
        with_reruns(run, baseline, confirmation), baseline, policy_of(), confirmation=confirmation
    )
    assert one(verdict, "flaky").level == "warn"
    assert (one(verdict, "regression").subject, verdict.exit_code) == ("x.calls", 1)


def test_what_fails_each_time_has_measured_nothing():
    rerun = again(Machine(always(PASSES, FAILS)))
    assert rerun.metrics == ()


@pytest.mark.parametrize(("seconds", "late"), [(1.5, True), (0.5, False)])
def test_a_base_that_had_no_time_is_told_so(seconds: float, *, late: bool):
    """The head begins; of a budget of 6 s two are for tests alone."""
    machine = Machine({"head": [FAILS], "base": [PASSES]}, seconds=seconds)
    rerun = again(machine, budget=6.0)
    assert (rerun.late, rerun.base[1] == 0) == (late, late)
    verdict = judge(
        run_of(suite_run(tests=[FAILS])),
        baseline_of(suite_run(tests=[PASSES])),
        policy_of(),
        confirmation=Confirmation(reruns={NODEID: rerun}),
    )
    assert ("out of time" in one(verdict, "new-failure").message) == late
