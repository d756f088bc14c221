"""Laws of the memory: whatever the order of runs, and however often they come; older formats are read."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gate.baseline import WINDOW, Baseline, SuiteBaseline, accept, rebased, united
from gate.model import SuiteRun
from gate.store import SCHEMA, parse_baseline, read_baseline, to_lines
from tests.gate.build import CREATED, MACHINE, OTHER_MACHINE, metric, outcome, suite_run
from tests.gate.unit.test_baseline import PLACE, suite_baselines

COMMITTED = Path(__file__).parents[3] / "tests" / "baseline"
results = st.sampled_from(["passed", "failed", "skipped"])
seconds = st.lists(st.integers(0, 10_000), min_size=1, max_size=WINDOW + 6, unique=True)


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


def accepted(runs: list[SuiteRun]) -> SuiteBaseline:
    known: SuiteBaseline | None = None
    for run in runs:
        known = accept(known, run, f"c{run.created}")
    assert known is not None
    return known


def held(known: SuiteBaseline) -> tuple[object, ...]:
    """What a new run is compared with; references and dates tell how it came about."""
    return known.runs, known.metrics, {name: test.outcome for name, test in known.tests.items()}


@given(histories(), st.randoms(use_true_random=False))
def test_the_order_of_acceptance_does_not_matter(runs, chance):
    mixed = list(runs)
    chance.shuffle(mixed)
    assert held(accepted(mixed)) == held(accepted(runs))


@given(histories(), st.data())
def test_accepting_a_run_again_changes_nothing(runs, data):
    known = accepted(runs)
    kept = {run.created for run in known.runs}
    for run in data.draw(st.lists(st.sampled_from(runs), max_size=5)):
        again = accept(known, run, f"c{run.created}")
        assert again == known, f"one of {len(kept)} kept runs, or one that left the window"


@given(histories(), st.data())
def test_a_union_is_what_one_memory_would_hold_in_either_order(runs, data):
    place = data.draw(st.integers(1, len(runs)))
    overlap = data.draw(st.integers(0, place))
    one, other = Baseline((accepted(runs[:place]),)), Baseline((accepted(runs[place - overlap :] or runs),))
    (there,), (back,) = united(one, other).suites, united(other, one).suites
    whole = accepted(runs[:place] + (runs[place - overlap :] or runs))
    assert there.runs == back.runs == whole.runs
    assert there.metrics == back.metrics == whole.metrics
    assert united(one, one) == one
    assert united(united(one, other), other) == united(one, other)


@given(suite_baselines())
def test_a_union_of_environments_keeps_both(known):
    elsewhere = Baseline((accepted([suite_run([], environment=OTHER_MACHINE)]),))
    both = united(Baseline((known,)), elsewhere).suites
    assert {suite.environment.id: suite for suite in both} == {
        suite.environment.id: suite for suite in (known, *elsewhere.suites)
    }


@given(suite_baselines())
def test_the_first_format_is_read_and_written_as_the_present_one(known):
    """It had no references; everything else is the same."""
    present = to_lines(known)
    first = present.replace(SCHEMA.encode(), b"gate.baseline/1", 1)
    assert first != present
    (read,) = parse_baseline({PLACE: first}).suites
    assert read == known
    assert to_lines(read) == present


def test_files_of_earlier_gates_mean_the_same_after_they_were_written_anew():
    known = read_baseline(COMMITTED)
    assert known.suites
    anew = {f"{suite.environment.id}/{suite.suite}.jsonl": to_lines(suite) for suite in known.suites}
    assert parse_baseline(anew) == known
    assert MACHINE.id not in {suite.environment.id for suite in known.suites}


@given(histories(), st.randoms(use_true_random=False))
def test_a_run_that_comes_late_never_makes_a_test_pass_for_longer(runs, chance):
    runs.sort(key=lambda run: run.created)
    mixed = list(runs)
    chance.shuffle(mixed)
    in_order, late = accepted(runs), accepted(mixed)
    if len(runs) <= WINDOW:
        for nodeid, test in in_order.tests.items():
            assert late.tests[nodeid].since >= test.since


def test_what_was_noted_of_a_run_stays():
    run = suite_run([metric("a.p50", 1)])
    with_reason = accept(None, run, "c", waived=("run: kim: wanted",), improved=("a.p50",))
    assert accept(with_reason, run, "c") == with_reason


def test_of_two_attempts_a_union_keeps_the_younger_and_the_passes_are_counted_once():
    first = suite_run([], [outcome("t::one", "passed")], created=CREATED)
    second = suite_run([], [outcome("t::one", "passed")], created=CREATED + 9)
    one, other = (accept(None, run, "c", source="77") for run in (first, second))
    for pair in ((one, other), (other, one)):
        (both,) = united(*(Baseline((known,)) for known in pair)).suites
        assert [run.created for run in both.runs] == [other.runs[0].created]
    replaced = accept(one, second, "c", source="77")
    assert len(Baseline((replaced,)).passes("api", "t::one")) == 1


@given(histories(), st.data())
def test_what_was_done_to_a_memory_is_done_to_another_state_of_it(runs, data):
    place = data.draw(st.integers(1, len(runs)))
    before = Baseline((accepted(runs[:place]),))
    assert rebased(before, before, before) == before
    assert rebased(before, Baseline(), before) == united(before, before)
    anew = Baseline((accept(None, suite_run([], created=CREATED + 99_999), "new"),))
    later = Baseline((accepted(runs),))
    (suite,) = rebased(later, before, anew).suites
    gone = {run.key for run in before.suites[0].runs}
    assert gone.isdisjoint(run.key for run in suite.runs), "a rebuild is not undone by what came meanwhile"
    assert suite.runs[-1].commit == "new"
