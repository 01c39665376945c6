"""Google Pub/Sub: publish–subscribe, each subscription with messages of its own, by google-cloud-pubsub.

A channel is one topic of Pub/Sub. A subscription gets all of it, and the adapter drops what was not asked
for: the emulator heeds no filter. A message is acked when it is received: at most once from there.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from uuid import uuid4

from ..message import Message
from ..publish_subscribe import Published
from .channel import BrokerChannel, QueueSubscription
from .pubsub import LOST, PROJECT, PubSubQueue, clients, made, publish

__all__ = ["PubSubChannel", "PubSubSubscription"]


class PubSubSubscription(QueueSubscription):
    """A receiving end. What waits for it is bounded by nothing; after seven days it is lost."""

    _queue: PubSubQueue

    async def _remove(self) -> None:
        await self._queue.remove()


class PubSubChannel(BrokerChannel):
    """Topics with the wildcards of the reference: `async with PubSubChannel(url, "shop") as channel: …`.

    `dropped` counts nothing: the service keeps what waits, without a bound. It does not say who was there.
    """

    _lost = LOST

    def __init__(self, url: str, name: str) -> None:
        super().__init__(url, name)
        self._topic = f"{PROJECT}/topics/{name}"

    async def _open(self, parts: AsyncExitStack) -> None:
        self._publisher, _ = await parts.enter_async_context(clients(self._url))
        await made(self._publisher.create_topic, name=self._topic)

    async def _publish(self, topic: str, message: Message, content: bytes) -> Published | None:
        await publish(self._publisher, self._topic, content, message, topic=topic)
        return None

    async def _subscribe(self, pattern: str, group: str, capacity: int) -> PubSubSubscription:
        name, parts = f"{self.name}-{group or uuid4().hex}", self._must_be_open()
        queue = PubSubQueue(self._url, name, topic=self.name, dead_letters=False)
        await parts.enter_async_context(queue)
        end = PubSubSubscription(self, queue, pattern, is_shared=bool(group))
        parts.push_async_callback(end.leave)
        return end
