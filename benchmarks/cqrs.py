"""What CQRS costs beside the bare inserts that it makes: command, relay and projection on SQLite.

Run it with `python -m benchmarks.cqrs [folder]`; the folder should be on a real disk. Every line is a
ratio within one run, so it travels between machines better than seconds do.
"""

from __future__ import annotations

import itertools
import json
import math
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio

from eip_ref.apps.shop_dashboard.services import DASHBOARD, billing
from eip_ref.cqrs import Command, ReadModel, Relay
from eip_ref.storage import SQLiteStore

from .core import line

NUMBER = itertools.count()
COUNT, ROUNDS = 200, 3


def bare(folder: Path, count: int, synchronous: str) -> None:
    """The same commits with bare sqlite3: state and event; claim; mark; row and version; release."""
    connection = sqlite3.connect(folder / f"bare-{next(NUMBER)}.db", isolation_level=None)
    with closing(connection):
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        for table in ("state", "outbox", "claims", "rows", "seen"):
            connection.execute(f"CREATE TABLE {table} (key TEXT PRIMARY KEY, document TEXT)")
        for number in range(count):
            bare_command(connection, number)


def bare_command(connection: sqlite3.Connection, number: int) -> None:
    document = json.dumps({"owed": number, "event": "Charged", "cents": 1})
    put = "INSERT OR REPLACE INTO {} VALUES (?, ?)".format
    commits = (
        [(put("state"), ("ann", document)), (put("outbox"), (f"{number:016d}", document))],
        [(put("claims"), ("ann", document))],
        [(put("rows"), ("ann", document)), (put("seen"), ("ann", str(number)))],
        [("DELETE FROM outbox WHERE key = ?", (f"{number:016d}",))],
        [("DELETE FROM claims WHERE key = ?", ("ann",))],
    )
    for commit in commits:
        connection.execute("BEGIN IMMEDIATE")
        for statement, values in commit:
            connection.execute(statement, values)
        connection.execute("COMMIT")


async def whole(folder: Path, count: int, synchronous: str, batch: int = 1) -> None:
    """Commands, and after each `batch` of them the relay, which brings their events to the view."""
    with SQLiteStore(folder / f"cqrs-{next(NUMBER)}.db", synchronous=synchronous) as store:
        service, view = billing(store), ReadModel(store, "dashboard", DASHBOARD)
        relay = Relay(service.outbox, view, batch=batch)
        for number in range(count):
            await service.handle(Command("Charge", "ann", {"cents": 1}, id="c"))
            if number % batch == batch - 1:
                await relay.run_once()


def measured(works: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The seconds of the best of several rounds of each; a round runs all of them, since disks have moods."""
    times: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            times[name] = min(times.get(name, math.inf), time.perf_counter() - start)
    return times


def main(folder: Path) -> None:
    run = anyio.run
    took = measured(
        {
            "bare": lambda: bare(folder, COUNT, "FULL"),
            "whole": lambda: run(whole, folder, COUNT, "FULL"),
            "batch": lambda: run(whole, folder, COUNT, "FULL", 20),
            "bare, no fsync": lambda: bare(folder, COUNT, "OFF"),
            "whole, no fsync": lambda: run(whole, folder, COUNT, "OFF"),
            "ten, no fsync": lambda: run(whole, folder, 10 * COUNT, "OFF"),
        }
    )
    line("command, relay and projection", took["whole"], COUNT, "the 5 bare commits", took["bare"])
    line("the same, 20 events per batch", took["batch"], COUNT, "the 5 bare commits", took["bare"])
    quick = took["whole, no fsync"]
    line("the same, no fsync", quick, COUNT, "the 5 bare commits", took["bare, no fsync"])
    line("with ten times as many", took["ten, no fsync"], 10 * COUNT, "the line above, for one", 10 * quick)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as temporary:
        main(Path(temporary))
