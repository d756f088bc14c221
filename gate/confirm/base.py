"""What the base counts, asked where no accepted run of its own code tells: one run does."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress

from gate.confirm.rerun import run_once
from gate.model import Run
from gate.policy import Policy
from gate.sides.side import Side
from gate.units import UnitError, convert


def counting_tests(run: Run, policy: Policy, behind: Collection[str]) -> dict[str, list[str]]:
    """Tests of the head that count work, by suite, of suites without accepted runs as new as the base."""
    found: dict[str, list[str]] = {}
    for name in sorted(run.suites.keys() & policy.suites.keys() & set(behind)):
        nodeids = {m.nodeid for m in run.suites[name].metrics.values() if m.exact}
        if nodeids:
            found[name] = sorted(nodeids)
    return found


def base_counts(
    sides: Mapping[str, tuple[Side, Side]],
    tests: Mapping[str, Sequence[str]],
    untouched: Callable[[str], bool],
    policy: Policy,
    run: Run,
    *,
    listen: Callable[[str], None],
) -> dict[str, float]:
    """Work counts of the base, by metric, in the units of the head.

    Args:
        sides: base and head, by command.
        tests: which to run, by suite.
        untouched: whether a test reaches nothing that the change has changed.
        policy: has the suites.
        run: of the head.
        listen: called with a line before a suite is run.
    """
    known = run.metrics
    counts: dict[str, float] = {}
    for name, nodeids in tests.items():
        suite = policy.suites[name]
        touched = [nodeid for nodeid in nodeids if not untouched(nodeid)]
        if not touched:
            continue
        listen(f"confirm: no accepted run of {name} is as new as the base, so the base counts its work")
        side = sides[suite.run][0]
        found = run_once(side, suite, touched, policy, number=0, seconds=suite.timeout.to("s"))
        for metric in (metric for one in found.values() for metric in one.metrics.values()):
            if metric.exact and metric.name in known:
                with suppress(UnitError):
                    counts[metric.name] = convert(metric.value, metric.unit, known[metric.name].unit)
    return counts
