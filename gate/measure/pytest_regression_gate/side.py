"""Runs at the start of every Python process of one side of a comparison, before the project's own code.

`00_regression_gate.pth` calls it in each process of the environment, also with `-I` and `-E`; any other
process it costs one look at a variable. It puts the side's own installations first, moves import paths from
the work tree to the side's tree, and lets an observer note what the process reaches, where that is asked for.
It must not disturb the process it runs in, so it imports next to nothing.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pytest_regression_gate.observer import Observer

SIDE = "GATE_SIDE_NAME"
"""`base` or `head`; without it nothing happens."""
OVERLAY = "GATE_SIDE_OVERLAY"
"""A directory of packages that come before those of the environment, ..."""
PREFIX = "GATE_SIDE_PREFIX"
"""... if this is the environment, or the python of that directory runs."""
MOVE = "GATE_SIDE_MOVE"
"""The work tree and the side's tree: import paths inside the one lead to the other."""
LOG = "GATE_SIDE_LOG"
"""The file for what processes reach."""
TREES = "GATE_SIDE_TREES"
"""Directories of which each file is noted, beside those of installed packages."""


class _Process:
    """What is known of this process."""

    entered = False
    observer: Observer | None = None


def enter(*, late: bool = False) -> None:
    """Make this process one of its side; once, whoever asks.

    Args:
        late: the interpreter has started already, so that all import paths are known.
    """
    if _Process.entered or not os.environ.get(SIDE):
        return
    _Process.entered = True
    overlay, prefix = os.environ.get(OVERLAY, ""), os.environ.get(PREFIX, "")
    if overlay:
        own = os.path.join(overlay, *[os.pardir] * 3)
        if os.path.realpath(sys.prefix) in {os.path.realpath(own), os.path.realpath(prefix)}:
            _put_first(overlay)
    top, _, tree = os.environ.get(MOVE, "").partition(os.pathsep)
    if top and tree:
        if late:
            move_imports(top, tree)
        else:
            finder: Any = _WhenStarted(top, tree)
            sys.meta_path.insert(0, finder)
    if log := os.environ.get(LOG):
        from pytest_regression_gate.observer import Observer  # noqa: PLC0415 - only a launch that looks has one

        trees = [*os.environ.get(TREES, "").split(os.pathsep), *filter(_holds_packages, sys.path)]
        _Process.observer = Observer(log, [one for one in trees if one])
        _Process.observer.begin()


def in_one_line(nodeid: str) -> str:
    """A nodeid as notes have it: without what ends a line or a field."""
    return nodeid if nodeid.isprintable() else nodeid.encode("unicode_escape").decode()


def test_begins(nodeid: str) -> None:
    """Note that a test begins: what is reached from here on may be its own."""
    if _Process.observer:
        _Process.observer.note("test", in_one_line(nodeid))


def observed() -> bool:
    """Whether what this process reaches is noted."""
    return _Process.observer is not None


def raised(where: str, message: str) -> None:
    """Note an exception that kept a test, or a file of tests, from passing."""
    if _Process.observer:
        _Process.observer.note("error", f"{where}\t{message}")


def _put_first(overlay: str) -> None:
    """Add a directory of installed packages before the environment's own, its `.pth` files included."""
    import site  # noqa: PLC0415 - it is there already where this runs at startup

    before = [entry for entry in sys.path if entry != overlay]
    if len(before) == len(sys.path):  # else its own python runs
        site.addsitedir(overlay)
    added = [entry for entry in sys.path if entry not in before]
    installed = (place for place, entry in enumerate(before) if _holds_packages(entry))
    place = next(installed, len(before))
    sys.path[:] = [*before[:place], *added, *before[place:]]


def _holds_packages(entry: str) -> bool:
    """Whether packages are installed in a directory: an environment's, or one that `pip --target` filled."""
    if entry.endswith(("site-packages", "dist-packages")):
        return True
    try:
        return any(name.endswith(".dist-info") for name in os.listdir(entry))
    except OSError:
        return False


class _WhenStarted:
    """A finder that finds nothing. `sitecustomize` is looked for when all `.pth` files are read."""

    def __init__(self, top: str, tree: str) -> None:
        self._top, self._tree = top, tree

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Move what leads into the work tree, once."""
        if name == "sitecustomize":
            finders: list[Any] = sys.meta_path
            finders.remove(self)
            move_imports(self._top, self._tree)


def move_imports(top: str, tree: str) -> None:
    """Let everything that would be imported from the work tree come from the side's tree.

    What belongs to the interpreter's environment stays, also where that lies in the work tree.
    """
    kept = tuple(prefix + os.sep for prefix in {sys.prefix, sys.base_prefix})

    def moved(path: str) -> str:
        inside = path == top or path.startswith(top + os.sep)
        return tree + path[len(top) :] if inside and not (path + os.sep).startswith(kept) else path

    sys.path[:] = [moved(entry) for entry in sys.path]
    tables = [getattr(finder, "_redirections", None) for finder in sys.meta_path]  # of `editables`
    for name, module in list(sys.modules.items()):
        if name.startswith("__editable__"):  # of setuptools
            tables += [getattr(module, "MAPPING", None), getattr(module, "NAMESPACES", None)]
    for table in tables:
        if isinstance(table, dict):
            _move_values(table, moved)  # pyright: ignore[reportUnknownArgumentType]


def _move_values(table: dict[Any, Any], moved: Callable[[str], str]) -> None:
    for key, value in table.items():
        if isinstance(value, str):
            table[key] = moved(value)
        elif isinstance(value, list):
            table[key] = [moved(one) if isinstance(one, str) else one for one in value]  # pyright: ignore
