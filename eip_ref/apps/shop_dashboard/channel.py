"""The log between the outboxes and the views, with its one reader, the projector.

Nobody else writes into this log, so how far it is and how far the projector is are known here, and no
standing asks for them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Never, Protocol

import anyio

from ... import values
from ...durable_queue import ConsumerGroup, SQLiteLog
from ...message import Handler, Message
from ...storage import Log, Record, despite_faults

__all__ = ["Channel", "in_a_file"]

GROUP = "dashboard"


class Reader(Protocol):
    """What a channel needs of a group; it is opened at the place that it has committed."""

    position: int

    async def read(self, *, limit: int) -> list[Record]: ...

    async def commit(self, offset: int) -> int: ...

    async def seek(self, offset: int) -> None: ...


class Channel:
    """An open log, and its group of readers. `end` and `committed` are offsets, and so counts of events."""

    def __init__(self, log: Log, group: Callable[[], AbstractAsyncContextManager[Reader]]) -> None:
        self._log, self._group = log, group
        self.end = log.end
        self.committed = 0  #: before this, everything is on the views
        self._created: dict[int, float] = {}  # from `committed` on, as far as they were seen here

    @property
    def age(self) -> float:
        """The seconds for which the oldest event that is not on the views has been there; 0 for none."""
        now = anyio.current_time()
        return now - self._created.get(self.committed, now)

    async def publish(self, message: Message) -> None:
        """Return when the log has it."""
        self._has(await self._log.append(message), message)

    async def follow(self, handler: Handler) -> Never:
        """Hand on each event, and commit after each. After a fault it begins again at the last commit."""
        while True:
            await despite_faults(partial(self._follow, handler), "projector")

    async def _follow(self, handler: Handler) -> None:
        async with self._group() as group:
            self.committed = group.position
            while True:
                for offset, message, _ in await group.read(limit=20):
                    self._has(offset, message)
                    await values.finished(handler(message))
                    await group.commit(offset + 1)
                    self._created.pop(offset)
                    self.committed = offset + 1

    def _has(self, offset: int, message: Message) -> None:
        self.end = max(self.end, offset + 1)
        if offset >= self.committed:
            self._created[offset] = message.created

    async def go_back(self, events: int) -> int:
        """Let a reader that does not read now lose its place; returns how many events come again."""
        async with self._group() as group:
            again = min(events, group.position)
            await group.seek(group.position - again)
            self.committed = group.position
        return again

    async def history(self) -> AsyncIterator[Message]:
        """All events, from the first on."""
        offset = 0
        while records := await self._log.read(offset):
            for record in records:
                yield record.message
            offset = records[-1].offset + 1


@asynccontextmanager
async def in_a_file(folder: Path, settings: dict[str, Any]) -> AsyncIterator[Channel]:
    """The channel in this folder. It knows what a relay publishes twice by its id, and keeps it once."""
    async with SQLiteLog(folder / "log.db", "events", dedup=100_000, **settings) as log:
        channel = Channel(log, lambda: nullcontext(ConsumerGroup(log, GROUP)))
        await channel.go_back(0)  # to see where it is
        yield channel
