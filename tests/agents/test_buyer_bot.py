"""The buyer bot's nodes and routes."""

from typing import Any

import httpx
import pytest

from tests.jorge.bots import Bots
from tests.jorge.budget import BudgetRange
from tests.jorge.buyer import ATTEMPTS, FALLBACK_REPLY, TEXT_LIMIT, BuyerBot, financing_status, route
from tests.jorge.fixtures import READY_BUYER, said
from tests.jorge.needs import Preferences
from tests.jorge.scoring import BuyerIntent
from tests.jorge.state import BuyerState, Listing, new_buyer
from tests.jorge.store import MemoryStore
from tests.jorge.transports import Simulation, answer_as_ghl, claude_says

HOUSE = Listing(id="1", area="Haven", price=600_000, bedrooms=3, bathrooms=2, features=[])


@pytest.fixture
def bot(bots: Bots) -> BuyerBot:
    return bots.buyer


def buyer(*messages: str, **fields: Any) -> BuyerState:
    """A buyer who said something, with some fields set."""
    return BuyerState(**{**new_buyer("buyer-1", "Bob", said(*messages)), **fields})  # pyright: ignore


class Pauses:
    """Remembers how long it was asked to sleep, and does not."""

    def __init__(self):
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def patient_bot(simulation: Simulation) -> tuple[BuyerBot, Pauses]:
    services, pauses = simulation.services, Pauses()
    bot = BuyerBot(services.claude, services.ghl, services.mls.search, MemoryStore(), sleep=pauses)
    return bot, pauses


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({"financing": 75}, "pre_approved"),
        ({"financing": 74, "budget_clarity": 90}, "needs_approval"),
        ({"financing": 50}, "needs_approval"),
        ({"financing": 49, "budget_clarity": 70}, "cash"),
        ({"financing": 49, "budget_clarity": 69}, "unknown"),
    ],
)
def test_financing_status_starts_at_its_bound(scores: dict[str, float], expected: str):
    assert financing_status(BuyerIntent(**scores)) == expected


@pytest.mark.parametrize("failures", [(503,), (429, 502), (httpx.ConnectError("refused"), 500)])
async def test_transient_errors_are_retried_with_growing_pauses(
    simulation: Simulation, failures: tuple[Exception | int, ...]
):
    bot, pauses = patient_bot(simulation)
    simulation.ghl.fail_next(*failures)
    update = await bot.analyze_buyer_intent(buyer(READY_BUYER))
    assert update["analysis_status"] == "complete"
    assert pauses.seconds == [0.1, 0.2][: len(failures)]


async def test_status_tells_when_the_crm_stays_away(simulation: Simulation):
    bot, pauses = patient_bot(simulation)
    simulation.ghl.fail_next(*[503] * ATTEMPTS)
    update = await bot.analyze_buyer_intent(buyer(READY_BUYER, crm_messages=["My wife and I agree."]))
    assert update["analysis_status"] == "crm_unavailable"
    assert update["crm_messages"] == ["My wife and I agree."]
    assert update["buyer_temperature"] == "hot"
    assert simulation.ghl.requests == ATTEMPTS
    assert pauses.seconds == [0.1, 0.2]


async def test_final_errors_are_not_retried(simulation: Simulation):
    bot, pauses = patient_bot(simulation)
    simulation.ghl.fail_next(401)
    update = await bot.analyze_buyer_intent(buyer("Hello"))
    assert update["analysis_status"] == "crm_unavailable"
    assert pauses.seconds == []


async def test_other_channels_count(simulation: Simulation):
    ghl = answer_as_ghl({"buyer-1": ["I'm pre-approved for $700k."], "other": ["$100k"]})
    bot = Bots.over(Simulation.start(ghl=ghl).services).buyer
    state = await bot.process("buyer-1", "Three bedrooms, please.")
    assert state["financing_status"] == "pre_approved"
    assert state["budget_range"] == BudgetRange(560_000, 700_000)


async def test_budget_known_before_is_kept(bot: BuyerBot):
    known = BudgetRange(500_000, 600_000)
    assert (await bot.assess_financial_readiness(buyer("Hi", budget_range=known)))["budget_range"] == known


async def test_needs_and_urgency_are_read(bot: BuyerBot):
    state = buyer("4 bedrooms with a pool", intent_profile=BuyerIntent(urgency=60))
    assert await bot.qualify_property_needs(state) == {
        "property_preferences": Preferences(bedrooms=4, features=("pool",)),
        "urgency_level": "3_months",
    }


async def test_without_budget_there_is_no_search(bot: BuyerBot, simulation: Simulation):
    assert await bot.match_properties(buyer()) == {"matched_properties": [], "next_action": "qualify_more"}
    assert simulation.mls.requests == 0


async def test_matches_fit_budget_and_wishes(bot: BuyerBot):
    wishes = Preferences(bedrooms=3, bathrooms=2.5, features=("yard",), areas=("Haven", "Victoria"))
    update = await bot.match_properties(
        buyer(budget_range=BudgetRange(400_000, 700_000), property_preferences=wishes)
    )
    assert update["next_action"] == "present_properties"
    assert 0 < len(update["matched_properties"]) <= 5
    for house in update["matched_properties"]:
        assert 400_000 <= house["price"] <= 700_000
        assert house["bedrooms"] >= 3
        assert house["bathrooms"] >= 2.5
        assert "yard" in house["features"]
        assert house["area"] in ("Haven", "Victoria")


async def test_nothing_in_budget_calls_for_education(bot: BuyerBot):
    wishes = Preferences(bedrooms=4, features=("pool",))
    state = buyer(budget_range=BudgetRange(240_000, 300_000), property_preferences=wishes)
    assert await bot.match_properties(state) == {"matched_properties": [], "next_action": "educate_market"}


@pytest.mark.parametrize(
    ("matches", "readiness", "expected"),
    [
        ([HOUSE], 50, "generate_buyer_response"),
        ([HOUSE], 49, "schedule_next_action"),
        ([], 90, "schedule_next_action"),
        ([], 30, "schedule_next_action"),
        ([HOUSE], 29, "__end__"),
        ([], 29, "__end__"),
    ],
)
def test_route_follows_matches_and_readiness(matches: list[Listing], readiness: float, expected: str):
    assert route(buyer(matched_properties=matches, financial_readiness_score=readiness)) == expected


@pytest.mark.parametrize("answer", [claude_says(" "), httpx.Response(503), httpx.Response(400)])
async def test_fallback_replaces_a_missing_reply(answer: httpx.Response):
    bot = Bots.over(Simulation.start(claude=lambda _: answer).services).buyer
    assert (await bot.process("buyer-1", READY_BUYER))["response_content"] == FALLBACK_REPLY


async def test_long_reply_is_cut_to_one_text_message():
    bot = Bots.over(Simulation.start(claude=lambda _: claude_says("lovely house " * 40)).services).buyer
    reply = (await bot.process("buyer-1", READY_BUYER))["response_content"]
    assert len(reply) <= TEXT_LIMIT
    assert reply.endswith("house…")


@pytest.mark.parametrize(
    ("readiness", "hours"), [(75, 2), (74, 24), (50, 24), (49, 72), (30, 72), (29, 168), (0, 168)]
)
async def test_task_fits_the_readiness(bot: BuyerBot, simulation: Simulation, readiness: float, hours: int):
    update = await bot.schedule_next_action(buyer(financial_readiness_score=readiness))
    assert update["scheduled_task"]["due_in_hours"] == hours
    assert simulation.calls == {"claude": 0, "ghl": 1, "mls": 0}


async def test_workflow_asks_each_service_once(bot: BuyerBot, simulation: Simulation):
    await bot.run(buyer(READY_BUYER))
    assert simulation.calls == {"claude": 1, "ghl": 1, "mls": 1}


async def test_nodes_leave_their_input_alone(bot: BuyerBot):
    state = buyer(READY_BUYER)
    await bot.run(state)
    assert state == buyer(READY_BUYER)


async def test_viewed_properties_add_up(bot: BuyerBot):
    await bot.process("buyer-1", READY_BUYER)
    assert (await bot.process("buyer-1", "What else is there?"))["properties_viewed_count"] == 10
