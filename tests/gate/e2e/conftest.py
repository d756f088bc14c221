"""A small project of two files, measured once for real; each test gets a copy of it."""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gate.cli import main
from tests.gate.github.rig import git

TESTS = """
import pytest

def home():
    return sum(range(2000))

def test_home(measure):
    assert measure("api.home", home) == 1999000
    measure.count("api.home.calls", 1, service="store")
    measure.record("cache.hit_rate", 0.8, unit="ratio", better="higher")

def test_other():
    assert True

@pytest.mark.skipif(False, reason="never")
def test_third():
    assert True
"""

THRESHOLDS = """version: 1
suites:
  api: {run: pytest test_api.py -p no:cacheprovider}
metrics:
  "*.p50": {tolerance: 400 %}
  "*.cpu": {tolerance: 400 %}
  "*.p95": {tolerance: off}
"""
"""Wide tolerances: the machine that runs these tests is shared, and a burst on it is no news."""


@dataclass(frozen=True)
class Result:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


def begin_history(root: Path) -> None:
    """A repository in a directory; the accepted runs are of its first commit."""
    git(root, "init", "--quiet", "--initial-branch", "main")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "base")
    head = git(root, "rev-parse", "HEAD")
    for file in (root / "tests" / "baseline").rglob("*.jsonl"):
        file.write_text(re.sub(r'"commit":"[^"]*"', f'"commit":"{head}"', file.read_text()))
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "--message", "accept")


class Project:
    """A directory with thresholds.yaml, and the commands of the gate in it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def report(self) -> Path:
        return self.root / ".gate" / "api.json"

    def gate(self, *arguments: str | Path) -> Result:
        """Run a command in this process; fast, and what it raises is seen."""
        out, err = io.StringIO(), io.StringIO()
        before, argv = Path.cwd(), sys.argv
        os.chdir(self.root)
        sys.argv = ["gate", *map(str, arguments)]
        try:
            with (
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
                pytest.raises(SystemExit) as end,
            ):
                main()
        finally:
            os.chdir(before)
            sys.argv = argv
        return Result(int(end.value.code or 0), out.getvalue(), err.getvalue())

    def check(self, *arguments: str | Path) -> tuple[Result, dict[str, Any]]:
        """Judge the report; return the verdict too."""
        result = self.gate("check", *arguments, "--no-confirm", "--json", "verdict.json")
        return result, json.loads((self.root / "verdict.json").read_text())

    def edit(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the report as a document."""
        document = json.loads(self.report.read_text())
        change(document)
        self.report.write_text(json.dumps(document))

    def accept(self, times: int = 1) -> None:
        """Put the report into the baseline, as several runs."""
        for number in range(times):
            self.edit(
                lambda document, number=number: document.update(created=document["created"] - number - 1)
            )
            commit = () if (self.root / ".git").exists() else ("--commit", f"c{number}")
            assert self.gate("baseline", "update", *commit).code == 0


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project after one real `gate run`, in a child process."""
    root = tmp_path_factory.mktemp("measured")
    (root / "test_api.py").write_text(TESTS)
    (root / "thresholds.yaml").write_text(THRESHOLDS)
    done = subprocess.run(
        [sys.executable, "-c", "from gate.cli import main; main()", "run"],
        cwd=root, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return root


@pytest.fixture
def project(measured: Path, tmp_path: Path) -> Project:
    root = tmp_path / "project"
    shutil.copytree(measured, root)
    return Project(root)


TOP = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this repository."""
    return _built(TOP, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def plugin_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the plugin alone."""
    return _built(TOP / "gate" / "measure", tmp_path_factory.mktemp("dist"))


def _built(directory: Path, out: Path) -> Path:
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(out),
        str(directory),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))
