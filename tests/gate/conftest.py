"""Hundreds of pytest processes start here: they leave out a plugin that takes a third of that time."""

import os
from typing import Final

UNUSED: Final = "-p no:langsmith_plugin"
"""Comes with the reference service's language model library; no test uses it."""


def pytest_configure() -> None:
    given = os.environ.get("PYTEST_ADDOPTS", "")
    if UNUSED not in given:  # a worker inherits what its parent set
        os.environ["PYTEST_ADDOPTS"] = f"{given} {UNUSED}".strip()
