"""Fixtures of the gated suites. Their conftest files import them, so that other tests need no service."""

from collections.abc import AsyncIterator, Iterable

import httpx
import pytest

from tests.jorge.app import create_app
from tests.jorge.bots import Bots
from tests.jorge.state import Message
from tests.jorge.transports import Simulation

READY_SELLER = "I need to sell fast, the house is as-is. Can you call me asap?"
READY_BUYER = (
    "I'm pre-approved for $800k and have to move in 30 days because my lease ends. My wife and I want a "
    "3 bedroom, 2 bath house with a garage; the comps look right to us."
)


def said(*messages: str) -> list[Message]:
    """A history of the lead's messages."""
    return [Message(role="user", content=message) for message in messages]


def events(body: str) -> Iterable[tuple[str, str]]:
    """Name and data of each server-sent event."""
    for event in body.strip().split("\n\n"):
        name, data = event.split("\n")
        yield name.removeprefix("event: "), data.removeprefix("data: ")


@pytest.fixture
async def simulation() -> AsyncIterator[Simulation]:
    """Services that answer at once."""
    simulation = Simulation.start()
    yield simulation
    await simulation.services.aclose()


@pytest.fixture
async def delayed() -> AsyncIterator[Simulation]:
    """Services that answer after 10–50 ms, the same delays in every run."""
    simulation = Simulation.start("delayed", seed=1)
    yield simulation
    await simulation.services.aclose()


@pytest.fixture
def bots(simulation: Simulation) -> Bots:
    """The three bots over services that answer at once."""
    return Bots.over(simulation.services)


@pytest.fixture
async def client(bots: Bots) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API, in the same process."""
    transport = httpx.ASGITransport(create_app(bots))
    async with httpx.AsyncClient(transport=transport, base_url="http://jorge.invalid") as client:
        yield client
