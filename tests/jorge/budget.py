"""Budgets out of free text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tests.jorge.phrases import HOME_VALUE

_FIGURE = re.compile(r"\$\s?(\d{1,3}(?:,\d{3})+|\d+(?:\.\d+)?)\s?(k|m(?:illion)?)?\b", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?;]\s")
_FACTORS = {"": 1, "k": 1_000, "m": 1_000_000}
_SMALLEST_PRICE = 10_000
"""Smaller sums are deposits, fees or rents, never the price of a house."""


@dataclass(frozen=True, slots=True)
class BudgetRange:
    """What a buyer can spend, in whole dollars, both ends included."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"${self.low:,}–${self.high:,}"


def parse_budget(messages: Sequence[str]) -> BudgetRange | None:
    """Budget of the latest message that names one, so that a correction replaces what it corrects.

    Two or more figures span the range; a single one is its upper end, with 80 % of it as the lower. What
    a sentence says of the worth of a home is nobody's budget.
    """
    return next(filter(None, (_range(message) for message in reversed(messages))), None)


def _range(message: str) -> BudgetRange | None:
    own = " ".join(part for part in _SENTENCE_END.split(message) if not HOME_VALUE.search(part))
    figures = [dollars for match in _FIGURE.finditer(own) if (dollars := _dollars(match)) >= _SMALLEST_PRICE]
    if not figures:
        return None
    high = max(figures)
    return BudgetRange(low=min(figures) if len(figures) > 1 else round(0.8 * high), high=high)


def _dollars(match: re.Match[str]) -> int:
    number, unit = match.groups(default="")
    return round(float(number.replace(",", "")) * _FACTORS[unit[:1].lower()])
