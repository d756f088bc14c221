"""Run -> Document: the baseline report of a service, drawn from the run alone.

What a metric is called decides where it stands: latencies by the group in front of their last name
(`bot.seller`), a load run with a numeric label (`users=100`) as a ramp, work counts by themselves.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from gate.judge.limits import passed_over
from gate.model import Metric, Run, TestOutcome
from gate.nodeids import file_of
from gate.policy import LIMITS, Policy
from gate.report.document import Cell, Code, Document
from gate.report.words import headline
from gate.units import format_value
from gate.verdict import Verdict
from pytest_regression_gate.metrics import STATISTICS, split_name

_TIMES: Final = (*STATISTICS, "cpu")
_LOAD: Final = ("throughput", "p50", "p95", "p99", "error_rate")

Series = Mapping[str, Metric]
"""The statistics of one subject, by name."""


def baseline_document(run: Run, verdict: Verdict, policy: Policy) -> Document:
    """The whole report, in the order in which people ask: are we in the targets, how fast, how sure."""
    document = Document("Baseline report")
    _head(document, run, verdict)
    void = _no_measurement(verdict)
    _targets(document, run, policy, void)
    subjects = _by_subject(run.metrics.values())
    loads = {name: series for name, series in subjects.items() if "throughput" in series}
    timed = {name: series for name, series in subjects.items() if "p50" in series and name not in loads}
    _response_times(document, timed, policy)
    _load(document, loads, void)
    _values(document, subjects, policy)
    _work(document, run.metrics.values())
    tests = [test for suite in run.suites.values() for test in suite.tests.values()]
    _tests(document, tests, verdict)
    _method(document, run, policy)
    _alert_levels(document, policy)
    _totals(document, run, verdict)
    return document


def _head(document: Document, run: Run, verdict: Verdict) -> None:
    document.paragraph(headline(verdict))
    rows: list[tuple[Cell, ...]] = []
    for suite in sorted(run.suites.values(), key=lambda suite: suite.name):
        written = datetime.fromtimestamp(suite.created, UTC).strftime("%Y-%m-%d %H:%M UTC")
        machine = suite.environment
        place = f"{machine.cpu}, {machine.cores} cores, {machine.os}, Python {machine.python}"
        rows.append((suite.name, Code(suite.commit[:12] or "unknown"), written, place))
    document.table(("Suite", "Commit", "Measured", "Environment"), rows)


def _no_measurement(verdict: Verdict) -> frozenset[str]:
    """The loads, by subject, of which the verdict says that they were no measurement."""
    return frozenset(f.subject for f in verdict.findings if f.kind == "invalid-load" and f.level == "fail")


def _targets(document: Document, run: Run, policy: Policy, void: frozenset[str]) -> None:
    rows: list[tuple[Cell, ...]] = []
    for name, metric in sorted(run.metrics.items()):
        rule = policy.rule(metric)
        limits = [getattr(rule, limit) for limit in LIMITS]
        if any(limits):
            shown = ("–" if limit is None else str(limit) for limit in limits)
            judged = metric.subject not in void or metric.statistic == "error_rate"
            status = _status(metric, policy) if judged else "no measurement"
            rows.append((Code(name), format_value(metric.value, metric.unit), *shown, status))
    document.heading("Summary")
    if rows:
        good = sum(row[-1] == "met" for row in rows)
        document.paragraph(f"{good} of {len(rows)} metrics with limits keep{'s' * (good == 1)} all of them.")
    document.table(
        ("Metric", "Measured", "Target", "Warning", "Critical", "Status"), rows, numeric=(1, 2, 3, 4)
    )


def _status(metric: Metric, policy: Policy) -> str:
    """The worst limit that is passed, in words; a dash where there is no limit."""
    rule = policy.rule(metric)
    given = [(name, limit) for name in ("critical", "target", "warning") if (limit := getattr(rule, name))]
    for name, limit in given:
        if passed_over(metric, rule, limit):
            return {"critical": "critical", "target": "missed", "warning": "warning"}[name]
    return "met" if given else "–"


def _response_times(document: Document, timed: Mapping[str, Series], policy: Policy) -> None:
    groups: dict[str, dict[str, Series]] = defaultdict(dict)
    for subject, series in timed.items():
        groups[subject.partition("{")[0].rpartition(".")[0] or subject][subject] = series
    if groups:
        document.heading("Response times")
    for group in sorted(groups):
        document.heading(group, 3)
        columns = [name for name in _TIMES if any(name in series for series in groups[group].values())]
        rows = [
            (
                Code(subject.removeprefix(f"{group}.")),
                *(_figure(series.get(name)) for name in columns),
                _measured(series),
                _worst_status(series.values(), policy),
            )
            for subject, series in groups[group].items()
        ]
        header = ("Operation", *columns, "Measurements", "Status")
        document.table(header, rows, numeric=range(1, len(columns) + 2))


def _worst_status(metrics: Iterable[Metric], policy: Policy) -> str:
    found = {_status(metric, policy) for metric in metrics}
    return next((word for word in ("critical", "missed", "warning", "met") if word in found), "–")


def _load(document: Document, loads: Mapping[str, Series], void: frozenset[str]) -> None:
    groups: dict[tuple[str, str], list[tuple[str, Series]]] = defaultdict(list)
    for subject, series in loads.items():
        base, key, value = _place_in_ramp(subject)
        groups[base, key].append((value, series))
    if groups:
        document.heading("Load")
    for (base, key), rows in groups.items():
        ramp = all(value.isdecimal() for value, _ in rows)
        if ramp:
            rows.sort(key=lambda row: int(row[0]))
        document.heading(f"{base} by {key}" if key else base, 3)
        document.table(
            (key or "Load", "Requests", "Throughput", "p50", "p95", "p99", "Errors"),
            [
                (value or "–", _measured(series), *(_figure(series.get(name)) for name in _LOAD))
                for value, series in rows
            ],
            numeric=range(7),
        )
        sound = [row for row in rows if row[1]["throughput"].subject not in void]
        if wrong := [value or base for value, series in rows if (value, series) not in sound]:
            document.paragraph(f"No measurement, so not judged: {', '.join(wrong)}{f' {key}' * bool(key)}.")
        if ramp and len(sound) > 1:
            document.bullets(_observations(key, sound))


def _place_in_ramp(subject: str) -> tuple[str, str, str]:
    """A load (`load.api{mode=read}`), the label it is varied by (a number if there is one) and its value."""
    base, labels = split_name(subject)
    key = next((key for key, value in labels.items() if value.isdecimal()), next(iter(labels), ""))
    others = ",".join(f"{name}={value}" for name, value in labels.items() if name != key)
    return f"{base}{{{others}}}" if others else base, key, labels.get(key, "")


def _measured(series: Series) -> str:
    """How many measurements a row rests on: those of its median, if it has one."""
    return f"{series.get('p50', next(iter(series.values()))).count:,}"


def _observations(key: str, rows: Sequence[tuple[str, Series]]) -> list[tuple[Cell, ...]]:
    """What a ramp shows, each statement computed from its figures."""
    best = max(rows, key=lambda row: row[1]["throughput"].value)
    (low, first), (high, last) = rows[0], rows[-1]
    lines: list[str] = []
    if most := best[1]["throughput"].value:
        lines.append(
            f"Throughput is highest at {best[0]} {key}: {_figure(best[1]['throughput'])}; "
            f"at {high} {key} it is {last['throughput'].value / most:.0%} of that."
        )
    grown = [
        f"the {name} × {last[name].value / first[name].value:.3g}"
        for name in ("p95", "p50")
        if name in last and name in first and first[name].value
    ]
    if grown:
        factor = f" (× {int(high) / int(low):.3g})" if int(low) else ""
        growth = " and ".join(grown).replace(" × ", " grows × ", 1)
        lines.append(f"From {low} to {high} {key}{factor} {growth}.")
    failing = [value for value, series in rows if "error_rate" in series and series["error_rate"].value > 0]
    lines.append(f"Errors occurred at {', '.join(failing)} {key}." if failing else "No request failed.")
    return [(line,) for line in lines]


def _values(document: Document, subjects: Mapping[str, Series], policy: Policy) -> None:
    singles = [
        metric
        for series in subjects.values()
        if "p50" not in series
        for metric in series.values()
        if not metric.exact and not ("throughput" in series and metric.statistic in _LOAD)
    ]
    if singles:
        document.heading("Resources and rates")
    rows = [(Code(m.name), format_value(m.value, m.unit), _status(m, policy)) for m in singles]
    document.table(("Metric", "Measured", "Status"), rows, numeric=(1,))


def _work(document: Document, metrics: Iterable[Metric]) -> None:
    counts = [metric for metric in metrics if metric.exact]
    if counts:
        document.heading("Work counts")
        document.paragraph("Exact: the same code gives the same number on every machine.")
    document.table(
        ("Count", "Per operation"),
        [(Code(m.name), format_value(m.value, m.unit)) for m in counts],
        numeric=(1,),
    )


def _tests(document: Document, tests: Sequence[TestOutcome], verdict: Verdict) -> None:
    document.heading("Tests")
    by_class = _grouped(tests, lambda test: "::".join(test.nodeid.split("::")[:2]) if _class(test) else "")
    rows = [
        (Code(name.rpartition("::")[2]), name.partition("::")[0], *_counts(group))
        for name, group in by_class.items()
        if name
    ]
    document.table(("Class", "File", "Passed", "Failed", "Skipped"), rows, numeric=(2, 3, 4))
    document.heading("Regression status by file", 3)
    known = {finding.subject for finding in verdict.findings if finding.kind == "known-failure"}
    files = [
        (Code(name), *_counts(group), str(sum(test.nodeid in known for test in group)))
        for name, group in _grouped(tests, lambda test: file_of(test.nodeid)).items()
    ]
    document.table(("File", "Passed", "Failed", "Skipped", "Of these known"), files, numeric=(1, 2, 3, 4))
    document.heading("Skipped tests", 3)
    skipped = [(Code(test.nodeid), test.reason or "no reason given") for test in tests if test.silent]
    document.table(("Test", "Reason"), skipped)
    if not skipped:
        document.paragraph("None.")


def _method(document: Document, run: Run, policy: Policy) -> None:
    document.heading("Method")
    document.bullets(
        [
            ("Latencies are wall-clock times of single operations after a warm-up; ",
             Code("cpu"), "is the CPU time of the process per operation.",),
            ("Percentiles interpolate linearly between order statistics.",),
            ("The columns Measurements and Requests say how many measurements a row rests on.",)
            if run.metrics else ("No suite recorded a measurement.",),
            ("Figures hold for the environment named above; other machines differ.",),
        ]
    )  # fmt: skip
    document.heading("Commands", 3)
    document.commands(*(suite.run for suite in policy.suites.values()), "gate run", "gate check")


def _alert_levels(document: Document, policy: Policy) -> None:
    rows = [
        (
            Code(entry.pattern),
            *("–" if name not in entry.values else str(entry.values[name]) for name in LIMITS),
        )
        for entry in policy.entries
        if entry.values.keys() & set(LIMITS)
    ]
    if rows:
        document.heading("Alert levels")
        document.paragraph(
            "The check fails if a metric is worse than its target or critical limit. "
            "It warns if a metric is worse than its warning limit."
        )
    document.table(("Metric", "Target", "Warning", "Critical"), rows, numeric=(1, 2, 3))


def _totals(document: Document, run: Run, verdict: Verdict) -> None:
    document.heading("Totals")
    suites = sorted(run.suites.values(), key=lambda suite: suite.name)
    rows = [(s.name, *_counts(s.tests.values()), f"{len(s.metrics):,}") for s in suites]
    every = [test for suite in suites for test in suite.tests.values()]
    rows.append(("All", *_counts(every), f"{verdict.summary.metrics:,}"))
    document.table(("Suite", "Passed", "Failed", "Skipped", "Metrics"), rows, numeric=range(1, 5))


def _by_subject(metrics: Iterable[Metric]) -> dict[str, dict[str, Metric]]:
    subjects: dict[str, dict[str, Metric]] = defaultdict(dict)
    for metric in metrics:
        subjects[metric.subject][metric.statistic] = metric
    return subjects


def _figure(metric: Metric | None) -> str:
    return "–" if metric is None else format_value(metric.value, metric.unit)


def _class(test: TestOutcome) -> bool:
    return test.nodeid.count("::") > 1


def _grouped(tests: Iterable[TestOutcome], key: Callable[[TestOutcome], str]) -> dict[str, list[TestOutcome]]:
    groups: dict[str, list[TestOutcome]] = defaultdict(list)
    for test in tests:
        groups[key(test)].append(test)
    return groups


def _counts(tests: Iterable[TestOutcome]) -> tuple[str, str, str]:
    """Passed, failed, skipped."""
    counts = Counter("failed" if test.failed else "skipped" if test.silent else "passed" for test in tests)
    return str(counts["passed"]), str(counts["failed"]), str(counts["skipped"])
