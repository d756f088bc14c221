"""The comment on a pull request: readable at any size, inert whatever the names hold."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence import Confirmation, Pair, weigh
from gate.report.comment import LIMIT, Links, comment, quiet_comment, silent
from gate.report.words import as_one, gathered
from gate.thresholds import parse_policy
from gate.verdict import Finding, SkippedTest, Verdict, Waiver, decide, in_reading_order
from gate.waivers import Waivers
from tests.gate.build import baseline_from, judge, remembered, run_of
from tests.gate.unit.test_golden import (
    BASE,
    POLICY,
    VERDICTS,
    all_kinds,
    compare,
    history_without_tests,
    in_suite,
    invalid_load,
    load,
    passed,
    performance,
)
from tests.gate.unit.test_markdown import HOSTILE, plain, rendered, tags

RUN = Links("https://github.com/acme/shop/actions/runs/42")
GREEN = [in_suite(name, "passed") for name in ("test_export", "test_login")]


def confirmed(*, waived: bool = False) -> Verdict:
    """One operation got slower, and the machine confirmed it."""
    run = run_of(performance(1.25, tests=GREEN), load())
    pairs = [Pair(0.18 + 0.004 * n, 0.004, 41.0, 20) for n in range(4)]
    names = ("bot.seller.analyze_intent.p50", "bot.seller.analyze_intent.cpu")
    evidence = {name: weigh(name, pairs, rank) for rank, name in enumerate(names, start=1)}
    waiver = Waiver("bot.seller.analyze_intent", "maria", "the new model is worth it", f"{RUN.run}#c1")
    waivers = Waivers("a" * 40, (waiver,)) if waived else Waivers("")
    return judge(
        run, history_without_tests(), POLICY, base=BASE, confirmation=Confirmation(evidence), waivers=waivers
    )


def changed_rules() -> Verdict:
    notes = (
        Finding("policy-change", "warn", "thresholds.yaml", "differs from the base, whose rules were used"),
        Finding(
            "policy-change", "warn", ".github/workflows/regression-gate.yml", "decides how this is judged"
        ),
    )
    return judge(passed()[0], history_without_tests(), POLICY, base=BASE, notes=notes)


def known_failures() -> Verdict:
    """One entry is over and this change touches it, one ends soon, one is mended; a test moved."""
    pattern = "tests/performance/test_response_times.py::test_{}"
    policy = parse_policy(
        f"""version: 1
suites: {{performance: {{run: pytest}}, load: {{run: pytest}}}}
known_failures:
  {pattern.format("refund")}:
    {{until: 2023-11-01, owner: "@payments", issue: shop#12, since: 2023-09-01}}
  {pattern.format("export")}: {{until: 2023-11-20, owner: "@print"}}
  {pattern.format("login")}: {{until: 2023-12-24}}
"""
    )
    tests = [
        in_suite("test_refund[card]", "failed", message="httpx.ReadTimeout: 5 s", where="tests/shop.py:9"),
        in_suite("test_refund[cash]", "failed", message="httpx.ReadTimeout: 6 s", where="tests/shop.py:9"),
        in_suite("test_export", "failed", message="PrinterError: no paper"),
        in_suite("test_login", "passed"),
        in_suite("test_signed_in", "passed"),
    ]
    moved = {pattern.format("signed_in"): pattern.format("old_name")}
    run = run_of(performance(tests=tests), load())
    before = [in_suite("test_old_name", "passed"), in_suite("test_login", "failed")]
    baseline = baseline_from(remembered(*[performance(tests=before)] * 5), remembered(*[load()] * 5))
    touched = {"tests/performance/test_response_times.py"}
    return judge(run, baseline, policy, base=BASE, touched=touched, moved=moved)


def mass_failure() -> Verdict:
    """One fixture fails, and with it every test that uses it; one test fails for another reason."""
    message, where = "RuntimeError: no database today", "tests/conftest.py:12"
    tests = [in_suite(f"test_page[{n}]", "failed", message=message, where=where) for n in range(48)]
    other = in_suite("test_login", "failed", message="assert 401 == 200", where="tests/test_login.py:7")
    before = [in_suite(f"test_page[{n}]", "passed") for n in range(48)] + [in_suite("test_login", "passed")]
    run = run_of(performance(tests=[*tests, other]), load())
    baseline = baseline_from(remembered(*[performance(tests=before)] * 5), remembered(*[load()] * 5))
    return judge(run, baseline, POLICY, base=BASE)


TYPICAL = {
    "mass-failure": mass_failure,
    "passed": lambda: passed()[1],
    "regression": confirmed,
    "everything": lambda: all_kinds()[1],
    "inconclusive": lambda: VERDICTS["inconclusive"]()[1],
    "unusable": lambda: VERDICTS["error"]()[1],
    "invalid-load": lambda: invalid_load()[1],
    "waived": lambda: confirmed(waived=True),
    "policy-change": changed_rules,
    "known-failures": known_failures,
}


@pytest.mark.parametrize("name", TYPICAL)
def test_typical_comments(name):
    compare(f"comment.{name}.md", comment(TYPICAL[name](), RUN))


def test_the_verdict_is_in_the_first_line_and_what_to_do_in_the_second():
    lines = comment(confirmed(), RUN).split("\n\n")
    assert lines[0].startswith("### ❌ failed: 2 regressions")
    assert lines[1].startswith("**Look at bot.seller.analyze")
    assert f"gate confirm bot.seller.analyze_intent.cpu --base {BASE[:12]}`" in lines[1]


def test_a_change_of_the_rules_comes_before_all_findings():
    text = comment(all_kinds()[1], RUN)
    assert text.index("This pull request changes the rules") < text.index("**Tests**")


@pytest.mark.parametrize(
    ("subject", "wish"),
    [("t.py::a", "/gate waive t.py::a REASON"), ("t.py::a[b c]", '/gate waive "t.py::a[b c]" REASON')],
)
def test_what_can_be_waived_is_said_how(subject: str, wish: str):
    note = Finding("missing-test", "fail", subject, "did not run")
    text = comment(judge(passed()[0], history_without_tests(), POLICY, base=BASE, notes=(note,)))
    assert f"with a comment: `{wish}`" in text
    assert "See it on your machine" not in text, "there is no command that shows it"


def test_nothing_to_say_is_one_line():
    verdict = passed()[1]
    assert silent(verdict)
    assert not silent(changed_rules())
    assert not silent(confirmed(waived=True))
    assert quiet_comment(verdict, RUN).count("\n") == 1


def many(number: int, name: str = "metric", message: str = "1 ms → 2 ms") -> Verdict:
    findings = [
        Finding(
            kind="regression" if n % 3 else "new-failure", level="fail" if n % 5 else "info",
            subject=f"{name}{n}.p50", message=message, state="confirmed" if n % 3 else None,
            baseline=1.0, head=2.0, unit="ms", change=1.0, interval=(0.9, 1.1),
            rule="defaults.tolerance = 10 %",
            reproduce=f"gate confirm {name}{n}.p50 --base BASE",
        )
        for n in range(number)
    ]  # fmt: skip
    ordered = in_reading_order(findings)
    return msgspec.structs.replace(passed()[1], findings=ordered, verdict=decide(ordered), exit_code=1)


@pytest.mark.parametrize("number", [3, 300, 30_000])
def test_any_number_of_findings_stays_readable(number):
    text = comment(many(number), RUN)
    assert len(text) <= LIMIT
    visible = text[: text.index("<details>")] if "<details>" in text else text
    assert visible.count("\n| ") <= 2 * (10 + 2)
    if number > 300:
        assert "Not shown for length: " in text
        assert f"all of them are in the [run]({RUN.run})" in text


@pytest.mark.parametrize("length", [200, 3_000])
def test_long_names_and_messages_stay_under_the_limit_and_say_what_was_cut(length):
    text = comment(many(400, "m*" * length, "`|<" * length), RUN)
    assert len(text) <= LIMIT
    assert "Not shown for length" in text


def test_more_skipped_tests_than_are_shown_are_counted():
    skipped = tuple(SkippedTest(f"tests/a.py::test_{n}", "needs a printer") for n in range(150))
    text = comment(msgspec.structs.replace(passed()[1], skipped=skipped), RUN)
    assert "<summary>150 skipped</summary>" in text
    assert "Not shown for length: 50 more" in text


@given(st.integers(1, 400), st.integers(3_000, 20_000))
def test_every_limit_is_kept(number, limit):
    assert len(comment(many(number, "name" * 20), RUN, limit=limit)) <= limit


OURS = {"h3", "p", "strong", "code", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "sub",
        "blockquote", "ul", "li", "br", "a", "/"}  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_inert(text):
    finding = Finding(
        kind="new-failure", level="fail", subject=f"tests/x.py::test[{text}]", message=text, rule=text,
        nodeids=(f"tests/x.py::test[{text}]",), reproduce=f"pytest '{text}'", where=f"{text}:3",
    )  # fmt: skip
    verdict = msgspec.structs.replace(passed()[1], findings=(finding,), verdict="failed", exit_code=1)
    html = rendered(comment(verdict, RUN))
    assert tags(html) <= OURS
    assert html.count("<details>") == html.count("</details>") == 1
    assert "@everyone" not in plain(html.replace("<code>", "\0").split("\0")[0])
    assert "href" not in html.replace(f'href="{RUN.run}"', "")


def test_differences_of_which_the_same_is_said_have_one_row():
    shared = [
        Finding(kind="unaccounted", level="warn", subject=f"gate/{name}.py", message=message)
        for name, message in (("a", "why"), ("b", "why"), ("c", "why"), ("d", "another reason"))
    ]
    found = [as_one(group) for group in gathered(shared)]
    assert [(one.subject, one.message) for one in found] == [
        ("gate/a.py and 2 more", "why"), ("gate/d.py", "another reason"),
    ]  # fmt: skip


def test_only_tests_are_told_together():
    notes = [
        Finding(kind="environment", level="warn", subject="confirmation", message=f"note {n}")
        for n in range(3)
    ]
    tests = [
        Finding(kind="new-failure", level="fail", subject=f"t.py::test_{n}", message="no database")
        for n in range(3)
    ]
    found = [as_one(group) for group in gathered([*notes, *tests])]
    assert [finding.message for finding in found] == [
        "note 0", "note 1", "note 2", "3 tests alike: no database",
    ]  # fmt: skip
