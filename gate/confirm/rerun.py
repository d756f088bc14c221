"""Failing tests, run again on both sides: new, known, or failing only sometimes."""

import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from gate.confirm.child import side_environment
from gate.confirm.sides import Side
from gate.evidence import Rerun
from gate.model import TestOutcome
from gate.policy import Policy, Suite
from gate.processes import process_group
from gate.readers import read_run
from gate.variables import SELECT_VARIABLE

TIMES: Final = 3
"""How often each side runs a failing test again."""
MOST: Final = 50
"""More failing tests than this are one cause, not chance: they are not run again."""


def run_again(
    sides: tuple[Side, Side],
    failed: Sequence[TestOutcome],
    policy: Policy,
    seconds: Mapping[str, float],
    budget: float,
    *,
    listen: Callable[[str], None] = lambda _: None,
) -> dict[str, Rerun]:
    """Run failing tests again, head and base in turns, each time in fresh processes.

    First the failing tests alone. What never fails so may need another test before it: its whole suite is run
    again, if there is time.

    Args:
        sides: base and head.
        failed: the tests that failed in the run.
        policy: has the commands of their suites.
        seconds: what their suites took.
        budget: seconds; what does not fit is not run.
        listen: called with a line about the progress after each round.

    Returns:
        What happened, by nodeid; tests that were not run on the head again are not in it.
    """
    begun = time.monotonic()
    seen: dict[str, dict[str, list[TestOutcome]]] = {test.nodeid: {"head": [], "base": []} for test in failed}
    by_suite: dict[str, list[str]] = {}
    for test in failed:
        if test.suite in policy.suites:
            by_suite.setdefault(test.suite, []).append(test.nodeid)
    if len(failed) > MOST:
        return {}
    for number in range(TIMES):
        for suite, nodeids in by_suite.items():
            for side in sides[:: -1 if number % 2 == 0 else 1]:
                left = budget - (time.monotonic() - begun)
                if left <= 0:
                    break
                outcomes = _run(side, policy.suites[suite], nodeids, policy, number=number, seconds=left)
                for nodeid in nodeids:
                    if nodeid in outcomes and not outcomes[nodeid].silent:
                        seen[nodeid][side.name].append(outcomes[nodeid])
        listen(f"confirm: {len(failed)} failing tests run again on head and base, {number + 1} of {TIMES}")
    found = {
        test.nodeid: _rerun(test, runs["head"], runs["base"])
        for test in failed
        if (runs := seen[test.nodeid])["head"]
    }
    for suite in by_suite:
        again = [test for test in failed if test.suite == suite and test.nodeid in found]
        passing: list[TestOutcome] = [test for test in again if found[test.nodeid].head[0] == 1]
        pairs: list[tuple[Mapping[str, TestOutcome], Mapping[str, TestOutcome]]] = []
        while passing and len(pairs) < TIMES:
            left = budget - (time.monotonic() - begun)
            if not 0 < 2 * seconds.get(suite, 0.0) < left:
                break
            listen(f"confirm: {len(passing)} failing tests pass alone, all of {suite} is run again")
            head, base = (
                _run(side, policy.suites[suite], (), policy, number=TIMES, seconds=left / 2)
                for side in sides[::-1]
            )
            pairs.append((head, base))
            passing = [test for test in passing if test.nodeid in head and head[test.nodeid].failed and base]
        found |= _among_the_others(passing, pairs)
    return found


def _among_the_others(
    passing: Sequence[TestOutcome],
    pairs: Sequence[tuple[Mapping[str, TestOutcome], Mapping[str, TestOutcome]]],
) -> dict[str, Rerun]:
    """Tests that pass alone and failed whenever their whole suite was run on the head; more than once.

    Args:
        passing: the tests.
        pairs: what the runs of head and base gave.
    """
    found: dict[str, Rerun] = {}
    for name, test in ((test.nodeid, test) for test in passing if len(pairs) > 1):
        on_base = [base[name] for _, base in pairs if name in base]
        if len({outcome.failed for outcome in on_base}) < 2:  # else it is flaky on the base
            found[name] = replace(_rerun(test, [head[name] for head, _ in pairs], on_base), alone=False)
    return found


def _rerun(test: TestOutcome, head: Sequence[TestOutcome], base: Sequence[TestOutcome]) -> Rerun:
    """What a test that failed in the run did in further runs of both sides."""
    on_head = [test, *head]
    ways = {again.failure.signature for again in on_head if again.failure}
    return Rerun(
        head=(sum(again.failed for again in on_head), len(on_head)),
        base=(sum(again.failed for again in base), len(base)),
        alike=any(again.failure and again.failure.signature in ways for again in base),
    )


def _run(
    side: Side, suite: Suite, nodeids: Sequence[str], policy: Policy, *, number: int, seconds: float
) -> Mapping[str, TestOutcome]:
    """Run some tests of a suite on one side, or all; nothing without a report in time."""
    with tempfile.TemporaryDirectory(dir=side.scratch) as name:
        select, report = Path(name, "select"), Path(name, f"{suite.name}.json")
        select.write_text("\n".join(nodeids), encoding="utf-8")
        variables = side_environment(side, number)
        options = ("--json-report", f"--json-report-file={report}", "--json-report-omit=log,streams,keywords")
        variables["PYTEST_ADDOPTS"] += f" {shlex.join(options)}"
        if nodeids:
            variables[SELECT_VARIABLE] = str(select)
        with process_group(suite.run, cwd=side.root, env=variables) as process:
            try:
                process.wait(timeout=min(seconds, suite.timeout.to("s")))
            except subprocess.TimeoutExpired:
                return {}
        if not report.exists():
            return {}
        found = read_run([report], policy, complete=False).suites
        return {nodeid: test for run in found.values() for nodeid, test in run.tests.items()}
