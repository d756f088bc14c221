"""Which distributions the base would have had: what a change edits in requirements and lock files. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from gate.sides.manifests import Requirements, is_lock, is_opaque, not_understood, requirements_in

_KEEP_NEWER_AWAY: Final = frozenset({"<", "<=", "==", "===", "~=", "!="})

Files = Mapping[str, bytes]
"""Contents by path."""


@dataclass(frozen=True)
class Wanted:
    """A distribution that the base would have had, other than the head's or in addition."""

    name: str
    requirement: str
    """As pip takes it."""
    file: str
    """The file of the change that says so."""


@dataclass(frozen=True)
class Dependencies:
    """How the base's distributions would differ from those of the head."""

    wanted: tuple[Wanted, ...] = ()
    added: Mapping[str, str] = field(default_factory=dict[str, str])
    """What the head alone asks for, by name -> the file that does."""
    constraints: tuple[str, ...] = ()
    """Every version in the base's lock files, as pip takes them."""
    unread: Mapping[str, str] = field(default_factory=dict[str, str])
    """Files of the change that make environments and could not be read -> why."""


@dataclass(frozen=True)
class _Edit:
    file: str
    before: tuple[Requirement, ...]
    after: tuple[Requirement, ...]


def edited_dependencies(
    before: Files,
    after: Files,
    installed: Mapping[str, str],
    *,
    python: str = "",
    own: Collection[str] = (),
) -> Dependencies:
    """What the base's environment would have had otherwise, as far as files tell.

    A file of which the head's environment was not made decides nothing, nor does an entry that is not
    installed. The version that a lock file names counts for more than what a requirement allows; and what a
    requirement of the base allows is not replaced, unless the head keeps newer versions away.

    Args:
        before: manifests as of the base, whether they differ or not.
        after: the same of the head.
        installed: versions in the head's environment, by canonical name.
        python: the version of its interpreter, for markers.
        own: names of the repository's own projects, which are no dependencies.
    """
    unread = {
        name: "a file of conda, Nix or the Python version"
        for name in _differing(before, after)
        if is_opaque(name)
    }
    edits, settled, constraints = _edits(before, after, own, python, unread)
    wanted: dict[str, Wanted] = {}
    added: dict[str, str] = {}
    for name, found in edits.items():
        version = _version(installed.get(name, ""))
        locked = [edit for edit in found if is_lock(edit.file)]
        if name in settled and not locked:
            continue
        # What is not there any more was asked for by somebody, or some other distribution brings it along.
        decisive = (locked if version else []) or [edit for edit in found if not is_lock(edit.file)]
        of_head = [edit for edit in decisive if not edit.after or _made_of(edit.after, version)]
        for edit in of_head:
            if not edit.before:
                added[name] = edit.file
        asked = [edit for edit in of_head if edit.before]
        if asked and not all(_would_be_there(edit.before, edit.after, version) for edit in asked):
            requirement = _together(one for edit in asked for one in edit.before if _applies(one, python))
            wanted |= {name: Wanted(name, requirement, asked[0].file)} if requirement else {}
    return Dependencies(
        tuple(wanted.values()),
        {name: file for name, file in added.items() if name not in wanted},
        tuple(f"{name}{text}" for name, text in sorted(constraints.items())),
        unread,
    )


def _edits(
    before: Files, after: Files, own: Collection[str], python: str, unread: dict[str, str]
) -> tuple[dict[str, list[_Edit]], set[str], dict[str, str]]:
    """What differs, by name; what lock files hold unchanged; the versions in the base's lock files."""
    edits: dict[str, list[_Edit]] = {}
    settled: set[str] = set()
    constraints: dict[str, str] = {}
    for file in sorted(before.keys() | after.keys()):
        try:
            there = requirements_in(file, before.get(file, b""))
            here = requirements_in(file, after.get(file, b""))
        except ValueError as error:
            unread |= {file: str(error)} if before.get(file) != after.get(file) else {}
            continue
        edited = not_understood(file, before.get(file, b"")) ^ not_understood(file, after.get(file, b""))
        unread |= {file: f"{min(edited)!r} has no package name; write name @ url"} if edited else {}
        for name in sorted((there.keys() | here.keys()) - set(own)):
            if not _same(there.get(name, ()), here.get(name, ())):
                edits.setdefault(name, []).append(_Edit(file, there.get(name, ()), here.get(name, ())))
            elif is_lock(file):
                settled.add(name)
        if is_lock(file) and there != here:
            constraints |= _pinned(there, python)
    return edits, settled, constraints


def _differing(before: Files, after: Files) -> list[str]:
    return [name for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)]


def _same(one: Iterable[Requirement], other: Iterable[Requirement]) -> bool:
    return sorted(map(str, one)) == sorted(map(str, other))


def _made_of(after: Iterable[Requirement], version: Version | None) -> bool:
    """Whether the head's environment was made of a file that asks for this, as far as the version tells."""
    return version is not None and any(
        one.url or one.specifier.contains(version, prereleases=True) for one in after
    )


def _would_be_there(
    before: Iterable[Requirement], after: Iterable[Requirement], version: Version | None
) -> bool:
    """Whether the base would have had the version that is installed."""
    if version is None or any(one.url for one in (*before, *after)):
        return False
    kept = {clause for one in before for clause in _upper(one.specifier)}
    narrowed = any(_upper(one.specifier) - kept for one in after)
    return not narrowed and any(one.specifier.contains(version, prereleases=True) for one in before)


def _upper(specifier: SpecifierSet) -> set[str]:
    return {str(clause) for clause in specifier if clause.operator in _KEEP_NEWER_AWAY}


def _applies(requirement: Requirement, python: str) -> bool:
    if requirement.marker is None:
        return True
    variables = {"extra": ""}
    if python:
        variables |= {"python_full_version": python, "python_version": ".".join(python.split(".")[:2])}
    return requirement.marker.evaluate(variables) or "extra" in str(requirement.marker)


def _together(requirements: Iterable[Requirement]) -> str:
    """What several files ask for, as one requirement; empty where none of them applies."""
    found = list(requirements)
    if not found:
        return ""
    one = next((one for one in found if one.url), found[0])
    if one.url:
        return f"{one.name} @ {one.url}"
    extras = sorted({extra for each in found for extra in each.extras})
    specifier = SpecifierSet(",".join(str(each.specifier) for each in found if str(each.specifier)))
    return f"{one.name}{'[' * bool(extras)}{','.join(extras)}{']' * bool(extras)}{specifier}"


def _pinned(requirements: Requirements, python: str) -> dict[str, str]:
    """Name -> `==version` of what a lock file holds in one version only."""
    found: dict[str, str] = {}
    for name, entries in requirements.items():
        versions = {str(one.specifier) for one in entries if not one.url and _applies(one, python)}
        if len(versions) == 1:
            found[name] = versions.pop()
    return found


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None
