"""What the nearest records say of each test and each metric: claims, removals, permissions. Pure."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from msgspec.structs import replace

from gate.baseline import EVERYTHING, KnownMetric, KnownTest, Permission
from gate.baseline.ancestry import Order, Placed
from gate.baseline.records import FLAKY, Kind, Record
from gate.units import UnitError, convert
from pytest_regression_gate.metrics import subject_of

SILENT: Final = frozenset({"skipped", "xfailed"})
"""Outcomes of a test that says nothing of the code."""
_FAILED: Final = frozenset({"failed", "error"})


class Facts:
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
                        continue
                    self.places[name] = one.place
                    owner = self._owner(name, one)
                    told[name] = KnownMetric(
                        name, kind.unit, kind.better, owner, kind.exact, kind.method, kind.few
                    )
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
        return not any(outcome in SILENT or outcome in _FAILED for outcome in outcomes)

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
                if outcome in SILENT or outcome == FLAKY:
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
        passing = [one for one, outcome in claims if outcome not in _FAILED and outcome not in SILENT]
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
