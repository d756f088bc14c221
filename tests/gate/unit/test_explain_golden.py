"""What `gate explain` prints, byte by byte."""

import math
import random
from io import StringIO

import pytest
from rich.console import Console

from gate.baseline import Baseline
from gate.explain import explain
from gate.report.explain import print_explanation
from gate.thresholds import parse_policy
from tests.gate.build import baseline_from, judge, metric, outcome, pinned, remembered, run_of, suite_run
from tests.gate.unit.test_golden import compare

NODE = "tests/performance/test_response_times.py::TestLeadBotPerformance::test_full_workflow"
POLICY = parse_policy(
    """version: 1
suites: {performance: {run: pytest tests/performance}}
defaults: {tolerance: 10 %}
metrics:
  bot.*.workflow.p95: {warning: 400 ms, critical: 600 ms, tolerance: 20 %}
  bot.seller.*: {tolerance: 25 %}
  bot.seller.workflow.p95: {target: 500 ms}
  "*.calls": {tolerance: 0}
"""
)


def performance(factor, *, calls=1):
    values = (("p50", 101.0), ("p95", 180.0), ("cpu", 2.61))
    return suite_run(
        [
            *(
                metric(f"bot.seller.workflow.{name}", value * factor, nodeid=NODE, suite="performance")
                for name, value in values
            ),
            metric("bot.seller.workflow.calls{service=claude}", calls, "count", exact=True, nodeid=NODE,
                   suite="performance"),
        ],
        [outcome(NODE, suite="performance"), outcome("tests/test_x.py::test_quiet", suite="performance")],
        name="performance",
    )  # fmt: skip


def scene():
    chance = random.Random(5)
    levels = [1.0] * 8 + [1.12] * 8 + [1.3] * 6
    runs = [performance(level * math.exp(chance.gauss(0, 0.012))) for level in levels]
    suite = pinned(remembered(*runs), f"{3:040x}", "release 1.4")
    assert suite is not None
    known = baseline_from(suite)
    return known, judge(run_of(performance(1.31, calls=2)), known, POLICY, base="b" * 40)


def printed(subject, width, *, verdict=True, quiet=False):
    known, said = scene()
    file = StringIO()
    console = Console(width=width, force_terminal=False, file=file)
    print_explanation(explain(subject, known, POLICY, said if verdict else None), console, quiet=quiet)
    return file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("metric", "bot.seller.workflow.p95"),
        ("subject", "bot.seller.workflow"),
        ("test", "tests/test_x.py::test_quiet"),
    ],
)
def test_an_explanation(name, subject, width):
    text = printed(subject, width)
    compare(f"explain-{name}.{width}.txt", text)
    commands = text.partition("To see it on your machine")[0]
    assert max(map(len, commands.splitlines())) <= width


def test_quiet_leaves_the_rule():
    text = printed("bot.seller.workflow.p95", 120, quiet=True)
    assert "tolerance" in text
    assert "history" not in text
    assert "To see it" not in text


def test_without_a_baseline_the_rule_is_printed():
    file = StringIO()
    print_explanation(explain("bot.seller.workflow.p95", Baseline(), POLICY), Console(width=80, file=file))
    assert "never yet" in file.getvalue()
    assert "500 ms" in file.getvalue()


def test_a_hostile_name_cannot_speak_to_the_runner():
    known = baseline_from(
        remembered(
            suite_run([metric("op.p50", 1.0, nodeid="::error::x" * 12)]),
        )
    )
    file = StringIO()
    print_explanation(explain("op.p50", known, POLICY), Console(width=80, file=file))
    assert not any(line.lstrip().startswith("::") for line in file.getvalue().splitlines())
