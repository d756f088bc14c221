"""The parts of a test's name: `file::Class::function[parameters]`. A file's path may hold brackets, too."""

import re
import shlex
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final

_ALIKE: Final = 0.75
"""How much of two names must be the same: 1 is all."""
_MOST: Final = 500
"""New tests among which a name is looked for."""


_QUALIFIER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*:(?!:)")


def qualified(suite: str, nodeid: str) -> str:
    """The name of a test where another suite has one of the same name."""
    return f"{suite}:{nodeid}"


def bare(nodeid: str) -> str:
    """A test's name as pytest has it, without the suite before it."""
    found = _QUALIFIER.match(nodeid)
    return nodeid[found.end() :] if found else nodeid


def pytest_command(nodeids: Iterable[str]) -> str:
    """How to run some tests."""
    return f"pytest {shlex.join(map(bare, nodeids))}"


def file_of(nodeid: str) -> str:
    """The file of a test, relative to the directory that pytest was run in."""
    return bare(nodeid).partition("::")[0]


def function_of(nodeid: str) -> str:
    """A nodeid without parameters."""
    file, colons, place = nodeid.partition("::")
    return f"{file}{colons}{place.partition('[')[0]}"


def above(nodeid: str) -> list[str]:
    """The file of a test, and its classes, as nodeids."""
    parts = function_of(nodeid).split("::")
    return ["::".join(parts[:length]) for length in range(1, len(parts))]


def resembling(gone: str, new: Sequence[str]) -> str:
    """The one new test that has the name of another one in another file, or nearly its name in the same file.

    Args:
        gone: the test that is not there any more.
        new: the tests that were not there before.

    Returns:
        Its nodeid; empty if there is none, or more than one.
    """
    if len(new) > _MOST:
        return ""
    file, _, name = gone.partition("::")
    moved = [one for one in new if one.partition("::")[2] == name]
    beside = {one.partition("::")[2]: one for one in new if file_of(one) == file}
    found = moved or [beside[close] for close in get_close_matches(name, beside, n=2, cutoff=_ALIKE)]
    return found[0] if len(found) == 1 else ""
