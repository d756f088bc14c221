"""Import paths of a work tree, moved to a copy of it."""

import sys
from pathlib import Path


def moved_imports(top: Path, tree: Path) -> list[str]:
    """Every import path of this process inside `top`, moved to `tree`.

    An editable install names the work tree; without this a copy would import the original's code.
    What belongs to the interpreter's own environment stays where it is.
    """
    inside = [
        Path(entry).resolve() for entry in sys.path if entry and Path(entry).resolve().is_relative_to(top)
    ]
    environment = Path(sys.prefix).resolve()
    moved = [str(tree / path.relative_to(top)) for path in inside if not path.is_relative_to(environment)]
    return list(dict.fromkeys(moved))
