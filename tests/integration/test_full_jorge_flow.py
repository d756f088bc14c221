"""Whole conversations through one bot or several, with every answer checked."""

from pathlib import Path

import pytest

from tests.jorge import handoff
from tests.jorge.bots import Bots
from tests.jorge.budget import BudgetRange
from tests.jorge.buyer import FALLBACK_REPLY, QUESTIONS, instructions
from tests.jorge.fixtures import READY_BUYER, READY_SELLER, said
from tests.jorge.lead import NURTURE_PLAN
from tests.jorge.seller import COUNTER_ARGUMENTS
from tests.jorge.seller import instructions as seller_instructions
from tests.jorge.state import BuyerState, new_buyer, new_lead, new_seller
from tests.jorge.store import SQLiteStore
from tests.jorge.transports import Simulation

pytestmark = pytest.mark.integration


class TestLeadQualificationFlow:
    """From the first message to the bot that answers it."""

    async def test_full_flow(self, bots: Bots, simulation: Simulation):
        state = await bots.qualify("lead-1", "I want to buy a 3 bedroom, my budget is $700k.", "Bea")

        lead = await bots.lead.conversations.find("lead-1")
        assert lead is not None
        assert (lead["path"], lead["next_action"]) == ("buyer", "hand_off")
        buyer = await bots.buyer.conversations.find("lead-1")
        assert buyer is not None
        assert state == buyer
        assert buyer["lead_name"] == "Bea"
        assert buyer["budget_range"] == BudgetRange(560_000, 700_000)
        assert buyer["response_content"] == QUESTIONS["timeline"]
        assert simulation.calls == {"claude": 0, "ghl": 2, "mls": 1}

    async def test_high_intent_takes_the_fast_track(self, bots: Bots, simulation: Simulation):
        await bots.qualify("lead-1", f"I'm looking for a house. {READY_BUYER}")

        buyer = await bots.buyer.conversations.find("lead-1")
        assert buyer is not None
        assert buyer["buyer_temperature"] == "hot"
        assert buyer["is_qualified"]
        assert len(buyer["matched_properties"]) == 5
        assert buyer["next_action"] == "present_properties"
        assert simulation.claude.requests == 1

    async def test_low_intent_is_nurtured(self, bots: Bots, simulation: Simulation):
        state = await bots.qualify("lead-1", "Just browsing, maybe next year I'd be looking for something.")

        lead = await bots.lead.conversations.find("lead-1")
        assert lead is not None
        assert state == lead
        assert (lead["path"], lead["next_action"]) == ("buyer", "nurture")
        assert not lead["is_qualified"]
        assert [(touch["day"], touch["channel"]) for touch in lead["nurture_plan"]] == [
            (3, "sms"),
            (7, "call"),
            (14, "email"),
            (30, "nudge"),
        ]
        assert await bots.buyer.conversations.find("lead-1") is None
        assert simulation.calls == {"claude": 0, "ghl": 1, "mls": 0}

    async def test_missing_data_is_no_error(self, bots: Bots):
        lead = await bots.lead.run(new_lead("lead-1"))
        seller = await bots.seller.run(new_seller("lead-1"))
        buyer = await bots.buyer.run(new_buyer("lead-1"))

        assert lead["path"] == "unknown"
        assert lead["nurture_plan"] == list(NURTURE_PLAN)
        assert seller["next_action"] == "follow_up"
        assert seller["current_tone"] == "EDUCATIONAL"
        assert buyer["next_action"] == "qualify_more"
        assert buyer["budget_range"] is None
        assert not buyer["is_qualified"]


class TestBuyerQualificationFlow:
    """Buyers, from hot to hopeless."""

    async def test_full_flow_node_by_node(self, bots: Bots):
        bot = bots.buyer
        state = new_buyer("buyer-1", "Bob", said(READY_BUYER))

        intent = await bot.analyze_buyer_intent(state)
        assert intent["buyer_temperature"] == "hot"
        assert intent["current_qualification_step"] == "property_search"
        state = following(state, intent)

        finances = await bot.assess_financial_readiness(state)
        assert finances["financing_status"] == "pre_approved"
        assert finances["budget_range"] == BudgetRange(640_000, 800_000)
        state = following(state, finances)

        needs = await bot.qualify_property_needs(state)
        assert needs["property_preferences"].bedrooms == 3
        assert needs["property_preferences"].features == ("garage",)
        assert needs["urgency_level"] == "immediate"
        state = following(state, needs)

        matches = await bot.match_properties(state)
        assert matches["next_action"] == "present_properties"
        for house in matches["matched_properties"]:
            assert 640_000 <= house["price"] <= 800_000
            assert house["bedrooms"] >= 3
            assert "garage" in house["features"]
        state = following(state, matches)

        reply = await bot.generate_buyer_response(state)
        assert 0 < len(reply["response_content"]) <= 160
        assert reply["properties_viewed_count"] == 5
        whole = await bot.run(new_buyer("buyer-1", "Bob", said(READY_BUYER)))
        assert whole["response_content"] == reply["response_content"]

    async def test_pre_approval_takes_the_fast_track(self, bots: Bots):
        state = await bots.buyer.process("buyer-1", "I'm pre-approved for $650k and want to move asap.")

        assert state["financing_status"] == "pre_approved"
        assert state["budget_range"] == BudgetRange(520_000, 650_000)
        assert state["financial_readiness_score"] >= 75
        assert state["is_qualified"]
        assert len(state["matched_properties"]) == 5
        assert state["response_content"] not in ("", FALLBACK_REPLY)

    async def test_budget_mismatch_calls_for_education(self, bots: Bots, simulation: Simulation):
        state = await bots.buyer.process("buyer-1", "I have $300k and need a 4-bedroom with a pool.")

        assert state["next_action"] == "educate_market"
        assert state["matched_properties"] == []
        assert state["properties_viewed_count"] == 0
        assert simulation.claude.requests == 0

    async def test_buyer_qualifies_over_several_turns(self, bots: Bots):
        first = await bots.buyer.process("buyer-1", "Hi, I saw your sign.")
        assert not first["is_qualified"]
        assert first["response_content"] == QUESTIONS["budget"]

        second = await bots.buyer.process("buyer-1", "Around $700k, and I'm pre-approved.")
        assert not second["is_qualified"]
        assert second["current_qualification_step"] == "timeline"

        third = await bots.buyer.process("buyer-1", "My lease ends, so within 30 days. 3 bedrooms.")
        assert third["is_qualified"]
        assert third["matched_properties"]
        assert third["budget_range"] == BudgetRange(560_000, 700_000)


class TestSellerAnalysisFlow:
    """Sellers, and what holds them back."""

    async def test_full_flow(self, bots: Bots, simulation: Simulation):
        state = await bots.seller.process("seller-1", READY_SELLER, "Ann")

        profile = state["intent_profile"]
        assert profile.frs == pytest.approx(0.35 * 85 + 0.30 * 90 + 0.20 * 85 + 0.15 * 50)
        assert profile.classification == "Hot"
        assert state["is_qualified"]
        assert state["current_journey_stage"] == "closing"
        assert state["current_tone"] == "CONSULTATIVE"
        assert state["conversation_history"][-1]["content"] == state["response_content"] != ""
        assert simulation.calls == {"claude": 1, "ghl": 0, "mls": 0}

    async def test_stall_and_recovery(self, bots: Bots):
        stalled = await bots.seller.process(
            "seller-1", "Let me think about it and get back to you next week."
        )
        assert stalled["detected_stall_type"] == "thinking"
        assert stalled["current_tone"] == "UNDERSTANDING"
        assert COUNTER_ARGUMENTS["thinking"] in seller_instructions(stalled)

        recovered = await bots.seller.process("seller-1", "All right, what would you pay?")
        assert not recovered["stall_detected"]
        assert recovered["detected_stall_type"] is None
        assert recovered["current_tone"] != "UNDERSTANDING"
        assert recovered["response_content"] != stalled["response_content"]

    async def test_hot_lead_is_accelerated(self, bots: Bots):
        state = await bots.seller.process(
            "seller-1",
            "We are behind on payments and need to sell fast. The house needs work and we sell it as-is. "
            "Can you call me asap? What would you pay? How soon can you close?",
        )

        assert state["intent_profile"].classification == "Hot"
        assert state["seller_temperature"] == "hot"
        assert state["psychological_commitment"] >= 70
        assert state["current_tone"] == "ENTHUSIASTIC"

    async def test_objection_is_recognised(self, bots: Bots):
        state = await bots.seller.process("seller-1", "Zillow says $950k, so your offer is too low.")

        assert state["detected_stall_type"] == "zestimate"
        assert state["current_tone"] == "UNDERSTANDING"
        assert COUNTER_ARGUMENTS["zestimate"] in seller_instructions(state)


class TestConversationPersistence:
    """What is known stays known, in memory and on disk."""

    async def test_state_survives_turns_and_restarts(self, simulation: Simulation, tmp_path: Path):
        path = tmp_path / "conversations.sqlite"
        await Bots.over(simulation.services, store=SQLiteStore(path)).seller.process(
            "seller-1", "I got your letter. The house is a fixer.", "Ann"
        )
        restarted = Bots.over(simulation.services, store=SQLiteStore(path))
        state = await restarted.seller.process("seller-1", "We are getting a divorce.")

        assert [message["role"] for message in state["conversation_history"]] == ["user", "assistant"] * 2
        assert state["lead_name"] == "Ann"
        assert state["intent_profile"].condition == state["intent_profile"].motivation == 85
        assert await restarted.seller.conversations.find("seller-1") == state

    async def test_partial_qualification_is_kept(self, bots: Bots):
        first = await bots.buyer.process("buyer-1", "I'm pre-approved for $700k, 3 bedrooms please.")
        later = await bots.buyer.process("buyer-1", "Thanks!")

        for field in ("budget_range", "financing_status", "property_preferences", "matched_properties"):
            assert later[field] == first[field]
        assert later["financial_readiness_score"] == 90
        assert later["current_qualification_step"] == "timeline"

    async def test_seller_who_buys_keeps_the_context(self, bots: Bots):
        seller = await bots.seller.process(
            "lead-1", "I want to sell my condo asap, then buy up to $800k.", "Cy"
        )
        buyer = await bots.seller_to_buyer(seller)

        assert buyer["lead_name"] == "Cy"
        assert buyer["conversation_history"][:2] == seller["conversation_history"]
        assert buyer["budget_range"] == BudgetRange(640_000, 800_000)
        assert buyer["insights"]["seller class"] == seller["intent_profile"].classification
        assert buyer["current_qualification_step"] not in ("budget", "timeline")


class TestCrossBotCommunication:
    """Hand-offs from bot to bot."""

    async def test_lead_to_buyer(self, bots: Bots):
        await bots.qualify("lead-1", "I'm looking for a home in Haven and have a mortgage pre-approved.")
        lead = await bots.lead.conversations.find("lead-1")
        buyer = await bots.buyer.conversations.find("lead-1")

        assert lead is not None
        assert lead["path"] == "buyer"
        assert buyer is not None
        assert buyer["conversation_history"][:1] == lead["conversation_history"]
        assert buyer["property_preferences"].areas == ("Haven",)
        assert await bots.seller.conversations.find("lead-1") is None

        again = await bots.qualify("lead-1", "My budget is $650k.")
        assert again == await bots.buyer.conversations.find("lead-1")
        assert len(again["conversation_history"]) == 4

    async def test_lead_to_seller(self, bots: Bots):
        await bots.qualify("lead-1", "I'm considering selling. What is my home value?")
        lead = await bots.lead.conversations.find("lead-1")
        seller = await bots.seller.conversations.find("lead-1")

        assert lead is not None
        assert lead["path"] == "seller"
        assert seller is not None
        assert seller["next_action"] == "respond"
        assert seller["is_qualified"]
        assert seller["response_content"] != ""
        assert await bots.buyer.conversations.find("lead-1") is None

    async def test_intelligence_is_preserved(self, bots: Bots):
        lead = await bots.lead.process(
            "lead-1", "I want to buy: $600k to $750k budget, 4 bedrooms with a yard in Etiwanda.", "Di"
        )
        passed = handoff.from_lead(lead, "buyer")
        buyer = await bots.buyer.accept(passed)

        assert passed.scores == lead["scores"]
        assert buyer["insights"] == {
            "budget": "$600,000–$750,000",
            "bedrooms": "4",
            "features": "yard",
            "areas": "Etiwanda",
        }
        assert all(
            f"Known {fact}: {value}." in instructions(buyer) for fact, value in buyer["insights"].items()
        )
        assert buyer["current_qualification_step"] == "timeline"
        assert buyer["response_content"] == QUESTIONS["timeline"]


def following(state: BuyerState, update: dict[str, object]) -> BuyerState:
    """The state a node's successor sees."""
    return BuyerState(**{**state, **update})  # pyright: ignore
