"""Same-machine comparison of base and head: what a run leaves open is measured and run again."""

import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gate.accounts import Account, merged
from gate.baseline import ENOUGH_RUNS
from gate.confirm.accounting import PROSE, Scene, account
from gate.confirm.compare import ALL_RANKS, Comparison, compare
from gate.confirm.observe import look
from gate.confirm.plan import Question, in_order_of_suspicion, patience_of, questions_about
from gate.confirm.rerun import LONGEST, MOST, SHARE, run_again
from gate.evidence import Confirmation, Rerun
from gate.git import changed_files, content_at, ignored_files, top_level
from gate.model import Run, Shard, TestOutcome
from gate.policy import Policy
from gate.sides.change import Change
from gate.sides.environments import Equipped, equip_all
from gate.sides.impact import changed_functions
from gate.sides.prepare import prepare
from gate.sides.side import LaunchError
from gate.sides.variables import edited_images
from gate.sides.worktrees import two_sides
from gate.verdict import Verdict

__all__ = [
    "Comparison",
    "LaunchError",
    "Question",
    "changed_in",
    "compare",
    "confirm",
    "equip_all",
    "places_of",
    "questions_about",
    "two_sides",
]


def confirm(
    run: Run,
    verdict: Verdict,
    policy: Policy,
    root: Path,
    base: str,
    *,
    listen: Callable[[str], None] = lambda _: None,
    apart: bool = False,
    first: bool = False,
) -> Confirmation:
    """Run failing tests again and compare metrics, base beside head, as the policy says.

    Args:
        run: the run of the head, in the units that the baseline knows.
        verdict: what history alone says of it, liberally: its suspects and failures are asked about.
        policy: what to ask, how, and for how long.
        root: the directory of thresholds.yaml in the work tree.
        base: the commit to compare with.
        listen: called with a line about the progress.
        apart: other machines measure the other suites of the policy, each one suite.
        first: the base has no rules yet, so its suites need not run.

    Raises:
        GitError: the base cannot be checked out.
        LaunchError: a side crashed or hangs.
    """
    names = changed_files(root, base)
    changed = changed_in(root, base, names)
    questions = _questions(run, verdict, policy, changed, names) if names else []
    failing = {f.subject for f in verdict.findings if f.kind in {"new-failure", "changed-failure"}}
    failed = [t for suite in run.suites.values() for t in suite.tests.values() if t.nodeid in failing]
    if not questions and not failed:
        return Confirmation(base=base, head=run.commit)
    budget = math.inf if policy.confirm == "all" else policy.budget.to("s")
    amounts = f"{_amount(len(questions), 'metric')}, {_amount(len(failed), 'failing test')}"
    listen(f"confirm: {amounts}, base {base[:12]} beside the head")
    reruns: dict[str, Rerun] = {}
    notes: tuple[str, ...] = ()
    known, exclusive = Account(), dict[str, str]()
    try:
        with two_sides(root, base) as pair:
            commands = dict.fromkeys(question.command for question in questions)
            commands |= {policy.suites[t.suite].run: None for t in failed if t.suite in policy.suites}
            equipped = equip_all(pair, commands, policy.install, listen)
            _prepare(equipped, policy, listen)
            asked = _to_account_for(run, verdict, policy, questions, failed)
            known, exclusive = _accounts(equipped, {} if first else asked, names, policy, listen)
            questions = [question for question in questions if not known.untouched(question.nodeid)]
            sides = {command: found.sides for command, found in equipped.items()}
            begun = time.monotonic()
            if failed:
                reruns = run_again(sides, failed, policy, run.seconds, budget, listen=listen)
            used = time.monotonic() - begun
            left = min(budget - min(used, budget * SHARE), LONGEST * budget - used)
            ranks = places_of(run, policy) if apart else ALL_RANKS
            result = compare(sides, questions, left, listen, ranks=ranks, exclusive=exclusive.keys())
    except KeyboardInterrupt:
        result = Comparison(interrupted=True)
    except LaunchError as error:
        if not first or error.side != "base":
            raise
        result = Comparison(not_comparable=tuple(question.metric for question in questions))
        reason = str(error).partition("\n")[0].rstrip(":")
        notes += (f"the base has no rules yet and was not measured: {reason}",)
    if result.failing:
        notes += (
            f"passes alone and fails beside the base, so it was not compared: {', '.join(result.failing)}",
        )
    notes += tuple(
        f"base and head were run one after the other, so smaller changes stay unseen: {why}"
        for why in dict.fromkeys(exclusive.values())
    )
    return Confirmation(
        evidence=result.evidence,
        reruns=reruns,
        not_reached=result.not_reached,
        not_comparable=result.not_comparable,
        notes=notes,
        interrupted=result.interrupted,
        account=known,
        base=base,
        head=run.commit,
    )


def _prepare(equipped: Mapping[str, Equipped], policy: Policy, listen: Callable[[str], None]) -> None:
    wanted = {(suite.prepare, suite.run) for suite in policy.suites.values() if suite.prepare}
    by_command = {command: run for command, run in sorted(wanted) if run in equipped}
    for command, run in by_command.items():
        prepare(equipped[run].sides, command, listen)


def _to_account_for(
    run: Run, verdict: Verdict, policy: Policy, questions: Sequence[Question], failed: Sequence[TestOutcome]
) -> dict[str, dict[str, float]]:
    """Tests whose base may clear or excuse something: command -> nodeid -> how long it may be silent.

    Those are failing tests, suspects, and while few runs are accepted all that is measured.
    """
    suspects = {
        f.subject for f in verdict.findings if f.state == "suspect" or f.kind in {"limit", "invalid-load"}
    }
    young = {suite.name for suite in verdict.suites if suite.environment.comparable_runs < ENOUGH_RUNS}
    asked: dict[str, dict[str, float]] = {}
    for question in questions:
        if suspects & {question.metric, question.subject} or question.suite in young:
            asked.setdefault(question.command, {})[question.nodeid] = question.patience
    for test in failed if len(failed) <= MOST else ():
        if suite := policy.suites.get(test.suite):
            patience = patience_of(suite, run.seconds)
            asked.setdefault(suite.run, {}).setdefault(test.nodeid, patience)
    return asked


def _accounts(
    equipped: Mapping[str, Equipped],
    asked: Mapping[str, Mapping[str, float]],
    names: Sequence[str],
    policy: Policy,
    listen: Callable[[str], None],
) -> tuple[Account, dict[str, str]]:
    """Look at the tests of each command.

    Returns:
        What differs, and which commands must run one side at a time -> why.
    """
    accounts: list[Account] = []
    exclusive = {suite.run: "exclusive: true" for suite in policy.suites.values() if suite.exclusive}
    written = _written_by_this_job()
    for command, tests in asked.items():
        found = equipped[command]
        listen(f"confirm: looking at what {_amount(len(tests), 'test')} reach on both sides")
        patience = max(tests.values())
        seen = look(found.sides, command, list(tests), patience, names, exclusive=command in exclusive)
        if seen.exclusive:
            exclusive[command] = seen.exclusive
        base, head = found.sides
        change = Change(tuple(names), base.tree, head.tree)
        before, after = change.edited(lambda name: name.endswith((".yml", ".yaml")))
        scene = Scene(
            seen,
            found,
            names,
            change.same_code,
            policy.shared.split(),
            ignored_files(head.tree) if head.tree == head.top else (),
            edited_images(before, after),
            written,
        )
        accounts.append(account(scene, tests))
    return merged(accounts), exclusive


def _written_by_this_job() -> Callable[[str], bool]:
    """Tells whether a file was written since a workflow's job began; elsewhere no file was."""
    now = time.time()
    try:
        begun = Path(os.environ["GITHUB_EVENT_PATH"]).stat().st_mtime
    except (KeyError, OSError):
        begun = math.inf

    def written(path: str) -> bool:
        try:
            return begun <= Path(path).stat().st_mtime < now
        except OSError:
            return False

    return written


def places_of(run: Run, policy: Policy) -> range:
    """Every k-th place for one of k suites, which are measured on a machine each.

    A shard that has a machine to itself gets every n-th of its suite's.
    """
    names = list(policy.suites)
    first = min((names.index(name) for name in run.suites if name in names), default=0)
    suites = max(1, len(names))
    shard = next((suite.shard for suite in run.suites.values() if suite.shard), None) or Shard(1, 1)
    return range(first + 1 + suites * (shard.number - 1), sys.maxsize, suites * shard.of)


def changed_in(root: Path, base: str, names: Sequence[str]) -> frozenset[str]:
    """Functions that differ between the base and the work tree, by path from `root`."""
    top = top_level(root)
    places = {os.path.relpath(top / name, root.resolve()): name for name in names}

    def at_head(place: str) -> bytes | None:
        file = root / place
        return file.read_bytes() if file.is_file() else None

    return changed_functions(places, lambda place: content_at(top, base, places[place]), at_head)


def _questions(
    run: Run, verdict: Verdict, policy: Policy, changed: frozenset[str], names: Sequence[str]
) -> list[Question]:
    """What to measure again: where the change looks like prose, only what history suspects."""
    suspects = [finding.subject for finding in verdict.findings if finding.state == "suspect"]
    void = {finding.subject for finding in verdict.findings if finding.kind == "invalid-load"}
    questions = [
        question
        for question in in_order_of_suspicion(run, policy, suspects, changed)
        if question.subject not in void and question.metric not in void
    ]
    prose = policy.confirm == "budget" and all(map(PROSE.fullmatch, names))
    if policy.confirm == "suspects" or prose:
        return [question for question in questions if question.metric in suspects]
    return questions


def _amount(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
