"""Buffer: messages wait here, in bounded number, while their reader is slower than their sender.

A buffer only moves time: what it takes in during a burst waits longer (Little's law, which the
laboratory measures). When the burst does not end it is full, and then its policy says who pays: the
sender waits, messages are dropped, or the reader is cut off.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from enum import StrEnum
from random import Random
from typing import Any, NamedTuple, Self

import anyio
import anyio.lowlevel

from .. import values
from ..message import EXPIRED, Message
from ..signal import Disconnected, EndOfMessages, ReceivingEnd, Signal, on_death
from ..trace import Kind, record, whoami

FULL = "the buffer was full"
SUPERSEDED = "a newer one of its key came"
TOO_SLOW = "the reader was too slow"


class WhenFull(StrEnum):
    """The fate of a message for which a buffer has no room. There is no default."""

    BLOCK = "block"  #: nothing is dropped: the sender waits until there is room
    DROP_NEWEST = "drop newest"  #: the arriving message: what waits is the beginning of a burst
    DROP_OLDEST = "drop oldest"  #: the one that has waited longest: what waits is the end of a burst
    LATEST_PER_KEY = "latest per key"  #: whatever has a newer one of its key: what waits is news
    SAMPLE = "sample"  #: one chosen by lot: what waits is a fair sample of the burst
    DISCONNECT = "disconnect"  #: the arriving message, and the buffer closes: its reader was too slow


class BufferFull(Exception):
    """There is no room, and the sender did not want to wait: the buffer does not have the message."""


class BufferClosed(EndOfMessages):
    """For a sender: the buffer does not have the message. For a reader: nothing more will come."""


class BufferCounts(NamedTuple):
    """The messages by state: waiting + delivered + dropped = accepted."""

    waiting: int
    delivered: int
    dropped: int
    accepted: int


class Offer:
    """A message that waits, with its sender, until a buffer takes it in or turns it away."""

    def __init__(self, buffer: Buffer, message: Message) -> None:
        self.message = message
        self.sender = whoami()
        self.taken = False  #: the buffer has it
        self.settled = anyio.Event()  #: it was taken in or turned away
        self._buffer = buffer

    async def wait(self) -> bool:
        """Wait until it was taken in, which is true, or turned away. Whoever leaves or dies gives it up."""
        with on_death(self.give_up):
            try:
                await self.settled.wait()
            finally:
                self.give_up()
        return self.taken

    def give_up(self) -> None:
        """Take the message back, unless the buffer has it by now."""
        if not self.settled.is_set():
            del self._buffer._offers[self]
            self._buffer._turn_away(self, "the sender gave up")


class Buffer(ReceivingEnd[Message]):
    """At most `capacity` messages, first in, first out, between senders and readers.

    Close it when nothing more will be sent, or use it as `with Buffer(…) as buffer: …`, which closes
    it at the end: only then does the loop of a reader, `async for message in buffer: …`, end.
    """

    def __init__(
        self,
        name: str,
        capacity: int,
        *,
        when_full: WhenFull | str,
        low_water: int = 0,
        random: Random | None = None,
        on_drops: Callable[[Buffer], object] | None = None,
        **facts: Any,
    ) -> None:
        """`on_drops` is called at the first drop of each episode; `random` is for the policy SAMPLE.

        An episode lasts from a drop until not more than `low_water` messages wait. `facts` are told in
        the trace. Raises ValueError, and TypeError for an `on_drops` that is async.
        """
        values.must_not_be_async("on_drops", on_drops)
        self.name = values.name("name", name)
        self.capacity = values.count("capacity", capacity)
        self.when_full = WhenFull(when_full)
        self.low_water = values.count("low_water", low_water, minimum=0)
        if low_water >= capacity:
            raise ValueError(f"low_water must be below the capacity of {capacity}, not {low_water}")
        self.signal = Signal()
        self.high_water = 0  #: the most messages that ever waited here
        self.dropped: Counter[str] = Counter()  #: by reason
        self.episodes = 0  #: the number of times that the buffer began to drop
        self.dropping = False  #: such an episode lasts
        self.ended = ""  #: the reason why nothing is taken in any more
        self._accepted = self._delivered = self._dropped_before = 0
        self._waiting = drop_policy(self.when_full, capacity, random)
        self._offers: OrderedDict[Offer, None] = OrderedDict()
        self._on_drops = on_drops
        facts |= {"capacity": capacity, "policy": self.when_full.value, "low_water": low_water}
        record(Kind.OPENED, name, who="", role="channel", **facts)

    def __len__(self) -> int:
        """The number of messages that wait."""
        return len(self._waiting)

    @property
    def counts(self) -> BufferCounts:
        """The messages by state, now."""
        return BufferCounts(len(self._waiting), self._delivered, self.dropped.total(), self._accepted)

    # Putting

    async def put(self, message: Message) -> bool:
        """Take in a copy of the message, or drop one by the policy; false when it is this one.

        With the policy BLOCK it waits for room, after those who wait already. Cancelling the wait
        takes the message back, unless the buffer has it by then. Raises `BufferClosed`, and ValueError
        for a message without a key where only the latest of each key is kept.
        """
        await anyio.lowlevel.checkpoint()
        offer = self.offer(message)
        if isinstance(offer, bool):
            return offer
        if not await offer.wait():
            raise self._closed()
        return True

    def put_nowait(self, message: Message) -> bool:
        """`put` for senders that cannot wait. Raises `BufferFull` where `put` would wait."""
        mine = self._sent(message)
        if self._is_full():
            record(Kind.REFUSED, self.name, mine.id, reason="full")
            raise BufferFull(f"{self.name} holds {self.capacity} messages; await put() to wait for room")
        return self._accept(mine)

    def offer(self, message: Message) -> bool | Offer:
        """`put` for senders that wait for several buffers at once: its answer, or what to wait for."""
        mine = self._sent(message)
        if not self._is_full():
            return self._accept(mine)
        record(Kind.BLOCKED, self.name, mine.id)
        offer = Offer(self, mine)
        self._offers[offer] = None
        return offer

    def _sent(self, message: Message) -> Message:
        if self.when_full is WhenFull.LATEST_PER_KEY and message.key is None:
            raise ValueError(f"{self.name} keeps the latest message of each key, and {message.id} has none")
        mine = message.copy()
        record(Kind.SENT, self.name, mine.id, label=mine.label, key=mine.key)
        if self.ended:
            record(Kind.REFUSED, self.name, mine.id, reason="closed")
            raise self._closed()
        return mine

    def _is_full(self) -> bool:
        """True when a sender has to wait."""
        return self.when_full is WhenFull.BLOCK and len(self._waiting) >= self.capacity

    def _closed(self) -> BufferClosed:
        return BufferClosed(f"{self.name} is closed and takes no more messages")

    def _accept(self, message: Message) -> bool:
        record(Kind.ACCEPTED, self.name, message.id, who="", key=message.key)
        self._accepted += 1
        evicted = self._waiting.add(message)
        if len(self._waiting) > self.high_water:
            self.high_water = len(self._waiting)
        self.signal.notify()
        if evicted is None:
            return True
        if self.when_full is WhenFull.DISCONNECT:
            self._drop(message, TOO_SLOW)
            self._end(TOO_SLOW)
            return False
        superseded = self.when_full is WhenFull.LATEST_PER_KEY and evicted.key == message.key
        self._drop(evicted, SUPERSEDED if superseded else FULL, by=message.id)
        return evicted is not message

    def _turn_away(self, offer: Offer, reason: str) -> None:
        record(Kind.REFUSED, self.name, offer.message.id, who=offer.sender, reason=reason)
        offer.settled.set()

    # Dropping

    def _drop(self, message: Message, reason: str, *, by: str = "") -> None:
        if begins := not self.dropping:
            self._begin_episode(reason)
        self.dropped[reason] += 1
        record(Kind.DROPPED, self.name, message.id, who="", reason=reason, by=by)
        if begins and self._on_drops is not None:
            try:
                self._on_drops(self)
            except Exception as error:  # whoever listens is not the sender's or reader's trouble
                record(Kind.NOTE, self.name, who="", text=f"on_drops of {self.name} raised {error!r}")

    def _begin_episode(self, reason: str) -> None:
        self.dropping = True
        self.episodes += 1
        self._dropped_before = self.dropped.total()
        record(Kind.STATE, self.name, who="", was="flowing", now="dropping", reason=reason)

    # Receiving

    def receive_nowait(self) -> Message:
        """Take the next that has not expired. Raises `anyio.WouldBlock`, `BufferClosed`, `Disconnected`."""
        return self.take(whoami())

    def take(self, who: str) -> Message:
        """`receive_nowait` in the name of somebody."""
        while len(self._waiting):
            message = self._waiting.take()
            if expired := message.has_expired():
                self._drop(message, EXPIRED)
            else:
                self._delivered += 1
                record(Kind.DELIVERED, self.name, message.id, who=who, lease=None)
            if self.dropping or self._offers:
                self._make_room()
            if not expired:
                return message
        if not self.ended:
            raise anyio.WouldBlock
        if self.ended == TOO_SLOW:
            raise Disconnected(f"the reader of {self.name} was too slow for {self.capacity} messages")
        raise BufferClosed(f"{self.name} is closed and empty")

    def _make_room(self) -> None:
        """One has gone: an episode of drops may be over, and one that waits comes in."""
        if self.dropping and len(self._waiting) <= self.low_water:
            self.dropping = False
            dropped, why = self.dropped.total() - self._dropped_before, "the reader caught up"
            record(Kind.STATE, self.name, who="", was="dropping", now="flowing", dropped=dropped, reason=why)
        if self._offers:
            offer, _ = self._offers.popitem(last=False)
            offer.taken = self._accept(offer.message)
            offer.settled.set()

    # Closing

    def close(self) -> None:
        """Take no more, and turn senders that wait away; readers get what is left. Idempotent."""
        self._end("closed")
        self._turn_all_away("closed")

    def discard(self, reason: str = "the reader left") -> None:
        """Close, and drop what nobody will take, each counted."""
        self._end(reason)
        while len(self._waiting):
            self._drop(self._waiting.take(), reason)
        self._turn_all_away(reason)

    def _end(self, reason: str) -> None:
        if not self.ended:
            self.ended = reason
            record(Kind.CLOSED, self.name, who="", reason=reason, high_water=self.high_water)
            self.signal.notify_all()

    def _turn_all_away(self, reason: str) -> None:
        while self._offers:
            self._turn_away(self._offers.popitem(last=False)[0], reason)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


# Drop policies


class DropPolicy:
    """The messages that wait in a buffer, oldest first, and the choice of one when there is no room.

    This one evicts the newest. A buffer whose senders wait adds none where there is no room.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.waiting: deque[Message] = deque()

    def __len__(self) -> int:
        return len(self.waiting)

    def add(self, message: Message) -> Message | None:
        """Take the message in, and return the one that is evicted for it, if one is."""
        if len(self.waiting) < self.capacity:
            self.waiting.append(message)
            return None
        return self.evict(message)

    def evict(self, message: Message) -> Message:
        """Choose between those that wait and this one."""
        return message

    def take(self) -> Message:
        """Hand out the oldest; there must be one."""
        return self.waiting.popleft()


class DropOldest(DropPolicy):
    """Evicts the one that has waited longest."""

    def evict(self, message: Message) -> Message:
        self.waiting.append(message)
        return self.waiting.popleft()


class Sample(DropPolicy):
    """Gives each message that came while nobody took the same chance to be among those that wait.

    This is reservoir sampling (Vitter's Algorithm R). `_crowd` is how many messages those that wait
    stand for; one that is taken takes its share of the crowd with it.
    """

    def __init__(self, capacity: int, random: Random) -> None:
        super().__init__(capacity)
        self._random = random
        self._crowd = 0.0

    def add(self, message: Message) -> Message | None:
        self._crowd += 1
        return super().add(message)

    def evict(self, message: Message) -> Message:
        if self._random.random() * self._crowd >= self.capacity:
            return message
        place = self._random.randrange(self.capacity)
        unlucky = self.waiting[place]
        del self.waiting[place]
        self.waiting.append(message)
        return unlucky

    def take(self) -> Message:
        self._crowd -= self._crowd / len(self.waiting)
        return super().take()


class LatestPerKey(DropPolicy):
    """Keeps at most one message of each key, the newest; it takes the place of the one before.

    With more keys than places, the key that has waited longest is evicted.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self._latest: OrderedDict[str | None, Message] = OrderedDict()

    def __len__(self) -> int:
        return len(self._latest)

    def add(self, message: Message) -> Message | None:
        evicted = self._latest.get(message.key)
        if evicted is None and len(self) >= self.capacity:
            evicted = self.take()
        self._latest[message.key] = message
        return evicted

    def take(self) -> Message:
        return self._latest.popitem(last=False)[1]


def drop_policy(when_full: WhenFull, capacity: int, random: Random | None) -> DropPolicy:
    """The policy of that name, with nothing that waits. Raises ValueError for a sample without `random`."""
    if when_full is WhenFull.SAMPLE:
        if random is None:
            raise ValueError("the policy 'sample' draws lots: give it random=Random(seed)")
        return Sample(capacity, random)
    others = {WhenFull.DROP_OLDEST: DropOldest, WhenFull.LATEST_PER_KEY: LatestPerKey}
    return others.get(when_full, DropPolicy)(capacity)
