"""The seller bot's nodes and routes."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.jorge.bots import Bots
from tests.jorge.fixtures import READY_SELLER, said
from tests.jorge.seller import (
    COUNTER_ARGUMENTS,
    FALLBACK_REPLY,
    FOLLOW_UP_LIMIT,
    FOLLOW_UPS,
    SellerBot,
    instructions,
)
from tests.jorge.services import TransientServiceError
from tests.jorge.state import Message, SellerState, Tone, new_seller
from tests.jorge.store import MemoryStore
from tests.jorge.transports import Simulation, claude_says


@pytest.fixture
def bot(bots: Bots) -> SellerBot:
    return bots.seller


def seller(*messages: str, **fields: Any) -> SellerState:
    """A seller who said something, with some fields set."""
    return SellerState(**{**new_seller("seller-1", "Ann", said(*messages)), **fields})  # pyright: ignore


@pytest.mark.parametrize(
    ("message", "stall"),
    [
        ("I have to think about it.", "thinking"),
        ("We are still considering.", "thinking"),
        ("I'll get back to you.", "get_back"),
        ("I'm too busy.", "get_back"),
        ("Zillow says $950k.", "zestimate"),
        ("The online value is higher.", "zestimate"),
        ("I have a realtor.", "agent"),
        ("I'm with someone already.", "agent"),
        ("Let me think, my agent is away until next week.", "thinking"),
        ("My agent is away until next week.", "get_back"),
        ("When can you come?", None),
        ("How is business?", None),
    ],
)
async def test_stall_is_the_first_that_matches(bot: SellerBot, message: str, stall: str | None):
    update = await bot.detect_stall(seller(message))
    assert update == {"stall_detected": stall is not None, "detected_stall_type": stall}


async def test_only_the_last_message_of_the_lead_stalls(bot: SellerBot):
    state = seller("I have to think.", "All right, come by.")
    state["conversation_history"].append(Message(role="assistant", content="Let me think."))
    assert (await bot.detect_stall(state))["detected_stall_type"] is None


async def test_silence_is_no_stall(bot: SellerBot):
    assert (await bot.detect_stall(seller()))["stall_detected"] is False


@pytest.mark.parametrize(
    ("stalls", "pcs", "tone"),
    [
        (True, 90, "UNDERSTANDING"),
        (True, 10, "UNDERSTANDING"),
        (False, 29.9, "EDUCATIONAL"),
        (False, 30, "CONSULTATIVE"),
        (False, 69.9, "CONSULTATIVE"),
        (False, 70, "ENTHUSIASTIC"),
    ],
)
async def test_tone_follows_stall_and_commitment(bot: SellerBot, stalls: bool, pcs: float, tone: str):
    state = seller("Hello", stall_detected=stalls, psychological_commitment=pcs)
    assert (await bot.select_strategy(state))["current_tone"] == tone


async def test_prediction_refines_the_tone(simulation: Simulation):
    async def predict(state: SellerState, tone: Tone) -> Tone:
        assert (state["lead_id"], tone) == ("seller-1", "EDUCATIONAL")
        return "ENTHUSIASTIC"

    services = simulation.services
    bot = SellerBot(services.claude, services.ghl, MemoryStore(), predict=predict)
    assert (await bot.select_strategy(seller("Hello")))["current_tone"] == "ENTHUSIASTIC"


async def test_base_rule_holds_when_the_prediction_fails(simulation: Simulation):
    async def predict(state: SellerState, tone: Tone) -> Tone:
        raise TransientServiceError("no prediction")

    services = simulation.services
    bot = SellerBot(services.claude, services.ghl, MemoryStore(), predict=predict)
    assert (await bot.select_strategy(seller("Hello")))["current_tone"] == "EDUCATIONAL"


async def test_bot_words_do_not_count_as_intent(bot: SellerBot):
    state = seller("Hello")
    alone = await bot.analyze_intent(state)
    state["conversation_history"].append(Message(role="assistant", content="Call me asap? A divorce?"))
    assert (await bot.analyze_intent(state))["intent_profile"] == alone["intent_profile"]


@pytest.mark.parametrize(
    ("message", "stage"),
    [
        (READY_SELLER, "closing"),
        ("Hello", "qualification"),
        ("Just browsing, no rush, it is perfect.", "nurture"),
    ],
)
async def test_journey_stage_follows_the_class(bot: SellerBot, message: str, stage: str):
    assert (await bot.analyze_intent(seller(message)))["current_journey_stage"] == stage


async def test_nodes_leave_their_input_alone(bot: SellerBot):
    state = seller(READY_SELLER)
    await bot.run(state)
    assert state == seller(READY_SELLER)


async def test_reply_is_one_call_with_all_that_is_known(simulation: Simulation):
    bodies: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return claude_says("  Let us talk.  ")

    bot = Bots.over(Simulation.start(claude=answer).services).seller
    state = await bot.process("seller-1", "I have to think about it.", "Ann")
    assert state["response_content"] == "Let us talk."
    (body,) = bodies
    assert body["messages"] == [{"role": "user", "content": "I have to think about it."}]
    for part in ("Ann", "Warm", "UNDERSTANDING", "thinking", COUNTER_ARGUMENTS["thinking"]):
        assert part in body["system"]


@pytest.mark.parametrize("answer", [claude_says(""), httpx.Response(503), httpx.Response(400)])
async def test_fallback_replaces_a_missing_reply(answer: httpx.Response):
    bot = Bots.over(Simulation.start(claude=lambda _: answer).services).seller
    assert (await bot.process("seller-1", "Hello"))["response_content"] == FALLBACK_REPLY


def test_counter_argument_needs_a_stall():
    prompt = instructions(seller("Hello"))
    assert not any(argument in prompt for argument in COUNTER_ARGUMENTS.values())


@pytest.mark.parametrize("stage", FOLLOW_UPS)
async def test_follow_up_fits_the_journey_stage(bot: SellerBot, simulation: Simulation, stage: Any):
    update = await bot.execute_follow_up(seller(current_journey_stage=stage, follow_up_count=1))
    assert update["response_content"] == FOLLOW_UPS[stage].format(name="Ann")
    assert update["follow_up_count"] == 2
    assert simulation.calls == {"claude": 0, "ghl": 1, "mls": 0}


async def test_silence_is_followed_up_until_the_limit(bot: SellerBot, simulation: Simulation):
    state = seller()
    for _ in range(FOLLOW_UP_LIMIT + 2):
        state = await bot.run(state)
    assert state["follow_up_count"] == simulation.ghl.requests == FOLLOW_UP_LIMIT
    assert state["next_action"] == "end"


async def test_messages_of_one_lead_wait_for_each_other(delayed: Simulation):
    bot = Bots.over(delayed.services).seller
    await asyncio.gather(*(bot.process("seller-1", f"message {number}") for number in range(5)))
    state = await bot.conversations.find("seller-1")
    assert state is not None
    assert [message["role"] for message in state["conversation_history"]] == ["user", "assistant"] * 5


async def test_refusal_ends_the_conversation(bot: SellerBot, simulation: Simulation):
    state = await bot.process("seller-1", "Unsubscribe me please.")
    assert (state["next_action"], state["response_content"]) == ("end", "")
    assert simulation.calls == {"claude": 0, "ghl": 0, "mls": 0}
