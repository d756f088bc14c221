"""A run of the base in the place of accepted runs that are older than it, as far as it can be believed. Pure.

The base is run in a worktree, which lacks what git ignores. So its word counts only if it contradicts nothing
that memory and head agree on, and a test that it lacks is lost only if the base has changed the test's file.
"""

import math
from collections.abc import Mapping
from contextlib import suppress

import msgspec

from gate.baseline import AcceptedRun, KnownMetric, KnownTest, SuiteBaseline, accept
from gate.model import SuiteRun
from gate.nodeids import file_of
from gate.units import UnitError, convert


def contradiction(memory: SuiteBaseline, base: SuiteRun, head: SuiteRun) -> str:
    """What shows that a run of the base is no witness, as the end of a sentence; empty if nothing does.

    Args:
        memory: what the accepted runs say.
        base: the run of the base.
        head: the run of the head.
    """
    for nodeid, known in memory.tests.items():
        if _ran(known) and not _silent(head, nodeid) and _silent(base, nodeid):
            return f"{nodeid} does not run there"
    values = _values(memory)
    for name, known in memory.metrics.items():
        now, there = head.metrics.get(name), base.metrics.get(name)
        if now is None or not _passed(base, known.nodeid):
            continue
        if there is None:
            return f"{name} is not measured there"
        before, after = (_converted(m.value, m.unit, known.unit) for m in (there, now))
        if (
            known.exact
            and math.isclose(after, values.get(name, math.nan))
            and not math.isclose(after, before)
        ):
            return f"{name} is another there"
    return ""


def renewed(memory: SuiteBaseline, base: SuiteRun, commit: str, changed: Mapping[str, bool]) -> SuiteBaseline:
    """The memory of a suite's tests and work counts, as of the base.

    Args:
        memory: what the accepted runs say.
        base: a run of the base that they do not contradict.
        commit: the base.
        changed: files that the base has changed since those runs; whether they are still there.
    """
    ran = {file_of(nodeid) for nodeid, test in base.tests.items() if "::" in nodeid and not test.silent}

    def lost(known: KnownTest) -> bool:
        """The base has taken it away, or skips it; else the worktree is what it lacks something for."""
        file = file_of(known.nodeid)
        return file in changed and (file in ran or not changed[file])

    there = accept(None, base, commit)
    kept = {
        nodeid: known
        for nodeid, known in memory.tests.items()
        if _ran(known) and _silent(base, nodeid) and not lost(known)
    }
    unmeasured = {
        name: known
        for name, known in memory.metrics.items()
        if known.nodeid in kept or (known.nodeid in base.tests and not _passed(base, known.nodeid))
    }
    metrics = {name: _like(known, memory.metrics.get(name)) for name, known in there.metrics.items()}
    values = {
        name: _converted(value, there.metrics[name].unit, metrics[name].unit)
        for name, value in there.runs[-1].values.items()
    }
    values |= {name: value for name, value in _values(memory).items() if name in unmeasured}
    return msgspec.structs.replace(
        there,
        tests={**there.tests, **kept},
        metrics=metrics | unmeasured,
        runs=(AcceptedRun(commit=commit, created=there.runs[-1].created, values=values),),
    )


def _values(memory: SuiteBaseline) -> dict[str, float]:
    """The youngest value of each metric."""
    return {name: history[-1] for name in memory.metrics if (history := memory.history(name))}


def _passed(run: SuiteRun, nodeid: str) -> bool:
    test = run.tests.get(nodeid)
    return test is not None and not test.failed and not test.silent


def _ran(known: KnownTest) -> bool:
    return known.passed or known.failed


def _silent(run: SuiteRun, nodeid: str) -> bool:
    """Whether a test says nothing there."""
    test = run.tests.get(nodeid)
    return test is None or test.silent


def _like(metric: KnownMetric, before: KnownMetric | None) -> KnownMetric:
    """The metric in the unit that its history has, if that measures the same."""
    if before is None or math.isnan(_converted(1.0, metric.unit, before.unit)):
        return metric
    return msgspec.structs.replace(metric, unit=before.unit)


def _converted(value: float, unit: str, to: str) -> float:
    """Not a number if the units measure different things."""
    with suppress(UnitError):
        return convert(value, unit, to)
    return math.nan
