"""What repeated runs of unchanged code say: each metric's noise, what can be seen, what to change. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

import msgspec

from gate.evidence import PRIOR_SPREAD, visible
from gate.model import TAILS, Metric, SuiteRun
from gate.policy import LIMITS, OFF, Policy, Rule
from gate.statistics import moves, pooled_noise, screen, shift
from gate.units import Quantity, convert, dimension, format_change, format_value
from pytest_regression_gate.metrics import STATISTICS, Better, quantile

POWER: Final = 1.645
"""The 95 % quantile of the normal distribution: a change is seen in 95 of 100 runs, one-sided."""
LAUNCHES: Final = 10
"""How many launches the default budget of a confirmation holds, for a dozen operations at once."""
BATON_GAIN: Final = 3.5
"""How much less launches of a confirmation differ than runs do. Measured on identical code (DESIGN.md,
section 7): p50 3.2 % against 0.9 %; other statistics gained more."""
CONFIRMABLE: Final = frozenset({*STATISTICS, "cpu", "throughput"})
"""Statistics that base and head can be compared by on one machine; the others are judged by history."""
_MOST: Final = 700.0
"""The largest logarithm of a float."""
_KEYS: Final = ("better", *LIMITS, "tolerance", "floor")
_STEPS: Final = (5, 10, 15, 20, 25, 30, 40, 50, 75, 100)


class Noise(msgspec.Struct, frozen=True):
    """One metric over all runs. Shares are relative: 0.03 is 3 %."""

    name: str
    suite: str
    unit: str
    better: Better
    values: tuple[float, ...]
    centre: float
    """Median of the runs, in the metric's unit."""
    noise: float | None
    """Robust sd of the logarithm between runs; None where there is no logarithm to speak of."""
    screen: float | None
    """The smallest worsening that history alone sees with 95 % probability."""
    confirm: float | None
    """The same for a comparison of base and head; None: this metric cannot be compared so."""
    tolerance: float | None
    """Of the policy; None: off, or a percentile of too few calls to be compared."""

    @property
    def seen(self) -> float | None:
        """What the gate sees in the end, by whichever instrument decides."""
        return self.screen if self.confirm is None else self.confirm


class Proposal(msgspec.Struct, frozen=True):
    """Limits or a tolerance of one metric that lie inside the noise, and what to write instead."""

    name: str
    reasons: tuple[str, ...]
    yaml: str
    """One line below `metrics:`, with everything that the exact entry said before."""


def measure_noise(runs: Sequence[Mapping[str, SuiteRun]], policy: Policy) -> list[Noise]:
    """The noise of every metric that the policy judges, worst first.

    Args:
        runs: at least two clean runs of the same code, each as its suites by name.
        policy: the rules.

    Raises:
        LocatedError: a limit's unit does not fit its metric.
    """
    last: dict[str, Metric] = {}
    values: dict[str, list[float]] = {}
    for run in runs:
        for suite in run.values():
            for metric in suite.metrics.values():
                last[metric.name] = metric
                values.setdefault(metric.name, []).append(metric.value)
    rules = {name: policy.rule(last[name]) for name in last if len(values[name]) > 1 and not last[name].exact}
    compared = {name for name, rule in rules.items() if rule.tolerance != OFF and not last[name].few}
    judged = {name: rule for name, rule in rules.items() if name in compared or _has_limit(rule)}
    priors = {  # as the judge does: tails move much more than everything else
        tail: pooled_noise(
            [moves(values[name], "lower") for name in compared if (last[name].statistic in TAILS) == tail]
        )
        for tail in (True, False)
    }
    table = [
        _noise(
            last[name],
            rule,
            values[name],
            prior=priors[last[name].statistic in TAILS],
            metrics=len(compared) if name in compared else 0,
            confirm=policy.confirm != "off",
        )
        for name, rule in judged.items()
    ]
    return sorted(table, key=lambda noise: (-(noise.noise or 0.0), noise.name))


def _has_limit(rule: Rule) -> bool:
    return any(getattr(rule, key) is not None for key in LIMITS)


def _noise(
    metric: Metric, rule: Rule, values: Sequence[float], *, prior: float, metrics: int, confirm: bool
) -> Noise:
    """One row; `metrics` is how many are compared, 0 where this one is not."""
    centre = median(values)
    spread = robust_sd(values)
    tolerance = rule.tolerance.to("ratio") if metrics else None
    seen = confirmed = None
    if tolerance is not None and spread is not None:
        bound = screen(values, centre, rule.better, metrics=metrics, prior=prior).bound
        seen = math.expm1(min(bound + POWER * spread, _MOST))
        if confirm and metric.statistic in CONFIRMABLE:
            confirmed = visible(max(PRIOR_SPREAD, spread / BATON_GAIN), LAUNCHES, metrics)
    return Noise(
        metric.name, metric.suite, metric.unit, rule.better, tuple(values), centre, spread, seen, confirmed,
        tolerance,
    )  # fmt: skip


def robust_sd(values: Sequence[float]) -> float | None:
    """1.4826 times the median absolute deviation of the logarithm; None around zero."""
    moves = [shift(values, value, "lower") for value in values]
    if median(values) <= 0 or not all(math.isfinite(move) for move in moves):
        return None
    return 1.4826 * median(abs(move) for move in moves)


def proposals(table: Sequence[Noise], policy: Policy, rules: Mapping[str, Rule]) -> list[Proposal]:
    """Every tolerance and limit that unchanged code cannot keep, or that the gate cannot see.

    A tolerance lies inside the noise where a change of its size is not seen by the confirmation; for a metric
    that only history judges, where one run in twenty of unchanged code exceeds it. A limit does where one
    run in twenty of unchanged code would pass it.

    Args:
        table: what `measure_noise` found.
        policy: the rules as written.
        rules: what holds for each metric of the table, by name.
    """
    found: list[Proposal] = []
    for noise in table:
        rule = rules[noise.name]
        changes = [_tolerance(noise), *(_limit(noise, key, getattr(rule, key)) for key in LIMITS)]
        told = [change for change in changes if change is not None]
        if told:
            values = {change.key: change.value for change in told}
            yaml = _entry(noise, policy, rule, values)
            found.append(Proposal(noise.name, tuple(change.reason for change in told), yaml))
    return found


def wobble(noise: Noise) -> float:
    """How much worse than their median one run in twenty of unchanged code looks, on the log scale."""
    return POWER * (noise.noise or 0.0) * math.sqrt(1 + 1 / len(noise.values))


@dataclass(frozen=True)
class _Change:
    key: str
    value: Quantity
    reason: str


def _tolerance(noise: Noise) -> _Change | None:
    if noise.tolerance is None or noise.noise is None:
        return None
    if noise.confirm is not None:
        needed, why = noise.confirm, "a confirmation sees from"
    else:
        needed, why = math.expm1(wobble(noise)), "one run in twenty of unchanged code moves by"
    if needed <= noise.tolerance:
        return None
    step = next((step for step in _STEPS if step / 100 >= needed), None)
    reason = f"tolerance {100 * noise.tolerance:g} %: {why} {format_change(needed)}"
    return _Change("tolerance", OFF if step is None else Quantity(step, "%"), reason)


def _limit(noise: Noise, key: str, limit: Quantity | None) -> _Change | None:
    """A limit that unchanged code passes more than once in twenty runs, or has passed already."""
    if limit is None or noise.noise is None or (bound := limit.to(noise.unit)) <= 0:
        return None
    sign = 1.0 if noise.better == "lower" else -1.0
    distance, reach = sign * math.log(bound / noise.centre), wobble(noise)
    if distance > reach:
        return None
    tail = quantile(sorted(noise.values), 0.95 if noise.better == "lower" else 0.05)
    word = "away from" if distance >= 0 else "beyond"
    reason = (
        f"{key} {limit}: the median {format_value(noise.centre, noise.unit)} is "
        f"{100 * abs(math.expm1(distance)):.2g} % {word} it, "
        f"the {'95' if noise.better == 'lower' else '5'} % worst {format_value(tail, noise.unit)}"
    )
    worst = noise.centre * math.exp(sign * max(2 * reach, 0.05))
    proposed = _generous(convert(worst, noise.unit, limit.unit or noise.unit), noise.better)
    if dimension(noise.unit) == "ratio":
        proposed = min(proposed, convert(1.0, "ratio", limit.unit or noise.unit))
    return _Change(key, Quantity(proposed, limit.unit), reason)


def _generous(value: float, better: Better) -> float:
    """Two significant digits, rounded to the generous side."""
    scale = 10.0 ** (math.floor(math.log10(value)) - 1)
    whole = math.ceil(value / scale - 1e-9) if better == "lower" else math.floor(value / scale + 1e-9)
    return float(f"{whole * scale:.6g}")


def _entry(noise: Noise, policy: Policy, rule: Rule, changes: Mapping[str, Quantity]) -> str:
    """The exact entry of a metric with some values changed; its warning never beyond what fails."""
    before = next((entry for entry in policy.entries if entry.pattern == noise.name), None)
    values = {**(before.values if before else {}), **changes}
    if warning := changes.get("warning"):
        failing = [values.get(key) or getattr(rule, key) for key in ("target", "critical")]
        strictest = min if noise.better == "lower" else max
        bounds = [limit for limit in (warning, *failing) if limit is not None]
        values["warning"] = strictest(bounds, key=lambda limit: limit.to(noise.unit))
    ordered = [(key, values[key]) for key in _KEYS if key in values]
    said = ", ".join(f"{key}: {'off' if value == OFF else value}" for key, value in ordered)
    return f"{noise.name}: {{{said}}}"
