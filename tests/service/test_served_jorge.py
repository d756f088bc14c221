"""The API over a socket: uvicorn runs it beside the tests, one for each side of a comparison."""

import os
from collections.abc import Iterator

import httpx
import pytest

from pytest_regression_gate import Measure
from tests.jorge.fixtures import READY_SELLER, events

pytestmark = pytest.mark.performance

CHAT = "/api/bots/jorge-seller-bot/chat"


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{os.environ['GATE_PORT']}", trust_env=False) as client:
        yield client


@pytest.mark.measure(seconds=1.0)
def test_health(client: httpx.Client, measure: Measure):
    answer = measure("service.health", client.get, "/api/bots/health")
    assert answer.json()["status"] == "healthy"


def test_chat(client: httpx.Client, measure: Measure):
    message = {"content": READY_SELLER, "lead_id": "served"}
    answer = measure("service.chat", lambda: client.post(CHAT, json=message))
    *_, (last, _) = events(answer.text)
    assert last == "complete"


def test_resources(client: httpx.Client, measure: Measure):
    with measure.resources("service", of="jorge"):
        for lead in range(50):
            message = {"content": READY_SELLER, "lead_id": f"lead-{lead}"}
            assert client.post(CHAT, json=message).status_code == 200
