"""What can still be read of a report that is refused: the tests that failed."""

import json
import re
from typing import Any, Final, cast

_FAILED: Final = frozenset({"failed", "error", "subtests failed"})
_STAGES: Final = ("setup", "call", "teardown", "???")
_TEST: Final = re.compile(
    rb'"nodeid":\s*("(?:[^"\\]|\\.){1,1000}")[^{}]{0,20000}?"outcome":\s*"(?:failed|error)"'
)
"""A failed test in a document that was cut off, as pytest-json-report writes it."""


def failed_tests(data: bytes) -> list[str]:
    """The nodeids of failed tests, as far as the bytes of a report say, in their order."""
    try:
        document = json.loads(data.decode(errors="replace"))
    except (ValueError, RecursionError):
        return [_text(found[1]) for found in _TEST.finditer(data)]
    tests = cast(dict[str, Any], document).get("tests") if isinstance(document, dict) else None
    entries = map(_as_object, cast(list[object], tests) if isinstance(tests, list) else [])
    return [
        entry["nodeid"] for entry in entries if isinstance(entry.get("nodeid"), str) and _is_failed(entry)
    ]


def _is_failed(test: dict[str, Any]) -> bool:
    ends = [test.get("outcome"), *(_as_object(test.get(stage)).get("outcome") for stage in _STAGES)]
    return any(isinstance(end, str) and end in _FAILED for end in ends)


def _as_object(value: object) -> dict[str, Any]:
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def _text(written: bytes) -> str:
    try:
        return str(json.loads(written))
    except ValueError:
        return written.decode(errors="replace").strip('"')
