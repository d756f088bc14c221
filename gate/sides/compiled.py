"""Compiled files of the environment, kept between comparisons where nobody may write beside the sources."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from gate.sides.overlay import OverlayError, digest, kept


def compiled_elsewhere(variables: Mapping[str, str], top: Path, tree: Path, place: Path) -> dict[str, str]:
    """The variables by which a side's processes keep compiled files in a place of their own.

    Compiling all that a suite imports costs seconds in each launch. What belongs to the environment is kept
    between comparisons; what is compiled of the project is new in each.

    Args:
        variables: of its processes; where they let Python write compiled files, none is changed.
        top: the work tree.
        tree: of this side.
        place: the directory for compiled files, below which others are at their own paths.
    """
    if not variables.get("PYTHONDONTWRITEBYTECODE"):
        return {}
    for library in _libraries(variables, top):
        with suppress(OverlayError, OSError), kept("compiled", digest([str(library)])) as home:
            home.mkdir(exist_ok=True)
            seen = [library]
            if library.is_relative_to(top):  # the tree may have a link to the environment of the work tree
                seen.append(tree / library.relative_to(top))
            for path in seen:
                link = place / path.relative_to(path.anchor)
                link.parent.mkdir(parents=True, exist_ok=True)
                if not os.path.lexists(link):
                    link.symlink_to(home, target_is_directory=True)
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(place)}


def _libraries(variables: Mapping[str, str], top: Path) -> Iterator[Path]:
    """Where this gate's environment has its modules, and the active one: nothing of the project is there."""
    for prefix in dict.fromkeys((sys.prefix, sys.base_prefix, variables.get("VIRTUAL_ENV", ""))):
        library = Path(prefix, "lib")
        if prefix and library.is_dir() and not top.is_relative_to(library):
            yield library
