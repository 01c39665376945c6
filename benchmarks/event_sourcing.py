"""What appending and replaying events costs beside bare sqlite3, and beside the library `eventsourcing`.

Run it with `python -m benchmarks.event_sourcing [folder]`; the folder should be on a real disk. All
three keep a write-ahead log and write each commit through to the disk. The library comes with the extra
`bench`; without it its lines are left out.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import make_dataclass
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio

from eip_ref.event_sourcing import SQLiteEventStore
from eip_ref.message import Message

from .core import line
from .durable_queue import measured

HAS_LIBRARY = find_spec("eventsourcing") is not None
NUMBER = itertools.count()
BODY = {"order": 17, "customer": "customer 5", "euros": 40}


def file(folder: Path, kind: str) -> Path:
    return folder / f"{kind}-{next(NUMBER)}.db"


# Bare: one table, in which a version of a stream is there once, and JSON


def bare(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    columns = (
        "position INTEGER PRIMARY KEY, stream TEXT, version INTEGER, id TEXT UNIQUE, type TEXT, body TEXT"
    )
    connection.execute(f"CREATE TABLE IF NOT EXISTS events ({columns}, UNIQUE (stream, version))")
    return connection


def bare_appends(path: Path, count: int, per_commit: int) -> None:
    insert = "INSERT INTO events (stream, version, id, type, body) VALUES (?, ?, ?, ?, ?)"
    with closing(bare(path)) as connection:
        for start in range(0, count, per_commit):
            numbers = range(start, start + per_commit)
            connection.execute("BEGIN IMMEDIATE")
            rows = [("order", n + 1, f"event {n}", "OrderPlaced", json.dumps(BODY)) for n in numbers]
            connection.executemany(insert, rows)
            connection.execute("COMMIT")


def bare_replay(path: Path) -> None:
    query = "SELECT position, stream, version, id, type, body FROM events WHERE stream = ? ORDER BY version"
    with closing(bare(path)) as connection:
        events = [(*row[:-1], json.loads(row[-1])) for row in connection.execute(query, ("order",))]
        assert events


# Ours


async def appends(path: Path, count: int, per_commit: int) -> None:
    async with SQLiteEventStore(path) as store:
        for start in range(0, count, per_commit):
            numbers = range(start, start + per_commit)
            batch = [Message(BODY, "OrderPlaced", id=f"event {n}") for n in numbers]
            await store.append("order", batch, expected=start)


async def replay(path: Path) -> None:
    async with SQLiteEventStore(path) as store:
        assert await store.read("order")


async def replay_all(path: Path) -> None:
    async with SQLiteEventStore(path) as store:
        after = 0
        while batch := await store.read_all(after=after, limit=1000):
            after = batch[-1].position


# The library: its event store with its mapper and JSON transcoder, on its SQLite recorder

if HAS_LIBRARY:
    FIELDS = [(name, type(value)) for name, value in BODY.items()]
    BASE = import_module("eventsourcing.domain").DomainEvent
    OrderPlaced: Any = make_dataclass("OrderPlaced", FIELDS, bases=(BASE,), frozen=True, kw_only=True)
    OrderPlaced.__module__ = __name__
STREAM = UUID(int=17)


def library_store(path: Path) -> Any:
    persistence, sqlite = import_module("eventsourcing.persistence"), import_module("eventsourcing.sqlite")
    recorder = sqlite.SQLiteApplicationRecorder(sqlite.SQLiteDatastore(str(path)))
    recorder.create_table()
    transcoder = persistence.JSONTranscoder()
    transcoder.register(persistence.DatetimeAsISO())
    return persistence.EventStore(persistence.Mapper(transcoder), recorder)


def library_appends(path: Path, count: int, per_commit: int) -> None:
    store, now = library_store(path), BASE.create_timestamp()
    for start in range(0, count, per_commit):
        versions = range(start + 1, start + per_commit + 1)
        placed = [
            OrderPlaced(originator_id=STREAM, originator_version=n, timestamp=now, **BODY) for n in versions
        ]
        store.put(placed)
    store.recorder.datastore.close()


def library_replay(path: Path) -> None:
    store = library_store(path)
    assert list(store.get(STREAM))
    store.recorder.datastore.close()


def main(folder: Path) -> None:
    run, count, many = anyio.run, 300, 10_000
    kept, bare_kept, huge = file(folder, "kept"), file(folder, "bare-kept"), file(folder, "huge")
    bare_appends(bare_kept, many, many)
    run(appends, kept, many, many)
    run(appends, huge, 10 * many, many)
    works: dict[str, Callable[[], object]] = {
        "bare": lambda: bare_appends(file(folder, "bare"), count, 1),
        "ours": lambda: run(appends, file(folder, "ours"), count, 1),
        "bare 100": lambda: bare_appends(file(folder, "bare"), 10 * count, 100),
        "ours 100": lambda: run(appends, file(folder, "ours"), 10 * count, 100),
        "bare replay": lambda: bare_replay(bare_kept),
        "ours replay": lambda: run(replay, kept),
        "ours all": lambda: run(replay_all, kept),
        "ours all, ten times": lambda: run(replay_all, huge),
    }
    if HAS_LIBRARY:
        library_kept = file(folder, "library-kept")
        library_appends(library_kept, many, many)
        works |= {
            "library": lambda: library_appends(file(folder, "library"), count, 1),
            "library 100": lambda: library_appends(file(folder, "library"), 10 * count, 100),
            "library replay": lambda: library_replay(library_kept),
        }
    took = measured(works)
    line("append, 1 event per commit", took["ours"], count, "bare INSERT and COMMIT", took["bare"])
    line(
        "append, 100 events per commit",
        took["ours 100"],
        10 * count,
        "bare INSERTs per COMMIT",
        took["bare 100"],
    )
    line("replay a stream", took["ours replay"], many, "bare SELECT and JSON", took["bare replay"])
    line(
        "read all, with ten times as many events",
        took["ours all, ten times"],
        10 * many,
        "the same, for one",
        10 * took["ours all"],
    )
    if not HAS_LIBRARY:
        print("eventsourcing is not installed: nothing is compared with it")
        return
    beside = f"eventsourcing {metadata.version('eventsourcing')}"
    line("append, 1 event per commit", took["ours"], count, beside, took["library"], aim=1.0)
    line("append, 100 events per commit", took["ours 100"], 10 * count, beside, took["library 100"], aim=1.0)
    line("replay a stream", took["ours replay"], many, beside, took["library replay"])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as temporary:
        main(Path(temporary))
