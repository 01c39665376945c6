"""The log: messages stay, each at its offset, and every reader has a place of its own in it.

Reading takes nothing away, so any number of readers read the same messages, now or again.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from ..message import Message

__all__ = ["Log", "OffsetGone", "Record"]


class OffsetGone(LookupError):
    """What should be read was there and is not kept any more; `first` is the oldest offset that is."""

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
        ...

    @property
    def end(self) -> int:
        """The offset that the next message will have."""
        ...

    async def append(self, message: Message) -> int:
        """Return the offset of the message after it is kept. Raises TypeError for a body that is not JSON."""
        ...

    async def read(self, offset: int, *, limit: int = 100) -> list[Record]:
        """At most `limit` messages from `offset` on, in order; none when there are none yet.

        Raises `OffsetGone` for an offset that is not kept any more, so that a reader who came too late
        is told, and ValueError for one that nobody has been given yet.
        """
        ...

    async def wait(self, offset: int) -> None:
        """Wait until a message with this offset has been appended."""
        ...
