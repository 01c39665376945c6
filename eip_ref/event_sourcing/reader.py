"""A reader of all streams: every event once it is settled, in order of position, without a gap.

It goes on after the last position that it was given, and the store gives none above its horizon.
Nothing is taken out of the store, so any number of readers read the same events.
"""

from __future__ import annotations

import math
from typing import Self

import anyio

from ..trace import Kind, record
from .protocol import EventStore, Recorded

__all__ = ["Reader"]


class Reader:
    """Reads from `after` on, at most `limit` events at a time: `async for batch in reader`.

    It hears at once of what its own process appends; what others append it finds every `poll` seconds.
    """

    def __init__(
        self, store: EventStore, name: str, *, after: int = 0, limit: int = 100, poll: float = math.inf
    ) -> None:
        self.name = name
        self.position = after  #: of the last event that it was given
        self._store = store
        self._limit = limit
        self._poll = poll
        record(Kind.OPENED, name, who=name, role="participant", store=store.name, after=after)

    async def read(self) -> list[Recorded]:
        """The next events; none when there are none yet."""
        batch = await self._store.read_all(after=self.position, limit=self._limit)
        for position, stream, version, message, _ in batch:
            facts = {"position": position, "stream": stream, "version": version, "reader": self.name}
            record(Kind.DELIVERED, self._store.name, message.id, who=self.name, lease=None, **facts)
            self.position = position
        return batch

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Recorded]:
        """The next events, at least one. It never ends by itself."""
        while not (batch := await self.read()):
            with anyio.move_on_after(self._poll):
                await self._store.news(self.position)
        return batch
