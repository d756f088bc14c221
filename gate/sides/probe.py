"""Which environment a suite runs in: interpreter, import paths, distributions, as its own pytest says."""

import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlparse

import msgspec

from gate.processes import process_group
from gate.sides.side import Side
from pytest_regression_gate.variables import PROBE_VARIABLE

_SECONDS: Final = 120.0
"""How long the start of a suite may take; a wrapper may make its environment first."""
_LOOK: Final = 0.02


class _DirInfo(msgspec.Struct, frozen=True):
    editable: bool = False


class _Source(msgspec.Struct, frozen=True):
    """`direct_url.json`: https://packaging.python.org/en/latest/specifications/direct-url-data-structure/."""

    url: str = ""
    dir_info: _DirInfo | None = None


class Distribution(msgspec.Struct, frozen=True):
    """Something that is installed."""

    name: str
    version: str
    place: str
    """Its directory of metadata."""
    source: str = ""
    """The text of its `direct_url.json`, if it was installed from a directory, a file or a repository."""

    @property
    def directory(self) -> Path | None:
        """The directory that it was installed from; None: from elsewhere."""
        found = self._from()
        if found.dir_info is None or not found.url.startswith("file:"):
            return None
        return Path(unquote(urlparse(found.url).path))

    @property
    def editable(self) -> bool:
        """Whether the directory itself is imported."""
        found = self._from().dir_info
        return found is not None and found.editable

    def _from(self) -> _Source:
        try:
            return msgspec.json.decode(self.source, type=_Source) if self.source else _Source()
        except msgspec.DecodeError:
            return _Source()


class Environment(msgspec.Struct, frozen=True):
    """The environment of a suite."""

    executable: str
    prefix: str
    version: str
    implementation: str
    path: list[str]
    distributions: list[Distribution]

    @property
    def by_name(self) -> Mapping[str, Distribution]:
        """Distributions by normalised name; of several the one that is imported."""
        return {normalised(found.name): found for found in reversed(self.distributions)}


@dataclass(frozen=True)
class Silence:
    """A suite whose pytest did not say what its environment is."""

    log: str
    """The end of what was printed."""


def probe(sides: Sequence[Side], command: str) -> list[Environment | Silence]:
    """Ask the pytest of a suite's command for its environment; nothing of the project is run.

    Args:
        sides: where; all of them at once, each with a name of its own.
        command: of the suite.
    """
    with tempfile.TemporaryDirectory(dir=sides[0].scratch) as directory:
        return _ask(sides, command, Path(directory))


def _ask(sides: Sequence[Side], command: str, directory: Path) -> list[Environment | Silence]:
    files = [directory / f"{side.name}.json" for side in sides]
    logs = [file.with_suffix(".log") for file in files]
    deadline = time.monotonic() + _SECONDS
    with ExitStack() as stack:
        waiting = [
            stack.enter_context(
                process_group(
                    side.moved(command),
                    cwd=side.root,
                    env=side.environment(0) | {PROBE_VARIABLE: str(file)},
                    output=stack.enter_context(log.open("wb")),
                    grace=1.0,
                )
            )
            for side, file, log in zip(sides, files, logs, strict=True)
        ]
        for process, file in zip(waiting, files, strict=True):
            while not file.exists() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(_LOOK)
    return [_answer(file, log) for file, log in zip(files, logs, strict=True)]


def _answer(file: Path, log: Path) -> Environment | Silence:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Environment)
    except (OSError, msgspec.DecodeError):
        return Silence("\n".join(log.read_text(errors="replace").splitlines()[-10:]))


def normalised(name: str) -> str:
    """A distribution's name as the index spells it: PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()
