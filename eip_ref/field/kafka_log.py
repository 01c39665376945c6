"""The log protocol on Kafka: a topic of one partition, so that all messages have one order.

`first` and `end` ask the broker, and stop the event loop for that round trip.

*Left out:* topics of many partitions, which have one order each; transactions; compaction.
"""

from __future__ import annotations

import math
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Self
from uuid import uuid4

import anyio
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from .. import values
from ..message import Handler, Message
from ..storage import OffsetGone, Record
from ..trace import Kind, record
from .kafka import (
    TICK,
    KafkaAdapter,
    Writer,
    connection,
    consumer,
    in_thread,
    make_topic,
    on_anyio,
    once_it_leads,
)
from .wire import encoded, records

__all__ = ["KafkaGroup", "KafkaLog"]

POLL = 0.05  #: seconds between two looks for a message that is waited for
NOT_THERE = KafkaError._AUTO_OFFSET_RESET  #: nothing is kept at the offset of the reader
PATIENCE = 0.01  #: seconds in which a message that is there comes, mostly


class KafkaLog(KafkaAdapter):
    """A `Log` on a broker: `async with KafkaLog("localhost:9092", "orders") as log: …`.

    Raises ConnectionError when the broker is gone, which is when it has not answered for `timeout` seconds:
    whether an append was heard is then unknown.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        acks: int | str = "all",
        max_bytes: int = 1_000_000,
        timeout: float | None = None,
    ) -> None:
        self.name = values.name("name", name)
        self._url, self._max_bytes = url, values.count("max_bytes", max_bytes)
        self._writer = Writer(url, acks=acks, max_bytes=max_bytes, timeout=timeout)
        self._timeout = self._writer.timeout
        self._reading = anyio.Lock(fast_acquire=True)

    async def _open(self, parts: AsyncExitStack) -> None:
        config = {"max.message.bytes": str(self._max_bytes), "retention.ms": "-1"}
        await make_topic(self._url, self.name, config=config, timeout=self._timeout)
        await parts.enter_async_context(self._writer)
        self._reader = consumer(self._url, f"reader-{uuid4()}", **{"auto.offset.reset": "error"})
        parts.push_async_callback(in_thread, self._reader.close)
        self._reader.assign([TopicPartition(self.name, 0, 0)])
        self._place = 0  # the offset that the reader brings next
        # A connection of its own: on the reader's, a question waits until the fetch before it is answered.
        self._asker = consumer(self._url, f"asker-{uuid4()}")
        parts.push_async_callback(in_thread, self._asker.close)

    # Bounds

    @property
    def first(self) -> int:
        """The offset of the oldest message that is kept, or `end` when there is none."""
        return self._bounds()[0]

    @property
    def end(self) -> int:
        """The offset that the next message will have."""
        return self._bounds()[1]

    def _bounds(self) -> tuple[int, int]:
        with self._reaching():
            place = TopicPartition(self.name, 0)
            ask = partial(self._asker.get_watermark_offsets, place, timeout=self._timeout)
            first, end = once_it_leads(ask)
        return first, end

    # The protocol

    async def append(self, message: Message) -> int:
        """Return the offset after the broker has confirmed. Raises TypeError for a body that is not JSON.

        With acks=0 nobody knows the offset: it is -1.
        """
        content = encoded(message)
        with self._reaching():
            record(Kind.SENT, self.name, message.id, label=message.label, key=message.key)
            confirmed = await self._writer.write(self.name, content, message.key)
        offset = -1 if confirmed.offset() is None else int(confirmed.offset())
        record(Kind.ACCEPTED, self.name, message.id, who="", key=message.key, offset=offset)
        return offset

    async def read(self, offset: int, *, limit: int = 100) -> list[Record]:
        """At most `limit` messages from `offset` on, in order. Raises `OffsetGone` and ValueError.

        The broker refuses to read what is not kept, so the bounds are asked for only where too little
        comes. What the client has here already, ahead of a reader that goes on, is still read.
        """
        values.count("offset", offset, minimum=0)
        values.count("limit", limit)
        self._must_be_open()
        async with self._reading:
            arrived, end = await in_thread(self._begin_to_read, offset, limit)
            while self._place < end and len(arrived) < limit:
                more = await in_thread(self._consume, min(limit - len(arrived), end - self._place), TICK)
                if not more:
                    end = await in_thread(self._end_of_what_is_kept)
                arrived += more
        return records(self.name, arrived, lambda each: int(each.offset()), _content)

    def _begin_to_read(self, offset: int, limit: int) -> tuple[list[Any], int]:
        """The records that come at once, and the end of the log: one visit to a thread is enough for most."""
        if offset != self._place:
            self._go_to(offset)
        arrived = self._consume(1, PATIENCE)
        if arrived and limit > 1:
            arrived += self._consume(limit - 1, 0)
        return arrived, self._place if len(arrived) == limit else self._end_of_what_is_kept()

    def _go_to(self, offset: int) -> None:
        self._reader.assign([TopicPartition(self.name, 0, offset)])
        self._place = offset

    def _consume(self, count: int, seconds: float) -> list[Any]:
        """At most so many messages: for more than there are, the client would wait."""
        with self._reaching():
            arrived = self._reader.consume(count, seconds)
            self._place = max([self._place, *map(_place_after, arrived)])
        if any(each.error() is not None and each.error().code() == NOT_THERE for each in arrived):
            self._go_to(self._place)  # the client asks no more by itself, and what was beyond may come
        return [each for each in arrived if each.error() is None]

    def _end_of_what_is_kept(self) -> int:
        """The end of the log. Raises `OffsetGone` and ValueError for the place of the reader."""
        first, end = self._bounds()
        if self._place < first:
            raise OffsetGone(self.name, self._place, first)
        if self._place > end:
            raise ValueError(f"the next offset of {self.name} is {end}, not {self._place}")
        return end

    async def wait(self, offset: int) -> None:
        """Wait until a message with this offset has been appended, by whomever."""
        values.count("offset", offset, minimum=0)
        self._must_be_open()
        while (await in_thread(self._bounds))[1] <= offset:
            await anyio.sleep(POLL)

    # More than the protocol

    async def forget(self, before: int) -> None:
        """Remove all messages before this offset. The others keep theirs."""
        admin = AdminClient({"bootstrap.servers": self._url})
        place = TopicPartition(self.name, 0, before)
        with self._reaching():
            await in_thread(admin.delete_records([place], request_timeout=self._timeout)[place].result)

    def group(self, name: str) -> KafkaGroup:
        """A reader whose progress the broker keeps."""
        self._must_be_open()
        return KafkaGroup(self, name, consumer(self._url, f"{self.name}-{name}"))


class KafkaGroup:
    """A named reader of a log: what it has committed is where it goes on. Use it with `async with`.

    The face of `durable_queue.ConsumerGroup`. A commit may move back: the broker keeps the last one.
    """

    def __init__(self, log: KafkaLog, name: str, committer: Consumer) -> None:
        self.log, self.name, self._committer = log, name, committer
        self.position = 0  #: the offset that is read next

    async def __aenter__(self) -> Self:
        self.position = await self.committed()
        return self

    async def __aexit__(self, *error: object) -> None:
        with anyio.CancelScope(shield=True):
            await in_thread(self._committer.close)

    async def committed(self) -> int:
        """The offset before which everything is done. A new group begins at the oldest message kept."""
        with connection(self.log.name):
            ask = partial(
                self._committer.committed, [TopicPartition(self.log.name, 0)], timeout=self.log._timeout
            )
            (place,) = await in_thread(once_it_leads, ask)
        return place.offset if place.offset >= 0 else (await in_thread(self.log._bounds))[0]

    async def read(self, *, limit: int = 100, timeout: float = math.inf) -> list[Record]:
        """The next messages, at least one, unless `timeout` seconds pass without any: then none."""
        values.duration("timeout", timeout, infinite=True)
        with anyio.move_on_after(timeout):
            await self.log.wait(self.position)
        found = await self.log.read(self.position, limit=limit)
        for offset, message, _ in found:
            record(Kind.DELIVERED, self.log.name, message.id, lease=None, offset=offset, group=self.name)
            self.position = offset + 1
        return found

    async def follow(self, handler: Handler) -> None:
        """Hand each message to `handler`, and commit when all that was read is done, until it is cancelled.

        Where the broker is lost it waits for it, and goes on after the last commit: what came after that
        comes again. What the handler raises comes out.
        """
        while True:
            try:
                self.position = await self.committed()
                while True:
                    await self._hand_on(handler)
            except ConnectionError as lost:
                record(Kind.NOTE, self.log.name, who="", text=f"tried again later: {lost}", group=self.name)
                await anyio.sleep(POLL)

    async def _hand_on(self, handler: Handler) -> None:
        for _, message, _ in await self.read():
            await values.finished(handler(message))
        await self.commit()

    async def commit(self, offset: int | None = None) -> int:
        """Everything before `offset`, by default all that was read, is done; returns what is committed."""
        return await self._write(self.position if offset is None else offset, "committed")

    async def seek(self, offset: int) -> None:
        """Go on from this offset, also after a restart: back for a replay, or forward to skip."""
        self.position = await self._write(offset, "sought")

    async def _write(self, offset: int, reason: str) -> int:
        place = TopicPartition(self.log.name, 0, values.count("offset", offset, minimum=0))
        with connection(self.log.name):
            await in_thread(self._committer.commit, offsets=[place], asynchronous=False)
        record(Kind.STATE, self.log.name, now=offset, reason=reason, group=self.name)
        return offset


def _place_after(arrived: Any) -> int:
    """The offset after what has arrived: a message, or the news that there are no more."""
    error = arrived.error()
    if error is None:
        return int(arrived.offset()) + 1
    if error.code() == KafkaError._PARTITION_EOF:
        return int(arrived.offset())
    if error.code() == NOT_THERE:
        return 0
    raise KafkaException(error)


def _content(arrived: Any) -> tuple[bytes, float]:
    return arrived.value(), on_anyio(arrived.timestamp()[1])
