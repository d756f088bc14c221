"""A small document: headings, paragraphs and tables, whatever it is rendered to.

Text is plain: renderers escape it for their format. A `Code` cell is shown as code.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Code:
    """Text shown in a fixed-width font: names, commands."""

    text: str


Cell = str | Code


@dataclass(frozen=True)
class Heading:
    """A section begins."""

    text: str
    level: Literal[1, 2, 3] = 2


@dataclass(frozen=True)
class Paragraph:
    """Running text; cells stand one after the other."""

    cells: tuple[Cell, ...]

    @classmethod
    def of(cls, *cells: Cell) -> "Paragraph":
        """A paragraph of these cells."""
        return cls(cells)


@dataclass(frozen=True)
class Bullets:
    """A list of short statements."""

    items: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Table:
    """Rows below a header; numbers stand right."""

    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: frozenset[int] = frozenset()
    """Columns that hold numbers."""


@dataclass(frozen=True)
class Commands:
    """Shell commands, one a line."""

    lines: tuple[str, ...]


Block = Heading | Paragraph | Bullets | Table | Commands


@dataclass
class Document:
    """Blocks in order, under a title."""

    title: str
    blocks: list[Block] = field(default_factory=list[Block])

    def heading(self, text: str, level: Literal[2, 3] = 2) -> None:
        """Begin a section."""
        self.blocks.append(Heading(text, level))

    def paragraph(self, *cells: Cell) -> None:
        """Add running text."""
        self.blocks.append(Paragraph(cells))

    def bullets(self, items: Sequence[Sequence[Cell]]) -> None:
        """Add a list, if there is anything in it."""
        if items:
            self.blocks.append(Bullets(tuple(tuple(item) for item in items)))

    def table(
        self, header: Sequence[str], rows: Sequence[Sequence[Cell]], numeric: Sequence[int] = ()
    ) -> None:
        """Add a table, if it has rows."""
        if rows:
            self.blocks.append(Table(tuple(header), tuple(tuple(row) for row in rows), frozenset(numeric)))

    def commands(self, *lines: str) -> None:
        """Add shell commands."""
        self.blocks.append(Commands(lines))
