"""The two sides of a comparison: the work tree or a worktree of the head, and a worktree of the base."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest_regression_gate
from gate.git import add_worktree, prune_worktrees, remove_worktree, top_level, worktrees
from gate.imports import link_environment, moved_imports
from gate.processes import end_processes_of, guarded
from gate.sides.compiled import compiled_elsewhere
from gate.sides.side import RULER, Side

_PREFIX: Final = "gate-confirm-"
_LOCK: Final = ".lock"
"""Suffix of the file beside a directory that the process it belongs to holds, however that process ends."""


@contextmanager
def two_sides(root: Path, base: str, head: str = "") -> Generator[tuple[Side, Side]]:
    """Check the base out beside the work tree; it is gone when the block ends, however it ends.

    What a killed run left behind is removed first.

    Args:
        root: the directory of thresholds.yaml in the work tree.
        base: the commit to compare with.
        head: the commit to judge; empty: the work tree as it is.

    Raises:
        GitError: a side cannot be checked out.
    """
    top = top_level(root)
    _sweep(top)
    with _own_directory() as directory:
        trees: list[Path] = []

        def check_out(name: str, commit: str) -> Path:
            trees.append(directory / name)
            add_worktree(top, trees[-1], commit)
            return trees[-1]

        try:
            ruler = _ruler(directory)
            before, after = check_out("base", base), check_out("head", head) if head else top
            sides = [_side("base", root, top, before, ruler), _side("head", root, top, after, ruler)]
            if link_environment(top, before):
                sides[0] = replace(sides[0], shared=True)
            if head and link_environment(top, after):
                sides[1] = replace(sides[1], shared=True)
            yield sides[0], sides[1]
        finally:
            _clear(directory, top, trees)


@contextmanager
def _own_directory() -> Generator[Path]:
    """A new temporary directory, and a lock beside it that this process holds until its end."""
    while True:
        lock, name = tempfile.mkstemp(prefix=_PREFIX, suffix=_LOCK)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock).st_nlink:  # nobody has swept it away before it was held
            break
        os.close(lock)
    directory = Path(name.removesuffix(_LOCK))
    try:
        directory.mkdir(mode=0o700)
        with guarded(directory):
            yield directory
    finally:
        Path(name).unlink(missing_ok=True)
        os.close(lock)


def _clear(directory: Path, top: Path, trees: Iterable[Path]) -> None:
    """End what still runs for a comparison; remove its worktrees and its directory."""
    end_processes_of(directory)
    for tree in trees:
        remove_worktree(top, tree)
    shutil.rmtree(directory, ignore_errors=True)


def _side(name: str, root: Path, top: Path, tree: Path, ruler: Path) -> Side:
    scratch = ruler.parent / f"{name}-scratch"
    scratch.mkdir()
    place = tree / root.resolve().relative_to(top)
    place.mkdir(parents=True, exist_ok=True)  # the base need not have it
    variables = compiled_elsewhere(os.environ, top, tree, scratch / "compiled")
    return Side(name, place, scratch, top, tree, _python_path(top, tree, ruler), variables=variables)


def _ruler(directory: Path) -> Path:
    """A directory for the import path that makes this gate the one that measures both sides."""
    ruler = directory / RULER
    ruler.mkdir()
    package = Path(pytest_regression_gate.__file__).resolve().parent
    (ruler / package.name).symlink_to(package, target_is_directory=True)
    (ruler / "sitecustomize.py").symlink_to(Path(__file__).with_name("preload.py"))
    return ruler


def _python_path(top: Path, tree: Path, ruler: Path) -> str:
    """Every import path inside the work tree, moved to this side's tree, after the gate itself.

    An editable install names the work tree; without this the base would import the head's code. Both
    sides are measured with this gate, also where the repository holds another version of it.
    """
    return os.pathsep.join(
        [str(ruler), *moved_imports(top, tree), *filter(None, [os.environ.get("PYTHONPATH")])]
    )


def _sweep(top: Path) -> None:
    """Remove what comparisons left whose process is gone: processes, directories, worktrees, locks."""
    known = worktrees(top)
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*{_LOCK}"):
        try:
            lock = os.open(path, os.O_RDWR)
        except OSError:  # somebody else's, or just removed
            continue
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            directory = path.with_suffix("").resolve()
            _clear(directory, top, [tree for tree in known if tree.parent == directory])
            path.unlink(missing_ok=True)
        os.close(lock)
    if any(tree.parent.name.startswith(_PREFIX) and not tree.exists() for tree in known):
        prune_worktrees(top)
