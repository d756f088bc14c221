"""Same-machine comparison of base and head for the metrics that look worse.

Launch after launch, strongest suspicion first: one launch carries a batch of tests, what is decided
leaves the batch, and what the budget does not reach is said.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gate.confirm.launch import LaunchError, launch
from gate.confirm.sides import two_sides
from gate.evidence import MAX_LOOKS, MIN_LAUNCHES, Decision, Evidence, weigh
from gate.model import STATISTICS, Better, Run, subject_of
from gate.policy import Policy
from gate.verdict import Verdict

__all__ = ["Comparison", "LaunchError", "Question", "confirm", "questions_of"]

REPEATABLE: Final = frozenset({*STATISTICS, "cpu", "throughput"})
"""Statistics that a round gives."""

_START: Final = 4.0
"""Seconds that the start of a pair of processes is assumed to take, before one was seen."""
_SHARE: Final = 3.0
"""Most seconds that one operation gets in a launch."""


@dataclass(frozen=True)
class Question:
    """One metric to compare."""

    metric: str
    better: Better
    tolerance: float
    """Acceptable relative worsening."""
    nodeid: str
    command: str
    """The command of its suite."""

    @property
    def subject(self) -> str:
        """What is measured: the metric without its statistic."""
        return subject_of(self.metric)


@dataclass
class Comparison:
    """What the machine said."""

    evidence: dict[str, Evidence] = field(default_factory=dict[str, Evidence])
    decisions: dict[str, Decision] = field(default_factory=dict[str, Decision])
    launches: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    not_reached: tuple[str, ...] = ()
    """Metrics that were asked for and never measured, in order of suspicion."""


def questions_of(verdict: Verdict, run: Run, policy: Policy) -> list[Question]:
    """The suspects of a verdict, strongest first, as questions to the machine.

    What is measured once in a run (memory, a rate, the duration of a test) has no rounds to compare, and
    stays a suspect.
    """
    metrics = run.metrics
    suspects = [finding for finding in verdict.findings if finding.state == "suspect"]
    questions: list[Question] = []
    for finding in suspects:
        metric = metrics[finding.subject]
        suite = policy.suites.get(metric.suite)
        if suite is not None and metric.statistic in REPEATABLE:
            rule = policy.rule(metric)
            questions.append(
                Question(metric.name, rule.better, rule.tolerance.to("ratio"), metric.nodeid, suite.run)
            )
    return questions


def confirm(
    questions: Sequence[Question],
    root: Path,
    base: str,
    budget: float,
    listen: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Compare base and head for some metrics, strongest suspicion first.

    Args:
        questions: what to compare, in order of suspicion.
        root: the directory of thresholds.yaml in the head's work tree.
        base: the commit to compare with.
        budget: seconds.
        listen: called with a line about the progress after each launch.

    Raises:
        GitError: the base cannot be checked out.
        LaunchError: a side crashed or hangs.
    """
    result = Comparison()
    begun = time.monotonic()
    deadline = begun + budget
    ratios: dict[str, list[float]] = {question.metric: [] for question in questions}
    seeds = random.Random(0)  # other layouts in each launch, the same ones each time
    try:
        with two_sides(root, base) as sides:
            while time.monotonic() < deadline:
                batch, share = _batch(questions, result, deadline - time.monotonic())
                if not batch:
                    break
                for command, part in _by_command(batch).items():
                    tests = list(dict.fromkeys(question.nodeid for question in part))
                    subjects = list(dict.fromkeys(question.subject for question in part))
                    seed = seeds.randrange(1, 2**31)
                    done = launch(sides, command, tests, subjects, seed=seed, share=share, deadline=deadline)
                    for question in part:
                        if question.metric in done.ratios:
                            ratios[question.metric].append(done.ratios[question.metric])
                result.launches += 1
                _weigh(result, questions, ratios)
                listen(_line(result, batch, time.monotonic() - begun))
    except KeyboardInterrupt:
        result.interrupted = True
    result.seconds = time.monotonic() - begun
    result.not_reached = tuple(q.metric for q in questions if q.metric not in result.evidence)
    return result


def _batch(questions: Sequence[Question], result: Comparison, left: float) -> tuple[list[Question], float]:
    """What the next launch carries: the open questions that the rest of the budget can still decide.

    Returns:
        The questions, and the seconds that each of their subjects gets.
    """
    open_questions = [
        question
        for question in questions
        if result.decisions.get(question.metric, "inconclusive") == "inconclusive"
        and len(result.evidence[question.metric].ratios if question.metric in result.evidence else ())
        < MAX_LOOKS
    ]
    subjects = list(dict.fromkeys(question.subject for question in open_questions))
    if not subjects:
        return [], _SHARE
    # Few launches decide little: plan for one more than the minimum, less what has been done.
    launches = max(1, MIN_LAUNCHES + 1 - result.launches)
    per_launch = max(left / launches - _START, 0.5)
    most = max(1, int(per_launch / 0.5))
    chosen = set(subjects[:most])
    share = min(_SHARE, per_launch / len(chosen))
    return [question for question in open_questions if question.subject in chosen], share


def _by_command(batch: Sequence[Question]) -> dict[str, list[Question]]:
    commands: dict[str, list[Question]] = {}
    for question in batch:
        commands.setdefault(question.command, []).append(question)
    return commands


def _weigh(result: Comparison, questions: Sequence[Question], ratios: Mapping[str, Sequence[float]]) -> None:
    for question in questions:
        if measured := ratios[question.metric]:
            evidence = weigh(question.metric, measured, len(questions))
            result.evidence[question.metric] = evidence
            result.decisions[question.metric] = evidence.decide(question.better, question.tolerance)


def _line(result: Comparison, batch: Sequence[Question], seconds: float) -> str:
    decided = sum(decision != "inconclusive" for decision in result.decisions.values())
    confirmed = sum(decision == "confirmed" for decision in result.decisions.values())
    return (
        f"confirm: launch {result.launches}, {seconds:.0f} s, {len(batch)} metrics in it, "
        f"{decided} decided, {confirmed} confirmed"
    )
