"""(Memory, Ancestry) -> Baseline: what is expected at a commit. Pure.

Never a clock decides, nor the order of lines, nor which run ended last: what descends from another is nearer.
Only where git knows nothing, outside a repository, the dates of the reports do.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass

from msgspec.structs import replace

from gate.baseline import (
    FIRST_RUNS,
    WINDOW,
    AcceptedRun,
    Baseline,
    KnownMetric,
    KnownTest,
    Pin,
    SuiteBaseline,
    level_of,
)  # fmt: skip
from gate.baseline.ancestry import Ancestry, Order, Placed
from gate.baseline.facts import SILENT, Facts
from gate.baseline.names import by_their_last_names, with_last_names
from gate.baseline.records import Kind, Memory, SuiteRecords
from gate.units import UnitError, convert
from pytest_regression_gate.metrics import subject_of


def expected(memory: Memory, ancestry: Ancestry | None = None) -> Baseline:
    """What is expected at a commit.

    Args:
        memory: all records.
        ancestry: the commits that it descends from; None: nobody knows, the dates of the reports decide.

    Returns:
        The accepted runs that have a place in that history, by environment and over all of them.
    """
    order = Order(ancestry)
    names = sorted({suite.suite for suite in memory.suites})
    views = [_suite([suite for suite in memory.suites if suite.suite == name], order) for name in names]
    return Baseline(
        tuple(sorted((v for per, _ in views for v in per), key=lambda v: (v.environment.id, v.suite))),
        tuple(overall for _, overall in views if overall.runs),
    )


def _suite(files: Sequence[SuiteRecords], order: Order) -> tuple[list[SuiteBaseline], SuiteBaseline]:
    """A suite as each environment knows it, and as all of them do."""
    owners = {owner for file in files for owner in file.owners}
    renames, everything = by_their_last_names([one for file in files for one in order.of(file)], order)
    facts = Facts(everything, owners, order, renames)
    metrics, tests = facts.metrics(), facts.tests()
    exact = facts.exact(metrics)
    if unknown := _held_by(everything) - tests.keys() - metrics.keys():
        # the history was rewritten since: what was expected then is all that is known of them
        before = [one for file in files for one in order.of(file, lost=True)]
        _, before = by_their_last_names(before, Order(None))
        lost = Facts(before, owners, Order(None), renames)
        metrics |= {n: m for n, m in lost.metrics().items() if not unknown.isdisjoint({n, subject_of(n)})}
        tests |= {n: test for n, test in lost.tests().items() if n in unknown}
        exact |= {n: value for n, value in lost.exact(metrics).items() if n not in exact}
    mixed = {file.environment.id for file in files if file.environment.mixed}
    units = _units(metrics)
    flat = {id(one): _run(one, units, exact=one.environment in mixed) for one in everything}
    views: list[SuiteBaseline] = []
    for file in files:
        records = [one for one in everything if one.environment == file.environment.id]
        if not records and not file.pins:
            continue
        runs = [flat[id(one)] for one in records]
        window = _window(runs, metrics.keys())
        named = set[str]().union(*(run.values.keys() for run in window))
        views.append(
            SuiteBaseline(
                suite=file.suite,
                environment=file.environment,
                metrics={name: known for name, known in metrics.items() if name in named},
                tests={n: t for n, t in tests.items() if records and n in records[-1].outcomes},
                runs=window,
                pins=_pins([with_last_names(pin, renames) for pin in file.pins], runs, units),
            )
        )
    overall = SuiteBaseline(
        suite=files[0].suite,
        environment=files[0].environment,
        metrics=metrics,
        tests=tests,
        runs=tuple(flat[id(one)] for one in everything),
        places=facts.places,
        exact=exact,
        ran=_ran(everything),
        skips=_skips(everything),
        lacks=_lacks(everything, tests),
    )
    return views, overall


def _window(runs: Sequence[AcceptedRun], metrics: Collection[str]) -> tuple[AcceptedRun, ...]:
    """The last runs, and of metrics that were held back in them older ones, until there are as many."""
    recent, short = list(runs[-WINDOW:]), dict[str, int]()
    for run in reversed(runs[:-WINDOW]):
        for name in run.values.keys() & metrics - short.keys():
            short[name] = WINDOW - sum(name in other.values for other in recent[-WINDOW:])
        wanted = {name: run.values[name] for name in run.values.keys() & short.keys() if short[name] > 0}
        if wanted:
            recent.insert(0, replace(run, values=wanted))
            short |= {name: short[name] - 1 for name in wanted}
    return tuple(recent)


def _held_by(everything: Iterable[Placed]) -> set[str]:
    """What was ever held back."""
    return {name for one in everything for name in one.record.held}


def _ran(everything: Sequence[Placed]) -> dict[str, frozenset[str]]:
    """Tests that ever ran in an environment, by its id."""
    found: dict[str, set[str]] = {}
    for one in everything:
        ran = (nodeid for nodeid, outcome in one.outcomes.items() if outcome not in SILENT)
        found.setdefault(one.environment, set()).update(ran)
    return {environment: frozenset(tests) for environment, tests in found.items()}


def _skips(everything: Sequence[Placed]) -> dict[str, frozenset[str]]:
    """Tests that the nearest record of an environment skips, by its id."""
    return {
        environment: frozenset(nodeid for nodeid, outcome in one.outcomes.items() if outcome in SILENT)
        for environment, one in _nearest(everything).items()
    }


def _lacks(everything: Sequence[Placed], tests: Mapping[str, KnownTest]) -> dict[str, frozenset[str]]:
    """Tests that an environment does not have, by its id: others had them before its nearest record."""
    found: dict[str, frozenset[str]] = {}
    for environment, one in _nearest(everything).items():
        absent = tests.keys() - one.outcomes.keys() - set(one.record.held)
        elsewhere: list[Mapping[str, str]] = []
        if absent:
            elsewhere = [
                other.outcomes
                for other in everything
                if other.environment != environment and other.number <= one.number
            ]
        found[environment] = frozenset(n for n in absent if any(n in outcomes for outcomes in elsewhere))
    return found


def _nearest(everything: Sequence[Placed]) -> dict[str, Placed]:
    """The nearest record of each environment."""
    return {one.environment: one for one in everything}


@dataclass(frozen=True)
class _Units:
    """The units and methods that hold now."""

    of: Mapping[str, KnownMetric]
    """By metric."""
    named: Mapping[tuple[str, int], AbstractSet[str]]
    """The metrics of each unit and method."""


def _units(metrics: Mapping[str, KnownMetric]) -> _Units:
    named: dict[tuple[str, int], set[str]] = {}
    for name, known in metrics.items():
        named.setdefault((known.unit, known.method), set()).add(name)
    return _Units(metrics, named)


def _run(one: Placed, units: _Units, *, exact: bool) -> AcceptedRun:
    """A record as an accepted run, in the units that hold now; of mixed machines the `exact` values."""
    record = one.record
    groups = {kind: group for kind, group in record.values.items() if Kind.read(kind).exact or not exact}
    values = _flat(groups, units)
    return AcceptedRun(
        commit=record.commit,
        created=record.created,
        values=values,
        source=record.source,
        waived=record.waived,
        improved=record.improved,
        uses=one.uses,
        place=one.place,
    )


def _converted(values: Mapping[str, float], kind: Kind, units: _Units) -> Mapping[str, float]:
    """Values in the units that hold now; what measured something else, or in another way, is left out."""
    if values.keys() <= units.named.get((kind.unit, kind.method), frozenset()):
        return values
    found: dict[str, float] = {}
    for name, value in values.items():
        known = units.of.get(name)
        if known and known.method != kind.method:
            continue
        with suppress(UnitError):
            found[name] = convert(value, kind.unit, known.unit if known else kind.unit)
    return found


def _pins(pins: Sequence[Pin], runs: Sequence[AcceptedRun], units: _Units) -> tuple[Pin, ...]:
    """The references: what somebody pinned last, and else the centre of the first runs of an accepted level.

    One first run would be an accident of that day; five are a level, and nobody has to set it up.
    """
    pinned = sorted((pin for pin in pins if pin.reason), key=lambda pin: (pin.pinned, pin.created))
    found: list[Pin] = []
    since: dict[str, str] = {}
    for pin in (
        *pinned[-1:],
        *sorted((pin for pin in pins if not pin.reason), key=lambda pin: pin.created, reverse=True),
    ):
        values = _flat(pin.groups, units)
        found.append(replace(pin, groups={}, values={n: v for n, v in values.items() if n not in since}))
        since |= {name: pin.created for name in values if name not in since}
    first: dict[str, list[int]] = {}
    full = set(since)
    for index, run in enumerate(runs):
        for name in {n for n in run.values if run.began(n)} if run.improved or run.waived else ():
            if run.created > since.get(name, ""):
                full.discard(name)
                first[name] = []
        for name in () if run.values.keys() <= full else run.values.keys() - full:
            chosen = first.setdefault(name, [])
            chosen.append(index)
            if len(chosen) == FIRST_RUNS:
                full.add(name)
    groups: dict[tuple[int, ...], list[str]] = {}
    for name in sorted(first):
        if len(first[name]) == FIRST_RUNS:
            groups.setdefault(tuple(first[name]), []).append(name)
    # a level that was accepted after a pin takes its place
    found = [replace(p, values={n: v for n, v in p.values.items() if n not in first}) for p in found]
    found += [level_of([runs[i] for i in chosen], names, "") for chosen, names in sorted(groups.items())]
    return tuple(pin for pin in found if pin.values)


def pin(known: SuiteBaseline, commit: str, reason: str, now: str) -> Pin | None:
    """The accepted runs of a commit as the reference of a suite, in place of the one before.

    Args:
        known: what is expected of the suite in an environment.
        commit: the commit, or as much of its beginning as names it; `latest`: that of the nearest run.
        reason: why; must not be empty.
        now: the time; ISO 8601, UTC.

    Returns:
        None if no kept run measured that commit, or the text names several.
    """
    wanted = known.runs[-1].commit if commit == "latest" and known.runs else commit
    chosen = [run for run in known.runs if run.commit.startswith(wanted)]
    if len({run.commit for run in chosen}) != 1:
        return None
    level = level_of(chosen, sorted({name for run in chosen for name in run.values}), reason)
    return replace(kept_level(level, known.metrics), pinned=now)


def kept_level(level: Pin, metrics: Mapping[str, KnownMetric]) -> Pin:
    """A reference as it is kept."""
    groups: dict[str, dict[str, float]] = {}
    for name, value in level.values.items():
        if metric := metrics.get(name):
            kind = str(Kind(metric.unit, metric.better, metric.exact, metric.method, metric.few))
            groups.setdefault(kind, {})[name] = value
    return replace(level, values={}, groups=groups)


def _flat(groups: Mapping[str, Mapping[str, float]], units: _Units) -> Mapping[str, float]:
    """The values of all kinds, in the units that hold now."""
    converted = [_converted(group, Kind.read(kind), units) for kind, group in groups.items()]
    if len(converted) == 1:
        return converted[0]
    return {name: value for group in converted for name, value in group.items()}
