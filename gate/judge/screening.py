"""The metrics of one suite against their histories, all together."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gate.model import TAILS, Metric
from gate.policy import Rule
from gate.segments import Level
from gate.statistics import (
    PRIOR_SD,
    Moves,
    Screened,
    Share,
    machine_share,
    moves,
    pooled_noise,
    screen,
    shift,
)
from gate.units import dimension

_NOW: Final = -1
"""The new run among the accepted ones."""


@dataclass(frozen=True)
class Candidate:
    """A metric with a history to compare with."""

    metric: Metric
    rule: Rule
    level: Level
    """Its accepted values, brought to its present level."""
    runs: list[int]
    """Which of its suite's accepted runs they come from."""

    @property
    def history(self) -> tuple[float, ...]:
        """Its values at the present level, oldest first."""
        return self.level.values


def screen_suite(members: Sequence[Candidate], metrics: int, *, liberal: bool = False) -> list[Screened]:
    """Screen the metrics of one suite.

    Suites run one after another, and a neighbour may have slowed just one: so the machine's part and the
    noise are estimated per suite. What other suites measure never counts against a metric; through
    `metrics` it can only make it harder to suspect, and asked liberally it changes nothing.

    Args:
        members: the suite's metrics, each with a history.
        metrics: how many metrics of the pull request share the error rate.
        liberal: each metric alone, by its own noise; to find what should be measured again.

    Returns:
        One answer per member, in their order.
    """
    shares = _machine_shares(members)
    kinds: dict[bool, list[Sequence[float]]] = defaultdict(list)
    for candidate, share in zip(members, shares, strict=True):
        kinds[candidate.metric.statistic in TAILS].append(share.moves)
    priors = {tail: PRIOR_SD if liberal else pooled_noise(histories) for tail, histories in kinds.items()}
    return [
        screen(
            candidate.history,
            candidate.metric.value,
            candidate.rule.better,
            share=share,
            metrics=1 if liberal else metrics,
            prior=priors[candidate.metric.statistic in TAILS],
            at_level=candidate.level.runs,
            segments=candidate.level.segments,
        )
        for candidate, share in zip(members, shares, strict=True)
    ]


def machine_shifts(members: Sequence[Candidate]) -> list[float]:
    """How much worse each metric is that a slower machine as a whole would show, on the log scale."""
    return [_shift(candidate) for candidate in members if _shows_machine(candidate.metric)]


def _machine_shares(members: Sequence[Candidate]) -> list[Share]:
    """The machine's part in each metric of a suite, told by the metrics of other subjects.

    A subject's own metrics do not count: its median and its CPU time rise together when its code gets slower.
    """
    own = [moves(c.history, c.rule.better) for c in members]
    by_run: dict[int, list[tuple[str, float | None]]] = defaultdict(list)
    for candidate, moved in zip(members, own, strict=True):
        if _shows_machine(candidate.metric):
            by_run[_NOW].append((candidate.metric.subject, _shift(candidate)))
            for run, move in zip(candidate.runs, moved, strict=True):
                by_run[run].append((candidate.metric.subject, move))
    told: dict[int, Moves] = defaultdict(lambda: Moves(()), {run: Moves(by_run[run]) for run in by_run})
    shares: list[Share] = []
    for candidate, moved in zip(members, own, strict=True):
        if not depends_on_speed(candidate.metric):
            shares.append(Share(0.0, tuple(moved)))
            continue
        others = [told[run].without(candidate.metric.subject) for run in (*candidate.runs, _NOW)]
        shares.append(machine_share(moved, others))
    return shares


def _shift(candidate: Candidate) -> float:
    return shift(candidate.history, candidate.metric.value, candidate.rule.better)


def depends_on_speed(metric: Metric) -> bool:
    """Whether a slower machine as a whole would move it: times and rates, not memory and shares."""
    return dimension(metric.unit) in {"time", "rate"}


def _shows_machine(metric: Metric) -> bool:
    return depends_on_speed(metric) and metric.statistic not in TAILS
