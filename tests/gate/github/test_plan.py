"""With which commit a run compares, for every event and state of the clone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gate.cli import app
from gate.github.context import Context
from gate.github.plan import base_of
from tests.gate.github.rig import git

ZEROS = "0" * 40
RULES = "version: 1\nsuites:\n  api: {run: pytest}\n  slow-tests: {run: pytest}\n"


@pytest.fixture
def commits(tmp_path: Path) -> dict[str, str]:
    """`before` and `newer` on main, `change` on a branch, and GitHub's `merge` of both, checked out."""
    git(tmp_path, "init", "--quiet", "--initial-branch", "main")
    found: dict[str, str] = {}

    def commit(name: str) -> None:
        git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", name)
        found[name] = git(tmp_path, "rev-parse", "HEAD")

    commit("before")
    git(tmp_path, "switch", "--quiet", "--create", "change")
    commit("change")
    git(tmp_path, "switch", "--quiet", "main")
    commit("newer")
    git(tmp_path, "update-ref", "refs/remotes/origin/main", "HEAD")
    git(tmp_path, "switch", "--quiet", "--detach")
    git(tmp_path, "merge", "--quiet", "--no-ff", "--message", "merge", "change")
    found["merge"] = git(tmp_path, "rev-parse", "HEAD")
    return found


def pull(base: str) -> dict[str, Any]:
    return {"pull_request": {"base": {"sha": base, "ref": "main"}, "head": {"sha": "f" * 40}}}


CASES: dict[str, tuple[str, Callable[[dict[str, str]], dict[str, Any]], str, str, str]] = {
    "GitHub's merge commit": ("pull_request", lambda c: pull(c["before"]), "merge", "merge", "newer"),
    "the head alone": ("pull_request", lambda c: pull(c["before"]), "change", "change", "before"),
    "an author's merge": ("pull_request", lambda c: pull(c["before"]), "merge", "other", "before"),
    "a group of the queue": (
        "merge_group", lambda c: {"merge_group": {"base_sha": c["newer"]}}, "merge", "", "newer",
    ),
    "a push": ("push", lambda c: {"before": c["newer"]}, "merge", "", "newer"),
    "a first push": ("push", lambda c: {"before": ZEROS}, "merge", "", "merge"),
    "a forced push, the old tip is gone": ("push", lambda c: {"before": "d" * 40}, "merge", "", "merge"),
    "a forced push, the old tip is here": ("push", lambda c: {"before": c["newer"]}, "change", "", "change"),
    "a schedule": ("schedule", lambda c: {}, "merge", "", "merge"),
    "a dispatch": (
        "workflow_dispatch", lambda c: {"repository": {"default_branch": "main"}}, "change", "", "newer",
    ),
    "a dispatch, no such branch": (
        "workflow_dispatch", lambda c: {"repository": {"default_branch": "trunk"}}, "change", "", "change",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_event_names_the_base(name, commits, tmp_path):
    event, payload, checked_out, given, base = CASES[name]
    git(tmp_path, "checkout", "--quiet", commits[checked_out])
    context = Context("acme/shop", event=event, payload=payload(commits), commit=commits.get(given, "e" * 40))
    assert base_of(context, tmp_path) == commits[base]


def test_beyond_the_end_of_a_shallow_clone_nothing_is_guessed(commits, tmp_path):
    git(tmp_path, "switch", "--quiet", "main")
    git(tmp_path, "clone", "--quiet", "--depth", "1", tmp_path.as_uri(), "cut")
    context = Context("acme/shop", event="push", payload={"before": commits["before"]})
    assert base_of(context, tmp_path / "cut") == commits["before"], "gate check says what to fetch"


@pytest.mark.parametrize(("given", "base"), [("HEAD~1", "newer"), ("no-such-branch", "")])
def test_a_ref_that_is_asked_for_comes_first(given, base, commits, tmp_path):
    context = Context("acme/shop", event="push", payload={"before": commits["before"]})
    assert base_of(context, tmp_path, given) == commits.get(base, given)


def plan(root: Path, monkeypatch, *arguments: str):
    (root / "thresholds.yaml").write_text(RULES)
    (root / "event.json").write_text("{}")
    monkeypatch.setenv("GITHUB_REPOSITORY", "acme/shop")
    monkeypatch.setenv("GITHUB_EVENT_NAME", "schedule")
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(root / "event.json"))
    return CliRunner().invoke(app, ["plan", "--thresholds", str(root / "thresholds.yaml"), *arguments])


def test_the_plan_is_written_as_outputs(commits, tmp_path, monkeypatch):
    done = plan(tmp_path, monkeypatch, "--gate", "api/v1 – Python 3.12", "--base", "")
    lines = dict(line.partition("=")[::2] for line in done.output.splitlines())
    assert lines["base"] == commits["merge"]
    assert lines["key"] == "api%2Fv1%20%E2%80%93%20%50ython%203.12"
    assert (lines["artifact"], lines["measured"]) == (
        f"regression-{lines['key']}",
        f"measured-{lines['key']}~",
    )
    assert json.loads(lines["suites"]) == ["api", "slow-tests"]


def test_a_ref_cannot_write_an_output_of_its_own(commits, tmp_path, monkeypatch):
    done = plan(tmp_path, monkeypatch, "--base", "main\nsuites=[]")
    assert done.exit_code == 2
    assert "suites" not in done.stdout


def test_rules_that_cannot_be_read_leave_base_and_names(commits, tmp_path, monkeypatch):
    done = plan(tmp_path, monkeypatch, "nonsense")
    assert done.exit_code == 2
    assert f"base={commits['merge']}" in done.stdout
    assert "unknown suite 'nonsense'; thresholds.yaml has: api, slow-tests" in done.stderr
