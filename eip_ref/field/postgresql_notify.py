"""PostgreSQL's NOTIFY: publish–subscribe, by asyncpg.

The database hands a notice to every connection that listens at the commit, and stores nothing. A channel
here is one channel of the database; the topic is in the notice, and each subscriber looks at the pattern by
itself. A notice has less than 8,000 bytes.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any

import anyio
import asyncpg

from .. import values
from ..message import Message
from ..publish_subscribe import Published, TopicMessage, check_pattern, check_topic, matches
from ..trace import Kind, record
from .connections import arrival, opening, reaching
from .postgresql import LOST, close
from .queue import Unsupported
from .wire import encoded, published

__all__ = ["PostgresChannel", "PostgresSubscription"]


class PostgresSubscription:
    """A receiving end: at most `capacity` messages wait; what it misses is counted."""

    def __init__(self, channel: PostgresChannel, pattern: str, capacity: int) -> None:
        self._channel, self._pattern = channel, pattern
        room = values.count("capacity", capacity)
        self._arrived: asyncio.Queue[tuple[str, str] | None] = asyncio.Queue(room)  # None at the end
        self._has_ended = False

    def hear(self, topic: str, content: str) -> None:
        if not matches(self._pattern, topic):
            return
        if self._arrived.full():
            self._channel.dropped += 1
        else:
            self._arrived.put_nowait((topic, content))

    def end(self) -> None:
        """Called when the connection has ended: what has come is received, and nothing more comes."""
        self._has_ended = True
        if self._arrived.empty():
            self._arrived.put_nowait(None)

    async def receive(self, *, timeout: float = math.inf) -> TopicMessage:
        """The next message. Raises TimeoutError, and ValueError for one that is none: it is passed over.

        Raises ConnectionError when none can come any more.
        """
        notice = None
        if not (self._has_ended and self._arrived.empty()):
            notice = await arrival(self._arrived, timeout)
        if notice is None:
            raise ConnectionError(f"{self._channel.name}: the connection was lost")
        topic, content = notice
        message = published(topic, content.encode())
        record(Kind.DELIVERED, self._channel.name, message.id)
        return message

    async def leave(self) -> None:
        """End it. Idempotent."""
        self._channel.subscriptions.discard(self)


class PostgresChannel:
    """Topics of one database: `async with PostgresChannel(url, "shop") as channel: …`."""

    def __init__(self, url: str, name: str) -> None:
        self.name = values.name("name", name)
        self.dropped = 0  #: messages for which a subscription of this channel had no room
        self.subscriptions: set[PostgresSubscription] = set()
        self._url = url
        self._one_at_a_time = asyncio.Lock()  # a connection carries out one statement at a time

    async def __aenter__(self) -> PostgresChannel:
        async with opening(self.name, LOST) as stack:
            self._connection = await asyncpg.connect(self._url)
            stack.push_async_callback(close, self._connection)
            await self._connection.add_listener(self.name, self._hear)
            self._connection.add_termination_listener(self._end)
            self._stack = stack.pop_all()
        record(Kind.OPENED, self.name, who="", role="channel")
        return self

    async def __aexit__(self, *error: Any) -> None:
        with anyio.CancelScope(shield=True):
            await self._stack.aclose()

    def _end(self, connection: object) -> None:
        for subscription in self.subscriptions:
            subscription.end()

    def _hear(self, connection: object, process: int, channel: str, notice: str) -> None:
        topic, _, content = notice.partition(" ")
        for subscription in self.subscriptions:
            subscription.hear(topic, content)

    async def publish(self, topic: str, message: Message) -> Published | None:
        """Return when it is committed. None is the answer: the database does not say who was there.

        Raises ValueError for a message of 8,000 bytes or more.
        """
        check_topic(topic)
        record(Kind.SENT, self.name, message.id, label=message.label, key=message.key, topic=topic)
        notice = f"{topic} {encoded(message).decode()}"
        try:
            with reaching(self.name, LOST):
                async with self._one_at_a_time:
                    await self._connection.execute("select pg_notify($1, $2)", self.name, notice)
        except asyncpg.InvalidParameterValueError as error:
            raise ValueError(f"{self.name} takes no message of {len(notice)} signs") from error
        return None

    async def flush(self) -> None:
        """Return when this connection has heard what was published before."""
        with reaching(self.name, LOST):
            await self._connection.fetchval("select 1")

    async def subscribe(
        self, pattern: str, *, group: str = "", capacity: int = 1_000
    ) -> PostgresSubscription:
        """Hear everything from the instant at which this returns."""
        check_pattern(pattern)
        if group:
            raise Unsupported("whoever listens gets every notice")
        subscription = PostgresSubscription(self, pattern, capacity)
        if self._connection.is_closed():
            raise ConnectionError(f"{self.name}: the connection was lost")
        self.subscriptions.add(subscription)
        return subscription
