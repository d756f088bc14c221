"""Names that the plugin and `gate run` share: environment variables between parent and child."""

from typing import Final

SUITE_VARIABLE: Final = "GATE_SUITE"
"""The suite that is run."""

PROGRESS_VARIABLE: Final = "GATE_PROGRESS_FD"
"""Number of an open file descriptor that takes one JSON line per event."""
