"""Small builders for the nouns of the gate, so that a test names only what it is about."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from gate.baseline import Baseline, Permission, SuiteBaseline
from gate.baseline.expected import expected, pin
from gate.baseline.records import Memory, SuiteRecords, Where, joined, record_of, united
from gate.evidence import Confirmation
from gate.judge import Inputs
from gate.judge import judge as judge_aligned
from gate.model import Failure, Metric, Outcome, Problem, Run, SuiteRun, TestOutcome
from gate.pipeline.align import align
from gate.policy import Policy
from gate.thresholds import parse_policy
from gate.verdict import Finding, Verdict
from pytest_regression_gate.metrics import Better, Environment, LoadRun

CREATED = 1_700_000_000.0
HEAD = "a" * 40
MACHINE = Environment(cpu="AMD EPYC 7763", cores=2, os="ubuntu22", python="3.11")
OTHER_MACHINE = Environment(cpu="Apple M1", cores=8, os="macos14", python="3.11")
NODEID = "tests/test_api.py::test_home"
HEADER = "version: 1\nsuites: {api: {run: pytest tests}}\n"


def known_bug(reason: str) -> pytest.MarkDecorator:
    """The test says what should happen; it turns red (and the mark can go) once it does."""
    return pytest.mark.xfail(strict=True, reason=reason)


def metric(
    name: str,
    value: float,
    unit: str = "ms",
    *,
    better: Better = "lower",
    exact: bool = False,
    count: int = 5000,
    suite: str = "api",
    nodeid: str = NODEID,
    method: int = 1,
) -> Metric:
    return Metric(name, unit, better, value, count, exact, suite, nodeid, method)


def outcome(
    nodeid: str = NODEID,
    result: Outcome = "passed",
    *,
    signature: str = "",
    message: str = "boom",
    reason: str = "",
    suite: str = "api",
    where: str = "",
) -> TestOutcome:
    failure = Failure(signature, message, where) if result in {"failed", "error"} else None
    return TestOutcome(nodeid, suite, result, 0.1, failure, reason)


def suite_run(
    metrics: Iterable[Metric] = (),
    tests: Iterable[TestOutcome] | None = None,
    *,
    name: str = "api",
    environment: Environment = MACHINE,
    commit: str = HEAD,
    created: float = CREATED,
    loads: Mapping[str, LoadRun] | None = None,
) -> SuiteRun:
    """A suite's run; the tests that measured something passed unless `tests` says otherwise."""
    metrics = list(metrics)
    given = {test.nodeid: test for test in tests or ()}
    if tests is None:
        given = {m.nodeid: outcome(m.nodeid, suite=name) for m in metrics}
    by_name = {m.name: m for m in metrics}
    return SuiteRun(name, environment, commit, created, given, by_name, f"{name}.json", dict(loads or {}))


def run_of(*suites: SuiteRun, problems: Sequence[Problem] = ()) -> Run:
    return Run({suite.name: suite for suite in suites}, tuple(problems))


def accept(
    known: SuiteRecords | None, run: SuiteRun, commit: str, waived: Sequence[Permission] = (), **more: Any
) -> SuiteRecords:
    """The records of a suite with one more run, whatever became of it."""
    record = record_of(run, Where(commit), waived=tuple(waived), **more)
    return joined(known, record) if known else record


def remembered(*runs: SuiteRun) -> SuiteRecords:
    """The records of one suite after these runs were accepted, one second apart, failures too."""
    known: SuiteRecords | None = None
    for index, run in enumerate(runs):
        later = SuiteRun(
            run.name, run.environment, f"{index:040x}", CREATED - 1000 + index, run.tests, run.metrics
        )
        waived = [Permission(name, "kim", "ticket 7") for name, test in run.tests.items() if test.failed]
        known = accept(known, later, later.commit, waived)
    assert known is not None
    return known


def pinned(known: SuiteRecords, commit: str, reason: str) -> SuiteRecords | None:
    """The records with the runs of a commit as the reference."""
    level = pin(view(known), commit, reason, "2026-01-01T00:00:00Z")
    return replace(known, pins=(*known.pins, level)) if level else None


def view(known: SuiteRecords) -> SuiteBaseline:
    """What is expected of one suite in one environment."""
    (suite,) = baseline_from(known).suites
    return suite


def baseline_from(*suites: SuiteRecords) -> Baseline:
    """What is expected where git knows nothing."""
    return expected(united([Memory((suite,)) for suite in suites]))


def baseline_of(*runs: SuiteRun) -> Baseline:
    """A baseline of one suite in one environment."""
    return baseline_from(remembered(*runs))


def history(name: str, values: Sequence[float], unit: str = "ms", **more: object) -> Baseline:
    """A baseline with one metric."""
    return baseline_of(*(suite_run([metric(name, value, unit, **more)]) for value in values))  # pyright: ignore


def policy_of(metrics: Mapping[str, str] | None = None, *, defaults: str = "", suites: str = "") -> Policy:
    """A policy from the lines below `metrics:`, e.g. `{"*.p95": "{tolerance: 5 %}"}`."""
    lines = "".join(f"  '{key}': {value}\n" for key, value in metrics.items()) if metrics else ""
    text = f"version: 1\nsuites: {suites or '{api: {run: pytest tests}}'}\n"
    text += f"defaults: {defaults}\n" if defaults else ""
    return parse_policy(text + (f"metrics:\n{lines}" if lines else ""))


def judge(
    run: Run,
    baseline: Baseline,
    policy: Policy,
    *,
    confirmation: Confirmation | None = None,
    liberal: bool = False,
    **given: Any,
) -> Verdict:
    """Align and judge, as every command does; what `moved` did so in each suite."""
    if "moved" in given:
        given["moved"] = dict.fromkeys(run.suites, given["moved"])
    return judge_aligned(*align(run, Inputs(policy, baseline, **given)), confirmation, liberal=liberal)


def judged(
    head: Iterable[Metric] | SuiteRun, baseline: Baseline | None = None, policy: Policy | None = None
) -> Verdict:
    """Judge one suite."""
    suite = head if isinstance(head, SuiteRun) else suite_run(head)
    return judge(run_of(suite), baseline or Baseline(), policy or policy_of())


def of_kind(verdict: Verdict, kind: str) -> list[Finding]:
    return [finding for finding in verdict.findings if finding.kind == kind]


def one(verdict: Verdict, kind: str) -> Finding:
    (finding,) = of_kind(verdict, kind)
    return finding
