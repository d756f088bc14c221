"""What the rehearsal is about: the quickest test that measures something, and its surroundings. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gate.located import Place
from gate.model import Metric, Run, SuiteRun
from gate.nodeids import file_of
from gate.policy import LIMITS, OFF, Entry, Policy, Suite

_SHORT: Final = 0.02  # ms


@dataclass(frozen=True)
class Target:
    """One suite and the one or two of its tests that the cases run."""

    suite: Suite
    tests: tuple[str, ...]
    breaks: str
    """The test that is made to fail."""
    timed: Metric | None
    """The median of an operation that is made slower; None: nothing is timed and compared."""
    recorded: Metric | None
    """The metric that gets lost; None: nothing is recorded."""
    tolerance: float
    """Of the timed metric, relative."""
    floor: float
    """Of the timed metric, in ms."""
    own: tuple[str, ...] = ()
    """Functions of the project that the timed operation runs, as `path:qualified name`."""

    @property
    def delay(self) -> float:
        """Milliseconds that make it twice as slow as is acceptable: beyond tolerance, floor and noise."""
        value = self.timed.value if self.timed else 0.0
        return max(value * (2 * (1 + self.tolerance) - 1), 2 * self.floor, 0.01)


def choose(run: Run, policy: Policy) -> Target | None:
    """The quickest thing worth rehearsing with; None if no test of the run passed."""
    timed = [metric for metric in run.metrics.values() if _is_timed(metric, run, policy)]
    recorded = [metric for metric in run.metrics.values() if not metric.name.startswith("test.duration{")]
    best = min(timed or recorded, key=lambda metric: _cost(metric, run), default=None)
    passing = [
        test for suite in run.suites.values() for test in suite.tests.values()
        if test.outcome == "passed" and ".py" in test.nodeid
    ]  # fmt: skip
    if best is not None:
        passing = [test for test in passing if test.suite == best.suite]
    others = [test for test in passing if best is None or test.nodeid != best.nodeid]
    other = min(others, key=lambda test: test.duration, default=None)
    if best is None and other is None:
        return None
    tests = [one.nodeid for one in (best, other) if one is not None]
    rule = policy.rule(best) if best and timed else None
    return Target(
        suite=policy.suites[best.suite if best else other.suite if other else ""],
        tests=tuple(tests),
        breaks=tests[-1],
        timed=best if timed else None,
        recorded=best,
        tolerance=rule.tolerance.to("ratio") if rule else 0.0,
        floor=rule.floor.to("ms") if rule else 0.0,
        own=_own(best, run) if best and timed else (),
    )


def _own(timed: Metric, run: Run) -> tuple[str, ...]:
    suite = run.suites[timed.suite]
    tests = {file_of(nodeid).rpartition("/")[2] for nodeid in suite.tests} | {"conftest.py"}
    functions = sorted(suite.executed.get(timed.subject, ()))
    return tuple(one for one in functions if one.partition(":")[0].rpartition("/")[2] not in tests)


def _is_timed(metric: Metric, run: Run, policy: Policy) -> bool:
    """Whether it is the median of an operation that the `measure` fixture timed, and is compared."""
    if metric.statistic != "p50" or metric.unit != "ms" or policy.rule(metric).tolerance == OFF:
        return False
    base, _, labels = metric.name.partition("{")
    siblings = {f"{base.removesuffix('p50')}{name}{'{' if labels else ''}{labels}" for name in _WITH_SAMPLE}
    return any(name in run.suites[metric.suite].metrics for name in siblings)


_WITH_SAMPLE: Final = ("cpu", "throughput")
"""What the fixture records beside a sample."""


def _cost(metric: Metric, run: Run) -> tuple[bool, bool, float]:
    """Order of preference: not so short that the clock is what is measured, not a load, a quick test."""
    suite: SuiteRun = run.suites[metric.suite]
    load = metric.name.replace(".p50", ".throughput") in suite.metrics
    return metric.value < _SHORT, load, suite.tests[metric.nodeid].duration


def narrowed(document: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """The policy without promises that the chosen tests do not answer: they would be missing metrics.

    Without the branch of its baseline, too: it cannot hold the throw-away baseline.
    """
    metrics: Mapping[str, Any] = document.get("metrics") or {}
    kept = {
        pattern: values
        for pattern, values in metrics.items()
        if not (values.keys() & set(LIMITS))
        or any(Entry(pattern, Place(0, 0), {}).matches(name) for name in names)
    }
    return {key: value for key, value in document.items() if key not in {"metrics", "baseline_branch"}} | (
        {"metrics": kept} if kept else {}
    )


def undivided(document: dict[str, Any], _: list[str]) -> dict[str, Any]:
    """The policy without shards."""
    suites: Mapping[str, dict[str, Any]] = document["suites"]
    whole = {
        name: {key: value for key, value in suite.items() if key != "shards"}
        for name, suite in suites.items()
    }
    return document | {"suites": whole}


def loosened(document: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """The policy without any limit, and with no comparison of these metrics."""
    return document | {
        "defaults": {**(document.get("defaults") or {}), "tolerance": "1000 %"},
        "metrics": {name: {"tolerance": "off"} for name in names},
    }
