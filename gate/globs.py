r"""Patterns as thresholds.yaml has them: `*` stands for anything, `\*` for a star."""

import re
from typing import Final

_PART: Final = re.compile(r"(\\\*|\*)")


def glob(text: str) -> re.Pattern[str]:
    """A pattern of names: of metrics, tests, failures.

    Each text between two stars is looked for once, from the left: where it stands first, the rest fits best.
    """
    first, *others = _between_stars(text)
    if not others:
        return re.compile(first)
    inner = "".join(f"(?>.*?{part})" for part in others[:-1] if part)
    return re.compile(f"{first}{inner}.*{others[-1]}", re.DOTALL)


def _between_stars(text: str) -> list[str]:
    """What a pattern says beside its stars, as expressions."""
    texts = [""]
    for part in _PART.split(text):
        if part == "*":
            texts.append("")
        else:
            texts[-1] += re.escape("*" if part == r"\*" else part)
    return texts


def path_glob(text: str) -> re.Pattern[str]:
    """A pattern of paths: `ci/` is all below, `**/` any directory or none; `*` crosses directories."""
    whole = f"{text}*" if text.endswith("/") else text
    return re.compile(
        r"(?:.*/)?".join(".*".join(_between_stars(part)) for part in whole.split("**/")), re.DOTALL
    )


def is_exact(text: str) -> bool:
    """Whether a pattern stands for one name."""
    return "*" not in _PART.split(text)


def literal(text: str) -> int:
    """How many characters of a pattern stand for themselves."""
    return len(text.replace(r"\*", "x").replace("*", ""))
