"""One launch: a pair of fresh processes that pass a baton until every operation is measured."""

import math
import tempfile
import time
from collections.abc import Collection, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final, TypeVar

from gate.confirm.child import Child, Task, started
from gate.confirm.cores import quietest_core
from gate.confirm.course import Course, Stop, alone
from gate.confirm.rounds import Values, paired, ratio_of_medians
from gate.evidence import Pair
from gate.sides.side import Side
from gate.statistics import least_in_block
from gate.units import UnitError, convert
from pytest_regression_gate.latency import group_of
from pytest_regression_gate.protocol import Round, Whole
from pytest_regression_gate.worker import SPREAD

ROUND_SECONDS: Final = 0.01
"""How long one side measures before it passes the baton; one call at least."""
MIN_ROUNDS: Final = 4
"""Or blocks of them."""
MOST_ERRORS: Final = 0.05
"""Share of a load's requests that may fail on one side alone: a fast error is no fast answer."""
LONGEST_BLOCK: Final = 1.0
"""Seconds that one side may take for the measurements that a percentile needs."""

_T = TypeVar("_T")


@dataclass
class LaunchResult:
    """What one launch measured."""

    pairs: dict[str, Pair] = field(default_factory=dict[str, Pair])
    """By metric name."""
    seconds: float = 0.0
    """How long it took altogether."""
    measuring: dict[str, float] = field(default_factory=dict[str, float])
    """Subject, or test measured as a whole -> how long that took."""
    failed: set[str] = field(default_factory=set[str])
    """Tests that passed on the base and did not on the head (nodeids)."""
    cut: bool = False
    """The deadline came before its end."""
    lost: frozenset[str] = frozenset()
    """Subjects and tests as a whole that the head did not come to, though it ran to its end."""


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

    What only one side has, or what a test measured that fails there, is in no pair; the rest is compared all
    the same.

    Args:
        sides: base and head.
        task: what to run and to measure.
        pace: seed and times.
        courses: what earlier launches of the task's command have shown of the way of base and head.

    Raises:
        LaunchError: a side crashed or hangs.
    """
    result = LaunchResult()
    found: dict[str, dict[str, Pair]] = {}  # by test
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
        reached: set[str] = set()
        while True:
            for child in (base, head):
                if not child.waits:
                    at[child.side.name] = child.next_stop()
            here, there = at["base"], at["head"]
            reached |= {there.operation or there.test} if there else set()
            apart = alone(*courses, here, there)
            result.cut = time.monotonic() > pace.deadline
            if result.cut or (not any(apart) and (here is None or there is None)):
                break
            if here and not any(apart):
                started_at = time.monotonic()
                pairs = _rounds(here.operation, order, task, pace) if here.operation else _whole(order, task)
                found.setdefault(here.test, {}).update(pairs)
                result.measuring[here.operation or here.test] = time.monotonic() - started_at
            for child, goes in zip((base, head), apart, strict=True):
                if goes or not any(apart):
                    child.go_on()
        # A side that still waits has tests that the other one lacks: there is nothing to compare them with.
        for child in (base, head):
            if at[child.side.name] is None:
                child.close()
        result.lost = task.asked - reached if at["head"] is None else frozenset()
    for test in found.keys() - base.failed - head.failed:
        result.pairs |= found[test]
    result.failed = head.failed - base.failed
    result.seconds = time.monotonic() - begun
    return result


def launch_apart(
    sides: tuple[Side, Side], task: Task, pace: Pace, courses: tuple[Course, Course]
) -> LaunchResult:
    """The same, one side after the other: what both sides measured is then one pair, not one per round.

    Args:
        sides: base and head.
        task: what to run and to measure.
        pace: seed and times.
        courses: of base and head.

    Raises:
        LaunchError: a side crashed or hangs.
    """
    result = LaunchResult()
    begun = time.monotonic()
    alone: dict[str, _Alone] = {}
    both = list(zip(sides, courses, strict=True))
    for side, course in both if pace.seed % 2 == 0 else both[::-1]:
        course.begin()
        alone[side.name] = _alone(side, task, pace, course)
    base, head = alone["base"], alone["head"]
    result.failed = head.failed - base.failed
    result.cut = base.cut or head.cut
    result.lost = frozenset() if head.cut else task.asked - head.measuring.keys()
    for test in base.values.keys() & head.values.keys() - base.failed - head.failed:
        result.pairs |= _paired_once(base.values[test], head.values[test])
    for one in (base, head):
        for name, seconds in one.measuring.items():
            result.measuring[name] = result.measuring.get(name, 0.0) + seconds
    result.seconds = time.monotonic() - begun
    return result


@dataclass
class _Alone:
    """What one side measured without the other."""

    values: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    """Test -> metric -> value; a median over its rounds."""
    measuring: dict[str, float] = field(default_factory=dict[str, float])
    failed: set[str] = field(default_factory=set[str])
    cut: bool = False


def _alone(side: Side, task: Task, pace: Pace, course: Course) -> _Alone:
    found = _Alone()
    with (
        tempfile.TemporaryDirectory(dir=side.scratch) as name,
        started(side, task, course, Path(name), seed=pace.seed, core=quietest_core()) as child,
    ):
        while stop := child.next_stop():
            if time.monotonic() > pace.deadline:
                found.cut = True
                return found
            begun = time.monotonic()
            if stop.operation:
                values = _own_rounds(child, stop.operation, task, pace)
            else:
                values = _own_whole(child, task)
            found.values.setdefault(stop.test, {}).update(values)
            found.measuring[stop.operation or stop.test] = time.monotonic() - begun
            child.go_on()
        child.close()
        found.failed = child.failed
    return found


def _own_rounds(child: Child, subject: str, task: Task, pace: Pace) -> dict[str, float]:
    """The median of each statistic over the rounds of one side; nothing where a round fails."""
    asked = task.subjects.get(subject, frozenset[str]())
    child.time_together(group_of(child.seconds))
    child.ask(_calls(child.seconds), Round, close=True)
    calls = _calls(child.seconds)
    block = _block(asked, calls * child.each, calls * child.seconds)
    length = max(1, block)
    end = min(time.monotonic() + pace.share / 2, pace.deadline)
    rounds: list[Values] = []
    blocks: list[Values] = []
    while len(rounds) < MIN_ROUNDS * length or len(rounds) % length or time.monotonic() < end:
        close = block > 0 and (len(rounds) + 1) % block == 0
        measured = child.ask(calls, Round, close=close)
        if measured is None:
            return {}
        blocks += [measured.block] if close else []
        rounds.append(measured.values)
    found = {statistic: median(one[statistic] for one in rounds) for statistic in rounds[0].keys() - {SPREAD}}
    if blocks:
        middle = found.get("p50", 0.0)
        found |= {statistic: middle * median(one[statistic] for one in blocks) for statistic in blocks[0]}
    return _named(subject, found, calls * child.each * length)


def _own_whole(child: Child, task: Task) -> Values:
    """What a test that is measured as a whole gives on one side, in the units that are asked for."""
    answer = child.ask(0, Whole)
    found: dict[str, float] = {}
    for metric, value in answer.values.items() if answer else ():
        with suppress(UnitError):  # it measures something else now
            if metric in task.units:
                found[metric] = convert(value.value, value.unit, task.units[metric])
    return found


def _rounds(subject: str, order: tuple[Child, Child], task: Task, pace: Pace) -> dict[str, Pair]:
    """Rounds in ABBA order; what they say of each metric, by name.

    Nothing where a side fails in them, or where the requests of one side fail and those of the other do not.

    Args:
        subject: the operation.
        order: the side that begins, and the other one.
        task: says which statistics are asked for.
        pace: the share is for all rounds, but the first few are made however long they take.
    """
    if abs(order[0].errors - order[1].errors) > MOST_ERRORS:
        return {}
    asked = task.subjects.get(subject, frozenset[str]())
    each = order[0].each
    group = group_of(min(child.seconds for child in order))
    for child in order:
        child.time_together(group)
    guess = [child.seconds for child in order]
    # Not counted: it warms the caches that the wait has cooled, and tells what a call takes.
    for child in order:
        child.ask(_calls(max(guess)), Round, close=True)
    calls = _calls(max(child.seconds for child in order))
    block = _block(asked, calls * each, calls * min(*guess, *(child.seconds for child in order)))
    length = max(1, block)
    end = min(time.monotonic() + pace.share, pace.deadline)
    rounds: list[tuple[Values, Values]] = []
    blocks: list[tuple[Values, Values]] = []
    while len(rounds) < MIN_ROUNDS * length or len(rounds) % math.lcm(2, length) or time.monotonic() < end:
        turn = order if len(rounds) % 2 == 0 else order[::-1]
        close = block > 0 and (len(rounds) + 1) % block == 0
        measured = {child.side.name: child.ask(calls, Round, close=close) for child in turn}
        before, after = measured["base"], measured["head"]
        if before is None or after is None:
            return {}
        if close:
            blocks.append((before.block, after.block))
        rounds.append((before.values, after.values))
    return _named(subject, paired(rounds, blocks), calls * each * length)


def _named(subject: str, found: Mapping[str, _T], latencies: int) -> dict[str, _T]:
    """What was found of each statistic, by metric, without those that so many latencies do not make."""
    name, _, labels = subject.partition("{")
    suffix = f"{{{labels}" if labels else ""
    return {
        f"{name}.{statistic}{suffix}": value
        for statistic, value in found.items()
        if latencies >= least_in_block(statistic)
    }


def _calls(seconds: float) -> int:
    """Latencies of a round: as many as fit, but an odd number, so that its median is one of them."""
    return round(ROUND_SECONDS / max(seconds, 1e-7)) | 1


def _block(statistics: Collection[str], latencies: int, seconds: float) -> int:
    """How many rounds make a block that has enough latencies for what is asked; 0: nothing asks for one.

    What would take longer than `LONGEST_BLOCK` is not compared.

    Args:
        statistics: what is asked for.
        latencies: of a round.
        seconds: that one side takes for a round.
    """
    needed = (least_in_block(statistic) for statistic in statistics)
    blocks = (math.ceil(least / latencies) for least in needed if least > 1)
    return max((block for block in blocks if block * seconds <= LONGEST_BLOCK), default=0)


def _whole(order: tuple[Child, Child], task: Task) -> dict[str, Pair]:
    """A test that is measured as a whole: one side, then the other. Nothing where a side fails."""
    measured = {child.side.name: _own_whole(child, task) for child in order}
    return _paired_once(measured["base"], measured["head"])


def _paired_once(base: Values, head: Values) -> dict[str, Pair]:
    """One value of each side as a pair, by metric, where both have it."""
    pairs = {metric: ratio_of_medians([(base[metric], head[metric])]) for metric in base.keys() & head.keys()}
    return {metric: pair for metric, pair in pairs.items() if pair}
