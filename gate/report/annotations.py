"""Verdict -> annotations at files and lines: the failing test, the changed rule."""

import posixpath
import re
from typing import Final, Literal

import msgspec

from gate.nodeids import file_of
from gate.report.text import log_line, one_line
from gate.report.words import advice, headline
from gate.verdict import Finding, Level, Verdict

_LEVELS: Final[dict[Level, Literal["failure", "warning", "notice"]]] = {
    "fail": "failure",
    "warn": "warning",
    "info": "notice",
}
_COMMANDS: Final = {"failure": "error", "warning": "warning", "notice": "notice"}
_WHERE: Final = re.compile(r"(?P<path>[^:]+\.\w+):(?P<line>[1-9]\d{0,6})")
_LONGEST_PATH: Final = 1000
_MOST_IN_A_LOG: Final = 10
"""GitHub shows ten of each kind per step."""


class Annotation(msgspec.Struct, frozen=True):
    """One remark, as the checks of GitHub take it."""

    path: str
    start_line: int
    end_line: int
    annotation_level: Literal["failure", "warning", "notice"]
    message: str
    title: str


def annotations(verdict: Verdict, directory: str = "") -> list[Annotation]:
    """Everything that failed or warns and has a place in the repository, worst first.

    Args:
        verdict: what the gate has to say.
        directory: that of thresholds.yaml, from the top of the repository; empty or `.`: the top.
    """
    found = [_annotation(f, directory) for f in (*verdict.of_level("fail"), *verdict.of_level("warn"))]
    return [annotation for annotation in found if annotation]


def workflow_commands(verdict: Verdict, directory: str = "") -> list[str]:
    """The same as commands of a log, for a token that may not write checks: the verdict first."""
    lines: list[str] = []
    if verdict.exit_code:
        lines.append(f"::error title=regression gate::{_data(f'{headline(verdict)}. {advice(verdict)}')}")
    for annotation in annotations(verdict, directory)[: _MOST_IN_A_LOG - len(lines)]:
        place = f"file={_property(annotation.path)},line={annotation.start_line}"
        command = _COMMANDS[annotation.annotation_level]
        lines.append(f"::{command} {place},title={_property(annotation.title)}::{_data(annotation.message)}")
    return lines


def _annotation(finding: Finding, directory: str) -> Annotation | None:
    where = _WHERE.fullmatch(finding.where)
    if where:
        path, line = where["path"], int(where["line"])
    elif finding.nodeids:
        path, line = file_of(finding.nodeids[0]), 1
    elif finding.kind == "policy-change" and not finding.suite:  # else it is about a suite and no file
        path, line = finding.subject, 1
    else:
        return None
    if directory and finding.kind != "policy-change":  # whose files are named from the top
        path = posixpath.normpath(f"{directory}/{path}")
    if not 0 < len(path) <= _LONGEST_PATH or path.startswith(("/", "..")) or "\\" in path:
        return None
    state = f" ({finding.state})" if finding.state else ""
    return Annotation(
        path=one_line(path),
        start_line=line,
        end_line=line,
        annotation_level=_LEVELS[finding.level],
        message=log_line(f"{finding.subject}: {finding.message}")[:2000],
        title=one_line(f"{finding.kind}{state}")[:200],
    )


def _data(text: str) -> str:
    return one_line(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
