"""Publish–subscribe on Kafka: one topic of the broker for a channel, and a place in it for each subscription.

A consumer gets all of a topic, so the adapter looks which messages a subscription wants. A subscription
without a group has its place in memory. The place of a group is kept by the broker, and its members share
the partitions: with one partition, one of them works and the others stand by.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any
from uuid import uuid4

import anyio
from confluent_kafka import Consumer, TopicPartition

from .. import values
from ..message import Message
from ..publish_subscribe import Published, Start, TopicMessage, matches
from ..signal import Signal
from .channel import BrokerChannel, BrokerSubscription
from .kafka import (
    ANSWER,
    TICK,
    KafkaAdapter,
    Writer,
    connection,
    consumer,
    in_thread,
    make_topic,
    once_it_leads,
)
from .wire import published

__all__ = ["KafkaChannel", "KafkaSubscription"]

TOPIC = "topic"  #: the header that says on which topic of the channel a message was published
MEMBER = {"heartbeat.interval.ms": 500, "session.timeout.ms": 6_000}
MAX_BYTES = 1_000_000


class KafkaSubscription(BrokerSubscription):
    """A receiving end: messages one by one. Those that wait here are at most `capacity`, the others there."""

    def __init__(self, channel: KafkaChannel, consumer: Consumer, pattern: str, capacity: int) -> None:
        super().__init__(channel)
        self._consumer, self._pattern, self._capacity = consumer, pattern, capacity
        self._arrived: deque[Any] = deque()
        self._changed = Signal()
        self._places: dict[int, TopicPartition] = {}  # after what was received, by partition
        self._joined = False
        self._task: asyncio.Future[None] | None = None

    async def _next(self, timeout: float) -> TopicMessage:
        if not self._arrived:
            with anyio.fail_after(timeout):
                while not self._arrived:
                    await self._changed.wait()
        if len(self._arrived) == self._capacity:
            self._changed.notify_all()  # there is room again
        arrived = self._arrived.popleft()
        self._places[arrived.partition()] = _after(arrived)
        return published(_topic(arrived), arrived.value())

    async def _leave(self) -> None:
        self._changed.notify_all()
        with anyio.CancelScope(shield=True):
            try:
                if self._task is not None:
                    await self._task
                self._commit()
            finally:
                await in_thread(self._consumer.close)

    # Within

    def begin(self) -> None:
        self._task = asyncio.ensure_future(self._bring())

    async def join(self, topic: str) -> None:
        """Become a member of the group, and return when the partitions are shared out."""
        self._consumer.subscribe([topic], on_assign=self._on_assign, on_revoke=self._on_revoke)
        self.begin()
        with anyio.fail_after(ANSWER):
            while not self._joined:
                await anyio.sleep(TICK)

    async def _bring(self) -> None:
        while not self._waiting.ended:
            if len(self._arrived) >= self._capacity:
                await self._changed.wait()
                continue
            self._arrived += filter(self._wants, await in_thread(self._arrivals))
            self._changed.notify_all()

    def _arrivals(self) -> list[Any]:
        """Wait for one, then take what is there: for more the client would wait."""
        first: list[Any] = self._consumer.consume(1, TICK)
        room = self._capacity - len(self._arrived) - len(first)
        return [*first, *(self._consumer.consume(room, 0) if first and room else ())]

    def _wants(self, arrived: Any) -> bool:
        """False also for news of the connection, and for what another producer has put on no topic."""
        return arrived.error() is None and (topic := _topic(arrived)) != "" and matches(self._pattern, topic)

    def _on_assign(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self._joined = True

    def _on_revoke(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        """Others get the partitions: what was not received here is theirs."""
        self._arrived.clear()
        self._commit()

    def _commit(self) -> None:
        places, self._places = list(self._places.values()), {}
        if self._joined and places:
            with connection(self._channel.name):
                self._consumer.commit(offsets=places, asynchronous=False)


class KafkaChannel(KafkaAdapter, BrokerChannel):
    """Topics within one topic of Kafka: `async with KafkaChannel(url, "shop") as channel: …`.

    `start` is the place of a subscription that is new: "latest", or "earliest" for all that is kept.
    `dropped` counts nothing: the broker keeps what a subscription has not read. It does not say who will.
    """

    def __init__(
        self, url: str, name: str, *, partitions: int = 1, start: Start | str = Start.LATEST
    ) -> None:
        super().__init__(url, name)
        self._partitions = values.count("partitions", partitions)
        self._start = Start(start)
        self._writer = Writer(url, max_bytes=MAX_BYTES)

    async def _open(self, parts: AsyncExitStack) -> None:
        await make_topic(self._url, self.name, partitions=self._partitions, config={})
        await parts.enter_async_context(self._writer)

    async def _publish(self, topic: str, message: Message, content: bytes) -> Published | None:
        await self._writer.write(self.name, content, message.key, {TOPIC: topic.encode()})
        return None

    async def _subscribe(self, pattern: str, group: str, capacity: int) -> KafkaSubscription:
        reader = consumer(self._url, f"{self.name}-{group or uuid4()}", **(MEMBER if group else {}))
        subscription = KafkaSubscription(self, reader, pattern, capacity)
        try:
            places = await in_thread(self._first_places, reader)
            if group:
                await in_thread(once_it_leads, partial(_commit_first, reader, places))
                await subscription.join(self.name)
            else:
                reader.assign(places)
                subscription.begin()
        except BaseException:
            await subscription.leave()
            raise
        self._must_be_open().push_async_callback(subscription.leave)
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
