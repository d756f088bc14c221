"""What `gate calibrate` and `gate selftest` print, byte by byte."""

import json
from io import StringIO

import pytest
from rich.console import Console

from gate.diagnostics.calibration import Calibration, learn
from gate.report.calibration import print_calibration
from gate.report.rehearsal import print_cases
from gate.selftest import Case, exit_code
from gate.thresholds import parse_policy
from tests.gate.build import metric, suite_run
from tests.gate.unit.test_golden import compare

POLICY = parse_policy(
    """version: 1
suites: {api: {run: pytest tests}}
metrics:
  load.api.p95{users=100}: {target: 200 ms, warning: 150 ms, critical: 300 ms}
  api.home.mean: {target: 100 ms}
"""
)
FACTORS = (1.0, 1.04, 0.97, 1.02, 0.99)


def calibration() -> Calibration:
    result = Calibration(6)
    for index, factor in enumerate(FACTORS):
        metrics = [
            metric("api.home.p50", 41 * factor), metric("api.home.mean", 42 * factor),
            metric("load.api.p95{users=100}", 146 * factor**9), metric("load.api.p99{users=100}", 150),
            metric("resources.memory.peak", 294 * factor**5, "MB"),
            metric("load.api.error_rate{users=100}", 0.0, "ratio"),
            metric("bot.reply.calls{service=claude}", 3 + index % 2, "count", exact=True),
        ]  # fmt: skip
        result.runs.append({"api": suite_run(metrics)})
    result.refused.append("run 6 was not accepted: new-failure test_api.py::test_home: KeyError: 'price'")
    learn(result, POLICY, result.runs)
    return result


CASES = [
    Case("unchanged code", "green", "passed", 0, True, 31.0),
    Case("injected delay", "red: regression, confirmed",
         "regression bot.seller.analyze_intent.p50 +118 % (confirmed)", 1, True, 40.0),
    Case("failing test", "red: new-failure", "passed", 0, False, 5.0),
    Case("lost metric", "red: missing-metric",
         "not checked: no test of this repository records a metric", None, None, 0.0),
    Case("corrupt baseline", "error: report-error", "limit api.home.p50", 1, False, 5.0),
]  # fmt: skip


@pytest.mark.parametrize("width", [80, 120])
def test_a_calibration_on_the_terminal(width):
    file = StringIO()
    print_calibration(calibration(), Console(width=width, force_terminal=False, file=file))
    compare(f"calibrate.{width}.txt", file.getvalue())
    assert max(map(len, file.getvalue().split("\n\n")[0].splitlines())) <= width


@pytest.mark.parametrize("width", [80, 120])
def test_a_selftest_on_the_terminal(width):
    file = StringIO()
    print_cases(CASES, Console(width=width, force_terminal=False, file=file))
    compare(f"selftest.{width}.txt", file.getvalue())


def test_the_raw_figures_hold_every_value():
    document = json.loads(calibration().to_json())
    assert document["runs"] == 5
    assert document["schema"] == "gate.calibration/1"
    values = {entry["name"]: entry["values"] for entry in document["metrics"]}
    assert values["api.home.p50"] == [41 * factor for factor in FACTORS]
    assert "api.home.p50" in values
    assert "load.api.p99{users=100}" not in values  # nothing judges it


def test_one_clean_run_says_nothing_about_noise():
    result = Calibration(2, runs=calibration().runs[:1])
    learn(result, POLICY, result.runs)
    file = StringIO()
    print_calibration(result, Console(width=80, force_terminal=False, file=file))
    assert result.table == []
    assert "1 clean run: noise needs two at the least" in file.getvalue()


@pytest.mark.parametrize(
    ("cases", "code"),
    [((True, True), 0), ((True, None), 3), ((None, False), 1), ((True, False), 1)],
)
def test_blind_outweighs_unchecked_outweighs_fine(cases, code):
    assert exit_code([Case("", "", "", 0, ok) for ok in cases]) == code
