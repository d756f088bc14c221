"""What of the memory no reading can use any more. Pure."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from gate.baseline import WINDOW, Baseline
from gate.baseline.ancestry import Ancestry, Order, Placed
from gate.baseline.expected import expected, kept_level
from gate.baseline.facts import SILENT
from gate.baseline.names import by_their_last_names
from gate.baseline.records import FLAKY, Memory, Record, SuiteRecords, each_once

KEPT: Final = 2 * WINDOW
"""How many accepted runs of an environment are kept."""


def pruned(memory: Memory, ancestry: Ancestry | None = None) -> Memory:
    """The memory without what no reading at a commit, or near it, can use any more.

    A record beyond those kept goes, unless it is the nearest of its environment that tells of a test or of a
    metric. First levels stay as references. Records that have no place here stay. More are kept than are
    read, for branches that have left the history of the commit.

    Args:
        memory: all records.
        ancestry: the commits that the commit descends from; None: nobody knows.
    """
    order = Order(ancestry)
    baseline = expected(memory, ancestry)
    placed: dict[str, list[Placed]] = {}
    for file in memory.suites:
        placed.setdefault(file.suite, []).extend(order.of(file))
    named = {suite: by_their_last_names(records, order)[1] for suite, records in placed.items()}
    return Memory(
        tuple(
            _without_old(
                file, [one for one in named[file.suite] if one.environment == file.environment.id], baseline
            )
            for file in memory.suites
        )
    )


def _without_old(file: SuiteRecords, placed: Sequence[Placed], baseline: Baseline) -> SuiteRecords:
    old = placed[:-KEPT]
    overall, view = baseline.latest(file.suite), baseline.exactly_on(file.suite, file.environment)
    if not overall or not view:
        return file
    stored = {name for pin in file.pins for group in pin.groups.values() for name in group}
    levels = [
        kept_level(pin, view.metrics)
        for pin in view.pins
        if not pin.reason and not pin.values.keys() <= stored
    ]
    file = replace(file, pins=each_once((*file.pins, *levels)))
    if not old:
        return file
    wanted = overall.tests.keys() | overall.metrics.keys()
    for one in placed[-KEPT:]:
        wanted -= _told(one)
    gone: set[str] = set()
    for one in reversed(old):
        if _told(one).isdisjoint(wanted) and not _decides_for_others(one.record):
            gone.add(one.record.measurement)
        wanted -= _told(one)
    # the lines of names stay: another branch may hold records that need them
    return replace(
        file,
        records=tuple(one for one in file.records if one.measurement not in gone),
    )


def _decides_for_others(record: Record) -> bool:
    """Whether it says what other environments and branches need: that something was renamed or removed."""
    return bool(record.moved) or any(not permission.given for permission in record.waived)


def _told(one: Placed) -> set[str]:
    """The tests that ran in a record, and its metrics."""
    ran = {nodeid for nodeid, outcome in one.outcomes.items() if outcome not in SILENT and outcome != FLAKY}
    return ran.union(*one.record.values.values())
