"""What is asked of the machine: the order, and what one launch carries."""

from dataclasses import replace

import pytest
from msgspec.structs import replace as replace_struct

from gate.confirm.plan import Costs, in_order_of_suspicion, next_batch, questions_about
from gate.evidence import MIN_LAUNCHES
from gate.model import Metric, Run, SuiteRun
from gate.sides.impact import changed_functions, reaches
from gate.thresholds import parse_policy
from pytest_regression_gate.metrics import UNKNOWN_ENVIRONMENT

POLICY = parse_policy("""version: 1
suites:
  api: {run: pytest a}
  load: {run: pytest b}
metrics:
  "*.p50": {tolerance: 5 %}
""")


def metric(name: str, suite: str = "api", *, value: float = 1.0, exact: bool = False) -> Metric:
    return Metric(name, "ms", "lower", value, 5000, exact, suite, f"test_{suite}.py::{name}")


def own(metrics: tuple[Metric, ...], suite: str) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics if metric.suite == suite}


def run(*metrics: Metric, executed: dict[str, frozenset[str]] | None = None) -> Run:
    code = {"api": executed or {}, "load": {}}
    suites = {
        name: SuiteRun(name, UNKNOWN_ENVIRONMENT, "c", 0.0, {}, own(metrics, name), executed=code[name])
        for name in ("api", "load")
    }
    return Run(suites)


def names(run: Run, suspects: list[str], changed: frozenset[str] = frozenset()) -> list[str]:
    return [question.metric for question in in_order_of_suspicion(run, POLICY, suspects, changed)]


def test_what_runs_changed_code_comes_first_then_suspects_then_the_rest():
    judged = run(
        metric("quiet.p50"), metric("suspect.p50"), metric("touched.p50"), metric("strong.p50"),
        executed={"touched": frozenset({"app.py:work"}), "quiet": frozenset({"app.py:rest"})},
    )  # fmt: skip
    order = names(judged, ["strong.p50", "suspect.p50"], frozenset({"app.py:work"}))
    assert order == ["touched.p50", "strong.p50", "suspect.p50", "quiet.p50"]


def test_of_what_runs_changed_code_the_narrowest_operation_comes_first():
    code = {"a": frozenset({"app.py:f", "app.py:g", "app.py:h"}), "b": frozenset({"app.py:f"})}
    judged = run(metric("a.p50"), metric("b.p50"), executed=code)
    assert names(judged, ["a.p50"], frozenset({"app.py:f"})) == ["b.p50", "a.p50"]


def test_one_more_metric_that_nothing_points_at_comes_last():
    """So it has no part in the error rate of the others: their verdict stays as it was."""
    few = run(metric("a.p50"), metric("b.p50"))
    more = run(metric("a.p50"), metric("b.p50"), metric("zzz.p50"))
    assert names(more, ["b.p50"])[:2] == names(few, ["b.p50"])


def test_what_cannot_be_compared_is_not_asked():
    judged = run(
        metric("a.calls", exact=True), metric("b.p50", value=0.0), metric("c.mean"), metric("d.p50"),
        msgspec_metric("e.p95", count=20),
    )  # fmt: skip
    assert names(judged, []) == ["d.p50"]


def test_a_side_may_be_silent_for_as_long_as_its_suite_takes():
    judged = run(metric("a.p50"))

    def patience(seconds: float) -> float:
        suite = replace_struct(judged.suites["api"], seconds=seconds)
        (question,) = in_order_of_suspicion(Run({"api": suite}), POLICY, [], frozenset())
        return question.patience

    assert patience(2) < patience(100)
    assert patience(100) > 3 * 100
    assert patience(0) == patience(1e6) == POLICY.suites["api"].timeout.to("s"), "unknown: its time limit"


def msgspec_metric(name: str, count: int) -> Metric:
    return Metric(name, "ms", "lower", 1.0, count, False, "api", f"test_api.py::{name}")


def test_a_metric_named_in_full_is_asked_even_if_the_policy_does_not_compare_it():
    metrics = [metric("a.p50"), metric("a.mean"), metric("a.cpu"), metric("b.p50")]
    assert [q.metric for q in questions_about("a", metrics, POLICY)] == ["a.p50", "a.cpu"]
    assert [q.metric for q in questions_about("a.mean", metrics, POLICY)] == ["a.mean"]
    assert [q.metric for q in questions_about("*.p50", metrics, POLICY)] == ["a.p50", "b.p50"]
    assert questions_about("c", metrics, POLICY) == []
    with pytest.raises(ValueError, match="no metric name"):
        questions_about("a b", metrics, POLICY)


def batch(run: Run, launches: dict[str, int], left: float, costs: Costs | None = None) -> list[str]:
    questions = in_order_of_suspicion(run, POLICY, [], frozenset())
    waiting = {question.metric for question in questions}
    return [q.metric for q in next_batch(questions, waiting, launches, costs or Costs(), left)[0]]


def test_a_launch_carries_what_the_budget_can_still_decide():
    judged = run(*(metric(f"m{number:02}.p50") for number in range(40)))
    assert len(batch(judged, {}, 1000)) == 40
    some = len(batch(judged, {}, 60))
    assert 0 < some < 40
    assert len(batch(judged, {}, 90)) > some
    assert batch(judged, {}, 10, Costs(starts={"pytest a": 5.0})) == []
    assert batch(judged, {}, 10) == ["m00.p50"], "what a start takes is only assumed: it is tried"


def test_suspicions_share_a_launch_only_as_far_as_the_budget_has_six_of_it():
    judged = run(*(metric(f"m{number:02}.p50") for number in range(20)))
    questions = [replace(q, suspected=True) for q in in_order_of_suspicion(judged, POLICY, [], frozenset())]
    waiting = {question.metric for question in questions}
    few, _ = next_batch(questions, waiting, {}, Costs(), 60)
    many, share = next_batch(questions, waiting, {}, Costs(), 600)
    assert 0 < len(few) < len(many) == 20
    _, wide_share = next_batch(questions, waiting, {}, Costs(), 45)
    assert wide_share > share, "fewer operations get more time each"


def test_what_was_begun_goes_on_with_little_time_left():
    judged = run(metric("a.p50"), metric("b.p50"))
    assert batch(judged, {"a.p50": MIN_LAUNCHES}, 12) == ["a.p50"]


def test_another_command_costs_another_start():
    judged = run(metric("a.p50"), metric("b.p50", "load"))
    costs = Costs(starts={"pytest a": 2.0, "pytest b": 100.0})
    assert batch(judged, {}, 60, costs) == ["a.p50"]


BEFORE = b'''"""Doc."""
import re
LIMIT = 3


class Bot:
    size: int = 1

    def work(self):
        """Do it."""
        return [x for x in range(LIMIT)]

    def rest(self):
        return 0


def helper(a=1):
    def inner():
        return a
    return inner
'''


def differs(after: bytes | None, name: str = "app.py") -> set[str]:
    return set(changed_functions([name], lambda _: BEFORE, lambda _: after))


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        (b"range(LIMIT)", b"range(LIMIT + 1)", {"app.py:Bot.work"}),
        (b"return 0", b"return 1", {"app.py:Bot.rest"}),
        (b"return a\n", b"return a + 1\n", {"app.py:helper"}),
        (b"a=1", b"a=2", {"app.py:helper"}),
        (b"LIMIT = 3", b"LIMIT = 4", {"app.py:*"}),
        (b"size: int = 1", b"size: int = 2", {"app.py:*"}),
        (b"class Bot:", b"class Bot(dict):", {"app.py:*"}),
        (b"def helper", b"def unused():\n    return 1\n\n\ndef helper", {"app.py:unused"}),
        (b'"""Do it."""', b'"""Do it well."""', set()),
        (b"        return 0", b"        # a remark\n\n        return 0", set()),
        (
            b"def helper(",
            b"def helper(:",
            {"app.py:*", "app.py:Bot.work", "app.py:Bot.rest", "app.py:helper"},
        ),
    ],
)
def test_functions_that_changed(old: bytes, new: bytes, changed: set[str]):
    assert differs(BEFORE.replace(old, new)) == changed


def test_order_is_no_change():
    work, rest, end = (BEFORE.index(text) for text in (b"    def work", b"    def rest", b"\n\ndef helper"))
    turned = BEFORE[:work] + BEFORE[rest:end] + b"\n" + BEFORE[work:rest].rstrip() + b"\n" + BEFORE[end:]
    assert differs(turned) == set()


def test_a_new_file_and_one_that_is_gone_changed_whole():
    assert {"app.py:Bot.work", "app.py:*"} <= differs(None)
    assert changed_functions(["data.csv"], lambda _: b"a", lambda _: b"b") == frozenset()


def test_reach():
    assert reaches(frozenset({"app.py:*"}), ["app.py:anything"])
    assert reaches(frozenset({"app.py:work"}), ["app.py:rest", "app.py:work"])
    assert not reaches(frozenset({"app.py:work"}), ["other.py:work", "app.py:rest"])
    assert not reaches(frozenset({"app.py:work"}), [])
