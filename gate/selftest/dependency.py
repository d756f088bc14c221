"""A dependency of the project that exists only here: two releases, of which the newer one is worse."""

import os
import zipfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from gate.selftest.copies import Copy

CALL: Final = '__import__("gate_selftest_dependency").work()'
"""What a function of the project does with it."""

_NAME: Final = "gate-selftest-dependency"
_MODULE: Final = "gate_selftest_dependency"
_OLD, _NEW = "1+selftest", "2+selftest"  # no index takes a local version, so nobody can publish one
_WORK: Final = "def work():\n    {}\n"
_WHEEL: Final = "Wheel-Version: 1.0\nGenerator: gate selftest\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@contextmanager
def updated_dependency(copy: Copy, statement: str) -> Generator[Copy]:
    """The copy, whose last commit requires the old release; the work tree requires and has the new one.

    Args:
        copy: its function calls the dependency already, uncommitted.
        statement: what the new release does in addition.
    """
    place = copy.directory / "dependency"
    requirements = copy.root / "requirements.txt"
    before = requirements.read_text(encoding="utf-8") if requirements.exists() else ""
    _write_wheel(place / "wheels", _files(_OLD, "pass"))
    _write(place / "site", _files(_NEW, statement))
    requirements.write_text(f"{before.rstrip()}\n{_NAME}=={_OLD}\n", encoding="utf-8")
    copy.commit("a dependency")
    requirements.write_text(f"{before.rstrip()}\n{_NAME}=={_NEW}\n", encoding="utf-8")
    try:
        yield replace(copy, environment={**copy.environment, **_variables(copy.environment, place)})
    finally:
        copy.git("reset", "--quiet", "--hard", "HEAD~1")


def _variables(known: Mapping[str, str], place: Path) -> dict[str, str]:
    """So that Python finds the new release, and pip the old one."""
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(place / "site"), known.get("PYTHONPATH")))),
        "PIP_FIND_LINKS": " ".join(filter(None, (str(place / "wheels"), known.get("PIP_FIND_LINKS")))),
    }


def _files(version: str, body: str) -> dict[str, str]:
    metadata = f"{_MODULE}-{version}.dist-info"
    files = {
        f"{_MODULE}.py": _WORK.format(body),
        f"{metadata}/METADATA": f"Metadata-Version: 2.1\nName: {_NAME}\nVersion: {version}\n",
        f"{metadata}/WHEEL": _WHEEL,
    }
    record = f"{metadata}/RECORD"
    return files | {record: "".join(f"{name},,\n" for name in (*files, record))}


def _write(place: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text, encoding="utf-8")


def _write_wheel(place: Path, files: Mapping[str, str]) -> None:
    place.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(place / f"{_MODULE}-{_OLD}-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
