"""What is said of tests that go by another name than at the base. Pure."""

from collections import defaultdict
from typing import Literal, NamedTuple

from gate.judge.known import Expected
from gate.model import Run
from gate.nodeids import file_of, function_of
from gate.verdict import Finding


class _Group(NamedTuple):
    """Tests that are told together."""

    suite: str
    new: str
    """The file, or the function."""
    old: str
    how: Literal["moved", "renamed", "with other parameters"]


def judge_moves(run: Run, expected: Expected) -> list[Finding]:
    """One finding for each pair of files between which tests moved, and for each test with another name."""
    groups: dict[_Group, list[str]] = defaultdict(list)
    for suite in run.suites.values():
        for new in suite.tests.keys() & expected.moved.keys():
            groups[_group(suite.name, new, expected.moved[new])].append(new)
    return [_finding(group, sorted(groups[group]), expected) for group in sorted(groups)]


def _group(suite: str, new: str, old: str) -> _Group:
    here, there = function_of(new), function_of(old)
    if here == there:
        return _Group(suite, here, there, "with other parameters")
    if here.partition("::")[2] == there.partition("::")[2]:
        return _Group(suite, file_of(new), file_of(old), "moved")
    return _Group(suite, here, there, "renamed")


def _finding(group: _Group, nodeids: list[str], expected: Expected) -> Finding:
    other = group.how == "with other parameters"  # the code is the same, but who says that the case is?
    match group.how:
        case "moved":
            tests = f"{len(nodeids)} test{'s' * (len(nodeids) != 1)}"
            message = f"{tests} of {group.old}, moved here with the same code"
        case "renamed":
            message = f"is {group.old}, renamed with the same code"
        case "with other parameters":
            names = [(expected.moved[n].removeprefix(group.old), n.removeprefix(group.new)) for n in nodeids]
            pairs = ", ".join(" → ".join(pair) for pair in names)
            message = f"has other cases than at the base, taken in order: {pairs}"
    left = {entry.pattern for n in nodeids if (entry := expected.entries.get(n)) and not entry.covers(n)}
    return Finding(
        kind="policy-change" if other else "moved-test",
        level="warn" if other else "info",
        subject=group.new,
        suite=group.suite,
        message=message,
        nodeids=tuple(nodeids),
        remedy=f"let known_failures[{', '.join(sorted(left))}] follow" if left else "",
    )
