"""One side's process: how it is started, talked to over two pipes, and ended for certain."""

import os
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from gate.confirm.course import Course, Stop
from gate.confirm.services import services_of
from gate.no_report import unreached
from gate.processes import process_group
from gate.sides.side import LaunchError, Side
from pytest_regression_gate.pipes import Pipe
from pytest_regression_gate.protocol import (
    Answer,
    Command,
    Ended,
    Lockstep,
    NotPassed,
    Round,
    Selected,
    Waiting,
    Whole,
    answer_from,
    selection,
)
from pytest_regression_gate.variables import (
    LOCKSTEP_VARIABLE,
    SELECT_VARIABLE,
)

_JUDGED: Final = frozenset({0, 1, 5})
"""How pytest ends where tests were run, whatever became of them, or where none was chosen."""
_SHIM: Final = Path(__file__).with_name("shim.py")
_LOOK_SECONDS: Final = 0.05
"""How often it is asked whether a silent process has ended."""


@dataclass(frozen=True)
class Task:
    """What both processes of a launch do."""

    command: str
    """The suite's command."""
    tests: Sequence[str]
    """The tests to run (nodeids)."""
    subjects: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    """Operations to measure in rounds (metric names without statistic) -> statistics that are asked for."""
    whole: Sequence[str] = ()
    """Tests to measure as a whole, in turns (nodeids)."""
    units: Mapping[str, str] = field(default_factory=dict[str, str])
    """Metric of such a test -> the unit that it is asked in."""
    patience: float = 60.0
    """Seconds without a sign of life after which a side counts as hung."""

    @property
    def asked(self) -> frozenset[str]:
        """What is to be measured: operations, and tests as a whole."""
        return frozenset((*self.subjects, *self.whole))


_A = TypeVar("_A", Round, Whole)


@dataclass
class Child:
    """One side's process and the two pipes to it."""

    side: Side
    command: str
    process: "subprocess.Popen[bytes]"
    commands: Pipe
    answers: Pipe
    log: Path
    patience: float
    course: Course
    ports: frozenset[str] = frozenset()
    """Where services of its side listen."""
    stop: Stop | None = None
    """Where it stopped last."""
    waits: bool = False
    """There, for the baton."""
    seconds: float = 0.0
    """What one call of the operation there takes, roughly; timed together: all of them."""
    group: int = 1
    """Calls that are timed together."""
    each: int = 1
    """Latencies that a call gives."""
    errors: float = 0.0
    """How many of its requests fail, if it is a load: a share."""
    failed: set[str] = field(default_factory=set[str])
    """Tests that did not pass in this launch (nodeids)."""
    ended: int | None = None
    """How pytest said it ended."""
    heard: bool = False
    """Whether it ever said anything."""
    kept: Answer | None = None
    """What it said in place of an answer: the next thing to hear."""

    def next_stop(self) -> Stop | None:
        """Where it waits next; None when it is over.

        Raises:
            LaunchError: nothing came for too long.
        """
        while message := self._hear():
            match message:
                case Waiting():
                    self.stop = Stop(message.test, message.operation)
                    self.course.arrive(self.stop)
                    self.waits = True
                    self.seconds, self.each, self.errors = message.seconds, message.each, message.errors
                    self.group = 1
                    return self.stop
                case Whole():  # of a test that went on alone: nobody asked
                    self._say(0)
                case NotPassed():
                    self.failed.add(message.test)
                case Selected():
                    self.course.announce(message.tests)
                case Ended():
                    self.ended = message.status
                case Round():
                    pass
        return None

    def time_together(self, calls: int) -> None:
        """Let each latency be the mean of so many calls."""
        self.seconds *= calls / self.group
        self.group = calls

    def ask(self, calls: int, answer: type[_A], *, close: bool = False) -> _A | None:
        """Hand the baton over and wait for the figures.

        Args:
            calls: or groups of calls; any number for a test that is measured as a whole.
            answer: what is expected.
            close: whether a block of rounds ends with this one.

        Returns:
            The figures; None if the test ended without them, and then it waits no longer at this stop.

        Raises:
            LaunchError: it hangs.
        """
        if not self.waits:
            return None
        self._say(calls, close=close)
        message = self._hear()
        if isinstance(message, answer):
            if isinstance(message, Round):
                self.seconds = message.seconds
            return message
        self.waits = False
        self.kept = message
        return None

    def go_on(self) -> None:
        """Let it leave the stop where it waits."""
        if self.waits:
            self.waits = False
            self._say(0)

    def _say(self, calls: int, *, close: bool = False) -> None:
        """Hand the baton over for a round of calls; 0: go on with the test."""
        if self.stop is not None:
            command = Command(*self.stop, calls=calls, group=self.group, close=close)
            self.commands.send(msgspec.json.encode(command))

    def _hear(self) -> Answer | None:
        """The next message; None when pytest, or what was started, is over."""
        if message := self.kept:
            self.kept = None
            return message
        deadline = time.monotonic() + self.patience
        while self.ended is None:
            over = self.process.poll() is not None  # what it has said until then is in the pipe
            if line := self.answers.receive(0 if over else _LOOK_SECONDS):
                self.heard = True
                return answer_from(line)
            if over:
                break
            if time.monotonic() > deadline:
                raise self._error(f"hangs: no sign of life for {self.patience:.0f} s")
        return None

    def close(self) -> None:
        """Take the baton away and wait for the end.

        Raises:
            LaunchError: it crashed, or does not end.
        """
        self.commands.close()
        try:
            code = self.process.wait(timeout=self.patience)
        except subprocess.TimeoutExpired:
            raise self._error("does not end") from None
        # A wrapper (make) has exit codes of its own where a test failed.
        if self.ended not in _JUDGED:
            cause = f": {unreached(self.command)}" if not self.heard and code in _JUDGED else ""
            said = "ran its tests and knew nothing of the gate" if cause else f"ended with exit code {code}"
            raise self._error(f"{said}{cause}")

    def _error(self, what: str) -> LaunchError:
        """What happened to it, and the end of what it printed."""
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
        return LaunchError(self.side.name, f"the {self.side.name} side {what}:\n{tail}")


@contextmanager
def started(
    side: Side,
    task: Task,
    course: Course,
    directory: Path,
    *,
    seed: int,
    core: int,
    notes: Path | None = None,
) -> Generator[Child]:
    """Start one side's process; it is gone when the block ends.

    Args:
        side: where it runs.
        task: what it does.
        course: its way through this launch.
        directory: a fresh directory of this launch.
        seed: of hashes and layout: the same on both sides.
        core: where it measures; negative: anywhere.
        notes: the file in which its processes note what they reach; None: nobody looks.
    """
    select = directory / "select"
    select.write_bytes(selection(task.tests))
    log = directory / f"{side.name}.log"
    with ExitStack() as stack:
        commands, answers = (
            stack.enter_context(Pipe(directory, f"{side.name}-{name}")) for name in ("commands", "answers")
        )
        lockstep = Lockstep(
            str(commands.address), str(answers.address), list(task.subjects), list(task.whole), core
        )
        added = {SELECT_VARIABLE: str(select), LOCKSTEP_VARIABLE: msgspec.json.encode(lockstep).decode()}
        services = stack.enter_context(services_of(side, seed, notes))
        process = stack.enter_context(
            process_group(
                [sys.executable, "-IS", str(_SHIM), str(os.getpid()), side.moved(task.command)],
                cwd=side.root,
                env=side.environment(seed, notes) | added | services.variables,
                output=stack.enter_context(log.open("wb")),
                grace=2.0,
            )
        )
        yield Child(
            side, task.command, process, commands, answers, log, task.patience, course, services.ports
        )
