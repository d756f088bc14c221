"""Any text is a gate's name: marker, artifacts and group are one-to-one, and what GitHub takes."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from gate.github.comments import _MARKER, marker  # pyright: ignore[reportPrivateUsage]
from gate.github.names import artifact_of, key_of, measured_of

names = (
    st.text(st.characters(), min_size=1, max_size=12)
    | st.text(st.sampled_from("aA /%->\n~"), min_size=1)
    | st.text(st.sampled_from("aB"), min_size=100, max_size=300)
)
suites = st.text(st.sampled_from("ab-_.~"), min_size=1, max_size=4).filter(lambda name: "~" not in name)
_REFUSED = re.compile(r"[\"\s:<>|*?\\/]")
"""What GitHub refuses in the name of an artifact, and spaces."""


@given(names, names)
@example("api/v1 – Python 3.12", "api%2Fv1 – Python 3.12")
@example("a-->b", "a")
@example("API", "api")
@example("a" * 200, "a" * 201)
def test_names_are_one_to_one(one: str, other: str):
    keys = key_of(one), key_of(other)
    assert (keys[0] == keys[1]) is (one == other)
    assert (keys[0].lower() == keys[1].lower()) is (one == other), "GitHub's groups know no case"
    assert not _REFUSED.search(artifact_of(one))
    assert "~" not in keys[0]
    assert len(keys[0]) <= 120
    assert not set("*?[]{}()!+@") & set(keys[0]), "it stands in a pattern"


@given(names, suites, names, suites)
@example("a", "b", "a~b", "c")
def test_what_a_job_measured_is_found_by_its_gate_alone(gate: str, suite: str, other: str, more: str):
    one, two = f"{measured_of(gate)}{suite}", f"{measured_of(other)}{more}"
    assert (one == two) is ((gate, suite) == (other, more))
    assert one.startswith(measured_of(other)) is (gate == other)


@given(names)
def test_the_marker_is_read_back(gate: str):
    found = _MARKER.fullmatch(marker(gate, (42, 1), "failed"))
    assert found
    assert found.groups() == (key_of(gate), "42", "1", "failed")
    assert "-->" not in marker(gate, (42, 1), "failed")[:-3]
