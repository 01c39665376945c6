"""The store: documents of one program, and the transaction in which they change.

A store holds documents (JSON values) in named tables, in the order of their keys. All of a transaction
happens or none of it: the state and the outbox, the view and the row that says "seen".

`MemoryStore` lives as long as its process, `SQLiteStore` as long as its file; both keep the same text,
so what one refuses the other refuses too. What is deleted or replaced may be personal: the file
overwrites it, and `erase` reaches what is left of it beside the file.

*Left out:* indexes over the insides of documents.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Self, TypeVar

import anyio.lowlevel

from .. import values
from ..signal import Signal
from .database import Database
from .transactions import Transactional

T = TypeVar("T")


def key_of(number: int) -> str:
    """A number as a key: keys are in the order of their text, so it gets leading zeros."""
    return f"{number:016d}"


class Store(ABC):
    """A local database of documents. Use it inside `with`; one in memory may be entered again and again."""

    changed: Signal  #: all who wait are notified after each commit of this process that wrote something

    @property
    @abstractmethod
    def shift(self) -> float:
        """The clock of what is stored minus anyio's, in seconds."""

    @abstractmethod
    def __enter__(self) -> Self: ...
    @abstractmethod
    def __exit__(self, *error: object) -> None: ...

    def transaction(self) -> Transaction:
        """All that is written inside is committed together, or none of it.

        Inside another one of the same task it is a savepoint. There must be no await inside. Raises
        `ForeignTransaction` where the transaction of another task is open.
        """
        return Transaction(self, self._changing())

    def reading(self) -> Transaction:
        """The documents as they are at one moment, to be read and not written; it waits for no writer.

        There must be no await inside. Raises `ForeignTransaction` as `transaction` does.
        """
        return Transaction(self, self._looking(), writes=False)

    @abstractmethod
    async def run(self, step: Callable[[Transaction], T]) -> T:
        """Return what `step` returns in a transaction, after its commit.

        While another process has the file locked this waits, and the event loop goes on. Raises
        TypeError for an `async def`: there must be no await inside.
        """

    async def commit(self, step: Callable[[Transaction], T]) -> T:
        """The same as `run`, for whoever confirms it: a crash or a cancellation can come before and after."""
        await anyio.lowlevel.checkpoint()
        done = await self.run(step)
        await anyio.lowlevel.cancel_shielded_checkpoint()
        return done

    @abstractmethod
    async def news(self) -> None:
        """Wait until something has been committed, or may have been by another process."""

    @abstractmethod
    async def erase(self) -> None:
        """Leave no copy on the disk of what has been deleted or replaced. Not inside a transaction.

        Raises sqlite3.OperationalError when another process reads an older state of the file for longer
        than the file's `busy_timeout`; while this waits for it, the event loop goes on.
        """

    # What a transaction asks of it

    @abstractmethod
    def after_commit(self, call: Callable[[], object]) -> None: ...
    @abstractmethod
    def _changing(self) -> AbstractContextManager[object]: ...
    @abstractmethod
    def _looking(self) -> AbstractContextManager[object]: ...
    @abstractmethod
    def _read(self, table: str, key: str) -> str | None: ...
    @abstractmethod
    def _write(self, table: str, key: str, text: str | None) -> None: ...
    @abstractmethod
    def _scan(self, table: str, after: str | None, limit: int) -> list[tuple[str, str]]: ...
    @abstractmethod
    def _size(self, table: str) -> int: ...
    @abstractmethod
    def _clear(self, table: str) -> None: ...


class Transaction:
    """The documents, as this transaction sees them: its own writes, and what is committed.

    Each method raises RuntimeError outside its `with` block, and `after_commit` and those that write also
    while it is only read; ValueError for a table, a key or a limit that cannot be one.
    """

    shift: float  #: that of the store

    def __init__(self, store: Store, within: AbstractContextManager[object], *, writes: bool = True) -> None:
        self._store = store
        self._within = within
        self._writes = writes
        self._written = False
        self._open = False

    # No generator, since whatever is stored passes through here.

    def __enter__(self) -> Self:
        self._within.__enter__()
        self.shift = self._store.shift
        self._open = True
        return self

    def __exit__(self, *error: Any) -> bool | None:
        self._open = False  # whoever still holds it gets a clear error from now on
        if self._written:
            self._store.after_commit(self._store.changed.notify_all)
        return self._within.__exit__(*error)

    def _must_be_open(self, *, writes: bool) -> None:
        if not self._open:
            raise RuntimeError("this transaction is over: read and write in a new one")
        if writes and not self._writes:
            raise RuntimeError("documents are written inside a transaction; here they are only read")

    def _to_read(self, table: str, key: str | None = "any") -> Store:
        self._must_be_open(writes=False)
        if not (values.is_name(table) and values.is_name(key)):
            values.name("the name of a table", table)
            values.name(f"the key of a document in {table}", key)  # type: ignore[arg-type]
        return self._store

    def _to_write(self, table: str, key: str = "any") -> Store:
        self._must_be_open(writes=True)
        self._written = True
        return self._to_read(table, key)

    def after_commit(self, call: Callable[[], object]) -> None:
        """Call this when the outermost transaction is committed, and never if this part is undone.

        An exception that it raises is recorded as a note. Raises TypeError for an `async def`.
        """
        self._must_be_open(writes=True)
        self._store.after_commit(call)

    def get(self, table: str, key: str, default: Any = None) -> Any:
        """The document under this key, as a copy of its own, or `default`."""
        text = self._to_read(table, key)._read(table, key)
        return default if text is None else json.loads(text)

    def put(self, table: str, key: str, document: Any) -> None:
        """Write a document. Raises TypeError for one that would come back changed."""
        store = self._to_write(table, key)
        if not values.is_json(document):
            values.check_json(f"{key!r} of {table}", document)
        store._write(table, key, values.encode(document))

    def delete(self, table: str, key: str) -> None:
        """Remove the document under this key, if there is one."""
        self._to_write(table, key)._write(table, key, None)

    def scan(self, table: str, *, after: str | None = None, limit: int = -1) -> list[tuple[str, Any]]:
        """Keys and documents in the order of the keys, those beyond `after`; -1 is no limit."""
        store = self._to_read(table, "any" if after in (None, "") else after)
        values.count("limit", limit, minimum=-1)
        return [(key, json.loads(text)) for key, text in store._scan(table, after, limit)]

    def count(self, counter: str) -> int:
        """Add 1 to a counter, which begins at 0, and return it."""
        value = int(self.get("counters", counter, 0)) + 1
        self.put("counters", counter, value)
        return value

    def remember(self, table: str, key: str, document: Any, *, capacity: int) -> None:
        """Put a document under a new key, and forget the oldest beyond the last `capacity` of them."""
        values.count("capacity", capacity)
        number = self.count(f"{table}.order")
        self.put(table, key, document)
        self.put(f"{table}.order", key_of(number), key)
        while (oldest := self.scan(f"{table}.order", limit=1)) and number - int(oldest[0][0]) >= capacity:
            ((place, forgotten),) = oldest
            self.delete(f"{table}.order", place)
            self.delete(table, forgotten)

    def size(self, table: str) -> int:
        """The number of documents in the table."""
        return self._to_read(table)._size(table)

    def clear(self, table: str) -> None:
        """Remove every document of the table."""
        self._to_write(table)._clear(table)


class Table:
    """The table `name` of a transaction, for whoever works on this one."""

    def __init__(self, transaction: Transaction, name: str) -> None:
        self.name = name
        self.transaction = transaction  #: for an outbox, or other tables

    def get(self, key: str, default: Any = None) -> Any:
        """The document under this key, as a copy of its own, or `default`."""
        return self.transaction.get(self.name, key, default)

    def put(self, key: str, document: Any) -> None:
        """Write a document. Raises TypeError for what is not JSON, ValueError for a key that is no text."""
        self.transaction.put(self.name, key, document)

    def delete(self, key: str) -> None:
        """Remove the document under this key, if there is one."""
        self.transaction.delete(self.name, key)

    def items(self) -> list[tuple[str, Any]]:
        """All keys with their documents, in the order of the keys."""
        return self.transaction.scan(self.name)


# In memory


class MemoryStore(Transactional, Store):
    """A store in memory, for tests and lessons. It stands for a database server that does not crash."""

    shift = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.changed = Signal()
        self._tables: dict[str, _Table] = {}
        self._undo: list[tuple[str, str, str | None]] = []  # what the open transaction has replaced

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is forgotten: the store lives on."""

    def __str__(self) -> str:
        return "a store in memory"

    async def run(self, step: Callable[[Transaction], T]) -> T:
        values.must_not_be_async("a step of a transaction", step)
        with self.transaction() as transaction:
            return step(transaction)

    async def news(self) -> None:
        await self.changed.wait()

    async def erase(self) -> None:
        """There is no disk."""

    # What a transaction asks of it

    def _table(self, name: str) -> _Table:
        """The documents of a table, which may be none."""
        return self._tables.get(name) or self._tables.setdefault(name, _Table())

    def _read(self, table: str, key: str) -> str | None:
        return self._table(table).texts.get(key)

    def _write(self, table: str, key: str, text: str | None) -> None:
        documents = self._table(table)
        self._undo.append((table, key, documents.texts.get(key)))
        documents.set(key, text)

    def _scan(self, table: str, after: str | None, limit: int) -> list[tuple[str, str]]:
        documents = self._table(table)
        first = 0 if after is None else bisect_right(documents.keys, after)
        last = len(documents.keys) if limit < 0 else first + limit
        return [(key, documents.texts[key]) for key in documents.keys[first:last]]

    def _size(self, table: str) -> int:
        return len(self._table(table).keys)

    def _clear(self, table: str) -> None:
        for key in tuple(self._table(table).keys):
            self._write(table, key, None)

    def _begin(self, nested: bool) -> int:
        return len(self._undo)

    def _commit(self, nested: bool, mark: int) -> None:
        if not nested:
            self._undo.clear()

    def _roll_back(self, nested: bool, mark: int) -> None:
        while len(self._undo) > mark:
            table, key, text = self._undo.pop()
            self._table(table).set(key, text)


class _Table:
    """Documents as JSON text, and their keys in order."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.keys: list[str] = []

    def set(self, key: str, text: str | None) -> None:
        if text is None:
            if self.texts.pop(key, None) is not None:
                del self.keys[bisect_left(self.keys, key)]
            return
        if key not in self.texts:
            insort(self.keys, key)
        self.texts[key] = text


# On SQLite

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS documents (tbl TEXT NOT NULL, key TEXT NOT NULL, document TEXT NOT NULL,"
    " PRIMARY KEY (tbl, key)) WITHOUT ROWID",
)


class SQLiteStore(Store):
    """A store in the file at `path`, or in a `Database` that others share, opened by `with`.

    `synchronous` and `clock` are those of `Database`. A scan is one walk along the primary key.
    """

    def __init__(
        self,
        path: str | Path | Database,
        *,
        synchronous: str | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.database = Database.at(path, synchronous=synchronous, clock=clock)
        self.changed = self.database.signal("documents")

    @property
    def shift(self) -> float:
        return self.database.shift

    def __enter__(self) -> Self:
        self.database.open(SCHEMA, "PRAGMA secure_delete = ON")
        self.changed = self.database.signal("documents")  # of the event loop that runs now
        return self

    def __exit__(self, *error: object) -> None:
        self.database.__exit__()
        self.changed.notify_all()  # whoever waits for more looks again, and is told

    async def run(self, step: Callable[[Transaction], T]) -> T:
        values.must_not_be_async("a step of a transaction", step)

        def in_transaction() -> T:
            with Transaction(self, nullcontext()) as documents:
                return step(documents)

        return await self.database.run(in_transaction)

    async def news(self) -> None:
        await self.database.news(self.changed)

    async def erase(self) -> None:
        await self.database.empty_log()

    # What a transaction asks of it

    def after_commit(self, call: Callable[[], object]) -> None:
        self.database.after_commit(call)

    def _changing(self) -> AbstractContextManager[object]:
        return self.database.transaction()

    def _looking(self) -> AbstractContextManager[object]:
        return self.database.reading()

    def _read(self, table: str, key: str) -> str | None:
        query = "SELECT document FROM documents WHERE tbl = ? AND key = ?"
        row = self.database.execute(query, table, key).fetchone()
        return None if row is None else str(row[0])

    def _write(self, table: str, key: str, text: str | None) -> None:
        if text is None:
            self.database.execute("DELETE FROM documents WHERE tbl = ? AND key = ?", table, key)
        else:
            self.database.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", table, key, text)

    def _scan(self, table: str, after: str | None, limit: int) -> list[tuple[str, str]]:
        query = "SELECT key, document FROM documents WHERE tbl = ? AND (? IS NULL OR key > ?)"
        return self.database.rows(f"{query} ORDER BY key LIMIT ?", table, after, after, limit)

    def _size(self, table: str) -> int:
        return int(self.database.one("SELECT count(*) FROM documents WHERE tbl = ?", table)[0])

    def _clear(self, table: str) -> None:
        self.database.execute("DELETE FROM documents WHERE tbl = ?", table)
