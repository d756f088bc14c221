"""Hundreds of pytest processes start here: they leave out a plugin that takes a third of that time."""

import os
import signal
from typing import Final

UNUSED: Final = "-p no:langsmith_plugin"
"""Comes with the reference service's language model library; no test uses it."""


def pytest_configure() -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # In the background of a shell without job control; children that are interrupted must hear it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    given = os.environ.get("PYTEST_ADDOPTS", "")
    if UNUSED not in given:  # a worker inherits what its parent set
        os.environ["PYTEST_ADDOPTS"] = f"{given} {UNUSED}".strip()
