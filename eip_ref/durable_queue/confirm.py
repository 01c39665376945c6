"""Confirm: producers share a commit and hear of it, and whoever did not hear sends again with the same id.

*Group commit*: writing through to the disk takes as long for one message as for a hundred. So a write
waits, for at most `linger` seconds, until `size` of them have come together; then one transaction takes
them all.

*Deduplication*: the ids of the last messages that were accepted are kept in the file beside the messages. An
id commits in the transaction that accepts its message, so a second one finds it if and only if the first was
accepted. The id of a message that died is marked: only its replay may come with it again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import anyio
import anyio.lowlevel

from .. import values
from ..storage import Database

Item = TypeVar("Item")
Answer = TypeVar("Answer")

ACCEPTED_IDS = (
    """CREATE TABLE IF NOT EXISTS accepted_ids (
        channel TEXT, number INTEGER, id TEXT, offset INTEGER, dead INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (channel, id)) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS accepted_ids_in_order ON accepted_ids (channel, number)",
)


class _Batch(Generic[Item, Answer]):
    def __init__(self) -> None:
        self.items: list[Item] = []
        self.answers: Sequence[Answer | Exception] = ()
        self.written = anyio.Event()


class GroupCommit(Generic[Item, Answer]):
    """Collects items and gives them to `write`, in one transaction; it answers each, in order.

    An answer that is an exception is raised where that item was added.
    """

    def __init__(
        self,
        database: Database,
        write: Callable[[list[Item]], Sequence[Answer | Exception]],
        *,
        size: int,
        linger: float,
    ) -> None:
        self._database = database
        self._write = write
        self._size = values.count("group_commit", size)
        self._linger = values.duration("linger", linger)
        if linger and size == 1:
            raise ValueError("linger waits for others that share the commit: it takes a group_commit above 1")
        self._batch: _Batch[Item, Answer] | None = None

    async def add(self, item: Item) -> Answer:
        """Return the answer to the item after the commit that holds it.

        Cancelled before its commit the item is taken back. What the commit raises is raised for all
        items of it.
        """
        if self._size == 1:
            (answer,) = await self._database.run(self._write, [item])
        else:
            answer = await self._share(item)
        # Between the commit and the confirm something can always happen to the producer.
        await anyio.lowlevel.cancel_shielded_checkpoint()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _share(self, item: Item) -> Answer | Exception:
        batch = self._batch = self._batch or _Batch()
        batch.items.append(item)
        if len(batch.items) < self._size:
            try:
                with anyio.move_on_after(self._linger):
                    await batch.written.wait()
            except anyio.get_cancelled_exc_class():
                if self._batch is batch:
                    batch.items[:] = [other for other in batch.items if other is not item]
                raise
        if self._batch is batch:
            self._batch = None
            with anyio.CancelScope(shield=True):  # others wait for this commit too
                await self._commit(batch)
        await batch.written.wait()
        answers = zip(batch.items, batch.answers, strict=True)
        return next(answer for other, answer in answers if other is item)

    async def _commit(self, batch: _Batch[Item, Answer]) -> None:
        try:
            batch.answers = await self._database.run(self._write, batch.items)
        except Exception as error:  # each of those who wait is told
            batch.answers = [error] * len(batch.items)
        batch.written.set()

    def flush(self) -> None:
        """Commit now what has come together. What the commit raises is told to those who wait."""
        batch, self._batch = self._batch, None
        if batch is None or not batch.items:
            return
        try:
            with self._database.transaction():
                batch.answers = self._write(batch.items)
        except Exception as error:
            batch.answers = [error] * len(batch.items)
        batch.written.set()


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
        number = "SELECT coalesce(max(number), 0) + 1 FROM accepted_ids WHERE channel = ?"
        row = f"INSERT OR REPLACE INTO accepted_ids VALUES (?, ({number}), ?, ?, 0) RETURNING number"
        (number,) = self._database.one(row, self._channel, self._channel, message_id, offset)
        forget = "DELETE FROM accepted_ids WHERE channel = ? AND number <= ?"
        self._database.execute(forget, self._channel, number - self._capacity)

    def died(self, message_id: str) -> None:
        """The message with this id is among the dead letters now."""
        mark = "UPDATE accepted_ids SET dead = 1 WHERE channel = ? AND id = ?"
        self._database.execute(mark, self._channel, message_id)
