"""A process with all it starts, gone when the block ends: an interruption at the wrong moment leaves none."""

import os
import signal
import subprocess
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO, Final

_KILL_SECONDS: Final = 5.0
"""How long a killed process may take to be gone."""


@contextmanager
def process_group(
    command: str | Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    output: int | IO[bytes] = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
    grace: float = 5.0,
) -> Generator["subprocess.Popen[bytes]"]:
    """Start a command in a group of its own, without input; the group is ended with the block.

    Args:
        command: a string is the user's own, and for the shell.
        cwd: where it runs.
        env: its variables.
        output: where its standard output and errors go.
        pass_fds: what it inherits beside these.
        grace: seconds between asking it to end and killing it.

    Raises:
        OSError: it cannot be started.
    """
    process: subprocess.Popen[bytes] | None = None
    try:
        with _uninterrupted():
            process = subprocess.Popen(
                command,
                shell=isinstance(command, str),
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=pass_fds,
                start_new_session=True,
            )
        yield process
    finally:
        if process:
            with _uninterrupted():
                _end(process, grace)


def _end(process: "subprocess.Popen[bytes]", grace: float) -> None:
    """End a process and all it started: first politely, then for certain."""
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, _KILL_SECONDS)):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=patience)
    if process.stdout:
        process.stdout.close()


@contextmanager
def _uninterrupted() -> Generator[None]:
    """Interruptions wait for the end of the block: one in `Popen` would leave a child that nobody knows."""
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    # Only the main thread is interrupted, and what is ignored stays so.
    mine = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM) if mine}
    handlers = {number: handler for number, handler in handlers.items() if callable(handler)}
    try:
        for number in handlers:
            signal.signal(number, note)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in came[:1]:
            signal.raise_signal(number)
