"""The cache in memory and the two conversation stores."""

from pathlib import Path

import pytest

from tests.jorge.bots import Bots
from tests.jorge.cache import L1Cache
from tests.jorge.fixtures import READY_BUYER, READY_SELLER
from tests.jorge.state import BuyerState, SellerState, new_lead
from tests.jorge.store import ConversationStore, MemoryStore, SQLiteStore
from tests.jorge.transports import Simulation


class Loader:
    """Loads the length of a key, and counts how often."""

    def __init__(self):
        self.loads = 0

    async def __call__(self, key: str) -> int:
        self.loads += 1
        if not key:
            raise ValueError("empty key")
        return len(key)


class Clock:
    """Stands still until it is moved."""

    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def load() -> Loader:
    return Loader()


async def test_second_lookup_is_a_hit(load: Loader):
    cache = L1Cache[str, int]()
    assert [await cache.get_or_load("abc", load) for _ in range(3)] == [3, 3, 3]
    assert (load.loads, cache.hits, cache.misses) == (1, 2, 1)
    assert cache.hit_rate == pytest.approx(2 / 3)


async def test_entry_expires_with_age(load: Loader):
    clock = Clock()
    cache = L1Cache[str, int](max_age=10, clock=clock)
    for clock.now in (0, 9.9, 10, 19.9, 20):
        await cache.get_or_load("abc", load)
    assert (cache.hits, cache.misses, len(cache)) == (2, 3, 1)


async def test_least_recently_used_entry_leaves_first(load: Loader):
    cache = L1Cache[str, int](max_entries=2)
    for key in ("a", "b", "a", "c", "a", "b"):
        await cache.get_or_load(key, load)
    assert len(cache) == 2
    assert (cache.hits, cache.misses) == (2, 4)


async def test_failed_load_leaves_nothing_behind(load: Loader):
    cache = L1Cache[str, int]()
    for _ in range(2):
        with pytest.raises(ValueError, match="empty"):
            await cache.get_or_load("", load)
    assert (len(cache), cache.misses, load.loads) == (0, 2, 2)


def test_unused_cache_has_no_hit_rate():
    assert L1Cache[str, int]().hit_rate == 0


async def test_same_search_reaches_the_mls_once(bots: Bots, simulation: Simulation):
    for lead in ("a", "b", "c"):
        await bots.buyer.process(lead, READY_BUYER)
    assert simulation.mls.requests == 1
    assert bots.listings.hits == 2


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ConversationStore:
    return MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "store.sqlite")


async def test_unknown_key_is_none(store: ConversationStore):
    assert await store.load("buyer/nobody", BuyerState) is None


async def test_states_come_back_as_they_were(store: ConversationStore, simulation: Simulation):
    bots = Bots.over(simulation.services, store=store)
    buyer = await bots.buyer.process("lead-1", READY_BUYER, "Bob")
    seller = await bots.seller.process("lead-1", READY_SELLER, "Bob")
    assert await store.load("buyer/lead-1", BuyerState) == buyer
    assert await store.load("seller/lead-1", SellerState) == seller


async def test_later_state_replaces_the_earlier(store: ConversationStore):
    await store.save("key", ["first"])
    await store.save("key", ["second"])
    assert await store.load("key", list[str]) == ["second"]


async def test_loaded_state_is_a_copy(store: ConversationStore, bots: Bots):
    conversations = bots.lead.conversations
    await conversations.save(new_lead("lead-1", "Ann"))
    loaded = await conversations.find("lead-1")
    assert loaded is not None
    loaded["lead_name"] = "Eve"
    assert (await conversations.find("lead-1") or loaded)["lead_name"] == "Ann"


async def test_sqlite_outlives_the_process_that_wrote_it(tmp_path: Path):
    path = tmp_path / "store.sqlite"
    await SQLiteStore(path).save("key", {"a": 1})
    assert await SQLiteStore(path).load("key", dict[str, int]) == {"a": 1}
