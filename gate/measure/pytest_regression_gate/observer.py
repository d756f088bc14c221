"""Notes what a process of a comparison reaches: files, packages, connections, programs.

It hears audit events of the interpreter. These do not tell of what C code opens or connects by itself, of
variables, and of children that are no Python; for that the controller looks from outside.
"""

from __future__ import annotations

import _thread
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

SEPARATOR: Final = "\t"
_WRITES: Final = os.O_WRONLY | os.O_CREAT
_SYSTEM: Final = (
    *{f"{os.path.realpath(path)}{os.sep}" for path in (sys.base_prefix, sys.prefix)},
    *("/proc/", "/sys/", "/dev/", "/etc/", "/usr/lib/", "/usr/share/", "/lib/", "/run/"),
)
"""No change brings what lies there."""
_HEARD: Final = frozenset(
    {
        "open",
        "import",
        "ctypes.dlopen",
        "sqlite3.connect",
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
    in one of the trees, sources in place of compiled files; `package`, what lies in `site-packages` under
    the name that is imported; `outside`, any other file that was read; `connect` with host and port; `child`,
    a program that was started; `test`, which one begins.

    Args:
        log: the file.
        trees: directories of which each file is noted.
    """

    def __init__(self, log: str, trees: list[str]) -> None:
        self._log = log
        self._trees = tuple(tree.rstrip(os.sep) + os.sep for tree in trees)
        self._seen: set[str] = set()
        self._busy: set[int] = set()

    def begin(self) -> None:
        """Observe from here on; children that are forked are observed, too."""
        self.note("process", SEPARATOR.join((str(os.getppid()), sys.executable, sys.prefix)))
        sys.addaudithook(self._audit)

    def note(self, kind: str, what: str) -> None:
        """Write a line, once a process; what cannot be written is lost."""
        line = f"{os.getpid()}{SEPARATOR}{kind}{SEPARATOR}{what}\n"
        if line in self._seen:
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
            case "socket.connect", (_, tuple() as address):  # pyright: ignore[reportUnknownVariableType]
                self.note("connect", SEPARATOR.join(map(str, address[:2])))  # pyright: ignore
            case "socket.connect", (_, str() | bytes() as path):
                self.note("connect", f"unix{SEPARATOR}{os.fsdecode(path)}")
            case "os.system", _:
                self.note("child", "/bin/sh")
            case "subprocess.Popen" | "os.exec" | "os.posix_spawn", (str() | bytes() as program, *_):
                self.note("child", os.fsdecode(program))
            case _:
                pass

    def _reach(self, path: object, *, writes: bool = False) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        name = os.path.abspath(os.fsdecode(path))  # pyright: ignore[reportUnknownArgumentType]
        if name.endswith(".pyc"):
            name = _source_of(name)
        if name.startswith(self._trees):
            self.note("file", name)
            return
        before, packages, inside = name.rpartition(f"{os.sep}site-packages{os.sep}")
        if packages:
            self.note("package", before + packages + inside.partition(os.sep)[0])
        elif not writes and not name.startswith(_SYSTEM):
            self.note("outside", name)


def _source_of(compiled: str) -> str:
    """The source of a compiled file, wherever compiled files are kept."""
    prefix = sys.pycache_prefix
    if prefix and compiled.startswith(prefix):
        compiled = compiled[len(prefix) :]
    directory, _, name = compiled.replace(f"{os.sep}__pycache__{os.sep}", os.sep).rpartition(os.sep)
    return f"{directory}{os.sep}{name.partition('.')[0]}.py"
