"""Notes what a process of a comparison reaches: files, packages, connections, programs.

It hears audit events of the interpreter. These do not tell of what C code opens or connects by itself, of
variables, and of children that are no Python; for that the controller looks from outside.
"""

from __future__ import annotations

import _thread
import atexit
import os
import sys

from pytest_regression_gate.peers import listener, unix_listener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Final

SEPARATOR: Final = "\t"
CLEARED: Final = "without the gate's variables"
_SIDE: Final = "GATE_SIDE_NAME"
_WRITES: Final = os.O_WRONLY | os.O_CREAT
_SYSTEM: Final = (
    f"{os.path.dirname(os.path.realpath(os.__file__))}{os.sep}",
    *("/proc/", "/sys/", "/dev/", "/etc/", "/usr/lib/", "/usr/share/", "/lib/", "/run/"),
)
"""No change brings what lies there."""
_STREAM: Final = 1
"""`socket.SOCK_STREAM`: what answers over others names no file of ours."""
_PACKAGES: Final = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_SHELLS: Final = ("sh", "bash", "dash")
_TELLS_OF_THE_MACHINE: Final = frozenset(
    {"uname", "file", "hostname", "ldconfig", "locale", "lscpu", "lsb_release", "getconf", "id", "whoami"}
)
"""Programs that the standard library and plugins of pytest ask what the machine is."""
_QUERIES: Final = {
    "git": {"rev-parse", "config", "describe", "log", "status", "symbolic-ref", "remote", "branch"},
    "hg": {"path", "paths", "id", "identify", "branch", "root", "log"},
}
"""What they are asked by plugins of pytest and by build tools; nothing of the code runs, and none is read."""
_WRAPPERS: Final = (
    "env",
    "ionice",
    "nice",
    "nohup",
    "setsid",
    "stdbuf",
    "sudo",
    "taskset",
    "time",
    "timeout",
)
"""Programs that start the one that stands behind their options."""
_ANCESTORS: Final = 4
_HEARD: Final = frozenset(
    {
        "open",
        "import",
        "ctypes.dlopen",
        "sqlite3.connect",
        "socket.bind",
        "socket.connect",
        "subprocess.Popen",
        "os.exec",
        "os.posix_spawn",
        "os.system",
    }
)


class Observer:
    """Writes a line for each thing that is reached, into a file that all processes of a side share.

    Lines are `pid, kind, what`, separated by tabs: `process` with its parent, executable and prefix; `file`
    in one of the trees or among installed packages, sources in place of compiled files; `outside`, any other
    file that was read; `bind` with host and port; `connect` with host, port, and whether somebody listens
    there: process, side, directory, command; `child`, a program that was started; `test`, which one begins.
    A process that ends notes the libraries that it has loaded, under the name `end`.

    Args:
        log: the file.
        trees: directories of which each file is noted.
    """

    def __init__(self, log: str, trees: list[str]) -> None:
        self._log = log
        self._trees = tuple(tree.rstrip(os.sep) + os.sep for tree in trees)
        self._seen: set[str] = set()
        self._peers: set[tuple[str, str]] = set()
        self._busy: set[int] = set()
        self._ending = ""

    def begin(self) -> None:
        """Observe from here on; children that are forked are observed, too."""
        self.note("process", SEPARATOR.join((_ancestors(), sys.executable, sys.prefix)))
        sys.addaudithook(self._audit)
        atexit.register(self._end)

    def note(self, kind: str, what: str, *, again: bool = False) -> None:
        """Write a line, once a process; what cannot be written is lost.

        Args:
            kind: of what is reached.
            what: it is.
            again: each time.
        """
        line = f"{self._ending or os.getpid()}{SEPARATOR}{kind}{SEPARATOR}{what}\n"
        if line in self._seen and not again:
            return
        self._seen.add(line)
        try:
            descriptor = os.open(self._log, _WRITES | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, line.encode("utf-8", "surrogateescape"))
            finally:
                os.close(descriptor)
        except OSError:
            pass

    def _audit(self, event: str, arguments: tuple[object, ...]) -> None:
        me = _thread.get_ident()
        if event not in _HEARD or me in self._busy:
            return
        self._busy.add(me)
        try:
            self._hear(event, arguments)
        except Exception:  # an audit hook that raises would break what it observes
            pass
        finally:
            self._busy.discard(me)

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        match event, arguments:
            case "open", (path, _, flags, *_):
                self._reach(path, writes=isinstance(flags, int) and bool(flags & _WRITES))
            case ("import", (_, path, *_)) | ("ctypes.dlopen" | "sqlite3.connect", (path, *_)):
                self._reach(path)
            case "socket.bind", (_, (str() as host, int() as port, *_)) if port:  # pyright: ignore[reportUnknownVariableType]
                self.note("bind", f"{host}{SEPARATOR}{port}")
            case "socket.connect", (socket, address) if getattr(socket, "type", _STREAM) == _STREAM:
                self._connect(address)
            case "subprocess.Popen", (program, words, _, environment, *_):
                self._start(program, words, environment)
            case "os.exec" | "os.posix_spawn", (program, words, environment, *_):
                self._start(program, words, environment)
            case "os.system", (str() | bytes() as command, *_):
                self._start("/bin/sh", ("/bin/sh", "-c", os.fsdecode(command)), None)
            case _:
                pass

    def _start(self, program: object, words: object, environment: object) -> None:
        """Note a program; a Python without the side's variables tells nothing and has no code of its side."""
        if not isinstance(program, str | bytes | os.PathLike):
            return
        given: list[Any] = list(words) if isinstance(words, list | tuple) else []  # pyright: ignore
        line = [os.fsdecode(one) for one in given if isinstance(one, str | bytes | os.PathLike)]  # pyright: ignore
        name, arguments, cleared = _program(os.fsdecode(program), line)  # pyright: ignore
        tool = os.path.basename(name)
        if tool in _TELLS_OF_THE_MACHINE or (arguments and arguments[0] in _QUERIES.get(tool, ())):
            return
        variables: Any = os.environ if environment is None else environment
        cleared = cleared or (hasattr(variables, "__iter__") and not _has_side(variables))
        self.note("child", f"{name} {CLEARED}" if cleared else name, again=True)
        for argument in arguments:
            if os.path.isfile(argument):
                self._reach(argument)

    def _end(self) -> None:
        """Note the libraries that are loaded: the linker finds them by names without a directory."""
        self._ending = "end"  # of a process of its own: it counts for all tests
        try:
            with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as table:
                names = {line.split(maxsplit=5)[5].rstrip() for line in table if line.count("/")}
        except (OSError, IndexError):
            return
        for name in names:
            self._reach(name)

    def _connect(self, address: object) -> None:
        """Note a peer, once: whoever listens there may be gone before anybody else could look."""
        match address:
            case (str() as host, int() as port, *_):  # pyright: ignore[reportUnknownVariableType]
                peer = host, str(port)
            case str() | bytes() as path:
                peer = "unix", os.fsdecode(path).replace("\0", "@")  # an abstract name, as Linux shows it
            case _:
                return
        if peer not in self._peers:
            found = unix_listener(peer[1]) if peer[0] == "unix" else listener(int(peer[1]))
            if found:  # else somebody may listen there when it is tried again
                self._peers.add(peer)
            self.note("connect", SEPARATOR.join((*peer, "yes" if found else "no", *(found or ()))))

    def _reach(self, path: object, *, writes: bool = False) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        name = os.path.abspath(os.fsdecode(path))  # pyright: ignore[reportUnknownArgumentType]
        if name.endswith(".pyc"):
            name = _source_of(name)
        if name.startswith(self._trees):
            self.note("file", name)
            if (real := os.path.realpath(name)) != name:  # git knows it by that
                self.note("file", real)
            return
        if any(packages in name for packages in _PACKAGES):
            self.note("file", name)
        elif not writes and not name.startswith(_SYSTEM):
            self.note("outside", name)


def _has_side(environment: Iterable[Any]) -> bool:
    """Whether variables of a process, a mapping or `name=value` each, make it one of its side."""
    return any(os.fsdecode(one).startswith(_SIDE) for one in environment)


def _program(program: str, words: list[str]) -> tuple[str, list[str], bool]:
    """What is started: of a shell with a single command, and of a wrapper, what these start.

    Returns:
        The program, its arguments, and whether it gets no variables.
    """
    if os.path.basename(program) in _SHELLS and len(words) > 2 and words[1] == "-c":
        if any(sign in words[2] for sign in ";|&$`<>(){}\n*") or not (command := words[2].split()):
            return program, [], False
        program, words = command[0], command
    arguments, cleared = words[1:], False
    while (wrapper := os.path.basename(program)) in _WRAPPERS:
        inner = [place for place, word in enumerate(arguments) if _names_a_program(word)]
        if not inner:
            break
        options = arguments[: inner[0]]
        cleared = cleared or wrapper == "sudo" or bool({"-", "-i", "--ignore-environment"} & set(options))
        program, arguments = arguments[inner[0]], arguments[inner[0] + 1 :]
    return program, arguments, cleared


def _names_a_program(word: str) -> bool:
    """Whether a word behind a wrapper is no option, no variable and no number."""
    return not (word.startswith("-") or "=" in word or word[:1].isdigit())


def _ancestors() -> str:
    """The processes above this one, the nearest first, as far as they can be told."""
    found = [str(os.getppid())]
    try:
        while len(found) < _ANCESTORS:
            with open(f"/proc/{found[-1]}/stat", encoding="utf-8", errors="replace") as status:
                found.append(status.read().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        pass
    return ",".join(found)


def _source_of(compiled: str) -> str:
    """The source of a compiled file, wherever compiled files are kept."""
    prefix = sys.pycache_prefix
    if prefix and compiled.startswith(prefix):
        compiled = compiled[len(prefix) :]
    directory, _, name = compiled.replace(f"{os.sep}__pycache__{os.sep}", os.sep).rpartition(os.sep)
    return f"{directory}{os.sep}{name.partition('.')[0]}.py"
