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
    """The last `dedup` ids of one channel; 0 remembers none."""

    def __init__(self, database: Database, channel: str, dedup: int) -> None:
        self._database = database
        self._channel = channel
        self._capacity = values.count("dedup", dedup, minimum=0)

    def find(self, message_id: str) -> tuple[int, bool] | None:
        """The offset that the message was given, and whether it has died; None for an unknown id."""
        if not self._capacity:
            return None
        query = "SELECT offset, dead FROM accepted_ids WHERE channel = ? AND id = ?"
        row = self._database.execute(query, self._channel, message_id).fetchone()
        return None if row is None else (int(row[0]), bool(row[1]))

    def add(self, message_id: str, offset: int = 0) -> None:
        """Remember an id, and forget the oldest one beyond the capacity."""
        if not self._capacity:
            return
        number = "SELECT coalesce(max(number), 0) + 1 FROM accepted_ids WHERE channel = ?1"
        row = f"INSERT OR REPLACE INTO accepted_ids VALUES (?1, ({number}), ?2, ?3, 0) RETURNING number"
        (number,) = self._database.one(row, self._channel, message_id, offset)
        forget = "DELETE FROM accepted_ids WHERE channel = ? AND number <= ?"
        self._database.execute(forget, self._channel, number - self._capacity)

    def died(self, message_id: str) -> None:
        """The message with this id is among the dead letters now."""
        mark = "UPDATE accepted_ids SET dead = 1 WHERE channel = ? AND id = ?"
        self._database.execute(mark, self._channel, message_id)
