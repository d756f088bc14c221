"""Hundreds of pytest processes start here: they leave out plugins that take half of that time."""

import os
import signal
from typing import Final

import pytest

UNUSED: Final = "-p no:langsmith_plugin -p no:hypothesispytest -p no:benchmark"
"""One comes with the reference service's language model library, one is for the gate's own property tests,
and one starts git, hg and uname in each process."""


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # In the background of a shell without job control; children that are interrupted must hear it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("numprocesses", None):
        return  # the workers are no such children, they do so for theirs
    given = os.environ.get("PYTEST_ADDOPTS", "")
    if UNUSED not in given:
        os.environ["PYTEST_ADDOPTS"] = f"{given} {UNUSED}".strip()
