"""The log on a disk: messages stay, each at its offset, and every reader has a place of its own in it.

Reading takes nothing away, so any number of groups read the same messages, now or again. What ends
a message is retention (too old, or too much) or compaction (a later message of the same key).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self

import anyio
import anyio.lowlevel

from .. import values
from ..message import EXPIRED, Message
from ..signal import Signal
from ..storage import Database, OffsetGone, Record, microseconds
from ..trace import Kind, listening, record, whoami
from .confirm import ACCEPTED_IDS, Deduplication, GroupCommit

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS logs (
        name TEXT PRIMARY KEY,
        first INTEGER NOT NULL DEFAULT 0,
        next INTEGER NOT NULL DEFAULT 0,
        bytes INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS records (
        log TEXT, offset INTEGER, at INTEGER, id TEXT, key TEXT, envelope TEXT,
        PRIMARY KEY (log, offset)) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS keys_of_records ON records (log, key, offset) WHERE key IS NOT NULL",
    """CREATE TABLE IF NOT EXISTS cursors (
        log TEXT, name TEXT, offset INTEGER, PRIMARY KEY (log, name)) WITHOUT ROWID""",
)


class SQLiteLog:
    """A log in the file at `path`, or in a `Database` that others share. Use it with `async with`.

    It keeps everything, or at most the last `keep_bytes` of stored text (the newest message always
    stays), and nothing that is `keep_seconds` old; retention is applied at each append and by
    `retain`. `dedup`, `group_commit`, `linger`, `synchronous` and `clock` are those of `SQLiteQueue`.
    """

    def __init__(
        self,
        path: str | Path | Database,
        name: str,
        *,
        keep_bytes: int | None = None,
        keep_seconds: float | None = None,
        dedup: int = 0,
        group_commit: int = 1,
        linger: float = 0.0,
        synchronous: str | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.name = values.name("name", name)
        self.database = Database.at(path, synchronous=synchronous, clock=clock)
        self._keep_bytes = None if keep_bytes is None else values.count("keep_bytes", keep_bytes)
        self._keep_seconds = (
            None if keep_seconds is None else values.duration("keep_seconds", keep_seconds, zero=False)
        )
        self._accepted = Deduplication(self.database, f"log {name}", dedup)
        self._appends = GroupCommit(self.database, self._add_all, size=group_commit, linger=linger)
        self._appended = Signal()
        self._open = False

    async def __aenter__(self) -> Self:
        await anyio.lowlevel.checkpoint()
        if self._open:
            raise RuntimeError(f"{self.name} is open already: enter it once, and share it")
        row = "INSERT OR IGNORE INTO logs (name) VALUES (?)"
        self.database.open(SCHEMA + ACCEPTED_IDS, row, self.name)
        self._open = True
        self._appended = self.database.signal(f"appended to {self.name}")
        record(Kind.OPENED, self.name, who="", role="channel", capacity=None)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._open = False
        self._appended.notify_all()  # whoever waits for more elsewhere is told that it is not open
        self.database.__exit__()

    @property
    def first(self) -> int:
        """The offset of the oldest message that retention has left, or `end` when there is none."""
        return self._bounds()[0]

    @property
    def end(self) -> int:
        """The offset that the next message will have."""
        return self._bounds()[1]

    @property
    def bytes(self) -> int:
        """The amount of text that it keeps."""
        return self._bounds()[2]

    def _bounds(self) -> tuple[int, int, int]:
        query = "SELECT first, next, bytes FROM logs WHERE name = ?"
        first, end, bytes_ = self.database.one(query, self.name)
        return first, end, bytes_

    # Appending

    async def append(self, message: Message) -> int:
        """Return the message's offset after it is on the disk: this is the confirm.

        Raises TypeError for a body that is not JSON. When it is cancelled, or raises an error of
        sqlite3, the outcome is indefinite: append again, with the same id, which `dedup` makes
        harmless: the answer is then the offset of the first time.
        """
        append = message, message.to_json(shift=self.database.shift), whoami()
        await anyio.lowlevel.checkpoint_if_cancelled()
        record(Kind.SENT, self.name, message.id, label=message.label, key=message.key)
        return await self._appends.add(append)

    def _add_all(self, appends: list[tuple[Message, str, str]]) -> list[int]:
        offsets = [self._add(*append) for append in appends]
        self._retain()
        self.database.after_commit(self._appended.notify_all)
        return offsets

    def _add(self, message: Message, envelope: str, who: str) -> int:
        if (known := self._accepted.find(message.id)) is not None:
            offset, _ = known
            self._tell(Kind.DUPLICATE, message.id, who=who, offset=offset)
            return offset
        grow = "UPDATE logs SET next = next + 1, bytes = bytes + ? WHERE name = ? RETURNING next - 1"
        (offset,) = self.database.one(grow, len(envelope), self.name)
        row = (self.name, offset, self.database.now(), message.id, message.key, envelope)
        self.database.execute("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)", *row)
        self._accepted.add(message.id, offset)
        self._tell(Kind.ACCEPTED, message.id, who=who, key=message.key, offset=offset)
        return int(offset)

    # Reading

    async def read(self, offset: int, *, limit: int = 100) -> list[Record]:
        """At most `limit` messages from `offset` on, in order; none when there are none yet.

        Offsets that compaction has removed are passed over. Raises `OffsetGone` for an offset that
        retention has removed, so that a reader who came too late is told, and ValueError for one
        that nobody has been given yet.
        """
        values.count("offset", offset, minimum=0)
        values.count("limit", limit)
        await anyio.lowlevel.checkpoint()
        with self.database.reading():
            first, end, _ = self._bounds()
            if offset < first:
                raise OffsetGone(self.name, offset, first)
            if offset > end:
                raise ValueError(f"the next offset of {self.name} is {end}, not {offset}")
            query = "SELECT offset, envelope, at FROM records WHERE log = ? AND offset >= ?"
            rows = self.database.rows(f"{query} ORDER BY offset LIMIT ?", self.name, offset, limit)
        return [
            Record(at, Message.from_json(text, shift=self.database.shift), self.database.on_anyio(when))
            for at, text, when in rows
        ]

    async def wait(self, offset: int) -> None:
        """Wait until a message with this offset has been appended, here or by another process.

        For what another process appends it looks every `poll` seconds of the `Database`.
        """
        values.count("offset", offset, minimum=0)
        while self.end <= offset:
            await self.database.news(self._appended)

    # Forgetting

    async def retain(self) -> int:
        """Remove what is too old or too much now, and return how many messages that were."""
        await anyio.lowlevel.checkpoint()
        return await self.database.run(self._retain)

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
        """The reason why the oldest message must go, or None when it may stay."""
        if self._keep_seconds is None and self._keep_bytes is None:
            return None
        query = "SELECT offset, at FROM records WHERE log = ? ORDER BY offset LIMIT 2"
        oldest = self.database.rows(query, self.name)
        if not oldest:
            return None
        age = self.database.now() - oldest[0][1]
        if self._keep_seconds is not None and age >= microseconds(self._keep_seconds):
            return f"older than {self._keep_seconds:g} s"
        if self._keep_bytes is not None and self.bytes > self._keep_bytes and len(oldest) > 1:
            return f"more than {self._keep_bytes} bytes"
        return None

    async def compact(self) -> int:
        """Keep the last message of each key, and return how many were removed. Offsets do not change.

        Messages without a key stay.
        """
        await anyio.lowlevel.checkpoint()
        return await self.database.run(self._compact)

    def _compact(self) -> int:
        later = "SELECT 1 FROM records AS r WHERE r.log = ? AND r.key = records.key"
        is_old = f"EXISTS ({later} AND r.offset > records.offset)"
        return self._remove(is_old, "a later message has its key", self.name)

    def _remove(self, condition: str, reason: str, *given: object) -> int:
        query = f"DELETE FROM records WHERE log = ? AND {condition} RETURNING offset, id, length(envelope)"
        gone = sorted(self.database.rows(query, self.name, *given))
        shrink = "UPDATE logs SET bytes = bytes - ? WHERE name = ?"
        self.database.execute(shrink, sum(size for _, _, size in gone), self.name)
        for offset, identity, _ in gone:
            self._tell(Kind.DROPPED, identity, who="", offset=offset, reason=reason)
        return len(gone)

    def _tell(self, kind: str, message_id: str, *, who: str, **data: object) -> None:
        if listening():
            self.database.after_commit(partial(record, kind, self.name, message_id, who=who, **data))


class ConsumerGroup:
    """A named reader of a log. What it had committed is where it goes on after a restart.

    Work first and commit afterwards: then a crash between the two repeats what was read since the
    last commit. Commit first: then a crash skips it. `position` is the offset that is read next.
    """

    def __init__(self, log: SQLiteLog, name: str) -> None:
        self.log = log
        self.name = values.name("name", name)
        self.position = self.committed

    @property
    def committed(self) -> int:
        """The offset before which everything is done. A new group begins at the oldest message kept."""
        query = "SELECT offset FROM cursors WHERE log = ? AND name = ?"
        row = self.log.database.execute(query, self.log.name, self.name).fetchone()
        return self.log.first if row is None else int(row[0])

    @property
    def lag(self) -> int:
        """The number of offsets that the group has not committed yet."""
        with self.log.database.reading():  # at one moment: it is never below 0
            return self.log.end - self.committed

    async def read(self, *, limit: int = 100, timeout: float = math.inf) -> list[Record]:
        """The next messages, at least one, unless `timeout` seconds pass without any: then none.

        What has expired is dropped. Raises `OffsetGone` when retention has removed what this group had not
        read. It stays where it is, and goes on after `seek(error.first)`, once somebody has decided that
        this is right.
        """
        values.duration("timeout", timeout, infinite=True)
        until = anyio.current_time() + timeout
        while True:
            found = await self.log.read(self.position, limit=limit)
            wanted = [each for each in found if self._is_wanted(each)]
            if wanted or (not found and anyio.current_time() >= until):
                return wanted
            if not found:
                with anyio.CancelScope(deadline=until):
                    await self.log.wait(self.position)

    def _is_wanted(self, record_: Record) -> bool:
        """Pass over the message; true for one that has not expired."""
        offset, message, _ = record_
        self.position = offset + 1
        facts: dict[str, Any] = {"offset": offset, "group": self.name}
        if expired := message.has_expired():
            record(Kind.DROPPED, self.log.name, message.id, who="", reason=EXPIRED, **facts)
        else:
            record(Kind.DELIVERED, self.log.name, message.id, lease=None, **facts)
        return not expired

    async def commit(self, offset: int | None = None) -> int:
        """Everything before `offset`, by default all that was read, is done; returns what is committed.

        A commit never moves back, whichever process has made the later one: then it changes nothing.
        """
        return await self.log.database.run(self._commit, self.position if offset is None else offset)

    async def seek(self, offset: int) -> None:
        """Go on from this offset, also after a restart: back for a replay, or forward to skip."""
        self.position = await self.log.database.run(self._seek, offset)

    def _commit(self, offset: int) -> int:
        self._must_be_within(0, offset)
        return self._write(max(offset, self.committed), "committed")

    def _seek(self, offset: int) -> int:
        self._must_be_within(self.log.first, offset)
        return self._write(offset, "sought")

    def _must_be_within(self, first: int, offset: int) -> None:
        if type(offset) is not int or not first <= offset <= self.log.end:
            raise ValueError(f"{self.log.name} has offsets from {first} to {self.log.end}, and not {offset}")

    def _write(self, offset: int, reason: str) -> int:
        facts: dict[str, Any] = {"was": self.committed, "now": offset, "reason": reason, "group": self.name}
        row = (self.log.name, self.name, offset)
        self.log.database.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)", *row)
        self.log.database.after_commit(partial(record, Kind.STATE, self.log.name, **facts))
        return offset
