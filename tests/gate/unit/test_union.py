"""Laws of the memory: whatever the order of runs, and however often they come; older formats are read."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gate.baseline.files import parse_baseline, read_baseline, to_lines
from gate.baseline.records import Kind, Memory, SuiteRecords, united
from gate.model import SuiteRun
from tests.gate.build import (
    CREATED,
    MACHINE,
    OTHER_MACHINE,
    accept,
    baseline_from,
    metric,
    outcome,
    suite_run,
)
from tests.gate.unit.test_baseline import suite_records

COMMITTED = Path(__file__).parents[3] / "tests" / "baseline"
results = st.sampled_from(["passed", "failed", "skipped"])
seconds = st.lists(st.integers(0, 10_000), min_size=1, max_size=36, unique=True)
memories = st.lists(suite_records(), max_size=2).map(lambda found: united([Memory((one,)) for one in found]))


@st.composite
def histories(draw) -> list[SuiteRun]:
    """Runs of one suite at different times, with other metrics and outcomes in each."""
    return [
        suite_run(
            [
                metric(f"{name}.p50", draw(st.floats(0.1, 100)))
                for name in draw(st.sets(st.sampled_from("abc")))
            ],
            [outcome("t::one", draw(results)), outcome("t::two", draw(results))],
            created=CREATED + second,
        )
        for second in draw(seconds)
    ]


def accepted(runs: list[SuiteRun]) -> SuiteRecords:
    known: SuiteRecords | None = None
    for run in runs:
        known = accept(known, run, f"c{run.created}")
    assert known is not None
    return known


@given(memories, memories, memories)
def test_a_union_is_one_whatever_the_order(one, two, three):
    assert united([one, two]) == united([two, one])
    assert united([united([one, two]), three]) == united([one, united([two, three])])
    assert united([one, one]) == united([one])


@given(histories(), st.randoms(use_true_random=False))
def test_the_order_of_acceptance_does_not_matter(runs, chance):
    mixed = list(runs)
    chance.shuffle(mixed)
    assert accepted(mixed) == accepted(runs)


@given(histories(), st.data())
def test_accepting_a_run_again_changes_nothing(runs, data):
    known = accepted(runs)
    for run in data.draw(st.lists(st.sampled_from(runs), max_size=5)):
        assert accept(known, run, f"c{run.created}") == known


@given(suite_records())
def test_a_union_of_environments_keeps_both(known):
    elsewhere = accepted([suite_run([], environment=OTHER_MACHINE)])
    both = united([Memory((known,)), Memory((elsewhere,))]).suites
    assert {suite.environment.id: suite for suite in both} == {
        suite.environment.id: suite for suite in (known, elsewhere)
    }


@given(histories(), st.data())
def test_what_git_merges_by_lines_is_the_union(runs, data):
    """Of two branches both sides, in any order, some lines twice."""
    place = data.draw(st.integers(1, len(runs)))
    one, other = accepted(runs[:place]), accepted(runs[place - 1 :])
    header, *lines = to_lines(one).splitlines()
    merged = data.draw(st.permutations([*lines, *to_lines(other).splitlines()]))
    path = f"{MACHINE.id}/api.jsonl"
    (read,) = parse_baseline({path: b"\n".join([header, *merged])}).suites
    assert read == accepted(runs)


def test_files_of_earlier_gates_mean_the_same_after_they_were_written_anew():
    known = read_baseline(COMMITTED)
    assert known.suites
    anew = {f"{suite.environment.id}/{suite.suite}.jsonl": to_lines(suite) for suite in known.suites}
    assert parse_baseline(anew) == known


@given(histories())
def test_a_test_has_passed_since_its_last_failure(runs):
    runs.sort(key=lambda run: run.created)
    overall = baseline_from(accepted(runs)).latest("api")
    for nodeid in ("t::one", "t::two"):
        ran = [run.tests[nodeid].outcome for run in runs if run.tests[nodeid].outcome != "skipped"]
        streak = 0
        while streak < len(ran) and ran[-1 - streak] == "passed":
            streak += 1
        test = overall.tests[nodeid]
        assert len(test.passes) == (streak if test.outcome == "passed" else 0)


@given(
    st.sampled_from(["", "ms", "%", "req per s", "a  b", "higher", "exact", "few", "method-2"]),
    st.sampled_from(["lower", "higher"]),
    st.booleans(),
    st.integers(1, 99),
    st.booleans(),
)
def test_a_kind_is_read_as_it_was_written(unit, better, exact, method, few):
    kind = Kind(unit, better, exact, method, few)
    assert Kind.read(str(kind)) == kind
