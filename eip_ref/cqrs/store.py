"""The store: the local database of one service, and the transaction that everything else here rests on.

A store holds documents (JSON values) in named tables, in the order of their keys. A transaction is
a few steps without an await between them, and all of it happens or none of it: the state and the
outbox, the view and the row that says "seen". What a transaction has to tell to others is told
after its commit, because before it nothing has happened.

`MemoryStore` lives as long as its process, `SQLiteStore` (in `sqlite_store.py`) as long as its file;
both keep the same text, so what one refuses the other refuses too.

*Left out:* indexes over the insides of documents, and transactions that wait, such as those of a
database server, in which two of them can meet in a deadlock.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, Self

from ..publish_subscribe.inbox import Bell

__all__ = ["MemoryStore", "Store", "Transaction", "place"]


def place(number: int) -> str:
    """A number as a key: keys are in the order of their text, so it needs leading zeros."""
    return f"{number:016d}"


class Store(Protocol):
    """A local database. Use it inside `with`; a store in memory may be entered again and again."""

    changed: Bell  #: rings after each commit of this process that wrote something

    @property
    def shift(self) -> float:
        """The clock of what is stored minus anyio's, in seconds."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...
    def transaction(self) -> AbstractContextManager[Transaction]:
        """All that is written inside is committed together, or none of it. Inside another, it joins that.

        There must be no await inside: the process would run other transactions in the middle of it.
        """
        ...


class Transaction(ABC):
    """The documents, as this transaction sees them: its own writes, and what is committed."""

    @abstractmethod
    def after_commit(self, call: Callable[[], object]) -> None:
        """Call this when the transaction is committed, and never when it is not."""

    @abstractmethod
    def _read(self, table: str, key: str) -> str | None: ...
    @abstractmethod
    def _write(self, table: str, key: str, text: str | None) -> None: ...
    @abstractmethod
    def _scan(self, table: str, after: str, limit: int) -> list[tuple[str, str]]: ...
    @abstractmethod
    def _size(self, table: str) -> int: ...

    def get(self, table: str, key: str, default: Any = None) -> Any:
        """The document under this key, as a copy of its own, or `default`."""
        text = self._read(table, key)
        return default if text is None else json.loads(text)

    def put(self, table: str, key: str, document: Any) -> None:
        """Write a document. Raises TypeError for one that is not JSON, or would come back changed."""
        try:
            text = json.dumps(document, allow_nan=False, separators=(",", ":"))
        except ValueError as error:
            raise TypeError(f"{key!r} of {table} cannot be written: {error}") from error
        if json.loads(text) != document:
            raise TypeError(f"{key!r} of {table} would come back changed: use lists, and text for keys")
        self._write(table, key, text)

    def delete(self, table: str, key: str) -> None:
        """Remove the document under this key, if there is one."""
        self._write(table, key, None)

    def scan(self, table: str, *, after: str = "", limit: int = -1) -> list[tuple[str, Any]]:
        """Keys and documents in the order of the keys, beyond `after`; -1 is no limit."""
        return [(key, json.loads(text)) for key, text in self._scan(table, after, limit)]

    def size(self, table: str) -> int:
        """How many documents the table holds."""
        return self._size(table)

    def count(self, counter: str, by: int = 1) -> int:
        """Add to a counter, which begins at 0, and return it."""
        value = int(self.get("counters", counter, 0)) + by
        self.put("counters", counter, value)
        return value

    def remember(self, table: str, key: str, document: Any, *, most: int) -> None:
        """Put a document under a new key, and forget the oldest beyond the last `most` of them."""
        number = self.count(f"{table}.order")
        self.put(table, key, document)
        self.put(f"{table}.order", place(number), key)
        for oldest, forgotten in self.scan(f"{table}.order", limit=1):
            if number - int(oldest) >= most:
                self.delete(f"{table}.order", oldest)
                self.delete(table, forgotten)

    def clear(self, table: str) -> None:
        """Remove every document of the table."""
        for key, _ in self._scan(table, "", -1):
            self._write(table, key, None)


class _MemoryTransaction(Transaction):
    def __init__(self, tables: dict[str, dict[str, str]], keys: dict[str, list[str]]) -> None:
        self._tables, self._keys = tables, keys
        self._undo: list[tuple[str, str, str | None]] = []
        self.after: list[Callable[[], object]] = []

    def after_commit(self, call: Callable[[], object]) -> None:
        self.after.append(call)

    @property
    def writes(self) -> bool:
        return bool(self._undo)

    def undo(self) -> None:
        for table, key, was in reversed(self._undo):
            self._set(table, key, was)

    def _read(self, table: str, key: str) -> str | None:
        return self._tables.get(table, {}).get(key)

    def _write(self, table: str, key: str, text: str | None) -> None:
        self._undo.append((table, key, self._read(table, key)))
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

    def _scan(self, table: str, after: str, limit: int) -> list[tuple[str, str]]:
        keys = self._keys.get(table, [])
        first = bisect_right(keys, after)
        last = len(keys) if limit < 0 else first + limit
        return [(key, self._tables[table][key]) for key in keys[first:last]]

    def _size(self, table: str) -> int:
        return len(self._tables.get(table, ()))


class MemoryStore:
    """A store in memory, for tests and lessons. It stands for a database server that does not crash."""

    shift = 0.0

    def __init__(self) -> None:
        self.changed = Bell()
        self._tables: dict[str, dict[str, str]] = {}
        self._keys: dict[str, list[str]] = {}
        self._open: _MemoryTransaction | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        if self._open is not None:
            yield self._open
            return
        self._open = transaction = _MemoryTransaction(self._tables, self._keys)
        try:
            yield transaction
        except BaseException:
            transaction.undo()
            raise
        finally:
            self._open = None
        for call in transaction.after:
            call()
        if transaction.writes:
            self.changed.ring()
