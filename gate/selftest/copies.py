"""A throw-away copy of the user's work tree, and the gate's commands in it.

The copy is a repository of its own with the work tree's state as its last commit: what is changed or
untracked here is committed there. Nothing is ever written to the original's files and references.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gate.git import GitError, head_commit, top_level
from gate.imports import SHARED, link_environment, moved_imports
from gate.processes import fresh_directory, process_group

_GRACE: Final = 20.0
"""Seconds that a command may take to clean up after SIGTERM."""
_SKIPPED: Final = frozenset(
    {".git", ".hg", ".gate", "__pycache__", "node_modules", ".venv", "venv", ".tox", ".nox"}
)
"""Directories that are not copied where no git says what belongs to the project."""
_OURS: Final = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR",
                "GIT_PREFIX", "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_PATH",
                "GITHUB_STATE", "PYTEST_CURRENT_TEST")  # fmt: skip
"""Variables that would lead a command from the copy back to the original or to the job."""


@dataclass(frozen=True)
class Said:
    """What a command printed, and how it ended."""

    code: int
    text: str

    @property
    def tail(self) -> str:
        """Its last lines."""
        return "\n".join(self.text.splitlines()[-15:])


@dataclass(frozen=True)
class Copy:
    """The copy and how commands run in it."""

    directory: Path
    """Holds everything; gone at the end."""
    top: Path
    root: Path
    """The directory of thresholds.yaml in the copy."""
    versioned: bool
    """Whether the original is a git repository with a commit."""
    environment: Mapping[str, str]
    listen: Callable[[str], None]
    """Called with every line about the progress."""

    def gate(self, *arguments: str | Path, **variables: str) -> Said:
        """Run a command of this gate in the copy, in a process of its own.

        An interruption ends the command, which ends its own children, before it is passed on.
        """
        command = [sys.executable, "-P", "-m", "pytest_regression_gate", *map(str, arguments)]
        environment = {**self.environment, **variables}
        lines: list[str] = []
        with process_group(
            command, cwd=self.root, env=environment, output=subprocess.PIPE, grace=_GRACE
        ) as process:
            for line in process.stdout or ():
                lines.append(line.decode(errors="replace").rstrip())
                if arguments[0] == "run" or lines[-1].startswith("confirm:"):
                    self.listen(lines[-1].partition(", report in ")[0])
            return Said(process.wait(), "\n".join(lines))

    def git(self, *arguments: str) -> None:
        """Change the copy's own repository.

        Raises:
            GitError: git refuses.
        """
        _git(self.top, self.environment, *arguments)

    def track(self, branch: str, tip: str) -> None:
        """Give it an origin that has this commit on a branch, and nothing else.

        Args:
            branch: its name.
            tip: a commit of the original; empty: there is no such branch.

        Raises:
            GitError: git refuses.
        """
        self.git("remote", "add", "origin", str(self.directory / "origin"))
        _git(self.directory, self.environment, "init", "--quiet", "--bare", "origin")
        if tip:
            self.git("update-ref", f"refs/remotes/origin/{branch}", tip)

    def commit(self, message: str) -> None:
        """Commit everything that is in the copy."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--no-verify", "--message", message)

    def restore(self) -> None:
        """Back to the last commit."""
        self.git("reset", "--quiet", "--hard")
        self.git("clean", "--quiet", "--force", "-d")


@contextmanager
def throw_away_copy(root: Path, listen: Callable[[str], None]) -> Generator[Copy]:
    """Copy the work tree that holds `root`; the copy is gone when the block ends, however it ends.

    Raises:
        GitError: git is not there, or cannot clone.
    """
    root = root.resolve()
    environment = {name: value for name, value in os.environ.items() if name not in _OURS}
    try:
        top, versioned = top_level(root), bool(head_commit(root))
    except GitError:
        top, versioned = root, False
    with fresh_directory("gate-selftest-") as name:
        directory = name.resolve()
        tree = directory / "copy"
        if versioned:
            _git(directory, environment, "clone", "--quiet", "--shared", "--no-checkout", str(top), str(tree))
            _git(tree, environment, "remote", "remove", "origin")
            _git(tree, environment, "reset", "--quiet")
        else:
            _git(directory, environment, "init", "--quiet", str(tree))
        for file in _files(top, environment):
            _copy(top / file, tree / file)
        if place := link_environment(top, tree):
            environment |= SHARED
            exclude = tree / ".git" / "info" / "exclude"
            exclude.parent.mkdir(exist_ok=True)
            with exclude.open("a", encoding="utf-8") as file:
                file.write(f"\n/{place.as_posix()}\n")
        path = [*moved_imports(top, tree), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment |= {
            "PYTHONPATH": os.pathsep.join(path),
            # Byte code of the copy and of the original alike goes to the temporary directory.
            "PYTHONPYCACHEPREFIX": str(directory / "pycache"),
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))),
        }
        copy = Copy(directory, tree, tree / root.relative_to(top), versioned, environment, listen)
        copy.commit("the work tree as gate selftest found it")
        yield copy


def _files(top: Path, environment: Mapping[str, str]) -> Iterator[Path]:
    """What belongs to the project: tracked or untracked, but not ignored."""
    try:
        listing = _git(
            top, environment, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"
        )
    except GitError:
        for directory, names, files in os.walk(top):
            kept = {name for name in names if name not in _SKIPPED}
            names[:] = [name for name in kept if not (Path(directory, name) / "pyvenv.cfg").exists()]
            yield from (Path(directory, file).relative_to(top) for file in files)
        return
    yield from (Path(os.fsdecode(name)) for name in listing.split(b"\0") if name)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir() and not source.is_symlink():  # a submodule
        shutil.copytree(
            source, target, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".git")
        )
    elif source.is_symlink() or source.exists():  # else deleted in the work tree
        shutil.copy2(source, target, follow_symlinks=False)


_IDENTITY: Final = (
    "-c", "user.name=gate selftest", "-c", "user.email=gate@selftest.invalid", "-c", "commit.gpgsign=false",
    "-c", f"core.hooksPath={os.devnull}",
)  # fmt: skip


def _git(directory: Path, environment: Mapping[str, str], *arguments: str) -> bytes:
    command = ["git", "-C", str(directory), *_IDENTITY, *arguments]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=300, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GitError(f"gate selftest needs git for its throw-away copy: {error}") from None
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise GitError(f"git {arguments[0]}: {lines[-1] if lines else f'exit code {done.returncode}'}")
    return done.stdout
