import io
import json
import random
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from gate.report.comment import comment
from gate.report.html import to_html
from gate.report.markdown import to_markdown
from gate.report.summary import verdict_document
from gate.report.terminal import print_verdict
from gate.report.words import counted
from gate.verdict import (
    EXIT_CODES,
    KINDS,
    Finding,
    Kind,
    Level,
    State,
    VerdictWord,
    decide,
    in_reading_order,
    to_json,
)
from tests.gate.build import history, judged, metric

findings = st.builds(
    Finding,
    kind=st.sampled_from(get_args(Kind)),
    level=st.sampled_from(get_args(Level)),
    subject=st.sampled_from(["a", "b"]),
    message=st.sampled_from(["m", "n"]),
    suite=st.sampled_from(["", "api"]),
    state=st.sampled_from([None, *get_args(State)]),
    change=st.sampled_from([None, -0.5, 0.1, 0.5, 3.0]),
)


def finding(kind, level, state=None, change=None, subject="x") -> Finding:
    return Finding(kind=kind, level=level, subject=subject, message="m", state=state, change=change)


@pytest.mark.parametrize(
    ("given_findings", "word"),
    [
        ([], "passed"),
        ([finding("limit", "warn"), finding("improvement", "info")], "passed"),
        ([finding("regression", "info", "cleared")], "passed"),
        ([finding("limit", "fail")], "failed"),
        ([finding("regression", "fail", "suspect")], "failed"),
        ([finding("regression", "fail", "inconclusive")], "inconclusive"),
        ([finding("regression", "warn", "inconclusive")], "passed"),
        ([finding("regression", "fail", "inconclusive"), finding("limit", "fail")], "failed"),
        ([finding("report-error", "fail"), finding("limit", "fail")], "error"),
        ([finding("report-error", "fail"), finding("regression", "fail", "inconclusive")], "error"),
        ([finding("report-error", "warn")], "passed"),
    ],
)
def test_findings_together_make_a_verdict(given_findings, word):
    assert decide(tuple(given_findings)) == word
    assert decide(tuple(reversed(given_findings))) == word


def test_every_verdict_has_its_own_exit_code_and_none_is_that_of_wrong_usage():
    assert EXIT_CODES == {"passed": 0, "failed": 1, "inconclusive": 3, "error": 4}
    assert set(EXIT_CODES) == set(get_args(VerdictWord))


def test_every_kind_has_a_row_in_the_order_of_reading():
    assert list(KINDS) == list(get_args(Kind))
    assert len({row.one for row in KINDS.values()} | {row.many for row in KINDS.values()}) == 2 * len(KINDS)


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("level", get_args(Level))
def test_a_finding_of_any_kind_appears_in_every_output(kind: Kind, level: Level):
    """A failing improvement had no row in the comment."""
    one = Finding(kind=kind, level=level, subject="tests/a.py::seen", message="it happened", remedy="act")
    verdict = msgspec.structs.replace(
        judged([metric("a.p50", 1)]),
        findings=(one,),
        verdict=decide((one,)),
        exit_code=EXIT_CODES[decide((one,))],
    )
    out = io.StringIO()
    print_verdict(verdict, Console(file=out, width=120))
    document = verdict_document(verdict)
    assert "seen" in to_markdown(document)
    assert "seen" in to_html(document)
    assert "seen" in comment(verdict)
    assert ("seen" in out.getvalue()) or counted((one,)) in out.getvalue() or "it happened" in out.getvalue()


@given(st.lists(findings, max_size=12), st.randoms(use_true_random=False))
def test_the_reading_order_does_not_depend_on_the_order_of_judging(given_findings, rnd: random.Random):
    mixed = rnd.sample(given_findings, len(given_findings))
    ordered = in_reading_order(given_findings)
    keys = [(f.level, f.kind, f.change and abs(f.change), f.suite, f.subject, f.message) for f in ordered]
    assert keys == [
        (f.level, f.kind, f.change and abs(f.change), f.suite, f.subject, f.message)
        for f in in_reading_order(mixed)
    ]
    ranks = [(f.kind != "policy-change", get_args(Level).index(f.level)) for f in ordered]
    assert ranks == sorted(ranks)


def test_worst_first_then_kind_then_the_largest_change():
    ordered = in_reading_order(
        [
            finding("improvement", "info"),
            finding("regression", "fail", change=0.2, subject="small"),
            finding("limit", "warn"),
            finding("regression", "fail", change=-0.9, subject="large"),
            finding("new-failure", "fail"),
            finding("report-error", "fail"),
        ]
    )
    assert [(f.level, f.kind, f.subject) for f in ordered] == [
        ("fail", "report-error", "x"),
        ("fail", "new-failure", "x"),
        ("fail", "regression", "large"),
        ("fail", "regression", "small"),
        ("warn", "limit", "x"),
        ("info", "improvement", "x"),
    ]


def test_the_json_document_is_indented_and_leaves_out_what_is_not_said():
    data = to_json(judged([metric("a.p50", 150)], history("a.p50", [100.0] * 10)))
    document = json.loads(data)
    assert data.endswith(b"}\n")
    assert data.startswith(b'{\n  "schema": "gate.verdict/1",\n  "verdict": "failed",\n  "exit_code": 1,')
    (regression,) = document["findings"]
    assert regression["state"] == "suspect"
    assert regression["change"] == 0.5
    assert "remedy" not in regression
    assert list(document) == (
        [
            "schema",
            "verdict",
            "exit_code",
            "head",
            "base",
            "policy",
            "environment",
            "suites",
            "summary",
            "findings",
        ]
    )


def test_the_json_document_knows_neither_clock_nor_absolute_path():
    data = to_json(judged([metric("a.p50", 150)], history("a.p50", [100.0] * 10))).decode()
    assert "/work/" not in data
    assert "1700000000" not in data
