"""The repository's own projects where they are installed: each side gets them from its own tree."""

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from gate.files import read_if_plain
from gate.git import ignored_files
from gate.sides.builds import wheels_of
from gate.sides.outfit import Outfit
from gate.sides.overlay import for_pip
from gate.sides.projects import Project, commands_differ, follows, installed_files

_MANIFESTS: Final = ("pyproject.toml", "setup.cfg", "setup.py")


def find_editable(outfit: Outfit, projects: Sequence[Project]) -> None:
    """Which editable projects must be installed from the side's own tree: imports alone do not lead there."""
    side, names = outfit.side, outfit.change.names
    for project in projects:
        if not project.editable or not any(map(project.holds, names)):
            continue
        before, after = (
            [read_if_plain(tree / project.directory / name) for name in _MANIFESTS]
            for tree in (side.tree, side.top)
        )
        if (
            not follows(project, side.top, side.tree)
            or commands_differ(before, after)
            or _built_in_place(project, side.top)
        ):
            outfit.editable[project.name] = side.tree / project.directory


def _built_in_place(project: Project, top: Path) -> bool:
    """Whether extension modules lie among a project's sources, where git ignores them."""
    inside = f"{project.directory}/" if project.directory else ""
    built = ignored_files(top, f"{inside}*.so", f"{inside}*.pyd")
    return any("/site-packages/" not in name and "/build/" not in f"/{name}" for name in built)


def build(outfits: Sequence[Outfit], regular: Sequence[Project], listen: Callable[[str], None]) -> None:
    """Build wheels of installed projects that differ, for every side, so that both are installed alike."""
    changed = [
        project
        for project in regular
        if any(project.holds(name) for one in outfits for name in one.change.names)
    ]
    wanted = {
        outfit.side.name: [
            project for project in changed if not outfit.own or project.name not in outfit.environment.by_name
        ]
        for outfit in outfits
    }
    if not any(wanted[outfit.side.name] for outfit in outfits if outfit.moved):
        return
    listen(f"confirm: building {', '.join(project.name for project in changed)} from each side's tree")
    for outfit in outfits:
        outfit.wheels, failed = wheels_of(
            wanted[outfit.side.name], outfit.side, outfit.environment, for_pip(outfit.side)
        )
        outfit.missing |= failed
    for project in changed:
        for outfit in outfits:
            wheel = outfit.wheels.get(project.name)
            if wheel and outfit.side.name == "head" and (lost := _not_built(project, wheel)):
                outfit.missing[project.name] = (
                    f"{lost} is installed, and the project's tree does not build it"
                )
    for name in {name for outfit in outfits for name in outfit.missing}:
        for outfit in outfits:
            outfit.wheels.pop(name, None)


def _not_built(project: Project, wheel: Path) -> str:
    """A file that is installed and not in a wheel of the same tree: git ignores what it is made from."""
    with zipfile.ZipFile(wheel) as archive:
        built = {name.partition(".data/purelib/")[2] or name for name in archive.namelist()}
    lost = sorted(installed_files(project.distribution).keys() - built)
    return lost[0] if lost else ""
