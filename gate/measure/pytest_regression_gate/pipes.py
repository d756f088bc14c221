"""Named pipes between the gate and the pytest that it started.

A descriptor that is passed on by its number does not arrive: tox, nox and everything else that starts
processes with Python's `subprocess` closes it, and the project then opens a file under that number. So a
pipe has a path. A child opens it for each line and closes it at once: no file of the project is ever written
to. Each line begins with the pipe's token, so that what a process of another run writes is not heard.
"""

import os
import secrets
import select
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, Self

_CHUNK: Final = 65536
_TOKEN_BYTES: Final = 8


class Address(NamedTuple):
    """What a child needs to know of a pipe; it travels in an environment variable."""

    path: str
    token: str

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The inverse of `str`; of any other text an address where nobody is."""
        token, _, path = text.partition(":")
        return cls(path, token)

    def __str__(self) -> str:
        return f"{self.token}:{self.path}"

    @property
    def reachable(self) -> bool:
        """Whether somebody would read what is sent."""
        try:
            os.close(_open(self.path, os.O_WRONLY))
        except OSError:
            return False
        return True

    def send(self, line: bytes) -> None:
        """Write a line to the pipe's owner, who reads it.

        Raises:
            OSError: there is no such pipe here, or nobody reads it any more.
        """
        descriptor = _open(self.path, os.O_WRONLY)
        try:
            _write(descriptor, self._marked(line))
        finally:
            os.close(descriptor)

    def receive(self) -> bytes:
        """Wait for what the pipe's owner writes; one line or several, each ended.

        Returns:
            The lines; nothing when the owner is gone.

        Raises:
            OSError: there is no such pipe here.
        """
        descriptor = _open(self.path, os.O_RDONLY)
        try:
            data = b""
            while not data.endswith(b"\n"):
                if not (chunk := os.read(descriptor, _CHUNK)):
                    return b""
                data += chunk
        finally:
            os.close(descriptor)
        return b"".join(
            text + b"\n" for line in data.splitlines() if (text := self.unmarked(line)) is not None
        )

    def unmarked(self, line: bytes) -> bytes | None:
        """A line without the token; None if it was not written for this pipe."""
        token, _, text = line.partition(b" ")
        return text if token == self.token.encode() else None

    def _marked(self, line: bytes) -> bytes:
        return b"%b %b\n" % (self.token.encode(), line)


class Pipe:
    """A named pipe of this process, gone when it is closed. Its other end may be opened any number of times.

    Args:
        directory: where it lies; only this user should be able to enter it.
        name: of its file.
    """

    def __init__(self, directory: Path, name: str) -> None:
        path = directory / name
        os.mkfifo(path, 0o600)
        self.address: Final = Address(str(path), secrets.token_hex(_TOKEN_BYTES))
        # Both ends are held: a child that opens and closes the other one never ends the pipe.
        self._reading = _open(str(path), os.O_RDONLY, blocking=False)
        self._writing = _open(str(path), os.O_WRONLY)
        self._poll = select.poll()  # unlike `select` for any number of a descriptor
        self._poll.register(self._reading, select.POLLIN)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it: a child that waits for a line gets none. Closing twice is no error."""
        for descriptor in (self._reading, self._writing):
            with suppress(OSError):
                os.close(descriptor)
        self._reading = self._writing = -1
        with suppress(OSError):
            os.unlink(self.address.path)  # noqa: PTH108 - its path may be relative to a directory that was left

    def send(self, line: bytes) -> None:
        """Write a line for a child that waits for one."""
        _write(self._writing, self.address._marked(line))  # pyright: ignore[reportPrivateUsage]

    def receive(self, seconds: float) -> bytes | None:
        """The next line that a child wrote; None if none comes in time."""
        deadline = time.monotonic() + seconds
        while True:
            line, ended, rest = self._buffer.partition(b"\n")
            if ended:
                self._buffer = rest
                if (text := self.address.unmarked(line)) is not None:
                    return text
                continue
            left = deadline - time.monotonic()
            if not self._poll.poll(max(0.0, left) * 1e3):
                return None
            self._buffer += os.read(self._reading, _CHUNK)


def _open(path: str, mode: int, *, blocking: bool = True) -> int:
    """Open one end of a pipe at once, whether there is another end or not.

    Raises:
        OSError: it is not there, is no pipe, or has no reader.
    """
    descriptor = os.open(path, mode | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is no named pipe")
    os.set_blocking(descriptor, blocking)
    return descriptor


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
