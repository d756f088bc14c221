"""Load runs from the test to the exit code: real measurements, real reports."""

import json
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gate.pipeline.load import load_policy
from gate.pipeline.run import run_suites
from gate.runner import SuiteResult
from pytest_regression_gate.protocol import Progress
from tests.gate.e2e.conftest import Project

TESTS = """
import asyncio

class Service:
    broken = False

    async def answer(self, user, index):
        await asyncio.sleep(0)
        return 500 if self.broken else 200 + 0 * sum(range(5000))

def test_load(measure):
    service = Service()
    async def request(user, index):
        return await service.answer(user, index) == 200
    asyncio.run(measure.load("load.api{users=5}", request, users=5, requests=20, repeat=5))
"""
THRESHOLDS = """version: 1
suites:
  api: {run: pytest test_load.py -p no:cacheprovider}
metrics:
  "load.*.p50": {tolerance: 400 %, target: 10 s}
  "load.*.p95": {tolerance: off}
  "load.*.throughput": {tolerance: 95 %}
  "load.*.error_rate": {critical: 5 %}
"""
SUBJECT = "load.api{users=5}"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("loaded")
    (root / "test_load.py").write_text(TESTS)
    (root / "thresholds.yaml").write_text(THRESHOLDS)
    done = subprocess.run(
        [sys.executable, "-c", "from gate.cli import main; main()", "run"],
        cwd=root, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return root


@pytest.fixture
def measured(loaded: Path) -> Path:
    """What the fixture `project` copies."""
    return loaded


def record(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], None]:
    """An edit of how the load was driven."""

    def edit(document: dict[str, Any]) -> None:
        (test,) = document["tests"]
        change(next(m["load"] for m in test["metadata"]["gate"]["metrics"] if "load" in m))

    return edit


def kinds(verdict: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(f["kind"], f["subject"], f["level"]) for f in verdict["findings"] if f["level"] != "info"]


def test_a_valid_load_is_accepted_and_compared(project: Project):
    project.accept(3)
    result, verdict = project.check()
    assert result.code == 0, result.text
    assert verdict["summary"]["compared"] == 3


def test_fast_failures_are_red_and_no_improvement(project: Project):
    project.accept(3)
    file = project.root / "test_load.py"
    file.write_text(file.read_text().replace("broken = False", "broken = True"))
    assert project.gate("run").code == 0
    result, verdict = project.check()
    assert result.code == 1, result.text
    assert kinds(verdict) == [
        ("limit", "load.api.error_rate{users=5}", "fail"),
        ("invalid-load", SUBJECT, "fail"),
    ]
    assert [f["kind"] for f in verdict["findings"]] == ["limit", "invalid-load"]
    assert "550 of 550 requests failed (100 %, its critical is 5 %)" in " ".join(result.text.split())


@pytest.mark.parametrize(("limit", "said"), [("5", "has no unit"), ("500 %", "is above 100 %")])
def test_an_error_rate_that_no_run_reaches_is_refused(project: Project, limit: str, said: str):
    """Meant was 5 %; all requests could fail."""
    rules = project.root / "thresholds.yaml"
    rules.write_text(rules.read_text().replace("critical: 5 %", f"critical: {limit}"))
    for command in (("check", "--no-confirm"), ("baseline", "update", "--commit", "c9")):
        result = project.gate(*command)
        assert result.code == 2, result.text
        assert f"thresholds.yaml:8:35: metrics[load.*.error_rate].critical: {limit} {said}" in result.text
    assert not list((project.root / "tests").rglob("*.jsonl"))


def test_an_overwhelmed_generator_is_inconclusive_and_its_load_is_not_accepted(project: Project):
    project.accept(3)
    project.edit(record(lambda load: load.update(remote=True, generator=0.97, lag=59.0)))
    result, verdict = project.check()
    assert result.code == 3, result.text
    assert kinds(verdict) == [("invalid-load", SUBJECT, "fail")]
    assert "the generator itself took 97 % of a core" in " ".join(result.text.split())
    assert verdict["summary"]["compared"] == 0

    accepted = project.gate("baseline", "update", "--commit", "c9")
    assert accepted.code == 1
    assert f"{SUBJECT}: invalid load: no measurement: the generator itself" in accepted.err
    (file,) = (project.root / "tests/baseline").rglob("*.jsonl")
    (accepted_run,) = (
        line for line in map(json.loads, file.read_text().splitlines()) if line.get("commit") == "c9"
    )
    assert accepted_run["held"] == [SUBJECT]
    assert SUBJECT.partition("{")[0] not in json.dumps(accepted_run.get("values", {}))


DISTURBED = """
import os
from pytest_regression_gate import load

class Conditions(load.Conditions):
    def __exit__(self, *args):
        super().__exit__(*args)
        with open("attempts.txt", "a+") as file:
            file.write("x")
            file.seek(0)
            attempt = len(file.read())
        self.steal = self.others = None
        self.waited = [float(share) for share in os.environ["WAITED"].split()][attempt - 1]

load.Conditions = Conditions
"""


@dataclass
class Shown:
    """A display that remembers."""

    lines: list[str] = field(default_factory=list)

    @contextmanager
    def running(self, suite: str) -> Generator[Callable[[Progress], None]]:
        self.lines.append(f"run {suite}")
        yield lambda _: None

    def say(self, line: str) -> None:
        self.lines.append(line)

    def ended(self, result: SuiteResult) -> None:
        assert not result.problem, result


@pytest.mark.parametrize(
    ("waited", "calm", "attempts", "code"),
    [
        ("0.01", True, 1, 0),
        ("0.5 0.01", True, 2, 0),
        ("0.5 0.4 0.01", True, 3, 0),
        ("0.5 0.4 0.3 0.01", True, 3, 3),
        ("0.5 0.01", False, 1, 3),
    ],
)
def test_a_load_that_the_machine_disturbed_is_driven_again_in_a_calm_moment(  # noqa: PLR0917 - its table
    project: Project, monkeypatch: pytest.MonkeyPatch, waited: str, calm: bool, attempts: int, code: int
):
    (project.root / "conftest.py").write_text(DISTURBED)
    monkeypatch.setenv("WAITED", waited)
    policy, shown = load_policy(project.root / "thresholds.yaml"), Shown()
    run_suites(
        list(policy.suites.values()), policy, shown, root=project.root, out=project.root / ".gate",
        calm=lambda: calm,
    )  # fmt: skip
    names = ["run api", *(f"run api.attempt-{number}" for number in range(2, attempts + 1))]
    assert [line for line in shown.lines if line.startswith("run ")] == names
    result, verdict = project.check()
    assert result.code == code, result.text
    assert verdict["summary"]["tests"]["passed"] == 1
    first = waited.split(maxsplit=1)[0]
    assert any(f"waited for a core {100 * float(first):.0f} %" in line for line in shown.lines) is (
        first != "0.01"
    )
    assert any("the machine stays busy" in line for line in shown.lines) is not calm
    words = " ".join(result.text.split())
    assert (f"in {attempts} attempts" in words) is (code == 3 and attempts > 1), words


def test_a_load_that_voids_itself_is_not_driven_again(project: Project, monkeypatch: pytest.MonkeyPatch):
    """Trying again is no way to get green."""
    (project.root / "conftest.py").write_text(DISTURBED)
    file = project.root / "test_load.py"
    file.write_text(file.read_text().replace("broken = False", "broken = True"))
    monkeypatch.setenv("WAITED", "0.5 0.01")
    policy, shown = load_policy(project.root / "thresholds.yaml"), Shown()
    run_suites(list(policy.suites.values()), policy, shown, root=project.root, out=project.root / ".gate")
    assert shown.lines == ["run api"]


def test_an_old_report_is_judged_by_requests_and_errors(project: Project):
    def forget(document: dict[str, Any]) -> None:
        for measurement in document["tests"][0]["metadata"]["gate"]["metrics"]:
            measurement.pop("load", None)

    project.edit(forget)
    assert project.check()[0].code == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda load: load.update(steal=-0.1), "Expected `float` >= 0.0"),
        (lambda load: load.update(waited=1.5), "Expected `float` <= 1.0"),
        (lambda load: load.update(generator="much"), "Expected `float | null`, got `str`"),
        (lambda load: load.update(requests=0), "Expected `int` >= 1"),
        (lambda load: load.update(errors=601), "601 errors are more than the 500 requests"),
        (lambda load: load.update(requests=499), "'load' has 499 requests, 'count' is 500"),
        (lambda load: load.pop("requests"), "missing required field `requests`"),
    ],
)
def test_nonsense_about_a_load_is_an_invalid_value(
    project: Project, change: Callable[[dict[str, Any]], object], words: str
):
    project.edit(record(change))
    result, verdict = project.check()
    assert result.code == 1, result.text
    (finding,) = [finding for finding in verdict["findings"] if finding["level"] == "fail"]
    assert finding["kind"] == "invalid-value"
    assert words in finding["message"]
    assert "test_load.py::test_load" in finding["remedy"]


def test_a_load_beside_a_single_value_is_an_error(project: Project):
    def misplace(document: dict[str, Any]) -> None:
        metrics = document["tests"][0]["metadata"]["gate"]["metrics"]
        metrics[1]["load"] = metrics[0].pop("load")

    project.edit(misplace)
    result = project.gate("check", "--no-confirm")
    assert result.code == 1
    assert "'load' belongs to latencies" in " ".join(result.text.split())
