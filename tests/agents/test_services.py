"""The clients of the external services, and the transports that stand in for them."""

from collections import Counter

import httpx
import pytest

from tests.jorge import transports
from tests.jorge.inventory import inventory
from tests.jorge.lead import NURTURE_PLAN
from tests.jorge.needs import AREAS, Preferences
from tests.jorge.services import ListingQuery, ServiceError, TransientServiceError
from tests.jorge.state import Task
from tests.jorge.transports import Simulation, answer_as_ghl


async def test_claude_joins_the_text_blocks():
    def answer(_: httpx.Request) -> httpx.Response:
        blocks = [{"type": "text", "text": "Hello "}, {"type": "tool_use", "id": "1"}]
        return httpx.Response(200, json={"content": [*blocks, {"type": "text", "text": "Ann. "}]})

    claude = Simulation.start(claude=answer).services.claude
    assert await claude.complete("be kind", "hi") == "Hello Ann."


@pytest.mark.parametrize("tone", ["UNDERSTANDING", "EDUCATIONAL", "ENTHUSIASTIC", "BUYER"])
async def test_simulated_claude_answers_in_the_tone_asked_for(simulation: Simulation, tone: str):
    claude = simulation.services.claude
    assert await claude.complete(f"Tone: {tone}.", "hi") != await claude.complete("Tone: CONSULTATIVE.", "hi")


async def test_ghl_returns_inbound_messages_only():
    def answer(_: httpx.Request) -> httpx.Response:
        messages = [{"direction": "inbound", "body": "a"}, {"direction": "outbound", "body": "b"}]
        return httpx.Response(200, json={"messages": messages})

    assert await Simulation.start(ghl=answer).services.ghl.inbound_messages("c") == ["a"]


async def test_ghl_requests_name_contact_and_kind():
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(f"{request.method} {request.url.path}")
        return answer_as_ghl()(request)

    ghl = Simulation.start(ghl=answer).services.ghl
    await ghl.send_text("c", "Hello")
    await ghl.add_task("c", Task(title="Call", due_in_hours=2))
    await ghl.add_tags("c", ["buyer-lead"])
    await ghl.enrol("c", NURTURE_PLAN)
    assert seen == [
        "POST /contacts/c/messages",
        "POST /contacts/c/tasks",
        "POST /contacts/c/tags",
        "POST /contacts/c/sequences",
    ]


async def test_mls_search_is_cheapest_first_and_limited(simulation: Simulation):
    query = ListingQuery(0, 2_000_000, Preferences(areas=("Terra Vista",)), limit=7)
    prices = [house["price"] for house in await simulation.services.mls.search(query)]
    assert prices == sorted(prices)
    assert len(prices) == 7


@pytest.mark.parametrize("failure", [429, 500, 502, 503, 504, httpx.ReadTimeout("slow")])
async def test_overload_and_lost_connections_are_transient(simulation: Simulation, failure: Exception | int):
    simulation.claude.fail_next(failure)
    with pytest.raises(TransientServiceError, match="POST /v1/messages"):
        await simulation.services.claude.complete("be kind", "hi")


@pytest.mark.parametrize("failure", [400, 401, 404])
async def test_refusals_are_final(simulation: Simulation, failure: int):
    simulation.mls.fail_next(failure)
    with pytest.raises(ServiceError, match=f"status {failure}") as caught:
        await simulation.services.mls.search(ListingQuery(1, 2, Preferences()))
    assert not isinstance(caught.value, TransientServiceError)


async def test_answer_that_is_not_json_is_an_error():
    claude = Simulation.start(claude=lambda _: httpx.Response(200, text="<html>")).services.claude
    with pytest.raises(ServiceError, match="not JSON"):
        await claude.complete("be kind", "hi")


async def test_work_is_counted_failures_included(simulation: Simulation):
    simulation.claude.fail_next(500)
    with pytest.raises(ServiceError):
        await simulation.services.claude.complete("be kind", "hi")
    failed = simulation.claude.body_characters
    await simulation.services.claude.complete("be kind", "hi")
    assert simulation.calls == {"claude": 2, "ghl": 0, "mls": 0}
    assert simulation.claude.body_characters == 2 * failed > 0


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the transports slept, without sleeping."""
    seconds: list[float] = []

    async def sleep(duration: float) -> None:
        seconds.append(duration)

    monkeypatch.setattr(transports.asyncio, "sleep", sleep)
    return seconds


async def delays_of(seed: int, slept: list[float]) -> list[float]:
    slept.clear()
    claude = Simulation.start("delayed", seed=seed).services.claude
    for _ in range(50):
        await claude.complete("be kind", "hi")
    return list(slept)


async def test_delays_depend_on_the_seed_alone(slept: list[float]):
    first = await delays_of(1, slept)
    assert all(0.010 <= delay <= 0.050 for delay in first)
    assert await delays_of(1, slept) == first
    assert await delays_of(2, slept) != first


async def test_zero_profile_never_sleeps(simulation: Simulation, slept: list[float]):
    await simulation.services.claude.complete("be kind", "hi")
    assert slept == []


def test_inventory_covers_areas_and_sizes_alike():
    houses = inventory()
    assert len({house["id"] for house in houses}) == len(houses) == 100
    assert Counter(house["area"] for house in houses) == dict.fromkeys(AREAS, 20)
    assert Counter(house["bedrooms"] for house in houses) == dict.fromkeys(range(2, 6), 25)
