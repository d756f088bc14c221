"""A process with all it starts: gone with the block, however an interruption comes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import psutil
import pytest

from gate import processes
from gate.processes import guarded, interruptible, process_group

LINGERS = "trap '' TERM; sleep 60 & echo $! > child; wait; wait; wait"
"""Asked to end, it goes on waiting, and so does the process it started."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The handlers as the gate sets them; the test runner may run without job control, which ignores some."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    interruptible()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def gone(pid: int) -> bool:
    """Whether a process is over, soon at the latest; a zombie is nobody's any more."""
    for _ in range(600):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def written(file: Path) -> str:
    """What a process writes into a file, as soon as it has done so."""
    for _ in range(3000):
        if file.exists() and file.read_text().strip():
            return file.read_text()
        time.sleep(0.01)
    raise AssertionError(f"{file.name} was not written")


def started(directory: Path) -> int:
    """The process that the command has started."""
    return int(written(directory / "child"))


@pytest.mark.parametrize("number", SIGNALS)
def test_interrupted_while_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int):
    """The signal comes before anybody knows the child."""
    children: list[int] = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *arguments: object, **named: object) -> None:
            super().__init__(*arguments, **named)  # pyright: ignore
            children.append(self.pid)
            os.kill(os.getpid(), number)

    with guarded(tmp_path):  # the guard is there
        monkeypatch.setattr(processes.subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt), process_group(LINGERS, cwd=tmp_path, env=os.environ, grace=0.2):
        pytest.fail("it goes on")
    assert len(children) == 1
    assert gone(children[0])


def test_interrupted_while_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Again and again, as by somebody who is impatient: it is killed all the same, and heard afterwards."""
    original = processes._gone

    def interrupted(process: "subprocess.Popen[bytes]") -> bool:
        os.kill(os.getpid(), signal.SIGINT)
        return original(process)

    group = process_group(LINGERS, cwd=tmp_path, env=os.environ, grace=0.2)
    process = group.__enter__()
    children = [process.pid, started(tmp_path)]
    monkeypatch.setattr(processes, "_gone", interrupted)
    with pytest.raises(KeyboardInterrupt):
        group.__exit__(None, None, None)
    assert all(gone(pid) for pid in children)
    with pytest.raises(KeyboardInterrupt):  # what comes then is heard at once
        os.kill(os.getpid(), signal.SIGTERM)


Place = tuple[CodeType, int]
"""An instruction: its code and where it stands there."""


def test_interrupted_at_any_instruction(tmp_path: Path):
    """A signal at every third instruction of the module that is ever reached, when it is reached first.

    How often a loop waits depends on the machine, so the instructions are not counted.
    """
    me, seen, target = psutil.Process(), dict[Place, None](), None

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal target
        if frame.f_code.co_filename != processes.__file__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            place = frame.f_code, frame.f_lasti
            seen.setdefault(place)
            if place == target:
                target = None
                os.kill(os.getpid(), signal.SIGINT)
        return trace

    def once() -> bool:
        """Whether an interruption was heard."""
        before = sys.gettrace()
        sys._getframe().f_trace_opcodes = True  # Python 3.12 asks for instructions only if a frame wants them
        sys.settrace(trace)
        try:
            with process_group("exec sleep 60", cwd=tmp_path, env=os.environ):
                pass
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return False

    assert not once()
    (guard,) = me.children()
    places = list(seen)[::3]
    assert len(places) > 30
    for place in places:
        target = place
        assert once() or target, f"line {place[0].co_firstlineno}, byte {place[1]}: nobody heard it"
        assert me.children() == [guard], place
        target = None


def test_what_is_ignored_stays_ignored(tmp_path: Path):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interruptible()
    with process_group("kill -INT $PPID; kill -INT $$; echo alive > out", cwd=tmp_path, env=os.environ) as it:
        assert it.wait(timeout=10) == 0
    assert (tmp_path / "out").read_text() == "alive\n"


def test_what_a_command_has_started_is_gone_with_the_block(tmp_path: Path):
    with process_group(LINGERS, cwd=tmp_path, env=os.environ, grace=0.2) as process:
        child = started(tmp_path)
    assert process.returncode == -signal.SIGKILL
    assert gone(child)


def test_who_is_asked_to_end_may_clean_up(tmp_path: Path):
    """Below a shell, too, which does not wait for it."""
    cleans = "trap 'sleep 0.3; echo > clean; exit' TERM; echo $$ > child; while true; do sleep 0.05; done"
    (tmp_path / "cleans.sh").write_text(cleans)
    with process_group("sh cleans.sh; true", cwd=tmp_path, env=os.environ, grace=20):
        started(tmp_path)
    assert (tmp_path / "clean").exists()


def test_a_trouble_at_the_end_holds_nothing_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def trouble(_: object) -> bool:
        raise OSError("too many open files")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="too many"):  # noqa: PT012 - at its end
        patch.setattr(processes, "_gone", trouble)
        with process_group("true", cwd=tmp_path, env=os.environ) as process:
            process.wait(timeout=10)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_a_command_that_does_not_exist_is_an_error_of_the_system(tmp_path: Path):
    with pytest.raises(FileNotFoundError), process_group(["no-such-command"], cwd=tmp_path, env=os.environ):
        pass
    with pytest.raises(KeyboardInterrupt):  # nothing is held back any more
        os.kill(os.getpid(), signal.SIGINT)


KILLED = """
import os, time
from pathlib import Path
from gate.processes import fresh_directory, process_group
with fresh_directory("gate-test-") as made, process_group({command!r}, cwd=Path({cwd!r}), env=os.environ):
    Path({cwd!r}, "made").write_text(str(made))
    time.sleep(60)
"""


DAEMON = "setsid sh -c 'trap \"\" TERM; echo $$ > child; while true; do sleep 1; done' & wait"


@pytest.mark.parametrize("command", [LINGERS, DAEMON], ids=["group", "daemon"])
def test_what_a_killed_process_leaves_is_gone(tmp_path: Path, command: str):
    """Its guard ends what it started, also in another group, and removes its directories."""
    program = KILLED.format(command=command, cwd=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", program]) as killed:
        child = started(tmp_path)
        made = Path(written(tmp_path / "made"))
        assert made.is_dir()
        killed.kill()
    assert gone(child)
    for _ in range(600):
        if not made.exists():
            break
        time.sleep(0.05)
    assert not made.exists()


def test_a_process_that_ends_in_order_leaves_its_daemons(tmp_path: Path):
    """A service that a suite has started may serve the next one."""
    program = KILLED.format(command=DAEMON.replace(" & wait", " &"), cwd=str(tmp_path)).replace(
        "    time.sleep(60)\n", f"    while not Path({str(tmp_path)!r}, 'child').exists(): time.sleep(0.01)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        child = started(tmp_path)
        assert process.wait(timeout=60) == 0
    time.sleep(0.5)  # time enough for a guard that ends it
    assert psutil.pid_exists(child)
    psutil.Process(child).kill()
