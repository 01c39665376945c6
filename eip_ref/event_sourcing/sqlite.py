"""The event store on SQLite: appended means on the disk, and positions follow the order of commits.

SQLite lets one writer in at a time. A position is given under the lock of its writer, so whatever
can be seen has nothing missing below it: the horizon is the last position. What is stored is never
changed: the table refuses it.

*Left out:* hearing at once of what another process appends to the same file (a reader asks now and
then), and several stores in one file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Self

import anyio
import anyio.lowlevel

from ..durable_queue.waiting import Waiting
from ..message import Message
from ..storage import Database
from ..trace import Kind, record
from .placing import Place, check_batch, check_reading, place
from .protocol import Appended, Conflict, Expected, Recorded
from .telling import say_accepted, say_refused, say_repeated, say_sent

__all__ = ["SQLiteEventStore"]

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS events (
        position INTEGER PRIMARY KEY,
        stream TEXT NOT NULL,
        version INTEGER NOT NULL,
        id TEXT NOT NULL UNIQUE,
        type TEXT NOT NULL,
        schema INTEGER NOT NULL,
        body TEXT NOT NULL,
        more TEXT,
        created INTEGER NOT NULL,
        at INTEGER NOT NULL,
        UNIQUE (stream, version))""",
    """CREATE TRIGGER IF NOT EXISTS events_do_not_change BEFORE UPDATE ON events
        BEGIN SELECT RAISE(ABORT, 'an event never changes: append another one'); END""",
    """CREATE TRIGGER IF NOT EXISTS events_do_not_go BEFORE DELETE ON events
        BEGIN SELECT RAISE(ABORT, 'an event never goes: forget the key of its subject'); END""",
)
COLUMNS = "position, stream, version, id, type, schema, body, more, created, at"
ENDS = """SELECT (SELECT coalesce(max(version), 0) FROM events WHERE stream = ?),
    (SELECT coalesce(max(position), 0) FROM events)"""
KNOWN = "SELECT id, stream, version, position FROM events WHERE id IN (SELECT value FROM json_each(?))"
encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
MORE = ("correlation_id", "causation_id", "reply_to", "headers")


class SQLiteEventStore:
    """An event store in the file at `path`, or in a `Database` that others share. Use it with `async with`.

    `strict` makes a repeated append an error; `synchronous` and `clock` are those of `Database`.
    """

    def __init__(
        self,
        path: str | Path | Database,
        name: str = "events",
        *,
        strict: bool = False,
        synchronous: str = "FULL",
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.name = name
        self.database = Database.at(path, synchronous=synchronous, clock=clock)
        self._strict = strict
        self._waiting = Waiting()

    async def __aenter__(self) -> Self:
        await anyio.lowlevel.checkpoint()
        with ExitStack() as stack:
            stack.enter_context(self.database)
            self.database.create(SCHEMA)
            stack.pop_all()
        record(Kind.OPENED, self.name, who="", role="channel", capacity=None)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.database.__exit__()

    # Appending

    async def append(
        self, stream: str, events: Sequence[Message], *, expected: int | Expected = Expected.ANY
    ) -> Appended:
        """Return after all the events are on the disk: this is the confirm. See `EventStore`.

        Raises TypeError for a body that JSON would change. When it is cancelled, or raises an error of
        sqlite3, the outcome is indefinite: append again, with the same ids.
        """
        await anyio.lowlevel.checkpoint()
        appended = self.append_nowait(stream, events, expected=expected)
        # Between the commit and the confirm something can always happen to the writer.
        await anyio.lowlevel.cancel_shielded_checkpoint()
        return appended

    def append_nowait(
        self, stream: str, events: Sequence[Message], *, expected: int | Expected = Expected.ANY
    ) -> Appended:
        """The same, in one step. Inside `with file.transaction()` it is committed with all of that."""
        check_batch(stream, events, expected)
        rows = [self._values(event) for event in events]
        for event in events:
            say_sent(self.name, stream, event)
        try:
            with self.database.transaction():
                return self._append(stream, events, rows, expected)
        except Conflict as conflict:
            say_refused(self.name, events, conflict)
            raise

    def _append(
        self, stream: str, events: Sequence[Message], rows: list[tuple[Any, ...]], expected: int | Expected
    ) -> Appended:
        ids = [event.id for event in events]
        actual, position = self.database.one(ENDS, stream)
        known = self._known(ids)
        there = place(stream, ids, expected, actual=actual, known=known, strict=self._strict)
        if there is not None:
            appended = Appended(there.version, there.position, repeated=True)
            self.database.after_commit(partial(say_repeated, self.name, events, stream, appended))
            return appended
        now, places = self.database.now(), range(1, len(events) + 1)
        self.database.connection.executemany(
            f"INSERT INTO events ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(position + n, stream, actual + n, *row, now) for n, row in zip(places, rows, strict=True)],
        )
        self.database.after_commit(partial(self._appended, stream, events, actual, position))
        return Appended(actual + len(events), position + len(events))

    def _known(self, ids: Sequence[str]) -> dict[str, Place]:
        return {identity: Place(*rest) for identity, *rest in self.database.execute(KNOWN, json.dumps(ids))}

    def _appended(self, stream: str, events: Sequence[Message], version: int, position: int) -> None:
        for n, event in enumerate(events, 1):
            say_accepted(self.name, stream, event.id, version + n, position + n)
        self._waiting.wake()

    # Reading

    async def read(self, stream: str, *, after: int = 0, limit: int | None = None) -> list[Recorded]:
        """The events of a stream whose versions are above `after`. See `EventStore`."""
        await anyio.lowlevel.checkpoint()
        check_reading(after, limit)
        query = f"SELECT {COLUMNS} FROM events WHERE stream = ? AND version > ? ORDER BY version LIMIT ?"
        return self._recorded(query, stream, after, -1 if limit is None else limit)

    async def read_all(self, *, after: int = 0, limit: int = 100) -> list[Recorded]:
        """The events of all streams above the position `after`. See `EventStore`."""
        await anyio.lowlevel.checkpoint()
        check_reading(after, limit)
        query = f"SELECT {COLUMNS} FROM events WHERE position > ? ORDER BY position LIMIT ?"
        return self._recorded(query, after, limit)

    @property
    def settled(self) -> int:
        """The horizon, which here is the last position."""
        (position,) = self.database.one("SELECT coalesce(max(position), 0) FROM events")
        return int(position)

    async def news(self, after: int) -> None:
        """Wait until this process has appended something above the position `after`, or finds it there."""
        await anyio.lowlevel.checkpoint()
        while self.settled <= after:
            await self._waiting.change()

    # Rows

    def _values(self, event: Message) -> tuple[Any, ...]:
        more = {name: value for name in MORE if (value := getattr(event, name))}
        if "headers" in more:
            more["headers"] = dict(more["headers"])
        created = round((event.created + self.database.shift) * 1e6)
        body, rest = _exact_json(event.body, event), _exact_json(more, event) if more else None
        return event.id, event.type, event.version, body, rest, created

    def _recorded(self, query: str, *values: object) -> list[Recorded]:
        shift = self.database.shift
        found = []
        for row in self.database.execute(query, *values):
            position, stream, version, identity, type_, schema, body, more, created, at = row
            message = Message(
                json.loads(body),
                type_,
                stream,
                identity,
                version=schema,
                created=created / 1e6 - shift,
                **json.loads(more) if more else {},
            )
            found.append(Recorded(position, stream, version, message, at / 1e6 - shift))
        return found


def _exact_json(value: object, event: Message) -> str:
    """The value as JSON text. Raises TypeError for one that would come back changed."""
    try:
        text = encode(value)
        if json.loads(text) == value:
            return text
    except (TypeError, ValueError) as error:
        raise TypeError(f"event {event.id!r} cannot be written to a file: {error}") from error
    raise TypeError(f"event {event.id!r} would come back changed: use lists for tuples, and text for keys")
