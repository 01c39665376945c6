"""Group commit: several writers share one commit, and each of them waits for it.

Writing through to the disk takes as long for one message as for a hundred. So a write waits, for at
most `linger` seconds, until `size` of them have come together; then one transaction takes them all.
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
