"""`gate run --shard`: reports of several jobs are one run, and a lost one is an error."""

import json
import shutil
from pathlib import Path

import pytest

from gate.runner import MANIFEST, expand
from gate.thresholds import parse_policy
from tests.gate.e2e.conftest import Project

TESTS = """
import pytest

@pytest.mark.parametrize("number", range(4))
def test_counts(measure, number):
    measure.count("api.calls", number, number=number)
"""
SPLITTER = """
import os

def pytest_collection_modifyitems(items):
    number, of = int(os.environ["GATE_SHARD"]), int(os.environ["GATE_SHARDS"])
    items[:] = items[number - 1 :: of]
"""
THRESHOLDS = "version: 1\nsuites:\n  api: {run: pytest test_api.py -p no:cacheprovider%s}\n"


@pytest.fixture(scope="module")
def sharded_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sharded")
    (root / "test_api.py").write_text(TESTS)
    (root / "conftest.py").write_text(SPLITTER)
    (root / "thresholds.yaml").write_text(THRESHOLDS % "")
    project = Project(root)
    for number in (1, 2):
        assert project.gate("run", "--shard", f"{number}/2", "--out", f"job-{number}").code == 0
    return root


@pytest.fixture
def sharded(sharded_once: Path, tmp_path: Path) -> Project:
    """A copy for each test, whatever the order they run in."""
    return Project(shutil.copytree(sharded_once, tmp_path / "sharded"))


def collected(project: Project, *files: str) -> str:
    """A directory with reports as jobs uploaded them: no manifest."""
    directory = project.root / f"collected-{len(list(project.root.iterdir()))}"
    directory.mkdir()
    for file in files:
        (directory / Path(file).name).write_bytes((project.root / file).read_bytes())
    return directory.name


BOTH = ("job-1/api.1-of-2.json", "job-2/api.2-of-2.json")


def test_all_shards_are_the_whole_suite(sharded: Project):
    for arguments in (BOTH, tuple(reversed(BOTH)), (collected(sharded, *BOTH),)):
        result, verdict = sharded.check(*arguments)
        assert result.code == 0, result.text
        assert verdict["summary"]["tests"]["passed"] == 4
        assert verdict["summary"]["metrics"] == 4


@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_shard_is_an_error(sharded: Project, lost: int):
    kept = BOTH[1 - lost]
    for arguments in ((kept,), (collected(sharded, kept),)):
        result, verdict = sharded.check(*arguments)
        assert result.code == 4
        assert f"shard {lost + 1}/2 of suite 'api' is missing" in verdict["findings"][0]["message"]


def test_the_policy_sets_how_many(sharded: Project):
    (sharded.root / "three.yaml").write_text(THRESHOLDS % ", shards: 3")
    result, verdict = sharded.check(*BOTH, "--thresholds", "three.yaml")
    assert result.code == 4
    assert "has 3 shards" in verdict["findings"][0]["message"]
    assert sharded.gate("run", "--shard", "1/2", "--thresholds", "three.yaml").code == 2
    assert sharded.gate("run", "--shard", "3/2").code == 2


def test_the_whole_suite_takes_the_place_of_its_shards(sharded: Project):
    assert sharded.gate("run", "--out", "job-1").code == 0
    assert not (sharded.root / "job-1" / "api.1-of-2.json").exists()
    _, verdict = sharded.check("job-1")
    assert verdict["summary"]["tests"]["passed"] == 4


def test_the_manifest_of_one_job_does_not_speak_for_the_others(tmp_path: Path):
    """Reports of several jobs in one directory, with the manifest of one of them."""
    policy = parse_policy("version: 1\nsuites: {web: {run: p}, api: {run: p}, db: {run: p}}\n")
    for name in ("web", "api"):
        (tmp_path / f"{name}.json").write_text("{}")
    manifest = {"suites": {"web": "finished"}}
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    files, _ = expand([tmp_path], policy)
    assert {file.name for file in files} == {"web.json", "api.json", "db.json"}, (
        "db is missing, and will be said"
    )
    (tmp_path / "api.json").unlink()
    assert [file.name for file in expand([tmp_path], policy)[0]] == ["web.json"], "the last run of one suite"
