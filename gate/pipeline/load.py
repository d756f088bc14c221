"""Where policy and baseline come from: the work tree, or a base commit that a pull request cannot edit."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from gate.baseline import Baseline
from gate.git import (
    GitError,
    baseline_as_of,
    changed_files,
    common_commit,
    content_at,
    file_at,
    files_at,
    head_commit,
    inside_repository,
    merge_base,
    removal_of,
    repository_path,
    resolve,
    top_level,
    tracked_branch,
)
from gate.located import LocatedError, Mistake, Place
from gate.model import Problem, Run
from gate.moves import Since, caught_up, find_moves, since_accepted, unmatched
from gate.nodeids import file_of
from gate.policy import Policy
from gate.store import BaselineError, parse_baseline, read_baseline
from gate.thresholds import parse_policy
from gate.verdict import Finding


@dataclass(frozen=True)
class Sources:
    """The rules and the memory that a run is judged by."""

    policy: Policy
    baseline: Baseline
    base: str
    """The commit they were read from; empty: from the work tree."""
    notes: tuple[Finding, ...]
    """What the head changes about them."""
    problems: tuple[Problem, ...]
    """A baseline that cannot be read."""
    beside: str = ""
    """The commit to measure beside the head: the base, or what was accepted of a branch; empty: none."""
    changed: bool = True
    """Whether the head differs from it at all, accepted runs apart; without it nobody knows."""
    touched: frozenset[str] = frozenset()
    """Files that the head changes, relative to the directory of thresholds.yaml."""
    first: bool = False
    """Whether the base has no rules yet, so that they are those of the head."""
    place: str = ""
    """Where the accepted runs lie, from the top of the repository; empty: elsewhere."""
    behind: frozenset[str] = frozenset()
    """Suites whose accepted runs are older than the base."""
    same: bool = False
    """Whether the work tree is the base, to the last file: then nothing but the branch itself is judged."""


def load_policy(file: Path) -> Policy:
    """Read thresholds.yaml from the work tree.

    Raises:
        LocatedError: the file is missing or wrong.
    """
    try:
        text = file.read_bytes()
    except OSError as error:
        message = f"{error.strerror or error}; write the file (see README) or name it with --thresholds"
        raise LocatedError(str(file), [Mistake(Place(1, 1), message)]) from None
    return parse_policy(_decode(text, str(file)), str(file))


def policy_of(file: Path, base_ref: str | None) -> Policy:
    """The rules that hold: those of the merge base with a ref, or without one those of the work tree.

    Raises:
        LocatedError: thresholds.yaml is missing or wrong.
        GitError: the base cannot be found.
    """
    here = load_policy(file)
    if base_ref is None:
        return here
    root = file.absolute().parent
    return _policy_at(root, merge_base(root, base_ref), file, here)[0]


def remembered(file: Path, policy: Policy, directory: Path | None = None, base: str = "") -> Baseline:
    """The accepted runs, from wherever the policy keeps them.

    Args:
        file: thresholds.yaml.
        policy: its contents.
        directory: a directory of accepted runs to read instead.
        base: as they were when this commit was the newest; empty: all of them.

    Raises:
        BaselineError: a line of it is damaged.
        GitError: its branch cannot be read.
    """
    root = file.absolute().parent
    if directory is not None or not policy.baseline_branch:
        return read_baseline(directory or file.parent / policy.baseline)
    tip = tracked_branch(root, policy.baseline_branch)
    commit = baseline_as_of(root, tip, base) if tip and base else tip
    return parse_baseline(files_at(root, commit, root / policy.baseline, ".jsonl") if commit else {})


def load_sources(file: Path, baseline: Path | None, base_ref: str | None) -> Sources:
    """Load what `gate check` judges by.

    Args:
        file: thresholds.yaml.
        baseline: the baseline directory; None: the one the policy names, beside thresholds.yaml.
        base_ref: judge by the merge base with this ref instead of the work tree.

    Raises:
        LocatedError: thresholds.yaml is missing or wrong.
        GitError: the base cannot be found.
    """
    here = load_policy(file)
    if base_ref is None:
        read, problems = _guarded(lambda: remembered(file, here, baseline))
        lost = [] if read.suites or problems or baseline else _no_branch(file.absolute().parent, here, "")
        return Sources(here, read, "", tuple(lost), problems)
    root = file.absolute().parent
    base = merge_base(root, base_ref)
    policy, notes = _policy_at(root, base, file, here)
    directory = baseline or root / policy.baseline
    names = changed_files(root, base)
    top = top_level(root)
    touched = frozenset(os.path.relpath(top / name, root.resolve()) for name in names)
    place = repository_path(root, directory)
    changed = any(not _is_memory(name, place) for name in names)
    same = not names and base == head_commit(root)
    notes += _protected(policy, names, file.name, repository_path(root, file))
    notes += [_removed(suite, file.name) for suite in policy.suites if suite not in here.suites]
    if (policy.baseline_branch and baseline is None) or not inside_repository(root, directory):
        # out of the change's reach
        read, problems = _guarded(lambda: remembered(file, policy, baseline, base))
        notes += [] if read.suites or problems or baseline else _no_branch(root, policy, base)
        return Sources(
            policy,
            read,
            base,
            tuple(notes),
            problems,
            base,
            changed,
            touched,
            policy is here,
            place,
            same=same,
        )
    files = files_at(root, base, directory, ".jsonl")
    read, problems = _guarded(lambda: parse_baseline(files))
    notes += [] if files else _lost(root, base, directory, policy)
    own = {path.as_posix(): path.read_bytes() for path in directory.rglob("*.jsonl")}
    if _by_place(own) != _by_place(files):
        notes.append(_change(policy.baseline, "the baseline differs from that of the base, which was used"))
    return Sources(
        policy, read, base, tuple(notes), problems, base, changed, touched, policy is here, place, same=same
    )


def beside_accepted(sources: Sources, run: Run, root: Path) -> Sources:
    """The sources for judging a branch: its head is measured beside the commit that was accepted last.

    The commit before may hold a regression that was merged in spite of a red check.

    Args:
        sources: what a run is judged by.
        run: the run of the head.
        root: the directory of thresholds.yaml.
    """
    nearest, unknown = "", ""
    for name in run.suites:
        if (latest := sources.baseline.latest(name)) is None:
            continue
        accepted = _accepted(sources, name, root)
        if not accepted:
            unknown = latest.runs[-1].commit
            continue
        # Of several suites the oldest: the others may have been accepted with a regression of this one.
        if not nearest or common_commit(root, nearest, accepted) == accepted:
            nearest = accepted
    if not nearest:
        lost = [_not_here(unknown)] if unknown else []
        return replace(sources, beside="", changed=True, notes=(*sources.notes, *lost))
    return replace(sources, beside=nearest, changed=_changed(sources, root, nearest))


def _accepted(sources: Sources, suite: str, root: Path) -> str:
    """The commit of a suite's newest accepted run; empty: there is none, or it is not in this clone."""
    latest = sources.baseline.latest(suite)
    try:
        return resolve(root, latest.runs[-1].commit) if latest else ""
    except GitError:
        return ""


def _changed(sources: Sources, root: Path, commit: str) -> bool:
    """Whether any file differs from a commit, accepted runs apart."""
    place = sources.place or repository_path(root, root / sources.policy.baseline)
    return any(not _is_memory(name, place) for name in changed_files(root, commit))


def _not_here(commit: str) -> Finding:
    return Finding(
        kind="environment",
        level="warn",
        subject="confirmation",
        message=f"the accepted commit {commit[:12]} is not in this clone, so nothing was measured beside it",
        remedy="fetch the whole history: fetch-depth: 0 of actions/checkout",
    )


def up_to_base(sources: Sources, run: Run, root: Path) -> Sources:
    """The sources with a memory that knows which tests the base has moved or removed since its accepted runs.

    Where the accepted run is of a commit that is unknown here, or none of the base's own, it stays as it is.

    Args:
        sources: what a run is judged by.
        run: the run of the head.
        root: the directory of thresholds.yaml.
    """
    top, here = top_level(root), root.resolve()
    baseline, notes, behind = sources.baseline, list(sources.notes), set[str]()
    for name, suite in run.suites.items():
        if (latest := baseline.latest(name)) is None:
            continue
        commit = latest.runs[-1].commit
        names = _changed_since(commit, sources, root)
        if all(_is_memory(file, sources.place) for file in names):
            continue
        behind.add(name)
        if not unmatched(suite, baseline)[0]:
            continue
        files = {os.path.relpath(top / file, here): file for file in names if file.endswith(".py")}
        before, after = (_contents(top, at, files) for at in (commit, sources.base))
        since = since_accepted(suite, baseline, before, after)
        baseline = caught_up(baseline, name, since)
        notes += [_caught_up(name, since)] if since.moved or since.removed else []
    return replace(sources, baseline=baseline, notes=tuple(notes), behind=frozenset(behind))


def untouched_suites(run: Run, sources: Sources, root: Path, *, of_branch: bool) -> frozenset[str]:
    """Suites for which no file has changed, accepted runs apart.

    Of a change: since the base. Of the branch itself, and where there is no base: since the suite was
    accepted last. What is not known counts as changed.

    Args:
        run: the run.
        sources: what it is judged by.
        root: the directory of thresholds.yaml.
        of_branch: the branch itself is judged.
    """
    if sources.base and not of_branch:
        return frozenset() if sources.changed else frozenset(run.suites)
    found: set[str] = set()
    for name in run.suites:
        with suppress(GitError):
            if (accepted := _accepted(sources, name, root)) and not _changed(sources, root, accepted):
                found.add(name)
    return frozenset(found)


def _changed_since(commit: str, sources: Sources, root: Path) -> list[str]:
    """Files that the base has changed since a commit, as git names them; none if it is none of its own."""
    try:
        accepted = resolve(root, commit)
        own = common_commit(root, accepted, sources.base) == accepted
        return changed_files(root, accepted, sources.base) if own else []
    except GitError:
        return []


def _contents(top: Path, commit: str, files: Mapping[str, str]) -> dict[str, bytes]:
    """Files as of a commit, by what they are called here; those that it does not have are left out."""
    read = {place: content_at(top, commit, name) for place, name in files.items()}
    return {place: text for place, text in read.items() if text is not None}


def _caught_up(suite: str, since: Since) -> Finding:
    figures = [
        f"{verb} {len(tests)}"
        for verb, tests in (("moved", since.moved), ("removed", since.removed))
        if tests
    ]
    return Finding(
        kind="environment",
        level="info",
        subject=suite,
        suite=suite,
        message=f"the accepted runs are older than the base, which has {' and '.join(figures)} of the tests",
    )


def moves_of(run: Run, sources: Sources, root: Path) -> dict[str, str]:
    """What tests of the run are called in the baseline, if it is another name; see `find_moves`.

    Args:
        run: the run of the head.
        sources: what it is judged by; without a base only parameters are matched.
        root: the directory of thresholds.yaml.
    """
    pairs = [unmatched(suite, sources.baseline) for suite in run.suites.values()]
    nodeids = [nodeid for gone, new in pairs if gone and new for nodeid in (*gone, *new)]
    files = sources.touched & {file_of(nodeid) for nodeid in nodeids}
    if not files:
        return find_moves(run, sources.baseline, {}, {})
    top, here = top_level(root), root.resolve()
    before = _contents(top, sources.base, {file: os.path.relpath(here / file, top) for file in files})
    after = {file: (root / file).read_bytes() for file in files if (root / file).is_file()}
    return find_moves(run, sources.baseline, before, after)


def _is_memory(name: str, baseline: str) -> bool:
    """Whether a file holds accepted runs: they differ from commit to commit, and no suite runs them."""
    return bool(baseline) and name.startswith(f"{baseline}/") and name.endswith(".jsonl")


def _policy_at(root: Path, base: str, file: Path, here: Policy) -> tuple[Policy, list[Finding]]:
    """The policy of the base commit and what the head does to it."""
    before = file_at(root, base, file)
    if before is None:
        return here, [
            _change(file.name, "is new in this change: there are no rules at the base, its own were used")
        ]
    source = f"{file.name}@{base[:12]}"
    changed = (
        [_change(file.name, "differs from the base, whose rules were used")]
        if before != file.read_bytes()
        else []
    )
    return parse_policy(_decode(before, source), source), changed


def _no_branch(root: Path, policy: Policy, base: str) -> list[Finding]:
    """Why a branch of accepted runs gives none: a misspelt name must not look like a first run."""
    branch = policy.baseline_branch
    if not branch:
        return []
    message = f"origin has no branch {branch}"
    remedy = "gate baseline update --push begins it; is it spelt so?"
    if tracked_branch(root, branch):
        message = f"nothing on branch {branch} is as old as the base {base[:12]}".rstrip()
        remedy = "add runs of accepted code with gate baseline update"
    return [Finding(kind="environment", level="warn", subject=branch, message=message, remedy=remedy)]


def _lost(root: Path, base: str, directory: Path, policy: Policy) -> list[Finding]:
    """A base that has no accepted runs any more is told from one that never had any."""
    removal = removal_of(root, base, directory)
    if removal is None:
        return []
    commit, moved = removal.commit[:12], removal.moved_to
    how = f"moved them to {moved}" if moved else "removed them"
    message = f"the base has no accepted runs; {commit} of {removal.date} {how}"
    restore = f"bring them back: git checkout {commit}^ -- {policy.baseline}"
    remedy = (
        f"name their place in thresholds.yaml (baseline: {moved}), or move them back" if moved else restore
    )
    return [
        Finding(kind="environment", level="warn", subject=policy.baseline, message=message, remedy=remedy)
    ]


def _protected(policy: Policy, names: list[str], file: str, rules: str) -> list[Finding]:
    """Other files than the rules and the baseline, which have remarks of their own."""
    up = rules.removesuffix(file)
    return [
        _change(name, "decides how this is judged, and this change edits it")
        for name in names
        if name != rules and not name.startswith(f"{up}{policy.baseline}/") and policy.protects(name, rules)
    ]


def _by_place(files: Mapping[str, bytes]) -> dict[tuple[str, ...], bytes]:
    """Files by environment and suite, wherever their directory lies."""
    return {PurePosixPath(name).parts[-2:]: data for name, data in files.items()}


def _guarded(read: Callable[[], Baseline]) -> tuple[Baseline, tuple[Problem, ...]]:
    """A baseline that cannot be read is a problem of the verdict; the rest is still judged."""
    try:
        return read(), ()
    except BaselineError as error:
        return Baseline(), (Problem(error.place, error.message, error.remedy),)


def _removed(suite: str, rules: str) -> Finding:
    """Which suites are run, the head's rules say; what they leave out would never be missed."""
    return Finding(
        kind="missing-test",
        level="fail",
        subject=suite,
        suite=suite,
        message=f"this suite of the base is not in {rules} any more, so none of its tests ran",
        remedy="bring it back, or let somebody waive it",
    )


def _change(subject: str, message: str) -> Finding:
    return Finding(kind="policy-change", level="warn", subject=subject, message=message)


def _decode(data: bytes, source: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise LocatedError(
            source, [Mistake(Place(line, 1), "not UTF-8 text; save the file as UTF-8")]
        ) from None
