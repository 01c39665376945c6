"""The channel and its live subscriptions: each has a bounded buffer, and its own policy for a full one.

They promise at most once: a message that was taken is never handed out again, and one that is
published while nobody is subscribed is never heard of.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Self, cast

import anyio.lowlevel

from .. import values
from ..backpressure import Buffer, BufferClosed, Offer, WhenFull
from ..message import Message
from ..signal import ReceivingEnd, on_death
from ..trace import Kind, record, whoami
from .cursor import Cursor, DurableSubscriber, RetainedLog
from .topics import (
    ChannelClosed,
    Interest,
    Published,
    Start,
    SubscriptionEnded,
    TopicMessage,
    check_pattern,
    check_topic,
    policy_of,
)

OnEnd = Callable[["SubscriberBuffer"], object]
POLICIES = (WhenFull.BLOCK, WhenFull.DROP_NEWEST, WhenFull.DROP_OLDEST, WhenFull.DISCONNECT)


class SubscriberBuffer(Buffer):
    """The buffer of one subscription, or of one group. What never got in counts as missed too."""

    def __init__(
        self, name: str, pattern: str, when_full: WhenFull | str, capacity: int, on_end: OnEnd
    ) -> None:
        check_pattern(pattern)
        policy = policy_of("a subscriber", when_full, POLICIES)
        super().__init__(name, capacity, when_full=policy, pattern=pattern)
        self.pattern = pattern
        self.members = 0
        self.is_shared = False  #: by a group, which others may join
        self._on_end = on_end

    def _sent(self, message: Message) -> Message:
        cast(TopicMessage, message).record_sent(self.name)
        return message.copy()

    def close(self) -> None:
        """Take no more. What waits here with its publisher was published before, and still gets in."""
        self._end("closed")

    def _end(self, reason: str) -> None:
        if not self.ended:
            super()._end(reason)
            self._on_end(self)

    def _turn_away(self, offer: Offer, reason: str) -> None:
        record(Kind.ACCEPTED, self.name, offer.message.id, who="", key=offer.message.key)
        self._accepted += 1
        self._drop(offer.message, reason)
        offer.settled.set()


class Subscription(ReceivingEnd[TopicMessage]):
    """One receiving end of a subscriber's buffer: its only one, or a member of the group that shares it.

    `with channel.subscribe(…) as subscription: async for message in subscription: …`
    """

    def __init__(self, buffer: SubscriberBuffer, name: str) -> None:
        self.name = name
        self.signal = buffer.signal
        self._buffer = buffer
        self._left = False
        self._life = ExitStack()
        self._life.enter_context(on_death(partial(self._leave, "its subscriber died")))
        buffer.members += 1

    @property
    def where(self) -> str:
        """The name of the subscription, such as 'orders.* → billing'."""
        return self._buffer.name

    @property
    def dropped(self) -> Counter[str]:
        """The number of messages that this subscription, or its group, has missed, by reason."""
        return self._buffer.dropped

    def __len__(self) -> int:
        """The number of messages that wait in the buffer."""
        return len(self._buffer)

    def receive_nowait(self) -> TopicMessage:
        """Take the oldest message. Raises `anyio.WouldBlock`, `SubscriptionEnded`, `Disconnected`.

        A subscriber that was disconnected for being slow gets what was in its buffer first.
        """
        if self._left:
            raise SubscriptionEnded(f"{self.name} has left {self.where}")
        try:
            return cast(TopicMessage, self._buffer.take(self.name))
        except BufferClosed:
            raise SubscriptionEnded(f"{self.where} has ended: {self._buffer.ended}") from None

    def leave(self) -> None:
        """Unsubscribe. When nobody else shares the buffer, what is in it is dropped and counted.

        Safe at any time, also while a message is being published. Idempotent.
        """
        self._leave("unsubscribed")

    def _leave(self, reason: str) -> None:
        if self._left:
            return
        self._left = True
        self._life.close()
        self._buffer.members -= 1
        if not self._buffer.members:
            self._buffer.discard(reason)
        self.signal.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.leave()


class PublishSubscribeChannel:
    """Topics, their subscribers, and, with `retain`, a log of the newest messages of all topics.

    Topics need not be made and are never kept: only subscriptions cost memory.
    """

    def __init__(self, name: str, *, retain: int = 0) -> None:
        """`retain` is how many messages the log keeps; 0 means no log and no durable subscriptions."""
        self.name = values.name("name", name)
        kept = values.count("retain", retain, minimum=0)
        self.log = RetainedLog(f"{name}.log", kept) if kept else None
        self._interest: Interest[SubscriberBuffer] = Interest()
        self._buffers: dict[str, SubscriberBuffer] = {}
        self._durable: dict[str, Cursor] = {}
        self._numbers = itertools.count(1)  # of subscribers without a name
        self._closed = False

    def __len__(self) -> int:
        """The number of subscriptions; a group is one."""
        return len(self._buffers) + sum(not cursor.ended for cursor in self._durable.values())

    # Subscribing

    def subscribe(
        self, pattern: str, *, when_full: WhenFull | str, capacity: int = 16, name: str | None = None
    ) -> Subscription:
        """Hear everything that is published from this very moment on. At most once; see `durable`.

        `capacity` messages wait in a buffer of its own; `when_full` must be named. The name is that
        of the participant that acts here, unless given. Raises ValueError for a name that is
        subscribed to the same pattern already, and `ChannelClosed`.
        """
        name = self._named(name)
        return Subscription(self._open(f"{pattern} → {name}", pattern, when_full, capacity), name)

    def join(
        self,
        group: str,
        pattern: str,
        *,
        when_full: WhenFull | str,
        capacity: int = 16,
        name: str | None = None,
    ) -> Subscription:
        """Share one subscription with all members of the group: each message goes to one of them.

        Raises ValueError when the group exists with another capacity or policy, or a subscriber has its
        name, and `ChannelClosed`.
        """
        where = f"{pattern} → {values.name('group', group)}"
        buffer = self._buffers.get(where)
        if buffer is None or not buffer.is_shared:
            buffer = self._open(where, pattern, when_full, capacity)
            buffer.is_shared = True
        elif (buffer.when_full, buffer.capacity) != (when_full, capacity):
            raise ValueError(
                f"the group {group} has a buffer of {buffer.capacity} and the policy '{buffer.when_full}'; "
                "every member must join with the same"
            )
        return Subscription(buffer, self._named(name))

    def durable(
        self, name: str, pattern: str, *, when_full: WhenFull | str, start: int | Start | str = Start.LATEST
    ) -> DurableSubscriber:
        """The durable subscription with this name; the first time, make it, from `start` on.

        It stays when its subscriber leaves or crashes. Whoever connects later, by `with` or by receiving,
        takes it over, from the committed position; asking for that position takes nothing over. Raises
        ValueError without a log, for a start that is not in the log, for a policy that a log does not
        have, when the subscription exists with another pattern or policy, and when a live one has its
        name; and `ChannelClosed` when it would have to be made.
        """
        cursor = self._durable.get(name)
        if cursor is None or (cursor.ended and cursor.told):
            cursor = self._durable[name] = self._new_cursor(name, pattern, when_full, start)
        elif (cursor.pattern, cursor.when_full) != (pattern, when_full):
            raise ValueError(
                f"{name} is subscribed to {cursor.pattern!r} with the policy '{cursor.when_full}'; connect "
                "with the same, or unsubscribe it first"
            )
        return DurableSubscriber(cursor, name)

    def unsubscribe(self, name: str) -> None:
        """End a durable subscription for good; what it has not acked is dropped and counted.

        Raises KeyError when there is none of this name.
        """
        self._durable.pop(name).end("unsubscribed")

    # Publishing

    async def publish(self, topic: str, message: Message) -> Published:
        """Give a copy of the message to everybody who is subscribed to the topic now, and say how many.

        All have it at once, but those without room whose policy is to block: for them it waits.
        Cancelling that wait makes them miss the message, counted; others may have it. Raises
        `ChannelClosed`, when nobody has it, ValueError for a topic with wildcards, and, where there is a
        log, TypeError for a message that is not JSON.
        """
        check_topic(topic)
        await anyio.lowlevel.checkpoint()
        mine = TopicMessage.of(topic, message)
        kept = Published(0) if self.log is None else await self.log.publish(mine)
        if self._closed:
            self._refuse(mine, "closed")
            raise ChannelClosed(f"{self.name} is closed and takes no more messages")
        buffers = self._interest.matching(topic)  # a list of its own: subscribers may come and go meanwhile
        offers = [buffer.offer(mine) for buffer in buffers]
        if not offers and self.log is None:
            self._refuse(mine, "nobody subscribed")
        took = offers.count(True)
        if waiting := [each for each in offers if isinstance(each, Offer)]:
            took += await self._taken(waiting)
        return Published(kept.receivers + took, len(offers) - took, offset=kept.offset)

    async def _taken(self, waiting: list[Offer]) -> int:
        """Wait until each is settled, and say how many were taken; who leaves or dies gives them up."""

        def give_up() -> None:
            for offer in waiting:
                offer.give_up()

        with on_death(give_up):
            try:
                return sum([await offer.wait() for offer in waiting])
            finally:
                give_up()

    def close(self) -> None:
        """Take no more; every iteration ends when it has what was published before. Idempotent."""
        self._closed = True
        for buffer in list(self._buffers.values()):
            buffer.close()
        if self.log is not None:
            self.log.close()

    # Within

    def _open(self, where: str, pattern: str, when_full: WhenFull | str, capacity: int) -> SubscriberBuffer:
        self._must_be_open_and_free(where)
        buffer = SubscriberBuffer(where, pattern, when_full, capacity, self._forget)
        self._buffers[where] = buffer
        self._interest.add(pattern, buffer)
        return buffer

    def _forget(self, buffer: SubscriberBuffer) -> None:
        del self._buffers[buffer.name]
        self._interest.remove(buffer.pattern, buffer)

    def _new_cursor(
        self, name: str, pattern: str, when_full: WhenFull | str, start: int | Start | str
    ) -> Cursor:
        check_pattern(pattern)
        if self.log is None:
            raise ValueError(
                f"{self.name} retains nothing, so nothing can be durable here: make it with retain=…, "
                "the number of messages to keep"
            )
        where = f"{pattern} → {values.name('name', name)}"
        self._must_be_open_and_free(where)
        return Cursor(self.log, where, pattern, when_full=when_full, start=start)

    def _named(self, name: str | None) -> str:
        name = whoami() if name is None else values.name("name", name)
        return name or f"subscriber-{next(self._numbers)}"

    def _must_be_open_and_free(self, where: str) -> None:
        if self._closed:
            raise ChannelClosed(f"{self.name} is closed: there is nothing to subscribe to")
        cursors = self.log.cursors if self.log is not None else ()
        if where in self._buffers or any(cursor.name == where for cursor in cursors):
            raise ValueError(f"there is a subscription {where!r} already: give this one a name of its own")

    def _refuse(self, message: TopicMessage, reason: str) -> None:
        message.record_sent(message.topic)
        record(Kind.REFUSED, message.topic, message.id, reason=reason)
