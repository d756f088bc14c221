"""What the comparison of base and head does beside confirming: reruns, interruptions, kills, no history."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.gate.e2e.conftest import Project
from tests.gate.e2e.test_confirm import CODE, git, repository

__all__ = ["repository"]

KILLS = int(os.environ.get("GATE_KILLS", "4"))
"""How often the comparison is killed; GATE_KILLS=200 asks for more."""

SLOWER = CODE.replace("    return", "    sum(range(20_000))\n    return", 1)


def check(project: Project, *arguments: str) -> tuple[int, dict[str, Any], str]:
    result = project.gate("check", "--base", "main", "--json", "verdict.json", *arguments)
    return result.code, json.loads((project.root / "verdict.json").read_text()), result.text


def add_test(project: Project, body: str, *, accepted: bool) -> None:
    """A third test; accepted: the base has it, and its baseline holds that it passes."""
    file = project.root / "test_api.py"
    file.write_text(file.read_text() + body)
    if not accepted:
        return
    git(project.root, "commit", "-q", "-a", "-m", "another test")
    (project.root / "pass").touch()
    assert project.gate("run").code == 0
    project.accept(1)
    (project.root / "pass").unlink()
    git(project.root, "add", ".")
    git(project.root, "commit", "-q", "-m", "accepted")


def of_test(verdict: dict[str, Any], name: str) -> dict[str, Any]:
    return next(f for f in verdict["findings"] if f["subject"] == f"test_api.py::{name}")


CALM = "defaults: {tolerance: 500 %, confirm: suspects, budget: 60 s}"
"""No comparisons, only tests that are run again."""


@pytest.fixture
def calm(repository: Project) -> Project:
    policy = repository.root / "thresholds.yaml"
    policy.write_text(policy.read_text().replace("defaults: {tolerance: 20 %}", CALM))
    git(repository.root, "commit", "-qam", "calm")
    return repository


def test_a_test_that_fails_sometimes_is_flaky_and_not_red(
    calm: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "a name with spaces"))
    (tmp_path / "a name with spaces").mkdir()
    body = """
def test_third():
    from pathlib import Path
    count = Path("count")
    count.write_text(count.read_text() + "." if count.exists() else ".")
    assert len(count.read_text()) % 2 == 0
"""
    add_test(calm, body, accepted=False)
    assert calm.gate("run").code == 0
    code, verdict, text = check(calm)
    assert code == 0, text
    finding = of_test(verdict, "test_third")
    assert (finding["kind"], finding["level"]) == ("flaky", "warn")
    assert "of 4 runs of the head, not run on the base" in finding["message"]

    policy = calm.root / "thresholds.yaml"
    policy.write_text(policy.read_text().replace("confirm: suspects", "confirm: suspects, flaky: fail"))
    git(calm.root, "add", "thresholds.yaml")
    git(calm.root, "commit", "-qm", "strict")
    (calm.root / "count").unlink()
    assert calm.gate("run").code == 0
    code, verdict, text = check(calm)
    assert (code, of_test(verdict, "test_third")["level"]) == (1, "fail"), text


@pytest.mark.long
def test_a_failure_of_the_base_too_is_known_in_another_way_it_is_changed_else_new(calm: Project):
    body = """
def test_third():
    from pathlib import Path
    assert Path("pass").exists(), "the service is not there"

def test_fourth():
    from pathlib import Path
    assert Path("pass").exists(), "the shop is closed"
"""
    add_test(calm, body, accepted=True)
    source = calm.root / "test_api.py"
    text = source.read_text().replace('assert measure("app.other"', 'assert not measure("app.other"')
    source.write_text(text.replace('assert Path("pass").exists(), "the shop is closed"', '{}["shop"]'))
    assert calm.gate("run").code == 0
    code, verdict, text = check(calm)
    assert code == 1, text
    known, new = of_test(verdict, "test_third"), of_test(verdict, "test_other")
    assert (known["kind"], known["level"]) == ("known-failure", "warn"), "the accepted runs passed"
    assert "failed in 4 of 4 runs of the head, 3 of 3 on the base" in known["message"]
    assert (new["kind"], new["level"]) == ("new-failure", "fail")
    assert "failed in 4 of 4 runs of the head, 0 of 3 on the base" in new["message"]
    changed = of_test(verdict, "test_fourth")
    assert (changed["kind"], changed["level"]) == ("changed-failure", "fail")
    assert "3 of 3 on the base: KeyError: 'shop' (it fails differently on the base)" in changed["message"]


@pytest.mark.long
def test_without_accepted_runs_the_machine_alone_decides(repository: Project):
    shutil.rmtree(repository.root / "tests")
    git(repository.root, "add", ".")
    git(repository.root, "commit", "-q", "-m", "no baseline")
    (repository.root / "app.py").write_text(SLOWER)
    assert repository.gate("run").code == 0
    code, verdict, text = check(repository)
    assert code == 1, text
    red = {f["subject"] for f in verdict["findings"] if f["level"] == "fail"}
    assert red == {"app.work.p50", "app.work.cpu"}, text
    assert all(
        "history: none in this environment" in f["message"]
        for f in verdict["findings"]
        if f["level"] == "fail"
    )


def started(project: Project, temporary: Path, *arguments: str) -> "subprocess.Popen[str]":
    temporary.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "pytest_regression_gate", *arguments],
        cwd=project.root,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def traces(project: Project, temporary: Path) -> list[str]:
    """What a comparison left: worktrees, directories, processes; what was killed may still be dying."""
    for _ in range(100):
        if not (found := _traces(project, temporary)):
            break
        time.sleep(0.05)
    return found


def _traces(project: Project, temporary: Path) -> list[str]:
    trees = git(project.root, "worktree", "list").splitlines()[1:]
    directories = [str(path) for path in temporary.glob("gate-confirm-*")]
    processes = [
        f"process {process.pid}"
        for process in psutil.process_iter(["environ"])
        if (process.info["environ"] or {}).get("TMPDIR") == str(temporary) and process.pid != os.getpid()
    ]
    return [*trees, *directories, *processes]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_comparison_prints_what_it_has_and_leaves_nothing(
    repository: Project, tmp_path: Path, number: signal.Signals
):
    (repository.root / "app.py").write_text(SLOWER)
    assert repository.gate("run").code == 0
    temporary = tmp_path / "tmp"
    process = started(repository, temporary, "check", "--base", "main", "--json", "verdict.json")
    assert process.stdout
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if "launch 1" in line:
            process.send_signal(number)
            break
    rest, _ = process.communicate(timeout=60)
    text = "".join(lines) + rest
    assert process.returncode == 3, text
    assert "interrupted" in text
    assert "Traceback" not in text
    verdict = json.loads((repository.root / "verdict.json").read_text())
    assert (verdict["verdict"], verdict["exit_code"]) == ("inconclusive", 3)
    assert traces(repository, temporary) == []


@pytest.mark.long
def test_a_killed_comparison_is_swept_up_by_the_next_one(repository: Project, tmp_path: Path):
    temporary = tmp_path / "tmp"
    (repository.root / "app.py").write_text(SLOWER)
    before = git(repository.root, "status", "--porcelain")
    chance = random.Random(3)
    for _ in range(KILLS):
        process = started(repository, temporary, "confirm", "app.work", "--base", "main")
        time.sleep(chance.uniform(0.05, 2.5))
        process.kill()
        process.communicate(timeout=60)
    process = started(repository, temporary, "confirm", "app.work.p50", "--base", "main", "--budget", "60 s")
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 1, text
    assert traces(repository, temporary) == []
    assert git(repository.root, "status", "--porcelain") == before
    assert not list((repository.root / ".git").rglob("*.lock"))


def test_confirm_says_what_it_does_not_know(repository: Project):
    result = repository.gate("confirm", "app.wrok.p50", "--base", "main")
    assert result.code == 2
    assert "app.work.p50" in result.text
    assert repository.gate("confirm", "app.work", "--base", "nowhere").code == 2
    assert repository.gate("confirm", "app.work", "--base", "main", "--budget", "soon").code == 2
