"""Whether a load was a measurement: each reason alone, what follows from it, and what never does."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.baseline import Baseline
from gate.evidence import Confirmation, Pair, weigh
from gate.judge import loads
from gate.judge.loads import judge_loads
from gate.model import SuiteRun
from gate.policy import Policy
from gate.verdict import Verdict
from pytest_regression_gate.metrics import LoadRun
from tests.gate.build import baseline_of, judge, metric, of_kind, one, policy_of, run_of, suite_run

SUBJECT = "load.api{users=100}"
QUIET = LoadRun(
    requests=2000, errors=0, users=100, warm_up=50, generator=0.01, steal=0.0, waited=0.002, others=0.5
)
REMOTE = LoadRun(requests=2000, errors=0, warm_up=50, remote=True, generator=0.5, lag=5.0)


def load(
    how: LoadRun | None = QUIET, factor: float = 1.0, *, errors: float = 0.0, count: int = 2000
) -> SuiteRun:
    """One load, `factor` times as slow as usual."""
    values = (
        ("mean", 11.0, "ms"),
        ("p50", 10.0, "ms"),
        ("p95", 40.0, "ms"),
        ("p99", 60.0, "ms"),
        ("std", 3.0, "ms"),
    )
    metrics = [
        *(metric(f"load.api.{n}{{users=100}}", v * factor, unit, count=count) for n, v, unit in values),
        metric("load.api.throughput{users=100}", 1000 / factor, "req/s", better="higher", count=count),
        metric("load.api.error_rate{users=100}", errors, "ratio", count=count),
    ]
    return suite_run(metrics, loads={SUBJECT: how} if how else {})


def judged(suite: SuiteRun, policy: Policy | None = None, baseline: Baseline | None = None) -> Verdict:
    return judge(run_of(suite), baseline or Baseline(), policy or policy_of())


def but(how: LoadRun = QUIET, **changes: object) -> LoadRun:
    return msgspec.structs.replace(how, **changes)


@pytest.mark.parametrize("how", [QUIET, REMOTE, None, LoadRun(requests=40, errors=0)])
def test_a_quiet_load_is_a_measurement(how: LoadRun | None):
    verdict = judged(load(how), baseline=baseline_of(*[load()] * 5))
    assert (verdict.verdict, of_kind(verdict, "invalid-load")) == ("passed", [])
    assert verdict.summary.compared == 4


BEYOND = [
    (but(errors=110), "110 of 2,050 requests failed (5.37 %, at most 5 %)"),
    (
        but(errors=110, error="TypeError: f() takes 0 positional arguments"),
        "at most 5 %), the first with TypeError: f() takes 0 positional arguments",
    ),
    (but(requests=39), "it sent 39 requests, and a median needs 40"),
    (but(warm_up=0), "it was not warmed up"),
    (but(generator=0.26), "the generator itself took 26 % of the time (at most 25 %)"),
    (but(REMOTE, generator=0.81), "the generator itself took 81 % of a core (at most 80 %)"),
    (but(REMOTE, lag=10.1), "the generator's event loop was up to 10.1 ms late (at most 10 ms)"),
    (but(steal=0.11), "other virtual machines took 11 % of the cores"),
    (but(waited=0.36), "it waited for a core 36 % of the time (at most 10 %; other processes used 50 %"),
    (but(waited=None, others=0.63), "other processes used 63 % of the machine, 2 cores"),
]


@pytest.mark.parametrize(("how", "words"), BEYOND)
def test_each_reason_alone_makes_a_load_invalid(how: LoadRun, words: str):
    policy = policy_of({"load.api.p95{users=100}": "{target: 1 ms}"})
    verdict = judged(load(how, 3.0), policy, baseline_of(*[load()] * 5))
    finding = one(verdict, "invalid-load")
    assert verdict.verdict == "inconclusive"
    assert verdict.exit_code == 3
    assert finding.subject == SUBJECT
    assert words in finding.message
    assert finding.remedy
    assert [f.kind for f in verdict.findings] == ["invalid-load"], "neither compared nor held to limits"
    assert verdict.summary.compared == 0


@pytest.mark.parametrize(
    "how",
    [
        but(errors=102),
        but(requests=40),
        but(generator=0.25),
        but(REMOTE, generator=0.80),
        but(REMOTE, lag=10.0),
        but(steal=0.10),
        but(waited=0.10),
        but(waited=0.10, others=1.0),
        but(waited=None, others=0.62),
        but(REMOTE, waited=0.3, others=0.9),
    ],
)
def test_up_to_its_limits_a_load_is_a_measurement(how: LoadRun):
    assert of_kind(judged(load(how)), "invalid-load") == []


def test_a_late_event_loop_matters_beside_fast_answers_only():
    assert of_kind(judged(load(but(REMOTE, lag=20.0), 10)), "invalid-load") == []
    assert of_kind(judged(load(but(REMOTE, lag=26.0), 10)), "invalid-load")


def test_without_a_valid_load_the_same_figures_would_be_judged():
    policy = policy_of({"load.api.p95{users=100}": "{target: 1 ms}"})
    verdict = judged(load(QUIET, 3.0), policy, baseline_of(*[load()] * 5))
    assert {"limit", "regression"} <= {finding.kind for finding in verdict.findings}


def test_nothing_improves_by_an_invalid_load():
    verdict = judged(load(but(waited=0.5), 0.1), baseline=baseline_of(*[load()] * 5))
    assert [f.kind for f in verdict.findings] == ["invalid-load"]


@pytest.mark.parametrize("how", [but(errors=2050), None], ids=["recorded", "an old report"])
@pytest.mark.parametrize("limit", ["critical", "target"])
def test_errors_over_their_limit_fail_and_the_load_is_no_measurement(how: LoadRun | None, limit: str):
    policy = policy_of({"load.*.error_rate": f"{{{limit}: 4 %}}", "load.*.p95": "{target: 1 ms}"})
    verdict = judged(load(how, 0.01, errors=1.0), policy, baseline_of(*[load()] * 5))
    assert (verdict.verdict, verdict.exit_code) == ("failed", 1)
    assert [f.kind for f in verdict.findings if f.level == "fail"] == ["limit", "invalid-load"]
    assert f"100 %, its {limit} is 4 %" in one(verdict, "invalid-load").message


def test_the_stricter_of_two_limits_says_how_many_errors_are_too_many():
    for limits in ("{target: 2 %, critical: 8 %}", "{critical: 2 %, target: 8 %}"):
        verdict = judged(load(but(errors=100), errors=0.05), policy_of({"load.*.error_rate": limits}))
        assert "is 2 %)" in one(verdict, "invalid-load").message


def test_errors_that_the_policy_allows_are_no_reason():
    policy = policy_of({"load.*.error_rate": "{critical: 20 %}"})
    assert judged(load(but(errors=200), errors=0.1), policy).verdict == "passed"
    assert judged(load(but(errors=200), errors=0.1)).verdict == "inconclusive"


@pytest.mark.parametrize("statistics", [{"p50"}, {"p50", "p95"}, {"throughput"}])
def test_a_load_that_the_report_calls_one_needs_no_other_metrics(statistics: set[str]):
    def run(how: LoadRun, factor: float) -> SuiteRun:
        whole = load(how, factor)
        return suite_run([m for m in whole.metrics.values() if m.statistic in statistics], loads=whole.loads)

    verdict = judged(run(but(errors=2000), 0.01), baseline=baseline_of(*[run(QUIET, 1.0)] * 5))
    assert [(f.kind, f.level) for f in verdict.findings] == [("invalid-load", "fail")]
    assert "at most 5 %" in one(verdict, "invalid-load").message


def test_an_error_rate_in_percent_is_not_a_hundred_times_as_high():
    suite = load(None)
    rate = metric("load.api.error_rate{users=100}", 0.5, "%", count=2000)
    suite = suite_run([*suite.metrics.values(), rate])
    assert judged(suite).verdict == "passed"
    for limit in ("1 %", "0.01 %", "0.4 %"):
        words = [
            f.message
            for f in of_kind(
                judged(suite, policy_of({"load.*.error_rate": f"{{target: {limit}}}"})), "invalid-load"
            )
        ]
        assert bool(words) is (limit != "1 %")


def test_an_error_rate_that_is_no_share_says_nothing_of_single_requests():
    rate = metric("load.api.error_rate{users=100}", 3.0, "/s", count=2000)
    suite = suite_run([*load(None).metrics.values(), rate])
    assert (
        judged(suite, policy_of({"load.*.error_rate": "{better: lower, target: 5 /s}"})).verdict == "passed"
    )


def test_a_latency_in_a_unit_that_we_do_not_know_says_nothing_about_the_lag():
    odd = [metric(f"load.api.{name}{{users=100}}", 10.0, "ticks", count=2000) for name in ("p50", "p95")]
    for lag, word in ((5.0, "passed"), (11.0, "inconclusive")):
        assert judged(suite_run(odd, loads={SUBJECT: but(REMOTE, lag=lag)})).verdict == word


def test_a_load_that_was_no_measurement_did_not_drift():
    def run(median: float, how: LoadRun) -> SuiteRun:
        return suite_run([metric("load.api.p50{users=100}", median)], loads={SUBJECT: how})

    baseline = baseline_of(*(run(10 * 1.02**step, QUIET) for step in range(10)))
    assert one(judged(run(10 * 1.02**10, QUIET), baseline=baseline), "drift")
    assert not of_kind(judged(run(10 * 1.02**10, but(waited=0.4)), baseline=baseline), "drift")


def test_all_reasons_are_said_at_once():
    finding = one(judged(load(but(errors=1000, waited=0.4))), "invalid-load")
    assert finding.message.count(";") >= 2
    assert "fix what fails" in finding.remedy
    assert "quiet machine" in finding.remedy


def test_other_failures_outweigh_an_invalid_load():
    suite = load(but(waited=0.4))
    other = metric("api.calls", 2, "count", exact=True)
    suite = suite_run([*suite.metrics.values(), other], loads=suite.loads)
    before = suite_run([*suite.metrics.values(), metric("api.calls", 1, "count", exact=True)])
    assert judged(suite, baseline=baseline_of(before)).verdict == "failed"


@pytest.mark.parametrize(
    ("entry", "count", "level", "words"),
    [
        ("'*.p99': {target: 1 s}", 500, "warn", "rests on 500 requests and needs 2,000: its limits"),
        ("'load.*.p95': {warning: 1 s}", 399, "warn", "rests on 399 requests and needs 400"),
        ("'*.p99': {tolerance: 50 %}", 500, "fail", "it was not compared with the baseline"),
        ("'*.p99': {tolerance: off, target: 1 s}", 500, "warn", "its limits say little"),
        ("'load.*': {tolerance: 50 %}", 500, None, ""),
        ("'*.p99': {target: 1 s}", 2000, None, ""),
        ("'*.p50': {target: 1 s}", 500, None, ""),
    ],
)
def test_a_percentile_of_too_few_requests(entry: str, count: int, level: str | None, words: str):
    pattern, _, rule = entry.partition(": ")
    policy = policy_of({pattern.strip("'"): rule})
    how = but(requests=count)
    found = judge_loads(load(how, count=count), policy)
    assert found.void == frozenset()
    assert [finding.level for finding in found.findings] == ([level] if level else [])
    verdict = judged(load(how, count=count), policy)
    assert verdict.exit_code == (3 if level == "fail" else 0)
    if level:
        assert words in found.findings[0].message
        assert f"{-(-2000 // count) if 'p99' in entry else 2} times" in found.findings[0].remedy


def test_what_is_no_load_is_not_judged_as_one():
    few = suite_run([metric(f"api.home.{name}", 1.0, count=10) for name in ("p50", "p95", "p99")])
    assert judge_loads(few, policy_of({"*.p99": "{target: 1 s}"})).findings == []


SHARES = st.none() | st.floats(0, 1)


@given(
    st.builds(
        LoadRun,
        requests=st.integers(20, 5000),
        errors=st.integers(0, 20),
        remote=st.booleans(),
        waited=SHARES,
        steal=SHARES,
        generator=SHARES,
    ),
    st.floats(0.1, 10),
)
def test_a_load_is_judged_or_void_and_void_is_never_a_pass(how: LoadRun, factor: float):
    verdict = judged(load(how, factor), baseline=baseline_of(*[load()] * 5))
    if of_kind(verdict, "invalid-load"):
        assert verdict.verdict == "inconclusive"
        assert {f.kind for f in verdict.findings} == {"invalid-load"}
    else:
        assert loads.why_invalid(how, _series(load(how)), policy_of(), 2) == []
        assert verdict.summary.compared > 0


def _series(suite: SuiteRun) -> dict[str, object]:
    return {m.statistic: m for m in suite.metrics.values()}


@given(st.floats(0, 1), st.floats(0, 1))
def test_more_waiting_never_makes_a_load_valid(first: float, second: float):
    less, more = sorted((first, second))
    invalid = [bool(judge_loads(load(but(waited=share)), policy_of()).void) for share in (less, more)]
    assert invalid == sorted(invalid)


@pytest.mark.parametrize(
    ("ratios", "code"),
    [
        ([0.0] * 4, 0),
        ([0.3] * 4, 1),
        ([0.4, -0.3, 0.2], 0),
        ([0.5, -0.1, 0.4], 3),
        ([0.0] * 2, 3),
        (None, 3),
    ],
    ids=["no worse", "worse", "open", "open and far beyond", "too few launches", "not compared"],
)
def test_a_load_that_a_busy_machine_made_invalid_is_decided_in_turns(ratios, code):
    suite = load(but(waited=0.3))
    policy = policy_of({"*.p95": "{tolerance: off}", "*.throughput": "{tolerance: off}"})
    name = next(metric.name for metric in suite.metrics.values() if metric.statistic == "p50")
    pairs = [Pair(ratio, 0.001 if len(set(ratios)) == 1 else 0.2, 10.0, 20) for ratio in ratios or ()]
    asked = Confirmation({name: weigh(name, pairs, 1)} if pairs else {})
    verdict = judge(run_of(suite), Baseline(), policy, confirmation=asked, base="b" * 40)
    assert verdict.exit_code == code
    assert judge(run_of(suite), Baseline(), policy).exit_code == 3, "and without the base it is undecided"


def test_a_load_that_failed_by_itself_is_decided_by_no_turns():
    suite = load(but(errors=500))
    asked = Confirmation(
        {m.name: weigh(m.name, [Pair(0.0, 0.001, 10, 20)] * 4, 1) for m in suite.metrics.values()}
    )
    verdict = judge(run_of(suite), Baseline(), policy_of(), confirmation=asked, base="b" * 40)
    assert one(verdict, "invalid-load").level == "fail"
