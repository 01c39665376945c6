"""RabbitMQ's exchanges: publish–subscribe by a topic exchange, request–reply by direct reply-to; aio-pika.

An exchange stores nothing: each subscription is a queue of its own, which is bound to it by a pattern, and
whatever no queue is bound for comes back to its publisher. A replier's queue is there as long as somebody
serves it, so a request that comes back has no responder. Several share it, and the broker refuses what is
shared and not durable from version 4.3 on, so it is durable; one whose users have gone with the broker is
removed a minute later.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import aio_pika
import anyio
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError, DeliveryError, PublishError

from ..message import Handler, Message
from ..publish_subscribe import Published, TopicMessage
from ..request_reply import NoResponder, RemoteErrors, Replier, Requestor, TransportError
from ..tasks import asyncio_tasks
from .channel import BrokerChannel, BrokerSubscription
from .connections import reaching
from .queue import Unsupported
from .rabbitmq import declaring
from .wire import decoded, encoded, published, requested

__all__ = ["RabbitChannel", "RabbitSubscription", "rabbit_replier", "rabbit_requestor"]

LOST = (AMQPError, ChannelInvalidStateError, OSError)
REPLY_TO = "amq.rabbitmq.reply-to"  #: the name by which a channel gets replies without a queue
RECONNECT = 0.2  #: seconds between two tries to reach a broker that has gone
UNDER_WAY = 1.0  #: seconds for a connection that nobody waits for any more
UNUSED = 60_000  #: milliseconds after which a queue goes whose users have gone with the broker


# Publish–subscribe


class RabbitSubscription(BrokerSubscription):
    """A receiving end with a queue of its own, which holds at most `capacity` messages, the newest."""

    def __init__(
        self, channel: RabbitChannel, queue: Any, arrived: asyncio.Queue[Any], tag: str, *, is_shared: bool
    ) -> None:
        super().__init__(channel)
        self._queue, self._arrived, self._tag = queue, arrived, tag
        self._is_shared = is_shared

    async def _next(self, timeout: float) -> TopicMessage:
        end = anyio.current_time() + timeout
        while True:
            delivery = await self._arrival(self._arrived, max(0.0, end - anyio.current_time()))
            if await self._is_ours(delivery):
                return published(delivery.routing_key.partition(".")[2], delivery.body)

    async def _is_ours(self, delivery: Any) -> bool:
        """Ack it. One of a connection that was lost goes to the group again, where there is one."""
        try:
            await delivery.ack()
        except LOST:
            return not self._is_shared
        return True

    async def _leave(self) -> None:
        if self._channel.is_open:
            with self._channel._reaching():
                await self._queue.cancel(self._tag)


class RabbitChannel(BrokerChannel):
    """Topics of one exchange: `async with RabbitChannel(url, "shop") as channel: …`.

    For a publisher, one receiver stands for one or more. `dropped` counts nothing: the broker evicts in
    silence.
    """

    _lost = LOST

    async def _open(self, parts: AsyncExitStack) -> None:
        self._connection = await parts.enter_async_context(_connection(self._url))
        channel = await self._connection.channel(on_return_raises=True)
        self._exchange = await channel.declare_exchange(self.name, aio_pika.ExchangeType.TOPIC)

    async def _publish(self, topic: str, message: Message, content: bytes) -> Published:
        try:
            await self._exchange.publish(aio_pika.Message(content), f"{self.name}.{topic}")
        except PublishError:
            return Published(0)
        return Published(1)

    async def _subscribe(self, pattern: str, group: str, capacity: int) -> RabbitSubscription:
        """Raises ValueError for a group that is there with another capacity."""
        key = f"{self.name}.{_in_words_of_amqp(pattern)}"
        name = f"{self.name}.{group}" if group else None
        arguments = {"x-max-length": capacity, "x-expires": UNUSED}
        arrived: asyncio.Queue[Any] = asyncio.Queue()
        with declaring(f"the queue of {group or pattern}"):
            channel = await self._connection.channel()
            await channel.set_qos(capacity)
            queue = await channel.declare_queue(
                name, durable=bool(group), auto_delete=True, exclusive=not group, arguments=arguments
            )
            await queue.bind(self._exchange, key)
            tag = await queue.consume(arrived.put)
        return RabbitSubscription(self, queue, arrived, tag, is_shared=bool(group))


def _in_words_of_amqp(pattern: str) -> str:
    """AMQP's `#` means no word too, and ours means at least one. Raises `Unsupported` for a word like it."""
    if "#" in pattern.split("."):
        raise Unsupported("'#' is a word to us and a wildcard to AMQP")
    return f"{pattern[:-1]}*.#" if pattern.endswith(">") else pattern


# Request–reply


@asynccontextmanager
async def rabbit_requestor(
    url: str, name_of_queue: str, *, name: str = "", errors: RemoteErrors | None = None
) -> AsyncIterator[Requestor]:
    """A `Requestor` whose requests go to a queue; replies come straight to its channel."""
    async with _connected(url, name_of_queue) as channel:
        hears = asyncio.Event()  # before it does, the broker closes a channel that asks for replies

        async def send(attempt: Message) -> None:
            await hears.wait()
            request = aio_pika.Message(encoded(attempt), reply_to=REPLY_TO, correlation_id=attempt.id)
            try:
                await channel.default_exchange.publish(request, name_of_queue)
            except PublishError as error:
                raise NoResponder(f"nobody serves {name_of_queue}") from error
            except (DeliveryError, *LOST) as error:
                raise ConnectionError(f"{name_of_queue}: {error}") from error

        with Requestor(send, name=name, errors=errors) as requestor:

            async def arrives(reply: Any) -> None:
                try:
                    requestor.receive_nowait(decoded(reply.body))
                except ValueError as error:
                    refusal = TransportError(f"what came back is no reply: {error}")
                    requestor.refuse(reply.correlation_id, refusal)

            async def hear(*_: object) -> None:
                replies = await channel.get_queue(REPLY_TO, ensure=False)
                await replies.consume(arrives, no_ack=True)
                hears.set()

            def is_lost(*_: object) -> None:
                hears.clear()

            channel.close_callbacks.add(is_lost)
            await hear()
            channel.reopen_callbacks.add(hear)  # the client brings back queues, and this is none
            yield requestor


@asynccontextmanager
async def rabbit_replier(
    url: str, name_of_queue: str, handle: Handler, *, name: str = "", errors: RemoteErrors | None = None
) -> AsyncIterator[Replier]:
    """A `Replier` that serves a queue; all who serve it share the requests."""
    async with (
        _connected(url, name_of_queue) as channel,
        Replier(handle, name=name, errors=errors) as replier,
    ):

        async def serve(request: Any) -> None:
            async def send(reply: Message) -> None:
                answer = aio_pika.Message(encoded(reply), correlation_id=request.correlation_id)
                await channel.default_exchange.publish(answer, request.reply_to, mandatory=False)

            if (attempt := requested(name_of_queue, request.body)) is not None:
                await replier.respond(attempt, send)
            with suppress(*LOST):  # then the broker hands the request out again, and it gets its first answer
                await request.ack()

        async with asyncio_tasks() as start:

            async def arrives(request: Any) -> None:
                start(serve(request))

            queue = await channel.declare_queue(
                name_of_queue, durable=True, auto_delete=True, arguments={"x-expires": UNUSED}
            )
            await queue.consume(arrives)
            yield replier


@asynccontextmanager
async def _connected(url: str, name: str) -> AsyncIterator[Any]:
    """A channel that comes back by itself, with its queues and consumers, when the broker does."""
    async with AsyncExitStack() as parts:
        with reaching(name, LOST):
            connection = await parts.enter_async_context(_connection(url))
            channel = await connection.channel(on_return_raises=True)
            await channel.set_qos(100)
        yield channel


@asynccontextmanager
async def _connection(url: str) -> AsyncIterator[Any]:
    """A connection that comes back by itself. It is closed also for whoever is cancelled meanwhile.

    The client forgets a connection that comes while it closes, so one that is under way is waited for.
    """
    connection = aio_pika.RobustConnection(url, reconnect_interval=RECONNECT)
    try:
        try:
            await connection.connect()
        except asyncio.CancelledError:
            with anyio.move_on_after(UNDER_WAY, shield=True):
                await connection.connected.wait()
            raise
        yield connection
    finally:
        with anyio.CancelScope(shield=True):
            await connection.close()
