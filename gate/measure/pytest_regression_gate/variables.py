"""Environment variables between the gate and the pytest that it started; those of a side are in `side`."""

from typing import Final

SUITE_VARIABLE: Final = "GATE_SUITE"
"""The suite that is run."""

SESSION_VARIABLE: Final = "GATE_SESSION"
"""Set by the pytest of a suite, for those that its tests start."""

LIBRARIES_VARIABLE: Final = "GATE_LIBRARIES"
"""Libraries whose versions are part of the environment, separated by spaces."""

WATCH_VARIABLE: Final = "GATE_WATCH"
"""Environment variables to tell of, separated by spaces."""

SHARD_VARIABLE: Final = "GATE_SHARD"
"""Which share of the suite is to run, from 1; the suite's command picks it."""

SHARDS_VARIABLE: Final = "GATE_SHARDS"
"""Of how many shares; 1: the suite runs whole."""

PROGRESS_VARIABLE: Final = "GATE_PROGRESS"
"""Address of a named pipe that takes one JSON line per event."""

LOCKSTEP_VARIABLE: Final = "GATE_LOCKSTEP"
"""JSON: what one side of a comparison measures, and the addresses of the pipes to its controller."""

SELECT_VARIABLE: Final = "GATE_SELECT"
"""A file with the nodeids of the only tests that run, as `protocol.selection` writes it."""

CACHE_VARIABLE: Final = "GATE_CACHE_DIR"
"""Where pytest's cache of one side of a comparison lies."""

PROBE_VARIABLE: Final = "GATE_PROBE"
"""A file for what the environment of the suite is; then nothing is run."""
