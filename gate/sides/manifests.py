"""What the files of a repository ask to be installed: requirements, project metadata, lock files. Pure.

Specifications: https://packaging.python.org/en/latest/specifications/ (pyproject.toml, dependency groups,
pylock.toml); the lock files of uv, Poetry, PDM and Pipenv are read as these tools write them.
"""

import ast
import configparser
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from gate.sides.variables import sets_variables

_RULES: Final = "thresholds.yaml"
Requirements = Mapping[str, tuple[Requirement, ...]]
"""What a file asks for, by canonical name; several where markers choose between them."""
Table = Mapping[str, Any]

_LISTS: Final = re.compile(
    r"(?:.*/)?(?:requirements|constraints)[^/]*\.(?:txt|in|lock)|(?:.*/)?(?:requirements|constraints)/[^/]+\.(?:txt|in)"
    r"|(?:.*/)?[^/]*[-_.](?:requirements|constraints|reqs|deps)\.(?:txt|in)"
)
_STEPS: Final = re.compile(
    r"\.github/(?:workflows|actions)/.*\.ya?ml|action\.ya?ml|(?:.*/)?(?:[Mm]akefile|[Jj]ustfile|Dockerfile[^/]*|noxfile\.py|[^/]+\.sh)"
)
"""Files that may install something by a command."""
_ARCHIVES: Final = (".whl", ".zip", ".tar.gz")
_INSTALLS: Final = re.compile(
    r"\b(?:uv\s+)?pip3?\s+install\s(?P<arguments>[^\n;&|#]*)|session\.install\((?P<texts>[^)]*)\)"
)
_PYLOCK: Final = re.compile(r"(?:.*/)?pylock(?:\.[^/]+)?\.toml")
_OPAQUE: Final = re.compile(
    r"(?:.*/)?(?:environment[^/]*\.ya?ml|conda-lock\.ya?ml|pixi\.(?:lock|toml)|runtime\.txt|\.python-version"
    r"|\.tool-versions|mise\.toml|\.mise\.toml|flake\.(?:nix|lock)|Brewfile|apt\.txt|packages\.txt)"
)


def is_manifest(name: str) -> bool:
    """Whether a file can decide which distributions are installed."""
    return _reader(name) is not None


def is_lock(name: str) -> bool:
    """Whether a file names one version of everything."""
    return name.rpartition("/")[2] in _LOCKS or bool(_PYLOCK.fullmatch(name))


def is_opaque(name: str) -> bool:
    """Whether a file makes environments in a way that is not understood here: conda, Nix, an interpreter."""
    return bool(_OPAQUE.fullmatch(name))


def equips(name: str) -> bool:
    """Whether a file can decide with which interpreter, distributions or variables a suite runs."""
    return (
        is_manifest(name) or is_lock(name) or is_opaque(name) or sets_variables(name) or name.endswith(_RULES)
    )


def requirements_in(name: str, text: bytes) -> Requirements:
    """What a file asks for.

    Args:
        name: its path.
        text: its contents.

    Raises:
        ValueError: it cannot be read.
    """
    reader = _reader(name)
    if reader is None:
        return {}
    try:
        found = list(reader(text.decode()))
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, configparser.Error, SyntaxError) as error:
        raise ValueError(str(error)) from None
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"an unknown form of {name}: {error!r}") from None
    by_name: dict[str, tuple[Requirement, ...]] = {}
    for requirement in found:
        key = canonicalize_name(requirement.name)
        by_name[key] = (*by_name.get(key, ()), requirement)
    return by_name


def project_names(name: str, text: bytes) -> list[str]:
    """The canonical name of the project that a manifest describes; nothing where it says none."""
    base = name.rpartition("/")[2]
    try:
        match base:
            case "pyproject.toml":
                document = tomllib.loads(text.decode())
                places = (
                    ("project", "name"),
                    ("tool", "poetry", "name"),
                    ("tool", "flit", "metadata", "module"),
                )
                found = [value for path in places if isinstance(value := _at(document, *path), str)]
            case "setup.cfg":
                found = [_config(text.decode()).get("metadata", "name", fallback="")]
            case "setup.py":
                found = [value for key, value in _setup_arguments(text.decode()) if key == "name"]
            case _:
                return []
    except (ValueError, configparser.Error, SyntaxError):
        return []
    return [canonicalize_name(value) for value in found if isinstance(value, str) and value]


def _reader(name: str) -> "Callable[[str], Iterable[Requirement]] | None":
    base = name.rpartition("/")[2]
    if found := _LOCKS.get(base) or _METADATA.get(base):
        return found
    if _PYLOCK.fullmatch(name):
        return _pylock
    if _STEPS.fullmatch(name):
        return _installed_by_steps
    return _lines if _LISTS.fullmatch(name) else None


def runs_commands(name: str) -> bool:
    """Whether a manifest is also a script, which may start anything; a workflow starts what its job does."""
    return bool(_STEPS.fullmatch(name)) and not name.endswith((".yml", ".yaml"))


def not_understood(name: str, text: bytes) -> frozenset[str]:
    """Lines of a list of requirements that install something whose name and version they do not say."""
    if not _LISTS.fullmatch(name):
        return frozenset()
    lines = (f" {line}".partition(" #")[0].strip() for line in text.decode(errors="replace").splitlines())
    return frozenset(
        line
        for line in lines
        if ("://" in line or line.endswith(_ARCHIVES))
        and not line.startswith(("--", "-i", "-f"))
        and not _EGG.match(line)
        and not any(parsed([line]))
    )


def parsed(texts: Iterable[str]) -> Iterator[Requirement]:
    """Requirements; what is none, a path or an option, is left out."""
    for text in texts:
        try:
            yield Requirement(text)
        except InvalidRequirement:
            continue


_OPTIONS: Final = re.compile(r"\s--(?:hash|config-settings?|global-option|install-option)[= ]\S+")
_EGG: Final = re.compile(
    r"(?:-e\s+|--editable[= ])?(?P<url>\w+\+\w+://[^\s#]+|\w+\+ssh://[^\s#]+)#.*?\begg=(?P<name>[\w.\-]+)"
)


def _lines(text: str) -> Iterator[Requirement]:
    """A requirements file of pip: https://pip.pypa.io/en/stable/reference/requirements-file-format/."""
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        if egg := _EGG.match(line.strip()):
            yield from parsed([f"{egg['name']} @ {egg['url']}"])
            continue
        yield from parsed([_OPTIONS.sub("", f" {line}".partition(" #")[0]).strip()])


def _installed_by_steps(text: str) -> Iterator[Requirement]:
    """What commands in a workflow or a script install by name: `pip install depx==1.0`."""
    for match in _INSTALLS.finditer(re.sub(r"\\\r?\n", " ", text)):
        words = re.split(r"[\s,]+", match["arguments"] or match["texts"] or "")
        yield from parsed(word.strip("\"'") for word in words if not word.startswith("-"))


def _pyproject(text: str) -> Iterator[Requirement]:
    document = tomllib.loads(text)
    project = _table(document, "project")
    yield from parsed(_texts(project.get("dependencies")))
    for group in (_table(project, "optional-dependencies"), _table(document, "dependency-groups")):
        for entries in group.values():
            yield from parsed(_texts(entries))
    tool = _table(document, "tool")
    yield from parsed(_texts(_table(tool, "uv").get("dev-dependencies")))
    for entries in _table(tool, "pdm", "dev-dependencies").values():
        yield from parsed(_texts(entries))
    for environment in _table(tool, "hatch", "envs").values():
        for key in ("dependencies", "extra-dependencies"):
            yield from parsed(_texts(environment.get(key)))
    poetry = _table(tool, "poetry")
    yield from _poetry(_table(poetry, "dependencies"))
    yield from _poetry(_table(poetry, "dev-dependencies"))
    for group in _table(poetry, "group").values():
        yield from _poetry(_table(group, "dependencies"))


def _poetry(table: Table) -> Iterator[Requirement]:
    """Poetry's own form: https://python-poetry.org/docs/dependency-specification/."""
    for name, value in table.items():
        for one in cast("list[Any]", value) if isinstance(value, list) else [value]:
            if name == "python":
                continue
            entry = cast("Table", one if isinstance(one, dict) else {"version": one})
            if url := entry.get("git"):
                at = next((entry[key] for key in ("rev", "tag", "branch") if key in entry), "")
                yield from parsed([f"{name} @ git+{url}{'@' * bool(at)}{at}"])
            elif url := entry.get("url"):
                yield from parsed([f"{name} @ {url}"])
            elif "version" in entry:
                yield from parsed([f"{name} {poetry_specifier(str(entry['version']))}"])


def poetry_specifier(text: str) -> str:
    """Poetry's `^1.2`, `~1.2` and `*` as a specifier of PEP 440; what is one already stays as it is."""
    return ",".join(filter(None, (_one_specifier(part.strip()) for part in text.split(","))))


def _one_specifier(part: str) -> str:
    if part in {"", "*"}:
        return ""
    caret = re.fullmatch(r"\^\s*([\d.]+)(\S*)", part)
    tilde = re.fullmatch(r"~\s*(\d[\d.]*)(\S*)", part)
    if caret:
        numbers = [int(number) for number in caret[1].strip(".").split(".")]
        first = next((place for place, number in enumerate(numbers) if number), len(numbers) - 1)
        return f">={caret[1]}{caret[2]},<{_next(numbers, first)}"
    if tilde:
        numbers = [int(number) for number in tilde[1].strip(".").split(".")]
        return f">={tilde[1]}{tilde[2]},<{_next(numbers, min(1, len(numbers) - 1))}"
    return part if part[0] in "<>=!~" else f"=={part}"


def _next(numbers: Sequence[int], place: int) -> str:
    return ".".join(map(str, (*numbers[:place], numbers[place] + 1)))


def _setup_cfg(text: str) -> Iterator[Requirement]:
    config = _config(text)
    yield from parsed(config.get("options", "install_requires", fallback="").splitlines())
    if config.has_section("options.extras_require"):
        for _, value in config.items("options.extras_require"):
            yield from parsed(value.splitlines())


def _setup_py(text: str) -> Iterator[Requirement]:
    """What stands as literals in the arguments of `setup`."""
    for key, value in _setup_arguments(text):
        if key == "install_requires":
            yield from parsed(_texts(value))
        if key == "extras_require" and isinstance(value, dict):
            for entries in cast("dict[str, Any]", value).values():
                yield from parsed(_texts(entries))


def _setup_arguments(text: str) -> Iterator[tuple[str, object]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "setup":
            for keyword in node.keywords:
                try:
                    yield keyword.arg or "", ast.literal_eval(keyword.value)
                except ValueError:
                    continue


def _uv(text: str) -> Iterator[Requirement]:
    """uv.lock: https://docs.astral.sh/uv/concepts/projects/layout/#the-lockfile."""
    for package in tomllib.loads(text).get("package", []):
        source: Table = package.get("source", {})
        if git := source.get("git"):
            url, _, commit = str(git).partition("#")
            yield from parsed([f"{package['name']} @ git+{url.partition('?')[0]}@{commit}"])
        elif url := source.get("url"):
            yield from parsed([f"{package['name']} @ {url}"])
        elif not source or "registry" in source:
            yield from parsed([f"{package['name']}=={package['version']}"])


def _poetry_lock(text: str) -> Iterator[Requirement]:
    for package in tomllib.loads(text).get("package", []):
        source: Table = package.get("source", {})
        match source.get("type"):
            case "git":
                yield from parsed([f"{package['name']} @ git+{source['url']}@{source['resolved_reference']}"])
            case "directory" | "file":
                continue
            case "url":
                yield from parsed([f"{package['name']} @ {source['url']}"])
            case _:
                yield from parsed([f"{package['name']}=={package['version']}"])


def _pdm(text: str) -> Iterator[Requirement]:
    for package in tomllib.loads(text).get("package", []):
        if git := package.get("git"):
            yield from parsed([f"{package['name']} @ git+{git}@{package.get('revision', '')}"])
        elif "path" not in package and "version" in package:
            yield from parsed([f"{package['name']}=={package['version']}"])


def _pipenv(text: str) -> Iterator[Requirement]:
    document = json.loads(text)
    for section, packages in document.items():
        for name, entry in packages.items() if section != "_meta" else ():
            if git := entry.get("git"):
                yield from parsed([f"{name} @ git+{git}@{entry.get('ref', '')}"])
            else:
                yield from parsed([f"{name}{entry['version']}"] if "version" in entry else [])


def _pipfile(text: str) -> Iterator[Requirement]:
    document = tomllib.loads(text)
    for section in ("packages", "dev-packages"):
        yield from _poetry(_table(document, section))


def _pylock(text: str) -> Iterator[Requirement]:
    """pylock.toml: PEP 751."""
    for package in tomllib.loads(text).get("packages", []):
        if vcs := package.get("vcs"):
            yield from parsed([f"{package['name']} @ {vcs['type']}+{vcs.get('url', '')}@{vcs['commit-id']}"])
        elif "version" in package:
            yield from parsed([f"{package['name']}=={package['version']}"])


_LOCKS: Final[Mapping[str, Callable[[str], Iterable[Requirement]]]] = {
    "uv.lock": _uv,
    "poetry.lock": _poetry_lock,
    "pdm.lock": _pdm,
    "Pipfile.lock": _pipenv,
}
_METADATA: Final[Mapping[str, Callable[[str], Iterable[Requirement]]]] = {
    "pyproject.toml": _pyproject,
    "setup.cfg": _setup_cfg,
    "setup.py": _setup_py,
    "Pipfile": _pipfile,
}


def _config(text: str) -> configparser.ConfigParser:
    config = configparser.ConfigParser(interpolation=None)
    config.read_string(text)
    return config


def _table(table: Table, *path: str) -> Table:
    found = _at(table, *path)
    return cast("Table", found) if isinstance(found, dict) else {}


def _at(table: Table, *path: str) -> object:
    found: object = table
    for key in path:
        found = cast("Table", found).get(key) if isinstance(found, dict) else None
    return found


def _texts(entries: object) -> list[str]:
    """The strings of a list; groups may include others, as tables."""
    return (
        [one for one in cast("list[Any]", entries) if isinstance(one, str)]
        if isinstance(entries, list | tuple)
        else []
    )
