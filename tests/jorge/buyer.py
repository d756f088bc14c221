"""The buyer bot: can this person buy, what do they want, and which houses fit."""

import asyncio
import textwrap
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from langgraph.graph import END

from tests.jorge.budget import parse_budget
from tests.jorge.conversation import Conversations
from tests.jorge.handoff import Handoff
from tests.jorge.needs import parse_preferences, urgency_level
from tests.jorge.scoring import BuyerIntent, QualificationStep, score_buyer
from tests.jorge.services import (
    ClaudeClient,
    GHLClient,
    ListingQuery,
    ServiceError,
    TransientServiceError,
)
from tests.jorge.state import BuyerState, Financing, Listing, Task, Update, new_buyer, user_messages
from tests.jorge.store import ConversationStore
from tests.jorge.workflow import Workflow

ListingSearch: TypeAlias = Callable[[ListingQuery], Awaitable[list[Listing]]]

TEXT_LIMIT = 160
ATTEMPTS = 3
FIRST_PAUSE = 0.1
"""Seconds before the second attempt; doubled before each further one."""
FALLBACK_REPLY = "I found homes that fit what you told me. When would you like to see them?"

QUESTIONS: Mapping[QualificationStep, str] = {
    "budget": "What price range are you comfortable with?",
    "timeline": "When would you like to move?",
    "preferences": "How many bedrooms do you need, and in which area?",
    "decision_makers": "Who else decides with you?",
    "property_search": "Which of these should we look at first?",
}
TASKS: tuple[tuple[float, Task], ...] = (
    (75, Task(title="Book a property tour", due_in_hours=2)),
    (50, Task(title="Send listing updates", due_in_hours=24)),
    (30, Task(title="Send the financing and market guide", due_in_hours=72)),
    (0, Task(title="Qualify again", due_in_hours=168)),
)
"""What the team does next, by least financial readiness."""


class BuyerBot:
    """``analyze → assess finances → qualify needs → match → generate response | schedule next action``.

    The nodes leave their input alone and return the fields they change.

    Args:
        claude: writes the replies.
        ghl: knows what the buyer wrote through other channels, takes the tasks.
        listings: finds houses.
        store: keeps the conversations.
        sleep: waits between two attempts, in seconds.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        claude: ClaudeClient,
        ghl: GHLClient,
        listings: ListingSearch,
        store: ConversationStore,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.time,
    ):
        self.conversations = Conversations("buyer", BuyerState, new_buyer, store)
        self._claude = claude
        self._ghl = ghl
        self._listings = listings
        self._sleep = sleep
        self._clock = clock
        self._workflow = Workflow(
            [
                self.analyze_buyer_intent,
                self.assess_financial_readiness,
                self.qualify_property_needs,
                self.match_properties,
            ],
            route,
            [self.generate_buyer_response, self.schedule_next_action],
        )

    async def run(self, state: BuyerState) -> BuyerState:
        """Send a state through the whole workflow."""
        return await self._workflow.run(state)

    async def process(self, lead_id: str, message: str, lead_name: str = "") -> BuyerState:
        """Answer a message of a lead and remember the conversation."""
        return await self.conversations.take_turn(self._run_with_reply, lead_id, message, lead_name)

    async def accept(self, handoff: Handoff) -> BuyerState:
        """Take a lead over from another bot and answer what they said there."""
        state = new_buyer(handoff.lead_id, handoff.lead_name, handoff.conversation_history)
        state["insights"] = handoff.insights
        return await self.conversations.answer(self._run_with_reply, state)

    async def _run_with_reply(self, state: BuyerState) -> BuyerState:
        """Run the workflow; where it ends without a reply, ask for what is still missing."""
        state = await self.run(state)
        state["response_content"] = (
            state["response_content"] or QUESTIONS[state["current_qualification_step"]]
        )
        return state

    async def analyze_buyer_intent(self, state: BuyerState) -> Update:
        """Score what the buyer wrote, here and in the CRM.

        While the CRM stays away, what is known already is scored, and ``analysis_status`` says so.
        """
        status, crm_messages = "complete", state["crm_messages"]
        try:
            crm_messages = await self._inbound_messages(state["lead_id"])
        except ServiceError:
            status = "crm_unavailable"
        profile = score_buyer([*crm_messages, *user_messages(state)])
        return {
            "intent_profile": profile,
            "crm_messages": crm_messages,
            "analysis_status": status,
            "buyer_temperature": profile.temperature,
            "financial_readiness_score": profile.financial_readiness,
            "buying_motivation_score": profile.motivation,
            "current_qualification_step": profile.next_step,
            "is_qualified": profile.is_qualified,
            "current_journey_stage": "property_search" if profile.is_qualified else "qualification",
            "last_action_timestamp": self._clock(),
        }

    async def _inbound_messages(self, lead_id: str) -> list[str]:
        for attempt in range(ATTEMPTS - 1):
            try:
                return await self._ghl.inbound_messages(lead_id)
            except TransientServiceError:
                await self._sleep(FIRST_PAUSE * 2**attempt)
        return await self._ghl.inbound_messages(lead_id)

    async def assess_financial_readiness(self, state: BuyerState) -> Update:
        """Tell how the purchase would be paid, and up to which price."""
        return {
            "financing_status": financing_status(state["intent_profile"]),
            "budget_range": parse_budget(known_messages(state)) or state["budget_range"],
        }

    async def qualify_property_needs(self, state: BuyerState) -> Update:
        """Collect the wishes, and when the house is needed."""
        return {
            "property_preferences": parse_preferences(known_messages(state)),
            "urgency_level": urgency_level(state["intent_profile"].urgency),
        }

    async def match_properties(self, state: BuyerState) -> Update:
        """Search the MLS within budget and wishes."""
        budget = state["budget_range"]
        if budget is None:
            return {"matched_properties": [], "next_action": "qualify_more"}
        query = ListingQuery(budget.low, budget.high, state["property_preferences"])
        matches = await self._listings(query)
        return {
            "matched_properties": matches,
            "next_action": "present_properties" if matches else "educate_market",
        }

    async def generate_buyer_response(self, state: BuyerState) -> Update:
        """Let Claude present the matches in one text message."""
        try:
            reply = await self._claude.complete(instructions(state), known_messages(state)[-1], max_tokens=80)
        except ServiceError:
            reply = ""
        return {
            "response_content": textwrap.shorten(reply or FALLBACK_REPLY, TEXT_LIMIT, placeholder="…"),
            "properties_viewed_count": state["properties_viewed_count"] + len(state["matched_properties"]),
            "last_action_timestamp": self._clock(),
        }

    async def schedule_next_action(self, state: BuyerState) -> Update:
        """Leave the team a task that fits how ready the buyer is."""
        readiness = state["financial_readiness_score"]
        task = next(task for least, task in TASKS if readiness >= least)
        await self._ghl.add_task(state["lead_id"], task)
        return {"scheduled_task": task, "last_action_timestamp": self._clock()}


def known_messages(state: BuyerState) -> list[str]:
    """What the buyer wrote, through other channels first, oldest first."""
    return [*state["crm_messages"], *user_messages(state)]


def route(state: BuyerState) -> str:
    """Where to go after matching."""
    if state["matched_properties"] and state["financial_readiness_score"] >= 50:
        return "generate_buyer_response"
    return "schedule_next_action" if state["financial_readiness_score"] >= 30 else END


def financing_status(profile: BuyerIntent) -> Financing:
    """How the purchase would be paid."""
    if profile.financing >= 75:
        return "pre_approved"
    if profile.financing >= 50:
        return "needs_approval"
    return "cash" if profile.budget_clarity >= 70 else "unknown"


def instructions(state: BuyerState) -> str:
    """System prompt of a reply: who it is for, what they can pay, what was found, what to ask."""
    lines = [
        f"You are Jorge. Answer this BUYER in one text message of at most {TEXT_LIMIT} characters.",
        f"Lead: {state['lead_name'] or 'unknown'}, {state['buyer_temperature']}.",
        f"Budget: {state['budget_range']}; financing: {state['financing_status']}.",
    ]
    lines += [f"Known {fact}: {value}." for fact, value in state["insights"].items()]
    lines += [
        f"Match: {house['bedrooms']} bedrooms in {house['area']}, ${house['price']:,}."
        for house in state["matched_properties"]
    ]
    lines.append(f"Ask: {QUESTIONS[state['current_qualification_step']]}")
    return "\n".join(lines)
