"""What is asked of the machine, in which order, and what one launch carries. Pure."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from gate.evidence import LIMIT_SLACK, MIN_LAUNCHES
from gate.located import Place
from gate.model import Metric, Run
from gate.policy import OFF, Entry, Policy, Suite
from gate.sides.impact import reaches
from pytest_regression_gate.metrics import STATISTICS, Better, statistic_of, subject_of

REPEATABLE: Final = frozenset({*STATISTICS, "cpu", "throughput"})
"""Statistics that a round gives; everything else is measured once per process."""

_ORDER: Final = {statistic: place for place, statistic in enumerate(("p50", "cpu", "throughput", "p95"))}
_REST: Final = 2
"""The tier of what nothing speaks against; what runs changed code (0) and other suspects (1) come first."""
_WANTED: Final = 6
"""Launches after which a change of twice the tolerance is mostly decided: a batch of suspicions is so small
that the budget has them."""
_START: Final = 5.0
"""Seconds that the start of a pair of processes is assumed to take, before one was seen."""
_SHORTEST, _LONGEST = 0.5, 1.5
"""Seconds that one operation gets in its first launches."""
_ROOM: Final = 60.0
_SLOWER: Final = 3.0
"""A side may be silent for so many seconds, and so many times what its whole suite took in the run."""
_ONE_SHOT: Final = 6.0
"""Seconds that a test measured as a whole is assumed to take on both sides."""


@dataclass(frozen=True)
class Question:
    """One metric to compare."""

    metric: str
    unit: str
    better: Better
    tolerance: float
    """Acceptable relative worsening."""
    floor: float
    """Acceptable absolute worsening, in the metric's unit."""
    suite: str
    nodeid: str
    command: str
    """The command of its suite."""
    repeatable: bool
    """Whether rounds measure it; otherwise its test is measured as a whole."""
    patience: float = 60.0
    """Seconds that its suite may be silent: some times what all of it took, but not beyond its timeout."""
    suspected: bool = False
    """Whether it runs changed code, history suspects it, or somebody asks for it."""

    @property
    def subject(self) -> str:
        """What is measured: the operation of a repeatable metric, else the test."""
        return subject_of(self.metric) if self.repeatable else self.nodeid


@dataclass
class Costs:
    """What launches were seen to take, in seconds."""

    starts: dict[str, float] = field(default_factory=dict[str, float])
    """By command: everything but the measuring."""
    subjects: dict[str, float] = field(default_factory=dict[str, float])

    def start(self, command: str) -> float:
        """The start of both processes of a command."""
        return self.starts.get(command, _START)

    def subject(self, question: Question, share: float) -> float:
        """The measuring of what a question is about."""
        return max(self.subjects.get(question.subject, share if question.repeatable else _ONE_SHOT), share)

    def alone(self, question: Question) -> float:
        """A launch for one question."""
        return self.start(question.command) + self.subject(question, _LONGEST)


def _question(
    metric: Metric, policy: Policy, seconds: Mapping[str, float], *, named: bool = False
) -> Question | None:
    """What to ask about a metric; None if it cannot be compared or nobody wants it to be.

    Args:
        metric: of the head.
        policy: says what may be asked.
        seconds: how long suites took, as far as that is known.
        named: whether somebody asked for this metric.
    """
    suite = policy.suites.get(metric.suite)
    if suite is None or metric.exact or not metric.value > 0:
        return None
    rule = policy.rule(metric)
    wanted = rule.tolerance != OFF and not metric.few
    if not wanted and not named:
        return None
    tolerance = policy.tolerance if rule.tolerance == OFF else rule.tolerance
    return Question(
        metric.name,
        metric.unit,
        rule.better,
        tolerance.to("ratio"),
        rule.floor.to(metric.unit),
        metric.suite,
        metric.nodeid,
        suite.run,
        metric.statistic in REPEATABLE,
        patience_of(suite, seconds),
    )


def patience_of(suite: Suite, seconds: Mapping[str, float]) -> float:
    """Seconds that a suite may be silent: some times what all of it took, but not beyond its timeout."""
    return min(suite.timeout.to("s"), _ROOM + _SLOWER * seconds.get(suite.name, math.inf))


def questions_about(
    subject: str, metrics: Iterable[Metric], policy: Policy, seconds: Mapping[str, float] | None = None
) -> list[Question]:
    """What somebody asks by name: a metric, a subject without its statistic, or a glob of either.

    A metric that is named in full is compared even if the policy does not; then with the default tolerance.

    Args:
        subject: the text.
        metrics: all there are.
        policy: says what may be asked.
        seconds: how long suites took, as far as that is known.

    Raises:
        ValueError: the text is no name and no glob.
    """
    entry = Entry(subject, Place(0, 0), {})
    entry.matches("a")
    found: list[Question] = []
    for metric in metrics:
        if entry.matches(metric.name) or entry.matches(metric.subject):
            question = _question(metric, policy, seconds or {}, named=metric.name == subject)
            found += [replace(question, suspected=True)] if question else []
    return sorted(found, key=_within_subject)


def in_order_of_suspicion(
    run: Run,
    policy: Policy,
    suspects: Sequence[str],
    changed: frozenset[str],
    limits: Collection[str] = (),
) -> list[Question]:
    """Everything that can be asked: what runs changed functions, then other suspects, then the rest.

    Of what runs changed functions that operation comes first that runs little else: it shows the change most.

    Args:
        run: the run of the head.
        policy: says what may be asked, and how much worse is acceptable.
        suspects: metrics that history suspects, strongest first.
        changed: what `changed_functions` found.
        limits: metrics that break a limit; they are compared even where the policy compares none.
    """
    strength = {name: place for place, name in enumerate(suspects)}
    executed = {name: code for suite in run.suites.values() for name, code in suite.executed.items()}
    asked = (
        _question(metric, policy, run.seconds, named=metric.name in limits) for metric in run.metrics.values()
    )
    questions = [
        replace(question, tolerance=min(question.tolerance, LIMIT_SLACK))
        if question.metric in limits
        else question
        for question in asked
        if question
    ]
    places: dict[str, tuple[int, int, int]] = {}
    for question in questions:
        runs = executed.get(question.subject, frozenset[str]())
        touched = reaches(changed, runs)
        suspected = strength.get(question.metric, len(strength))
        tier = 0 if touched else 1 if question.metric in strength else _REST
        place = (tier, len(runs) if touched else 0, suspected)
        places[question.subject] = min(places.get(question.subject, (_REST + 1, 0, 0)), place)
    marked = [replace(question, suspected=places[question.subject][0] < _REST) for question in questions]
    return sorted(marked, key=lambda question: (places[question.subject], *_within_subject(question)))


def _within_subject(question: Question) -> tuple[bool, str, int, str]:
    place = _ORDER.get(statistic_of(question.metric), len(_ORDER))
    return not question.repeatable, question.subject, place, question.metric


def next_batch(
    questions: Sequence[Question],
    open_metrics: Collection[str],
    launches: Mapping[str, int],
    costs: Costs,
    left: float,
) -> tuple[list[Question], float]:
    """What the next launch carries: in order, what the rest of the budget can still decide.

    What was never measured needs the smallest number of launches and some to spare, a suspicion more than
    the rest; otherwise it would cost time and stay undecided.

    Args:
        questions: all of them, in order of suspicion.
        open_metrics: those without a decision.
        launches: how many each metric has had.
        costs: what launches take.
        left: seconds of the budget that are left.

    Returns:
        The questions, and the seconds that each operation gets.
    """
    waiting = [question for question in questions if question.metric in open_metrics]
    subjects = list(dict.fromkeys(question.subject for question in waiting))
    if not subjects:
        return [], _SHORTEST
    first = costs.start(waiting[0].command)
    # A large change shows in short launches. What the first ones left open gets twice the time, since rounds
    # differ more than launches do.
    begun = all(launches.get(question.metric, 0) >= MIN_LAUNCHES for question in waiting)
    times = 2 if begun else 1
    share = min(times * _LONGEST, max(_SHORTEST, times * first / len(subjects)))
    chosen: set[str] = set()
    commands: set[str] = set()
    total = 0.0
    for question in waiting:
        if question.subject in chosen:
            continue
        cost = costs.subject(question, share)
        cost += costs.start(question.command) * (question.command not in commands)
        had = launches.get(question.metric, 0)
        needed = max(1, MIN_LAUNCHES - had)
        spare = (_WANTED - MIN_LAUNCHES if question.suspected else 1) if chosen and not had else 0
        if chosen and (total + cost) * (needed + spare) > left:
            continue
        known = question.command in costs.starts  # what is only assumed keeps nobody from a first try
        if not chosen and known and cost * needed > left and not launches.get(question.metric):
            continue
        chosen.add(question.subject)
        commands.add(question.command)
        total += cost
    share = min(times * _LONGEST, max(share, times * first / max(1, len(chosen))))
    return [question for question in waiting if question.subject in chosen], share
