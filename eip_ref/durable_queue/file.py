"""The file: an SQLite database in which queues and logs live, its transactions, and its time.

A transaction is a few statements without an await between them, so whoever holds the file open in
this process never waits for another. What a transaction has to say (to the trace, to those who
wait) is said after its commit, because before it nothing has happened.

Times in the file are whole microseconds on the *file's clock*, which goes on over restarts: anyio's
clock plus a shift that is chosen when the file is opened. Without a `clock` the shift is the one
kept in the file. It grows when anyio's clock is behind the last time that was written, as after a
restart of the machine: then the file's clock goes on where it stopped. So a lease may last longer
over a restart, by the time for which nobody had the file open, and never shorter. With
`clock=time.time` that time counts too; the clock is asked once, at the opening, so setting the
clock of the machine later disturbs nothing. Everybody who opens a file must use the same kind of
clock; anyio's is the machine's own on asyncio, but starts anywhere on trio, which needs a `clock`.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import anyio

__all__ = ["FOREVER", "File", "microseconds"]

VERSION = 1
FOREVER = 10**18  #: microseconds; what is due then is never due

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS time (offset REAL NOT NULL, at INTEGER NOT NULL)",
    "INSERT INTO time SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM time)",
)


def microseconds(seconds: float) -> int:
    """A time or a duration as the file keeps it; at most `FOREVER`."""
    return round(min(seconds, FOREVER / 1e6) * 1e6)


class File:
    """One database file and one connection to it. Queues and logs that are given it share both.

    `synchronous` is SQLite's: "FULL" writes each commit through to the disk before it returns,
    "NORMAL" may lose the last commits when the power fails, "OFF" may lose the file.
    """

    def __init__(
        self, path: str | Path, *, synchronous: str = "FULL", clock: Callable[[], float] | None = None
    ) -> None:
        self._connection: sqlite3.Connection | None = None
        if synchronous not in ("FULL", "NORMAL", "OFF"):
            raise ValueError(f"synchronous must be 'FULL', 'NORMAL' or 'OFF', not {synchronous!r}")
        self.path = Path(path).absolute()
        self.synchronous = synchronous
        self._clock = clock
        self._shift = 0.0
        self._users = 0
        self._after: list[Callable[[], object]] = []

    # Opening

    def __enter__(self) -> Self:
        if self._users == 0:
            self._connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            try:
                self._prepare()
            except BaseException:
                self._close()
                raise
        self._users += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._users -= 1
        if self._users == 0:
            self._close()

    def __del__(self) -> None:
        self._close()  # a process that crashed in virtual time leaves the file open

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _prepare(self) -> None:
        (version,) = self.one("PRAGMA user_version")
        if version not in (0, VERSION):
            raise ValueError(f"{self.path} has format {version}; this program reads format {VERSION}")
        if self.one("PRAGMA journal_mode = WAL") != ("wal",):
            raise ValueError(f"SQLite cannot keep a write-ahead log beside {self.path}; use a local disk")
        self.execute(f"PRAGMA synchronous = {self.synchronous}")
        with self.transaction():
            self.create(SCHEMA)
            if version == 0:
                self.execute(f"PRAGMA user_version = {VERSION}")
            self._set_clock()

    def create(self, schema: tuple[str, ...]) -> None:
        """Make the tables of a queue or a log, where they are missing."""
        with self.transaction():
            for statement in schema:
                self.execute(statement)

    # Statements

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection. Raises RuntimeError while the file is not open."""
        if self._connection is None:
            raise RuntimeError(f"{self.path} is not open; use what lives in it inside its `async with`")
        return self._connection

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        return self.connection.execute(statement, values)

    def one(self, statement: str, *values: Any) -> tuple[Any, ...]:
        """The first row. Raises LookupError when there is none."""
        rows = self.execute(statement, *values).fetchall()
        if not rows:
            raise LookupError(statement)
        return tuple(rows[0])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All statements inside are committed together, or none. Inside another one it joins that.

        What sqlite3 raises comes out. After an error of the commit itself, such as a full disk, the
        file is as it was before, as far as this process can tell.
        """
        if self.connection.in_transaction:
            yield
            return
        self.execute("BEGIN IMMEDIATE")
        try:
            before = self.connection.total_changes
            yield
            if self.connection.total_changes > before:
                self.execute("UPDATE time SET at = max(at, ?)", self.now())
            self.execute("COMMIT")
        except BaseException:
            self._after.clear()
            if self.connection.in_transaction:
                self.execute("ROLLBACK")
            raise
        after, self._after = self._after, []
        for call in after:
            call()

    def after_commit(self, call: Callable[[], object]) -> None:
        """Call this when the transaction is committed, and never when it is not."""
        self._after.append(call)

    # Time

    @property
    def shift(self) -> float:
        """The file's clock minus anyio's, in seconds."""
        return self._shift

    def now(self) -> int:
        """The time on the file's clock."""
        return microseconds(anyio.current_time() + self._shift)

    def on_anyio(self, time: int) -> float:
        """A time of the file on anyio's clock, in seconds."""
        return math.inf if time >= FOREVER else time / 1e6 - self._shift

    def _set_clock(self) -> None:
        offset, last = self.one("SELECT offset, at FROM time")
        ahead = 0.0 if self._clock is None else self._clock() - anyio.current_time()
        if microseconds(anyio.current_time() + ahead + offset) < last:
            offset = last / 1e6 - (anyio.current_time() + ahead)
            self.execute("UPDATE time SET offset = ?", offset)
        self._shift = ahead + offset
