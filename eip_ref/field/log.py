"""A log on a system: what every adapter says in the same way, whatever the system.

An adapter brings four operations: append, read, wait, and the bounds. A group brings two: where it is, and to
go somewhere. Here they become the log protocol of `storage`, and the group of `durable_queue`.

*Left out:* how far a group is behind: the answer would be old when it comes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio

from .. import values
from ..message import EXPIRED, Handler, Message
from ..storage import Record
from ..trace import Kind, record
from .connections import Adapter
from .wire import encoded

__all__ = ["BrokerGroup", "BrokerLog"]

LATER = 0.05  #: seconds after which a system that has gone is asked again


class BrokerLog(Adapter):
    """A `Log` of a system, opened as `async with KafkaLog(url, "orders") as log: …`; on asyncio only.

    `first` and `end` ask the system, and stop the event loop for that time. Raises ConnectionError when it is
    gone: whether an append was heard is then unknown.
    """

    def __init__(self, url: str, name: str) -> None:
        self.name = values.name("name", name)
        self._url = url

    @abstractmethod
    def _bounds(self) -> tuple[int, int]:
        """The first offset that is kept, and the end."""

    @abstractmethod
    async def _append(self, content: bytes, message: Message) -> int:
        """Return the offset when the system has confirmed."""

    @abstractmethod
    async def _read(self, offset: int, limit: int) -> list[Record]:
        """At most so many records from there on. Raises `OffsetGone`, and ValueError beyond the end."""

    @abstractmethod
    async def _wait(self, offset: int) -> None:
        """Return when there is a message with this offset."""

    @abstractmethod
    def _group(self, name: str) -> AbstractAsyncContextManager[BrokerGroup]: ...

    @property
    def first(self) -> int:
        """The offset of the oldest message that is kept, or `end` when there is none."""
        with self._reaching():
            return self._bounds()[0]

    @property
    def end(self) -> int:
        """The offset that the next message will have."""
        with self._reaching():
            return self._bounds()[1]

    async def append(self, message: Message) -> int:
        """Return the offset after the system has confirmed. Raises TypeError for a body that is not JSON."""
        content = encoded(message)
        with self._reaching():
            record(Kind.SENT, self.name, message.id, label=message.label, key=message.key)
            offset = await self._append(content, message)
        record(Kind.ACCEPTED, self.name, message.id, who="", key=message.key, offset=offset)
        return offset

    async def read(self, offset: int, *, limit: int = 100) -> list[Record]:
        """At most `limit` messages from `offset` on, in order. Raises `OffsetGone` and ValueError."""
        values.count("offset", offset, minimum=0)
        values.count("limit", limit)
        with self._reaching():
            return await self._read(offset, limit)

    async def wait(self, offset: int) -> None:
        """Wait until a message with this offset has been appended, by whomever."""
        values.count("offset", offset, minimum=0)
        with self._reaching(), self._waiting:
            await self._wait(offset)

    @asynccontextmanager
    async def group(self, name: str) -> AsyncIterator[BrokerGroup]:
        """A reader that goes on where the group of this name has committed."""
        values.name("the name of a group", name)
        self._must_be_open()
        async with self._group(name) as group:
            group.position = await group.committed()
            yield group


class BrokerGroup(ABC):
    """A named reader of a log: what it has committed is where it goes on. It reads next from `position`."""

    def __init__(self, log: BrokerLog, name: str) -> None:
        self.log, self.name = log, name
        self.position = 0

    @abstractmethod
    async def committed(self) -> int:
        """The offset before which everything is done. A new group begins at the oldest message kept."""

    @abstractmethod
    async def _go_to(self, offset: int, *, back: bool) -> int:
        """Keep this offset, or a later one of somebody else where that is no way `back`; return which."""

    async def read(self, *, limit: int = 100, timeout: float = math.inf) -> list[Record]:
        """The next messages, at least one, unless `timeout` seconds pass without any: then none.

        What has expired is dropped.
        """
        end = anyio.current_time() + values.duration("timeout", timeout, infinite=True)
        while True:
            with anyio.CancelScope(deadline=end):
                await self.log.wait(self.position)
            found = await self.log.read(self.position, limit=limit)
            wanted = [each for each in found if self._is_wanted(each)]
            if wanted or (not found and anyio.current_time() >= end):
                return wanted

    def _is_wanted(self, record_: Record) -> bool:
        offset, message, _ = record_
        self.position = offset + 1
        if expired := message.has_expired():
            facts = {"offset": offset, "group": self.name, "reason": EXPIRED}
            record(Kind.DROPPED, self.log.name, message.id, who="", **facts)
        else:
            record(Kind.DELIVERED, self.log.name, message.id, lease=None, offset=offset, group=self.name)
        return not expired

    async def follow(self, handler: Handler) -> None:
        """Hand each message to `handler`, and commit when all that was read is done, until it is cancelled.

        Where the system is lost it waits for it, and goes on after the last commit: what came after that
        comes again. What the handler raises comes out.
        """
        while True:
            try:
                self.position = await self.committed()
                while True:
                    await self._hand_on(handler)
            except ConnectionError as lost:
                record(Kind.NOTE, self.log.name, who="", text=f"tried again later: {lost}", group=self.name)
                await anyio.sleep(LATER)

    async def _hand_on(self, handler: Handler) -> None:
        for _, message, _ in await self.read():
            await values.finished(handler(message))
        await self.commit()

    async def commit(self, offset: int | None = None) -> int:
        """Everything before `offset`, by default all that was read, is done; returns what is committed."""
        return await self._tell("committed", self.position if offset is None else offset, back=False)

    async def seek(self, offset: int) -> None:
        """Go on from this offset, also after a restart: back for a replay, or forward to skip."""
        self.position = await self._tell("sought", offset, back=True)

    async def _tell(self, reason: str, offset: int, *, back: bool) -> int:
        now = await self._go_to(values.count("offset", offset, minimum=0), back=back)
        record(Kind.STATE, self.log.name, now=now, reason=reason, group=self.name)
        return now
