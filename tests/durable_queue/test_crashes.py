"""Crashes: at every await, at every statement, at every byte of the log ahead, and of real processes."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import anyio
import pytest

from eip_ref.durable_queue import ConsumerGroup, SQLiteLog, SQLiteQueue
from eip_ref.lab import invariants
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Participant
from eip_ref.message import Message
from eip_ref.message_queue import (
    Attempt,
    Counts,
    DeadLetterPolicy,
    IdempotentReceiver,
    Ledger,
    Queue,
    Worker,
)
from eip_ref.trace import Trace

ORDERS = [f"order-{n}" for n in range(3)]
KILLS = int(os.environ.get("EIP_KILLS", "20"))


# A crash at every await, in virtual time. What a process has written outlives it without a sync.


async def shop(put: Callable[[Message], Any], confirmed: list[str]) -> None:
    """A producer that notes each confirm, and after a crash sends what it has not noted."""
    for order in ORDERS:
        if order not in confirmed:
            await put(Message(order, id=order, key="customer"))
            confirmed.append(order)
            await anyio.sleep(0.5)


async def charge(message: Message, transaction: Attempt) -> None:
    await anyio.sleep(0.2)
    transaction.set(message.id, "charged")
    transaction.effect("charged")


def billing(queue: Queue, ledger: Ledger) -> Worker:
    """A consumer that acks last and whose effects are idempotent."""
    return Worker(queue, IdempotentReceiver(ledger, charge))


class Ending(NamedTuple):
    """How a run ended, and how many steps the one who was to crash took in it."""

    steps: int
    confirmed: list[str]
    charged: list[str]
    counts: Counts | None = None


async def two_participants(path: Path, victim: str, crash: Crash | None, **settings: Any) -> Ending:
    """The queue's process lives; the shop or billing dies and starts again."""
    confirmed: list[str] = []
    ledger = Ledger()
    crashes = {victim: (crash,)} if crash else {}
    async with SQLiteQueue(path, "orders", lease=5, dedup=100, synchronous="OFF", **settings) as queue:
        sender = Participant("shop", shop, (queue.put, confirmed), crashes.get("shop", ()))
        worker = Participant("billing", billing(queue, ledger).run, (), crashes.get("billing", ()))
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run)
            await sender.run()
            queue.close()
        steps = {"shop": sender, "billing": worker}[victim].steps
        return Ending(steps, confirmed, list(ledger.values), queue.counts)


async def one_process(path: Path, victim: str, crash: Crash | None, **settings: Any) -> Ending:
    """Shop, queue and billing live and die together; only the file and their notes remain."""
    confirmed: list[str] = []
    ledger = Ledger()

    async def process() -> None:
        queue = SQLiteQueue(path, "orders", lease=5, dedup=100, synchronous="OFF", **settings)
        async with queue, anyio.create_task_group() as group:
            group.start_soon(billing(queue, ledger).run)
            await shop(queue.put, confirmed)
            queue.close()

    participant = Participant(victim, process, (), (crash,) if crash else ())
    await participant.run()
    async with SQLiteQueue(path, "orders", synchronous="OFF") as queue:
        return Ending(participant.steps, confirmed, list(ledger.values), queue.counts)


@pytest.mark.parametrize("settings", [{}, {"group_commit": 2, "linger": 0.3}], ids=["alone", "group commit"])
@pytest.mark.parametrize(
    ("story", "victim"),
    [(two_participants, "shop"), (two_participants, "billing"), (one_process, "process")],
    ids=["producer", "consumer", "process"],
)
def test_a_crash_at_any_await_loses_nothing_and_doubles_nothing(
    tmp_path: Path, story: Callable[..., Any], victim: str, settings: dict[str, Any]
) -> None:
    """What was confirmed is charged, once, in order; what was acked does not come back."""

    def run(step: int) -> Trace:
        crash = Crash(step=step, restart_after=1) if step else None
        return simulate(partial(story, **settings), tmp_path / f"{step}.db", victim, crash)

    crashed, resent, whole = 0, 0, run(0)
    for step in range(1 + whole.result.steps):
        trace = run(step) if step else whole
        crashed += trace.count("crashed")
        resent += trace.count("duplicate", where="orders")
        assert trace.result.confirmed == ORDERS
        assert trace.result.charged == ORDERS
        assert trace.result.counts == (0, 0, 3, 0, 0, 3, 0)
        invariants.assert_holds(
            trace,
            invariants.conservation,
            invariants.lease_fencing,
            invariants.one_in_flight_per_key,
            invariants.no_duplicate_effect,
            invariants.order_per_key,
            partial(invariants.nothing_acked_lost, kept=()),
        )
    assert crashed == whole.result.steps > 2 * len(ORDERS), "a put and a pause for each order, at least"
    assert (resent > 0) == (victim != "billing"), "no crash fell between a commit and its confirm"


async def log_story(path: Path, victim: str, crash: Crash | None) -> Ending:
    """A shop appends and a group reads, charges and commits, in one process that dies and starts again."""
    confirmed: list[str] = []
    ledger = Ledger()

    async def read(log: SQLiteLog) -> None:
        group = ConsumerGroup(log, "billing")
        receive = IdempotentReceiver(ledger, charge)
        while group.committed < len(ORDERS):
            for _, message, _ in await group.read(limit=1):
                await receive(message)
                await group.commit()

    async def process() -> None:
        log = SQLiteLog(path, "orders", dedup=100, synchronous="OFF")
        async with log, anyio.create_task_group() as tasks:
            tasks.start_soon(read, log)
            await shop(log.append, confirmed)

    participant = Participant(victim, process, (), (crash,) if crash else ())
    await participant.run()
    return Ending(participant.steps, confirmed, list(ledger.values))


def test_a_crash_at_any_await_leaves_the_log_whole_and_its_group_without_a_gap(tmp_path: Path) -> None:
    """Each order is in the log once, and the group has seen each, in order, without a gap."""

    def run(step: int) -> Trace:
        crash = Crash(step=step, restart_after=1) if step else None
        return simulate(log_story, tmp_path / f"{step}.db", "process", crash)

    for step in range(1, 1 + run(0).result.steps):
        trace = run(step)
        assert (trace.result.confirmed, trace.result.charged) == (ORDERS, ORDERS)
        assert trace.messages("accepted") == ORDERS
        offsets = [e.data["offset"] for e in trace.filter("delivered")]
        assert set(offsets) == set(range(3))
        assert all(later <= earlier + 1 for earlier, later in pairwise(offsets))
        assert len(offsets) <= 4


# A crash at every statement: what the disk holds is copied before each of them


class Disk(NamedTuple):
    """The bytes of a database at one moment, and what had been promised by then."""

    database: bytes
    wal: bytes
    confirmed: tuple[str, ...] = ()
    acked: tuple[str, ...] = ()

    @classmethod
    def of(cls, path: Path, *promised: list[str]) -> Disk:
        wal = path.with_name(f"{path.name}-wal")
        return cls(path.read_bytes(), wal.read_bytes() if wal.exists() else b"", *map(tuple, promised))

    def write(self, path: Path) -> Path:
        path.unlink(missing_ok=True)  # to write over a file takes many times as long
        path.write_bytes(self.database)
        path.with_name(f"{path.name}-wal").write_bytes(self.wal)
        return path


async def life_of_a_queue(path: Path) -> list[Disk]:
    """Puts, acks, a dead letter and a lease; a copy of the disk before every statement."""
    disks: list[Disk] = []
    confirmed: list[str] = []
    acked: list[str] = []
    async with SQLiteQueue(path, "orders", dedup=100, policy=DeadLetterPolicy(max_failures=1)) as queue:

        def snapshot(statement: str) -> None:
            disks.append(Disk.of(path, confirmed, acked))

        queue.database.connection.set_trace_callback(snapshot)
        for n in range(6):
            await queue.put(Message(n, id=f"order-{n}", key="a" if n % 2 else None))
            confirmed.append(f"order-{n}")
        for n in range(4):
            lease = await queue.receive()
            if n == 1:
                await lease.nack()
            elif n < 3:
                await lease.ack()
                acked.append(lease.message.id)
        queue.database.connection.set_trace_callback(None)
    return disks


async def found(path: Path) -> tuple[list[str], Counts, int]:
    """The messages in the file, dead letters included, the counts, and the number of dead letters."""
    async with SQLiteQueue(path, "orders", synchronous="OFF") as queue:
        assert queue.database.one("PRAGMA integrity_check") == ("ok",)
        assert isinstance(queue.dead_letters, SQLiteQueue)
        ids = [row[0] for row in queue.database.execute("SELECT id FROM messages ORDER BY sequence")]
        return ids, queue.counts, queue.dead_letters.counts.accepted


def test_a_crash_before_any_statement_leaves_every_message_in_one_place(tmp_path: Path) -> None:
    """Confirmed and not acked is there once, in the queue or among the dead; acked is not there."""
    disks = simulate(life_of_a_queue, tmp_path / "life.db").result
    assert len(disks) > 100
    for number, disk in enumerate(disks):
        ids, counts, dead = simulate(found, disk.write(tmp_path / f"{number}.db")).result
        assert len(set(ids)) == len(ids)
        assert set(disk.confirmed) - set(disk.acked) - set(ids) <= {"order-0", "order-2"} - set(disk.acked)
        assert not set(disk.acked) & set(ids)
        assert sum(counts[:5]) == counts.accepted
        assert counts.dead == dead
        assert len(ids) == counts.ready + counts.in_flight + counts.dead


# A torn tail: the write-ahead log is cut, or spoilt, at any byte


class Torn(NamedTuple):
    """A disk, and what was in the log at each size of the write-ahead log at which a commit ended."""

    disk: Disk
    commits: dict[int, list[str]]

    def expected(self, cut: int) -> list[str]:
        return self.commits[max(size for size in self.commits if size <= cut)]


async def life_of_a_log(path: Path) -> Torn:
    wal = path.with_name(f"{path.name}-wal")
    async with SQLiteLog(path, "orders", dedup=100) as log:
        await log.append(Message("order 0", id="order-0"))
        log.database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        commits = {0: ["order-0"]}
        for n in (1, 2):
            await log.append(Message(f"order {n}", id=f"order-{n}"))
            commits[wal.stat().st_size] = [f"order-{m}" for m in range(n + 1)]
        return Torn(Disk.of(path), commits)


Content = tuple[list[str], int, int]


def read_again(disk: Disk, path: Path) -> Content:
    """The ids in the log, the next offset and the number of ids seen, as any process finds them."""
    with closing(sqlite3.connect(disk.write(path), isolation_level=None)) as file:
        file.execute("PRAGMA synchronous = OFF")
        ids = [identity for (identity,) in file.execute("SELECT id FROM records ORDER BY offset")]
        (next_,), (seen,) = file.execute(
            "SELECT next FROM logs UNION ALL SELECT count(*) FROM accepted_ids"
        ).fetchall()
        return ids, next_, seen


async def open_again(path: Path) -> Content:
    """The same, by the log itself."""
    async with SQLiteLog(path, "orders") as log:
        records = await log.read(0)
        assert [r.message.body for r in records] == [r.message.id.replace("-", " ") for r in records]
        return [r.message.id for r in records], log.end, len(records)


@pytest.fixture
def torn(tmp_path: Path) -> Torn:
    path = tmp_path / "whole.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as small:
        small.execute("PRAGMA page_size = 512")
        small.execute("PRAGMA journal_mode = WAL")
    result: Torn = simulate(life_of_a_log, path).result
    return result


def test_a_tail_cut_at_any_byte_is_never_half_read(tmp_path: Path, torn: Torn) -> None:
    """All that was confirmed before the last whole commit is there, whole; of the torn one, nothing."""
    for cut in range(len(torn.disk.wal) + 1):
        disk, ids = torn.disk._replace(wal=torn.disk.wal[:cut]), torn.expected(cut)
        expected = ids, len(ids), len(ids)
        assert read_again(disk, tmp_path / "torn.db") == expected, f"cut at byte {cut}"
        if cut % 100 == 0:
            assert simulate(open_again, disk.write(tmp_path / "log.db")).result == expected


def test_a_spoilt_byte_in_the_tail_is_detected(tmp_path: Path, torn: Torn) -> None:
    """A commit whose bytes are not those that were written is not believed."""
    (_, second, third), wal = sorted(torn.commits), torn.disk.wal
    for place in range(second, third, 5):
        spoilt = wal[:place] + bytes([wal[place] ^ 1]) + wal[place + 1 :]
        content = read_again(torn.disk._replace(wal=spoilt), tmp_path / "spoilt.db")
        assert content == (torn.commits[second], 2, 2), f"spoilt at byte {place}"


# Real processes, killed


class Knowledge:
    """What all lives of the process have said of the file until they were killed."""

    def __init__(self) -> None:
        self.said: dict[str, set[str]] = {
            word: set() for word in ("confirmed", "acking", "acked", "logged", "delivered")
        }
        self.deliveries: Counter[str] = Counter()
        self.token = 0
        self.next = 0  #: the number of the first order that is not known to be in both, queue and log

    def hear(self, output: bytes) -> None:
        for line in output.decode().split("\n")[:-1]:  # what was cut by the kill was not said
            word, order, *rest = line.split(" ")
            self.said[word].add(order)
            if word == "logged":
                self.next = max(self.next, int(order.removeprefix("order-")) + 1)
            if word == "delivered":
                self.deliveries[order] += 1
                assert int(rest[0]) > self.token, "a fencing token came again"
                self.token = int(rest[0])

    def check(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as file:
            assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            rows = file.execute("SELECT id, queue, deliveries FROM messages").fetchall()
            logged = file.execute("SELECT id, offset FROM records ORDER BY offset").fetchall()
        ids = [identity for identity, _, _ in rows]
        assert len(set(ids)) == len(ids), "a message is there twice"
        assert self.said["confirmed"] - self.said["acking"] <= set(ids), "a confirmed message is lost"
        assert not self.said["acked"] & set(ids), "an acked message came back"
        assert all(n >= self.deliveries[i] for i, q, n in rows if q == "orders"), "a count was forgotten"
        assert [identity for identity, _ in logged] == [f"order-{n}" for n in range(len(logged))]
        assert [offset for _, offset in logged] == list(range(len(logged)))
        assert self.said["logged"] <= {identity for identity, _ in logged}


def live_and_be_killed(path: Path, first: int, chance: Random) -> bytes:
    """One life of the process. It is killed while it works, some lines after a random one."""
    command = [
        sys.executable,
        "-m",
        "tests.durable_queue.child",
        str(path),
        str(first),
        str(chance.random())[2:9],
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        output = b"".join(process.stdout.readline() for _ in range(chance.randrange(1, 120)))
        process.kill()
        output += process.stdout.read()
    assert process.returncode != 0
    return output


async def drain(path: Path) -> tuple[list[str], Counts]:
    """Ack everything that is left, and the dead letters too."""
    found: list[str] = []
    async with SQLiteQueue(path, "orders", policy=DeadLetterPolicy(max_failures=None)) as queue:
        dead = SQLiteQueue(queue.database, "orders.dead")
        async with dead:
            for each in (queue, dead):
                each.close()
                while each.counts.ready or each.counts.in_flight:
                    lease = await each.receive()
                    found.append(lease.message.id)
                    await lease.ack()
        return found, queue.counts


def test_killed_processes_lose_nothing_confirmed_and_repeat_nothing_acked(tmp_path: Path) -> None:
    """SIGKILL at random moments, one file through all lives; EIP_KILLS says how many, 20 by default."""
    path, chance, knowledge = tmp_path / "shop.db", Random(17), Knowledge()
    for _ in range(KILLS):
        knowledge.hear(live_and_be_killed(path, knowledge.next, chance))
        knowledge.check(path)
    assert len(knowledge.said["acked"]) > KILLS
    found, counts = simulate(drain, path).result
    assert knowledge.said["confirmed"] <= set(found) | knowledge.said["acking"]
    assert not set(found) & knowledge.said["acked"]
    assert sum(counts[:5]) == counts.accepted >= len(knowledge.said["confirmed"])
