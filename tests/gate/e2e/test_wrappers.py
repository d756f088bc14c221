"""What starts pytest may close descriptors and drop variables; the project's files are the project's."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.gate.e2e.conftest import Project
from tests.gate.e2e.test_confirm import CODE, TESTS, git

CLOSING = """
import subprocess, sys
sys.exit(subprocess.call([sys.executable, "-m", "pytest", *sys.argv[1:]]))
"""
"""tox, nox, hatch, pdm, poe and invoke start pytest so: descriptors from 3 on are closed."""
THRESHOLDS = """version: 1
suites:
  api: {run: "%s"}
defaults: {tolerance: 50 %%}
metrics:
  "*.p95": {tolerance: off}
"""
POOL = """
import sqlite3
POOL = [sqlite3.connect("app.db") for _ in range(6)]
for connection in POOL:
    connection.execute("select * from sqlite_master").fetchall()
"""


def wrapped(root: Path, command: str) -> Project:
    """A committed project of two operations with an accepted run, whose suite is run by a command."""
    (root / "app.py").write_text(CODE)
    (root / "test_api.py").write_text(TESTS)
    (root / "conftest.py").write_text(POOL)
    (root / "wrapper.py").write_text(CLOSING)
    (root / "thresholds.yaml").write_text(THRESHOLDS % command)
    (root / ".gitignore").write_text(".gate\n__pycache__\n*.db\n")
    with closing(sqlite3.connect(root / "app.db")) as connection, connection:
        connection.execute("create table precious (x)")
    git(root, "init", "-q", "-b", "main")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "code")
    return Project(root)


def tables(project: Project) -> list[str]:
    with closing(sqlite3.connect(project.root / "app.db")) as connection:
        return [name for (name,) in connection.execute("select name from sqlite_master")]


@pytest.mark.long
def test_a_wrapper_that_closes_descriptors_costs_nothing(tmp_path: Path):
    """The project's database was open under the number of the gate's pipe, and was written over."""
    project = wrapped(tmp_path, "python wrapper.py test_api.py -q -s")
    result = project.gate("run")
    assert result.code == 0
    assert tables(project) == ["precious"]
    assert project.gate("baseline", "update").code == 0
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "accept")
    with (tmp_path / "app.py").open("a") as code:
        code.write("\n\ndef unused():\n    pass\n")
    assert project.gate("run").code == 0
    result = project.gate("check", "--base", "main")
    assert result.code == 0, result.text
    assert "launch" in result.text, "both sides were reached"
    assert tables(project) == ["precious"]


DAEMON = """
import os

def test_daemonise():
    os.closerange(3, 256)

def test_journal():
    global files
    files = [open(f"journal{n}.txt", "w+") for n in range(12)]

def test_other():
    pass

def test_read():
    assert [file.seek(0) or file.read() for file in files] == [""] * 12
"""


def test_a_test_that_closes_all_descriptors_gets_its_own_files(tmp_path: Path):
    """It daemonises: what it opens afterwards has the numbers of what was open before."""
    (tmp_path / "test_api.py").write_text(DAEMON)
    (tmp_path / "thresholds.yaml").write_text("version: 1\nsuites: {api: {run: pytest -s test_api.py}}\n")
    project = Project(tmp_path)
    assert project.gate("run").code == 0
    result, verdict = project.check()
    assert result.code == 0, result.text
    assert verdict["summary"]["tests"]["passed"] == 4


@pytest.mark.parametrize(
    ("command", "cause", "code"),
    [
        (f"env -i {sys.executable} -m pytest test_api.py", "env -i drops the gate's variables", 4),
        ("python wrapper.py -p no:regression-gate test_api.py", "the gate's plugin is not installed", 0),
    ],
)
def test_a_wrapper_that_closes_the_way_is_named(tmp_path: Path, command: str, cause: str, code: int):
    project = wrapped(tmp_path, "pytest test_api.py")
    assert project.gate("run").code == 0
    rules = (tmp_path / "thresholds.yaml").read_text()
    closed = rules.replace("pytest test_api.py", command)
    (tmp_path / "thresholds.yaml").write_text(closed)
    (tmp_path / "app.py").write_text(CODE.replace("20_000", "30_000", 1))
    result = project.gate("confirm", "app.work", "--base", "HEAD")
    assert result.code == 4, result.text
    assert "the base side ran its tests and knew nothing of the gate" in result.text
    assert cause in result.text
    result = project.gate("run")
    assert result.code == code, "the report alone needs no gate inside"
    assert code == 0 or cause in " ".join(result.text.split()), result.text
