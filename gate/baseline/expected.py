"""(Memory, Ancestry) -> Baseline: what is expected at a commit. Pure.

Never a clock decides, nor the order of lines, nor which run ended last: what descends from another is nearer.
Only where git knows nothing, outside a repository, the dates of the reports do.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from gate.baseline import (
    EVERYTHING,
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
from gate.baseline.records import FLAKY, Kind, Memory, Record, SuiteRecords, each_once
from gate.units import UnitError, convert
from pytest_regression_gate.metrics import duration_name, subject_of

KEPT: Final = 2 * WINDOW
"""How many accepted runs of an environment are kept."""
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
    owners = {owner for file in files for owner in file.owners}
    renames, everything = _by_their_last_names([one for file in files for one in order.of(file)], order)
    facts = _Facts(everything, owners, order, renames)
    metrics, tests = facts.metrics(), facts.tests()
    exact = facts.exact(metrics)
    if unknown := _held_by(everything) - tests.keys() - metrics.keys():
        # the history was rewritten since: what was expected then is all that is known of them
        before = [one for file in files for one in order.of(file, lost=True)]
        _, before = _by_their_last_names(before, Order(None))
        lost = _Facts(before, owners, Order(None), renames)
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
                pins=_pins([_with_names(pin, renames) for pin in file.pins], runs, units),
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


def _by_their_last_names(placed: Sequence[Placed], order: Order) -> tuple[dict[str, str], list[Placed]]:
    """Records, the nearest last, with tests by their names of now; and these names, by older ones.

    A rename holds for all records that do not descend from it, on whichever branch they are.
    """
    found = sorted(placed, key=lambda one: one.key)
    renaming = [one for one in reversed(found) if one.record.moved]
    if not renaming:
        return {}, found
    nearer = order.nearer(found)

    def names_for(one: Placed | None) -> dict[str, str]:
        names: dict[str, str] = {}
        for other in renaming:
            if one is None or (other is not one and not nearer(one, other)):
                names |= {old: names.get(new, new) for new, old in other.record.moved.items()}
        return names

    return names_for(None), [_with_last_names(one, names_for(one)) for one in found]


def _with_last_names(one: Placed, names: Mapping[str, str]) -> Placed:
    old = {name: names[name] for name in one.outcomes.keys() | set(one.record.held) if name in names}
    if not old:
        return one
    durations = {duration_name(before): duration_name(now) for before, now in old.items()}
    record = replace(
        one.record,
        values=_grouped_by_last_names(one.record.values, durations),
        failures={old.get(n, n): signature for n, signature in one.record.failures.items()},
        held=tuple(old.get(n, durations.get(n, n)) for n in one.record.held),
        waived=tuple(
            replace(p, subject=old.get(p.subject, durations.get(p.subject, p.subject)))
            for p in one.record.waived
        ),
        improved=tuple(durations.get(n, n) for n in one.record.improved),
    )
    outcomes = {old.get(nodeid, nodeid): outcome for nodeid, outcome in one.outcomes.items()}
    return dataclasses.replace(one, record=record, outcomes=outcomes)


def _with_names(pin: Pin, names: Mapping[str, str]) -> Pin:
    """A reference with durations of tests by the names that they have now."""
    durations = {duration_name(before): duration_name(now) for before, now in names.items()}
    return replace(pin, groups=_grouped_by_last_names(pin.groups, durations)) if durations else pin


def _grouped_by_last_names(
    groups: Mapping[str, Mapping[str, float]], durations: Mapping[str, str]
) -> dict[str, dict[str, float]]:
    return {kind: {durations.get(n, n): v for n, v in group.items()} for kind, group in groups.items()}


class _Facts:
    """What the nearest records say of each metric and each test, in whichever environment."""

    def __init__(
        self,
        everything: Sequence[Placed],
        owners: Iterable[tuple[str, str]],
        order: Order,
        renames: Mapping[str, str],
    ) -> None:
        """Take a suite's records, the nearest last, (metric, nodeid) of what measures what, and new names."""
        self._nearest_first = everything[::-1]
        self._nearer = order.nearer(everything)
        self._owners: dict[str, list[str]] = {}
        for name, nodeid in sorted(owners):
            known = self._owners.setdefault(name, [])
            if (last := renames.get(nodeid, nodeid)) not in known:
                known.append(last)
        self._removing = [one for one in self._nearest_first if one.record.waived and not one.record.partial]
        self._counts: dict[str, list[tuple[Placed, Kind, float]]] = {}
        self.places: dict[str, str] = {}

    def _apart(self, one: Placed, other: Placed) -> bool:
        """Whether none of two records descends from the other."""
        return one.place == other.place or not (self._nearer(one, other) or self._nearer(other, one))

    def _is_gone(
        self,
        one: Placed,
        before: Iterable[Placed],
        subjects: Collection[str],
        lacks: Callable[[Placed], bool],
    ) -> bool:
        """Whether what a record tells of was accepted as gone since.

        In the same environment a nearer record that lacks it says so. For all environments, and for
        branches that do not know of it, somebody must have permitted it by name.
        """
        if any(not other.record.partial and lacks(other) and self._nearer(other, one) for other in before):
            return True
        return any(
            other is not one
            and any(p.subject in subjects and not p.alone for p in other.record.waived)
            and lacks(other)
            and not self._nearer(one, other)
            for other in self._removing
        )

    def metrics(self) -> dict[str, KnownMetric]:
        """What each metric is, by the nearest record that has it, without those accepted as gone."""
        told: dict[str, KnownMetric] = {}
        gone: set[str] = set()
        nearer: dict[str, list[Placed]] = {}
        for one in self._nearest_first:
            before = nearer.setdefault(one.environment, [])
            for text, values in one.record.values.items():
                kind = Kind.read(text)
                for name in () if values.keys() <= told.keys() else values.keys() - told.keys():
                    subjects = {name, subject_of(name), *self._owners.get(name, ())}
                    if self._is_gone(
                        one, before, subjects, lambda other, name=name: self._lacks(other, name)
                    ):
                        gone.add(name)
                        continue
                    self.places[name] = one.place
                    told[name] = KnownMetric(name, kind.unit, kind.better, self._owner(name, one), kind.exact)
                if kind.exact:
                    for name in values.keys() & told.keys():
                        claims = self._counts.setdefault(name, [])
                        if all(self._apart(one, other) for other, _, _ in claims):
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
            values: list[tuple[Placed, float]] = []
            for one, kind, value in claims:
                with suppress(UnitError):
                    values.append((one, convert(value, kind.unit, known.unit)))
            if len({value for _, value in values}) > 1:
                values = [v for v in values if self._rests_on_a_permission(*v, known)] or values
            if values:
                strictest = min if known.better == "lower" else max
                found[name] = strictest(value for _, value in values)
        return found

    def _rests_on_a_permission(self, one: Placed, value: float, known: KnownMetric) -> bool:
        """Whether somebody permitted the level of a work count, then or before; it has not fallen since."""
        sign = 1 if known.better == "lower" else -1
        for other in self._nearest_first:
            if other is not one and not self._nearer(one, other):
                continue
            for text, group in other.record.values.items():
                kind = Kind.read(text)
                if known.name in group and kind.exact:
                    with suppress(UnitError):
                        if sign * convert(group[known.name], kind.unit, known.unit) < sign * value:
                            return False
                    if _permission(other.record, known.name, subject_of(known.name)):
                        return True
        return False

    def tests(self) -> dict[str, KnownTest]:
        """What became of each test, without those accepted as gone."""
        told: dict[str, list[tuple[Placed, str]]] = {}
        weak: dict[str, dict[str, tuple[Placed, str]]] = {}
        passes: dict[str, list[str]] = {}
        over: set[str] = set()
        last: dict[str, dict[str, str]] = {}
        nearer: dict[str, list[Placed]] = {}

        def is_gone(one: Placed, nodeid: str) -> bool:
            before = nearer[one.environment]
            return self._is_gone(
                one,
                (other for other in before if other is not one),
                (nodeid,),
                lambda other: nodeid not in other.outcomes and nodeid not in other.record.held,
            )

        for one in self._nearest_first:
            before = nearer.setdefault(one.environment, [])
            created = one.record.created
            for nodeid, outcome in one.outcomes.items():
                if outcome in _SILENT or outcome == FLAKY:
                    weak.setdefault(nodeid, {}).setdefault(one.environment, (one, outcome))
                    if outcome == FLAKY:
                        over.add(nodeid)
                    continue
                last.setdefault(nodeid, {}).setdefault(one.environment, outcome)
                if nodeid not in over and outcome not in _FAILED:
                    passes.setdefault(nodeid, []).append(created)
                else:
                    over.add(nodeid)
                claims = told.get(nodeid)
                if claims is None:
                    if is_gone(one, nodeid):
                        continue
                    self.places[nodeid] = one.place
                    here = weak.get(nodeid, {}).get(one.environment)
                    skipped = here and here[1] != FLAKY and self._nearer(here[0], one)
                    told[nodeid] = [(one, here[1] if here and skipped else outcome)]
                elif all(self._apart(one, other) for other, _ in claims):
                    claims.append((one, outcome))
            before.append(one)
        for nodeid, by_environment in weak.items():
            claim = next(iter(by_environment.values()))
            if nodeid not in told and not is_gone(claim[0], nodeid):
                told[nodeid] = [claim]
        somewhere = {n for n, outcomes in last.items() if not _FAILED.isdisjoint(outcomes.values())}
        passes = {nodeid: when for nodeid, when in passes.items() if nodeid not in somewhere}
        return {n: _known(n, self._in_force(n, told[n]), passes.get(n, ())) for n in sorted(told)}

    def _in_force(self, nodeid: str, claims: Sequence[tuple[Placed, str]]) -> Sequence[tuple[Placed, str]]:
        """Of equally near records of a test those whose permission holds, if there are any.

        A permission is over where the test has passed in its environment since it was given.
        """
        passing = [one for one, outcome in claims if outcome not in _FAILED and outcome not in _SILENT]
        permitted: list[tuple[Placed, str]] = []
        for one, outcome in claims:
            if permission := _permission(one.record, nodeid):
                given = [o for o in self._removing if o.record.commit == permission.given]
                mended = [other for other in passing if other.environment == one.environment]
                if not any(self._nearer(other, first) for other in mended for first in given):
                    permitted.append((one, outcome))
        return permitted or claims


_STRICTEST: Final = ("passed", "xpassed", FLAKY, "failed", "error", "xfailed", "skipped")


def _known(nodeid: str, claims: Sequence[tuple[Placed, str]], passes: Sequence[str]) -> KnownTest:
    """A test by what equally near records say: the strictest."""
    one, outcome = min(claims, key=lambda claim: _STRICTEST.index(claim[1]))
    permission = _permission(one.record, nodeid) if outcome in _FAILED else None
    return KnownTest(
        nodeid=nodeid,
        outcome="passed" if outcome == FLAKY else outcome,  # pyright: ignore[reportArgumentType]
        signature=one.record.failures.get(nodeid, ""),
        permitted=replace(permission, given=permission.given or one.record.commit) if permission else None,
        passes=tuple(sorted(set(passes))) if outcome in {"passed", "xpassed"} else (),
    )


def _permission(record: Record, *subjects: str) -> Permission | None:
    """What permits one of some subjects; of several the one that lasts longest."""
    about = (one for one in record.waived if one.subject in {*subjects, EVERYTHING})
    return max(about, key=lambda one: (not one.until, one.until), default=None)


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
                if other.environment != environment and other.number <= one.number
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
    """The memory without what no reading at a commit, or near it, can use any more.

    A record beyond those kept goes, unless it is the nearest of its environment that tells of a test or of a
    metric. First levels stay as references. Records that have no place here stay. More are kept than are
    read, for branches that have left the history of the commit.

    Args:
        memory: all records.
        ancestry: the commits that the commit descends from; None: nobody knows.
    """
    order = Order(ancestry)
    baseline = expected(memory, ancestry)
    placed: dict[str, list[Placed]] = {}
    for file in memory.suites:
        placed.setdefault(file.suite, []).extend(order.of(file))
    named = {suite: _by_their_last_names(records, order)[1] for suite, records in placed.items()}
    return Memory(
        tuple(
            _without_old(
                file, [one for one in named[file.suite] if one.environment == file.environment.id], baseline
            )
            for file in memory.suites
        )
    )


def _without_old(file: SuiteRecords, placed: Sequence[Placed], baseline: Baseline) -> SuiteRecords:
    old = placed[:-KEPT]
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
    wanted = overall.tests.keys() | overall.metrics.keys()
    for one in placed[-KEPT:]:
        wanted -= _told(one)
    gone: set[str] = set()
    for one in reversed(old):
        if _told(one).isdisjoint(wanted) and not _decides_for_others(one.record):
            gone.add(one.record.measurement)
        wanted -= _told(one)
    # the lines of names stay: another branch may hold records that need them
    return replace(
        file,
        records=tuple(one for one in file.records if one.measurement not in gone),
    )


def _decides_for_others(record: Record) -> bool:
    """Whether it says what other environments and branches need: that something was renamed or removed."""
    return bool(record.moved) or any(not permission.given for permission in record.waived)


def _told(one: Placed) -> set[str]:
    """The tests that ran in a record, and its metrics."""
    ran = {nodeid for nodeid, outcome in one.outcomes.items() if outcome not in _SILENT and outcome != FLAKY}
    return ran.union(*one.record.values.values())


def _flat(groups: Mapping[str, Mapping[str, float]], units: _Units) -> Mapping[str, float]:
    """The values of all kinds, in the units that hold now."""
    converted = [_converted(group, Kind.read(kind).unit, units) for kind, group in groups.items()]
    if len(converted) == 1:
        return converted[0]
    return {name: value for group in converted for name, value in group.items()}
