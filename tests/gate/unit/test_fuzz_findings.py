"""What `make fuzz` has found stays found: each document is tried again, by the same laws."""

from pathlib import Path
from typing import Final

import pytest

from tests.gate.fuzz.laws import LAWS, check

FINDINGS: Final = Path(__file__).parents[1] / "fuzz" / "findings"
OPEN: Final = {
    "report-deep-beside-another-mistake.json": "the place of a mistake is looked for by decoding once more",
    "report-not-utf-8-beside-another-mistake.json": "so it is, and the bytes are no text",
    "report-failed-call-of-a-passed-test.json": "beside a word that is known no stage counts",
}
"""Documents that break a law still, and why."""


def _case(name: str) -> object:
    marks = [pytest.mark.xfail(reason=OPEN[name], strict=True)] if name in OPEN else []
    return pytest.param(name, marks=marks)


@pytest.mark.parametrize("name", [_case(file.name) for file in sorted(FINDINGS.iterdir())])
def test_what_was_found_once_breaks_no_law(name):
    check(name.partition("-")[0], (FINDINGS / name).read_bytes())


def test_there_is_a_law_for_each_finding():
    names = {file.name for file in FINDINGS.iterdir()}
    assert OPEN.keys() <= names
    assert {name.partition("-")[0] for name in names} <= LAWS.keys()
