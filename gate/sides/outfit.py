"""What is found out about one side, and made for it: its environment, and what it has other than that."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import msgspec

from gate.accounts import Difference
from gate.sides.change import Change
from gate.sides.overlay import Recipe, for_pip, make_overlay
from gate.sides.probe import Distribution, Environment, Silence, normalised
from gate.sides.side import Side
from pytest_regression_gate.probe import distributions_in

INSTALL: Final = "say how to install the base's own environment: install: in thresholds.yaml"


@dataclass
class Outfit:
    """What is found out about one side, and made for it."""

    side: Side
    change: Change
    """Between its tree and the work tree, of whose environment everything begins."""
    environment: Environment
    own: bool = False
    """Its environment was made for it."""
    requirements: dict[str, str] = field(default_factory=dict[str, str])
    """By name, as pip takes them."""
    constraints: tuple[str, ...] = ()
    wheels: dict[str, Path] = field(default_factory=dict[str, Path])
    editable: dict[str, Path] = field(default_factory=dict[str, Path])
    missing: dict[str, str] = field(default_factory=dict[str, str])
    """Distributions that it should have and has not -> why."""
    named: dict[str, str] = field(default_factory=dict[str, str])
    """The version that a file names for some of them."""
    files: dict[str, str] = field(default_factory=dict[str, str])
    """Distributions -> the file of the change that says so."""
    added: Mapping[str, str] = field(default_factory=dict[str, str])
    """What the work tree alone asks for -> the file that does."""
    differences: list[Difference] = field(default_factory=list[Difference])

    @property
    def moved(self) -> bool:
        """Whether its tree is another than the work tree."""
        return self.side.tree != self.side.top

    def distributions(self) -> dict[str, Distribution]:
        """What it has installed, by name."""
        there = dict(self.environment.by_name)
        if self.side.overlay:
            found = msgspec.convert(distributions_in(self.side.overlay.packages), list[Distribution])
            there |= {normalised(one.name): one for one in found}
        return there

    def lay_over(self, requirements: Mapping[str, str]) -> None:
        """Give the side its overlay, with these distributions from an index.

        Raises:
            OverlayError: something cannot be installed; then it has the overlay that it had.
        """
        recipe = Recipe(
            self.environment,
            tuple(requirements.values()),
            self.constraints if requirements else (),
            tuple(self.wheels.values()),
            tuple(self.editable.values()),
        )
        if not recipe.empty:
            overlay = make_overlay(recipe, self.side.scratch, for_pip(self.side))
            self.side = replace(self.side, overlay=overlay)


def silent(found: Silence, side: str = "") -> Difference:
    """That the pytest of a suite, or of a side of it, did not say which environment it runs in."""
    whose = f"the {side}'s" if side else "the suite's"
    last = found.log.rpartition("\n")[2]
    return Difference(
        "environment",
        "the environment of pytest",
        "unaccounted",
        f"{whose} pytest did not say which environment it runs in{': ' * bool(last)}{last}",
        "install regression-gate beside the pytest of the suite",
    )
