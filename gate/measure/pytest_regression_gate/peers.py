"""Who listens where a process connects to, as Linux's /proc tells; elsewhere nobody knows."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_LISTENS = "0A"
_ENDED = ("04", "05", "06", "08")
"""Waiting for the other end, or for what is still on the way."""
_UNIX_LISTENS = "00010000"


def listener(port: int) -> tuple[str, str, str, str] | None:
    """The process that listens on a TCP port of this machine.

    Returns:
        Its id, the side whose variables it has, its directory and its command, each empty where this user may
        not know; None: nobody listens.
    """
    return _holder(_inodes_of_port(port))


def unix_listener(path: str) -> tuple[str, str, str, str] | None:
    """The same for a socket in the file system."""
    return _holder(_inodes_of_path(path))


def addresses() -> frozenset[str]:
    """Ports and sockets in the file system where somebody listens now."""
    tables = ("/proc/net/tcp", "/proc/net/tcp6")
    ports = {_port(fields[1]) for table in tables for fields in _rows(table) if fields[3] == _LISTENS}
    paths = {
        fields[7] for fields in _rows("/proc/net/unix") if fields[3] == _UNIX_LISTENS and len(fields) > 7
    }
    return frozenset(ports | paths)


def ended_connections() -> frozenset[tuple[str, str]]:
    """The ports of both ends of connections that were just closed; Linux remembers them for a minute."""
    return frozenset(
        (_port(fields[1]), _port(fields[2]))
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for fields in _rows(table)
        if fields[3] in _ENDED
    )


def _port(address: str) -> str:
    return str(int(address.rpartition(":")[2], 16))


def _inodes_of_port(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for fields in _rows(table):
            if fields[3] == _LISTENS and _port(fields[1]) == str(port):
                yield fields[9]


def _inodes_of_path(path: str) -> Iterator[str]:
    for fields in _rows("/proc/net/unix"):
        if fields[3] == _UNIX_LISTENS and len(fields) > 7 and fields[7] == path:
            yield fields[6]


def _rows(table: str) -> Iterator[list[str]]:
    try:
        with open(table, encoding="utf-8", errors="replace") as file:
            next(file, None)
            for line in file:
                yield line.split()
    except OSError:
        return


def _holder(inodes: Iterator[str]) -> tuple[str, str, str, str] | None:
    sockets = {f"socket:[{inode}]" for inode in inodes}
    if not sockets:
        return None
    own = str(os.getpid())
    for pid in (own, *(entry for entry in os.listdir("/proc") if entry.isdecimal() and entry != own)):
        try:
            if any(_link(f"/proc/{pid}/fd/{fd}") in sockets for fd in os.listdir(f"/proc/{pid}/fd")):
                return (
                    pid,
                    _side(pid),
                    _link(f"/proc/{pid}/cwd"),
                    _text(f"/proc/{pid}/cmdline").replace("\0", " ").strip(),
                )
        except OSError:
            continue
    return "", "", "", ""


def _side(pid: str) -> str:
    for entry in _text(f"/proc/{pid}/environ").split("\0"):
        if entry.startswith("GATE_SIDE_NAME="):
            return entry.partition("=")[2]
    return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
