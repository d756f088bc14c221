"""What the processes of a copy of a work tree need of the original: import paths, environments."""

import os
import sys
from pathlib import Path
from typing import Final

SHARED: Final = {"UV_NO_SYNC": "1"}
"""Environment variables of processes that use it: `uv run` would install the copy into the original's."""


def search_path(given: str) -> str:
    """Where a suite's command looks for programs: the activated environment, else that of this gate first.

    Args:
        given: the variable `PATH`.
    """
    own = str(Path(sys.executable).parent)
    active = os.environ.get("VIRTUAL_ENV") or os.environ.get("CONDA_PREFIX")
    elsewhere = active and Path(active).resolve() != Path(sys.prefix).resolve()
    return os.pathsep.join(filter(None, (given, own) if elsewhere else (own, given)))


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


def link_environment(top: Path, tree: Path, target: Path | None = None) -> Path | None:
    """Link this gate's environment, if it lies in `top`, into `tree`: a command may be `.venv/bin/pytest`.

    Of no other environment it is known what its import paths are. Nobody may synchronise it for the copy:
    `SHARED`.

    Args:
        top: the work tree.
        tree: its copy.
        target: what to link instead, an environment of the copy's own.

    Returns:
        What was linked, relative to the tree; None if there is nothing to link.
    """
    prefix = Path(sys.prefix)
    environment = prefix.parent.resolve() / prefix.name  # may be a link itself
    if environment == top or not environment.is_relative_to(top):
        return None
    place = environment.relative_to(top)
    if os.path.lexists(tree / place):
        return None
    (tree / place).parent.mkdir(parents=True, exist_ok=True)
    (tree / place).symlink_to(target or environment, target_is_directory=True)
    return place
