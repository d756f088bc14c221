"""Why a suite's command left no report, told by its exit code, its output and its progress. Pure."""

import re
from collections.abc import Collection
from typing import Final

_INSTALL: Final = "pytest-regression-gate (README, Quick start)"
_LONGEST: Final = 200

_DROPPING: Final = {
    r"tox": "tox drops the gate's variables; add to [testenv]: pass_env = GATE_*, PYTEST_ADDOPTS",
    r"sudo": "sudo drops the gate's variables; use sudo --preserve-env",
    r"env\s+(-i|--ignore-environment|-)": "env -i drops the gate's variables; run the command without it",
    r"(docker|podman)": "a container does not see the gate's variables and files; run the gate inside it",
}
"""How a program is started that keeps the gate's variables from pytest -> what to do."""

_OWN_FILE: Final = "--json-report-file"
_NOT_FOUND: Final = 127
_NOT_EXECUTABLE: Final = 126
_UNKNOWN_OPTION: Final = re.compile(r"unrecognized arguments:.*--json-report")
_EXCEPTION: Final = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Warning)(?::|$)")
"""The last line of a traceback."""
_NO_PLUGIN: Final = re.compile(r"No module named pytest\b")


def why_no_report(command: str, code: int, said: str, *, heard: bool, running: Collection[str] = ()) -> str:
    """What a suite did instead of leaving a report, as the rest of a sentence about it.

    Args:
        command: of the suite, for the shell.
        code: its exit code.
        said: the end of its output.
        heard: the gate's plugin was there.
        running: tests that had begun and not ended.
    """
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = lines[-1][:_LONGEST] if lines else command
    dropped = "" if heard else _dropped(command)
    causes = (
        (running, f"crashed with exit code {code}{while_running(running)}"),
        (code == _NOT_FOUND and not heard, f"did not start because its command was not found: {last}"),
        (
            code == _NOT_EXECUTABLE and not heard,
            f"did not start because its command cannot be executed: {last}",
        ),
        (
            _UNKNOWN_OPTION.search(said),
            f"ran a pytest without the gate's plugin; install it in the suite's environment: {_INSTALL}",
        ),
        (
            _OWN_FILE in command,
            f"wrote its report elsewhere: its command sets {_OWN_FILE}, which overrides the gate's; "
            "remove that option",
        ),
        (dropped, f"left no report (exit code {code}): {dropped}"),
        (
            _NO_PLUGIN.search(said),
            f"ran a Python without pytest or the gate's plugin: {last}; install both there: {_INSTALL}",
        ),
        (
            code and not heard and _EXCEPTION.match(last),
            f"ended with exit code {code} before its tests began: {last}",
        ),
        (not heard and code in {0, 1}, f"left no report (exit code {code}): {unreached(command)}"),
        (
            code in {0, 1},
            f"left no report (exit code {code}): {command!r} drops the environment variable PYTEST_ADDOPTS; "
            "pass it on",
        ),
    )
    otherwise = f"ended with exit code {code} and wrote no report{error_in(said)}"
    return next((cause for holds, cause in causes if holds), otherwise)


def unreached(command: str) -> str:
    """Why a suite's pytest ran and knew nothing of the gate, and what to do about it."""
    return _dropped(command) or (
        f"{command!r} drops the environment variables GATE_* and PYTEST_ADDOPTS, or the gate's plugin is not "
        f"installed where its pytest runs; pass the variables on, or install {_INSTALL}"
    )


def while_running(tests: Collection[str]) -> str:
    """Which tests were running, as the end of a sentence; empty: none."""
    if not tests:
        return ""
    more = f" and {len(tests) - 1} more were" if len(tests) > 1 else " was"
    return f" while {min(tests)}{more} running"


def error_in(said: str) -> str:
    """What the end of a log says last as pytest says errors, as the end of a sentence; empty: nothing."""
    errors = [line.removeprefix("E").strip() for line in said.splitlines() if line.startswith("E  ")]
    return f": {errors[-1][:_LONGEST]}" if errors and errors[-1] else ""


def _dropped(command: str) -> str:
    return next(
        (remedy for word, remedy in _DROPPING.items() if re.search(rf"(^|[\s/;&|(]){word}(\s|$)", command)),
        "",
    )
