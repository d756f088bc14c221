"""Programs that start pytest for a suite, and which of them keep the gate's variables from it. Pure."""

import re
from typing import Final

_REMEDIES: Final = {
    r"tox": "tox passes on what it is told to: pass_env = GATE_*, PYTEST_ADDOPTS in its [testenv]",
    r"sudo": "sudo drops the environment: sudo --preserve-env",
    r"env\s+(-i|--ignore-environment|-)": "env -i drops the environment: leave it out",
    r"(docker|podman)": "a container sees no variable and no file of the gate: run the gate inside it",
}
"""How a program is started -> what to do."""


def unreached(command: str) -> str:
    """Why a suite's pytest ran and knew nothing of the gate, and what to do about it.

    Args:
        command: of the suite, for the shell.
    """
    for word, remedy in _REMEDIES.items():
        if re.search(rf"(^|[\s/;&|(]){word}(\s|$)", command):
            return remedy
    return (
        f"{command!r} drops the environment variables GATE_* and PYTEST_ADDOPTS, or its pytest has no "
        "regression-gate installed"
    )
