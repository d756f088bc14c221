"""The two sides of a comparison: the work tree or a worktree of the head, and a worktree of the base."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import gate
from gate.git import GitError, add_worktree, prune_worktrees, remove_worktree, top_level, worktrees
from gate.imports import moved_imports

_PREFIX: Final = "gate-confirm-"
_LOCK: Final = "lock"
"""Held by the process that a directory belongs to, however that process ends."""
_INSTALL_SECONDS: Final = 600.0
_BIRTH: Final = 1.0
"""Seconds within which a new directory gets its lock."""


@dataclass(frozen=True)
class Side:
    """Where one side runs."""

    name: str
    root: Path
    """The directory of thresholds.yaml on this side."""
    python_path: str
    """What its processes import first."""
    scripts: Path
    """Where its `python` and `pytest` lie."""
    scratch: Path
    """A directory of its own, for what must not be written beside the sources."""


@contextmanager
def two_sides(root: Path, base: str, head: str = "", install: str = "") -> Generator[tuple[Side, Side]]:
    """Check the base out beside the work tree; it is gone when the block ends, however it ends.

    What a killed run left behind is removed first.

    Args:
        root: the directory of thresholds.yaml in the work tree.
        base: the commit to compare with.
        head: the commit to judge; empty: the work tree as it is.
        install: a command that installs the base's own dependencies into a new virtual environment;
            empty: it uses those of the head.

    Raises:
        GitError: a side cannot be checked out, or its dependencies cannot be installed.
    """
    top = top_level(root)
    _sweep(top)
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
    lock = os.open(directory / _LOCK, os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    trees: list[Path] = []

    def check_out(name: str, commit: str) -> Path:
        trees.append(directory / name)
        add_worktree(top, trees[-1], commit)
        return trees[-1]

    try:
        ruler = _ruler(directory)
        sides = [_side("base", root, top, check_out("base", base), ruler)]
        tree = check_out("head", head) if head else top
        sides.append(_side("head", root, top, tree, ruler))
        if install:
            sides[0] = _with_own_dependencies(sides[0], install, directory / "environment")
        yield sides[0], sides[1]
    finally:
        for tree in trees:
            remove_worktree(top, tree)
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


def _side(name: str, root: Path, top: Path, tree: Path, ruler: Path) -> Side:
    scratch = ruler.parent / f"{name}-scratch"
    scratch.mkdir()
    inner = root.resolve().relative_to(top)
    scripts = Path(sys.executable).parent
    return Side(name, tree / inner, _python_path(top, tree, ruler), scripts, scratch)


def _ruler(directory: Path) -> Path:
    """A directory for the import path that makes this gate the one that measures both sides."""
    ruler = directory / "ruler"
    ruler.mkdir()
    package = Path(gate.__file__).resolve().parent
    (ruler / "gate").symlink_to(package, target_is_directory=True)
    (ruler / "sitecustomize.py").symlink_to(package / "confirm" / "preload.py")
    return ruler


def _python_path(top: Path, tree: Path, ruler: Path) -> str:
    """Every import path inside the work tree, moved to this side's tree, after the gate itself.

    An editable install names the work tree; without this the base would import the head's code. Both
    sides are measured with this gate, also where the repository holds another version of it.
    """
    return os.pathsep.join(
        [str(ruler), *moved_imports(top, tree), *filter(None, [os.environ.get("PYTHONPATH")])]
    )


def _with_own_dependencies(side: Side, install: str, environment: Path) -> Side:
    """The side with a virtual environment of its own, filled by the project's own command."""
    scripts = environment / "bin"
    variables = {
        **os.environ,
        "VIRTUAL_ENV": str(environment),
        "PATH": os.pathsep.join((str(scripts), os.environ.get("PATH", ""))),
    }
    make = [sys.executable, "-m", "venv", str(environment)]
    for command in (make, ["/bin/sh", "-c", install]):
        try:
            done = subprocess.run(
                command,
                cwd=side.root,
                env=variables,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_INSTALL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise GitError(f"installing the base's dependencies takes too long: {install}") from None
        if done.returncode != 0:
            tail = "\n".join((done.stdout + done.stderr).decode(errors="replace").splitlines()[-10:])
            raise GitError(f"the base's dependencies cannot be installed with {install!r}:\n{tail}")
    return Side(side.name, side.root, side.python_path, scripts, side.scratch)


def _sweep(top: Path) -> None:
    """Remove directories, and git's memory of the worktrees in them, of comparisons whose process is gone."""
    known = worktrees(top)
    for directory in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if _left_behind(directory):
            for tree in known:
                if tree.parent == directory.resolve():
                    remove_worktree(top, tree)
            shutil.rmtree(directory, ignore_errors=True)
    if any(tree.parent.name.startswith(_PREFIX) and not tree.exists() for tree in known):
        prune_worktrees(top)


def _left_behind(directory: Path) -> bool:
    """Whether nobody holds the lock of a directory; without one its owner is just being born, or died so."""
    try:
        lock = os.open(directory / _LOCK, os.O_RDWR)
    except FileNotFoundError:
        return directory.exists() and time.time() - directory.stat().st_mtime > _BIRTH
    except OSError:  # somebody else's
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(lock)
