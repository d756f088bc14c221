"""Accepted runs as they are kept: records that never change. Two memories are joined by union. Pure."""

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, TypeVar

import msgspec
from msgspec.structs import replace

from gate.baseline import KnownMetric, Permission, Pin
from gate.model import Metric, SuiteRun, TestOutcome
from gate.units import Bounded
from pytest_regression_gate.metrics import Better, Environment, subject_of

_DIGITS: Final = 6
ID: Final = 10
"""Characters by which a record names a test: enough for a million tests."""
_SAME: Final[Mapping[str, str]] = {}
_NONE: Final[Mapping[str, KnownMetric]] = {}
_METHOD: Final = "method-"
_FEW: Final = "few"
_METHOD_WORD: Final = re.compile(rf"{_METHOD}([0-9]{{1,9}})")
FLAKY: Final = "flaky"
"""The outcome of a test that failed now and then."""


class Kind(msgspec.Struct, frozen=True):
    """What the values of a group of metrics are."""

    unit: str
    better: Better = "lower"
    exact: bool = False
    method: int = 1
    few: bool = False
    """They are percentiles of too few measurements to be compared."""

    def __str__(self) -> str:
        words = (
            self.unit,
            *(["higher"] * (self.better == "higher")),
            *(["exact"] * self.exact),
            *([f"{_METHOD}{self.method}"] * (self.method != 1)),
            *([_FEW] * self.few),
        )
        return " ".join(words)

    @staticmethod
    def read(text: str) -> "Kind":
        """The kind that a record names; a unit that nobody knows may be of several words."""
        words = text.split(" ")
        few = _ends(words, _FEW)
        method = _METHOD_WORD.fullmatch(words[-1]) if len(words) > 1 else None
        if method:
            words.pop()
        exact = _ends(words, "exact")
        better: Better = "higher" if _ends(words, "higher") else "lower"
        return Kind(" ".join(words), better, exact, int(method[1]) if method else 1, few)


def _ends(words: list[str], word: str) -> bool:
    """Whether a word follows the first one at the end; it is taken away."""
    return len(words) > 1 and words[-1] == word and bool(words.pop())


class Where(msgspec.Struct, frozen=True):
    """What is stored of a commit, so that it is found again after a squash or a rebase."""

    commit: str
    tree: str = ""
    onto: str = ""
    """The tip of the branch that it was accepted for."""


class Record(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="accepted"):
    """One accepted run of a suite, without what was held back."""

    commit: str
    created: str
    """ISO 8601, UTC, when the report was written."""
    values: dict[str, dict[str, Bounded]] = {}
    """By kind (`ms`, `count exact`, `rps higher method-2`), by metric."""
    tests: dict[str, str] = {}
    """By outcome: the tests, by `short_id`, one after the other."""
    failures: dict[str, str] = {}
    """How the failed ones failed: signature, by nodeid."""
    held: tuple[str, ...] = ()
    """Metrics and tests of which nothing was accepted: what was expected of them stays."""
    source: str = ""
    """Which run of a workflow measured it."""
    attempt: int = 0
    """Which attempt of that run; the highest counts."""
    tree: str = ""
    onto: str = ""
    report: str = ""
    """Hash of what was measured."""
    waived: tuple[Permission, ...] = ()
    """What got worse and was permitted."""
    improved: tuple[str, ...] = ()
    """Metrics that a verdict called better."""
    uses: str = ""
    """What it ran with: a key of `SuiteRecords.uses`."""
    moved: dict[str, str] = {}
    """Which of its tests earlier records know by another name: theirs, by nodeid."""
    partial: bool = False
    """Never written: whether it says nothing of what it does not name."""

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two records the same one."""
        what = self.held, self.waived, self.improved
        return *self.identity, self.source, self.attempt, *what

    @property
    def identity(self) -> tuple[str, str, str]:
        """What a removal names it by."""
        return self.commit, self.created, self.report

    @property
    def measurement(self) -> str:
        """The same for two records of one measurement."""
        return self.report or f"{self.created} {self.commit}"

    @property
    def metric_count(self) -> int:
        """How many values it holds."""
        return sum(map(len, self.values.values()))

    @property
    def test_count(self) -> int:
        """How many tests it tells of."""
        return sum(map(len, self.tests.values())) // ID

    def outcomes(self, names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """(nodeid, outcome) of its tests, given their nodeids by `short_id`."""
        for outcome, joined in self.tests.items():
            for one in ids_in(joined):
                if nodeid := names.get(one):
                    yield nodeid, outcome


class Removal(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="removed"):
    """A record that is not to be read any more; never taken back."""

    commit: str
    created: str
    reason: str
    report: str = ""

    @property
    def removes(self) -> tuple[str, str, str]:
        """The `identity` of the record that it is about."""
        return self.commit, self.created, self.report


class SuiteRecords(msgspec.Struct, frozen=True):
    """The records of one suite in one environment."""

    suite: str
    environment: Environment
    records: tuple[Record, ...] = ()
    owners: frozenset[tuple[str, str]] = frozenset()
    """(metric, nodeid of the test that measures it); of a test that was renamed both."""
    nodeids: frozenset[str] = frozenset()
    pins: tuple[Pin, ...] = ()
    removals: tuple[Removal, ...] = ()
    uses: Mapping[str, Mapping[str, str]] = {}
    """What runs ran with beside the code, by a hash of it."""

    @property
    def kept(self) -> tuple[Record, ...]:
        """Those that were not removed."""
        gone = {one.removes for one in self.removals}
        return tuple(one for one in self.records if one.identity not in gone)

    @property
    def count(self) -> int:
        """How many measurements are read."""
        return len({one.measurement for one in self.read})

    @property
    def read(self) -> tuple[Record, ...]:
        """The records that count: none that was removed, of one run's attempts the last.

        Of what the last attempt held back the one before it tells.
        """
        kept = self.kept
        attempts: dict[tuple[str, str], list[Record]] = {}
        for one in kept:
            if one.source:
                attempts.setdefault((one.source, one.commit), []).append(one)
        earlier: dict[int, Record | None] = {}
        for of_run in attempts.values():
            of_run.sort(key=lambda one: (one.attempt, one.created), reverse=True)
            last = of_run[0].attempt, of_run[0].created
            held = set(of_run[0].held)
            for one in of_run:
                if (one.attempt, one.created) != last:
                    earlier[id(one)] = self._about(one, held) if held else None
                    held.intersection_update(one.held)
        read = (earlier.get(id(one), one) for one in kept)
        return tuple(one for one in read if one is not None)

    def _about(self, record: Record, names: Collection[str]) -> Record:
        """What a record says of some metrics and tests alone."""
        ids = {short_id(name) for name in names}
        tests = {
            outcome: "".join(one for one in ids_in(joined) if one in ids)
            for outcome, joined in record.tests.items()
        }
        values = {
            kind: {n: v for n, v in group.items() if n in names or subject_of(n) in names}
            for kind, group in record.values.items()
        }
        return replace(
            record,
            tests={outcome: joined for outcome, joined in tests.items() if joined},
            values={kind: group for kind, group in values.items() if group},
            partial=True,
        )


class Memory(msgspec.Struct, frozen=True):
    """All records, by suite and environment."""

    suites: tuple[SuiteRecords, ...] = ()

    def of(self, suite: str, environment: Environment) -> SuiteRecords | None:
        """Those of a suite in one environment; what an older file does not say of it is no difference."""
        found = [s for s in self.suites if s.suite == suite and not environment.differences(s.environment)]
        return next((s for s in found if s.environment == environment), found[0] if found else None)


def ids_in(joined: str) -> Iterator[str]:
    """The tests that a record names one after the other, each by its `short_id`."""
    return (joined[at : at + ID] for at in range(0, len(joined), ID))


def short_id(nodeid: str) -> str:
    """How records name a test."""
    return hashlib.sha256(nodeid.encode("utf-8", "surrogatepass")).hexdigest()[:ID]


def uses_id(uses: Mapping[str, str]) -> str:
    """How records name what they ran with."""
    return hashlib.sha256(msgspec.json.encode(uses, order="deterministic")).hexdigest()[:ID]


def record_of(
    run: SuiteRun,
    where: Where,
    *,
    held: Collection[str] = (),
    waived: tuple[Permission, ...] = (),
    improved: tuple[str, ...] = (),
    flaky: Collection[str] = (),
    unjudged: Collection[str] = (),
    like: Mapping[str, KnownMetric] = _NONE,
    moved: Mapping[str, str] = _SAME,
    source: str = "",
    attempt: int = 0,
) -> SuiteRecords:
    """The record of a suite's run, and the names that go with it.

    Args:
        run: the run.
        where: what it measured.
        held: metrics, with or without their statistic, and tests that are not let in.
        waived: what got worse and was permitted.
        improved: metrics that a verdict called better.
        flaky: tests that failed now and then (nodeids).
        unjudged: tests of which nobody could judge the metrics (nodeids): no value of them is kept.
        moved: which tests earlier records know by another name: theirs, by nodeid.
        like: metrics whose direction and method stay as they are known, whatever the run says.
        source: which run of a workflow measured it.
        attempt: which attempt of that run.
    """
    out = {*held, *unjudged}
    values: dict[str, dict[str, Bounded]] = {}
    for name, metric in sorted(run.metrics.items()):
        if not _is_out(metric, out):
            known = like.get(name, metric)
            kind = str(Kind(metric.unit, known.better, known.exact, metric.method, metric.few))
            values.setdefault(kind, {})[name] = _rounded(metric)
    tests: dict[str, list[str]] = {}
    for nodeid, test in sorted(run.tests.items()):
        if nodeid not in held:
            outcome = FLAKY if (test.flaky and not test.silent) or nodeid in flaky else test.outcome
            tests.setdefault(outcome, []).append(short_id(nodeid))
    failed = {n: t for n, t in run.tests.items() if t.failed and n not in held and n not in flaky}
    record = Record(
        commit=where.commit,
        created=created_of(run),
        values=dict(sorted(values.items())),
        tests={outcome: "".join(ids) for outcome, ids in sorted(tests.items())},
        failures={nodeid: _signature(test) for nodeid, test in sorted(failed.items())},
        held=tuple(sorted({*held, *(m.name for m in run.metrics.values() if m.nodeid in unjudged)})),
        source=source,
        attempt=attempt,
        tree=where.tree,
        onto=where.onto,
        report=hash_of(run),
        waived=waived,
        improved=improved,
        uses=uses_id(run.uses) if run.uses else "",
        moved={new: old for new, old in sorted(moved.items()) if new in run.tests},
    )
    owners = frozenset((metric.name, metric.nodeid) for metric in run.metrics.values())
    uses = {record.uses: run.uses} if record.uses else {}
    return SuiteRecords(run.name, run.environment, (record,), owners, frozenset(run.tests), uses=uses)


def _is_out(metric: Metric, out: Collection[str]) -> bool:
    return metric.name in out or subject_of(metric.name) in out or metric.nodeid in out


def _signature(test: TestOutcome) -> str:
    return test.failure.signature if test.failure else ""


def created_of(run: SuiteRun) -> str:
    """When a run's report was written; ISO 8601, UTC."""
    moment = datetime.fromtimestamp(run.created, UTC).isoformat(timespec="milliseconds")
    return moment.replace("+00:00", "Z")


def hash_of(run: SuiteRun) -> str:
    """What tells one measurement from another: 16 hex digits of a hash over all that it says."""
    measured = (run.name, run.environment, run.created, run.commit, run.tests, run.metrics)
    return hashlib.sha256(msgspec.json.encode(measured, order="deterministic")).hexdigest()[:16]


def _rounded(metric: Metric) -> float:
    """A measured value to the digits that mean something; a work count as it is."""
    return metric.value if metric.exact else float(f"{metric.value:.{_DIGITS}g}")


def united(memories: Iterable[Memory]) -> Memory:
    """What is in any of them, once; their order makes no difference."""
    found: dict[tuple[str, str], SuiteRecords] = {}
    for suite in (suite for memory in memories for suite in memory.suites):
        key = suite.suite, suite.environment.id
        found[key] = joined(found[key], suite) if key in found else suite
    return Memory(tuple(found[key] for key in sorted(found)))


def joined(one: SuiteRecords, other: SuiteRecords) -> SuiteRecords:
    """The lines of both, each once."""
    return replace(
        one,
        records=in_order((*one.records, *other.records)),
        owners=one.owners | other.owners,
        nodeids=one.nodeids | other.nodeids,
        pins=each_once((*one.pins, *other.pins)),
        removals=each_once((*one.removals, *other.removals)),
        uses={**one.uses, **other.uses},
    )


def removed_before(known: Memory, fresh: Memory) -> Removal | None:
    """The removal of a record that is to be accepted anew: it would be removed at once."""
    gone = {one.removes: one for suite in known.suites for one in suite.removals}
    new = (record.identity for suite in fresh.suites for record in suite.records)
    return next((gone[identity] for identity in new if identity in gone), None)


def replaced(known: Memory, fresh: Memory, reason: str) -> Memory:
    """The memory after some suites were begun anew where they were measured: the rest there is removed."""
    gone: list[SuiteRecords] = []
    for suite in fresh.suites:
        before = known.of(suite.suite, suite.environment)
        where = before.environment if before else suite.environment
        kept = {one.identity for one in suite.records}
        removals = tuple(
            Removal(one.commit, one.created, reason, one.report)
            for one in (before.records if before else ())
            if one.identity not in kept
        )
        gone.append(SuiteRecords(suite.suite, where, removals=removals))
    return without_removed(united([known, Memory(tuple(gone)), fresh]))


def without_removed(memory: Memory) -> Memory:
    """The memory without what removals are about; they stay, so that it does not come back."""
    return Memory(tuple(replace(suite, records=suite.kept) for suite in memory.suites))


def in_order(records: Iterable[Record]) -> tuple[Record, ...]:
    """Records as a file holds them, each once: by date, then by all that tells them apart."""
    found: dict[tuple[object, ...], Record] = {}
    for one in records:
        same = found.setdefault(one.key, one)
        if same is not one and same != one:
            found[one.key] = max(same, one, key=_line)
    return tuple(sorted(found.values(), key=lambda one: (one.created, one.commit, str(one.key))))


_Line = TypeVar("_Line", Pin, Removal)


def each_once(lines: Iterable[_Line]) -> tuple[_Line, ...]:
    """Lines as a file holds them, each once."""
    return tuple(one for _, one in sorted({_line(line): line for line in lines}.items()))


def _line(one: Record | Pin | Removal) -> bytes:
    return msgspec.json.encode(one, order="deterministic")
