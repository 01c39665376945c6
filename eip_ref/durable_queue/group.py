"""Consumer groups: each has its own cursor in the log, kept in the file, and commits its own progress."""

from __future__ import annotations

import math

import anyio

from ..trace import Kind, record
from .log import Record, SQLiteLog

__all__ = ["ConsumerGroup"]


class ConsumerGroup:
    """A named reader of a log. What it had committed is where it goes on after a restart.

    Work first and commit afterwards: then a crash between the two repeats what was read since the
    last commit. Commit first: then a crash skips it. `position` is the offset that is read next.
    """

    def __init__(self, log: SQLiteLog, name: str) -> None:
        self.log = log
        self.name = name
        self.position = self.committed

    @property
    def committed(self) -> int:
        """Everything before this offset is done. A new group begins at the oldest message kept."""
        query = "SELECT offset FROM cursors WHERE log = ? AND name = ?"
        row = self.log.database.execute(query, self.log.name, self.name).fetchone()
        return self.log.first if row is None else int(row[0])

    @property
    def lag(self) -> int:
        """How many offsets the group has not committed yet."""
        return self.log.next - self.committed

    async def read(self, *, limit: int = 100, timeout: float = math.inf) -> list[Record]:
        """The next messages, at least one, unless `wait` seconds pass without any: then none.

        Raises `OffsetGone` when retention has removed what this group had not read. It stays where
        it is, and goes on after `seek(error.first)`, once somebody has decided that this is right.
        """
        found = await self.log.read(self.position, limit=limit)
        if not found and timeout > 0:
            with anyio.move_on_after(timeout):
                await self.log.reaches(self.log.next)
            found = await self.log.read(self.position, limit=limit)
        for offset, message, _ in found:
            record(
                Kind.DELIVERED,
                self.log.name,
                message.id,
                lease=None,
                offset=offset,
                group=self.name,
            )
            self.position = offset + 1
        return found

    async def commit(self, offset: int | None = None) -> int:
        """Everything before `offset`, by default all that was read, is done; returns what is committed.

        A commit never moves back: one that is behind another changes nothing.
        """
        offset = max(self.position if offset is None else offset, self.committed)
        self._must_be_within(0, offset)
        return self._write(offset, "committed")

    async def seek(self, offset: int) -> None:
        """Go on from this offset, also after a restart: back for a replay, or forward to skip."""
        self._must_be_within(self.log.first, offset)
        self.position = self._write(offset, "sought")

    def _must_be_within(self, first: int, offset: int) -> None:
        if not first <= offset <= self.log.next:
            raise ValueError(f"{self.log.name} has offsets from {first} to {self.log.next}, and not {offset}")

    def _write(self, offset: int, reason: str) -> int:
        was = self.committed
        with self.log.database.transaction():
            row = (self.log.name, self.name, offset)
            self.log.database.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)", *row)
        record(Kind.STATE, self.log.name, was=was, now=offset, reason=reason, group=self.name)
        return offset
