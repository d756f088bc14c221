"""Ends what a gate left that was killed: waits for the end of a pipe whose other end the gate alone holds.

Run as a script, `python guard.py TOKEN`. Lines of its input are process groups, directories and
commands that begin (`+123`, `+/tmp/x`, `+!{...}`) or are over (`-123`). What the gate starts has the token in
its environment. A command cleans up: it is run when the processes are gone.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

VARIABLE: Final = "REGRESSION_GATE_GUARD"
COMMAND: Final = "!"
"""What a command begins with."""
_POLITE: Final = 2.0
"""Seconds between asking to end and killing."""
_CERTAIN: Final = 1.0
_LOOK: Final = 0.05


def main() -> None:
    """Wait, then end what is left."""
    os.chdir("/")  # nobody shall wait for this process to leave a directory
    left = set[str]()
    order: dict[str, None] = {}
    for line in sys.stdin:
        (left.add if line.startswith("+") else left.discard)(name := line[1:].rstrip("\n"))
        order[name] = None
    if not left:
        return  # it ended in order; what its suites leave running on purpose stays
    groups = {int(name) for name in left if name.isdecimal()}
    told = set[tuple[int, int]]()
    for number, patience in ((signal.SIGTERM, _POLITE), (signal.SIGKILL, _CERTAIN)):
        deadline = time.monotonic() + patience
        while (alive := _alive(groups, f"{VARIABLE}={sys.argv[1]}".encode())) and time.monotonic() < deadline:
            for process in alive - {process for process, how in told if how == number}:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(process, number)
                told.add((process, number))
            time.sleep(_LOOK)
    commands = [name for name in order if name in left and name.startswith(COMMAND)]
    for command in reversed(commands):
        _run(command.removeprefix(COMMAND))
    for name in left - {str(group) for group in groups} - {*commands}:
        shutil.rmtree(name, ignore_errors=True)


def _run(told: str) -> None:
    """Run a command to its end, or as long as it may take."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        said = json.loads(told)
        process = subprocess.Popen(
            said["command"],
            shell=True,
            cwd=said["cwd"],
            env=said["env"],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=said["seconds"])
        os.killpg(process.pid, signal.SIGKILL)


def _alive(groups: set[int], mark: bytes) -> set[int]:
    """Processes of the groups, and those that were started for the gate; without /proc the groups alone."""
    if not Path("/proc/self/environ").exists():
        return {-group for group in groups if _runs(group)}
    found = set[int]()
    for entry in os.listdir("/proc"):  # noqa: PTH208 - names alone, often
        if entry.isdecimal() and int(entry) != os.getpid():
            with suppress(OSError, ValueError):
                state, _, group = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[:3]
                given = Path("/proc", entry, "environ").read_bytes().split(b"\0")
                if state != "Z" and (int(group) in groups or mark in given):
                    found.add(int(entry))
    return found


def _runs(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    main()
