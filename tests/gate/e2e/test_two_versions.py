"""Base and head have different tests, or one of them fails: that costs only its own comparison."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.gate.e2e.conftest import Project
from tests.gate.e2e.test_confirm import CODE, TESTS, THRESHOLDS, git, repository
from tests.gate.e2e.test_second_look import SLOWER, check, of_test

__all__ = ["repository"]


def commit(project: Project, **files: str) -> None:
    """Files with underscores for dots, into the base."""
    for name, text in files.items():
        (project.root / name.replace("_py", ".py").replace("_yaml", ".yaml")).write_text(text)
    git(project.root, "add", ".")
    git(project.root, "commit", "-qm", "base")


def states(verdict: dict[str, Any]) -> dict[str, str]:
    return {f["subject"]: f["state"] for f in verdict["findings"] if f["kind"] == "regression"}


def confirmed(verdict: dict[str, Any]) -> set[str]:
    return {subject for subject, state in states(verdict).items() if state == "confirmed"}


@pytest.mark.long
def test_new_tests_and_new_operations_keep_nobody_from_being_compared(repository: Project):
    """A new test first, and an operation more in front of the one that got slower."""
    new = 'def test_new(measure):\n    measure("app.new", sum, range(10_000))\n\n\n'
    more = 'def test_work(measure):\n    measure("app.more", sum, range(10_000))\n'
    tests = TESTS.replace("def test_work(measure):\n", new + more)
    (repository.root / "test_api.py").write_text(tests)
    (repository.root / "app.py").write_text(SLOWER)
    assert repository.gate("run").code == 0
    code, verdict, text = check(repository)
    assert code == 1, text
    assert confirmed(verdict) == {"app.work.p50", "app.work.cpu"}, text


MIXED = TESTS.replace(
    "def test_other", 'def test_mixed(measure):\n    measure("app.mixed", other)\n    '
    'measure.record("app.size", 2, unit="MB")\n\ndef test_other',
)  # fmt: skip


@pytest.mark.long
def test_rounds_and_values_of_one_test_are_both_compared_in_the_unit_of_the_baseline(repository: Project):
    durations = THRESHOLDS.replace("cacheprovider}", "cacheprovider, durations: true}")
    commit(
        repository,
        test_api_py=MIXED,
        thresholds_yaml=durations.replace("20 %}", "60 %, budget: 60 s, confirm: suspects}"),
    )
    assert repository.gate("run").code == 0

    def small(document: dict[str, Any]) -> None:
        for test in document["tests"]:
            for metric in test["metadata"]["gate"]["metrics"]:
                if metric["name"] == "app.size":
                    metric["value"] = 0.5

    repository.edit(small)
    repository.accept(5)
    commit(repository)
    (repository.root / "test_api.py").write_text(MIXED.replace('2, unit="MB"', '2000, unit="kB"'))
    (repository.root / "app.py").write_text(CODE + "\n\ndef unused():\n    return 1\n")
    assert repository.gate("run").code == 0
    code, verdict, text = check(repository)
    assert code == 0, text
    assert states(verdict)["app.size"] == "cleared", text
    asked = ("app.mixed.p50", "app.size")
    result = repository.gate("confirm", *asked, "--base", "main", "--budget", "40 s", "--json", "c.json")
    assert result.code in {0, 3}, result.text
    record = json.loads((repository.root / "c.json").read_text())
    assert record["not_comparable"] == record["not_reached"] == [], result.text
    of = {shown["metric"]: shown for shown in record["metrics"]}
    assert set(of) == set(asked)
    assert (of["app.size"]["base"], of["app.size"]["head"]) == (2000, 2000), "in the unit of the run"


@pytest.mark.long
def test_a_test_that_only_the_head_passes_is_no_error(repository: Project):
    """And the suite's command is a wrapper with an exit code of its own."""
    wrapped = THRESHOLDS.replace("-p no:cacheprovider}", "-p no:cacheprovider || exit 2}")
    shutil.rmtree(repository.root / "tests")
    broken = CODE.replace("    return", "    raise OSError\n    return", 1)
    commit(repository, app_py=broken, thresholds_yaml=wrapped)
    (repository.root / "app.py").write_text(CODE.replace("20_000", "2 * 20_000"))
    tests = (repository.root / "test_api.py").read_text().replace("199990000", "799980000")
    (repository.root / "test_api.py").write_text(tests)
    assert repository.gate("run").code == 0
    code, verdict, text = check(repository)
    assert code == 1, text
    assert confirmed(verdict) == {"app.other.p50", "app.other.cpu"}, text
    result = repository.gate("confirm", "app.work.p50", "--base", "main", "--budget", "60 s")
    assert result.code == 3
    assert "not measured on both sides: app.work.p50" in result.text


@pytest.mark.long
def test_a_failure_that_only_the_whole_suite_shows_is_new(repository: Project):
    policy = THRESHOLDS.replace("20 %}", "500 %, confirm: suspects, budget: 60 s}")
    commit(repository, thresholds_yaml=policy)
    leaking = TESTS.replace("def test_work", "LEFT = []\n\ndef test_work").replace(
        "def test_other(measure):", "def test_other(measure):\n    assert not LEFT"
    )
    tests = leaking.replace("\ndef test_other", "    LEFT.append(1)\n\ndef test_other")
    (repository.root / "test_api.py").write_text(tests)
    assert repository.gate("run").code == 0
    code, verdict, text = check(repository)
    assert code == 1, text
    finding = of_test(verdict, "test_other")
    assert (finding["kind"], finding["level"]) == ("new-failure", "fail"), text
    assert "0 of 3 on the base, only together with the other tests" in finding["message"]


@pytest.mark.long
def test_the_command_may_name_the_gates_environment_inside_the_project(
    repository: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Itself a link, as on machines that keep environments elsewhere."""
    elsewhere, environment = tmp_path / "elsewhere", repository.root / ".venv"
    (elsewhere / "bin").mkdir(parents=True)
    environment.symlink_to(elsewhere)
    monkeypatch.setattr(sys, "prefix", str(environment))
    command = environment / "bin" / "pytest"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m pytest "$@"\n')
    command.chmod(0o755)
    (repository.root / ".gitignore").write_text(".gate\n__pycache__\n.venv\n")
    commit(repository, thresholds_yaml=THRESHOLDS.replace("python -m pytest", ".venv/bin/pytest"))
    (repository.root / "app.py").write_text(SLOWER)
    assert repository.gate("run").code == 0
    result = repository.gate("confirm", "app.work.p50", "--base", "main", "--budget", "60 s")
    assert result.code == 1, result.text
    assert command.exists()


def test_prose_is_not_measured_again(repository: Project):
    (repository.root / "README.md").write_text("A word.\n")
    assert repository.gate("run").code == 0
    code, verdict, text = check(repository)
    assert code == 0, text
    assert set(states(verdict).values()) == {"machine"}
    assert "launch" not in text
