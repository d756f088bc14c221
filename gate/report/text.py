"""Foreign text (test names, messages, skip reasons) made harmless for whatever shows it."""

import unicodedata
from typing import Final

WORD_JOINER: Final = "\N{WORD JOINER}"
"""Has no width, and ends what a program would otherwise recognise: a mention, an address, a command."""

_SPACES: Final = "\r\n\t\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}"
_HIDDEN: Final = {"Cc", "Cf", "Cs", "Co", "Cn"}


def one_line(text: str) -> str:
    """One line without control and direction characters, which could hide or reorder what follows."""
    spaced = (" " if char in _SPACES else char for char in text)
    return "".join(char for char in spaced if unicodedata.category(char) not in _HIDDEN)


def log_line(text: str) -> str:
    """One line that GitHub's runner does not take for a command: `::name::` at its begin, `##[name]`."""
    plain = one_line(text).replace("##[", f"##{WORD_JOINER}[")
    return f"{WORD_JOINER}{plain}" if is_command(plain) else plain


def is_command(line: str) -> bool:
    """Whether GitHub's runner would read a line of a log as a command."""
    return line.lstrip().startswith("::")
