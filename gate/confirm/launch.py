"""One launch: a pair of fresh processes that pass a baton until every operation is measured."""

import math
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from gate.confirm.child import Child, Task, started
from gate.confirm.cores import quietest_core
from gate.confirm.course import Course, Stop, alone
from gate.confirm.sides import Side
from gate.evidence import ONE_SHOT_ERROR, Pair
from gate.model import TAILS
from gate.statistics import least_in_round
from gate.units import UnitError, convert

ROUND_SECONDS: Final = 0.05
"""How long one side measures before it passes the baton."""
MIN_ROUNDS: Final = 4
MAX_ROUNDS: Final = 32
LONGEST_ROUND: Final = 1.0
"""Seconds that a round may last so that a percentile of it says something."""


@dataclass
class LaunchResult:
    """What one launch measured."""

    pairs: dict[str, Pair] = field(default_factory=dict[str, Pair])
    """By metric name."""
    seconds: float = 0.0
    """How long it took altogether."""
    measuring: dict[str, float] = field(default_factory=dict[str, float])
    """Subject, or test measured as a whole -> how long that took."""
    cut: bool = False
    """The deadline came before its end."""


@dataclass(frozen=True)
class Pace:
    """How a launch is run."""

    seed: int
    """Of hashes and layout; a new one for each launch. An odd one lets the head begin."""
    share: float
    """Seconds that each subject may take."""
    deadline: float
    """No round begins after this time (`time.monotonic`)."""


def launch(sides: tuple[Side, Side], task: Task, pace: Pace, courses: tuple[Course, Course]) -> LaunchResult:
    """Start both sides and measure the subjects of some tests.

    What only one side has, or what fails there, is in no pair; the rest is compared all the same.

    Args:
        sides: base and head.
        task: what to run and to measure.
        pace: seed and times.
        courses: what earlier launches of the task's command have shown of the way of base and head.

    Raises:
        LaunchError: a side crashed or hangs.
    """
    result = LaunchResult()
    begun = time.monotonic()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=sides[0].scratch)))
        core = quietest_core()
        for course in courses:
            course.begin()
        base, head = (
            stack.enter_context(started(side, task, course, directory, seed=pace.seed, core=core))
            for side, course in zip(sides, courses, strict=True)
        )
        order = (base, head) if pace.seed % 2 == 0 else (head, base)
        at: dict[str, Stop | None] = {}
        while True:
            for child in (base, head):
                if not child.waits:
                    at[child.side.name] = child.next_stop()
            here, there = at["base"], at["head"]
            apart = alone(*courses, here, there)
            result.cut = time.monotonic() > pace.deadline
            if result.cut or (not any(apart) and (here is None or there is None)):
                break
            if here and not any(apart):
                started_at = time.monotonic()
                result.pairs |= (
                    _rounds(here.operation, order, task, pace) if here.operation else _whole(order, task)
                )
                result.measuring[here.operation or here.test] = time.monotonic() - started_at
            for child, goes in zip((base, head), apart, strict=True):
                if goes or not any(apart):
                    child.go_on()
        # A side that still waits has tests that the other one lacks: there is nothing to compare them with.
        for child in (base, head):
            if at[child.side.name] is None:
                child.close()
    result.seconds = time.monotonic() - begun
    return result


def _rounds(subject: str, order: tuple[Child, Child], task: Task, pace: Pace) -> dict[str, Pair]:
    """Rounds in ABBA order; what they say of each metric, by name. Nothing where a side fails in them.

    Args:
        subject: the operation.
        order: the side that begins, and the other one.
        task: says how many latencies a round must have.
        pace: the share is for all rounds; after the deadline only the first few are still made.
    """
    each = order[0].each
    least = math.ceil(task.subjects.get(subject, 1) / each)
    calls = _calls(max(child.seconds for child in order), least)
    begun = time.monotonic()
    for child in order:
        child.ask(calls, "round")  # not counted: the first round warms the caches that the wait has cooled
    lasted = max(1e-7, (time.monotonic() - begun) / 2 / calls)  # and tells what a warm call takes
    calls = _calls(lasted, least)
    pair = 2 * max(ROUND_SECONDS, lasted * calls)
    rounds = min(MAX_ROUNDS, max(MIN_ROUNDS, 2 * round(pace.share / pair / 2)))
    values: dict[str, list[tuple[float, float]]] = {}
    for number in range(rounds):
        if number >= MIN_ROUNDS and time.monotonic() > pace.deadline:
            break
        turn = order if number % 2 == 0 else order[::-1]
        measured = {child.side.name: child.ask(calls, "round") for child in turn}
        if None in measured.values():
            return {}
        for statistic, after in measured["head"].items():
            if calls * each >= least_in_round(statistic):
                values.setdefault(statistic, []).append((measured["base"].get(statistic, 0.0), after))
    name, _, labels = subject.partition("{")
    suffix = f"{{{labels}" if labels else ""
    found = {f"{name}.{statistic}{suffix}": pair for statistic, pair in _paired(values).items()}
    return {metric: pair for metric, pair in found.items() if pair}


def _calls(seconds: float, least: int) -> int:
    """Calls of a round: as many as fit, or as a percentile needs, if that is not too long."""
    calls = max(1, round(ROUND_SECONDS / max(seconds, 1e-7)))
    return max(calls, least) if least * seconds <= LONGEST_ROUND else calls


def _whole(order: tuple[Child, Child], task: Task) -> dict[str, Pair]:
    """A test that is measured as a whole: one side, then the other. Nothing where a side fails."""
    measured: dict[str, dict[str, Any]] = {child.side.name: child.ask(0, "values") or {} for child in order}
    found: dict[str, Pair | None] = {}
    for metric in measured["head"].keys() & measured["base"].keys() & task.units.keys():
        with suppress(UnitError):  # it measures something else now
            before, after = (
                convert(measured[side][metric]["value"], measured[side][metric]["unit"], task.units[metric])
                for side in ("base", "head")
            )
            found[metric] = _pair([(before, after)])
    return {metric: pair for metric, pair in found.items() if pair}


def _paired(values: Mapping[str, list[tuple[float, float]]]) -> dict[str, Pair | None]:
    """What the rounds say of each statistic, given its (base, head) values in every round.

    A tail is taken as the median times how much longer than it the tail is: two ratios that move less from
    round to round than their product.
    """
    found = {name: _pair(pairs) for name, pairs in values.items()}
    if middle := found.get("p50"):
        for name in TAILS & values.keys():
            rounds = zip(values[name], values["p50"], strict=True)
            lengths = [(before / base, after / head) for (before, after), (base, head) in rounds]
            found[name] = _product(middle, _pair(lengths))
    return found


def _product(one: Pair, other: Pair | None) -> Pair | None:
    if other is None:
        return None
    error = math.hypot(one.error, other.error)
    return Pair(one.ratio + other.ratio, error, one.base * other.base, one.head * other.head)


def _pair(values: list[tuple[float, float]]) -> Pair | None:
    """The medians of (base, head) values; None where a value has no logarithm.

    The standard error of a median is 1.2533 times that of the mean for normal noise; its spread is taken
    from the median absolute deviation (e.g. Huber & Ronchetti, "Robust Statistics", ch. 1).
    """
    if not all(min(pair) > 0 and math.isfinite(max(pair)) for pair in values):
        return None
    ratios = [math.log(after / before) for before, after in values]
    ratio = median(ratios)
    spread = 1.4826 * median(abs(other - ratio) for other in ratios)
    error = 1.2533 * spread / math.sqrt(len(ratios)) if len(ratios) > 1 else ONE_SHOT_ERROR
    before, after = median(before for before, _ in values), median(after for _, after in values)
    return Pair(ratio, error, before, after, once=len(values) == 1)
