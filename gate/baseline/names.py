"""Records with their tests by the names that these have now: renames are resolved once, here. Pure."""

import dataclasses
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from gate.baseline import Pin
from gate.baseline.ancestry import Order, Placed
from pytest_regression_gate.metrics import duration_name


def by_their_last_names(placed: Sequence[Placed], order: Order) -> tuple[dict[str, str], list[Placed]]:
    """Records, the nearest last, with tests by their names of now; and these names, by older ones.

    A rename holds for all records that do not descend from it, on whichever branch they are.
    """
    found = sorted(placed, key=lambda one: one.key)
    renaming = [one for one in reversed(found) if one.record.moved]
    if not renaming:
        return {}, found
    nearer = order.nearer(found)

    def names_for(one: Placed | None) -> dict[str, str]:
        names: dict[str, str] = {}
        for other in renaming:
            if one is None or (other is not one and not nearer(one, other)):
                names |= {old: names.get(new, new) for new, old in other.record.moved.items()}
        return names

    return names_for(None), [_renamed(one, names_for(one)) for one in found]


def _renamed(one: Placed, names: Mapping[str, str]) -> Placed:
    old = {name: names[name] for name in one.outcomes.keys() | set(one.record.held) if name in names}
    if not old:
        return one
    durations = {duration_name(before): duration_name(now) for before, now in old.items()}
    record = replace(
        one.record,
        values=_with_durations(one.record.values, durations),
        failures={old.get(n, n): signature for n, signature in one.record.failures.items()},
        held=tuple(old.get(n, durations.get(n, n)) for n in one.record.held),
        waived=tuple(
            replace(p, subject=old.get(p.subject, durations.get(p.subject, p.subject)))
            for p in one.record.waived
        ),
        improved=tuple(durations.get(n, n) for n in one.record.improved),
    )
    outcomes = {old.get(nodeid, nodeid): outcome for nodeid, outcome in one.outcomes.items()}
    return dataclasses.replace(one, record=record, outcomes=outcomes)


def with_last_names(pin: Pin, names: Mapping[str, str]) -> Pin:
    """A reference with durations of tests by the names that they have now."""
    durations = {duration_name(before): duration_name(now) for before, now in names.items()}
    return replace(pin, groups=_with_durations(pin.groups, durations)) if durations else pin


def _with_durations(
    groups: Mapping[str, Mapping[str, float]], durations: Mapping[str, str]
) -> dict[str, dict[str, float]]:
    return {kind: {durations.get(n, n): v for n, v in group.items()} for kind, group in groups.items()}
