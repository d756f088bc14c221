"""The three bots as one service: wired to the same services, store and cache."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from tests.jorge import handoff
from tests.jorge.buyer import BuyerBot
from tests.jorge.cache import L1Cache
from tests.jorge.lead import LeadBot
from tests.jorge.seller import SellerBot
from tests.jorge.services import ListingQuery, Services
from tests.jorge.state import BuyerState, LeadState, Listing, SellerState
from tests.jorge.store import ConversationStore, MemoryStore

AnyState: TypeAlias = LeadState | SellerState | BuyerState
ListingCache: TypeAlias = L1Cache[ListingQuery, list[Listing]]
Process: TypeAlias = Callable[[str, str, str], Awaitable[AnyState]]
"""Answers a message, given as lead id, message and name of the lead."""


@dataclass(frozen=True, slots=True)
class Bots:
    """Lead, seller and buyer bot."""

    lead: LeadBot
    seller: SellerBot
    buyer: BuyerBot
    listings: ListingCache

    @classmethod
    def over(
        cls,
        services: Services,
        *,
        store: ConversationStore | None = None,
        listings: ListingCache | None = None,
    ) -> "Bots":
        """Wire the bots. Without a store, conversations live in memory; searches go through the cache."""
        store = MemoryStore() if store is None else store
        listings = ListingCache() if listings is None else listings
        search = partial(listings.get_or_load, load=services.mls.search)
        return cls(
            lead=LeadBot(services.ghl, store),
            seller=SellerBot(services.claude, services.ghl, store),
            buyer=BuyerBot(services.claude, services.ghl, search, store),
            listings=listings,
        )

    async def qualify(self, lead_id: str, message: str, lead_name: str = "") -> AnyState:
        """Let the lead bot decide, and the bot it chooses answer: the state of whoever answered.

        A lead who was handed over stays with that bot.
        """
        known = await self.lead.conversations.find(lead_id)
        if known and known["next_action"] == "hand_off":
            bot = self.buyer if known["path"] == "buyer" else self.seller
            return await bot.process(lead_id, message, lead_name)
        lead = await self.lead.process(lead_id, message, lead_name)
        match lead["next_action"], lead["path"]:
            case "hand_off", "buyer":
                return await self.buyer.accept(handoff.from_lead(lead, "buyer"))
            case "hand_off", "seller":
                return await self.seller.accept(handoff.from_lead(lead, "seller"))
            case _:
                return lead

    async def seller_to_buyer(self, seller: SellerState) -> BuyerState:
        """Let the buyer bot go on with a seller who also wants to buy."""
        return await self.buyer.accept(handoff.from_seller(seller))
