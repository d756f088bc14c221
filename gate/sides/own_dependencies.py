"""The dependencies that a side would have had of its own, and how it gets them."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from gate.accounts import Difference
from gate.imports import link_environment
from gate.processes import run_to_end
from gate.sides.change import running_workflow
from gate.sides.dependencies import Dependencies, edited_dependencies
from gate.sides.manifests import is_manifest, is_opaque
from gate.sides.mentions import mentions
from gate.sides.outfit import INSTALL, Outfit, silent
from gate.sides.probe import Environment, Silence, probe
from gate.sides.projects import OURS, Project
from gate.sides.side import LaunchError, Side
from gate.sides.variables import edited_python, edited_surroundings, is_workflow

_INSTALL_SECONDS: Final = 600.0
_PYTHON: Final = "Python "
_PROBE: Final = (
    "import pytest; from importlib.metadata import entry_points as e; e(group='pytest11')['regression-gate']"
)


def find_dependencies(
    outfit: Outfit,
    projects: Sequence[Project],
    command: str,
    install: str,
    listen: Callable[[str], None],
) -> None:
    """Find what a side's environment would have had otherwise; with a command of the project, make it."""
    change, environment = outfit.change, outfit.environment
    surroundings = _surroundings(outfit)
    outfit.differences += surroundings
    own = {OURS, *(project.name for project in projects)}
    if any(is_manifest(name) or is_opaque(name) for name in change.names):
        before, after = change.both(lambda name: is_manifest(name) or is_opaque(name))
        found = edited_dependencies(
            before,
            after,
            {name: one.version for name, one in environment.by_name.items()},
            python=environment.version,
            own=own,
        )
    else:
        found = Dependencies()
    unread = {
        file: why for file, why in found.unread.items() if not is_opaque(file) or _is_conda(environment)
    }
    known = {one.name for one in found.wanted} | found.added.keys()
    installed = {name: one.version for name, one in environment.by_name.items() if name not in known | own}
    elsewhere = mentions(*change.edited(lambda name: not name.endswith((".py", ".md", ".rst"))), installed)
    if install and (found.wanted or unread or outfit.differences or elsewhere):
        listen(f"confirm: installing the {outfit.side.name}'s own dependencies: {install}")
        outfit.side = with_installed(outfit.side, install)
        [there] = probe([outfit.side], command)
        version = "" if isinstance(there, Silence) else there.version
        outfit.differences[:] = [one for one in surroundings if not _is_mended(one, version)]
        if isinstance(there, Silence):
            outfit.differences.append(silent(there, outfit.side.name))
        else:
            outfit.own, outfit.environment = True, there
        return
    outfit.requirements = {one.name: one.requirement for one in found.wanted}
    outfit.files = {one.name: one.file for one in found.wanted}
    outfit.constraints, outfit.added = found.constraints, found.added
    for name, mention in elsewhere.items():
        outfit.named[name], outfit.files[name] = mention.before, mention.file
        outfit.missing[name] = (
            f"the change edits its version in {mention.file}, and the gate cannot tell how it is installed"
        )
    outfit.differences += [
        Difference(
            "environment", file, "unaccounted", f"the gate cannot tell what it installs ({why})", INSTALL
        )
        for file, why in unread.items()
    ]


def _is_conda(environment: Environment) -> bool:
    return Path(environment.prefix, "conda-meta").exists()


def _surroundings(outfit: Outfit) -> list[Difference]:
    """What the workflow sets up otherwise at the head: Python, the runner."""
    before, after = outfit.change.edited(is_workflow)
    found: list[Difference] = []
    version = outfit.environment.version
    if python := edited_python(before, after, version):
        why = "both sides run on the head's Python"
        found.append(Difference("environment", f"{_PYTHON}{python} → {version}", "unaccounted", why, INSTALL))
    running = running_workflow(os.environ)
    texts = before.get(running), after.get(running)
    found += [
        Difference("environment", f"{running}: {edit}", "unaccounted", "both sides run on the head's runner")
        for edit in edited_surroundings(*texts, os.environ.get("GITHUB_JOB", ""))
    ]
    return found


def _is_mended(difference: Difference, version: str) -> bool:
    """Whether the base's own environment has the Python that its workflow sets up."""
    wanted = difference.what.partition(" → ")[0].removeprefix(_PYTHON).split(", ")
    return difference.what.startswith(_PYTHON) and any(f"{version}.".startswith(f"{one}.") for one in wanted)


def with_installed(side: Side, install: str) -> Side:
    """The side with a virtual environment of its own, filled by the project's own command.

    Raises:
        LaunchError: the command fails, or what it installs cannot measure.
    """
    environment = side.scratch / "environment"
    for link in (
        path for path in side.tree.iterdir() if path.is_symlink() and (path / "pyvenv.cfg").exists()
    ):
        link.unlink()  # it leads to the environment of the work tree
    link_environment(side.top, side.tree, environment)
    scripts = environment / "bin"
    variables = {
        **os.environ,
        "VIRTUAL_ENV": str(environment),
        "PATH": os.pathsep.join((str(scripts), os.environ.get("PATH", ""))),
    }
    make = [sys.executable, "-m", "venv", str(environment)]
    # Without its own pytest the base would run that of the head, with the head's dependencies.
    probe = [str(scripts / "python"), "-P", "-c", _PROBE]
    failed = f"the base's dependencies cannot be installed with {install!r}"
    for command, problem in (
        (make, failed),
        (["/bin/sh", "-c", install], failed),
        (probe, f"{install!r} must install pytest and regression-gate into $VIRTUAL_ENV, too"),
    ):
        code, said = run_to_end(command, cwd=side.root, env=variables, seconds=_INSTALL_SECONDS)
        if code is None:
            raise LaunchError(side.name, f"installing its dependencies takes too long: {install}")
        if code != 0:
            tail = "\n".join(said[-10:])
            raise LaunchError(side.name, f"{problem}:\n{tail}")
    return replace(side, scripts=scripts)
