"""The wheel as somebody else installs it: nothing of the reference service, and it works in two files."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.gate.e2e.conftest import THRESHOLDS

ROOT = Path(__file__).parents[3]

TEST = """
def home(size=20_000):
    return sum(range(size))

def test_home(measure):
    assert measure("api.home", home) > 0
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


def test_holds_the_gate_alone(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"gate"}
    assert "gate/report/templates/page.html" in names
    assert "gate/py.typed" in names
    assert not [name for name in names if "jorge" in name.lower()]


def test_two_files_in_a_fresh_environment(wheel: Path, tmp_path: Path):
    """Install, run, check, and find a slowdown. The dependencies are those of this environment."""
    venv.create(tmp_path / "venv")
    scripts = tmp_path / "venv" / "bin"
    packages = next((tmp_path / "venv").glob("lib/python*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    pip = [sys.executable, "-m", "pip", "--python", str(scripts / "python")]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", wheel], check=True, timeout=120)

    project = tmp_path / "project"
    project.mkdir()
    (project / "test_api.py").write_text(TEST)
    (project / "thresholds.yaml").write_text(THRESHOLDS)

    def gate(*arguments: str) -> subprocess.CompletedProcess[str]:
        kept = [key for key in os.environ if key == "PYTEST_ADDOPTS" or not key.startswith("PYTEST")]
        environment = {key: os.environ[key] for key in kept}
        return subprocess.run(
            [str(scripts / "gate"), *arguments],
            cwd=project, env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    for number in range(3):
        assert gate("run").returncode == 0
        assert gate("baseline", "update", "--commit", f"c{number}").returncode == 0
    (project / "test_api.py").write_text(TEST.replace("20_000", "600_000"))
    assert gate("run").returncode == 0
    found = gate("check", "--no-confirm")
    assert found.returncode == 1, found.stdout + found.stderr
    assert "api.home.p50" in found.stdout
