"""What the durable queue costs beside bare sqlite3 and other queues on it, and what a shared fsync saves.

The other two keep a text and a status, and leave what is done in their files: no lease ends by itself,
nothing counts failures, is delayed or dies, and no order is kept per key. Ours does all of that, keeps a
whole envelope, and deletes what is done.

All three commit three times for a message, at its put, its receive and its ack, and so write through to the
disk three times at FULL. For that litequeue executes 5 statements and writes 7.5 pages (counted by strace),
persist-queue 10 and 4, since it has no index of what is ready, and ours 16 and 9: its counters and its
highest token are a row of their own, which each commit changes. Executed without the queue these statements
alone take about as long as all that the others do, which is the line "its statements alone". So the queue
could be as fast as they are only with fewer of them: without the count of what was accepted, by which a
bounded queue knows at once that it is full, or without the token of a lease, which fences.

Run it with `python -m benchmarks.durable_queue [folder]`; the folder should be on a real disk. Every
line is a ratio within one run, so it travels between machines better than seconds do.
"""

from __future__ import annotations

import itertools
import math
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import anyio

from eip_ref.durable_queue import SQLiteLog, SQLiteQueue
from eip_ref.message import Message
from eip_ref.storage import Database

from .core import ROUNDS, line, peer

NUMBER = itertools.count()


def bare(folder: Path, synchronous: str) -> sqlite3.Connection:
    """A connection to a new file with the durability of the queue, and one table."""
    connection = sqlite3.connect(folder / f"bare-{next(NUMBER)}.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("CREATE TABLE messages (place INTEGER PRIMARY KEY, body TEXT, token INTEGER)")
    return connection


def bare_puts(folder: Path, count: int, per_commit: int, synchronous: str = "FULL") -> None:
    with closing(bare(folder, synchronous)) as connection:
        for start in range(0, count, per_commit):
            connection.execute("BEGIN IMMEDIATE")
            for number in range(start, start + per_commit):
                connection.execute("INSERT INTO messages (body) VALUES (?)", (f"order {number}",))
            connection.execute("COMMIT")


def bare_lives(folder: Path, count: int, synchronous: str = "FULL") -> None:
    """Insert, mark as taken, delete: three commits for each message, as the queue has."""
    with closing(bare(folder, synchronous)) as connection:
        for number in range(count):
            connection.execute("INSERT INTO messages (body) VALUES (?)", (f"order {number}",))
            (place,) = connection.execute("SELECT min(place) FROM messages").fetchone()
            connection.execute("UPDATE messages SET token = ? WHERE place = ?", (number, place))
            connection.execute("DELETE FROM messages WHERE place = ?", (place,))


async def puts(folder: Path, count: int, group_commit: int, synchronous: str = "FULL") -> None:
    path = folder / f"queue-{next(NUMBER)}.db"
    linger = 1 if group_commit > 1 else 0
    async with SQLiteQueue(
        path, "orders", group_commit=group_commit, linger=linger, synchronous=synchronous
    ) as queue:

        async def produce() -> None:
            for number in range(count // group_commit):
                await queue.put(Message(f"order {number}", id="m"))

        async with anyio.create_task_group() as group:
            for _ in range(group_commit):
                group.start_soon(produce)


async def lives(folder: Path, count: int, synchronous: str = "FULL") -> None:
    path = folder / f"queue-{next(NUMBER)}.db"
    async with SQLiteQueue(path, "orders", synchronous=synchronous) as queue:
        for number in range(count):
            await queue.put(Message(f"order {number}", id="m"))
            await (await queue.receive()).ack()


async def appends(folder: Path, count: int) -> None:
    async with SQLiteLog(folder / f"log-{next(NUMBER)}.db", "orders") as log:
        for number in range(count):
            await log.append(Message(f"order {number}", id="m"))


Life = Callable[[int], object]  #: puts, takes and settles so many messages, one after the other


def life_of_litequeue(folder: Path, synchronous: str) -> Life:
    queue = peer("litequeue").LiteQueue(folder / f"lite-{next(NUMBER)}.db")
    queue.conn.execute(f"PRAGMA synchronous = {synchronous}")

    def life(count: int) -> None:
        for number in range(count):
            queue.put(f"order {number}")
            queue.done(queue.pop().message_id)

    return life


def life_of_persist_queue(folder: Path, synchronous: str) -> Life:
    queue = peer("persistqueue").SQLiteAckQueue(str(folder / f"persist-{next(NUMBER)}"))
    for connection in (queue._getter, queue._putter):
        connection.execute(f"PRAGMA synchronous = {synchronous}")

    def life(count: int) -> None:
        for number in range(count):
            queue.put(f"order {number}")
            queue.ack(queue.get())

    return life


class RecordedConnection:
    """A connection that keeps what it executes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.executed: list[tuple[str, tuple[Any, ...]]] = []

    def execute(self, statement: str, given: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        self.executed.append((statement, given))
        return self.connection.execute(statement, given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)


async def life_of_statements(folder: Path, synchronous: str, count: int) -> Life:
    """The statements of our queue for so many messages, executed again without the queue, in its file."""
    database = Database(folder / f"statements-{next(NUMBER)}.db")
    async with SQLiteQueue(database, "orders") as queue:
        recorded = RecordedConnection(database.connection)
        database._connection = cast(sqlite3.Connection, recorded)
        for number in range(count):
            await queue.put(Message(f"order {number}", id="m"))
            await (await queue.receive()).ack()
        database._connection = recorded.connection
    connection = sqlite3.connect(database.path, isolation_level=None)
    connection.execute(f"PRAGMA synchronous = {synchronous}")

    def life(_: int) -> None:
        for statement, given in recorded.executed:
            connection.execute(statement, given).fetchall()

    return life


async def beside_peers(folder: Path, synchronous: str, count: int) -> dict[str, float]:
    """The seconds of the best of many short rounds of each, at queues that are open."""
    peers = {"litequeue": life_of_litequeue, "SQLiteAckQueue": life_of_persist_queue}
    lives = {name: make(folder, synchronous) for name, make in peers.items()}
    lives["its statements"] = await life_of_statements(folder, synchronous, count)
    path = folder / f"queue-{next(NUMBER)}.db"
    times: dict[str, float] = {}
    async with SQLiteQueue(path, "orders", synchronous=synchronous) as queue:
        for _ in range(4 * ROUNDS):
            start = time.perf_counter()
            for number in range(count):
                await queue.put(Message(f"order {number}", id="m"))
                await (await queue.receive()).ack()
            took = {"ours": time.perf_counter() - start}
            for name, life in lives.items():
                start = time.perf_counter()
                life(count)
                took[name] = time.perf_counter() - start
            times = {name: min(seconds, times.get(name, math.inf)) for name, seconds in took.items()}
    return times


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
    for name in ("litequeue", "persistqueue"):
        peer(name)  # a missing one is told now, and not after all the rest
    count = 300
    run = anyio.run
    took = measured(
        {
            "bare": lambda: bare_puts(folder, count, 1),
            "bare 10": lambda: bare_puts(folder, count, 10),
            "bare 100": lambda: bare_puts(folder, count, 100),
            "put": lambda: run(puts, folder, count, 1),
            "put 10": lambda: run(puts, folder, count, 10),
            "put 100": lambda: run(puts, folder, count, 100),
            "append": lambda: run(appends, folder, count),
            "bare life": lambda: bare_lives(folder, count),
            "life": lambda: run(lives, folder, count),
            "bare life, no fsync": lambda: bare_lives(folder, count, "OFF"),
            "life, no fsync": lambda: run(lives, folder, count, "OFF"),
            "ten lives, no fsync": lambda: run(lives, folder, 10 * count, "OFF"),
        }
    )
    one, ten, hundred = (took[name] for name in ("put", "put 10", "put 100"))
    line("put, 1 message per fsync", one, count, "bare INSERT and COMMIT", took["bare"])
    line("put, 10 messages per fsync", ten, count, "10 bare INSERTs per COMMIT", took["bare 10"])
    line("put, 100 messages per fsync", hundred, count, "100 bare INSERTs per COMMIT", took["bare 100"])
    line("put, 1 message per fsync", one, count, "a put with 10 per fsync", ten, aim=None)
    line("put, 1 message per fsync", one, count, "a put with 100 per fsync", hundred, aim=None)
    line("append to the log, 1 message per fsync", took["append"], count, "bare INSERT, COMMIT", took["bare"])
    line("put, receive and ack", took["life"], count, "bare INSERT, UPDATE, DELETE", took["bare life"])
    quick, many = took["life, no fsync"], took["ten lives, no fsync"]
    line("the same, no fsync", quick, count, "the same of bare sqlite3", took["bare life, no fsync"])
    line("the same, with ten times as many messages", many, 10 * count, "the line above, for one", 10 * quick)
    for synchronous in ("FULL", "NORMAL", "OFF"):
        beside = run(beside_peers, folder, synchronous, 50)
        for name in ("litequeue", "SQLiteAckQueue"):
            what = f"put, receive and ack, synchronous {synchronous}"
            line(what, beside["ours"], 50, name, beside[name], aim=1.0)
        what = f"its statements alone, synchronous {synchronous}"
        line(what, beside["its statements"], 50, "litequeue", beside["litequeue"], aim=None)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as temporary:
        main(Path(temporary))
