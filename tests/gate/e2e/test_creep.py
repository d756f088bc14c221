"""Ten small steps, each accepted, are seen together; and `gate explain` says where they were."""

import json
import math
import random

import pytest

from gate.baseline.pruning import KEPT
from tests.gate.e2e.conftest import Project

STEPS = 10
RULES = """version: 1
suites: {api: {run: pytest test_api.py}}
max_age: off
metrics:
  "*.p50": {tolerance: 10 %, floor: 0 us}
  "*.cpu": {tolerance: off}
  "*.p95": {tolerance: off}
"""


class History:
    """Reports a day apart: the measured one with the latency of api.home multiplied."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.original = json.loads(project.report.read_text())
        self.day = 0
        (project.root / "thresholds.yaml").write_text(RULES)

    def report(self, factor: float) -> None:
        document = json.loads(json.dumps(self.original))
        document["created"] += 86_400 * (self.day - 100)
        self.day += 1
        touched = 0
        for test in document["tests"]:
            for entry in test.get("metadata", {}).get("gate", {}).get("metrics", []):
                if entry["name"] == "api.home" and "samples" in entry:
                    entry["samples"] = [value * factor for value in entry["samples"]]
                    touched += 1
        assert touched == 1
        self.project.report.write_text(json.dumps(document))

    def drifts(self) -> list[dict[str, object]]:
        result, verdict = self.project.check()
        assert result.code == 0, result.text
        assert not [finding for finding in verdict["findings"] if finding["level"] == "fail"]
        return [finding for finding in verdict["findings"] if finding["kind"] == "drift"]

    def accept(self) -> None:
        result = self.project.gate("baseline", "update", "--commit", f"{self.day:07x}" * 5)
        assert result.code == 0, result.text


@pytest.mark.parametrize("pinned", [False, True], ids=["first-runs", "pinned"])
@pytest.mark.parametrize("noise", [0.0, 0.015])
def test_ten_accepted_steps_of_two_percent_are_found_by_the_tenth(
    project: Project, noise: float, pinned: bool
):
    chance, history = random.Random(7), History(project)
    found_at = None
    for step in range(STEPS + 1):
        history.report(1.02**step * math.exp(chance.gauss(0, noise)))
        drifts = history.drifts()
        if drifts and found_at is None:
            found_at = step
        history.accept()
        if pinned and step == 0:
            assert project.gate("baseline", "pin", "--reason", "release 1").code == 0
    assert found_at is not None
    assert 5 <= found_at <= STEPS
    (drift,) = drifts
    assert drift["subject"] == "api.home.p50"
    assert drift["level"] == "warn"
    assert ("release 1" if pinned else "first 5 accepted runs") in str(drift["message"])

    explained = project.gate("explain", "api.home.p50", "verdict.json")
    assert explained.code == 0
    assert "drift" in explained.out
    assert "reference" in explained.out
    accepted = project.gate("baseline", "pin", "latest", "--reason", "accepted")
    assert accepted.code == 0
    assert "(accepted)" in accepted.out
    history.report(1.02**STEPS)
    assert not history.drifts()


def test_flat_noise_is_no_creep(project: Project):
    chance, history = random.Random(8), History(project)
    for _ in range(15):
        history.report(math.exp(chance.gauss(0, 0.015)))
        assert not history.drifts()
        history.accept()


def test_a_pin_is_shown_and_outlives_the_window(project: Project):
    history = History(project)
    history.report(1)
    history.accept()
    assert project.gate("baseline", "pin", "0000001", "--reason", "release 1").code == 0
    for _ in range(KEPT + 1):
        history.report(1)
        history.accept()
    shown = project.gate("baseline", "show")
    assert "release 1" in shown.out
    (file,) = (project.root / "tests" / "baseline").rglob("*.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    runs = [line["commit"] for line in lines if line["kind"] == "accepted"]
    assert len(runs) == KEPT
    assert "0000001" * 5 not in runs
    assert [line["commit"] for line in lines if line["kind"] == "pin"] == ["0000001" * 5]


def test_what_cannot_be_pinned_or_explained_is_said(project: Project):
    assert project.gate("explain", "api.home.p50").code == 0  # no baseline: the rule alone
    empty = project.gate("baseline", "pin")
    assert (empty.code, "gate baseline update" in empty.err) == (2, True)
    project.accept()
    (file,) = (project.root / "tests" / "baseline").rglob("*.jsonl")
    other = file.with_name("other.jsonl")
    other.write_text(file.read_text().replace('"suite":"api"', '"suite":"other"').replace('"c0"', '"d0"'))
    half = project.gate("baseline", "pin", "c0", "--reason", " ")
    assert (half.code, "other on" in half.err, "pinned by hand" in half.out) == (0, True, True)
    assert '"pin"' not in other.read_text()
    wrong = project.gate("baseline", "pin", "dead")
    assert (wrong.code, "c0" in wrong.err) == (2, True)
    unknown = project.gate("explain", "api.hme.p50")
    assert (unknown.code, "did you mean api.home.p50" in unknown.err) == (2, True)
    (project.root / "verdict.json").write_text("{")
    broken = project.gate("explain", "api.home.p50", "verdict.json")
    assert (broken.code, "is no verdict" in broken.err) == (2, True)
    assert project.gate("explain", "api.home.p50", "none.json").code == 2
