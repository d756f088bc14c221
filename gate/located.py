"""YAML whose every value knows its line and column, so that errors can point at the place.

Only what a reviewed settings file needs: mappings, lists and plain scalars. Anchors and tags are
refused (they hide what a line means), and so are duplicate keys (PyYAML would keep the last one).
"""

import re
from dataclasses import dataclass, field
from typing import Final, Protocol

import yaml

from gate.model import one_line

MAX_BYTES: Final = 1_000_000
_MAX_DEPTH: Final = 20


@dataclass(frozen=True)
class Place:
    """A position in a file, both counted from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Located:
    """A value and where it stands. Scalars stay text: what `off` or `1e3` means is the reader's business."""

    value: "dict[str, Located] | list[Located] | str | None"
    place: Place
    keys: dict[str, Place] = field(default_factory=dict[str, Place])
    """Where the keys of a mapping stand."""
    is_text: bool = False
    """It is no number and no boolean."""

    @property
    def kind(self) -> str:
        """The kind of value in words, for messages."""
        match self.value:
            case dict():
                return "a mapping"
            case list():
                return "a list"
            case None:
                return "nothing"
            case str():
                return f"{self.value!r}"


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong with a file, and what to do."""

    place: Place
    message: str


class LocatedError(Exception):
    """A file cannot be read; all mistakes that were found, in the order of the file."""

    def __init__(self, file: str, mistakes: list[Mistake]) -> None:
        super().__init__(file, mistakes)
        self.file = file
        self.mistakes = sorted(mistakes, key=lambda mistake: (mistake.place.line, mistake.place.column))

    def __str__(self) -> str:
        """One line per mistake: `file:line:column: message`."""
        return "\n".join(
            one_line(f"{self.file}:{mistake.place.line}:{mistake.place.column}: {mistake.message}")
            for mistake in self.mistakes
        )


class _Mark(Protocol):
    """A position as PyYAML's two implementations give it, counted from 0."""

    line: int
    column: int


def read_yaml(text: str, file: str) -> Located:
    """Read a YAML document.

    Raises:
        LocatedError: with every duplicate key, or the first mistake of syntax.
    """
    try:
        if len(text.encode()) > MAX_BYTES:
            raise LocatedError(file, [Mistake(Place(1, 1), f"the file is larger than {MAX_BYTES:,} bytes")])
        depth = 0
        for event in yaml.parse(text, yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            message = "the file is nested too deeply" if depth > _MAX_DEPTH else _refused(event)
            if message:  # at once: PyYAML takes a second for each thousand levels
                raise LocatedError(file, [Mistake(_place(event.start_mark), message)])
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise LocatedError(file, [_syntax_mistake(error, text)]) from None
    except yaml.reader.ReaderError as error:
        message = f"not YAML: unacceptable character #x{ord(text[error.position]):04x}; remove it"
        raise LocatedError(file, [Mistake(_place_of(text, error.position), message)]) from None
    if node is None:
        return Located(None, Place(1, 1))
    mistakes: list[Mistake] = []
    located = _locate(node, mistakes)
    if mistakes:
        raise LocatedError(file, mistakes)
    return located


def _refused(event: yaml.Event) -> str | None:
    """What is wrong with a part of the document that means more than it says."""
    if isinstance(event, yaml.ScalarEvent) and re.search("[\ud800-\udfff]", event.value):
        return "lone surrogate (half a character), such as \\ud83d; write the full character"
    if isinstance(event, yaml.AliasEvent):  # its anchor would have been refused before it
        return f'a name that begins with * needs quotes: "*{event.anchor}"'
    if getattr(event, "anchor", None):
        return "anchors and aliases are not supported; write the value out"
    if tag := getattr(event, "tag", None):
        return f"tags such as {tag} are not supported; write the plain value"
    return None


def _locate(node: yaml.Node, mistakes: list[Mistake]) -> Located:
    place = _place(node.start_mark)
    if isinstance(node, yaml.MappingNode):
        values: dict[str, Located] = {}
        keys: dict[str, Place] = {}
        for key, value in node.value:
            where = _place(key.start_mark)
            if not isinstance(key, yaml.ScalarNode):
                mistakes.append(Mistake(where, "a key must be plain text; put quotes around it"))
                continue
            if key.value in keys:
                first = keys[key.value].line
                mistakes.append(
                    Mistake(where, f"duplicate key {key.value!r}, first in line {first}; merge the two")
                )
            keys[key.value] = where
            values[key.value] = _locate(value, mistakes)
        return Located(values, place, keys)
    if isinstance(node, yaml.SequenceNode):
        return Located([_locate(item, mistakes) for item in node.value], place)
    kind = str(node.tag).removeprefix("tag:yaml.org,2002:")
    value = None if kind == "null" else str(node.value)
    return Located(value, place, is_text=kind in {"str", "timestamp"})


def _place(mark: _Mark | None) -> Place:
    return Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)


def _place_of(text: str, index: int) -> Place:
    """The place of one character of the text."""
    lines = f"{text[:index]}.".splitlines()
    return Place(len(lines), len(lines[-1]))


def _syntax_mistake(error: yaml.MarkedYAMLError, text: str) -> Mistake:
    mark = error.problem_mark or error.context_mark
    place = _place(mark)
    lines = text.splitlines()
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    problem = error.problem or error.context or "wrong syntax"
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return Mistake(
            Place(place.line, line.index("\t") + 1), "a tab; YAML wants spaces for indentation, use two"
        )
    if "\\t" in problem:
        return Mistake(place, "a tab where YAML wants spaces; replace it")
    if line.lstrip().startswith(("*", "- *")) or "alias" in (error.context or ""):
        return Mistake(place, 'a name that begins with * needs quotes: "*.calls"')
    return Mistake(place, f"not YAML: {problem}")
