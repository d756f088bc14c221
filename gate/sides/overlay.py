"""Overlays: what one side has installed other than its environment, in an environment that comes first.

Made by pip, with everything that the environment has already; kept between runs by what is in it.
"""

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gate.processes import run_to_end
from gate.sides.probe import Environment
from gate.sides.side import Overlay, Side

_SECONDS: Final = 600.0
"""How long pip may take for one step."""
_KEPT: Final = 40
"""Overlays and wheels of each kind that are kept, the last used ones."""
_DONE: Final = ".done"
_VARIABLES: Final = ("PIP_", "UV_INDEX", "UV_EXTRA_INDEX", "UV_DEFAULT_INDEX", "UV_FIND_LINKS")
"""What can change which distributions pip finds."""
_NOT_FOR_PIP: Final = (
    "PYTHON", "GATE_", "PYTEST_", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_ROOT",
    "PIP_REQUIRE_VIRTUALENV",
)  # fmt: skip
"""Variables that would let pip install elsewhere, or that are for tests."""
_FINGERPRINT: Final = 20
"""Characters of a directory's name."""


class OverlayError(Exception):
    """Something cannot be installed or built. The message holds the end of what pip said."""


@dataclass(frozen=True)
class Recipe:
    """What an overlay holds."""

    environment: Environment
    """What it is for."""
    requirements: tuple[str, ...] = ()
    """Distributions from an index, as pip takes them."""
    constraints: tuple[str, ...] = ()
    """Versions of what these need in turn."""
    wheels: tuple[Path, ...] = ()
    editable: tuple[Path, ...] = ()
    """Projects whose sources are imported where they are."""

    @property
    def empty(self) -> bool:
        """Whether nothing would be installed."""
        return not (self.requirements or self.wheels or self.editable)


def cache_directory() -> Path:
    """Where overlays and wheels are kept between runs; actions/cache can keep it between jobs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "regression-gate")


def make_overlay(recipe: Recipe, scratch: Path, variables: Mapping[str, str]) -> Overlay:
    """Make an overlay, or take the one that was kept.

    Args:
        recipe: what is in it. One with editable projects is not kept.
        scratch: a directory of this comparison.
        variables: of the processes that install.

    Raises:
        OverlayError: something cannot be installed.
    """
    if recipe.editable:
        place = scratch / "overlay"
        _fill(place, recipe, variables)
        return _overlay(place, recipe.environment)
    with kept("overlays", _fingerprint(recipe, variables)) as place:
        if not (place / _DONE).exists():
            shutil.rmtree(place, ignore_errors=True)
            _fill(place, recipe, variables)
            (place / _DONE).touch()
        return _overlay(place, recipe.environment)


def kept_wheel(key: str, environment: Environment) -> Path | None:
    """The wheel that an earlier comparison built of the same contents.

    Args:
        key: names the contents.
        environment: whose interpreter built it.

    Raises:
        OverlayError: the cache cannot be written to.
    """
    with kept("wheels", _wheel(key, environment)) as place:
        return next(place.glob("*.whl"), None) if (place / _DONE).exists() else None


def build_wheel(
    source: Path, key: str, environment: Environment, scratch: Path, variables: Mapping[str, str]
) -> Path:
    """Build the wheel of a project.

    Args:
        source: its directory, in a tree that may be written to.
        key: names its contents, under which it is kept; empty: it is not.
        environment: whose interpreter builds it, and whose build backend if it has it.
        scratch: a directory of this comparison.
        variables: of the processes that build.

    Raises:
        OverlayError: it cannot be built.
    """
    if not key:
        return _build(source, scratch, environment, variables)
    with kept("wheels", _wheel(key, environment)) as place:
        shutil.rmtree(place, ignore_errors=True)
        wheel = _build(source, place, environment, variables)
        (place / _DONE).touch()
        return wheel


def _wheel(key: str, environment: Environment) -> str:
    return digest([key, environment.implementation, environment.prefix])


def _build(source: Path, target: Path, environment: Environment, variables: Mapping[str, str]) -> Path:
    """What the build needs is taken from the environment if it is there, else from the index."""
    wheel = [*pip_of(environment, variables), "wheel", "--no-deps", "--wheel-dir", str(target), str(source)]
    try:
        _run([*wheel, "--no-build-isolation", "--check-build-dependencies"], variables)
    except OverlayError:
        shutil.rmtree(target, ignore_errors=True)
        _run(wheel, variables)
    return next(target.glob("*.whl"))


def _fill(place: Path, recipe: Recipe, variables: Mapping[str, str]) -> None:
    python = place / "bin" / "python"
    _run([recipe.environment.executable, "-m", "venv", "--without-pip", str(place)], variables)
    packages = _packages(place)
    lines = [
        f"import site, sys; sys.prefix == {str(place)!r} and site.addsitedir({entry!r})"
        for entry in _sites_of(recipe.environment)
    ]
    (packages / "zz_environment.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
    pip = [*pip_of(recipe.environment, variables), "--python", str(python), "install"]
    alone = [str(wheel) for wheel in recipe.wheels] + list(recipe.requirements)
    if alone:
        _run([*pip, "--no-deps", "--ignore-installed", *alone], variables)
    for source in recipe.editable:
        install = [*pip, "--no-deps", "--ignore-installed", "--editable", str(source)]
        try:
            _run([*install, "--no-build-isolation", "--check-build-dependencies"], variables)
        except OverlayError:
            _run(install, variables)
    if recipe.requirements:
        constraints = place / "constraints.txt"
        constraints.write_text("\n".join(recipe.constraints), encoding="utf-8")
        needs = [one.partition("@")[0].strip() for one in recipe.requirements]
        _run(
            [*pip, "--upgrade-strategy", "only-if-needed", "--constraint", str(constraints), *needs],
            variables,
        )


def _overlay(place: Path, environment: Environment) -> Overlay:
    return Overlay(_packages(place), place / "bin", environment.prefix)


def _packages(place: Path) -> Path:
    return next(place.glob("lib/python*/site-packages"))


def _sites_of(environment: Environment) -> list[str]:
    """Where the distributions of an environment lie."""
    return [entry for entry in environment.path if Path(entry).name in {"site-packages", "dist-packages"}]


def for_pip(side: Side) -> dict[str, str]:
    """The variables of processes that install something for a side: paths in them lead to its tree."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_FOR_PIP)}
    return {name: side.moved(value) for name, value in kept.items()} | {
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
    }


def pip_of(environment: Environment, variables: Mapping[str, str]) -> list[str]:
    """A pip that installs for an environment: its own, that of this gate, or one that is made for it.

    Raises:
        OverlayError: there is none.
    """
    if "pip" in environment.by_name:
        return [environment.executable, "-m", "pip"]
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "--python", environment.executable]
    with kept("pip", digest([sys.executable])) as place:
        if not (place / _DONE).exists():
            shutil.rmtree(place, ignore_errors=True)
            _run([sys.executable, "-m", "venv", str(place)], variables)
            (place / _DONE).touch()
        return [str(place / "bin" / "python"), "-m", "pip", "--python", environment.executable]


def _fingerprint(recipe: Recipe, variables: Mapping[str, str]) -> str:
    settings = {name: value for name, value in variables.items() if name.startswith(_VARIABLES)}
    environment = recipe.environment
    there = sorted((name, found.version) for name, found in environment.by_name.items())
    wheels = [hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in recipe.wheels]
    return digest(
        [
            environment.prefix,
            environment.version,
            there,
            recipe.requirements,
            recipe.constraints,
            wheels,
            settings,
        ]
    )


def digest(value: object) -> str:
    """A name for a directory of the cache."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:_FINGERPRINT]


@contextmanager
def kept(kind: str, name: str) -> Generator[Path]:
    """A directory of the cache that nobody else writes to meanwhile; the oldest of its kind are removed."""
    home = cache_directory() / kind
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = os.open(home / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OverlayError(f"cannot write to {home}: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.utime(lock)
        yield home / name
    finally:
        os.close(lock)
    _sweep(home)


def _sweep(home: Path) -> None:
    """Remove what was not used for longest; what is in use is not among it."""
    locks = sorted(home.glob("*.lock"), key=lambda path: path.stat().st_mtime, reverse=True)
    for lock in locks[_KEPT:]:
        if time.time() - lock.stat().st_mtime > _SECONDS:
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)


def _run(command: Sequence[str], variables: Mapping[str, str]) -> None:
    """Run a step of the installation.

    Raises:
        OverlayError: it fails, or takes too long.
    """
    try:
        code, said = run_to_end(command, cwd=Path("/"), env=variables, seconds=_SECONDS)
    except OSError as error:
        raise OverlayError(f"cannot start {command[0]}: {error.strerror}") from None
    if code is None:
        raise OverlayError(f"takes longer than {_SECONDS:.0f} s")
    if code != 0:
        lines = [line for line in said if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR:")]
        raise OverlayError((errors or lines or [f"exit code {code}"])[-1].removeprefix("ERROR: "))
