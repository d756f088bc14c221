"""What the processes of one side reached in a launch that only looks, as their notes say. Pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pytest_regression_gate.observer import SEPARATOR
from pytest_regression_gate.side import in_one_line

_BEFORE_ALL: Final = 0
"""What counts for all tests: collection, fixtures of the session's first test, and other processes."""
_LEAST: Final = 3
"""Process, kind, what."""


@dataclass(frozen=True)
class Peer:
    """Something that a process connected to."""

    host: str
    """`unix` for a socket in the file system."""
    port: str
    """Or its path."""
    listening: bool = False
    """Somebody on this machine listened there."""
    pid: str = ""
    """Empty: no process of this user's."""
    side: str = ""
    """Whose process listened; empty: neither side's."""
    directory: str = ""
    command: str = ""

    @property
    def address(self) -> str:
        """As people write it."""
        return self.port if self.host == "unix" else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Process:
    """A Python process that said so."""

    pid: str
    ancestors: tuple[str, ...]
    """The processes above it, the nearest first."""
    executable: str
    prefix: str


@dataclass
class Footprint:
    """What one side reached.

    A number says from which test on it counts: what is loaded stays loaded for those after it.
    """

    tests: dict[str, int] = field(default_factory=dict[str, int])
    """Nodeid -> its place in the order, from 1."""
    files: dict[str, int] = field(default_factory=dict[str, int])
    outside: dict[str, int] = field(default_factory=dict[str, int])
    """Files elsewhere that were read."""
    peers: dict[Peer, int] = field(default_factory=dict[Peer, int])
    children: dict[str, int] = field(default_factory=dict[str, int])
    """Programs that were started."""
    starts: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Each start of one: by which process, which program."""
    bound: set[str] = field(default_factory=set[str])
    """Addresses with a fixed port."""
    processes: list[Process] = field(default_factory=list[Process])
    errors: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Where, and what was raised, of what did not pass."""

    def reach(self, peer: Peer, since: int = _BEFORE_ALL) -> None:
        """Note a peer, from some test on."""
        self.peers[peer] = min(since, self.peers.get(peer, since))


def footprint(lines: Iterable[str], asked: Collection[str]) -> Footprint:
    """Read the notes of one side's processes.

    The suite's own process is the first that begins a test. What others reach counts for all tests.

    Args:
        lines: as `Observer` writes them.
        asked: nodeids of the tests that were to run; of a pytest that a test starts nothing is heard.
    """
    found = Footprint()
    main, now = "", _BEFORE_ALL
    names = {in_one_line(nodeid): nodeid for nodeid in asked}
    for line in lines:
        parts = line.rstrip("\n").split(SEPARATOR)
        if len(parts) < _LEAST:  # it was cut
            continue
        pid, kind, *fields = parts
        since = now if pid == main else _BEFORE_ALL
        match kind:
            case "test" if fields[0] in names and main in {"", pid}:
                main, now = pid, len(found.tests) + 1
                found.tests.setdefault(names[fields[0]], now)
            case "process" if len(fields) == 3:
                found.processes.append(Process(pid, tuple(fields[0].split(",")), *fields[1:]))
            case "file":
                _since(found.files, fields[0], since)
            case "outside":
                _since(found.outside, fields[0], since)
            case "child":
                _since(found.children, fields[0], since)
                found.starts.append((pid, fields[0]))
            case "bind" if len(fields) > 1:
                found.bound.add(":".join(fields[:2]))
            case "connect" if len(fields) > 2:
                found.reach(Peer(fields[0], fields[1], fields[2] == "yes", *fields[3:7]), since)
            case "error" if len(fields) > 1:
                found.errors.append((fields[0], fields[1]))
            case _:
                pass
    return found


def _since(table: dict[str, int], name: str, since: int) -> None:
    table[name] = min(since, table.get(name, since))


def read_footprint(file: Path, asked: Collection[str]) -> Footprint:
    """Read the file of notes; one that is not there has none."""
    try:
        text = file.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        text = ""
    return footprint(text.split("\n"), asked)
