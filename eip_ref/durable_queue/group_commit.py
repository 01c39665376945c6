"""Group commit: several writers share one commit, and each of them waits for it.

Writing through to the disk takes as long for one message as for a hundred. So a write waits, for at
most `linger` seconds, until `size` of them have come together; then one transaction takes them all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import anyio
import anyio.lowlevel

__all__ = ["GroupCommit"]

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class _Batch(Generic[Item, Answer]):
    def __init__(self) -> None:
        self.items: list[Item] = []
        self.answers: Sequence[Answer | Exception] = ()
        self.written = anyio.Event()


class GroupCommit(Generic[Item, Answer]):
    """Collects items and gives them to `write`, which commits them and answers each, in order.

    An answer that is an exception is raised where that item was added.
    """

    def __init__(
        self, write: Callable[[list[Item]], Sequence[Answer | Exception]], *, size: int, linger: float
    ) -> None:
        if size < 1:
            raise ValueError(f"per_fsync must be at least 1 message, not {size}")
        if linger < 0:
            raise ValueError(f"linger must be at least 0 seconds, not {linger:g}")
        self._write = write
        self._size = size
        self._linger = linger
        self._batch: _Batch[Item, Answer] | None = None

    async def add(self, item: Item) -> Answer:
        """Return the answer to the item after the commit that holds it.

        Cancelled before its commit the item is taken back. What the commit raises is raised for all
        items of it.
        """
        batch = self._batch = self._batch or _Batch()
        batch.items.append(item)
        if len(batch.items) >= self._size:
            self.flush()
        else:
            await self._wait_for_company(batch, item)
        # Between the commit and the confirm something can always happen to the producer.
        await anyio.lowlevel.cancel_shielded_checkpoint()
        place = next(n for n, other in enumerate(batch.items) if other is item)
        answer = batch.answers[place]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _wait_for_company(self, batch: _Batch[Item, Answer], item: Item) -> None:
        try:
            with anyio.move_on_after(self._linger):
                await batch.written.wait()
        except anyio.get_cancelled_exc_class():
            if not batch.written.is_set():
                batch.items[:] = [other for other in batch.items if other is not item]
            raise
        if not batch.written.is_set():
            self.flush()

    def flush(self) -> None:
        """Commit now what has come together."""
        batch, self._batch = self._batch, None
        if batch is None or not batch.items:
            return
        try:
            batch.answers = self._write(batch.items)
        except Exception as error:  # each of those who wait is told
            batch.answers = [error] * len(batch.items)
        batch.written.set()
