"""A run of the base in the place of accepted runs that are older than it."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import pytest

from gate.baseline import Baseline
from gate.confirm.behind import in_question
from gate.evidence import Confirmation, from_json, to_json, together
from gate.judge import judge
from gate.model import Metric, Shard, SuiteRun, TestOutcome
from gate.verdict import Finding
from gate.witness import contradiction, renewed
from tests.gate.build import NODEID, judged, metric, outcome, policy_of, remembered, run_of, suite_run

OTHER = "tests/test_api.py::test_other"
GONE = "tests/test_gone.py::test_gone"
CHANGED = {"tests/test_api.py": True, "tests/test_gone.py": False}


def run(values: Iterable[Metric] = (), tests: Sequence[TestOutcome] = ()) -> SuiteRun:
    return suite_run(values, [outcome(), *tests])


def count(value: float, name: str = "api.calls", unit: str = "count", nodeid: str = NODEID) -> Metric:
    return metric(name, value, unit, exact=True, nodeid=nodeid)


def red(
    memory: SuiteRun, base: SuiteRun, head: SuiteRun, changed: Mapping[str, bool] = CHANGED
) -> dict[str, str]:
    """What fails by a memory that the base renews, and how."""
    known = remembered(memory)
    assert contradiction(known, base, head) == ""
    newer = renewed(known, base, "b" * 40, changed)
    verdict = judged(head, Baseline((known,), (newer,)))
    assert [suite.by_base for suite in verdict.suites] == [True]
    return {finding.subject: finding.kind for finding in verdict.findings if finding.level == "fail"}


def test_what_the_base_lost_is_not_missed_and_what_it_gained_is():
    memory, base = run(tests=[outcome(GONE)]), run(tests=[outcome(OTHER)])
    assert red(memory, base, run(tests=[outcome(OTHER)])) == {}
    assert red(memory, base, run()) == {OTHER: "missing-test"}
    assert red(memory, base, run(tests=[outcome(OTHER, "skipped")])) == {OTHER: "newly-skipped"}


@pytest.mark.parametrize(
    ("changed", "there", "lost"),
    [
        ({"tests/test_gone.py": False}, [], True),
        ({"tests/test_gone.py": True}, [outcome("tests/test_gone.py::test_left")], True),
        ({"tests/test_gone.py": True}, [], False),
        ({"tests/test_gone.py": True}, [outcome("tests/test_gone.py", "error")], False),
        ({"tests/test_gone.py": True}, [outcome("tests/test_gone.py::test_left", "skipped")], False),
        ({"tests/other.py": True}, [outcome("tests/test_gone.py::test_left")], False),
        ({}, [], False),
    ],
    ids=[
        "file is gone",
        "others run",
        "none runs",
        "not collected",
        "all skipped",
        "not changed",
        "nothing changed",
    ],
)
def test_a_test_is_lost_only_where_the_base_changed_its_file(
    changed: dict[str, bool], there: list[TestOutcome], lost: bool
):
    memory = run([count(3, "gone.calls", nodeid=GONE)], [outcome(GONE)])
    head = run(tests=[test for test in there if not test.failed])
    found = red(memory, run(tests=there), head, changed)
    assert (GONE not in found) == lost


def test_a_test_that_the_base_skips_is_skipped_only_where_the_base_changed_its_file():
    memory, skips = run(tests=[outcome(OTHER)]), run(tests=[outcome(OTHER, "skipped")])
    assert red(memory, skips, skips) == {}
    assert red(memory, skips, skips, {}) == {OTHER: "newly-skipped"}
    assert red(memory, skips, run()) == {OTHER: "missing-test"}


@pytest.mark.parametrize(
    ("there", "now", "is_red"), [(5, 5, False), (6, 5, False), (4, 5, True), (3, 4, True)]
)
def test_a_work_count_is_compared_with_the_bases_own(there: float, now: float, is_red: bool):
    found = red(run([count(3)]), run([count(there)]), run([count(now)]))
    assert found == ({"api.calls": "regression"} if is_red else {})


def test_the_unit_of_a_history_stays_unless_the_base_measures_something_else():
    memory = run([count(3000, unit="ms"), metric("api.size", 2, "MB")])
    base = run([count(5, unit="s"), metric("api.size", 2, "s")])
    assert red(memory, base, run([count(5000, unit="ms"), metric("api.size", 2, "s")])) == {}
    assert red(memory, base, run([count(6000, unit="ms"), metric("api.size", 2, "s")])) == {
        "api.calls": "regression"
    }
    newer = renewed(remembered(memory), base, "b" * 40, {})
    assert {name: known.unit for name, known in newer.metrics.items()} == {"api.calls": "ms", "api.size": "s"}


def test_a_metric_is_lost_only_where_its_test_passes_on_the_base():
    memory = run([metric("api.home.p50", 3), metric("api.home.p95", 4), metric("api.home.p99", 5)])
    assert red(memory, run([metric("api.home.p50", 3)]), run([metric("api.home.p50", 3)])) == {}
    assert red(memory, run([metric("api.home.p50", 3)]), run()) == {"api.home.p50": "missing-metric"}
    fails = suite_run((), [outcome(NODEID, "failed")])
    assert red(memory, fails, run()) == {"api.home": "missing-metric"}


def test_what_the_worktree_could_not_measure_is_remembered_as_it_was():
    memory = run([count(3, "gone.calls", nodeid=GONE)], [outcome(GONE)])
    kept = renewed(remembered(memory), run(), "b" * 40, {})
    assert kept.history("gone.calls") == [3]
    assert kept.metrics["gone.calls"].exact
    assert renewed(remembered(memory), run(), "b" * 40, CHANGED).metrics == {}


def test_a_limit_is_none_of_its_business():
    known = remembered(run([count(3)]))
    base, head = run([count(10)]), run([count(11)])
    policy = policy_of({"api.calls": "{critical: 10, tolerance: 20 %}"})
    verdict = judged(head, Baseline((known,), (renewed(known, base, "b" * 40, {}),)), policy)
    assert {finding.kind for finding in verdict.findings if finding.level == "fail"} == {"limit"}


@pytest.mark.parametrize(
    ("base", "said"),
    [
        (run([count(3), metric("api.size", 2)], [outcome(OTHER)]), ""),
        (run([count(3), metric("api.size", 2)]), f"{OTHER} does not run there"),
        (run([count(3), metric("api.size", 2)], [outcome(OTHER, "skipped")]), f"{OTHER} does not run there"),
        (run([count(3)], [outcome(OTHER)]), "api.size is not measured there"),
        (run([count(4), metric("api.size", 2)], [outcome(OTHER)]), "api.calls is another there"),
        (run([count(3), metric("api.size", 9)], [outcome(OTHER)]), ""),
        (suite_run((), [outcome(NODEID, "failed"), outcome(OTHER)]), ""),
    ],
)
def test_a_base_that_contradicts_what_memory_and_head_agree_on_is_no_witness(base: SuiteRun, said: str):
    same = run([count(3), metric("api.size", 2)], [outcome(OTHER)])
    assert contradiction(remembered(same), base, same) == said
    # What the head itself changed is no agreement.
    head = run([count(7)], [outcome(OTHER, "skipped")])
    assert contradiction(remembered(same), base, head) == ""


def test_times_are_still_compared_with_the_accepted_runs():
    known = remembered(*(run([metric("api.p50", value)]) for value in (10.0, 10.1, 9.9, 10.0, 10.1)))
    newer = renewed(known, run([metric("api.p50", 20)]), "b" * 40, {})
    verdict = judged(run([metric("api.p50", 20)]), Baseline((known,), (newer,)))
    assert [f.state for f in verdict.findings if f.kind == "regression"] == ["suspect"]


def test_the_base_is_asked_about_whole_suites_that_are_behind():
    memory, head = run([count(3)], [outcome(OTHER)]), run([count(5)])
    findings = judge(run_of(head), Baseline((remembered(memory),)), policy_of()).findings
    policy = policy_of()
    assert in_question(findings, run_of(head), policy, {"api"}) == ["api"]
    assert in_question(findings, run_of(head), policy, ()) == []
    share = msgspec.structs.replace(head, shard=Shard(1, 2))
    assert in_question(findings, run_of(share), policy, {"api"}) == []
    shared = policy_of(suites="{api: {run: pytest tests, shards: 2}}")
    assert in_question(findings, run_of(head), shared, {"api"}) == []
    late = [Finding(kind="regression", level="fail", subject="api.p50", suite="api", message="slow")]
    assert in_question(late, run_of(run([metric("api.p50", 3)])), policy, {"api"}) == []
    waived = [msgspec.structs.replace(finding, level="warn") for finding in findings]
    assert in_question(waived, run_of(head), policy, {"api"}) == []


def test_a_run_of_the_base_is_kept_for_another_machine():
    base = run([count(3)], [outcome(OTHER, "failed", signature="x")])
    parts = [Confirmation(base_runs={"api": base}), Confirmation()]
    assert together([from_json(to_json(part)) for part in parts]).base_runs == {"api": base}
