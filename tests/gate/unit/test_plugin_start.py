"""What the plugin does to a pytest that it finds: as little as can be, and a report in any case."""

import json
import os
import subprocess
import sys
from pathlib import Path

ALONE = """
import sys

HEAVY = {"asyncio", "msgspec", "psutil", "statistics"}

def test_alone():
    assert not HEAVY & set(sys.modules)
"""
FIRST = """
import sys

def test_first():
    assert "pytest_regression_gate.recorder" in sys.modules

def test_measured(measure):
    measure.record("api.size", 1, unit="MB")
"""


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with no plugin of others, and nothing that the gate asks of a suite."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("GATE_", "PYTEST_"))}
    return subprocess.run(
        [sys.executable, *arguments], cwd=directory, env=kept | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def run_pytest(directory: Path, test: str, *options: str) -> subprocess.CompletedProcess[str]:
    (directory / "test_it.py").write_text(test)
    return run(directory, "-m", "pytest", "-p", "pytest_regression_gate.plugin", *options)


def test_nothing_of_others_is_imported(tmp_path: Path):
    code = "import sys, pytest; before = set(sys.modules); import pytest_regression_gate.plugin; "
    done = run(tmp_path, "-c", code + "print(*sorted(set(sys.modules) - before))")
    names = set(done.stdout.split())
    assert "pytest_regression_gate.plugin" in names, done.stderr
    tops = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
    assert tops == {"pytest_regression_gate"}
    assert "asyncio" not in names


def test_nor_in_a_run_that_measures_nothing(tmp_path: Path):
    done = run_pytest(tmp_path, ALONE)
    assert done.returncode == 0, done.stdout


def test_what_measures_is_there_before_the_first_test(tmp_path: Path):
    done = run_pytest(tmp_path, FIRST)
    assert done.returncode == 0, done.stdout


def test_a_report_without_the_plugin_legacypath(tmp_path: Path):
    """pytest-json-report asks the session for what only that plugin gives."""
    report = ("-p", "pytest_jsonreport.plugin", "--json-report", "--json-report-file=report.json")
    done = run_pytest(tmp_path, "def test_it(): pass", "-p", "no:legacypath", *report)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "report.json").read_text())["gate"]["schema"] == "gate.run/1"


def test_the_clocks_of_the_machine_are_there_before_any_test():
    """A test may reach `measure` by name alone, after it has frozen time."""
    code = "import sys, pytest_regression_gate.plugin; print('pytest_regression_gate.clock' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "True"
