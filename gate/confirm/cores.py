"""Which core to measure on: the one that is disturbed least right now."""

import os
import time
from contextlib import suppress
from statistics import median
from typing import Final

_TURNS: Final = 200_000
"""Of the probe: some milliseconds."""
_PROBES: Final = 3
_MOST: Final = 8
"""Cores that are tried; more would take longer than they could gain."""


def quietest_core() -> int:
    """The core on which a short loop of work takes the least time; -1 where none can be chosen.

    On shared machines one core may run at half the speed of its neighbour, for minutes, and with many times
    its jitter. Both sides of a launch measure on one core, so the choice favours neither.
    """
    if not hasattr(os, "sched_getaffinity"):
        return -1
    allowed = os.sched_getaffinity(0)
    seconds: dict[int, float] = {}
    try:
        for core in sorted(allowed)[:_MOST]:
            with suppress(OSError):
                os.sched_setaffinity(0, {core})
                seconds[core] = median(_probe() for _ in range(_PROBES))
    finally:
        with suppress(OSError):
            os.sched_setaffinity(0, allowed)
    return min(seconds, key=seconds.__getitem__, default=-1)


def _probe() -> float:
    started = time.perf_counter()
    for _ in range(_TURNS):
        pass
    return time.perf_counter() - started
