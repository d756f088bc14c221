"""Which functions of the project an operation runs: so that a change can be held against it."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType


class Executed:
    """Functions seen so far, as `path:qualified name`.

    Args:
        root: only files below it count, without the environment that is installed there.
    """

    def __init__(self, root: Path) -> None:
        self._root = f"{root.resolve()}/"
        self._installed = tuple(f"{Path(prefix).resolve()}/" for prefix in {sys.prefix, sys.base_prefix})
        self._codes: set[CodeType] = set()

    @contextmanager
    def watch(self) -> Generator[None]:
        """Note every function that this thread enters. Another profiler is left alone: nothing is noted."""
        if sys.getprofile() is not None:
            yield
            return
        sys.setprofile(self._enter)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _enter(self, frame: FrameType, event: str, arg: object) -> None:
        if event == "call":
            self._codes.add(frame.f_code)

    @property
    def functions(self) -> list[str]:
        """What was entered, sorted; a lambda or an inner function counts for the function around it."""
        found = {
            f"{path.removeprefix(self._root)}:{code.co_qualname.partition('.<locals>')[0]}"
            for code in self._codes
            if (path := code.co_filename).startswith(self._root) and not path.startswith(self._installed)
        }
        return sorted(found)
