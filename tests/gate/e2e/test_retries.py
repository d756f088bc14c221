"""pytest-rerunfailures: what passed only when it was run again is flaky, in every kind of report."""

import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tests.gate.e2e.conftest import Project

PLAIN = """
import pytest

runs = {}

def attempt(name):
    runs[name] = runs.get(name, 0) + 1
    return runs[name]

@pytest.fixture
def late():
    if attempt("late") == 1:
        raise RuntimeError("not yet")

def test_late(late):
    pass

@pytest.fixture
def untidy():
    yield
    if attempt("untidy") == 1:
        raise RuntimeError("still open")

def test_untidy(untidy):
    pass

def test_never():
    assert attempt("never") == 0

@pytest.fixture
def worn():
    if attempt("worn") > 1:
        raise RuntimeError("used up")

def test_fails_in_its_setup_at_last(worn):
    assert False
"""
MEASURED = """
def test_third_time(measure):
    number = attempt("third")
    measure.count("third.calls", number)
    assert number == 3, f"only {number}"

def test_measures_only_where_it_fails(request):
    if attempt("measures") == 1:
        request.getfixturevalue("measure").count("lost.calls", 1)
        assert False, "lost"
"""
OPTIONS = ("test_api.py", "-p", "no:cacheprovider", "--reruns", "2")
THRESHOLDS = f"version: 1\nsuites:\n  api: {{run: pytest {' '.join(OPTIONS)} --junitxml junit.xml}}\n"

FLAKY = {
    "test_late": ("flaky", "warn", "passed only in attempt 2; before: RuntimeError: not yet"),
    "test_untidy": ("flaky", "warn", "passed only in attempt 2; before: RuntimeError: still open"),
    "test_third_time": ("flaky", "warn", "passed only in attempt 3; before: AssertionError: only 2"),
    "test_measures_only_where_it_fails": (
        "flaky",
        "warn",
        "passed only in attempt 2; before: AssertionError: lost",
    ),
}


@pytest.fixture(scope="module")
def retried_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite run with retries, once through `gate run` and once by a pytest that knows no gate."""
    root = tmp_path_factory.mktemp("retried")
    (root / "thresholds.yaml").write_text(THRESHOLDS)
    (root / "test_api.py").write_text(PLAIN)
    command = [sys.executable, "-m", "pytest", *OPTIONS, "-p", "no:regression-gate"]
    subprocess.run(
        [*command, "--json-report", "--json-report-file=plain/api.json"],
        cwd=root, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    (root / "test_api.py").write_text(PLAIN + MEASURED)
    project = Project(root)
    assert project.gate("run").code == 0
    return root


@pytest.fixture
def retried(retried_once: Path, tmp_path: Path) -> Project:
    """A copy for each test, whatever the order they run in."""
    return Project(shutil.copytree(retried_once, tmp_path / "retried"))


def told(verdict: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
    """Test -> kind, level and message of the finding about it."""
    return {
        f["subject"].partition("::")[2]: (f["kind"], f["level"], f["message"])
        for f in verdict["findings"]
        if "::" in f["subject"]
    }


def test_passed_in_the_end_is_flaky(retried: Project):
    _, verdict = retried.check()
    assert told(verdict) == FLAKY | {
        "test_never": (
            "new-failure",
            "fail",
            "failed in each of 3 attempts: AssertionError: assert 3 == 0",
        ),
        "test_fails_in_its_setup_at_last": (
            "new-failure",
            "fail",
            "failed in each of 3 attempts: RuntimeError: used up",
        ),
    }


def test_the_policy_says_what_flaky_means(retried: Project):
    rules = retried.root / "strict.yaml"
    rules.write_text(THRESHOLDS + "defaults: {flaky: fail}\n")
    _, verdict = retried.check("--thresholds", "strict.yaml")
    assert {level for kind, level, _ in told(verdict).values() if kind == "flaky"} == {"fail"}
    assert verdict["exit_code"] == 1


def test_only_the_last_attempt_measured(retried: Project):
    """pytest's JUnit file keeps all attempts: each once, the last one last."""
    tests = json.loads(retried.report.read_text())["tests"]
    recorded = {
        metric["name"]: metric["value"]
        for test in tests
        for metric in test.get("metadata", {}).get("gate", {}).get("metrics", [])
    }
    assert recorded == {"third.calls": 3}
    properties = [p.get("value") or "" for p in ET.parse(retried.root / "junit.xml").iter("property")]
    assert [json.loads(text)[0]["value"] for text in properties if "third.calls" in text] == [1, 2, 3]


def test_without_the_plugin_the_number_of_attempts_is_unknown(retried: Project):
    _, verdict = retried.check("plain/api.json")
    again = "passed only when it was run again"
    assert told(verdict) == {
        "test_late": ("flaky", "warn", again),
        "test_untidy": ("flaky", "warn", again),
        "test_never": ("new-failure", "fail", "AssertionError: assert 3 == 0"),
        "test_fails_in_its_setup_at_last": ("new-failure", "fail", "RuntimeError: used up"),
    }


def test_a_flaky_test_is_remembered_as_one_that_passes(retried: Project):
    """Else the same test without a retry would be news."""
    assert retried.gate("baseline", "accept", "--commit", "c1", "--reason", "known", "--by", "kim").code == 0
    retried.edit(
        lambda document: [
            test.update(outcome="passed", metadata={})
            for test in document["tests"]
            if test["outcome"] == "rerun"
        ]
    )
    _, verdict = retried.check()
    assert {kind for kind, _, _ in told(verdict).values()} == {"known-failure"}


WITHIN = """
import pytest

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "call" and call.excinfo:
        item.ihook.pytest_runtest_teardown(
            item=item, nextitem=pytest.Class.from_parent(item.session, name="Other")
        )
        report.outcome = "retried"
        item.ihook.pytest_runtest_logreport(report=report)
        item._initrequest()
        item.ihook.pytest_runtest_setup(item=item)
        again = pytest.CallInfo.from_call(lambda: item.ihook.pytest_runtest_call(item=item), when="call")
        last = pytest.TestReport.from_item_and_call(item, again)
        report.outcome, report.longrepr = last.outcome, last.longrepr
    return report

def pytest_report_teststatus(report):
    return ("retried", "R", "RETRY") if report.outcome == "retried" else None
"""
"""What pytest-retry does: the further attempts lie within the report of the first one."""
COUNTS = """
numbers = []

def test_counts(measure):
    numbers.append(1)
    measure.count("counts.calls", len(numbers))
    assert len(numbers) == 2, "once"

def test_timed(benchmark):
    benchmark.pedantic(len, args=("",), rounds=1)
    numbers.append(1)
    assert len(numbers) == 4
"""


def test_attempts_within_a_report_count_like_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # with it, pytest-benchmark times nothing
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)  # other tests leave it out
    (tmp_path / "conftest.py").write_text(WITHIN)
    (tmp_path / "test_api.py").write_text(COUNTS)
    run = "pytest test_api.py -p no:cacheprovider -p no:rerunfailures"
    (tmp_path / "thresholds.yaml").write_text(f"version: 1\nsuites:\n  api: {{run: {run}}}\n")
    project = Project(tmp_path)
    assert project.gate("run").code == 0
    _, verdict = project.check()
    assert told(verdict)["test_counts"] == (
        "flaky",
        "warn",
        "passed only in attempt 2; before: AssertionError: once",
    )
    counts, timed = (test["metadata"]["gate"] for test in json.loads(project.report.read_text())["tests"])
    assert [metric["value"] for metric in counts["metrics"]] == [2], "of the last attempt"
    assert [metric["name"] for metric in timed["metrics"]] == ["benchmark.median"]
