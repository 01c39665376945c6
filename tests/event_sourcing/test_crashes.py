"""Crashes of writers and projections: at every await, at every statement, and of real processes."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import anyio
import pytest

from eip_ref.event_sourcing import (
    Projection,
    Projector,
    Recorded,
    SQLiteEventStore,
    View,
    rebuild,
)
from eip_ref.lab import invariants
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Participant
from eip_ref.lab.invariants.reading import gap_free_reading
from eip_ref.message import Message
from eip_ref.storage import SQLiteStore
from eip_ref.trace import Trace
from tests.event_sourcing.child import BATCH, COUNTS, STREAMS
from tests.event_sourcing.views import live, live_view

KILLS = int(os.environ.get("EIP_KILLS", "20"))
ORDERS = [f"order-{n}" for n in range(4)]


def collect(view: View, event: Recorded) -> None:
    """Not idempotent: a repetition would be there twice."""
    view.put("all", [*view.get("all", []), event.message.id])


ALL = Projection("all", {"OrderPlaced": collect})
NEXT = Projection("all", {"OrderPlaced": collect}, generation=2)


# A crash at every await. What a process has written outlives it without a sync.


async def shop(store: SQLiteEventStore, confirmed: list[str]) -> None:
    """A writer that notes each confirm, and after a crash appends again what it has not noted."""
    for order in ORDERS[len(confirmed) :]:
        placed = Message({"order": order}, "OrderPlaced", id=order)
        await store.append("customer-5", [placed], expected=len(confirmed))
        confirmed.append(order)
        await anyio.sleep(0.5)


async def story(path: Path, crash: Crash | None, rebuilding: bool) -> tuple[int, list[str], Any]:
    """Shop, store, projection and a rebuild live and die in one process; the file and the notes remain."""
    confirmed: list[str] = []

    async def life() -> None:
        async with SQLiteEventStore(path, synchronous="OFF") as store, anyio.create_task_group() as group:
            with SQLiteStore(store.database) as views:
                group.start_soon(Projector(views, ALL, batch=2).run, store)
                await shop(store, confirmed)
                newest = Projector(views, NEXT if rebuilding else ALL, batch=2)
                if rebuilding:
                    await rebuild(newest, store)
                await newest.catch_up(store)
                group.cancel_scope.cancel()

    process = Participant("process", life, (), (crash,) if crash else ())
    await process.run()
    async with SQLiteEventStore(path, synchronous="OFF") as store:
        with SQLiteStore(store.database) as views:
            stored = [event.message.id for event in await store.read_all()]
            assert stored == confirmed == ORDERS
            return process.steps, live_view(views, "all").get("all"), live(views, "all")


@pytest.mark.parametrize("rebuilding", [False, True], ids=["projecting", "rebuilding"])
def test_a_crash_at_any_await_loses_no_event_and_doubles_none(tmp_path: Path, rebuilding: bool) -> None:
    """What was confirmed is stored once, and in the view once, in order, and the swap is made once."""

    def run(step: int) -> Trace:
        crash = Crash(step=step, restart_after=1) if step else None
        return simulate(story, tmp_path / f"{step}.db", crash, rebuilding)

    whole = run(0)
    crashed, repeated = 0, 0
    for step in range(1 + whole.result[0]):
        trace = run(step) if step else whole
        crashed += trace.count("crashed")
        repeated += trace.count("duplicate", where="events")
        assert trace.result[1:] == (ORDERS, 2 if rebuilding else 1), step
        once_each = invariants.no_duplicate_effect(by=lambda event: (event.where, event.message))
        invariants.assert_holds(trace, gap_free_reading, once_each)
    assert crashed == whole.result[0] >= 20
    assert repeated > 0, "no crash fell between a commit and its confirm"


# A crash at every statement: what the disk holds is copied before each of them


class Disk(NamedTuple):
    """The bytes of a database at one moment, and what had been confirmed and shown by then."""

    database: bytes
    wal: bytes
    confirmed: tuple[str, ...]
    shown: int

    def write(self, path: Path) -> Path:
        path.write_bytes(self.database)
        path.with_name(f"{path.name}-wal").write_bytes(self.wal)
        return path


async def life_of_a_projection(path: Path) -> list[Disk]:
    """Batches, a poison event that is parked and tried again, and a rebuild."""
    disks: list[Disk] = []
    confirmed: list[str] = []
    wal = path.with_name(f"{path.name}-wal")
    broken = True

    def fragile(view: View, event: Recorded) -> None:
        collect(view, event)
        if broken and event.message.id == "2/0":
            raise ZeroDivisionError

    fragile_all = Projection("all", {"OrderPlaced": fragile})
    async with SQLiteEventStore(path) as store:
        with SQLiteStore(store.database) as views:
            projector = Projector(views, fragile_all, batch=3, poison="park")

            def copy_the_disk(statement: str) -> None:
                disks.append(Disk(path.read_bytes(), wal.read_bytes(), tuple(confirmed), shown))

            shown = 0
            store.database.connection.set_trace_callback(copy_the_disk)
            for n in range(4):
                batch = [Message(n, "OrderPlaced", id=f"{n}/{m}") for m in range(2)]
                await store.append(f"customer-{n % 2}", batch)
                confirmed += [message.id for message in batch]
                shown = await projector.catch_up(store)
            broken = False
            await projector.retry_parked()
            await rebuild(Projector(views, NEXT, batch=3), store)
            store.database.connection.set_trace_callback(None)
    return disks


async def found(path: Path) -> tuple[list[str], int, set[str], list[str]]:
    """What is stored, up to where the live view shows it, what is in the view, and what it ends with."""
    async with SQLiteEventStore(path, synchronous="OFF") as store:
        with SQLiteStore(store.database) as views:
            assert store.database.one("PRAGMA integrity_check") == ("ok",)
            stored = [event.message.id for event in await store.read_all()]
            view = live_view(views, "all")
            shown, position = view.get("all", []), view.position
            assert len(set(shown)) == len(shown)
            parked = {stored[parked.event.position - 1] for parked in view.parked}
            assert not parked & set(shown)
            projector = Projector(views, NEXT if live(views, "all") == 2 else ALL)
            await projector.catch_up(store)
            await projector.retry_parked()
            return stored, position, parked | set(shown), live_view(views, "all").get("all", [])


def test_a_crash_before_any_statement_leaves_view_and_position_together(tmp_path: Path) -> None:
    """The view shows exactly what its position says; batches are whole; going on shows each event once."""
    disks = simulate(life_of_a_projection, tmp_path / "life.db").result
    assert len(disks) > 80
    for number, disk in enumerate(disks):
        path = disk.write(tmp_path / f"{number}.db")
        stored, position, shown, at_last = simulate(found, path).result
        assert set(disk.confirmed) <= set(stored)
        assert len(stored) % 2 == 0, "a batch is half there"
        assert position >= disk.shown
        assert shown == set(stored[:position])
        assert sorted(at_last) == sorted(stored)
        path.unlink()


# Real processes, killed


class Knowledge:
    """What all lives of the process have said of the file until they were killed."""

    def __init__(self) -> None:
        self.confirmed: dict[int, int] = {}  # batch -> position of its last event
        self.shown = 0

    def hear(self, output: bytes) -> None:
        for line in output.decode().split("\n")[:-1]:  # what was cut by the kill was not said
            word, *numbers = line.split(" ")
            if word == "confirmed":
                self.confirmed[int(numbers[0])] = int(numbers[1])
            else:
                assert int(numbers[0]) >= self.shown, "the tracking went back"
                self.shown = int(numbers[0])

    def check(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as file:
            assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            rows = file.execute(
                "SELECT position, id, stream, version FROM events ORDER BY position"
            ).fetchall()
            values = file.execute(
                "SELECT key, document FROM documents WHERE tbl = ?", (COUNTS.view,)
            ).fetchall()
            position = "SELECT document FROM documents WHERE tbl = 'positions'"
            tracking = file.execute(position).fetchone()
        batches = len(rows) // BATCH
        expected = [f"{batch}/{n}" for batch in range(batches) for n in range(BATCH)]
        assert [identity for _, identity, _, _ in rows] == expected, "a batch is lost, doubled or half there"
        assert [position for position, _, _, _ in rows] == list(range(1, len(rows) + 1))
        versions = Counter[str]()
        for _, _, stream, version in rows:
            versions[stream] += 1
            assert version == versions[stream]
        assert all(position == BATCH * (batch + 1) for batch, position in self.confirmed.items())
        assert max(self.confirmed, default=-1) < batches, "a confirmed batch is lost"
        shown = int(tracking[0]) if tracking else 0
        assert shown >= self.shown, "what was shown is lost"
        counts = Counter(stream for _, _, stream, _ in rows[:shown])
        assert {key: json.loads(value) for key, value in values} == counts, "view and position differ"


def live_and_be_killed(path: Path, first: int, chance: Random) -> bytes:
    """One life of the process. It is killed while it works, some lines after a random one."""
    command = [sys.executable, "-m", "tests.event_sourcing.child", str(path), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        output = b"".join(process.stdout.readline() for _ in range(chance.randrange(1, 80)))
        process.kill()
        output += process.stdout.read()
    assert process.returncode != 0
    return output


def test_killed_processes_lose_nothing_confirmed_and_show_nothing_twice(tmp_path: Path) -> None:
    """SIGKILL at random moments, one file through all lives; EIP_KILLS says how many, 20 by default."""
    path, chance, knowledge = tmp_path / "shop.db", Random(17), Knowledge()
    for _ in range(KILLS):
        knowledge.hear(live_and_be_killed(path, max(knowledge.confirmed, default=-1) + 1, chance))
        knowledge.check(path)
    assert len(knowledge.confirmed) > KILLS
    assert len({batch % STREAMS for batch in knowledge.confirmed}) == STREAMS
