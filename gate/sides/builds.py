"""Wheels of the repository's own projects, one of each side's tree, built in the same way."""

import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from gate.git import add_worktree, changed_files, head_commit, remove_worktree, tree_of
from gate.sides.overlay import OverlayError, build_wheel, kept_wheel
from gate.sides.probe import Environment
from gate.sides.projects import Project
from gate.sides.side import Side


def wheels_of(
    projects: Sequence[Project], side: Side, environment: Environment, variables: Mapping[str, str]
) -> tuple[dict[str, Path], dict[str, str]]:
    """Build a side's wheels in a copy of its tree, so that nothing is left in it.

    Args:
        projects: what to build.
        side: whose tree.
        environment: whose interpreter builds.
        variables: of the processes that build.

    Returns:
        By project: the wheels, and why there is none.

    Raises:
        GitError: the tree cannot be copied.
    """
    built: dict[str, Path] = {}
    failed: dict[str, str] = {}
    if not projects:
        return built, failed
    commit = head_commit(side.tree)
    edited = changed_files(side.tree, commit)
    with ExitStack() as stack:
        copy: Path | None = None
        for project in projects:
            # What is not committed is built anew each time.
            key = "" if edited else f"{tree_of(side.tree, commit)} {project.name}"
            try:
                wheel = kept_wheel(key, environment) if key else None
                if wheel is None:
                    copy = copy or stack.enter_context(_copy(side, commit, edited))
                    scratch = side.scratch / "wheels" / project.name
                    wheel = build_wheel(copy / project.directory, key, environment, scratch, variables)
                built[project.name] = wheel
            except OverlayError as error:
                failed[project.name] = str(error)
    return built, failed


@contextmanager
def _copy(side: Side, commit: str, edited: Sequence[str]) -> Generator[Path]:
    """A worktree of a side as it is, uncommitted changes included: builds ask git for versions and files."""
    tree = side.scratch.with_name(f"{side.name}-source")
    add_worktree(side.tree, tree, commit)
    try:
        for name in edited:
            source, target = side.tree / name, tree / name
            if source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
            elif not source.exists():
                target.unlink(missing_ok=True)
        yield tree
    finally:
        remove_worktree(side.tree, tree)
        shutil.rmtree(tree, ignore_errors=True)
