"""The retained log: the newest messages, each at an offset, bounded in number.

Reading takes nothing out of it. What leaves it is the oldest message, when a new one needs the room;
a cursor that still needs that message decides by its policy what happens then.

*Left out:* retention by age and size, compaction, and the disk. The log survives its subscribers and
not its own process: that is a durable queue.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..message import Message
from ..trace import Kind, record
from .inbox import Bell
from .terms import ChannelClosed, Published, Start

if TYPE_CHECKING:
    from .cursor import Cursor

__all__ = ["Entry", "Log"]


class Entry(NamedTuple):
    """A message in a log. The log never changes it and hands out copies only."""

    offset: int
    topic: str
    message: Message


class Log:
    """At most `capacity` messages, and the cursors that read them."""

    def __init__(self, name: str, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a log must retain at least 1 message, not {capacity}")
        self.name = name
        self.capacity = capacity
        self.end = 0  #: the offset that the next message will have
        self.cursors: list[Cursor] = []
        self.closed = False
        self.room = Bell()  #: rings when a cursor may no longer need the oldest message
        self._entries: dict[int, Entry] = {}
        record(Kind.OPENED, name, who="", role="channel", capacity=capacity)

    @property
    def first(self) -> int:
        """The offset of the oldest message that is still here, or `end` when there is none."""
        return self.end - len(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, offset: int) -> Entry:
        return self._entries[offset]

    def since(self, offset: int) -> Iterator[Entry]:
        """The messages from an offset on."""
        return (self._entries[place] for place in range(offset, self.end))

    def offset_of(self, start: int | Start) -> int:
        """The offset at which a new cursor starts. Raises ValueError for one that is not here."""
        if isinstance(start, int):
            if not self.first <= start <= self.end:
                raise ValueError(
                    f"{self.name} has the offsets {self.first} to {self.end}, not {start}; start at one of "
                    "them, at 'earliest' or at 'latest'"
                )
            return start
        return self.first if Start(start) is Start.EARLIEST else self.end

    async def append(self, topic: str, message: Message) -> Published:
        """Keep the message, whose copying is the caller's, and tell the cursors that it is meant for.

        Waits while a cursor whose policy is to block needs the oldest one. Cancelling the wait takes
        the message back. Raises `ChannelClosed`.
        """
        waited_for = await self._room_for(topic, message)
        if self.closed:
            self._refuse(topic, message)
        if len(self) == self.capacity:
            self._forget_the_oldest()
        entry = self._entries[self.end] = Entry(self.end, topic, message)
        self.end += 1
        record(Kind.SENT, self.name, message.id, label=message.label, key=message.key, topic=topic)
        record(Kind.ACCEPTED, self.name, message.id, who="", key=message.key, offset=entry.offset)
        receivers = sum(cursor.hear(entry, sent=cursor is waited_for) for cursor in self.cursors)
        return Published(receivers, offset=entry.offset)

    def close(self) -> None:
        """Take no more; cursors end after the last message. Idempotent."""
        if not self.closed:
            self.closed = True
            record(Kind.CLOSED, self.name, who="")
            self.room.ring()
            for cursor in self.cursors:
                cursor.hear_the_end()

    async def _room_for(self, topic: str, message: Message) -> Cursor | None:
        """Wait while a cursor needs the oldest message; the answer is the one that was waited for."""
        blocker = self._blocker()
        if blocker is None:
            return None
        blocker.let_wait(topic, message)
        why_not = "the publisher gave up"
        try:
            while self._blocker() is not None:
                await self.room.wait()
            why_not = "closed" if self.closed else "" if blocker in self.cursors else "unsubscribed"
        finally:
            if why_not:
                record(Kind.REFUSED, blocker.name, message.id, reason=why_not)
        if self.closed:
            raise ChannelClosed(f"{self.name} was closed before it had room for the message")
        return blocker

    def _blocker(self) -> Cursor | None:
        """The cursor that the next message has to wait for, if there is one."""
        if self.closed or len(self) < self.capacity:
            return None
        oldest = self[self.first]
        return next((cursor for cursor in self.cursors if cursor.blocks(oldest)), None)

    def _refuse(self, topic: str, message: Message) -> None:
        record(Kind.SENT, topic, message.id, label=message.label, key=message.key, topic=topic)
        record(Kind.REFUSED, topic, message.id, reason="closed")
        raise ChannelClosed(f"{self.name} is closed and takes no more messages")

    def _forget_the_oldest(self) -> None:
        oldest = self[self.first]
        for cursor in list(self.cursors):
            cursor.lose(oldest)
        del self._entries[oldest.offset]
        record(Kind.DROPPED, self.name, oldest.message.id, who="", reason="retention")
