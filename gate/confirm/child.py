"""One side's process: how it is started, talked to over two pipes, and ended for certain."""

import json
import os
import selectors
import shlex
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gate.confirm.course import Course, Stop
from gate.confirm.sides import LaunchError, Side
from gate.imports import SHARED
from gate.processes import process_group
from gate.variables import (
    BATON_VARIABLE,
    PROGRESS_VARIABLE,
    SELECT_VARIABLE,
    SHARD_VARIABLE,
    SHARDS_VARIABLE,
)

_OPTIONS: Final = (
    "-p", "no:cacheprovider", "-p", "no:randomly", "-W", "ignore:Module already imported",
    "--continue-on-collection-errors",
)  # fmt: skip
"""Nothing that is written beside the tests or shuffles them; the gate is imported before pytest looks; a
file that cannot be collected keeps nobody from measuring the others."""
_JUDGED: Final = frozenset({0, 1, 5})
"""How pytest ends where tests were run, whatever became of them, or where none was chosen."""
_SHIM: Final = Path(__file__).with_name("shim.py")
_PADDING: Final = "GATE_PADDING"
_ROOM: Final = 4096
"""Bytes of paths in the environment that are evened out between the sides."""


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


@dataclass
class Child:
    """One side's process and the two pipes to it."""

    side: Side
    process: "subprocess.Popen[bytes]"
    commands: int
    answers: int
    log: Path
    patience: float
    course: Course
    stop: Stop | None = None
    """Where it stopped last."""
    waits: bool = False
    """There, for the baton."""
    seconds: float = 0.0
    """What one call of the operation there takes, roughly."""
    each: int = 1
    """Latencies that a call gives."""
    errors: float = 0.0
    """How many of its requests fail, if it is a load: a share."""
    failed: set[str] = field(default_factory=set[str])
    """Tests that did not pass in this launch (nodeids)."""
    ended: int | None = None
    """How pytest said it ended."""
    buffer: bytes = b""

    def next_stop(self) -> Stop | None:
        """Where it waits next; None when it has closed its end.

        Raises:
            LaunchError: nothing came for too long.
        """
        while message := self._hear():
            if "test" in message:
                self.stop = Stop(message["test"], message.get("ready", ""))
                self.course.arrive(self.stop)
                self.waits = True
                self.seconds, self.each = message.get("seconds", 0.0), message.get("each", 1)
                self.errors = message.get("errors", 0.0)
                return self.stop
            if "values" in message:  # of a test that went on alone: nobody asked
                self._say(0)
            if "failed" in message:
                self.failed.add(message["failed"])
            self.course.announce(message.get("tests", ()))
            self.ended = message.get("ended", self.ended)
        return None

    def ask(self, calls: int, key: str, *, close: bool = False) -> Any:  # noqa: ANN401 - what the key stands for
        """Hand the baton over and wait for the figures under a key.

        Args:
            calls: of the operation; any number for a test that is measured as a whole.
            key: of the answer.
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
        if message is not None and key in message:
            self.seconds = message.get("seconds", self.seconds)
            return message[key]
        self.waits = False
        if message is not None:
            self.buffer = json.dumps(message).encode() + b"\n" + self.buffer
        return None

    def go_on(self) -> None:
        """Let it leave the stop where it waits."""
        if self.waits:
            self.waits = False
            self._say(0)

    def _say(self, calls: int, *, close: bool = False) -> None:
        """Hand the baton over for a round of calls; 0: go on with the test."""
        command = {"calls": calls, "at": self.stop, "close": close}
        with suppress(BrokenPipeError):
            os.write(self.commands, json.dumps(command).encode() + b"\n")

    def _hear(self) -> dict[str, Any] | None:
        """The next message; None when the process has closed its end."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.answers, selectors.EVENT_READ)
            while b"\n" not in self.buffer:
                if not selector.select(timeout=self.patience):
                    raise self._error(f"hangs: no sign of life for {self.patience:.0f} s")
                data = os.read(self.answers, 65536)
                if not data:
                    return None
                self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return json.loads(line)

    def close(self) -> None:
        """Take the baton away and wait for the end.

        Raises:
            LaunchError: it crashed, or does not end.
        """
        os.close(self.commands)
        self.commands = -1
        try:
            code = self.process.wait(timeout=self.patience)
        except subprocess.TimeoutExpired:
            raise self._error("does not end") from None
        # A wrapper (make) has exit codes of its own where a test failed.
        if self.ended not in _JUDGED:
            raise self._error(f"ended with exit code {code}")

    def _error(self, what: str) -> LaunchError:
        """What happened to it, and the end of what it printed."""
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
        return LaunchError(self.side.name, f"the {self.side.name} side {what}:\n{tail}")


@contextmanager
def started(
    side: Side, task: Task, course: Course, directory: Path, *, seed: int, core: int
) -> Generator[Child]:
    """Start one side's process; it is gone when the block ends.

    Args:
        side: where it runs.
        task: what it does.
        course: its way through this launch.
        directory: a fresh directory of this launch.
        seed: of hashes and layout: the same on both sides.
        core: where it measures; negative: anywhere.
    """
    select = directory / "select"
    select.write_text("\n".join(task.tests), encoding="utf-8")
    commands_out, commands_in = os.pipe()
    answers_out, answers_in = os.pipe()
    baton = {
        "commands": commands_out,
        "answers": answers_in,
        "subjects": list(task.subjects),
        "tests": list(task.whole),
        "core": core,
    }
    added = {SELECT_VARIABLE: str(select), BATON_VARIABLE: json.dumps(baton)}
    log = directory / f"{side.name}.log"
    with log.open("wb") as output, ExitStack() as stack:
        try:
            process = stack.enter_context(
                process_group(
                    [sys.executable, "-I", str(_SHIM), str(os.getpid()), task.command],
                    cwd=side.root,
                    env=side_environment(side, seed) | added,
                    output=output,
                    pass_fds=(commands_out, answers_in),
                    grace=2.0,
                )
            )
        finally:
            os.close(commands_out)
            os.close(answers_in)
        child = Child(side, process, commands_in, answers_out, log, task.patience, course)
        try:
            yield child
        finally:
            for descriptor in (child.commands, child.answers):
                with suppress(OSError):
                    os.close(descriptor)


def side_environment(side: Side, seed: int) -> dict[str, str]:
    """The environment variables of a side's processes.

    As long on both sides, whatever their paths: where the stack begins depends on it, and some code is
    slower at an unlucky place.
    """
    own = {
        "PATH": os.pathsep.join((str(side.scripts), os.environ.get("PATH", ""))),
        "PYTHONPATH": side.python_path,
        "PWD": str(side.root),
        # What is compared is chosen by name, whichever shard it was measured in.
        SHARD_VARIABLE: "1",
        SHARDS_VARIABLE: "1",
        **(SHARED if side.shared else {}),
    }
    if os.environ.get("PYTHONDONTWRITEBYTECODE"):
        # Nothing may be written beside the sources; compiling everything anew in each launch costs seconds.
        own |= {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(side.scratch / "compiled")}
    given = os.environ.get("PYTEST_ADDOPTS", "")
    inherited: Mapping[str, str] = {k: v for k, v in os.environ.items() if k != PROGRESS_VARIABLE}
    return {
        **inherited,
        **own,
        "PYTHONHASHSEED": str(seed % 4_294_967_295),
        "PYTEST_ADDOPTS": f"{given} {shlex.join(_OPTIONS)}".strip(),
        _PADDING: "." * max(0, _ROOM - sum(map(len, own.values())) + seed % 4096),
    }
