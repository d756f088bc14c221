"""terminal, words, html, memory and the baseline report beyond what the golden files hold."""

import re
from io import StringIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from gate.baseline import Baseline
from gate.model import Problem
from gate.report.baseline_report import baseline_document
from gate.report.document import Code, Document
from gate.report.html import to_html
from gate.report.markdown import to_markdown
from gate.report.memory import print_baseline, print_metrics
from gate.report.summary import verdict_document
from gate.report.terminal import print_verdict
from gate.report.words import advice, counted, headline
from gate.verdict import Finding, Verdict
from tests.gate.build import (
    baseline_from,
    baseline_of,
    history,
    judge,
    judged,
    metric,
    outcome,
    policy_of,
    remembered,
    run_of,
    suite_run,
)

STEADY = [100.0] * 10


def on_terminal(verdict: Verdict, *, quiet: bool = False) -> str:
    file = StringIO()
    print_verdict(verdict, Console(width=100, force_terminal=False, file=file), quiet=quiet)
    return file.getvalue()


def with_note(**fields) -> Verdict:
    note = Finding(**({"kind": "limit", "level": "fail", "subject": "a", "message": "m"} | fields))
    return judge(run_of(suite_run([metric("a.p50", 1)])), history("a.p50", [1]), policy_of(), notes=(note,))


# words


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"level": "info"}, "Nothing to do."),
        ({"level": "warn"}, "Nothing has to be done; read the warnings."),
        (
            {"kind": "report-error", "remedy": "run it again"},
            "Run it again. Nothing was judged that could not be read.",
        ),
        ({"kind": "new-failure", "reproduce": "pytest x"}, "Fix the failing test first: pytest x"),
        ({"kind": "changed-failure", "reproduce": "pytest x"}, "Fix the failing test first: pytest x"),
        (
            {"kind": "regression", "state": "suspect"},
            "Look at a first; it was compared with history only, run again to be sure.",
        ),
        (
            {"kind": "regression", "state": "confirmed", "reproduce": "pytest x"},
            "Look at a first: pytest x",
        ),
        ({"kind": "limit", "reproduce": "pytest x"}, "Look at a first: pytest x"),
        (
            {"kind": "missing-test", "remedy": "restore it"},
            "Restore it; if intended, accept it: gate baseline accept --subject a --reason TEXT.",
        ),
        ({"kind": "drift"}, "Look at a."),
    ],
)
def test_the_second_line_says_what_to_do(fields, line):
    assert advice(with_note(**fields)) == line


def test_the_first_line_says_what_it_rests_on():
    assert headline(with_note(level="info")) == "passed: 1 test passed · 1 metric, 1 compared"
    assert headline(with_note()) == "failed: 1 limit broken · 1 test passed · 1 metric, 1 compared"
    assert headline(with_note(level="warn")) == (
        "passed: 1 limit broken (warning) · 1 test passed · 1 metric, 1 compared"
    )


def test_findings_are_counted_by_kind():
    found = [Finding("limit", "fail", "a", "m")] * 2 + [Finding("regression", "fail", "a", "m")]
    assert counted(tuple(found)) == "2 limits broken, 1 regression"
    assert counted(()) == ""


def test_a_limit_that_was_broken_does_not_read_like_a_success():
    assert "limit passed" not in headline(with_note())


def test_a_policy_change_is_shown_first():
    verdict = judge(
        run_of(suite_run(tests=[outcome(result="failed")])),
        Baseline(),
        policy_of(),
        notes=(Finding("policy-change", "warn", "thresholds.yaml", "differs"),),
    )
    assert verdict.findings[0].kind == "policy-change"


# terminal


def test_markup_of_the_terminal_library_is_shown_as_it_is():
    text = on_terminal(with_note(subject="a[bold]b", message="[red]x[/red] [link=y]z", rule="r[0]"))
    assert "a[bold]b" in text
    assert "[red]x[/red] [link=y]z" in text
    problem = Problem("f[bold].json", "[/] broken", "[red]mend")
    verdict = judge(run_of(problems=[problem]), Baseline(), policy_of())
    assert "f[bold].json: [/] broken; [red]mend" in on_terminal(verdict, quiet=True)


@pytest.mark.parametrize("char", ["\x1b", "\x9b", "\u202e"])
@pytest.mark.parametrize("field", ["subject", "message"])
def test_a_message_cannot_steer_the_terminal(char, field):
    assert char not in on_terminal(with_note(**{field: f"x{char}[2Jy"}))


def test_a_message_cannot_command_the_runner():
    baseline = baseline_of(suite_run(tests=[outcome()]))
    head = suite_run(tests=[outcome(result="skipped", reason="x\n::stop-commands::y")])
    assert not re.search(r"^\s*::", on_terminal(judged(head, baseline)), re.MULTILINE)


def test_a_verdict_of_many_findings_is_cut_and_says_so():
    tests = [outcome(f"t::test_{n}", "failed", message=f"late by {n} ms") for n in range(60)]
    verdict = judged(suite_run(tests=tests))
    text = on_terminal(verdict)
    assert text.count("new-failure") == 50
    assert "… and 10 new failures, 1 environment warning; all of them: --json FILE" in text


def test_failures_alike_have_one_line_on_the_terminal():
    alike = [outcome(f"t.py::test_{n}", "failed", message="no database") for n in range(60)]
    verdict = judged(suite_run(tests=[*alike, outcome("t.py::test_other", "failed")]))
    text = on_terminal(verdict)
    assert text.count("new-failure") == 2
    assert "60 tests alike: no database" in text


def test_the_step_summary_is_cut_at_two_hundred_rows_and_says_so():
    verdict = judged(suite_run(tests=[outcome(f"t::test_{n}", "failed") for n in range(205)]))
    text = to_markdown(verdict_document(verdict))
    assert text.count("| new\\-failure |") == 200
    assert "Not shown: 5 new failures." in text


# html


@given(st.text(st.sampled_from("ab<>&\"'/=`{}%#"), max_size=20))
@settings(max_examples=15)
def test_no_text_makes_a_tag_on_the_page(text):
    document = Document(text)
    document.heading(text)
    document.paragraph(text, Code(text))
    document.bullets([(text,)])
    document.table((text,), [(text,), (Code(text),)])
    document.commands(text)
    calm = Document("x")
    calm.heading("x")
    calm.paragraph("x", Code("x"))
    calm.bullets([("x",)])
    calm.table(("x",), [("x",), (Code("x"),)])
    calm.commands("x")
    shape = re.compile(r"<[^>]*>")
    assert [re.sub(r'"[^"]*"', "", tag) for tag in shape.findall(to_html(document))] == [
        re.sub(r'"[^"]*"', "", tag) for tag in shape.findall(to_html(calm))
    ]


def test_a_page_fetches_nothing():
    page = to_html(verdict_document(with_note()))
    assert not re.search(r"<script|<link|<img|https?:|url\(|@import", page)


def test_direction_marks_do_not_reach_the_page():
    assert "\u202e" not in to_html(verdict_document(with_note(message="x\u202ey")))


# baseline report


def load(name: str, value: float, unit: str = "ms"):
    return metric(name, value, unit, better="higher" if unit == "req/s" else "lower")


def report(*metrics) -> str:
    run = run_of(suite_run(metrics))
    policy = policy_of()
    return to_markdown(baseline_document(run, judge(run, Baseline(), policy), policy))


def ramp(*users: int, throughput: float = 100.0):
    return [
        load(f"load.api.{name}{{users={count}}}", value, unit)
        for count in users
        for name, value, unit in (
            ("p50", count, "ms"),
            ("p95", 2.0 * count, "ms"),
            ("throughput", throughput, "req/s"),
        )
    ]


def test_a_ramp_is_sorted_by_number_and_described():
    text = report(*ramp(100, 9, 50))
    rows = [line for line in text.splitlines() if re.match(r"\| (9|50|100) \|", line)]
    assert [row.split(" | ")[0] for row in rows] == ["| 9", "| 50", "| 100"]
    assert "From 9 to 100 users \\(× 11.1\\) the p95 grows × 11.1 and the p50 × 11.1." in text
    assert "No request failed." in text


def test_a_load_without_numbers_is_a_table_without_a_trend():
    metrics = [
        load(f"load.bots.{name}{{bot={bot}}}", 5, unit)
        for bot in ("buyer", "seller")
        for name, unit in (("p50", "ms"), ("throughput", "req/s"))
    ]
    text = report(*metrics)
    assert "### load.bots by bot" in text
    assert "Throughput is highest" not in text


def test_a_throughput_alone_is_reported():
    assert "5 req/s" in report(load("queue.throughput", 5, "req/s"))


@pytest.mark.parametrize("metrics", [ramp(0, 10), ramp(1, 2, throughput=0.0)])
def test_a_ramp_with_a_zero_is_reported(metrics):
    assert "load.api by users" in report(*metrics)


def test_a_load_with_two_labels_shows_both():
    metrics = [
        load(f"load.api.{name}{{mode={mode},users=10}}", 5, unit)
        for mode in ("read", "write")
        for name, unit in (("p50", "ms"), ("p95", "ms"), ("throughput", "req/s"))
    ]
    assert re.search(r"users.?10|\| 10 \|", report(*metrics))


def test_the_method_names_the_column_that_counts():
    text = report(metric("a.b.p50", 1))
    header = next(line for line in text.splitlines() if line.startswith("| Operation"))
    assert "last column" not in text or header.endswith("| Measured |")


# memory


def shown(print_it) -> str:
    file = StringIO()
    print_it(Console(width=160, force_terminal=False, file=file))
    return file.getvalue()


def test_an_empty_baseline_says_how_to_fill_it():
    text = shown(lambda console: print_baseline(Baseline(), "tests/baseline", console, quiet=False))
    assert text == "no accepted runs in tests/baseline; add some: gate baseline update\n"


def test_a_baseline_is_one_row_per_suite_and_environment():
    known = baseline_from(remembered(*[suite_run([metric("a.p50", 1)])] * 3))
    lines = shown(lambda console: print_baseline(known, "x", console, quiet=False)).splitlines()
    assert len(lines) == 2
    assert lines[1].split()[:4] == ["api", "amd-epyc-7763-2c-ubuntu22-py3.11", "3", "0" * 12]


def test_matching_metrics_are_shown_with_their_noise():
    known = baseline_of(*[suite_run([metric("a.p50", 100), metric("b.calls", 2, "count", exact=True)])] * 10)
    text = shown(lambda console: print_metrics(known, "*", console))
    assert "a.p50" in text
    assert "any change" in text
    assert shown(lambda console: print_metrics(known, "zzz", console)) == ""


def test_a_pattern_that_is_none_is_wrong_usage():
    known = history("a.p50", STEADY)
    print_metrics(known, "a b", Console(file=StringIO()))
