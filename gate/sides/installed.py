"""What lies in environments: which distributions, and which files an installer wrote."""

import os
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from gate.sides.probe import Distribution, normalised
from gate.sides.projects import recorded
from pytest_regression_gate.probe import distributions_in

PACKAGES: Final = "-packages/"
"""How the directories of an environment's packages end: `site-packages/`, `dist-packages/`."""
_METADATA: Final = (".dist-info", ".egg-info", ".pth")
_OF_VIRTUALENV: Final = "_virtualenv.py"


def prefix_of(program: str) -> str:
    """The environment of a script's Python; empty: it is none, or not known."""
    try:
        with Path(program).open("rb") as file:
            first = file.readline(256).decode(errors="replace").strip()
    except OSError:
        return ""
    python = first.removeprefix("#!").partition(" ")[0]
    return str(Path(python).parents[1]) if first.startswith("#!/") and "/bin/python" in python else ""


def installed_in(prefix: str) -> set[str]:
    """Names of distributions of an environment, without those whose sources are imported where they are."""
    found = [one for place in _packages_of(prefix) for one in distributions_in(place)]
    return {normalised(one.name) for one in msgspec.convert(found, list[Distribution]) if not one.editable}


def belongs_to_a_distribution(path: str, prefix: str) -> bool:
    """Whether an installer wrote a file: whatever else lies in an environment, a step has put there."""
    root, marker, inside = path.rpartition(PACKAGES)
    if marker:
        first = inside.partition("/")[0]
        return (
            first.endswith(_METADATA) or first == _OF_VIRTUALENV or first in _owned(Path(f"{root}{marker}"))
        )
    if not prefix or not path.startswith(f"{prefix}/"):
        return False
    scripts = path.startswith((f"{prefix}/bin/", f"{prefix}/pyvenv.cfg"))
    conda = Path(prefix, "conda-meta").is_dir()
    return scripts or conda or any(path in _owned(place) for place in _packages_of(prefix))


def _packages_of(prefix: str) -> list[Path]:
    return list(Path(prefix).glob("lib/python*/*-packages"))


@cache
def _owned(packages: Path) -> frozenset[str]:
    """What distributions have: first parts of names in their directory, whole paths elsewhere."""
    names = (name for metadata in packages.glob("*.dist-info") for name in recorded(metadata))
    return frozenset(
        os.path.normpath(packages / name) if name.startswith("..") else name.partition("/")[0]
        for name in names
    )
