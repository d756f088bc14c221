"""The JSON Schema of thresholds.yaml and its reader accept the same."""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from gate.located import LocatedError
from gate.thresholds import (
    DEFAULTS,
    GITHUB,
    KNOWN_FAILURE,
    METRIC,
    SERVICE,
    SUITE,
    TOP,
    Field,
    json_schema,
    parse_policy,
)
from tests.gate.unit.test_thresholds import ROOT

SCHEMA = Draft202012Validator(json_schema(), format_checker=Draft202012Validator.FORMAT_CHECKER)
BETWEEN = (
    "lies beyond",
    "is after until",
    "cannot compare",
    "names the same metrics",
    "unknown service",
    "services wait for each other",
    "needs other services",
)
"""Mistakes between two values, which a schema cannot see."""

TEXTS = [
    "150 ms",
    "200 µs",
    "200 μs",
    "1.5 s",
    "30 min",
    "24 h",
    "3 %",
    "0.1 ratio",
    "-5 %",
    "+5 %",
    "5",
    "0",
    "0.0",
    "10%",
    "1,000 req/s",
    "1_000 req/s",
    "1,5 ms",
    "1_00 ms",
    "1e3 ms",
    "1e400 ms",
    "12345678901234567 B",
    "5 TB",
    "512 M",
    "100 req/min",
    ".5 s",
    "5. s",
    "",
    " ",
    "  3 ms ",
    "x",
    "off",
    "OFF",
    "Off",
    "oFF",
    "true",
    "True",
    "yes",
    "NO",
    "on",
    "lower",
    "higher",
    "Lower",
    "warn",
    "fail",
    "WARN",
    "budget",
    "suspects",
    "all",
    "always",
    "problems",
    "2026-12-24",
    "2026-02-30",
    "20261224",
    "0000-01-01",
    "2026-1-1",
    "gate-baseline",
    "a/b",
    "a..b",
    "a.lock",
    "/a",
    "ci/*",
    "ci/*, tools/*",
    "ci/",
    "./ci",
    "src/a/* tests/b/*",
    "MODE",
    "MODE OTHER",
    "2FAST",
    "API_TOKEN",
    "MONKEY",
    "KEY",
    "A_KEY_B",
    "pytest tests",
    "localhost:9200",
    "api db",
    "http://127.0.0.1:$GATE_PORT/health",
    "services/api",
    "a/../b",
    "..",
]
NUMBERS = [0, 1, 3, 5, 1000, 1001, 0.0, 0.5, -1, 5.5, 1e15, 1.5e16, 1.5e-20, 10**20]
VALUES: list[Any] = [*TEXTS, *NUMBERS, True, False, None, [], ["a"], ["a", "b c"], [[]], {}, {"a": "b"}]
METRICS = [
    r"a.p50",
    r"*.p95",
    r"load.api.p50{users=100}",
    r"load.*.p95{users=*}",
    r"a b",
    r"",
    r"*",
    r"a..b",
    r"a.{x=1}",
    r"a{x}",
    r"a{x=1,x=2}",
    r"a{x=1,}",
    r"a{x=1, y=2}",
    r"a{us*=1}",
    r"a{}",
    r"1a",
    r"a.p50 ",
    r"größe",
    r"a{x=\*}",
    r"**.x",
    r"-a",
    r"a-b",
]
TESTS = ["t.py::test_a", "t.py", "*", "tests/*", "t.py::test[a*b]", ""]
SERVICES = ["api", "data-base.2", "-a", "2", "", "ä", "a b"]
SUITES = ["api", "a/b", "..", "a-b.c", "", "ä", "1", "a b"]


def some(table: dict[str, Field], usual: dict[str, Any]) -> Callable[[random.Random], Any]:
    """A mapping that often is right: values that fit its keys, and now and then any value or any key."""

    def draw(source: random.Random) -> Any:
        if source.random() < 0.03:
            return source.choice(VALUES)
        keys = source.sample([*table], source.randint(0, min(4, len(table))))
        document: dict[str, Any] = {key: fitting(source, table[key]) for key in keys}
        if source.random() < 0.05:
            document[source.choice(["targt", "nothing", ""])] = source.choice(VALUES)
        return (usual if source.random() < 0.9 else {}) | document

    return draw


def fitting(source: random.Random, field: Field) -> Any:
    """A value; as often as not one that the reader takes."""
    value = source.choice(VALUES)
    for _ in range(20 if source.random() < 0.92 else 0):
        try:
            field.read(spelled(value))
        except (ValueError, TypeError):
            value = source.choice(VALUES)
    return value


def spelled(value: Any) -> str:
    """A scalar as it stands in the file."""
    if not isinstance(value, str | bool | int | float):
        raise TypeError
    return value if isinstance(value, str) else json.dumps(value)


def policy(source: random.Random) -> Any:
    """A document that often is one mistake away from being a policy."""

    def mapping(names: list[str], draw: Callable[[random.Random], Any], most: int) -> Any:
        if source.random() < 0.03:
            return source.choice(VALUES)
        return {name: draw(source) for name in source.sample(names, source.randint(0, most))}

    document = json.loads(json.dumps(some(TOP, {"version": 1})(source)))
    if not isinstance(document, dict):
        return document
    good = source.random() < 0.7
    suites = {"api": some(SUITE, {"run": "pytest"})(source)}
    document["suites"] = suites if good else mapping(SUITES, some(SUITE, {"run": "pytest"}), 2)
    for name, section in {
        "services": lambda: mapping(SERVICES, service, 2),
        "defaults": lambda: some(DEFAULTS, {})(source),
        "github": lambda: some(GITHUB, {})(source),
        "metrics": lambda: mapping(METRICS, some(METRIC, {"better": "lower"}), 2),
        "known_failures": lambda: mapping(TESTS, some(KNOWN_FAILURE, {"until": "2999-01-01"}), 2),
    }.items():
        if source.random() < 0.3:
            document[name] = section()
    return document


def service(source: random.Random) -> Any:
    """One that the gate starts, or a shared one."""
    shared = source.random() < 0.4
    document = some(SERVICE, {"shared": True, "port": 80} if shared else {"run": "serve"})(source)
    if isinstance(document, dict) and source.random() < 0.3:
        document["env"] = source.choice([{"A": "b"}, {"A": 1, "_b2": True}, {"2a": "b"}, {"A": []}, *VALUES])
    return document


def read(text: str) -> tuple[bool, str]:
    """Whether the reader takes it, but for mistakes between two values; and what it says."""
    try:
        parse_policy(text)
    except LocatedError as error:
        between = [mistake for mistake in error.mistakes if any(map(mistake.message.__contains__, BETWEEN))]
        return len(between) == len(error.mistakes), str(error)
    return True, ""


@pytest.mark.parametrize("number", [1000, pytest.param(10_000, marks=pytest.mark.long)])
def test_schema_and_reader_agree_on_generated_policies(number: int):
    source, taken = random.Random(25), 0
    for _ in range(number):
        document = policy(source)
        text = json.dumps(document, ensure_ascii=False)  # JSON is YAML, and keeps numbers and texts apart
        accepted, said = read(text)
        assert accepted is SCHEMA.is_valid(document), (
            f"{text}\nreader: {said}\nschema: {[error.message for error in SCHEMA.iter_errors(document)]}"
        )
        taken += accepted
    assert number / 20 < taken < number * 9 / 10, "it would say little"


def test_the_schema_is_one_and_takes_the_thresholds_of_this_repository():
    Draft202012Validator.check_schema(json_schema())
    document = yaml.safe_load((ROOT / "thresholds.yaml").read_text())
    assert not list(SCHEMA.iter_errors(document))


@pytest.mark.parametrize("word", ["true", "false"])
def test_a_bare_boolean_is_one_of_the_words(word: str):
    text = f"version: 1\nsuites: {{api: {{run: pytest, durations: {word}}}}}\ndefaults: {{confirm: {word}}}\n"
    parse_policy(text)
    assert not list(SCHEMA.iter_errors(yaml.safe_load(text)))
