import json
import os
import string
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.baseline import WINDOW, Baseline, KnownMetric, KnownTest, Permission, Pin
from gate.baseline import files as module
from gate.baseline.files import (
    BaselineError,
    parse_baseline,
    read_baseline,
    salvaged,
    to_lines,
    write_suite,
)
from gate.baseline.records import (
    Memory,
    Record,
    Removal,
    SuiteRecords,
    each_once,
    in_order,
    replaced,
    short_id,
    united,
    without_removed,
)
from pytest_regression_gate.metrics import UNKNOWN_ENVIRONMENT
from tests.gate.build import (
    CREATED,
    HEAD,
    MACHINE,
    OTHER_MACHINE,
    accept,
    baseline_from,
    judged,
    metric,
    of_kind,
    outcome,
    remembered,
    suite_run,
    view,
)

PLACE = f"{MACHINE.id}/api.jsonl"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
values = st.dictionaries(texts, st.floats(-1e60, 1e60), max_size=3)
permissions = st.builds(Permission, subject=texts, by=texts, why=texts, until=texts)
records = st.builds(
    Record,
    commit=texts,
    created=texts,
    values=st.dictionaries(st.sampled_from(["ms", "count exact", "rps higher"]), values, max_size=2),
    tests=st.dictionaries(
        st.sampled_from(["passed", "failed", "flaky"]), st.just(short_id("t::a")), max_size=2
    ),
    failures=st.dictionaries(texts, texts, max_size=2),
    held=st.lists(texts, max_size=2).map(tuple),
    source=texts,
    attempt=st.integers(0, 5),
    tree=texts,
    onto=texts,
    report=texts,
    waived=st.lists(permissions, max_size=2).map(tuple),
    improved=st.lists(texts, max_size=2).map(tuple),
)
pins = st.builds(
    Pin,
    commit=texts,
    created=texts,
    runs=st.integers(1, 9),
    groups=st.dictionaries(st.just("ms"), values, min_size=1, max_size=1),
    reason=texts,
    pinned=texts,
)
removals = st.builds(Removal, commit=texts, created=texts, reason=texts, report=texts)


@st.composite
def suite_records(draw):
    nodeids = draw(st.lists(texts, max_size=4))
    tests = {"passed": "".join(map(short_id, nodeids))} if nodeids else {}
    drawn = [msgspec.structs.replace(record, tests=tests) for record in draw(st.lists(records, max_size=4))]
    kept = {record.key: record for record in drawn}
    names = {name for record in drawn for group in record.values.values() for name in group}
    return SuiteRecords(
        suite="api",
        environment=MACHINE,
        records=in_order(kept.values()),
        owners=frozenset(
            [*draw(st.lists(st.tuples(texts, texts), max_size=4)), *((n, "t.py::a") for n in names)]
        ),
        nodeids=frozenset(nodeids),
        pins=each_once(draw(st.lists(pins, max_size=2))),
        removals=each_once(draw(st.lists(removals, max_size=2))),
    )


def three_runs() -> SuiteRecords:
    return remembered(*(suite_run([metric("a.p50", value), metric("a.p95", 5)]) for value in (1, 2, 3)))


@given(suite_records())
def test_what_is_written_is_read_again(known):
    data = to_lines(known)
    assert parse_baseline({PLACE: data}) == Memory((known,))
    assert to_lines(parse_baseline({PLACE: data}).suites[0]) == data
    lines = data.splitlines(keepends=True)
    shuffled = b"".join([lines[0], *reversed(lines[1:])])
    assert parse_baseline({PLACE: shuffled}) == Memory((known,)), "no line depends on another's place"


def test_a_file_is_sorted_so_that_a_diff_shows_what_changed():
    one = suite_run([metric("b.p50", 1), metric("a.p50", 2)], [outcome("t::b"), outcome("t::a")])
    two = suite_run([metric("a.p50", 2), metric("b.p50", 1)], [outcome("t::a"), outcome("t::b")])
    assert [json.loads(line)["kind"] for line in to_lines(remembered(one)).splitlines()] == [
        "baseline", "metric", "metric", "test", "test", "accepted",
    ]  # fmt: skip
    mine, other = to_lines(remembered(one)).splitlines(), to_lines(remembered(two)).splitlines()
    assert mine[:-1] == other[:-1]


def test_accepting_a_run_twice_changes_nothing():
    run = suite_run([metric("a.p50", 1.23456789)])
    once = accept(three_runs(), run, "c1")
    assert accept(once, run, "c1") == once


def test_without_a_history_runs_stand_in_order_of_time_whatever_the_order_of_acceptance():
    runs = [suite_run([metric("a.p50", value)], created=CREATED + value) for value in (3, 1, 2)]
    known = None
    for run in runs:
        known = accept(known, run, "c")
    assert known is not None
    assert view(known).history("a.p50") == [1, 2, 3]


def test_what_is_read_is_bounded_and_nothing_is_dropped():
    known = None
    for value in range(WINDOW + 5):
        known = accept(known, suite_run([metric("a.p50", value)], created=CREATED + value), f"c{value}")
    assert known is not None
    assert view(known).history("a.p50") == [float(value) for value in range(5, WINDOW + 5)]
    assert len(known.records) == WINDOW + 5


def test_the_nearest_run_defines_tests_and_metrics():
    old = suite_run([metric("gone.p50", 1), metric("both.p50", 1)], [outcome("t::gone")], created=CREATED)
    new = suite_run(
        [metric("both.p50", 2, "s", better="higher")],
        [outcome("t::new", "failed", signature="S")],
        created=CREATED + 1,
    )
    for order in ([old, new], [new, old]):
        known = None
        for run in order:
            known = accept(known, run, "c")
        assert known is not None
        overall = baseline_from(known).latest("api")
        assert set(overall.metrics) == {"both.p50"}
        assert (overall.metrics["both.p50"].unit, overall.metrics["both.p50"].better) == ("s", "higher")
        assert overall.tests == {"t::new": KnownTest("t::new", "failed", "S")}


def test_values_are_kept_to_six_digits():
    known = accept(None, suite_run([metric("a.p50", 0.123456789)]), "c")
    assert known.records[0].values == {"ms": {"a.p50": 0.123457}}


def test_a_work_count_is_kept_exactly():
    known = accept(None, suite_run([metric("a.bytes", 1_234_564, "count", exact=True)]), "c")
    assert baseline_from(known).latest("api").exact == {"a.bytes": 1_234_564}


def test_an_accepted_run_says_when_it_was_written_in_utc():
    known = accept(None, suite_run([metric("a.p50", 1)], created=1_700_000_000.1234), "c")
    assert known.records[0].created == "2023-11-14T22:13:20.123Z"


def test_history_leaves_out_runs_without_the_metric():
    known = remembered(
        suite_run([metric("a.p50", 1)]), suite_run([metric("b.p50", 2)]), suite_run([metric("a.p50", 3)])
    )
    assert view(known).history("a.p50") == [1, 3]
    assert view(known).history("unheard.of") == []


def test_only_the_same_suite_in_the_same_environment_is_comparable():
    baseline = baseline_from(remembered(suite_run([metric("a.p50", 1)])))
    assert baseline.comparable("api", MACHINE) is baseline.suites[0]
    assert baseline.comparable("api", OTHER_MACHINE) is None
    assert baseline.comparable("load", MACHINE) is None


def test_unknown_environments_are_taken_for_one():
    baseline = baseline_from(remembered(suite_run([metric("a.p50", 1)], environment=UNKNOWN_ENVIRONMENT)))
    assert baseline.comparable("api", UNKNOWN_ENVIRONMENT) is baseline.suites[0]


def test_tests_and_work_counts_are_those_of_all_environments():
    old = accept(None, suite_run([metric("a.calls", 3, "count", exact=True)], created=CREATED), "c")
    later = suite_run([metric("b.p50", 1)], created=CREATED + 1, environment=OTHER_MACHINE)
    new = accept(None, later, "c")
    for both in (baseline_from(old, new), baseline_from(new, old)):
        assert both.latest("api").exact == {"a.calls": 3}
        assert set(both.latest("api").metrics) == {"a.calls", "b.p50"}
        assert both.latest("load") is None
    assert Baseline().latest("api") is None


def test_what_was_begun_anew_stays_so_whatever_is_merged_into_it():
    before, fresh = three_runs(), accept(None, suite_run([metric("a.p50", 9)]), HEAD)
    anew = replaced(Memory((before,)), Memory((fresh,)), "another machine")
    for memory in (united([anew, Memory((before,))]), united([Memory((before,)), anew])):
        assert baseline_from(*memory.suites).suites[0].history("a.p50") == [9]
        assert without_removed(memory) == anew


def test_of_several_attempts_of_one_run_the_last_counts():
    first = accept(None, suite_run([metric("a.p50", 1)], created=CREATED + 5), HEAD, source="77", attempt=1)
    both = accept(first, suite_run([metric("a.p50", 2)], created=CREATED), HEAD, source="77", attempt=2)
    assert view(both).history("a.p50") == [2], "whatever the clocks of their machines said"


def test_one_measurement_counts_once_however_often_it_was_accepted():
    run = suite_run([metric("a.p50", 1)])
    assert view(accept(accept(None, run, "c1"), run, "c2")).history("a.p50") == [1]


def test_a_directory_that_does_not_exist_holds_no_runs(tmp_path):
    assert read_baseline(tmp_path / "nowhere") == Memory()


def test_a_written_suite_is_read_from_its_directory(tmp_path):
    known = three_runs()
    path = write_suite(tmp_path / "deep" / "down", known)
    assert path == tmp_path / "deep" / "down" / PLACE
    assert read_baseline(tmp_path / "deep" / "down") == Memory((known,))
    assert path.stat().st_mode & 0o777 == 0o644


def test_writing_leaves_no_temporary_file(tmp_path):
    write_suite(tmp_path, three_runs())
    write_suite(tmp_path, three_runs())
    assert [path.name for path in (tmp_path / MACHINE.id).iterdir()] == ["api.jsonl"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = write_suite(tmp_path, three_runs())
    before = path.read_bytes()

    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        write_suite(tmp_path, remembered(suite_run([metric("other.p50", 9)])))
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["api.jsonl"]


@pytest.mark.parametrize(
    "line",
    [b"{", b"", b"\xff\xfe", b'{"kind":"ghost"}', b'{"kind":"run","commit":"c"}',
     b'{"kind":"run","commit":"c","created":"x","values":{"a":"fast"}}',
     b'{"kind":"run","commit":"c","created":"x","values":{"a":NaN}}',
     b'{"kind":"accepted","commit":"c","created":"x","values":{"a":1}}',
     b'{"kind":"test","nodeid":"t","outcome":"exploded"}', b"[]", b"null"],
)  # fmt: skip
def test_a_damaged_line_is_named_with_file_and_line(line):
    lines = to_lines(three_runs()).splitlines()
    lines.insert(2, line)
    with pytest.raises(BaselineError) as error:
        parse_baseline({f"tests/baseline/{PLACE}": b"\n".join(lines)})
    assert error.value.place == f"tests/baseline/{PLACE}:3"
    assert error.value.message.startswith("damaged line: ")
    assert error.value.remedy == "restore the file from git, or keep what can be read: gate baseline repair"


@pytest.mark.parametrize(
    ("line", "says", "remedy"),
    [
        (b"<<<<<<< HEAD", "merge conflict", "gate baseline repair"),
        (b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS", "git lfs pull"),
    ],
)
def test_what_git_left_in_place_of_the_file_is_named(line, says, remedy):
    lines = to_lines(three_runs()).splitlines()
    text = b"\n".join([line, *lines] if b"lfs" in line else [*lines[:3], line, *lines[3:]])
    with pytest.raises(BaselineError) as error:
        parse_baseline({PLACE: text})
    assert says in error.value.message
    assert remedy in error.value.remedy


def test_of_a_conflict_both_sides_are_kept_and_of_damage_what_can_be_read():
    known = three_runs()
    *head, one, two, three = to_lines(known).splitlines()
    data = b"\n".join([*head, b"<<<<<<< HEAD", one, b"=======", two, b'{"kind":"ru', b">>>>>>> other", three])
    kept, damaged = salvaged(PLACE, data)
    assert kept == known
    assert [text for _, text in damaged] == [b'{"kind":"ru']
    assert salvaged(PLACE, to_lines(known)) == (known, [])
    with pytest.raises(BaselineError, match="no baseline header, so the file cannot be repaired"):
        salvaged(PLACE, one)


def test_a_file_that_was_cut_off_is_damaged():
    data = to_lines(three_runs())
    with pytest.raises(BaselineError, match=r"api\.jsonl:7: damaged line"):
        parse_baseline({PLACE: data[:-20]})


@pytest.mark.parametrize("data", [b"", b"\n".join(to_lines(three_runs()).splitlines()[1:])])
def test_a_file_without_its_header_is_damaged(data):
    with pytest.raises(BaselineError, match=r"api\.jsonl:1: the file does not begin with a baseline header"):
        parse_baseline({PLACE: data})


def test_a_newer_format_asks_for_a_newer_gate():
    data = to_lines(three_runs()).replace(b"gate.baseline/3", b"gate.baseline/9")
    with pytest.raises(BaselineError, match=r"cannot read schema gate\.baseline/9") as error:
        parse_baseline({PLACE: data})
    assert error.value.remedy == "upgrade the gate"


def test_a_newer_format_with_new_kinds_of_lines_asks_for_a_newer_gate():
    data = to_lines(three_runs()).replace(b"gate.baseline/3", b"gate.baseline/9") + b'{"kind":"waiver"}\n'
    with pytest.raises(BaselineError, match=r"cannot read schema gate\.baseline/9"):
        parse_baseline({PLACE: data})


@pytest.mark.parametrize("place", ["elsewhere/api.jsonl", f"{MACHINE.id}/load.jsonl", "api.jsonl"])
def test_a_file_in_the_wrong_place_is_an_error(place):
    with pytest.raises(BaselineError, match="this file belongs at") as error:
        parse_baseline({place: to_lines(three_runs())})
    assert f"{MACHINE.id}/api.jsonl" in error.value.message


def test_an_unreadable_file_is_an_error_with_a_remedy(tmp_path, monkeypatch):
    write_suite(tmp_path, three_runs())

    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("gate.baseline.files.read_plain", refuse)
    with pytest.raises(BaselineError, match="cannot be read: Permission denied"):
        read_baseline(tmp_path)


def test_a_file_in_place_of_the_directory_is_an_error(tmp_path):
    (tmp_path / "baseline").write_text("not a directory")
    with pytest.raises(BaselineError):
        read_baseline(tmp_path / "baseline")


def test_lines_without_defaults_stay_short():
    lines = to_lines(remembered(suite_run([metric("a.p50", 1)]))).decode().splitlines()
    assert json.loads(lines[1]) == {
        "kind": "metric",
        "name": "a.p50",
        "nodeid": "tests/test_api.py::test_home",
    }
    assert json.loads(lines[2]) == {"kind": "test", "nodeid": "tests/test_api.py::test_home"}
    assert json.loads(lines[3]).keys() == {"kind", "commit", "created", "values", "tests", "report"}
    assert all(set(line) <= set(string.printable) for line in lines)
    assert msgspec.json.decode(lines[0])["schema"] == module.SCHEMA


def in_ms(*values: tuple[float, str]) -> SuiteRecords:
    return remembered(*(suite_run([metric("api.p50", value, unit)]) for value, unit in values))


@given(st.lists(st.tuples(st.integers(1, 9999), st.sampled_from(["us", "ms", "s"])), min_size=1, max_size=9))
def test_a_history_is_in_the_unit_of_the_nearest_run(values: list[tuple[int, str]]):
    """Whatever unit each run has measured in, the history is that of one unit."""
    factors = {"us": 1e-3, "ms": 1.0, "s": 1e3}
    last = values[-1][1]
    known = view(in_ms(*((value / factors[unit], unit) for value, unit in values)))
    assert known.metrics["api.p50"].unit == last
    assert known.history("api.p50") == pytest.approx([value / factors[last] for value, _ in values], rel=1e-5)


def test_a_change_of_unit_hides_no_regression():
    known = baseline_from(in_ms(*[(2000.0, "ms")] * 6, (2.0, "s")))
    verdict = judged([metric("api.p50", 20.0, "s")], known)
    assert [finding.level for finding in of_kind(verdict, "regression")] == ["fail"]
    assert judged([metric("api.p50", 2.0, "s")], known).findings == ()


def test_what_measured_something_else_is_no_history():
    known = view(in_ms(*[(2000.0, "ms")] * 6, (300.0, "MB")))
    assert known.metrics["api.p50"] == KnownMetric("api.p50", "MB", "lower", "tests/test_api.py::test_home")
    assert known.history("api.p50") == [300]
    assert known.pins == ()


def test_two_machines_are_compared_in_one_unit():
    here = in_ms(*[(2000.0, "ms")] * 6)
    elsewhere = accept(None, suite_run([metric("api.p50", 2.0, "s")], environment=OTHER_MACHINE), "c")
    both = baseline_from(here, elsewhere)
    assert [suite.history("api.p50")[0] for suite in both.suites] == [2.0, 2.0]
    assert judged([metric("api.p50", 2000.0, "ms")], both).exit_code == 0
    assert of_kind(judged([metric("api.p50", 20.0, "s")], both), "regression")
    younger = accept(here, suite_run([metric("api.p50", 2.0, "s")]), "d")
    known = view(younger)
    assert (known.metrics["api.p50"].unit, set(known.history("api.p50"))) == ("s", {2.0})
    assert set(known.pins[0].values.values()) == {2.0}


EARLIER = b"""\
{"kind":"baseline","schema":"gate.baseline/2","suite":"api",\
"environment":{"cpu":"AMD EPYC 7763","cores":2,"os":"ubuntu22","python":"3.11"}}
{"kind":"metric","name":"a.calls","unit":"count","better":"lower","nodeid":"t::a","exact":true}
{"kind":"metric","name":"a.p50","unit":"ms","better":"lower","nodeid":"t::a"}
{"kind":"test","nodeid":"t::a","outcome":"passed","since":"2026-01-01T00:00:00.000Z"}
{"kind":"test","nodeid":"t::b","outcome":"failed","signature":"S","since":"2026-01-02T00:00:00.000Z"}
{"kind":"run","commit":"c1","created":"2026-01-01T00:00:00.000Z","values":{"a.calls":3.0,"a.p50":10.0}}
{"kind":"run","commit":"c2","created":"2026-01-02T00:00:00.000Z","values":{"a.calls":4.0,"a.p50":11.0},\
"waived":["a.calls: kim: one more","1 test: kim: ticket 7"],"improved":["a.p50"]}
"""


def test_an_earlier_format_means_the_same():
    (known,) = parse_baseline({PLACE: EARLIER}).suites
    overall = baseline_from(known).latest("api")
    assert overall.exact == {"a.calls": 4}
    assert [run.values["a.p50"] for run in overall.runs] == [10, 11]
    assert overall.tests["t::a"].passes == ("2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z")
    assert overall.tests["t::b"] == KnownTest(
        "t::b", "failed", "S", Permission("t::b", "kim", "ticket 7", given="c2")
    )
    assert overall.runs[1].began("a.p50")
    assert [str(one) for one in overall.runs[1].waived] == ["a.calls: kim: one more", "t::b: kim: ticket 7"]
    assert parse_baseline({PLACE: to_lines(known)}).suites == (known,)
