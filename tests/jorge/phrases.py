"""What leads say, grouped by what it means: the vocabulary of all three bots.

Wherever several groups could match the same text, the first one listed wins.
"""

import re
from collections.abc import Mapping
from typing import Literal, TypeAlias

Phrases: TypeAlias = re.Pattern[str]
Scale: TypeAlias = tuple[tuple[float, Phrases], ...]
Stall: TypeAlias = Literal["thinking", "get_back", "zestimate", "agent"]


def phrases(*groups: str) -> Phrases:
    """Match any phrase of the groups, which hold phrases between bars, from the start of a word on.

    The end stays open for inflections ("consider" finds "considering"); the start does not, or
    "typically" would count as a request for a call.
    """
    return re.compile(rf"\b(?:{'|'.join(groups)})", re.IGNORECASE)


def grade(text: str, scale: Scale, unsaid: float) -> float:
    """Score of the first group of the scale that occurs in the text, ``unsaid`` when none does."""
    return next((score for score, pattern in scale if pattern.search(text)), unsaid)


# Seller

STALLS: Mapping[Stall, Phrases] = {
    "thinking": phrases("think|pondering|consider|decide"),
    "get_back": phrases("get back|later|next week|busy"),
    "zestimate": phrases("zestimate|zillow|online value|estimate says"),
    "agent": phrases("agent|realtor|broker|with someone"),
}

MOTIVATION: Scale = (
    (85, phrases("need to sell fast|relocating in 30 days|behind on payments|divorce|estate|probate")),
    (20, phrases("just browsing|just curious|not sure|only wondering")),
)
SALE_TIMELINE: Scale = (
    (90, phrases("asap|30 days|this month|immediately")),
    (20, phrases("eventually|maybe later|someday|no rush")),
)
CONDITION: Scale = (
    (85, phrases("as-is|needs work|fixer|outdated|needs repairs")),
    (20, phrases("perfect|turnkey|move-in ready|fully renovated")),
)
PRICE: Scale = ((85, phrases("zestimate|comps|market value|appraisal|fair price")),)

CONTACT_REQUEST = phrases("call|phone|tour|schedule|meet")
OPT_OUT = phrases("unsubscribe|stop texting|stop messaging|leave me alone|not interested")

# Buyer

_BROWSING = "just browsing|just looking|no rush|someday|eventually|maybe next year"
_CASH = "cash buyer|paying cash|pay cash|all cash|proof of funds"
_APPLYING = "(?:get|getting|not|not yet) pre-?approved|talk(?:ed|ing) to a lender|applied for a loan"
_APPROVED = "pre-?approved|loan is approved|lender approved"

CASH = phrases(_CASH)
HOME_VALUE = phrases("zillow|zestimate|online value|estimate says|worth|valued|appraised|sold for")
BUDGET_CEILING = phrases("up to|at most|max|no more than|between")

FINANCIAL_READINESS: Scale = (
    (55, phrases(_APPLYING, "saving for|good credit")),
    (90, phrases(_APPROVED, _CASH, "down payment is ready|down payment ready")),
    (60, phrases("down payment|savings")),
    (10, phrases("can't afford|bad credit|no savings", _BROWSING)),
)
FINANCING: Scale = (
    (55, phrases(_APPLYING)),
    (90, phrases(_APPROVED)),
    (40, CASH),
    (10, phrases("loan was denied|no financing", _BROWSING)),
)
URGENCY: Scale = (
    (90, phrases("asap|immediately|this month|30 days|right away|urgent")),
    (60, phrases("soon|three months|3 months|few months|this summer")),
    (35, phrases("six months|6 months|this year")),
    (10, phrases(_BROWSING)),
)
PURCHASE_TIMELINE: Scale = (
    (90, phrases("asap|this month|30 days|60 days|lease ends|lease is up")),
    (60, phrases("three months|3 months|few months|school year|this summer")),
    (35, phrases("six months|6 months|this year")),
    (10, phrases(_BROWSING)),
)
CONSEQUENCES: Scale = (
    (90, phrases("lease ends|lease is up|new job|baby|before rates|have to move")),
    (60, phrases("rates|rent keeps|tired of renting|school")),
    (10, phrases("nothing happens", _BROWSING)),
)
MARKET_REALISM: Scale = (
    (80, phrases("comps|market value|fair price|asking price|competitive")),
    (15, phrases("bargain|steal|below market|half price|lowball")),
)
AUTHORITY: Scale = (
    (15, phrases("need to ask|talk to my|check with|my parents decide")),
    (90, phrases("my (?:wife|husband|partner) and i|my decision|i decide|we both agree")),
    (60, phrases("we want|we need|we are|we're|just me")),
)

# Lead

BUYER_INTEREST = phrases(
    "looking for|looking to buy|want to buy|house hunting|pre-?approved|mortgage|budget|bedroom|down payment"
)
SELLER_INTEREST = phrases(
    "sell my|list my|home value|considering selling|want to sell|need to sell|my home worth|my property"
)
