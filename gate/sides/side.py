"""One side of a comparison: where it runs, and with which variables."""

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gate.imports import SHARED, search_path
from gate.policy import Service
from pytest_regression_gate import side as startup
from pytest_regression_gate.variables import (
    CACHE_VARIABLE,
    PROGRESS_VARIABLE,
    SESSION_VARIABLE,
    SHARD_VARIABLE,
    SHARDS_VARIABLE,
)

_OPTIONS: Final = ("-W", "ignore:Module already imported", "--continue-on-collection-errors")
"""The plugin is imported before pytest looks; a file that cannot be collected keeps nobody from measuring
the others. No plugin is switched off: the suite's command may have options of it."""
_PADDING: Final = "GATE_PADDING"
_ROOM: Final = 4096
"""Bytes of paths in the environment that are evened out between the sides."""
_NOT_INHERITED: Final = frozenset({PROGRESS_VARIABLE, SESSION_VARIABLE})


class LaunchError(Exception):
    """A side cannot start, crashed or hung. The message holds the end of its output."""

    def __init__(self, side: str, message: str) -> None:
        super().__init__(message)
        self.side = side
        """`base` or `head`."""


@dataclass(frozen=True)
class Overlay:
    """Installations of one side that come before those of the environment."""

    packages: Path
    """What is imported first."""
    scripts: Path
    """What is first on the path."""
    prefix: str
    """The environment that it was made for."""


RULER: Final = "ruler"
"""Directory beside the scratches of both sides that holds what measures, the same for both."""


@dataclass(frozen=True)
class Side:
    """Where one side runs."""

    name: str
    root: Path
    """The directory of thresholds.yaml on this side."""
    scratch: Path
    """A directory of its own, for what must not be written beside the sources."""
    top: Path = Path()
    """The work tree."""
    tree: Path = Path()
    """The same of this side: the work tree itself, or a worktree."""
    python_path: str = ""
    """What its processes import first."""
    scripts: Path | None = None
    """Where its `python` and `pytest` lie, if it has an environment of its own."""
    shared: bool = False
    """Whether a link in it leads to the environment of the work tree."""
    overlay: Overlay | None = None
    services: tuple[Service, ...] = ()
    """What runs beside its tests."""
    variables: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    """Variables that are other ones on this side; None: not set."""

    @property
    def places(self) -> tuple[Path, ...]:
        """The directories that are its own."""
        overlay = (self.overlay.packages.parents[2],) if self.overlay else ()
        return (self.tree, self.scratch, self.scratch.parent / RULER, *overlay)

    def moved(self, text: str) -> str:
        """A text in which paths inside the work tree lead to this side's tree."""
        return moved_paths(text, self.top, self.tree)

    def environment(self, seed: int, log: Path | None = None) -> dict[str, str]:
        """The variables of its processes.

        As long on both sides, whatever their paths: where the stack begins depends on it, and some code is
        slower at an unlucky place.

        Args:
            seed: of hashes and layout; the same on both sides.
            log: the file in which its processes note what they reach; None: they do not.
        """
        inherited = {
            name: self.moved(value) for name, value in os.environ.items() if name not in _NOT_INHERITED
        }
        inherited |= {name: value for name, value in self.variables.items() if value is not None}
        for name in (name for name, value in self.variables.items() if value is None):
            inherited.pop(name, None)
        own = {
            "PATH": self._search_path(inherited.get("PATH", "")),
            "PYTHONPATH": self.python_path,
            "PWD": str(self.root),
            # What is compared is chosen by name, whichever shard it was measured in.
            SHARD_VARIABLE: "1",
            SHARDS_VARIABLE: "1",
            CACHE_VARIABLE: str(self.scratch / "pytest-cache"),
            **(SHARED if self.shared else {}),
            **self._startup(log),
        }
        given = inherited.get("PYTEST_ADDOPTS", "")
        return {
            **inherited,
            **own,
            "PYTHONHASHSEED": str(seed % 4_294_967_295),
            "PYTEST_ADDOPTS": f"{given} {shlex.join(_OPTIONS)}".strip(),
            _PADDING: "." * max(0, _ROOM - sum(map(len, own.values())) + seed % 4096),
        }

    def _search_path(self, inherited: str) -> str:
        first = [str(self.overlay.scripts)] if self.overlay else []
        if self.scripts is not None:
            return os.pathsep.join((*first, str(self.scripts), inherited))
        return os.pathsep.join((*first, search_path(inherited)))

    def _startup(self, log: Path | None) -> dict[str, str]:
        """What the startup hook of its processes is told."""
        told = {startup.SIDE: self.name}
        if self.tree != self.top:
            told[startup.MOVE] = f"{self.top}{os.pathsep}{self.tree}"
        if self.overlay:
            told |= {startup.OVERLAY: str(self.overlay.packages), startup.PREFIX: self.overlay.prefix}
        if log:
            told |= {startup.LOG: str(log), startup.TREES: os.pathsep.join({str(self.top), str(self.tree)})}
        return told


def moved_paths(text: str, top: Path, tree: Path) -> str:
    """A text in which paths inside one directory lead into another one.

    Paths of virtual environments stay, which have their own link in the tree.

    Args:
        text: a command, or the value of a variable.
        top: the directory.
        tree: the other one.
    """
    if tree == top or str(top) not in text:
        return text
    path = re.compile(rf"(?<![\w.\-]){re.escape(str(top))}(?P<inside>(?:/[^\s:;,'\"]*)?)(?=$|[\s:;,'\"])")

    def moved(match: re.Match[str]) -> str:
        whole = match[0]
        return whole if _in_environment(Path(whole), top) else f"{tree}{match['inside']}"

    return path.sub(moved, text)


def _in_environment(path: Path, top: Path) -> bool:
    """Whether a path lies in a virtual environment that lies in a directory."""
    between = [path, *path.parents][: len(path.parts) - len(top.parts)]
    return any((place / "pyvenv.cfg").exists() for place in between)
