"""The network, simulated: one httpx transport per external service.

Everything above the transport is the bots' real code. A transport answers like its service, waits a
seeded delay first (or none, to show the bots' own cost), and counts what it was asked to do.
"""

import asyncio
import json
import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Self, TypeAlias

import httpx

from tests.jorge.inventory import inventory
from tests.jorge.services import Services
from tests.jorge.state import Listing

Profile: TypeAlias = Literal["zero", "delayed"]
Answer: TypeAlias = Callable[[httpx.Request], httpx.Response]

_SHORTEST_DELAY, _LONGEST_DELAY = 0.010, 0.050


class SimulatedTransport(httpx.AsyncBaseTransport):
    """Answers requests in place of a service and counts them.

    Attributes:
        requests: how many requests came in, the failed ones included.
        body_characters: how many characters their bodies had together.
    """

    def __init__(self, answer: Answer, delays: random.Random | None = None):
        self.requests = 0
        self.body_characters = 0
        self._answer = answer
        self._delays = delays
        self._failures: deque[Exception | int] = deque()

    def fail_next(self, *failures: Exception | int) -> None:
        """Let the next requests fail, each with an exception or a status code."""
        self._failures.extend(failures)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        self.body_characters += len(request.content.decode())
        if self._delays:
            await asyncio.sleep(self._delays.uniform(_SHORTEST_DELAY, _LONGEST_DELAY))
        if not self._failures:
            return self._answer(request)
        failure = self._failures.popleft()
        if isinstance(failure, Exception):
            raise failure
        return httpx.Response(failure, json={"error": "simulated failure"})


@dataclass(frozen=True, slots=True)
class Simulation:
    """The three simulated services of one test, and the clients that talk to them."""

    claude: SimulatedTransport
    ghl: SimulatedTransport
    mls: SimulatedTransport
    services: Services

    @classmethod
    def start(
        cls,
        profile: Profile = "zero",
        *,
        seed: int = 0,
        claude: Answer | None = None,
        ghl: Answer | None = None,
    ) -> Self:
        """Wire up fresh services; ``claude`` and ``ghl`` replace the usual answers of those two."""

        def transport(name: str, answer: Answer) -> SimulatedTransport:
            return SimulatedTransport(
                answer, random.Random(f"{name}:{seed}") if profile == "delayed" else None
            )

        transports = {
            "claude": transport("claude", claude or answer_as_claude),
            "ghl": transport("ghl", ghl or answer_as_ghl()),
            "mls": transport("mls", answer_as_mls),
        }
        return cls(**transports, services=Services.over(**transports))

    @property
    def calls(self) -> dict[str, int]:
        """Requests so far, by service."""
        return {"claude": self.claude.requests, "ghl": self.ghl.requests, "mls": self.mls.requests}


def answer_as_claude(request: httpx.Request) -> httpx.Response:
    """Say something that fits the tone the system prompt asks for."""
    system = json.loads(request.content)["system"]
    return claude_says(
        next((text for tone, text in _REPLIES.items() if tone in system), _REPLIES["CONSULTATIVE"])
    )


def claude_says(text: str) -> httpx.Response:
    """A message of the model."""
    return httpx.Response(
        200,
        json={
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn",
            "usage": {"output_tokens": len(text.split())},
        },
    )


_REPLIES = {
    "UNDERSTANDING": "I hear you, this is a big step. What would help you feel sure about it?",
    "EDUCATIONAL": "Happy to explain how a sale works here. Where would you like to start?",
    "ENTHUSIASTIC": "Great, let us get this moving! When can we talk about your price?",
    "BUYER": "I found homes that fit your budget. Would you like to see one this week?",
    "CONSULTATIVE": "Thanks for telling me. What matters most to you about the sale?",
}


def answer_as_ghl(inbox: Mapping[str, Iterable[str]] | None = None) -> Answer:
    """A CRM that knows the inbound messages of ``inbox`` (by contact) and accepts everything."""
    known = {contact: list(bodies) for contact, bodies in (inbox or {}).items()}

    def answer(request: httpx.Request) -> httpx.Response:
        _, _, contact, resource = request.url.path.split("/")
        if request.method == "POST":
            return httpx.Response(201, json={"contactId": contact, "type": resource, "accepted": True})
        bodies = known.get(contact, [])
        return httpx.Response(
            200, json={"messages": [{"direction": "inbound", "body": body} for body in bodies]}
        )

    return answer


def answer_as_mls(request: httpx.Request) -> httpx.Response:
    """Search the inventory."""
    params = request.url.params
    areas, features = params.get_list("area"), set(params.get_list("feature"))

    def fits(house: Listing) -> bool:
        return (
            int(params["minPrice"]) <= house["price"] <= int(params["maxPrice"])
            and house["bedrooms"] >= int(params["minBedrooms"])
            and house["bathrooms"] >= float(params["minBathrooms"])
            and features.issubset(house["features"])
            and (not areas or house["area"] in areas)
        )

    found = [house for house in inventory() if fits(house)]
    return httpx.Response(200, json={"total": len(found), "listings": found[: int(params["limit"])]})
