"""What a comparison knows of each difference between its sides. Pure.

A comparison clears, and a failure on the base excuses, only where each side used its own of everything that
differs; see DESIGN.md §7.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Kind = Literal[
    "file", "project", "distribution", "variable", "environment", "service", "process", "outside", "test"
]
State = Literal["seen", "inert", "unaccounted"]


@dataclass(frozen=True)
class Difference:
    """Something that is not the same on both sides, or that both share though the change may reach it."""

    kind: Kind
    what: str
    """A file, a distribution with both versions, a variable, an address, a command."""
    state: State
    """`seen`: each side used its own. `inert`: no test reaches it. `unaccounted`: nobody can tell."""
    why: str = ""
    """What is in the way of telling: a sentence without its full stop."""
    remedy: str = ""


@dataclass(frozen=True)
class Reached:
    """What one test reaches of the differences."""

    touched: bool
    """It uses something that differs."""
    unaccounted: tuple[int, ...] = ()
    """Places in `Account.differences` of what cannot be told."""
    seen: tuple[int, ...] = ()
    """Places of what each side used its own of."""


@dataclass(frozen=True)
class Account:
    """The differences between base and head, and which test reaches which."""

    differences: tuple[Difference, ...] = ()
    tests: Mapping[str, Reached] = field(default_factory=dict[str, Reached])
    """By nodeid; of other tests nothing is known."""

    def unaccounted(self, nodeid: str) -> tuple[Difference, ...]:
        """What keeps the base from clearing or excusing a test."""
        reached = self.tests.get(nodeid)
        return tuple(self.differences[place] for place in reached.unaccounted) if reached else ()

    def seen(self, nodeid: str, *kinds: Kind) -> tuple[Difference, ...]:
        """What a test uses that is another one on each side: distributions, variables, ..."""
        reached = self.tests.get(nodeid)
        found = (self.differences[place] for place in reached.seen) if reached else ()
        return tuple(one for one in found if one.kind in kinds)

    def resting_on(self, names: Collection[str]) -> frozenset[str]:
        """Tests for which one of these differences is unaccounted (nodeids)."""
        places = {place for place, one in enumerate(self.differences) if one.what in names}
        return frozenset(
            test for test, reached in self.tests.items() if places.intersection(reached.unaccounted)
        )

    def untouched(self, nodeid: str) -> bool:
        """Whether a test surely reaches nothing that differs."""
        reached = self.tests.get(nodeid)
        return reached is not None and not reached.touched and not reached.unaccounted


NO_ACCOUNT: Final = Account()
"""Nobody looked: nothing is known to be untouched, and nothing to be unaccounted."""


def merged(accounts: Iterable[Account]) -> Account:
    """One account of several suites."""
    places: dict[Difference, int] = {}
    tests: dict[str, Reached] = {}
    for one in accounts:
        moved = {place: places.setdefault(what, len(places)) for place, what in enumerate(one.differences)}
        for test, reached in one.tests.items():
            before = tests.get(test, Reached(touched=False))  # two suites may run the same test
            tests[test] = Reached(
                reached.touched or before.touched,
                _each_once((*before.unaccounted, *(moved[place] for place in reached.unaccounted))),
                _each_once((*before.seen, *(moved[place] for place in reached.seen))),
            )
    return Account(tuple(places), tests)


def _each_once(places: Iterable[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(places))
