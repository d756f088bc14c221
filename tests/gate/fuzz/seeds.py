"""What the fuzzer begins with: real reports of tests of each kind, and what the gate makes of them."""

import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from gate.evidence import Confirmation, Pair, Rerun, weigh
from gate.evidence import to_json as evidence_to_json
from gate.policy import FILE_NAME
from gate.thresholds import DEFAULTS, GITHUB, KNOWN_FAILURE, METRIC, SUITE, TOP
from gate.units import FACTORS
from gate.verdict import Waiver
from gate.verdict import to_json as verdict_to_json
from gate.waivers import Waivers
from tests.gate.build import HEAD, NODEID, metric, run_of, suite_run
from tests.gate.conftest import UNUSED
from tests.gate.fuzz.laws import RULES, remembered, run_in, verdict_of, written

_TESTS: Final = """
import unittest

import pytest

_tries = []


def test_measures(measure, json_metadata):
    assert measure("api.home", lambda: sum(range(200))) == 19900
    measure.count("api.home.calls", 1, service="store")
    measure.record("cache.hit_rate", 0.8, unit="ratio", better="higher")
    json_metadata["loss"] = float("nan")


def test_plain():
    assert True


@pytest.mark.skip(reason="no service")
def test_skipped():
    assert False


@pytest.mark.xfail(reason="ticket 7")
def test_expected_to_fail():
    assert False


@pytest.mark.xfail
def test_passes_unexpectedly():
    assert True


@pytest.mark.parametrize("text", ["a::b", "é | `x`", "[]"])
def test_texts(text):
    assert text


@pytest.fixture
def untidy():
    yield
    raise RuntimeError("still open")


class TestParts(unittest.TestCase):
    def test_parts(self):
        for number in range(3):
            with self.subTest(number=number):
                self.assertLess(number, 3)
"""
_RETRIED: Final = """

@pytest.mark.flaky(reruns=2)
def test_passes_late():
    _tries.append(1)
    assert len(_tries) > 1, "not yet"
"""
_FAILING: Final = """

def test_fails():
    left = {"a": [1, 2]}
    assert left == {"a": [1, 3]}


@pytest.mark.flaky(reruns=1)
def test_never_passes():
    raise OSError(2, "no such file: /srv/data.txt")


def test_fails_afterwards(untidy):
    pass


def test_fails_twice(untidy):
    assert 0, "once"


def test_lacks_something(no_such_fixture):
    pass


class TestBroken(unittest.TestCase):
    def test_parts(self):
        for number in range(3):
            with self.subTest(number=number):
                self.assertNotEqual(number, 1)


def test_stops_the_rest_of_itself():
    try:
        raise ValueError("first")
    except ValueError as error:
        raise KeyError("second") from error
"""
_UNCOLLECTED: Final = "import no_such_module\n"
_PROJECTS: Final = {
    "green": {"test_api.py": _TESTS + _RETRIED},
    "red": {"test_api.py": _TESTS + _RETRIED + _FAILING},
    "uncollected": {"test_api.py": _TESTS, "test_lost.py": _UNCOLLECTED},
    "one": {"test_api.py": "def test_one():\n    assert True\n"},
    "one-red": {"test_api.py": "def test_one():\n    assert False\n"},
}
_PLAIN: Final = ("-p", "no:regression-gate")
"""A pytest that knows no gate."""

_TESTS_OF_A_SUITE: Final = 6
_METRICS: Final = 5

_LISTS: Final = """version: 1
suites:
  api: {run: pytest tests/api, durations: true, timeout: 20 min, shards: 2}
  load: {run: "locust | tee log", exclusive: true, prepare: make data}
baseline: tests/baseline
libraries: numpy pydantic
watch: DATABASE_MODE
max_age: 2 h
defaults: {tolerance: 10 %, confirm: suspects, budget: 3 min, flaky: fail, inconclusive: warn}
github: {comment: always, protected: ci/* tox.ini, self_waivers: false}
metrics:
  api.home.mean: {target: 100 ms, warning: 90 ms, critical: 0.2 s, floor: 1 us}
  "load.*.p95{users=*}": {tolerance: off}
  "*.calls": {tolerance: 0, better: lower}
known_failures:
  tests/test_api.py::test_broken:
    {signature: "OSError | * | *", owner: kim, issue: ticket 7, since: 2026-01-01,
     until: 2026-12-24, paths: src/*}
"""
_UNITS: Final = (
    *("150 ms", "2 GB", "3 %", "1,000 req/s", "0", "1e3", "-1.5e-3 µs", ".5 ratio", "1_000_000 B", "80 MiB"),
    *("12 rpm", "1.5 TB", "7 days", "5 Percent", "1,5 s", "1e16", "9999999999999999 h"),
    *(
        "api.home",
        "load.api{users=100}",
        "load.api.p95{users=100,bot=buyer seller}",
        "test.duration{test=a%2Cb}",
    ),
    *("*.p95", "load.*.p95{users=*}", "tests/test_api.py::test_a[x-1]"),
)
WORDS: Final = (
    *(key for table in (TOP, SUITE, DEFAULTS, GITHUB, METRIC, KNOWN_FAILURE) for key in table),
    *(
        "suites",
        "defaults",
        "github",
        "metrics",
        "known_failures",
        "off",
        "true",
        "null",
        "~",
        "<<",
        "&a",
        "*a",
    ),
    *(
        "!!python/object:x",
        "- ",
        "? ",
        ": ",
        "{",
        "}",
        "[",
        "]",
        "|",
        ">",
        "---",
        "...",
        "%YAML 1.1",
        "#",
        "\t",
    ),
    *(unit for units in FACTORS.values() for unit in units),
    *(
        "inf",
        "nan",
        "1e308",
        "1e-999",
        "0x10",
        "1_0",
        "1,000,000",
        "٣",
        "∞",
        "µ",
        "μ",
        "{a=b}",
        "a=b,",
        "*",
        "..",
    ),
)
"""What is thrown into texts."""


def seeds(kind: str) -> list[bytes]:
    """Documents of one kind that the gate wrote itself or reads without a complaint."""
    return _MAKERS[kind]()


def _of_policy() -> list[bytes]:
    return [RULES.encode(), _LISTS.encode(), Path(FILE_NAME).read_bytes()]


def _of_waivers() -> list[bytes]:
    waiver = Waiver("api.home", "kim", "wanted: a new feature", "https://example.org/1")
    both = Waivers(HEAD, (waiver, Waiver("*", "lee", "label gate-waiver")), ("an older one",))
    return [msgspec.json.encode(one) for one in (both, Waivers(HEAD))]


def _of_baseline() -> list[bytes]:
    suites = [suite for data in _reports() for suite in run_in(data).suites.values()]
    few = [replace(suite, metrics=dict(list(suite.metrics.items())[:_METRICS])) for suite in suites]
    return [written(remembered(suite, 3))[1] for suite in few]


def _of_verdict() -> list[bytes]:
    runs = [*map(run_in, _reports()), run_of(suite_run([metric("api.home.mean", 2000.0)]))]
    return [verdict_to_json(verdict) for run in runs if (verdict := verdict_of(run))]


def _compared() -> Confirmation:
    pairs = [Pair(0.2, 0.01, 80.0, 20), Pair(0.21, 0.01, 81.0, 20), Pair(0.19, 0.01, 80.5, 20)]
    reruns = {NODEID: Rerun((1, 3), (0, 3)), f"{NODEID}[a]": Rerun((3, 3), (3, 3))}
    evidence = {name: weigh(name, pairs, 1) for name in ("api.home.mean", "api.home.p95")}
    return Confirmation(
        evidence,
        reruns,
        {"api.home.calls": 3.0},
        not_reached=("x.cpu",),
        notes=("a note",),
        base="b" * 40,
        head=HEAD,
    )


@cache
def _reports() -> list[bytes]:
    """A report of each project, with and without the gate's plugin; this repository's, if they are there."""
    found = [_shortened(path.read_bytes()) for path in sorted(Path(".gate").glob("[a-z]*.json"))]
    with tempfile.TemporaryDirectory(prefix="gate-seeds-") as name:
        for project, files in _PROJECTS.items():
            root = Path(name, project)
            root.mkdir()
            for file, text in files.items():
                (root / file).write_text(text)
            for plain in (False, True):
                report = root / f"plain-{plain}.json"
                command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--json-report"]
                command += [f"--json-report-file={report}", *(_PLAIN if plain else ())]
                quiet = {**os.environ, "PYTEST_ADDOPTS": UNUSED}
                subprocess.run(command, cwd=root, env=quiet, capture_output=True, timeout=300, check=False)
                found.append(report.read_bytes())
    return found


def _shortened(report: bytes) -> bytes:
    """A report with a few of its tests: many of a kind only take longer."""
    document = json.loads(report)
    kept = document.get("tests", ())[:: max(1, len(document.get("tests", ())) // _TESTS_OF_A_SUITE)]
    for test in kept:
        for measurement in test.get("metadata", {}).get("gate", {}).get("metrics", ()):
            if "samples" in measurement and not measurement.get("load"):
                measurement["samples"] = measurement["samples"][:5]
                measurement.pop("count", None)
    document |= {"tests": kept, "collectors": document.get("collectors", ())[:5]}
    document["summary"] |= {"total": len(kept), "collected": len(kept)}
    return json.dumps(document).encode()


_MAKERS: Final = {
    "report": lambda: list(_reports()),
    "baseline": _of_baseline,
    "policy": _of_policy,
    "waivers": _of_waivers,
    "units": lambda: [text.encode() for text in _UNITS],
    "verdict": _of_verdict,
    "confirmation": lambda: [evidence_to_json(_compared()), evidence_to_json(Confirmation())],
}
