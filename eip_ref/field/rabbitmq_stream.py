"""The log protocol on a stream of RabbitMQ, by aio-pika over AMQP.

A confirm of AMQP tells no offset, so a writer reads its records back, and hears at which offsets they are.
Nor does AMQP tell where a stream ends: whoever reads there waits. So the last piece of the stream is read,
which comes at once, and in one go. Only of an empty stream nothing comes: one that has had no record yet
counts as empty after `EMPTY` seconds. Whoever reads on where the last read ended has the same consumer,
to which at most as many records are under way as that read wanted. Where a group is, the broker keeps for
clients of its own protocol only; here it is in a stream beside the log.

Each segment of a stream takes its first offset for itself: from one segment to the next there is a gap.
A stream that was made less than a second before its broker is killed is lost, with what was confirmed in it.

`first` and `end` ask on a connection of their own.

*Left out:* the stream protocol, with its plugin and its port, which is quicker; super streams.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

import aio_pika
import anyio
from aio_pika.exceptions import (
    AMQPError,
    ChannelInvalidStateError,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
)
from aiormq.exceptions import ConnectionInternalError

from .. import values
from ..message import Message
from ..storage import OffsetGone, Record
from .connections import unbroken
from .log import BrokerGroup, BrokerLog
from .queue import Unsupported
from .wire import clock_shift, encoded, records

__all__ = ["RabbitStreamGroup", "RabbitStreamLog"]

LOST = (AMQPError, ChannelInvalidStateError, ConnectionError)
T = TypeVar("T")

ANSWER = 10.0  #: seconds in which the broker answers, or has gone
EMPTY = 0.5  #: seconds without a record after which a stream is empty that has told of none yet
ALL = 65_535  #: records that may be under way to one reader; AMQP knows no larger number
READ_BACK, TOGETHER = 1_000, 100  #: records that may be under way to a writer, and that it acks at once
OFFSET = "x-stream-offset"


class RabbitStreamLog(BrokerLog):
    """A `Log` on a broker: `async with RabbitStreamLog(url, "orders") as log: …`.

    The broker evicts whole segments, when there are more than `max_bytes` in all; by itself it keeps
    everything.
    """

    _lost = LOST

    def __init__(
        self, url: str, name: str, *, max_bytes: int | None = None, segment_bytes: int | None = None
    ) -> None:
        super().__init__(url, name)
        self._arguments: dict[str, Any] = {"x-queue-type": "stream"}
        if max_bytes is not None:
            self._arguments["x-max-length-bytes"] = values.count("max_bytes", max_bytes)
        if segment_bytes is not None:
            sizes = values.count("segment_bytes", segment_bytes)
            self._arguments["x-stream-max-segment-size-bytes"] = sizes
        self._known = 0  # the end, as far as it was seen here
        self._connection: Any = None
        self._channel: Any = None  # for appends
        self._one_at_a_time, self._one_writer = asyncio.Lock(), asyncio.Lock()
        self._mark, self._appends = uuid4().hex, itertools.count()
        self._places: dict[str, asyncio.Future[int]] = {}  # of appends whose offsets are not known yet
        self._kept: Reader | None = None  # of the last read

    async def _open(self, parts: AsyncExitStack) -> None:
        parts.push_async_callback(self._disconnect)
        await self._connected()

    async def _disconnect(self) -> None:
        async with self._one_at_a_time:
            connection, self._connection = self._connection, None
            if connection is not None:
                await connection.close()

    async def _connected(self) -> Any:
        """The connection, a new one when the last was lost."""
        async with self._one_at_a_time:
            self._must_be_open()
            if self._connection is None:
                self._connection = await _once_it_is_there(self._declared)
        return self._connection

    async def _declared(self) -> Any:
        """A new connection, by which the stream was made, unless it was there."""
        connection = await aio_pika.connect(self._url)
        try:
            async with await _channel(connection) as channel:
                await channel.declare_queue(self.name, durable=True, arguments=self._arguments)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await connection.close()
            raise
        return connection

    async def _new_channel(self) -> Any:
        """A channel, by a new connection when it turns out that the last was lost."""
        connection = await self._connected()
        try:
            return await _channel(connection)
        except ConnectionError:
            if self._connection is connection:
                self._connection = None
        return await _channel(await self._connected())

    def _bounds(self) -> tuple[int, int]:
        self._must_be_open()

        async def ask() -> tuple[int, int]:
            other = RabbitStreamLog(self._url, self.name)
            other._arguments = self._arguments
            async with other:
                end = await other._end()
                return await other._first() if end else 0, end

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, ask()).result()

    async def _end(self) -> int:
        """The offset after the last record that is there now."""
        wait = ANSWER if self._known or await unbroken(self._has_some()) else EMPTY
        with suppress(TimeoutError):
            await self._batch("last", ALL, wait)
        return self._known

    async def _has_some(self) -> bool:
        """True when the broker says so, which it does some seconds late."""
        async with await self._new_channel() as channel:
            queue = await channel.declare_queue(self.name, passive=True)
            return bool(queue.declaration_result.message_count)

    # Appended

    async def _append(self, content: bytes, message: Message) -> int:
        mark = f"{self._mark}-{next(self._appends)}"
        place: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._places[mark] = place
        sent = aio_pika.Message(content, message_id=mark, headers={"at": repr(time.time())})
        try:
            if (channel := self._channel) is None or channel.is_closed:
                channel = await unbroken(self._writing())
            await channel.default_exchange.publish(sent, self.name)
            return await place
        finally:
            del self._places[mark]
            place.cancel()

    async def _writing(self) -> Any:
        """The channel for appends, which reads them back from the instant of its opening."""
        async with self._one_writer:
            if self._channel is None or self._channel.is_closed:
                channel = await self._new_channel()
                await channel.set_qos(READ_BACK)
                queue = await channel.get_queue(self.name, ensure=False)
                await queue.consume(self._read_back, arguments={OFFSET: "next"})
                channel.close_callbacks.add(self._end_appends)
                self._channel = channel
        return self._channel

    async def _read_back(self, arrived: Any) -> None:
        place = self._places.get(arrived.message_id)
        if place is not None and not place.done():
            place.set_result(_offset(arrived))
        self._known = max(self._known, _offset(arrived) + 1)
        if arrived.delivery_tag % TOGETHER == 0:
            await arrived.ack(multiple=True)

    def _end_appends(self, channel: object, error: BaseException | None) -> None:
        for place in self._places.values():
            if not place.done():
                place.set_exception(ConnectionError(f"the connection was lost: {error}"))

    # Read

    async def _read(self, offset: int, limit: int) -> list[Record]:
        if offset >= self._known and offset >= (end := await self._end()):
            if offset > end:
                raise ValueError(f"the next offset of {self.name} is {end}, not {offset}")
            return []
        found = await self._go_on(offset, min(limit, ALL))
        if found[0].offset > offset and (first := await self._first()) > offset:
            raise OffsetGone(self.name, offset, first)
        return found

    async def _go_on(self, offset: int, limit: int) -> list[Record]:
        """Some of the records from there on, by the consumer of the last read where it has come so far.

        One whose read failed or was cancelled is closed, since it may have lost what it had taken.
        """
        reader, self._kept = self._kept, None
        if reader is not None and not reader.can_go_on(offset, limit):
            await unbroken(_close(reader))
            reader = None
        if reader is None:
            reader = await self._open_reader(offset, limit)
        try:
            with anyio.fail_after(ANSWER):
                found = await reader.take(limit, self._known)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await _close(reader)
            raise
        self._known = max(self._known, reader.place)
        other, self._kept = self._kept, reader
        if other is not None:  # of somebody who reads at the same time
            await unbroken(_close(other))
        return records(self.name, found, _offset, _content)

    async def _first(self) -> int:
        return _offset((await self._batch("first", 1, ANSWER))[0])

    async def _batch(self, place: int | str, limit: int, timeout: float) -> list[Any]:
        """The records that come in one go from there on. Raises TimeoutError when none does in time."""
        async with self._reader(place, limit) as reader:
            with anyio.fail_after(timeout):
                found = [await reader.next()]
            # The answer comes after all that was sent before it.
            await unbroken(reader.queue.cancel(reader.tag))
            while not reader.arrived.empty():
                found.append(await reader.next())
        self._known = max(self._known, _offset(found[-1]) + 1)
        return found

    @asynccontextmanager
    async def _reader(self, place: int | str, limit: int) -> AsyncIterator[Reader]:
        reader = await self._open_reader(place, limit)
        try:
            yield reader
        finally:
            with anyio.CancelScope(shield=True):
                await _close(reader)

    async def _open_reader(self, place: int | str, limit: int) -> Reader:
        return await unbroken(_once_it_is_there(partial(self._consume, place, limit)), _close)

    async def _consume(self, place: int | str, limit: int) -> Reader:
        arrived: asyncio.Queue[Any] = asyncio.Queue()
        channel = await self._new_channel()
        await channel.set_qos(limit)
        queue = await channel.get_queue(self.name, ensure=False)
        tag = await queue.consume(arrived.put, arguments={OFFSET: place})
        channel.close_callbacks.add(lambda *_: arrived.put_nowait(None))
        if channel.is_closed:
            raise ConnectionError("the connection was lost")
        return Reader(queue, tag, arrived, limit)

    async def _wait(self, offset: int) -> None:
        if offset < self._known:
            return
        async with self._reader(offset, 100) as reader:
            while _offset(message := await reader.next()) < offset:
                await message.ack()

    async def forget(self, before: int) -> None:
        """Not to be had. Raises `Unsupported`."""
        raise Unsupported("a stream evicts whole segments, by size or age: nobody evicts by hand")

    # Groups

    @asynccontextmanager
    async def _group(self, name: str) -> AsyncIterator[RabbitStreamGroup]:
        places = RabbitStreamLog(self._url, f"{self.name}.{name}", max_bytes=1_000_000, segment_bytes=100_000)
        async with places:
            yield RabbitStreamGroup(self, name, places)


@dataclass(eq=False, slots=True)
class Reader:
    """A consumer with a channel of its own, so that whoever is cancelled leaves nothing behind."""

    queue: Any
    tag: str
    arrived: asyncio.Queue[Any]  #: None after the connection was lost
    limit: int  #: of the records that are under way to it
    place: int = -1  #: after what was taken

    def can_go_on(self, offset: int, limit: int) -> bool:
        return self.place == offset and limit <= self.limit and not self.queue.channel.is_closed

    async def next(self) -> Any:
        if (message := await self.arrived.get()) is None:
            raise ConnectionError("the connection was lost")
        return message

    async def take(self, limit: int, end: int) -> list[Any]:
        """So many records, or those before `end` and what has come beyond them: one at least."""
        found = [await self.next()]
        while len(found) < limit and (_offset(found[-1]) + 1 < end or not self.arrived.empty()):
            found.append(await self.next())
        await found[-1].ack(multiple=True)
        self.place = _offset(found[-1]) + 1
        return found


class RabbitStreamGroup(BrokerGroup):
    """A named reader of a log: what it has committed is where it goes on. A commit may move back."""

    def __init__(self, log: RabbitStreamLog, name: str, places: RabbitStreamLog) -> None:
        super().__init__(log, name)
        self._places = places

    async def committed(self) -> int:
        with self._places._reaching():
            end = await self._places._end()
            return int((await self._places._read(end - 1, 1))[-1].message.body) if end else 0

    async def _go_to(self, offset: int, *, back: bool) -> int:
        place = Message(offset)
        with self._places._reaching():
            await self._places._append(encoded(place), place)
        return offset


async def _once_it_is_there(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again while the broker, just started, has not begun all the streams that it knows.

    Of such a stream it says that it is not there, or closes the connection with an internal error.
    """
    end = anyio.current_time() + ANSWER
    while True:
        try:
            return await ask()
        except (ChannelNotFoundEntity, ChannelPreconditionFailed, ConnectionInternalError) as error:
            if anyio.current_time() > end or "inequivalent" in str(error):
                raise
        await asyncio.sleep(0.1)


async def _channel(connection: Any) -> Any:
    try:
        return await connection.channel(on_return_raises=True)
    except RuntimeError as error:  # so does the client call a connection that it has lost
        raise ConnectionError(str(error)) from error


async def _close(reader: Reader) -> None:
    with suppress(*LOST):
        await reader.queue.channel.close()


def _offset(arrived: Any) -> int:
    return int(arrived.headers[OFFSET])


def _content(arrived: Any) -> tuple[bytes, float]:
    return arrived.body, float(arrived.headers["at"]) - clock_shift()
