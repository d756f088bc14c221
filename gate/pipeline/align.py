"""A run and the memory it is judged by, brought to the same names and units, once. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from gate.baseline import Baseline, KnownMetric
from gate.evidence import Confirmation
from gate.judge import Inputs
from gate.model import Metric, Run, SuiteRun
from gate.moves import followed
from gate.pipeline.apart import Apart
from gate.units import UnitError, convert, dimension
from gate.verdict import Finding
from pytest_regression_gate.metrics import Better


def align(run: Run, inputs: Inputs, apart: Apart | None = None) -> tuple[Run, Inputs]:
    """A run in the units that the baseline knows, and the baseline in the names that the run has.

    What cannot be aligned becomes a note of the inputs.

    Args:
        run: as it was read.
        inputs: what it is judged by.
        apart: the suites that share names, if that is known.
    """
    apart = apart or Apart.of(run, inputs.baseline, inputs.policy.suites)
    baseline = apart.baseline(followed(inputs.baseline, inputs.moved))
    moved = apart.moved(inputs.moved)
    run, unlike = as_remembered(apart.run(run), baseline)
    for name, suite in run.suites.items():
        older, newer = _of_other_methods(suite, baseline)
        if older or newer:
            baseline = baseline.with_outdated(name, (*older, *newer))
        unlike += [_measured_otherwise(name, older, newer=False)] if older else []
        unlike += [_measured_otherwise(name, newer, newer=True)] if newer else []
    return run, replace(inputs, baseline=baseline, moved=moved, notes=(*inputs.notes, *unlike))


def with_reruns(run: Run, baseline: Baseline, confirmation: Confirmation) -> Run:
    """A run with what its failing tests measured when they passed later: being flaky hides nothing.

    Args:
        run: in the units of the baseline.
        baseline: the baseline.
        confirmation: holds the reruns.
    """
    late: dict[str, dict[str, Metric]] = {}
    for metric in (m for rerun in confirmation.reruns.values() if rerun.flaky for m in rerun.metrics):
        late.setdefault(metric.suite, {})[metric.name] = metric
    suites = {
        name: msgspec.structs.replace(run.suites[name], metrics=metrics)
        for name, metrics in late.items()
        if name in run.suites
    }
    aligned, _ = as_remembered(Run(suites=suites, problems=()), baseline)
    more = {
        name: msgspec.structs.replace(run.suites[name], metrics={**suite.metrics, **run.suites[name].metrics})
        for name, suite in aligned.suites.items()
    }
    return msgspec.structs.replace(run, suites={**run.suites, **more})


def as_remembered(run: Run, baseline: Baseline) -> tuple[Run, list[Finding]]:
    """A run with its metrics in the unit and direction that the baseline knows them by.

    What is better, in which unit, and whether it is exact, is not for the judged run to change.

    Returns:
        The run, and a finding for every metric whose unit measures something else now, or that is no work
        count any more.
    """
    suites: dict[str, SuiteRun] = {}
    findings: list[Finding] = []
    for name, suite in run.suites.items():
        latest = baseline.latest(name)
        known: Mapping[str, KnownMetric] = latest.metrics if latest else {}
        metrics: dict[str, Metric] = {}
        for metric in suite.metrics.values():
            before = known.get(metric.name)
            if before and before.exact and not metric.exact:
                findings.append(_not_exact(metric))
            if before and before.better != metric.better:
                findings.append(_turned(metric, before.better))
            try:
                metrics[metric.name] = _like(metric, before) if before else metric
            except UnitError:
                findings.append(_unlike(metric, before.unit if before else ""))
        suites[name] = msgspec.structs.replace(suite, metrics=metrics)
    return msgspec.structs.replace(run, suites=suites), findings


def _like(metric: Metric, known: KnownMetric) -> Metric:
    if metric.unit != known.unit and dimension(metric.unit) != dimension(known.unit):
        raise UnitError  # what a rule may say without a unit, a measurement may not
    value = convert(metric.value, metric.unit, known.unit)
    return msgspec.structs.replace(
        metric, value=value, unit=known.unit, better=known.better, exact=known.exact
    )


def _turned(metric: Metric, before: Better) -> Finding:
    message = f"says now that {metric.better} is better; it is judged as before: {before} is better"
    return _not_for_a_change(metric, message)


def _not_exact(metric: Metric) -> Finding:
    message = "was a work count on the baseline and is none now; it is judged as one all the same"
    return _not_for_a_change(metric, message)


def _not_for_a_change(metric: Metric, message: str) -> Finding:
    """Direction and method of a metric are rules."""
    return Finding(
        kind="policy-change",
        level="warn",
        subject=metric.name,
        suite=metric.suite,
        message=message,
        nodeids=(metric.nodeid,),
        remedy="once it is merged, accept it: gate baseline accept --subject METRIC --reason TEXT",
    )


def _of_other_methods(suite: SuiteRun, baseline: Baseline) -> tuple[list[str], list[str]]:
    """Metrics of an older method than the accepted runs have, and of a newer one."""
    latest = baseline.latest(suite.name)
    known: Mapping[str, KnownMetric] = latest.metrics if latest else {}
    pairs = [(m, before.method) for m in suite.metrics.values() if (before := known.get(m.name))]
    older = sorted(m.name for m, method in pairs if m.method < method)
    return older, sorted(m.name for m, method in pairs if m.method > method)


def _measured_otherwise(suite: str, names: Sequence[str], *, newer: bool) -> Finding:
    """A newer method than what was accepted comes with the gate, an older one with a foreign report."""
    others = f" and {len(names) - 1} more" if len(names) > 1 else ""
    if newer:
        message = (
            f"this version of the gate measures it{others} in another way than the accepted runs do; "
            "their values are not compared"
        )
        remedy = "accept a run that this version has measured: gate run, gate baseline update"
    else:
        message = (
            f"the report says that an older version of the gate measured it{others} than the accepted runs; "
            "nothing can be compared"
        )
        remedy = "run the suites with the gate that judges them"
    return Finding(
        kind="policy-change" if newer else "missing-metric",
        level="warn" if newer else "fail",
        subject=names[0],
        suite=suite,
        message=message,
        remedy=remedy,
    )


def _unlike(metric: Metric, unit: str) -> Finding:
    return Finding(
        kind="missing-metric",
        level="fail",
        subject=metric.name,
        suite=metric.suite,
        message=f"was measured in {unit or 'no unit'} on the baseline and is now measured in "
        f"{metric.unit or 'no unit'}",
        nodeids=(metric.nodeid,),
        remedy="give it another name, or measure it as before",
    )
