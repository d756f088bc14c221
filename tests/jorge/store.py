"""Where conversations live between turns."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

S = TypeVar("S")


class ConversationStore(Protocol):
    """Keeps one state per key. What is loaded is the caller's own copy."""

    async def save(self, key: str, state: object) -> None:
        """Keep a state, in place of an earlier one."""
        ...

    async def load(self, key: str, kind: type[S]) -> S | None:
        """The state kept under a key; ``None`` when there is none."""
        ...


class MemoryStore:
    """Forgets everything with the process. Encodes like a durable store, so that both behave alike."""

    def __init__(self) -> None:
        self._states: dict[str, bytes] = {}

    async def save(self, key: str, state: object) -> None:
        self._states[key] = msgspec.json.encode(state)

    async def load(self, key: str, kind: type[S]) -> S | None:
        encoded = self._states.get(key)
        return None if encoded is None else msgspec.json.decode(encoded, type=kind)


class SQLiteStore:
    """Survives a restart. Each access opens its own connection, in a thread."""

    def __init__(self, path: Path):
        self._path = path
        self._execute("CREATE TABLE IF NOT EXISTS conversation (key TEXT PRIMARY KEY, state BLOB NOT NULL)")

    async def save(self, key: str, state: object) -> None:
        encoded = msgspec.json.encode(state)
        await asyncio.to_thread(self._execute, "REPLACE INTO conversation VALUES (?, ?)", key, encoded)

    async def load(self, key: str, kind: type[S]) -> S | None:
        row = await asyncio.to_thread(self._execute, "SELECT state FROM conversation WHERE key = ?", key)
        return None if row is None else msgspec.json.decode(row[0], type=kind)

    def _execute(self, statement: str, *parameters: object) -> tuple[bytes] | None:
        with closing(sqlite3.connect(self._path)) as database, database:
            return database.execute(statement, parameters).fetchone()
