"""Snapshots: the state of a stream at one version, kept so that a replay need not begin at the start.

A snapshot is a cache: it may be missing, old or thrown away at any time, and nothing changes but the
length of the replay. So it need not be written with the events, and one that cannot be read is ignored.

*Left out:* when to forget old ones; only the newest of a stream is kept.
"""

from __future__ import annotations

import json
from typing import NamedTuple, Protocol

from ..message import Message
from ..storage import Database

__all__ = ["MemorySnapshots", "SQLiteSnapshots", "Snapshot", "Snapshots"]


class Snapshot(NamedTuple):
    """The state of a stream, encoded as `EventTypes` does, after the event with this version."""

    version: int
    state: Message


class Snapshots(Protocol):
    """A place for the newest snapshot of each stream."""

    def get(self, stream: str) -> Snapshot | None: ...

    def put(self, stream: str, snapshot: Snapshot) -> None:
        """Keep it, unless a newer one is there."""
        ...

    def drop(self, stream: str | None = None) -> None:
        """Forget the snapshot of this stream, or all of them. Always allowed."""
        ...


class MemorySnapshots:
    """Snapshots that live as long as their process."""

    def __init__(self) -> None:
        self._kept: dict[str, Snapshot] = {}

    def get(self, stream: str) -> Snapshot | None:
        kept = self._kept.get(stream)
        return None if kept is None else kept._replace(state=kept.state.copy())

    def put(self, stream: str, snapshot: Snapshot) -> None:
        kept = self._kept.get(stream)
        if kept is None or kept.version <= snapshot.version:
            self._kept[stream] = snapshot._replace(state=snapshot.state.copy())

    def drop(self, stream: str | None = None) -> None:
        if stream is None:
            self._kept.clear()
        else:
            self._kept.pop(stream, None)


class SQLiteSnapshots:
    """Snapshots in an open `Database`, such as that of the store. They may be lost with their file."""

    def __init__(self, file: Database) -> None:
        self._database = file
        schema = "stream TEXT PRIMARY KEY, version INTEGER, id TEXT, type TEXT, schema INTEGER, body TEXT"
        file.create((f"CREATE TABLE IF NOT EXISTS snapshots ({schema})",))

    def get(self, stream: str) -> Snapshot | None:
        query = "SELECT version, body, type, id, schema FROM snapshots WHERE stream = ?"
        row = self._database.execute(query, stream).fetchone()
        if row is None:
            return None
        version, body, type_, identity, schema = row
        return Snapshot(version, Message(json.loads(body), type_, id=identity, version=schema))

    def put(self, stream: str, snapshot: Snapshot) -> None:
        version, state = snapshot
        with self._database.transaction():
            self._database.execute(
                "INSERT INTO snapshots VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (stream) DO UPDATE SET"
                " (version, id, type, schema, body) ="
                " (excluded.version, excluded.id, excluded.type, excluded.schema, excluded.body)"
                " WHERE version <= excluded.version",
                *(stream, version, state.id, state.type, state.version, json.dumps(state.body)),
            )

    def drop(self, stream: str | None = None) -> None:
        with self._database.transaction():
            self._database.execute("DELETE FROM snapshots WHERE stream = coalesce(?, stream)", stream)
