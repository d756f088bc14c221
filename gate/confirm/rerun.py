"""Failing tests, run again on both sides: new, known, or failing only sometimes."""

import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

from gate.confirm.services import services_of
from gate.evidence import Rerun
from gate.model import Metric, SuiteRun, TestOutcome
from gate.policy import Policy, Suite
from gate.processes import end_processes_of, process_group
from gate.readers import read_run
from gate.sides.side import Side
from gate.units import amount
from pytest_regression_gate.protocol import selection
from pytest_regression_gate.variables import SELECT_VARIABLE

TIMES: Final = 3
"""How often each side runs a failing test again."""
SHARE: Final = 1 / 3
"""Part of the budget in which failing tests are run again alone."""
LONGEST: Final = 3.0
"""Times the budget after which no whole suite is run again."""
MOST: Final = 50
"""More failing tests than this are one cause, not chance: they are not run again."""


_NOT_AGAIN: Final = "there was no time to run it again"
_NOT_WHOLE: Final = "it passes alone, and there was no time to run its whole suite again"

Runs = Mapping[str, SuiteRun]
"""What tests did and measured, by suite; nothing where there was no report in time."""


class RunSuite(Protocol):
    """Runs tests of a suite on one side; no nodeids: all of them."""

    def __call__(
        self, side: Side, suite: Suite, nodeids: Sequence[str], policy: Policy, *, number: int, seconds: float
    ) -> Runs:
        """What they did."""
        ...


def _tests(runs: Runs) -> dict[str, TestOutcome]:
    """What became of tests, by nodeid."""
    return {nodeid: test for run in runs.values() for nodeid, test in run.tests.items()}


@dataclass
class _Again:
    """What running again needs, and the time that it has used."""

    sides: Mapping[str, tuple[Side, Side]]
    policy: Policy
    run: RunSuite
    listen: Callable[[str], None]
    clock: Callable[[], float]
    begun: float = field(init=False)

    def __post_init__(self) -> None:
        self.begun = self.clock()

    @property
    def used(self) -> float:
        """Seconds so far."""
        return self.clock() - self.begun


def run_again(
    sides: Mapping[str, tuple[Side, Side]],
    failed: Sequence[TestOutcome],
    policy: Policy,
    seconds: Mapping[str, float],
    budget: float,
    *,
    listen: Callable[[str], None] = lambda _: None,
    run: RunSuite | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Rerun]:
    """Run failing tests again, head and base in turns, each time in fresh processes.

    First the failing tests alone, in a part of the budget. What passes so may need another test before it:
    its whole suite is run again, for which there is more time. Where it is not enough, nobody knows whether
    the test is flaky.

    Args:
        sides: base and head, by the command of their suite.
        failed: the tests that failed in the run.
        policy: has the commands of their suites.
        seconds: what their suites took.
        budget: of the whole comparison, in seconds.
        listen: called with a line about the progress after each round.
        run: runs tests; None: real processes.
        clock: seconds.

    Returns:
        What happened, by nodeid. Nothing where so many tests fail that it is no chance.
    """
    again = _Again(sides, policy, run or run_once, listen, clock)
    by_suite: dict[str, list[TestOutcome]] = {}
    for test in failed:
        if test.suite in policy.suites:
            by_suite.setdefault(test.suite, []).append(test)
    if len(failed) > MOST:
        return {}
    found = _alone(again, by_suite, budget * SHARE)
    for suite, tests in by_suite.items():
        passing = [test for test in tests if found[test.nodeid].flaky and found[test.nodeid].head[0] == 1]
        if passing:
            found |= _among_the_others(again, suite, passing, seconds.get(suite, 0.0), budget * LONGEST)
    return found


def _alone(again: _Again, by_suite: Mapping[str, Sequence[TestOutcome]], budget: float) -> dict[str, Rerun]:
    """Run failing tests again without the others, `TIMES` if the budget allows it."""
    tests = {test.nodeid: test for suite in by_suite.values() for test in suite}
    seen: dict[str, dict[str, list[TestOutcome]]] = {name: {"head": [], "base": []} for name in tests}
    measured: dict[str, tuple[Metric, ...]] = {}
    late: set[str] = set()
    for number in range(TIMES):
        if again.used >= budget:
            break
        for name, of_suite in by_suite.items():
            nodeids = [test.nodeid for test in of_suite]
            suite = again.policy.suites[name]
            for side in again.sides[suite.run][:: -1 if number % 2 == 0 else 1]:
                if (left := budget - again.used) <= 0:
                    late |= {*nodeids}
                    break
                runs = again.run(side, suite, nodeids, again.policy, number=number, seconds=left)
                if not runs and again.used >= budget:
                    late |= {*nodeids}
                outcomes = _tests(runs)
                for nodeid in nodeids:
                    if nodeid in outcomes and not outcomes[nodeid].silent:
                        seen[nodeid][side.name].append(outcomes[nodeid])
                        if side.name == "head" and not outcomes[nodeid].failed:
                            measured[nodeid] = _measured_by(nodeid, runs)
        again.listen(
            f"confirm: {amount(len(tests), 'failing test')} run again on both sides, {number + 1} of {TIMES}"
        )
    found = {nodeid: _rerun(tests[nodeid], runs["head"], runs["base"]) for nodeid, runs in seen.items()}
    return {
        nodeid: replace(
            rerun, metrics=measured.get(nodeid, ()), late=nodeid in late and not seen[nodeid]["base"]
        )
        if seen[nodeid]["head"]
        else replace(rerun, unclear=_NOT_AGAIN)
        for nodeid, rerun in found.items()
    }


def _measured_by(nodeid: str, runs: Runs) -> tuple[Metric, ...]:
    return tuple(m for run in runs.values() for m in run.metrics.values() if m.nodeid == nodeid)


def _among_the_others(
    again: _Again, name: str, passing: Sequence[TestOutcome], seconds: float, longest: float
) -> dict[str, Rerun]:
    """Run a whole suite again for tests that pass alone; what it says of those that do not pass in it.

    A test that fails each time, more than once, and on the base always or never, is no flake.

    Args:
        again: how.
        name: of the suite.
        passing: tests that failed in its run and pass alone.
        seconds: what the suite took; 0: nobody knows.
        longest: seconds after which nothing is run any more.
    """
    suite, failing = again.policy.suites[name], list(passing)
    pairs: list[tuple[Mapping[str, TestOutcome], Mapping[str, TestOutcome]]] = []
    while len(pairs) < TIMES:
        left = longest - again.used
        if not 2 * seconds < left:
            break
        again.listen(
            f"confirm: all of {name} is run again; alone {amount(len(failing), 'failing test')} passed"
        )
        base, head = again.sides[suite.run]
        on_head = _tests(again.run(head, suite, (), again.policy, number=TIMES, seconds=left))
        failing = [test for test in failing if on_head.get(test.nodeid, test).failed]
        if not failing or not on_head:
            break
        left = longest - again.used
        on_base = _tests(again.run(base, suite, (), again.policy, number=TIMES, seconds=left))
        if not on_base:
            break
        pairs.append((on_head, on_base))
    found: dict[str, Rerun] = {}
    for test in failing:
        on_base = [base[test.nodeid] for _, base in pairs if test.nodeid in base]
        if len(pairs) < 2:
            found[test.nodeid] = replace(_rerun(test, [], []), unclear=_NOT_WHOLE)
        elif len({outcome.failed for outcome in on_base}) < 2:  # else it is flaky on the base
            rerun = _rerun(test, [head[test.nodeid] for head, _ in pairs if test.nodeid in head], on_base)
            found[test.nodeid] = replace(rerun, alone=False)
    return found


def _rerun(test: TestOutcome, head: Sequence[TestOutcome], base: Sequence[TestOutcome]) -> Rerun:
    """What a test that failed in the run did in further runs of both sides."""
    on_head = [test, *head]
    again_on_head = {again.failure.signature for again in head if again.failure}
    original = {test.failure.signature} if test.failure else set[str]()
    # What it does when it is run again is its way to fail only if the run's own way is among that.
    ways = original | again_on_head if original & again_on_head else original
    return Rerun(
        head=(sum(again.failed for again in on_head), len(on_head)),
        base=(sum(again.failed for again in base), len(base)),
        alike=any(again.failure and again.failure.signature in ways for again in base),
    )


def run_once(
    side: Side, suite: Suite, nodeids: Sequence[str], policy: Policy, *, number: int, seconds: float
) -> Mapping[str, SuiteRun]:
    """Run some tests of a suite on one side, or all; nothing without a report in time.

    Args:
        side: where.
        suite: whose.
        nodeids: which; none: all of them.
        policy: has the suites.
        number: the how manieth launch it is.
        seconds: until it is given up.
    """
    with tempfile.TemporaryDirectory(dir=side.scratch) as name:
        select, report = Path(name, "select"), Path(name, f"{suite.name}.json")
        select.write_bytes(selection(nodeids))
        variables = side.environment(number)
        options = ("--json-report", f"--json-report-file={report}", "--json-report-omit=log,streams,keywords")
        variables["PYTEST_ADDOPTS"] += f" {shlex.join(options)}"
        if nodeids:
            variables[SELECT_VARIABLE] = str(select)
        try:
            with (
                services_of(side, number) as services,
                process_group(
                    side.moved(suite.run), cwd=side.root, env=variables | services.variables
                ) as process,
            ):
                process.wait(timeout=min(seconds, suite.timeout.to("s")))
        except subprocess.TimeoutExpired:
            return {}
        finally:
            end_processes_of(side.scratch)  # a daemon that stays would serve the other side
        if not report.exists():
            return {}
        return read_run([report], policy, complete=False).suites
