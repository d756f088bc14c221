"""A double of GitHub for each test, and connections to it that wait a thousandth of what GitHub asks for."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gate.github.client import GitHub
from gate.github.context import Context
from gate.verdict import to_json
from tests.gate.e2e.conftest import Project
from tests.gate.github.double import Double
from tests.gate.unit.test_comment import confirmed

HEAD = "a" * 40
OLD = "b" * 40
TOKEN = "ghs_secretsecretsecret"


@pytest.fixture
def double() -> Iterator[Double]:
    """A pull request, number 7, and the run 42 that judged its head."""
    with Double().serving() as served:
        served.add_pull(7, HEAD)
        served.add_run(42, HEAD)
        served.permissions |= {"kim": "write", "ada": "admin", "sam": "read"}
        yield served


@pytest.fixture
def connect(double: Double) -> Iterator[Callable[..., GitHub]]:
    """A connection with a token."""
    opened: list[GitHub] = []

    def connection(
        token: str = "writer", *, url: str = "", timeout: float = 0.5, patience: float = 20
    ) -> GitHub:
        context = Context("acme/shop", token, url or double.url, run_id=42)
        opened.append(GitHub(context, timeout=timeout, patience=patience, pace=0.001))
        return opened[-1]

    yield connection
    for github in opened:
        github.__exit__(None, None, None)


@pytest.fixture
def job(tmp_path: Path, double, monkeypatch) -> Project:
    """A work tree in a job of pull request 7."""
    (tmp_path / "thresholds.yaml").write_text("version: 1\nsuites: {api: {run: pytest}}\n")
    (tmp_path / "verdict.json").write_bytes(to_json(confirmed()))
    (tmp_path / "event.json").write_text(json.dumps({"pull_request": {"number": 7}}))
    double.tokens[TOKEN] = double.tokens["writer"]
    for name, value in {
        "GITHUB_REPOSITORY": "acme/shop",
        "GITHUB_API_URL": double.url,
        "GITHUB_EVENT_PATH": str(tmp_path / "event.json"),
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_TOKEN": TOKEN,
        "GITHUB_RUN_ID": "42",
        "GITHUB_RUN_ATTEMPT": "1",
        "GITHUB_WORKFLOW_REF": "acme/shop/.github/workflows/regression-gate.yml@refs/pull/7/merge",
    }.items():
        monkeypatch.setenv(name, value)
    return Project(tmp_path)
