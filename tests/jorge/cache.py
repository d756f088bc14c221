"""Cache-aside in memory, bounded in size and age."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class L1Cache(Generic[K, V]):
    """Keeps the most recently used values, at most ``max_entries`` and none longer than ``max_age``.

    Attributes:
        hits: look-ups answered from memory.
        misses: look-ups that found nothing, or only something too old.
    """

    def __init__(
        self, *, max_entries: int = 1024, max_age: float = 300.0, clock: Callable[[], float] = time.monotonic
    ):
        self.hits = 0
        self.misses = 0
        self._max_entries = max_entries
        self._max_age = max_age
        self._clock = clock
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def lookups(self) -> int:
        return self.hits + self.misses

    @property
    def hit_rate(self) -> float:
        """Share of look-ups answered from memory, 0 before the first."""
        return self.hits / self.lookups if self.lookups else 0.0

    async def get_or_load(self, key: K, load: Callable[[K], Awaitable[V]]) -> V:
        """Value of ``key``, from memory or else from ``load``. A load that fails leaves nothing behind."""
        entry = self._entries.get(key)
        if entry is not None and self._clock() - entry[0] < self._max_age:
            self.hits += 1
            self._entries.move_to_end(key)
            return entry[1]
        self.misses += 1
        value = await load(key)
        self._entries[key] = (self._clock(), value)
        self._entries.move_to_end(key)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
        return value
