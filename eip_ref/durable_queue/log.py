"""The log: messages stay, each at its offset, and every reader has a place of its own in it.

Reading takes nothing away, so any number of groups read the same messages, now or again. What ends
a message is retention (too old, or too much) or compaction (a later message of the same key).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

import anyio
import anyio.lowlevel

from ..message import Message
from ..storage import Database, microseconds
from ..trace import Kind, record, whoami
from .group_commit import GroupCommit
from .seen import SCHEMA as SEEN
from .seen import Seen
from .waiting import Waiting

__all__ = ["OffsetGone", "Record", "SQLiteLog"]

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS logs (
        name TEXT PRIMARY KEY,
        first INTEGER NOT NULL DEFAULT 0,
        next INTEGER NOT NULL DEFAULT 0,
        bytes INTEGER NOT NULL DEFAULT 0)""",
    """CREATE TABLE IF NOT EXISTS records (
        log TEXT, offset INTEGER, at INTEGER, id TEXT, key TEXT, envelope TEXT,
        PRIMARY KEY (log, offset)) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS keys ON records (log, key, offset) WHERE key IS NOT NULL",
    """CREATE TABLE IF NOT EXISTS cursors (
        log TEXT, name TEXT, offset INTEGER, PRIMARY KEY (log, name)) WITHOUT ROWID""",
)


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


class _Append(NamedTuple):
    message: Message
    envelope: str
    who: str


class SQLiteLog:
    """A log in the file at `path`, or in a `Database` that others share. Use it with `async with`.

    It keeps everything, or at most the last `keep_bytes` of stored text (the newest message always
    stays), and nothing that is `keep_seconds` old; retention is applied at each append and by
    `retain`. `dedup`, `per_fsync`, `linger`, `synchronous` and `clock` are those of `SQLiteQueue`.
    """

    def __init__(
        self,
        path: str | Path | Database,
        name: str,
        *,
        keep_bytes: int | None = None,
        keep_seconds: float | None = None,
        dedup: int = 0,
        per_fsync: int = 1,
        linger: float = 0.0,
        synchronous: str = "FULL",
        clock: Callable[[], float] | None = None,
    ) -> None:
        for setting, bound in (("keep_bytes", keep_bytes), ("keep_seconds", keep_seconds)):
            if bound is not None and bound <= 0:
                raise ValueError(f"{setting} must be more than 0, or None for no bound, not {bound:g}")
        self.name = name
        self.database = Database.at(path, synchronous=synchronous, clock=clock)
        self._keep_bytes = keep_bytes
        self._keep_seconds = keep_seconds
        self._seen = Seen(self.database, f"log {name}", dedup)
        self._appends = GroupCommit(self._commit_appends, size=per_fsync, linger=linger)
        self._waiting = Waiting()

    async def __aenter__(self) -> Self:
        await anyio.lowlevel.checkpoint()
        with ExitStack() as stack:
            stack.enter_context(self.database)
            with self.database.transaction():
                self.database.create(SCHEMA + SEEN)
                self.database.execute("INSERT OR IGNORE INTO logs (name) VALUES (?)", self.name)
            stack.pop_all()
        record(Kind.OPENED, self.name, who="", role="channel", capacity=None)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.database.__exit__()

    @property
    def first(self) -> int:
        """The offset of the oldest message that retention has left."""
        return self._bounds()[0]

    @property
    def next(self) -> int:
        """The offset that the next message will have."""
        return self._bounds()[1]

    @property
    def bytes(self) -> int:
        """How much text it keeps."""
        return self._bounds()[2]

    def _bounds(self) -> tuple[int, int, int]:
        first, next_, bytes_ = self.database.one(
            "SELECT first, next, bytes FROM logs WHERE name = ?", self.name
        )
        return first, next_, bytes_

    # Appending

    async def append(self, message: Message) -> int:
        """Return the message's offset after it is on the disk: this is the confirm.

        Raises TypeError for a body that is not JSON. When it is cancelled, or raises an error of
        sqlite3, the outcome is indefinite: append again, with the same id, which `dedup` makes
        harmless: the answer is then the offset of the first time.
        """
        append = _Append(message, message.to_json(shift=self.database.shift), whoami())
        await anyio.lowlevel.checkpoint()
        record(Kind.SENT, self.name, message.id, label=message.label, key=message.key)
        return await self._appends.add(append)

    def _commit_appends(self, appends: list[_Append]) -> list[int]:
        with self.database.transaction():
            offsets = [self._add(append) for append in appends]
            self._retain()
        self._waiting.wake()
        return offsets

    def _add(self, append: _Append) -> int:
        message, envelope, who = append
        if (known := self._seen.find(message.id)) is not None:
            offset, _ = known
            self._say(Kind.DUPLICATE, message.id, who=who, offset=offset)
            return offset
        offset = self.next
        row = (self.name, offset, self.database.now(), message.id, message.key, envelope)
        self.database.execute("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)", *row)
        grow = "UPDATE logs SET next = next + 1, bytes = bytes + ? WHERE name = ?"
        self.database.execute(grow, len(envelope), self.name)
        self._seen.add(message.id, offset)
        self._say(Kind.ACCEPTED, message.id, who=who, key=message.key, offset=offset)
        return offset

    # Reading

    async def read(self, offset: int, *, limit: int = 100) -> list[Record]:
        """At most `limit` messages from `offset` on, in order; none when there are none yet.

        Offsets that compaction has removed are passed over. Raises `OffsetGone` for an offset that
        retention has removed, so that a reader who came too late is told, and ValueError for one
        that nobody has been given yet.
        """
        await anyio.lowlevel.checkpoint()
        first, end, _ = self._bounds()
        if offset < first:
            raise OffsetGone(self.name, offset, first)
        if offset > end:
            raise ValueError(f"the next offset of {self.name} is {end}; nobody can read from {offset} on")
        if limit < 1:
            raise ValueError(f"the limit must be at least 1 message, not {limit}")
        query = "SELECT offset, envelope, at FROM records WHERE log = ? AND offset >= ?"
        rows = self.database.execute(f"{query} ORDER BY offset LIMIT ?", self.name, offset, limit)
        return [
            Record(at, Message.from_json(text, shift=self.database.shift), self.database.on_anyio(when))
            for at, text, when in rows
        ]

    async def reaches(self, offset: int) -> None:
        """Wait until a message with this offset has been appended by this process."""
        while self.next <= offset:
            await self._waiting.change()

    # Forgetting

    async def retain(self) -> int:
        """Remove what is too old or too much now, and say how many messages that were."""
        await anyio.lowlevel.checkpoint()
        with self.database.transaction():
            return self._retain()

    def _retain(self) -> int:
        removed = 0
        while (reason := self._out_of_bounds()) is not None:
            self._remove("offset = (SELECT min(offset) FROM records WHERE log = ?)", reason, self.name)
            removed += 1
        if removed:
            oldest = "(SELECT min(offset) FROM records WHERE log = ?)"
            first = f"UPDATE logs SET first = coalesce({oldest}, next) WHERE name = ?"
            self.database.execute(first, self.name, self.name)
        return removed

    def _out_of_bounds(self) -> str | None:
        """Why the oldest message must go, or None when it may stay."""
        query = "SELECT offset, at FROM records WHERE log = ? ORDER BY offset LIMIT 2"
        oldest = self.database.execute(query, self.name).fetchall()
        if not oldest:
            return None
        age = self.database.now() - oldest[0][1]
        if self._keep_seconds is not None and age >= microseconds(self._keep_seconds):
            return f"older than {self._keep_seconds:g} s"
        if self._keep_bytes is not None and self.bytes > self._keep_bytes and len(oldest) > 1:
            return f"more than {self._keep_bytes} bytes"
        return None

    async def compact(self) -> int:
        """Keep the last message of each key, and say how many were removed. Offsets do not change.

        Messages without a key stay.
        """
        await anyio.lowlevel.checkpoint()
        later = (
            "SELECT 1 FROM records AS r WHERE r.log = ? AND r.key = records.key AND r.offset > records.offset"
        )
        with self.database.transaction():
            return self._remove(f"EXISTS ({later})", "a later message has its key", self.name)

    def _remove(self, condition: str, reason: str, *values: object) -> int:
        query = f"DELETE FROM records WHERE log = ? AND {condition} RETURNING offset, id, length(envelope)"
        gone = sorted(self.database.execute(query, self.name, *values).fetchall())
        shrink = "UPDATE logs SET bytes = bytes - ? WHERE name = ?"
        self.database.execute(shrink, sum(size for _, _, size in gone), self.name)
        for offset, identity, _ in gone:
            self._say(Kind.DROPPED, identity, who="", offset=offset, reason=reason)
        return len(gone)

    def _say(self, kind: str, message_id: str, *, who: str, **data: object) -> None:
        self.database.after_commit(partial(record, kind, self.name, message_id, who=who, **data))
