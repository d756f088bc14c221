import math
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.baseline import Baseline
from gate.cli.shared import console_for
from gate.explain import MOST, UnknownSubject, explain, rule_fields
from gate.policy import OFF, Policy
from gate.report.explain import print_explanation
from tests.gate.build import (
    baseline_from,
    baseline_of,
    history,
    judge,
    metric,
    pinned,
    policy_of,
    remembered,
    run_of,
    suite_run,
)

NODE = "tests/test_api.py::test_home"
OTHER = "tests/test_api.py::test_other"
RULES = {
    "*.p95": "{tolerance: 20 %}",
    "api.*.p95": "{tolerance: 15 %, warning: 1 s}",
    "api.home.p95": "{target: 200 ms}",
    "api.*.p95{users=10}": "{critical: 2 s}",
}


def api(factor=1.0):
    return suite_run(
        [
            metric("api.home.p50", 10 * factor),
            metric("api.home.p95", 20 * factor),
            metric("api.home.calls{service=store}", 3, "count", exact=True),
            metric("load.api.p95{users=10}", 5, nodeid=OTHER),
            metric("load.api.p95{users=20}", 6, nodeid=OTHER),
        ]
    )


KNOWN = baseline_of(*[api()] * 6)


def names(explanation):
    return [m.name for m in explanation.metrics]


@pytest.mark.parametrize(
    ("subject", "meant"),
    [
        ("api.home.p50", ["api.home.p50"]),
        ("api.home", ["api.home.calls{service=store}", "api.home.p50", "api.home.p95"]),
        ("api.home{service=store}", ["api.home.calls{service=store}"]),
        ("load.api", ["load.api.p95{users=10}", "load.api.p95{users=20}"]),
        ("load.api{users=10}", ["load.api.p95{users=10}"]),
        ("load.api.p95", ["load.api.p95{users=10}", "load.api.p95{users=20}"]),
        ("*.p95{users=20}", ["load.api.p95{users=20}"]),
        (NODE, ["api.home.calls{service=store}", "api.home.p50", "api.home.p95"]),
    ],
)
def test_a_subject_may_be_a_name_a_subject_a_test_or_a_glob(subject, meant):
    assert names(explain(subject, KNOWN, policy_of())) == meant


def test_an_unknown_subject_has_near_matches():
    with pytest.raises(UnknownSubject, match=r"did you mean api\.home\.p50") as error:
        explain("api.hme.p50", KNOWN, policy_of())
    assert "api.home.p50" in error.value.alike
    with pytest.raises(UnknownSubject, match="gate baseline show"):
        explain("zzz", KNOWN, policy_of())
    with pytest.raises(UnknownSubject):
        explain("*.zzz", KNOWN, policy_of())


@pytest.mark.parametrize("subject", ["", "  ", "a b", "{", "**{x", "tests/none.py::test"])
def test_what_is_no_name_is_unknown_and_no_crash(subject):
    with pytest.raises(UnknownSubject):
        explain(subject, Baseline(), policy_of())


def test_without_a_baseline_the_rule_alone():
    (explained,) = explain("api.home.p95", Baseline(), policy_of(RULES)).metrics
    assert explained.histories == ()
    assert {f.name: f.winner.value for f in explained.fields} == {
        "tolerance": "15 %", "warning": "1 s", "target": "200 ms",
    }  # fmt: skip


def test_a_metric_that_only_the_policy_names_is_known():
    explanation = explain("new.thing.p95", KNOWN, policy_of({"new.thing.p95": "{target: 1 s}"}))
    assert names(explanation) == ["new.thing.p95"]


def test_each_field_says_what_won_why_and_what_lost():
    (explained,) = explain("api.home.p95", KNOWN, policy_of(RULES)).metrics
    fields = {f.name: f for f in explained.fields}
    tolerance = fields["tolerance"]
    assert (tolerance.winner.value, tolerance.winner.source) == ("15 %", "metrics[api.*.p95]")
    assert tolerance.winner.place == "thresholds.yaml:5"
    assert tolerance.why == "more literal characters: 8 before 4"
    assert [(c.value, c.source) for c in tolerance.losers] == [
        ("20 %", "metrics[*.p95]"),
        ("30 %", "built-in [*.p95]"),
        ("10 %", "defaults"),
    ]
    assert fields["target"].why == "the only entry"
    assert "critical" not in fields


def test_an_exact_name_and_labels_win():
    rules = {"api.*": "{tolerance: 1 %}", "api.home.p50": "{tolerance: 2 %}"}
    (explained,) = explain("api.home.p50", KNOWN, policy_of(rules)).metrics
    assert explained.fields[1].why == "an exact name before a glob"
    rules = {"load.*.p95": "{tolerance: 1 %}", "load.*.p95{users=10}": "{tolerance: 2 %}"}
    (explained,) = explain("load.api.p95{users=10}", KNOWN, policy_of(rules)).metrics
    assert explained.fields[1].why == "more exact labels: 1 before 0"
    rules = {"*.p95": "{tolerance: 1 %}"}
    (explained,) = explain("api.home.p95", KNOWN, policy_of(rules)).metrics
    assert explained.fields[1].why == "an entry before a built-in one"


def test_a_work_count_has_no_built_in_tolerance_but_zero():
    counts = baseline_of(suite_run([metric("op.p99", 3, "count", exact=True)]))
    (explained,) = explain("op.p99", counts, policy_of()).metrics
    tolerance = explained.fields[1]
    assert (tolerance.winner.value, tolerance.winner.source, tolerance.losers) == ("0", "work count", ())


PATTERNS = [
    "*",
    "*.p95",
    "api.*",
    "api.home.*",
    "api.home.p95",
    "*.home.p95",
    "api.*.p95{users=*}",
    "*.calls",
]
VALUES = [
    "{tolerance: 1 %}",
    "{tolerance: off, target: 5 s}",
    "{floor: 3 ms, better: lower}",
    "{critical: 9 s}",
]


@given(
    st.dictionaries(st.sampled_from(PATTERNS), st.sampled_from(VALUES), min_size=1),
    st.sampled_from(["api.home.p95", "api.home.p95{users=10}", "api.home.mean", "load.x.p50"]),
)
def test_what_is_said_to_win_is_what_the_gate_judges_by(rules, name):
    policy, measured = policy_of(rules), metric(name, 1.0)
    known = history(name, [1.0]).suites[0].metrics[name]
    rule = policy.rule(measured)
    said = {field.name: field.winner for field in rule_fields(name, known, policy)}
    for field, winner in said.items():
        value = getattr(rule, field)
        assert winner.value == ("off" if value == OFF else str(value))
        if winner.source.startswith("metrics["):
            assert rule.sources[field] == winner.source
    assert {"better", "tolerance", "floor"} <= said.keys()
    assert all(getattr(rule, field) is None for field in {"target", "warning", "critical"} - said.keys())


def test_the_history_says_noise_reference_and_steps_with_commit_and_date():
    chance = random.Random(3)
    values = [(100 if i < 10 else 110) * math.exp(chance.gauss(0, 0.01)) for i in range(20)]
    suite = pinned(remembered(*[suite_run([metric("op.p50", v)]) for v in values]), f"{2:040x}", "release 1")
    assert suite is not None
    (explained,) = explain("op.p50", baseline_from(suite), Policy()).metrics
    (kept,) = explained.histories
    assert kept.runs == 20
    assert kept.noise == pytest.approx(0.01, rel=0.6)
    assert kept.pin is not None
    assert kept.pin.reason == "release 1"
    (step,) = kept.steps
    assert (step.step.index, step.commit, step.created[:10]) == (10, f"{10:040x}", "2023-11-14")


def test_the_findings_of_a_verdict_and_the_commands():
    verdict = judge(run_of(api(2.0)), KNOWN, policy_of(), base="b" * 40)
    explanation = explain("api.home", KNOWN, policy_of(), verdict)
    assert explanation.findings
    assert {f.subject for f in explanation.findings} == {"api.home.p50", "api.home.p95"}
    assert explanation.commands == (f"gate confirm api.home --base {'b' * 40}", f"pytest {NODE}")
    assert explain("load.api", KNOWN, policy_of(), verdict).findings == ()
    assert explain("load.api", KNOWN, policy_of()).findings is None


def test_a_metric_of_the_verdict_alone_is_known():
    limit = policy_of({"new.p95": "{critical: 1 ms}"})
    verdict = judge(run_of(suite_run([metric("new.p95", 9)])), KNOWN, limit)
    explanation = explain("new.p95", KNOWN, policy_of(), verdict)
    assert [f.kind for f in explanation.findings or ()] == ["limit", "new-metric"]


def test_a_test_is_reproduced_by_its_node_and_its_subjects():
    assert explain(OTHER, KNOWN, policy_of()).commands == (
        "gate confirm 'load.api{users=10}' --base origin/main",
        "gate confirm 'load.api{users=20}' --base origin/main",
        f"pytest {OTHER}",
    )


def test_many_metrics_are_cut_and_counted():
    many = baseline_of(suite_run([metric(f"op{i:02}.p50", 1) for i in range(30)]))
    explanation = explain("*", many, policy_of())
    assert len(explanation.metrics) == MOST
    assert len(explanation.omitted) == 30 - MOST
    assert msgspec.json.encode(explanation)


@pytest.mark.parametrize("name", ["test_get[/users]", "test_get[bold]", "test_get[:bug:]"])
def test_the_name_of_a_test_is_no_markup(name, capsys):
    known = baseline_of(suite_run([metric("get.p50", 1, nodeid=f"tests/test_api.py::{name}")]))
    print_explanation(explain("get.p50", known, policy_of()), console_for(no_color=True))
    assert f"api: tests/test_api.py::{name}" in capsys.readouterr().out
