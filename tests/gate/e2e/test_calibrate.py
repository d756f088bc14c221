"""`gate calibrate` in a small project: real runs, what they teach, and what is accepted."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TESTS = """
from pathlib import Path

def home():
    return sum(range(2000))

def test_home(measure):
    assert measure("api.home", home) == 1999000

def test_jumpy(measure):
    counter = Path(__file__).with_name("counter")
    number = int(counter.read_text()) + 1 if counter.exists() else 0
    counter.write_text(str(number))
    measure.record("api.size", (100, 130, 80)[number % 3], unit="MB")
"""

THRESHOLDS = """version: 1
suites:
  api: {run: python -m pytest test_api.py -p no:cacheprovider}
metrics:
  api.home.p50: {target: 1 ns}
  api.size: {target: 1 GB, warning: 102 MB}
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    root = tmp_path / "project"
    root.mkdir()
    (root / "thresholds.yaml").write_text(THRESHOLDS)
    (root / "test_api.py").write_text(TESTS)
    for command in ("init -q", "add .", "-c user.name=t -c user.email=t@e.invalid commit -qm code"):
        subprocess.run(["git", *command.split()], cwd=root, check=True, timeout=60)
    return root


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "pytest_regression_gate", "calibrate", *arguments]


def calibrate(root: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(*arguments), cwd=root, capture_output=True, text=True, timeout=200, check=False
    )


def accepted(root: Path) -> int:
    """How many runs the baseline holds."""
    return sum(
        line.startswith('{"kind":"accepted"')
        for file in root.glob("tests/baseline/*/*.jsonl")
        for line in file.read_text().splitlines()
    )


def test_noise_proposals_and_the_baseline(root: Path):
    done = calibrate(root, "--runs", "3", "--json", "raw.json")
    assert done.returncode == 0, done.stdout + done.stderr
    raw = json.loads((root / "raw.json").read_text())
    metrics = {metric["name"]: metric for metric in raw["metrics"]}
    assert metrics["api.size"]["values"] == [100, 130, 80]
    assert metrics["api.size"]["noise"] == pytest.approx(1.4826 * 0.2231, abs=1e-3)
    assert metrics["api.home.p50"]["confirm"] < metrics["api.home.p50"]["screen"]
    # Both limits and the tolerance: what was written stays, what lies inside the noise is moved.
    size = next(p for p in raw["proposals"] if p["name"] == "api.size")
    assert "target: 1 GB" in size["yaml"]
    assert size["yaml"] in done.stdout
    assert any(p["yaml"].startswith("api.home.p50: {target: ") for p in raw["proposals"])
    assert accepted(root) == 3
    assert list((root.parent / "tmp").iterdir()) == []


def test_runs_that_fail_are_not_accepted(root: Path):
    (root / "test_api.py").write_text(TESTS + "\n    assert number != 1, 'one run in the middle fails'\n")
    done = calibrate(root, "--runs", "3", "--no-baseline")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "run 2 was not accepted: new-failure test_api.py::test_jumpy" in done.stdout
    assert "api.home.p50" in done.stdout
    assert accepted(root) == 0


def test_interrupted_whole_runs_are_used(root: Path):
    slow = (
        "\ndef test_wait():\n    import time\n    count = Path(__file__).with_name('counter').read_text()\n"
    )
    (root / "test_api.py").write_text(TESTS + slow + "    time.sleep(60 if int(count) == 2 else 0)\n")
    process = subprocess.Popen(
        command("--runs", "5"), cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + 100
    counter = root / "counter"
    while not (counter.exists() and counter.read_text() == "2") and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 3, out
    assert "2 whole runs were used" in out
    assert "api.home.p50" in out
    assert accepted(root) == 2
    assert list((root.parent / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--runs", "1"), "1"),
        (("--suite", "nope"), "unknown suite 'nope'"),
        (("--budget", "5 bananas"), "--budget: unknown unit 'bananas'"),
        (("--budget", "0 s"), "leaves no time"),
    ],
)
def test_wrong_usage(root: Path, arguments: tuple[str, ...], words: str):
    done = calibrate(root, *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert words in done.stderr


def test_a_damaged_baseline_is_found_before_the_first_run(root: Path):
    file = root / "tests" / "baseline" / "x" / "api.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text("{")
    done = calibrate(root)
    assert done.returncode == 4
    assert "damaged line" in done.stderr
    assert "ran in" not in done.stdout


def test_a_new_baseline_begins_in_a_directory_of_its_own(root: Path):
    first = calibrate(root, "--runs", "2", "--new-baseline", "fresh")
    assert first.returncode == 0, first.stdout + first.stderr
    (file,) = (root / "fresh").rglob("*.jsonl")
    assert file.read_text().count('"kind":"accepted"') == 2
    assert not (root / "tests").exists(), "what was remembered before is left alone"
    again = calibrate(root, "--runs", "2", "--new-baseline", "fresh")
    assert (again.returncode, "name an empty directory" in again.stderr) == (2, True)
