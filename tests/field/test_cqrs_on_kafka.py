"""CQRS with Kafka between outbox and projector: whoever is killed, the view is what the books say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import anyio.to_thread
import pytest

from eip_ref.apps.shop_dashboard.services import DASHBOARD, billing
from eip_ref.cqrs import Command, Commands, ReadModel, Relay
from eip_ref.event_sourcing import stream_version
from eip_ref.field import kafka_log
from eip_ref.field.kafka_channel import KafkaChannel
from eip_ref.field.kafka_log import KafkaLog
from eip_ref.field.servers import Kafka, Server
from eip_ref.message import Message
from eip_ref.storage import MemoryStore, SQLiteStore
from eip_ref.trace import Kind, recording

from .conftest import Servers
from .relay_process import a_relay_that_dies

CUSTOMERS = 5
LIMIT = 120.0  #: seconds for one test
PATIENT = 120.0  #: seconds of a claim that outlasts the death of a broker


@pytest.fixture
def kafka(servers: Servers) -> Server:
    if missing := Kafka.no_fresh_one():
        pytest.skip(missing)
    return servers.running(Kafka)


class Shop:
    """Billing with its outbox in a file, and a dashboard that hears of it by Kafka alone."""

    def __init__(self, file: Path, service: Commands) -> None:
        self.file, self.service = file, service
        self.dashboard = ReadModel(MemoryStore(), "dashboard", DASHBOARD)
        self.known = 0  #: events that came to the dashboard again
        self.name = f"events-{uuid4().hex[:8]}"

    async def charge(self, numbers: Iterable[int]) -> None:
        """Charge so many cents, each to the next customer."""
        for number in numbers:
            command = Command("Charge", f"customer-{number % CUSTOMERS}", {"cents": number})
            await self.service.handle(command)
            await anyio.sleep(0)

    async def project(self, event: Message) -> None:
        self.known += not await self.dashboard(event)

    async def agrees(self) -> None:
        """Return when the view shows what the books say, with every version of every stream."""
        while self.shown() != self.books():
            await anyio.sleep(0.05)

    def books(self) -> dict[str, tuple[int, int]]:
        """Version and owed cents of each customer, as billing has them."""
        states = {
            f"customer-{number}": self.service.state(f"customer-{number}") for number in range(CUSTOMERS)
        }
        return {name: (version, state["owed"]) for name, (version, state) in states.items()}

    def shown(self) -> dict[str, tuple[int, int]]:
        """The same, as the dashboard has it."""
        rows = self.dashboard.rows().items()
        return {name: (self.dashboard.seen(f"billing/{name}"), row["charged"]) for name, row in rows}


def in_a_shop(folder: Path, story: Callable[[Shop], Awaitable[None]]) -> None:
    """Play the story in real time."""

    async def main() -> None:
        with SQLiteStore(folder / "billing.db") as store, anyio.fail_after(LIMIT):
            await story(Shop(folder / "billing.db", billing(store)))

    anyio.run(main)


@asynccontextmanager
async def at_work(shop: Shop, log: KafkaLog, relay: Relay) -> AsyncIterator[None]:
    """The relay and the projector; they stop with the block."""
    async with log.group("dashboard") as group, anyio.create_task_group() as tasks:
        tasks.start_soon(relay.run)
        tasks.start_soon(group.follow, shop.project)
        yield
        tasks.cancel_scope.cancel()


async def versions(log: KafkaLog) -> dict[str, list[int]]:
    """The versions of each stream, in the order of the log."""
    found = defaultdict(list)
    for _, event, _ in await log.read(0, limit=10_000):
        found[str(event.key)].append(stream_version(event))
    return found


def test_an_event_reaches_the_view_by_the_log(kafka: Server, tmp_path: Path) -> None:
    """Each once, and those of a customer in their order."""

    async def story(shop: Shop) -> None:
        async with KafkaLog(kafka.url, shop.name) as log:
            async with at_work(shop, log, Relay(shop.service.outbox, log.append)):
                await shop.charge(range(1, 51))
                await shop.agrees()
            assert set(map(tuple, (await versions(log)).values())) == {tuple(range(1, 11))}
        assert shop.known == 0

    in_a_shop(tmp_path, story)


def test_a_broker_is_killed_between_outbox_and_view(kafka: Server, tmp_path: Path) -> None:
    """Commands are answered meanwhile; afterwards the view has all of them, and the log has their order."""

    async def story(shop: Shop) -> None:
        async with KafkaLog(kafka.url, shop.name) as log:
            async with at_work(shop, log, Relay(shop.service.outbox, log.append, claim=PATIENT)):
                await shop.charge(range(1, 201))
                while not 20 < sum(version for version, _ in shop.shown().values()) < 200:
                    await anyio.sleep(0.001)
                await anyio.to_thread.run_sync(kafka.kill)
                await shop.charge(range(201, 251))
                assert len(shop.service.outbox) >= 50
                assert shop.shown() != shop.books()
                await anyio.to_thread.run_sync(kafka.start)
                await shop.agrees()
            for of_a_stream in (await versions(log)).values():
                assert list(dict.fromkeys(of_a_stream)) == list(range(1, 51))

    in_a_shop(tmp_path, story)


def test_a_projector_comes_back_to_a_broker_that_was_away(kafka: Server, tmp_path: Path) -> None:
    """It says that it has lost it, and goes on where it was."""

    async def story(shop: Shop) -> None:
        log = KafkaLog(kafka.url, shop.name)
        relay = Relay(shop.service.outbox, log.append, claim=PATIENT)
        with recording() as recorder:
            async with log, at_work(shop, log, relay):
                await shop.charge(range(1, 11))
                await shop.agrees()
                with pytest.MonkeyPatch.context() as impatient:
                    impatient.setattr(kafka_log, "ANSWER", 0.5)  # seconds: the broker is away for longer
                    await anyio.to_thread.run_sync(kafka.kill)
                    while not any(event.kind == Kind.NOTE for event in recorder.events):
                        await anyio.sleep(0.05)
                await anyio.to_thread.run_sync(kafka.start)
                await shop.charge(range(11, 21))
                await shop.agrees()

    in_a_shop(tmp_path, story)


def test_a_relay_is_killed_before_its_mark(kafka: Server, tmp_path: Path) -> None:
    """Its last event is published again, with the same id, and changes the view once."""

    async def story(shop: Shop) -> None:
        await shop.charge(range(1, 21))
        await a_relay_that_dies(kafka.url, shop.file, shop.name, publishes=7)
        assert len(shop.service.outbox) == 14
        async with KafkaLog(kafka.url, shop.name) as log:
            async with at_work(shop, log, Relay(shop.service.outbox, log.append, "second relay")):
                await shop.agrees()
                while shop.known < 1:
                    await anyio.sleep(0.05)
            ids = [event.id for _, event, _ in await log.read(0, limit=10_000)]
            assert len(ids) == 21
            assert [id for id in set(ids) if ids.count(id) == 2] == [ids[6]]
        assert shop.known == 1

    in_a_shop(tmp_path, story)


def test_a_projector_is_killed_before_its_commit(kafka: Server, tmp_path: Path) -> None:
    """What it had brought into the view comes again, and is known there."""

    async def story(shop: Shop) -> None:
        async def dies(event: Message) -> None:
            await shop.project(event)
            if shop.dashboard.seen("billing/customer-0") == 2:
                raise SystemError("the power is gone")

        async with KafkaLog(kafka.url, shop.name) as log:
            relay = Relay(shop.service.outbox, log.append)
            await shop.charge(range(1, 21))
            while await relay.run_once():
                pass
            async with log.group("dashboard") as group:
                with pytest.raises(SystemError):
                    await group.follow(dies)
            async with at_work(shop, log, relay):
                await shop.agrees()
        assert shop.known == 2 * CUSTOMERS

    in_a_shop(tmp_path, story)


def test_several_projectors_share_the_partitions(kafka: Server, tmp_path: Path) -> None:
    """A key stays in one of four, so each of two sees its customers alone, and their events in order."""

    async def story(shop: Shop) -> None:
        heard: dict[Any, list[Message]] = {}
        async with (
            KafkaChannel(kafka.url, shop.name, partitions=4) as channel,
            anyio.create_task_group() as tasks,
        ):

            async def project(member: Any) -> None:
                heard[member] = []
                while True:
                    event = await member.receive()
                    heard[member].append(event)
                    await shop.project(event)

            for _ in range(2):
                tasks.start_soon(project, await channel.subscribe("events", group="dashboard"))
            relay = Relay(shop.service.outbox, lambda event: channel.publish("events", event))
            tasks.start_soon(relay.run)
            await shop.charge(range(1, 51))
            await shop.agrees()
            tasks.cancel_scope.cancel()
        streams = [{event.key for event in events} for events in heard.values()]
        assert not set.intersection(*streams), "both got events of one customer"
        assert all(streams), "one of the two got nothing"
        for events in heard.values():
            for stream in {event.key for event in events}:
                of_it = [stream_version(event) for event in events if event.key == stream]
                assert of_it == list(range(1, 11))

    in_a_shop(tmp_path, story)
