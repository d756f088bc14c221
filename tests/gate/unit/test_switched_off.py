"""A comparison switches no plugin off: the suite's command may have options of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gate.sides.side import Side

TESTS = """
import os

def test_b():
    assert os.path.exists("passes")

def test_a():
    assert 1
"""
SHUFFLES = """
def pytest_addoption(parser):
    parser.addoption("--randomly-seed", dest="randomly_seed", default="default",
                     type=lambda text: text if text in ("default", "last") else int(text))
    parser.addoption("--randomly-dont-reorganize", dest="randomly_reorganize",
                     action="store_false", default=True)

def pytest_configure(config):
    print("seed", config.option.randomly_seed, "shuffles", config.option.randomly_reorganize)
"""


def on_a_side(root: Path, *arguments: str) -> str:
    variables = Side("head", root, root / "scratch").environment(7)
    command = [sys.executable, "-m", "pytest", "-v", "-s", *arguments]
    done = subprocess.run(
        command,
        cwd=root,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--lf", "--ff"),
        ("--sw",),
        ("-p", "no:cacheprovider", "--strict-config"),
        ("-o", "cache_dir=.pytest_cache"),
    ],
)
def test_options_of_the_cache_are_known_and_change_nothing(tmp_path: Path, options: tuple[str, ...]):
    (tmp_path / "test_x.py").write_text(TESTS)
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q"], cwd=tmp_path, capture_output=True, timeout=60, check=False
    )
    before = {path: path.read_bytes() for path in (tmp_path / ".pytest_cache").rglob("*") if path.is_file()}
    (tmp_path / "passes").touch()
    text = on_a_side(tmp_path, *options)
    assert text.index("test_x.py::test_b PASSED") < text.index("test_x.py::test_a PASSED"), text
    assert before == {
        path: path.read_bytes() for path in (tmp_path / ".pytest_cache").rglob("*") if path.is_file()
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [(("--randomly-seed=3",), "seed 3 shuffles False"), ((), "seed 7 shuffles False")],
)
def test_a_shuffling_plugin_keeps_its_options_and_shuffles_nothing(
    tmp_path: Path, options: tuple[str, ...], said: str
):
    (tmp_path / "passes").touch()
    (tmp_path / "test_x.py").write_text(TESTS)
    (tmp_path / "conftest.py").write_text(SHUFFLES)
    assert said in on_a_side(tmp_path, *options)
