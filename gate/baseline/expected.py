"""(Memory, Ancestry) -> Baseline: what is expected at a commit. Pure.

Never a clock decides, nor the order of lines, nor which run ended last: what descends from another is nearer.
Only where git knows nothing, outside a repository, the dates of the reports do.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from gate.baseline import (
    FIRST_RUNS,
    WINDOW,
    AcceptedRun,
    Baseline,
    KnownMetric,
    KnownTest,
    Permission,
    Pin,
    SuiteBaseline,
    level_of,
)  # fmt: skip
from gate.baseline.ancestry import Ancestry, Order, Placed
from gate.baseline.records import FLAKY, ID, Kind, Memory, Record, SuiteRecords, each_once, short_id
from gate.units import UnitError, convert
from pytest_regression_gate.metrics import subject_of

_SILENT: Final = frozenset({"skipped", "xfailed"})
_FAILED: Final = frozenset({"failed", "error"})


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
    placed = [order.of(file) for file in files]
    everything = sorted((one for records in placed for one in records), key=lambda one: one.key)
    facts = _Facts(everything, {owner for file in files for owner in file.owners}, order)
    metrics, tests = facts.metrics(), facts.tests()
    mixed = {file.environment.id for file in files if file.environment.mixed}
    units = _units(metrics)
    flat = {id(one): _run(one, units, exact=one.environment in mixed) for one in everything}
    views: list[SuiteBaseline] = []
    for file, records in zip(files, placed, strict=True):
        if not records and not file.pins:
            continue
        runs = [flat[id(one)] for one in records]
        named = set[str]().union(*(run.values.keys() for run in runs[-WINDOW:]))
        views.append(
            SuiteBaseline(
                suite=file.suite,
                environment=file.environment,
                metrics={name: known for name, known in metrics.items() if name in named},
                tests={n: t for n, t in tests.items() if records and n in records[-1].outcomes},
                runs=tuple(runs[-WINDOW:]),
                pins=_pins(file.pins, runs, units),
            )
        )
    overall = SuiteBaseline(
        suite=files[0].suite,
        environment=files[0].environment,
        metrics=metrics,
        tests=tests,
        runs=tuple(flat[id(one)] for one in everything),
        places=facts.places,
        exact=facts.exact(metrics),
        ran=_ran(everything),
        skips=_skips(everything),
        lacks=_lacks(everything, tests),
    )
    return views, overall


class _Facts:
    """What the nearest records say of each metric and each test, in whichever environment."""

    def __init__(self, everything: Sequence[Placed], owners: Iterable[tuple[str, str]], order: Order) -> None:
        """Take a suite's records, the nearest last, and (metric, nodeid) of what measures what."""
        self._nearest_first = everything[::-1]
        self._apart = order.rivals(everything)
        self._owners: dict[str, list[str]] = {}
        for name, nodeid in sorted(owners):
            self._owners.setdefault(name, []).append(nodeid)
        self._counts: dict[str, list[tuple[Placed, Kind, float]]] = {}
        self.places: dict[str, str] = {}

    def metrics(self) -> dict[str, KnownMetric]:
        """What each metric is, by the nearest record that has it, without those accepted as gone."""
        told: dict[str, KnownMetric] = {}
        gone: set[str] = set()
        nearer: dict[str, list[Placed]] = {}
        for one in self._nearest_first:
            before = nearer.setdefault(one.environment, [])
            for text, values in one.record.values.items():
                kind = Kind.read(text)
                for name in () if values.keys() <= told.keys() else values.keys() - told.keys() - gone:
                    if any(self._lacks(other, name) for other in before):
                        gone.add(name)
                        continue
                    self.places[name] = one.place
                    told[name] = KnownMetric(name, kind.unit, kind.better, self._owner(name, one), kind.exact)
                if kind.exact:
                    for name in values.keys() - gone:
                        claims = self._counts.setdefault(name, [])
                        if all(self._apart(one.place, other.place) for other, _, _ in claims):
                            claims.append((one, kind, values[name]))
            before.append(one)
        return {name: told[name] for name in sorted(told)}

    def _owner(self, name: str, one: Placed) -> str:
        known = self._owners.get(name, [""])
        return next((nodeid for nodeid in known if nodeid in one.outcomes), known[-1])

    def _lacks(self, one: Placed, name: str) -> bool:
        """Whether a record says that there is no such metric: its test ran, and nothing was held back."""
        record = one.record
        if any(name in values for values in record.values.values()):
            return False
        owners = self._owners.get(name, [])
        if name in record.held or subject_of(name) in record.held or any(n in record.held for n in owners):
            return False
        outcomes = [one.outcomes[nodeid] for nodeid in owners if nodeid in one.outcomes]
        return not any(outcome in _SILENT or outcome in _FAILED for outcome in outcomes)

    def exact(self, metrics: Mapping[str, KnownMetric]) -> dict[str, float]:
        """The value of each work count: of equally near ones the permitted, or else the strictest."""
        found: dict[str, float] = {}
        for name, claims in self._counts.items():
            known = metrics.get(name)
            if known is None or not known.exact:
                continue
            permitted = [one for one in claims if _permission(one[0].record, name, subject_of(name))]
            values: list[float] = []
            for _, kind, value in permitted or claims:
                with suppress(UnitError):
                    values.append(convert(value, kind.unit, known.unit))
            if values:
                found[name] = min(values) if known.better == "lower" else max(values)
        return found

    def tests(self) -> dict[str, KnownTest]:
        """What became of each test, without those accepted as gone."""
        told: dict[str, list[tuple[Placed, str]]] = {}
        weak: dict[str, dict[str, tuple[Placed, str]]] = {}
        gone: set[str] = set()
        passes: dict[str, list[str]] = {}
        over: set[str] = set()
        nearer: dict[str, list[Placed]] = {}
        for one in self._nearest_first:
            before = nearer.setdefault(one.environment, [])
            created = one.record.created
            for nodeid, outcome in one.outcomes.items():
                if nodeid in gone:
                    continue
                if outcome in _SILENT or outcome == FLAKY:
                    weak.setdefault(nodeid, {}).setdefault(one.environment, (one, outcome))
                    if outcome == FLAKY:
                        over.add(nodeid)
                    continue
                if nodeid not in over and outcome not in _FAILED:
                    passes.setdefault(nodeid, []).append(created)
                else:
                    over.add(nodeid)
                claims = told.get(nodeid)
                if claims is None:
                    if any(nodeid not in b.outcomes and nodeid not in b.record.held for b in before):
                        gone.add(nodeid)
                        continue
                    self.places[nodeid] = one.place
                    here = weak.get(nodeid, {}).get(one.environment)
                    told[nodeid] = [here if here and here[1] != FLAKY else (one, outcome)]
                elif all(self._apart(one.place, other.place) for other, _ in claims):
                    claims.append((one, outcome))
            before.append(one)
        for nodeid, by_environment in weak.items():
            if nodeid not in told and nodeid not in gone:
                told[nodeid] = [next(iter(by_environment.values()))]
        return {n: _known(n, told[n], passes.get(n, [])) for n in sorted(told)}


_STRICTEST: Final = ("passed", "xpassed", FLAKY, "failed", "error", "xfailed", "skipped")


def _known(nodeid: str, claims: Sequence[tuple[Placed, str]], passes: Sequence[str]) -> KnownTest:
    """A test by what equally near records say: what somebody permitted, or else the strictest."""
    permitted = [claim for claim in claims if _permission(claim[0].record, nodeid)]
    one, outcome = min(permitted or claims, key=lambda claim: _STRICTEST.index(claim[1]))
    return KnownTest(
        nodeid=nodeid,
        outcome="passed" if outcome == FLAKY else outcome,  # pyright: ignore[reportArgumentType]
        signature=one.record.failures.get(nodeid, ""),
        permitted=_permission(one.record, nodeid) if outcome in _FAILED else None,
        passes=tuple(sorted(set(passes))) if outcome in {"passed", "xpassed"} else (),
    )


def _permission(record: Record, *subjects: str) -> Permission | None:
    return next((one for one in record.waived if one.subject in subjects), None)


def _ran(everything: Sequence[Placed]) -> dict[str, frozenset[str]]:
    """Tests that ever ran in an environment, by its id."""
    found: dict[str, set[str]] = {}
    for one in everything:
        ran = (nodeid for nodeid, outcome in one.outcomes.items() if outcome not in _SILENT)
        found.setdefault(one.environment, set()).update(ran)
    return {environment: frozenset(tests) for environment, tests in found.items()}


def _skips(everything: Sequence[Placed]) -> dict[str, frozenset[str]]:
    """Tests that the nearest record of an environment skips, by its id."""
    return {
        environment: frozenset(nodeid for nodeid, outcome in one.outcomes.items() if outcome in _SILENT)
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
                if other.environment != environment and other.key <= one.key
            ]
        found[environment] = frozenset(n for n in absent if any(n in outcomes for outcomes in elsewhere))
    return found


def _nearest(everything: Sequence[Placed]) -> dict[str, Placed]:
    """The nearest record of each environment."""
    return {one.environment: one for one in everything}


@dataclass(frozen=True)
class _Units:
    """The units that hold now."""

    of: Mapping[str, str]
    """By metric."""
    named: Mapping[str, AbstractSet[str]]
    """The metrics in each unit."""


def _units(metrics: Mapping[str, KnownMetric]) -> _Units:
    named: dict[str, set[str]] = {}
    for name, known in metrics.items():
        named.setdefault(known.unit, set()).add(name)
    return _Units({name: known.unit for name, known in metrics.items()}, named)


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


def _converted(values: Mapping[str, float], unit: str, units: _Units) -> Mapping[str, float]:
    """Values in the units that hold now; those that measured something else are left out."""
    if values.keys() <= units.named.get(unit, frozenset()):
        return values
    found: dict[str, float] = {}
    for name, value in values.items():
        with suppress(UnitError):
            found[name] = convert(value, unit, units.of.get(name, unit))
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
    return replace(_kept(level, known.metrics), pinned=now)


def _kept(level: Pin, metrics: Mapping[str, KnownMetric]) -> Pin:
    """A reference as it is kept."""
    groups: dict[str, dict[str, float]] = {}
    for name, value in level.values.items():
        if metric := metrics.get(name):
            kind = str(Kind(metric.unit, metric.better, metric.exact))
            groups.setdefault(kind, {})[name] = value
    return replace(level, values={}, groups=groups)


def pruned(memory: Memory, ancestry: Ancestry | None = None) -> Memory:
    """The memory without what no reading at a commit can use any more.

    A record beyond the window goes, unless it is the nearest of its environment that tells of a test or of a
    work count. First levels stay as references. Records that have no place here stay.

    Args:
        memory: all records.
        ancestry: the commits that the commit descends from; None: nobody knows.
    """
    order = Order(ancestry)
    baseline = expected(memory, ancestry)
    return Memory(tuple(_without_old(file, order, baseline) for file in memory.suites))


def _without_old(file: SuiteRecords, order: Order, baseline: Baseline) -> SuiteRecords:
    placed = order.of(file)
    old = placed[:-WINDOW]
    overall, view = baseline.latest(file.suite), baseline.exactly_on(file.suite, file.environment)
    if not overall or not view:
        return file
    stored = {name for pin in file.pins for group in pin.groups.values() for name in group}
    levels = [
        _kept(pin, view.metrics) for pin in view.pins if not pin.reason and not pin.values.keys() <= stored
    ]
    file = replace(file, pins=each_once((*file.pins, *levels)))
    if not old:
        return file
    wanted = overall.tests.keys() | overall.exact.keys()
    for one in placed[-WINDOW:]:
        wanted -= _told(one)
    gone: set[str] = set()
    for one in reversed(old):
        if _told(one).isdisjoint(wanted):
            gone.add(one.record.measurement)
        wanted -= _told(one)
    records = tuple(one for one in file.records if one.measurement not in gone)
    kept = {name for record in records for group in record.values.values() for name in group}
    ids = {
        joined[at : at + ID]
        for r in records
        for joined in r.tests.values()
        for at in range(0, len(joined), ID)
    }
    return replace(
        file,
        records=records,
        owners=frozenset(owner for owner in file.owners if owner[0] in kept),
        nodeids=frozenset(nodeid for nodeid in file.nodeids if short_id(nodeid) in ids),
        uses={key: uses for key, uses in file.uses.items() if any(one.uses == key for one in records)},
    )


def _told(one: Placed) -> set[str]:
    """The tests that ran in a record, and its work counts."""
    ran = {nodeid for nodeid, outcome in one.outcomes.items() if outcome not in _SILENT and outcome != FLAKY}
    exact = (group for kind, group in one.record.values.items() if Kind.read(kind).exact)
    return ran.union(*exact)


def _flat(groups: Mapping[str, Mapping[str, float]], units: _Units) -> Mapping[str, float]:
    """The values of all kinds, in the units that hold now."""
    converted = [_converted(group, Kind.read(kind).unit, units) for kind, group in groups.items()]
    if len(converted) == 1:
        return converted[0]
    return {name: value for group in converted for name, value in group.items()}
