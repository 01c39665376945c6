"""Seen: the ids of the last messages that were accepted, kept in the file beside the messages.

A producer that crashed before it heard the confirm sends again with the same id. The id commits
in the transaction that accepts the message, so the second one finds it if and only if the first
one was accepted. The id of a message that died is marked: only its replay may come with it again.
"""

from __future__ import annotations

from ..storage import Database

__all__ = ["SCHEMA", "Seen"]

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS seen (channel TEXT, number INTEGER, id TEXT,"
    " dead INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (channel, id)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS seen_by_number ON seen (channel, number)",
)


class Seen:
    """Remembers the ids of the last `remember` messages of one channel; with 0, none."""

    def __init__(self, file: Database, channel: str, remember: int) -> None:
        if remember < 0:
            raise ValueError(f"dedup must be a number of message ids, or 0 for none, not {remember}")
        self._database = file
        self._channel = channel
        self._remember = remember

    def find(self, message_id: str) -> tuple[int, bool] | None:
        """The number under which the id was accepted and whether that one is dead; None when unknown."""
        if not self._remember:
            return None
        query = "SELECT number, dead FROM seen WHERE channel = ? AND id = ?"
        row = self._database.execute(query, self._channel, message_id).fetchone()
        return None if row is None else (int(row[0]), bool(row[1]))

    def add(self, message_id: str, number: int) -> None:
        """Remember the id of the message with this number, and forget the oldest one beyond the bound."""
        if not self._remember:
            return
        row = (self._channel, number, message_id)
        self._database.execute("INSERT OR REPLACE INTO seen (channel, number, id) VALUES (?, ?, ?)", *row)
        oldest = number - self._remember
        self._database.execute("DELETE FROM seen WHERE channel = ? AND number <= ?", self._channel, oldest)

    def died(self, message_id: str) -> None:
        """The message with this id is among the dead letters now."""
        self._database.execute(
            "UPDATE seen SET dead = 1 WHERE channel = ? AND id = ?", self._channel, message_id
        )
