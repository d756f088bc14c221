"""A launch that counts for nothing and only looks: what each side's tests reach of what differs."""

import os
import tempfile
import threading
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Self

import psutil

from gate.confirm.child import Child, Task, started
from gate.confirm.course import Course
from gate.processes import end_processes_of
from gate.sides.footprints import Footprint, Peer, read_footprint
from gate.sides.peers import is_local
from gate.sides.side import LaunchError, Side
from gate.sides.watch import Watch
from pytest_regression_gate.observer import CLEARED
from pytest_regression_gate.peers import addresses, ended_connections, listener

_LOOK_SECONDS: Final = 0.1
"""How often it is asked where processes are connected to, which C code does unheard."""
_SEED: Final = 1
_NO_TESTS: Final = 5
"""How pytest ends where it has none of those that were asked for."""
_FIXED_PORTS: Final = 32768
"""Below it no port is given by chance (`ip_local_port_range` of Linux)."""
_HARMLESS: Final = frozenset(
    {
        "arch", "cat", "cc", "chmod", "cp", "date", "df", "dirname", "echo", "expr", "false", "gcc",
        "getconf", "git", "grep", "hostname", "id", "ld", "ldconfig", "ldd", "locale", "ls", "lsb_release",
        "lscpu", "mkdir", "mv", "nproc", "ps", "rm", "sleep", "stty", "sw_vers", "sysctl", "tput", "true",
        "tty", "uname", "which", "whoami",
    }
)  # fmt: skip
"""Programs that run none of the project's code."""


@dataclass(frozen=True)
class Observed:
    """What one side showed."""

    footprint: Footprint = field(default_factory=Footprint)
    failed: frozenset[str] = frozenset()
    """Tests that did not pass (nodeids)."""
    problem: str = ""
    """Why it did not get to its end."""
    empty: bool = False
    """It has none of the tests."""

    @property
    def stopped(self) -> str:
        """What kept it from running its tests, with the place; empty: nothing."""
        if self.footprint.tests and not self.problem:
            return ""
        if self.footprint.errors:
            where, message = self.footprint.errors[0]
            return f"{message} ({where})"
        said = [line[1:].strip() for line in self.problem.splitlines() if line.startswith("E  ")]
        return said[-1] if said else self.problem.partition("\n")[0].rstrip(":")

    @property
    def opaque(self) -> frozenset[str]:
        """Programs that it started and that tell nothing of what they reach."""
        return frozenset(
            program
            for program in self.footprint.children
            if program.endswith(CLEARED)
            or not (os.path.basename(program) in _HARMLESS or self._is_python(program))  # noqa: PTH119 - texts
        )

    @property
    def silent(self) -> frozenset[str]:
        """Pythons that it started more often than they said so: without variables, or with `-S`."""
        known = {process.pid for process in self.footprint.processes}
        known |= {pid for pid, _ in self.footprint.starts}
        told = Counter(
            next((pid for pid in process.ancestors if pid in known), "")
            for process in self.footprint.processes
        )
        started = [(pid, program) for pid, program in self.footprint.starts if self._is_python(program)]
        said = Counter(pid for pid, _ in started)
        return frozenset(program for pid, program in started if said[pid] > told[pid])

    def _is_python(self, program: str) -> bool:
        pythons = {os.path.realpath(process.executable) for process in self.footprint.processes}
        names = {os.path.basename(python) for python in pythons}  # noqa: PTH119
        return (
            os.path.basename(program) in names  # noqa: PTH119
            or os.path.realpath(program) in pythons
            or _is_script_of_python(program)
        )

    @property
    def hidden(self) -> str:
        """A program that it started and that does not tell what it reaches; empty: none."""
        return min(self.opaque | self.silent, default="")


@dataclass(frozen=True)
class Look:
    """What both sides showed."""

    base: Observed
    head: Observed
    exclusive: str = ""
    """What both use at once though only one can have it; empty: they can run beside each other."""
    foreign: frozenset[str] = frozenset()
    """Files of the head, installed ones included, that somebody opened while the base ran alone."""
    listening: frozenset[str] = frozenset()
    """Ports and sockets where somebody listened before any test began."""
    workers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Port -> command of a process of the work tree that was connected to it before any test began."""
    watched: bool = True
    """Every file that differs was watched, whoever opens it."""

    @property
    def sides(self) -> tuple[Observed, Observed]:
        """Base and head."""
        return self.base, self.head


def look(
    sides: tuple[Side, Side],
    command: str,
    tests: Sequence[str],
    patience: float,
    differing: Collection[str],
    *,
    installed: Collection[str] = (),
    exclusive: bool = False,
) -> Look:
    """Run some tests on both sides and note what they reach.

    Both run at once, and every file that differs is watched. They run once more, one after the other, where
    they seem to be in each other's way, where they start programs that tell nothing, and where somebody opens
    a file that differs and does not say so, as C code does.

    Args:
        sides: base and head.
        command: of the suite.
        tests: nodeids.
        patience: seconds of silence after which a side counts as hung.
        differing: files that are not the same on both sides, relative to their trees.
        installed: files that the head has installed, and the base in another version.
        exclusive: it is known that both cannot run at once.
    """
    task = Task(command, tests, patience=patience)
    listening, workers = addresses(), _workers(sides[1].top)
    if exclusive:
        seen = replace(_one_by_one(sides, task, differing, installed), exclusive="exclusive: true")
    else:
        seen = _at_once(sides, task, differing, installed)
    return replace(seen, listening=listening, workers=workers)


def _at_once(
    sides: tuple[Side, Side], task: Task, differing: Collection[str], installed: Collection[str]
) -> Look:
    """Run both sides beside each other, and where that does not tell enough, one after the other."""
    with _watch(sides, differing, installed) as watch:
        base, head = _observed(sides, task)
        unheard = watch.opened() - base.footprint.files.keys() - head.footprint.files.keys()
        works = watch.works
    conflict = _conflict(base, head)
    apart = base.failed != head.failed or base.problem or head.problem
    if not (conflict or apart or unheard or base.hidden or head.hidden):
        return Look(base, head, watched=works)
    alone = _one_by_one(sides, task, differing, installed)
    for side, observed in zip(sides, alone.sides, strict=True):
        for name in unheard:
            if name.startswith(f"{side.tree}/"):
                observed.footprint.files.setdefault(name, 0)
    return replace(alone, exclusive=conflict or _hindered(base, alone.base) or _hindered(head, alone.head))


def _watch(sides: Sequence[Side], differing: Collection[str], installed: Collection[str]) -> Watch:
    files = (side.tree / name for side in sides for name in differing)
    prefixes = (side.variables.get("PYTHONPYCACHEPREFIX") for side in sides)
    return Watch([*files, *map(Path, installed)], filter(None, prefixes))


def _one_by_one(
    sides: tuple[Side, Side], task: Task, differing: Collection[str], installed: Collection[str]
) -> Look:
    found: list[Observed] = []
    foreign: set[str] = set()
    works = True
    for side in sides:
        listening, over = addresses(), ended_connections()
        with _watch(sides, differing, installed) as watch:
            [observed] = _observed([side], task)
            opened = watch.opened()
            works = works and watch.works
        if observed.opaque:
            ends = {end for connection in ended_connections() - over for end in connection}
            _note_short_connections(observed.footprint, ends & listening)
        own = {str(side.tree / name) for name in differing}
        for name in opened & own:
            observed.footprint.files.setdefault(name, 0)
        foreign |= opened - own if side.name == "base" else set[str]()
        found.append(observed)
    base, head = found
    return Look(base, head, foreign=frozenset(foreign), watched=works)


def _note_short_connections(footprint: Footprint, ports: Collection[str]) -> None:
    """Note where a program that tells nothing was connected to, so shortly that nobody could see it.

    It may have been somebody else: servers with a port given by chance, as tests start them, are left out.

    Args:
        footprint: of the side that ran alone.
        ports: to which connections ended meanwhile.
    """
    heard = {peer.port for peer in footprint.peers}
    for port in sorted(set(ports) - heard):
        if int(port) < _FIXED_PORTS and (holder := listener(int(port))):
            footprint.reach(Peer("127.0.0.1", port, True, *holder))


def _conflict(base: Observed, head: Observed) -> str:
    """What only one of both can have, as far as it shows while both run."""
    for one, other in ((base, "head"), (head, "base")):
        for peer in one.footprint.peers:
            if peer.side == other:
                return f"{peer.address} (both sides talk to the {other}'s server)"
    shared = base.footprint.bound & head.footprint.bound
    ports = (address for address in sorted(shared) if int(address.rpartition(":")[2]) < _FIXED_PORTS)
    return next((f"{address} (both sides listen there)" for address in ports), "")


def _hindered(beside: Observed, alone: Observed) -> str:
    """What goes wrong on a side only while the other one runs; empty: nothing."""
    if beside.problem and not alone.problem:
        return beside.problem.partition("\n")[0].rstrip(":")
    if tests := sorted(beside.failed - alone.failed):
        return f"{tests[0]} fails beside the other side, and passes alone"
    return ""


def _observed(sides: Sequence[Side], task: Task) -> list[Observed]:
    """Run a task on some sides at once, to the end of each."""
    failed: list[frozenset[str]] = []
    problems: list[str] = []
    empty: list[bool] = []
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=sides[0].scratch)))
        files = [directory / f"{side.name}.notes" for side in sides]
        children = [
            stack.enter_context(started(side, task, Course(), directory, seed=_SEED, core=-1, notes=notes))
            for side, notes in zip(sides, files, strict=True)
        ]
        connections = stack.enter_context(_Connections(children))
        for child in children:
            problems.append(_to_its_end(child))
            failed.append(frozenset(child.failed))
            empty.append(child.ended == _NO_TESTS)
        found = [read_footprint(file, set(task.tests)) for file in files]
        end_processes_of(directory)  # a daemon that stays would serve the other side
    owners = {port: child.side.name for child in children for port in child.ports}
    for footprint, child in zip(found, children, strict=True):
        footprint.peers = {
            replace(peer, side=peer.side or owners.get(peer.port, "")): since
            for peer, since in footprint.peers.items()
        }
        heard = {(peer.host, peer.port) for peer in footprint.peers}
        for peer in connections.peers[child.side.name]:
            if (peer.host, peer.port) not in heard:
                footprint.reach(replace(peer, side=peer.side or owners.get(peer.port, "")))
    return [Observed(*one) for one in zip(found, failed, problems, empty, strict=True)]


def _to_its_end(child: Child) -> str:
    """Let a side run; what went wrong, or nothing."""
    try:
        while child.next_stop():
            child.go_on()
        child.close()
    except LaunchError as error:
        return str(error)
    return ""


class _Connections:
    """Looks again and again where the processes of some sides are connected to, from outside."""

    def __init__(self, children: Sequence[Child]) -> None:
        self.peers: dict[str, set[Peer]] = {child.side.name: set() for child in children}
        self._children = children
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        known: set[tuple[str, str, int]] = set()
        while not self._over.wait(_LOOK_SECONDS):
            for child in self._children:
                for host, port in _connected(child.process.pid):
                    if (key := (child.side.name, host, port)) not in known:
                        known.add(key)
                        found = listener(port)
                        peer = Peer(host, str(port), found is not None, *(found or ()))
                        self.peers[child.side.name].add(peer)


def _connected(pid: int) -> set[tuple[str, int]]:
    """Addresses that a process and its descendants are connected to."""
    found: set[tuple[str, int]] = set()
    with suppress(psutil.Error, OSError):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.Error, OSError):
                connections = one.net_connections(kind="tcp")
                found |= {
                    (connection.raddr.ip, connection.raddr.port)
                    for connection in connections
                    if connection.raddr and connection.status == psutil.CONN_ESTABLISHED
                }
    return found


def _workers(top: Path) -> dict[str, str]:
    """Processes of the work tree that are connected to a port of this machine: port -> command."""
    found: dict[str, str] = {}
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="tcp"):
            peer = connection.raddr
            if not (
                peer and connection.pid and connection.status == psutil.CONN_ESTABLISHED and is_local(peer.ip)
            ):
                continue
            with suppress(psutil.Error, OSError):
                process = psutil.Process(connection.pid)
                if connection.pid != os.getpid() and Path(process.cwd()).is_relative_to(top):
                    found[str(peer.port)] = " ".join(process.cmdline())
    return found


def _is_script_of_python(program: str) -> bool:
    """Whether a file is started by a Python, which tells what it reaches."""
    with suppress(OSError), open(program, "rb") as file:  # noqa: PTH123 - a text
        return file.read(2) == b"#!" and b"python" in file.readline()
    return False
