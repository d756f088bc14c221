"""Document -> GitHub Markdown. Foreign text (test names, messages) is inert: no markup, no mention."""

import re
from collections.abc import Iterable
from typing import Final

from gate.report.document import Block, Bullets, Cell, Code, Commands, Document, Heading, Paragraph, Table
from gate.report.text import WORD_JOINER, one_line

_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]()<>#+!|~$&-])")
_LINK: Final = re.compile(r"(?<=[@#])(?=\w)|(?<=:)(?=//)|(?<=www)(?=\.)|(?<=GH-)(?=\d)", re.IGNORECASE)
"""Where a mention, a reference or a bare address can be broken so that GitHub makes no link of it."""


def to_markdown(document: Document) -> str:
    """The whole document, ending with a newline."""
    parts = [f"# {escape(document.title)}", *(_block(block) for block in document.blocks)]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Plain text that GitHub shows as it is; `@name`, `#1`, `GH-1` and addresses do not link."""
    return _SPECIAL.sub(r"\\\1", _LINK.sub(WORD_JOINER, one_line(text)))


def code(text: str) -> str:
    """Text as inline code, whatever backticks it holds."""
    plain = one_line(text)
    fence = _fence(plain, 1)
    pad = " " if plain.startswith("`") or plain.endswith("`") or not plain else ""
    return f"{fence}{pad}{plain}{pad}{fence}"


def _block(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {escape(text)}"
        case Paragraph(cells):
            return _inline(cells)
        case Bullets(items):
            return "\n".join(f"- {_inline(item)}" for item in items)
        case Commands(lines):
            text = "\n".join(map(one_line, lines))
            fence = _fence(text, 3)
            return f"{fence}console\n{text}\n{fence}"
        case Table():
            return table(block)


def table(block: Table) -> str:
    """A table of its own."""
    rule = ("---:" if column in block.numeric else "---" for column in range(len(block.header)))
    return "\n".join(
        (
            _row(escape(name) for name in block.header),
            _row(rule),
            *(_row(map(_table_cell, row)) for row in block.rows),
        )
    )


def _fence(text: str, least: int) -> str:
    """More backticks than stand side by side in the text."""
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    return "`" * max(least, longest + 1)


def _inline(cells: Iterable[Cell]) -> str:
    return " ".join(_cell(cell) for cell in cells)


def _cell(cell: Cell) -> str:
    return code(cell.text) if isinstance(cell, Code) else escape(cell)


def _table_cell(cell: Cell) -> str:
    """A table splits at pipes even inside code, and takes the backslash away again."""
    return code(cell.text).replace("|", "\\|") if isinstance(cell, Code) else escape(cell)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
