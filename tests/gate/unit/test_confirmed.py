"""The same judgement once more, with what base and head showed on one machine."""

import pytest

from gate.accounts import Account, Difference, Reached
from gate.baseline import Baseline
from gate.confirm import cores
from gate.evidence import Confirmation, Evidence, Pair, Rerun, weigh
from tests.gate.build import (
    NODEID,
    history,
    judge,
    metric,
    of_kind,
    one,
    outcome,
    policy_of,
    run_of,
    suite_run,
)

STEADY = (100, 101, 99, 100, 100, 101, 99, 100, 100, 100)


def shown(name: str, ratios: list[float], error: float = 0.001) -> dict[str, Evidence]:
    pairs = [Pair(ratio, error, 100.0, 20) for ratio in ratios]
    return {name: weigh(name, pairs, 1)}


def judged(value: float, confirmation: Confirmation, **more):
    run = run_of(suite_run([metric("x.p50", value)]))
    return judge(run, history("x.p50", STEADY), policy_of(), confirmation=confirmation, **more)


def test_what_history_did_not_suspect_is_red_when_the_machine_confirms_it():
    verdict = judged(100, Confirmation(shown("x.p50", [0.2] * 3)))
    finding = one(verdict, "regression")
    assert (finding.state, finding.level, verdict.exit_code) == ("confirmed", "fail", 1)
    assert finding.interval is not None
    assert finding.interval[0] > 0.1


def test_a_suspect_that_the_machine_clears_is_not_red():
    verdict = judged(200, Confirmation(shown("x.p50", [0.0] * 4)))
    assert (one(verdict, "regression").state, verdict.exit_code) == ("cleared", 0)


@pytest.mark.parametrize(
    ("ratios", "code"),
    [
        ([0.4, -0.2, 0.3], 0),  # +18 %, and nothing excludes that nothing changed
        ([0.5, -0.1, 0.4], 3),  # +31 %, more than twice the tolerance
        ([0.1, 0.05, 0.11], 3),  # +9 %, and probably worse
    ],
)
def test_a_suspect_that_stays_open_is_inconclusive_if_it_is_probably_worse_or_far_beyond(
    ratios: list[float], code: int
):
    verdict = judged(200, Confirmation(shown("x.p50", ratios, error=0.2 if max(ratios) > 0.2 else 0.01)))
    finding = one(verdict, "regression")
    assert (finding.state, verdict.exit_code) == ("inconclusive", code)
    assert finding.message.startswith("not decided, passed: ") is (code == 0)


@pytest.mark.parametrize(
    ("ratios", "code"),
    [([0.1, 0.05, 0.11], 0), ([0.5, -0.1, 0.4], 3)],
    ids=["probably worse", "far beyond"],
)
def test_a_policy_may_let_pass_what_stays_open(ratios: list[float], code: int):
    asked = Confirmation(shown("x.p50", ratios, error=0.2 if max(ratios) > 0.2 else 0.01))
    run, known = run_of(suite_run([metric("x.p50", 200)])), history("x.p50", STEADY)
    lenient = policy_of(defaults="{inconclusive: warn}")
    assert judge(run, known, policy_of(), confirmation=asked).exit_code == 3
    verdict = judge(run, known, lenient, confirmation=asked)
    assert (one(verdict, "regression").state, verdict.exit_code) == ("inconclusive", code)


@pytest.mark.parametrize(("runs", "code"), [(4, 0), (5, 3)])
def test_a_suspect_that_was_not_reached_waits_for_five_accepted_runs(runs: int, code: int):
    run = run_of(suite_run([metric("x.p50", 400)]))
    known = history("x.p50", STEADY[:runs])
    verdict = judge(run, known, policy_of(), confirmation=Confirmation(not_reached=("x.p50",)))
    assert verdict.exit_code == code
    assert (f"not judged yet ({runs} of 5 accepted runs)" in one(verdict, "regression").message) is (
        code == 0
    )


LIMITED = policy_of({"x.p50": "{critical: 150 ms}"})
LIMIT_ROWS = {
    "kept": (140, [0.0] * 4, 100, "", 0),
    "the base keeps it, the head is worse": (160, [0.2] * 4, 140, "limit", 1),
    "no worse than the base": (160, [0.0] * 4, 160, "known-limit", 0),
    "both break it, the head is worse by more": (190, [0.2] * 4, 160, "limit", 1),
    "cannot be told": (160, [0.2, -0.2, 0.1], 155, "limit", 3),
    "not asked": (160, None, 0, "limit", 3),
}


@pytest.mark.parametrize(("value", "ratios", "base", "kind", "code"), LIMIT_ROWS.values(), ids=LIMIT_ROWS)
@pytest.mark.parametrize("of_branch", [False, True])
def test_a_limit_on_a_time_is_judged_beside_the_base(value, ratios, base, kind, code, *, of_branch):
    pairs = [Pair(ratio, 0.001 if len(set(ratios)) == 1 else 0.2, base, 20) for ratio in ratios or ()]
    asked = Confirmation({"x.p50": weigh("x.p50", pairs, 1)} if pairs else {})
    run = run_of(suite_run([metric("x.p50", value)]))
    verdict = judge(run, Baseline(), LIMITED, confirmation=asked, base="b" * 40, of_branch=of_branch)
    found = [f for f in verdict.findings if f.kind in {"limit", "known-limit"}]
    assert [f.kind for f in found] == ([kind] if kind else [])
    assert verdict.exit_code == code


def test_a_limit_that_the_accepted_runs_break_is_known_to_a_change_alone():
    run = run_of(suite_run([metric("x.p50", 160)]))
    asked = Confirmation({"x.p50": weigh("x.p50", [Pair(0.0, 0.001, 160, 20)] * 4, 1)})
    broken = history("x.p50", [160] * 6)
    for of_branch, code in ((False, 0), (True, 1)):
        given = {"confirmation": asked, "base": "b" * 40, "of_branch": of_branch}
        assert judge(run, broken, LIMITED, **given).exit_code == code


def test_a_limit_that_both_sides_may_share_is_undecided():
    run = run_of(suite_run([metric("x.p50", 160)]))
    shared = Difference("service", "127.0.0.1:8000", "unaccounted", "why")
    account = Account((shared,), {NODEID: Reached(touched=True, unaccounted=(0,))})
    asked = Confirmation({"x.p50": weigh("x.p50", [Pair(0.0, 0.001, 160, 20)] * 4, 1)}, account=account)
    verdict = judge(run, history("x.p50", [140] * 6), LIMITED, confirmation=asked, base="b" * 40)
    assert one(verdict, "limit").state == "inconclusive"


def test_a_limit_on_what_no_machine_moves_fails_as_it_is():
    run = run_of(suite_run([metric("x.memory", 160, "MB")]))
    policy = policy_of({"x.memory": "{critical: 150 MB}"})
    assert judge(run, Baseline(), policy, confirmation=Confirmation(), base="b" * 40).exit_code == 1


def test_a_suspect_that_was_not_reached_is_inconclusive():
    verdict = judged(200, Confirmation(not_reached=("x.p50",)))
    assert (one(verdict, "regression").state, verdict.exit_code) == ("inconclusive", 3)
    assert "not compared with the base on this machine: 1" in one(verdict, "environment").message


def test_a_suspect_that_base_and_head_do_not_share_is_inconclusive_for_its_own_reason():
    verdict = judged(200, Confirmation(not_comparable=("x.p50",)))
    finding = one(verdict, "regression")
    assert (finding.state, verdict.exit_code) == ("inconclusive", 3)
    assert finding.message.startswith("base and head gave nothing to compare")


def test_what_base_and_head_do_not_share_is_told_though_nobody_suspects_it():
    found = one(judged(100, Confirmation(not_comparable=("x.p50", "gone.p50"))), "environment")
    assert "on this machine: 1; 1 of them because base and head gave nothing to compare" in found.message
    assert "screened only, smallest visible change" in found.message
    assert not found.remedy


def test_of_a_new_metric_nobody_says_that_the_base_does_not_measure_it():
    run = run_of(suite_run([metric("x.p50", 100), metric("y.p50", 100)]))
    asked = Confirmation(not_comparable=("y.p50",))
    verdict = judge(run, history("x.p50", STEADY), policy_of(), confirmation=asked)
    assert [f.kind for f in verdict.findings] == ["new-metric"]


def test_what_fell_to_nothing_is_red_by_history():
    """It has no ratio, and more time would give none."""
    rate = metric("cache.hit_rate", 0.0, "ratio", better="higher")
    before = history("cache.hit_rate", [0.8] * 8, unit="ratio", better="higher")
    verdict = judge(run_of(suite_run([rate])), before, policy_of(), confirmation=Confirmation())
    assert (one(verdict, "regression").state, verdict.exit_code) == ("suspect", 1)
    errors = metric("load.error_rate", 0.04, "ratio")
    before = history("load.error_rate", [0.0] * 8, unit="ratio")
    asked = Confirmation(not_comparable=("load.error_rate",))
    verdict = judge(run_of(suite_run([errors])), before, policy_of(), confirmation=asked)
    assert (one(verdict, "regression").state, verdict.exit_code) == ("suspect", 1)


@pytest.mark.parametrize("ratios", [[0.5] * 3, [0.4, -0.2, 0.3]])
def test_where_nothing_changed_no_comparison_makes_it_red(ratios: list[float]):
    verdict = judged(200, Confirmation(shown("x.p50", ratios, error=0.05)), changed=False)
    assert (one(verdict, "regression").state, verdict.exit_code) == ("machine", 0)


def test_a_failure_among_the_others_is_told_as_such():
    run = run_of(suite_run([], [outcome(result="failed")]))
    reruns = {NODEID: Rerun(head=(2, 2), base=(0, 1), alone=False)}
    verdict = judge(run, history("x.p50", STEADY), policy_of(), confirmation=Confirmation(reruns=reruns))
    finding = one(verdict, "new-failure")
    assert finding.level == "fail"
    assert "only together with the other tests" in finding.message


def test_no_suspect_that_stays_open_is_said_with_what_is_not_excluded():
    evidence = shown("x.p50", [0.04, 0.12, 0.08], error=0.03)
    verdict = judged(100, Confirmation(evidence))
    assert verdict.exit_code == 0
    high = evidence["x.p50"].interval[1]
    message = one(verdict, "environment").message
    assert message.startswith("metrics that were compared with the base and stayed open: 1; ")
    assert f"{100 * high:.1f} % (x.p50)" in message


def test_a_decided_metric_is_not_said_to_be_open():
    assert not of_kind(judged(100, Confirmation(shown("x.p50", [0.0] * 5))), "environment")


def test_without_history_the_machine_alone_decides():
    run = run_of(suite_run([metric("x.p50", 100)]))
    verdict = judge(run, Baseline(), policy_of(), confirmation=Confirmation(shown("x.p50", [0.3] * 3)))
    assert one(verdict, "regression").state == "confirmed"


def test_an_interruption_is_inconclusive():
    verdict = judged(100, Confirmation(interrupted=True))
    assert (verdict.verdict, verdict.exit_code) == ("inconclusive", 3)


@pytest.mark.parametrize(
    ("rerun", "kind", "level"),
    [
        (Rerun((4, 4), (0, 3)), "new-failure", "fail"),
        (Rerun((4, 4), (3, 3)), "known-failure", "info"),
        (Rerun((4, 4), (3, 3), alike=False), "changed-failure", "fail"),
        (Rerun((4, 4), (2, 3)), "new-failure", "fail"),
        (Rerun((4, 4), (0, 0)), "new-failure", "fail"),
        (Rerun((2, 4), (0, 3)), "flaky", "warn"),
        (Rerun((2, 4), (3, 3)), "flaky", "warn"),
        (Rerun((1, 4), (0, 3), unclear="no time"), "new-failure", "fail"),
        (Rerun((1, 1), (0, 0), unclear="no time"), "new-failure", "fail"),
    ],
)
def test_a_failing_test_that_was_run_again(rerun: Rerun, kind: str, level: str):
    run = run_of(suite_run(tests=[outcome(result="failed")]))
    verdict = judge(run, Baseline(), policy_of(), confirmation=Confirmation(reruns={NODEID: rerun}))
    assert [(f.kind, f.level) for f in verdict.findings if f.subject == NODEID] == [(kind, level)]


@pytest.mark.skipif(not hasattr(cores.os, "sched_getaffinity"), reason="this system cannot pin processes")
def test_the_core_is_the_one_that_is_quickest_now(monkeypatch: pytest.MonkeyPatch):
    allowed = {0: 3.0, 1: 1.0, 2: 2.0}
    current: set[int] = set(allowed)

    def pin(_: int, chosen: set[int]) -> None:
        current.clear()
        current.update(chosen)

    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: set(allowed))
    monkeypatch.setattr(cores.os, "sched_setaffinity", pin)
    monkeypatch.setattr(cores, "_probe", lambda: allowed[next(iter(current))])
    assert cores.quietest_core() == 1
    assert current == set(allowed)


def test_what_both_sides_share_makes_no_failure_flaky():
    """It may pass the second time because it talked to what the base had started."""
    service = Difference("service", "127.0.0.1:8000", "unaccounted", "both sides talk to the base's server")
    run = run_of(suite_run(tests=[outcome(result="failed")]))
    rerun = Rerun(head=(1, 4), base=(0, 3), alike=False)
    for place, level, kind in (((), "warn", "flaky"), ((0,), "fail", "new-failure")):
        account = Account((service,), {NODEID: Reached(touched=True, unaccounted=place)})
        confirmation = Confirmation({}, reruns={NODEID: rerun}, account=account)
        verdict = judge(run, Baseline(), policy_of(), confirmation=confirmation)
        assert one(verdict, kind).level == level
