"""The lead bot's decisions, and the hand-off."""

import pytest

from tests.jorge import handoff
from tests.jorge.bots import Bots
from tests.jorge.fixtures import said
from tests.jorge.lead import NURTURE_PLAN, NURTURE_REPLY
from tests.jorge.state import new_lead, new_seller
from tests.jorge.transports import Simulation


@pytest.mark.parametrize(
    ("message", "path"),
    [
        ("I'm looking for a 3 bedroom.", "buyer"),
        ("We want to buy and have a mortgage.", "buyer"),
        ("I'd like to list my condo.", "seller"),
        ("I'm considering selling, what is the home value?", "seller"),
        ("I want to sell my house and have a budget of $500k.", "unknown"),
        ("I need to sell. List my house, please; my budget is open.", "seller"),
        ("Hello", "unknown"),
        ("", "unknown"),
    ],
)
async def test_larger_count_decides(bots: Bots, message: str, path: str):
    assert (await bots.lead.run(new_lead("lead-1", history=said(message))))["path"] == path


@pytest.mark.parametrize(
    ("message", "ready"),
    [
        ("I'm looking for a house.", True),
        ("I'm looking for a house, someday.", False),
        ("I'd like to list my house.", True),
        ("I might list my house, but I'm not sure.", False),
        ("Hello", False),
    ],
)
async def test_low_scores_are_nurtured(bots: Bots, message: str, ready: bool):
    state = await bots.lead.run(new_lead("lead-1", history=said(message)))
    assert state["is_qualified"] is ready
    assert state["next_action"] == ("hand_off" if ready else "nurture")


async def test_nurture_sends_one_plan_to_the_crm(bots: Bots, simulation: Simulation):
    state = await bots.lead.process("lead-1", "Hello")
    assert state["nurture_plan"] == list(NURTURE_PLAN)
    assert state["response_content"] == NURTURE_REPLY
    assert simulation.calls == {"claude": 0, "ghl": 1, "mls": 0}


async def test_nurtured_lead_is_handed_over_once_ready(bots: Bots):
    assert (await bots.qualify("lead-1", "Hello"))["next_action"] == "nurture"
    await bots.qualify("lead-1", "I'm looking for a 3 bedroom.")
    assert await bots.buyer.conversations.find("lead-1") is not None


async def test_handed_over_lead_stays_with_the_bot(bots: Bots):
    await bots.qualify("lead-1", "I'd like to list my house.")
    state = await bots.qualify("lead-1", "My budget? I'm looking for a fair price, 4 bedrooms.")
    assert state == await bots.seller.conversations.find("lead-1")
    assert await bots.buyer.conversations.find("lead-1") is None


def test_handoff_of_a_seller_carries_the_objection():
    seller = new_seller("lead-1", "Ann", said("Zillow says more. I also want 3 bedrooms in Haven."))
    seller["detected_stall_type"] = "zestimate"
    passed = handoff.from_seller(seller)
    assert (passed.source, passed.target, passed.lead_name) == ("seller", "buyer", "Ann")
    assert list(passed.conversation_history) == seller["conversation_history"]
    assert passed.scores == {"frs": 50.0, "pcs": 0.0}
    assert passed.insights == {
        "bedrooms": "3",
        "areas": "Haven",
        "seller class": "Warm",
        "seller temperature": "cold",
        "seller objection": "zestimate",
    }


def test_facts_of_silence_are_none():
    assert handoff.facts([]) == {}
