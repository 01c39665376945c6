"""KurrentDB: an event store, by kurrentdbclient. Written after its documentation, and *not run*.

`python -m pip install kurrentdbclient` brings the client. It is no part of the extra `field`, because it
holds grpcio at an older version, for a server that few can have.

An event's version is its place in its stream, plus one; its position is its commit position. The append
rules are those of `event_sourcing`: the stream is read, and the batch is appended at exactly the version
that was read. When somebody was quicker, the server refuses it, and it is decided anew. An id is an UUID
there, so ours is in the content.

*Left out:* ids that another stream of the store has already: the server knows ids for each stream alone.
A long stream is read whole for each append.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from kurrentdbclient import AsyncKurrentDBClient, NewEvent, StreamState
from kurrentdbclient.exceptions import (
    DeadlineExceededError,
    DiscoveryFailedError,
    GrpcError,
    NotFoundError,
    WrongCurrentVersionError,
)

from .. import values
from ..event_sourcing import Appended, Expected, Recorded, check_batch, check_reading, decide
from ..message import Message
from ..trace import Kind, record
from .connections import Adapter, unbroken
from .wire import clock_shift, decoded, encoded

__all__ = ["KurrentEventStore"]

LOST = (GrpcError, DeadlineExceededError, DiscoveryFailedError, OSError)
ANSWER = 5.0  #: seconds in which the server answers the first question
ALL = 2**31 - 1  #: events


class KurrentEventStore(Adapter):
    """An event store: `async with KurrentEventStore(url, "orders") as store: …`. Keeps `EventStore`.

    Its streams have its name and a "-" before their own. Raises ConnectionError when the server is gone.
    """

    _lost = LOST

    def __init__(self, url: str, name: str) -> None:
        self.name = values.name("the name of a store", name)
        self.committed_up_to = 0  #: the horizon, as far as this object has seen
        self._url, self._prefix = url, f"{name}-"

    async def _open(self, parts: AsyncExitStack) -> None:
        self._client = await parts.enter_async_context(AsyncKurrentDBClient(self._url))
        self.committed_up_to = await self._client.get_commit_position(timeout=ANSWER)

    async def append(
        self, stream: str, events: Sequence[Message], *, expected: int | Expected = Expected.ANY
    ) -> Appended:
        """Append all the events, or none, if the stream is as `expected`. See `EventStore`."""
        check_batch(stream, events, expected)
        with self._reaching():
            # Cancelled, it is whole all the same.
            return await unbroken(self._append(stream, list(events), expected))

    async def _append(self, stream: str, events: list[Message], expected: int | Expected) -> Appended:
        ids = [event.id for event in events]
        batch = [self._new(event.copy(key=stream)) for event in events]
        while True:
            kept = await self._read(stream, 0, ALL)
            actual = kept[-1].version if kept else 0
            known = {each.message.id: each for each in kept if each.message.id in ids}
            if (there := decide(stream, ids, expected, actual=actual, known=known)) is not None:
                return there
            try:
                position = await self._client.append_to_stream(
                    self._prefix + stream,
                    current_version=actual - 1 if actual else StreamState.NO_STREAM,
                    events=batch,
                )
            except WrongCurrentVersionError:
                continue  # somebody was quicker
            for version, event in enumerate(events, actual + 1):
                record(Kind.ACCEPTED, self.name, event.id, key=stream, stream=stream, version=version)
            self.committed_up_to = max(self.committed_up_to, position)
            return Appended(actual + len(events), position)

    def _new(self, event: Message) -> Any:
        id = uuid5(NAMESPACE_URL, f"{self._prefix}{event.key}/{event.id}")
        return NewEvent(type=event.type or "Message", data=encoded(event), id=id)

    async def read(self, stream: str, *, after: int = 0, limit: int | None = None) -> list[Recorded]:
        """The events of a stream whose versions are above `after`, in order. See `EventStore`."""
        check_reading(after, 1 if limit is None else limit, stream)
        with self._reaching():
            return await self._read(stream, after, ALL if limit is None else limit)

    async def _read(self, stream: str, after: int, limit: int) -> list[Recorded]:
        try:
            found = await self._client.get_stream(self._prefix + stream, stream_position=after, limit=limit)
        except NotFoundError:
            return []
        return [self._recorded(each) for each in found]

    async def read_all(self, *, after: int = 0, limit: int = 100) -> list[Recorded]:
        """At most `limit` events of all streams above the position `after`. See `EventStore`."""
        check_reading(after, limit)
        with self._reaching():
            # It begins with the event at this position, which is not above it.
            answer = await self._client.read_all(**self._above(after), limit=limit + 1)
            found = [self._recorded(each) async for each in answer if each.commit_position > after][:limit]
        if found:
            self.committed_up_to = max(self.committed_up_to, found[-1].position)
        return found

    async def wait(self, *, after: int) -> None:
        """Wait until `read_all(after=after)` finds something, whoever has appended it."""
        with self._reaching(), self._waiting:
            async with await self._client.subscribe_to_all(**self._above(after)) as events:
                async for each in events:
                    if each.commit_position > after:
                        return

    def _above(self, after: int) -> dict[str, Any]:
        """The words with which a reader asks for all the streams of this store."""
        ours = {"filter_include": (self._prefix,), "filter_by_stream_name": True, "filter_by_prefix": True}
        return {**ours, "commit_position": after or None}

    def _recorded(self, event: Any) -> Recorded:
        at = event.recorded_at.timestamp() - clock_shift()
        stream = event.stream_name.removeprefix(self._prefix)
        return Recorded(event.commit_position, stream, event.stream_position + 1, decoded(event.data), at)
