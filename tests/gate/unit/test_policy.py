import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.globs import glob, path_glob
from gate.located import LocatedError, Place
from gate.policy import OFF, Entry, split_pattern
from gate.thresholds import parse_policy
from gate.units import Quantity
from tests.gate.build import history, judge, metric, policy_of, run_of, suite_run


def matching(pattern: str, name: str) -> bool:
    return Entry(pattern, Place(1, 1), {}).matches(name)


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("api.home.p50", "api.home.p50", True),
        ("api.home.p50", "api.home.p95", False),
        ("api.home.p50", "api.home.p50{users=1}", True),
        ("*.p50", "api.home.p50", True),
        ("*.p50", "p50", False),
        ("*", "anything.at.all{a=b}", True),
        ("api.*", "api.home.p50", True),
        ("api.*", "apix.home", False),
        ("bot.*.workflow.p95", "bot.seller.workflow.p95", True),
        ("bot.*.p95", "bot.seller.workflow.p95", True),
        ("a.p95{users=100}", "a.p95{users=100}", True),
        ("a.p95{users=100}", "a.p95", False),
        ("a.p95{users=100}", "a.p95{users=1000}", False),
        ("a.p95{users=100}", "a.p95{bot=x,users=100}", True),
        ("a.p95{users=*}", "a.p95{users=5}", True),
        ("a.p95{users=*}", "a.p95{bot=5}", False),
        ("a.p95{users=1*}", "a.p95{users=100}", True),
        ("a.b", "axb", False),
        ("a-b.p50", "a-b.p50", True),
    ],
)
def test_a_pattern_matches_whole_names_and_the_labels_it_names(pattern, name, matches):
    assert matching(pattern, name) is matches


@pytest.mark.parametrize("pattern", ["", "a b", "a..b", "a{b}", "*{", "1*", ".*"])
def test_a_text_that_is_no_pattern_is_refused(pattern):
    with pytest.raises(ValueError, match=r"is no metric name or glob; write e\.g\."):
        split_pattern(pattern)


@given(st.lists(st.sampled_from(["a", "bc", "*", "a*", "*_x"]), min_size=1, max_size=4).map(".".join))
def test_a_pattern_taken_apart_is_what_was_written(pattern):
    assert split_pattern(pattern)[0] == pattern


def test_a_name_that_looks_like_the_placeholder_is_still_a_name():
    assert not matching("STAR_x", "yx")


def test_the_most_specific_entry_wins_field_by_field():
    policy = policy_of(
        {
            "bot.seller.workflow.p95": "{critical: 600 ms}",
            "bot.*.p95": "{critical: 900 ms, warning: 300 ms, tolerance: 7 %}",
            "*.p95": "{critical: 1 s, warning: 400 ms, tolerance: 9 %, floor: 3 ms}",
            "*": "{tolerance: 1 %, floor: 1 ms, target: 2 s}",
        }
    )
    rule = policy.rule(metric("bot.seller.workflow.p95", 1))
    assert (rule.critical, rule.warning, rule.target) == (
        Quantity(600, "ms"), Quantity(300, "ms"), Quantity(2, "s"),
    )  # fmt: skip
    assert (rule.tolerance, rule.floor) == (Quantity(7, "%"), Quantity(3, "ms"))
    assert [rule.cite(name) for name in ("critical", "warning", "target", "tolerance", "floor")] == [
        "metrics[bot.seller.workflow.p95].critical = 600 ms",
        "metrics[bot.*.p95].warning = 300 ms",
        "metrics[*].target = 2 s",
        "metrics[bot.*.p95].tolerance = 7 %",
        "metrics[*.p95].floor = 3 ms",
    ]


def test_the_order_of_entries_does_not_matter_when_one_is_more_specific():
    entries = {
        "*.p50": "{tolerance: 5 %}",
        "api.*.p50": "{tolerance: 6 %}",
        "api.home.p50": "{tolerance: 7 %}",
    }
    for order in (entries, dict(reversed(entries.items()))):
        assert policy_of(order).rule(metric("api.home.p50", 1)).tolerance == Quantity(7, "%")
        assert policy_of(order).rule(metric("api.x.p50", 1)).tolerance == Quantity(6, "%")
        assert policy_of(order).rule(metric("x.p50", 1)).tolerance == Quantity(5, "%")


@pytest.mark.parametrize("order", [1, -1])
def test_more_labels_are_more_specific(order):
    entries = [
        ("a.p50", "{critical: 1 ms}"),
        ("a.p50{b=1}", "{critical: 2 ms}"),
        ("a.p50{b=1,c=*}", "{critical: 3 ms}"),
    ]
    policy = policy_of(dict(entries[::order]))
    names = ["a.p50", "a.p50{b=1}", "a.p50{b=1,c=9}", "a.p50{c=9}"]
    found = [policy.rule(metric(name, 1)).critical for name in names]
    assert found == [Quantity(1, "ms"), Quantity(2, "ms"), Quantity(3, "ms"), Quantity(1, "ms")]


def test_of_two_equally_specific_entries_the_later_wins():
    policy = policy_of({"a.*.p50": "{critical: 1 ms}", "*.b.p50": "{critical: 2 ms}"})
    assert policy.rule(metric("a.b.p50", 1)).critical == Quantity(2, "ms")


@pytest.mark.parametrize(
    ("name", "tolerance", "source"),
    [
        ("a.p50", "12 %", "defaults.tolerance = 12 %"),
        ("a.cpu", "12 %", "defaults.tolerance = 12 %"),
        ("a.p95", "30 %", "built-in.tolerance = 30 %"),
    ],
)
def test_what_no_entry_says_is_built_in_or_a_default(name, tolerance, source):
    rule = policy_of(defaults="{tolerance: 12 %}").rule(metric(name, 1))
    assert str(rule.tolerance) == tolerance
    assert rule.cite("tolerance") == source


@pytest.mark.parametrize("statistic", ["mean", "std", "p99", "growth"])
def test_statistics_that_follow_every_outlier_have_limits_only(statistic):
    assert policy_of().rule(metric(f"a.{statistic}", 1)).tolerance == OFF


def test_an_entry_as_specific_as_a_built_in_one_wins_over_it():
    policy = policy_of({"*.mean": "{tolerance: 5 %}", "*.p95": "{tolerance: 6 %}"})
    assert policy.rule(metric("a.mean", 1)).tolerance == Quantity(5, "%")
    assert policy.rule(metric("a.p95", 1)).tolerance == Quantity(6, "%")


def test_a_work_count_tolerates_nothing_whatever_its_name_and_the_defaults():
    for name in ("a.calls", "a.mean", "a.p95"):
        rule = policy_of(defaults="{tolerance: 50 %}").rule(metric(name, 1, "count", exact=True))
        assert (rule.tolerance, rule.floor) == (Quantity(0, ""), Quantity(0, ""))
        assert rule.cite("tolerance") == "work count.tolerance = 0"


def test_an_entry_can_loosen_a_work_count():
    rule = policy_of({"*.calls": "{tolerance: 5 %}"}).rule(metric("a.calls", 1, "count", exact=True))
    assert rule.tolerance == Quantity(5, "%")


@pytest.mark.parametrize(
    ("unit", "floor"),
    [("ms", "0.2 µs"), ("s", "0.2 µs"), ("MB", "1 MB"), ("ratio", "1 %"), ("%", "1 %"), ("req/s", "0"),
     ("count", "0"), ("tokens", "0")],
)  # fmt: skip
def test_every_dimension_has_a_smallest_change_worth_a_word(unit, floor):
    assert str(policy_of().rule(metric("a.p50", 1, unit)).floor) == floor


def test_the_direction_is_the_metrics_own_unless_the_policy_says_otherwise():
    assert policy_of().rule(metric("a", 1, better="higher")).better == "higher"
    assert policy_of({"a": "{better: higher}"}).rule(metric("a", 1)).better == "higher"


def test_a_direction_against_what_the_suite_says_is_an_error():
    with pytest.raises(LocatedError, match=r":4:17: metrics\[a\].better: the suite records a with"):
        policy_of({"a": "{better: lower}"}).rule(metric("a", 1, better="higher"))


@pytest.mark.parametrize("limit", ["target", "warning", "critical"])
def test_a_limit_on_a_rate_of_which_nobody_says_the_direction_is_an_error(limit):
    """It would be the most that it may be: five requests a second keep a target of a thousand."""
    policy = policy_of({"a.*": f"{{{limit}: 1000 req/s}}"})
    with pytest.raises(LocatedError, match=rf"metrics\[a\.\*\]\.{limit}: a\.b is a rate without a direction"):
        policy.rule(metric("a.b", 5, "req/s"))
    assert policy.rule(metric("a.b", 5, "req/s", better="higher"))
    said = policy_of({"a.*": f"{{{limit}: 1000 req/s}}", "a.b": "{better: lower}"})
    assert said.rule(metric("a.b", 5, "req/s")).better == "lower"


@pytest.mark.parametrize("order", [1, -1])
def test_limits_that_contradict_each_other_are_seen_on_the_metric(order):
    entries = {"api.*": "{warning: 200 ms}", "api.home.p50": "{critical: 100 ms}"}
    policy = policy_of(dict(list(entries.items())[::order]))
    line = 5 if order == 1 else 4
    with pytest.raises(LocatedError) as error:
        policy.rule(metric("api.home.p50", 1))
    assert str(error.value) == (
        f"thresholds.yaml:{9 - line}:22: metrics[api.*].warning: 200 ms for api.home.p50 lies beyond "
        f"metrics[api.home.p50].critical = 100 ms (line {line}), which fails first; set one before it"
    )
    assert policy.rule(metric("api.cart.p50", 1))


@pytest.mark.parametrize("field", ["target", "warning", "critical", "floor"])
def test_a_unit_that_does_not_fit_is_located_in_the_policy(field):
    policy = policy_of({"*.p50": "{tolerance: 5 %}", "a.p50": f"{{{field}: 5 MB}}"})
    assert policy.rule(metric("b.p50", 1)).tolerance == Quantity(5, "%")
    with pytest.raises(LocatedError) as error:
        policy.rule(metric("a.p50", 1))
    column = 15 + len(field)
    assert str(error.value) == (
        f"thresholds.yaml:5:{column}: metrics[a.p50].{field}: 5 MB does not fit: a.p50 is measured in ms"
    )


@pytest.mark.parametrize("field", ["target", "warning", "critical", "floor"])
@pytest.mark.parametrize(
    ("written", "unit", "meant"),
    [
        ("5", "ratio", "; write 5 %"),
        ("0.05", "ratio", "; write 5 % or 0.05 %"),
        ("5", "%", "; write 5 %"),
        ("1", "ms", "; write one of 1 ms, 1 ns, 1 us, 1 µs, 1 s, 1 min, 1 h"),
        ("1", "req/s", "; write one of 1 req/s, 1 /s, 1 op/s"),
    ],
)
def test_a_limit_without_a_unit_is_refused_with_those_that_fit(field, written, unit, meant):
    policy = policy_of({"a.*": f"{{{field}: {written}}}"})
    with pytest.raises(LocatedError) as error:
        policy.rule(metric("a.b", 1, unit))
    where = f"thresholds.yaml:4:{13 + len(field)}: metrics[a.*].{field}: {written}"
    of = "a ratio" if unit == "ratio" else f"measured in {unit}"
    assert str(error.value) == f"{where} has no unit: a.b is {of}{meant}"
    nothing = policy_of({"a.*": f"{{{field}: 0, better: lower}}"})
    assert nothing.rule(metric("a.b", 1, unit)), "nothing is so in any unit"
    assert policy.rule(metric("a.b", 1, "count"))


@pytest.mark.parametrize("unit", ["ratio", "%"])
def test_a_ratio_above_all_of_it_could_never_fail(unit):
    """500 % of errors was a limit that no run breaks."""
    assert policy_of({"a": "{critical: 99 %, floor: 1 ratio}"}).rule(metric("a", 0.1, unit))
    for limit in ("500 %", "5 ratio", "100.1 %"):
        with pytest.raises(LocatedError, match=r"is above 100 %, which a never is, so it could never fail"):
            policy_of({"a": f"{{critical: {limit}}}"}).rule(metric("a", 0.1, unit))


@pytest.mark.parametrize(
    ("entry", "unit", "better"),
    [
        ("critical: 100 %", "ratio", "lower"), ("critical: 100 %", "%", "lower"),
        ("critical: 0 %", "ratio", "higher"), ("warning: -5 %", "ratio", "higher"),
        ("critical: 0 s", "ms", "higher"), ("target: 0", "req/s", "higher"),
    ],
)  # fmt: skip
def test_a_limit_that_the_worst_value_keeps_is_an_error(entry, unit, better):
    with pytest.raises(LocatedError, match=r"a keeps it even at (0|100 %), so it could never fail"):
        policy_of({"a": f"{{{entry}}}"}).rule(metric("a", 0.5, unit, better=better))


def test_a_glob_does_not_turn_times_around():
    with pytest.raises(LocatedError, match=r"metrics\[cache\.\*\]\.better: matches cache\.lookup\.p50 too"):
        policy_of({"cache.*": "{better: higher}"}).rule(metric("cache.lookup.p50", 1))
    with pytest.raises(LocatedError, match=r"matches cache\.misses too"):
        policy_of({"*": "{better: higher}"}).rule(metric("cache.misses", 1, "count", exact=True))
    for entry, name, unit in (("cache.*", "cache.score", "points"), ("battery.p50", "battery.p50", "h")):
        assert policy_of({entry: "{better: higher}"}).rule(metric(name, 1, unit)).better == "higher"


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("stronger", "weaker"),
    [
        ("load.api.p50{users=100}", "load.api.p50{users=*}"),
        ("load.api.p50{users=1*}", "load.api.p50{users=*}"),
        ("load.api.p50{users=*}", "load.api.p50"),
        ("load.api.*", "load.*{users=100}"),
        ("*", ""),
    ],
)
def test_the_more_precise_entry_wins_in_either_order(stronger: str, weaker: str, order: int):
    """The weakest are the built-in ones."""
    lines = [(stronger, "{tolerance: 3 %}"), *([(weaker, "{tolerance: 77 %}")] if weaker else [])]
    name = "load.api.p50{users=100}" if weaker else "load.api.p95"
    policy = policy_of(dict(lines[::order]))
    assert str(policy.rule(metric(name, 1)).tolerance) == "3 %"


@pytest.mark.parametrize(
    ("pattern", "covered", "apart"),
    [
        (r"t.py::test_mul[2\*3]", "t.py::test_mul[2*3]", "t.py::test_mul[2**3]"),
        ("t.py::test_mul[2*3]", "t.py::test_mul[2+1*3]", "t.py::test_mul[2]"),
        (r"t.py::test_path[C:\\*]", r"t.py::test_path[C:\*]", r"t.py::test_path[C:\x]"),
        (r"t.py::test_nl[a\nb]", r"t.py::test_nl[a\nb]", "t.py::test_nl[anb]"),
    ],
)
def test_a_star_can_be_meant_literally(pattern: str, covered: str, apart: str):
    text = (
        f"version: 1\nsuites: {{api: {{run: x}}}}\nknown_failures: {{'{pattern}': {{until: 2999-01-01}}}}\n"
    )
    (entry,) = parse_policy(text).known_failures
    assert entry.covers(covered)
    assert not entry.covers(apart)


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("ci/", ["ci/run.sh", "ci/deep/run.sh"], ["ci", "src/ci/run.sh"]),
        ("ci/**/*.sh", ["ci/run.sh", "ci/a/b/run.sh"], ["ci/run.py", "run.sh"]),
        ("**/conftest.py", ["conftest.py", "a/b/conftest.py"], ["a/xconftest.py"]),
        ("ci/*", ["ci/run.sh", "ci/a/run.sh"], ["cix/run.sh"]),
    ],
)
def test_globs_of_files(pattern: str, inside: list[str], outside: list[str]):
    found = path_glob(pattern)
    assert all(map(found.fullmatch, inside))
    assert not any(map(found.fullmatch, outside))


@given(st.text("ab*", max_size=8), st.text("ab\n", max_size=8))
def test_a_star_stands_for_anything(pattern: str, name: str):
    plain = ".*".join(map(re.escape, pattern.split("*")))
    assert bool(glob(pattern).fullmatch(name)) == bool(re.fullmatch(plain, name, re.DOTALL))


ENTRIES = st.dictionaries(
    st.sampled_from(
        ["api.*", "*.p50", "api.home.*", "api.home.p50", "api.home.p50{users=*}", "api.*{users=1}", "*",
         "api.home.p50{users=1}", "api.**", "*{users=1,mode=*}", "api.h*.p50", "api.*e.p50"]
    ),
    st.fixed_dictionaries(
        {}, optional={key: st.sampled_from(["50 ms", "100 ms", "200 ms"]) for key in ("target", "critical")}
        | {"tolerance": st.sampled_from(["5 %", "300 %", "off"])},
    ).filter(bool),
    min_size=2, max_size=5,
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(ENTRIES, st.randoms(use_true_random=False))
def test_the_order_of_entries_never_changes_a_verdict_without_a_warning(entries: dict[str, Any], order: Any):
    names = list(entries)
    order.shuffle(names)
    run = run_of(suite_run([metric(f"api.home.p50{label}", 150) for label in ("", "{mode=a,users=1}")]))
    told, results = set[str](), list[object]()
    for listed in (entries, {name: entries[name] for name in names}):
        lines = {
            name: "{" + ", ".join(f"{key}: {value}" for key, value in said.items()) + "}"
            for name, said in listed.items()
        }
        try:
            verdict = judge(run, history("api.home.p50", [100.0] * 10), policy_of(lines))
        except LocatedError:
            results.append("refused")
            continue
        told |= {finding.subject for finding in verdict.findings if finding.kind == "rule"}
        found = {(f.kind, f.level, f.subject) for f in verdict.findings if f.kind != "rule"}
        results.append((verdict.verdict, found))
    assert results[0] == results[1] or told
