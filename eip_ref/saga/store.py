"""The books of a participant: values that change together or not at all, in memory or on SQLite.

A transaction holds no await, so nobody in this process sees half of one; on SQLite no other process
does either.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, Protocol, Self

from ..storage import Database
from ..trace import Kind, record

__all__ = ["Draft", "MemoryStore", "SQLiteStore", "Store"]


class Draft:
    """Reads and writes of one transaction, and the effects that it will have had."""

    def __init__(self, read: Callable[[str], Any]) -> None:
        self.changes: dict[str, Any] = {}
        self._read = read
        self._effects: list[tuple[str, dict[str, Any]]] = []

    def get(self, name: str, default: Any = None) -> Any:
        """The value as this transaction sees it: its own write, or what is committed."""
        value = self.changes[name] if name in self.changes else self._read(name)
        return default if value is None else value

    def set(self, name: str, value: Any) -> None:
        """Write a JSON value; None removes it."""
        self.changes[name] = value

    def effect(self, effect: str, **amounts: float) -> None:
        """Note what this does in the world, and by how much it changes what; recorded at the commit."""
        self._effects.append((effect, amounts))

    def forget(self) -> None:
        """Nothing was written and nothing will have happened."""
        self.changes.clear()
        self._effects.clear()

    def tell(self, where: str, message: str, **facts: Any) -> None:
        """For stores' users, after the commit: record the effects."""
        for effect, amounts in self._effects:
            record(Kind.EFFECT, where, message, who=where, effect=effect, amounts=amounts, **facts)


class Store(Protocol):
    """Values by name."""

    def transaction(self) -> AbstractContextManager[Draft]:
        """Commit what was written at the end of the block; an exception in it leaves nothing behind."""
        ...

    def values(self) -> dict[str, Any]:
        """All that is committed."""
        ...


class MemoryStore:
    """Values that live as long as the process."""

    def __init__(self, **values: Any) -> None:
        self._values = values

    @contextmanager
    def transaction(self) -> Iterator[Draft]:
        draft = Draft(lambda name: deepcopy(self._values.get(name)))
        yield draft
        self._values.update(deepcopy(draft.changes))

    def values(self) -> dict[str, Any]:
        return {name: deepcopy(value) for name, value in self._values.items() if value is not None}


class SQLiteStore:
    """Values in a table of a file, used as `with SQLiteStore(file, "payments") as store`."""

    def __init__(self, file: Database | str | Path, name: str) -> None:
        self.database = Database.at(file)
        self.name = name

    def __enter__(self) -> Self:
        self.database.__enter__()
        columns = "store TEXT, name TEXT, value TEXT NOT NULL, PRIMARY KEY (store, name)"
        self.database.create((f"CREATE TABLE IF NOT EXISTS books ({columns}) WITHOUT ROWID",))
        return self

    def __exit__(self, *_: object) -> None:
        self.database.__exit__()

    @contextmanager
    def transaction(self) -> Iterator[Draft]:
        with self.database.transaction():
            draft = Draft(self._read)
            yield draft
            for name, value in draft.changes.items():
                row = self.name, name, json.dumps(value)
                self.database.execute("INSERT OR REPLACE INTO books VALUES (?, ?, ?)", *row)

    def values(self) -> dict[str, Any]:
        rows = self.database.execute("SELECT name, value FROM books WHERE store = ? ORDER BY name", self.name)
        return {name: json.loads(text) for name, text in rows.fetchall() if text != "null"}

    def _read(self, name: str) -> Any:
        row = self.database.execute(
            "SELECT value FROM books WHERE store = ? AND name = ?", self.name, name
        ).fetchone()
        return json.loads(row[0]) if row else None
