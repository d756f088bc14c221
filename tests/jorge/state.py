"""What the bots know of a conversation.

A state is complete from its first moment: the ``new_*`` functions fill every field, so that no node has
to ask whether one exists. All of it can be written as JSON.
"""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, TypedDict

from tests.jorge.budget import BudgetRange
from tests.jorge.needs import Preferences, Urgency
from tests.jorge.phrases import Stall
from tests.jorge.scoring import (
    BuyerIntent,
    BuyerTemperature,
    QualificationStep,
    SellerIntent,
    SellerTemperature,
)

Update: TypeAlias = dict[str, Any]
"""The fields a node changes."""

Tone: TypeAlias = Literal["UNDERSTANDING", "EDUCATIONAL", "ENTHUSIASTIC", "CONSULTATIVE"]
Stage: TypeAlias = Literal["discovery", "nurture", "qualification", "property_search", "closing"]
Financing: TypeAlias = Literal["pre_approved", "needs_approval", "cash", "unknown"]
LeadPath: TypeAlias = Literal["buyer", "seller", "unknown"]


class Message(TypedDict):
    """One line of a conversation."""

    role: Literal["user", "assistant"]
    content: str


class Listing(TypedDict):
    """A house for sale, as the MLS describes it."""

    id: str
    area: str
    price: int
    bedrooms: int
    bathrooms: float
    features: list[str]


class Touch(TypedDict):
    """One contact of a nurture sequence."""

    day: int
    channel: str


class Task(TypedDict):
    """Something the team has to do for a lead."""

    title: str
    due_in_hours: int


class Conversation(TypedDict):
    """What every bot keeps of a lead."""

    lead_id: str
    lead_name: str
    conversation_history: list[Message]
    insights: dict[str, str]
    next_action: str
    response_content: str
    is_qualified: bool
    current_journey_stage: Stage
    last_action_timestamp: float


class SellerState(Conversation):
    """A seller's conversation."""

    intent_profile: SellerIntent
    psychological_commitment: float
    seller_temperature: SellerTemperature
    stall_detected: bool
    detected_stall_type: Stall | None
    current_tone: Tone
    follow_up_count: int


class BuyerState(Conversation):
    """A buyer's conversation."""

    intent_profile: BuyerIntent
    crm_messages: list[str]
    analysis_status: Literal["complete", "crm_unavailable"]
    buyer_temperature: BuyerTemperature
    financial_readiness_score: float
    buying_motivation_score: float
    current_qualification_step: QualificationStep
    financing_status: Financing
    budget_range: BudgetRange | None
    urgency_level: Urgency
    property_preferences: Preferences
    matched_properties: list[Listing]
    properties_viewed_count: int
    scheduled_task: Task | None


class LeadState(Conversation):
    """A lead of whom it is not yet known whether they buy or sell."""

    scores: dict[str, float]
    path: LeadPath
    nurture_plan: list[Touch]


def user_messages(state: Conversation) -> list[str]:
    """What the lead wrote; the bots' own words say nothing about the lead's intent."""
    return [message["content"] for message in state["conversation_history"] if message["role"] == "user"]


def new_seller(lead_id: str, lead_name: str = "", history: Sequence[Message] = ()) -> SellerState:
    """A seller of whom nothing is known but the identity and what was said."""
    return SellerState(
        **_new_conversation(lead_id, lead_name, history),
        intent_profile=SellerIntent(),
        psychological_commitment=0.0,
        seller_temperature="cold",
        stall_detected=False,
        detected_stall_type=None,
        current_tone="CONSULTATIVE",
        follow_up_count=0,
    )


def new_buyer(lead_id: str, lead_name: str = "", history: Sequence[Message] = ()) -> BuyerState:
    """A buyer of whom nothing is known but the identity and what was said."""
    return BuyerState(
        **_new_conversation(lead_id, lead_name, history),
        intent_profile=BuyerIntent(),
        crm_messages=[],
        analysis_status="complete",
        buyer_temperature="ice_cold",
        financial_readiness_score=0.0,
        buying_motivation_score=0.0,
        current_qualification_step="budget",
        financing_status="unknown",
        budget_range=None,
        urgency_level="browsing",
        property_preferences=Preferences(),
        matched_properties=[],
        properties_viewed_count=0,
        scheduled_task=None,
    )


def new_lead(lead_id: str, lead_name: str = "", history: Sequence[Message] = ()) -> LeadState:
    """A lead before the first analysis."""
    return LeadState(
        **_new_conversation(lead_id, lead_name, history), scores={}, path="unknown", nurture_plan=[]
    )


def _new_conversation(lead_id: str, lead_name: str, history: Sequence[Message]) -> Conversation:
    return Conversation(
        lead_id=lead_id,
        lead_name=lead_name,
        conversation_history=list(history),
        insights={},
        next_action="",
        response_content="",
        is_qualified=False,
        current_journey_stage="discovery",
        last_action_timestamp=0.0,
    )
