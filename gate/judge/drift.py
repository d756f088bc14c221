"""Slow creep: where a metric stands against its pinned reference, however small each step was."""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from gate.baseline import AcceptedRun, Baseline, Pin, SuiteBaseline
from gate.changepoints import change_points, noise
from gate.model import TAILS, Metric, Run, SuiteRun
from gate.policy import OFF, Policy, Rule
from gate.statistics import FALSE_ALARMS, PRIOR_RUNS, PRIOR_SD, common_shift, shift, t_quantile
from gate.units import dimension, format_change, format_value
from gate.verdict import Finding

RECENT: Final = 3
"""How many runs make the recent level: the newest accepted ones and the new one. Each of them must be worse
than noise explains: on shared machines noise has two levels, and a median of three is often on the upper."""


@dataclass(frozen=True)
class Drift:
    """Where a metric stands against its reference."""

    metric: Metric
    rule: Rule
    pin: Pin
    history: tuple[float, ...]
    """The accepted values that are kept, oldest first, and the new one."""
    worse: float
    """How much worse the recent level is, on the log scale, without the share of the whole machine."""
    least: float
    """The same for the best of the recent runs."""
    bound: float
    """How much worse the level of unchanged code may seem."""

    @property
    def reference(self) -> float:
        """The pinned level, in the metric's unit."""
        return self.pin.values[self.metric.name]

    @property
    def level(self) -> float:
        """The recent level without the share of the whole machine, in the metric's unit."""
        sign = 1.0 if self.rule.better == "lower" else -1.0
        if math.isinf(self.worse):
            return median(self.history[-RECENT:])
        if self.reference <= 0:
            return self.reference + sign * self.worse * abs(self.reference)
        return self.reference * math.exp(sign * self.worse)

    @property
    def found(self) -> bool:
        """Whether it drifted: each run worse than noise explains, the level over tolerance and floor."""
        moved = abs(self.level - self.reference)
        tolerated = self.rule.tolerance.to("ratio") * abs(self.reference)
        return self.least > self.bound and moved > max(tolerated, self.rule.floor.to(self.metric.unit))


def judge_drift(run: Run, baseline: Baseline, policy: Policy, *, named: frozenset[str]) -> list[Finding]:
    """Find metrics whose recent level is worse than their reference by more than the tolerance.

    A warning, never red: the pull request that happens to be the tenth is not to blame. `named` metrics,
    which are called slower already or were not measured properly, are left out.

    Raises:
        LocatedError: an entry's unit does not fit its metric.
    """
    findings: list[Finding] = []
    for suite in run.suites.values():
        known = baseline.measured_on(suite.name, suite.environment)
        if known is not None:
            findings += [
                _finding(d, known) for d in drifts(suite, known, policy) if d.metric.name not in named
            ]
    return findings


def drifts(suite: SuiteRun, known: SuiteBaseline, policy: Policy) -> list[Drift]:
    """The metrics of a suite that left their reference.

    Nothing is said of metrics with limits alone, of counts without tolerance (each step of those was a
    finding), and of metrics that 3 runs younger than the reference, the new one included, do not have.
    """
    recent = known.runs[-RECENT + 1 :]
    followed: list[tuple[Metric, Rule, Pin]] = []
    for metric in suite.metrics.values():
        rule, pin = policy.rule(metric), known.reference(metric.name)
        if pin is None or rule.tolerance == OFF or (metric.exact and not rule.tolerance.value):
            continue
        later = [run for run in recent if run.created > pin.created and metric.name in run.values]
        if len(later) == RECENT - 1 and not metric.few:
            followed.append((metric, rule, pin))
    return [drift for drift in _measure(followed, known, recent) if drift.found]


def _measure(
    followed: Sequence[tuple[Metric, Rule, Pin]], known: SuiteBaseline, recent: Sequence[AcceptedRun]
) -> list[Drift]:
    """Compare recent levels with references.

    The share of the whole machine is estimated run by run, as the screen does. The bound is that of the
    difference of two medians, `t * s * sqrt(pi/2 * (1/n + 1/m))`, with s the noise between successive runs,
    moderated twice as in Smyth (2004), "Linear models and empirical Bayes methods", eq. 3: a metric's own
    noise by that of the suite, the suite's by the general prior. The error rate is divided by the number of
    metrics (Bonferroni).
    """
    moves = {
        metric.name: [
            shift((pin.values[metric.name],), value, rule.better)
            for value in (*(run.values[metric.name] for run in recent), metric.value)
        ]
        for metric, rule, pin in followed
    }
    steady = [metric.name for metric, _, _ in followed if _fast(metric) and metric.statistic not in TAILS]
    common = [common_shift([moves[name][index] for name in steady]) for index in range(RECENT)]
    histories = {m.name: (*known.history(m.name), m.value) for m, _, _ in followed}
    own = {name: (len(values) - 2, noise(values)) for name, values in histories.items()}
    shared = _moderated([pair for pair in own.values() if pair[1]], PRIOR_SD)
    drifts: list[Drift] = []
    for metric, rule, pin in followed:
        shares = common if _fast(metric) else [0.0] * RECENT
        bound = 0.0
        if not metric.exact:
            spread = _moderated([own[metric.name]], shared) * math.sqrt(
                math.pi / 2 * (1 / pin.runs + 1 / RECENT)
            )
            degrees = own[metric.name][0] + PRIOR_RUNS
            bound = t_quantile(1 - FALSE_ALARMS / len(followed), degrees) * spread
        own_moves = [move - share for move, share in zip(moves[metric.name], shares, strict=True)]
        drifts.append(
            Drift(metric, rule, pin, histories[metric.name], median(own_moves), min(own_moves), bound)
        )
    return drifts


def _moderated(noises: Sequence[tuple[int, float]], prior: float) -> float:
    """Noise from (degrees of freedom, sd) of several series and a prior that counts for `PRIOR_RUNS`."""
    total = PRIOR_RUNS + sum(degrees for degrees, _ in noises)
    squares = math.fsum(degrees * sd**2 for degrees, sd in noises)
    return math.sqrt((PRIOR_RUNS * prior**2 + squares) / total)


def _fast(metric: Metric) -> bool:
    """Whether a slower machine as a whole would move it: times and rates, not memory and shares."""
    return dimension(metric.unit) in {"time", "rate"} and not metric.exact


def _finding(drift: Drift, known: SuiteBaseline) -> Finding:
    metric, pin = drift.metric, drift.pin
    change = (drift.level - drift.reference) / abs(drift.reference) if drift.reference else None
    before, now = (format_value(value, metric.unit) for value in (drift.reference, drift.level))
    size = "" if change is None else f" ({format_change(change)})"
    later = sum(run.created > pin.created for run in known.runs) + 1
    return Finding(
        kind="drift",
        level="warn",
        subject=metric.name,
        suite=metric.suite,
        baseline=drift.reference,
        head=drift.level,
        unit=metric.unit,
        change=change,
        message=f"{before} → {now}{size} since {named_pin(pin)}, over {later} runs; {_steps(drift, known)}",
        rule=drift.rule.cite("tolerance"),
        nodeids=(metric.nodeid,),
        reproduce=f"gate explain {shlex.quote(metric.name)}",
        remedy="fix it, or make today's level the reference: gate baseline pin latest --reason TEXT",
    )


def _steps(drift: Drift, known: SuiteBaseline) -> str:
    """The steps since the reference, as far as the kept runs show them; the new run alone is none."""
    runs = [run for run in known.runs if drift.metric.name in run.values]
    steps = [
        f"{format_change(step.change)} at {runs[step.index].commit[:7]} of {runs[step.index].created[:10]}"
        for step in change_points(drift.history)
        if runs[step.index].created > drift.pin.created
    ]
    return f"steps: {', '.join(steps)}" if steps else "no single step stands out"


def named_pin(pin: Pin) -> str:
    """A reference in words: `2026-11-01 (8f3c2a1, first 5 accepted runs)`."""
    return f"{pin.created[:10]} ({pin.commit[:7]}, {pin.reason or f'first {pin.runs} accepted runs'})"
