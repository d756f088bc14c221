"""How long the bots, the API and the cache take for one operation.

Without a label the services answer at once, so the figures are the service's own cost, where a change
of the code shows. ``{profile=delayed}`` adds answers after 10–50 ms: what a lead has to wait for.
Every operation starts from the same input each time; nodes leave their input alone.
"""

import httpx
import pytest

from pytest_regression_gate import Measure
from tests.jorge.app import ChatRequest, Reply
from tests.jorge.bots import ListingCache
from tests.jorge.buyer import BuyerBot
from tests.jorge.fixtures import READY_BUYER, READY_SELLER, said
from tests.jorge.needs import Preferences
from tests.jorge.seller import SellerBot
from tests.jorge.services import ListingQuery
from tests.jorge.state import BuyerState, SellerState, new_buyer, new_seller
from tests.jorge.store import MemoryStore
from tests.jorge.transports import Simulation

pytestmark = pytest.mark.performance

STALLING_SELLER = (
    "Hi, I got your letter about my place in Victoria.",
    "The kitchen needs work. What would you pay, and how did you get to that figure?",
    "I have to think about it, maybe we can talk next week.",
)


def seller_bot(simulation: Simulation) -> SellerBot:
    services = simulation.services
    return SellerBot(services.claude, services.ghl, MemoryStore())


def buyer_bot(simulation: Simulation) -> BuyerBot:
    """A buyer bot without the cache in front of the MLS, so that every operation does the whole work."""
    services = simulation.services
    return BuyerBot(services.claude, services.ghl, services.mls.search, MemoryStore())


class TestLeadBotPerformance:
    """The seller bot, node by node and as a whole."""

    @pytest.fixture
    def bot(self, simulation: Simulation) -> SellerBot:
        return seller_bot(simulation)

    @pytest.fixture
    def state(self) -> SellerState:
        return new_seller("seller-1", "Ann", said(*STALLING_SELLER))

    async def test_analyze_intent(self, bot: SellerBot, state: SellerState, measure: Measure):
        update = await measure("bot.seller.analyze_intent", bot.analyze_intent, state)
        assert update["is_qualified"]
        assert update["seller_temperature"] == "hot"

    async def test_detect_stall(self, bot: SellerBot, state: SellerState, measure: Measure):
        update = await measure("bot.seller.detect_stall", bot.detect_stall, state)
        assert update == {"stall_detected": True, "detected_stall_type": "thinking"}

    async def test_select_strategy(self, bot: SellerBot, state: SellerState, measure: Measure):
        stalled: SellerState = {**state, **await bot.detect_stall(state)}  # pyright: ignore
        update = await measure("bot.seller.select_strategy", bot.select_strategy, stalled)
        assert update == {"current_tone": "UNDERSTANDING", "next_action": "respond"}

    @pytest.mark.measure(iterations=20)
    async def test_generate_jorge_response(
        self, bot: SellerBot, state: SellerState, delayed: Simulation, measure: Measure
    ):
        judged = await bot.run(state)
        slow = seller_bot(delayed)
        own = await measure("bot.seller.generate_jorge_response", bot.generate_jorge_response, judged)
        whole = await measure(
            "bot.seller.generate_jorge_response{profile=delayed}", slow.generate_jorge_response, judged
        )
        assert own["response_content"] == whole["response_content"] == judged["response_content"] != ""

    @pytest.mark.measure(iterations=20)
    async def test_full_workflow(
        self,
        bot: SellerBot,
        state: SellerState,
        simulation: Simulation,
        delayed: Simulation,
        measure: Measure,
    ):
        await bot.run(state)
        record_work(measure, "bot.seller.workflow", simulation)
        own = await measure("bot.seller.workflow", bot.run, state)
        whole = await measure("bot.seller.workflow{profile=delayed}", seller_bot(delayed).run, state)
        assert own["current_tone"] == whole["current_tone"] == "UNDERSTANDING"
        assert own["response_content"] == whole["response_content"] != ""


class TestBuyerBotPerformance:
    """The buyer bot, node by node and as a whole."""

    @pytest.fixture
    def bot(self, simulation: Simulation) -> BuyerBot:
        return buyer_bot(simulation)

    @pytest.fixture
    def state(self) -> BuyerState:
        return new_buyer("buyer-1", "Bob", said("Hi, we are house hunting.", READY_BUYER))

    async def test_analyze_buyer_intent(self, bot: BuyerBot, state: BuyerState, measure: Measure):
        update = await measure("bot.buyer.analyze_buyer_intent", bot.analyze_buyer_intent, state)
        assert update["buyer_temperature"] == "hot"
        assert update["is_qualified"]

    async def test_assess_financial_readiness(self, bot: BuyerBot, state: BuyerState, measure: Measure):
        judged = await bot.run(state)
        update = await measure("bot.buyer.assess_financial_readiness", bot.assess_financial_readiness, judged)
        assert update["financing_status"] == "pre_approved"
        assert (update["budget_range"].low, update["budget_range"].high) == (640_000, 800_000)

    async def test_match_properties(self, bot: BuyerBot, state: BuyerState, measure: Measure):
        judged = await bot.run(state)
        update = await measure("bot.buyer.match_properties", bot.match_properties, judged)
        assert len(update["matched_properties"]) == 5

    @pytest.mark.measure(iterations=20)
    async def test_generate_buyer_response(
        self, bot: BuyerBot, state: BuyerState, delayed: Simulation, measure: Measure
    ):
        judged = await bot.run(state)
        slow = buyer_bot(delayed)
        own = await measure("bot.buyer.generate_buyer_response", bot.generate_buyer_response, judged)
        whole = await measure(
            "bot.buyer.generate_buyer_response{profile=delayed}", slow.generate_buyer_response, judged
        )
        assert own["response_content"] == whole["response_content"]
        assert 0 < len(own["response_content"]) <= 160

    @pytest.mark.measure(iterations=20)
    async def test_full_workflow(
        self, bot: BuyerBot, state: BuyerState, simulation: Simulation, delayed: Simulation, measure: Measure
    ):
        await bot.run(state)
        record_work(measure, "bot.buyer.workflow", simulation)
        own = await measure("bot.buyer.workflow", bot.run, state)
        whole = await measure("bot.buyer.workflow{profile=delayed}", buyer_bot(delayed).run, state)
        assert own["is_qualified"]
        assert own["matched_properties"] == whole["matched_properties"] != []


class TestAPIOverhead:
    """What the API costs around the bots."""

    async def test_bots_health(self, client: httpx.AsyncClient, measure: Measure):
        response = await measure("api.health", client.get, "/api/bots/health")
        assert response.json()["status"] == "healthy"

    async def test_bot_list(self, client: httpx.AsyncClient, measure: Measure):
        response = await measure("api.bots", client.get, "/api/bots")
        assert [bot["id"] for bot in response.json()] == ["lead-bot", "jorge-seller-bot", "jorge-buyer-bot"]

    def test_request_serialisation(self, measure: Measure):
        incoming = ChatRequest(content=READY_SELLER, lead_id="seller-1", lead_name="Ann").model_dump_json()
        outgoing = Reply(
            lead_id="seller-1",
            response="Thanks, Ann.",
            next_action="respond",
            is_qualified=True,
            stage="closing",
        )

        def there_and_back() -> tuple[ChatRequest, str]:
            return ChatRequest.model_validate_json(incoming), outgoing.model_dump_json()

        request, body = measure("api.serialisation", there_and_back)
        assert request.content == READY_SELLER
        assert Reply.model_validate_json(body) == outgoing

    async def test_total_overhead(self, client: httpx.AsyncClient, measure: Measure):
        async def visit() -> list[int]:
            """What a client does before its first message, and a message that is refused."""
            overview = [
                await client.get(path)
                for path in ("/api/bots/health", "/api/bots", "/api/bots/jorge-seller-bot/status")
            ]
            refused = await client.post("/api/bots/jorge-seller-bot/chat", json={"content": ""})
            return [response.status_code for response in (*overview, refused)]

        assert await measure("api.total", visit) == [200, 200, 200, 422]


class TestCachePerformance:
    """The cache in front of the MLS."""

    async def test_hit(self, simulation: Simulation, measure: Measure):
        cache = ListingCache()
        search = simulation.services.mls.search
        listings = await cache.get_or_load(query(0), search)
        assert await measure("cache.hit", cache.get_or_load, query(0), search) == listings
        assert simulation.mls.requests == cache.misses == 1

    @pytest.mark.measure(iterations=20)
    async def test_miss_and_populate(self, simulation: Simulation, delayed: Simulation, measure: Measure):
        forgetful = ListingCache(max_age=0)
        own = await measure("cache.miss", forgetful.get_or_load, query(0), simulation.services.mls.search)
        whole = await measure(
            "cache.miss{profile=delayed}", forgetful.get_or_load, query(0), delayed.services.mls.search
        )
        assert own == whole != []
        assert forgetful.hits == 0
        assert len(forgetful) == 1

    async def test_hit_rate(self, simulation: Simulation, measure: Measure):
        cache = ListingCache()
        search = simulation.services.mls.search
        for known in range(8):
            await cache.get_or_load(query(known), search)
        loaded, found = cache.misses, cache.hits
        for turn in range(400):
            # Eight of ten look-ups ask for what is known, two for something never seen before.
            await cache.get_or_load(query(turn % 10 if turn % 10 < 8 else 100 + turn), search)
        loads, hits = cache.misses - loaded, cache.hits - found
        measure.record("cache.hit_rate", hits / (hits + loads), unit="ratio", better="higher")
        measure.count("cache.loads", loads)
        assert (hits, loads) == (320, 80)


def query(number: int) -> ListingQuery:
    """A search of its own for each number."""
    return ListingQuery(500_000, 700_000 + number, Preferences(bedrooms=3))


def record_work(measure: Measure, subject: str, simulation: Simulation) -> None:
    """Record what the services were asked for during the one workflow that has run so far."""
    for service, calls in simulation.calls.items():
        measure.count(f"{subject}.calls", calls, service=service)
    measure.count(f"{subject}.prompt_characters", simulation.claude.body_characters)
