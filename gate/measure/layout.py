"""How the wheel is laid out: a hook of its build.

`pytest_regression_gate` is importable; `gate` lies within it, out of reach of other packages of that name. In
a checkout both are on the import path, and only the startup hook is copied.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

STARTUP = "00_regression_gate.pth"


class Layout(BuildHookInterface[Any]):
    """Adds to a wheel what does not lie where it is found in the repository."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files, and where they go."""
        here = Path(self.root, "gate", "measure")
        startup = {str(here / STARTUP): STARTUP}
        package = {str(here / "pytest_regression_gate"): "pytest_regression_gate"}
        build_data["force_include"].update(package | startup)
        build_data["force_include_editable"].update(startup)
