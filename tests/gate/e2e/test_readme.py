"""README is true: each link leads somewhere, each command line is run in the project that it describes."""

import os
import re
import subprocess
import sys
import sysconfig
import venv
from functools import cache
from pathlib import Path

import pytest

from gate.verdict import EXIT_CODES, EXIT_USAGE
from tests.gate.e2e.test_confirm import git

ROOT = Path(__file__).parents[3]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "calibration").glob("*.md")]
)
README = (ROOT / "README.md").read_text()
TESTED_ELSEWHERE = {"make gate", "make test"}
"""They are what runs this test, and what a fresh clone is tried with before a release."""


def blocks(language: str) -> list[str]:
    """Code blocks of README, with the indentation of their place taken off."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", README, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def lines() -> list[str]:
    """Every command line of README, without what is said behind it."""
    said = [re.sub(r"(^|\s)#.*", "", line).strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in said if line]


@cache
def anchors(document: Path) -> set[str]:
    """What GitHub makes of the headings of a document."""
    headings = re.findall(
        r"^#+ (.*)$", re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL), re.MULTILINE
    )
    plain = (re.sub(r"[^\w\- ]", "", re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading)) for heading in headings)
    return {heading.lower().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path):
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path) if path else document
        assert target.exists(), f"{link}: there is no such file"
        tracked = subprocess.run(
            ["git", "ls-files", "--error-unmatch", target], cwd=ROOT, capture_output=True, check=False
        )
        assert target.is_dir() or tracked.returncode == 0, f"{link}: is not committed"
        assert not anchor or anchor in anchors(target), f"{link}: there is no such heading"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of the quick start, word by word, in an environment of its own that holds no gate yet."""
    root = tmp_path_factory.mktemp("project")
    venv.create(root / "venv")
    packages = next((root / "venv").glob("lib/python*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    (root / "app.py").write_text('def home():\n    return "hello"\n')
    (root / "tests").mkdir()
    (test,) = blocks("python")
    (root / "tests" / "test_home.py").write_text(test)
    (rules,) = blocks("yaml")
    (root / "thresholds.yaml").write_text(rules)
    (root / ".gitignore").write_text("venv\n.gate\n__pycache__\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "first")
    return root


def shell(line: str, directory: Path, scripts: Path) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "GATE_", "GITHUB_"))}
    path = os.pathsep.join((str(scripts), os.environ["PATH"]))
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line], cwd=directory, env=kept | {"PATH": path},
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip


def as_here(line: str) -> str:
    """A line with what is a placeholder, or asks the registry, replaced by what is here."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    line = line.replace(
        "https://github.com/OWNER/regression-gate@COMMIT", f"file://{ROOT}@{commit.stdout.strip()}"
    )
    pip = f"{sys.executable} -m pip --python venv/bin/python"
    line = line.replace("pip install", f"{pip} install --quiet --no-deps --no-index --no-build-isolation")
    return line.replace("pip wheel", f"{sys.executable} -m pip wheel --quiet --no-index --no-build-isolation")


def test_every_command_line_runs(project: Path, tmp_path: Path):
    ran: list[str] = []
    for line in lines():
        if line in TESTED_ELSEWHERE:
            done = shell(f"make --dry-run {line.removeprefix('make ')}", ROOT, tmp_path)
        elif line.startswith("pip wheel"):
            there = as_here(line).replace("--wheel-dir dist", f"--wheel-dir {tmp_path}")
            done = shell(there, ROOT, tmp_path)
            assert list(tmp_path.glob("regression_gate-*.whl")), done.stdout + done.stderr
        else:
            done = shell(as_here(line), project, project / "venv" / "bin")
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        ran.append(line.split()[0])
    assert ran == ["pip", "pip", "pip", "gate", "gate", "make", "make"]


def test_every_command_and_option_of_the_table_is_there():
    rows = re.findall(r"^\| (`gate .*?) \| ", README, re.MULTILINE)
    assert len(rows) > 15
    for usage in re.findall(r"`gate (.*?)`", " ".join(rows)):
        words = [word for word in re.split(r"[\s\[\]]+", usage) if word]
        names = [word for word in words if re.fullmatch("[a-z]+", word) and word != "latest"]
        command = [sys.executable, "-m", "pytest_regression_gate", *names, "--help"]
        help_ = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert help_.returncode == 0, usage
        for option in (word for word in words if word.startswith("-")):
            assert re.search(rf"(^|[\s,]){option}\b", help_.stdout), f"gate {usage}: {option}"


def test_the_exit_codes_are_those_of_the_program():
    table = re.findall(r"^\| (\d) \| (\w+)", README, re.MULTILINE)
    words = {code: word for word, code in EXIT_CODES.items()} | {EXIT_USAGE: "wrong"}
    assert {int(code): word for code, word in table} == words
