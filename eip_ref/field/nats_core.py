"""NATS without a stream: publish–subscribe and request–reply, by nats-py.

What is published goes to whoever is subscribed at that instant, and is stored nowhere: at most once. A
request is answered with *no responders* when nobody serves its subject.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import nats
from nats.errors import Error, MaxPayloadError
from nats.js.api import Header

from .. import values
from ..message import Handler, Message
from ..publish_subscribe import Published, TopicMessage, check_pattern, check_topic
from ..request_reply import NoResponder, RemoteErrors, Replier, Requestor, TransportError
from ..tasks import asyncio_tasks
from ..trace import Kind, record
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


class NatsSubscription:
    """A receiving end: messages one by one, at most `capacity` of them waiting; what it misses is counted."""

    def __init__(self, client: Any, subscription: Any, channel: str) -> None:
        self._client, self._subscription, self._channel = client, subscription, channel

    async def receive(self, *, timeout: float = math.inf) -> TopicMessage:
        """The next message. Raises TimeoutError, and ValueError for one that is none: it is passed over."""
        arrived = await self._subscription.next_msg(timeout=None if timeout == math.inf else timeout)
        message = published(arrived.subject.removeprefix(f"{self._channel}."), arrived.data)
        record(Kind.DELIVERED, self._channel, message.id)
        return message

    async def leave(self) -> None:
        """End it, and return when the server knows. Idempotent."""
        await self._subscription.unsubscribe()
        await carried_out(self._client)


class NatsChannel:
    """Topics of NATS, with its own wildcards: `async with NatsChannel(url, "shop") as channel: …`."""

    def __init__(self, url: str, name: str) -> None:
        self.name = values.name("name", name)
        self.dropped = 0  #: messages for which a subscription of this channel had no room
        self._url = url

    async def __aenter__(self) -> NatsChannel:
        self._connection = connected(self._url, self.name, self._on_error)
        self._client = await self._connection.__aenter__()
        record(Kind.OPENED, self.name, who="", role="channel")
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._connection.__aexit__(None, None, None)

    def _on_error(self, error: Exception) -> None:
        if isinstance(error, nats.errors.SlowConsumerError):
            self.dropped += 1

    async def publish(self, topic: str, message: Message) -> Published | None:
        """Hand it to the server. None is the answer: NATS does not say who was there.

        Raises ValueError for a message that is larger than the server takes.
        """
        check_topic(topic)
        record(Kind.SENT, self.name, message.id, label=message.label, key=message.key, topic=topic)
        content = encoded(message)
        with reaching(self.name, LOST):
            try:
                await self._client.publish(f"{self.name}.{topic}", content)
            except MaxPayloadError as error:
                raise ValueError(f"{self.name} takes no message of {len(content)} bytes") from error
        return None

    async def flush(self) -> None:
        """Return when the server has all that was published here."""
        with reaching(self.name, LOST):
            await carried_out(self._client)

    async def subscribe(self, pattern: str, *, group: str = "", capacity: int = 1_000) -> NatsSubscription:
        """Hear everything from the instant at which this returns; the members of a group share one copy."""
        check_pattern(pattern)
        values.count("capacity", capacity)
        with reaching(self.name, LOST):
            subscription = await self._client.subscribe(
                f"{self.name}.{pattern}", queue=group, pending_msgs_limit=capacity
            )
            await carried_out(self._client)
        return NatsSubscription(self._client, subscription, self.name)


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
