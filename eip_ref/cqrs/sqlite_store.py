"""The store on SQLite: one table of documents in a file that queues and logs may share.

The documents of a table are in the order of their keys on the disk too, so a scan is one walk along
the primary key. Transactions, the write-ahead log and the clock are those of `durable_queue.File`.

*Left out:* telling at once, in another process, that the file has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from ..durable_queue import File
from ..publish_subscribe.inbox import Bell
from .store import Transaction

__all__ = ["SQLiteStore"]

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS documents (tbl TEXT NOT NULL, key TEXT NOT NULL, document TEXT NOT NULL,"
    " PRIMARY KEY (tbl, key)) WITHOUT ROWID",
)


class _SQLiteTransaction(Transaction):
    def __init__(self, file: File) -> None:
        self._file = file

    def after_commit(self, call: Callable[[], object]) -> None:
        self._file.after_commit(call)

    def _read(self, table: str, key: str) -> str | None:
        query = "SELECT document FROM documents WHERE tbl = ? AND key = ?"
        row = self._file.execute(query, table, key).fetchone()
        return None if row is None else str(row[0])

    def _write(self, table: str, key: str, text: str | None) -> None:
        if text is None:
            self._file.execute("DELETE FROM documents WHERE tbl = ? AND key = ?", table, key)
        else:
            self._file.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", table, key, text)

    def _scan(self, table: str, after: str, limit: int) -> list[tuple[str, str]]:
        query = "SELECT key, document FROM documents WHERE tbl = ? AND key > ? ORDER BY key LIMIT ?"
        return self._file.execute(query, table, after, limit).fetchall()

    def _size(self, table: str) -> int:
        return int(self._file.one("SELECT count(*) FROM documents WHERE tbl = ?", table)[0])

    def clear(self, table: str) -> None:
        self._file.execute("DELETE FROM documents WHERE tbl = ?", table)


class SQLiteStore:
    """A store in the file at `path`, or in a `File` that others share, opened by `with`.

    `synchronous` and `clock` are those of `durable_queue.File`.
    """

    def __init__(
        self,
        path: str | Path | File,
        *,
        synchronous: str = "FULL",
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.file = path if isinstance(path, File) else File(path, synchronous=synchronous, clock=clock)
        self.changed = Bell()

    @property
    def shift(self) -> float:
        return self.file.shift

    def __enter__(self) -> Self:
        self.file.__enter__()
        try:
            self.file.create(SCHEMA)
        except BaseException:
            self.file.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.file.__exit__()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        connection = self.file.connection
        outermost, before = not connection.in_transaction, connection.total_changes
        with self.file.transaction():
            yield _SQLiteTransaction(self.file)
        if outermost and connection.total_changes > before:
            self.changed.ring()
