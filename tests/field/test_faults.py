"""Faults done to real systems under load: what is a promise is asserted, the rest measured for the page."""

from __future__ import annotations

import itertools
import math
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio.abc import TaskGroup

from eip_ref.field import faults
from eip_ref.field.servers import PostgreSQL, RabbitMQ, Redis, Server
from eip_ref.message import Message
from eip_ref.message_queue import Empty
from eip_ref.trace import Kind, record, recording

from .conftest import Servers
from .consumer_process import a_working_consumer
from .promises import Site
from .proxy import Proxy
from .systems import SYSTEMS
from .verdicts import System

PRODUCERS = 8
CONFIRMED = 2_000  #: before the fault
BEHIND = 700  #: messages that the consumer may be behind the producers
BURST = 200  #: that are then confirmed without a pause, before the fault
LEASE = 1.0  #: seconds
LIMIT = 180.0  #: seconds for one run
KEPT = "nothing is lost"
SOME_LOST = "something is lost"


@dataclass(frozen=True)
class Case:
    """A system with one setting, the faults that are done to it, and what is certain then."""

    system: System
    setting: str
    settings: dict[str, Any] = field(default_factory=dict)
    server: type[Server] | None = None  #: in place of the system's own
    faults: Sequence[str] = ("kill",)
    promise: str = ""

    @property
    def id(self) -> str:
        return f"{self.system.id}, {self.setting}".replace(" ", "-").replace(",", "")


class WithoutFile(Redis):
    """A server that keeps its data in its memory alone."""

    def command(self) -> Sequence[str]:
        return [*super().command(), "--appendonly", "no"]


class Hurried(PostgreSQL):
    """A database that confirms a commit before it is in the file of the log."""

    def command(self) -> Sequence[str]:
        return [*super().command(), "-c", "synchronous_commit=off"]


BY_ID = {system.id: system for system in SYSTEMS}
CLASSIC, QUORUM, JETSTREAM = BY_ID["rabbitmq-classic"], BY_ID["rabbitmq-quorum"], BY_ID["nats-jetstream"]
REDIS, POSTGRESQL = BY_ID["redis-stream"], BY_ID["postgresql-table"]
SHARE = BY_ID["kafka-share"]
UNSYNCED = {"persistent": True, "confirms": False}

_every = partial(Case, faults=tuple(faults.FAULTS), promise=KEPT)
_unsure = partial(Case, faults=("kill", "cut"))
CASES = (
    _every(CLASSIC, "persistent, confirms"),
    Case(CLASSIC, "transient, confirms", {"persistent": False}, promise=SOME_LOST),
    _unsure(CLASSIC, "persistent, no confirms", UNSYNCED),
    _every(QUORUM, "confirms"),
    _unsure(QUORUM, "no confirms", UNSYNCED),
    _every(JETSTREAM, "file storage"),
    _every(REDIS, "appendfsync always"),
    Case(REDIS, "appendonly no", server=WithoutFile, promise=SOME_LOST),
    _every(POSTGRESQL, "synchronous_commit on"),
    Case(POSTGRESQL, "synchronous_commit off", server=Hurried),
    # A client of Kafka goes to the port that the broker names: no proxy can cut it off.
    Case(SHARE, "acks all", faults=("kill", "consumer"), promise=KEPT),
)
RUNS = [
    pytest.param(case, fault, id=f"{fault}-{case.id}")
    for fault in faults.FAULTS
    for case in CASES
    if fault in case.faults
]


class Load:
    """Producers and a consumer at work on one queue, until a fault comes."""

    def __init__(self, case: Case, server: Server) -> None:
        self.case, self.server = case, server
        self.site = Site(case.system, server, case.settings)
        self.accepted = self.finished = 0
        self.behind: float = BEHIND
        self.struck = self.over = False

    def open(self, port: int | None = None) -> AbstractAsyncContextManager[Any]:
        """The adapter, by another port if one is given."""
        url = self.server.url.replace(f":{self.server.port}", f":{port or self.server.port}")
        at: Any = SimpleNamespace(url=url)
        return self.case.system.open(at, self.site.name(), lease=LEASE, **self.case.settings)

    @asynccontextmanager
    async def at_work(self, port: int | None = None) -> AsyncIterator[None]:
        """Let both sides work, each by its own connection. Loaded inside; they stop with the block."""
        async with self.open(port) as inlet, self.open(port) as outlet, anyio.create_task_group() as tasks:
            self.begin_to_produce(tasks, inlet)
            tasks.start_soon(self.consume, outlet)
            while self.accepted < CONFIRMED or not is_written(self):
                await anyio.sleep(0.01)
            await self.burst()
            self.struck = True
            yield
            self.over = True

    async def burst(self) -> None:
        """Let the producers put without a pause; return when they are in the midst of it."""
        self.behind, enough = math.inf, self.accepted + BURST
        while self.accepted < enough:
            await anyio.sleep(0.001)

    def begin_to_produce(self, tasks: TaskGroup, queue: Any) -> None:
        for producer in range(PRODUCERS):
            tasks.start_soon(self.produce, queue, producer)

    @contextmanager
    def until_struck(self) -> Iterator[None]:
        """Whoever works loses its connection by the fault, and by nothing else."""
        try:
            yield
        except ConnectionError:
            if not self.struck:
                raise

    async def produce(self, queue: Any, producer: int) -> None:
        with self.until_struck():
            for number in itertools.count():
                while not self.over and self.accepted - self.finished > self.behind:
                    await anyio.sleep(0.001)
                if self.over:
                    return
                await queue.put(Message(number, id=f"{producer}-{number}"))
                self.accepted += 1

    async def consume(self, queue: Any) -> None:
        with self.until_struck():
            while not self.over:
                await self.work(queue, timeout=LEASE)

    async def drain(self) -> None:
        """Work on all that is there, until nothing comes for longer than a lease."""
        async with self.open() as queue:
            while await self.work(queue, timeout=1.5 * LEASE):
                pass

    async def work(self, queue: Any, timeout: float) -> bool:
        """Receive, work and ack; False when nothing came."""
        try:
            lease = await queue.receive(timeout=timeout)
        except Empty:
            return False
        record(Kind.FINISHED, queue.name, lease.message.id)
        self.finished += 1
        await lease.ack()
        return True


async def kill(load: Load) -> None:
    """SIGKILL to the server, which is started again."""
    async with load.at_work():
        await anyio.to_thread.run_sync(load.server.kill)
    await anyio.to_thread.run_sync(load.server.start)


async def cut(load: Load) -> None:
    """Reset of all connections."""
    async with Proxy(load.server.port) as proxy, load.at_work(proxy.port):
        proxy.cut()


async def consumer(load: Load) -> None:
    """SIGKILL to the process of the consumer."""
    name = load.site.name()
    said = load.server.folder / f"{name}.txt"
    async with load.open() as inlet, anyio.create_task_group() as tasks:
        load.begin_to_produce(tasks, inlet)
        with a_working_consumer(load.site, LEASE, said):
            while load.accepted < CONFIRMED:
                load.finished = said.read_text().count(Kind.FINISHED)
                await anyio.sleep(0.01)
            await load.burst()
        load.over = True
    for line in said.read_text().splitlines():
        kind, _, id = line.partition(" ")
        record(Kind(kind), name, id)


DO = {"kill": kill, "cut": cut, "consumer": consumer}


def is_written(load: Load) -> bool:
    """False while RabbitMQ has not written that there is such a queue: it answers a declaration before."""
    if load.case.system.server is not RabbitMQ:
        return True
    places = [["*/LATEST.LOG", "*/rabbit_durable_queue.DC?"]]
    if load.case.system is QUORUM:
        places.append(["*/quorum/*/names.dets"])
    return all(has(load.server.folder / "mnesia", files, load.site.name()) for files in places)


def has(folder: Path, patterns: Sequence[str], name: str) -> bool:
    files = [file for pattern in patterns for file in folder.glob(pattern)]
    return any(name.encode() in file.read_bytes() for file in files)


@pytest.mark.parametrize(("case", "fault"), RUNS)
def test_a_fault_under_load(case: Case, fault: str, servers: Servers, request: pytest.FixtureRequest) -> None:
    """What was confirmed and kept on the disk is worked on, whatever dies; what is not kept is lost."""
    kind = case.server or case.system.server
    if missing := kind.no_fresh_one():
        pytest.skip(missing)
    counts = anyio.run(_counts, case, fault, servers.running(kind), backend="asyncio")
    assert counts.confirmed >= CONFIRMED
    if case.promise == KEPT:
        assert not counts.lost, counts
    if case.promise == SOME_LOST:
        assert counts.lost, counts
    if request.config.getoption("table"):
        label = f"{case.system.label} {kind.version()}"
        name = request.node.nodeid
        order = [f"{name.partition('[')[0]}[{run.id}]" for run in RUNS]
        faults.store(faults.Row(fault, label, case.setting, name, counts), order)


async def _counts(case: Case, fault: str, server: Server) -> faults.Counts:
    load = Load(case, server)
    with recording() as recorder, anyio.fail_after(LIMIT):
        await DO[fault](load)
        await load.drain()
    return faults.counted(recorder.events)
