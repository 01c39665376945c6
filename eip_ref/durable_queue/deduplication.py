"""Deduplication: the ids of the last messages that were accepted, kept in the file beside the messages.

A producer that crashed before it heard the confirm sends again with the same id. The id commits in the
transaction that accepts the message, so the second one finds it if and only if the first one was
accepted. The id of a message that died is marked: only its replay may come with it again.
"""

from __future__ import annotations

from .. import values
from ..storage import Database

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS accepted_ids (
        channel TEXT, number INTEGER, id TEXT, offset INTEGER, dead INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (channel, id)) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS accepted_ids_in_order ON accepted_ids (channel, number)",
)


class Deduplication:
    """The last `capacity` ids of one channel."""

    def __init__(self, database: Database, channel: str, capacity: int) -> None:
        self._database = database
        self._channel = channel
        self._capacity = capacity

    @classmethod
    def of_last(cls, dedup: int, database: Database, channel: str) -> Deduplication | None:
        """The memory of the last `dedup` ids; None for 0, which remembers none."""
        return cls(database, channel, dedup) if values.count("dedup", dedup, minimum=0) else None

    def find(self, message_id: str) -> tuple[int, bool] | None:
        """The offset that the message was given, and whether it has died; None for an unknown id."""
        query = "SELECT offset, dead FROM accepted_ids WHERE channel = ? AND id = ?"
        row = self._database.execute(query, self._channel, message_id).fetchone()
        return None if row is None else (int(row[0]), bool(row[1]))

    def add(self, message_id: str, offset: int = 0) -> None:
        """Remember an id, and forget the oldest one beyond the capacity."""
        last = "SELECT coalesce(max(number), 0) FROM accepted_ids WHERE channel = ?"
        number = self._database.one(last, self._channel)[0] + 1
        row = (self._channel, number, message_id, offset)
        self._database.execute("INSERT OR REPLACE INTO accepted_ids VALUES (?, ?, ?, ?, 0)", *row)
        forget = "DELETE FROM accepted_ids WHERE channel = ? AND number <= ?"
        self._database.execute(forget, self._channel, number - self._capacity)

    def died(self, message_id: str) -> None:
        """The message with this id is among the dead letters now."""
        mark = "UPDATE accepted_ids SET dead = 1 WHERE channel = ? AND id = ?"
        self._database.execute(mark, self._channel, message_id)
