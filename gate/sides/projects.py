"""The repository's own projects, as far as they are installed in a suite's environment, and how."""

import ast
import configparser
import csv
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gate.sides.manifests import project_names
from gate.sides.probe import Distribution, Environment

OURS: Final = "regression-gate"
"""Both sides are measured with this gate, whatever their trees hold."""
_FINDERS: Final = re.compile(r"__editable__.*_finder\.py|__editable___.*_finder\.py|_editable_impl_.*\.py")
"""Modules whose table of paths the startup hook moves: those of setuptools and of `editables`."""


@dataclass(frozen=True)
class Project:
    """A project of the repository that is installed."""

    name: str
    directory: str
    """Where it lies, relative to the top of the work tree; empty: the top itself."""
    distribution: Distribution

    @property
    def editable(self) -> bool:
        """Whether its sources themselves are imported."""
        return self.distribution.editable

    def holds(self, file: str) -> bool:
        """Whether a file of the repository lies in it."""
        return not self.directory or file.startswith(f"{self.directory}/")


def own_projects(environment: Environment, top: Path, manifests: Mapping[str, bytes]) -> list[Project]:
    """The repository's projects that are installed in an environment.

    Args:
        environment: of a suite.
        top: of the work tree.
        manifests: contents of files like pyproject.toml, by their path in the work tree.
    """
    places: dict[str, str] = {}
    for file, text in manifests.items():
        places |= {name: file.rpartition("/")[0] for name in project_names(file, text)}
    found: list[Project] = []
    for name, distribution in environment.by_name.items():
        directory = distribution.directory
        if name == OURS or _in_tree(Path(distribution.place), top, environment):
            continue
        if directory is not None and directory.resolve().is_relative_to(top):
            inside = directory.resolve().relative_to(top).as_posix()
            found.append(Project(name, "" if inside == "." else inside, distribution))
        elif directory is None and name in places:
            found.append(Project(name, places[name], distribution))
    return found


def follows(project: Project, top: Path, tree: Path) -> bool:
    """Whether the imports of an editable project lead into another tree by themselves, once they are moved.

    Args:
        project: an editable one.
        top: the work tree that it was installed from.
        tree: the other one.
    """
    metadata = Path(project.distribution.place)
    paths: list[str] = []
    for name in recorded(metadata):
        file = metadata.parent / name
        if file.suffix == ".pth":
            lines = _text(file).splitlines()
            paths += [
                line for line in lines if line.strip() and not line.startswith(("import ", "import\t", "#"))
            ]
        elif _FINDERS.fullmatch(file.name):
            paths += _strings(_text(file))
        elif "editable" in file.name and file.suffix == ".py":  # builds, or looks elsewhere
            return False
    inside = [Path(path) for path in paths if path == str(top) or path.startswith(f"{top}/")]
    return all((tree / path.relative_to(top)).exists() for path in inside)


def recorded(metadata: Path) -> list[str]:
    """The files of a distribution, relative to where it is installed."""
    try:
        with (metadata / "RECORD").open(encoding="utf-8", newline="") as record:
            return [row[0] for row in csv.reader(record) if row]
    except (OSError, ValueError):  # an egg, or not readable
        return []


def top_levels(distribution: Distribution) -> frozenset[str]:
    """What a distribution adds to `site-packages`: names of packages, modules and files there."""
    names = (name.partition("/")[0] for name in recorded(Path(distribution.place)))
    return frozenset(name for name in names if name not in {"..", "", "__pycache__"})


def installed_files(distribution: Distribution) -> dict[str, str]:
    """The files of a distribution in `site-packages` -> their hashes; without metadata and compiled files."""
    found: dict[str, str] = {}
    try:
        with Path(distribution.place, "RECORD").open(encoding="utf-8", newline="") as record:
            for name, digest, *_ in csv.reader(record):
                first, _, rest = name.partition("/")
                if (
                    first != ".."
                    and not first.endswith((".dist-info", ".data"))
                    and "__pycache__" not in rest
                ):
                    found[name] = digest
    except (OSError, ValueError):
        return {}
    return found


def _in_tree(place: Path, top: Path, environment: Environment) -> bool:
    """Whether metadata lie among the sources, as those of `setup.py develop` do."""
    resolved = place.resolve()
    return resolved.is_relative_to(top) and not resolved.is_relative_to(Path(environment.prefix).resolve())


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _strings(source: str) -> list[str]:
    try:
        nodes = ast.walk(ast.parse(source))
    except SyntaxError:
        return []
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def commands_differ(before: Iterable[bytes | None], after: Iterable[bytes | None]) -> bool:
    """Whether manifests of a project install other commands or plugins.

    Args:
        before: contents of its pyproject.toml, setup.cfg and setup.py as of the base; None: not there.
        after: the same of the head.
    """
    return [_entry_points(text or b"") for text in before] != [_entry_points(text or b"") for text in after]


def _entry_points(text: bytes) -> object:
    """What a manifest says of commands and plugins, in a form that can be compared."""
    source = text.decode(errors="replace")
    try:
        document: dict[str, Any] = tomllib.loads(source)
        project, poetry = document.get("project", {}), document.get("tool", {}).get("poetry", {})
        keys = ("scripts", "gui-scripts", "entry-points", "plugins")
        return [table.get(key) for table in (project, poetry) for key in keys]
    except (tomllib.TOMLDecodeError, AttributeError):
        pass
    try:
        config = configparser.ConfigParser(interpolation=None)
        config.read_string(source)
        return (
            sorted(config.items("options.entry_points")) if config.has_section("options.entry_points") else []
        )
    except configparser.Error:
        pass
    try:
        nodes = ast.walk(ast.parse(source))
    except SyntaxError:
        return source
    keywords = [
        node for node in nodes if isinstance(node, ast.keyword) and node.arg in {"entry_points", "scripts"}
    ]
    return [ast.dump(node.value) for node in keywords]
