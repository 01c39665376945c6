"""PostgreSQL: an event store in one table, by asyncpg.

The append rules are those of `event_sourcing`; what the table adds are a unique index for the versions of
a stream and one for the ids. Positions come from a sequence, which counts when a row is inserted, while a
reader sees it when its transaction commits: without more, a reader who has seen position 8 would miss
position 7 that commits later. So one append at a time has the lock of its store, and positions are in the
order of the commits.

*Left out:* appends to one store that do not wait for each other. They need readers who know which
transactions are still open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any

from .. import values
from ..event_sourcing import Appended, Expected, Recorded, check_batch, check_reading, decide
from ..message import Message
from ..trace import Kind, record
from .connections import Adapter, unbroken
from .postgresql import INTERVAL, LOST, opened
from .wire import clock_shift, decoded, encoded

__all__ = ["PostgresEventStore"]

TABLES = """
create table if not exists field_events (
    position bigserial primary key,
    store text not null,
    stream text not null,
    version int not null,
    id text not null,
    content bytea not null,
    at timestamptz not null default clock_timestamp(),
    unique (store, stream, version),
    unique (store, id)
);
create index if not exists field_events_all on field_events (store, position);
"""
COLUMNS = "position, stream, version, content, extract(epoch from at)::float8 as at"
LOCK = "select pg_advisory_xact_lock(hashtext($1))"
KNOWN = f"select {COLUMNS}, id from field_events where store = $1 and id = any($2)"
ACTUAL = "select coalesce(max(version), 0) from field_events where store = $1 and stream = $2"
APPEND = """
insert into field_events (store, stream, version, id, content)
select $1, $2, $3 + place, id, content
from unnest($4::text[], $5::bytea[]) with ordinality as each(id, content, place)
order by place returning position
"""
HORIZON = "select coalesce(max(position), 0) from field_events where store = $1"
READ = f"""
select {COLUMNS} from field_events where store = $1 and stream = $2 and version > $3 order by version limit $4
"""
READ_ALL = f"select {COLUMNS} from field_events where store = $1 and position > $2 order by position limit $3"


class PostgresEventStore(Adapter):
    """An event store: `async with PostgresEventStore(url, "orders") as store: …`. Keeps `EventStore`."""

    _lost = LOST

    def __init__(self, url: str, name: str, *, lock: bool = True) -> None:
        self.name = values.name("the name of a store", name)
        self.committed_up_to = 0  #: the horizon, as far as this object has heard
        self._url, self._lock = url, lock
        self._told = asyncio.Event()

    async def _open(self, parts: AsyncExitStack) -> None:
        self._pool = await opened(parts, self._url, TABLES, "field_events", self._hear)
        self._rise_to(await self._pool.fetchval(HORIZON, self.name))

    def _hear(self, connection: object, process: int, channel: str, told: str) -> None:
        position, _, store = told.partition(" ")
        if store == self.name:
            self._rise_to(int(position))
            self._told.set()

    def _rise_to(self, position: int) -> None:
        self.committed_up_to = max(self.committed_up_to, position)

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
        async with self._pool.acquire() as connection, connection.transaction():
            if self._lock:
                await connection.execute(LOCK, self.name)
            known = {row["id"]: _recorded(row) for row in await connection.fetch(KNOWN, self.name, ids)}
            actual = await connection.fetchval(ACTUAL, self.name, stream)
            if (there := decide(stream, ids, expected, actual=actual, known=known)) is not None:
                return there
            contents = [encoded(event.copy(key=stream)) for event in events]
            rows = await connection.fetch(APPEND, self.name, stream, actual, ids, contents)
            last = rows[-1]["position"]
            await connection.execute("select pg_notify('field_events', $1)", f"{last} {self.name}")
        self._rise_to(last)
        for version, (event, row) in enumerate(zip(events, rows, strict=True), actual + 1):
            facts = {"key": stream, "stream": stream, "version": version, "position": row["position"]}
            record(Kind.ACCEPTED, self.name, event.id, **facts)
        return Appended(actual + len(events), last)

    async def read(self, stream: str, *, after: int = 0, limit: int | None = None) -> list[Recorded]:
        """The events of a stream whose versions are above `after`, in order. See `EventStore`."""
        check_reading(after, 1 if limit is None else limit, stream)
        with self._reaching():
            rows = await self._pool.fetch(READ, self.name, stream, after, limit)
        return [_recorded(row) for row in rows]

    async def read_all(self, *, after: int = 0, limit: int = 100) -> list[Recorded]:
        """At most `limit` events of all streams above the position `after`. See `EventStore`."""
        check_reading(after, limit)
        with self._reaching():
            rows = await self._pool.fetch(READ_ALL, self.name, after, limit)
        found = [_recorded(row) for row in rows]
        if found:
            self._rise_to(found[-1].position)
        return found

    async def wait(self, *, after: int) -> None:
        """Wait until `read_all(after=after)` finds something, whoever has appended it."""
        self._must_be_open()
        with self._waiting:
            while True:
                self._told.clear()
                if await self.read_all(after=after, limit=1):
                    return
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._told.wait(), INTERVAL)


def _recorded(row: Any) -> Recorded:
    at = row["at"] - clock_shift()
    return Recorded(row["position"], row["stream"], row["version"], decoded(bytes(row["content"])), at)
