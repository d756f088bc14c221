"""Suites that share names: qualified while a run is judged, plain where it is stored or asked for."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gate.baseline import Baseline
from gate.judge import Inputs, judge
from gate.model import Run
from gate.nodeids import bare, file_of, qualified
from gate.pipeline.align import align
from gate.pipeline.apart import Apart, Names
from tests.gate.build import (
    baseline_from,
    baseline_of,
    metric,
    outcome,
    policy_of,
    remembered,
    run_of,
    suite_run,
)

word = st.text(string.ascii_lowercase, min_size=1, max_size=8)
metric_names = st.builds(
    lambda base, labels: (
        base + ("{" + ",".join(f"{k}={v}" for k, v in sorted(labels.items())) + "}" if labels else "")
    ),
    st.lists(word, min_size=2, max_size=3).map(".".join),
    st.dictionaries(word | st.sampled_from(["suite", "suite_", "suite__"]), word, max_size=3),
)


def two(*, alike: bool = True) -> Run:
    other = "api.home.p50" if alike else "web.home.p50"
    return run_of(
        suite_run([metric("api.home.p50", 1.0)]),
        suite_run([metric(other, 2.0, suite="web", nodeid="tests/test_w.py::test_w")], name="web"),
        suite_run([metric("c.d", 3.0, suite="third", nodeid="tests/test_t.py::test_t")], name="third"),
    )


def test_suites_that_share_no_name_keep_theirs():
    run = two(alike=False)
    apart = Apart.of(run, Baseline(), ())
    assert apart.suites == ()
    assert apart.run(run) == run
    assert apart.layers(run) == []


def test_all_names_of_suites_that_share_one_are_qualified():
    run = two()
    apart = Apart.of(run, Baseline(), ())
    assert apart.suites == ("api", "web")
    done = apart.run(run)
    assert set(done.metrics) == {"api.home.p50{suite=api}", "api.home.p50{suite=web}", "c.d"}
    assert done.metrics["api.home.p50{suite=web}"].nodeid == "web:tests/test_w.py::test_w"
    assert set(done.suites["third"].tests) == {"tests/test_t.py::test_t"}
    assert apart.layers(run) == [{"api", "third"}, {"web"}]


def test_what_is_expected_gets_the_same_names():
    run = two()
    baseline = Apart.of(run, Baseline(), ()).baseline(baseline_of(run.suites["api"]))
    (known,) = baseline.overall
    assert set(known.metrics) == {"api.home.p50{suite=api}"}
    assert set(known.tests) == {"api:tests/test_api.py::test_home"}


def test_a_suite_that_is_judged_alone_has_the_names_that_it_has_among_the_others():
    run = two()
    expected = baseline_from(remembered(run.suites["api"]), remembered(run.suites["web"]))
    alone = run_of(run.suites["web"])
    assert Apart.of(alone, expected, {"api", "web"}).suites == ("api", "web")
    assert Apart.of(alone, expected, {"web"}).suites == (), "a suite that the rules do not name any more"
    assert Apart.of(alone, expected, {"api", "web"}).layers(alone) == [{"web"}]


def test_a_suite_gets_its_plain_names_back():
    run = two()
    apart = Apart.of(run, Baseline(), ())
    for name, suite in apart.run(run).suites.items():
        assert apart.names(name).plain_suite(suite) == run.suites[name]


@given(word, metric_names)
def test_a_metric_gets_its_name_back(suite: str, name: str):
    names = Names(suite)
    assert names.plain(names.metric(name)) == name


@given(word, st.text(min_size=1).filter(lambda text: bare(text) == text))
def test_a_test_gets_its_name_back(suite: str, nodeid: str):
    assert Names(suite).plain(Names(suite).test(nodeid)) == nodeid


@pytest.mark.parametrize("nodeid", ["tests/test_a.py::test_x[a:b]", "test_a.py::C::test_x", "a/b.py", "b.py"])
def test_the_file_of_a_qualified_test_is_that_of_the_test(nodeid: str):
    assert bare(nodeid) == nodeid
    assert file_of(qualified("api-2.x", nodeid)) == file_of(nodeid)


def test_a_move_is_known_under_qualified_names():
    api = suite_run(tests=[outcome("t.py::new")])
    web = suite_run(tests=[outcome("t.py::new", suite="web")], name="web")
    run = run_of(api, web)
    moved = Apart.of(run, Baseline(), ()).moved({"api": {"t.py::new": "t.py::old"}, "web": {}})
    assert moved == {"api": {"api:t.py::new": "api:t.py::old"}, "web": {}}


def test_a_test_that_moved_in_one_suite_is_missing_in_the_other():
    old, new = outcome("t.py::test_p[a]"), outcome("t.py::test_p[b]")
    web = suite_run(tests=[replace(one, suite="web") for one in (old, new)], name="web")
    baseline = baseline_from(remembered(suite_run(tests=[old])), remembered(web))
    head = suite_run(tests=[replace(new, suite="web")], name="web")
    policy = policy_of(suites="{api: {run: x}, web: {run: y}}")
    inputs = Inputs(policy, baseline, moved={"api": {new.nodeid: old.nodeid}, "web": {}})
    verdict = judge(*align(run_of(suite_run(tests=[new]), head), inputs))
    assert [f.subject for f in verdict.findings if f.level == "fail"] == ["web:t.py::test_p[a]"]
