"""The two sides of a comparison: the work tree, and a worktree of the base beside it."""

import os
import shutil
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import gate
from gate.git import add_worktree, remove_worktree, top_level, worktrees

_PREFIX: Final = "gate-confirm-"


@dataclass(frozen=True)
class Side:
    """Where one side runs."""

    name: str
    root: Path
    """The directory of thresholds.yaml on this side."""
    python_path: str
    """What its processes import first."""


@contextmanager
def two_sides(root: Path, base: str) -> Generator[tuple[Side, Side]]:
    """Check the base out beside the work tree; it is gone when the block ends, however it ends.

    What a killed run left behind is removed first.

    Raises:
        GitError: the base cannot be checked out.
    """
    top = top_level(root)
    _sweep(top)
    directory = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    tree = directory / "base"
    try:
        add_worktree(top, tree, base)
        ruler = directory / "ruler"
        ruler.mkdir()
        package = Path(gate.__file__).resolve().parent
        (ruler / "gate").symlink_to(package, target_is_directory=True)
        (ruler / "sitecustomize.py").symlink_to(package / "confirm" / "preload.py")
        yield (
            Side("base", tree / root.relative_to(top), _python_path(top, tree, ruler)),
            Side("head", root, _python_path(top, top, ruler)),
        )
    finally:
        remove_worktree(top, tree)
        shutil.rmtree(directory, ignore_errors=True)


def _python_path(top: Path, tree: Path, ruler: Path) -> str:
    """Every import path inside the work tree, moved to this side's tree, after the gate itself.

    An editable install names the work tree; without this the base would import the head's code. Both
    sides are measured with this gate, also where the repository holds another version of it.
    """
    inside = [
        Path(entry).resolve() for entry in sys.path if entry and Path(entry).resolve().is_relative_to(top)
    ]
    environment = Path(sys.prefix).resolve()
    moved = [str(tree / path.relative_to(top)) for path in inside if not path.is_relative_to(environment)]
    return os.pathsep.join([str(ruler), *dict.fromkeys(moved), *filter(None, [os.environ.get("PYTHONPATH")])])


def _sweep(top: Path) -> None:
    """Remove worktrees of comparisons whose process is gone."""
    for tree in worktrees(top):
        owner = tree.parent.name.removeprefix(_PREFIX).partition("-")[0]
        if not tree.parent.name.startswith(_PREFIX) or _alive(owner):
            continue
        remove_worktree(top, tree)
        shutil.rmtree(tree.parent, ignore_errors=True)


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
