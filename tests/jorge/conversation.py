"""One turn of a conversation, the same for every bot: load, add what was said, run, add the reply, save."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from tests.jorge.state import Conversation, Message
from tests.jorge.store import ConversationStore

S = TypeVar("S", bound=Conversation)


@dataclass(frozen=True, slots=True)
class Conversations(Generic[S]):
    """All conversations of one bot.

    Args:
        bot: prefix of the keys, because the same lead may talk to several bots.
        kind: the bot's state.
        blank: makes the state of a lead seen for the first time, from identity and name.
        store: where they are kept.
    """

    bot: str
    kind: type[S]
    blank: Callable[[str, str], S]
    store: ConversationStore
    _turns: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary, init=False)

    async def find(self, lead_id: str) -> S | None:
        """The conversation with a lead, ``None`` when there was none yet."""
        return await self.store.load(self._key(lead_id), self.kind)

    async def save(self, state: S) -> None:
        """Keep a conversation."""
        await self.store.save(self._key(state["lead_id"]), state)

    async def take_turn(
        self, run: Callable[[S], Awaitable[S]], lead_id: str, message: str, lead_name: str = ""
    ) -> S:
        """Answer a message: the state after the bot has run and its reply is part of the history.

        Messages of one lead wait for each other, or the later turn would overwrite the earlier.
        """
        async with self._turns.setdefault(lead_id, asyncio.Lock()):
            state = await self.find(lead_id) or self.blank(lead_id, lead_name)
            state["lead_name"] = lead_name or state["lead_name"]
            state["conversation_history"].append(Message(role="user", content=message))
            state["response_content"] = ""
            return await self.answer(run, state)

    async def answer(self, run: Callable[[S], Awaitable[S]], state: S) -> S:
        """Run the bot on a state as it is, and remember the outcome."""
        state = await run(state)
        if reply := state["response_content"]:
            history = state["conversation_history"]
            state["conversation_history"] = [*history, Message(role="assistant", content=reply)]
        await self.save(state)
        return state

    def _key(self, lead_id: str) -> str:
        return f"{self.bot}/{lead_id}"
