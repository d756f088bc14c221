"""What `make fuzz` has found stays found: each document is tried again, by the same laws."""

from pathlib import Path
from typing import Final

import pytest

from tests.gate.fuzz.laws import LAWS, check

FINDINGS: Final = Path(__file__).parents[1] / "fuzz" / "findings"


@pytest.mark.parametrize("name", sorted(file.name for file in FINDINGS.iterdir()))
def test_what_was_found_once_breaks_no_law(name):
    check(name.partition("-")[0], (FINDINGS / name).read_bytes())


def test_there_is_a_law_for_each_finding():
    names = {file.name for file in FINDINGS.iterdir()}
    assert {name.partition("-")[0] for name in names} <= LAWS.keys()
