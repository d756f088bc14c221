"""Tests under another name: matched by their code, never guessed."""

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.baseline import Baseline
from gate.moves import Since, caught_up, find_moves, followed, signature_in, since_accepted
from gate.nodeids import above
from gate.thresholds import parse_policy
from pytest_regression_gate.metrics import duration_name
from tests.gate.build import (
    HEADER,
    baseline_from,
    baseline_of,
    judge,
    metric,
    of_kind,
    one,
    outcome,
    policy_of,
    remembered,
    run_of,
    suite_run,
)

PAY = '''
@pytest.mark.parametrize("n", [1, 2])
def test_pay(n):
    """What it is for."""
    assert pay(n) == n
'''
REFUND = "def test_refund(shop):\n    assert shop.refund()\n"


def moves(
    before: dict[str, str], after: dict[str, str], gone: list[str], new: list[str], both: tuple[str, ...] = ()
) -> dict[str, str]:
    baseline = baseline_of(suite_run(tests=[outcome(name) for name in (*gone, *both)]))
    run = run_of(suite_run(tests=[outcome(name) for name in (*new, *both)]))
    return find_moves(run, baseline, encoded(before), encoded(after))


def encoded(files: dict[str, str]) -> dict[str, bytes]:
    return {name: textwrap.dedent(text).encode() for name, text in files.items()}


def test_a_moved_function_takes_its_parameters_along():
    found = moves(
        {"a.py": PAY + REFUND, "b.py": ""}, {"a.py": "", "b.py": PAY + REFUND},
        ["a.py::test_pay[1]", "a.py::test_pay[2]", "a.py::test_refund"],
        ["b.py::test_pay[1]", "b.py::test_pay[2]", "b.py::test_refund"],
    )  # fmt: skip
    assert found == {name.replace("a.py", "b.py"): name for name in found.values()}
    assert len(found) == 3


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (REFUND.replace("test_refund", "test_money_back"), True),
        (REFUND.replace("test_refund(", "test_money_back( ") + "    # a comment\n", True),
        (REFUND.replace("test_refund(shop):", 'test_money_back(shop):\n    """Why."""'), True),
        (REFUND.replace("test_refund", "test_money_back").replace("assert", "assert not"), False),
        (REFUND.replace("test_refund(shop)", "test_money_back(shop, bank)"), False),
        ("@pytest.mark.slow\n" + REFUND.replace("test_refund", "test_money_back"), False),
        ("async " + REFUND.replace("test_refund", "test_money_back"), False),
        (REFUND.replace("test_refund(shop):", "test_money_back(shop):\n    'a'\n    return"), False),
    ],
)
def test_a_renamed_function_is_the_same_only_with_the_same_code(text, same):
    found = moves({"a.py": REFUND}, {"a.py": text}, ["a.py::test_refund"], ["a.py::test_money_back"])
    assert found == ({"a.py::test_money_back": "a.py::test_refund"} if same else {})


def test_a_method_moves_between_classes_and_out_of_them():
    inside = "class TestA:\n" + textwrap.indent(REFUND, "    ")
    assert moves({"a.py": inside}, {"b.py": REFUND}, ["a.py::TestA::test_refund"], ["b.py::test_refund"]) == {
        "b.py::test_refund": "a.py::TestA::test_refund"
    }


def test_a_test_that_still_stands_there_did_not_move():
    """It is only not collected any more; a copy of it is not the same test."""
    found = moves(
        {"a.py": REFUND}, {"a.py": REFUND, "b.py": REFUND}, ["a.py::test_refund"], ["b.py::test_refund"]
    )
    assert found == {}
    assert moves({}, {"b.py": REFUND}, ["a.py::test_refund"], ["b.py::test_refund"]) == {}


def test_a_test_that_stood_there_before_is_not_a_moved_one():
    found = moves(
        {"a.py": REFUND, "b.py": REFUND}, {"b.py": REFUND}, ["a.py::test_refund"], ["b.py::test_refund"]
    )
    assert found == {}


def test_equal_code_is_told_apart_by_its_name_or_not_at_all():
    one_, two = REFUND.replace("refund(shop)", "one(shop)"), REFUND.replace("refund(shop)", "two(shop)")
    gone = ["a.py::test_one", "a.py::test_two"]
    found = moves({"a.py": one_ + two}, {"b.py": one_ + two}, gone, ["b.py::test_one", "b.py::test_two"])
    assert found == {"b.py::test_one": "a.py::test_one", "b.py::test_two": "a.py::test_two"}
    three = REFUND.replace("refund(shop)", "three(shop)")
    assert moves({"a.py": one_ + two}, {"b.py": three}, gone, ["b.py::test_three"]) == {}
    found = moves({"a.py": one_ + two}, {"b.py": one_ + three}, gone, ["b.py::test_one", "b.py::test_three"])
    assert found == {"b.py::test_one": "a.py::test_one", "b.py::test_three": "a.py::test_two"}


def test_a_file_that_cannot_be_parsed_matches_nothing():
    assert (
        moves({"a.py": REFUND}, {"b.py": REFUND + "\0("}, ["a.py::test_refund"], ["b.py::test_refund"]) == {}
    )


@pytest.mark.parametrize(
    ("gone", "new", "found"),
    [
        (["t.py::a[1-x]", "t.py::a[2-x]"], ["t.py::a[1]", "t.py::a[2]"],
         {"t.py::a[1]": "t.py::a[1-x]", "t.py::a[2]": "t.py::a[2-x]"}),
        (["t.py::a[1]"], ["t.py::a[0]"], {"t.py::a[0]": "t.py::a[1]"}),
        (["t.py::a[1]", "t.py::a[2]"], ["t.py::a[0]"], {}),
        (["t.py::a[1]"], ["t.py::a[0]", "t.py::a[2]"], {}),
        (["t.py::a[1]"], ["t.py::b[1]"], {}),
        (["t.py::a"], ["t.py::a[1]"], {}),
    ],
)  # fmt: skip
def test_as_many_new_parameters_as_lost_ones_are_taken_in_order(gone, new, found):
    assert moves({}, {}, gone, new, both=("t.py::a[9]",)) == found


def test_without_an_accepted_run_nothing_moved():
    run = run_of(suite_run(tests=[outcome("t.py::a[1]")]))
    assert find_moves(run, Baseline(), {}, {}) == {}


codes = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from("xyz")), max_size=5, unique_by=lambda t: t[0]
)


@given(codes, codes)
def test_a_match_has_the_same_code_and_belongs_to_one_test(before, after):
    def file(functions) -> str:
        return "".join(f"def test_{name}():\n    assert {code}\n" for name, code in functions)

    there, here = dict(before), dict(after)
    gone = [f"t.py::test_{name}" for name in there if name not in here]
    new = [f"t.py::test_{name}" for name in here if name not in there]
    found = moves({"t.py": file(before)}, {"t.py": file(after)}, gone, new)
    assert found.keys() <= set(new)
    assert set(found.values()) <= set(gone)
    assert len(set(found.values())) == len(found)
    assert all(here[now[-1]] == there[old[-1]] for now, old in found.items())


# What follows.

OLD, NEW = "tests/a.py::test_pay", "tests/b.py::test_pay"
MOVED = {NEW: OLD}


def signature(file: str) -> str:
    return f"KeyError | {file} | 'price'"


def moved_failure(before: str, after: str, moved=MOVED, text: str = ""):
    baseline = baseline_of(suite_run(tests=[outcome(OLD, "failed", signature=before)]))
    run = run_of(suite_run(tests=[outcome(NEW, "failed", signature=after)]))
    return judge(run, baseline, parse_policy(HEADER + text), moved=moved)


def test_a_known_failure_stays_known_when_its_test_moves():
    for file_before, file_after in (("tests/a.py", "tests/b.py"), ("app.py", "app.py")):
        verdict = moved_failure(signature(file_before), signature(file_after))
        assert verdict.verdict == "passed", verdict.findings
        assert one(verdict, "known-failure").subject == NEW
        assert one(verdict, "moved-test").message == "1 test of tests/a.py, moved here with the same code"
    assert moved_failure(signature("tests/a.py"), signature("tests/c.py")).verdict == "failed"
    verdict = moved_failure(signature("app.py"), signature("app.py"), moved={})
    assert [f.kind for f in verdict.of_level("fail")] == ["new-failure", "missing-test"]


def test_an_entry_of_the_policy_follows_until_somebody_lets_it_follow():
    text = f"known_failures:\n  {OLD}: {{until: 2033-01-01, signature: '* | tests/a.py | *'}}\n"
    verdict = moved_failure("", signature("tests/b.py"), text=text)
    assert one(verdict, "known-failure").message.startswith("permitted until 2033-01-01")
    assert one(verdict, "moved-test").remedy == f"let known_failures[{OLD}] follow"


def test_a_change_that_moves_an_expired_test_away_touches_it():
    text = f"known_failures:\n  {OLD}: {{until: 2020-01-01}}\n"
    run = run_of(suite_run(tests=[outcome(NEW, "failed")]))
    for touched in ({"tests/a.py"}, {"tests/b.py"}):
        verdict = judge(run, Baseline(), parse_policy(HEADER + text), moved=MOVED, touched=touched)
        assert verdict.verdict == "failed"


def test_a_moved_test_is_neither_missing_nor_new_and_its_metrics_follow():
    duration = {name: metric(duration_name(name), 0.1, "s", nodeid=name) for name in (OLD, NEW)}
    baseline = baseline_of(*(suite_run([duration[OLD], metric("a.p50", 1, nodeid=OLD)]) for _ in range(6)))
    head = suite_run([duration[NEW], metric("a.p50", 1, nodeid=NEW)])
    verdict = judge(run_of(head), baseline, policy_of(), moved=MOVED)
    assert [f.kind for f in verdict.findings] == ["moved-test"]
    assert verdict.summary.compared == 2
    without = judge(run_of(head), baseline, policy_of())
    assert {f.kind for f in without.findings} == {"missing-test", "new-test", "new-metric"}
    renamed = followed(baseline, {"api": MOVED}).suites[0]
    assert renamed.pins[0].values.keys() == {"a.p50", duration_name(NEW)}


def test_a_moved_test_that_begins_to_fail_or_to_be_skipped_is_found():
    baseline = baseline_of(suite_run(tests=[outcome(OLD)]))
    for result, kind in (("failed", "new-failure"), ("skipped", "newly-skipped")):
        run = run_of(suite_run(tests=[outcome(NEW, result)]))
        verdict = judge(run, baseline, policy_of(), moved=MOVED)
        assert [f.kind for f in verdict.of_level("fail")] == [kind]


def test_a_case_in_place_of_another_is_told_with_the_rules_and_makes_no_failure_known():
    old, new = ["a.py::test_x[1]", "a.py::test_x[2]"], ["a.py::test_x[3]", "a.py::test_x[4]"]
    passed = baseline_of(suite_run(tests=[outcome(name) for name in old]))
    run = run_of(suite_run(tests=[outcome(new[0]), outcome(new[1])]))
    moved = find_moves(run, passed, {}, {})
    (told,) = of_kind(judge(run, passed, policy_of(), moved=moved), "policy-change")
    assert told.level == "warn"
    broken = baseline_of(suite_run(tests=[outcome(old[0], "failed"), outcome(old[1])]))
    failing = run_of(suite_run(tests=[outcome(new[0], "failed"), outcome(new[1])]))
    assert find_moves(failing, broken, {}, {}) == {}


def test_brackets_in_the_name_of_a_directory_are_no_parameters():
    baseline = baseline_of(suite_run(tests=[outcome("t/[v1]/test_pay.py::test_refund")]))
    run = run_of(suite_run(tests=[outcome("t/[v1]/test_other.py::test_nothing")]))
    assert find_moves(run, baseline, {}, {}) == {}
    assert above("t/[v1]/a.py::Test::test_x[a::b]") == ["t/[v1]/a.py", "t/[v1]/a.py::Test"]


def test_what_moved_is_told_by_file_and_what_was_renamed_by_name():
    moved = {
        "b.py::test_x": "a.py::test_x",
        "b.py::test_y[1]": "a.py::test_y[1]",
        "a.py::test_new[1]": "a.py::test_old[1]",
        "a.py::test_new[2]": "a.py::test_old[2]",
        "a.py::test_z[5]": "a.py::test_z[4]",
        "a.py::test_z[7]": "a.py::test_z[6]",
    }
    baseline = baseline_of(suite_run(tests=[outcome(name) for name in moved.values()]))
    run = run_of(suite_run(tests=[outcome(name) for name in moved]))
    verdict = judge(run, baseline, policy_of(), moved=moved)
    told = {f.subject: f.message for kind in ("moved-test", "policy-change") for f in of_kind(verdict, kind)}
    assert told == {
        "b.py": "2 tests of a.py, moved here with the same code",
        "a.py::test_new": "is a.py::test_old, renamed with the same code",
        "a.py::test_z": "has other cases than at the base, taken in order: [4] → [5], [6] → [7]",
    }


def test_a_signature_follows_its_file_alone():
    assert signature_in("E | a.py | a.py | x", "a.py::t", "b.py::t") == "E | b.py | a.py | x"
    assert signature_in("E | c.py | x", "a.py::t", "b.py::t") == "E | c.py | x"
    assert signature_in("", "a.py::t", "b.py::t") == ""


def since(
    before: dict[str, str], after: dict[str, str], gone: list[str], both: tuple[str, ...] = ()
) -> Since:
    baseline = baseline_of(suite_run(tests=[outcome(name) for name in (*gone, *both)]))
    run = suite_run(tests=[outcome(name) for name in both])
    return since_accepted(run, baseline, encoded(before), encoded(after))


def test_what_the_base_moved_is_known_by_its_new_name():
    found = since(
        {"a.py": PAY + REFUND}, {"a.py": REFUND, "b.py": PAY.replace("test_pay", "test_paid")},
        ["a.py::test_pay[1]", "a.py::test_pay[2]"], ("a.py::test_refund",),
    )  # fmt: skip
    assert found == Since(
        {"b.py::test_paid[1]": "a.py::test_pay[1]", "b.py::test_paid[2]": "a.py::test_pay[2]"}, frozenset()
    )


HELD = """
def test_refund(shop):
    assert shop.refund()

class TestShop:
    def test_pay(self):
        assert pay()
"""
REFUNDS, PAYS = "a.py::test_refund", "a.py::TestShop::test_pay"


@pytest.mark.parametrize(
    ("after", "removed"),
    [
        (None, {REFUNDS, PAYS}),
        ("", {REFUNDS, PAYS}),
        ("class TestShop:\n    def test_other(self):\n        pass\n", {REFUNDS, PAYS}),
        ("class TestShop(Base):\n    def test_other(self):\n        pass\n", {REFUNDS}),
        ("@everything\nclass TestShop:\n    pass\n", {REFUNDS}),
        ("from shop import TestShop\n", {REFUNDS}),
        ("from shop import test_refund\n", {PAYS}),
        ("test_refund = make('refund')\n", {PAYS}),
        ("def test_refund(shop, more):\n    assert shop.refund(more)\n", {PAYS}),
        ("from shop import *\n", set()),
        ("def test_(:\n", set()),
        ("if True:\n    def test_refund():\n        pass\n", {PAYS}),
    ],
    ids=["no file", "empty", "plain class", "may inherit", "decorated", "imports the class",
         "imports the test", "made", "rewritten", "imports all", "not for this Python", "below a condition"],
)  # fmt: skip
def test_a_test_is_removed_only_where_its_file_cannot_hold_it(after: str | None, removed: set[str]):
    here = {} if after is None else {"a.py": after}
    gone = [
        "a.py::test_refund",
        "a.py::TestShop::test_pay",
        "a.py::made_at_run_time",
        "b.py::test_unchanged",
        "a.py",
    ]
    assert since({"a.py": HELD}, here, gone) == Since({}, frozenset(removed))


def test_what_the_head_has_is_neither_moved_nor_removed():
    assert since({"a.py": REFUND}, {}, [], ("a.py::test_refund",)) == Since({}, frozenset())


def test_the_memory_of_one_suite_catches_up():
    tests = [outcome(name) for name in ("a.py::test_pay", "a.py::test_gone", "a.py::test_kept")]
    other = suite_run(tests=[outcome("a.py::test_gone", suite="load")], name="load")
    memory = baseline_from(remembered(suite_run(tests=tests)), remembered(other))
    known = caught_up(
        memory, "api", Since({"b.py::test_pay": "a.py::test_pay"}, frozenset({"a.py::test_gone"}))
    )
    assert [set(suite.tests) for suite in known.suites] == [
        {"b.py::test_pay", "a.py::test_kept"}, {"a.py::test_gone"}
    ]  # fmt: skip
