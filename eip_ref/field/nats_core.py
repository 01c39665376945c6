"""NATS without a stream: publish–subscribe and request–reply, by nats-py.

What is published goes to whoever is subscribed at that instant, and is stored nowhere: at most once. A
request is answered with *no responders* when nobody serves its subject.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import anyio
import nats
from nats.errors import Error, MaxPayloadError
from nats.js.api import Header

from ..message import Handler, Message
from ..publish_subscribe import Published, TopicMessage
from ..request_reply import NoResponder, RemoteErrors, Replier, Requestor, TransportError
from ..tasks import asyncio_tasks
from .channel import BrokerChannel, BrokerSubscription
from .connections import reaching
from .wire import decoded, encoded, published, requested

__all__ = ["LOST", "NatsChannel", "NatsSubscription", "connected", "nats_replier", "nats_requestor"]

NOBODY = "503"  #: the status with which the server answers a request that nobody can hear

LOST = (Error, OSError)


@asynccontextmanager
async def connected(
    url: str, name: str, on_error: Callable[[Exception], None] | None = None
) -> AsyncIterator[Any]:
    """A connection that comes back by itself when the server does. Who finds no server is told at once.

    `on_error` hears of what the client does not raise; it reconnects by itself, and whoever asks meanwhile
    is told.
    """
    client = nats.NATS()

    async def failed(error: Exception) -> None:
        if client.is_connecting:  # it opens another one, and forgets this
            client._transport.close()
        if on_error is not None:
            on_error(error)

    try:
        with reaching(name, LOST):
            await client.connect(url, error_cb=failed, max_reconnect_attempts=1, reconnect_time_wait=0.1)
        client.options["max_reconnect_attempts"] = -1  # for ever, and not for the first time only
        yield client
    finally:
        with anyio.CancelScope(shield=True):
            await reconnects_no_more(client)
            await client.close()


async def reconnects_no_more(client: Any) -> None:
    """Return when a reconnection under way has ended, which may overhear that it is cancelled."""
    while (under_way := client._reconnection_task) is not None and not under_way.done():
        under_way.cancel()
        await asyncio.wait([under_way], timeout=0.1)


async def carried_out(client: Any, timeout: int = 10) -> None:
    """Return when the server has done all that was asked of it before.

    A ping of the client overtakes what still waits to be written, so only the second answer tells.
    """
    await client.flush(timeout)
    await client.flush(timeout)


# Publish–subscribe


class NatsSubscription(BrokerSubscription):
    """A receiving end: messages one by one, at most `capacity` of them waiting; what it misses is counted."""

    def __init__(self, channel: NatsChannel, subscription: Any) -> None:
        super().__init__(channel)
        self._subscription = subscription

    async def _next(self, timeout: float) -> TopicMessage:
        arrived = await self._subscription.next_msg(timeout=None if timeout == math.inf else timeout)
        return published(arrived.subject.removeprefix(f"{self._channel.name}."), arrived.data)

    async def _leave(self) -> None:
        if self._channel.is_open:
            with self._channel._reaching():
                await self._subscription.unsubscribe()
            await self._channel.flush()


class NatsChannel(BrokerChannel):
    """Topics of NATS, with its own wildcards: `async with NatsChannel(url, "shop") as channel: …`.

    `dropped` counts the messages for which a subscription of this channel had no room. NATS does not say who
    was there.
    """

    _lost = LOST

    async def _open(self, parts: AsyncExitStack) -> None:
        self._client = await parts.enter_async_context(connected(self._url, self.name, self._on_error))

    def _on_error(self, error: Exception) -> None:
        if isinstance(error, nats.errors.SlowConsumerError):
            self.dropped += 1

    async def _publish(self, topic: str, message: Message, content: bytes) -> Published | None:
        try:
            await self._client.publish(f"{self.name}.{topic}", content)
        except MaxPayloadError as error:
            raise ValueError(f"{self.name} takes no message of {len(content)} bytes") from error
        return None

    async def flush(self) -> None:
        """Return when the server has all that was published here."""
        with self._reaching():
            await carried_out(self._client)

    async def _subscribe(self, pattern: str, group: str, capacity: int) -> NatsSubscription:
        subscription = await self._client.subscribe(
            f"{self.name}.{pattern}", queue=group, pending_msgs_limit=capacity
        )
        await carried_out(self._client)
        return NatsSubscription(self, subscription)


# Request–reply


@asynccontextmanager
async def nats_requestor(
    url: str, subject: str, *, name: str = "", errors: RemoteErrors | None = None
) -> AsyncIterator[Requestor]:
    """A `Requestor` whose requests go to a subject, each with an inbox of its own for the reply.

    The table of the requestor knows whose reply it is, so the client's own requests are not used.
    """
    async with connected(url, subject) as client:
        inbox = client.new_inbox()

        async def send(attempt: Message) -> None:
            try:
                await client.publish(subject, encoded(attempt), reply=f"{inbox}.{attempt.id}")
            except Error as error:
                raise ConnectionError(f"{subject}: {error}") from error

        async def arrives(reply: Any) -> None:
            attempt_id = reply.subject.rpartition(".")[2]
            if reply.headers and reply.headers.get(Header.STATUS) == NOBODY:
                requestor.refuse(attempt_id, NoResponder(f"nobody serves {subject}"))
                return
            try:
                requestor.receive_nowait(decoded(reply.data))
            except ValueError as error:
                requestor.refuse(attempt_id, TransportError(f"what came back is no reply: {error}"))

        with Requestor(send, name=name, errors=errors) as requestor:
            with reaching(subject, LOST):
                await client.subscribe(f"{inbox}.*", cb=arrives)
            yield requestor


@asynccontextmanager
async def nats_replier(
    url: str, subject: str, handle: Handler, *, name: str = "", errors: RemoteErrors | None = None
) -> AsyncIterator[Replier]:
    """A `Replier` that serves a subject; all who serve it share the requests."""
    async with connected(url, subject) as client, Replier(handle, name=name, errors=errors) as replier:

        async def serve(request: Any) -> None:
            async def send(reply: Message) -> None:
                await request.respond(encoded(reply))

            if (attempt := requested(subject, request.data)) is not None:
                await replier.respond(attempt, send)

        async with asyncio_tasks() as start:

            async def arrives(request: Any) -> None:
                start(serve(request))

            served = await client.subscribe(subject, queue="repliers", cb=arrives)
            await carried_out(client)
            try:
                yield replier
            finally:  # the server must know, or it hands the next request to a connection that ends
                with anyio.CancelScope(shield=True), suppress(*LOST):
                    await served.unsubscribe()
                    await carried_out(client, timeout=1)
