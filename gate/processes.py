"""A process with all it starts, gone when its block ends: no interruption leaves one behind.

If this process itself is killed, its guard (`gate.guard`) ends them, and removes its directories.
"""

import ctypes
import fcntl
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, Final

from gate import guard

if TYPE_CHECKING:
    import psutil

_END_SECONDS: Final = 5.0
_KILL_SECONDS: Final = 1.0
"""How long what was killed may take to be gone."""


@dataclass
class _State:
    """Whether an interruption has to wait, and whether one does; how many blocks adopt daemons."""

    held: bool = False
    waits: bool = False
    adopting: int = 0


_state = _State()


class _Guard:
    """The process that waits for the end of this one; begun when it is needed first."""

    def __init__(self) -> None:
        self._token = secrets.token_hex(8)
        self._pipe: int | None = None
        self.pid = 0

    @property
    def variables(self) -> dict[str, str]:
        """By which it knows the processes of this one."""
        return {guard.VARIABLE: self._token}

    def tell(self, line: str) -> None:
        """Name what begins (`+`) or is over (`-`); a guard that is gone hears nothing."""
        with suppress(OSError):
            self._pipe = self._begin() if self._pipe is None else self._pipe
            os.write(self._pipe, f"{line}\n".encode(errors="surrogateescape"))

    def _begin(self) -> int:
        """Start it; this end of its pipe, which is open as long as this process lives."""
        reading, writing = os.pipe()
        silent = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
        try:
            self.pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-IS", guard.__file__, self._token],
                {},
                file_actions=[(os.POSIX_SPAWN_DUP2, reading, 0), *silent],
                setsid=True,
            )
        finally:
            os.close(reading)
        return writing


_guard = _Guard()
_started: Final = set[int]()
"""Processes that `process_group` has started, and that run."""


@contextmanager
def fresh_directory(prefix: str) -> Generator[Path]:
    """A new temporary directory, gone when the block ends, and when this process does."""
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name, guarded(Path(name)):
        yield Path(name)


@contextmanager
def guarded(directory: Path) -> Generator[None]:
    """While the block runs, a directory that is removed if this process is killed."""
    _guard.tell(f"+{directory}")
    try:
        yield
    finally:
        _guard.tell(f"-{directory}")


@contextmanager
def cleaned_up(command: str, *, cwd: Path, env: Mapping[str, str], seconds: float) -> Generator[None]:
    """Run a command when the block ends, or when this process is killed in it.

    Args:
        command: for the shell.
        cwd: where it runs.
        env: its variables.
        seconds: how long it may take; then it is killed.
    """
    told = json.dumps({"command": command, "cwd": str(cwd), "env": dict(env), "seconds": seconds})
    _guard.tell(f"+{guard.COMMAND}{told}")
    try:
        yield
    finally:
        with suppress(OSError):
            run_to_end(command, cwd=cwd, env=env, seconds=seconds)
        _guard.tell(f"-{guard.COMMAND}{told}")


@contextmanager
def adopting() -> Generator[None]:
    """While the block runs, be the parent of daemons that processes below leave; those are killed at its end.

    A daemon that has dropped its variables, and left its group, is found in no other way. On Linux.
    """
    import psutil  # noqa: PLC0415 - of services alone

    here = psutil.Process()
    known = {child.pid for child in here.children()}
    adopts = _set_subreaper(on=True)
    _state.adopting += 1
    try:
        yield
    finally:
        _state.adopting -= 1
        if adopts:
            with suppress(psutil.Error):
                for child in here.children():
                    if child.pid not in {*known, *_started, _guard.pid}:
                        _kill_all(child)
            _set_subreaper(on=_state.adopting > 0)  # the other side may still run


def _kill_all(process: "psutil.Process") -> None:
    """Kill a process with all below it, and bury it."""
    import psutil  # noqa: PLC0415

    below: list[psutil.Process] = []
    with suppress(psutil.Error):
        below = process.children(recursive=True)
    for one in (*below, process):
        with suppress(psutil.Error):
            one.kill()
    with suppress(psutil.Error, ChildProcessError):
        process.wait(timeout=_END_SECONDS)


_PR_SET_CHILD_SUBREAPER: Final = 36


def _set_subreaper(*, on: bool) -> bool:
    try:
        return not ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0)
    except (OSError, AttributeError):
        return False


def end_processes_of(directory: Path) -> None:
    """Kill every process of this user whose environment names a directory.

    A process whose start was interrupted, or that left its group, is found in no other way.
    """
    import psutil  # noqa: PLC0415 - of a comparison and of services alone

    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and any(str(directory) in v for v in process.environ().values()):
                process.kill()
                process.wait(timeout=_END_SECONDS)


class BusyError(Exception):
    """Another process works in a directory that one at a time can work in."""


@contextmanager
def claimed(directory: Path) -> Generator[None]:
    """Be the only process that does so in a directory.

    Raises:
        BusyError: another one does.
    """
    handle = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"another gate run is writing to {directory}") from None
        except OSError:
            pass  # a file system without locks: nobody can tell
        yield
    finally:
        os.close(handle)


def interruptible() -> None:
    """Let SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt, but not where a process would be left behind.

    What is ignored (`nohup`, a job in the background) stays so.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


@contextmanager
def process_group(
    command: str | Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    output: int | IO[bytes] = subprocess.DEVNULL,
    grace: float = 5.0,
) -> Generator["subprocess.Popen[bytes]"]:
    """Start a command in a group of its own, without input; the group is ended with the block.

    For the main thread: it is the one that is interrupted.

    Args:
        command: a string is the user's own, and for the shell.
        cwd: where it runs.
        env: its variables.
        output: where its standard output and errors go.
        grace: seconds between asking it to end and killing it.

    Raises:
        OSError: it cannot be started.
    """
    process: subprocess.Popen[bytes] | None = None
    try:
        try:
            _state.held = True  # in Popen one would leave a child that nobody knows
            process = subprocess.Popen(
                command,
                shell=isinstance(command, str),
                cwd=cwd,
                env={**env, **_guard.variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            _guard.tell(f"+{process.pid}")
            _started.add(process.pid)
            _deliver()
            yield process
        finally:
            _state.held = True
    finally:  # also if an interruption came between the block's end and the line above
        try:
            if process:
                _end(process, grace)
                _guard.tell(f"-{process.pid}")
                _started.discard(process.pid)
        finally:
            _deliver()


def run_to_end(
    command: str | Sequence[str], *, cwd: Path, env: Mapping[str, str], seconds: float
) -> tuple[int | None, list[str]]:
    """Run a command, all it starts included, as in `process_group`.

    Args:
        command: a string is the user's own, and for the shell.
        cwd: where it runs.
        env: its variables.
        seconds: how long it may take.

    Returns:
        How it ended, None if that took too long; and the lines that it printed.

    Raises:
        OSError: it cannot be started.
    """
    with tempfile.TemporaryFile() as output:  # a pipe would stay open as long as a daemon that it leaves
        with process_group(command, cwd=cwd, env=env, output=output) as process:
            try:
                code = process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                code = None
        output.seek(0)
        return code, output.read().decode(errors="replace").splitlines()


def _interrupt(number: int, frame: FrameType | None) -> None:
    if not _state.held:
        raise KeyboardInterrupt
    _state.waits = True


def _deliver() -> None:
    """From here on interruptions are heard; one that waits is heard now."""
    _state.held = False
    if _state.waits:
        _state.waits = False
        raise KeyboardInterrupt


def _end(process: "subprocess.Popen[bytes]", grace: float) -> None:
    """End a process and all it started: first politely, then for certain."""
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, _KILL_SECONDS)):
        if _gone(process):
            break
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        deadline = time.monotonic() + patience
        while not _gone(process) and time.monotonic() < deadline:
            time.sleep(0.01)
    if process.stdout:
        process.stdout.close()


def _gone(process: "subprocess.Popen[bytes]") -> bool:
    """Whether nothing of its group runs any more."""
    if process.poll() is None:
        return False
    try:
        os.killpg(process.pid, 0)
    except (ProcessLookupError, PermissionError):  # the latter is what macOS says of zombies
        return True
    import psutil  # noqa: PLC0415 - rarely needed: something is left, or no init buries it

    for pid in psutil.pids():
        with suppress(OSError, psutil.Error):
            if os.getpgid(pid) == process.pid and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                return False
    return True
