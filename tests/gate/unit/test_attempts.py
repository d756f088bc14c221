"""A further attempt at loads, put into a report: the first valid one counts, what is bad counts from all."""

import json
from typing import Any

from gate.readers.attempts import with_attempt

NODEID = "tests/test_load.py::test_api"
LOAD = "load.api{users=5}"
OTHER = "load.other{users=5}"


def load(
    name: str, value: float, *, errors: int = 0, waited: float = 0.5, throughput: float = 100
) -> list[Any]:
    """The three measurements of a load."""
    labels = {"users": "5"}
    run = {"requests": 90, "errors": errors, "warm_up": 10, "waited": waited}
    return [
        {"name": name, "unit": "ms", "labels": labels, "samples": [value] * 90, "count": 90, "load": run},
        {
            "name": f"{name}.throughput",
            "unit": "req/s",
            "better": "higher",
            "labels": labels,
            "value": throughput,
        },
        {"name": f"{name}.error_rate", "unit": "ratio", "labels": labels, "value": errors / 100},
    ]


def report(*metrics: Any, outcome: str = "passed", calls: int = 3, exitcode: int = 0) -> bytes:
    counts = [
        {"name": "api.calls", "unit": "count", "value": calls, "exact": True},
        {"name": "api.saved", "unit": "count", "better": "higher", "value": calls, "exact": True},
        {"name": "cache.hit_rate", "unit": "ratio", "value": calls / 10},
    ]
    metadata = {"gate": {"metrics": [*metrics, *counts], "executed": {LOAD: ["app.py:api"]}}}
    test = {"nodeid": NODEID, "outcome": outcome, "call": {"outcome": outcome}, "metadata": metadata}
    other = {"nodeid": "tests/test_load.py::test_other", "outcome": "passed"}
    summary = {"passed": 2, "total": 2}
    return json.dumps({"exitcode": exitcode, "summary": summary, "tests": [test, other]}).encode()


def merged(before: bytes, after: bytes, *valid: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The document, and the metrics of its test by name."""
    document = json.loads(with_attempt(before, after, valid))
    metrics = document["tests"][0]["metadata"]["gate"]["metrics"]
    return document, {metric["name"]: metric for metric in metrics}


def test_a_valid_attempt_takes_the_place_of_one_that_was_disturbed():
    before = report(*load("load.api", 9, throughput=10))
    after = report(*load("load.api", 1, waited=0.01, throughput=90))
    document, metrics = merged(before, after, LOAD)
    assert metrics["load.api"]["samples"] == [1] * 90
    assert metrics["load.api.throughput"]["value"] == 90
    assert metrics["load.api"]["load"] == {
        "requests": 90, "errors": 0, "warm_up": 10, "waited": 0.01, "attempts": 2,
    }  # fmt: skip
    kept = document["tests"][0]["metadata"]["gate"]
    assert [attempt["waited"] for attempt in kept["load_attempts"][LOAD]] == [0.5, 0.01]
    assert kept["executed"], "everything else stays"
    assert document["tests"][1] == {"nodeid": "tests/test_load.py::test_other", "outcome": "passed"}


def test_an_attempt_that_was_disturbed_as_well_changes_no_figure_but_their_number():
    _, metrics = merged(report(*load("load.api", 9)), report(*load("load.api", 1)))
    assert metrics["load.api"]["samples"] == [9] * 90
    assert metrics["load.api"]["load"]["attempts"] == 2


def test_a_third_attempt_is_counted_and_kept():
    twice = with_attempt(report(*load("load.api", 9)), report(*load("load.api", 8)), ())
    document, metrics = merged(twice, report(*load("load.api", 1, waited=0)), LOAD)
    assert metrics["load.api"]["load"]["attempts"] == 3
    assert len(document["tests"][0]["metadata"]["gate"]["load_attempts"][LOAD]) == 3


def test_a_load_that_was_valid_already_is_left_alone():
    before = report(*load("load.api", 9), *load("load.other", 7, waited=0))
    after = report(*load("load.api", 1, waited=0), *load("load.other", 2, waited=0))
    _, metrics = merged(before, after, LOAD)
    assert metrics["load.api"]["samples"] == [1] * 90
    assert metrics["load.other"]["samples"] == [7] * 90
    assert metrics["cache.hit_rate"]["value"] == 0.3, "and so is what is no load"


def test_the_errors_of_every_attempt_count():
    for errors in ((30, 0), (0, 30)):
        before, after = (report(*load("load.api", 1, errors=number)) for number in errors)
        for valid in ((), (LOAD,)):
            _, metrics = merged(before, after, *valid)
            assert metrics["load.api.error_rate"]["value"] == 0.3
            assert metrics["load.api"]["load"]["errors"] == 30


def test_the_worst_work_count_of_every_attempt_counts():
    for calls in ((3, 9), (9, 3)):
        before, after = (report(*load("load.api", 1), calls=number) for number in calls)
        _, metrics = merged(before, after, LOAD)
        assert metrics["api.calls"]["value"] == 9
        assert metrics["api.saved"]["value"] == 3


def test_a_test_that_fails_in_a_further_attempt_has_failed():
    document, _ = merged(report(*load("load.api", 1)), report(outcome="failed"), LOAD)
    assert document["tests"][0]["outcome"] == "failed"
    assert document["exitcode"] == 1
    assert document["summary"] == {"passed": 1, "failed": 1, "total": 2}
