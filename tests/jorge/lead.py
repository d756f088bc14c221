"""The lead bot: does this person buy or sell, and is it time to talk to them at all."""

import time
from collections.abc import Callable

from tests.jorge.conversation import Conversations
from tests.jorge.phrases import BUYER_INTEREST, SELLER_INTEREST
from tests.jorge.scoring import BUYER_UNSAID, SELLER_BASE, score_buyer, score_seller
from tests.jorge.services import GHLClient
from tests.jorge.state import LeadPath, LeadState, Touch, Update, new_lead, user_messages
from tests.jorge.store import ConversationStore
from tests.jorge.workflow import Workflow

NURTURE_PLAN = (
    Touch(day=3, channel="sms"),
    Touch(day=7, channel="call"),
    Touch(day=14, channel="email"),
    Touch(day=30, channel="nudge"),
)
NURTURE_REPLY = "Thanks for reaching out. I will keep you posted, and you can write me whenever you like."


class LeadBot:
    """``analyze_intent → determine_path → hand_off | nurture``.

    Args:
        ghl: tags the leads and runs the nurture sequence.
        store: keeps the conversations.
        clock: seconds since the epoch.
    """

    def __init__(self, ghl: GHLClient, store: ConversationStore, *, clock: Callable[[], float] = time.time):
        self.conversations = Conversations("lead", LeadState, new_lead, store)
        self._ghl = ghl
        self._clock = clock
        self._workflow = Workflow(
            [self.analyze_intent, self.determine_path],
            lambda state: state["next_action"],
            [self.hand_off, self.nurture],
        )

    async def run(self, state: LeadState) -> LeadState:
        """Send a state through the whole workflow."""
        return await self._workflow.run(state)

    async def process(self, lead_id: str, message: str, lead_name: str = "") -> LeadState:
        """Answer a message of a lead and remember the conversation."""
        return await self.conversations.take_turn(self.run, lead_id, message, lead_name)

    async def analyze_intent(self, state: LeadState) -> Update:
        """Count what speaks for buying and for selling, and score the lead as either."""
        messages = user_messages(state)
        text = "\n".join(messages)
        seller = score_seller(messages)
        scores = {
            "buyer_interest": len(BUYER_INTEREST.findall(text)),
            "seller_interest": len(SELLER_INTEREST.findall(text)),
            "buyer_total": score_buyer(messages).total,
            "frs": seller.frs,
            "pcs": seller.pcs,
        }
        return {"scores": scores, "last_action_timestamp": self._clock()}

    async def determine_path(self, state: LeadState) -> Update:
        """Choose the bot for the lead, and whether the lead is ready for it."""
        path = choose_path(state["scores"])
        ready = is_ready(path, state["scores"])
        return {
            "path": path,
            "is_qualified": ready,
            "next_action": "hand_off" if ready else "nurture",
            "current_journey_stage": "qualification" if ready else "nurture",
        }

    async def hand_off(self, state: LeadState) -> Update:
        """Tag the lead for the bot that takes over; the reply is that bot's."""
        await self._ghl.add_tags(state["lead_id"], [f"{state['path']}-lead"])
        return {"last_action_timestamp": self._clock()}

    async def nurture(self, state: LeadState) -> Update:
        """Stay in touch without pressing."""
        await self._ghl.enrol(state["lead_id"], NURTURE_PLAN)
        return {
            "nurture_plan": list(NURTURE_PLAN),
            "response_content": NURTURE_REPLY,
            "last_action_timestamp": self._clock(),
        }


def choose_path(scores: dict[str, float]) -> LeadPath:
    """The larger count decides; a tie, zero included, is unknown."""
    if scores["buyer_interest"] == scores["seller_interest"]:
        return "unknown"
    return "buyer" if scores["buyer_interest"] > scores["seller_interest"] else "seller"


def is_ready(path: LeadPath, scores: dict[str, float]) -> bool:
    """Whether the lead's own words do not speak against talking to them now.

    The bars are the scores of somebody who has said nothing either way.
    """
    match path:
        case "buyer":
            return scores["buyer_total"] >= BUYER_UNSAID
        case "seller":
            return scores["frs"] >= SELLER_BASE
        case "unknown":
            return False
