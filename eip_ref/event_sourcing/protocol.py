"""What every event store offers, in memory or on disk. Kept small on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from ..message import Message

__all__ = ["Appended", "Conflict", "EventStore", "Expected", "IdTaken", "Recorded"]


class Expected(StrEnum):
    """What a writer expects of a stream when it knows no exact version."""

    ANY = "any version"  #: append in any case
    NO_STREAM = "no stream"  #: nothing has been appended yet; the same as version 0
    EXISTS = "an existing stream"  #: something has, whatever it is


class Conflict(Exception):
    """The stream is not as the writer expected, and nothing was appended: read again and decide again."""

    def __init__(self, stream: str, expected: int | Expected, actual: int, reason: str = "") -> None:
        wanted = expected if isinstance(expected, Expected) else f"version {expected}"
        is_at = f"is at version {actual}" if actual else "does not exist"
        super().__init__(f"{stream} {is_at}, and {wanted} was expected" + (f"; {reason}" if reason else ""))
        self.stream = stream
        self.expected = expected
        self.actual = actual  #: the version of the stream, 0 when there is none


class IdTaken(Conflict):
    """Some of these event ids are in the store already, and the batch is no plain repetition."""


class Recorded(NamedTuple):
    """An event as the store keeps it. It never changes."""

    position: int  #: its place in the whole store, from 1 on; there may be gaps
    stream: str
    version: int  #: its place in its stream, from 1 on, without gaps
    message: Message  #: its key is the stream
    at: float  #: when it was appended, in seconds on anyio's clock; no order follows from it


class Appended(NamedTuple):
    """The confirm: the events are kept, from now on or from before."""

    version: int  #: of the last event of the batch
    position: int  #: of the last event of the batch
    repeated: bool = False  #: nothing was written, since the same batch was there already


class EventStore(Protocol):
    """Streams of events, each in its own order, and all of them in one order for those who read all."""

    name: str

    async def append(
        self, stream: str, events: Sequence[Message], *, expected: int | Expected = Expected.ANY
    ) -> Appended:
        """Append all the events, or none, if the stream is as `expected`; return when they are kept.

        The same events at the same place are a repetition: nothing is written, and the answer is that
        of the first time (in a strict store, `IdTaken`). Raises `Conflict` with the actual version;
        `IdTaken` when a part of the events, or all at another place, are in the store already;
        ValueError and TypeError for what no store can keep.
        """
        ...

    async def read(self, stream: str, *, after: int = 0, limit: int | None = None) -> list[Recorded]:
        """The events of a stream whose versions are above `after`, in order; none without a stream."""
        ...

    async def read_all(self, *, after: int = 0, limit: int = 100) -> list[Recorded]:
        """At most `limit` events of all streams above the position `after`, in order of position.

        None of them is above `settled`, so who goes on after the last one skips nothing.
        """
        ...

    @property
    def settled(self) -> int:
        """The horizon: at and below this position nothing will appear any more."""
        ...

    async def news(self, after: int) -> None:
        """Wait until `read_all(after=after)` finds something that this process has appended, at least."""
        ...
