"""A slow machine and a slow middleware look the same to history. Base beside head tells them apart."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.gate.e2e.conftest import Project
from tests.gate.e2e.test_confirm import git
from tests.gate.e2e.test_second_look import check

SERVICE = """
def middleware():
    return None

def serve(size):
    middleware()
    return sum(range(size))
"""
SLOW = SERVICE.replace("    return None", "    return sum(range(9_000))")

TESTS = """
import pytest
from service import serve

pytestmark = pytest.mark.measure(seconds=0.1)

@pytest.mark.parametrize("name", ["list", "show", "find", "save", "drop"])
def test_serve(name, measure):
    assert measure(f"api.{name}", serve, 20_000) == 199990000
"""

THRESHOLDS = """version: 1
suites:
  api: {run: python -m pytest test_api.py -p no:cacheprovider}
defaults: {tolerance: 10 %, budget: 60 s}
metrics:
  "*.p95": {tolerance: off}
"""


@pytest.fixture
def service(tmp_path: Path) -> Project:
    root = tmp_path / "service"
    root.mkdir()
    (root / "service.py").write_text(SERVICE)
    (root / "test_api.py").write_text(TESTS)
    (root / "thresholds.yaml").write_text(THRESHOLDS)
    (root / ".gitignore").write_text(".gate\n__pycache__\nverdict.json\n")
    project = Project(root)
    git(root, "init", "-q", "-b", "main")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "code")
    assert project.gate("run").code == 0
    project.accept(5)
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "baseline")
    return project


@pytest.mark.long
def test_a_machine_that_is_slower_for_everything_is_not_red(service: Project):
    (service.root / "service.py").write_text(SERVICE + "\ndef unused():\n    return 1\n")
    assert service.gate("run").code == 0

    def slow(document: dict[str, Any]) -> None:
        for test in document["tests"]:
            for metric in test["metadata"]["gate"]["metrics"]:
                for key in ("samples", "value"):
                    if isinstance(metric.get(key), list):
                        metric[key] = [value * 1.3 for value in metric[key]]
                    elif key in metric:
                        metric[key] *= 1.3

    accepted = sorted((service.root / "tests/baseline").rglob("*.jsonl"))[0].read_text()
    level = json.loads(next(line for line in reversed(accepted.splitlines()) if '"run"' in line))["values"]

    def as_accepted(document: dict[str, Any]) -> None:
        """The accepted run's own figures, so that nothing but the factor of 1.3 differs."""
        for test in document["tests"]:
            for metric in test["metadata"]["gate"]["metrics"]:
                if "samples" in metric:
                    metric["samples"] = [level[f"{metric['name']}.p50"]] * len(metric["samples"])
                else:
                    metric["value"] = level[metric["name"]]

    service.edit(as_accepted)
    service.edit(slow)
    code, verdict, text = check(service)
    assert code == 0, text
    machine = [f for f in verdict["findings"] if f["kind"] == "environment" and f["subject"] == "machine"]
    assert len(machine) == 1, text
    assert "the whole machine was slower" in machine[0]["message"]


@pytest.mark.long
def test_a_slow_middleware_is_found_in_every_metric(service: Project):
    (service.root / "service.py").write_text(SLOW)
    assert service.gate("run").code == 0
    code, verdict, text = check(service)
    assert code == 1, text
    confirmed = {f["subject"] for f in verdict["findings"] if f.get("state") == "confirmed"}
    names = ("list", "show", "find", "save", "drop")
    assert {f"api.{name}.p50" for name in names} <= confirmed, text
