"""What a reader raises, and how it finds the place in a document that is wrong."""

import re

from gate.model import Problem, one_line


class ReportError(Exception):
    """A report cannot be used. Holds one `Problem` for the verdict."""

    def __init__(self, subject: str, message: str, remedy: str) -> None:
        message = one_line(message)
        super().__init__(f"{subject}: {message}; {remedy}")
        self.problem = Problem(subject, message, remedy)


def position(data: bytes, offset: int) -> str:
    """Line and column of a byte offset, both from 1, and the test around it, if one is near."""
    before = data[:offset]
    line = before.count(b"\n") + 1
    column = offset - (before.rfind(b"\n") + 1) + 1
    place = f"line {line}, column {column}"
    nodeids = re.findall(rb'"nodeid":\s*"((?:[^"\\]|\\.){1,300})"', before[-200_000:])
    if nodeids:
        place += f", in test {nodeids[-1].decode(errors='replace')}"
        names = re.findall(rb'"name":\s*"([^"\\]{1,200})"', before[before.rfind(nodeids[-1]) :])
        if names:
            place += f", metric {names[-1].decode(errors='replace')}"
    return place
