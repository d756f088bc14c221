"""How a test failed: the part that stays the same from run to run, and the part for people."""

import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Final

from gate.model import Failure

_MAX_MESSAGE: Final = 300
_FOREIGN: Final = re.compile(
    r"(^|/)(site-packages|dist-packages|lib/python3[^/]*|\.venv|venv|pytest_regression_gate)/|^<"
)
_TYPE: Final = re.compile(r"(?P<type>(?:[A-Za-z_]\w{0,60}\.){0,8}[A-Z_]\w{0,80})(?::|$)")
"""An exception type as Python shows it: `httpx.ReadTimeout: slow`, `KeyError`."""

_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]+")
_VOLATILE: Final = (
    (_ADDRESS, "0x?"),
    (re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"), "<time>"),
    (re.compile(r"(?:[A-Za-z]:)?(?:[\\/][\w.+@~-]+){2,}[\\/]?"), "<path>"),
    (re.compile(r"\b(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[0-9A-Za-z]{4,64}\b(?<!\de\d)"), "<id>"),
    (re.compile(r"[+-]?\d+(?:[.,_]\d+)*(?:[eE][+-]?\d+)?"), "N"),
)
"""What changes between runs of the same failure: addresses, ids, times, paths, numbers."""


def normalise(message: str) -> str:
    """The first line of a message with everything volatile replaced.

    >>> normalise("TimeoutError: task 7f3a2b19 took 1.52 s")
    'TimeoutError: task <id> took N s'
    """
    text = _first_line(message)
    for pattern, replacement in _VOLATILE:
        text = pattern.sub(replacement, text)
    return text[:_MAX_MESSAGE]


def describe(
    message: str,
    kind: str,
    frames: Sequence[tuple[str, int]],
    root: str,
    parts: Sequence[tuple[str, str]] = (),
) -> Failure:
    """Build a `Failure` from what a report holds.

    Args:
        message: the crash message, with or without the exception type in front.
        kind: the exception type if the report names it, else an empty text.
        frames: (path, line) of the traceback, outermost first; paths relative or absolute.
        root: the directory that tests were run in.
        parts: of the test that failed (subtests, examples): which, and how. Which ones is part of the
            failure, numbers included.
    """
    frame = next((f for f in reversed(frames) if not _FOREIGN.search(_relative(f[0], root))), None)
    path = _relative(frame[0], root) if frame else ""
    said = "; ".join(sorted({f"[{_ADDRESS.sub('0x?', which)}] {normalise(how)}" for which, how in parts}))
    return Failure(
        signature=f"{_exception_type(message, kind)} | {path} | {said or normalise(message)}",
        message=_first_line(message)[:_MAX_MESSAGE],
        where=f"{path}:{frame[1]}" if frame else "",
    )


def _exception_type(message: str, kind: str) -> str:
    if match := _TYPE.match(kind.strip()) or _TYPE.match(_first_line(message)):
        return match["type"]
    return "AssertionError" if message.lstrip().startswith("assert") else "failure"


def _relative(path: str, root: str) -> str:
    """A path below the root without it; a path elsewhere as it is."""
    pure = PurePath(path)
    return pure.relative_to(root).as_posix() if root and pure.is_relative_to(root) else pure.as_posix()


def _first_line(message: str) -> str:
    return next((line.strip() for line in message.splitlines() if line.strip()), "")
