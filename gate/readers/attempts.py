"""A further attempt at the loads of a report, put into it. Pure.

The first valid attempt of a load counts. What no busy machine excuses counts from every attempt: a test that
failed, the highest error rate, the worst work count.
"""

import json
import math
from collections.abc import Collection, Mapping
from typing import Any, Final

from pytest_regression_gate.metrics import join_name, statistic_of, subject_of

_GOOD: Final = frozenset({"passed", "xpassed", "skipped", "xfailed"})

_ROUNDING: Final = 1e-9

_Document = dict[str, Any]


def with_attempt(report: bytes, attempt: bytes, valid: Collection[str]) -> bytes:
    """A pytest-json-report with what a further run of some of its tests showed.

    Args:
        report: of the whole suite.
        attempt: of some of its tests, run once more.
        valid: loads of which no earlier attempt was valid and this one is (subjects).

    Raises:
        ValueError: one of both is no report.
    """
    whole: _Document = json.loads(report)
    again: Mapping[str, _Document] = {test["nodeid"]: test for test in json.loads(attempt)["tests"]}
    for place, test in enumerate(whole["tests"]):
        later = again.get(test["nodeid"])
        if later and later["outcome"] not in _GOOD:
            whole["tests"][place] = later
            _count_a_failure(whole, test["outcome"], later["outcome"])
        elif later:
            _take(test, later, valid)
    return json.dumps(whole).encode()


def _count_a_failure(whole: _Document, before: str, after: str) -> None:
    whole["exitcode"] = 1
    summary = whole.get("summary", {})
    for outcome, difference in ((before, -1), (after, 1)):
        summary[outcome] = summary.get(outcome, 0) + difference


def _take(test: _Document, later: _Document, valid: Collection[str]) -> None:
    """Put the loads of a later attempt that are valid into a test, and of everything else what is worse."""
    fresh = {_name(metric): metric for metric in _metrics(later)}
    loads = {_name(metric) for metric in _metrics(test) if "load" in metric}
    for metric in _metrics(test):
        name = _name(metric)
        if (other := fresh.get(name)) is None:
            continue
        load = name if name in loads else subject_of(name)
        if metric.get("exact") or (load in loads and statistic_of(name) == "error_rate"):
            worst = min if metric.get("better") == "higher" else max
            metric["value"] = worst(metric["value"], other["value"])
        elif load in loads:
            before, after = metric.get("load"), other.get("load")
            if load in valid:
                metric.update(other)
            if before and after:
                metric["load"] = _with_errors_of_both(metric["load"], before, after)
                _note(test, name, before, after)


def _with_errors_of_both(chosen: _Document, before: _Document, after: _Document) -> _Document:
    """How a load was driven, with the higher share of errors of two attempts."""
    share = max(load["errors"] / _sent(load) for load in (before, after))
    attempts = before.get("attempts", 1) + 1
    return chosen | {"errors": math.ceil(share * _sent(chosen) - _ROUNDING), "attempts": attempts}


def _sent(load: _Document) -> int:
    return load["requests"] + load.get("warm_up", 0)


def _note(test: _Document, load: str, before: _Document, after: _Document) -> None:
    """Keep how each attempt was driven, for whoever reads the report."""
    kept: dict[str, list[_Document]] = test["metadata"]["gate"].setdefault("load_attempts", {})
    kept.setdefault(load, [before]).append(after)


def _metrics(test: _Document) -> list[_Document]:
    metadata: _Document = test.get("metadata") or {}
    gate: _Document = metadata.get("gate") or {}
    return gate.get("metrics") or []


def _name(metric: _Document) -> str:
    return join_name(metric["name"], metric.get("labels", {}))
