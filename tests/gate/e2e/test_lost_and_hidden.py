"""What a report may hide: names that collide, parts of a test, late and forgotten records."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.gate.e2e.conftest import Project, Result
from tests.gate.e2e.test_confirm import git

THRESHOLDS = "version: 1\nsuites:\n  api: {{run: python -m pytest {} -p no:cacheprovider{}}}\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / ".gitignore").write_text(".gate\n__pycache__\n")
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "config", "user.name", "kim")
    return Project(tmp_path)


def given(project: Project, tests: str, *, options: str = "test_api.py", more: str = "") -> Result:
    (project.root / "thresholds.yaml").write_text(THRESHOLDS.format(options, more))
    (project.root / "test_api.py").write_text(tests)
    git(project.root, "add", ".")
    git(project.root, "commit", "-q", "--allow-empty", "-m", "code")
    return project.gate("run")


def verdict_of(project: Project, *options: str) -> tuple[int, dict[str, Any]]:
    result = project.gate("check", *options, "--no-confirm", "--json", "verdict.json")
    return result.code, json.loads((project.root / "verdict.json").read_text())


def accepted(project: Project) -> None:
    assert project.gate("baseline", "update").code == 0
    git(project.root, "add", ".")
    git(project.root, "commit", "-q", "-m", "accepted")


def permitted(project: Project, subject: str) -> None:
    assert project.gate("baseline", "accept", "--subject", subject, "--reason", "known").code == 0
    git(project.root, "add", ".")
    git(project.root, "commit", "-q", "-m", "accepted")


PARAMETERS = """
import pytest

@pytest.mark.parametrize("q", ["a=1", "a,1", "a 1", "a_1", "a%1"])
def test_query(q):
    pass
"""


def test_parameters_that_look_alike_are_tests_of_their_own(project: Project):
    given(project, PARAMETERS, more=", durations: true")
    _, verdict = verdict_of(project)
    assert verdict["suites"][0]["metrics"] == 5


SUBTESTS = """
import unittest

class T(unittest.TestCase):
    def test_status(self):
        for status in (200, 404):
            with self.subTest(status=status):
                assert status != {}
"""


@pytest.mark.skipif(pytest.version_tuple < (9,), reason="pytest 8 does not say which subtests failed")
def test_a_known_subtest_does_not_hide_another_one(project: Project):
    assert given(project, SUBTESTS.format(404)).code == 0
    permitted(project, "test_api.py::T::test_status")
    given(project, SUBTESTS.format(404))
    assert verdict_of(project)[0] == 0
    given(project, SUBTESTS.format(200))
    code, verdict = verdict_of(project)
    assert code == 1
    assert [f["kind"] for f in verdict["findings"] if f["level"] == "fail"] == ["changed-failure"]


EXAMPLES = """
def add(a, b):
    '''Add.

    >>> add(1, 2)
    {}
    >>> add("a", "b")
    {}
    '''
    return a + b
"""


def test_a_known_example_does_not_hide_another_one(project: Project):
    options = "mod.py --doctest-modules"
    (project.root / "mod.py").write_text(EXAMPLES.format(3, "'a-b'"))
    assert given(project, "", options=options).code == 0
    permitted(project, "mod.py::mod.add")
    given(project, "", options=options)
    assert verdict_of(project)[0] == 0
    (project.root / "mod.py").write_text(EXAMPLES.format(100, "'ab'"))
    given(project, "", options=options)
    code, verdict = verdict_of(project)
    assert code == 1
    (found,) = (f for f in verdict["findings"] if f["level"] == "fail")
    assert found["kind"] == "changed-failure"
    assert "failed examples: [>>> add(1, 2)] expected" in found["message"]


INNER = """
import os, subprocess, sys

def test_inner(tmp_path):
    (tmp_path / "test_inner.py").write_text("def test_x(): pass")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *{options}, str(tmp_path)]
    assert subprocess.run(command).returncode == 0

def test_broken():
    assert 0

def test_exits():
    os._exit(0)
"""


@pytest.mark.parametrize("options", [[], ["-p", "no:regression-gate"]])
def test_the_report_of_another_pytest_is_not_that_of_the_suite(project: Project, options: list[str]):
    """A test starts it, and then the suite's own pytest dies."""
    assert given(project, INNER.format(options=options)).code == 4
    assert verdict_of(project)[0] == 4


def test_what_a_fixture_records_at_its_end_counts(project: Project):
    given(
        project,
        "import pytest\n\n@pytest.fixture\ndef late(measure):\n    yield\n"
        "    measure.record('late.value', 1.5, unit='s')\n\ndef test_late(late):\n    pass\n",
    )
    _, verdict = verdict_of(project)
    assert verdict["suites"][0]["metrics"] == 1


def test_a_load_that_nobody_awaits_is_a_failure(project: Project):
    given(
        project,
        "def test_load(measure):\n    async def request(user, index):\n        pass\n"
        "    measure.load('x.load', request, users=2, requests=5)\n",
    )
    code, verdict = verdict_of(project)
    assert code == 1
    assert "was not awaited" in json.dumps(verdict["findings"])


BENCHMARK = """
def test_sum(benchmark):
    benchmark(sum, range({}))
"""


def test_what_pytest_benchmark_times_is_a_metric(project: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # with it, pytest-benchmark times nothing
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)  # other tests leave it out
    given(project, BENCHMARK.format(1000))
    accepted(project)
    given(project, BENCHMARK.format(30_000))
    code, verdict = verdict_of(project)
    assert code == 1
    assert "benchmark.median{test=test_api.py::test_sum}" in {
        f["subject"] for f in verdict["findings"] if f["kind"] == "regression"
    }


def test_benchmarks_that_time_nothing_are_told(project: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    given(project, BENCHMARK.format(1000), options="test_api.py --benchmark-disable")
    _, verdict = verdict_of(project)
    assert [f["subject"] for f in verdict["findings"] if f["kind"] == "missing-metric"] == ["api"]


LAST_PART_SKIPS = """
import unittest

class T(unittest.TestCase):
    def test_parts(self):
        with self.subTest(part=1):
            assert {} == 1
        with self.subTest(part=2):
            self.skipTest("not here")

def test_known():
    assert False
"""


MEASURED_THEN_SKIPPED = """
import pytest

def test_calls(measure):
    measure.count("db.calls", {})
    pytest.skip("the rest is not here")
"""


def test_what_a_test_measured_before_it_skipped_counts(project: Project):
    given(project, MEASURED_THEN_SKIPPED.format(5))
    accepted(project)
    given(project, MEASURED_THEN_SKIPPED.format(6))
    code, verdict = verdict_of(project)
    assert (code, verdict["findings"][0]["subject"]) == (1, "db.calls")


TEARDOWN = """
import pytest

@pytest.fixture
def app():
    yield
    {}

def test_known(app):
    assert False, "known"
"""


def test_a_known_failure_does_not_hide_a_new_one_of_the_teardown(project: Project):
    given(project, TEARDOWN.format("pass"))
    permitted(project, "test_api.py::test_known")
    given(project, TEARDOWN.format("raise RuntimeError('leaked')"))
    code, verdict = verdict_of(project)
    assert code == 1
    assert [f["kind"] for f in verdict["findings"] if f["level"] == "fail"] == ["changed-failure"]
    assert "[teardown] RuntimeError: leaked" in verdict["findings"][0]["message"]


RETRIED_THEN_SKIPPED = """
import pathlib, pytest

@pytest.mark.flaky(reruns=2)
def test_skips():
    first = pathlib.Path("first")
    if {} and not first.exists():
        first.touch()
        assert False, "broken"
    pytest.skip("not here")
"""


def test_a_failure_before_a_skip_is_flaky(project: Project):
    given(project, RETRIED_THEN_SKIPPED.format(False))
    accepted(project)
    given(project, RETRIED_THEN_SKIPPED.format(True))
    _, verdict = verdict_of(project)
    assert [f["message"] for f in verdict["findings"] if f["kind"] == "flaky"] == [
        "failed before it was skipped in attempt 2"
    ]


FAILED_THEN_XFAILED = """
import pytest

def test_parts(subtests):
    with subtests.test(part=1):
        assert {} == 1
    pytest.xfail("the rest is known")

def test_known():
    assert False

@pytest.mark.xfail
def test_expected(subtests):
    with subtests.test(part=1):
        assert False
"""


@pytest.mark.skipif(pytest.version_tuple < (9,), reason="pytest 8 does not say which subtests failed")
@pytest.mark.parametrize(
    ("tests", "name"),
    [(LAST_PART_SKIPS, "T::test_parts"), (FAILED_THEN_XFAILED, "test_parts")],
    ids=["the last part skips", "an xfail follows"],
)
def test_a_failed_subtest_counts_whatever_comes_after_it(project: Project, tests: str, name: str):
    given(project, tests.format(1))
    permitted(project, "test_api.py::test_known")
    given(project, tests.format(1))
    assert verdict_of(project)[0] == 0
    given(project, tests.format(7))
    code, verdict = verdict_of(project)
    assert code == 1
    assert [f["subject"] for f in verdict["findings"] if f["level"] == "fail"] == [f"test_api.py::{name}"]


OWN_FIXTURE = """
import pytest

class Returns:
    stats = property(lambda self: 1 / 0)
    def __bool__(self):
        raise ValueError("ambiguous")

@pytest.fixture
def benchmark():
    return Returns()

def test_returns(benchmark):
    pass
"""


def test_a_fixture_of_the_project_that_is_called_benchmark_is_none(project: Project):
    given(project, OWN_FIXTURE, options="test_api.py -p no:benchmark")
    _, verdict = verdict_of(project)
    assert verdict["summary"]["tests"]["passed"] == 1
    assert not [f for f in verdict["findings"] if f["kind"] == "missing-metric"]


def test_a_residual_below_all_that_can_be_measured_is_nothing(project: Project):
    given(project, 'def test_a(measure):\n    measure.record("a.residual", 3e-33, unit="")\n')
    _, verdict = verdict_of(project)
    assert verdict["summary"]["metrics"] == 1
