"""How the API and the bots behave when many leads come at once."""

import gc
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import httpx
import pytest

from pytest_regression_gate import Measure, ResourceUsage
from pytest_regression_gate.load import drive
from tests.jorge.bots import Bots
from tests.jorge.fixtures import READY_BUYER, READY_SELLER, events
from tests.jorge.transports import Simulation

pytestmark = pytest.mark.performance

Request: TypeAlias = Callable[[int, int], Awaitable[bool]]

SELLER = "/api/bots/jorge-seller-bot"


ENOUGH = 2000
"""Requests behind a 99th percentile; fewer users repeat their visit more often."""


def visit(client: httpx.AsyncClient) -> Request:
    """What users do, request by request; True when the answer is right.

    Everybody looks at health, list, status and summary. Every fifth user sends a message, the others
    look at another status meanwhile: many watch, few write at the same moment.
    """

    async def request(user: int, index: int) -> bool:
        match index % 5:
            case 0:
                return (await client.get("/api/bots/health")).json()["status"] == "healthy"
            case 1:
                return len((await client.get("/api/bots")).json()) == 3
            case 2 if user % 5 == 0:
                message = {"content": READY_SELLER, "lead_id": f"user-{user}-{index}"}
                *_, (last, _) = events((await client.post(f"{SELLER}/chat", json=message)).text)
                return last == "complete"
            case 2 | 3:
                return (await client.get(f"{SELLER}/status")).json()["status"] == "online"
            case _:
                return (await client.get("/api/performance/summary")).json()["requests"]["server_errors"] == 0

    return request


class TestConcurrentAPILoad:
    """Users with five requests each: health, list, chat, status, summary."""

    @pytest.mark.parametrize("users", [10, 25, 50, 100, pytest.param(200, marks=pytest.mark.slow)])
    async def test_users(self, users: int, client: httpx.AsyncClient, measure: Measure):
        request = visit(client)
        load = await measure.load(
            f"load.api{{users={users}}}", request, users=users, requests=5, repeat=ENOUGH // (5 * users)
        )
        assert load.errors == 0, load.first_error


class TestBotConcurrentProcessing:
    """Leads who write to the bots at once, each message from somebody new, over delayed services."""

    @pytest.fixture
    def bots(self, delayed: Simulation) -> Bots:
        return Bots.over(delayed.services)

    async def test_buyers(self, bots: Bots, measure: Measure):
        await self.check(measure, "buyer", buyers(bots), users=50)

    async def test_sellers(self, bots: Bots, measure: Measure):
        await self.check(measure, "seller", sellers(bots), users=50)

    @pytest.mark.slow
    async def test_mixed(self, bots: Bots, measure: Measure):
        by_kind = buyers(bots), sellers(bots)

        async def request(user: int, index: int) -> bool:
            return await by_kind[user % 2](user, index)

        await self.check(measure, "mixed", request, users=60)

    async def check(self, measure: Measure, bot: str, request: Request, *, users: int) -> None:
        load = await measure.load(f"load.bots{{bot={bot}}}", request, users=users, requests=5, repeat=2)
        assert load.errors == 0, load.first_error


def buyers(bots: Bots) -> Request:
    async def request(user: int, index: int) -> bool:
        state = await bots.buyer.process(f"buyer-{user}-{index}", READY_BUYER)
        return state["is_qualified"] and len(state["matched_properties"]) == 5

    return request


def sellers(bots: Bots) -> Request:
    async def request(user: int, index: int) -> bool:
        state = await bots.seller.process(f"seller-{user}-{index}", READY_SELLER)
        return state["is_qualified"] and state["intent_profile"].classification == "Hot"

    return request


class TestResourceUtilization:
    """Memory and CPU of the process with 100 users."""

    async def test_memory(self, client: httpx.AsyncClient, measure: Measure):
        request = visit(client)
        await drive(request, users=100, requests=5)
        gc.collect()
        with ResourceUsage() as usage:
            load = await drive(request, users=100, requests=20)
        measure.record("resources.memory.peak", usage.peak, unit="MB")
        measure.record("resources.memory.growth", usage.growth, unit="MB")
        assert load.errors == 0, load.first_error

    async def test_cpu(self, client: httpx.AsyncClient, measure: Measure):
        request = visit(client)
        await drive(request, users=10, requests=5)
        with ResourceUsage() as usage:
            load = await drive(request, users=100, requests=20)
        assert usage.cpu is not None, "the load was over before the clock moved"
        measure.record("resources.cpu.mean", usage.cpu, unit="ratio")
        assert load.errors == 0, load.first_error
