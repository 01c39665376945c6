"""Publish–subscribe on a broker: what every adapter says in the same way, whatever the system.

An adapter brings two operations of its system: publish and subscribe. A subscription brings two as well: the
next message, and to leave. Here they get the rules of `publish_subscribe` for topics and patterns, the facts
for the trace, and an end: whoever waits is told that nothing more comes.

*Left out:* acknowledgements. What was received is not handed out again.
"""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from typing import TypeVar

import anyio

from .. import values
from ..message import EXPIRED, Message
from ..message_queue import Empty
from ..publish_subscribe import (
    Published,
    SubscriptionEnded,
    TopicMessage,
    check_pattern,
    check_topic,
    matches,
)
from ..trace import Kind, record
from .connections import Adapter, Waiting, reaching
from .queue import BrokerQueue
from .wire import encoded

__all__ = ["BrokerChannel", "BrokerSubscription", "QueueSubscription"]

T = TypeVar("T")


class BrokerChannel(Adapter):
    """Topics of a broker, opened as `async with RabbitChannel(url, "shop") as channel: …`; on asyncio only.

    Raises ConnectionError when the broker is gone: whether a message was heard is then unknown.
    """

    def __init__(self, url: str, name: str) -> None:
        self.name = values.name("name", name)
        self.dropped = 0  #: messages that a subscription missed, as far as the system tells
        self._url = url
        self._subscriptions: set[BrokerSubscription] = set()

    @abstractmethod
    async def _publish(self, topic: str, message: Message, content: bytes) -> Published | None:
        """Return when the system has it."""

    @abstractmethod
    async def _subscribe(self, pattern: str, group: str, capacity: int) -> BrokerSubscription:
        """Return when the system knows; the channel keeps what this returns until it is left."""

    async def publish(self, topic: str, message: Message) -> Published | None:
        """Return when the system has it. None is the answer of one that does not say who was there.

        Raises ValueError for what is no topic, and for a message that is larger than the system takes.
        """
        check_topic(topic)
        content = encoded(message)
        with self._reaching():
            record(Kind.SENT, self.name, message.id, label=message.label, key=message.key, topic=topic)
            return await self._publish(topic, message, content)

    async def flush(self) -> None:
        """Return when the system has all that was published here: mostly, that is so already."""
        self._must_be_open()

    async def subscribe(self, pattern: str, *, group: str = "", capacity: int = 1_000) -> BrokerSubscription:
        """Hear everything from the instant at which this returns; the members of a group share one copy.

        `capacity` is the most that waits for it, where the system knows a bound. Raises ValueError for what
        is no pattern, and `Unsupported` for what the system has not.
        """
        check_pattern(pattern)
        values.count("capacity", capacity)
        with self._reaching():
            return await self._subscribe(pattern, group, capacity)

    async def _close(self) -> None:
        for subscription in list(self._subscriptions):
            subscription.end(f"{self.name} was left")
        await super()._close()


class BrokerSubscription(ABC):
    """The receiving end: messages one by one, for any number of tasks, until it is left."""

    def __init__(self, channel: BrokerChannel) -> None:
        self._channel = channel
        self._waiting = Waiting(SubscriptionEnded)
        self._has_left = False
        self._leaving = asyncio.Lock()
        channel._subscriptions.add(self)

    @abstractmethod
    async def _next(self, timeout: float) -> TopicMessage:
        """Wait at most so long. Raises TimeoutError, and ValueError for what is no message."""

    @abstractmethod
    async def _leave(self) -> None:
        """Return when the system sends nothing more to it, also where the channel was left."""

    async def receive(self, *, timeout: float = math.inf) -> TopicMessage:
        """The next message that has not expired. Raises TimeoutError.

        Raises ValueError for what is no message: it is passed over. Raises `SubscriptionEnded` when this or
        its channel was left, also to one who waits, and ConnectionError when the system is gone and will
        bring nothing by itself.
        """
        now = asyncio.get_running_loop().time  # that is anyio's, and costs less
        end = now() + values.duration("timeout", timeout, infinite=True)
        with self._waiting:
            while (message := await self._next(timeout)).has_expired():
                self._channel.dropped += 1
                record(Kind.DROPPED, self._channel.name, message.id, who="", reason=EXPIRED)
                timeout = max(0.0, end - now())
        record(Kind.DELIVERED, self._channel.name, message.id)
        return message

    async def leave(self) -> None:
        """End it, and return when the system knows. Idempotent."""
        self.end(f"this subscription of {self._channel.name} was left")
        async with self._leaving:
            if not self._has_left:
                await self._leave()
            self._has_left = True

    def end(self, why: str) -> None:
        """Nothing more comes, and whoever waits is told. Idempotent."""
        self._waiting.end(why)
        self._channel._subscriptions.discard(self)

    async def _arrival(self, arrived: asyncio.Queue[T], timeout: float) -> T:
        """The next that has arrived, or arrives in time."""
        if not arrived.empty():  # then nobody needs a timeout, which costs more than all else here
            return arrived.get_nowait()
        with anyio.fail_after(timeout):
            return await arrived.get()


class QueueSubscription(BrokerSubscription):
    """One that is a queue of the system. A message is acked when it is received: at most once from there."""

    def __init__(self, channel: BrokerChannel, queue: BrokerQueue, pattern: str, *, is_shared: bool) -> None:
        super().__init__(channel)
        self._queue, self._pattern, self._is_shared = queue, pattern, is_shared

    async def _next(self, timeout: float) -> TopicMessage:
        end = anyio.current_time() + timeout
        while True:
            message = await self._heard(max(0.0, end - anyio.current_time()))
            if message is not None and matches(self._pattern, message.topic):
                return message

    async def _heard(self, timeout: float) -> TopicMessage | None:
        """The next message, or None when that is on no topic."""
        try:
            lease = await self._queue.receive(timeout=timeout)
        except Empty as error:
            raise TimeoutError(str(error)) from error
        await lease.ack()
        headers = dict(lease.message.headers)
        if (topic := headers.pop("topic", None)) is None:
            return None
        if headers.get("dead-letter-source") == self._queue.name:
            raise ValueError(headers["dead-letter-reason"])
        return TopicMessage.of(topic, lease.message.copy(headers=headers))

    async def _leave(self) -> None:
        """Remove all that waits for it, unless a group has it."""
        if not self._is_shared:
            with reaching(self._queue.name, self._queue._lost):
                await self._remove()

    @abstractmethod
    async def _remove(self) -> None: ...
