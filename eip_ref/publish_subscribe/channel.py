"""The channel: what is published to a topic goes to everybody who is subscribed to it."""

from __future__ import annotations

import functools

import anyio.lowlevel

from ..message import Message
from ..trace import Kind, record, whoami
from .cursor import Cursor
from .durable import DurableSubscriber
from .log import Log
from .mailbox import Mailbox, Pending, Subscription
from .terms import ChannelClosed, Published, Start, WhenFull
from .wildcards import Interest, check_pattern, check_topic, matches

__all__ = ["PublishSubscribeChannel"]


class PublishSubscribeChannel:
    """Topics, their subscribers, and, with `retain`, a log of the newest messages of all topics.

    Topics need not be made and are never kept: only subscriptions cost memory.
    """

    def __init__(self, name: str, *, retain: int = 0) -> None:
        """`retain` is how many messages the log keeps; 0 means no log and no durable subscriptions."""
        if retain < 0:
            raise ValueError(f"retain is a number of messages, at least 0, not {retain}")
        self.name = name
        self.log = Log(f"{name}.log", retain) if retain else None
        self._interest: Interest[Mailbox] = Interest()
        self._boxes: dict[str, Mailbox] = {}
        self._groups: dict[str, Mailbox] = {}
        self._durable: dict[str, Cursor] = {}
        self._unnamed = 0
        self._closed = False

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
        where = f"{pattern} → {name}"
        self._must_be_free(where)
        return Subscription(self._open(where, pattern, when_full, capacity), name)

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
        where = f"{pattern} → {group}"
        box = self._groups.get(where)
        if box is None:
            self._must_be_free(where)
            box = self._groups[where] = self._open(where, pattern, when_full, capacity)
        elif (box.when_full, box.capacity) != (when_full, capacity):
            raise ValueError(
                f"the group {group} has a buffer of {box.capacity} and the policy '{box.when_full}'; "
                "every member must join with the same"
            )
        return Subscription(box, self._named(name))

    def durable(
        self, name: str, pattern: str, *, when_full: WhenFull | str, start: int | Start | str = Start.LATEST
    ) -> DurableSubscriber:
        """Connect to the durable subscription with this name; the first time, make it, from `start` on.

        It stays when its subscriber leaves or crashes. Whoever connects later takes it over, from the
        committed position. Raises ValueError without a log, for a start that is not in the log, for the
        policy to drop the newest, when the subscription exists with another pattern or policy, and
        when a live one has its name; and `ChannelClosed` when it would have to be made.
        """
        cursor = self._durable.get(name)
        if cursor is None or cursor.ended:
            cursor = self._durable[name] = self._new_cursor(name, pattern, WhenFull(when_full), start)
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
        `ChannelClosed`, when nobody has it, and ValueError for a topic with wildcards.
        """
        check_topic(topic)
        await anyio.lowlevel.checkpoint()
        message = message.copy()
        kept = Published(0)
        if self.log is not None:
            kept = await self.log.append(topic, message)
        self._must_take(topic, message)
        boxes = self._interest.matching(topic)  # a list of its own: subscribers may come and go meanwhile
        offers = [box.offer(topic, message) for box in boxes]
        if not offers and self.log is None:
            self._nobody(topic, message)
        await self._all_settled([offer for offer in offers if isinstance(offer, Pending)])
        took = sum(offer.taken if isinstance(offer, Pending) else offer for offer in offers)
        return Published(kept.receivers + took, len(offers) - took, offset=kept.offset)

    async def _all_settled(self, pending: list[Pending]) -> None:
        try:
            for offer in pending:
                await offer.wait()
        finally:
            for offer in pending:
                offer.give_up()

    # The end

    def close(self) -> None:
        """Take no more; every iteration ends when it has what was published before. Idempotent."""
        if self._closed:
            return
        self._closed = True
        for box in list(self._boxes.values()):
            box.end("closed")
        if self.log is not None:
            self.log.close()

    def __len__(self) -> int:
        """How many subscriptions there are; a group is one."""
        return len(self._boxes) + sum(not cursor.ended for cursor in self._durable.values())

    # Within

    def _open(self, where: str, pattern: str, when_full: WhenFull | str, capacity: int) -> Mailbox:
        check_pattern(pattern)
        if capacity < 1:
            raise ValueError(f"a buffer must have room for at least 1 message, not {capacity}")
        if self._closed:
            raise ChannelClosed(f"{self.name} is closed: there is nothing to subscribe to")
        box = Mailbox(where, pattern, capacity=capacity, when_full=WhenFull(when_full), on_end=self._ended)
        self._boxes[where] = box
        self._interest.add(pattern, box)
        return box

    def _ended(self, box: Mailbox) -> None:
        del self._boxes[box.name]
        self._groups.pop(box.name, None)
        self._interest.remove(box.pattern, box)

    def _new_cursor(self, name: str, pattern: str, when_full: WhenFull, start: int | Start | str) -> Cursor:
        check_pattern(pattern)
        where = f"{pattern} → {name}"
        self._must_be_free(where)
        if self.log is None:
            raise ValueError(
                f"{self.name} retains nothing, so nothing can be durable here: make it with retain=…, "
                "the number of messages to keep"
            )
        if self._closed:
            raise ChannelClosed(f"{self.name} is closed: there is nothing to subscribe to")
        start = start if isinstance(start, int) else Start(start)
        wanted = functools.partial(matches, pattern)
        return Cursor(self.log, where, pattern, when_full=when_full, start=start, wanted=wanted)

    def _named(self, name: str | None) -> str:
        name = whoami() if name is None else name
        if not name:
            self._unnamed += 1
            name = f"subscriber-{self._unnamed}"
        return name

    def _must_be_free(self, where: str) -> None:
        cursors = self.log.cursors if self.log is not None else ()
        if where in self._boxes or any(cursor.name == where for cursor in cursors):
            raise ValueError(f"there is a subscription {where!r} already: give this one a name of its own")

    def _must_take(self, topic: str, message: Message) -> None:
        if self._closed:
            record(Kind.SENT, topic, message.id, label=message.label, key=message.key, topic=topic)
            record(Kind.REFUSED, topic, message.id, reason="closed")
            raise ChannelClosed(f"{self.name} is closed and takes no more messages")

    def _nobody(self, topic: str, message: Message) -> None:
        record(Kind.SENT, topic, message.id, label=message.label, key=message.key, topic=topic)
        record(Kind.REFUSED, topic, message.id, reason="nobody subscribed")
