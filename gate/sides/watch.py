"""Which files are opened by anybody, as Linux's inotify tells; elsewhere nobody knows."""

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_OPEN: Final = 0x20
_OVERFLOW: Final = 0x4000
_EVENT: Final = struct.Struct("iIII")
_MOST: Final = 4096
"""So many files can be watched."""
_BUFFER: Final = 1 << 16


class Watch:
    """Hears of every `open` of some files while its block runs, whichever process it is.

    Args:
        files: what to watch; what is not there is left out.
        compiled: directories below which Python keeps compiled files, at the paths of their sources.
    """

    def __init__(self, files: Iterable[Path], compiled: Iterable[str] = ()) -> None:
        self._prefixes = ("", *compiled)
        self._files = [str(file) for file in files if file.is_file()]
        self._names: dict[int, str] = {}
        self._descriptor = -1
        self._lost = len(self._files) > _MOST

    def __enter__(self) -> Self:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        except (AttributeError, OSError):
            return self
        if self.works:
            for name in self._files:
                for place in (name, *self._compiled(name)):
                    number = libc.inotify_add_watch(self._descriptor, os.fsencode(place), _OPEN)
                    self._names[number] = name
                    self._lost = self._lost or number < 0
        return self

    @property
    def works(self) -> bool:
        """Whether everything was heard until now."""
        return self._descriptor >= 0 and not self._lost

    def opened(self) -> set[str]:
        """The files that were opened until now."""
        found: set[str] = set()
        while self._descriptor >= 0:
            try:
                data = os.read(self._descriptor, _BUFFER)
            except BlockingIOError:
                break
            place = 0
            while place < len(data):
                number, mask, _, length = _EVENT.unpack_from(data, place)
                self._lost = self._lost or bool(mask & _OVERFLOW)
                place += _EVENT.size + length
                found |= {self._names[number]} if number in self._names else set()
        return found

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _compiled(self, name: str) -> list[str]:
        """What Python opens in place of a source."""
        file = Path(name)
        places = (
            Path(f"{one}{file.parent}") if one else file.parent / "__pycache__" for one in self._prefixes
        )
        found = (place.glob(f"{file.stem}.*.pyc") for place in places if file.suffix == ".py")
        return [str(place) for group in found for place in group]
