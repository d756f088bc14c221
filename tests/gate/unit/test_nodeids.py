"""Names of tests."""

import pytest

from gate.nodeids import resembling

GONE = "tests/test_a.py::test_total_of_prices"


@pytest.mark.parametrize(
    ("new", "found"),
    [
        (["tests/test_a.py::test_total_of_all_prices"], "tests/test_a.py::test_total_of_all_prices"),
        (["tests/test_b.py::test_total_of_prices"], "tests/test_b.py::test_total_of_prices"),
        (["tests/test_b.py::test_total_of_all_prices"], ""),
        (["tests/test_a.py::test_login"], ""),
        (["tests/test_a.py::test_total_of_prices_1", "tests/test_a.py::test_total_of_prices_2"], ""),
        ([], ""),
    ],
)
def test_the_one_new_test_of_nearly_the_same_name_is_found(new: list[str], found: str):
    assert resembling(GONE, new) == found


def test_parameters_that_changed_are_another_name():
    assert resembling("t.py::test_a[1-x]", ["t.py::test_a[2-x]"]) == "t.py::test_a[2-x]"
