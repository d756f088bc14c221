"""Versions that a change edits in a file of which nobody knows what it installs."""

import pytest

from gate.sides.dependencies import edited_dependencies
from gate.sides.mentions import Mention, mentions

INSTALLED = {"ydep": "2.0", "my-dep": "3.1", "redis": "5.0.1"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("ydep==1.0", "ydep==2.0"),
        ('env: {YDEP: "1.0"}', 'env: {YDEP: "2.0"}'),
        ("ydep: [1.0]", "ydep: ['2.0']"),
        ("pip install ydep@v1", "pip install ydep@v2"),
    ],
)
def test_the_version_that_is_installed_is_known_by_its_name(before: str, after: str):
    found = mentions({"a.sh": before.encode()}, {"a.sh": after.encode()}, INSTALLED)
    assert {name: (one.after, one.file) for name, one in found.items()} == {"ydep": ("2.0", "a.sh")}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("image: redis:7.2", "image: redis:7.4"),  # another redis than the client that is installed
        ("ydep==2.0 # old", "ydep==2.0 # new"),
        ("uses: actions/cache@v3", "uses: actions/cache@v4"),
        ("xydep==1.0", "xydep==2.0"),
        ("ydep==1.0", ""),
    ],
)
def test_other_figures_are_none(before: str, after: str):
    assert mentions({"a.yml": before.encode()}, {"a.yml": after.encode()}, INSTALLED) == {}


def test_names_are_spelled_in_several_ways():
    found = mentions({"a": b"My_Dep 3.0"}, {"a": b"My_Dep 3.1"}, INSTALLED)
    assert found == {"my-dep": Mention("3.0", "3.1", "a")}


@pytest.mark.parametrize(
    "line",
    ["git+https://example.org/gdep@v{}", "./vendor/gdep-{}-py3-none-any.whl", "https://example.org/g-{}.zip"],
)
def test_a_requirement_without_a_name_is_not_understood(line: str):
    files = [{"requirements.txt": line.format(number).encode()} for number in (1, 2)]
    assert line.format(1) in edited_dependencies(*files, {}).unread["requirements.txt"]
    assert not edited_dependencies(files[0], files[0], {}).unread
