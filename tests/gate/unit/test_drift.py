import math
import random

import pytest

from gate.baseline import Permission
from gate.baseline.files import parse_baseline, to_lines
from gate.baseline.pruning import KEPT, pruned
from gate.baseline.records import Memory, joined
from gate.judge.drift import drifts
from tests.gate.build import (
    HEAD,
    accept,
    baseline_from,
    judge,
    metric,
    of_kind,
    one,
    pinned,
    policy_of,
    remembered,
    run_of,
    suite_run,
    view,
)

CREEP = [100 * 1.02**step for step in range(11)]


def suites(values, name="op.p50", unit="ms", **more):
    return [suite_run([metric(name, value, unit, **more)]) for value in values]


def verdict_of(history, head, policy=None, *, at=None, **more):
    """Judge a head value after accepted values; the run number `at` was pinned."""
    known = remembered(*suites(history, **more))
    if at is not None:
        chosen = pinned(known, f"{at:040x}", "release 1")
        assert chosen is not None
        known = chosen
    return judge(run_of(suites([head], **more)[0]), baseline_from(known), policy or policy_of())


def test_ten_small_steps_are_a_drift_though_none_is_a_regression():
    verdict = verdict_of(CREEP[:-1], CREEP[-1])
    found = one(verdict, "drift")
    assert not of_kind(verdict, "regression")
    assert (found.level, found.subject, verdict.exit_code) == ("warn", "op.p50", 0)
    assert found.baseline == pytest.approx(CREEP[2])
    assert found.head == pytest.approx(CREEP[-2], rel=1e-5)
    assert found.change == pytest.approx(1.02**7 - 1, rel=1e-4)
    assert "since 2023-11-14 (0000000, first 5 accepted runs), over 6 runs" in found.message
    assert found.rule == "defaults.tolerance = 10 %"


def test_an_explicit_pin_is_the_reference_and_is_named():
    found = one(verdict_of(CREEP[:-1], CREEP[-1], at=0), "drift")
    assert found.baseline == 100
    assert "release 1" in found.message


def test_a_flat_history_and_a_tolerated_creep_say_nothing():
    assert not of_kind(verdict_of([100] * 10, 100), "drift")
    assert not of_kind(verdict_of(CREEP[:5], CREEP[5]), "drift")
    wide = policy_of({"op.p50": "{tolerance: 30 %}"})
    assert not of_kind(verdict_of(CREEP[:-1], CREEP[-1], wide), "drift")


def test_metrics_judged_by_limits_alone_do_not_drift():
    off = policy_of({"op.p50": "{tolerance: off}"})
    assert not of_kind(verdict_of(CREEP[:-1], CREEP[-1], off), "drift")


def test_a_drift_below_the_floor_is_not_worth_a_word():
    floor = policy_of({"op.p50": "{floor: 50 ms}"})
    assert not of_kind(verdict_of(CREEP[:-1], CREEP[-1], floor), "drift")


def test_a_regression_is_not_named_twice():
    verdict = verdict_of(CREEP[:-1], 300)
    assert one(verdict, "regression").subject == "op.p50"
    assert not of_kind(verdict, "drift")


def test_getting_better_is_no_drift_and_higher_may_be_better():
    assert not of_kind(verdict_of(CREEP[::-1][:-1], CREEP[0]), "drift")
    fall = {"name": "op.throughput", "unit": "req/s", "better": "higher"}
    assert one(verdict_of(CREEP[::-1][:-1], CREEP[0], **fall), "drift").change < 0
    assert not of_kind(verdict_of(CREEP[:-1], CREEP[-1], **fall), "drift")


def test_one_slow_run_is_no_drift():
    assert not of_kind(verdict_of([100] * 10, 119), "drift")


def test_two_slow_runs_and_a_fast_one_are_no_level():
    known = remembered(*suites([*[100] * 9, 119]))
    assert not drifts(suites([100])[0], view(remembered(*suites([*[100] * 9, 119, 119]))), policy_of())
    assert not drifts(suites([119])[0], view(known), policy_of())


def test_too_few_runs_since_the_pin_say_nothing():
    def drifted(*later):
        known = pinned(remembered(*suites([*[100] * 9, *later])), f"{8:040x}", "release 1")
        assert known is not None
        return drifts(suites([119])[0], view(known), policy_of())

    assert not drifted(119)
    assert drifted(119, 119)


def test_a_count_with_a_tolerance_creeps_without_noise():
    counts = {"name": "op.prompt_characters", "unit": "count", "exact": True}
    some = policy_of({"*.prompt_characters": "{tolerance: 10 %}"})
    creep = [1000 + 20 * step for step in range(9)]
    assert one(verdict_of(creep[:-1], creep[-1], some, at=0, **counts), "drift").change == pytest.approx(0.14)
    assert not of_kind(verdict_of(creep[:-1], creep[-1], at=0, **counts), "drift")  # each step was found


def test_the_share_of_the_whole_machine_is_no_drift():
    def run(factor, own=1.0):
        others = [metric(f"other{i}.p50", 10.0 * factor) for i in range(9)]
        return suite_run([metric("op.p50", 100 * factor * own), *others])

    def drifted(head, *runs):
        return of_kind(judge(run_of(head), baseline_from(remembered(*runs)), policy_of()), "drift")

    slow = [run(1.15)] * 3
    assert not drifted(run(1.15), *[run(1)] * 6, *slow)
    (found,) = drifted(run(1.15, 1.15), *[run(1)] * 6, *[run(1.15, 1.15)] * 3)
    assert (found.subject, found.change) == ("op.p50", pytest.approx(0.15))


def test_metrics_judged_by_limits_alone_do_not_speak_for_the_machine():
    def run(factor):
        others = [metric(f"other{i}.mean", 10.0 * factor) for i in range(9)]
        return suite_run([metric("op.p50", 100 * factor), *others])

    known = remembered(*[run(1)] * 6, *[run(1.15)] * 3)
    assert [d.metric.name for d in drifts(run(1.15), view(known), policy_of())] == ["op.p50"]


def test_the_located_step_is_named_with_commit_and_date():
    found = one(verdict_of([100] * 7 + [109] * 4 + [119] * 4, 119), "drift")
    assert "steps: +9.0 % at 0000000 of 2023-11-14, +9.2 % at 0000000 of 2023-11-14" in found.message


def test_flat_noisy_histories_hardly_ever_drift():
    """100 histories of 30 runs with 5 metrics and 1.5 % noise: every run is judged as a head."""
    chance, alarms = random.Random(1), 0
    for _ in range(100):
        known, found = None, 0
        for index in range(30):
            run = suite_run(
                [metric(f"op{i}.p50", 100 * math.exp(chance.gauss(0, 0.015))) for i in range(5)],
                created=1.7e9 + index,
            )
            found += len(drifts(run, view(known), policy_of())) if known else 0
            known = accept(known, run, HEAD)
        alarms += bool(found)
    assert alarms == 0


def test_a_noisy_creep_is_found_by_the_tenth_step():
    chance, late = random.Random(2), 0
    for _ in range(100):
        values = [value * math.exp(chance.gauss(0, 0.015)) for value in CREEP]
        late += not of_kind(verdict_of(values[:-1], values[-1]), "drift")
    assert late <= 2  # 1 % of 1,000


class TestPin:
    def test_the_first_five_runs_are_the_reference_and_stay_it(self):
        assert view(remembered(*suites(CREEP[:4]))).pins == ()
        (first,) = view(remembered(*suites(CREEP[:5]))).pins
        assert (first.runs, first.reason, first.values) == (5, "", {"op.p50": 104.04})
        known = view(remembered(*suites([*CREEP, *[120] * 40])))
        assert len(known.runs) == 30
        assert known.pins == (first,)

    def test_a_younger_metric_gets_a_reference_of_its_own(self):
        new = [suite_run([metric("op.p50", 100), metric("new.p50", 7)])] * 5
        known = view(remembered(*suites([100] * 5), *new))
        first, second = known.pins
        assert (list(first.values), list(second.values)) == (["op.p50"], ["new.p50"])
        assert known.reference("new.p50") == second

    def test_a_pin_takes_the_centre_of_all_runs_of_its_commit(self):
        known = None
        for index, value in enumerate([100, 103, 102, 50]):
            run = suites([value])[0]
            known = accept(
                known, suite_run(run.metrics.values(), created=1.7e9 + index), "feed" if index < 3 else "beef"
            )
        assert known is not None
        chosen = pinned(known, "fee", "release 2")
        assert chosen is not None
        (level,) = view(chosen).pins
        assert (level.commit, level.runs, level.values, level.reason) == (
            "feed",
            3,
            {"op.p50": 102},
            "release 2",
        )
        assert pinned(known, "dead", "") is None
        latest = pinned(known, "latest", "now")
        assert latest is not None
        assert view(latest).pins[0].commit == "beef"

    def test_text_that_begins_several_commits_pins_nothing(self):
        assert pinned(remembered(*suites([1, 2])), "0000", "") is None

    def test_the_pin_is_written_and_read_and_replaces_the_one_before(self):
        before = accept(None, suites([100])[0], "feed")
        known = pinned(joined(before, remembered(*suites(CREEP))), f"{7:040x}", "release 1")
        assert known is not None
        assert view(known).reference("op.p50").commit == f"{7:040x}"
        place = f"{known.environment.id}/api.jsonl"
        (read,) = parse_baseline({place: to_lines(known)}).suites
        assert read.pins == known.pins
        assert len(read.pins) == 1
        assert to_lines(read) == to_lines(known)

    def test_an_accepted_level_is_the_reference_from_then_on(self):
        """A permission, or an improvement that a verdict found, moves what creep is measured from."""
        for mark in ({"waived": [Permission("op.p50", "kim", "planned")]}, {"improved": ("op.p50",)}):
            known = pinned(remembered(*suites([100] * 6)), f"{0:040x}", "release 1")
            for index, value in enumerate([130, 131, 130, 129, 130]):
                run = suite_run(suites([value])[0].metrics.values(), created=1.8e9 + index)
                known = accept(known, run, "c", **(mark if index == 0 else {}))
            assert view(known).reference("op.p50").values == {"op.p50": 130}

    def test_what_is_dropped_leaves_its_level(self):
        known = remembered(*suites([*CREEP, *[120] * 70]))
        (kept,) = pruned(Memory((known,))).suites
        assert len(kept.records) == KEPT
        assert view(kept).pins[0].values == view(known).pins[0].values
        assert pruned(Memory((kept,))) == Memory((kept,))
