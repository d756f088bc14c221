"""Gives each side its own code and its own dependencies, where both would use what the head has installed."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gate.accounts import Difference
from gate.git import changed_files, head_commit
from gate.imports import SHARED
from gate.policy import Policy
from gate.sides.change import Change, running_workflow
from gate.sides.manifests import is_manifest, project_names
from gate.sides.outfit import INSTALL, Outfit, silent
from gate.sides.overlay import OverlayError
from gate.sides.own_code import build, find_editable
from gate.sides.own_dependencies import find_dependencies
from gate.sides.probe import Distribution, Environment, Silence, probe
from gate.sides.projects import OURS, Project, installed_files, own_projects, top_levels
from gate.sides.side import Side
from gate.sides.variables import edited_variables, sets_variables

_MAKERS: Final = frozenset({".tox", ".nox"})
"""Directories of tools that make an environment for each tree by themselves."""
_PYTEST: Final = re.compile(r".*?\b(?:pytest|py\.test)\b", re.DOTALL)


@dataclass(frozen=True)
class Replaced:
    """A distribution that is not the same on both sides, or would not be."""

    name: str
    before: str
    """The version on the base; empty: none."""
    after: str
    places: frozenset[str]
    """What differs in `site-packages`: files, or names of packages."""
    shared: str = ""
    """Why both sides have that of the head; empty: each has its own."""
    file: str = ""
    """The file of the change that says so."""
    project: bool = False
    """It is the repository's own."""
    roots: frozenset[str] = frozenset()
    """The directories that it is installed in."""

    @property
    def what(self) -> str:
        """Name and versions."""
        if not (self.before or self.after):
            return self.name
        versions = dict.fromkeys((self.before or "none", self.after or "none"))
        return f"{self.name} {' → '.join(versions)}"


@dataclass(frozen=True)
class Equipped:
    """Both sides of a suite's command, each with its own."""

    sides: tuple[Side, Side]
    replaced: tuple[Replaced, ...] = ()
    differences: tuple[Difference, ...] = ()
    """Of the environment as a whole: unaccounted, or variables that each side has of its own."""
    prefix: str = ""
    """The environment of the work tree; empty: it is not known."""
    projects: frozenset[str] = frozenset()
    """Names of the repository's own projects, whether they are installed or not."""

    @property
    def head_files(self) -> frozenset[str]:
        """Files that the head has installed, of distributions that the base has in another version."""
        overlay = self.sides[0].overlay
        own = str(overlay.packages) if overlay else ""
        places = (
            Path(root, place)
            for one in self.replaced
            if not one.shared
            for root in one.roots - {own}
            if not root.startswith(f"{self.sides[0].tree}/")
            for place in one.places
            if not place.endswith((".dist-info", ".egg-info"))
        )
        files = (file for place in places for file in (place.rglob("*") if place.is_dir() else [place]))
        return frozenset(str(file) for file in files if file.is_file() and file.suffix != ".pyc")

    @property
    def unaccounted(self) -> tuple[Difference, ...]:
        """What both sides share though it differs, whether a test reaches it or not."""
        replaced = (
            Difference("distribution", one.what, "unaccounted", one.shared, INSTALL)
            for one in self.replaced
            if one.shared
        )
        return (*(one for one in self.differences if one.state == "unaccounted"), *replaced)


def equip_all(
    pair: tuple[Side, Side],
    commands: Iterable[str],
    policy: Policy,
    listen: Callable[[str], None] = lambda _: None,
) -> dict[str, Equipped]:
    """Let each side use its own code, dependencies and variables, for the commands of some suites.

    Commands that start the same pytest have the same environment.

    Args:
        pair: base and head, as they were checked out.
        commands: of suites.
        policy: says what a suite needs beside it, and how the dependencies of a tree are installed into a new
            environment; without that pip replaces what differs.
        listen: called with a line before something is installed.

    Raises:
        GitError: a tree cannot be read.
        LaunchError: the base's dependencies cannot be installed with the given command.
    """
    by_start: dict[str, Equipped] = {}
    equipped: dict[str, Equipped] = {}
    for command in commands:
        match = _PYTEST.match(command)
        start = match[0] if match else command
        if start not in by_start:
            by_start[start] = _equip(pair, command, policy.install, listen)
        found, services = by_start[start], policy.services_of(command)
        base, head = (replace(side, services=services) for side in found.sides)
        equipped[command] = replace(found, sides=(base, head))
    return equipped


def _equip(pair: tuple[Side, Side], command: str, install: str, listen: Callable[[str], None]) -> Equipped:
    outfits, here = _outfits(pair, command)
    base, head = outfits
    if here is not None:
        _, manifests = base.change.both(is_manifest)
        projects = own_projects(here, base.side.top, manifests)
        names = frozenset(name for file, text in manifests.items() for name in project_names(file, text))
        for outfit in outfits:
            if outfit.moved and not outfit.own:
                find_dependencies(outfit, projects, command, install, listen)
                find_editable(outfit, projects)
        build(outfits, [project for project in projects if not project.editable], listen)
        for outfit in outfits:
            _lay_over(outfit, listen)
        replaced = tuple(_replaced(base, head, projects))
    else:
        replaced, names = (), frozenset[str]()
    differences = tuple(dict.fromkeys((*base.differences, *head.differences)))
    prefix = here.prefix if here else ""
    return Equipped((base.side, head.side), replaced, differences, prefix, names)


def _outfits(pair: tuple[Side, Side], command: str) -> tuple[list[Outfit], Environment | None]:
    """Find out which environment each side runs in; it may be lent that of the work tree.

    Returns:
        Base and head, and the environment of the work tree; None if its pytest does not tell.
    """
    top = pair[0].top
    work = replace(pair[1], name="top", root=top / pair[1].root.relative_to(pair[1].tree), tree=top)
    unknown = Environment("", "", "", "", [], [])
    outfits = [Outfit(side, Change((), side.tree, top), unknown) for side in pair]
    moved = [outfit for outfit in outfits if outfit.moved]
    for outfit in moved:
        outfit.change = Change(
            tuple(changed_files(top, head_commit(outfit.side.tree))), outfit.side.tree, top
        )
        _set_variables(outfit)
    here, *there = probe([work, *(outfit.side for outfit in moved)], command)
    if isinstance(here, Silence):
        outfits[0].differences.append(silent(here))
        return outfits, None
    for outfit in outfits:
        outfit.environment = here
    for outfit, found in zip(moved, there, strict=True):
        _settle(outfit, found, here, command)
    return outfits, here


def _set_variables(outfit: Outfit) -> None:
    """Give a side the values that its own workflow would have set, and tools a place for what they make."""
    side = outfit.side
    before, after = outfit.change.edited(sets_variables)
    edited = edited_variables(before, after, os.environ, running_workflow(os.environ))
    places = {
        name: str(side.scratch / name.lower())
        for name in ("HATCH_DATA_DIR", "POETRY_VIRTUALENVS_PATH", "WORKON_HOME")
    }
    outfit.side = replace(side, variables={**side.variables, **places, **edited})
    for name, value in edited.items():
        values = f"{_shown(value)} → {_shown(os.environ.get(name))}"
        outfit.differences.append(Difference("variable", f"{name}: {values}", "seen"))


def _shown(value: str | None) -> str:
    return "not set" if value is None else repr(value)


def _settle(outfit: Outfit, there: Environment | Silence, here: Environment, command: str) -> None:
    """Take the environment that a side was found to have: that of the work tree, or one made for its tree."""
    side = outfit.side
    if not _usable(there, here, side):
        # poetry, pipenv and pdm find it by the directory.
        lent = {"VIRTUAL_ENV": here.prefix, "UV_PROJECT_ENVIRONMENT": here.prefix, **SHARED}
        borrowing = replace(side, variables={**side.variables, **lent})
        _link(Path(here.prefix), side)
        [again] = probe([borrowing], command)
        if _usable(again, here, side):
            outfit.side, there = borrowing, again
    if isinstance(there, Silence):
        outfit.differences.append(silent(there, side.name))
    elif _usable(there, here, side):
        outfit.own, outfit.environment = not _same(there, here), there
    else:
        what = f"{there.prefix} in place of {here.prefix}"
        why = f"the {side.name} runs in another environment than the work tree"
        remedy = "activate the environment before gate check, or set install: in thresholds.yaml"
        outfit.differences.append(Difference("environment", what, "unaccounted", why, remedy))


def _usable(found: Environment | Silence, here: Environment, side: Side) -> bool:
    """Whether an environment is that of the work tree, or was made for a side's tree."""
    if isinstance(found, Silence):
        return False
    prefix = Path(found.prefix).resolve()
    made_for_it = any(prefix.is_relative_to(place.resolve()) for place in (side.tree, side.scratch))
    return made_for_it or _same(found, here)


def _same(one: Environment, other: Environment) -> bool:
    return os.path.realpath(one.prefix) == os.path.realpath(other.prefix)


def _link(prefix: Path, side: Side) -> None:
    """Let a side's tree have the environment that lies in the work tree, at the same place."""
    if prefix.is_relative_to(side.top) and not _MAKERS & set(prefix.parts):
        place = side.tree / prefix.relative_to(side.top)
        if not os.path.lexists(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(prefix, target_is_directory=True)


def _lay_over(outfit: Outfit, listen: Callable[[str], None]) -> None:
    """Make a side's overlay; what cannot be installed is left out of it and noted."""
    if outfit.requirements:
        names = ", ".join(outfit.requirements.values())
        listen(f"confirm: installing what the {outfit.side.name} had: {names}")
    with suppress(OverlayError):
        outfit.lay_over(outfit.requirements)
        return
    got: dict[str, str] = {}
    try:
        outfit.lay_over(got)
    except OverlayError as error:
        outfit.missing |= dict.fromkeys((*outfit.wheels, *outfit.editable), str(error))
    for name, requirement in outfit.requirements.items():  # one of them may be the culprit
        try:
            outfit.lay_over({**got, name: requirement})
            got[name] = requirement
        except OverlayError as error:
            outfit.missing[name] = str(error)


def _replaced(base: Outfit, head: Outfit, projects: Sequence[Project]) -> Iterator[Replaced]:
    """The distributions that differ between the sides, or would."""
    before, after = base.distributions(), head.distributions()
    own = {project.name: project for project in projects}
    for name in sorted({*before, *after, *base.missing} - {OURS}):
        there, here = before.get(name), after.get(name)
        versions = there.version if there else "", here.version if here else ""
        file = base.files.get(name, head.files.get(name, ""))
        why = base.missing.get(name) or head.missing.get(name, "")
        if project := own.get(name):
            yield from _of_project(project, there, here, why)
        elif why:
            wanted = (
                base.requirements.get(name) or head.requirements.get(name, "") or base.named.get(name, "")
            )
            yield Replaced(
                name,
                wanted.removeprefix(name).removeprefix("=="),
                versions[1],
                _names(here),
                why,
                file,
                roots=_roots(here),
            )
        elif file := base.added.get(name, ""):
            why = "the base would not have it, and both sides do"
            yield Replaced(name, "", versions[1], _names(here), why, file, roots=_roots(here))
        elif versions[0] != versions[1] or _sources(there) != _sources(here):
            places = _names(there) | _names(here)
            yield Replaced(
                name,
                *versions,
                places,
                "",
                file,
                roots=_roots(there, here, base.environment.by_name.get(name)),
            )


def _of_project(
    project: Project, there: Distribution | None, here: Distribution | None, why: str
) -> Iterator[Replaced]:
    """An own project: which of its installed files differ."""
    if why:
        installed = project.distribution
        yield Replaced(project.name, "", "", _names(installed), why, project=True, roots=_roots(installed))
    elif there and here and not (there.editable or here.editable):
        before, after = installed_files(there), installed_files(here)
        differing = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        if differing:
            yield Replaced(
                project.name, there.version, here.version, frozenset(differing), project=True,
                roots=_roots(there, here, project.distribution),
            )  # fmt: skip


def _names(distribution: Distribution | None) -> frozenset[str]:
    return top_levels(distribution) if distribution else frozenset()


def _roots(*distributions: Distribution | None) -> frozenset[str]:
    return frozenset(os.path.dirname(one.place) for one in distributions if one)  # noqa: PTH120 - texts


def _sources(distribution: Distribution | None) -> str:
    """What was installed, where that is no released version: a commit, an archive."""
    return "" if distribution is None or distribution.directory else distribution.source
