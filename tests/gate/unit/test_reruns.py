"""Failing tests that pass alone: what their whole suite says, run again on both sides."""

import pytest

from gate.confirm.rerun import _among_the_others
from gate.evidence import Rerun
from gate.model import TestOutcome
from tests.gate.build import NODEID, outcome

FAILS, PASSES = outcome(result="failed", signature="x"), outcome()


def among(head: list[TestOutcome], base: list[TestOutcome]) -> Rerun | None:
    pairs = [({NODEID: here}, {NODEID: there}) for here, there in zip(head, base, strict=True)]
    return _among_the_others([FAILS], pairs).get(NODEID)


@pytest.mark.parametrize("times", [2, 3])
def test_what_fails_each_time_on_the_head_alone_is_no_flake(times: int):
    rerun = among([FAILS] * times, [PASSES] * times)
    assert rerun == Rerun(head=(times + 1, times + 1), base=(0, times), alike=False, alone=False)
    assert not rerun.flaky
    assert not rerun.known


def test_what_fails_each_time_on_both_sides_is_known():
    rerun = among([FAILS] * 2, [FAILS] * 2)
    assert rerun
    assert rerun.known


def test_once_is_chance():
    """A test that fails in half of all runs of its suite would be called new in a quarter of them."""
    assert among([FAILS], [PASSES]) is None


def test_what_fails_sometimes_on_the_base_is_flaky():
    assert among([FAILS] * 2, [FAILS, PASSES]) is None


def test_a_test_that_the_base_lacks_fails_on_the_head():
    rerun = _among_the_others([FAILS], [({NODEID: FAILS}, {"other": PASSES})] * 2)[NODEID]
    assert rerun == Rerun(head=(3, 3), base=(0, 0), alike=False, alone=False)
