"""Base and head stop at different places: who goes on alone, and what is lost by it."""

from hypothesis import given
from hypothesis import strategies as st

from gate.confirm.course import Course, Stop, alone

Way = list[tuple[str, list[str]]]
"""Tests in order, each with its operations."""


def launch(base: Way, head: Way, courses: tuple[Course, Course]) -> list[Stop]:
    """The loop of `gate.confirm.launch`, without processes: where both sides met."""
    ways = (base, head)
    for course, way in zip(courses, ways, strict=True):
        course.begin()
        course.announce(test for test, _ in way)
    paths = [
        [*(Stop(test, operation) for test, operations in way for operation in operations), None]
        for way in ways
    ]
    met: list[Stop] = []
    arrived = [-1, -1]
    at = [0, 0]
    for _ in range(sum(map(len, paths))):
        for side in (0, 1):
            if arrived[side] < at[side] and (stop := paths[side][at[side]]):
                courses[side].arrive(stop)
                arrived[side] = at[side]
        here, there = paths[0][at[0]], paths[1][at[1]]
        apart = alone(*courses, here, there)
        if not any(apart):
            if not here or not there:
                return met
            assert here == there
            met.append(here)
        for side in (0, 1):
            at[side] += apart[side] or not any(apart)
    raise AssertionError("nobody went on")


def common(base: Way, head: Way) -> list[Stop]:
    """What both sides have."""
    theirs = {(test, operation) for test, operations in base for operation in operations}
    return [Stop(t, o) for t, operations in head for o in operations if (t, o) in theirs]


A: Way = [("t1", ["a"]), ("t2", ["b"]), ("t3", ["c"])]


def meet(base: Way, head: Way, launches: int = 2) -> list[list[Stop]]:
    courses = Course(), Course()
    return [launch(base, head, courses) for _ in range(launches)]


def test_a_new_test_costs_nobody_anything():
    for place in range(4):
        head = [*A[:place], ("new", ["x", "y"]), *A[place:]]
        assert meet(A, head) == [common(A, A)] * 2
        assert meet(head, A) == [common(A, A)] * 2, "removed"


def test_a_renamed_test_costs_only_itself():
    head = [A[0], ("renamed", ["b"]), A[2]]
    assert meet(A, head, 1) == [[Stop("t1", "a"), Stop("t3", "c")]]


def test_a_test_that_fails_before_it_measures_costs_only_itself():
    base = [A[0], ("t2", []), A[2]]
    assert meet(base, A, 1) == [[Stop("t1", "a"), Stop("t3", "c")]]


def test_a_new_operation_inside_a_test_costs_the_rest_of_that_test_once():
    base: Way = [("t1", ["a", "b", "c"]), ("t2", ["d"])]
    head: Way = [("t1", ["new", "a", "b", "c"]), ("t2", ["d"])]
    first, second = meet(base, head)
    assert first == [Stop("t2", "d")]
    assert second == common(base, base)


def test_other_orders_cost_little():
    head = [A[1], A[0], A[2]]
    first, second = meet(A, head)
    assert first == second == [Stop("t1", "a"), Stop("t3", "c")]


NAMES = st.sampled_from("abcdefgh")


@st.composite
def ways(draw: st.DrawFn) -> tuple[Way, Way]:
    """Two versions of the same tests: some tests and operations are on one side only."""
    tests = draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    both: tuple[Way, Way] = ([], [])
    for test in tests:
        operations = draw(st.lists(NAMES, max_size=4, unique=True))
        there = draw(st.integers(0, 3))  # 0, 1: on one side only
        for side in (0, 1):
            if there != side:
                both[side].append((test, [o for o in operations if draw(st.integers(0, 4))]))
    return both


@given(ways())
def test_from_the_second_launch_on_everything_common_meets(pair: tuple[Way, Way]):
    base, head = pair
    first, second, third = meet(base, head, 3)
    assert second == third == common(base, head)
    assert set(first) <= set(second)


@given(ways(), ways())
def test_whatever_both_sides_do_it_comes_to_an_end(one: tuple[Way, Way], other: tuple[Way, Way]):
    """Other orders, and another head in each launch."""
    courses = Course(), Course()
    for base, head in (one, other, (one[0], other[1]), (other[1][::-1], one[0])):
        met = launch(base, head, courses)
        assert len(met) == len(set(met))
