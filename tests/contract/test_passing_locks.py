"""Another process has the file locked for a while: whoever must wait for it waits, and the loop goes on.

One row for each operation that writes. The file's patience is 0.2 s of this machine's clock, and the lock
passes after 0.05 s of virtual time: an operation that stopped the loop would never see it pass.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from eip_ref.apps.shop_dashboard.services import DASHBOARD, billing
from eip_ref.cqrs import Command, CommandQueue, DomainEvent, Inbox, Outbox, ReadModel, Relay, event
from eip_ref.durable_queue import SQLiteLog
from eip_ref.event_sourcing import (
    MemoryEventStore,
    Projection,
    Projector,
    Reactor,
    Resequencer,
    SQLiteEventStore,
    rebuild,
)
from eip_ref.message import Message
from eip_ref.saga import Orchestrator, Participant, Saga, SagaLog, Step, action, compensation
from eip_ref.storage import Database, ForeignTransaction, SQLiteStore
from tests.backends import recorded

CHARGED = event(DomainEvent("Charged", {"cents": 1}), "billing/ann", 1, id="ann1", causation_id="c")
CHARGE = Command("Charge", "ann", {"cents": 1}, id="c1")
Ready = Callable[[SQLiteStore], Awaitable[Callable[[], Awaitable[object]]]]
"""Prepares what needs no lock that is held, and returns the operation."""


async def _step(store: SQLiteStore) -> Any:
    return lambda: store.run(lambda transaction: transaction.put("t", "k", 1))


async def _append(store: SQLiteStore) -> Any:
    events = await SQLiteEventStore(store.database).__aenter__()
    return lambda: events.append("order-17", [Message(1, "Said")])


async def _append_to_a_log(store: SQLiteStore) -> Any:
    log = await SQLiteLog(store.database, "orders").__aenter__()
    return lambda: log.append(Message(1))


async def _history() -> MemoryEventStore:
    history = MemoryEventStore()
    await history.append("order-17", [Message(1, "Said")])
    return history


async def _project(store: SQLiteStore) -> Any:
    projector, history = Projector(store, Projection("total", {})), await _history()
    return lambda: projector.catch_up(history)


async def _rebuild(store: SQLiteStore) -> Any:
    projector, history = Projector(store, Projection("total", {}, generation=2)), await _history()
    return lambda: rebuild(projector, history)


async def _resequence(store: SQLiteStore) -> Any:
    intake = Resequencer(store, "intake", lambda events: None)
    return lambda: intake(CHARGED)


async def _view(store: SQLiteStore) -> Any:
    model = ReadModel(store, "dashboard", DASHBOARD)
    return lambda: model(CHARGED)


async def _rebuild_a_view(store: SQLiteStore) -> Any:
    async def history() -> AsyncIterator[Message]:
        yield CHARGED

    model = ReadModel(store, "dashboard", DASHBOARD)
    return lambda: model.rebuild(history())


async def _handle(store: SQLiteStore) -> Any:
    service = billing(store)
    return lambda: service.handle(CHARGE)


async def _accept(store: SQLiteStore) -> Any:
    later = CommandQueue(billing(store))
    return lambda: later.accept(CHARGE)


async def _carry_out(store: SQLiteStore) -> Any:
    later = CommandQueue(billing(store))
    await later.accept(CHARGE)
    return later.run_once


async def _take_in(store: SQLiteStore) -> Any:
    inbox = Inbox(store, "inbox")
    inbox.on("Charged", lambda transaction, message: None)
    return lambda: inbox(CHARGED)


async def _relay(store: SQLiteStore) -> Any:
    await billing(store).handle(CHARGE)
    relay = Relay(Outbox(store, "billing.outbox"), lambda message: None)
    return relay.run_once


def _participant(store: SQLiteStore) -> Participant:
    return Participant("payments", store, {"pay": lambda command, books: None, "repay": lambda *_: None})


async def _act(store: SQLiteStore) -> Any:
    return lambda: _participant(store)(action("o1", "pay", "pay", None))


async def _compensate(store: SQLiteStore) -> Any:
    return lambda: _participant(store)(compensation("o1", "pay", "repay", None))


async def _orchestrate(store: SQLiteStore) -> Any:
    saga = Saga("order", [Step("pay", "pay", undo="repay")])
    return lambda: Orchestrator(saga, SagaLog(store), lambda command: None).run("o1")


OPERATIONS: dict[str, Ready] = {
    "Store.run": _step,
    "EventStore.append": _append,
    "Log.append": _append_to_a_log,
    "Projector.catch_up": _project,
    "rebuild": _rebuild,
    "Resequencer": _resequence,
    "ReadModel": _view,
    "ReadModel.rebuild": _rebuild_a_view,
    "Commands.handle": _handle,
    "CommandQueue.accept": _accept,
    "CommandQueue.run_once": _carry_out,
    "Inbox": _take_in,
    "Relay.run_once": _relay,
    "Participant, an action": _act,
    "Participant, a compensation": _compensate,
    "Orchestrator.run": _orchestrate,
}


@pytest.fixture(params=OPERATIONS)
def ready(request: pytest.FixtureRequest) -> Ready:
    return OPERATIONS[request.param]


async def test_a_lock_that_passes_is_waited_for_and_the_loop_goes_on(tmp_path: Path, ready: Ready) -> None:
    """It is no error, and it stops nobody else."""
    path = tmp_path / "file.db"
    with SQLiteStore(Database(path, synchronous="OFF", busy_timeout=0.2)) as store:
        operation = await ready(store)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")

            async def pass_on() -> None:
                await anyio.sleep(0.05)
                other.execute("COMMIT")

            start = anyio.current_time()
            async with anyio.create_task_group() as group:
                group.start_soon(pass_on)
                await operation()
            assert round(anyio.current_time() - start, 9) >= 0.05


async def _erase(store: SQLiteStore) -> Any:
    store.database.execute("DELETE FROM documents")
    return store.erase


async def test_what_falls_into_the_transaction_of_another_task_is_refused(
    tmp_path: Path, ready: Ready
) -> None:
    """Nobody is told that it is done: it would be undone with whatever the other task does."""
    with SQLiteStore(Database(tmp_path / "file.db", synchronous="OFF")) as store:
        operation = await ready(store)

        async def waits_inside() -> None:
            with store.transaction() as transaction:
                transaction.put("t", "mine", 1)
                await anyio.sleep(1)  # the mistake: an await inside

        async with anyio.create_task_group() as group:
            group.start_soon(waits_inside)
            await anyio.sleep(0.5)
            with pytest.RaisesGroup(ForeignTransaction, allow_unwrapped=True, flatten_subgroups=True):
                await operation()


@pytest.mark.parametrize("ready", [_erase, _rebuild, _rebuild_a_view])
async def test_while_another_process_reads_what_is_erased_the_loop_goes_on(
    tmp_path: Path, ready: Ready
) -> None:
    """What was deleted is in the log beside the file until nobody reads it any more."""
    path = tmp_path / "file.db"
    with SQLiteStore(Database(path, synchronous="OFF", busy_timeout=0.2)) as store:
        await _step(store)
        operation = await ready(store)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM documents").fetchone()

            async def read_on() -> None:
                await anyio.sleep(0.05)
                other.execute("COMMIT")

            start = anyio.current_time()
            async with anyio.create_task_group() as group:
                group.start_soon(read_on)
                await operation()
            assert round(anyio.current_time() - start, 9) >= 0.05


def _projects(store: SQLiteStore) -> Any:
    async def run() -> None:
        await Projector(store, Projection("total", {})).run(await _history())

    return run


def _reacts(store: SQLiteStore) -> Any:
    async def run() -> None:
        await Reactor(store, "desk", {}, history=True).run(await _history())

    return run


BACKGROUND = {
    "Relay.run": lambda store: Relay(Outbox(store, "outbox"), lambda message: None).run,
    "CommandQueue.run": lambda store: CommandQueue(billing(store)).run,
    "Projector.run": _projects,
    "Reactor.run": _reacts,
}


@pytest.mark.parametrize("name", BACKGROUND)
async def test_a_task_in_the_background_outlives_a_lock_that_lasts(tmp_path: Path, name: str) -> None:
    """It notes the fault and tries again; nobody's block ends because of a disk."""
    path = tmp_path / "file.db"
    with SQLiteStore(Database(path, synchronous="OFF", busy_timeout=0.2)) as store:
        await CommandQueue(billing(store)).accept(CHARGE)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            async with anyio.create_task_group() as group:
                other.execute("BEGIN IMMEDIATE")
                group.start_soon(BACKGROUND[name](store))
                await anyio.sleep(0.5)
                other.execute("COMMIT")
                await anyio.sleep(1)
                has_gone_on(store, name)
                group.cancel_scope.cancel()


@pytest.mark.parametrize("name", BACKGROUND)
async def test_a_task_in_the_background_outlives_the_transaction_of_another(
    tmp_path: Path, name: str
) -> None:
    """The await in there is not its mistake."""
    with SQLiteStore(Database(tmp_path / "file.db", synchronous="OFF")) as store:
        await CommandQueue(billing(store)).accept(CHARGE)

        async def waits_inside() -> None:
            with store.transaction():
                await anyio.sleep(0.5)

        async with anyio.create_task_group() as group:
            group.start_soon(waits_inside)
            await anyio.sleep(0.1)
            group.start_soon(BACKGROUND[name](store))
            await anyio.sleep(1)
            has_gone_on(store, name)
            group.cancel_scope.cancel()


def has_gone_on(store: SQLiteStore, name: str) -> None:
    assert any("tried again later" in str(note.data) for note in recorded().filter("note"))
    with store.reading() as documents:
        written = documents.size("positions") + documents.size("billing")
    assert written > 0 or name == "Relay.run"
