"""The event store on SQLite: appended means on the disk, and positions follow the order of commits.

SQLite lets one writer in at a time. A position is given under the lock of its writer, so whatever
can be seen has nothing missing below it: the horizon is the last position. What is stored is never
changed: the table refuses it. That no id and no version of a stream is there twice, it refuses too.

*Left out:* several stores in one file.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Self

import anyio.lowlevel

from .. import values
from ..message import Message
from ..signal import Signal
from ..storage import Database
from ..trace import Kind, listening, record
from .append_rules import check_batch, check_reading, decide, fits, say_accepted, say_repeated
from .store import Appended, Expected, Recorded, WrongExpectedVersion

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
INSERT = f"INSERT INTO events ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
ENDS = """SELECT (SELECT coalesce(max(version), 0) FROM events WHERE stream = ?),
    (SELECT coalesce(max(position), 0) FROM events)"""
MORE = ("correlation_id", "causation_id", "reply_to")

_Row = tuple[str, str, int, str, str | None, int]  # the columns from id to created


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
        synchronous: str | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.name = values.name("the name of a store", name)
        self.database = Database.at(path, synchronous=synchronous, clock=clock)
        self._strict = strict
        self._appended = Signal()
        self._users = 0

    async def __aenter__(self) -> Self:
        await anyio.lowlevel.checkpoint()
        self.database.open(SCHEMA)
        self._appended = self.database.signal("events")  # of the event loop that runs now
        self._users += 1
        record(Kind.OPENED, self.name, who="", role="channel", capacity=None)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the file; whoever still waits for events here gets a RuntimeError."""
        self._users -= 1
        self.database.__exit__()
        self._appended.notify_all()

    # Appending

    async def append(
        self, stream: str, events: Sequence[Message], *, expected: int | Expected = Expected.ANY
    ) -> Appended:
        """Return after all the events are on the disk: this is the confirm. See `EventStore`.

        After an error of sqlite3, too, the outcome is indefinite: append again, with the same ids.
        """
        await anyio.lowlevel.checkpoint()
        rows = self._sent(stream, events, expected)
        appended = await self.database.run(lambda: self._append(stream, events, rows, expected))
        # Between the commit and the confirm something can always happen to the writer.
        await anyio.lowlevel.cancel_shielded_checkpoint()
        return appended

    def append_nowait(
        self, stream: str, events: Sequence[Message], *, expected: int | Expected = Expected.ANY
    ) -> Appended:
        """The same, in one step. Inside `with database.transaction()` it is committed with all of that."""
        rows = self._sent(stream, events, expected)
        with self.database.transaction():
            return self._append(stream, events, rows, expected)

    def _sent(self, stream: str, events: Sequence[Message], expected: int | Expected) -> list[_Row]:
        self._must_be_open()
        check_batch(stream, events, expected)
        for event in events if listening() else ():
            record(Kind.SENT, self.name, event.id, label=event.type, key=stream)
        return [self._row(event) for event in events]

    def _append(
        self, stream: str, events: Sequence[Message], rows: list[_Row], expected: int | Expected
    ) -> Appended:
        actual, position = self.database.one(ENDS, stream)
        # Most batches are new; whether one of the ids is there already, the table says.
        if fits(expected, actual) and self._inserted(stream, rows, actual, position):
            self.database.after_commit(partial(self._has_appended, stream, events, actual, position))
            return Appended(actual + len(events), position + len(events))
        repeated = self._repeated(stream, events, expected, actual)
        self.database.after_commit(partial(say_repeated, self.name, events, stream, repeated))
        return repeated

    def _inserted(self, stream: str, rows: list[_Row], version: int, position: int) -> bool:
        """Insert the rows, all or none; false when the file has one of the ids already."""
        now = self.database.now()
        full = [(position + n, stream, version + n, *row, now) for n, row in enumerate(rows, 1)]
        try:
            with self.database.transaction() if len(rows) > 1 else nullcontext():
                self.database.execute_many(INSERT, full)
        except sqlite3.IntegrityError:
            return False
        return True

    def _repeated(
        self, stream: str, events: Sequence[Message], expected: int | Expected, actual: int
    ) -> Appended:
        """The answer for events that are there already. Raises `WrongExpectedVersion` and `IdTaken`."""
        ids = [event.id for event in events]
        found = self._recorded("WHERE id IN (SELECT value FROM json_each(?))", values.encode(ids))
        known = {event.message.id: event for event in found}
        try:
            repeated = decide(stream, ids, expected, actual=actual, known=known, strict=self._strict)
        except WrongExpectedVersion as error:
            facts: dict[str, Any] = {"stream": stream, "expected": expected, "actual": actual}
            for event in events:
                record(Kind.REFUSED, self.name, event.id, reason=str(error), **facts)
            raise
        assert repeated is not None, f"{self.database} refuses events that are not there"
        return repeated

    def _has_appended(self, stream: str, events: Sequence[Message], version: int, position: int) -> None:
        for n, event in enumerate(events if listening() else (), 1):
            say_accepted(self.name, stream, event.id, version + n, position + n)
        self._appended.notify_all()

    # Reading

    async def read(self, stream: str, *, after: int = 0, limit: int | None = None) -> list[Recorded]:
        """The events of a stream whose versions are above `after`. See `EventStore`."""
        await anyio.lowlevel.checkpoint()
        check_reading(after, 1 if limit is None else limit, stream)
        where = "WHERE stream = ? AND version > ? ORDER BY version LIMIT ?"
        return self._recorded(where, stream, after, -1 if limit is None else limit)

    async def read_all(self, *, after: int = 0, limit: int = 100) -> list[Recorded]:
        """The events of all streams above the position `after`. See `EventStore`."""
        await anyio.lowlevel.checkpoint()
        check_reading(after, limit)
        return self._recorded("WHERE position > ? ORDER BY position LIMIT ?", after, limit)

    @property
    def committed_up_to(self) -> int:
        """The horizon, which here is the last position."""
        self._must_be_open()
        (position,) = self.database.one("SELECT coalesce(max(position), 0) FROM events")
        return int(position)

    async def wait(self, *, after: int) -> None:
        """Wait for an event above the position `after`, from anybody who has the file open.

        Another process is heard of after the database's `poll` seconds at most.
        """
        await anyio.lowlevel.checkpoint()
        while self.committed_up_to <= after:
            await self.database.news(self._appended)

    def _must_be_open(self) -> None:
        if not self._users:
            raise RuntimeError(f"{self.name} is not open; use it inside its `async with` block")

    # Rows

    def _row(self, event: Message) -> _Row:
        more = {name: value for name in MORE if (value := getattr(event, name)) is not None}
        if event.headers:
            more["headers"] = dict(event.headers)
        created = round((event.created + self.database.shift) * 1e6)
        body = values.encode(event.body)
        return event.id, event.type, event.version, body, values.encode(more) if more else None, created

    def _recorded(self, where: str, *parameters: object) -> list[Recorded]:
        self._must_be_open()
        shift = self.database.shift
        found = []
        for row in self.database.rows(f"SELECT {COLUMNS} FROM events {where}", *parameters):
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
