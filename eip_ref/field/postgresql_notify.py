"""PostgreSQL's NOTIFY: publish–subscribe, by asyncpg.

The database hands a notice to every connection that listens at the commit, and stores nothing. A channel
here is one channel of the database; the topic is in the notice, and each subscriber looks at the pattern by
itself. A notice has less than 8,000 bytes.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import asyncpg

from ..message import Message
from ..publish_subscribe import Published, TopicMessage, matches
from .channel import BrokerChannel, BrokerSubscription
from .postgresql import LOST, close
from .queue import Unsupported
from .wire import published

__all__ = ["PostgresChannel", "PostgresSubscription"]


class PostgresSubscription(BrokerSubscription):
    """A receiving end: at most `capacity` messages wait; what it misses is counted."""

    def __init__(self, channel: PostgresChannel, pattern: str, capacity: int) -> None:
        super().__init__(channel)
        self._pattern = pattern
        self._arrived: asyncio.Queue[tuple[str, str] | None] = asyncio.Queue(capacity)  # None at the end
        self._is_lost = False

    def hear(self, topic: str, content: str) -> None:
        if not matches(self._pattern, topic):
            return
        if self._arrived.full():
            self._channel.dropped += 1
        else:
            self._arrived.put_nowait((topic, content))

    def lose(self) -> None:
        """Called when the connection has ended: what has come is received, and nothing more comes."""
        self._is_lost = True
        if self._arrived.empty():
            self._arrived.put_nowait(None)

    async def _next(self, timeout: float) -> TopicMessage:
        notice = None
        if not (self._is_lost and self._arrived.empty()):
            notice = await self._arrival(self._arrived, timeout)
        if notice is None:
            raise ConnectionError(f"{self._channel.name}: the connection was lost")
        topic, content = notice
        return published(topic, content.encode())

    async def _leave(self) -> None:
        """Nothing to say: the channel goes on to listen for the others."""


class PostgresChannel(BrokerChannel):
    """Topics of one database: `async with PostgresChannel(url, "shop") as channel: …`.

    The database does not say who was there, and takes notices of less than 8,000 bytes.
    """

    _lost = LOST
    _subscriptions: set[PostgresSubscription]  # type: ignore[assignment]

    def __init__(self, url: str, name: str) -> None:
        super().__init__(url, name)
        self._one_at_a_time = asyncio.Lock()  # a connection carries out one statement at a time

    async def _open(self, parts: AsyncExitStack) -> None:
        self._connection = await asyncpg.connect(self._url)
        parts.push_async_callback(close, self._connection)
        await self._connection.add_listener(self.name, self._hear)
        self._connection.add_termination_listener(self._end)

    def _end(self, connection: object) -> None:
        for subscription in self._subscriptions:
            subscription.lose()

    def _hear(self, connection: object, process: int, channel: str, notice: str) -> None:
        topic, _, content = notice.partition(" ")
        for subscription in self._subscriptions:
            subscription.hear(topic, content)

    async def _publish(self, topic: str, message: Message, content: bytes) -> Published | None:
        notice = f"{topic} {content.decode()}"
        try:
            async with self._one_at_a_time:
                await self._connection.execute("select pg_notify($1, $2)", self.name, notice)
        except asyncpg.InvalidParameterValueError as error:
            raise ValueError(f"{self.name} takes no message of {len(notice)} signs") from error
        return None

    async def flush(self) -> None:
        """Return when this connection has heard what was published before."""
        with self._reaching():
            await self._connection.fetchval("select 1")

    async def _subscribe(self, pattern: str, group: str, capacity: int) -> PostgresSubscription:
        if group:
            raise Unsupported("whoever listens gets every notice")
        if self._connection.is_closed():
            raise ConnectionError(f"{self.name}: the connection was lost")
        return PostgresSubscription(self, pattern, capacity)
