"""One launch: a pair of fresh processes that pass a baton until every operation is measured."""

import math
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from gate.confirm.child import Child, LaunchError, Task, started
from gate.confirm.cores import quietest_core
from gate.confirm.sides import Side
from gate.evidence import ONE_SHOT_ERROR, Pair
from gate.model import TAILS

ROUND_SECONDS: Final = 0.05
"""How long one side measures before it passes the baton."""
MIN_ROUNDS: Final = 4
MAX_ROUNDS: Final = 32


@dataclass
class LaunchResult:
    """What one launch measured."""

    pairs: dict[str, Pair] = field(default_factory=dict[str, Pair])
    """By metric name."""
    seconds: float = 0.0
    """How long it took altogether."""
    measuring: dict[str, float] = field(default_factory=dict[str, float])
    """Subject, or test measured as a whole -> how long that took."""


@dataclass(frozen=True)
class Pace:
    """How a launch is run."""

    seed: int
    """Of hashes and layout; a new one for each launch. An odd one lets the head begin."""
    share: float
    """Seconds that each subject may take."""
    deadline: float
    """No round begins after this time (`time.monotonic`)."""


def launch(sides: tuple[Side, Side], task: Task, pace: Pace) -> LaunchResult:
    """Start both sides and measure the subjects of some tests.

    Args:
        sides: base and head.
        task: what to run and to measure.
        pace: seed and times.

    Raises:
        LaunchError: a side crashed or hangs.
    """
    result = LaunchResult()
    begun = time.monotonic()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=sides[0].scratch)))
        core = quietest_core()
        base, head = (stack.enter_context(started(side, task, directory, pace.seed, core)) for side in sides)
        order = (base, head) if pace.seed % 2 == 0 else (head, base)
        while True:
            messages = base.hear(), head.hear()
            here, there = messages
            if here is None or there is None:
                break
            if here.keys() == there.keys() and time.monotonic() < pace.deadline:
                started_at = time.monotonic()
                if name := _same(here, there, "ready"):
                    seconds = max(here["seconds"], there["seconds"])
                    result.pairs |= _rounds(name, order, seconds, pace)
                elif name := _same(here, there, "turn"):
                    result.pairs |= _whole(order)
                if name:
                    result.measuring[name] = time.monotonic() - started_at
            base.say(0)
            head.say(0)
        # A side that still waits has tests that the other one lacks: there is nothing to compare them with.
        for child, message in zip((base, head), messages, strict=True):
            if message is None and (code := child.close()) not in {0, 5}:  # 5: no such test on this side
                raise LaunchError(f"the {child.side.name} side ended with exit code {code}:\n{child.tail()}")
    result.seconds = time.monotonic() - begun
    return result


def _same(here: Mapping[str, str], there: Mapping[str, str], key: str) -> str:
    """What both sides say under a key, if it is the same."""
    name = here.get(key, "")
    return name if name == there.get(key) else ""


def _rounds(subject: str, order: tuple[Child, Child], seconds: float, pace: Pace) -> dict[str, Pair]:
    """Rounds in ABBA order; what they say of each metric, by name.

    Args:
        subject: the operation.
        order: the side that begins, and the other one.
        seconds: what one call takes, roughly.
        pace: the share is for all rounds; after the deadline only the first few are still made.
    """
    calls = max(1, round(ROUND_SECONDS / max(seconds, 1e-7)))
    begun = time.monotonic()
    for child in order:
        child.ask(calls, "round")  # not counted: the first round warms the caches that the wait has cooled
    lasted = (time.monotonic() - begun) / 2  # and tells what a warm call takes
    calls = max(1, round(calls * ROUND_SECONDS / max(lasted, 1e-4)))
    pair = 2 * max(ROUND_SECONDS, lasted if calls == 1 else 0.0)
    rounds = min(MAX_ROUNDS, max(MIN_ROUNDS, 2 * round(pace.share / pair / 2)))
    values: dict[str, list[tuple[float, float]]] = {}
    for number in range(rounds):
        if number >= MIN_ROUNDS and time.monotonic() > pace.deadline:
            break
        turn = order if number % 2 == 0 else order[::-1]
        measured = {child.side.name: child.ask(calls, "round") for child in turn}
        for statistic, after in measured["head"].items():
            values.setdefault(statistic, []).append((measured["base"].get(statistic, 0.0), after))
    name, _, labels = subject.partition("{")
    suffix = f"{{{labels}" if labels else ""
    found = {f"{name}.{statistic}{suffix}": pair for statistic, pair in _paired(values).items()}
    return {metric: pair for metric, pair in found.items() if pair}


def _whole(order: tuple[Child, Child]) -> dict[str, Pair]:
    """A test that is measured as a whole: one side, then the other."""
    measured = {child.side.name: child.ask(0, "values") for child in order}
    before = measured["base"]
    found = {
        metric: _pair([(before[metric], after)])
        for metric, after in measured["head"].items()
        if metric in before
    }
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
    return Pair(ratio, error, median(before for before, _ in values), median(after for _, after in values))
