"""What other plugins and the tests themselves write into a report costs nothing: no suite, and no failure."""

import json
import math
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.model import SuiteRun
from gate.policy import Policy, Suite
from gate.readers.errors import ReportError
from gate.readers.merge import merge
from gate.readers.pytest_json import read
from pytest_regression_gate import Measure
from pytest_regression_gate.latency import Turns
from tests.gate.build import baseline_of, judge, policy_of, run_of

POLICY = Policy(suites={"api": Suite("api", "pytest", durations=True)})


def report(**of_first: Any) -> dict[str, Any]:
    """Two tests, of which the second fails."""
    stages = {"setup": {"outcome": "passed", "duration": 0.1}, "call": {"outcome": "passed", "duration": 0.2}}
    broken = {
        "outcome": "failed",
        "duration": 0.2,
        "crash": {"path": "t.py", "lineno": 3, "message": "assert 0"},
    }
    return {
        "created": 1.0e9,
        "exitcode": 1,
        "summary": {"total": 2, "collected": 2},
        "tests": [
            {"nodeid": "t.py::test_one", "outcome": "passed", **stages, **of_first},
            {"nodeid": "t.py::test_two", "outcome": "failed", **stages, "call": broken},
        ],
    }


def read_back(document: dict[str, Any]) -> SuiteRun:
    return read(Path("api.json"), json.dumps(document).encode(), POLICY)


def test_a_word_of_another_plugin_is_decided_by_the_stages():
    first = read_back(report(outcome="retried")).tests["t.py::test_one"]
    assert (first.outcome, first.attempts) == ("passed", None)
    assert read_back(report(outcome="splendid")).tests["t.py::test_one"].outcome == "passed"
    failed = {"outcome": "failed", "duration": 0.1}
    assert read_back(report(outcome="splendid", call=failed)).tests["t.py::test_one"].outcome == "failed"
    skipped = read_back(report(outcome="postponed", setup={"outcome": "skipped"}, call=None))
    assert skipped.tests["t.py::test_one"].outcome == "skipped"
    assert (
        read_back(report(outcome="lost", setup=None, call=None)).tests["t.py::test_one"].outcome == "failed"
    )


@pytest.mark.parametrize(
    "value", [float("nan"), float("-inf"), "caf\udce9", {"\ud800": ["\udfff"]}, 10**400, None, [[[]]]]
)
def test_what_the_gate_never_reads_costs_nothing(value):
    run = read_back(report(metadata={"loss": value, "gate": value}, user_properties=[["x", value]]))
    assert [outcome.outcome for outcome in run.tests.values()] == ["passed", "failed"]


def test_a_half_of_a_character_in_a_message_is_shown_as_unknown():
    crash = {"path": "t.py", "lineno": 1, "message": "no such file: caf\udce9.txt"}
    run = read_back(report(outcome="failed", call={"outcome": "failed", "crash": crash}))
    failure = run.tests["t.py::test_one"].failure
    assert failure
    assert "no such file: caf?.txt" in failure.message


@pytest.mark.parametrize(
    ("seconds", "why"),
    [
        (-3600.0, "-3600 s is not a duration"),
        (float("nan"), "nan s is not a duration"),
        (float("inf"), "inf s is not a duration"),
        (1.5e9, "1.5e+09 s is longer than the suite took"),
        (0.0, ""),
    ],
)
def test_the_duration_of_a_clock_that_was_changed_is_none(seconds, why):
    run = read_back(report(call={"outcome": "passed", "duration": seconds}) | {"duration": 3.0})
    assert (run.tests["t.py::test_one"].outcome, run.tests["t.py::test_one"].duration) == ("passed", 0.0)
    assert not run.metrics
    assert [value.message.partition(";")[0] for value in run.invalid] == ([why] if why else [])
    assert not any(value.recorded for value in run.invalid)


def recorded(*entries: Any) -> dict[str, Any]:
    return report(metadata={"gate": {"metrics": [*entries]}})


GOOD = {"name": "api.calls", "unit": "", "value": 3.0, "exact": True}


@pytest.mark.parametrize(
    ("entry", "subject", "why"),
    [
        ({"name": "a.b", "unit": "ms", "value": "fast"}, "a.b", "Expected `float"),
        ({"name": "a.b", "unit": "ms", "value": float("nan")}, "a.b", "nan is not a finite number"),
        ({"name": "a.b", "unit": "ms", "value": -1.0}, "a.b", "-1 ms is negative"),
        ({"name": "a.b", "unit": "ms", "samples": []}, "a.b", "'samples' is empty"),
        ({"name": "a.b", "unit": "ms", "value": 1e300}, "a.b", "1e+300 is out of range"),
        (
            {"name": "a.b", "unit": "ms", "labels": {"n": "1"}, "samples": [float("inf")]},
            "a.b{n=1}",
            "inf is",
        ),
        ({"name": "no name", "unit": "ms", "value": 1.0}, "no name", "'no name' is no metric name"),
        ("what", "metrics[0]", "Expected `object`"),
    ],
)
def test_an_impossible_value_costs_that_value_alone(entry, subject, why):
    run = read_back(recorded(entry, GOOD))
    assert [name for name in run.metrics if not name.startswith("test.duration")] == ["api.calls"]
    (value,) = run.invalid
    assert (value.subject, value.nodeid, value.recorded) == (subject, "t.py::test_one", True)
    assert value.message.startswith(why)


def test_a_metric_of_two_tests_is_none_of_them():
    document = recorded(GOOD)
    document["tests"].insert(1, {**document["tests"][0], "nodeid": "t.py::test_three"})
    document["tests"].insert(2, {**document["tests"][0], "nodeid": "t.py::test_four"})
    document["summary"] = {"total": 4}
    run = read_back(document)
    assert "api.calls" not in run.metrics
    assert [value.message for value in run.invalid] == [
        "t.py::test_one and t.py::test_three recorded this metric"
    ]


def test_an_invalid_value_fails_and_an_impossible_duration_warns():
    base = read_back(recorded(GOOD, {"name": "a.b", "unit": "ms", "value": 2.0}))
    document = recorded(GOOD, {"name": "a.b", "unit": "ms", "value": float("nan")}) | {"duration": 3.0}
    document["tests"][0]["call"] = {"outcome": "passed", "duration": 1.5e9}
    document["tests"].pop()
    document |= {"exitcode": 0, "summary": {"total": 1}}
    verdict = judge(run_of(read_back(document)), baseline_of(base), POLICY)
    found = [(f.level, f.kind, f.subject) for f in verdict.findings if "t.py::test_one" in f.nodeids]
    assert found == [
        ("fail", "missing-metric", "test.duration{test=t.py::test_one}"),
        ("fail", "invalid-value", "a.b"),
        ("warn", "invalid-value", "test.duration{test=t.py::test_one}"),
    ]
    off = policy_of({"test.*": "{tolerance: off}"}, suites="{api: {run: pytest, durations: true}}")
    verdict = judge(run_of(read_back(document)), baseline_of(base), off)
    assert ("fail", "invalid-value") in [(f.level, f.kind) for f in verdict.findings]
    assert ("warn", "invalid-value") not in [(f.level, f.kind) for f in verdict.findings]


@pytest.mark.parametrize(
    "damaged",
    [{"metrics": "three"}, {"attempts": 0, "metrics": [GOOD]}, {"attempts": 2, "subtests": 7}],
)
def test_a_key_of_the_tests_own_that_looks_like_the_gates_costs_that_test_alone(damaged):
    document = report(metadata={"gate": damaged})
    run = read_back(document)
    assert [test.outcome for test in run.tests.values()] == ["passed", "failed"]
    (value,) = run.invalid
    assert value.subject == "t.py::test_one"
    assert value.message.startswith("metadata['gate']: Expected")


def test_a_test_that_ran_twice_failed_if_it_failed_once():
    document = report()
    good = {**document["tests"][0], "nodeid": "t.py::test_two"}
    for tests in ([*document["tests"], good], [good, *document["tests"]]):
        run = read_back({**document, "tests": tests})
        assert run.tests["t.py::test_two"].failed


def test_what_a_test_recorded_twice_is_nothing():
    document = recorded(GOOD)
    document["tests"].insert(0, recorded({**GOOD, "value": 30.0})["tests"][0])
    run = read_back(document)
    assert "api.calls" not in run.metrics
    assert [(value.subject, value.message) for value in run.invalid] == [("api.calls", "recorded twice")]


@pytest.mark.parametrize("cut", [False, True])
def test_what_refuses_a_report_names_the_test_that_failed(cut):
    data = json.dumps(report() | ({} if cut else {"exitcode": "three"})).encode()
    with pytest.raises(ReportError, match=r"; t.py::test_two failed") as caught:
        read(Path("api.json"), data[:-20] if cut else data, POLICY)
    assert caught.value.problem.message.startswith("the report is cut off" if cut else "not a pytest")


def empty(stem: str) -> SuiteRun:
    """The report of a share that pytest found no test for."""
    document = report() | {"exitcode": 5, "summary": {"total": 0}, "tests": []}
    return read(Path(f"{stem}.json"), json.dumps(document).encode(), POLICY)


def test_a_share_without_a_test_is_one_where_others_have_some():
    full = read(Path("api.1-of-2.json"), json.dumps(report()).encode(), POLICY)
    suites, problems = merge([full, empty("api.2-of-2")], POLICY)
    assert (list(suites["api"].tests), problems) == (["t.py::test_one", "t.py::test_two"], [])
    _, (problem,) = merge([empty("api.1-of-2"), empty("api.2-of-2")], POLICY)
    assert problem.message == "no share of the suite holds a test"
    with pytest.raises(ReportError, match="pytest collected no test"):
        empty("api")


LONG = """file /srv/t.py, line 1
  def test_one(databse): pass
E       fixture 'databse' not found
>       available fixtures: cache, capfd
>       use 'pytest --fixtures [testpath]' for help on them.

/srv/t.py:1"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LONG, "fixture 'databse' not found"),
        (
            "a.py:1: in <module>\nE   KeyError: 'x'\n\nb.py:2: in f\nE   ValueError: no\nE   more of it",
            "ValueError: no",
        ),
        ("a.py:1\nImportError: no x", "ImportError: no x"),
    ],
)
def test_a_failure_without_a_crash_says_what_was_wrong(text, said):
    run = read_back(report(outcome="error", setup={"outcome": "failed", "longrepr": text}, call=None))
    failure = run.tests["t.py::test_one"].failure
    assert failure
    assert failure.message == said


@pytest.mark.parametrize("word", ["passed", "skipped", "xfailed", "xpassed", "splendid"])
def test_a_failure_stays_one_whatever_word_a_later_stage_gives_the_test(word):
    """A fixture that skips in its teardown: pytest-json-report calls the failed test skipped."""
    stages = {"call": {"outcome": "failed"}, "teardown": {"outcome": "skipped"}}
    assert read_back(report(outcome=word, **stages)).tests["t.py::test_one"].failed


def test_pytest_that_stopped_early_names_what_stopped_it():
    document = report()
    document["summary"] = {"total": 5, "collected": 5}
    with pytest.raises(ReportError, match=r"only 2 of 5 tests are in the report; t.py::test_two failed"):
        read_back(document)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(
    ["outcome", "metadata", "keywords", "lineno", "user_properties", "extra", "teardown", "call"]
)


@given(st.dictionaries(names, anything, max_size=3))
def test_a_failure_elsewhere_is_never_hidden(fields: dict[str, Any]):
    """Whatever stands in one test: it is judged with the other one's failure, or refused in one line."""
    refusal = ""
    try:
        run = read_back(report(**fields))
    except ReportError as error:
        refusal = str(error)
    if refusal:
        assert len(refusal.splitlines()) == 1
        assert "t.py::test_two" in refusal
    else:
        assert run.tests["t.py::test_two"].failed


@pytest.mark.parametrize(
    ("value", "unit", "error"),
    [
        (math.nan, "ratio", "nan is not a finite number"),
        (10**400, "ratio", "inf is not a finite number"),
        (1e308, "ratio", r"1e\+308 is out of range"),
        (-1, "ms", "-1 ms is negative"),
        ("3", "ms", "'3' is not a number"),
        (True, "ms", "True is not a number"),
    ],
)
def test_a_value_that_cannot_be_kept_is_refused_in_the_test(tmp_path, value, unit, error):
    measure = Measure("t.py::test_one", tmp_path, Turns(), {}, None)
    with pytest.raises((ValueError, TypeError), match=error):
        measure.record("api.value", value, unit=unit)
    assert not measure.measurements


@pytest.mark.parametrize("value", [Fraction(3, 2), Decimal("1.5"), np.float32(1.5), np.float64(1.5)])
def test_numbers_of_other_types_are_kept(tmp_path, value):
    measure = Measure("t.py::test_one", tmp_path, Turns(), {}, None)
    measure.record("api.value", value, unit="ratio")
    (kept,) = measure.measurements
    assert (kept.value, type(kept.value)) == (1.5, float)
