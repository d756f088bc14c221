"""What was mended leaves thresholds.yaml: which entries are over, and the file without them. Pure.

Only the lines of those entries go. Comments and layout of everything else stay as they are.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from itertools import pairwise
from typing import Final

import yaml

from gate.baseline import Baseline
from gate.model import Run, TestOutcome
from gate.policy import Policy

PASSES: Final = 3
"""So many accepted runs in a row must have passed before an entry goes: one pass of a test that fails now
and then shows nothing."""
_SECTION: Final = "known_failures"
_LINE_END: Final = re.compile("\r\n|[\r\n\x85\u2028\u2029]|$")


def mended(policy: Policy, run: Run, baseline: Baseline, flaky: Collection[str] = ()) -> tuple[str, ...]:
    """The entries of `known_failures` that an accepted run shows to be over, in the order of the file.

    Every test that an entry covers passed in the run or did not run, at least one did run, each of them
    passed in the last accepted runs as well, and none is remembered as failing.

    Args:
        policy: has the entries.
        run: the accepted run.
        baseline: the accepted runs, this one included.
        flaky: tests that failed now and then; what covers one of them stays.
    """
    ran: dict[str, list[TestOutcome]] = defaultdict(list)
    for suite in run.suites.values():
        for test in suite.tests.values():
            if not test.silent and (entry := policy.known_failure(test.nodeid)):
                ran[entry.pattern].append(test)
    broken = {
        entry.pattern
        for name in sorted({known.suite for known in baseline.suites})
        if (latest := baseline.latest(name))
        for test in latest.tests.values()
        if test.failed and (entry := policy.known_failure(test.nodeid))
    }

    def mends(test: TestOutcome) -> bool:
        return not (test.failed or test.flaky or test.nodeid in flaky) and (
            len(baseline.passes(test.suite, test.nodeid)) >= PASSES
        )

    return tuple(
        entry.pattern
        for entry in policy.known_failures
        if entry.pattern in ran and entry.pattern not in broken and all(map(mends, ran[entry.pattern]))
    )


def without_entries(text: str, patterns: Collection[str]) -> str:
    """The text of a thresholds.yaml without some entries of `known_failures`.

    The section goes with its last entry, and with the comments inside. The text must be one that
    `gate.thresholds` reads.
    """
    top = yaml.compose(text, yaml.SafeLoader)
    if not isinstance(top, yaml.MappingNode):
        return text
    section = next((value for key, value in top.value if key.value == _SECTION), None)
    if not isinstance(section, yaml.MappingNode):
        return text
    names = {key.value for key, _ in section.value}
    if not names & set(patterns):
        return text
    cuts = _cuts(text, top, {_SECTION}) if names <= set(patterns) else _cuts(text, section, set(patterns))
    for start, end in sorted(cuts, reverse=True):
        text = text[:start] + text[end:]
    return text


def _cuts(text: str, mapping: yaml.MappingNode, names: Collection[str]) -> Iterable[tuple[int, int]]:
    """Where entries of a mapping stand: whole lines, or between the commas of a mapping in braces."""
    entries = [(key.value in names, key.start_mark, value) for key, value in mapping.value]
    if mapping.flow_style:
        return _between_commas(entries, mapping)
    return (
        (start.index - start.column, _line_end(text, _end(text, value, start.index)))
        for going, start, value in entries
        if going
    )


def _between_commas(
    entries: list[tuple[bool, yaml.Mark, yaml.Node]], mapping: yaml.MappingNode
) -> Iterator[tuple[int, int]]:
    kept = [index for index, (going, _, _) in enumerate(entries) if not going]
    last = kept[-1] if kept else -1
    for (going, start, _), (_, following, _) in pairwise(entries[: last + 1]):
        if going:
            yield start.index, following.index
    if last + 1 < len(entries):
        begin = entries[last][2].end_mark.index if kept else entries[0][1].index
        yield begin, entries[-1][2].end_mark.index


def _end(text: str, node: yaml.Node, start: int) -> int:
    """Where the last character of a value stands; a mapping's own mark lies behind what follows it."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return _end(text, node.value[-1][1], start)
    return start + len(text[start : node.end_mark.index].rstrip())


def _line_end(text: str, index: int) -> int:
    found = _LINE_END.search(text, index)
    return found.end() if found else len(text)
