"""The API: overview, chat, seller conversations, errors."""

import json

import httpx
import pytest

from tests.jorge.bots import Bots
from tests.jorge.fixtures import READY_BUYER, READY_SELLER, events
from tests.jorge.telemetry import RequestLog
from tests.jorge.transports import Simulation

BOTS = ["lead-bot", "jorge-seller-bot", "jorge-buyer-bot"]


async def test_service_is_alive_and_introduces_itself(client: httpx.AsyncClient):
    assert (await client.get("/health/live")).json() == {"status": "alive"}
    assert (await client.get("/")).json()["service"] == "jorge"


async def test_health_and_list_name_all_bots(client: httpx.AsyncClient):
    health = (await client.get("/api/bots/health")).json()
    assert health == {"status": "healthy", "bots": dict.fromkeys(BOTS, "online")}
    assert [bot["id"] for bot in (await client.get("/api/bots")).json()] == BOTS


@pytest.mark.parametrize("bot", BOTS)
async def test_each_bot_has_a_status(client: httpx.AsyncClient, bot: str):
    answer = await client.get(f"/api/bots/{bot}/status")
    assert (answer.status_code, answer.json()["id"]) == (200, bot)


async def test_unknown_bot_is_not_found(client: httpx.AsyncClient):
    assert (await client.get("/api/bots/nobody/status")).status_code == 404
    assert (await client.post("/api/bots/nobody/chat", json={"content": "hi"})).status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"content": "x"}, 200),
        ({"content": "x" * 1000}, 200),
        ({"content": ""}, 422),
        ({"content": "x" * 1001}, 422),
        ({}, 422),
        ({"content": "x", "lead_id": "../other"}, 422),
    ],
)
async def test_chat_takes_1_to_1000_characters(client: httpx.AsyncClient, body: dict[str, str], status: int):
    assert (await client.post("/api/bots/jorge-seller-bot/chat", json=body)).status_code == status


@pytest.mark.parametrize(
    ("bot", "message"),
    [("lead-bot", "Hello"), ("jorge-seller-bot", READY_SELLER), ("jorge-buyer-bot", READY_BUYER)],
)
async def test_chat_streams_the_reply_sentence_by_sentence(client: httpx.AsyncClient, bot: str, message: str):
    answer = await client.post(f"/api/bots/{bot}/chat", json={"content": message, "lead_id": "lead-1"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    (first, started), *chunks, (last, completed) = events(answer.text)
    assert (first, json.loads(started)) == ("start", {"lead_id": "lead-1"})
    assert {name for name, _ in chunks} == {"chunk"}
    sentences = [json.loads(data)["text"] for _, data in chunks]
    assert last == "complete"
    assert json.loads(completed)["response"] == " ".join(sentences) != ""


async def test_visitors_without_identity_do_not_share_a_conversation(client: httpx.AsyncClient):
    leads = set()
    for _ in range(2):
        answer = await client.post("/api/bots/jorge-seller-bot/chat", json={"content": "Hello"})
        (_, started), *_ = events(answer.text)
        leads.add(json.loads(started)["lead_id"])
    assert len(leads) == 2


async def test_chat_reports_a_failed_service(client: httpx.AsyncClient, simulation: Simulation):
    simulation.ghl.fail_next(401)
    answer = await client.post("/api/bots/lead-bot/chat", json={"content": "Hello"})
    assert [name for name, _ in events(answer.text)] == ["start", "error"]


async def test_seller_conversation_starts_goes_on_and_is_handed_off(client: httpx.AsyncClient, bots: Bots):
    started = await client.post("/api/jorge-seller/start", json={"lead_id": "lead-1", "lead_name": "Ann"})
    assert (started.status_code, started.json()["stage"]) == (201, "discovery")

    body = {"lead_id": "lead-1", "message": "Zillow says $950k."}
    reply = (await client.post("/api/jorge-seller/process", json=body)).json()
    assert (reply["stall"], reply["tone"]) == ("zestimate", "UNDERSTANDING")
    assert reply["frs"] == pytest.approx(50)

    handed = await client.post("/api/jorge-seller/lead-1/handoff")
    assert handed.json()["next_action"] == "qualify_more"
    buyer = await bots.buyer.conversations.find("lead-1")
    assert buyer is not None
    assert buyer["insights"]["seller objection"] == "zestimate"


async def test_second_start_keeps_the_conversation(client: httpx.AsyncClient, bots: Bots):
    await bots.seller.process("lead-1", READY_SELLER)
    again = await client.post("/api/jorge-seller/start", json={"lead_id": "lead-1"})
    assert again.json()["stage"] == "closing"


async def test_unknown_seller_is_not_found(client: httpx.AsyncClient):
    body = {"lead_id": "nobody", "message": "Hello"}
    assert (await client.post("/api/jorge-seller/process", json=body)).status_code == 404
    assert (await client.post("/api/jorge-seller/nobody/handoff")).status_code == 404


async def test_failed_service_is_a_bad_gateway(client: httpx.AsyncClient, bots: Bots, simulation: Simulation):
    await bots.seller.process("lead-1", "I also want to buy for $700k.")
    simulation.mls.fail_next(503)
    answer = await client.post("/api/jorge-seller/lead-1/handoff")
    assert answer.status_code == 502
    assert "GET /listings" in answer.json()["detail"]


async def test_summary_counts_requests_and_cache(client: httpx.AsyncClient):
    await client.get("/api/bots")
    await client.get("/api/bots/nobody/status")
    for lead in ("a", "b"):
        await client.post("/api/bots/jorge-buyer-bot/chat", json={"content": READY_BUYER, "lead_id": lead})
    summary = (await client.get("/api/performance/summary")).json()
    assert summary["requests"]["requests"] == 4
    assert summary["requests"]["server_errors"] == 0
    assert summary["cache"] == {"hits": 1, "misses": 1, "hit_rate": 0.5, "entries": 1}


def test_request_log_is_bounded():
    log = RequestLog()
    for _ in range(1000):
        log.add(200, 1.0)
    for _ in range(1000):
        log.add(503, 3.0)
    summary = log.summary()
    assert (summary.requests, summary.server_errors) == (2000, 1000)
    assert (summary.mean_ms, summary.slowest_ms) == (3.0, 3.0)
