"""Versions of installed distributions that a change edits where nobody knows how they are installed. Pure."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

_BETWEEN: Final = 40
"""Characters between a name and its version."""


@dataclass(frozen=True)
class Mention:
    """A version in a text that the change edits."""

    before: str
    after: str
    file: str


def mentions(
    before: Mapping[str, bytes | None], after: Mapping[str, bytes | None], installed: Mapping[str, str]
) -> dict[str, Mention]:
    """Which installed versions the edited lines of some files name, where the lines before named others.

    A script, a variable of a workflow, a pipeline of another service or a list with a name of its own may say
    what is installed. That the version is the one that is there now tells it from other figures.

    Args:
        before: contents of edited files, by path; None: not there.
        after: the same of the head.
        installed: versions by canonical name.
    """
    found: dict[str, Mention] = {}
    for file in sorted(before.keys() & after.keys()):
        there, here = (
            set((files[file] or b"").decode(errors="replace").splitlines()) for files in (before, after)
        )
        now, then = _named(here - there, installed), _named(there - here, installed)
        for name in now.keys() & then.keys():
            if now[name] != then[name] and any(_same(one, installed[name]) for one in now[name]):
                found[name] = Mention(", ".join(sorted(then[name])), installed[name], file)
    return found


def _named(lines: Iterable[str], installed: Collection[str]) -> dict[str, frozenset[str]]:
    """Versions that lines name, by the canonical name of the distribution before them."""
    names = "|".join(re.escape(name).replace(r"\-", "[-_.]") for name in installed if len(name) > 1)
    pattern = re.compile(rf"(?<![\w.-])({names})(?![\w])\D{{0,{_BETWEEN}}}?v?(\d[\w.]*)", re.IGNORECASE)
    found: dict[str, set[str]] = {}
    for line in lines if names else ():
        for match in pattern.finditer(line):
            found.setdefault(canonicalize_name(match[1]), set()).add(match[2].rstrip("."))
    return {name: frozenset(versions) for name, versions in found.items()}


def _same(text: str, version: str) -> bool:
    try:
        return Version(text) == Version(version)
    except InvalidVersion:
        return text == version
