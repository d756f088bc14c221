"""What repeated launches say about one metric: the paired comparison of base and head. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final, Literal

import msgspec

from gate.accounts import Account, merged
from gate.model import Metric
from gate.statistics import t_quantile
from gate.units import Bounded
from pytest_regression_gate.metrics import Better

PRIOR_SPREAD: Final = 0.006
"""Spread of the log-ratio from launch to launch that is assumed before any was seen, beside what the
rounds inside the launches show. Measured on unchanged code: 0.4 to 0.6 %, busy loops beside it or not."""
PRIOR_LAUNCHES: Final = 6.0
"""How many launches' worth of evidence that assumption counts for."""
ERROR_RATE: Final = 0.01
"""Chance that a pull request without any change gets a confirmed regression, over all its metrics."""
LOOKS: Final = (3, 4, 5, 6, 8, 10, 13, 16, 20, 25)
"""Numbers of launches after which a metric is looked at; the error rate is shared among the looks. They get
rarer: what ten launches left open is not decided by one more."""
MIN_LAUNCHES: Final = LOOKS[0]
MAX_LAUNCHES: Final = LOOKS[-1]
_PATIENCE: Final = 6
"""Launches before a metric is given up."""
_HOPE: Final = 1.5
"""How far beyond what is enough the margin of the last look may be expected; the spread is only estimated."""
ONE_SHOT_ERROR: Final = 0.02
"""Standard error that is assumed for what a launch measures only once, since no rounds show it."""
_CONTRADICTED: Final = 10.0
"""Times the assumed variance from which on the launches alone tell it. Some processes are fast or slow by
their layout, hashes or threads; the assumption would make chance look like certainty there."""
_EFFICIENCY: Final = 0.37
"""Of the median absolute deviation: a spread of n rounds is known as from 0.37 n with the usual estimate."""
LIMIT_SLACK: Final = 0.05
"""How much worse than the base a metric may be whose limit is broken already, and count as no worse."""
_NINE_OF_TEN: Final = 0.9
_MOST: Final = math.log(1e6)
_ALL_SHARES: Final = 2.10974
"""The sum of 1 / (n ln(n)^2) over n = 2, 3, ..."""

Decision = Literal["confirmed", "cleared", "inconclusive"]


@dataclass(frozen=True)
class Pair:
    """One metric in one launch."""

    ratio: Bounded
    """log(head / base), over all rounds."""
    error: Bounded
    """Its standard error, as the rounds show it."""
    base: Bounded
    """What the base measured, in the unit that the question was asked in."""
    rounds: int
    """How many there were; 1: it is measured once per process, and no rounds show its error."""


@dataclass(frozen=True)
class Evidence:
    """The comparison of one metric after some launches. Ratios are log(head / base)."""

    metric: str
    pairs: tuple[Pair, ...]
    """One per launch."""
    rank: int
    """Place of the question in the order of suspicion, from 1."""
    estimate: float
    low: float
    high: float
    base: Bounded
    """Median over the launches, in the unit of the suites."""
    head: Bounded
    """The base times the estimated ratio: what is shown of both never contradicts it."""
    last: float = 0.0
    """What the margin around the estimate will be when all the launches there may be are made."""
    likely: float = 0.0
    """What is left of the estimate's distance in nine of ten cases: the margin of a one-sided 90 % bound."""
    seconds: float = 0.0
    """What a further launch of it alone takes; 0: nobody knows."""

    @property
    def ratios(self) -> tuple[float, ...]:
        """One per launch."""
        return tuple(pair.ratio for pair in self.pairs)

    @property
    def change(self) -> float:
        """Estimated relative change, positive when the value grew."""
        return _change(self.estimate)

    @property
    def interval(self) -> tuple[float, float]:
        """Bounds of the relative change."""
        return _change(self.low), _change(self.high)

    def decide(self, better: Better, tolerance: float, floor: float = 0.0) -> Decision:
        """Confirmed: surely worse, and by more than is acceptable. Cleared: surely not that much worse.

        Args:
            better: which direction is better.
            tolerance: acceptable relative worsening, 0.1 for 10 %.
            floor: acceptable absolute worsening, in the unit of `base`; the wider of the two counts.
        """
        if len(self.pairs) < MIN_LAUNCHES:
            return "inconclusive"
        estimate, margin, acceptable = self._worsening(better, tolerance, floor)
        if estimate > max(acceptable, margin):
            return "confirmed"
        return "cleared" if estimate + margin < acceptable else "inconclusive"

    def grave(self, better: Better, tolerance: float, floor: float = 0.0) -> bool:
        """Whether what is undecided may not pass: probably worse, or estimated far beyond what is acceptable.

        See `decide` for the arguments.
        """
        estimate, _, acceptable = self._worsening(better, tolerance, floor)
        return estimate > self.likely or estimate > 2 * acceptable

    def far(self, better: Better, tolerance: float, floor: float = 0.0) -> bool:
        """Whether what nothing else speaks against may not pass undecided: probably worse, and far beyond.

        Before there are enough launches to know the noise, only what is twice as much. See `decide` for the
        arguments.
        """
        estimate, _, acceptable = self._worsening(better, tolerance, floor)
        beyond = 2 * acceptable if len(self.pairs) >= MIN_LAUNCHES else max(2 * acceptable, math.log(2))
        return estimate > max(beyond, self.likely)

    def worse(self, better: Better) -> bool:
        """Whether the head is surely worse, by however little."""
        estimate, margin, _ = self._worsening(better, 0.0, 0.0)
        return len(self.pairs) >= MIN_LAUNCHES and estimate > margin

    def excludes(self, better: Better, share: float) -> bool:
        """Whether it is surely not worse by more than a share."""
        estimate, margin, acceptable = self._worsening(better, share, 0.0)
        return len(self.pairs) >= MIN_LAUNCHES and estimate + margin < acceptable

    def hopeless(self, better: Better, tolerance: float, floor: float = 0.0) -> bool:
        """Whether all the launches there may be would hardly decide it.

        Giving up early confirms nothing, so it costs nothing of the error rate; what it saves is time for
        metrics that can be decided.
        """
        return len(self.pairs) >= _PATIENCE and self.last > _HOPE * self._enough(better, tolerance, floor)

    def launches_left(self, better: Better, tolerance: float, floor: float = 0.0) -> int | None:
        """How many more launches would probably decide it; None: more than there may be.

        See `decide` for the arguments.
        """
        _, margin, _ = self._worsening(better, tolerance, floor)
        enough, made = self._enough(better, tolerance, floor), len(self.pairs)
        # the margin shrinks with the root of the launches
        needed = made * (margin / enough) ** 2 if enough > 0 else math.inf
        return next((look - made for look in LOOKS if look > made and look >= needed), None)

    def bearable(self, better: Better) -> float:
        """The smallest tolerance by which it would be cleared: the bound of the relative worsening."""
        estimate, margin, _ = self._worsening(better, 0.0, 0.0)
        bound = estimate + margin
        return -math.expm1(-bound) if better == "higher" else _change(bound)

    def _enough(self, better: Better, tolerance: float, floor: float) -> float:
        """The margin with which the estimate would be decided."""
        estimate, _, acceptable = self._worsening(better, tolerance, floor)
        return estimate if estimate > acceptable else acceptable - estimate

    def _worsening(self, better: Better, tolerance: float, floor: float) -> tuple[float, float, float]:
        """Estimate, half the interval and what is acceptable: log ratios, positive when worse."""
        allowed = max(tolerance, floor / self.base if self.base > 0 else 0.0)
        margin = (self.high - self.low) / 2
        if better == "higher":
            return -self.estimate, margin, -math.log1p(-min(allowed, 0.999))
        return self.estimate, margin, math.log1p(allowed)


@dataclass(frozen=True)
class Rerun:
    """How often a test that failed in the run failed when it was run again on both sides."""

    head: tuple[int, int]
    """Failures and runs on the head, the first one included."""
    base: tuple[int, int]
    """Failures and runs on the base; no runs: it is not there, or there was no time (`late`)."""
    alike: bool = True
    """Whether a failure on the base had the signature of the head's."""
    alone: bool = True
    """Whether it was run without the other tests; else with all of its suite, since alone it passes."""
    unclear: str = ""
    """Why it was not run again, or not often enough to tell; empty: it was."""
    late: bool = False
    """There was no time for the base."""
    metrics: tuple[Metric, ...] = ()
    """What it measured when it passed on the head."""

    @property
    def flaky(self) -> bool:
        """The head passes it sometimes."""
        return self.head[0] < self.head[1] and not self.unclear

    @property
    def known(self) -> bool:
        """The base fails it as well, each time and in the same way."""
        return self._always_on_base and self.alike

    @property
    def changed(self) -> bool:
        """The base fails it each time as well, but in another way."""
        return self._always_on_base and not self.alike

    @property
    def _always_on_base(self) -> bool:
        return 0 < self.base[1] == self.base[0]


@dataclass(frozen=True)
class Confirmation:
    """What base and head showed on one machine."""

    evidence: Mapping[str, Evidence] = field(default_factory=dict[str, Evidence])
    """By metric."""
    reruns: Mapping[str, Rerun] = field(default_factory=dict[str, Rerun])
    """By nodeid."""
    counts: Mapping[str, Bounded] = field(default_factory=dict[str, Bounded])
    """Work counts of the base, by metric, where the accepted runs are older than it."""
    not_reached: tuple[str, ...] = ()
    """Metrics that the budget did not suffice for, in order of suspicion."""
    not_comparable: tuple[str, ...] = ()
    """Metrics of which base and head gave nothing to compare."""
    notes: tuple[str, ...] = ()
    """What weakens the comparison, a sentence each."""
    interrupted: bool = False
    early: bool = False
    """It ended when a regression was confirmed: what nothing speaks against was left out."""
    account: Account = field(default_factory=Account)
    """What differs between the sides, and whether each used its own."""
    base: str = ""
    """The commit that the head was compared with."""
    head: str = ""
    """The commit that was judged, as its reports name it."""
    suites: tuple[str, ...] = ()
    """Those of the run that was asked about."""


def _change(ratio: float) -> float:
    """The relative change of a log ratio; what is beyond a million times is all the same."""
    return math.expm1(min(ratio, _MOST))


def to_json(confirmation: Confirmation) -> bytes:
    """A confirmation as a file: what one machine measured, to be judged on another."""
    return msgspec.json.format(msgspec.json.encode(confirmation), indent=2) + b"\n"


def from_json(data: bytes) -> Confirmation:
    """Read what `to_json` wrote.

    Raises:
        ValueError: it is something else.
    """
    try:
        return msgspec.json.decode(data, type=Confirmation)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"no kept confirmation: {error}") from None


def together(parts: Sequence[Confirmation]) -> Confirmation:
    """What several machines measured, each a suite of its own."""
    return Confirmation(
        evidence={name: shown for part in parts for name, shown in part.evidence.items()},
        reruns={nodeid: rerun for part in parts for nodeid, rerun in part.reruns.items()},
        counts={name: count for part in parts for name, count in part.counts.items()},
        not_reached=tuple(metric for part in parts for metric in part.not_reached),
        not_comparable=tuple(metric for part in parts for metric in part.not_comparable),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        interrupted=any(part.interrupted for part in parts),
        early=any(part.early for part in parts),
        account=merged(part.account for part in parts),
        base=parts[0].base if parts else "",
        head=parts[0].head if parts else "",
        suites=tuple(dict.fromkeys(suite for part in parts for suite in part.suites)),
    )


def error_share(rank: int) -> float:
    """The part of the error rate that the question of a rank gets: 1 / (n ln(n)^2) of the sum, n = rank + 1.

    The shares of all ranks sum to one however many there are. So a metric more at the end of the order
    changes no other metric's interval, and the strongest suspicion is answered soonest (weighted
    Bonferroni; Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure").

    Args:
        rank: place in the order of suspicion, from 1.
    """
    number = rank + 1
    return 1 / (number * math.log(number) ** 2) / _ALL_SHARES


def weigh(metric: str, pairs: Sequence[Pair], rank: int) -> Evidence:
    """Estimate and confidence interval from launches, at least one.

    The unit is the launch: its rounds share a memory layout and are not independent. A launch weighs
    1 / (prior^2 + error^2), so that one with a noisy neighbour in it counts for little, and one whose few
    rounds agree by chance for no more than is likely (`_believable`); the interval is that
    of Hartung & Knapp (2001), "On tests of the overall treatment effect in meta-analysis with normally
    distributed responses", Statistics in Medicine 20: Student's, its scale the weighted residuals, here
    moderated with a prior as in `gate.statistics.screen`. Each look gets an equal part of the share
    that the question has of `ERROR_RATE`, so stopping early costs nothing extra.

    What is measured once per process has no rounds to show its error, and its noise differs from test to test
    by more than any prior knows: there the launches alone tell it, but never less than the prior.

    Args:
        metric: its name.
        pairs: one per launch.
        rank: place of the question in the order of suspicion, from 1, fixed before anything is measured.
    """
    pairs = pairs[: max((look for look in LOOKS if look <= len(pairs)), default=len(pairs))]
    weights = [1 / (PRIOR_SPREAD**2 + variance) for variance in _believable(pairs)]
    total = math.fsum(weights)
    estimate = math.fsum(w * pair.ratio for w, pair in zip(weights, pairs, strict=True)) / total
    residuals = math.fsum(w * (pair.ratio - estimate) ** 2 for w, pair in zip(weights, pairs, strict=True))
    spread = residuals / (len(pairs) - 1) if len(pairs) > 1 else 0.0
    alone = len(pairs) > 2 and (any(pair.rounds == 1 for pair in pairs) or spread > _CONTRADICTED)
    if alone:
        degrees: float = len(pairs) - 1
        scale = max(1.0, spread)
    else:
        degrees = PRIOR_LAUNCHES + len(pairs) - 1
        scale = (PRIOR_LAUNCHES + residuals) / degrees
    quantile = t_quantile(1 - _error(rank), degrees)
    margin = quantile * math.sqrt(scale / total)
    # The margin shrinks with the root of the launches; where they alone tell the noise, so does Student's t.
    last = margin * math.sqrt(len(pairs) / MAX_LAUNCHES)
    if alone:
        last *= t_quantile(1 - _error(rank), MAX_LAUNCHES - 1) / quantile
    base = median(pair.base for pair in pairs)
    return Evidence(
        metric,
        tuple(pairs),
        rank,
        estimate,
        estimate - margin,
        estimate + margin,
        base,
        base * (1 + _change(estimate)),
        last,
        t_quantile(_NINE_OF_TEN, degrees) * math.sqrt(scale / total),
    )


def _believable(pairs: Sequence[Pair]) -> list[float]:
    """The variance of each launch's ratio as its rounds show it, but not smaller than is likely.

    Four rounds of one speed are soon found on a machine of many speeds, and would outweigh every other
    launch. So the usual variance of the launches counts for one degree of freedom beside those that the
    rounds have (moderation as in Smyth 2004, "Linear models and empirical Bayes methods").
    """
    usual = median(pair.error**2 for pair in pairs)
    variances: list[float] = []
    for pair in pairs:
        degrees = _EFFICIENCY * (pair.rounds - 1)
        variances.append(max(pair.error**2, (usual + degrees * pair.error**2) / (1 + degrees)))
    return variances


def visible(spread: float, launches: int, rank: int) -> float:
    """The smallest relative worsening that is told apart from nothing in 95 of 100 comparisons.

    Args:
        spread: of the log-ratio from launch to launch.
        launches: how many there will be.
        rank: place of the question in the order of suspicion, from 1.
    """
    degrees = PRIOR_LAUNCHES + launches - 1
    margin = t_quantile(1 - _error(rank), degrees) * spread / math.sqrt(launches)
    # Both the estimate and the estimated spread behind the margin move from one comparison to the next.
    error = math.hypot(spread / math.sqrt(launches), margin / math.sqrt(2 * degrees))
    return math.expm1(margin + 1.645 * error)


def _error(rank: int) -> float:
    return ERROR_RATE * error_share(rank) / len(LOOKS)
