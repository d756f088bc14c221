"""A verdict that foreign code wrote: refused, or told without live markup, whatever it holds."""

import json
import re
import zipfile
from io import BytesIO
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gate.baseline import Baseline
from gate.github.artifacts import HostileError, unpacked
from gate.report.annotations import annotations, workflow_commands
from gate.report.comment import LIMIT, comment, quiet_comment
from gate.report.words import headline
from gate.verdict import Finding, read_verdict, to_json
from tests.gate.build import judge, outcome, policy_of, run_of, suite_run
from tests.gate.unit.test_comment import OURS, RUN, confirmed
from tests.gate.unit.test_golden import all_kinds
from tests.gate.unit.test_markdown import HOSTILE, rendered, tags

VERDICTS: list[dict[str, Any]] = [json.loads(to_json(verdict)) for verdict in (confirmed(), all_kinds()[1])]
LIVE = ("@everyone", "acme/shop#1", "GH-1", "https://evil.example", "www.evil.example", "fixes #1")
TEXTS = st.lists(
    st.sampled_from([*HOSTILE, *LIVE, "\0", "\n\n# heading\n\n", "`", "|", "<", "\ud800", "x" * 400]),
    max_size=4,
).map("".join)
NUMBERS = st.sampled_from([0, -1, 1e308, -1e308, 5e-324, 10**30, 10**400, 1, 2**63]) | st.floats()
VALUES = TEXTS | NUMBERS | st.none() | st.booleans() | st.just([]) | st.just({}) | st.lists(TEXTS, max_size=3)


def places(document: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Ways to all parts of a JSON document."""
    if not isinstance(document, dict | list):
        return [path]
    inside = document.items() if isinstance(document, dict) else enumerate(document)
    return [path, *(place for key, part in inside for place in places(part, (*path, key)))]


FIXED = {"schema", "verdict", "exit_code", "kind", "level", "state"}
"""Keys whose values are words of the gate: with any other one a verdict is refused."""


@st.composite
def forged(draw: st.DrawFn, *, wild: bool = False) -> bytes:
    """A verdict of the gate in which some parts were replaced; wild: by anything, wherever."""
    document = json.loads(json.dumps(draw(st.sampled_from(VERDICTS))))
    found = [place for place in places(document)[1:] if wild or not FIXED.intersection(place)]
    for place in draw(st.lists(st.sampled_from(found), min_size=1, max_size=12)):
        try:
            part = document
            for key in place[:-1]:
                part = part[key]
            old = part[place[-1]]
            if wild:
                part[place[-1]] = draw(VALUES)
            elif isinstance(old, str):
                part[place[-1]] = draw(TEXTS)
            elif isinstance(old, float):
                part[place[-1]] = draw(st.floats(-1e60, 1e60))
        except (KeyError, IndexError, TypeError):
            continue  # an earlier replacement took it away
    return json.dumps(document).encode()


def assert_inert(text: str) -> None:
    html = rendered(text).replace(f'<a href="{RUN.run}">', "").replace("</a>", "")
    assert tags(html) <= OURS
    assert html.count("<h3>") == 1
    outside = re.sub(r"<code>.*?</code>", "", html, flags=re.DOTALL)
    assert not re.search(r"[@#]\w|://|www\.|GH-\d", outside, re.IGNORECASE)
    assert "href" not in html


@settings(max_examples=300, deadline=None)
@given(forged() | forged(wild=True))
@example(b"{}")
@example(b'{"schema":"gate.verdict/1","exit_code":' + b"9" * 5000 + b"}")
@example(b"[" * 5000)
def test_any_verdict_is_refused_or_told_without_live_markup(data: bytes):
    try:
        verdict = read_verdict(data)
    except ValueError:
        return
    text = comment(verdict, RUN)
    assert len(text) <= LIMIT
    assert_inert(text)
    quiet_comment(verdict, RUN)
    headline(verdict)
    for annotation in annotations(verdict):
        msgspec.json.encode(annotation)
        assert not annotation.path.startswith("/")
    assert all("\n" not in line for line in workflow_commands(verdict))


def test_a_control_character_in_the_name_of_an_environment_ends_nothing():
    document = json.loads(json.dumps(VERDICTS[0]))
    for place in (document["environment"], document["suites"][0]["environment"]):
        place["id"] = "amd\0 on\n# heading\n[x](https://evil.example) @everyone fixes #1"
    assert_inert(comment(read_verdict(json.dumps(document).encode()), RUN))


@pytest.mark.parametrize("figure", [1e308, -1e308, 1e60])
def test_a_figure_that_overflows_ends_nothing(figure: float):
    finding = Finding(
        "regression", "fail", "a.p50", "slower", state="confirmed", baseline=1.0, head=figure, unit="ratio",
        change=figure, interval=(0.0, figure),
    )  # fmt: skip
    verdict = msgspec.structs.replace(confirmed(), findings=(finding,))
    assert_inert(comment(verdict, RUN))
    if abs(figure) > 1e60:
        with pytest.raises(ValueError, match="Expected `float`"):
            read_verdict(to_json(verdict))


def test_files_beyond_number_are_counted_before_they_are_listed():
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(10_001):
            archive.writestr(str(number), b"")
    with pytest.raises(HostileError, match="10,001 files"):
        unpacked(buffer.getvalue())


def test_a_test_with_a_name_of_any_length_leaves_a_verdict_that_can_be_read():
    name = f"test_api.py::test_text[{'x' * 200_000}]"
    run = run_of(suite_run((), [outcome(name, "failed", signature="E | a.py | no")]))
    read = read_verdict(to_json(judge(run, Baseline(), policy_of())))
    assert (read.verdict, len(read.findings[0].subject)) == ("failed", 100_000)
