"""`gate run`: suite after suite, and loads that the machine disturbed once more when it is calm."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Protocol

from gate.judge.loads import MOST_STEAL, MOST_WAITED, Reason, invalid_loads
from gate.located import LocatedError
from gate.model import Shard, SuiteRun
from gate.policy import Policy, Suite
from gate.processes import claimed
from gate.readers import read_run
from gate.readers.attempts import with_attempt
from gate.readers.naming import report_stem
from gate.runner import (
    SuiteResult,
    divided_otherwise,
    fingerprint,
    forget_unknown,
    make_directory,
    read_manifest,
    run_suite,
    run_tests,
    settle,
)
from pytest_regression_gate.conditions import Conditions
from pytest_regression_gate.protocol import Progress

ATTEMPTS: Final = 3
"""How often a load is measured at most."""
PATIENCE: Final = 10.0
"""Seconds that each further attempt waits for a calm moment."""
_PROBE: Final = 0.3
"""Seconds of work that tell whether the machine is calm; the kernel counts in steps of 10 ms."""
_MARGIN: Final = 0.5
"""Of what makes a load invalid: a moment with less is calm."""


@dataclass(frozen=True)
class _Again:
    """A further attempt."""

    tests: Sequence[str]
    """Nodeids."""
    report: Path
    log: Path


class Display(Protocol):
    """Where progress is shown."""

    def running(self, suite: str) -> AbstractContextManager[Callable[[Progress], None]]:
        """While the block runs, show the events of a suite that are given to what this yields."""
        ...

    def say(self, line: str) -> None:
        """Show a line."""
        ...

    def ended(self, result: SuiteResult) -> None:
        """Show how a suite ended."""
        ...


def calm_moment() -> bool:
    """Wait until the machine is calm, but not for ever; whether it is."""
    deadline = time.monotonic() + PATIENCE
    while not (calm := _is_calm()) and time.monotonic() < deadline:
        time.sleep(_PROBE)
    return calm


def _is_calm() -> bool:
    """Whether a short piece of work gets its core at once."""
    with Conditions() as seen:
        end = time.perf_counter() + _PROBE
        while time.perf_counter() < end:
            pass
    return (seen.waited or 0.0) <= _MARGIN * MOST_WAITED and (seen.steal or 0.0) <= _MARGIN * MOST_STEAL


def run_suites(
    suites: Sequence[Suite],
    policy: Policy,
    display: Display,
    *,
    root: Path,
    out: Path,
    shard: Shard | None = None,
    calm: Callable[[], bool] = calm_moment,
) -> list[SuiteResult]:
    """Run suites one after the other.

    Args:
        suites: what to run.
        policy: says what makes a load valid.
        display: where progress is shown.
        root: the directory of thresholds.yaml.
        out: where reports go.
        shard: the share of each suite to run. None: all of it, in as many shards as the policy says.
        calm: waits for a calm moment and says whether there was one.

    Raises:
        BusyError: another run writes its reports there.
    """
    results: dict[SuiteResult, str] = {}
    make_directory(out)
    with claimed(out):
        for name in forget_unknown(out, policy.suites):
            display.say(f"{name}: thresholds.yaml does not name this suite; its old report was removed")
        others = read_manifest(out).suites
        for suite, share in [(one, share) for one in suites for share in _shares(one, shard)]:
            with display.running(report_stem(suite.name, share)) as listen:
                result = run_suite(suite, root, out, listen, share)
            if not result.problem:
                choose = partial(_run_tests, suite, root, share, display)
                _measure_disturbed_again(result, policy, choose, display.say, calm)
            display.ended(result)
            results[result] = fingerprint(result.report)
            for name in divided_otherwise(others, suite.name, share):
                del others[name]
        lost = settle(out, results, others)
    for result in lost:
        display.ended(result)
    return [*(result for result in results if result.suite not in {one.suite for one in lost}), *lost]


def _shares(suite: Suite, shard: Shard | None) -> list[Shard | None]:
    if shard or suite.shards < 2:
        return [shard]
    return [Shard(number, suite.shards) for number in range(1, suite.shards + 1)]


def _run_tests(suite: Suite, root: Path, shard: Shard | None, display: Display, again: _Again) -> str:
    """Run some tests of a suite once more; why there is no report, or nothing."""
    with display.running(again.log.stem) as listen:
        return run_tests(
            suite, root, again.report, log=again.log, nodeids=again.tests, listen=listen, shard=shard
        )


def _measure_disturbed_again(
    result: SuiteResult,
    policy: Policy,
    run: Callable[[_Again], str],
    say: Callable[[str], None],
    calm: Callable[[], bool],
) -> None:
    """Run the tests of loads that the machine disturbed again, at most twice, each time in a calm moment.

    The report keeps the first valid attempt of each load, and errors, failures and work counts of all.
    """
    for attempt in range(2, ATTEMPTS + 1):
        before = _read(result.report, policy)
        disturbed = _disturbed(before, policy) if before else {}
        if before is None or not disturbed:
            return
        loads = f"{len(disturbed)} load{'s' * (len(disturbed) != 1)}"
        why = next(iter(disturbed.values()))[0].message
        say(f"{result.suite}: the machine disturbed {loads} ({why}); waiting for a calm moment")
        if not calm():
            say(f"{result.suite}: the machine stays busy; {loads} not valid")
            return
        tests = sorted({m.nodeid for m in before.metrics.values() if m.subject in disturbed})
        log = result.log.with_suffix(f".attempt-{attempt}.log")
        with TemporaryDirectory(prefix=".attempt-", dir=result.report.parent) as directory:
            report = Path(directory, result.report.name)
            problem = run(_Again(tests, report, log))
            again = None if problem else _read(report, policy)
            if again is None:
                how = problem or "left a report that cannot be read"
                say(f"{result.suite}: attempt {attempt} {how} and does not count; see {log}")
                return
            valid = (disturbed.keys() & again.loads.keys()) - invalid_loads(again, policy).keys()
            merged = with_attempt(result.report.read_bytes(), report.read_bytes(), valid)
        result.report.write_bytes(merged)


def _disturbed(run: SuiteRun, policy: Policy) -> dict[str, list[Reason]]:
    """Loads that only the machine made invalid, and how. A mistake of the policy is said by `gate check`."""
    try:
        invalid = invalid_loads(run, policy)
    except LocatedError:
        return {}
    return {load: why for load, why in invalid.items() if all(reason.machine for reason in why)}


def _read(report: Path, policy: Policy) -> SuiteRun | None:
    """The run of a report; None if it cannot be read, which whoever judges it will say."""
    return next(iter(read_run([report], policy, complete=False).suites.values()), None)
