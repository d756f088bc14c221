"""What base and head share, for the tests whose failures or figures the base may excuse."""

import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from gate.accounts import NO_ACCOUNT, Account, merged
from gate.baseline import ENOUGH_RUNS
from gate.confirm.accounting import Scene, account
from gate.confirm.observe import look
from gate.confirm.plan import Question, patience_of
from gate.confirm.rerun import MOST
from gate.git import ignored_files, refresh
from gate.model import Run, TestOutcome
from gate.policy import Policy
from gate.sides.change import Change
from gate.sides.environments import Equipped
from gate.sides.variables import edited_images
from gate.verdict import Verdict

_QUICK: Final = 20.0
"""Seconds of tests that are looked at though nothing speaks against them."""


def to_account_for(
    run: Run, verdict: Verdict, policy: Policy, questions: Sequence[Question], failed: Sequence[TestOutcome]
) -> dict[str, dict[str, float]]:
    """Tests whose base may clear or excuse something: command -> nodeid -> how long it may be silent.

    Those are failing tests, suspects, and while few runs are accepted all that is measured, as far as that is
    quick.
    """
    suspects = {finding.subject for finding in verdict.findings if finding.state == "suspect"}
    young = {suite.name for suite in verdict.suites if suite.environment.comparable_runs < ENOUGH_RUNS}
    patiences = {suite.run: patience_of(suite, run.seconds) for suite in policy.suites.values()}
    seconds = {test.nodeid: test.duration for suite in run.suites.values() for test in suite.tests.values()}
    asked: dict[str, dict[str, float]] = {}
    used = 0.0
    for question in questions:
        quick = question.suite in young and used < _QUICK
        if not quick and not suspects & {question.metric, question.subject}:
            continue
        tests = asked.setdefault(question.command, {})
        if question.nodeid not in tests:
            tests[question.nodeid] = question.patience
            used += seconds.get(question.nodeid, 0.0)
    for finding in verdict.findings:
        broken = finding.level == "fail" and finding.kind in {"limit", "invalid-load"}
        if broken and (suite := policy.suites.get(finding.suite)):
            for nodeid in finding.nodeids:
                asked.setdefault(suite.run, {}).setdefault(nodeid, patiences[suite.run])
    for test in failed if len(failed) <= MOST else ():
        if suite := policy.suites.get(test.suite):
            asked.setdefault(suite.run, {}).setdefault(test.nodeid, patiences[suite.run])
    return asked


def survey(
    equipped: Mapping[str, Equipped],
    asked: Mapping[str, Mapping[str, float]],
    names: Sequence[str],
    policy: Policy,
    listen: Callable[[str], None],
) -> tuple[Account, dict[str, str]]:
    """Look at the tests of each command, and tell what both sides would share.

    Args:
        equipped: both sides by command.
        asked: command -> nodeid -> seconds that its suite may be silent.
        names: the files that differ, relative to the trees.
        policy: what it calls shared, and which suites are exclusive.
        listen: called with a line before each look.

    Returns:
        What differs, and which commands must run one side at a time -> why.
    """
    exclusive = {suite.run: "exclusive: true" for suite in policy.suites.values() if suite.exclusive}
    if not asked:
        return NO_ACCOUNT, exclusive
    base, head = next(iter(equipped.values())).sides  # the same trees for all commands
    for side in (base, head):
        refresh(side.tree)
    change = Change(tuple(names), base.tree, head.tree)
    scene = partial(
        Scene,
        names=names,
        same_code=change.same_code,
        shared=policy.shared_addresses,
        ignored=ignored_files(head.tree) if head.tree == head.top else (),
        images=edited_images(*change.edited(lambda name: name.endswith((".yml", ".yaml")))),
        written_since=_written_since(names, head.tree),
    )
    accounts: list[Account] = []
    for command, tests in asked.items():
        found = equipped[command]
        listen(f"confirm: looking at what {_amount(len(tests))} on each side")
        patience = max(tests.values())
        seen = look(
            found.sides,
            command,
            list(tests),
            patience,
            names,
            installed=found.head_files,
            exclusive=command in exclusive,
        )
        if seen.exclusive:
            exclusive[command] = seen.exclusive
        accounts.append(account(scene(seen, found), tests))
    return merged(accounts), exclusive


def _written_since(names: Iterable[str], tree: Path) -> Callable[[str], bool]:
    """Tells whether a file was written after the change was edited or checked out, or since its job began."""
    begun = math.inf
    for place in (os.environ.get("GITHUB_EVENT_PATH"), *(tree / name for name in names)):
        with suppress(OSError):
            begun = min(begun, Path(place).stat().st_mtime) if place else begun
    now = time.time()

    def written(path: str) -> bool:
        try:
            return begun <= Path(path).stat().st_mtime < now
        except OSError:
            return False

    return written


def _amount(tests: int) -> str:
    return "1 test reaches" if tests == 1 else f"{tests} tests reach"
