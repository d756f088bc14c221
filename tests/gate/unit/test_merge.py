"""Several reports of one suite are one run: in any order, whole or not at all."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.baseline import Baseline
from gate.model import Shard, SuiteRun
from gate.readers.merge import merge, merged
from gate.readers.naming import report_stem, run_command, shard_from, shard_in, suite_in
from pytest_regression_gate.metrics import Environment, LoadRun
from tests.gate.build import (
    MACHINE,
    OTHER_MACHINE,
    accept,
    baseline_from,
    baseline_of,
    judge,
    metric,
    of_kind,
    one,
    outcome,
    policy_of,
    remembered,
    run_of,
    suite_run,
    view,
)

THIRD = Environment(cpu="AMD EPYC 7763", cores=4, os="ubuntu22", python="3.12")
POLICY = policy_of()
TWO = policy_of(suites="{api: {run: pytest tests, shards: 2}}")


def shard(number: int, of: int, *names: str, commit: str = "a" * 40, **more: object) -> SuiteRun:
    """A shard whose tests each measure one metric."""
    metrics = [metric(f"{name}.p50", 1.0, nodeid=f"t.py::{name}") for name in names]
    run = suite_run(metrics, commit=commit)
    changes: dict[str, object] = {"shard": Shard(number, of), "source": f"api.{number}-of-{of}.json", **more}
    return msgspec.structs.replace(run, **changes)


def plain(source: str, *names: str) -> SuiteRun:
    """A report that does not say which shard it is."""
    return shard(1, 1, *names, shard=None, source=source)


def said(*parts: SuiteRun, policy=POLICY, complete: bool = True) -> list[str]:
    suites, problems = merge(parts, policy, complete=complete)
    assert ("api" in suites) != bool(problems)
    return [f"{problem.subject}: {problem.message}" for problem in problems]


@st.composite
def divided(draw: st.DrawFn) -> list[SuiteRun]:
    """A suite in shards, on one machine or several; tests that run elsewhere may be there as skipped."""
    names = draw(st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1))
    count = draw(st.integers(1, 5))
    homes = {name: draw(st.integers(1, count)) for name in names}
    parts: list[SuiteRun] = []
    for number in range(1, count + 1):
        own = [name for name in names if homes[name] == number]
        part = shard(
            number,
            count,
            *own,
            created=draw(st.floats(1e9, 2e9)),
            environment=draw(st.sampled_from([MACHINE, MACHINE, OTHER_MACHINE, THIRD])),
            executed={name: frozenset(draw(st.sets(st.sampled_from("fgh")))) for name in "xy"},
            loads={name: LoadRun(requests=100, errors=0) for name in own},
        )
        others = [name for name in names if name not in own and draw(st.booleans())]
        reason = draw(st.sampled_from(["another shard", "later"]))
        skipped = {f"t.py::{name}": outcome(f"t.py::{name}", "skipped", reason=reason) for name in others}
        parts.append(msgspec.structs.replace(part, tests=part.tests | skipped))
    return parts


@given(divided(), st.randoms(use_true_random=False))
def test_the_order_does_not_matter(parts, random):
    whole = msgspec.json.encode(merge(parts, POLICY))
    random.shuffle(parts)
    assert msgspec.json.encode(merge(parts, POLICY)) == whole


@given(divided(), st.randoms(use_true_random=False), st.data())
def test_merging_in_steps_is_merging_at_once(parts, random, data):
    whole = merged(parts)
    random.shuffle(parts)
    cut = data.draw(st.integers(0, len(parts)))
    groups = [group for group in (parts[:cut], parts[cut:]) if group]
    assert merged([merged(group) for group in groups]) == whole


@given(divided())
def test_nothing_is_lost(parts):
    (whole,) = merge(parts, POLICY)[0].values()
    assert whole.metrics == {name: m for part in parts for name, m in part.metrics.items()}
    assert whole.loads == {name: load for part in parts for name, load in part.loads.items()}
    assert whole.tests.keys() == {nodeid for part in parts for nodeid in part.tests}
    ran = {t.nodeid for part in parts for t in part.tests.values() if t.outcome == "passed"}
    assert {t.nodeid for t in whole.tests.values() if t.outcome == "passed"} == ran
    assert whole.created == max(part.created for part in parts)


@given(divided())
def test_one_shard_alone_stays_as_it_is(parts):
    assert merged(parts[:1]) is parts[0]


@given(divided(), st.data())
def test_a_lost_shard_is_never_fewer_tests(parts, data):
    lost = data.draw(st.sampled_from(parts))
    rest = [part for part in parts if part is not lost]
    if rest:
        assert f"shard {lost.shard} of suite 'api' is missing" in said(*rest)[0]
        assert merge(rest, POLICY, complete=False)[1] == []


def test_the_missing_file_is_named():
    parts = shard(1, 3, "a", source="out/api.1-of-3.json"), shard(2, 3, "b", source="out/api.2-of-3.json")
    assert said(*parts) == ["out/api.3-of-3.json: shard 3/3 of suite 'api' is missing"]


WRONG = {
    "given twice": (
        [shard(1, 2, "a"), shard(1, 2, "b", source="again.json"), shard(2, 2, "c")],
        ["api.1-of-2.json: is shard 1/2 of suite 'api', and so is again.json"],
    ),
    "no agreement": (
        [shard(1, 2, "a"), shard(2, 3, "b")],
        [
            "api: the shards of suite 'api' do not agree how many there are: "
            "api.1-of-2.json is 1/2, api.2-of-3.json is 2/3"
        ],
    ),
    "one without a number": (
        [shard(1, 2, "a"), plain("api.json", "b")],
        ["api.json: does not say which shard of suite 'api' it is, and api.1-of-2.json is shard 1/2"],
    ),
    "a test in two": (
        [shard(1, 2, "a", "b", "c"), shard(2, 2, "b", "c")],
        ["api.2-of-2.json: test t.py::b (and 1 more) is in api.1-of-2.json too"],
    ),
    "a metric in two": (
        [shard(1, 2, "a"), shard(2, 2, "b", metrics={"a.p50": metric("a.p50", 2.0, nodeid="t.py::b")})],
        ["api.2-of-2.json: metric a.p50 is in api.1-of-2.json too"],
    ),
    "two commits": (
        [shard(1, 2, "a"), shard(2, 2, "b", commit="b" * 40)],
        [
            "api: the shards of suite 'api' measured different commits: "
            "api.1-of-2.json aaaaaaaaaa, api.2-of-2.json bbbbbbbbbb"
        ],
    ),
    "a second report": (
        [plain("a.json", "a"), plain("b.json", "b")],
        ["b.json: a second report of suite 'api', the first is a.json"],
    ),
}


@pytest.mark.parametrize(("parts", "expected"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_together(parts, expected):
    assert said(*parts) == expected
    assert said(*reversed(parts)) == expected


def test_the_remedy_of_a_second_report_says_how_to_allow_it():
    _, (problem,) = merge([plain("a.json", "a"), plain("b.json", "b")], POLICY)
    assert "suites.api.shards: 2" in problem.remedy


def test_the_policy_decides_how_many_there_are():
    """A pull request's own reports cannot lower it: the policy comes from the base."""
    three = policy_of(suites="{api: {run: pytest tests, shards: 3}}")
    parts = shard(1, 2, "a"), shard(2, 2, "b")
    assert [text.partition(", but ")[2] for text in said(*parts, policy=three)] == [
        "thresholds.yaml says that suite 'api' has 3 shards"
    ] * 2
    assert said(plain("api.json", "a"), policy=TWO) == [
        "api: 1 of the 2 reports of suite 'api' are there: api.json"
    ]
    assert said(plain("api.json", "a"), policy=TWO, complete=False) == []
    numbered = shard(1, 1, "a")
    assert "is shard 1/1" in said(numbered, policy=TWO)[0]


def test_reports_without_numbers_make_a_suite_if_the_policy_says_how_many():
    parts = plain("api.1.json", "a"), plain("api-linux.json", "b")
    assert said(*parts, policy=TWO) == []
    assert (
        "3 reports of suite 'api' are there, thresholds.yaml says 2"
        in said(*parts, plain("c.json", "c"), policy=TWO)[0]
    )


def test_other_suites_are_judged_all_the_same():
    other = suite_run([metric("z.p50", 1, suite="b")], name="b")
    suites, problems = merge([shard(1, 2, "a"), other], POLICY)
    assert suites == {"b": other}
    assert len(problems) == 1


def on(machine: Environment, number: int, name: str, value: float) -> SuiteRun:
    part = shard(number, 2, name, environment=machine)
    metrics = {
        f"{name}.p50": metric(f"{name}.p50", value, nodeid=f"t.py::{name}"),
        f"{name}.calls": metric(f"{name}.calls", value, "count", exact=True, nodeid=f"t.py::{name}"),
    }
    return msgspec.structs.replace(part, metrics=metrics)


def mixed(value: float = 1.0) -> SuiteRun:
    return merged([on(MACHINE, 1, "a", value), on(OTHER_MACHINE, 2, "b", value)])


def test_shards_of_different_machines_have_no_history_of_times():
    """Work counts and tests count; both machines are named, and nothing else is compared."""
    verdict = judge(run_of(mixed(9.0)), baseline_of(mixed()), POLICY)
    assert {f.subject for f in of_kind(verdict, "regression")} == {"a.calls", "b.calls"}
    warning = one(verdict, "environment")
    assert MACHINE.id in warning.message
    assert OTHER_MACHINE.id in warning.message
    assert warning.level == "warn"
    assert warning.subject == "mixed-0c-mixed-py3.11"
    assert verdict.environment.comparable_runs == 0


def test_what_machines_have_in_common_stays():
    other = msgspec.structs.replace(MACHINE, cpu="Intel Xeon 8370C")
    assert merged([on(MACHINE, 1, "a", 1), on(other, 2, "b", 1)]).environment.id == "mixed-2c-ubuntu22-py3.11"
    assert merged([on(MACHINE, 1, "a", 1), on(MACHINE, 2, "b", 1)]).environment == MACHINE


def test_an_accepted_run_of_mixed_machines_keeps_tests_and_counts_and_no_times():
    known = accept(None, mixed(), "c1")
    assert set(view(known).runs[0].values) == {"a.calls", "b.calls"}
    assert set(view(known).tests) == {"t.py::a", "t.py::b"}
    both = baseline_from(known, remembered(suite_run([metric("a.p50", 1)])))
    assert both.comparable("api", known.environment) is None
    assert both.measured_on("api", known.environment).runs == view(known).runs


def test_what_is_missing_is_noticed_on_mixed_machines_too():
    known = baseline_of(mixed())
    first, second = on(MACHINE, 1, "a", 1), on(OTHER_MACHINE, 2, "b", 1)
    fewer = merged([first, msgspec.structs.replace(second, tests={}, metrics={})])
    assert one(judge(run_of(fewer), known, POLICY), "missing-test").subject == "t.py::b"
    blind = merged([first, msgspec.structs.replace(second, metrics={})])
    missing = one(judge(run_of(blind), known, POLICY), "missing-metric")
    assert (missing.subject, "calls, p50" in missing.message or "p50, calls" in missing.message) == (
        "b",
        True,
    )


def test_a_run_of_one_machine_is_compared_with_nothing_that_mixed_machines_measured():
    """Not even where the mixed run is the youngest: its work counts are, its times are not."""
    verdict = judge(run_of(suite_run([metric("a.p50", 9, nodeid="t.py::a")])), baseline_of(mixed()), POLICY)
    assert not of_kind(verdict, "regression")


@pytest.mark.parametrize(
    ("stem", "suite", "share"),
    [
        ("api", "api", None),
        ("api.1", "api", None),
        ("api-linux", "api", None),
        ("api.2-of-4", "api", Shard(2, 4)),
        ("api-load", "api-load", None),
        ("api-load.1-of-2", "api-load", Shard(1, 2)),
        ("apis", "", None),
        ("other", "", None),
        ("api.5-of-4", "api", None),
        ("api.0-of-4", "api", None),
        ("api.1-of-99999", "api", None),
    ],
)
def test_names_of_files(stem, suite, share):
    assert suite_in(stem, ["api", "api-load"]) == suite
    assert shard_in(stem) == share
    if share:
        assert report_stem(suite, share) == stem


def test_a_report_says_how_to_measure_it_again():
    assert run_command("api") == "gate run api"
    assert run_command("api.2-of-4") == "gate run api --shard 2/4"


@given(st.text(max_size=6), st.text(max_size=6))
def test_no_text_is_a_crash(number, of):
    found = shard_from(number, of)
    assert found is None or 1 <= found.number <= found.of


def test_a_file_that_every_shard_failed_to_collect_is_one_failure():
    broken = outcome("t/test_bad.py", "error", message="ModuleNotFoundError: no x")
    parts = [shard(number, 2, name) for number, name in ((1, "a"), (2, "b"))]
    parts = [msgspec.structs.replace(part, tests=part.tests | {broken.nodeid: broken}) for part in parts]
    suites, problems = merge(parts, POLICY)
    assert problems == []
    assert [test.nodeid for test in suites["api"].tests.values() if test.failed] == ["t/test_bad.py"]
    assert [f.kind for f in judge(run_of(suites["api"]), Baseline(), POLICY).of_level("fail")] == [
        "new-failure"
    ]
