"""What services print: kept short, and its end told."""

import os
import re
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from gate import files
from gate.services.variables import without

_LONGEST: Final = 16_000_000
"""Bytes after which only the end of a log is kept."""
_KEPT: Final = 64_000
_LONGEST_SECRET: Final = 10_000
"""Bytes before what is kept in which a secret may begin."""
_LOOK: Final = 0.2
_LINE: Final = 200
_ERROR: Final = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception)\b.*|[A-Za-z_]\w*(?:\.\w+)+: .*")
"""The last line of a traceback: `KeyError: 5`, `psycopg.errors.UndefinedTable: ...`."""


class Listener:
    """Hears what is added to a log, however much that is."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._heard = 0
        self._rest = b""

    def hears(self, text: str) -> bool:
        """Whether a text was printed since the last question."""
        wanted = text.encode()
        try:
            with self._log.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self._heard:  # it was cut
                    self._heard = 0
                file.seek(self._heard)
                new = self._rest + file.read(_LONGEST)
                self._heard = file.tell()
        except OSError:
            return False
        self._rest = new[-len(wanted) :]
        return wanted in new


def end_of(log: Path, secrets: Iterable[str] = ()) -> str:
    """The last lines of a log, without secrets; empty: it cannot be read."""
    text = files.end_of(log, _KEPT + _LONGEST_SECRET).lstrip("\0")
    return without(text, secrets)[-_KEPT:]


def last_error(said: str) -> str:
    """The last exception in some output, else its last line, as the end of a sentence; empty: nothing."""
    lines = [line.rstrip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR.match(line)]
    return f": {(errors or lines)[-1].strip()[:_LINE]}" if lines else ""


@contextmanager
def shortened(logs: Callable[[], Iterable[Path]]) -> Generator[None]:
    """While the block runs, cut logs that grow too long, so that a flood does not fill the disk.

    Args:
        logs: those there are now. Who writes them appends.
    """
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK):
            for log in logs():
                with suppress(OSError):
                    if log.stat().st_size > _LONGEST:
                        end = end_of(log)
                        os.truncate(log, 0)
                        with log.open("a", encoding="utf-8", errors="replace") as file:
                            file.write(f"[the gate cut what was before]\n{end}")

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
