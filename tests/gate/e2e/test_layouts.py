"""Layouts of projects and ways to start their tests: each side has its own code, and the other way is told.

The gate is installed from its wheel into an environment of its own, with the project beside it.
"""

import json
import os
import subprocess
import venv
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.gate.e2e.test_confirm import git
from tests.gate.e2e.test_own_base import CONFTEST, of, write

RULES = "version: 1\nsuites: {{api: {{run: {command!r}}}}}\ndefaults: {{budget: 60 s, tolerance: 20 %}}\n"
CODE = "def work():\n    return sum(range(%d))\n\ndef ok():\n    return %s\n"
TEST = """
import shop

def test_work(measure):
    measure("shop.work", shop.work)

def test_ok():
    assert shop.ok()
"""
BACKENDS = {
    "setuptools": ('requires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"', ""),
    "hatchling": ('requires = ["hatchling"]\nbuild-backend = "hatchling.build"', ""),
    "flit": ('requires = ["flit_core"]\nbuild-backend = "flit_core.buildapi"', ""),
    "poetry": (
        'requires = ["poetry-core"]\nbuild-backend = "poetry.core.masonry.api"',
        '[tool.poetry]\npackages = [{include = "shop", from = "src"}]\n',
    ),
}


def manifest(backend: str, more: str = "") -> str:
    build, tool = BACKENDS[backend]
    head = f'[build-system]\n{build}\n\n[project]\nname = "shop"\nversion = "1.0"\ndescription = "A shop."\n'
    return f"{head}{more}\n{tool}"


@dataclass(frozen=True)
class Layout:
    """Where the code lies, and how it gets into the environment."""

    code: str = "src/shop/__init__.py"
    files: dict[str, str] = field(default_factory=dict[str, str])
    install: tuple[str, ...] = ()
    """Arguments of `pip install`."""
    test: str = TEST


EDITABLE = ("-e", ".")
STRICT = ("--config-settings", "editable_mode=strict", "-e", ".")
NAMESPACED = TEST.replace("import shop", "import acme.shop as shop")
CHILD = """
import subprocess

def call():
    return subprocess.run(["shopcli"], capture_output=True, text=True).stdout

def test_work(measure):
    measure("shop.work", call)

def test_ok():
    assert call() == "True\\n"
"""
CLI = "\ndef main():\n    work()\n    print(ok())\n"
SCRIPTS = manifest("setuptools", 'scripts = {shopcli = "shop:main"}')
PACKAGED = '[tool.setuptools]\npackages = ["shop"]\n'
LAYOUTS = {
    "not installed": Layout("shop/__init__.py", {"tests/conftest.py": CONFTEST % "."}),
    "pythonpath": Layout(files={"pytest.ini": "[pytest]\npythonpath = src\n"}),
    "pip install": Layout(files={"pyproject.toml": manifest("setuptools")}, install=(".",)),
    "editable path": Layout(files={"pyproject.toml": manifest("setuptools")}, install=EDITABLE),
    "editable finder": Layout(
        "shop/__init__.py", {"pyproject.toml": manifest("setuptools") + PACKAGED}, install=EDITABLE
    ),
    "editable strict": Layout(files={"pyproject.toml": manifest("setuptools")}, install=STRICT),
    "hatchling": Layout(files={"pyproject.toml": manifest("hatchling")}, install=(".",)),
    "hatchling editable": Layout(files={"pyproject.toml": manifest("hatchling")}, install=EDITABLE),
    "flit": Layout(files={"pyproject.toml": manifest("flit")}, install=(".",)),
    "poetry-core": Layout(files={"pyproject.toml": manifest("poetry")}, install=EDITABLE),
    "namespace": Layout(
        "src/acme/shop.py", {"pyproject.toml": manifest("setuptools")}, install=(".",), test=NAMESPACED
    ),
    "subdirectory": Layout(
        "server/src/shop/__init__.py",
        {"server/pyproject.toml": manifest("setuptools")},
        install=("./server",),
    ),
    "console script": Layout(files={"pyproject.toml": SCRIPTS}, install=(".",), test=CHILD),
}
COMMANDS: dict[str, Callable[[Path], str]] = {
    "pytest": lambda _: "pytest -q tests",
    "module": lambda _: "python -m pytest -q tests",
    "isolated": lambda _: "python -I -m pytest -q tests",
    "absolute": lambda root: f"cd {root} && pytest -q tests",
    "make": lambda _: "make -s check",
    "script": lambda _: "sh run.sh",
}
SAMPLE = [
    ("not installed", "pytest"),
    ("not installed", "absolute"),
    ("pythonpath", "make"),
    ("pythonpath", "isolated"),
    ("pip install", "pytest"),
    ("pip install", "isolated"),
    ("editable path", "module"),
    ("editable path", "absolute"),
    ("editable finder", "pytest"),
    ("editable finder", "isolated"),
    ("editable strict", "script"),
    ("hatchling", "module"),
    ("hatchling editable", "make"),
    ("flit", "script"),
    ("poetry-core", "isolated"),
    ("namespace", "absolute"),
    ("subdirectory", "pytest"),
    ("console script", "module"),
]
"""Each layout and each command at least twice, where there are two."""


@dataclass(frozen=True)
class Place:
    """An environment with the gate."""

    scripts: Path
    variables: dict[str, str] = field(default_factory=dict[str, str])

    def checked(self, root: Path, *command: str) -> None:
        done = self.run(root, *command)
        assert done.returncode == 0, done.stdout + done.stderr

    def run(self, root: Path, *command: str) -> subprocess.CompletedProcess[str]:
        kept = ("HOME", "LANG", "TMPDIR", "PIP_INDEX_URL", "PIP_CONFIG_FILE", "SSL_CERT_FILE")
        variables = {name: os.environ[name] for name in kept if name in os.environ}
        path = f"{self.scripts}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            command, cwd=root, env={**variables, **self.variables, "PATH": path, "COLUMNS": "160"},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    def install(self, root: Path, layout: Layout) -> None:
        if layout.install:
            options = ("install", "-q", "--no-build-isolation", "--no-deps", "--force-reinstall")
            done = self.run(root, "python", "-m", "pip", *options, *layout.install)
            assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def place(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    root = tmp_path_factory.mktemp("place")
    venv.create(root / "venv", with_pip=True)
    made = Place(root / "venv/bin")
    backends = ("setuptools", "wheel", "hatchling", "editables", "flit_core", "poetry-core")
    done = made.run(root, "python", "-m", "pip", "install", "-q", str(wheel), "pytest", *backends)
    assert done.returncode == 0, done.stderr
    return made


def judged(place: Place, root: Path) -> tuple[int, dict[str, Any], str]:
    place.run(root, "gate", "run")
    (root / "verdict.json").unlink(missing_ok=True)
    done = place.run(root, "gate", "check", "--base", "HEAD~1", "--json", "verdict.json")
    text = done.stdout + done.stderr
    assert (root / "verdict.json").exists(), text
    return done.returncode, json.loads((root / "verdict.json").read_text()), text


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "-q", "-m", "change")


def begin(place: Place, root: Path, files: dict[str, str], command: str, install: Callable[[], None]) -> None:
    """A project with two accepted runs in its newest commit."""
    write(root, {
        "thresholds.yaml": RULES.format(command=command),
        ".gitignore": ".gate\n__pycache__\n*.egg-info\nbuild\nverdict.json\n", **files,
    })  # fmt: skip
    git(root, "init", "-q", "-b", "main")
    commit(root)
    install()
    for _ in range(2):
        done = place.run(root, "gate", "run")
        assert done.returncode == 0, done.stdout + done.stderr
        assert place.run(root, "gate", "baseline", "update").returncode == 0
    commit(root)


@pytest.mark.long
@pytest.mark.parametrize(("layout", "command"), SAMPLE)
def test_each_side_has_its_own_code(place: Place, tmp_path: Path, layout: str, command: str):
    """A remark passes; a broken function is red, and three times the work is confirmed."""
    shape, root = LAYOUTS[layout], tmp_path
    more = CLI if shape.test is CHILD else ""
    steps = 20_000 if shape.test is not CHILD else 400_000
    files = {
        shape.code: CODE % (steps, "True") + more, "tests/test_a.py": shape.test, **shape.files,
        "Makefile": "check:\n\tpytest -q tests\n", "run.sh": "exec python -m pytest -q tests\n",
    }  # fmt: skip
    begin(place, root, files, COMMANDS[command](root), lambda: place.install(root, shape))
    write(root, {shape.code: "# a remark\n" + CODE % (steps, "True") + more})
    commit(root)
    place.install(root, shape)
    code, verdict, text = judged(place, root)
    assert code == 0, text
    assert of(verdict, "unaccounted") == []
    write(root, {shape.code: CODE % (3 * steps if not more else 20 * steps, "False") + more})
    commit(root)
    place.install(root, shape)
    code, verdict, text = judged(place, root)
    assert code == 1, text
    (failure,) = of(verdict, "new-failure")
    assert "0 of 3 on the base" in failure["message"], text
    slower = {f["subject"]: f["state"] for f in of(verdict, "regression")}
    assert slower.get("shop.work.p50") == "confirmed", text
    assert of(verdict, "unaccounted") == [], text
    if shape.install:
        place.run(root, "python", "-m", "pip", "uninstall", "-q", "-y", "shop")


def library(place: Place, root: Path, version: str, code: str) -> None:
    """A release of a library that the tests use, and what `pip install` finds it by."""
    source = root / "depx"
    head = manifest("setuptools").replace('"shop"', '"depx"').replace('"1.0"', f'"{version}"')
    write(source, {"pyproject.toml": head, "src/depx/__init__.py": code})
    options = ("wheel", "-q", "--no-build-isolation", "--no-deps", "-w", str(root), "./depx")
    done = place.run(root, "python", "-m", "pip", *options)
    assert done.returncode == 0, done.stderr


DECLARED = {
    "requirements": ("requirements.txt", "depx==%s\n"),
    "dependencies": (
        "pyproject.toml",
        '[project]\nname = "shop"\nversion = "1"\ndependencies = ["depx==%s"]\n',
    ),
    "lock": ("uv.lock", 'version = 1\n\n[[package]]\nname = "depx"\nversion = "%s"\n'),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", DECLARED)
@pytest.mark.parametrize("used", [True, False])
def test_an_update_of_a_dependency_is_seen_on_both_sides(
    place: Place, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, *, kind: str, used: bool
):
    """Used, it is red, and named in the verdict; one that no test imports excuses as ever."""
    releases = tmp_path_factory.mktemp("releases")
    library(place, releases, "1.0", CODE % (20_000, "True"))
    library(place, releases, "2.0", CODE % (60_000, "False"))
    found = {"PIP_FIND_LINKS": str(releases), "PIP_NO_INDEX": "1"}
    place = Place(place.scripts, found)
    options = ("install", "-q", "--no-deps", "--force-reinstall")
    name, text = DECLARED[kind]
    test = TEST.replace("import shop", "import depx as shop") if used else TEST
    files = {name: text % "1.0", "tests/test_a.py": test, "shop.py": CODE % (20_000, "True")}
    files["tests/conftest.py"] = CONFTEST % "."
    begin(
        place, tmp_path, files, "pytest -q tests",
        lambda: place.checked(tmp_path, "python", "-m", "pip", *options, "depx==1.0"),
    )  # fmt: skip
    place.checked(tmp_path, "python", "-m", "pip", *options, "depx==2.0")
    write(tmp_path, {name: text % "2.0"})
    commit(tmp_path)
    code, verdict, said = judged(place, tmp_path)
    states = {one["what"]: one["state"] for one in verdict["account"]["differences"]}
    if used:
        assert code == 1, said
        assert "0 of 3 on the base" in of(verdict, "new-failure")[0]["message"], said
        assert {f["state"] for f in of(verdict, "regression") if f["subject"] == "shop.work.p50"} == {
            "confirmed"
        }
        assert states["depx 1.0 → 2.0"] == "seen"
    else:
        assert code == 0, said
        assert states.get("depx 1.0 → 2.0", "inert") == "inert"
    assert of(verdict, "unaccounted") == []
