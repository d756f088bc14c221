"""The API in front of the bots."""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal
from uuid import uuid4

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, Field, StringConstraints

from tests.jorge.bots import AnyState, Bots, Process
from tests.jorge.services import ServiceError
from tests.jorge.state import SellerState
from tests.jorge.telemetry import RequestLog, RequestTimer

LeadId = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[\w.@-]+$")]
LeadName = Annotated[str, StringConstraints(max_length=200)]
Content = Annotated[str, StringConstraints(min_length=1, max_length=1000)]

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


class ChatRequest(BaseModel):
    """A message to a bot. Who gives no identity gets one, and finds it in the ``start`` event."""

    content: Content
    lead_id: LeadId = Field(default_factory=lambda: f"visitor-{uuid4().hex}")
    lead_name: LeadName = ""


class StartRequest(BaseModel):
    """A new seller conversation."""

    lead_id: LeadId
    lead_name: LeadName = ""


class ProcessRequest(BaseModel):
    """The next message of a seller conversation."""

    lead_id: LeadId
    message: Content


class Reply(BaseModel):
    """What a bot said and where the lead stands now."""

    lead_id: str
    response: str
    next_action: str
    is_qualified: bool
    stage: str

    @classmethod
    def of(cls, state: AnyState) -> "Reply":
        return cls(
            lead_id=state["lead_id"],
            response=state["response_content"],
            next_action=state["next_action"],
            is_qualified=state["is_qualified"],
            stage=state["current_journey_stage"],
        )


class SellerReply(Reply):
    """A reply of the seller bot, with its judgement."""

    tone: str
    stall: str | None
    temperature: str
    frs: float
    pcs: float

    @classmethod
    def of_seller(cls, state: SellerState) -> "SellerReply":
        profile = state["intent_profile"]
        return cls(
            **Reply.of(state).model_dump(),
            tone=state["current_tone"],
            stall=state["detected_stall_type"],
            temperature=state["seller_temperature"],
            frs=profile.frs,
            pcs=profile.pcs,
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """A bot as the API offers it."""

    name: str
    purpose: str
    process: Process


def create_app(bots: Bots) -> FastAPI:
    """Build the API over the given bots."""
    app = FastAPI(title="Jorge")
    log = RequestLog()
    app.add_middleware(RequestTimer, log=log)
    app.add_exception_handler(ServiceError, _bad_gateway)
    _add_overview(app, bots, log)
    _add_chat(app, _directory(bots))
    _add_seller(app, bots)
    return app


def _directory(bots: Bots) -> dict[str, Entry]:
    return {
        "lead-bot": Entry("Lead bot", "Finds out who buys and who sells", bots.qualify),
        "jorge-seller-bot": Entry("Jorge, sellers", "Qualifies owners who may sell", bots.seller.process),
        "jorge-buyer-bot": Entry("Jorge, buyers", "Qualifies buyers and finds houses", bots.buyer.process),
    }


def _add_overview(app: FastAPI, bots: Bots, log: RequestLog) -> None:
    @app.get("/health/live")
    async def live() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/")
    async def root() -> dict[str, str]:
        return {"service": "jorge", "area": "Rancho Cucamonga", "docs": "/docs"}

    @app.get("/api/performance/summary")
    async def performance() -> dict[str, Any]:
        cache = bots.listings
        return {
            "requests": asdict(log.summary()),
            "cache": {
                "hits": cache.hits,
                "misses": cache.misses,
                "hit_rate": cache.hit_rate,
                "entries": len(cache),
            },
        }


def _add_chat(app: FastAPI, directory: dict[str, Entry]) -> None:
    def find(bot_id: str) -> Entry:
        if bot_id not in directory:
            raise HTTPException(404, f"there is no bot {bot_id!r}")
        return directory[bot_id]

    @app.get("/api/bots/health")
    async def health() -> dict[str, Any]:
        return {"status": "healthy", "bots": dict.fromkeys(directory, "online")}

    @app.get("/api/bots")
    async def list_bots() -> list[dict[str, str]]:
        return [
            {"id": bot_id, "name": entry.name, "purpose": entry.purpose, "status": "online"}
            for bot_id, entry in directory.items()
        ]

    @app.get("/api/bots/{bot_id}/status")
    async def status(bot_id: str) -> dict[str, str]:
        return {"id": bot_id, "name": find(bot_id).name, "status": "online"}

    @app.post("/api/bots/{bot_id}/chat")
    async def chat(bot_id: str, request: ChatRequest) -> StreamingResponse:
        return StreamingResponse(_converse(find(bot_id).process, request), media_type="text/event-stream")


def _add_seller(app: FastAPI, bots: Bots) -> None:
    conversations = bots.seller.conversations

    async def find(lead_id: str) -> SellerState:
        state = await conversations.find(lead_id)
        if state is None:
            raise HTTPException(404, f"there is no seller conversation with {lead_id!r}")
        return state

    @app.post("/api/jorge-seller/start", status_code=201)
    async def start(request: StartRequest) -> Reply:
        """Open a conversation; one that exists already goes on."""
        state = await conversations.find(request.lead_id)
        if state is None:
            state = conversations.blank(request.lead_id, request.lead_name)
            await conversations.save(state)
        return Reply.of(state)

    @app.post("/api/jorge-seller/process")
    async def process(request: ProcessRequest) -> SellerReply:
        await find(request.lead_id)
        return SellerReply.of_seller(await bots.seller.process(request.lead_id, request.message))

    @app.post("/api/jorge-seller/{lead_id}/handoff")
    async def hand_off(lead_id: str) -> Reply:
        return Reply.of(await bots.seller_to_buyer(await find(lead_id)))


async def _converse(process: Process, request: ChatRequest) -> AsyncIterator[str]:
    """The events of one answer: ``start``, one ``chunk`` per sentence, then ``complete`` or ``error``."""
    yield _event("start", {"lead_id": request.lead_id})
    try:
        state = await process(request.lead_id, request.content, request.lead_name)
    except ServiceError as error:
        yield _event("error", {"detail": str(error)})
        return
    for sentence in _SENTENCE_END.split(state["response_content"]):
        yield _event("chunk", {"text": sentence})
    yield _event("complete", Reply.of(state).model_dump())


def _event(name: Literal["start", "chunk", "complete", "error"], data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


async def _bad_gateway(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, status_code=502)
