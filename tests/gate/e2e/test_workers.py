"""pytest-xdist: a suite that runs in several processes leaves one whole report."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_regression_gate import plugin
from pytest_regression_gate.variables import LOCKSTEP_VARIABLE
from tests.gate.e2e.conftest import Project

TESTS = """
import os
import pytest

@pytest.mark.parametrize("number", range(5))
def test_measures(measure, number):
    measure.count("api.calls", number, number=number)

def test_dies():
    os._exit(1)

@pytest.mark.parametrize("number", range(5))
def test_after(number):
    pass
"""
SUITES = """version: 1
suites:
  api: {run: pytest test_api.py -p no:cacheprovider -n 2 %s}
"""


@pytest.fixture(scope="module")
def spread_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("spread")
    (root / "test_api.py").write_text(TESTS)
    (root / "thresholds.yaml").write_text(SUITES % "")
    project = Project(root)
    assert project.gate("run").code == 0
    return root


@pytest.fixture
def spread(spread_once: Path, tmp_path: Path) -> Project:
    """A copy for each test, whatever the order they run in."""
    return Project(shutil.copytree(spread_once, tmp_path / "spread"))


def failures(verdict: dict[str, Any]) -> list[tuple[str, str]]:
    return [(f["kind"], f["message"]) for f in verdict["findings"] if f["level"] == "fail"]


def test_all_tests_and_all_metrics_are_there(spread: Project):
    _, verdict = spread.check()
    assert verdict["summary"]["tests"] == {"passed": 10, "failed": 1, "skipped": 0}
    assert verdict["summary"]["metrics"] == 5
    document = json.loads(spread.report.read_text())
    assert document["gate"]["suite"] == "api"
    assert document["gate"]["environment"]["cores"]


def test_a_dead_worker_is_a_failed_test(spread: Project):
    result, verdict = spread.check()
    assert result.code == 1
    ((kind, message),) = failures(verdict)
    assert kind == "new-failure"
    assert message.startswith("worker 'gw")
    assert message.endswith("crashed while running 'test_api.py::test_dies'")


def test_it_is_the_same_failure_whichever_worker_dies(spread: Project):
    spread.edit(lambda document: document.update(created=document["created"] - 1))
    assert spread.gate("baseline", "accept", "--commit", "c1", "--reason", "known", "--by", "kim").code == 0
    text = spread.report.read_text()
    first, second = ("'gw0'", "'gw1'") if "'gw0' crashed" in text else ("'gw1'", "'gw0'")
    spread.report.write_text(text.replace(first, second))
    _, verdict = spread.check()
    assert [f["kind"] for f in verdict["findings"] if "::" in f["subject"]] == ["known-failure"]


def test_a_worker_that_is_not_replaced_is_never_fewer_tests(spread: Project):
    """Whatever the dead worker had still to run is missing, and said to be."""
    rules = spread.root / "thresholds.yaml"
    rules.write_text(SUITES % "--max-worker-restart=0 --dist loadfile")
    assert spread.gate("run").code == 0
    result, verdict = spread.check()
    assert result.code == 4
    ((kind, message),) = failures(verdict)
    assert kind == "report-error"
    assert "of 11 tests are in the report" in message


def test_a_comparison_has_no_workers(monkeypatch: pytest.MonkeyPatch):
    """They would not hold the baton."""
    option = SimpleNamespace(numprocesses=2, dist="load", tx=["2*popen"], distload=True)
    monkeypatch.delenv(LOCKSTEP_VARIABLE, raising=False)
    next(plugin.pytest_cmdline_main(SimpleNamespace(option=option)))
    assert option.numprocesses == 2
    monkeypatch.setenv(LOCKSTEP_VARIABLE, "{}")
    next(plugin.pytest_cmdline_main(SimpleNamespace(option=option)))
    assert (option.numprocesses, option.dist, option.tx, option.distload) == (None, "no", [], False)
