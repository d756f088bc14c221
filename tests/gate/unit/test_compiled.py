"""Where compiled files go when nobody may write them beside the sources."""

import subprocess
import sys
from pathlib import Path

import pytest

from gate.sides.compiled import compiled_elsewhere

FORBIDDEN = {"PYTHONDONTWRITEBYTECODE": "1"}


def test_who_writes_them_beside_the_sources_goes_on(tmp_path: Path):
    assert compiled_elsewhere({}, tmp_path, tmp_path, tmp_path / "compiled") == {}
    assert not (tmp_path / "compiled").exists()


def test_those_of_the_environment_are_kept_and_those_of_the_project_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    top, place = tmp_path / "top", tmp_path / "scratch" / "compiled"
    top.mkdir()
    (top / "own.py").write_text("import email.mime.text\n")
    variables = compiled_elsewhere(FORBIDDEN, top, top, place)
    assert variables == {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(place)}
    subprocess.run([sys.executable, "-c", "import own"], cwd=top, env=variables, check=True, timeout=60)
    kept = list((tmp_path / "cache").rglob("*.pyc"))
    assert [file for file in kept if file.match("email/mime/text.*.pyc")]
    assert not [file for file in kept if file.name.startswith("own.")]
    assert list((place / top.relative_to("/")).glob("own.*.pyc"))
    assert sorted(path.name for path in top.iterdir()) == ["own.py"]


def test_what_lies_in_the_work_tree_is_found_by_both_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    top, tree, place = tmp_path / "top", tmp_path / "tree", tmp_path / "compiled"
    (top / "env" / "lib").mkdir(parents=True)
    compiled_elsewhere(FORBIDDEN | {"VIRTUAL_ENV": str(top / "env")}, top, tree, place)
    links = [(place / at.relative_to("/") / "env" / "lib").resolve() for at in (top, tree)]
    assert links[0] == links[1]
    assert links[0].is_relative_to(tmp_path / "cache")
