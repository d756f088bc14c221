"""Whether a load was a measurement at all. What was none is neither compared nor held to limits.

The limits below were chosen by measurement (docs/measuring.md): quiet runs, and runs beside one busy
process, stay far below them.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import msgspec

from gate.evidence import MIN_LAUNCHES, Confirmation
from gate.judge.screening import depends_on_speed
from gate.model import Metric, SuiteRun, needed_for
from gate.policy import LIMITS, OFF, Policy, Rule, split_pattern
from gate.units import UnitError, convert, format_value
from gate.verdict import Finding, Level
from pytest_regression_gate.metrics import STATISTICS, LoadRun

MOST_ERRORS: Final = 0.05
"""Errors per request, where the policy sets no `target` or `critical` for the load's error rate."""
MOST_GENERATOR: Final = 0.25
"""Share of the time that the driver's own code may take in the process of the service."""
MOST_GENERATOR_REMOTE: Final = 0.80
"""Share of one core that the process of the generator may use: beyond it, it cannot send any faster."""
MOST_LAG: Final = 10.0
"""ms that the generator's event loop may be late, 99th percentile, ..."""
MOST_LAG_SHARE: Final = 0.25
"""... if that is also more than this share of the load's median. (A p95 grows with the lag itself.)"""
MOST_STEAL: Final = 0.10
"""Share of all cores that the hypervisor may give to others."""
MOST_WAITED: Final = 0.10
"""Share of the time that the thread of generator and service may have to wait for a core."""
SPARE_CORES: Final = 0.75
"""Cores that others must leave free, where the system does not say how long a thread waited."""

_OF_A_LOAD: Final = frozenset({*STATISTICS, "throughput", "error_rate"})
_PERCENTILES: Final = ("p95", "p99")

Series = Mapping[str, Metric]
"""The metrics of one load by statistic."""


@dataclass(frozen=True)
class Reason:
    """Why a load was no measurement, and what to do about it."""

    message: str
    remedy: str
    machine: bool = False
    """The machine was busy with other work: neither the load nor the service can help it."""


@dataclass(frozen=True)
class Loads:
    """What was found about the loads of a suite."""

    findings: list[Finding]
    void: frozenset[str]
    """Metrics of loads that were no measurement: not to be compared, and of limits only those on errors."""


def judge_loads(
    suite: SuiteRun,
    policy: Policy,
    *,
    untouched: Collection[str] = (),
    confirmation: Confirmation | None = None,
) -> Loads:
    """Judge every load of a suite: one that was no measurement is a finding, and its metrics are void.

    Of a report that does not say how a load was driven, requests and errors are judged.

    Args:
        suite: the run.
        policy: the limits on errors.
        untouched: tests that reach nothing that differs (nodeids); what the machine kept from being measured
            in them is told and does not fail.
        confirmation: what base and head showed in turns, where the machine is the same for both; a load that
            the machine made invalid and that was decided there is told and does not fail.

    Raises:
        LocatedError: a limit's unit does not fit its metric.
    """
    findings: list[Finding] = []
    void: set[str] = set()
    for subject, series in _loads(suite).items():
        load = suite.loads.get(subject) or _as_far_as_known(series)
        reasons = why_invalid(load, series, policy, suite.environment.cores)
        if reasons:
            same = any(metric.nodeid in untouched for metric in series.values())
            found = _invalid(subject, series, reasons, load.attempts, untouched=same)
            if found.state == "inconclusive" and confirmation and _is_decided(series, policy, confirmation):
                message = f"{found.message}; base and head were compared in turns instead"
                found = msgspec.structs.replace(found, level="info", state="cleared", message=message)
            findings.append(found)
            void |= {metric.name for metric in series.values()}
        else:
            findings += _thin_percentiles(series, policy)
    return Loads(findings, frozenset(void))


def invalid_loads(suite: SuiteRun, policy: Policy) -> dict[str, list[Reason]]:
    """Loads that were no measurement, by subject, and why, as far as the report says how they were driven.

    Raises:
        LocatedError: a limit's unit does not fit its metric.
    """
    found: dict[str, list[Reason]] = {}
    for subject, series in _loads(suite).items():
        if load := suite.loads.get(subject):
            found[subject] = why_invalid(load, series, policy, suite.environment.cores)
    return {subject: reasons for subject, reasons in found.items() if reasons}


def why_invalid(load: LoadRun, series: Series, policy: Policy, cores: int) -> list[Reason]:
    """Everything that keeps a load from being a measurement, the gravest first. Unknown is no reason.

    Args:
        load: how it was driven.
        series: its metrics by statistic.
        policy: whose limits on the error rate say how many errors are too many.
        cores: of the machine; 0 if unknown.
    """
    return [
        *_errors(load, series.get("error_rate"), policy),
        *_requests(load),
        *_generator(load, series),
        *_machine(load, cores),
    ]


def _errors(load: LoadRun, metric: Metric | None, policy: Policy) -> list[Reason]:
    given: dict[str, float] = {}
    if metric is not None:
        rule = policy.rule(metric)
        for name in ("critical", "target"):
            if limit := getattr(rule, name):
                with suppress(UnitError):  # errors per second, say
                    given[name] = convert(limit.to(metric.unit), metric.unit, "ratio")
    name = min(given, key=lambda key: given[key], default="")
    allowed = given[name] if name else MOST_ERRORS
    if load.error_rate <= allowed:
        return []
    bound = f"its {name} is {_percent(allowed)}" if name else f"at most {_percent(allowed)}"
    sent = load.requests + (load.warm_up or 0)
    message = f"{load.errors:,} of {sent:,} requests failed ({_percent(load.error_rate)}, {bound})"
    if load.error:
        message = f"{message}, the first with {load.error}"
    return [Reason(message, "fix what fails; a fast error is no fast answer")]


def _requests(load: LoadRun) -> list[Reason]:
    reasons: list[Reason] = []
    least = needed_for("p50")
    if load.requests < least:
        message = f"it sent {load.requests:,} requests, and a median needs {least}"
        reasons.append(Reason(message, _more(load.requests, least)))
    if load.warm_up == 0:
        message = "it was not warmed up, so first calls are among its latencies"
        reasons.append(Reason(message, "send some requests first and leave them out"))
    return reasons


def _generator(load: LoadRun, series: Series) -> list[Reason]:
    reasons: list[Reason] = []
    if load.generator is not None:
        limit = MOST_GENERATOR_REMOTE if load.remote else MOST_GENERATOR
        if load.generator > limit:
            of = "of a core" if load.remote else "of the time"
            message = f"the generator itself took {_percent(load.generator)} {of} (at most {_percent(limit)})"
            remedy = "drive it with fewer users" if load.remote else "let each request do more work"
            reasons.append(Reason(message, f"{remedy}, or with a generator of its own"))
    most = max(MOST_LAG, MOST_LAG_SHARE * _milliseconds(series.get("p50")))
    if load.lag is not None and load.lag > most:
        message = f"the generator's event loop was up to {load.lag:.3g} ms late (at most {most:.3g} ms)"
        reasons.append(Reason(message, "keep other work out of the generator's process"))
    return reasons


def _milliseconds(latency: Metric | None) -> float:
    """A latency; 0 where it is not known, or in a unit that we do not know."""
    with suppress(UnitError):
        return convert(latency.value, latency.unit, "ms") if latency else 0.0
    return 0.0


def _machine(load: LoadRun, cores: int) -> list[Reason]:
    """Of a remote load only what the hypervisor took: others may be its service, and wait for each other."""
    elsewhere = "run again on a quiet machine"
    reasons: list[Reason] = []
    if load.steal is not None and load.steal > MOST_STEAL:
        message = f"other virtual machines took {_percent(load.steal)} of the cores"
        reasons.append(Reason(f"{message} (at most {_percent(MOST_STEAL)})", elsewhere, machine=True))
    if load.remote:
        return reasons
    others = "" if load.others is None else f"other processes used {_percent(load.others)} of the machine"
    if load.waited is not None and load.waited > MOST_WAITED:
        message = f"it waited for a core {_percent(load.waited)} of the time (at most {_percent(MOST_WAITED)}"
        reasons.append(Reason(f"{message}{others and '; '}{others})", elsewhere, machine=True))
    if load.waited is None and load.others is not None and cores and (1 - load.others) * cores < SPARE_CORES:
        reasons.append(Reason(f"{others}, {cores} cores", elsewhere, machine=True))
    return reasons


def _invalid(
    subject: str, series: Series, reasons: list[Reason], attempts: int, *, untouched: bool
) -> Finding:
    why = "; ".join(reason.message for reason in reasons)
    tried = f" in {attempts} attempts" if attempts > 1 else ""
    found = _finding(
        subject,
        next(iter(series.values())),
        f"no measurement{tried}: {why}. Its latencies and throughput were not judged",
        "; ".join(dict.fromkeys(reason.remedy for reason in reasons)),
    )
    if not all(reason.machine for reason in reasons):
        return found
    if untouched:
        return msgspec.structs.replace(found, level="info", state="machine")
    return msgspec.structs.replace(found, state="inconclusive")


def _is_decided(series: Series, policy: Policy, confirmation: Confirmation) -> bool:
    """Whether all that the policy compares of a load may pass by what it was beside the base.

    As with any metric: cleared, or neither probably worse nor far beyond its tolerance.
    """
    asked = [m for m in series.values() if depends_on_speed(m) and policy.rule(m).tolerance != OFF]
    asked = [m for m in asked if m.count >= needed_for(m.statistic)] if asked else []
    for metric in asked:
        rule, shown = policy.rule(metric), confirmation.evidence.get(metric.name)
        bounds = rule.better, rule.tolerance.to("ratio")
        if shown is None or len(shown.pairs) < MIN_LAUNCHES:
            return False
        if shown.decide(*bounds) == "inconclusive" and shown.grave(*bounds):
            return False
    return bool(asked)


def _thin_percentiles(series: Series, policy: Policy) -> list[Finding]:
    """Percentiles that the policy asks about and that rest on too few requests.

    A limit is still judged, with a warning. A tolerance asks for a comparison that cannot be made; it is
    meant if the entry names the percentile, so a glob over everything asks for nothing.
    """
    findings: list[Finding] = []
    for statistic in _PERCENTILES:
        metric, needed = series.get(statistic), needed_for(statistic)
        if metric is None or metric.count >= needed:
            continue
        rule = policy.rule(metric)
        few = f"rests on {metric.count:,} requests and needs {needed:,}"
        limit = next((name for name in LIMITS if getattr(rule, name) is not None), "")
        if _asks_for_comparison(rule, statistic):
            message = f"{few}: it was not compared with the baseline"
            remedy = f"{_more(metric.count, needed)}, or set its tolerance to off"
            findings.append(_finding(metric.name, metric, message, remedy, rule=rule.cite("tolerance")))
        elif limit:
            message = f"{few}: its limits say little about the next run"
            remedy = _more(metric.count, needed)
            rules = rule.cite(limit)
            findings.append(_finding(metric.name, metric, message, remedy, level="warn", rule=rules))
    return findings


def _asks_for_comparison(rule: Rule, statistic: str) -> bool:
    source = rule.sources["tolerance"]
    if rule.tolerance == OFF or not source.startswith("metrics["):
        return False
    base, _ = split_pattern(source.removeprefix("metrics[").removesuffix("]"))
    return base.rpartition(".")[2] == statistic


def _more(sent: int, needed: int) -> str:
    return f"send at least {-(-needed // max(1, sent))} times as many requests (repeat=)"


def _loads(suite: SuiteRun) -> dict[str, dict[str, Metric]]:
    """The loads of a suite: subjects with throughput and error rate, or of which the report says so."""
    subjects: dict[str, dict[str, Metric]] = defaultdict(dict)
    for metric in suite.metrics.values():
        if metric.statistic in _OF_A_LOAD:
            subjects[metric.subject][metric.statistic] = metric
    return {
        subject: series
        for subject, series in subjects.items()
        if subject in suite.loads or {"p50", "throughput", "error_rate"} <= series.keys()
    }


def _as_far_as_known(series: Series) -> LoadRun:
    """What the metrics alone tell, for reports whose producer does not say how it drove the load."""
    requests = series["p50"].count
    rate = series["error_rate"]
    share = 0.0
    with suppress(UnitError):  # errors per second, say
        share = convert(rate.value, rate.unit, "ratio")
    return LoadRun(requests=requests, errors=round(min(1.0, max(0.0, share)) * requests))


def _percent(share: float) -> str:
    return format_value(share, "ratio")


def _finding(
    subject: str, metric: Metric, message: str, remedy: str, *, level: Level = "fail", rule: str = ""
) -> Finding:
    return Finding(
        kind="invalid-load",
        level=level,
        subject=subject,
        suite=metric.suite,
        message=message,
        rule=rule,
        nodeids=(metric.nodeid,),
        remedy=remedy,
    )
