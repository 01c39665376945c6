"""Crashes: at every await, at every statement of SQLite, and of real processes. Nothing lost, effect once.

And the dual writes, as the same sweep: what each of them leaves behind, at each point at which its
process can die.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import anyio
import pytest

from eip_ref.apps.shop_dashboard.services import DASHBOARD, billing
from eip_ref.cqrs import Command, Commands, Feed, Inbox, ReadModel, Relay, read
from eip_ref.durable_queue import SQLiteQueue
from eip_ref.lab import invariants
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Participant
from eip_ref.lab.invariants.views import effect_once_on_view, read_your_writes
from eip_ref.message import Message
from eip_ref.message_queue import MessageQueue, Queue, Worker
from eip_ref.storage import MemoryStore, SQLiteStore, Store, Transaction
from eip_ref.trace import Trace
from tests.broken.cqrs import BrokerThenDatabase, DatabaseThenBroker, WithRetry

Handler = Callable[[Message], Awaitable[object]]

KILLS = int(os.environ.get("EIP_KILLS", "5"))
COMMANDS = [
    Command("Charge", "ann", {"cents": 300}, key="k1", id="c1"),
    Command("Charge", "bob", {"cents": 50}, key="k2", id="c2"),
    Command("Pay", "ann", {"cents": 100}, key="k3", id="c3"),
]
EXPECTED = {
    "ann": {"name": None, "email": None, "charges": 1, "charged": 300, "paid": 100},
    "bob": {"name": None, "email": None, "charges": 1, "charged": 50, "paid": 0},
}
VERSIONS = {"billing/ann": 2, "billing/bob": 1}
HOLD = (
    effect_once_on_view,
    read_your_writes,
    invariants.conservation,
    invariants.lease_fencing,
    partial(invariants.no_duplicate_effect, effect="e-mail sent"),
)


async def client(service: Commands, answered: list[str]) -> None:
    """Sends each command until it has an answer; a crash makes it send again what it has not noted."""
    for command in COMMANDS:
        if command.id not in answered:
            await service.handle(command)
            answered.append(command.id)
            await anyio.sleep(0.3)


async def slowly(publish: Callable[[Message], Any], event: Message) -> None:
    """A broker is far away, both there and back."""
    await anyio.sleep(0.05)
    await publish(event)
    await anyio.sleep(0.05)


def mails(store: Store) -> Inbox:
    """A consumer whose effect is not a view: one mail for each charge, from the inbox's transaction."""
    inbox = Inbox(store, "mailer")

    def mail(transaction: Transaction, event: Message) -> None:
        transaction.count("mails sent")

    inbox.on("Charged", mail)
    return inbox


async def until_all_is_read(view: ReadModel) -> Any:
    """Both rows, in the versions that the commands were answered."""
    rows = {}
    for key in EXPECTED:
        versions = {f"billing/{key}": VERSIONS[f"billing/{key}"]}
        rows[key] = (await read(view, key, at_least=versions, timeout=1000)).row
    return rows


class Ending(NamedTuple):
    steps: int
    rows: Any
    mails: int


async def system(
    write: Store, side: Store, queues: list[Queue], answered: list[str], client: Any = client
) -> Any:
    """The whole process: client, service, relay, projection, mails. Returns the rows when all is done."""
    with write, side:
        service, view, inbox = billing(write), ReadModel(side, "dashboard", DASHBOARD), mails(side)
        handlers: list[Handler] = [view, inbox]

        async def publish(event: Message) -> None:
            for queue in queues:
                await slowly(queue.put, event)

        relay = Relay(service.outbox, publish, claim=2.0)
        async with anyio.create_task_group() as group:
            group.start_soon(relay.run)
            for queue, handle in zip(queues, handlers, strict=True):
                group.start_soon(Worker(queue, handle).run)
            await client(service, answered)
            rows = await until_all_is_read(view)
            while len(service.outbox):
                await anyio.sleep(0.1)
            for queue in queues:
                await queue.join()  # type: ignore[attr-defined]
            group.cancel_scope.cancel()
        with side.transaction() as transaction:
            return rows, transaction.get("counters", "mails sent")


async def one_process(stores: Callable[[], tuple[Store, Store]], crash: Crash | None) -> Ending:
    """The process dies as told, and starts again; the brokers' queues live."""
    answered: list[str] = []
    outcome: list[Any] = []
    write, side = stores()

    async def process() -> None:
        fresh = stores() if isinstance(write, SQLiteStore) else (write, side)
        outcome.append(await system(*fresh, queues, answered))

    async with AsyncExitStack() as stack:
        queues: list[Queue] = [
            await stack.enter_async_context(MessageQueue(name, lease=2)) for name in ("views", "mails")
        ]
        participant = Participant("process", process, (), (crash,) if crash else ())
        await participant.run()
    (rows, sent), *_ = outcome
    return Ending(participant.steps, rows, sent)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_crash_at_any_await_loses_nothing_and_does_nothing_twice(tmp_path: Path, kind: str) -> None:
    """Handler, relay, projection and inbox: wherever the process dies, each effect happens once."""

    def run(step: int) -> Trace:
        def stores() -> tuple[Store, Store]:
            if kind == "memory":
                return MemoryStore(), MemoryStore()
            paths = (tmp_path / f"{step}{side}.db" for side in "ab")
            first, second = (SQLiteStore(path, synchronous="OFF") for path in paths)
            return first, second

        return simulate(one_process, stores, Crash(step=step, restart_after=1) if step else None)

    whole = run(0)
    seen: Counter[str] = Counter()
    for step in range(1 + whole.result.steps):
        trace = run(step) if step else whole
        assert trace.result.rows == EXPECTED, step
        assert trace.result.mails == 2, step
        invariants.assert_holds(trace, *HOLD)
        seen.update(
            {"crashed": trace.count("crashed"), "repeated": trace.count("duplicate", where="billing")}
        )
        seen["published twice"] += trace.count("sent", where="views") > 3
        seen["known to the view"] += trace.count("duplicate", where="dashboard.1") > 0
        seen["known to the inbox"] += trace.count("duplicate", where="mailer") > 0
    assert seen["crashed"] >= 30
    assert all(
        seen[what] for what in ("repeated", "published twice", "known to the view", "known to the inbox")
    )


# A crash at every statement: what the disk holds is copied before each of them


class Disk(NamedTuple):
    """The bytes of a database at one moment, and the commands that had been answered by then."""

    database: bytes
    wal: bytes
    answered: tuple[str, ...]

    def write(self, path: Path) -> Path:
        path.unlink(missing_ok=True)
        path.write_bytes(self.database)
        path.with_name(f"{path.name}-wal").write_bytes(self.wal)
        return path


@asynccontextmanager
async def in_one_file(path: Path) -> AsyncIterator[tuple[SQLiteStore, list[Queue]]]:
    """State, outbox, brokers, view and inbox in one file, so that a copy of it is a copy of everything."""
    store = SQLiteStore(path, synchronous="OFF")
    async with AsyncExitStack() as stack:
        stack.enter_context(store)
        names = ("views", "mails")
        queues: list[Queue] = [
            await stack.enter_async_context(SQLiteQueue(store.database, name, lease=2)) for name in names
        ]
        yield store, queues


async def life(path: Path) -> list[Disk]:
    """The whole story, with a copy of the disk before every statement."""
    disks: list[Disk] = []
    answered: list[str] = []
    wal = path.with_name(f"{path.name}-wal")
    async with in_one_file(path) as (store, queues):

        def snapshot(statement: str) -> None:
            if statement.split()[0] in {"BEGIN", "INSERT", "UPDATE", "DELETE", "COMMIT"}:
                disks.append(Disk(path.read_bytes(), wal.read_bytes(), tuple(answered)))

        store.database.connection.set_trace_callback(snapshot)
        await system(store, store, queues, answered)
        store.database.connection.set_trace_callback(None)
    return disks


async def go_on(path: Path, answered: tuple[str, ...]) -> Any:
    """Another process opens the file and brings the story to its end."""
    async with in_one_file(path) as (store, queues):
        assert store.database.one("PRAGMA integrity_check") == ("ok",)
        return await system(store, store, queues, list(answered))


def test_a_crash_before_any_statement_loses_nothing_and_does_nothing_twice(tmp_path: Path) -> None:
    """Whatever the disk held, the next process ends with the same view, and two mails."""
    disks = simulate(life, tmp_path / "life.db").result
    distinct = list(dict.fromkeys(disks))  # within a transaction nothing reaches the disk before its commit
    assert len(disks) > 200
    assert len(distinct) > 20
    for number, disk in enumerate(distinct):
        rows, sent = simulate(go_on, disk.write(tmp_path / f"{number}.db"), disk.answered).result
        assert (rows, sent) == (EXPECTED, 2), f"the disk at commit {number}"


# Dual writes


class Left(NamedTuple):
    """What a crash left: is the charge in the database, and how often has the broker heard of it?"""

    committed: bool
    heard: int

    @property
    def verdict(self) -> str:
        if self.committed != bool(self.heard):
            return "lost event" if self.committed else "phantom"
        return "duplicate" if self.heard > 1 else "ok"


CHARGE = COMMANDS[0]


async def dual(make: Callable[..., Any], repeats: bool, crash: Crash | None) -> tuple[int, Left]:
    """One charge; the process dies; with `repeats` it starts again and the caller asks again."""
    store, heard = MemoryStore(), list[str]()

    async def broker(event: Message) -> None:
        heard.append(event.id)

    async def process() -> None:
        await make(store, "billing", partial(slowly, broker)).handle(CHARGE)

    shop = Participant("process", process, (), (crash,) if crash else ())
    await shop.run()
    with store.transaction() as transaction:
        committed = transaction.get("billing", "ann") is not None
    return shop.steps, Left(committed, len(set(heard)))


class _WithOutbox:
    """The real thing, in the form of the broken ones: the charge, and a relay beside it."""

    def __init__(self, store: Store, name: str, publish: Callable[[Message], Any]) -> None:
        self.service = billing(store)
        self.relay = Relay(self.service.outbox, publish, claim=1.0)

    async def handle(self, command: Command) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self.relay.run)
            await self.service.handle(command)
            while len(self.service.outbox):
                await anyio.sleep(0.1)
            group.cancel_scope.cancel()


def ready(kind: Callable[..., Commands]) -> Callable[..., Commands]:
    """A broken service that knows the commands of billing."""

    def make(store: Store, name: str, publish: Any) -> Commands:
        service = kind(store, name, publish)
        service._handlers |= billing(MemoryStore())._handlers
        return service

    return make


def sweep(make: Callable[..., Any], *, repeats: bool) -> dict[str, int]:
    """The verdict for each await at which the process can die."""
    (steps, whole) = simulate(dual, make, repeats, None).result
    assert whole.verdict == "ok"
    verdicts: Counter[str] = Counter()
    for step in range(1, 1 + steps):
        crash = Crash(step=step, restart_after=1 if repeats else None)
        verdicts[simulate(dual, make, repeats, crash).result[1].verdict] += 1
    return dict(verdicts)


def test_database_then_broker_loses_the_event() -> None:
    """A crash between the two (E3), even when the caller asks again: the database knows the command."""
    assert set(sweep(ready(DatabaseThenBroker), repeats=False)) == {"ok", "lost event"}
    assert set(sweep(ready(DatabaseThenBroker), repeats=True)) == {"ok", "lost event"}


def test_broker_then_database_leaves_a_phantom() -> None:
    """A crash between the two: everybody has heard of a charge that never was."""
    assert set(sweep(ready(BrokerThenDatabase), repeats=False)) == {"ok", "phantom"}


def test_a_retry_of_the_dual_write_makes_a_duplicate() -> None:
    """Nothing is lost any more, and some is heard twice, as two different messages."""
    assert set(sweep(ready(WithRetry), repeats=True)) == {"ok", "duplicate"}


def test_the_outbox_loses_nothing_and_its_duplicates_are_the_same_message() -> None:
    """Wherever it dies: both or neither, and the broker can tell a repetition by its id."""
    assert set(sweep(_WithOutbox, repeats=True)) == {"ok"}


def test_without_a_restart_the_outbox_still_has_what_the_broker_has_not() -> None:
    """Late is not lost: the event waits beside the state until some relay comes."""

    async def scenario(step: int) -> tuple[bool, set[str]]:
        store, heard = MemoryStore(), list[str]()

        async def broker(event: Message) -> None:
            heard.append(event.id)

        make = _WithOutbox(store, "billing", partial(slowly, broker))
        await Participant("process", make.handle, (CHARGE,), (Crash(step=step),)).run()
        await anyio.sleep(2)
        with store.transaction() as transaction:
            waiting = [envelope for _, (_, envelope) in transaction.scan("billing.outbox")]
            committed = transaction.get("billing", "ann") is not None
        return committed, set(heard) | ({"billing/ann/1"} if waiting else set())

    for step in range(1, 30):
        committed, known = simulate(scenario, step).result
        assert bool(known) == committed


# Real processes, killed


async def child(folder: Path) -> None:
    """A shop that charges for ever, and says what was answered."""
    async with in_one_file(folder / "shop.db") as (store, queues):

        async def charge(service: Commands, answered: list[str]) -> None:
            number = service.state("ann")[0]
            while True:
                number += 1
                command = replace(CHARGE, key=f"k{number}", data={"cents": 1}, id=f"c{number}")
                print((await service.handle(command)).version, flush=True)

        await system(store, store, queues, [], charge)


async def after_the_kill(folder: Path) -> tuple[int, int, int]:
    """The version of the write side; and what the view and the mails say when all has been carried."""
    async with in_one_file(folder / "shop.db") as (store, queues):
        service, view, inbox = billing(store), ReadModel(store, "dashboard", DASHBOARD), mails(store)
        handlers: list[Handler] = [view, inbox]

        async def publish(event: Message) -> None:
            for queue in queues:
                await queue.put(event)

        relay = Relay(service.outbox, publish, claim=2.0)
        async with anyio.create_task_group() as group:
            group.start_soon(relay.run)
            for queue, handle in zip(queues, handlers, strict=True):
                group.start_soon(Worker(queue, handle).run)
            version, state = service.state("ann")
            row = (await read(view, "ann", at_least={"billing/ann": version}, timeout=10_000)).row
            while len(service.outbox) or any(queue.counts.accepted > queue.counts.acked for queue in queues):  # type: ignore[attr-defined]
                await anyio.sleep(0.5)
            group.cancel_scope.cancel()
        assert store.database.one("PRAGMA integrity_check") == ("ok",)
        assert state["owed"] == version == row["charged"] == row["charges"]
        with store.transaction() as transaction, Feed(view):
            return version, row["charges"], transaction.get("counters", "mails sent")


def test_killed_at_any_moment_nothing_answered_is_lost_and_nothing_counted_twice(tmp_path: Path) -> None:
    """A real process with a real file, and SIGKILL: what was answered is on the view, once."""
    random = Random(17)
    for kill in range(KILLS):
        folder = tmp_path / str(kill)
        folder.mkdir()
        answered = 0
        command = [sys.executable, "-m", "tests.cqrs.test_crashes", str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(random.randrange(1, 60)):
                answered = int(process.stdout.readline())
            process.kill()
            answered = max([answered, *(int(line) for line in process.stdout.read().splitlines() if line)])
        version, projected, sent = simulate(after_the_kill, folder).result
        assert answered <= version <= answered + 1
        assert projected == sent == version


if __name__ == "__main__":
    anyio.run(child, Path(sys.argv[1]))
