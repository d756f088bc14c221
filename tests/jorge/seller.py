"""The seller bot: how serious is this owner, what holds them back, and what to say next."""

import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Literal, TypeAlias

from langgraph.graph import END

from tests.jorge.conversation import Conversations
from tests.jorge.handoff import Handoff
from tests.jorge.phrases import OPT_OUT, STALLS, Stall
from tests.jorge.scoring import Classification, score_seller
from tests.jorge.services import ClaudeClient, GHLClient, ServiceError
from tests.jorge.state import SellerState, Stage, Tone, Update, new_seller, user_messages
from tests.jorge.store import ConversationStore
from tests.jorge.workflow import Workflow

Predictor: TypeAlias = Callable[[SellerState, Tone], Awaitable[Tone]]
"""Refines the tone the base rule chose; raises ``ServiceError`` when it cannot."""

FALLBACK_REPLY = "Thanks for getting back to me. What would need to happen for you to sell this year?"
FOLLOW_UP_LIMIT = 4

COUNTER_ARGUMENTS: Mapping[Stall, str] = {
    "thinking": "Ask what exactly is left to weigh, and offer the numbers that answer it.",
    "get_back": "Agree on a day, and say what waiting until then may cost.",
    "zestimate": "An online value has never been inside the house: offer comparable sales nearby.",
    "agent": "Respect the agent, and offer a cash figure to compare with.",
}
FOLLOW_UPS: Mapping[Stage, str] = {
    "discovery": "Hi {name}, are you still thinking about selling?",
    "nurture": "Hi {name}, here is what homes near you sold for this month.",
    "qualification": "Hi {name}, shall I work out an offer for your home?",
    "closing": "Hi {name}, your offer is ready. When can we go through it?",
}
_STAGES: Mapping[Classification, Stage] = {
    "Hot": "closing",
    "Warm": "qualification",
    "Lukewarm": "nurture",
    "Cold": "nurture",
}


class SellerBot:
    """``analyze_intent → detect_stall → select_strategy → generate_jorge_response | execute_follow_up``.

    The nodes leave their input alone and return the fields they change.

    Args:
        claude: writes the replies.
        ghl: sends the follow-ups.
        store: keeps the conversations.
        predict: optional service that refines the tone.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        claude: ClaudeClient,
        ghl: GHLClient,
        store: ConversationStore,
        *,
        predict: Predictor | None = None,
        clock: Callable[[], float] = time.time,
    ):
        self.conversations = Conversations("seller", SellerState, new_seller, store)
        self._claude = claude
        self._ghl = ghl
        self._predict = predict
        self._clock = clock
        self._workflow = Workflow(
            [self.analyze_intent, self.detect_stall, self.select_strategy],
            route,
            [self.generate_jorge_response, self.execute_follow_up],
        )

    async def run(self, state: SellerState) -> SellerState:
        """Send a state through the whole workflow."""
        return await self._workflow.run(state)

    async def process(self, lead_id: str, message: str, lead_name: str = "") -> SellerState:
        """Answer a message of a lead and remember the conversation."""
        return await self.conversations.take_turn(self.run, lead_id, message, lead_name)

    async def accept(self, handoff: Handoff) -> SellerState:
        """Take a lead over from another bot and answer what they said there."""
        state = new_seller(handoff.lead_id, handoff.lead_name, handoff.conversation_history)
        state["insights"] = handoff.insights
        return await self.conversations.answer(self.run, state)

    async def analyze_intent(self, state: SellerState) -> Update:
        """Score readiness and commitment."""
        profile = score_seller(user_messages(state))
        return {
            "intent_profile": profile,
            "psychological_commitment": profile.pcs,
            "seller_temperature": profile.temperature,
            "is_qualified": profile.is_qualified,
            "current_journey_stage": _STAGES[profile.classification],
            "last_action_timestamp": self._clock(),
        }

    async def detect_stall(self, state: SellerState) -> Update:
        """Find out whether the last message puts the decision off, and how."""
        last = user_messages(state)[-1:]
        stall = next((name for name, pattern in STALLS.items() if last and pattern.search(last[0])), None)
        return {"stall_detected": stall is not None, "detected_stall_type": stall}

    async def select_strategy(self, state: SellerState) -> Update:
        """Choose the tone, and whether to answer, to follow up or to leave the lead alone."""
        tone = base_tone(state)
        if self._predict is not None:
            with suppress(ServiceError):  # the base rule is good enough to go on with
                tone = await self._predict(state, tone)
        return {"current_tone": tone, "next_action": next_action(state)}

    async def generate_jorge_response(self, state: SellerState) -> Update:
        """Let Claude write the reply."""
        try:
            reply = await self._claude.complete(instructions(state), user_messages(state)[-1])
        except ServiceError:
            reply = ""
        return {"response_content": reply or FALLBACK_REPLY, "last_action_timestamp": self._clock()}

    async def execute_follow_up(self, state: SellerState) -> Update:
        """Text the template of the journey stage."""
        text = FOLLOW_UPS[state["current_journey_stage"]].format(name=state["lead_name"] or "there")
        await self._ghl.send_text(state["lead_id"], text)
        return {
            "response_content": text,
            "follow_up_count": state["follow_up_count"] + 1,
            "last_action_timestamp": self._clock(),
        }


def base_tone(state: SellerState) -> Tone:
    """The tone without any prediction: a stall first, then commitment."""
    if state["stall_detected"]:
        return "UNDERSTANDING"
    if state["psychological_commitment"] < 30:
        return "EDUCATIONAL"
    return "ENTHUSIASTIC" if state["psychological_commitment"] >= 70 else "CONSULTATIVE"


def next_action(state: SellerState) -> Literal["respond", "follow_up", "end"]:
    """Answer what was said; follow up on silence, but not for ever; obey a refusal."""
    history = state["conversation_history"]
    last = history[-1] if history else None
    if last and last["role"] == "user":
        return "end" if OPT_OUT.search(last["content"]) else "respond"
    return "follow_up" if state["follow_up_count"] < FOLLOW_UP_LIMIT else "end"


def route(state: SellerState) -> str:
    """The node that carries out ``next_action``."""
    return {"respond": "generate_jorge_response", "follow_up": "execute_follow_up"}.get(
        state["next_action"], END
    )


def instructions(state: SellerState) -> str:
    """System prompt of a reply: who it is for, in which tone, against which stall."""
    profile = state["intent_profile"]
    lines = [
        "You are Jorge, a direct and honest home buyer in Rancho Cucamonga. Answer in two sentences.",
        f"Lead: {state['lead_name'] or 'unknown'}, {profile.classification}, {state['seller_temperature']}.",
        f"Tone: {state['current_tone']}.",
    ]
    lines += [f"Known {fact}: {value}." for fact, value in state["insights"].items()]
    if stall := state["detected_stall_type"]:
        lines.append(f"The lead stalls ({stall}). {COUNTER_ARGUMENTS[stall]}")
    return "\n".join(lines)
