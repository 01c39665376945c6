"""The event store: what each of them offers, in memory or on disk, and how all streams are read.

An event store is a log, an index of its streams, and rules for who may append. As in every log,
nothing is taken out by reading, so any number of readers read the same events, now or again.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol, Self

from .. import values
from ..message import Message
from ..trace import Kind, record


class Expected(StrEnum):
    """The expectation of a writer that knows no exact version of the stream."""

    ANY = "any version"  #: append in any case
    NO_STREAM = "no stream"  #: nothing has been appended yet; the same as version 0
    EXISTS = "an existing stream"  #: something has, whatever it is


class WrongExpectedVersion(Exception):
    """The stream is not as the writer expected, and nothing was appended: read again and decide again."""

    def __init__(self, stream: str, expected: int | Expected, actual: int, reason: str = "") -> None:
        wanted = expected if isinstance(expected, Expected) else f"version {expected}"
        is_at = f"is at version {actual}" if actual else "does not exist"
        super().__init__(f"{stream} {is_at}, and {wanted} was expected" + (f"; {reason}" if reason else ""))
        self.stream = stream
        self.expected = expected
        self.actual = actual  #: the version of the stream, 0 when there is none


class IdTaken(WrongExpectedVersion):
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
        of the first time (in a strict store, `IdTaken`). Raises `WrongExpectedVersion` with the actual
        version; `IdTaken` when a part of the events, or all at another place, are in the store already;
        ValueError and TypeError for what no store can keep. When it is cancelled the outcome is
        indefinite: append again, with the same ids.
        """

    async def read(self, stream: str, *, after: int = 0, limit: int | None = None) -> list[Recorded]:
        """The events of a stream whose versions are above `after`, in order; none without a stream."""

    async def read_all(self, *, after: int = 0, limit: int = 100) -> list[Recorded]:
        """At most `limit` events of all streams above the position `after`, in order of position.

        None of them is above `committed_up_to`, so who goes on after the last one skips nothing.
        """

    @property
    def committed_up_to(self) -> int:
        """The horizon: at and below this position nothing will appear any more."""

    async def wait(self, *, after: int) -> None:
        """Wait until `read_all(after=after)` finds something, whoever has appended it."""


class Reader:
    """Reads all streams from the position `after` on, at most `limit` events at a time.

    Each event comes once it is committed, in order of position, without a gap: it goes on after the last
    position that it was given, and the store gives none above its horizon. `async for batch in reader`.
    """

    def __init__(self, store: EventStore, name: str, *, after: int = 0, limit: int = 100) -> None:
        self.name = values.name("name", name)
        self.position = values.count("after", after, minimum=0)  #: of the last event that it was given
        self._store = store
        self._limit = values.count("limit", limit)
        record(Kind.OPENED, name, who=name, role="participant", store=store.name, after=after)

    async def read(self) -> list[Recorded]:
        """The next events; none when there are none yet."""
        batch = await self._store.read_all(after=self.position, limit=self._limit)
        for position, stream, version, message, _ in batch:
            facts = {"position": position, "stream": stream, "version": version, "reader": self.name}
            record(Kind.DELIVERED, self._store.name, message.id, who=self.name, lease=None, **facts)
            self.position = position
        return batch

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Recorded]:
        """The next events, at least one. It never ends by itself."""
        while not (batch := await self.read()):
            await self._store.wait(after=self.position)
        return batch
