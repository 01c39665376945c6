"""Publish–subscribe on Kafka: one topic of the broker for a channel, and a place in it for each subscription.

A consumer gets all of a topic, so the adapter looks which messages a subscription wants. A subscription
without a group has its place in memory. The place of a group is kept by the broker, and its members share
the partitions: with one partition, one of them works and the others stand by.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any, Self
from uuid import uuid4

import anyio
from confluent_kafka import Consumer, TopicPartition

from .. import values
from ..message import Message
from ..publish_subscribe import Published, Start, TopicMessage, check_pattern, check_topic, matches
from ..signal import Signal
from ..trace import Kind, record
from .kafka import ANSWER, TICK, Writer, connection, consumer, in_thread, make_topic, once_it_leads
from .wire import encoded, published

__all__ = ["KafkaChannel", "KafkaSubscription"]

TOPIC = "topic"  #: the header that says on which topic of the channel a message was published
MEMBER = {"heartbeat.interval.ms": 500, "session.timeout.ms": 6_000}
MAX_BYTES = 1_000_000


class KafkaSubscription:
    """A receiving end: messages one by one. Those that wait here are at most `capacity`, the others there."""

    def __init__(self, consumer: Consumer, channel: str, pattern: str, capacity: int) -> None:
        self._consumer, self._channel, self._pattern = consumer, channel, pattern
        self._capacity = values.count("capacity", capacity)
        self._waiting: deque[Any] = deque()
        self._changed = Signal()
        self._places: dict[int, TopicPartition] = {}  # after what was received, by partition
        self._joined = self._left = False
        self._task: asyncio.Future[None] | None = None

    async def receive(self, *, timeout: float = math.inf) -> TopicMessage:
        """The next message. Raises TimeoutError, and ValueError for one that is none: it is passed over."""
        if not self._waiting:
            with anyio.fail_after(timeout):
                while not self._waiting:
                    await self._changed.wait()
        if len(self._waiting) == self._capacity:
            self._changed.notify_all()  # there is room again
        arrived = self._waiting.popleft()
        self._places[arrived.partition()] = _after(arrived)
        message = published(_topic(arrived), arrived.value())
        record(Kind.DELIVERED, self._channel, message.id)
        return message

    async def leave(self) -> None:
        """End it, and return when the broker knows. Idempotent."""
        if self._left:
            return
        self._left = True
        self._changed.notify_all()
        with anyio.CancelScope(shield=True):
            try:
                if self._task is not None:
                    await self._task
                self._commit()
            finally:
                await in_thread(self._consumer.close)

    # Within

    def _begin(self) -> None:
        self._task = asyncio.ensure_future(self._bring())

    async def _join(self, topic: str) -> None:
        """Become a member of the group, and return when the partitions are shared out."""
        self._consumer.subscribe([topic], on_assign=self._on_assign, on_revoke=self._on_revoke)
        self._begin()
        with anyio.fail_after(ANSWER):
            while not self._joined:
                await anyio.sleep(TICK)

    async def _bring(self) -> None:
        while not self._left:
            if len(self._waiting) >= self._capacity:
                await self._changed.wait()
                continue
            self._waiting += filter(self._wants, await in_thread(self._arrivals))
            self._changed.notify_all()

    def _arrivals(self) -> list[Any]:
        """Wait for one, then take what is there: for more the client would wait."""
        first: list[Any] = self._consumer.consume(1, TICK)
        room = self._capacity - len(self._waiting) - len(first)
        return [*first, *(self._consumer.consume(room, 0) if first and room else ())]

    def _wants(self, arrived: Any) -> bool:
        """False also for news of the connection, and for what another producer has put on no topic."""
        return arrived.error() is None and (topic := _topic(arrived)) != "" and matches(self._pattern, topic)

    def _on_assign(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self._joined = True

    def _on_revoke(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        """Others get the partitions: what was not received here is theirs."""
        self._waiting.clear()
        self._commit()

    def _commit(self) -> None:
        places, self._places = list(self._places.values()), {}
        if self._joined and places:
            with connection(self._channel):
                self._consumer.commit(offsets=places, asynchronous=False)


class KafkaChannel:
    """Topics within one topic of Kafka: `async with KafkaChannel(url, "shop") as channel: …`.

    `start` is the place of a subscription that is new: "latest", or "earliest" for all that is kept.
    """

    dropped = 0  #: the broker keeps what a subscription has not read: it misses none

    def __init__(
        self, url: str, name: str, *, partitions: int = 1, start: Start | str = Start.LATEST
    ) -> None:
        self.name = values.name("name", name)
        self._url, self._partitions = url, values.count("partitions", partitions)
        self._start = Start(start)
        self._writer = Writer(url, max_bytes=MAX_BYTES)
        self._subscriptions: list[KafkaSubscription] = []

    async def __aenter__(self) -> Self:
        with connection(self.name):
            await make_topic(self._url, self.name, partitions=self._partitions, config={})
        await self._writer.__aenter__()
        record(Kind.OPENED, self.name, who="", role="channel")
        return self

    async def __aexit__(self, *error: object) -> None:
        with anyio.CancelScope(shield=True):
            for subscription in self._subscriptions:
                await subscription.leave()
            await self._writer.__aexit__()

    async def publish(self, topic: str, message: Message) -> Published | None:
        """Return when the broker has it. None is the answer: Kafka does not say who will read it."""
        check_topic(topic)
        content = encoded(message)
        record(Kind.SENT, self.name, message.id, label=message.label, key=message.key, topic=topic)
        with connection(self.name):
            await self._writer.write(self.name, content, message.key, {TOPIC: topic.encode()})
        return None

    async def flush(self) -> None:
        """Nothing waits here: `publish` has returned after the confirm."""

    async def subscribe(self, pattern: str, *, group: str = "", capacity: int = 1_000) -> KafkaSubscription:
        """Hear everything from the instant at which this returns; the members of a group share one copy."""
        check_pattern(pattern)
        settings = MEMBER if group else {}
        reader = consumer(self._url, f"{self.name}-{group or uuid4()}", **settings)
        subscription = KafkaSubscription(reader, self.name, pattern, capacity)
        try:
            with connection(self.name):
                places = await in_thread(self._first_places, reader)
                if group:
                    await in_thread(once_it_leads, partial(_commit_first, reader, places))
                    await subscription._join(self.name)
                else:
                    reader.assign(places)
                    subscription._begin()
        except BaseException:
            await subscription.leave()
            raise
        self._subscriptions.append(subscription)
        return subscription

    def _first_places(self, reader: Consumer) -> list[TopicPartition]:
        places = [TopicPartition(self.name, number) for number in range(self._partitions)]
        for place in places:
            first, end = once_it_leads(partial(reader.get_watermark_offsets, place, ANSWER))
            place.offset = first if self._start is Start.EARLIEST else end
        return places


def _commit_first(reader: Consumer, places: Sequence[TopicPartition]) -> None:
    """Let a new group begin at these places. One that is not new keeps its own."""
    known = {each.partition for each in reader.committed(places, timeout=ANSWER) if each.offset >= 0}
    new = [each for each in places if each.partition not in known]
    if new:
        reader.commit(offsets=new, asynchronous=False)


def _after(arrived: Any) -> TopicPartition:
    return TopicPartition(arrived.topic(), arrived.partition(), arrived.offset() + 1)


def _topic(arrived: Any) -> str:
    topic: bytes | None = dict(arrived.headers() or ()).get(TOPIC)
    return (topic or b"").decode(errors="replace")
