"""What the processes of a copy of a work tree need of the original: import paths, environments."""

import os
import sys
from pathlib import Path


def moved_imports(top: Path, tree: Path) -> list[str]:
    """Every import path of this process inside `top`, moved to `tree`.

    An editable install names the work tree; without this a copy would import the original's code.
    What belongs to the interpreter's own environment stays where it is.
    """
    inside = [
        Path(entry).resolve() for entry in sys.path if entry and Path(entry).resolve().is_relative_to(top)
    ]
    environment = Path(sys.prefix).resolve()
    moved = [str(tree / path.relative_to(top)) for path in inside if not path.is_relative_to(environment)]
    return list(dict.fromkeys(moved))


def link_environments(top: Path, tree: Path, target: Path | None = None) -> list[Path]:
    """Link the virtual environments inside `top` into `tree`: a suite's command may be `.venv/bin/pytest`.

    Args:
        top: the work tree.
        tree: its copy.
        target: what to link instead, an environment of the copy's own.

    Returns:
        What was linked, relative to the tree.
    """
    found = {Path(sys.prefix).resolve(), *(file.parent.resolve() for file in top.glob("*/pyvenv.cfg"))}
    linked: list[Path] = []
    for environment in sorted(found):
        if environment == top or not environment.is_relative_to(top):
            continue
        place = environment.relative_to(top)
        if not os.path.lexists(tree / place):
            (tree / place).parent.mkdir(parents=True, exist_ok=True)
            (tree / place).symlink_to(target or environment, target_is_directory=True)
            linked.append(place)
    return linked
