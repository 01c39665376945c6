"""Views on SQLite: view, position and what was set aside are in one file, and in one transaction.

The file may be that of the event store or another one; a projection needs no transaction over both.
What is overwritten or dropped is overwritten on the disk too, since it may be personal.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from ..storage import Database
from .views import Parked, View, check_tracking, generation_name, may_swap

__all__ = ["SQLiteView", "SQLiteViews"]

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS views (
        view TEXT, key TEXT, value TEXT, PRIMARY KEY (view, key)) WITHOUT ROWID""",
    "CREATE TABLE IF NOT EXISTS tracking (view TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS live (name TEXT PRIMARY KEY, generation INTEGER NOT NULL) WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS parked (
        view TEXT, position INTEGER, stream TEXT, reason TEXT, PRIMARY KEY (view, position)) WITHOUT ROWID""",
)


class SQLiteView:
    """A view in a file. Its `file` is open for tables of the handler's own."""

    def __init__(self, file: Database, name: str) -> None:
        self.database = file
        self._name = name

    @property
    def position(self) -> int:
        row = self.database.execute("SELECT position FROM tracking WHERE view = ?", self._name).fetchone()
        return 0 if row is None else int(row[0])

    def track(self, position: int) -> None:
        check_tracking(self._name, self.position, position)
        self._write("INSERT OR REPLACE INTO tracking VALUES (?, ?)", self._name, position)

    def get(self, key: str, default: Any = None) -> Any:
        query = "SELECT value FROM views WHERE view = ? AND key = ?"
        row = self.database.execute(query, self._name, key).fetchone()
        return default if row is None else json.loads(row[0])

    def set(self, key: str, value: Any) -> None:
        text = json.dumps(value, allow_nan=False)
        self._write("INSERT OR REPLACE INTO views VALUES (?, ?, ?)", self._name, key, text)

    def delete(self, key: str) -> None:
        self._write("DELETE FROM views WHERE view = ? AND key = ?", self._name, key)

    def items(self) -> list[tuple[str, Any]]:
        rows = self.database.execute("SELECT key, value FROM views WHERE view = ? ORDER BY key", self._name)
        return [(key, json.loads(value)) for key, value in rows]

    def park(self, event: Parked) -> None:
        self._write("INSERT OR REPLACE INTO parked VALUES (?, ?, ?, ?)", self._name, *event)

    def unpark(self, position: int) -> None:
        self._write("DELETE FROM parked WHERE view = ? AND position = ?", self._name, position)

    @property
    def parked(self) -> list[Parked]:
        query = "SELECT position, stream, reason FROM parked WHERE view = ? ORDER BY position"
        return list(map(Parked._make, self.database.execute(query, self._name)))

    def _write(self, statement: str, *values: object) -> None:
        if not self.database.connection.in_transaction:
            raise RuntimeError(f"{self._name} is changed by its projection, inside a transaction")
        self.database.execute(statement, *values)


class SQLiteViews:
    """Views in the file at `path`, or in a `Database` that others share. Use it with `with`, in a task."""

    def __init__(
        self,
        path: str | Path | Database,
        *,
        synchronous: str = "FULL",
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.database = Database.at(path, synchronous=synchronous, clock=clock)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.database)
            self.database.execute("PRAGMA secure_delete = ON")
            self.database.create(SCHEMA)
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.database.__exit__()

    @contextmanager
    def transaction(self, view: str) -> Iterator[View]:
        with self.database.transaction():
            yield SQLiteView(self.database, view)

    def view(self, view: str) -> View:
        return SQLiteView(self.database, view)

    def query(self, name: str) -> View:
        return SQLiteView(self.database, generation_name(name, self.live(name)))

    def live(self, name: str) -> int:
        row = self.database.execute("SELECT generation FROM live WHERE name = ?", name).fetchone()
        return 1 if row is None else int(row[0])

    def swap(self, name: str, generation: int) -> bool:
        with self.database.transaction():
            names = (generation_name(name, n) for n in (generation, self.live(name)))
            positions = {view: SQLiteView(self.database, view).position for view in names}
            if not may_swap(self, name, generation, positions):
                return False
            self.database.execute("INSERT OR REPLACE INTO live VALUES (?, ?)", name, generation)
            return True

    def drop(self, view: str) -> None:
        with self.database.transaction():
            for table in ("views", "tracking", "parked"):
                self.database.execute(f"DELETE FROM {table} WHERE view = ?", view)
        self.database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the write-ahead log has the values too
