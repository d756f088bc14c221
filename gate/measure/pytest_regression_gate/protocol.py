"""What the gate and the pytest that it started say to each other: one JSON document per line.

Progress of a suite goes one way. In a same-machine comparison each side's worker says where it waits and what
it measured, and the controller answers with commands.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from pytest_regression_gate.pipes import Address


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event of a running suite: the number of tests, a test that begins or ends, or what it waits for."""

    total: int | None = None
    started: str | None = None
    finished: str | None = None
    waiting: str | None = None


def selection(nodeids: Iterable[str]) -> bytes:
    """The file that chooses some tests; an id may hold any character, also the end of a line."""
    return msgspec.json.encode([*nodeids])


def selected(data: bytes) -> frozenset[str]:
    """The tests that such a file chooses."""
    return msgspec.json.decode(data, type=frozenset[str])


class Lockstep(msgspec.Struct, frozen=True):
    """What a worker is told before it starts, in an environment variable."""

    commands: str
    """Address of the pipe that it reads from."""
    answers: str
    """Address of the pipe that it writes to."""
    subjects: list[str]
    """Operations to measure in rounds (metric names without statistic)."""
    tests: list[str]
    """Tests to measure as a whole (nodeids)."""
    core: int
    """The core to measure on; negative: any."""


class Selected(msgspec.Struct, frozen=True, tag="selected"):
    """The tests that will run, in order; said before the first."""

    tests: list[str]


class Waiting(msgspec.Struct, frozen=True, omit_defaults=True, tag="waiting"):
    """The worker waits for a command: at an operation, or before a test that is measured as a whole."""

    test: str
    """Nodeid."""
    operation: str = ""
    """Metric name without statistic; empty: the test as a whole."""
    seconds: float = 0.0
    """What one call of the operation takes, roughly."""
    each: int = 1
    """Latencies that a call gives."""
    errors: float = 0.0
    """Share of the requests that fail, if it is a load."""


class Round(msgspec.Struct, frozen=True, omit_defaults=True, tag="round"):
    """One round of calls."""

    values: dict[str, float]
    """By statistic; latencies and CPU time in ms."""
    seconds: float
    """What one call took, or the calls behind one latency."""
    block: dict[str, float] = {}
    """Where the round closes a block: tails and spread of all its calls as multiples of the median, without
    slow spells of the machine."""


class Value(msgspec.Struct, frozen=True):
    """A metric of a test that was measured as a whole."""

    value: float
    unit: str


class Whole(msgspec.Struct, frozen=True, tag="whole"):
    """What a test measured that was run as a whole, by metric; empty if it did not pass."""

    values: dict[str, Value]


class NotPassed(msgspec.Struct, frozen=True, tag="not-passed"):
    """A test that was not measured as a whole did not pass."""

    test: str
    """Nodeid."""


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """Pytest is over; a wrapper around it has exit codes of its own."""

    status: int


Answer = Selected | Waiting | Round | Whole | NotPassed | Ended


class Command(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the controller wants of the worker that waits at a stop; for any other stop it is skipped."""

    test: str
    operation: str
    calls: int = 0
    """Latencies to measure in one round, or any number for a test as a whole; 0: go on."""
    group: int = 1
    """Calls of the operation behind each latency: their mean."""
    close: bool = False
    """Whether a block of rounds ends with this one."""


TWICE: Final = "twice"


def begun(report: Path) -> Path:
    """The file that the pytest of a suite makes when it begins; it holds `TWICE` if there was another one."""
    return report.with_suffix(".begun")


_answers: Final = msgspec.json.Decoder(Answer)
_commands: Final = msgspec.json.Decoder(Command)
_progress: Final = msgspec.json.Decoder(Progress)


def say(address: Address, message: Answer | Progress) -> None:
    """Send a message to the gate.

    Raises:
        OSError: it cannot be reached.
    """
    address.send(msgspec.json.encode(message))


def answer_from(line: bytes) -> Answer:
    """Read what a worker said."""
    return _answers.decode(line)


def command_from(line: bytes) -> Command:
    """Read what a controller wants."""
    return _commands.decode(line)


def progress_from(line: bytes) -> Progress:
    """Read an event of a running suite."""
    return _progress.decode(line)
