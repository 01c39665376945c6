"""Google Pub/Sub: publish–subscribe, each subscription with messages of its own, by google-cloud-pubsub.

A channel is one topic of Pub/Sub. A subscription gets all of it, and the adapter drops what was not asked
for: the emulator heeds no filter. A message is acked when it is received: at most once from there.
"""

from __future__ import annotations

import math
from typing import Any
from uuid import uuid4

import anyio

from .. import values
from ..message import Message
from ..publish_subscribe import Published, TopicMessage, check_pattern, check_topic, matches
from ..trace import Kind, record
from .connections import opening, reaching
from .pubsub import LOST, PROJECT, PubSubQueue, clients, made, publish
from .queue import heard_once
from .wire import encoded

__all__ = ["PubSubChannel", "PubSubSubscription"]


class PubSubSubscription:
    """A receiving end. What waits for it is bounded by nothing; after seven days it is lost."""

    def __init__(self, queue: PubSubQueue, pattern: str, *, is_shared: bool) -> None:
        self._queue, self._pattern, self._is_shared = queue, pattern, is_shared
        self._left = False

    async def receive(self, *, timeout: float = math.inf) -> TopicMessage:
        """The next message. Raises TimeoutError, and ValueError for one that is none: it is passed over."""
        end = anyio.current_time() + timeout
        while True:
            message = await heard_once(self._queue, max(0.0, end - anyio.current_time()))
            if message is not None and matches(self._pattern, message.topic):
                return message

    async def leave(self) -> None:
        """End it, and remove all that waits for it, unless a group has it. Idempotent."""
        if not self._left and not self._is_shared:
            with reaching(self._queue.name, LOST):
                await self._queue.remove()
        self._left = True


class PubSubChannel:
    """Topics with the wildcards of the reference: `async with PubSubChannel(url, "shop") as channel: …`.

    Raises ConnectionError when the service is gone. `dropped` counts nothing: it keeps what waits.
    """

    def __init__(self, url: str, name: str) -> None:
        self.name = values.name("name", name)
        self.dropped = 0
        self._url, self._topic = url, f"{PROJECT}/topics/{name}"

    async def __aenter__(self) -> PubSubChannel:
        async with opening(self.name, LOST) as stack:
            self._publisher, _ = await stack.enter_async_context(clients(self._url))
            await made(self._publisher.create_topic, name=self._topic)
            self._stack = stack.pop_all()
        record(Kind.OPENED, self.name, who="", role="channel")
        return self

    async def __aexit__(self, *error: Any) -> None:
        with anyio.CancelScope(shield=True):
            await self._stack.aclose()

    async def publish(self, topic: str, message: Message) -> Published | None:
        """Return when the service has confirmed. None is the answer: it does not say who was there."""
        check_topic(topic)
        record(Kind.SENT, self.name, message.id, label=message.label, key=message.key, topic=topic)
        with reaching(self.name, LOST):
            await publish(self._publisher, self._topic, encoded(message), message, topic=topic)
        return None

    async def flush(self) -> None:
        """Nothing to wait for: what was published is confirmed."""

    async def subscribe(self, pattern: str, *, group: str = "", capacity: int = 1_000) -> PubSubSubscription:
        """Hear everything from the instant at which this returns; the members of a group share one copy.

        `capacity` is what the reference has, and a subscription of Pub/Sub has not.
        """
        check_pattern(pattern)
        values.count("capacity", capacity)
        name = f"{self.name}-{group or uuid4().hex}"
        queue = PubSubQueue(self._url, name, topic=self.name, dead_letters=False)
        await self._stack.enter_async_context(queue)
        end = PubSubSubscription(queue, pattern, is_shared=bool(group))
        self._stack.push_async_callback(end.leave)
        return end
