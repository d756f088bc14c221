"""What people see, byte by byte. Read a golden file before you renew it: GATE_RENEW_GOLDEN=1 pytest."""

import os
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from gate.baseline import Baseline
from gate.model import Problem, Run
from gate.policy import Policy
from gate.report.baseline_report import baseline_document
from gate.report.html import to_html
from gate.report.markdown import to_markdown
from gate.report.summary import verdict_document
from gate.report.terminal import print_verdict
from gate.report.words import advice, headline
from gate.thresholds import parse_policy
from gate.verdict import Finding, Verdict
from pytest_regression_gate.metrics import LoadRun
from tests.gate.build import (
    OTHER_MACHINE,
    baseline_from,
    judge,
    metric,
    outcome,
    remembered,
    run_of,
    suite_run,
)

GOLDEN = Path(__file__).parents[1] / "golden"
BASE = "b" * 40
PERFORMANCE = "tests/performance/test_response_times.py"
LOAD = "tests/load/test_concurrent_load.py"
NODE = f"{PERFORMANCE}::TestSeller::test_analyze_intent"
USERS = f"{LOAD}::TestApi::test_users"

POLICY = parse_policy(
    """version: 1
suites:
  performance: {run: pytest tests/performance}
  load: {run: pytest tests/load}
metrics:
  bot.seller.analyze_intent.mean: {target: 100 ms}
  cache.hit_rate: {better: higher, target: 70 %, warning: 75 %, critical: 60 %}
  load.api.p95{users=100}: {target: 200 ms, warning: 150 ms, critical: 300 ms}
  "*.calls": {tolerance: 0}
"""
)


def performance(factor: float = 1.0, *, calls: int = 1, rate: float = 0.83, more=(), tests=()):
    metrics = [
        *(
            metric(f"bot.seller.analyze_intent.{name}", value * factor, nodeid=NODE, suite="performance")
            for name, value in (("mean", 42.5), ("p50", 41.2), ("p95", 60.5), ("p99", 71.0), ("cpu", 12.3))
        ),
        metric("bot.seller.analyze_intent.calls{service=claude}", calls, "count",
               exact=True, nodeid=NODE, suite="performance"),
        metric("cache.hit_rate", rate, "ratio", better="higher",
               nodeid=f"{PERFORMANCE}::test_cache", suite="performance"),
        *more,
    ]  # fmt: skip
    names = [outcome(NODE, suite="performance"), outcome(f"{PERFORMANCE}::test_cache", suite="performance")]
    return suite_run(metrics, [*names, *tests], name="performance")


def load(factor: float = 1.0, *, users=(50, 100), tests=(), loads=None):
    metrics = [
        metric(f"load.api.{name}{{users={count}}}", value, unit, better=better, nodeid=USERS, suite="load",
               count=2000)
        for count in users
        for name, value, unit, better in (
            ("p50", 0.45 * count * factor, "ms", "lower"),
            ("p95", 1.2 * count * factor, "ms", "lower"),
            ("p99", 1.5 * count * factor, "ms", "lower"),
            ("throughput", 1180.0 / factor, "req/s", "higher"),
            ("error_rate", 0.001, "ratio", "lower"),
        )
    ]  # fmt: skip
    return suite_run(metrics, [outcome(USERS, suite="load"), *tests], name="load", loads=loads)


def in_suite(name: str, result, **more) -> object:
    return outcome(f"{PERFORMANCE}::{name}", result, suite="performance", **more)


def history() -> Baseline:
    known_tests = [
        in_suite("test_always_red", "failed", signature="KeyError | app.py | 'price'"),
        in_suite("test_other_red", "failed", signature="KeyError | app.py | 'price'"),
        in_suite("test_mended", "failed", signature="KeyError | app.py | 'price'"),
        in_suite("test_export", "passed"),
        in_suite("test_login", "passed"),
        in_suite("test_gone", "passed"),
    ]
    gone = [metric(f"bot.seller.old.{name}", 5, nodeid=NODE, suite="performance") for name in ("p50", "p95")]
    return baseline_from(
        remembered(*[performance(f, more=gone, tests=known_tests) for f in (0.99, 1, 1.01, 1, 1)]),
        remembered(*[load(f) for f in (0.99, 1, 1.01, 1, 1)]),
    )


def all_kinds() -> tuple[Run, Verdict]:
    tests = [
        in_suite("test_always_red", "failed", signature="KeyError | app.py | 'price'",
                 message="KeyError: 'price'"),
        in_suite("test_other_red", "failed", signature="ValueError | app.py | late",
                 message="ValueError: late by 12 ms", where="app.py:40"),
        in_suite("test_mended", "passed"),
        in_suite("test_export", "skipped", reason="needs a printer"),
        in_suite("test_login", "error", message="fixture 'database' | not *found* <b>", where="tests/c.py:3"),
        in_suite("test_fresh", "passed"),
    ]  # fmt: skip
    more = [metric("bot.seller.fresh.p50", 5, nodeid=NODE, suite="performance")]
    run = run_of(
        performance(2.6, calls=2, rate=0.72, more=more, tests=tests),
        load(0.4, users=(50, 100), loads={"load.api{users=50}": LoadRun(requests=2000, errors=2, warm_up=0)}),
    )
    notes = (
        Finding("policy-change", "warn", "thresholds.yaml", "differs from the base, whose rules were used"),
    )
    verdict = judge(
        run, history(), POLICY, base=BASE, notes=notes,
        unconfirmed="suspects were not measured again on this machine, so none of them is confirmed",
    )  # fmt: skip
    return run, verdict


def passed() -> tuple[Run, Verdict]:
    green = [in_suite(name, "passed") for name in ("test_export", "test_login")]
    run = run_of(performance(tests=green), load())
    known = baseline_from(remembered(*[performance(tests=green)] * 5), remembered(*[load()] * 5))
    return run, judge(run, known, POLICY, base=BASE)


def error() -> tuple[Run, Verdict]:
    problem = Problem(
        ".gate/load.json",
        "the report is cut off after 12,345 bytes",
        "pytest was stopped while it wrote; run the suite again and read its log",
    )
    green = [in_suite(name, "passed") for name in ("test_export", "test_login")]
    run = run_of(performance(tests=green), problems=[problem])
    return run, judge(run, baseline_from(remembered(*[performance(tests=green)] * 5)), POLICY, base=BASE)


def inconclusive() -> tuple[Run, Verdict]:
    run, _ = passed()
    undecided = Finding(
        kind="regression", level="fail", subject="bot.seller.analyze_intent.p50", suite="performance",
        state="inconclusive", baseline=41.2, head=49.4, unit="ms", change=0.199,
        message="41.2 ms → 49.4 ms (+19.9 %); not decided after 3 min",
        rule="defaults.tolerance = 10 %", nodeids=(NODE,), reproduce=f"pytest '{NODE}'",
    )  # fmt: skip
    other = suite_run(load().metrics.values(), load().tests.values(), name="load", environment=OTHER_MACHINE)
    run = Run({**run.suites, "load": other})
    return run, judge(run, history_without_tests(), POLICY, base=BASE, notes=(undecided,))


def history_without_tests() -> Baseline:
    green = [in_suite(name, "passed") for name in ("test_export", "test_login")]
    return baseline_from(remembered(*[performance(tests=green)] * 5), remembered(*[load()] * 5))


def invalid_load() -> tuple[Run, Verdict]:
    green, known = passed()[0].suites["performance"], history_without_tests()
    starved = LoadRun(requests=2000, errors=2, users=100, warm_up=50, waited=0.36, others=0.67)
    metrics = {**load().metrics, **load(1.7, users=(100,)).metrics}
    loads = {"load.api{users=100}": starved}
    slow = suite_run(metrics.values(), load().tests.values(), name="load", loads=loads)
    run = run_of(green, slow)
    return run, judge(run, known, POLICY, base=BASE)


VERDICTS = {"passed": passed, "failed": all_kinds, "error": error, "inconclusive": inconclusive}
SHOWN = VERDICTS | {"invalid-load": invalid_load}


def compare(name: str, text: str) -> None:
    file, data = GOLDEN / name, text.encode()
    if os.environ.get("GATE_RENEW_GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    seen = file.read_bytes() if file.exists() else b""
    assert data == seen, f"{file} differs; if it should, GATE_RENEW_GOLDEN=1 pytest {__file__}"


def on_terminal(verdict: Verdict, width: int, *, quiet: bool = False) -> str:
    file = StringIO()
    print_verdict(verdict, Console(width=width, force_terminal=False, file=file), quiet=quiet)
    return file.getvalue()


@pytest.mark.parametrize("word", VERDICTS)
def test_the_scenarios_are_what_they_are_named(word):
    _, verdict = VERDICTS[word]()
    assert verdict.verdict == word


def test_the_failed_scenario_holds_every_kind_but_unreadable_reports():
    _, verdict = all_kinds()
    assert {finding.kind for finding in verdict.findings} == {
        "policy-change", "new-failure", "changed-failure", "missing-test", "newly-skipped", "missing-metric",
        "limit", "invalid-load", "regression", "environment", "known-failure", "fixed", "improvement",
        "new-test", "new-metric",
    }  # fmt: skip


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("word", SHOWN)
def test_a_verdict_on_the_terminal(word, width):
    text = on_terminal(SHOWN[word]()[1], width)
    compare(f"{word}.{width}.txt", text)
    assert "\x1b" not in text


@pytest.mark.parametrize("word", VERDICTS)
def test_a_verdict_on_a_quiet_terminal_is_its_first_two_lines_and_what_could_not_be_read(word):
    _, verdict = VERDICTS[word]()
    lines = on_terminal(verdict, 80, quiet=True).splitlines()
    errors = [f for f in verdict.findings if f.kind == "report-error"]
    assert len(lines) == 2 + len(errors)
    assert lines[0].endswith(headline(verdict))
    assert lines[1].strip() == advice(verdict)


@pytest.mark.parametrize("word", SHOWN)
def test_a_verdict_in_markdown(word):
    compare(f"{word}.md", to_markdown(verdict_document(SHOWN[word]()[1])))


@pytest.mark.parametrize("word", SHOWN)
def test_a_verdict_as_a_page(word):
    compare(f"{word}.html", to_html(verdict_document(SHOWN[word]()[1])))


@pytest.mark.parametrize("suffix", [".md", ".html"])
@pytest.mark.parametrize("word", ["passed", "failed", "invalid-load"])
def test_the_baseline_report(word, suffix):
    run, verdict = SHOWN[word]()
    document = baseline_document(run, verdict, POLICY)
    compare(f"baseline-report.{word}{suffix}", (to_html if suffix == ".html" else to_markdown)(document))


def test_a_golden_test_can_fail(tmp_path, monkeypatch):
    monkeypatch.delenv("GATE_RENEW_GOLDEN", raising=False)
    monkeypatch.setitem(globals(), "GOLDEN", tmp_path)
    (tmp_path / "x.txt").write_bytes(b"old\n")
    compare("x.txt", "old\n")
    with pytest.raises(AssertionError, match="GATE_RENEW_GOLDEN=1"):
        compare("x.txt", "new\n")
    with pytest.raises(AssertionError, match="differs"):
        compare("missing.txt", "new\n")


def test_an_empty_policy_and_run_still_make_a_report():
    verdict = judge(Run({}), Baseline(), Policy())
    assert "No suite recorded a measurement" in to_markdown(baseline_document(Run({}), verdict, Policy()))
