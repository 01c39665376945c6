"""The log protocol on Kafka: a topic of one partition, so that all messages have one order.

*Left out:* topics of many partitions, which have one order each; transactions; compaction.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any
from uuid import uuid4

import anyio
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from .. import values
from ..message import Message
from ..storage import OffsetGone, Record
from .kafka import (
    TICK,
    KafkaAdapter,
    Writer,
    consumer,
    in_thread,
    make_topic,
    on_anyio,
    once_it_leads,
)
from .log import BrokerGroup, BrokerLog
from .wire import records

__all__ = ["KafkaGroup", "KafkaLog"]

POLL = 0.05  #: seconds between two looks for a message that is waited for
NOT_THERE = KafkaError._AUTO_OFFSET_RESET  #: nothing is kept at the offset of the reader
PATIENCE = 0.01  #: seconds in which a message that is there comes, mostly


class KafkaLog(KafkaAdapter, BrokerLog):
    """A `Log` on a broker: `async with KafkaLog("localhost:9092", "orders") as log: …`.

    The broker is gone when it has not answered for `timeout` seconds. With `acks=0` nobody knows the offset
    of what was appended: it is -1.
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
        super().__init__(url, name)
        self._max_bytes = values.count("max_bytes", max_bytes)
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

    def _bounds(self) -> tuple[int, int]:
        place = TopicPartition(self.name, 0)
        first, end = once_it_leads(partial(self._asker.get_watermark_offsets, place, timeout=self._timeout))
        return first, end

    async def _append(self, content: bytes, message: Message) -> int:
        confirmed = await self._writer.write(self.name, content, message.key)
        return -1 if confirmed.offset() is None else int(confirmed.offset())

    async def _read(self, offset: int, limit: int) -> list[Record]:
        """The broker refuses to read what is not kept, so bounds are asked for only where too little comes.

        What the client has here already, ahead of a reader that goes on, is still read.
        """
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

    async def _wait(self, offset: int) -> None:
        while (await in_thread(self._bounds))[1] <= offset:
            await anyio.sleep(POLL)

    async def forget(self, before: int) -> None:
        """Remove all messages before this offset. The others keep theirs."""
        admin = AdminClient({"bootstrap.servers": self._url})
        place = TopicPartition(self.name, 0, before)
        with self._reaching():
            await in_thread(admin.delete_records([place], request_timeout=self._timeout)[place].result)

    @asynccontextmanager
    async def _group(self, name: str) -> AsyncIterator[KafkaGroup]:
        committer = consumer(self._url, f"{self.name}-{name}")
        try:
            yield KafkaGroup(self, name, committer)
        finally:
            with anyio.CancelScope(shield=True):
                await in_thread(committer.close)


class KafkaGroup(BrokerGroup):
    """A named reader of a log: what it has committed is where it goes on.

    A commit may move back: the broker keeps the last one.
    """

    log: KafkaLog

    def __init__(self, log: KafkaLog, name: str, committer: Consumer) -> None:
        super().__init__(log, name)
        self._committer = committer

    async def committed(self) -> int:
        """The offset before which everything is done. A new group begins at the oldest message kept."""
        with self.log._reaching():
            ask = partial(
                self._committer.committed, [TopicPartition(self.log.name, 0)], timeout=self.log._timeout
            )
            (place,) = await in_thread(once_it_leads, ask)
            return place.offset if place.offset >= 0 else (await in_thread(self.log._bounds))[0]

    async def _go_to(self, offset: int, *, back: bool) -> int:
        place = TopicPartition(self.log.name, 0, offset)
        with self.log._reaching():
            await in_thread(self._committer.commit, offsets=[place], asynchronous=False)
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
