"""What is expected at a commit: by git's ancestry alone, whatever clocks and lines say."""

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.baseline import Permission
from gate.baseline.ancestry import Ancestry
from gate.baseline.expected import expected, pruned
from gate.baseline.records import Memory, SuiteRecords, Where, record_of, united
from gate.model import Outcome
from tests.gate.build import CREATED, MACHINE, OTHER_MACHINE, metric, outcome, suite_run

TEST = "t.py::test_calls"


def history(*lines: str) -> Ancestry:
    """Commits, the youngest first: `COMMIT PARENT...`; the tree has the commit's name in capitals."""
    return Ancestry.parse(
        f"{(words := line.split())[0]} {words[0].upper()} {' '.join(words[1:])}" for line in lines
    )


LINE = history("c3 c2", "c2 c1", "c1")


def calls(
    value: float,
    commit: str,
    *,
    at: float = 0,
    result: Outcome = "passed",
    signature: str = "",
    environment=MACHINE,
    tree: str = "",
    onto: str = "",
    **more,
) -> SuiteRecords:
    counted = [metric("db.calls", value, "count", exact=True, nodeid=TEST)] if result == "passed" else []
    run = suite_run(
        counted,
        [outcome(TEST, result, signature=signature)],
        created=CREATED + at,
        environment=environment,
    )
    return record_of(run, Where(commit, tree, onto), **more)


def seen(records: Iterable[SuiteRecords], ancestry: Ancestry | None = LINE):
    known = expected(united([Memory((one,)) for one in records]), ancestry).latest("api")
    assert known is not None
    return known


def test_the_nearest_commit_tells_whatever_the_clocks_say():
    late = [calls(5, "c1", at=900), calls(3, "c3", at=100)]
    assert seen(late).exact == {"db.calls": 3}
    assert seen(late, history("c1")).exact == {"db.calls": 5}


@pytest.mark.parametrize(
    ("record", "place"),
    [
        (calls(3, "c2"), "c2"),
        (calls(3, "squashed", tree="C2"), "c2"),
        (calls(3, "merge", onto="c1"), "c1"),
        (calls(3, "merge", tree="C3", onto="c1"), "c3"),
    ],
)
def test_a_record_stands_at_its_commit_or_its_tree_or_the_tip_it_was_accepted_for(record, place):
    assert [run.place for run in seen([record]).runs] == [place]


def test_what_belongs_to_another_branch_is_not_there():
    assert expected(Memory((calls(3, "elsewhere"),)), LINE).overall == ()


def test_of_two_histories_that_were_merged_the_stricter_holds_unless_one_is_permitted():
    merged = history("m a b", "a c1", "b c1", "c1")
    assert seen([calls(9, "a", at=5), calls(3, "b", at=1)], merged).exact == {"db.calls": 3}
    permitted = (Permission("db.calls", "kim", "planned"),)
    allowed = [calls(9, "a", at=5, waived=permitted), calls(3, "b", at=1)]
    assert seen(allowed, merged).exact == {"db.calls": 9}
    after = history("d m", "m a b", "a c1", "b c1", "c1")
    assert seen([*allowed, calls(4, "m")], after).exact == {"db.calls": 4}


def test_a_test_is_what_the_nearest_record_says_in_which_it_ran_in_any_environment():
    elsewhere = calls(0, "c2", result="skipped", environment=OTHER_MACHINE)
    known = seen([calls(3, "c1"), elsewhere])
    assert (known.exact, known.tests[TEST].outcome) == ({"db.calls": 3}, "passed")
    assert known.skips[OTHER_MACHINE.id] == {TEST}
    assert known.accepted_by([TEST]) == "c1", "who skips it is no witness"
    here = calls(0, "c2", result="skipped")
    assert seen([calls(3, "c1"), here]).tests[TEST].outcome == "skipped", "that was accepted here"


def test_a_count_outlives_the_failures_of_its_test_and_every_window():
    failing = [calls(0, "c2", at=n, result="failed", signature="S") for n in range(40)]
    known = Memory((calls(3, "c1", at=-9),))
    known = united([known, *(Memory((one,)) for one in failing)])
    for memory in (known, pruned(known, LINE)):
        overall = expected(memory, LINE).latest("api")
        assert overall.exact == {"db.calls": 3}
        assert overall.tests[TEST].failed
    (kept,) = pruned(known, LINE).suites
    assert len(kept.records) == 31


def test_that_a_record_holds_a_failure_permits_nothing():
    known = seen([calls(0, "c1", result="failed", signature="S")])
    assert (known.tests[TEST].failed, known.tests[TEST].permitted) == (True, None)
    reason = Permission(TEST, "kim", "ticket 7", "2026-12-24")
    known = seen([calls(0, "c1", result="failed", signature="S", waived=(reason,))])
    assert known.tests[TEST].permitted == reason


def test_a_flaky_test_is_expected_to_do_what_it_did_before():
    flaky = calls(3, "c2", flaky={TEST})
    known = seen([calls(3, "c1"), flaky])
    assert known.tests[TEST].outcome == "passed"
    assert len(known.tests[TEST].passes) == 0, "it is no pass that mends an entry"


def test_of_what_was_held_back_the_expectation_stays_and_no_younger_commit_is_its_witness():
    held = calls(9, "c2", held={"db.calls"})
    known = seen([calls(3, "c1"), held])
    assert (known.exact, known.accepted_by(["db.calls", TEST])) == ({"db.calls": 3}, "c1")
    known = seen([calls(3, "c1"), held, calls(4, "c3")])
    assert (known.exact, known.accepted_by(["db.calls", TEST])) == ({"db.calls": 4}, "c3")
    gone = calls(0, "c2", result="failed", held={TEST})
    assert seen([calls(3, "c1"), gone]).tests[TEST].outcome == "passed"


def test_what_was_accepted_as_gone_is_gone_and_comes_back_only_with_a_record():
    empty = record_of(suite_run([], [outcome("t.py::other")]), Where("c2"))
    known = seen([calls(3, "c1"), empty])
    assert (set(known.tests), known.exact) == ({"t.py::other"}, {})
    assert seen([calls(3, "c1"), empty, calls(7, "c3")]).exact == {"db.calls": 7}


def test_a_test_that_another_environment_does_not_have_is_not_missed_there():
    alone = record_of(suite_run([], [outcome("t.py::other")], environment=OTHER_MACHINE), Where("c2"))
    known = seen([calls(3, "c1"), alone])
    assert TEST in known.tests
    assert known.lacks[OTHER_MACHINE.id] == {TEST}
    assert known.lacks[MACHINE.id] == frozenset()


commits = st.sampled_from(["c1", "c2", "c3"])
anything = st.builds(
    lambda value, commit, at, where: calls(value, commit, at=at, environment=where),
    st.integers(1, 9),
    commits,
    st.integers(0, 99),
    st.sampled_from([MACHINE, OTHER_MACHINE]),
)


@given(st.lists(anything, min_size=1, max_size=12), st.randoms(use_true_random=False))
@settings(max_examples=200)
def test_the_order_in_which_records_arrive_makes_no_difference(records: Sequence[SuiteRecords], chance):
    mixed = list(records)
    chance.shuffle(mixed)
    assert seen(mixed) == seen(records)


@given(st.lists(anything, min_size=1, max_size=12))
@settings(max_examples=200)
def test_a_count_is_the_strictest_of_the_nearest_commit(records: Sequence[SuiteRecords]):
    nearest = max(one.records[0].commit for one in records)
    values = [
        one.records[0].values["count exact"]["db.calls"]
        for one in records
        if one.records[0].commit == nearest
    ]
    assert seen(records).exact == {"db.calls": min(values)}


@given(st.lists(anything, min_size=1, max_size=80))
@settings(max_examples=100)
def test_what_is_dropped_changes_nothing(records: Sequence[SuiteRecords]):
    memory = united([Memory((one,)) for one in records])
    before, after = expected(memory, LINE), expected(pruned(memory, LINE), LINE)
    assert after.suites == before.suites
    (one,), (other,) = after.overall, before.overall
    assert (one.exact, one.tests.keys(), one.metrics) == (other.exact, other.tests.keys(), other.metrics)
