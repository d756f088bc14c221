"""What is expected at a commit: by git's ancestry alone, whatever clocks and lines say."""

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from gate.baseline import Permission
from gate.baseline.ancestry import Ancestry
from gate.baseline.expected import expected
from gate.baseline.pruning import KEPT, pruned
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
    failing = [calls(0, "c2", at=n, result="failed", signature="S") for n in range(70)]
    known = Memory((calls(3, "c1", at=-9),))
    known = united([known, *(Memory((one,)) for one in failing)])
    for memory in (known, pruned(known, LINE)):
        overall = expected(memory, LINE).latest("api")
        assert overall.exact == {"db.calls": 3}
        assert overall.tests[TEST].failed
    (kept,) = pruned(known, LINE).suites
    assert len(kept.records) == KEPT + 1


def test_that_a_record_holds_a_failure_permits_nothing():
    known = seen([calls(0, "c1", result="failed", signature="S")])
    assert (known.tests[TEST].failed, known.tests[TEST].permitted) == (True, None)
    reason = Permission(TEST, "kim", "ticket 7", "2026-12-24")
    known = seen([calls(0, "c1", result="failed", signature="S", waived=(reason,))])
    assert known.tests[TEST].permitted == structs.replace(reason, given="c1")


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


def two(value: float | None, commit: str, second: str = "t.py::test_new", **more) -> SuiteRecords:
    """A run of two tests; without a value the one that counts is not there."""
    counted = [] if value is None else [metric("db.calls", value, "count", exact=True, nodeid=TEST)]
    tests = [outcome(second)] + ([outcome(TEST)] if value is not None else [])
    created = CREATED + more.pop("at", 0)
    run = suite_run(counted, tests, created=created, environment=more.pop("environment", MACHINE))
    return record_of(run, Where(commit, more.pop("tree", ""), more.pop("onto", "")), **more)


PERMITTED = (Permission(TEST, "kim", "no use for it"),)
MERGES = (history("m a b", "a c1", "b c1", "c1"), history("m b a", "b c1", "a c1", "c1"))


def test_values_of_another_method_are_not_read():
    def page(number: int, method: int, **more) -> SuiteRecords:
        run = suite_run(
            [metric("page", 10.0 * method, method=method), metric("calls", 3.0)], created=CREATED + number
        )
        return record_of(run, Where("c1"), **more)

    records = [page(n, method=1 + (n > 6)) for n in range(9)]
    memory = united([Memory((one,)) for one in records])
    for kept in (memory, pruned(memory, LINE)):
        (suite,) = expected(kept, LINE).suites
        assert suite.metrics["page"].method == 2
        assert suite.history("page") == [20.0] * 2
        assert suite.history("calls") == [3.0] * 9
        assert suite.reference("page") is None
        assert suite.reference("calls") is not None


@pytest.mark.parametrize("merged", MERGES, ids=["one order", "the other"])
def test_that_one_branch_does_not_know_a_test_says_nothing_of_the_other(merged):
    known = seen([two(3, "a", at=1), two(None, "b", "t.py::test_old", at=2)], merged)
    assert known.exact == {"db.calls": 3}
    assert known.tests.keys() == {TEST, "t.py::test_new", "t.py::test_old"}


@pytest.mark.parametrize("merged", MERGES, ids=["one order", "the other"])
def test_a_removal_that_somebody_permitted_holds_for_branches_that_left_before(merged):
    known = seen([two(3, "c1"), two(None, "a", waived=PERMITTED), two(3, "b", at=5)], merged)
    assert (known.exact, known.tests.keys()) == ({}, {"t.py::test_new"})


def test_a_removal_that_somebody_permitted_holds_for_other_runners():
    elsewhere = two(3, "c1", environment=OTHER_MACHINE, at=3)
    assert seen([two(3, "c1"), elsewhere, two(None, "c2", waived=PERMITTED)]).exact == {}
    assert seen([two(3, "c1"), elsewhere, two(None, "c2")]).exact == {"db.calls": 3}


def test_a_permitted_level_lasts_through_plain_runs_until_it_falls():
    history_of = history("m b d", "b a", "a c1", "d c1", "c1")
    level = [calls(9, "a", waived=(Permission("db.calls", "kim", "planned"),)), calls(3, "d", at=7)]
    assert seen([*level, calls(9, "b", at=1)], history_of).exact == {"db.calls": 9}
    assert seen([*level, calls(8, "b", at=1)], history_of).exact == {"db.calls": 8}
    deeper = history("m e d", "e b", "b a", "a c1", "d c1", "c1")
    assert seen([*level, calls(3, "b", at=1), calls(9, "e", at=8)], deeper).exact == {"db.calls": 3}


def test_a_rebuild_permits_what_it_brings():
    everything = (Permission("*", "kim", "new machines"),)
    both = [calls(9, "c1", waived=everything), calls(3, "c1", environment=OTHER_MACHINE)]
    assert seen(both).exact == {"db.calls": 9}


@pytest.mark.parametrize("result", ["skipped", "xfailed"])
def test_a_test_that_never_ran_can_go(result: Outcome):
    assert TEST in seen([calls(0, "c1", result=result)]).tests
    assert TEST not in seen([calls(0, "c1", result=result), two(None, "c2", waived=PERMITTED)]).tests
    assert TEST not in seen([calls(0, "c1", result=result), two(None, "c2")]).tests


def test_what_a_renamed_test_owes_stays_with_it():
    renamed = two(None, "c2", "t.py::test_works", held=["t.py::test_works"], moved={"t.py::test_works": TEST})
    known = seen([calls(3, "c1", at=1), renamed])
    assert known.tests["t.py::test_works"].outcome == "passed"
    assert TEST not in known.tests
    assert known.metrics["db.calls"].nodeid == "t.py::test_works"
    again = two(None, "c3", "t.py::a", held=["t.py::a"], moved={"t.py::a": "t.py::test_works"})
    known = seen([calls(3, "c1", at=1), renamed, again])
    assert known.tests.keys() == {"t.py::a"}
    assert known.exact == {"db.calls": 3}


def test_what_the_last_attempt_held_back_the_one_before_tells():
    first = calls(3, "c2", source="run 8", attempt=1)
    second = calls(5, "c2", at=1, source="run 8", attempt=2, held=["db.calls", TEST])
    known = seen([calls(5, "c1"), first, second])
    assert known.exact == {"db.calls": 3}
    assert known.places[TEST] == "c2"
    third = calls(4, "c2", at=2, source="run 8", attempt=3)
    assert seen([calls(5, "c1"), first, second, third]).exact == {"db.calls": 4}


def test_a_tree_that_a_revert_brings_back_is_not_what_was_accepted():
    accepted = calls(9, "pull", tree="C2", onto="c1", waived=(Permission("db.calls", "kim", "planned"),))
    reverted = Ancestry.parse(["c4 C2 c3", "c3 C3 c2", "c2 C2 c1", "c1 C1 "])
    assert seen([calls(3, "c1"), accepted, calls(3, "c3")], reverted).exact == {"db.calls": 3}


def test_what_a_new_history_held_back_is_as_it_was_before():
    old = [calls(3, "old")]
    new = calls(9, "c1", at=5, held=["db.calls"])
    assert seen([*old, new]).exact == {"db.calls": 3}
    assert seen(old, None).exact == {"db.calls": 3}


def test_the_window_is_of_values_not_of_runs():
    def page(number: int, value: float, **more) -> SuiteRecords:
        run = suite_run([metric("page", value)], created=CREATED + number)
        return record_of(run, Where("c1"), **more)

    records = [page(n, 10.0) for n in range(8)] + [page(n, 30.0, held=["page"]) for n in range(9, 49)]
    (suite,) = expected(united([Memory((one,)) for one in records]), LINE).suites
    assert suite.history("page") == [10.0] * 8
    (kept,) = pruned(united([Memory((one,)) for one in records * 1]), LINE).suites
    (suite,) = expected(Memory((kept,)), LINE).suites
    assert suite.history("page")


@pytest.mark.parametrize("merged", MERGES, ids=["one order", "the other"])
def test_a_rename_reaches_the_branches_that_left_before(merged):
    renamed = two(None, "a", "t.py::new", at=1, moved={"t.py::new": "t.py::old"})
    known = seen([two(None, "c1", "t.py::old"), renamed, two(None, "b", "t.py::old", at=2)], merged)
    assert known.tests.keys() == {"t.py::new"}


def test_a_new_test_by_the_old_name_of_another_is_a_test_of_its_own():
    renamed = two(None, "c2", "t.py::new", at=1, moved={"t.py::new": "t.py::old"})
    both = suite_run(tests=[outcome("t.py::new"), outcome("t.py::old")], created=CREATED + 2)
    known = seen([two(None, "c1", "t.py::old"), renamed, record_of(both, Where("c3"))])
    assert known.tests.keys() == {"t.py::new", "t.py::old"}


def test_what_a_rebuild_does_not_have_is_not_gone_elsewhere():
    everything = (Permission("*", "kim", "new machines"),)
    elsewhere = two(3, "c1", environment=OTHER_MACHINE)
    assert seen([elsewhere, two(None, "c2", waived=everything)]).exact == {"db.calls": 3}


def test_a_machine_that_never_had_a_test_cannot_give_it_up_for_others():
    elsewhere = two(3, "c1", environment=OTHER_MACHINE)
    alone = [structs.replace(one, alone=True) for one in PERMITTED]
    known = seen([elsewhere, two(None, "c2", waived=tuple(alone))])
    assert known.exact == {"db.calls": 3}
    assert known.lacks[MACHINE.id] == {TEST}


def failing(commit: str, at: float, *permissions: Permission) -> SuiteRecords:
    return calls(0, commit, at=at, result="failed", signature="S", waived=permissions)


def test_a_permission_that_goes_on_is_over_where_the_test_has_passed_since_it_was_given():
    merged = history("m a b", "a c1", "b c1", "c1")
    first = Permission(TEST, "kim", "ticket 7")
    lasting = structs.replace(first, given="c1")
    permitted = [failing("c1", 1, first), failing("a", 2, lasting)]
    assert seen(permitted, merged).tests[TEST].permitted == lasting
    assert not seen([*permitted, calls(3, "b", at=3)], merged).tests[TEST].failed
    anew = structs.replace(first, why="ticket 8")
    assert seen([permitted[0], failing("a", 2, anew), calls(3, "b", at=3)], merged).tests[TEST].permitted


def test_of_two_permissions_the_one_that_lasts_longer_counts():
    short, long = (
        Permission(TEST, "kim", why, until) for why, until in (("a", "2026-01-01"), ("b", "2027-01-01"))
    )
    for order in ((short, long), (long, short)):
        known = seen([failing("c1", 1, *order)]).tests[TEST]
        assert known.permitted
        assert known.permitted.until == "2027-01-01"


def test_a_skip_on_one_machine_does_not_hide_that_another_ran_the_test():
    ran = [calls(3, "c1", at=1), calls(3, "c1", at=2, environment=OTHER_MACHINE)]
    skipped = calls(0, "c2", at=3, result="skipped", environment=OTHER_MACHINE)
    known = seen([*ran, skipped])
    assert known.tests[TEST].outcome == "passed"
    assert known.skips[OTHER_MACHINE.id] == {TEST}


def test_what_decides_for_others_is_not_pruned():
    renamed = two(None, "c1", "t.py::new", moved={"t.py::new": "t.py::old"})
    removal = two(None, "c1", at=1, waived=PERMITTED)
    many = [two(None, "c2", "t.py::new", at=10 + n) for n in range(KEPT + 5)]
    (kept,) = pruned(united([Memory((one,)) for one in (renamed, removal, *many)]), LINE).suites
    assert len(kept.records) == KEPT + 2
    assert kept.nodeids == {"t.py::new", "t.py::test_new"}
