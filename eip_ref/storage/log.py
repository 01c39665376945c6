"""The log: messages stay, each at its offset, and every reader has a place of its own in it.

Reading takes nothing away, so any number of readers read the same messages, now or again.

*Left out here:* retention by age and size, and compaction; the log on a disk has them.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import anyio
import anyio.lowlevel

from .. import values
from ..message import Message
from ..signal import Signal
from ..trace import Kind, record


class OffsetGone(LookupError):
    """The record was there and is not kept any more; `first` is the oldest offset that is kept."""

    def __init__(self, log: str, offset: int, first: int) -> None:
        super().__init__(f"{log} keeps no messages before offset {first}; {offset} was asked for")
        self.first = first


class Record(NamedTuple):
    """A message in a log."""

    offset: int
    message: Message
    at: float  #: when it was appended, in seconds on anyio's clock


class Log(Protocol):
    """Messages at offsets, oldest first."""

    name: str

    @property
    def first(self) -> int:
        """The offset of the oldest message that is kept, or `end` when there is none."""

    @property
    def end(self) -> int:
        """The offset that the next message will have."""

    async def append(self, message: Message) -> int:
        """Return the offset of the message after it is kept. Raises TypeError for a body that is not JSON."""

    async def read(self, offset: int, *, limit: int = 100) -> list[Record]:
        """At most `limit` messages from `offset` on, in order; none when there are none yet.

        Raises `OffsetGone` for an offset that is not kept any more, so that a reader who came too late
        is told, and ValueError for one that nobody has been given yet, or that is none.
        """

    async def wait(self, offset: int) -> None:
        """Wait until a message with this offset has been appended."""


class MemoryLog:
    """A log that lives as long as its process, and keeps all, or the newest `capacity` messages.

    It refuses what a log on a disk could not read back.
    """

    def __init__(self, name: str, *, capacity: int | None = None) -> None:
        self.name = values.name("name", name)
        self.capacity = None if capacity is None else values.count("capacity", capacity)
        self.first = 0  #: the offset of the oldest message that is kept, or `end` when there is none
        self.end = 0  #: the offset that the next message will have
        self._records: dict[int, Record] = {}
        self._appended = Signal()
        record(Kind.OPENED, name, who="", role="channel", capacity=capacity)

    def __len__(self) -> int:
        """The number of messages that are kept."""
        return self.end - self.first

    def __getitem__(self, offset: int) -> Record:
        """The record itself, for those who change nothing in it. Raises KeyError."""
        return self._records[offset]

    async def append(self, message: Message) -> int:
        """Return the offset of the message after it is kept. See `Log`."""
        await anyio.lowlevel.checkpoint()
        message.check_json()
        return self._add(message.copy()).offset

    def _add(self, message: Message, **facts: Any) -> Record:
        """Keep the message, and evict the oldest if there is no room; `facts` are for the trace."""
        if len(self) == self.capacity:
            self._evict()
        record(Kind.SENT, self.name, message.id, label=message.label, key=message.key, **facts)
        added = self._records[self.end] = Record(self.end, message, anyio.current_time())
        self.end += 1
        record(Kind.ACCEPTED, self.name, message.id, who="", key=message.key, offset=added.offset)
        self._appended.notify_all()
        return added

    def _evict(self) -> None:
        oldest = self._records.pop(self.first)
        self.first += 1
        record(Kind.DROPPED, self.name, oldest.message.id, who="", reason="retention", offset=oldest.offset)

    async def read(self, offset: int, *, limit: int = 100) -> list[Record]:
        """At most `limit` messages from `offset` on, in order, each as a copy of its own. See `Log`."""
        await anyio.lowlevel.checkpoint()
        values.count("offset", offset, minimum=0)
        values.count("limit", limit)
        if offset < self.first:
            raise OffsetGone(self.name, offset, self.first)
        if offset > self.end:
            raise ValueError(f"the next offset of {self.name} is {self.end}, not {offset}")
        found = (self._records[number] for number in range(offset, min(self.end, offset + limit)))
        return [each._replace(message=each.message.copy()) for each in found]

    async def wait(self, offset: int) -> None:
        """Wait until a message with this offset has been appended."""
        values.count("offset", offset, minimum=0)
        while self.end <= offset:
            await self._appended.wait()
