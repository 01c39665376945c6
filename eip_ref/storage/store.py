"""The store: documents of one program, and the transaction in which they change.

A store holds documents (JSON values) in named tables, in the order of their keys. All of a transaction
happens or none of it: the state and the outbox, the view and the row that says "seen".

`MemoryStore` lives as long as its process, `SQLiteStore` as long as its file; both keep the same text,
so what one refuses the other refuses too.

*Left out:* indexes over the insides of documents.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol, Self

from .. import values
from ..signal import Signal
from .database import Database
from .transactions import Transactional

__all__ = ["MemoryStore", "SQLiteStore", "Store", "Transaction", "key_of"]


def key_of(number: int) -> str:
    """A number as a key: keys are in the order of their text, so it gets leading zeros."""
    return f"{number:016d}"


class Store(Protocol):
    """A local database of documents. Use it inside `with`; one in memory may be entered again and again."""

    changed: Signal  #: all who wait are notified after each commit of this process that wrote something

    @property
    def shift(self) -> float:
        """The clock of what is stored minus anyio's, in seconds."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...
    def transaction(self) -> AbstractContextManager[Transaction]:
        """All that is written inside is committed together, or none of it.

        Inside another one of the same task it is a savepoint. There must be no await inside. Raises
        `ForeignTransaction` where the transaction of another task is open.
        """
        ...

    async def news(self) -> None:
        """Wait until something has been committed, or may have been by another process."""
        ...


class Transaction(ABC):
    """The documents, as this transaction sees them: its own writes, and what is committed."""

    @abstractmethod
    def after_commit(self, call: Callable[[], object]) -> None:
        """Call this when the outermost transaction is committed, and never if this part is undone."""

    @abstractmethod
    def _read(self, table: str, key: str) -> str | None: ...
    @abstractmethod
    def _write(self, table: str, key: str, text: str | None) -> None: ...
    @abstractmethod
    def _scan(self, table: str, after: str | None, limit: int) -> list[tuple[str, str]]: ...
    @abstractmethod
    def size(self, table: str) -> int:
        """The number of documents in the table."""

    def get(self, table: str, key: str, default: Any = None) -> Any:
        """The document under this key, as a copy of its own, or `default`."""
        text = self._read(table, key)
        return default if text is None else json.loads(text)

    def put(self, table: str, key: str, document: Any) -> None:
        """Write a document. Raises TypeError for one that would come back changed, ValueError for its key."""
        values.name(f"the key of a document in {table}", key)
        self._write(table, key, values.to_json(f"{key!r} of {table}", document))

    def delete(self, table: str, key: str) -> None:
        """Remove the document under this key, if there is one."""
        self._write(table, key, None)

    def scan(self, table: str, *, after: str | None = None, limit: int = -1) -> list[tuple[str, Any]]:
        """Keys and documents in the order of the keys, those beyond `after`; -1 is no limit."""
        return [(key, json.loads(text)) for key, text in self._scan(table, after, limit)]

    def count(self, counter: str, by: int = 1) -> int:
        """Add to a counter, which begins at 0, and return it."""
        value = int(self.get("counters", counter, 0)) + by
        self.put("counters", counter, value)
        return value

    def remember(self, table: str, key: str, document: Any, *, capacity: int) -> None:
        """Put a document under a new key, and forget the oldest beyond the last `capacity` of them."""
        number = self.count(f"{table}.order")
        self.put(table, key, document)
        self.put(f"{table}.order", key_of(number), key)
        for oldest, forgotten in self.scan(f"{table}.order", limit=1):
            if number - int(oldest) >= capacity:
                self.delete(f"{table}.order", oldest)
                self.delete(table, forgotten)

    def clear(self, table: str) -> None:
        """Remove every document of the table."""
        for key, _ in self._scan(table, None, -1):
            self._write(table, key, None)


# In memory


class MemoryStore(Transactional):
    """A store in memory, for tests and lessons. It stands for a database server that does not crash."""

    shift = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.changed = Signal()
        self._documents = _Documents(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is forgotten: the store lives on."""

    def __str__(self) -> str:
        return "a store in memory"

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with self.changing():
            yield self._documents

    async def news(self) -> None:
        await self.changed.wait()

    def _begin(self, nested: bool) -> int:
        return len(self._documents.undo)

    def _commit(self, nested: bool, mark: int) -> None:
        if not nested and self._documents.undo:
            self._documents.undo.clear()
            self.after_commit(self.changed.notify_all)

    def _roll_back(self, nested: bool, mark: int) -> None:
        self._documents.undo_to(mark)


class _Documents(Transaction):
    """The documents of a store in memory, and how to undo what the open transaction has written."""

    def __init__(self, store: MemoryStore) -> None:
        self.undo: list[tuple[str, str, str | None]] = []
        self._store = store
        self._tables: dict[str, dict[str, str]] = {}
        self._keys: dict[str, list[str]] = {}  # of each table, in order

    def after_commit(self, call: Callable[[], object]) -> None:
        self._store.after_commit(call)

    def undo_to(self, mark: int) -> None:
        while len(self.undo) > mark:
            self._set(*self.undo.pop())

    def _read(self, table: str, key: str) -> str | None:
        return self._tables.get(table, {}).get(key)

    def _write(self, table: str, key: str, text: str | None) -> None:
        self.undo.append((table, key, self._read(table, key)))
        self._set(table, key, text)

    def _set(self, table: str, key: str, text: str | None) -> None:
        documents, keys = self._tables.setdefault(table, {}), self._keys.setdefault(table, [])
        if text is not None and key not in documents:
            insort(keys, key)
        elif text is None and key in documents:
            del keys[bisect_left(keys, key)]
        if text is None:
            documents.pop(key, None)
        else:
            documents[key] = text

    def _scan(self, table: str, after: str | None, limit: int) -> list[tuple[str, str]]:
        keys = self._keys.get(table, [])
        first = 0 if after is None else bisect_right(keys, after)
        last = len(keys) if limit < 0 else first + limit
        return [(key, self._tables[table][key]) for key in keys[first:last]]

    def size(self, table: str) -> int:
        return len(self._tables.get(table, ()))


# On SQLite

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS documents (tbl TEXT NOT NULL, key TEXT NOT NULL, document TEXT NOT NULL,"
    " PRIMARY KEY (tbl, key)) WITHOUT ROWID",
)


class SQLiteStore:
    """A store in the file at `path`, or in a `Database` that others share, opened by `with`.

    `synchronous` and `clock` are those of `Database`. A scan is one walk along the primary key.
    """

    def __init__(
        self,
        path: str | Path | Database,
        *,
        synchronous: str = "FULL",
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.database = Database.at(path, synchronous=synchronous, clock=clock)
        self.changed = self.database.signal("documents")

    @property
    def shift(self) -> float:
        return self.database.shift

    def __enter__(self) -> Self:
        self.database.__enter__()
        try:
            self.database.create(SCHEMA)
        except BaseException:
            self.database.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.database.__exit__()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        rows = _Rows(self.database)
        with self.database.transaction():
            yield rows
            if rows.written:
                self.database.after_commit(self.changed.notify_all)

    async def news(self) -> None:
        await self.database.news(self.changed)


class _Rows(Transaction):
    """The documents of one file."""

    def __init__(self, database: Database) -> None:
        self.written = False
        self._database = database

    def after_commit(self, call: Callable[[], object]) -> None:
        self._database.after_commit(call)

    def _read(self, table: str, key: str) -> str | None:
        query = "SELECT document FROM documents WHERE tbl = ? AND key = ?"
        row = self._database.execute(query, table, key).fetchone()
        return None if row is None else str(row[0])

    def _write(self, table: str, key: str, text: str | None) -> None:
        self.written = True
        if text is None:
            self._database.execute("DELETE FROM documents WHERE tbl = ? AND key = ?", table, key)
        else:
            self._database.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", table, key, text)

    def _scan(self, table: str, after: str | None, limit: int) -> list[tuple[str, str]]:
        query = "SELECT key, document FROM documents WHERE tbl = ? AND (? IS NULL OR key > ?)"
        rows = self._database.execute(f"{query} ORDER BY key LIMIT ?", table, after, after, limit)
        return rows.fetchall()

    def size(self, table: str) -> int:
        return int(self._database.one("SELECT count(*) FROM documents WHERE tbl = ?", table)[0])

    def clear(self, table: str) -> None:
        self.written = True
        self._database.execute("DELETE FROM documents WHERE tbl = ?", table)
