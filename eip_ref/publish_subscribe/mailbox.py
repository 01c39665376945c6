"""Live subscriptions: each has a bounded buffer of its own, and its own policy for a full one.

A mailbox belongs to one subscriber, or to a group whose members share it: each message is then taken
by one of them. It promises at most once: a message that was taken is never handed out again, and
one that is published while nobody is subscribed is never heard of.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any, NamedTuple

import anyio

from ..message import Message
from ..trace import Kind, record
from .inbox import Bell, Inbox
from .terms import Disconnected, SubscriptionEnded, WhenFull

__all__ = ["Mailbox", "Pending", "Subscription", "TopicMessage"]


class TopicMessage(NamedTuple):
    """A message and the topic to which it was published."""

    topic: str
    message: Message


class Pending:
    """A message that waits, with its publisher, until a mailbox has room or ends."""

    def __init__(self, box: Mailbox, parcel: TopicMessage) -> None:
        self.parcel = parcel
        self.taken = False  #: whether the mailbox took it
        self._box = box
        self._settled = anyio.Event()

    def settle(self, *, taken: bool) -> None:
        self.taken = taken
        self._settled.set()

    async def wait(self) -> None:
        await self._settled.wait()

    def give_up(self) -> None:
        """The publisher waits no more: the subscriber misses the message, unless it has it by now."""
        if not self._settled.is_set():
            self._box.give_up(self)


class Mailbox:
    """The buffer of one subscription, or of one group."""

    def __init__(
        self,
        name: str,
        pattern: str,
        *,
        capacity: int,
        when_full: WhenFull,
        on_end: Callable[[Mailbox], None],
    ) -> None:
        self.name = name
        self.pattern = pattern
        self.capacity = capacity
        self.when_full = when_full
        self.dropped: Counter[str] = Counter()  #: messages that were missed, by reason
        self.ended = ""  #: why nothing is added any more
        self.bell = Bell()
        self.members = 0
        self._buffer: deque[TopicMessage] = deque()
        self._waiting: deque[Pending] = deque()
        self._on_end = on_end
        facts: dict[str, Any] = {"capacity": capacity, "pattern": pattern, "policy": when_full.value}
        record(Kind.OPENED, name, who="", role="channel", **facts)

    def __len__(self) -> int:
        """How many messages are in the buffer."""
        return len(self._buffer)

    def offer(self, topic: str, message: Message) -> Pending | bool:
        """Take the message (true), miss it (false), or let the publisher wait, by the policy.

        The mailbox never changes the message and never gives it away but as a copy.
        """
        record(Kind.SENT, self.name, message.id, label=message.label, key=message.key, topic=topic)
        parcel = TopicMessage(topic, message)
        if len(self._buffer) < self.capacity:  # then nobody waits: they go first when room is made
            self._accept(parcel)
            return True
        match self.when_full:
            case WhenFull.BLOCK:
                return self._let_wait(parcel)
            case WhenFull.DROP_NEWEST:
                self._miss(parcel, "the buffer was full")
            case WhenFull.DROP_OLDEST:
                self._drop(self._buffer.popleft(), "the buffer was full")
                self._accept(parcel)
                return True
            case WhenFull.DISCONNECT:
                self._miss(parcel, "the subscriber was too slow")
                self.end("too slow")
        return False

    def take(self, who: str) -> TopicMessage | None:
        """Hand out the oldest message that somebody still needs, as a copy of its own."""
        while self._buffer:
            topic, message = self._buffer.popleft()
            if message.deadline is not None and message.deadline <= anyio.current_time():
                self._drop(TopicMessage(topic, message), "its deadline has passed")
                self._make_room()
                continue
            record(Kind.DELIVERED, self.name, message.id, who=who, lease=None)
            self._make_room()
            return TopicMessage(topic, message.copy())
        return None

    def end(self, reason: str) -> None:
        """Add nothing more; what is in the buffer can still be taken. Idempotent."""
        if not self.ended:
            self.ended = reason
            record(Kind.CLOSED, self.name, who="", reason=reason)
            self._on_end(self)
            self.bell.ring()

    def discard(self, reason: str) -> None:
        """End, and drop whatever nobody has taken, each counted."""
        self.end(reason)
        while self._buffer:
            self._drop(self._buffer.popleft(), reason)
        while self._waiting:
            pending = self._waiting.popleft()
            self._miss(pending.parcel, reason)
            pending.settle(taken=False)

    def give_up(self, pending: Pending) -> None:
        """A publisher that waited here was cancelled."""
        self._waiting.remove(pending)
        self._miss(pending.parcel, "the publisher gave up")
        pending.settle(taken=False)

    def _let_wait(self, parcel: TopicMessage) -> Pending:
        record(Kind.BLOCKED, self.name, parcel.message.id)
        pending = Pending(self, parcel)
        self._waiting.append(pending)
        return pending

    def _make_room(self) -> None:
        while self._waiting and len(self._buffer) < self.capacity:
            pending = self._waiting.popleft()
            self._accept(pending.parcel)
            pending.settle(taken=True)

    def _accept(self, parcel: TopicMessage) -> None:
        record(Kind.ACCEPTED, self.name, parcel.message.id, who="", key=parcel.message.key)
        self._buffer.append(parcel)
        self.bell.ring()

    def _miss(self, parcel: TopicMessage, reason: str) -> None:
        record(Kind.ACCEPTED, self.name, parcel.message.id, who="", key=parcel.message.key)
        self._drop(parcel, reason)

    def _drop(self, parcel: TopicMessage, reason: str) -> None:
        record(Kind.DROPPED, self.name, parcel.message.id, who="", reason=reason)
        self.dropped[reason] += 1


class Subscription(Inbox[TopicMessage]):
    """One receiving end of a mailbox: its only one, or a member of the group that shares it.

    `async for topic, message in subscription: …`
    """

    def __init__(self, box: Mailbox, name: str) -> None:
        self.name = name
        self._box = box
        self._left = False
        box.members += 1

    @property
    def where(self) -> str:
        """The subscription's own name."""
        return self._box.name

    @property
    def dropped(self) -> Counter[str]:
        """How many messages this subscription, or its group, has missed, by reason."""
        return self._box.dropped

    def __len__(self) -> int:
        """How many messages wait in the buffer."""
        return len(self._box)

    def receive_nowait(self) -> TopicMessage:
        """Take the oldest message. Raises `anyio.WouldBlock`, `SubscriptionEnded`, `Disconnected`.

        A subscriber that was disconnected for being slow gets what was in its buffer first.
        """
        if self._left:
            raise SubscriptionEnded(f"{self.name or 'this subscriber'} has left {self.where}")
        taken = self._box.take(self.name)
        if taken is not None:
            return taken
        if not self._box.ended:
            raise anyio.WouldBlock
        if self._box.ended == "too slow":
            raise Disconnected(f"{self.where} was too slow for its buffer of {self._box.capacity} messages")
        raise SubscriptionEnded(f"{self.where} has ended: {self._box.ended}")

    def leave(self) -> None:
        """Unsubscribe. When nobody else shares the buffer, what is in it is dropped and counted."""
        if self._left:
            return
        self._left = True
        self._box.members -= 1
        if not self._box.members:
            self._box.discard("unsubscribed")
        self._box.bell.ring()

    async def _news(self) -> None:
        await self._box.bell.wait()
