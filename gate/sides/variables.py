"""What a change edits in its workflows that is in force for both sides: variables, Python, the runner. Pure.

The workflow that runs is the head's; the base would have had other values.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import yaml

Contents = Mapping[str, bytes | None]
"""Contents of files by name; None: not there."""

_WORKFLOWS: Final = re.compile(r"\.github/(?:workflows|actions)/.*\.ya?ml|action\.ya?ml")
_DOTENV: Final = re.compile(r"(?:.*/)?(?:\.env(?:\.[^/]+)?|[^/]+\.env)")
_ASSIGNMENT: Final = re.compile(r"\s*(?:export\s+)?(?P<name>[A-Za-z_]\w*)\s*=\s*(?P<value>.*?)\s*")
_SET: Final = re.compile(r"""(?:\becho|\bexport)\s+["']?(?P<name>[A-Za-z_]\w*)=(?P<value>[^\s"'$;&|>]*)""")
"""What a step says for those after it: `echo "NAME=VALUE" >> "$GITHUB_ENV"`, or `export NAME=VALUE`."""
_WHERE: Final = ("runs-on", "container")


def is_workflow(name: str) -> bool:
    """Whether a file of the repository is a workflow or an action of GitHub."""
    return bool(_WORKFLOWS.fullmatch(name))


def sets_variables(name: str) -> bool:
    """Whether a file of the repository may set variables for a suite: workflows, actions, `.env` files."""
    return bool(_WORKFLOWS.fullmatch(name) or _DOTENV.fullmatch(name))


def edited_variables(
    before: Contents, after: Contents, environment: Mapping[str, str], running: str = ""
) -> dict[str, str | None]:
    """The variables that the base would have had, where they are other ones.

    What stands in the environment as a file of the head says was set by it. What no file of the head sets any
    more is missing only if the running workflow did so at the base.

    Args:
        before: files that set variables, as of the base.
        after: the same of the head.
        environment: the variables as they are.
        running: the file of the workflow that runs; empty: none is known.

    Returns:
        Name -> value; None: the base sets none.
    """
    there, here = _literals(before), _literals(after)
    edited: dict[str, str | None] = {}
    for name, places in here.items():
        now, old = environment.get(name), there.get(name, {})
        set_by = [place for place, value in places.items() if value == now]
        if not set_by or now in old.values():
            continue
        values = {old[place] for place in set_by if place in old} or set(old.values())
        edited[name] = min(values, default=None)
    gone = _literals({running: before.get(running)})
    for name, places in gone.items():
        if name not in here and name not in environment:
            edited[name] = min(places.values())
    return edited


def edited_surroundings(before: bytes | None, after: bytes | None, job: str) -> list[str]:
    """Where a job would run otherwise at the base, as in `runs-on: ubuntu-22.04 → ubuntu-24.04`.

    Args:
        before: the workflow that runs, as of the base; None: not there.
        after: the same of the head.
        job: the key of the job that runs.
    """
    there, here = (_at(_document(text), "jobs", job) for text in (before, after))
    if not there or not here:
        return []
    return [f"{key}: {there.get(key)} → {here.get(key)}" for key in _WHERE if there.get(key) != here.get(key)]


def edited_python(before: Contents, after: Contents, running: str) -> str:
    """The versions of Python that workflows set up for the base, if this one is not among them; else empty.

    Args:
        before: workflows as of the base.
        after: the same of the head.
        running: the version of the interpreter, as in `3.12.4`.
    """
    there, here = (
        {value for text in files.values() for value in _values(_document(text), "python-version")}
        for files in (before, after)
    )
    if not there or any(_is_version(running, one) for one in there):
        return ""
    return ", ".join(sorted(there)) if any(_is_version(running, one) for one in here) else ""


def edited_images(before: Contents, after: Contents) -> list[str]:
    """Images of services that workflows and compose files start, where they differ: `postgres:16`."""
    there, here = (
        {value for text in files.values() for value in _values(_document(text), "image")}
        for files in (before, after)
    )
    return sorted(there ^ here)


def _is_version(running: str, asked: str) -> bool:
    return running == asked or running.startswith(f"{asked}.")


def _literals(files: Contents) -> dict[str, dict[str, str]]:
    """Variable -> where it is set -> its literal value there."""
    found: dict[str, dict[str, str]] = {}
    for file, text in files.items():
        settings = _dotenv(text) if _DOTENV.fullmatch(file) else _settings(_document(text), ())
        for place, name, value in settings:
            found.setdefault(name, {})[f"{file}:{place}"] = value
    return found


def _dotenv(text: bytes | None) -> Iterator[tuple[str, str, str]]:
    for line in (text or b"").decode(errors="replace").splitlines():
        if match := _ASSIGNMENT.fullmatch(line):
            yield "", match["name"], match["value"].strip("\"'")


def _settings(node: object, path: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    """Where, name and value of each variable in a workflow."""
    for key, value in _children(node):
        if key == "env" and isinstance(value, dict):
            for name, text in cast("dict[Any, Any]", value).items():
                if isinstance(name, str) and isinstance(text, str) and "${{" not in text:
                    yield ".".join(path), name, text
        elif key == "run" and isinstance(value, str):
            for match in _SET.finditer(value):
                yield ".".join((*path, "run")), match["name"], match["value"]
        else:
            yield from _settings(value, (*path, key))


def _values(node: object, key: str) -> Iterator[str]:
    """All literal values that a key has anywhere, alone or in a list."""
    for name, value in _children(node):
        if name == key:
            entries = (value, *(entry for _, entry in _children(value)))
            yield from (one for one in entries if isinstance(one, str) and "${{" not in one)
        yield from _values(value, key)


def _children(node: object) -> Iterator[tuple[str, object]]:
    if isinstance(node, dict):
        yield from ((str(key), value) for key, value in cast("dict[Any, Any]", node).items())
    elif isinstance(node, list):
        yield from ((str(place), value) for place, value in enumerate(cast("list[Any]", node)))


def _document(text: bytes | None) -> object:
    try:
        return yaml.load(text or b"", Loader=yaml.BaseLoader)  # every scalar as it is written
    except yaml.YAMLError:
        return None


def _at(node: object, *path: str) -> dict[str, object]:
    for key in path:
        node = dict(_children(node)).get(key)
    return dict(_children(node))
