"""The loop of launches: until everything is decided or the budget is used.

Launch after launch, strongest suspicion first: one launch carries a batch of tests, what is decided
leaves the batch, and what the budget does not reach is said.
"""

import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from gate.confirm.child import Task
from gate.confirm.course import Course
from gate.confirm.launch import LaunchResult, Pace, launch, launch_apart
from gate.confirm.plan import Costs, Question, next_batch
from gate.evidence import MAX_LAUNCHES, Decision, Evidence, Pair, weigh
from gate.sides.side import Side
from pytest_regression_gate.metrics import statistic_of, subject_of

_FIRST: Final = 0.5
"""Part of the budget in which nothing else is measured while a suspicion is open."""
_STRETCH: Final = 2.0
"""Times the budget that a suspicion gets which would otherwise end undecided."""
_FEW: Final = 4
"""So many operations make a launch hardly longer than its start: they are measured together."""
_MISSES: Final = 2
"""Launches in a row without a metric after which it is not asked for again: one may fail by chance, or learn
where base and head differ."""
ALL_RANKS: Final = range(1, sys.maxsize)
_SEED: Final = 0
"""Other layouts in each launch, the same ones each time."""


@dataclass
class Comparison:
    """What the machine said."""

    evidence: dict[str, Evidence] = field(default_factory=dict[str, Evidence])
    decisions: dict[str, Decision] = field(default_factory=dict[str, Decision])
    launches: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    early: bool = False
    """A regression is confirmed, so what nothing speaks against was left out."""
    not_reached: tuple[str, ...] = ()
    """Metrics that the budget did not suffice for, in order of suspicion."""
    not_comparable: tuple[str, ...] = ()
    """Metrics of which base and head gave nothing to compare."""
    failing: tuple[str, ...] = ()
    """Tests of such metrics that fail on the head alone, though they passed in its run (nodeids)."""
    lost: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    """Test -> what it measured in the run and does not measure in the comparison, on the head itself."""


_NOTHING: Final[Mapping[str, Evidence]] = {}


class Launch(Protocol):
    """Starts both sides once and measures what a task asks for."""

    def __call__(
        self, sides: tuple[Side, Side], task: Task, pace: Pace, courses: tuple[Course, Course]
    ) -> LaunchResult:
        """What they measured."""
        ...


@dataclass
class _State:
    """What launches have shown so far."""

    pairs: dict[str, list[Pair]]
    """By metric."""
    start: tuple[Launch, Launch]
    """Makes a launch, of both sides at once or one after the other."""
    costs: Costs = field(default_factory=Costs)
    courses: dict[str, tuple[Course, Course]] = field(
        default_factory=lambda: defaultdict(lambda: (Course(), Course()))
    )
    """By command: the ways of base and head."""
    failed: set[str] = field(default_factory=set[str])
    """Tests that failed on the head alone (nodeids)."""
    lost: set[str] = field(default_factory=set[str])
    """Metrics that the head itself did not come to when it was asked last."""
    missed: dict[str, int] = field(default_factory=dict[str, int])
    """Metric -> launches in a row that should have measured it and did not."""

    @property
    def gone(self) -> set[str]:
        """Metrics that more launches would not measure either."""
        return {metric for metric, times in self.missed.items() if times >= _MISSES}


def compare(
    sides: Mapping[str, tuple[Side, Side]],
    questions: Sequence[Question],
    budget: float,
    listen: Callable[[str], None] = lambda _: None,
    *,
    ranks: Iterable[int] = ALL_RANKS,
    exclusive: Collection[str] = (),
    longest: float = 0.0,
    thorough: bool = False,
    earlier: Mapping[str, Evidence] = _NOTHING,
    start: Launch = launch,
    start_apart: Launch = launch_apart,
    clock: Callable[[], float] = time.monotonic,
) -> Comparison:
    """Compare base and head for some metrics until all are decided or the budget is used.

    A suspicion that would end undecided, and fail for it, may take twice the budget. Once a regression is
    confirmed, only suspicions are measured.

    Args:
        sides: base and head, by the command of their suite.
        questions: what to compare, in order of suspicion.
        budget: seconds.
        listen: called with a line about the progress after each launch.
        ranks: the places of the questions in the order of suspicion. Machines that share a pull request
            take places of their own, so that the error rate holds for all of them together.
        exclusive: commands of which both sides cannot run at once.
        longest: seconds that no suspicion may go beyond; less than the budget: none goes beyond that.
        thorough: measure everything, even if a regression is confirmed.
        earlier: what an earlier comparison of the same sides showed, by metric: it goes on from there.
        start: makes one launch.
        start_apart: makes one, one side after the other.
        clock: seconds.

    Raises:
        LaunchError: a side crashed or hangs.
    """
    result = Comparison()
    begun = clock()
    before = {q.metric: list(earlier[q.metric].pairs) if q.metric in earlier else [] for q in questions}
    state = _State(before, (start, start_apart))
    places = dict(zip((question.metric for question in questions), ranks, strict=False))
    # other layouts than an earlier comparison had
    seeds = random.Random(_SEED + max(map(len, before.values()), default=0))
    _weigh(result, questions, state, places)
    try:
        while True:
            left = budget - (clock() - begun)
            seen = {metric: len(found) for metric, found in state.pairs.items()}
            waiting = {
                q.metric for q in questions if q.metric not in state.gone and _open(result, q, seen[q.metric])
            }
            if left <= 0:
                left += min(_STRETCH * budget, longest) - budget
                waiting &= {question.metric for question in questions if _may_not_pass(result, question)}
            elif left > budget * (1 - _FIRST):
                waiting = _most_urgent(questions, waiting)
            if "confirmed" in result.decisions.values() and not thorough:
                suspected = {question.metric for question in questions if question.suspected}
                result.early = result.early or not waiting <= suspected
                waiting &= suspected
            batch, share = next_batch(questions, waiting, seen, state.costs, left) if left > 0 else ([], 0.0)
            if not batch:
                break
            result.launches += 1
            # An even and an odd one in turns: the side that begins changes from launch to launch.
            seed = seeds.randrange(1, 2**30) * 2 + result.launches % 2
            _measure(sides, batch, Pace(seed, share, clock() + left), state, exclusive)
            _weigh(result, questions, state, places)
            listen(_line(result, batch, clock() - begun))
    except KeyboardInterrupt:
        result.interrupted = True
    result.seconds = clock() - begun
    unmeasured = [metric for metric, found in state.pairs.items() if not found]
    result.not_reached = tuple(metric for metric in unmeasured if metric not in state.gone)
    result.not_comparable = tuple(metric for metric in unmeasured if metric in state.gone)
    gone = [question for question in questions if question.metric in result.not_comparable]
    result.failing = tuple(dict.fromkeys(q.nodeid for q in gone if q.nodeid in state.failed))
    lost: dict[str, list[str]] = {}
    for question in gone:
        if question.metric in state.lost:
            names = lost.setdefault(question.nodeid, [])
            names += [name] if (name := subject_of(question.metric)) not in names else []
    result.lost = lost
    return result


def _may_not_pass(result: Comparison, question: Question) -> bool:
    """Whether a question fails if it stays undecided."""
    bounds = question.better, question.tolerance, question.floor
    if (shown := result.evidence.get(question.metric)) is None:
        return question.suspected
    return shown.grave(*bounds) if question.suspected else shown.far(*bounds)


def _open(result: Comparison, question: Question, launches: int) -> bool:
    """Whether more launches can decide a question."""
    if result.decisions.get(question.metric, "inconclusive") != "inconclusive" or launches >= MAX_LAUNCHES:
        return False
    shown = result.evidence.get(question.metric)
    return not (shown and shown.hopeless(question.better, question.tolerance, question.floor))


def _most_urgent(questions: Sequence[Question], waiting: set[str]) -> set[str]:
    """The suspicions among the open metrics; all of them where there is none or little else."""
    if len({question.subject for question in questions if question.metric in waiting}) <= _FEW:
        return waiting
    return {question.metric for question in questions if question.suspected} & waiting or waiting


def _measure(
    sides: Mapping[str, tuple[Side, Side]],
    batch: Sequence[Question],
    pace: Pace,
    state: _State,
    exclusive: Collection[str],
) -> None:
    """One launch of every command in the batch; two where a test is asked for rounds and as a whole."""
    parts: dict[tuple[str, bool], list[Question]] = {}
    for question in batch:
        parts.setdefault((question.command, _apart(question, batch)), []).append(question)
    starts: dict[str, float] = defaultdict(float)
    for (command, _), part in parts.items():
        rounds = [question for question in part if question.repeatable]
        once = [question for question in part if not question.repeatable]
        subjects: dict[str, frozenset[str]] = {}
        for question in rounds:
            asked = subjects.get(question.subject, frozenset[str]())
            subjects[question.subject] = asked | {statistic_of(question.metric)}
        task = Task(
            command,
            tests=list(dict.fromkeys(question.nodeid for question in part)),
            subjects=subjects,
            whole=list(dict.fromkeys(question.nodeid for question in once)),
            units={question.metric: question.unit for question in once},
            patience=max(question.patience for question in part),
        )
        courses = state.courses[command]
        done = state.start[command in exclusive](sides[command], task, pace, courses)
        starts[command] += max(0.5, done.seconds - sum(done.measuring.values()))
        state.costs.starts[command] = starts[command]
        state.costs.subjects |= done.measuring
        state.failed |= done.failed
        for question in part:
            if question.metric in done.pairs:
                state.pairs[question.metric].append(done.pairs[question.metric])
                state.missed.pop(question.metric, None)
                state.lost.discard(question.metric)
            elif not done.cut:
                if question.subject in done.lost:
                    state.lost.add(question.metric)
                else:
                    state.lost.discard(question.metric)
                state.missed[question.metric] = state.missed.get(question.metric, 0) + 1


def _apart(question: Question, batch: Sequence[Question]) -> bool:
    """Whether a question is about a test as a whole that others ask about in rounds."""
    return not question.repeatable and any(
        other.repeatable and other.nodeid == question.nodeid for other in batch
    )


def _weigh(
    result: Comparison, questions: Sequence[Question], state: _State, places: Mapping[str, int]
) -> None:
    for question in questions:
        if found := state.pairs[question.metric]:
            evidence = weigh(question.metric, found, places[question.metric])
            evidence = replace(evidence, seconds=state.costs.alone(question))
            result.evidence[question.metric] = evidence
            result.decisions[question.metric] = evidence.decide(
                question.better, question.tolerance, question.floor
            )


def _line(result: Comparison, batch: Sequence[Question], seconds: float) -> str:
    decided = sum(decision != "inconclusive" for decision in result.decisions.values())
    confirmed = sum(decision == "confirmed" for decision in result.decisions.values())
    return (
        f"confirm: launch {result.launches}, {seconds:.0f} s, {len(batch)} metrics in it, "
        f"{decided} decided, {confirmed} confirmed"
    )
