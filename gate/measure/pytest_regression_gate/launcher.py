"""The command `gate`: finds its own code, whatever else is called `gate` here.

The wheel keeps that code in a directory of this package that is on no import path. So a package `gate` of the
project, on `PYTHONPATH` or installed beside this one, and the gate itself cannot take each other's place.
"""

import sys
from pathlib import Path
from typing import Final, NoReturn

_HERE: Final = Path(__file__).resolve().parent
_INSTALLED: Final = _HERE / "_program"
_CHECKED_OUT: Final = _HERE.parents[2]
"""The top of the repository, where `gate/` lies."""


def main() -> NoReturn:
    """Run the command line."""
    if sys.platform == "win32":
        sys.exit("gate does not support Windows; use WSL or a Linux runner")
    if not _INSTALLED.is_dir() and not (_CHECKED_OUT / "gate" / "measure").is_dir():
        sys.exit("only the pytest plugin is installed here; install the gate as well (README, Quick start)")
    sys.path.insert(0, str(_INSTALLED if _INSTALLED.is_dir() else _CHECKED_OUT))
    from gate.cli import main as run  # noqa: PLC0415 - found only now

    run()
