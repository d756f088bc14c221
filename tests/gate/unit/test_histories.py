import gzip
import math

import numpy as np
import pytest

from tests.gate.calibration.histories import (
    FACTORS,
    OTHERS,
    OURS,
    RULES,
    Case,
    Occasion,
    Replay,
    Series,
    measure,
    occasions,
    ours,
    outlying_change,
    ratio,
    t_test,
)
from tests.gate.calibration.pages import draw, page


def case(costs, at=20) -> Case:
    return Case(Series("m", list(range(len(costs))), list(costs)), at)


@pytest.mark.parametrize(
    ("value", "after", "stays"),
    [(120, [110, 110, 110, 100, 100], True), (120, [109, 109, 109, 120, 120], False),
     (120, [100] * 5, False), (120, [140] * 5, True), (90, [100] * 5, False), (100, [100] * 5, False)],
)  # fmt: skip
def test_an_alarm_is_true_if_the_next_five_runs_keep_half_of_its_shift(value, after, stays):
    assert case([100.0] * 20 + [value, *after]).stays is stays


def test_a_metric_is_judged_from_its_21st_run_while_five_follow():
    costs = [1.0] * 30
    assert [at for at in range(30) if case(costs, at).judged] == [20, 21, 22, 23, 24]


def test_the_known_rules_by_hand():
    one = case([100.0, 102.0] * 10 + [120.0] + [100.0] * 5)
    assert ratio(one, 120.0) == pytest.approx(120 / 102)
    spread = np.std([100.0, 102.0] * 10, ddof=1)
    assert t_test(one, 120.0) == pytest.approx((120 - 101) / spread / 2.539, rel=1e-3)
    up, down = 0.02, -2 / 102  # ten and nine changes: the quartiles are one of each
    assert outlying_change(one, 120.0) == pytest.approx((120 / 102 - 1 - up) / (up - down))


def test_an_injected_change_is_scored_as_if_it_had_been_measured():
    rng = np.random.default_rng(5)
    base = [Series(f"m{k}", list(range(26)), list(np.exp(rng.normal(0, 0.1, 26)))) for k in range(9)]
    score = ours()
    scores = score(Occasion("p", tuple(Case(series, 20) for series in base)))
    for k, factor in ((3, 1.05), (8, 1.20)):
        costs = [v * factor if at == 20 else v for at, v in enumerate(base[k].costs)]
        slower = [Series(s.name, s.runs, costs) if s is base[k] else s for s in base]
        measured = score(Occasion("p", tuple(Case(series, 20) for series in slower)))
        assert measured[k][0] == pytest.approx(scores[k][FACTORS.index(factor)])


def test_false_alarms_are_counted_by_run_and_true_ones_are_not_counted():
    scores = np.array([[5.0, 5, 6, 9], [1.0, 1, 2, 9], [2.0, 2, 3, 9], [9.0, 9, 9, 9], [0.0, 0, 1, 9]])
    replay = Replay(
        scores,
        np.array([False, False, False, True, False]),
        np.array([0, 0, 1, 2, 3]),
        np.array(["p", "p", "q", "q", "q"]),
    )
    assert list(replay.worst) == [5, 2, 0, -math.inf]
    assert replay.at(1.5) == {
        "parameter": 1.5, "false alarms": 0.5, "+5 %": 0.6, "+10 %": 0.8, "+20 %": 1.0
    }  # fmt: skip
    assert replay.at(replay.parameter_at(0.25))["false alarms"] == 0.25
    assert replay.of(replay.project == "q").at(1.0)["false alarms"] == pytest.approx(1 / 3)


def test_the_whole_line_from_a_recorded_file(tmp_path):
    rng = np.random.default_rng(1)
    for project in ("p", "q"):
        lines = ["suite,metric,unix_ms,commit,cost"]
        for run in range(40):
            slow = math.exp(rng.normal(0, 0.1))
            lines += [f"s,m{k},{run},c{run},{slow * math.exp(rng.normal(0, 0.01))}" for k in range(4)]
        with gzip.open(tmp_path / f"{project}.csv.gz", "wt") as file:
            file.write("\n".join(lines))
    runs = occasions(tmp_path)
    assert len(runs) == 30
    assert {len(run.cases) for run in runs} == {4}
    figures = measure(runs)
    assert figures["tests"] == 120
    equal = figures["equal"]
    assert equal["our screen"]["0.1"]["+20 %"] == 1
    assert equal["our screen"]["0.1"]["+20 %"] > equal["ratio of the last run"]["0.1"]["+20 %"]
    assert set(RULES) == set(equal)
    assert draw(figures) == draw(figures)
    assert "| p | 15 | 60 |" in page(figures, OTHERS, OURS)
