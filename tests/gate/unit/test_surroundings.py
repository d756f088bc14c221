"""What else changed since the last accepted run is told beside a red, and only there."""

import pytest
from msgspec.structs import replace

from gate.baseline.files import parse_baseline, to_lines
from gate.baseline.records import joined
from gate.readers.merge import merged
from gate.sides.manifests import equips
from tests.gate.build import (
    accept,
    baseline_from,
    judge,
    metric,
    policy_of,
    remembered,
    run_of,
    suite_run,
)

BEFORE = {"$MODE": "12ab", "python": "3.11.7", "pydantic": "2.9.2", "ujson": "5.1"}
NOW = {"$MODE": "ffff", "python": "3.11.9", "pydantic": "2.10.0", "orjson": "3.10"}
SAID = (
    "since the last accepted run, beside the code: python 3.11.7 → 3.11.9, variable MODE changed, "
    "orjson none → 3.10, pydantic 2.9.2 → 2.10.0, ujson 5.1 → none"
)
POLICY = policy_of({"home": "{critical: 15 ms}"})


def run_with(uses: dict[str, str], value: float = 10.0):
    return replace(suite_run([metric("home", value)]), uses=uses)


def told(head, *accepted, **given):
    records = remembered(run_with({}))
    for number, uses in enumerate(accepted):
        one = replace(run_with(uses), created=run_with({}).created + number)
        records = accept(records, one, f"{number + 7:040x}")
    verdict = judge(run_of(head), baseline_from(records), POLICY, **given)
    return [f.message for f in verdict.findings if f.message.startswith("since the last")]


def test_a_red_says_what_differs_from_the_last_accepted_run():
    assert told(run_with(NOW, 20.0), NOW, BEFORE) == [SAID]


def test_green_does_not_say_it():
    assert told(run_with(NOW, 10.0), BEFORE) == []


@pytest.mark.parametrize("accepted", [(), (NOW,)])
def test_nothing_is_said_where_nothing_is_known_to_differ(accepted):
    assert told(run_with(NOW, 20.0), *accepted) == []


def test_a_change_that_edits_no_dependency_is_not_the_reason():
    head = run_with(NOW, 20.0)
    assert told(head, BEFORE, base="b" * 40, equips=False) == [f"{SAID}; not by this change"]
    assert told(head, BEFORE, base="b" * 40, equips=True) == [SAID]
    assert told(head, BEFORE, base="b" * 40, equips=False, of_branch=True) == [SAID]


def test_of_many_some_are_named():
    many = {f"lib{number}": "1" for number in range(9)}
    (message,) = told(run_with(dict.fromkeys(many, "2"), 20.0), many)
    assert message.endswith("lib5 1 → 2 and 3 more")


def test_the_file_says_once_what_many_runs_had_in_common():
    known = remembered(run_with({}))
    for number in range(20):
        one = replace(run_with(BEFORE if number < 15 else NOW), created=1_700_000_000.0 + number)
        known = joined(known, accept(None, one, f"{number:040x}"))
    data = to_lines(known)
    assert data.count(b"pydantic") == 2
    (again,) = parse_baseline({f"{known.environment.id}/api.jsonl": data}).suites
    assert again == known


def test_shards_tell_what_they_agree_on():
    parts = [replace(run_with(uses), source=source) for uses, source in ((BEFORE, "a"), (NOW, "b"))]
    assert merged(parts).uses == {"ujson": "5.1", "orjson": "3.10"}


@pytest.mark.parametrize(
    ("name", "it_does"),
    [
        ("uv.lock", True),
        ("pyproject.toml", True),
        ("api/requirements/base.txt", True),
        ("Dockerfile", True),
        (".github/workflows/gate.yml", True),
        (".env", True),
        (".python-version", True),
        ("thresholds.yaml", True),
        ("src/app.py", False),
        ("README.md", False),
    ],
)
def test_which_files_decide_with_what_a_suite_runs(name, it_does):
    assert equips(name) is it_does
