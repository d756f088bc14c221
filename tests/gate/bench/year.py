"""A year of reports: 60 metrics of 45 tests on three kinds of machines, and what is remembered of them."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from gate.baseline.files import to_lines
from gate.baseline.pruning import pruned
from gate.baseline.records import Memory, Where, record_of, united
from gate.readers.pytest_json import read
from gate.thresholds import parse_policy
from pytest_regression_gate.metrics import Environment

RUNS: Final = 2_000
METRICS: Final = 60
TESTS: Final = 45
DIRECTORY: Final = "tests/baseline"
RULES: Final = "version: 1\nsuites: {api: {run: pytest}}\ndefaults: {confirm: off}\nmax_age: off\n"
ENVIRONMENTS: Final = tuple(
    Environment(cpu=cpu, cores=4, os="ubuntu 24.04", python="3.12", memory="16g")
    for cpu in ("AMD EPYC 7763", "AMD EPYC 9V74", "Intel Xeon Platinum 8370C")
)
_YEAR: Final = 365 * 86_400.0
_BEGIN: Final = 1_760_000_000.0


def commit_of(index: int) -> str:
    """The commit that a run measured."""
    return f"{index:040x}"


def report(index: int, runs: int = RUNS) -> bytes:
    """The report of one run, as pytest-json-report and the gate's plugin write it."""
    chance = random.Random(index)
    tests: list[dict[str, Any]] = [
        {
            "nodeid": f"tests/performance/test_endpoints.py::TestEndpoints::test_response_time[{number}]",
            "outcome": "passed",
            "call": {"duration": 0.1, "outcome": "passed"},
            "metadata": {"gate": {"metrics": []}},
        }
        for number in range(TESTS)
    ]
    for number in range(METRICS):
        value = {
            "name": f"api.endpoint_{number}.p50",
            "unit": "ms",
            "value": 20 * chance.lognormvariate(0, 0.05),
        }
        tests[number % TESTS]["metadata"]["gate"]["metrics"].append(value)
    environment = msgspec.to_builtins(ENVIRONMENTS[index % len(ENVIRONMENTS)])
    document = {
        "created": _BEGIN + _YEAR * index / runs,
        "exitcode": 0,
        "summary": {"total": TESTS, "collected": TESTS},
        "tests": tests,
        "gate": {"suite": "api", "environment": environment},
    }
    return json.dumps(document).encode()


def remembered(runs: int = RUNS) -> Iterator[Memory]:
    """The memory after each run."""
    policy, memory = parse_policy(RULES), Memory()
    for index in range(runs):
        run = read(Path("api.json"), report(index, runs), policy)
        new = record_of(run, Where(commit_of(index)))
        memory = pruned(united([memory, Memory((new,))]))
        yield memory


def files_of(memory: Memory) -> dict[str, bytes]:
    """The memory as files, by path."""
    return {
        f"{DIRECTORY}/{suite.environment.id}/{suite.suite}.jsonl": to_lines(suite) for suite in memory.suites
    }
