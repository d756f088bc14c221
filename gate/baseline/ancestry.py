"""Where accepted runs stand in git's history, seen from one commit. Pure."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Self

from msgspec import structs

from gate.baseline.records import Record, SuiteRecords, short_id

_NOTHING: Final[Mapping[str, str]] = {}


class Ancestry:
    """The commits that a commit descends from, itself included."""

    def __init__(
        self,
        parents: Mapping[str, tuple[str, ...]],
        trees: Mapping[str, str],
        brought: Mapping[str, str] = _NOTHING,
    ) -> None:
        """Take the commits, youngest first, so that each comes before its parents.

        Args:
            parents: of each commit.
            trees: of each commit.
            brought: the commit that brought the record of a commit into the tree.
        """
        self._parents = parents
        self._trees = trees
        self._brought = brought
        self._number = {commit: len(parents) - index for index, commit in enumerate(parents)}

    @classmethod
    def parse(cls, log: Iterable[str]) -> Self:
        """Read the lines of `git log --topo-order --format='%H %T %P'`."""
        lines = [line.split() for line in log if line.strip()]
        return cls(
            {commit: tuple(parents) for commit, _, *parents in lines},
            {commit: tree for commit, tree, *_ in lines},
        )

    @cached_property
    def _of_tree(self) -> dict[str, list[str]]:
        """The commits of each tree, oldest first."""
        found: dict[str, list[str]] = {}
        for commit, tree in reversed(tuple(self._trees.items())):
            found.setdefault(tree, []).append(commit)
        return found

    def place(self, record: Record) -> str:
        """The commit that a record stands for here, or none.

        That is its own; or that of its tree; or the one that brought the record; or `onto`. What was merged
        as one commit is the first of its tree since `onto`. A later one that brings the tree back, as a
        revert does, is none that anybody accepted.
        """
        if record.commit in self._number:
            return record.commit
        onto = record.onto if record.onto in self._number else ""
        same = self._of_tree.get(record.tree, [])
        since = (one for one in same if self.number(one) >= self.number(onto))
        return next(since, same[-1] if same else self._brought.get(record.commit, onto))

    def has_own(self, record: Record) -> bool:
        """Whether a record's commit is one of these, or has the tree of one."""
        return record.commit in self._number or record.tree in self._of_tree

    def told_of(self, brought: Mapping[str, str]) -> Self:
        """The same history, with what brought records whose commits are no part of it."""
        return type(self)(self._parents, self._trees, brought)

    def number(self, commit: str) -> int:
        """Greater than that of all its ancestors; 0: it is none of these commits."""
        return self._number.get(commit, 0)

    def ancestors(self, places: Collection[str]) -> dict[str, int]:
        """Which of some places each of them descends from, itself included, as bits in their order."""
        bits = {place: 1 << index for index, place in enumerate(places)}
        reached: dict[str, int] = {}
        for commit in reversed(tuple(self._parents)):
            mask = bits.get(commit, 0)
            for parent in self._parents[commit]:
                mask |= reached.get(parent, 0)
            reached[commit] = mask
        return {place: reached.get(place, 0) for place in bits}


@dataclass(frozen=True)
class Placed:
    """A record where it stands."""

    record: Record
    environment: str
    place: str
    number: int
    """Greater is nearer."""
    outcomes: Mapping[str, str]
    uses: Mapping[str, str]

    @property
    def key(self) -> tuple[int, str, str]:
        """Sorts by nearness; of one place by date."""
        return self.number, self.record.created, self.record.commit


class Order:
    """How near records are, and which say the same thing about different histories."""

    def __init__(self, ancestry: Ancestry | None) -> None:
        self._ancestry = ancestry

    def of(self, suite: SuiteRecords, *, lost: bool = False) -> list[Placed]:
        """The records that count here, the nearest last; or those that have no place, by date."""
        names = {short_id(nodeid): nodeid for nodeid in suite.nodeids}
        found: dict[str, Placed] = {}
        same: dict[str, Mapping[str, str]] = {}
        for record in suite.read:
            place = self._ancestry.place(record) if self._ancestry else record.created
            if bool(place) is lost:
                continue
            place = place or record.created
            said = str(record.tests)
            outcomes = same.get(said) or same.setdefault(said, dict(record.outcomes(names)))
            number = self._ancestry.number(place) if self._ancestry else 0
            uses = suite.uses.get(record.uses, {})
            one = Placed(record, suite.environment.id, place, number, outcomes, uses)
            before = found.get(record.measurement)
            found[record.measurement] = _as_one(before, one) if before else one
        return sorted(found.values(), key=lambda one: one.key)

    def nearer(self, placed: Sequence[Placed]) -> Callable[[Placed, Placed], bool]:
        """Whether one of two records descends from the other; of one place, whether it is younger."""
        places = list(dict.fromkeys(one.place for one in placed))
        if self._ancestry is None:
            return lambda one, other: one.key > other.key
        bits = {place: 1 << index for index, place in enumerate(places)}
        reached = self._ancestry.ancestors(places)

        def nearer(one: Placed, other: Placed) -> bool:
            if one.place == other.place:
                return one.key > other.key
            return bool(reached[one.place] & bits[other.place])

        return nearer


def _as_one(one: Placed, other: Placed) -> Placed:
    """Two records of one measurement: what either let in, where the nearer one stands."""
    first, second = sorted((one, other), key=lambda placed: placed.key)
    a, b = first.record, second.record
    values = {kind: {**a.values.get(kind, {}), **b.values.get(kind, {})} for kind in {**a.values, **b.values}}
    record = structs.replace(
        b,
        values=values,
        failures={**a.failures, **b.failures},
        held=tuple(name for name in a.held if name in b.held),
        waived=tuple(dict.fromkeys((*a.waived, *b.waived))),
        improved=tuple(dict.fromkeys((*a.improved, *b.improved))),
    )
    return replace(second, record=record, outcomes={**first.outcomes, **second.outcomes})
