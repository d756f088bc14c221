"""What the gate asks git: which commit, what stood in a file there, what changed."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path, PurePosixPath


class GitError(Exception):
    """Git could not answer; the message says what to do."""


def head_commit(directory: Path) -> str:
    """The commit checked out in a directory; an empty text outside a repository."""
    try:
        return _git(directory, "rev-parse", "--verify", "HEAD^{commit}").decode().strip()
    except GitError:
        return ""


def resolve(directory: Path, ref: str) -> str:
    """The commit that a ref names.

    Raises:
        GitError: there is none.
    """
    try:
        return (
            _git(directory, "rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}").decode().strip()
        )
    except GitError:
        raise GitError(
            f"{ref!r} is not known in this repository; fetch it first: git fetch origin {ref}"
        ) from None


def merge_base(directory: Path, ref: str) -> str:
    """The commit that the checked-out one and `ref` have in common.

    Raises:
        GitError: not a repository, an unknown ref, or a history too shallow to tell.
    """
    if ref.startswith("-"):
        raise GitError(f"{ref!r} is no git ref")
    try:
        _git(directory, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    except GitError:
        if not head_commit(directory):
            raise GitError("--base needs a git repository with a commit; leave it out elsewhere") from None
        raise GitError(
            f"{ref!r} is not known in this repository; fetch it first: git fetch origin {ref}"
        ) from None
    try:
        return _git(directory, "merge-base", ref, "HEAD").decode().strip()
    except GitError:
        message = f"{ref!r} and HEAD have no common commit here; fetch more history: git fetch --unshallow"
        raise GitError(message) from None


def file_at(directory: Path, commit: str, path: Path) -> bytes | None:
    """The contents of a file as of a commit; None if it did not exist there.

    Raises:
        GitError: the commit cannot be read.
    """
    name = str(_in_repository(directory, path))
    if not _git(directory, "ls-tree", "--full-tree", commit, "--", name).strip():
        return None
    return _git(directory, "show", f"{commit}:{name}")


def content_at(top: Path, commit: str, name: str) -> bytes | None:
    """The contents of a file as of a commit by its path from the top; None if it did not exist there."""
    try:
        return _git(top, "show", f"{commit}:{name}")
    except GitError:
        return None


def files_at(directory: Path, commit: str, below: Path, suffix: str) -> dict[str, bytes]:
    """The files below a directory as of a commit, by path."""
    inside = _in_repository(directory, below)
    listing = _git(directory, "ls-tree", "-r", "-z", "--full-tree", "--name-only", commit, "--", str(inside))
    names = [name for name in listing.decode().split("\0") if name.endswith(suffix)]
    return {name: _git(directory, "show", f"{commit}:{name}") for name in names}


def changed_files(directory: Path, commit: str) -> list[str]:
    """Files that differ between a commit and the work tree, untracked ones included, as git names them.

    Raises:
        GitError: not a repository or an unknown commit.
    """
    top = top_level(directory)
    changed = _git(top, "diff", "--name-only", "-z", "--no-renames", commit).decode()
    untracked = _git(top, "ls-files", "--others", "--exclude-standard", "-z").decode()
    return sorted({name for name in (changed + untracked).split("\0") if name})


def top_level(directory: Path) -> Path:
    """The top of the work tree.

    Raises:
        GitError: not a repository.
    """
    return Path(_git(directory, "rev-parse", "--show-toplevel").decode().strip()).resolve()


def add_worktree(top: Path, path: Path, commit: str) -> None:
    """Check a commit out in a new directory.

    Raises:
        GitError: it cannot be checked out.
    """
    _git(top, "worktree", "add", "--quiet", "--detach", str(path), commit)


def remove_worktree(top: Path, path: Path) -> None:
    """Remove a worktree and git's memory of it; one that is not there is no error."""
    for how in (("unlock",), ("remove", "--force")):  # git locks a worktree while it makes it
        with suppress(GitError):
            _git(top, "worktree", *how, str(path))
    prune_worktrees(top)


def prune_worktrees(top: Path) -> None:
    """Let git forget worktrees that are gone."""
    with suppress(GitError):
        _git(top, "worktree", "prune")


def worktrees(top: Path) -> list[Path]:
    """The worktrees git knows."""
    lines = _git(top, "worktree", "list", "--porcelain").decode().splitlines()
    return [Path(line.removeprefix("worktree ")) for line in lines if line.startswith("worktree ")]


def repository_path(directory: Path, path: Path) -> str:
    """A path relative to the top of the work tree; an empty text if it lies elsewhere."""
    try:
        return str(_in_repository(directory, path))
    except GitError:
        return ""


def inside_repository(directory: Path, path: Path) -> bool:
    """Whether a path lies in the work tree of a directory's repository."""
    try:
        _in_repository(directory, path)
    except GitError:
        return False
    return True


def _in_repository(directory: Path, path: Path) -> PurePosixPath:
    """A path as git names it: relative to the top of the work tree.

    Links inside the work tree are not followed: a pull request could put one in place of its rules.
    """
    up = _git(directory, "rev-parse", "--show-cdup").decode().strip()
    top = Path(os.path.normpath(directory.absolute() / up))
    here = Path(os.path.normpath(path.absolute()))
    for base, inner in ((top, here), (top.resolve(), here.parent.resolve() / here.name)):
        if inner.is_relative_to(base):
            return PurePosixPath(inner.relative_to(base).as_posix())
    raise GitError(f"{path} lies outside the repository {top}; --base cannot read it from a commit")


def _git(directory: Path, *arguments: str) -> bytes:
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *arguments], capture_output=True, timeout=120, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GitError(f"git {arguments[0]} did not work: {error}") from None
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise GitError(f"git {arguments[0]}: {lines[-1] if lines else f'exit code {done.returncode}'}")
    return done.stdout
