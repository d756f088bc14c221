"""What the gate asks git: which commit, what stood in a file there, what changed."""

import os
import shlex
import subprocess
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Literal

Pushed = Literal["done", "overtaken", "refused"]

MEASURED: Final = "Measured"
"""The trailer in which a commit of the baseline names the commits whose runs it adds."""

_BOT: Final = (
    ("NAME", "github-actions[bot]"),
    ("EMAIL", "41898282+github-actions[bot]@users.noreply.github.com"),
)
"""Who commits where nobody is configured."""
_PASSING: Final = ("cannot lock ref", "failed to update ref", "failed to lock", "incorrect old value")
"""Of a remote on which two push at the same moment."""
_BLOCKED: Final = "exists; cannot create"
"""Of a branch whose name is the beginning of another's."""


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
        remedy = f"fetch it first: {_how_to_fetch(directory, ref)}"
        if ref and not ref.startswith("origin/") and _known(directory, f"refs/remotes/origin/{ref}"):
            remedy = f"write origin/{ref}"
        raise GitError(f"{ref!r} is not known in this repository; {remedy}") from None


def _known(directory: Path, ref: str) -> bool:
    return _run(directory, ["rev-parse", "--quiet", "--verify", f"{ref}^{{commit}}"]).returncode == 0


def common_commit(directory: Path, one: str, other: str) -> str:
    """The youngest commit that two have in common; empty if none is known here."""
    try:
        return _git(directory, "merge-base", one, other).decode().strip()
    except GitError:
        return ""


def history_of(directory: Path, commit: str = "HEAD") -> list[str]:
    """A commit and all that it descends from, each before its parents: `COMMIT TREE PARENT...`.

    Raises:
        GitError: there is no such commit, or no repository.
    """
    return _git(directory, "log", "--topo-order", "--format=%H %T %P", commit).decode().splitlines()


def first_holding(directory: Path, commit: str, name: str, texts: Collection[str]) -> dict[str, str]:
    """The first commit, of those that one descends from, in which a file holds each of some texts.

    Args:
        directory: a directory of the repository.
        commit: where to begin.
        name: the end of the file's path.
        texts: each within one line; those that it never held are left out.
    """
    if not texts:
        return {}
    log = ["log", "--reverse", "--topo-order", "--format=commit %H", "-p", "-U0", "--no-renames", commit]
    changes = _run(top_level(directory), [*log, "--", f":(glob)**/{name}"]).stdout.decode(errors="replace")
    found: dict[str, str] = {}
    where, removed = "", set[str]()
    for line in (*changes.splitlines(), "commit "):
        if line.startswith("commit "):
            for text in removed:  # and not moved: a revert took it out again
                found.pop(text, None)
            where = line.removeprefix("commit ")
            removed = set[str]()
        elif line.startswith("-"):
            removed |= {text for text in texts if text in line}
        elif line.startswith("+"):
            here = {text for text in texts if text in line}
            removed -= here
            found = {**dict.fromkeys(here, where), **found}
    return found


def precedes_any(directory: Path, commit: str, others: Iterable[str]) -> bool:
    """Whether any of some commits descends from one; a commit that is not in this clone does not."""
    asked = (["merge-base", "--is-ancestor", commit, other] for other in dict.fromkeys(others))
    return any(_run(directory, arguments).returncode == 0 for arguments in asked)


def deepen(directory: Path) -> bool:
    """Fetch what a shallow clone lacks; whether that worked."""
    _run(directory, ["fetch", "--quiet", "--unshallow", "--no-tags"])
    return not is_shallow(directory)


def tip_for(directory: Path, commit: str, branch: str | None, remote: str) -> str:
    """Where a commit will be found if it is squashed: the branch that it is for, as fetched last; or nothing.

    Without a branch it is the place where it left the remote's main branch.
    """
    try:
        if branch:
            return resolve(directory, f"refs/remotes/{remote}/{branch}")
        return common_commit(directory, resolve(directory, f"refs/remotes/{remote}/HEAD"), commit)
    except GitError:
        return ""


def is_shallow(directory: Path) -> bool:
    """Whether the clone lacks older history."""
    return _git(directory, "rev-parse", "--is-shallow-repository").decode().strip() == "true"


def _how_to_fetch(directory: Path, ref: str) -> str:
    """What makes a ref known; a clone of one branch knows of others only what it is told by name."""
    remote, _, branch = ref.partition("/")
    if branch and remote in _git(directory, "remote").decode().split():
        return f"git fetch {remote} {branch}:refs/remotes/{ref}"
    if branch and remote == "upstream":
        return f"git remote add {remote} ADDRESS, git fetch {remote}"
    return f"git fetch origin {ref}"


def merge_base(directory: Path, ref: str, head: str = "HEAD") -> str:
    """The commit that the checked-out one, or another head, and `ref` have in common.

    Raises:
        GitError: not a repository, an unknown ref, or a history too shallow to tell.
    """
    if ref.startswith("-"):
        raise GitError(f"{ref!r} is no git ref")
    try:
        resolve(directory, ref)
    except GitError:
        if not head_commit(directory):
            _refuse_strangers(directory)
            raise GitError("--base needs a git repository with a commit; leave it out elsewhere") from None
        raise
    common = common_commit(directory, ref, head)
    if not common:
        raise GitError(
            f"{ref!r} and {head} have no common commit here; fetch more history: git fetch --unshallow"
        )
    return common


def _refuse_strangers(directory: Path) -> None:
    """Pass on what git says of a repository that belongs to somebody else, as in a job's container.

    Raises:
        GitError: it reads nothing there.
    """
    said = _run(directory, ["rev-parse", "--git-dir"]).stderr.decode(errors="replace")
    if "dubious ownership" in said:
        raise GitError(
            f"git reads nothing of {directory}, which belongs to another user; allow it first: "
            f"git config --global --add safe.directory {shlex.quote(str(directory))}"
        )


def file_at(directory: Path, commit: str, path: Path) -> bytes | None:
    """The contents of a file as of a commit; None if it did not exist there.

    Raises:
        GitError: the commit cannot be read.
    """
    name = str(_in_repository(directory, path))
    if not _git(directory, "ls-tree", "--full-tree", commit, "--", name).strip():
        return None
    return _git(directory, "show", f"{commit}:{name}")


def content_at(directory: Path, commit: str, name: str) -> bytes | None:
    """The contents of a file as of a commit by its path from the top; None if it did not exist there."""
    try:
        return _git(directory, "show", f"{commit}:{name}")
    except GitError:
        return None


def files_at(directory: Path, commit: str, below: Path, suffix: str) -> dict[str, bytes]:
    """The files below a directory as of a commit, by path."""
    inside = _in_repository(directory, below)
    listing = _git(directory, "ls-tree", "-r", "-z", "--full-tree", "--name-only", commit, "--", str(inside))
    names = [name for name in listing.decode().split("\0") if name.endswith(suffix)]
    return {name: _git(directory, "show", f"{commit}:{name}") for name in names}


@dataclass(frozen=True)
class Removal:
    """A commit that took a directory's files away."""

    commit: str
    date: str
    """Year-month-day."""
    moved_to: str = ""
    """The directory that got some of them; empty: they are gone."""


def removal_of(directory: Path, commit: str, below: Path) -> Removal | None:
    """Which commit up to another one took files of a directory away last; None if none did."""
    inside = str(_in_repository(directory, below))
    log = ["log", "-1", "--diff-filter=D", "--no-renames", "--format=%H %cs", commit, "--", f":(top){inside}"]
    found = _git(directory, *log).decode().split()
    if not found:
        return None
    show = ["show", "-m", "--first-parent", "-M", "-z", "--diff-filter=R", "--name-status", "--format="]
    names = _git(directory, *show, found[0]).decode().split("\0")
    for old, new in zip(names[1::3], names[2::3], strict=False):  # status, old name, new name, and so on
        file = old.removeprefix(inside)
        if file != old and new.endswith(file):
            return Removal(*found, moved_to=new.removesuffix(file))
    return Removal(*found)


_NAMES: Final = ("--name-only", "-z", "--no-renames", "--ignore-submodules=none")
"""A repository can say of its submodules that no difference counts."""


def changed_files(directory: Path, commit: str, head: str = "") -> list[str]:
    """Files that differ between a commit and the work tree, untracked ones included, as git names them.

    With a head, those that differ between two commits.

    Raises:
        GitError: not a repository or an unknown commit.
    """
    top = top_level(directory)
    if head:
        between = os.fsdecode(_git(top, "diff", *_NAMES, commit, head))
        return sorted(_with_submodules(top, filter(None, between.split("\0")), commit, head))
    changed = os.fsdecode(_git(top, "diff", *_NAMES, commit))
    untracked = os.fsdecode(_git(top, "ls-files", "--others", "--exclude-standard", "-z"))
    return sorted(set(_with_submodules(top, filter(None, (changed + untracked).split("\0")), commit)))


def _with_submodules(top: Path, names: Iterable[str], commit: str, head: str = "") -> Iterator[str]:
    """Names of files, those inside a submodule in place of its own; it stays where that cannot be told."""
    sides: list[dict[str, str]] = []
    for name in names:
        place = top / name
        if not place.is_dir() or place.is_symlink():
            yield name
            continue
        sides = sides or [_submodules(top, one) for one in (commit, head) if one]
        try:
            commits = [side[name] for side in sides]
            inside = os.fsdecode(_git(place, "diff", *_NAMES, *commits))
        except (GitError, KeyError):
            yield name
        else:
            yield from (f"{name}/{file}" for file in inside.split("\0") if file)


def _submodules(tree: Path, commit: str) -> dict[str, str]:
    """The submodules of a commit: path -> their commit."""
    entries = (
        entry.split(None, 3) for entry in os.fsdecode(_git(tree, "ls-tree", "-r", "-z", commit)).split("\0")
    )
    return {entry[3]: entry[2] for entry in entries if len(entry) > 3 and entry[1] == "commit"}


def tracked_files(tree: Path) -> list[str]:
    """The files of a work tree that git tracks.

    Raises:
        GitError: not a repository.
    """
    return [name for name in os.fsdecode(_git(tree, "ls-files", "-z")).split("\0") if name]


def refresh(tree: Path) -> None:
    """Let git note when it saw the files of a work tree: its next `status` opens none that is clean."""
    _run(tree, ("update-index", "-q", "--refresh"))


def ignored_files(tree: Path, *patterns: str) -> list[str]:
    """Files that git ignores, those in wholly ignored directories as well.

    Args:
        tree: a work tree.
        patterns: which ones, as git's pathspecs.

    Raises:
        GitError: not a repository.
    """
    listed = _git(tree, "ls-files", "--others", "--ignored", "--exclude-standard", "-z", "--", *patterns)
    return [name for name in listed.decode(errors="surrogateescape").split("\0") if name]


def tree_of(directory: Path, commit: str) -> str:
    """The id of a commit's tree: of its contents.

    Raises:
        GitError: the commit is unknown.
    """
    return _git(directory, "rev-parse", "--verify", f"{commit}^{{tree}}").decode().strip()


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
    _fill_submodules(top, path)


def _fill_submodules(top: Path, tree: Path) -> None:
    """Check out the submodules of a new tree from those of the work tree, without any network.

    What is not there stays empty.
    """
    if not (tree / ".gitmodules").is_file():
        return
    for name, commit in _submodules(tree, "HEAD").items():
        if not (top / name / ".git").exists():
            continue
        with suppress(GitError):
            source = _git(top / name, "rev-parse", "--absolute-git-dir").decode().strip()
            _git(tree, "clone", "--quiet", "--shared", "--no-checkout", source, str(tree / name))
            _git(tree / name, "checkout", "--quiet", "--detach", commit)
            _fill_submodules(top / name, tree / name)


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


def tracked_branch(directory: Path, branch: str, remote: str = "origin") -> str:
    """The tip of the baseline's branch as fetched last, or now if it never was; empty if there is none.

    Raises:
        GitError: the remote cannot be reached.
    """
    try:
        return resolve(directory, f"refs/remotes/{remote}/{branch}")
    except GitError:
        pass
    try:
        return fetch_branch(directory, remote, branch)
    except GitError as error:
        begin = f"if it does not exist yet, begin it: gate baseline update --push {branch}"
        raise GitError(f"branch {branch} of {remote}, which holds the baseline: {error}; {begin}") from None


def fetch_branch(directory: Path, remote: str, branch: str) -> str:
    """The tip of a remote branch, fetched; empty if there is no such branch.

    Raises:
        GitError: the remote cannot be reached.
    """
    listed = _git(directory, "ls-remote", "--heads", remote, f"refs/heads/{branch}").decode().split()
    if not listed:
        return ""
    _git(directory, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", remote, f"refs/heads/{branch}")
    try:  # the tip may have moved on, but what was listed came along
        return resolve(directory, listed[0])
    except GitError:
        return fetch_branch(directory, remote, branch)


def commit_files(directory: Path, parent: str, files: Mapping[str, bytes], message: str) -> str:
    """Make a commit that writes some files and keeps all others; nothing of the work tree or index changes.

    Args:
        directory: in the repository.
        parent: the commit before; empty: the first of a history.
        files: contents by path from the top.
        message: of the commit. It is signed if the repository's configuration says so.

    Returns:
        The commit.
    """
    with tempfile.TemporaryDirectory(prefix="gate-index-") as name:
        index = {"GIT_INDEX_FILE": str(Path(name) / "index")}
        if parent:
            _git(directory, "read-tree", parent, variables=index)
        for path, data in files.items():
            blob = _git(directory, "hash-object", "-w", "--stdin", data=data).decode().strip()
            _git(directory, "update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", variables=index)
        tree = _git(directory, "write-tree", variables=index).decode().strip()
    sign = ["-S"] if _setting(directory, "commit.gpgsign") == "true" else []
    parents = ["-p", parent] if parent else []
    known = _setting(directory, "user.email") or "GIT_COMMITTER_EMAIL" in os.environ
    who = (
        {}
        if known
        else {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in _BOT}
    )
    return (
        _git(directory, "commit-tree", *sign, *parents, "-m", message, tree, variables=who).decode().strip()
    )


def push_commit(
    directory: Path, remote: str, commit: str, branch: str, *, instead_of: str | None = None
) -> tuple[Pushed, str]:
    """Push a commit to a branch: as a fast forward, or in place of what stands there.

    Args:
        directory: in the repository.
        remote: name or address.
        commit: what to push.
        branch: where to.
        instead_of: the tip that may be replaced, empty for none; None: only a fast forward.

    Returns:
        Whether it is there, and what the remote said if it is not: `overtaken`, the branch moved on;
        `refused`, a rule of the remote forbids it.

    Raises:
        GitError: the remote cannot be reached.
    """
    lease = [] if instead_of is None else [f"--force-with-lease=refs/heads/{branch}:{instead_of}"]
    command = ["push", "--porcelain", "--quiet", *lease, remote, f"{commit}:refs/heads/{branch}"]
    done = _run(directory, command)
    if done.returncode == 0:
        return "done", ""
    said = done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
    line = next((line for line in said.splitlines() if line.startswith("!")), "")
    if not line:
        raise GitError(f"git push: {said.strip().splitlines()[-1] if said.strip() else 'no answer'}")
    if _BLOCKED in said:
        why = next(text for text in said.splitlines() if _BLOCKED in text)
        return "refused", why.removeprefix("remote: ")
    if "[remote rejected]" in line and not any(word in line for word in _PASSING):
        return "refused", line.rpartition("[remote rejected]")[2].strip(" ()")
    return "overtaken", line


def user_name(directory: Path) -> str:
    """Who works here, as git knows; empty if nobody said."""
    return _setting(directory, "user.name")


def _setting(directory: Path, name: str) -> str:
    try:
        return _git(directory, "config", "--get", name).decode().strip()
    except GitError:
        return ""


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


def _git(
    directory: Path, *arguments: str, data: bytes | None = None, variables: Mapping[str, str] | None = None
) -> bytes:
    done = _run(directory, arguments, data, variables)
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise GitError(f"git {arguments[0]}: {lines[-1] if lines else f'exit code {done.returncode}'}")
    return done.stdout


def _run(
    directory: Path,
    arguments: Sequence[str],
    data: bytes | None = None,
    variables: Mapping[str, str] | None = None,
) -> "subprocess.CompletedProcess[bytes]":
    try:
        return subprocess.run(
            ["git", "-C", str(directory), *arguments],
            capture_output=True,
            input=data,
            env=os.environ | {"GIT_TERMINAL_PROMPT": "0"} | dict(variables or {}),
            timeout=120,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GitError(f"git {arguments[0]} did not work: {error}") from None
