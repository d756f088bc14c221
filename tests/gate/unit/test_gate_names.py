"""Any text is a gate's name: its marker and its artifact are one-to-one, and what GitHub takes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from gate.github.comments import _MARKER, marker  # pyright: ignore[reportPrivateUsage]
from gate.github.names import artifact_of, encoded

ACTION = Path(__file__).parents[3] / "action.yml"
names = st.text(st.characters(), min_size=1, max_size=12) | st.text(st.sampled_from("a /%->\n"), min_size=1)


@given(names, names)
@example("api/v1 – Python 3.12", "api%2Fv1 – Python 3.12")
@example("a-->b", "a")
def test_names_are_one_to_one(one: str, other: str):
    assert (artifact_of(one) == artifact_of(other)) is (one == other)
    assert re.fullmatch(r"[^\"\s:<>|*?\\/]+", artifact_of(one)), (
        "what GitHub refuses in the name of an artifact"
    )
    found = _MARKER.fullmatch(marker(one, (42, 1)))
    assert found
    assert (found[1], found[2], found[3]) == (encoded(one), "42", "1")
    assert "-->" not in marker(one, (42, 1))[:-3]


@pytest.mark.parametrize("name", ["gate", "api/v1 – Python 3.12", "a b", '"$(id)"', "100 %"])
def test_the_action_names_its_artifact_alike(name: str, tmp_path: Path):
    steps = yaml.safe_load(ACTION.read_text())["runs"]["steps"]
    (script,) = (step["run"] for step in steps if step.get("id") == "names")
    output = tmp_path / "output"
    variables = {
        "GATE": name,
        "GITHUB_OUTPUT": str(output),
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
    }
    subprocess.run(["bash", "-eo", "pipefail", "-c", script], env=variables, check=True)
    assert output.read_text() == f"artifact={artifact_of(name)}\n"
