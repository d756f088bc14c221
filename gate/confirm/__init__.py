"""Same-machine comparison of base and head: what a run leaves open is measured and run again."""

import math
import os
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from gate.accounts import NO_ACCOUNT, Account, Difference, Reached, merged
from gate.confirm.accounting import PROSE
from gate.confirm.base import base_counts, counting_tests
from gate.confirm.compare import ALL_RANKS, Comparison, compare
from gate.confirm.plan import Question, in_order_of_suspicion, questions_about
from gate.confirm.rerun import LONGEST, SHARE, run_again
from gate.confirm.survey import survey, to_account_for
from gate.evidence import Confirmation, Rerun, together
from gate.git import changed_files, content_at, top_level
from gate.model import Run, Shard, TestOutcome
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
    "Earlier",
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


@dataclass(frozen=True)
class Earlier:
    """What the same sides showed before."""

    shown: Confirmation
    open: frozenset[str]
    """Metrics, their subjects and tests that the verdict by it leaves open."""

    def leaves_open(self, question: Question) -> bool:
        """Whether a question has no answer yet."""
        return not self.open.isdisjoint((question.metric, question.subject))

    def and_then(self, found: Confirmation) -> Confirmation:
        """With what was found of what it left open."""
        both = together((self.shown, found))
        measured = both.evidence.keys()
        return replace(
            both,
            not_reached=tuple(name for name in dict.fromkeys(both.not_reached) if name not in measured),
            not_comparable=tuple(name for name in dict.fromkeys(both.not_comparable) if name not in measured),
            interrupted=found.interrupted,
        )


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
    thorough: bool = False,
    earlier: Earlier | None = None,
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
        thorough: a confirmed regression may be permitted, so it does not end the comparison.
        earlier: what the same sides showed before: only what that left open is measured.

    Raises:
        GitError: the base cannot be checked out.
        LaunchError: a side crashed or hangs.
    """
    work = _work(run, verdict, policy, root, base, first=first, behind=behind, earlier=earlier)
    if not work:
        return earlier.shown if earlier else Confirmation(base=base, head=run.commit)
    budget = math.inf if policy.confirm == "all" else policy.budget.to("s")
    amounts = f"{amount(len(work.wanted), 'metric')}, {amount(len(work.failed), 'failing test')}"
    listen(f"confirm: {amounts}, base {base[:12]} beside the head")
    reruns, counts = dict[str, Rerun](), dict[str, float]()
    notes: tuple[str, ...] = ()
    known, exclusive = NO_ACCOUNT, dict[str, str]()
    try:
        with two_sides(root, base) as pair:
            equipped = equip_all(pair, work.commands(policy), policy, listen)
            _prepare(equipped, policy, listen)
            known, exclusive = survey(equipped, work.asked, work.names, policy, listen)
            if earlier:
                known = merged((earlier.shown.account, known))
            touched = [question for question in work.questions if not known.untouched(question.nodeid)]
            places = dict(zip(touched, places_of(run, policy) if apart else ALL_RANKS, strict=False))
            questions = [question for question in touched if question in work.wanted]
            sides = {command: found.sides for command, found in equipped.items()}
            begun = time.monotonic()
            counts = base_counts(sides, work.counted, known.untouched, policy, run, listen=listen)
            if work.failed:
                reruns = run_again(sides, work.failed, policy, run.seconds, budget, listen=listen)
            used = time.monotonic() - begun
            left = min(budget - min(used, budget * SHARE), LONGEST * budget - used)
            measure = partial(
                compare,
                sides,
                questions,
                listen=listen,
                ranks=[places[question] for question in questions],
                earlier=earlier.shown.evidence if earlier else {},
                longest=LONGEST * budget - used,
                thorough=thorough or policy.confirm == "all",
            )
            try:
                result = measure(left, exclusive=exclusive.keys())
            except LaunchError:
                # Nobody has looked yet whether both sides of these commands can run at once.
                tests = {q.command: {q.nodeid: q.patience} for q in questions if q.command not in work.asked}
                _, hindered = survey(equipped, tests, work.names, policy, listen)
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
        result = Comparison(not_comparable=tuple(question.metric for question in work.questions))
        reason = str(error).partition("\n")[0].rstrip(":")
        notes += (f"the base has no rules yet and was not measured: {reason}",)
    known = merged((known, _not_measured_again(result)))
    found = Confirmation(
        evidence=result.evidence,
        reruns=reruns,
        counts=counts,
        not_reached=result.not_reached,
        not_comparable=result.not_comparable,
        notes=(*notes, *_notes(result, exclusive)),
        interrupted=result.interrupted,
        early=result.early,
        account=known,
        base=base,
        head=run.commit,
        suites=tuple(run.suites),
    )
    return earlier.and_then(found) if earlier else found


@dataclass(frozen=True)
class _Work:
    """What is to be measured."""

    names: Sequence[str]
    """Files that differ."""
    questions: Sequence[Question]
    """All there are, in order of suspicion."""
    wanted: frozenset[Question]
    """Those without an answer."""
    failed: Sequence[TestOutcome]
    """Tests to run again."""
    asked: Mapping[str, Mapping[str, float]]
    """Tests to account for, as `to_account_for` gives them."""
    counted: Mapping[str, Sequence[str]]
    """Tests that tell a work count of the base, by suite."""

    def __bool__(self) -> bool:
        return bool(self.wanted or self.failed or self.asked or self.counted)

    def commands(self, policy: Policy) -> dict[str, None]:
        """Of the suites that are needed."""
        return dict.fromkeys(
            (
                *(question.command for question in self.questions if question in self.wanted),
                *self.asked,
                *(policy.suites[name].run for name in self.counted),
                *(policy.suites[test.suite].run for test in self.failed if test.suite in policy.suites),
            )
        )


def _work(
    run: Run,
    verdict: Verdict,
    policy: Policy,
    root: Path,
    base: str,
    *,
    first: bool,
    behind: Collection[str],
    earlier: Earlier | None,
) -> _Work:
    """What a run leaves open; with `earlier`, what that has not answered. See `confirm` for the arguments."""
    names = changed_files(root, base)
    questions = _questions(run, verdict, policy, changed_in(root, base, names), names) if names else []
    failing = {f.subject for f in verdict.findings if f.kind in {"new-failure", "changed-failure"}}
    failed = [t for suite in run.suites.values() for t in suite.tests.values() if t.nodeid in failing]
    if earlier:
        failed = [test for test in failed if test.nodeid in earlier.open]
        wanted = [question for question in questions if earlier.leaves_open(question)]
    else:
        wanted = questions
    answered = earlier and not wanted and not failed
    asks = bool(names) and not answered
    asked = to_account_for(run, verdict, policy, () if first else wanted, failed) if asks else {}
    counts = not earlier and not first and not all(map(PROSE.fullmatch, names))
    counted = counting_tests(run, policy, behind) if counts else {}
    return _Work(names, questions, frozenset(wanted), failed, asked, counted)


def _not_measured_again(result: Comparison) -> Account:
    """Tests that measure something else in the comparison than in the run: it says nothing about them."""
    differences = [
        Difference(
            "test",
            nodeid,
            "unaccounted",
            f"in the comparison this test does not measure {', '.join(names)}: it is skipped or fails "
            "there, or uses other names",
            "let it measure the same, under the same names, when one process runs it without the other tests",
        )
        for nodeid, names in result.lost.items()
    ]
    return Account(
        tuple(differences),
        {one.what: Reached(touched=True, unaccounted=(place,)) for place, one in enumerate(differences)},
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
