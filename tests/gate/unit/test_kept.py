"""A comparison that was measured on other machines: kept, read, put together, judged."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.confirm import places_of
from gate.evidence import Confirmation, Pair, Rerun, from_json, to_json, together, weigh
from gate.model import Run, Shard
from gate.thresholds import parse_policy
from tests.gate.build import run_of, suite_run
from tests.gate.unit.test_comment import confirmed

FLOATS = st.floats(-0.5, 0.5)


@st.composite
def confirmations(draw: st.DrawFn) -> Confirmation:
    pairs = [Pair(r, 0.01, 1.0, 20) for r in draw(st.lists(FLOATS, min_size=1, max_size=5))]
    names = draw(st.lists(st.sampled_from(("a.p50", "b.cpu", "c{x=1}.p95")), unique=True))
    return Confirmation(
        evidence={name: weigh(name, pairs, rank) for rank, name in enumerate(names, start=1)},
        reruns={"t.py::a": Rerun((1, 3), (0, 3))} if draw(st.booleans()) else {},
        not_reached=tuple(draw(st.lists(st.text(max_size=5), max_size=3))),
        notes=tuple(draw(st.lists(st.text(max_size=5), max_size=2))),
        interrupted=draw(st.booleans()),
        base="b" * 40,
    )


@given(confirmations())
def test_it_is_read_back_as_it_was_kept(confirmation):
    assert from_json(to_json(confirmation)) == confirmation


@given(st.lists(confirmations(), min_size=1, max_size=3))
def test_nothing_of_any_part_is_lost(parts):
    whole = together(parts)
    assert set(whole.evidence) == {name for part in parts for name in part.evidence}
    assert set(whole.notes) == {note for part in parts for note in part.notes}
    assert len(whole.not_reached) == sum(len(part.not_reached) for part in parts)
    assert whole.interrupted == any(part.interrupted for part in parts)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"evidence": {"a": 1}}', b'{"base": 7}', b"\xff"])
def test_something_else_is_refused(data):
    with pytest.raises(ValueError, match="no kept confirmation"):
        from_json(data)


def test_machines_that_share_a_pull_request_take_places_of_their_own():
    policy = parse_policy("version: 1\nsuites: {a: {run: x}, b: {run: x}, c: {run: x}}\n")
    places = [set(places_of(run_of(suite_run([], [], name=name)), policy)[:50]) for name in "abc"]
    assert set.union(*places) == set(range(1, 151))
    assert not places[0] & places[1]
    assert places_of(Run({}), policy)[0] == 1


def test_shards_that_have_a_machine_each_share_the_places_of_their_suite():
    policy = parse_policy("version: 1\nsuites: {a: {run: x}, b: {run: x}}\n")
    runs = [
        msgspec.structs.replace(suite_run([], [], name="a"), shard=Shard(number, 3)) for number in (1, 2, 3)
    ]
    places = [set(places_of(run_of(run), policy)[:20]) for run in (*runs, suite_run([], [], name="b"))]
    assert sorted(place for some in places[:3] for place in some) == list(range(1, 121, 2))
    assert not set.union(*places[:3]) & places[3]


def test_the_confirmed_metrics_say_what_machine_and_history_said():
    findings = [f for f in confirmed().findings if f.state == "confirmed"]
    assert all("(noise +" in finding.history for finding in findings)
    assert len(findings) == 2
