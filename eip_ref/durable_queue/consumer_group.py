"""Consumer groups: each has its own cursor in the log, kept in the file, and commits its own progress."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import anyio

from .. import values
from ..storage import Record
from ..trace import Kind, record
from .log import SQLiteLog


class ConsumerGroup:
    """A named reader of a log. What it had committed is where it goes on after a restart.

    Work first and commit afterwards: then a crash between the two repeats what was read since the
    last commit. Commit first: then a crash skips it. `position` is the offset that is read next.
    """

    def __init__(self, log: SQLiteLog, name: str) -> None:
        self.log = log
        self.name = values.name("name", name)
        self.position = self.committed

    @property
    def committed(self) -> int:
        """The offset before which everything is done. A new group begins at the oldest message kept."""
        query = "SELECT offset FROM cursors WHERE log = ? AND name = ?"
        row = self.log.database.execute(query, self.log.name, self.name).fetchone()
        return self.log.first if row is None else int(row[0])

    @property
    def lag(self) -> int:
        """The number of offsets that the group has not committed yet."""
        with self.log.database.reading():  # at one moment: it is never below 0
            return self.log.end - self.committed

    async def read(self, *, limit: int = 100, timeout: float = math.inf) -> list[Record]:
        """The next messages, at least one, unless `timeout` seconds pass without any: then none.

        Raises `OffsetGone` when retention has removed what this group had not read. It stays where
        it is, and goes on after `seek(error.first)`, once somebody has decided that this is right.
        """
        values.duration("timeout", timeout, infinite=True)
        found = await self.log.read(self.position, limit=limit)
        if not found and timeout > 0:
            with anyio.move_on_after(timeout):
                await self.log.wait(self.log.end)
            found = await self.log.read(self.position, limit=limit)
        for offset, message, _ in found:
            facts: dict[str, Any] = {"lease": None, "offset": offset, "group": self.name}
            record(Kind.DELIVERED, self.log.name, message.id, **facts)
            self.position = offset + 1
        return found

    async def commit(self, offset: int | None = None) -> int:
        """Everything before `offset`, by default all that was read, is done; returns what is committed.

        A commit never moves back, whichever process has made the later one: then it changes nothing.
        """
        return await self.log.database.run(self._commit, self.position if offset is None else offset)

    async def seek(self, offset: int) -> None:
        """Go on from this offset, also after a restart: back for a replay, or forward to skip."""
        self.position = await self.log.database.run(self._seek, offset)

    def _commit(self, offset: int) -> int:
        self._must_be_within(0, offset)
        return self._write(max(offset, self.committed), "committed")

    def _seek(self, offset: int) -> int:
        self._must_be_within(self.log.first, offset)
        return self._write(offset, "sought")

    def _must_be_within(self, first: int, offset: int) -> None:
        if type(offset) is not int or not first <= offset <= self.log.end:
            raise ValueError(f"{self.log.name} has offsets from {first} to {self.log.end}, and not {offset}")

    def _write(self, offset: int, reason: str) -> int:
        was, database = self.committed, self.log.database
        row = (self.log.name, self.name, offset)
        database.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)", *row)
        facts: dict[str, Any] = {"was": was, "now": offset, "reason": reason, "group": self.name}
        database.after_commit(partial(record, Kind.STATE, self.log.name, **facts))
        return offset
