"""Publish–subscribe with one mistake each, as close to the right one as a mistake usually is."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

from eip_ref.backpressure import Offer
from eip_ref.message import Message
from eip_ref.message_queue import Settled
from eip_ref.publish_subscribe import (
    Delivery,
    Member,
    PartitionedTopic,
    Published,
    PublishSubscribeChannel,
    Subscription,
    TopicMessage,
)
from eip_ref.publish_subscribe.channel import SubscriberBuffer
from eip_ref.publish_subscribe.cursor import Cursor
from eip_ref.publish_subscribe.topics import Interest
from eip_ref.trace import Kind, acting, record

T = TypeVar("T")
Handler = Callable[[Message], Awaitable[object]]


# Channels


class _LiveInterest(Interest[T]):
    def matching(self, topic: str) -> list[T]:
        return self._plain.get(topic, [])


class IteratesAListThatPublishMutates(PublishSubscribeChannel):
    """Goes through the subscribers themselves: when one is disconnected, the next is skipped."""

    def __init__(self, name: str, *, retain: int = 0) -> None:
        super().__init__(name, retain=retain)
        self._interest = _LiveInterest()


class OneChannelForAllSockets(PublishSubscribeChannel):
    """E5: every socket reads the same channel, so they compete, and each sees a part."""

    def subscribe(self, pattern: str, **settings: Any) -> Subscription:
        return self.join("sockets", pattern, **settings)


class ClaimsDurability(PublishSubscribeChannel):
    """E9: calls a live subscription durable; who is away never hears of what was published."""

    def durable(self, name: str, pattern: str, **settings: Any) -> Subscription:  # type: ignore[override]
        return self.subscribe(pattern, name=name, when_full=settings["when_full"])


class AwaitsTheSlowest(PublishSubscribeChannel):
    """Gives the message to one after the other, and waits for each before it goes on to the next."""

    async def publish(self, topic: str, message: Message) -> Published:
        buffers = self._interest.matching(topic)
        for buffer in buffers:
            offer = buffer.offer(TopicMessage.of(topic, message))
            await self._taken([offer] if isinstance(offer, Offer) else [])
        return Published(len(buffers))


# Buffers


class _OtherBuffer(PublishSubscribeChannel):
    buffer: type[SubscriberBuffer]

    def _open(self, *settings: Any) -> SubscriberBuffer:
        buffer = super()._open(*settings)
        buffer.__class__ = self.buffer
        return buffer


class _Shares(SubscriberBuffer):
    def _sent(self, message: Message) -> Message:
        super()._sent(message)
        return message


class SharesTheMessage(_OtherBuffer):
    """Gives everybody the same object: what one changes, all see."""

    buffer = _Shares


class _DropsInSilence(SubscriberBuffer):
    def _drop(self, message: Message, reason: str, *, by: str = "") -> None:
        self.dropped[reason] += 1


class DropsInSilence(_OtherBuffer):
    """A full buffer loses messages, and nobody can say which."""

    buffer = _DropsInSilence


class _TakesTheNewest(SubscriberBuffer):
    def take(self, who: str) -> Message:
        self._waiting.waiting.rotate(1)
        return super().take(who)


class TakesTheNewest(_OtherBuffer):
    """A stack is not a queue: what one publisher sent later comes first."""

    buffer = _TakesTheNewest


# Handlers


async def awaits_handlers_in_sequence(
    served: list[tuple[Subscription, Handler]],
) -> None:
    """One loop for all subscribers: each waits for the handlers of the others."""
    while True:
        for inbox, handle in served:
            with acting(inbox.name):
                await handle(await inbox.receive())


async def one_failing_handler_cancels_all(served: list[tuple[Subscription, Handler]]) -> None:
    """A task for each, in one group, and nothing that catches: the first error ends them all."""

    async def serve(inbox: Subscription, handle: Handler) -> None:
        with acting(inbox.name):
            async for message in inbox:
                await handle(message)

    async with anyio.create_task_group() as group:
        for inbox, handle in served:
            group.start_soon(serve, inbox, handle)


# Partitions


class _OtherCursor(PartitionedTopic):
    cursor: type[Cursor]

    def join(self, group: str, **settings: Any) -> Member:
        member = super().join(group, **settings)
        for cursor in member.group.cursors:
            cursor.__class__ = self.cursor
        return member


class _CommitsWithoutFencing(Cursor):
    def settle(self, delivery: Delivery, kind: Kind, **facts: Any) -> Settled:
        record(kind, self.name, delivery.message.id, lease=delivery.lease, offset=delivery.offset)
        self._out = OrderedDict(
            (offset, out) for offset, out in self._out.items() if offset > delivery.offset
        )
        self.position = max(self.position, delivery.offset + 1)
        return Settled.DONE


class CommitsWithoutFencing(_OtherCursor):
    """Takes the commit of whoever sends one, also of a member whose partition has moved."""

    cursor = _CommitsWithoutFencing


class _ResumesWhereItHadRead(Cursor):
    def _rewind(self, reason: str) -> None:
        position = self.position
        super()._rewind(reason)
        self.position = position


class ResumesWhereItHadRead(_OtherCursor):
    """The new owner goes on after what the old one had read, which is not what it had done."""

    cursor = _ResumesWhereItHadRead


class _CommitsTheHighest(Cursor):
    def settle(self, delivery: Delivery, kind: Kind, **facts: Any) -> Settled:
        for out in self._out.values():
            if out.offset < delivery.offset:
                out.ending = Kind.NOTE, {"text": "nobody said that it was done"}
        return super().settle(delivery, kind, **facts)


class CommitsTheHighest(_OtherCursor):
    """An ack of one message commits all before it, also those that somebody still works on."""

    cursor = _CommitsTheHighest


class _Greedy(Member):
    def receive_nowait(self) -> Delivery:
        for cursor in self.group.cursors:
            delivery = cursor.take(self.name)
            if delivery is not None:
                return delivery
        raise anyio.WouldBlock


class EverybodyReadsEverything(PartitionedTopic):
    """Members that do not ask who owns a partition: two work on the same one."""

    def join(self, group: str, **settings: Any) -> Member:
        member = super().join(group, **settings)
        member.__class__ = _Greedy
        return member
