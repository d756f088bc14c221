"""What a buyer wants of a house, out of free text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final, Literal, TypeAlias

AREAS: Final[Sequence[str]] = ("Etiwanda", "Victoria", "Haven", "Terra Vista", "Central Park")
FEATURES: Final[Sequence[str]] = ("garage", "pool", "yard")

Urgency: TypeAlias = Literal["immediate", "3_months", "6_months", "browsing"]

_WORDS = {"one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6"}
_NUMBER = rf"\b(\d(?:\.5)?|{'|'.join(_WORDS)})[\s-]?"
_BEDROOMS = re.compile(_NUMBER + r"(?:bed|br\b)", re.IGNORECASE)
_BATHROOMS = re.compile(_NUMBER + r"(?:bath|ba\b)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Preferences:
    """Least rooms, features a house must have and areas it may lie in; ``None`` or empty: no wish."""

    bedrooms: int | None = None
    bathrooms: float | None = None
    features: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()

    @property
    def stated(self) -> int:
        """How many of the four kinds of wishes have been named."""
        return sum(bool(getattr(self, field.name)) for field in fields(self))


def parse_preferences(messages: Sequence[str]) -> Preferences:
    """Wishes of all messages together; of several room counts the latest holds."""
    text = "\n".join(messages)
    bedrooms = _latest(_BEDROOMS, text)
    return Preferences(
        bedrooms=None if bedrooms is None else int(bedrooms),
        bathrooms=_latest(_BATHROOMS, text),
        features=_named(FEATURES, text),
        areas=_named(AREAS, text),
    )


def urgency_level(urgency: float) -> Urgency:
    """When the buyer wants to buy, from the urgency score."""
    if urgency >= 75:
        return "immediate"
    if urgency >= 50:
        return "3_months"
    return "6_months" if urgency >= 30 else "browsing"


def _latest(pattern: re.Pattern[str], text: str) -> float | None:
    numbers = pattern.findall(text)
    if not numbers:
        return None
    number: str = numbers[-1].lower()
    return float(_WORDS.get(number, number))


def _named(names: Sequence[str], text: str) -> tuple[str, ...]:
    lowered = text.lower()
    return tuple(name for name in names if name.lower() in lowered)
