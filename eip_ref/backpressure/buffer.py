"""Buffer: messages wait here, in bounded number, while their reader is slower than their sender.

A buffer only moves time: what it takes in during a burst waits longer (see `littles_law`). When the
burst does not end it is full, and then the policy says who pays: the sender waits, or messages are
dropped.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple, Self

import anyio
import anyio.lowlevel

from ..message import Message
from ..publish_subscribe.inbox import Bell
from ..trace import Kind, record, whoami
from .lines import line_for
from .terms import BufferClosed, BufferFull, WhenFull

__all__ = ["Buffer", "Counts"]


class Counts(NamedTuple):
    """The messages by state: waiting + delivered + dropped = accepted."""

    waiting: int
    delivered: int
    dropped: int
    accepted: int


class _Waiting:
    """A sender that waits for room."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.accepted = False
        self.settled = anyio.Event()

    def settle(self, *, accepted: bool) -> None:
        self.accepted = accepted
        self.settled.set()


class Buffer:
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
    ) -> None:
        """`on_drops` is called at the first drop of each episode; `random` is for the policy SAMPLE.

        An episode lasts from a drop until not more than `low_water` messages wait. Raises ValueError.
        """
        if not isinstance(capacity, int) or capacity < 1:
            raise ValueError(f"a buffer is bounded: its capacity is a number from 1 on, not {capacity}")
        if not 0 <= low_water < capacity:
            raise ValueError(f"low_water must be at least 0 and below the capacity, not {low_water}")
        self.name = name
        self.capacity = capacity
        self.when_full = WhenFull(when_full)
        self.low_water = low_water
        self.high_water = 0  #: the most messages that ever waited here
        self.dropped: Counter[str] = Counter()  #: by reason
        self.episodes = 0  #: how often the buffer began to drop
        self.dropping = False  #: whether such an episode lasts
        self.closed = False
        self._accepted = self._delivered = self._dropped_before = 0
        self._line = line_for(self.when_full, capacity, random)
        self._senders: deque[_Waiting] = deque()
        self._bell = Bell()
        self._on_drops = on_drops
        facts: dict[str, Any] = {"capacity": capacity, "policy": self.when_full.value, "low_water": low_water}
        record(Kind.OPENED, name, who="", role="channel", **facts)

    def __len__(self) -> int:
        """How many messages wait."""
        return len(self._line)

    @property
    def counts(self) -> Counts:
        """The messages by state, now."""
        return Counts(len(self._line), self._delivered, self.dropped.total(), self._accepted)

    # Putting

    async def put(self, message: Message) -> bool:
        """Take in a copy of the message, or give up one by the policy; false when it is this one.

        With the policy BLOCK it waits for room, after those who wait already. Cancelling the wait
        takes the message back, unless the buffer has it by then. Raises `BufferClosed`, and ValueError
        for a message without a key where only the latest of each key is kept.
        """
        await anyio.lowlevel.checkpoint()
        mine = self._sent(message)
        if not self._must_wait():
            return self._accept(mine)
        await self._room_for(mine)
        return True

    def put_nowait(self, message: Message) -> bool:
        """`put` for senders that cannot wait. Raises `BufferFull` where `put` would wait."""
        mine = self._sent(message)
        if self._must_wait():
            record(Kind.REFUSED, self.name, mine.id, reason="full")
            raise BufferFull(f"{self.name} holds {self.capacity} messages; await put() to wait for room")
        return self._accept(mine)

    def _sent(self, message: Message) -> Message:
        if self.when_full is WhenFull.LATEST_PER_KEY and message.key is None:
            raise ValueError(f"{self.name} keeps the latest message of each key, and {message.id} has none")
        record(Kind.SENT, self.name, message.id, label=message.label, key=message.key)
        if self.closed:
            raise self._refusal(message)
        return message.copy()

    def _must_wait(self) -> bool:
        return self.when_full is WhenFull.BLOCK and len(self._line) >= self.capacity

    async def _room_for(self, message: Message) -> None:
        record(Kind.BLOCKED, self.name, message.id)
        sender = _Waiting(message)
        self._senders.append(sender)
        try:
            await sender.settled.wait()
        except BaseException:
            if not sender.settled.is_set():
                self._senders.remove(sender)
                record(Kind.REFUSED, self.name, message.id, reason="the sender gave up")
            raise
        if not sender.accepted:
            raise self._refusal(message)

    def _refusal(self, message: Message) -> BufferClosed:
        record(Kind.REFUSED, self.name, message.id, reason="closed")
        return BufferClosed(f"{self.name} is closed and takes no more messages")

    def _accept(self, message: Message) -> bool:
        record(Kind.ACCEPTED, self.name, message.id, who="", key=message.key)
        self._accepted += 1
        gone = self._line.add(message)
        self.high_water = max(self.high_water, len(self._line))
        if gone is not None:
            self._drop(gone.message, gone.reason, by=message.id)
        self._bell.ring()
        return gone is None or gone.message is not message

    # Dropping

    def _drop(self, message: Message, reason: str, *, by: str = "") -> None:
        begins = not self.dropping
        if begins:
            self._begin_episode(reason)
        self.dropped[reason] += 1
        record(Kind.DROPPED, self.name, message.id, who="", reason=reason, by=by)
        if begins:
            self._signal()

    def _begin_episode(self, reason: str) -> None:
        self.dropping = True
        self.episodes += 1
        self._dropped_before = self.dropped.total()
        record(Kind.STATE, self.name, who="", was="flowing", now="dropping", reason=reason)

    def _signal(self) -> None:
        try:
            if self._on_drops is not None:
                self._on_drops(self)
        except Exception as error:  # whoever listens is not the sender's or reader's trouble
            record(Kind.NOTE, self.name, who="", text=f"on_drops of {self.name} raised {error!r}")

    def _end_episode(self) -> None:
        """If it lasts, and the reader has caught up by now."""
        if not self.dropping or len(self._line) > self.low_water:
            return
        self.dropping = False
        facts: dict[str, Any] = {"dropped": self.dropped.total() - self._dropped_before}
        facts["reason"] = "the reader caught up"
        record(Kind.STATE, self.name, who="", was="dropping", now="flowing", **facts)

    # Receiving

    async def receive(self) -> Message:
        """Wait for the next message and take it; cancelling the wait takes nothing.

        Raises `BufferClosed` when the buffer is closed and empty.
        """
        await anyio.lowlevel.checkpoint()
        while True:
            try:
                return self.receive_nowait()
            except anyio.WouldBlock:
                await self._bell.wait()

    def receive_nowait(self) -> Message:
        """Take the next message that somebody still needs. Raises `anyio.WouldBlock`, `BufferClosed`."""
        while len(self._line):
            message = self._line.take()
            late = message.deadline is not None and message.deadline <= anyio.current_time()
            if late:
                self._drop(message, "its deadline has passed")
            else:
                self._delivered += 1
                record(Kind.DELIVERED, self.name, message.id, who=whoami(), lease=None)
            self._end_episode()
            self._let_in()
            if not late:
                return message
        if self.closed:
            raise BufferClosed(f"{self.name} is closed and empty")
        raise anyio.WouldBlock

    def _let_in(self) -> None:
        """One has gone, so there is room for one that waits."""
        if self._senders:
            sender = self._senders.popleft()
            self._accept(sender.message)
            sender.settle(accepted=True)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        try:
            return await self.receive()
        except BufferClosed:
            raise StopAsyncIteration from None

    # Closing

    def close(self) -> None:
        """Take no more, and turn senders that wait away; readers get what is left. Idempotent."""
        if self.closed:
            return
        self.closed = True
        record(Kind.CLOSED, self.name, who="", high_water=self.high_water)
        while self._senders:
            self._senders.popleft().settle(accepted=False)
        self._bell.ring()

    def discard(self, reason: str = "the reader left") -> list[Message]:
        """Close, and hand back what nobody will take; each is counted as dropped."""
        self.close()
        rest = []
        while len(self._line):
            rest.append(self._line.take())
            self._drop(rest[-1], reason)
        return rest

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
