"""The log of sagas on SQLite: entries and outgoing commands in one file, and in one transaction.

`append` returns after the commit. What it wrote survives a crash of the process, and of the machine
too with `synchronous="FULL"`, which is what the file does unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import anyio.lowlevel

from ..message import Message
from ..storage import Database
from .entries import Entry, Phase
from .log import checked, packed, tell, unpacked

__all__ = ["SQLiteSagaLog"]

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS sagas (place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
    " name TEXT NOT NULL, phase TEXT NOT NULL, entries INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS entries (saga TEXT, number INTEGER, mark TEXT NOT NULL, step TEXT NOT NULL,"
    " data TEXT NOT NULL, PRIMARY KEY (saga, number)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS outbox (place INTEGER PRIMARY KEY AUTOINCREMENT, command TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS sagas_by_phase ON sagas (phase)",
)


class SQLiteSagaLog:
    """Used as `with SQLiteSagaLog("shop.db") as log`. Several processes may open one file.

    Takes a path, or a `Database` that others use too: then they can write in the same transactions.
    """

    def __init__(self, file: Database | str | Path, **settings: Any) -> None:
        self.database = file if isinstance(file, Database) else Database(file, **settings)

    def __enter__(self) -> Self:
        self.database.__enter__()
        self.database.create(SCHEMA)
        return self

    def __exit__(self, *_: object) -> None:
        self.database.__exit__()

    async def append(
        self, saga: str, number: int, entries: Sequence[Entry], commands: Sequence[Message] = ()
    ) -> None:
        with self.database.transaction():
            self._append(saga, number, entries)
            for command in commands:
                envelope = command.to_json(shift=self.database.shift)
                self.database.execute("INSERT INTO outbox (command) VALUES (?)", envelope)
        await anyio.lowlevel.cancel_shielded_checkpoint()  # it is written: say so, come what may

    def _append(self, saga: str, number: int, entries: Sequence[Entry]) -> None:
        name, phase, known = self._where(saga)
        after, changes = checked(saga, phase, known, number, entries)
        if phase is None:
            name = str(entries[0].data["name"])
            self.database.execute(
                "INSERT INTO sagas (id, name, phase, entries) VALUES (?, ?, ?, ?)",
                saga, name, after, len(entries),
            )  # fmt: skip
        elif entries:
            total = number + len(entries)
            self.database.execute("UPDATE sagas SET phase = ?, entries = ? WHERE id = ?", after, total, saga)
        for place, entry in enumerate(entries, number + 1):
            values = saga, place, entry.mark, entry.step, packed(entry)
            self.database.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", *values)
        self.database.after_commit(lambda: tell(saga, name, changes))

    def _where(self, saga: str) -> tuple[str, Phase | None, int]:
        row = self.database.execute("SELECT name, phase, entries FROM sagas WHERE id = ?", saga).fetchone()
        return (row[0], Phase(row[1]), row[2]) if row else ("", None, 0)

    async def read(self, saga: str) -> list[Entry]:
        await anyio.lowlevel.checkpoint()
        rows = self.database.execute(
            "SELECT mark, step, data FROM entries WHERE saga = ? ORDER BY number", saga
        ).fetchall()
        return [unpacked(*row) for row in rows]

    async def find(self, *phases: Phase, name: str | None = None) -> list[str]:
        await anyio.lowlevel.checkpoint()
        places = ", ".join("?" * len(phases))
        rows = self.database.execute(
            f"SELECT id, name FROM sagas WHERE phase IN ({places}) ORDER BY place", *phases
        ).fetchall()
        return [identity for identity, of in rows if name in (None, of)]

    def now(self) -> float:
        return self.database.now() / 1e6

    async def unsent(self, limit: int = 100) -> list[tuple[int, Message]]:
        await anyio.lowlevel.checkpoint()
        rows = self.database.execute(
            "SELECT place, command FROM outbox ORDER BY place LIMIT ?", limit
        ).fetchall()
        return [(place, Message.from_json(command, shift=self.database.shift)) for place, command in rows]

    async def sent(self, place: int) -> None:
        with self.database.transaction():
            self.database.execute("DELETE FROM outbox WHERE place = ?", place)
        await anyio.lowlevel.cancel_shielded_checkpoint()
