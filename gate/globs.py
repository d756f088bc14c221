r"""Patterns as thresholds.yaml has them: `*` stands for anything, `\*` for a star."""

import re
from typing import Final

_PART: Final = re.compile(r"(\\\*|\*)")
_EXPRESSIONS: Final = {"*": ".*", r"\*": r"\*"}


def glob(text: str) -> re.Pattern[str]:
    """A pattern of names: of metrics, tests, failures."""
    parts = (_EXPRESSIONS.get(part, re.escape(part)) for part in _PART.split(text))
    return re.compile("".join(parts), re.DOTALL)


def path_glob(text: str) -> re.Pattern[str]:
    """A pattern of paths: `ci/` is all below, `**/` any directory or none; `*` crosses directories."""
    whole = f"{text}*" if text.endswith("/") else text
    return re.compile(r"(?:.*/)?".join(glob(part).pattern for part in whole.split("**/")), re.DOTALL)


def is_exact(text: str) -> bool:
    """Whether a pattern stands for one name."""
    return "*" not in _PART.split(text)


def literal(text: str) -> int:
    """How many characters of a pattern stand for themselves."""
    return len(text.replace(r"\*", "x").replace("*", ""))
