"""Reading files that somebody else may have put there: links, devices and pipes are refused, and giants."""

import errno
import os
import stat
from pathlib import Path
from typing import Final

_MOST: Final = 2**30
"""Bytes of a file that is read at once."""


def read_plain(path: Path) -> bytes:
    """The contents of a plain file, or of one that a link leads to.

    Raises:
        OSError: it is not there, is none, or is larger than 1 GiB.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            raise OSError(errno.EINVAL, "not a plain file", str(path))
        if state.st_size > _MOST:
            raise OSError(errno.EFBIG, "larger than 1 GiB", str(path))
        return file.read()


def read_if_plain(path: Path) -> bytes | None:
    """The contents of a plain file; None: there is none that can be read."""
    try:
        return read_plain(path)
    except OSError:
        return None


def end_of(path: Path, most: int) -> str:
    """The end of a growing text, `most` bytes of it; empty: it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - most))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
