"""Names that become keys, labels or files: two of them are never one."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gate.model import Shard
from gate.policy import is_suite
from gate.readers.naming import report_stem, shard_in
from pytest_regression_gate.metrics import Environment, duration_name, label_of_test, split_name

# Surrogates as well: a nodeid can hold what is no text.
texts = st.text(st.characters(), min_size=1, max_size=12)
near = st.text(st.sampled_from("a1=,% {}_\t\n\xa0%2C"), min_size=1, max_size=6)


@given(texts | near, texts | near)
@example("a=1", "a%3D1")
@example("a b", "a\xa0b")
def test_tests_have_labels_of_their_own(one: str, other: str):
    assert (label_of_test(one) == label_of_test(other)) is (one == other)
    base, labels = split_name(duration_name(one))
    assert (base, labels) == ("test.duration", label_of_test(one))


parts = st.text(st.sampled_from("aB2c.-_ pyé"), max_size=8)
environments = st.builds(
    Environment, cpu=parts, cores=st.integers(0, 3), os=parts, python=st.sampled_from(["3.11", "3.12", "0"])
)


@given(environments, environments)
@example(Environment("a", 2, "b-py3.11-c", "3.11"), Environment("a", 2, "b", "3.11", "c"))
@example(Environment("a", 2, "x-2c-o", "3.11"), Environment("a-2c-x", 2, "o", "3.11"))
def test_machines_that_differ_have_files_of_their_own(one: Environment, other: Environment):
    """Capitals and punctuation are no difference, here as in a comparison."""
    if one.id == other.id:
        assert not one.differences(other)
    assert re.fullmatch(r"[a-z0-9.-]+", one.id)


def test_a_model_that_looks_like_a_number_of_cores_keeps_its_plain_name():
    found = Environment("Intel(R) Xeon(R) Platinum 8370C", 4, "debian 12", "3.11", "16g")
    assert found.id == "intel-r-xeon-r-platinum-8370c-4c-debian-12-py3.11-16g"


suites = st.from_regex(r"[a-z][a-z.]{0,2}(\.[0-9]-of-[0-9])?", fullmatch=True).filter(is_suite)
shares = st.none() | st.integers(2, 9).flatmap(lambda of: st.builds(Shard, st.integers(1, of), st.just(of)))


@given(suites, shares, suites, shares)
def test_shares_of_suites_have_reports_of_their_own(
    one: str, share: Shard | None, other: str, another: Shard | None
):
    same = report_stem(one, share) == report_stem(other, another)
    assert same is ((one, share) == (other, another))
    assert shard_in(report_stem(one, share)) == share


@pytest.mark.parametrize("name", ["api.1-of-2", "verdict", "waivers", "confirmation", "a/b", "", ".api", "ä"])
def test_what_is_no_suite(name: str):
    assert not is_suite(name)
