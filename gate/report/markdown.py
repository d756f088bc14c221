"""Document -> GitHub Markdown. Foreign text (test names, messages) is inert: no markup, no mention."""

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from gate.report.document import Block, Bullets, Cell, Code, Commands, Document, Heading, Paragraph, Table

_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]()<>#+!|~$&-])")
_MENTION: Final = re.compile(r"(?<=[@#])(?=\w)")
_WORD_JOINER: Final = "\N{WORD JOINER}"


def to_markdown(document: Document) -> str:
    """The whole document, ending with a newline."""
    parts = [f"# {escape(document.title)}", *(_block(block) for block in document.blocks)]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Plain text that GitHub shows as it is; `@name` and `#1` do not link."""
    joined = _MENTION.sub(_WORD_JOINER, _one_line(text))
    return _SPECIAL.sub(r"\\\1", joined)


def code(text: str) -> str:
    """Text as inline code, whatever backticks it holds; pipes survive a table."""
    plain = _one_line(text).replace("|", "\\|")
    longest = max((len(run) for run in re.findall(r"`+", plain)), default=0)
    fence = "`" * (longest + 1)
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
            return "\n".join(("```console", *(_one_line(line) for line in lines), "```"))
        case Table(header, rows, numeric):
            rule = ("---:" if column in numeric else "---" for column in range(len(header)))
            return "\n".join(
                (_row(escape(name) for name in header), _row(rule), *(_row(map(_cell, row)) for row in rows))
            )


def _inline(cells: Iterable[Cell]) -> str:
    return " ".join(_cell(cell) for cell in cells)


def _cell(cell: Cell) -> str:
    return code(cell.text) if isinstance(cell, Code) else escape(cell)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _one_line(text: str) -> str:
    """One line without control and direction characters, which could hide or reorder what follows."""
    return "".join(
        " " if char in "\r\n\t" else char for char in text if char in "\r\n\t" or not _invisible(char)
    )


def _invisible(char: str) -> bool:
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn"}
