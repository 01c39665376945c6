"""Crashes of the orchestrator: at every await, at every statement, and of real processes."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import anyio
import pytest

from eip_ref.course.saga.order_story import OrderServices
from eip_ref.cqrs import Outbox, Relay
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Participant
from eip_ref.saga import (
    Orchestrator,
    Parallel,
    Phase,
    Saga,
    SagaLog,
    Step,
    answering,
)
from eip_ref.storage import MemoryStore, SQLiteStore, Store
from eip_ref.trace import Trace
from tests.saga.child import expected, open_shop
from tests.saga.stories import (
    COMPLETED,
    NO_TEA,
    ORDER,
    QUICK,
    STOLEN,
    Network,
    amounts,
    first,
    holds,
    saga,
    untouched,
    without_zeros,
)

VALUES = pytest.mark.parametrize(
    "values", [first(), NO_TEA, STOLEN], ids=["completes", "no stock", "pivot refused"]
)
KILLS = int(os.environ.get("EIP_KILLS", "5"))


# A crash at every await, in virtual time


class Ending(NamedTuple):
    """How a run ended, and how many steps its orchestrator took."""

    steps: int
    phases: dict[str, list[str]]
    books: dict[str, dict[str, Any]]
    unsent: int


def in_parallel() -> Saga:
    order, credit, payment, stock, *rest = list(saga())
    stages: list[Step | Parallel] = [order, Parallel(credit, payment, stock), *rest]
    return Saga("place order", stages, retry=QUICK, undo_retry=QUICK)


FAULTS = {
    "o1/credit": ["broken after"],
    "o1/payment/undo": ["broken after"],
    "o1/ship": ["broken before"],
}


async def direct(definition: Saga, log: SagaLog, network: Network) -> None:
    """One life: recover, then run what was not begun."""
    orchestrator = Orchestrator(definition, log, network.execute)
    await orchestrator.recover()
    await orchestrator.run("o1", ORDER)


async def with_an_outbox(definition: Saga, log: SagaLog, network: Network) -> None:
    """One life with an outbox: a relay sends the commands, and the answers come by message."""

    async def send(command: Any) -> None:
        service = network.shop.services[network.shop.who(command)]
        await answering(service, orchestrator.receive)(command)

    outbox = outbox_of(log)
    orchestrator = Orchestrator(definition, log, outbox)
    async with anyio.create_task_group() as group:
        group.start_soon(Relay(outbox, send, claim=2.0).run)
        await orchestrator.recover()
        await orchestrator.run("o1", ORDER)
        while len(outbox):  # what this life has to send, it sends
            await anyio.sleep(1)
        group.cancel_scope.cancel()


def outbox_of(log: SagaLog) -> Outbox:
    return Outbox(log.store, "commands", versioned=False)


async def story(
    path: Path, life: Callable[..., Any], definition: Saga, values: dict[str, Any], memory: bool, step: int
) -> Ending:
    """The orchestrator dies at a step, and starts again; the services and the log live on."""
    shop, kept = OrderServices(values), MemoryStore()

    def opened() -> Store:
        return kept if memory else SQLiteStore(path, synchronous="OFF")

    async def process() -> None:
        with opened() as store:
            await life(definition, SagaLog(store), network)

    network = Network(shop, FAULTS)
    crashes = (Crash(step=step, restart_after=1),) if step else ()
    participant = Participant("orchestrator", process, (), crashes)
    await participant.run()
    with opened() as store:
        log = SagaLog(store)
        phases = {str(phase): log.find(phase) for phase in Phase}
        return Ending(participant.steps, phases, amounts(shop), len(outbox_of(log)))


@VALUES
@pytest.mark.parametrize(
    ("life", "definition", "memory"),
    [
        (direct, saga(), False),
        (direct, in_parallel(), True),
        (with_an_outbox, saga(), True),
        (with_an_outbox, in_parallel(), False),
    ],
    ids=["direct", "direct, parallel, in memory", "outbox, in memory", "outbox, parallel"],
)
def test_a_crash_at_any_await_leaves_one_outcome_and_effects_once(
    tmp_path: Path, life: Callable[..., Any], definition: Saga, values: dict[str, Any], memory: bool
) -> None:
    """Restarted, the saga completes, or compensates in reverse what may have happened; nothing twice."""

    def run(step: int) -> Trace:
        return simulate(story, tmp_path / f"{step}.db", life, definition, values, memory, step)

    completes = values not in (NO_TEA, STOLEN)
    whole = run(0)
    crashed = 0
    for step in range(1 + whole.result.steps):
        trace = run(step) if step else whole
        crashed += trace.count("crashed")
        ending = trace.result
        assert ending.phases["completed" if completes else "compensated"] == ["o1"], step
        assert ending.books == (without_zeros(COMPLETED) if completes else untouched(values)), step
        assert ending.unsent == 0
        holds(trace)
    assert crashed == whole.result.steps >= 20


# A crash at every statement: the disk, with the log and all books, is copied before each of them


class Disk(NamedTuple):
    """The bytes of a database at one moment."""

    database: bytes
    wal: bytes

    @classmethod
    def of(cls, path: Path) -> Disk:
        wal = path.with_name(f"{path.name}-wal")
        return cls(path.read_bytes(), wal.read_bytes() if wal.exists() else b"")

    def write(self, path: Path) -> Path:
        path.write_bytes(self.database)
        path.with_name(f"{path.name}-wal").write_bytes(self.wal)
        return path


def one_file(store: SQLiteStore, values: dict[str, Any]) -> tuple[SagaLog, OrderServices]:
    """The log and the books of all services, in one file with a transaction for each."""
    return SagaLog(store), OrderServices(values, lambda name: store)


async def watched(path: Path, values: dict[str, Any]) -> list[Disk]:
    """A whole saga; a copy of the disk before every statement."""
    disks: list[Disk] = []
    with SQLiteStore(path, synchronous="OFF") as store:
        log, shop = one_file(store, values)
        store.database.connection.set_trace_callback(lambda statement: disks.append(Disk.of(path)))
        await direct(saga(), log, Network(shop, FAULTS))
        store.database.connection.set_trace_callback(None)
    return disks


async def recovered(path: Path, values: dict[str, Any]) -> tuple[str, dict[str, dict[str, Any]]]:
    """What another process makes of such a disk."""
    with SQLiteStore(path, synchronous="OFF") as store:
        log, shop = one_file(store, values)
        assert store.database.one("PRAGMA integrity_check") == ("ok",)
        orchestrator = Orchestrator(saga(), log, Network(shop).execute)
        await orchestrator.recover()
        ended = await orchestrator.run("o1", ORDER)
        return str(ended.phase), amounts(shop)


@VALUES
def test_a_crash_before_any_statement_leaves_a_saga_that_recovers(
    tmp_path: Path, values: dict[str, Any]
) -> None:
    """From every state that the disk can be in, the same end is reached, with effects once."""
    disks = simulate(watched, tmp_path / "life.db", values).result
    assert len(disks) > 100
    distinct = list(dict.fromkeys(disks))
    for number, disk in enumerate(distinct):
        phase, books = simulate(recovered, disk.write(tmp_path / f"{number}.db"), values).result
        completes = values not in (NO_TEA, STOLEN)
        assert phase == ("completed" if completes else "compensated"), number
        assert books == (without_zeros(COMPLETED) if completes else untouched(values)), number


# Real processes, killed


def live_and_be_killed(path: Path, begin: int, chance: Random) -> list[list[str]]:
    """One life of the process. It is killed while it works, some lines after a random one."""
    command = [sys.executable, "-m", "tests.saga.child", str(path), str(begin), str(chance.randrange(10**6))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        output = b"".join(process.stdout.readline() for _ in range(chance.randrange(2, 60)))
        process.kill()
        output += process.stdout.read()
    assert process.returncode != 0
    return [line.split(" ") for line in output.decode().split("\n")[:-1]]  # what was cut was not said


async def balance(path: Path) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Recover what the last life has left; the phases of all sagas, and all books."""
    with ExitStack() as stack:
        log, shop = open_shop(stack, str(path))
        orchestrator = Orchestrator(saga(), log, shop.execute)
        await orchestrator.recover()
        assert log.find(Phase.RUNNING, Phase.COMPENSATING, Phase.STUCK) == []
        return log.find(Phase.COMPLETED), shop.business()


def test_killed_processes_leave_every_saga_with_one_outcome_and_the_books_right(tmp_path: Path) -> None:
    """SIGKILL at random moments, one file through all lives; EIP_KILLS says how many, 5 by default."""
    path, chance = tmp_path / "shop.db", Random(29)
    begun: set[str] = set()
    ended: dict[str, str] = {}
    for _ in range(KILLS):
        first_new = 1 + max((int(name.split("-")[1]) for name in begun), default=0)
        for word, name, *phase in live_and_be_killed(path, first_new, chance):
            begun.add(name)
            if word == "ended":
                assert ended.setdefault(name, phase[0]) == phase[0] == expected(int(name.split("-")[1]))
        with closing(sqlite3.connect(path)) as file:
            assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            rows = file.execute("SELECT key, document FROM documents WHERE tbl = 'sagas'").fetchall()
            written = {name: json.loads(document)[3] for name, document in rows}
        begun |= set(written)
        assert all(written[name] == phase for name, phase in ended.items()), "an end was forgotten"
    completed, books = simulate(balance, path).result
    assert {name for name, phase in ended.items() if phase == "completed"} <= set(completed)
    assert all(expected(int(name.split("-")[1])) == "completed" for name in completed)
    sold = len(completed)
    assert sold > KILLS
    assert books["payments"]["till"] == 7 * sold
    assert books["payments"]["card ann"] == 10**6 - 7 * sold
    assert books["payments"]["card eve"] == 10**6
    assert books["inventory"]["stock tea"] == 10**6 - sold
    assert len(books["shipping"]) == sold
    confirmed = {name for name, status in books["orders"].items() if status == "confirmed"}
    assert confirmed == {f"order {name}" for name in completed}
