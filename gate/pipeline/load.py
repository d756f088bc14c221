"""Where policy and baseline come from: the work tree, or a base commit that a pull request cannot edit."""

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from msgspec import structs

from gate.baseline import Baseline, SuiteBaseline
from gate.baseline.ancestry import Ancestry
from gate.baseline.expected import expected
from gate.baseline.files import BaselineError, parse_baseline, read_baseline
from gate.baseline.records import Memory, SuiteRecords
from gate.files import read_if_plain, read_plain
from gate.git import (
    GitError,
    changed_files,
    common_commit,
    content_at,
    deepen,
    file_at,
    files_at,
    first_holding,
    head_commit,
    history_of,
    inside_repository,
    is_shallow,
    merge_base,
    precedes_any,
    removal_of,
    repository_path,
    resolve,
    top_level,
    tracked_branch,
    tracked_files,
)
from gate.globs import path_glob
from gate.located import LocatedError, Mistake, Place
from gate.model import Problem, Run, SuiteRun
from gate.moves import Moved, Since, caught_up, find_moves, since_accepted, unmatched
from gate.nodeids import file_of
from gate.policy import Policy
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
    proposed: Policy | None = None
    """The rules as the change leaves them; None: it leaves them alone."""
    same: bool = False
    """Whether the work tree is the base, to the last file: then nothing but the branch itself is judged."""


def load_policy(file: Path) -> Policy:
    """Read thresholds.yaml from the work tree.

    Raises:
        LocatedError: the file is missing or wrong.
    """
    try:
        text = read_plain(file)
    except OSError as error:
        message = f"{error.strerror or error}; write the file (see README), or name it: --thresholds FILE"
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


def expected_at(memory: Memory, root: Path, commit: str = "") -> Baseline:
    """What is expected at a commit; outside a repository, by the dates of the reports.

    Args:
        memory: all accepted runs.
        root: a directory of the repository.
        commit: the commit; empty: the one that is checked out.

    Returns:
        What the accepted runs of that history say. Of a suite of which none belongs to it, all of them by
        their dates; it is `unplaced`, unless the commit is older than what was accepted.

    Raises:
        GitError: the history is too shallow to tell where an accepted run belongs.
    """
    known = expected(memory, ancestry_at(memory, root, commit))
    there = {suite.suite for suite in known.overall}
    others: dict[str, list[SuiteRecords]] = {}
    for suite in memory.suites:
        if suite.suite not in there and suite.read:
            others.setdefault(suite.suite, []).append(suite)
    lost: list[SuiteRecords] = []
    for suites in others.values():
        commits = (name for suite in suites for one in suite.read for name in (one.commit, one.onto) if name)
        lost += [] if precedes_any(root, commit or "HEAD", commits) else suites
    if not lost:
        return known
    by_date = expected(Memory(tuple(lost)))
    return structs.replace(
        known,
        suites=(*known.suites, *by_date.suites),
        overall=(*known.overall, *by_date.overall),
        unplaced=frozenset(suite.suite for suite in lost),
    )


def ancestry_at(memory: Memory, root: Path, commit: str = "") -> Ancestry | None:
    """The history that accepted runs have their places in; None: outside a repository there is none.

    Raises:
        GitError: it is too shallow to tell where one of them belongs.
    """
    try:
        ancestry = Ancestry.parse(history_of(root, commit or "HEAD"))
    except GitError:
        return None
    records = [record for suite in memory.suites for record in suite.records]
    ancestry = ancestry.told_of(_brought(memory, ancestry, root, commit or "HEAD"))
    # where history is cut off, a tree or a tip that is found need not be the first
    lost = next((record for record in records if not ancestry.number(record.commit)), None)
    if lost and is_shallow(root):
        if deepen(root):
            return ancestry_at(memory, root, commit)
        which = (
            f"whether {lost.commit[:12]}, of which a run was accepted, is older than {commit[:12] or 'HEAD'}"
        )
        raise GitError(
            f"too shallow a history to tell {which}; fetch all of it: git fetch --unshallow "
            "(actions/checkout: fetch-depth: 0)"
        )
    return ancestry


def _brought(memory: Memory, ancestry: Ancestry, root: Path, commit: str) -> dict[str, str]:
    """The commits that brought accepted runs of changes that were merged as another commit."""
    found: dict[str, str] = {}
    for suite in () if is_shallow(root) else memory.suites:
        texts = {
            f'"commit":"{one.commit}","created":"{one.created}"': one.commit
            for one in suite.records
            if not ancestry.has_own(one)
        }
        with suppress(GitError):
            name = f"{suite.environment.id}/{suite.suite}.jsonl"
            for text, first in first_holding(root, commit, name, texts.keys()).items():
                found.setdefault(texts[text], first)
    return found


def memory_of(file: Path, policy: Policy, directory: Path | None = None) -> Memory:
    """All accepted runs, from wherever the policy keeps them.

    Args:
        file: thresholds.yaml.
        policy: its contents.
        directory: a directory of accepted runs to read instead.

    Raises:
        BaselineError: a line of it is damaged.
        GitError: its branch cannot be read.
    """
    root = file.absolute().parent
    if directory is not None or not policy.baseline_branch:
        return read_baseline(directory or file.parent / policy.baseline)
    tip = tracked_branch(root, policy.baseline_branch)
    return parse_baseline(files_at(root, tip, root / policy.baseline, ".jsonl") if tip else {})


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
        read, problems = _guarded(
            lambda: expected_at(memory_of(file, here, baseline), file.absolute().parent)
        )
        notes = [] if read.suites or problems or baseline else _no_branch(file.absolute().parent, here, "")
        notes += _idle_globs(file.absolute().parent, here)
        return Sources(here, read, "", tuple(notes), problems)
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
    notes += _protected(policy, names, file.name, repository_path(root, file)) + _idle_globs(root, policy)
    notes += [_removed(suite, file.name) for suite in policy.suites if suite not in here.suites]
    if (policy.baseline_branch and baseline is None) or not inside_repository(root, directory):
        # out of the change's reach
        read, problems = _guarded(lambda: expected_at(memory_of(file, policy, baseline), root, base))
        notes += [] if read.suites or problems or baseline else _no_branch(root, policy, base)
    else:
        files = files_at(root, base, directory, ".jsonl")
        read, problems = _guarded(lambda: expected_at(parse_baseline(files), root, base))
        notes += [] if files else _lost(root, base, directory, policy)
        own = {path.as_posix(): read_if_plain(path) for path in directory.rglob("*.jsonl")}
        if _by_place(own) != _by_place(files):
            notes.append(
                _change(
                    place or policy.baseline, "the baseline differs from that of the base, which was used"
                )
            )
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
        proposed=None if policy is here else here,
        same=same,
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
        accepted = _accepted(sources, run.suites[name], root)
        if not accepted:
            unknown = latest.runs[-1].place
            continue
        # Of several suites the oldest: the others may have been accepted with a regression of this one.
        if not nearest or common_commit(root, nearest, accepted) == accepted:
            nearest = accepted
    if not nearest:
        lost = [_not_here(unknown)] if unknown else []
        return replace(sources, beside="", changed=True, notes=(*sources.notes, *lost))
    behind = frozenset(
        name
        for name in run.suites
        if (accepted := _accepted(sources, run.suites[name], root))
        and not all(_is_memory(file, sources.place) for file in _changed_since(accepted, sources, root))
    )
    return replace(sources, beside=nearest, changed=_changed(sources, root, nearest), behind=behind)


def _accepted(sources: Sources, suite: SuiteRun, root: Path) -> str:
    """The nearest commit by which all that a suite ran was accepted; empty: there is none in this clone."""
    latest = sources.baseline.latest(suite.name)
    try:
        return resolve(root, _witness(latest, suite)) if latest else ""
    except GitError:
        return ""


def _witness(latest: SuiteBaseline, suite: SuiteRun) -> str:
    """The nearest commit by which all that a suite ran or lost was accepted; else the nearest of all."""
    ran = (nodeid for nodeid, test in suite.tests.items() if not test.silent)
    elsewhere = latest.lacks.get(suite.environment.id, frozenset())
    lost = latest.tests.keys() - suite.tests.keys() - elsewhere
    return latest.accepted_by((*suite.metrics, *ran, *lost)) or latest.runs[-1].place


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
        commit = latest.runs[-1].place
        names = _changed_since(commit, sources, root)
        witness = _witness(latest, suite)
        since = names if witness == commit else _changed_since(witness, sources, root)
        uncounted = any(m.exact and m.name not in latest.places for m in suite.metrics.values())
        if uncounted or not all(_is_memory(file, sources.place) for file in since):
            behind.add(name)
        if all(_is_memory(file, sources.place) for file in names) or not unmatched(suite, baseline)[0]:
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
            if (accepted := _accepted(sources, run.suites[name], root)) and not _changed(
                sources, root, accepted
            ):
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


def moves_of(run: Run, baseline: Baseline, policy: Policy, root: Path, base: str = "") -> Moved:
    """What tests of each suite are called in the baseline, if it is another name; see `find_moves`.

    Args:
        run: the run of what is checked out.
        baseline: what is expected.
        policy: what may fail.
        root: the directory of thresholds.yaml.
        base: a commit that the baseline has been brought up to; empty: it says what was accepted last.
    """
    moved: dict[str, dict[str, str]] = {}
    for name, suite in run.suites.items():
        gone, new = unmatched(suite, baseline)
        before: dict[str, bytes] = {}
        after: dict[str, bytes] = {}
        latest = baseline.latest(name)
        if gone and new and latest:
            with suppress(GitError):
                tests = (*latest.tests, *suite.tests)
                before, after = _changed_tests(root, base or latest.runs[-1].place, tests)
        moved[name] = find_moves(
            Run({name: suite}),
            baseline,
            before,
            after,
            lambda nodeid: policy.known_failure(nodeid) is not None,
        )
    return moved


def _changed_tests(
    root: Path, commit: str, nodeids: Iterable[str]
) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The files of some tests that differ from a commit: as they were then, and as they are."""
    top, here = top_level(root), root.resolve()
    changed = {os.path.relpath(top / name, here) for name in changed_files(root, resolve(root, commit))}
    files = changed & {file_of(nodeid) for nodeid in nodeids}
    before = _contents(top, commit, {file: os.path.relpath(here / file, top) for file in files})
    return before, {file: read_plain(root / file) for file in files if (root / file).is_file()}


def _is_memory(name: str, baseline: str) -> bool:
    """Whether a file holds accepted runs: they differ from commit to commit, and no suite runs them."""
    return bool(baseline) and name.startswith(f"{baseline}/") and name.endswith(".jsonl")


def _policy_at(root: Path, base: str, file: Path, here: Policy) -> tuple[Policy, list[Finding]]:
    """The policy of the base commit and what the head does to it."""
    before = file_at(root, base, file)
    if before is None:
        return here, [_without_rules(root, base, file)]
    source = f"{file.name}@{base[:12]}"
    changed = (
        [_change(repository_path(root, file), "differs from the base, whose rules were used")]
        if before != read_plain(file)
        else []
    )
    return parse_policy(_decode(before, source), source), changed


def _without_rules(root: Path, base: str, file: Path) -> Finding:
    """What it means that the base has no rules in this place: a first change, or one that moves them."""
    here = repository_path(root, file)
    moved = [name for name in changed_files(root, base) if PurePosixPath(name).name == file.name]
    top = top_level(root)
    lost = [name for name in moved if not _is_plain(top, name) and content_at(root, base, name) is not None]
    if not lost:
        return _change(here, "is new in this change: there are no rules at the base, its own were used")
    return Finding(
        kind="policy-change",
        level="fail",
        subject=file.name,
        message=f"{here} is new in this change; the rules of the base, {lost[0]}, are gone and were not used",
        remedy=f"keep {lost[0]}; to move it, add a copy in one pull request and remove it in a later one",
    )


def _is_plain(top: Path, name: str) -> bool:
    """Whether a file is there, and no link leads to it."""
    place = top / name
    return place.is_file() and place.resolve() == top.resolve() / name


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


def _idle_globs(root: Path, policy: Policy) -> list[Finding]:
    """Globs of files that match none: somebody thinks that they protect something."""
    globs = [("github.protected", name, "") for name in policy.protected.split()]
    for entry in policy.known_failures:
        globs += [(f"known_failures[{entry.pattern}].paths", name, "here") for name in entry.paths.split()]
    if not globs:
        return []
    try:
        top = top_level(root)
        tracked = tracked_files(top)
    except GitError:
        return []
    files = {"": tracked, "here": [os.path.relpath(top / name, root.resolve()) for name in tracked]}
    return [
        Finding(
            kind="rule",
            level="warn",
            subject=name,
            message="glob matches no file of the repository; correct or remove it (a directory ends with /)",
            rule=where,
        )
        for where, name, place in globs
        if not any(map(path_glob(name).fullmatch, files[place]))
    ]


def _by_place(files: Mapping[str, bytes | None]) -> dict[tuple[str, ...], bytes | None]:
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
