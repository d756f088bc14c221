"""Clients of the three external services. They speak HTTP and nothing else; errors come in two kinds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import httpx

from tests.jorge.needs import Preferences
from tests.jorge.state import Listing, Task, Touch

_RETRYABLE = {429, 500, 502, 503, 504}
_TIMEOUT = httpx.Timeout(10.0)
_MODEL = "claude-sonnet-4-5"


class ServiceError(Exception):
    """An external service refused or gave an answer that cannot be used."""


class TransientServiceError(ServiceError):
    """The same request may succeed a little later."""


@dataclass(frozen=True, slots=True)
class ListingQuery:
    """A search in the MLS. Hashable, so that a cache can be keyed by it."""

    lowest_price: int
    highest_price: int
    preferences: Preferences
    limit: int = 5


@dataclass(frozen=True, slots=True)
class ClaudeClient:
    """Text generation."""

    http: httpx.AsyncClient

    async def complete(self, system: str, prompt: str, *, max_tokens: int = 200) -> str:
        """Answer to one prompt, stripped; empty when the model has nothing to say."""
        body = {
            "model": _MODEL,
            "max_tokens": max_tokens,
            "system": system,
            "messages": [{"role": "user", "content": prompt}],
        }
        answer = await _send(self.http, "POST", "/v1/messages", json=body)
        return "".join(block["text"] for block in answer["content"] if block["type"] == "text").strip()


@dataclass(frozen=True, slots=True)
class GHLClient:
    """The CRM: earlier messages, text messages, tasks, tags and sequences of a contact."""

    http: httpx.AsyncClient

    async def inbound_messages(self, contact: str) -> list[str]:
        """What the contact wrote through other channels, oldest first; nothing for an unknown contact."""
        answer = await _send(self.http, "GET", f"/contacts/{contact}/messages")
        return [message["body"] for message in answer["messages"] if message["direction"] == "inbound"]

    async def send_text(self, contact: str, body: str) -> None:
        """Send a text message."""
        await _send(self.http, "POST", f"/contacts/{contact}/messages", json={"type": "SMS", "body": body})

    async def add_task(self, contact: str, task: Task) -> None:
        """Leave a task for the team."""
        body = {"title": task["title"], "dueInHours": task["due_in_hours"]}
        await _send(self.http, "POST", f"/contacts/{contact}/tasks", json=body)

    async def add_tags(self, contact: str, tags: Sequence[str]) -> None:
        """Tag a contact."""
        await _send(self.http, "POST", f"/contacts/{contact}/tags", json={"tags": list(tags)})

    async def enrol(self, contact: str, touches: Sequence[Touch]) -> None:
        """Put a contact on a nurture sequence."""
        await _send(self.http, "POST", f"/contacts/{contact}/sequences", json={"touches": list(touches)})


@dataclass(frozen=True, slots=True)
class MLSClient:
    """The listings."""

    http: httpx.AsyncClient

    async def search(self, query: ListingQuery) -> list[Listing]:
        """Listings that fit, cheapest first, at most ``query.limit``."""
        wishes = query.preferences
        params: dict[str, Any] = {
            "minPrice": query.lowest_price,
            "maxPrice": query.highest_price,
            "minBedrooms": wishes.bedrooms or 0,
            "minBathrooms": wishes.bathrooms or 0,
            "feature": wishes.features,
            "area": wishes.areas,
            "limit": query.limit,
        }
        return (await _send(self.http, "GET", "/listings", params=params))["listings"]


@dataclass(frozen=True, slots=True)
class Services:
    """The three clients, each with its own connection."""

    claude: ClaudeClient
    ghl: GHLClient
    mls: MLSClient

    @classmethod
    def over(
        cls, *, claude: httpx.AsyncBaseTransport, ghl: httpx.AsyncBaseTransport, mls: httpx.AsyncBaseTransport
    ) -> Self:
        """Clients that send their requests through the given transports."""

        def connect(host: str, transport: httpx.AsyncBaseTransport) -> httpx.AsyncClient:
            return httpx.AsyncClient(base_url=f"https://{host}", transport=transport, timeout=_TIMEOUT)

        return cls(
            claude=ClaudeClient(connect("claude.invalid", claude)),
            ghl=GHLClient(connect("ghl.invalid", ghl)),
            mls=MLSClient(connect("mls.invalid", mls)),
        )

    async def aclose(self) -> None:
        """Close the connections."""
        for client in (self.claude, self.ghl, self.mls):
            await client.http.aclose()


async def _send(http: httpx.AsyncClient, method: str, path: str, **request: Any) -> Any:
    """Send one request and decode its JSON answer; whatever goes wrong is a ``ServiceError``."""
    try:
        response = await http.request(method, path, **request)
    except httpx.TransportError as error:
        raise TransientServiceError(f"{method} {path}: {error}") from error
    if response.status_code in _RETRYABLE:
        raise TransientServiceError(f"{method} {path}: status {response.status_code}")
    if response.is_error:
        raise ServiceError(f"{method} {path}: status {response.status_code}")
    try:
        return response.json()
    except ValueError as error:
        raise ServiceError(f"{method} {path}: the answer is not JSON") from error
