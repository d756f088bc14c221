import string
from itertools import pairwise

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.model import Run
from pytest_regression_gate.metrics import (
    MAX_SAMPLES,
    UNKNOWN_ENVIRONMENT,
    Environment,
    join_name,
    quantile,
    split_name,
    statistic_of,
    subject_of,
    summarise,
    systematic,
)
from tests.gate.build import metric, outcome, run_of, suite_run

word = st.text(string.ascii_letters + "_", min_size=1, max_size=6)
base_names = st.lists(word, min_size=1, max_size=4).map(".".join)
label_values = st.text(string.ascii_letters + string.digits + " .:/-[]'", min_size=1, max_size=8).filter(
    lambda text: text == text.strip()
)
label_sets = st.dictionaries(word, label_values, max_size=3)
samples = st.lists(st.floats(0, 1e6), min_size=1, max_size=40)


@given(base_names, label_sets)
def test_a_name_taken_apart_and_joined_is_the_same(base, labels):
    name = join_name(base, labels)
    assert split_name(name) == (base, labels)
    assert join_name(*split_name(name)) == name


@given(base_names, label_sets)
def test_the_order_of_labels_does_not_make_another_name(base, labels):
    assert join_name(base, dict(reversed(labels.items()))) == join_name(base, labels)


@pytest.mark.parametrize(
    "name",
    ["", ".", "a..b", "a.", ".a", "1a", "a b", "a{", "a{}}", "a{b}", "a{b=}", "a{=c}", "a{b=c,b=d}",
     "a{b=c=d}", "a{b={c}}", "a{b=c}d", "a\n", "ä.p50 "],
)  # fmt: skip
def test_a_text_that_is_no_name_is_refused(name):
    with pytest.raises(ValueError, match=r"is no metric name|has a label"):
        split_name(name)


def test_the_message_about_a_bad_name_shows_a_good_one():
    with pytest.raises(ValueError, match=r"write e\.g\. api\.home or load\.api\{users=100\}"):
        split_name("a b")
    with pytest.raises(ValueError, match="twice the same key: 'b=d'"):
        split_name("a{b=c,b=d}")


@pytest.mark.parametrize(
    ("name", "subject", "statistic"),
    [
        ("api.home.p95", "api.home", "p95"),
        ("load.api.p95{users=100}", "load.api{users=100}", "p95"),
        ("load.api.p95{b=2,a=1.5}", "load.api{a=1.5,b=2}", "p95"),
        ("alone", "alone", ""),
    ],
)
def test_a_name_ends_with_its_statistic(name, subject, statistic):
    assert subject_of(name) == subject
    assert statistic_of(name) == statistic or name == "alone"
    assert metric(name, 1).subject == subject


@pytest.mark.parametrize(
    ("values", "q", "expected"),
    [
        ([1, 2, 3, 4], 0.5, 2.5),
        ([1, 2, 3, 4], 0.25, 1.75),
        ([1, 2, 3, 4], 0.0, 1),
        ([1, 2, 3, 4], 1.0, 4),
        (list(range(1, 101)), 0.95, 95.05),
        ([7], 0.99, 7),
    ],
)
def test_quantiles_follow_definition_seven(values, q, expected):
    assert quantile(values, q) == pytest.approx(expected)


@given(samples, st.floats(0, 1))
def test_quantiles_agree_with_numpy(values, q):
    ordered = sorted(values)
    assert quantile(ordered, q) == pytest.approx(float(numpy.quantile(ordered, q)), rel=1e-9, abs=1e-9)


@given(samples)
def test_a_summary_agrees_with_numpy(values):
    got = summarise(values)
    assert list(got) == ["mean", "p50", "p95", "p99", "std"]
    assert got["mean"] == pytest.approx(float(numpy.mean(values)), rel=1e-9, abs=1e-9)
    for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        assert got[name] == pytest.approx(float(numpy.quantile(values, q)), rel=1e-9, abs=1e-9)
    spread = float(numpy.std(values, ddof=1)) if len(values) > 1 else 0.0
    assert got["std"] == pytest.approx(spread, rel=1e-6, abs=1e-6)


@given(st.lists(st.integers(), max_size=60), st.integers(1, 20))
def test_thinning_keeps_the_first_and_the_order_and_never_too_many(values, limit):
    kept = systematic(range(len(values)), limit)
    assert len(kept) == min(limit, len(values))
    assert kept == sorted(set(kept))
    assert not values or kept[0] == 0
    gaps = [after - before for before, after in pairwise(kept)]
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_a_sample_that_fits_is_kept_whole():
    assert systematic(list(range(MAX_SAMPLES))) == list(range(MAX_SAMPLES))
    assert len(systematic(list(range(MAX_SAMPLES + 1)))) == MAX_SAMPLES


@given(st.builds(Environment, cpu=st.text(), cores=st.integers(0, 512), os=st.text(), python=st.text()))
def test_an_environment_id_is_safe_as_a_file_name(environment):
    assert set(environment.id) <= set(string.ascii_lowercase + string.digits + ".-")
    assert environment.id not in {"", ".", ".."}
    assert not environment.id.startswith((".", "-"))


def test_environments_that_differ_have_different_ids():
    machines = [
        Environment(cpu, cores, os, python)
        for cpu in ("AMD EPYC 7763 64-Core Processor", "Intel(R) Xeon(R) Platinum 8272CL", "Apple M1")
        for cores in (2, 4)
        for os in ("ubuntu22", "ubuntu24")
        for python in ("3.11", "3.12")
    ]
    assert len({machine.id for machine in machines}) == len(machines)
    assert machines[0].id == "amd-epyc-7763-64-core-processor-2c-ubuntu22-py3.11"


def test_environments_that_differ_in_letters_beyond_ascii_have_different_ids():
    assert Environment("龙芯", 2, "x", "3.11").id != Environment("飞腾", 2, "x", "3.11").id


@pytest.mark.parametrize(
    ("result", "failed", "silent"),
    [
        ("passed", False, False),
        ("failed", True, False),
        ("error", True, False),
        ("skipped", False, True),
        ("xfailed", False, True),
        ("xpassed", False, False),
    ],
)
def test_what_an_outcome_means(result, failed, silent):
    test = outcome(result=result)
    assert (test.failed, test.silent) == (failed, silent)


def test_a_run_knows_its_commit_and_all_its_metrics():
    run = run_of(
        suite_run([metric("a.p50", 1)], name="a", commit=""),
        suite_run([metric("b.p50", 2)], name="b", commit="c" * 40),
    )
    assert run.commit == "c" * 40
    assert set(run.metrics) == {"a.p50", "b.p50"}
    assert Run({}).commit == ""
    assert UNKNOWN_ENVIRONMENT.id == "unknown-0c-unknown-py0"
