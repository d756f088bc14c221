"""The baseline: a bounded window of accepted runs per environment and suite, and how a run is added. Pure.

How it is written to files is in `gate.store`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from statistics import median
from typing import Final

import msgspec
from msgspec.structs import replace

from gate.model import Metric, Outcome, SuiteRun, TestOutcome
from gate.units import UnitError, convert
from pytest_regression_gate.metrics import Better, Environment, subject_of

WINDOW: Final = 30
"""How many accepted runs are kept per environment and suite."""
ENOUGH_RUNS: Final = 5
"""Accepted runs from which on history can call an undecided suspect one."""
FIRST_RUNS: Final = 5
"""From so many runs on, the centre of the first ones is the reference, unless somebody pinned another."""
_DIGITS: Final = 6
_NEVER: Final = "~"
"""Later than every time."""


class KnownMetric(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="metric"):
    """A metric that the last accepted run had."""

    name: str
    unit: str
    better: Better
    nodeid: str
    exact: bool = False

    def as_metric(self, suite: str, value: float) -> Metric:
        """The metric of a run that it was taken from, with one of its values."""
        return Metric(self.name, self.unit, self.better, value, 1, self.exact, suite, self.nodeid)


class KnownTest(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="test"):
    """A test of the last accepted run: its outcome and, if it failed, how."""

    nodeid: str
    outcome: Outcome
    signature: str = ""
    since: str = ""
    """When the first accepted run with this outcome was measured, as far as is known; ISO 8601, UTC."""

    @property
    def failed(self) -> bool:
        """Whether it failed then."""
        return self.outcome in {"failed", "error"}

    @property
    def passed(self) -> bool:
        """Whether it ran to its end without a failure."""
        return self.outcome in {"passed", "xpassed"}


class AcceptedRun(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="run"):
    """The values of one accepted run."""

    commit: str
    created: str
    """ISO 8601, UTC, when the report was written."""
    values: dict[str, float]
    source: str = ""
    """Which run of a workflow measured it; another attempt of the same one takes its place."""
    waived: tuple[str, ...] = ()
    """What got worse and was permitted, by whom and why: `SUBJECT: WHO: REASON`."""
    improved: tuple[str, ...] = ()
    """Metrics that a verdict called better."""

    def permitted(self, name: str) -> list[str]:
        """What of `waived` is about a metric."""
        return [text for text in self.waived if text.partition(": ")[0] in {name, subject_of(name)}]

    def began(self, name: str) -> bool:
        """Whether a new level of a metric was accepted with this run."""
        return name in self.improved or bool(self.permitted(name))

    @property
    def key(self) -> tuple[str, str]:
        """What makes a run the same run: adding it twice changes nothing."""
        return self.created, self.commit


class Pin(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="pin"):
    """The reference that slow creep is measured from. It stays when its runs have left the window."""

    commit: str
    created: str
    """When the youngest run that it rests on was measured."""
    runs: int
    """How many runs it rests on."""
    values: dict[str, float]
    """Their median, by metric."""
    reason: str = ""
    """Why it was pinned; empty: nobody did, these were the first accepted runs."""


class SuiteBaseline(msgspec.Struct, frozen=True):
    """What is remembered of one suite in one environment. Runs are in order of time."""

    suite: str
    environment: Environment
    metrics: Mapping[str, KnownMetric]
    tests: Mapping[str, KnownTest]
    runs: tuple[AcceptedRun, ...]
    pins: tuple[Pin, ...] = ()
    """The reference; later ones hold metrics that are younger than it."""

    def reference(self, name: str) -> Pin | None:
        """The pin that holds a metric's reference level."""
        return next((pin for pin in self.pins if name in pin.values), None)

    def history(self, name: str) -> list[float]:
        """The values of a metric, oldest first; runs without it are left out."""
        return [run.values[name] for run in self.runs if name in run.values]

    def accepted_steps(self, name: str) -> list[int]:
        """Which values of `history` began a level that somebody accepted."""
        holding = [run for run in self.runs if name in run.values]
        return [index for index, run in enumerate(holding) if run.began(name)]


class Baseline(msgspec.Struct, frozen=True):
    """All that is remembered."""

    suites: tuple[SuiteBaseline, ...] = ()

    def measured_on(self, suite: str, environment: Environment) -> SuiteBaseline | None:
        """The accepted runs of a suite that were measured where this run was."""
        return next(
            (b for b in self.suites if b.suite == suite and not environment.differences(b.environment)), None
        )

    def comparable(self, suite: str, environment: Environment) -> SuiteBaseline | None:
        """The accepted runs of a suite to compare times with: of this environment, or of the nearest one.

        Near is the same CPU model, number of cores and Python: OS image, memory and libraries move times less
        than a tolerance. Of several the one with the fewest differences, then with the most runs. Mixed
        machines have none.
        """
        if environment.mixed:
            return None
        if (own := self.measured_on(suite, environment)) and own.runs:
            return own
        near = [
            b for b in self.suites if b.suite == suite and b.runs and environment.resembles(b.environment)
        ]
        return min(
            near,
            key=lambda b: (len(environment.differences(b.environment)), -len(b.runs), b.environment.id),
            default=None,
        )

    def latest(self, suite: str) -> SuiteBaseline | None:
        """The environment with the youngest accepted run: tests and work counts hold everywhere."""
        candidates = [b for b in self.suites if b.suite == suite and b.runs]
        return max(candidates, key=lambda b: b.runs[-1].key, default=None)

    def replaced(self, suites: Iterable[SuiteBaseline]) -> "Baseline":
        """All that is remembered, some suites of some environments as they are now."""
        found = {(known.suite, known.environment.id): known for known in (*self.suites, *suites)}
        return Baseline(tuple(found.values()))

    def passes(self, suite: str, nodeid: str) -> tuple[str, ...]:
        """When a test passed without a failure in between: accepted runs of all environments, oldest first.

        The first is the one it has passed since, even if that run is no longer kept. In between is what
        an environment accepted before its test passed; one that skips the test says nothing.
        """
        passed: set[str] = set()
        broken = ""
        for known in self.suites:
            test = known.tests.get(nodeid) if known.suite == suite and known.runs else None
            if test is None or not (test.passed or test.failed):
                continue
            runs = [run.created for run in known.runs]
            since = (test.since or runs[-1]) if test.passed else _NEVER
            passed |= {since, *(run for run in runs if run >= since)} - {_NEVER}
            broken = max(broken, *(run for run in runs if run < since), "")
        return tuple(sorted(run for run in passed if run > broken))


def accept(
    known: SuiteBaseline | None,
    run: SuiteRun,
    commit: str,
    window: int = WINDOW,
    *,
    waived: tuple[str, ...] = (),
    improved: tuple[str, ...] = (),
    unjudged: Collection[str] = (),
    source: str = "",
) -> SuiteBaseline:
    """Add a suite's run to what is known of it. Adding the same run twice changes nothing.

    Of shards that ran on different machines tests and work counts are kept: nothing else there can be
    compared with anything. The unit of a metric is that of the youngest run; what was something else goes.

    Args:
        known: what is remembered of the suite in this environment.
        run: the run.
        commit: what it measured.
        window: how many runs are kept.
        waived: what got worse and was permitted.
        improved: metrics that a verdict called better.
        unjudged: tests of which nobody could judge the metrics (nodeids): no value of them is kept.
        source: which run of a workflow measured it; an earlier attempt of it is replaced.
    """
    metrics = {
        m.name: KnownMetric(name=m.name, unit=m.unit, better=m.better, nodeid=m.nodeid, exact=m.exact)
        for m in run.metrics.values()
    }
    accepted = AcceptedRun(
        commit=commit,
        created=_created(run),
        values={
            name: _rounded(metric)
            for name, metric in sorted(run.metrics.items())
            if (metric.exact or not run.environment.mixed) and metric.nodeid not in unjudged
        },
        source=source,
        waived=waived,
        improved=improved,
    )
    before = known.runs if known else ()
    later = next((other.created for other in before if other.key > accepted.key), "")
    if known is not None and later:
        accepted = replace(accepted, values=_converted(accepted.values, metrics, known.metrics))
        metrics = known.metrics
        runs = _merged((*before, accepted))
        tests = {t.nodeid: _interrupted(t, run, accepted.created, later) for t in known.tests.values()}
    else:
        known = in_units(known, metrics) if known else None
        runs = _merged((*(known.runs if known else ()), accepted))
        left = {other.created for other in before} - {other.created for other in runs}
        tests = {
            t.nodeid: _remembered(t, known.tests.get(t.nodeid) if known else None, accepted.created, left)
            for t in run.tests.values()
        }
    kept = runs[-window:]
    pins = known.pins if known else ()
    return SuiteBaseline(
        suite=run.name,
        environment=known.environment if known else run.environment,
        metrics=metrics,
        tests=tests,
        runs=kept,
        pins=(*pins, *_first_levels(kept, pins)),
    )


def in_units(known: SuiteBaseline, metrics: Mapping[str, KnownMetric]) -> SuiteBaseline:
    """What is known of a suite, in the units of these metrics; nothing of what measured something else."""
    others = {m.name for m in known.metrics.values() if m.name in metrics and metrics[m.name].unit != m.unit}
    if not others:
        return known
    return replace(
        known,
        metrics={m.name: metrics[m.name] if m.name in others else m for m in known.metrics.values()},
        runs=tuple(replace(run, values=_converted(run.values, known.metrics, metrics)) for run in known.runs),
        pins=tuple(
            replace(pin, values=values)
            for pin in known.pins
            if (values := _converted(pin.values, known.metrics, metrics))
        ),
    )


def in_one_unit(baseline: Baseline) -> Baseline:
    """The baseline with each metric in one unit, that of the youngest run, on all machines."""
    latest = {suite.suite: baseline.latest(suite.suite) for suite in baseline.suites}
    return Baseline(
        tuple(
            in_units(suite, young.metrics) if (young := latest[suite.suite]) else suite
            for suite in baseline.suites
        )
    )


def _converted(
    values: Mapping[str, float], now: Mapping[str, KnownMetric], then: Mapping[str, KnownMetric]
) -> dict[str, float]:
    """Values in other units; those that are none of these there are left out."""
    found: dict[str, float] = {}
    for name, value in values.items():
        with suppress(UnitError):
            known = name in now and name in then
            found[name] = convert(value, now[name].unit, then[name].unit) if known else value
    return found


def without(known: Baseline, run: SuiteRun, commit: str) -> Baseline:
    """What was remembered before a run was added, whether it has been or not."""
    key = _created(run), commit
    return Baseline(
        tuple(
            replace(suite, runs=tuple(other for other in suite.runs if other.key != key))
            for suite in known.suites
        )
    )


def _created(run: SuiteRun) -> str:
    moment = datetime.fromtimestamp(run.created, UTC).isoformat(timespec="milliseconds")
    return moment.replace("+00:00", "Z")


def _remembered(
    test: TestOutcome, before: KnownTest | None, now: str, replaced: Collection[str]
) -> KnownTest:
    """A test of the youngest run; an outcome that began with an attempt that was replaced begins now."""
    since = before.since if before and before.outcome == test.outcome else ""
    since = "" if since in replaced else since
    return KnownTest(test.nodeid, test.outcome, test.failure.signature if test.failure else "", since or now)


def _interrupted(known: KnownTest, older: SuiteRun, at: str, later: str) -> KnownTest:
    """A test after an older run came late: where it had another outcome then, the present one began later."""
    then = older.tests.get(known.nodeid)
    if (then and then.outcome == known.outcome) or not known.since or known.since > at:
        return known
    return replace(known, since=later)


def _merged(runs: Iterable[AcceptedRun]) -> tuple[AcceptedRun, ...]:
    """Each run once, in order of time; of several attempts the youngest. What was noted of a run stays."""
    found: dict[tuple[str, str], AcceptedRun] = {}
    for run in runs:
        found[run.key] = _noted(found[run.key], run) if run.key in found else run
    ordered = [found[key] for key in sorted(found)]
    last = {(run.source, run.commit): run for run in ordered if run.source}
    return tuple(run for run in ordered if not run.source or last[run.source, run.commit] is run)


def _noted(before: AcceptedRun, run: AcceptedRun) -> AcceptedRun:
    return replace(
        run,
        waived=tuple(dict.fromkeys((*before.waived, *run.waived))),
        improved=tuple(dict.fromkeys((*before.improved, *run.improved))),
    )


def rebased(onto: Baseline, before: Baseline, after: Baseline) -> Baseline:
    """What was done to a memory, done to another state of it: runs that came are added, those that went go.

    Args:
        onto: the other state.
        before: the memory as it was.
        after: the memory as it became.
    """
    gone = _keys(before) - _keys(after)
    came = _keys(after) - _keys(before)
    return united(_only(onto, _keys(onto) - gone), _only(after, came))


def _keys(memory: Baseline) -> set[tuple[str, ...]]:
    return {(known.suite, known.environment.id, *run.key) for known in memory.suites for run in known.runs}


def _only(memory: Baseline, keys: set[tuple[str, ...]]) -> Baseline:
    """The memory with some of its runs; a suite without any goes."""
    kept = (
        replace(
            known,
            runs=tuple(run for run in known.runs if (known.suite, known.environment.id, *run.key) in keys),
        )
        for known in memory.suites
    )
    return Baseline(tuple(known for known in kept if known.runs))


def united(one: Baseline, other: Baseline, window: int = WINDOW) -> Baseline:
    """The runs of both, each once. The younger one tells what a suite looks like, `one` the reference."""
    found = {(suite.suite, suite.environment.id): suite for suite in one.suites}
    for suite in other.suites:
        key = (suite.suite, suite.environment.id)
        before = found.get(key)
        if before is None:
            found[key] = suite
            continue
        younger = max(before, suite, key=lambda known: known.runs[-1].key if known.runs else ("", ""))
        before, after = in_units(before, younger.metrics), in_units(suite, younger.metrics)
        kept = _merged((*before.runs, *after.runs))[-window:]
        found[key] = replace(before, metrics=younger.metrics, tests=younger.tests, runs=kept)
    return Baseline(tuple(found[key] for key in sorted(found)))


def _first_levels(runs: tuple[AcceptedRun, ...], pins: tuple[Pin, ...]) -> list[Pin]:
    """References of metrics that have none yet: the centre of the first runs that measured them.

    One first run would be an accident of that day; five are a level, and nobody has to set it up.
    """
    held = {name for pin in pins for name in pin.values}
    groups: dict[tuple[int, ...], list[str]] = {}
    for name in sorted({name for run in runs for name in run.values} - held):
        first = tuple(index for index, run in enumerate(runs) if name in run.values)[:FIRST_RUNS]
        if len(first) == FIRST_RUNS:
            groups.setdefault(first, []).append(name)
    return [_level([runs[index] for index in first], names, "") for first, names in sorted(groups.items())]


def pin(known: SuiteBaseline, commit: str, reason: str) -> SuiteBaseline | None:
    """Make the accepted runs of a commit the reference of a suite, in place of the one before.

    Args:
        known: what is remembered of the suite.
        commit: the commit, or as much of its beginning as names it; `latest`: that of the youngest run.
        reason: why; must not be empty.

    Returns:
        The suite with the pin; None if no kept run measured that commit, or the text names several.
    """
    wanted = known.runs[-1].commit if commit == "latest" and known.runs else commit
    chosen = tuple(run for run in known.runs if run.commit.startswith(wanted))
    if len({run.commit for run in chosen}) != 1:
        return None
    names = sorted({name for run in chosen for name in run.values})
    return replace(known, pins=(_level(chosen, names, reason),))


def _level(runs: Sequence[AcceptedRun], names: Iterable[str], reason: str) -> Pin:
    return Pin(
        commit=runs[-1].commit,
        created=runs[-1].created,
        runs=len(runs),
        values={name: median(run.values[name] for run in runs if name in run.values) for name in names},
        reason=reason,
    )


def _rounded(metric: Metric) -> float:
    """A measured value to the digits that mean something; a work count as it is."""
    return metric.value if metric.exact else float(f"{metric.value:.{_DIGITS}g}")
