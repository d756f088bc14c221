"""Scores of a conversation. Pure functions of what the lead wrote; no clock, no service.

A profile keeps the scores as measured; everything that follows from them (class, temperature, next
step) is derived, so that no two figures can disagree.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal, TypeAlias

from tests.jorge import phrases
from tests.jorge.budget import parse_budget
from tests.jorge.needs import parse_preferences
from tests.jorge.phrases import grade

Classification: TypeAlias = Literal["Hot", "Warm", "Lukewarm", "Cold"]
SellerTemperature: TypeAlias = Literal["hot", "warm", "cold"]
BuyerTemperature: TypeAlias = Literal["hot", "warm", "lukewarm", "cold", "ice_cold"]
QualificationStep: TypeAlias = Literal[
    "budget", "timeline", "preferences", "decision_makers", "property_search"
]

SELLER_BASE = 50.0
"""A pillar the seller has not spoken about."""

BUYER_UNSAID = 25.0
"""A score the buyer has not spoken about: below every "< 50" that asks for it, above a refusal."""


@dataclass(frozen=True, slots=True)
class SellerIntent:
    """Readiness pillars and psychological commitment of a seller, each 0–100."""

    motivation: float = SELLER_BASE
    timeline: float = SELLER_BASE
    condition: float = SELLER_BASE
    price: float = SELLER_BASE
    pcs: float = 0.0

    @property
    def frs(self) -> float:
        """Financial readiness score, the weighted pillars."""
        return 0.35 * self.motivation + 0.30 * self.timeline + 0.20 * self.condition + 0.15 * self.price

    @property
    def classification(self) -> Classification:
        return classify(self.frs)

    @property
    def temperature(self) -> SellerTemperature:
        return seller_temperature(self.frs, self.pcs)

    @property
    def is_qualified(self) -> bool:
        return self.classification in ("Hot", "Warm")


@dataclass(frozen=True, slots=True)
class BuyerIntent:
    """The nine scores of a buyer, each 0–100, in three groups of three: means, drive and fit."""

    financial_readiness: float = BUYER_UNSAID
    budget_clarity: float = BUYER_UNSAID
    financing: float = BUYER_UNSAID
    urgency: float = BUYER_UNSAID
    timeline: float = BUYER_UNSAID
    consequence_awareness: float = BUYER_UNSAID
    preference_clarity: float = BUYER_UNSAID
    market_realism: float = BUYER_UNSAID
    authority: float = BUYER_UNSAID

    @property
    def motivation(self) -> float:
        """Mean of what drives the purchase: urgency, timeline, awareness of the consequences."""
        return fmean((self.urgency, self.timeline, self.consequence_awareness))

    @property
    def total(self) -> float:
        means = fmean((self.financial_readiness, self.budget_clarity, self.financing))
        fit = fmean((self.preference_clarity, self.market_realism, self.authority))
        return 0.40 * means + 0.35 * self.motivation + 0.25 * fit

    @property
    def temperature(self) -> BuyerTemperature:
        return buyer_temperature(self.total)

    @property
    def next_step(self) -> QualificationStep:
        """What to ask next: the first thing still unclear."""
        steps: tuple[tuple[QualificationStep, float], ...] = (
            ("budget", self.budget_clarity),
            ("timeline", self.timeline),
            ("preferences", self.preference_clarity),
            ("decision_makers", self.authority),
        )
        for step, score in steps:
            if score < 50:
                return step
        return "property_search"

    @property
    def is_qualified(self) -> bool:
        return self.financial_readiness >= 50 and self.motivation >= 50


def classify(frs: float) -> Classification:
    """Class of a financial readiness score."""
    if frs >= 75:
        return "Hot"
    if frs >= 50:
        return "Warm"
    return "Lukewarm" if frs >= 25 else "Cold"


def seller_temperature(frs: float, pcs: float) -> SellerTemperature:
    """Temperature of a seller, from the sum of both scores."""
    if frs + pcs >= 75:
        return "hot"
    return "warm" if frs + pcs >= 50 else "cold"


def buyer_temperature(total: float) -> BuyerTemperature:
    """Temperature of a buyer, from the weighted total."""
    levels: tuple[tuple[float, BuyerTemperature], ...] = (
        (75, "hot"),
        (50, "warm"),
        (35, "lukewarm"),
        (20, "cold"),
    )
    for least, temperature in levels:
        if total >= least:
            return temperature
    return "ice_cold"


def commitment(messages: Sequence[str]) -> float:
    """Psychological commitment score (PCS) of the lead's own messages, 0 when there are none.

    The two constants stand for response time and engagement, which a chat transcript does not hold.
    """
    if not messages:
        return 0.0
    words = fmean(len(message.split()) for message in messages)
    questions = sum(message.count("?") for message in messages)
    wants_contact = any(phrases.CONTACT_REQUEST.search(message) for message in messages)
    return (
        0.20 * 80
        + 0.15 * min(100.0, 4 * words)
        + 0.20 * min(100.0, 25 * questions)
        + 0.25 * 60
        + 0.20 * (100 if wants_contact else 0)
    )


def score_seller(messages: Sequence[str]) -> SellerIntent:
    """Read a seller's intent out of their own messages."""
    text = "\n".join(messages)
    return SellerIntent(
        motivation=grade(text, phrases.MOTIVATION, SELLER_BASE),
        timeline=grade(text, phrases.SALE_TIMELINE, SELLER_BASE),
        condition=grade(text, phrases.CONDITION, SELLER_BASE),
        price=grade(text, phrases.PRICE, SELLER_BASE),
        pcs=commitment(messages),
    )


def score_buyer(messages: Sequence[str]) -> BuyerIntent:
    """Read a buyer's intent out of their own messages."""
    text = "\n".join(messages)
    return BuyerIntent(
        financial_readiness=grade(text, phrases.FINANCIAL_READINESS, BUYER_UNSAID),
        budget_clarity=_budget_clarity(messages),
        financing=grade(text, phrases.FINANCING, BUYER_UNSAID),
        urgency=grade(text, phrases.URGENCY, BUYER_UNSAID),
        timeline=grade(text, phrases.PURCHASE_TIMELINE, BUYER_UNSAID),
        consequence_awareness=grade(text, phrases.CONSEQUENCES, BUYER_UNSAID),
        preference_clarity=min(100.0, BUYER_UNSAID + 20 * parse_preferences(messages).stated),
        market_realism=grade(text, phrases.MARKET_REALISM, BUYER_UNSAID),
        authority=grade(text, phrases.AUTHORITY, BUYER_UNSAID),
    )


def _budget_clarity(messages: Sequence[str]) -> float:
    text = "\n".join(messages)
    if parse_budget(messages):
        return 90.0 if phrases.BUDGET_CEILING.search(text) else 80.0
    return 70.0 if phrases.CASH.search(text) else BUYER_UNSAID
