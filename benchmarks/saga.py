"""What a saga costs beside its bare steps: `python -m benchmarks.saga [folder]`.

Every line is a ratio within one run, the best of several rounds. In memory, a saga of three steps
stands beside three bare awaits of the same functions: all of the log, the attempts and the deadlines
is on top. On SQLite it stands beside the inserts and commits that such a log needs at the least, with
the same durability; `folder` should be on a real disk.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel

from eip_ref.message import Message
from eip_ref.saga import Orchestrator, Parallel, Refused, Saga, SagaLog, Step, action
from eip_ref.storage import MemoryStore, SQLiteStore

from .core import best, line
from .durable_queue import NUMBER, measured

STEPS = [Step(name, name, undo=f"undo {name}") for name in ("payment", "stock", "shipping")]
IN_SEQUENCE = Saga("order", STEPS)
IN_PARALLEL = Saga("order", [Parallel(*STEPS)])
COMMITS = len(STEPS) + 1  # each intent shares one with the result before it; the last result and the end
RECORDS = [2, 2, 2, 2]  # begun and intent; result and intent, twice; result and end


async def execute(command: Message) -> Any:
    await anyio.lowlevel.checkpoint()
    return None


async def refuse_the_last(command: Message) -> Any:
    await anyio.lowlevel.checkpoint()
    if command.type == "shipping":
        raise Refused("no")


async def bare_steps(count: int) -> None:
    """Three awaits of the same functions, with the same commands."""
    for number in range(count):
        for step in STEPS:
            await execute(action(f"o{number}", step.name, step.command, None))


async def sagas(log: SagaLog, saga: Saga, way: Callable[[Message], Awaitable[Any]], count: int) -> None:
    orchestrator = Orchestrator(saga, log, way)
    for number in range(count):
        await orchestrator.run(f"o{number}")


async def in_memory(saga: Saga, way: Callable[[Message], Awaitable[Any]], count: int) -> None:
    await sagas(SagaLog(MemoryStore()), saga, way, count)


async def on_sqlite(folder: Path, count: int, synchronous: str) -> None:
    with SQLiteStore(folder / f"sagas-{next(NUMBER)}.db", synchronous=synchronous) as store:
        await sagas(SagaLog(store), IN_SEQUENCE, execute, count)


def bare_commits(folder: Path, count: int, synchronous: str) -> None:
    """The same records in the same commits."""
    with closing(sqlite3.connect(folder / f"bare-{next(NUMBER)}.db", isolation_level=None)) as file:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute(f"PRAGMA synchronous = {synchronous}")
        file.execute("CREATE TABLE records (saga TEXT, number INTEGER, type TEXT, step TEXT, data TEXT)")
        for number in range(count):
            for records in RECORDS:
                file.execute("BEGIN IMMEDIATE")
                for place in range(records):
                    row = f"o{number}", place, "done", "payment", "null"
                    file.execute("INSERT INTO records VALUES (?, ?, ?, ?, ?)", row)
                file.execute("COMMIT")


def main(folder: Path) -> None:
    count, run = 2_000, anyio.run
    bare = best(lambda: run(bare_steps, count))
    one = best(lambda: run(in_memory, IN_SEQUENCE, execute, count))
    line("a saga of three steps, log in memory", one, count, "three bare awaits", bare)
    beside = best(lambda: run(in_memory, IN_PARALLEL, execute, count))
    line("the same with the steps in parallel", beside, count, "three bare awaits", bare)
    back = best(lambda: run(in_memory, IN_SEQUENCE, refuse_the_last, count))
    line("two steps, a refusal, two compensations", back, count, "three bare awaits", bare)
    ten = best(lambda: run(in_memory, IN_SEQUENCE, execute, 10 * count))
    line("the first with ten times as many sagas", ten, 10 * count, "the first line, for one", 10 * one)
    few = 100
    took = measured(
        {
            "bare": lambda: bare_commits(folder, few, "FULL"),
            "saga": lambda: run(on_sqlite, folder, few, "FULL"),
            "bare, no fsync": lambda: bare_commits(folder, few, "OFF"),
            "saga, no fsync": lambda: run(on_sqlite, folder, few, "OFF"),
            "ten, no fsync": lambda: run(on_sqlite, folder, 10 * few, "OFF"),
        }
    )
    beneath = f"{sum(RECORDS)} bare INSERTs in {COMMITS} COMMITs"
    line("a saga of three steps on SQLite", took["saga"], few, beneath, took["bare"])
    line("the same, no fsync", took["saga, no fsync"], few, beneath, took["bare, no fsync"])
    many = took["ten, no fsync"]
    line(
        "the same with ten times as many sagas",
        many,
        10 * few,
        "the line above, for one",
        10 * took["saga, no fsync"],
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as temporary:
        main(Path(temporary))
