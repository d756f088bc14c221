"""One launch: a pair of fresh processes that pass a baton until every operation is measured."""

import json
import math
import os
import selectors
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from gate.confirm.sides import Side
from gate.measure.names import BATON_VARIABLE, PROGRESS_VARIABLE, SELECT_VARIABLE

ROUND_SECONDS: Final = 0.05
"""How long one side measures before it passes the baton."""
MIN_ROUNDS: Final = 4
MAX_ROUNDS: Final = 32
_OPTIONS: Final = ("-p", "no:cacheprovider", "-p", "no:randomly", "-W", "ignore:Module already imported")
"""Nothing that is written beside the tests or shuffles them; the gate is imported before pytest looks."""
_SHIM: Final = Path(__file__).with_name("shim.py")
_PATIENCE: Final = 120.0
"""Seconds without a sign of life after which a side counts as hung."""


class LaunchError(Exception):
    """A side crashed or hung. The message holds the end of its output."""


@dataclass
class LaunchResult:
    """What one launch measured."""

    ratios: dict[str, float] = field(default_factory=dict[str, float])
    """Metric name -> median over the rounds of log(head / base)."""
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    """Subject -> how long its rounds took."""


@dataclass
class _Child:
    """One side's process and the two pipes to it."""

    side: Side
    process: "subprocess.Popen[bytes]"
    commands: int
    answers: int
    log: Path
    buffer: bytes = b""

    def say(self, calls: int) -> None:
        """Hand the baton over for a round of calls; 0: go on with the test."""
        with suppress(BrokenPipeError):
            os.write(self.commands, json.dumps({"calls": calls}).encode() + b"\n")

    def hear(self) -> dict[str, Any] | None:
        """The next message; None when the process has closed its end.

        Raises:
            LaunchError: nothing came for too long.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self.answers, selectors.EVENT_READ)
            while b"\n" not in self.buffer:
                if not selector.select(timeout=_PATIENCE):
                    raise LaunchError(f"the {self.side.name} side hangs:\n{self.tail()}")
                data = os.read(self.answers, 65536)
                if not data:
                    return None
                self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return json.loads(line)

    def round(self, calls: int) -> dict[str, float]:
        """One measured round.

        Raises:
            LaunchError: the process ended or hangs.
        """
        self.say(calls)
        message = self.hear()
        if message is None or "round" not in message:
            raise LaunchError(f"the {self.side.name} side ended in the middle of a round:\n{self.tail()}")
        return message["round"]

    def tail(self) -> str:
        """The end of what it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


def launch(
    sides: tuple[Side, Side],
    command: str,
    tests: Sequence[str],
    subjects: Sequence[str],
    *,
    seed: int,
    share: float,
    deadline: float,
) -> LaunchResult:
    """Start both sides and measure the subjects of some tests.

    Args:
        sides: base and head.
        command: the suite's command.
        tests: nodeids that measure the subjects.
        subjects: metric names without statistic.
        seed: hash seed of both processes; a new one for each launch.
        share: seconds that each subject may take.
        deadline: no round begins after this time (`time.monotonic`).

    Raises:
        LaunchError: a side crashed or hangs.
    """
    result = LaunchResult()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gate-launch-")))
        (directory / "select").write_text("\n".join(tests), encoding="utf-8")
        base, head = (
            stack.enter_context(_started(side, command, subjects, directory, seed)) for side in sides
        )
        while True:
            messages = base.hear(), head.hear()
            here, there = messages
            if here is None or there is None:
                break
            if here.get("ready") == there.get("ready") and time.monotonic() < deadline:
                begun = time.monotonic()
                plan = _plan(max(here["seconds"], there["seconds"]), share)
                result.ratios |= _rounds(here["ready"], (base, head), plan, deadline)
                result.seconds[here["ready"]] = time.monotonic() - begun
            base.say(0)
            head.say(0)
        # A side that still waits has tests that the other one lacks: there is nothing to compare them with.
        for child in (
            child for child, message in zip((base, head), messages, strict=True) if message is None
        ):
            _check_end(child)
    return result


def _plan(seconds: float, share: float) -> tuple[int, int]:
    """Calls per round and rounds, so that a round is short and the subject keeps to its share."""
    calls = max(1, round(ROUND_SECONDS / max(seconds, 1e-7)))
    pair = 2 * max(seconds * calls, ROUND_SECONDS / 2)
    return calls, min(MAX_ROUNDS, max(MIN_ROUNDS, 2 * round(share / pair / 2)))


def _rounds(
    subject: str, children: tuple[_Child, _Child], plan: tuple[int, int], deadline: float
) -> dict[str, float]:
    """Rounds in ABBA order; the medians of their paired log-ratios by metric name."""
    base, head = children
    calls, rounds = plan
    for child in children:
        child.round(calls)  # not counted: the first round warms the caches that the wait has cooled
    ratios: dict[str, list[float]] = {}
    for number in range(rounds):
        if number >= MIN_ROUNDS and time.monotonic() > deadline:
            break
        order = (base, head) if number % 2 == 0 else (head, base)
        measured = {child.side.name: child.round(calls) for child in order}
        for statistic, value in measured["head"].items():
            before = measured["base"].get(statistic, 0.0)
            if value > 0 and before > 0:
                ratios.setdefault(statistic, []).append(math.log(value / before))
    name, _, labels = subject.partition("{")
    suffix = f"{{{labels}" if labels else ""
    return {f"{name}.{statistic}{suffix}": median(values) for statistic, values in ratios.items()}


def _core(seed: int) -> int:
    """The core both sides of a launch share; another one in the next launch."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    return cores[seed % len(cores)]


@contextmanager
def _started(
    side: Side, command: str, subjects: Sequence[str], directory: Path, seed: int
) -> Generator[_Child]:
    """One side's process; it is gone when the block ends."""
    commands_out, commands_in = os.pipe()
    answers_out, answers_in = os.pipe()
    baton = {"commands": commands_out, "answers": answers_in, "subjects": list(subjects)}
    log = directory / f"{side.name}.log"
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-I", str(_SHIM), str(_core(seed)), command],
                cwd=side.root,
                env=_environment(side, directory, seed, baton),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(commands_out, answers_in),
                start_new_session=True,
            )
    finally:
        os.close(commands_out)
        os.close(answers_in)
    child = _Child(side, process, commands_in, answers_out, log)
    try:
        yield child
    finally:
        _end(child)


def _environment(side: Side, directory: Path, seed: int, baton: Mapping[str, Any]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name != PROGRESS_VARIABLE}
    given = os.environ.get("PYTEST_ADDOPTS", "")
    return {
        **inherited,
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))),
        "PYTHONPATH": side.python_path,
        "PYTHONHASHSEED": str(seed % 4_294_967_295),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_ADDOPTS": f"{given} {shlex.join(_OPTIONS)}".strip(),
        SELECT_VARIABLE: str(directory / "select"),
        BATON_VARIABLE: json.dumps(baton),
    }


def _check_end(child: _Child) -> None:
    """A side whose tests do not run through measured something else than what it is asked for."""
    os.close(child.commands)
    child.commands = -1
    try:
        code = child.process.wait(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        raise LaunchError(f"the {child.side.name} side does not end:\n{child.tail()}") from None
    if code not in {0, 5}:  # 5: the tests are not there on this side
        raise LaunchError(f"the {child.side.name} side ended with exit code {code}:\n{child.tail()}")


def _end(child: _Child) -> None:
    for descriptor in (child.commands, child.answers):
        with suppress(OSError):
            os.close(descriptor)
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(timeout=2)
