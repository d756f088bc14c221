"""Same-machine comparison of base and head: what a run leaves open is measured and run again."""

import math
import os
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from gate.accounts import NO_ACCOUNT
from gate.confirm.accounting import PROSE
from gate.confirm.base import base_counts, counting_tests
from gate.confirm.compare import ALL_RANKS, Comparison, compare
from gate.confirm.plan import Question, in_order_of_suspicion, questions_about
from gate.confirm.rerun import LONGEST, SHARE, run_again
from gate.confirm.survey import survey, to_account_for
from gate.evidence import Confirmation, Rerun
from gate.git import changed_files, content_at, top_level
from gate.model import Run, Shard
from gate.policy import Policy
from gate.sides.environments import Equipped, equip_all
from gate.sides.impact import changed_functions
from gate.sides.prepare import prepare
from gate.sides.side import LaunchError
from gate.sides.worktrees import two_sides
from gate.units import amount
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
    behind: Collection[str] = (),
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
        behind: suites whose accepted runs are older than the base.

    Raises:
        GitError: the base cannot be checked out.
        LaunchError: a side crashed or hangs.
    """
    names = changed_files(root, base)
    changed = changed_in(root, base, names)
    questions = _questions(run, verdict, policy, changed, names) if names else []
    failing = {f.subject for f in verdict.findings if f.kind in {"new-failure", "changed-failure"}}
    failed = [t for suite in run.suites.values() for t in suite.tests.values() if t.nodeid in failing]
    asked = to_account_for(run, verdict, policy, () if first else questions, failed) if names else {}
    counted = {} if first or all(map(PROSE.fullmatch, names)) else counting_tests(run, policy, behind)
    if not questions and not failed and not asked and not counted:
        return Confirmation(base=base, head=run.commit)
    budget = math.inf if policy.confirm == "all" else policy.budget.to("s")
    amounts = f"{amount(len(questions), 'metric')}, {amount(len(failed), 'failing test')}"
    listen(f"confirm: {amounts}, base {base[:12]} beside the head")
    reruns, counts = dict[str, Rerun](), dict[str, float]()
    notes: tuple[str, ...] = ()
    known, exclusive = NO_ACCOUNT, dict[str, str]()
    try:
        with two_sides(root, base) as pair:
            commands = dict.fromkeys(question.command for question in questions)
            commands |= dict.fromkeys([*asked, *(policy.suites[name].run for name in counted)])
            commands |= {policy.suites[t.suite].run: None for t in failed if t.suite in policy.suites}
            equipped = equip_all(pair, commands, policy.install, listen)
            _prepare(equipped, policy, listen)
            known, exclusive = survey(equipped, asked, names, policy, listen)
            questions = [question for question in questions if not known.untouched(question.nodeid)]
            sides = {command: found.sides for command, found in equipped.items()}
            begun = time.monotonic()
            counts = base_counts(sides, counted, known.untouched, policy, run, listen=listen)
            reruns = run_again(sides, failed, policy, run.seconds, budget, listen=listen) if failed else {}
            used = time.monotonic() - begun
            left = min(budget - min(used, budget * SHARE), LONGEST * budget - used)
            measure = partial(
                compare, sides, questions, listen=listen, ranks=places_of(run, policy) if apart else ALL_RANKS
            )
            try:
                result = measure(left, exclusive=exclusive.keys())
            except LaunchError:
                # Nobody has looked yet whether both sides of these commands can run at once.
                tests = {q.command: {q.nodeid: q.patience} for q in questions if q.command not in asked}
                _, hindered = survey(equipped, tests, names, policy, listen)
                if not hindered.keys() - exclusive.keys():
                    raise
                exclusive |= hindered
                left -= time.monotonic() - begun - used
                result = measure(left, exclusive=exclusive.keys())
    except KeyboardInterrupt:
        result = Comparison(interrupted=True)
    except LaunchError as error:
        if not first or error.side != "base":
            raise
        result = Comparison(not_comparable=tuple(question.metric for question in questions))
        reason = str(error).partition("\n")[0].rstrip(":")
        notes += (f"the base has no rules yet and was not measured: {reason}",)
    return Confirmation(
        evidence=result.evidence,
        reruns=reruns,
        counts=counts,
        not_reached=result.not_reached,
        not_comparable=result.not_comparable,
        notes=(*notes, *_notes(result, exclusive)),
        interrupted=result.interrupted,
        account=known,
        base=base,
        head=run.commit,
    )


def _notes(result: Comparison, exclusive: Mapping[str, str]) -> Iterator[str]:
    """What weakens the comparison."""
    if result.failing:
        yield f"passes alone and fails beside the base, so it was not compared: {', '.join(result.failing)}"
    for why in dict.fromkeys(exclusive.values()):
        yield f"base and head were run one after the other, so smaller changes stay unseen: {why}"


def _prepare(equipped: Mapping[str, Equipped], policy: Policy, listen: Callable[[str], None]) -> None:
    suites = [suite for suite in policy.suites.values() if suite.prepare and suite.run in equipped]
    for command, run in {suite.prepare: suite.run for suite in suites}.items():
        prepare(equipped[run].sides, command, listen)


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
    limits = [f.subject for f in verdict.findings if f.kind == "limit" and f.level == "fail"]
    suspects = [f.subject for f in verdict.findings if f.state == "suspect" or f.kind == "limit"]
    # in turns a busy machine is busy for both sides; what a load did to itself no turn can mend
    loads = {f.subject: f.state for f in verdict.findings if f.kind == "invalid-load"}
    suspects += [m.name for m in run.metrics.values() if loads.get(m.subject) == "inconclusive"]
    void = {subject for subject, state in loads.items() if state is None}
    questions = [
        question
        for question in in_order_of_suspicion(run, policy, suspects, changed, limits)
        if question.subject not in void and question.metric not in void
    ]
    prose = policy.confirm == "budget" and all(map(PROSE.fullmatch, names))
    if policy.confirm == "suspects" or prose:
        return [question for question in questions if question.metric in suspects]
    return questions
