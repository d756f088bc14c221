"""Accepted runs, committed and pushed: whole or not at all, and without touching the work tree.

The commit is made from the remote branch as it is at that moment, by git's plumbing, and pushed as a fast
forward. Who was overtaken takes the other's state, adds the own run to it and tries again: nobody's run is
lost, none is there twice. A process that is killed leaves nothing that anybody sees.
"""

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gate.baseline.files import parse_baseline, to_lines
from gate.baseline.records import Memory, SuiteRecords, united
from gate.git import (
    MEASURED,
    GitError,
    commit_files,
    content_at,
    fetch_branch,
    files_at,
    push_commit,
    repository_path,
)

_PATIENCE: Final = 120.0
"""Seconds until the last attempt."""
_LONGEST_WAIT: Final = 3.0


@dataclass(frozen=True)
class Update:
    """What is to be written, given what the branch holds."""

    memory: Memory
    rules: bytes | None = None
    """thresholds.yaml as it shall be; None: as it is."""
    notes: tuple[str, ...] = ()
    """Further lines of the commit's message."""
    figures: str = ""
    """What is accepted, for the commit's message."""


class RefusedError(Exception):
    """The remote takes no push to this branch; the message is what it said."""


@dataclass(frozen=True)
class Published:
    """What became of an update."""

    commit: str
    """Of the remote branch; empty: everything was there already."""
    update: Update


def publish(
    root: Path,
    directory: Path,
    branch: str,
    update: Callable[[Memory, bytes | None], Update],
    message: str,
    *,
    measured: Sequence[str],
    rules: Path,
    remote: str = "origin",
    onto: str = "",
    patience: float = _PATIENCE,
) -> Published:
    """Add accepted runs to the baseline of a remote branch.

    Args:
        root: a directory of the repository.
        directory: where the baseline lies in it.
        branch: of the remote; one that does not exist is begun without history.
        update: what to write, given the baseline and the rules as the branch holds them, if it does; called
            once per attempt.
        message: of the commit.
        measured: the commits of the code whose runs are added; they become trailers of the message.
        rules: thresholds.yaml; its mended entries leave it in the same commit.
        remote: name or address.
        onto: a branch that this one shall be merged into: it then holds one commit on top of that one's tip,
            with what this one did to the memory before, and takes the place of what stood there.
        patience: seconds until the last attempt.

    Raises:
        BaselineError: the branch's baseline is damaged; it is not written over.
        RefusedError: a rule of the remote forbids the push.
        GitError: the remote cannot be reached, or the patience is over.
    """
    inside = repository_path(root, directory)
    if not inside:
        raise GitError(f"{directory} lies outside the repository; only a baseline inside it can be pushed")
    policy = repository_path(root, rules)
    begun, attempts = time.monotonic(), 0
    while True:
        attempts += 1
        tip = fetch_branch(root, remote, branch)
        parent = fetch_branch(root, remote, onto) if onto else tip
        there = _held(root, directory, policy, tip)
        held = _held(root, directory, policy, parent) if onto else there
        known = united([_memory(there), _memory(held)])
        wanted = update(known, held.get(policy))
        files = _files(inside, wanted.memory.suites)
        if wanted.rules is not None:
            files[policy] = wanted.rules
        if all(there.get(name) == data for name, data in files.items()):
            return Published("", wanted)
        changed = {name: data for name, data in files.items() if held.get(name) != data}
        trailers = "\n".join(f"{MEASURED}: {name}" for name in dict.fromkeys(measured))
        figures = "\n".join(filter(None, (wanted.figures, *wanted.notes)))
        text = f"{message}\n\n{figures}"
        commit = commit_files(root, parent, changed, f"{text}\n\n{trailers}")
        outcome, said = push_commit(root, remote, commit, branch, instead_of=tip if onto else None)
        if outcome == "done":
            return Published(commit, wanted)
        if outcome == "refused":
            raise RefusedError(said)
        if time.monotonic() - begun > patience:
            raise GitError(f"{remote} {branch}: others were always faster ({attempts} attempts): {said}")
        time.sleep(random.uniform(0, min(_LONGEST_WAIT, 0.05 * 2**attempts)))


def _held(root: Path, directory: Path, rules: str, commit: str) -> dict[str, bytes]:
    """The baseline's files and thresholds.yaml as of a commit, by path; none of no commit."""
    if not commit:
        return {}
    text = content_at(root, commit, rules) if rules else None
    return files_at(root, commit, directory, ".jsonl") | ({} if text is None else {rules: text})


def _memory(files: Mapping[str, bytes]) -> Memory:
    return parse_baseline({name: data for name, data in files.items() if name.endswith(".jsonl")})


def _files(inside: str, suites: Iterable[SuiteRecords]) -> dict[str, bytes]:
    """What is remembered as files, by their paths in the repository."""
    return {f"{inside}/{suite.environment.id}/{suite.suite}.jsonl": to_lines(suite) for suite in suites}
