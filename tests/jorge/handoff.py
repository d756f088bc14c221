"""Passing a lead from one bot to another without losing a word."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tests.jorge.budget import parse_budget
from tests.jorge.needs import parse_preferences
from tests.jorge.state import Conversation, LeadState, Message, SellerState, user_messages

Bot: TypeAlias = Literal["lead", "seller", "buyer"]


@dataclass(frozen=True, slots=True)
class Handoff:
    """All the next bot has to know: what was said, how it was judged, which facts came out of it."""

    lead_id: str
    lead_name: str
    source: Bot
    target: Bot
    conversation_history: Sequence[Message]
    scores: dict[str, float]
    insights: dict[str, str]


def from_lead(state: LeadState, target: Literal["buyer", "seller"]) -> Handoff:
    """Hand a lead to the bot for their kind."""
    return _handoff(state, "lead", target, state["scores"], {})


def from_seller(state: SellerState) -> Handoff:
    """Hand a seller who also wants to buy to the buyer bot."""
    profile = state["intent_profile"]
    judged = {"seller class": profile.classification, "seller temperature": state["seller_temperature"]}
    if stall := state["detected_stall_type"]:
        judged["seller objection"] = stall
    return _handoff(state, "seller", "buyer", {"frs": profile.frs, "pcs": profile.pcs}, judged)


def facts(messages: Sequence[str]) -> dict[str, str]:
    """What the lead has told already, in words for the next bot's prompt."""
    wishes = parse_preferences(messages)
    stated = {
        "budget": parse_budget(messages),
        "bedrooms": wishes.bedrooms,
        "bathrooms": wishes.bathrooms,
        "features": ", ".join(wishes.features),
        "areas": ", ".join(wishes.areas),
    }
    return {name: str(value) for name, value in stated.items() if value}


def _handoff(
    state: Conversation, source: Bot, target: Bot, scores: dict[str, float], judged: dict[str, str]
) -> Handoff:
    return Handoff(
        lead_id=state["lead_id"],
        lead_name=state["lead_name"],
        source=source,
        target=target,
        conversation_history=tuple(state["conversation_history"]),
        scores=scores,
        insights={**state["insights"], **facts(user_messages(state)), **judged},
    )
