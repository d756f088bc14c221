"""A process with all it starts: gone with the block, however an interruption comes."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gate.processes import process_group

LINGERS = "trap '' TERM; sleep 60 & echo $! > child; wait; wait; wait"
"""Asked to end, it goes on waiting, and so does the process it started."""


@pytest.fixture(autouse=True)
def python_handlers() -> Iterator[None]:
    """The test runner may run without job control, which has interruptions ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def gone(pid: int) -> bool:
    """Whether a process is over, soon at the latest; a zombie is nobody's any more."""
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def started(directory: Path) -> int:
    """The process that the command has started."""
    while not (file := directory / "child").exists() or not file.read_text().strip():
        time.sleep(0.01)
    return int(file.read_text())


@pytest.mark.parametrize("moment", ["_execute_child", "wait"])
def test_interrupted_while_a_process_starts_or_ends_none_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
):
    """The signal comes inside the method; unguarded, nobody would know the child, or finish killing it."""
    children: list[int] = []
    original = getattr(subprocess.Popen, moment)

    def interrupted(self: "subprocess.Popen[bytes]", *arguments: object, **named: object) -> object:
        if moment == "wait":
            os.kill(os.getpid(), signal.SIGINT)
        result = original(self, *arguments, **named)
        children.append(self.pid)
        if moment == "_execute_child":
            os.kill(os.getpid(), signal.SIGINT)
        return result

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012 - at begin or end
        patch.setattr(subprocess.Popen, moment, interrupted)
        with process_group(LINGERS, cwd=tmp_path, env=os.environ, grace=0.2) as process:
            children += [process.pid, started(tmp_path)]
    assert children
    assert all(gone(pid) for pid in children)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_is_ignored_stays_ignored(tmp_path: Path):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with process_group("kill -INT $PPID; kill -INT $$; echo alive > out", cwd=tmp_path, env=os.environ) as it:
        assert it.wait(timeout=10) == 0
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert (tmp_path / "out").read_text() == "alive\n"


def test_a_thread_that_cannot_set_handlers_starts_processes_too(tmp_path: Path):
    codes: list[int] = []

    def run() -> None:
        with process_group("exit 3", cwd=tmp_path, env=os.environ) as process:
            codes.append(process.wait(timeout=10))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(timeout=20)
    assert codes == [3]


def test_what_a_command_has_started_is_gone_with_the_block(tmp_path: Path):
    with process_group(LINGERS, cwd=tmp_path, env=os.environ, grace=0.2) as process:
        child = started(tmp_path)
    assert process.returncode == -signal.SIGKILL
    assert gone(child)


def test_a_command_that_does_not_exist_is_an_error_of_the_system(tmp_path: Path):
    with pytest.raises(FileNotFoundError), process_group(["no-such-command"], cwd=tmp_path, env=os.environ):
        pass
