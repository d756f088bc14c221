"""What decides: one test for each cell of the tables of verdicts, and its id names the row and the column.

Each table is a mapping: row -> what was seen, and what comes out of it in each column. What comes out is
`passed`, `info`, `warn`, `failed` or `inconclusive`.
"""

from collections.abc import Mapping
from typing import Any

import pytest

from gate.accounts import Account, Difference, Reached
from gate.baseline import Baseline
from gate.evidence import Confirmation, Pair, Rerun, weigh
from gate.verdict import Verdict
from pytest_regression_gate.metrics import LoadRun
from tests.gate.build import (
    NODEID,
    baseline_of,
    history,
    judge,
    metric,
    outcome,
    policy_of,
    run_of,
    suite_run,
)

NAME = "x.p50"
SHARED = Difference("service", "127.0.0.1:8000", "unaccounted", "why", "what to do")
TOUCHED = Account(tests={NODEID: Reached(touched=True)})
UNTOUCHED = Account(tests={NODEID: Reached(touched=False)})
UNACCOUNTED = Account((SHARED,), {NODEID: Reached(touched=True, unaccounted=(0,))})
Table = Mapping[str, tuple[dict[str, Any], Mapping[str, str]]]


def cells(table: Table) -> list[Any]:
    """One parameter set for each cell."""
    return [
        pytest.param(seen, column, expected, id=f"{row} / {column}")
        for row, (seen, columns) in table.items()
        for column, expected in columns.items()
    ]


def said(verdict: Verdict, *kinds: str) -> str:
    """What a verdict says of what was asked, in the words of the tables."""
    found = [f for f in verdict.findings if f.kind in kinds]
    words = {0: "passed", 1: "failed", 3: "inconclusive"}
    word = words[verdict.exit_code]
    levels = {f.level for f in found}
    if word == "passed" and levels:
        return "warn" if "warn" in levels else "info"
    return word


def evidence(ratios: list[float] | None, base: float, noise: float = 0.001) -> dict[str, Any]:
    return {NAME: weigh(NAME, [Pair(ratio, noise, base, 20) for ratio in ratios], 1)} if ratios else {}


WORSE, SAME = [0.3] * 4, [0.0] * 4
LIKELY, OPEN = ([0.1, 0.05, 0.11], 0.01), ([0.4, -0.2, 0.3], 0.2)

METRICS: Table = {
    "worse, confirmed, over tolerance": (
        {"ratios": WORSE},
        {"touched": "failed", "unknown": "failed", "untouched": "failed"},
    ),
    "excluded to be over": ({"ratios": SAME, "now": 200}, {"touched": "info", "unknown": "info"}),
    "undecided, no change is excluded": (
        {"ratios": LIKELY[0], "noise": LIKELY[1], "now": 200},
        {"touched": "inconclusive", "unknown": "inconclusive", "untouched": "info"},
    ),
    "undecided, over twice the tolerance": (
        {"ratios": [0.5, -0.1, 0.4], "noise": 0.2, "now": 200},
        {"touched": "inconclusive", "unknown": "inconclusive", "untouched": "info"},
    ),
    "undecided, no suspect, probably worse and over twice the tolerance": (
        {"ratios": [0.6, 0.2, 0.5], "noise": 0.01, "now": 100},
        {"touched": "inconclusive", "unknown": "inconclusive", "untouched": "passed"},
    ),
    "undecided, no suspect, few launches, twice as slow": (
        {"ratios": [0.75, 0.8], "now": 100},
        {"touched": "inconclusive", "unknown": "inconclusive"},
    ),
    "undecided, no suspect, few launches": ({"ratios": [0.5, 0.4], "now": 100}, {"touched": "passed"}),
    "undecided, no suspect, otherwise": (
        {"ratios": OPEN[0], "noise": OPEN[1], "now": 100},
        {"touched": "passed", "unknown": "passed", "untouched": "passed"},
    ),
    "undecided otherwise": (
        {"ratios": OPEN[0], "noise": OPEN[1], "now": 200},
        {"touched": "info", "unknown": "info", "untouched": "info"},
    ),
    "not compared, budget, suspect by 5 accepted runs": (
        {"reached": False, "now": 400, "runs": 5},
        {"touched": "inconclusive", "unknown": "inconclusive", "untouched": "info"},
    ),
    "not compared, not repeatable, suspect by 5 accepted runs": (
        {"comparable": False, "now": 400, "runs": 5},
        {"touched": "inconclusive", "unknown": "inconclusive", "untouched": "info"},
    ),
    "unaccounted, suspect by 5 accepted runs": (
        {"ratios": SAME, "now": 400, "runs": 5},
        {"unaccounted": "inconclusive"},
    ),
    "not compared, no suspect by 5 accepted runs": (
        {"reached": False, "now": 100, "runs": 5},
        {"touched": "passed", "unknown": "passed", "untouched": "passed", "unaccounted": "passed"},
    ),
    "not compared, fewer accepted runs": (
        {"reached": False, "now": 400, "runs": 2},
        {"touched": "warn", "unknown": "warn", "unaccounted": "inconclusive"},
    ),
}
ACCOUNTS = {"touched": TOUCHED, "unknown": Account(), "untouched": UNTOUCHED, "unaccounted": UNACCOUNTED}


@pytest.mark.parametrize(("seen", "column", "expected"), cells(METRICS))
@pytest.mark.parametrize("of_branch", [False, True], ids=["change", "branch event"])
def test_metric(seen: dict[str, Any], column: str, expected: str, *, of_branch: bool):
    values = (100, 101, 99, 100, 100, 101, 99, 100, 100, 100)[: seen.get("runs", 10)]
    confirmation = Confirmation(
        evidence(seen.get("ratios"), 100.0, seen.get("noise", 0.001)),
        not_reached=() if seen.get("reached", True) else (NAME,),
        not_comparable=() if seen.get("comparable", True) else (NAME,),
        account=ACCOUNTS[column],
    )
    verdict = judge(
        run_of(suite_run([metric(NAME, seen.get("now", 130))])),
        history(NAME, values),
        policy_of(),
        confirmation=confirmation,
        base="b" * 40,
        of_branch=of_branch,
    )
    assert said(verdict, "regression") == expected


LIMITS: Table = {
    "the head keeps it": ({"now": 140, "ratios": SAME}, {"change": "passed", "branch event": "passed"}),
    "untouched": ({"now": 160, "untouched": True}, {"change": "info", "branch event": "info"}),
    "untouched, the accepted runs break it": (
        {"now": 160, "untouched": True, "accepted": 170},
        {"branch event": "failed"},
    ),
    "the base keeps it, the head is worse": (
        {"now": 160, "ratios": [0.2] * 4, "base": 140},
        {"change": "failed", "branch event": "failed"},
    ),
    "5 % are excluded": (
        {"now": 160, "ratios": SAME, "base": 160},
        {"change": "warn", "branch event": "warn"},
    ),
    "5 % are excluded, the accepted runs break it": (
        {"now": 160, "ratios": SAME, "base": 160, "accepted": 160},
        {"change": "warn", "branch event": "failed"},
    ),
    "both break it, the head is worse by more": (
        {"now": 190, "ratios": [0.2] * 4, "base": 160},
        {"change": "failed", "branch event": "failed"},
    ),
    "cannot be told": (
        {"now": 160, "ratios": [0.2, -0.2, 0.1], "base": 155, "noise": 0.2},
        {"change": "inconclusive", "branch event": "inconclusive"},
    ),
    "unaccounted": (
        {"now": 160, "ratios": SAME, "base": 160, "account": UNACCOUNTED},
        {"change": "inconclusive", "branch event": "inconclusive"},
    ),
    "not asked": ({"now": 160}, {"change": "inconclusive", "branch event": "inconclusive"}),
}


@pytest.mark.parametrize(("seen", "column", "expected"), cells(LIMITS))
def test_limit_on_what_depends_on_the_machine(seen: dict[str, Any], column: str, expected: str):
    account = UNTOUCHED if seen.get("untouched") else seen.get("account", TOUCHED)
    verdict = judge(
        run_of(suite_run([metric(NAME, seen["now"])])),
        history(NAME, [seen["accepted"]] * 6) if "accepted" in seen else Baseline(),
        policy_of({NAME: "{critical: 150 ms, tolerance: 50 %}"}),
        confirmation=Confirmation(
            evidence(seen.get("ratios"), seen.get("base", 100.0), seen.get("noise", 0.001)), account=account
        ),
        base="b" * 40,
        of_branch=column == "branch event",
    )
    assert said(verdict, "limit", "known-limit") == expected


BUSY = LoadRun(2000, 0, users=10, seconds=10.0, warm_up=100, waited=0.3)
LOADS: Table = {
    "by the machine, decided in turns": (
        {"load": BUSY, "ratios": SAME},
        {"change": "info", "branch event": "info"},
    ),
    "by the machine, open in turns, probably no worse": (
        {"load": BUSY, "ratios": OPEN[0], "noise": OPEN[1]},
        {"change": "info", "branch event": "info"},
    ),
    "by the machine, open in turns, probably worse": (
        {"load": BUSY, "ratios": LIKELY[0], "noise": LIKELY[1]},
        {"change": "inconclusive", "branch event": "inconclusive"},
    ),
    "by the machine, not asked": (
        {"load": BUSY},
        {"change": "inconclusive", "branch event": "inconclusive"},
    ),
    "by the machine, untouched": (
        {"load": BUSY, "untouched": True},
        {"change": "info", "branch event": "info"},
    ),
    "by itself, errors": (
        {"load": LoadRun(2000, 500, users=10, seconds=10.0, warm_up=100), "ratios": SAME, "untouched": True},
        {"change": "inconclusive", "branch event": "inconclusive"},
    ),
    "by itself, errors over their limit": (
        {"load": LoadRun(2000, 500, users=10, seconds=10.0, warm_up=100), "limit": "{critical: 5 %}"},
        {"change": "failed", "branch event": "failed"},
    ),
    "by itself, too few requests": (
        {"load": LoadRun(20, 0, users=10, seconds=10.0, warm_up=10), "ratios": SAME, "untouched": True},
        {"change": "inconclusive", "branch event": "inconclusive"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("seen", "column", "expected"), cells(LOADS))
def test_invalid_load(seen: dict[str, Any], column: str, expected: str):
    load: LoadRun = seen["load"]
    rates = [metric("x.throughput", 9, "req/s"), metric("x.error_rate", load.error_rate, "ratio")]
    rules = {"*.throughput": "{tolerance: off}", "x.error_rate": seen.get("limit", "{tolerance: off}")}
    verdict = judge(
        run_of(suite_run([metric(NAME, 9, count=load.requests), *rates], loads={"x": load})),
        Baseline(),
        policy_of(rules),
        confirmation=Confirmation(
            evidence(seen.get("ratios"), 9.0, seen.get("noise", 0.001)),
            account=UNTOUCHED if seen.get("untouched") else TOUCHED,
        ),
        base="b" * 40,
        of_branch=column == "branch event",
    )
    assert said(verdict, "invalid-load") == expected


TESTS: Table = {
    "not run again": (
        {"rerun": Rerun((1, 1), (0, 0), unclear="no time")},
        {"change": "failed", "branch event": "failed"},
    ),
    "passes when run again on the head": (
        {"rerun": Rerun((2, 4), (0, 3))},
        {"change": "warn", "branch event": "warn"},
    ),
    "passes when run again on the head, flaky fails": (
        {"rerun": Rerun((2, 4), (0, 3)), "defaults": "{flaky: fail}"},
        {"change": "failed", "branch event": "failed"},
    ),
    "passes on the base": (
        {"rerun": Rerun((4, 4), (0, 3))},
        {"change": "failed", "branch event": "failed"},
    ),
    "fails on the base in the same way": (
        {"rerun": Rerun((4, 4), (3, 3))},
        {"change": "info", "branch event": "failed"},
    ),
    "fails on the base in the same way, the accepted runs knew it as passing": (
        {"rerun": Rerun((4, 4), (3, 3)), "known": True},
        {"change": "warn", "branch event": "failed"},
    ),
    "fails on the base in another way": (
        {"rerun": Rerun((4, 4), (3, 3), alike=False)},
        {"change": "failed", "branch event": "failed"},
    ),
    "fails on the base, something unaccounted": (
        {"rerun": Rerun((4, 4), (3, 3)), "account": UNACCOUNTED},
        {"change": "failed", "branch event": "failed"},
    ),
}


@pytest.mark.parametrize(("seen", "column", "expected"), cells(TESTS))
def test_failing_test(seen: dict[str, Any], column: str, expected: str):
    accepted = baseline_of(suite_run(tests=[outcome()])) if "known" in seen else Baseline()
    verdict = judge(
        run_of(suite_run(tests=[outcome(result="failed", signature="S")])),
        accepted,
        policy_of(defaults=seen.get("defaults", "")),
        confirmation=Confirmation(reruns={NODEID: seen["rerun"]}, account=seen.get("account", TOUCHED)),
        base="b" * 40,
        of_branch=column == "branch event",
    )
    kinds = ("new-failure", "changed-failure", "known-failure", "flaky", "unaccounted")
    assert said(verdict, *kinds) == expected
