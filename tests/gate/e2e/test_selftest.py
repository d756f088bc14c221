"""`gate selftest` in a small repository: real copies, real runs, real verdicts; and a gate that is blind."""

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TESTS = """
import pytest
from shop import home

pytestmark = pytest.mark.measure(seconds=0.1)

def test_home(measure):
    assert measure("api.home", home) == 1999000

def test_other(measure):
    measure.record("api.size", 2, unit="MB")
"""

THRESHOLDS = """version: 1
suites:
  api: {run: python -m pytest test_api.py -p no:cacheprovider}
defaults: {budget: 20 s}
metrics:
  "*.p95": {tolerance: off}
  api.size: {target: 3 MB}
"""
GATE = (sys.executable, "-P", "-m", "pytest_regression_gate")


def git(root: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.invalid")
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=root, check=True, timeout=60, capture_output=True, text=True).stdout


def state(root: Path) -> dict[str, bytes]:
    """Every file below a directory."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv("COLUMNS", "120")
    (tmp_path / "tmp").mkdir()
    root = tmp_path / "project"
    root.mkdir()
    (root / "thresholds.yaml").write_text(THRESHOLDS)
    (root / "test_api.py").write_text(TESTS)
    (root / "shop.py").write_text("def home():\n    return sum(range(2000))\n")
    git(root, "init", "-q", "-b", "main")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "code")
    return root


def selftest(root: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*GATE, "selftest"], cwd=root, capture_output=True, text=True, timeout=400, check=False
    )


def rows(text: str) -> dict[str, str]:
    """Case -> how it ended."""
    names = ("unchanged code", "unchanged, alone", "injected delay", "failing test", "lost metric",
             "delay in its own code", "broken function", "delay in a dependency", "broken dependency",
             "empty report", "corrupt baseline",
             "edited policy")  # fmt: skip
    table = text[text.index("The gate said") :].splitlines()
    return {
        name: line.rstrip().rpartition("  ")[2].strip()
        for name in names
        for line in table
        if line.startswith(name)
    }


@pytest.mark.long
def test_every_fault_turns_red_and_the_repository_is_not_touched(root: Path, tmp_path: Path):
    (root / "untracked.txt").write_text("mine")
    before = state(root)
    done = selftest(root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(rows(done.stdout).values()) == {"ok"}, done.stdout
    assert len(rows(done.stdout)) == 12, done.stdout
    assert state(root) == before
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.long
def test_a_baseline_on_a_branch_is_known_in_the_copy(root: Path, tmp_path: Path):
    rules = THRESHOLDS.replace("budget: 20 s", "budget: 20 s, confirm: suspects")
    (root / "thresholds.yaml").write_text(rules + "baseline_branch: remembered\n")
    git(root, "commit", "-qam", "a branch for the baseline")
    git(root, "init", "-q", "--bare", str(tmp_path / "remote"))
    git(root, "remote", "add", "origin", str(tmp_path / "remote"))
    git(root, "push", "-q", "origin", "main")
    subprocess.run([*GATE, "run"], cwd=root, check=True, timeout=60, capture_output=True)
    report = root / ".gate" / "api.json"
    report.write_text(report.read_text().replace('"api.size"', '"api.gone"').replace("api.home", "api.house"))
    update = [*GATE, "baseline", "update", "--push", "main"]
    subprocess.run(update, cwd=root, check=True, timeout=60, capture_output=True)
    done = selftest(root)
    ended = rows(done.stdout)
    assert ended.pop("unchanged code") == "WRONG", done.stdout
    assert "missing-metric api.gone" in done.stdout
    assert set(ended.values()) == {"ok"}, done.stdout


@pytest.mark.long
def test_a_project_without_metrics_and_without_git_checks_what_it_can(root: Path, tmp_path: Path):
    """No measurement: delay and lost metric do not apply; no repository: no base that could be edited."""
    (root / "test_api.py").write_text(
        "def test_one():\n    assert True\n\ndef test_two():\n    assert True\n"
    )
    (root / "thresholds.yaml").write_text(THRESHOLDS.replace("  api.size: {target: 3 MB}\n", ""))
    (root / ".git").rename(tmp_path / "elsewhere")
    done = selftest(root)
    assert done.returncode == 3, done.stdout + done.stderr
    ended = rows(done.stdout)
    unchecked = {name for name, word in ended.items() if word == "not checked"}
    assert unchecked == {"injected delay", "lost metric", "edited policy"}, done.stdout
    assert set(ended.values()) == {"ok", "not checked"}, done.stdout


@pytest.mark.long
def test_a_gate_that_cannot_see_is_called_blind(root: Path):
    """A suite whose command hides what its tests say: every failure is turned into a pass."""
    (root / "test_api.py").write_text("def test_one():\n    assert True\n")
    (root / "thresholds.yaml").write_text(THRESHOLDS.replace("  api.size: {target: 3 MB}\n", ""))
    (root / "conftest.py").write_text(
        "import pytest\n\n@pytest.hookimpl(wrapper=True)\ndef pytest_pyfunc_call(pyfuncitem):\n"
        "    try:\n        return (yield)\n    except AssertionError:\n        return True\n"
    )
    done = selftest(root)
    assert done.returncode == 1, done.stdout + done.stderr
    ended = rows(done.stdout)
    assert ended["failing test"] == "BLIND", done.stdout
    assert ended["unchanged code"] == ended["empty report"] == ended["corrupt baseline"] == "ok", done.stdout


def test_suites_that_do_not_run_in_a_copy_are_an_error(root: Path):
    (root / "test_api.py").write_text("import os\nos._exit(3)\n")
    done = selftest(root)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "do not run in a copy" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing(root: Path, tmp_path: Path, number: signal.Signals):
    (root / "test_api.py").write_text(TESTS + "\ndef test_slow():\n    import time; time.sleep(60)\n")
    mark = tmp_path / "tmp"
    process = subprocess.Popen(
        [*GATE, "selftest"], cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not list(mark.glob("gate-selftest-*/reports/all/api.log")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(number)
    assert process.wait(timeout=60) == 3
    assert list(mark.iterdir()) == []
    deadline = time.monotonic() + 5  # what was killed may still be dying
    while (left := _processes(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []


def _processes(mark: Path) -> list[str]:
    """The command lines of processes that work in our directory, of all whose environment we may read."""
    found: list[str] = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"{mark}/gate-selftest-".encode() in file.read_bytes():
                found.append(file.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found
