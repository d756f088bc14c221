"""The wheel as somebody else installs it: nothing of the reference service, and it works in two files."""

import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.gate.e2e.conftest import THRESHOLDS, Project

ROOT = Path(__file__).parents[3]

TEST = """
def home(size=20_000):
    return sum(range(size))

def test_home(measure):
    assert measure("api.home", home) > 0
"""


def test_holds_the_gate_alone(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert top == {"pytest_regression_gate", "00_regression_gate.pth"}
    assert "pytest_regression_gate/_program/gate/report/templates/page.html" in names
    assert "pytest_regression_gate/py.typed" in names
    assert not [name for name in names if "/measure/" in name]
    assert not [name for name in names if "jorge" in name.lower()]


@dataclass(frozen=True)
class Installation:
    """An environment with the wheel, and a project of two files beside it."""

    scripts: Path
    packages: Path
    project: Path

    def gate(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.run(str(self.scripts / "gate"), *arguments, **variables)

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        own = ("PYTEST", "VIRTUAL_ENV", "CONDA_PREFIX")  # of who runs these tests
        kept = [key for key in os.environ if key == "PYTEST_ADDOPTS" or not key.startswith(own)]
        environment = {key: os.environ[key] for key in kept}
        return subprocess.run(
            command, cwd=self.project, env=environment | variables,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Installation:
    """The dependencies are those of this environment."""
    return installation(wheel, tmp_path)


def installation(wheel: Path, tmp_path: Path) -> Installation:
    """A fresh environment with a wheel."""
    venv.create(tmp_path / "venv")
    scripts = tmp_path / "venv" / "bin"
    packages = next((tmp_path / "venv").glob("lib/python*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    pip = [sys.executable, "-m", "pip", "--python", str(scripts / "python")]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", wheel], check=True, timeout=120)
    project = tmp_path / "project"
    project.mkdir()
    (project / "test_api.py").write_text(TEST)
    (project / "thresholds.yaml").write_text(THRESHOLDS.replace("pytest test", "python -m pytest test"))
    return Installation(scripts, packages, project)


def test_two_files_in_a_fresh_environment(installed: Installation):
    """Install, run, check, and find a slowdown."""
    for number in range(3):
        assert installed.gate("run").returncode == 0
        assert installed.gate("baseline", "update", "--commit", f"c{number}").returncode == 0
    (installed.project / "test_api.py").write_text(TEST.replace("20_000", "600_000"))
    assert installed.gate("run").returncode == 0
    found = installed.gate("check", "--no-confirm")
    assert found.returncode == 1, found.stdout + found.stderr
    assert "api.home.p50" in found.stdout


OWN_TEST = """
from gate import nand

def test_nand(measure):
    assert measure("gate.nand", nand, 1, 0)
"""
OWN = "def nand(a, b):\n    return not (a and b)\n"


@pytest.mark.parametrize("layout", ["beside the tests", "on the path", "installed", "as a plugin"])
def test_a_project_may_have_a_package_called_gate(installed: Installation, layout: str):
    """Of its own, wherever it lies: its tests import theirs, and the command finds its own."""
    (installed.project / "test_api.py").write_text(OWN_TEST)
    variables: dict[str, str] = {}
    where = installed.packages if layout == "installed" else installed.project
    if layout == "beside the tests":
        (where / "gate.py").write_text(OWN)
    else:
        (where / "gate").mkdir()
        (where / "gate" / "__init__.py").write_text(OWN)
    if layout == "on the path":
        variables = {"PYTHONPATH": str(installed.project)}
    if layout == "as a plugin":
        (installed.project / "conftest.py").write_text("pytest_plugins = ['gate']\n")
    plain = installed.run(str(installed.scripts / "python"), "-m", "pytest", "-q", **variables)
    assert plain.returncode == 0, plain.stdout + plain.stderr
    run = installed.gate("run", **variables)
    assert run.returncode == 0, run.stdout + run.stderr
    checked = installed.gate("check", **variables)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "1 test passed · 6 metrics" in checked.stdout


def test_a_suite_in_another_environment_needs_the_plugin_alone(plugin_wheel: Path, tmp_path: Path):
    names = zipfile.ZipFile(plugin_wheel).namelist()
    assert not [name for name in names if "/_program/" in name or "layout" in name]
    metadata = next(name for name in names if name.endswith("/METADATA"))
    needed = re.findall(r"Requires-Dist: ([\w-]+)", zipfile.ZipFile(plugin_wheel).read(metadata).decode())
    assert sorted(needed) == ["msgspec", "psutil", "pytest", "pytest-json-report"]

    there = installation(plugin_wheel, tmp_path)
    assert not (there.scripts / "gate").exists()
    started = there.run(str(there.scripts / "python"), "-m", "pytest_regression_gate")
    assert started.returncode == 1
    assert "only the pytest plugin is installed here" in started.stderr
    rules = THRESHOLDS.replace("pytest test", f"{there.scripts}/python -m pytest test")
    (there.project / "thresholds.yaml").write_text(rules)
    here = Project(there.project)
    assert here.gate("run").code == 0
    result, verdict = here.check()
    assert result.code == 0, result.text
    assert verdict["summary"]["metrics"] == 6
    assert "plugin" not in result.text, "the report has all that the gate asks for"
