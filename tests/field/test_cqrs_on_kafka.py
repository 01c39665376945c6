"""The dashboard with Kafka between outbox and view: whoever is killed, the view is what the books say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import anyio.lowlevel
import anyio.to_thread
import httpx
import pytest

from eip_ref.apps.shop_dashboard.services import DASHBOARD, billing
from eip_ref.apps.shop_dashboard.shop import ShopSystem
from eip_ref.cqrs import Command, ReadModel, Relay
from eip_ref.event_sourcing import stream_version
from eip_ref.field.kafka_channel import KafkaChannel
from eip_ref.field.kafka_log import KafkaGroup
from eip_ref.field.servers import Kafka, Server
from eip_ref.message import Message
from eip_ref.storage import MemoryStore, SQLiteStore
from tests.cqrs.test_app import eip, in_process

from .conftest import Servers
from .relay_process import a_relay_that_dies

CUSTOMERS = 5
LIMIT = 120.0  #: seconds for one test


@pytest.fixture
def kafka(servers: Servers) -> Server:
    if missing := Kafka.no_fresh_one():
        pytest.skip(missing)
    return servers.running(Kafka)


class Dashboard:
    """The application, by its doors; and what its parts know."""

    def __init__(self, shop: ShopSystem, client: httpx.AsyncClient) -> None:
        self.shop, self.client = shop, client

    async def charge(self, numbers: Iterable[int]) -> None:
        """Charge so many cents, each to the next customer."""
        for number in numbers:
            charges = f"/billing/customer-{number % CUSTOMERS}/charges"
            assert (await self.client.post(charges, json={"cents": number})).status_code == 200

    async def let(self, part: str, *, run: bool) -> None:
        await self.client.put(f"/parts/{part}", json={"running": run})

    async def standing(self) -> dict[str, Any]:
        standing: dict[str, Any] = (await self.client.get("/standing")).json()
        return standing

    async def until(self, holds: Callable[[dict[str, Any]], bool]) -> None:
        while not holds(await self.standing()):
            await anyio.sleep(0.02)

    async def agrees(self) -> None:
        """Return when the view shows what the books say, with every version of every stream."""
        while self.shown() != self.books():
            await anyio.sleep(0.02)
        await self.until(lambda standing: standing["behind"] == 0)

    def books(self) -> dict[str, tuple[int, int]]:
        """Version and owed cents of each customer, as billing has them."""
        names = [f"customer-{number}" for number in range(CUSTOMERS)]
        states = {name: self.shop.services["billing"].state(name) for name in names}
        return {name: (version, state["owed"]) for name, (version, state) in states.items() if version}

    def shown(self) -> dict[str, tuple[int, int]]:
        """The same, as the view has it."""
        view = self.shop.dashboard
        return {name: (view.seen(f"billing/{name}"), row["charged"]) for name, row in view.rows().items()}

    async def versions(self) -> dict[str, list[int]]:
        """The versions of each stream, in the order of the topic."""
        found = defaultdict(list)
        async for event in self.shop.channel.history():
            found[str(event.key)].append(stream_version(event))
        return found


def on(folder: Path, kafka: Server, *stories: Callable[[Dashboard], Awaitable[None]]) -> None:
    """Play the stories in real time, each with the application started anew in this folder."""

    async def main() -> None:
        with anyio.fail_after(LIMIT):
            for story in stories:
                async with in_process(folder, kafka.url) as (shop, client):
                    await story(Dashboard(shop, client))

    anyio.run(main)


def test_commands_are_answered_and_the_view_catches_up(kafka: Server, tmp_path: Path) -> None:
    """A read waits for its version; each event is there once, those of a customer in order."""

    async def story(dashboard: Dashboard) -> None:
        await dashboard.charge(range(1, 51))
        found = await dashboard.client.get("/users/customer-1?billing=10&timeout=9")
        assert (found.json()["stale"], found.json()["row"]["charges"]) == (False, 10)
        await dashboard.agrees()
        assert set(map(tuple, (await dashboard.versions()).values())) == {tuple(range(1, 11))}
        assert dashboard.shop.known == 0
        assert f"of Kafka at {kafka.url}" in (await dashboard.client.get("/")).text

    on(tmp_path, kafka, story)


def test_an_old_folder_goes_on_and_a_new_one_is_empty(kafka: Server, tmp_path: Path) -> None:
    """Each has a topic of its own, also for a rebuild."""

    async def begins(dashboard: Dashboard) -> None:
        assert (await dashboard.standing())["log"] == 0
        await dashboard.charge(range(1, 11))
        await dashboard.agrees()

    async def goes_on(dashboard: Dashboard) -> None:
        assert (await dashboard.standing())["log"] == 10
        await dashboard.charge(range(11, 16))
        await dashboard.agrees()
        before = dashboard.shown()
        assert (await dashboard.client.post("/rebuild")).json() == {"rebuilt": CUSTOMERS}
        assert dashboard.shown() == before

    on(tmp_path / "old", kafka, begins, goes_on)
    on(tmp_path / "new", kafka, begins)


def test_a_stopped_relay_leaves_the_events_in_the_outboxes(kafka: Server, tmp_path: Path) -> None:
    """Started again, it publishes them, each once."""

    async def story(dashboard: Dashboard) -> None:
        await dashboard.charge(range(1, 6))
        await dashboard.agrees()
        before = dashboard.shown()
        await dashboard.let("relay", run=False)
        await dashboard.charge(range(6, 16))
        assert sum(map(len, (await dashboard.versions()).values())) == 5
        assert ((await dashboard.standing())["outbox"], dashboard.shown()) == (10, before)
        await dashboard.let("relay", run=True)
        await dashboard.agrees()
        assert (await dashboard.standing())["log"] == 15

    on(tmp_path, kafka, story)


def test_a_killed_projector_goes_on_after_its_last_commit(kafka: Server, tmp_path: Path) -> None:
    """What it had brought into the view and not committed comes again, and is known there."""

    async def story(dashboard: Dashboard) -> None:
        async def dies(group: KafkaGroup, offset: int) -> int:
            if offset < 7:
                return await commit(group, offset)
            dashboard.shop.kill("projector")
            await anyio.lowlevel.checkpoint()
            raise AssertionError("it lives")

        commit = KafkaGroup.commit
        with pytest.MonkeyPatch.context() as deadly:
            deadly.setattr(KafkaGroup, "commit", dies)
            await dashboard.charge(range(1, 21))
            await dashboard.until(
                lambda standing: standing["log"] == 20 and not standing["at_work"]["projector"]
            )
        assert (await dashboard.standing())["projected"] == 6
        assert sum(version for version, _ in dashboard.shown().values()) == 7
        await dashboard.let("projector", run=True)
        await dashboard.agrees()
        assert dashboard.shop.known == 1

    on(tmp_path, kafka, story)


def test_events_that_come_again_change_no_row(kafka: Server, tmp_path: Path) -> None:
    """The place that the projector loses is the one that the broker keeps."""

    async def story(dashboard: Dashboard) -> None:
        await dashboard.charge(range(1, 11))
        await dashboard.agrees()
        before = dashboard.shown()
        again = await dashboard.client.post("/faults/repeat", json={"events": 4})
        assert again.json() == {"again": 4}
        await dashboard.until(lambda standing: standing["known"] == 4)
        assert dashboard.shown() == before

    on(tmp_path, kafka, story)


def test_a_broker_is_killed_between_outbox_and_view(kafka: Server, tmp_path: Path) -> None:
    """Commands are answered meanwhile; afterwards the view has all of them, and the log has their order."""

    async def story(dashboard: Dashboard) -> None:
        await dashboard.client.put("/slow", json={"seconds": 0.005})
        await dashboard.charge(range(1, 201))
        assert sum(version for version, _ in dashboard.shown().values()) < 200
        await anyio.to_thread.run_sync(kafka.kill)
        await dashboard.charge(range(201, 251))
        await dashboard.until(lambda standing: bool(standing["lost"]) and standing["outbox"] >= 50)
        assert dashboard.shown() != dashboard.books()
        await anyio.to_thread.run_sync(kafka.start)
        await dashboard.agrees()
        for of_a_stream in (await dashboard.versions()).values():
            assert list(dict.fromkeys(of_a_stream)) == list(range(1, 51))

    on(tmp_path, kafka, story)


def test_a_projector_comes_back_to_a_broker_that_was_away(kafka: Server, tmp_path: Path) -> None:
    """The page says that it is away, what needs it is refused, and the projector goes on where it was."""

    async def story(dashboard: Dashboard) -> None:
        await dashboard.charge(range(1, 11))
        await dashboard.agrees()
        before = dashboard.shown()
        await anyio.to_thread.run_sync(kafka.kill)
        await dashboard.until(lambda standing: bool(standing["lost"]))
        for path, body in (("/rebuild", None), ("/faults/repeat", {"events": 1})):
            refused = await dashboard.client.post(path, json=body)
            assert (refused.status_code, dashboard.shown()) == (503, before)
        await anyio.to_thread.run_sync(kafka.start)
        await dashboard.charge(range(11, 21))
        await dashboard.agrees()
        await dashboard.until(lambda standing: not standing["lost"])

    on(tmp_path, kafka, story)


def test_a_relay_is_killed_before_its_mark(kafka: Server, tmp_path: Path) -> None:
    """Its last event is published again, and changes the view once."""

    async def story(dashboard: Dashboard) -> None:
        await dashboard.let("relay", run=False)
        await dashboard.charge(range(1, 21))
        await a_relay_that_dies(kafka.url, tmp_path / "billing.db", topic(tmp_path), publishes=7)
        assert (await dashboard.standing())["outbox"] == 14
        await dashboard.let("relay", run=True)
        await dashboard.agrees()
        await dashboard.until(lambda standing: standing["known"] == 1)
        assert sum(map(len, (await dashboard.versions()).values())) == 21

    on(tmp_path, kafka, story)


def topic(folder: Path, *, rename: str = "") -> str:
    """The name of the topic that the folder keeps."""
    with SQLiteStore(folder / "dashboard.db") as store, store.transaction() as transaction:
        if rename:
            transaction.put("channel", "topic", rename)
        name: str = transaction.get("channel", "topic")
    return name


# What cannot start


def test_a_folder_whose_events_are_elsewhere_is_refused(kafka: Server, tmp_path: Path) -> None:
    """In a file, in a topic, or in a topic that another Kafka has; and it goes on where they are."""

    async def charged(dashboard: Dashboard) -> None:
        await dashboard.charge(range(1, 6))
        await dashboard.agrees()

    async def in_a_file(url: str | None = None) -> None:
        async with in_process(tmp_path / "file", url):
            pass

    anyio.run(in_a_file)
    with pytest.raises(ValueError, match="leave --kafka out"):
        anyio.run(in_a_file, kafka.url)
    anyio.run(in_a_file)
    on(tmp_path / "kafka", kafka, charged)
    refused, _, why = eip("dashboard", "--folder", str(tmp_path / "kafka"))
    assert (refused, f"topic {topic(tmp_path / 'kafka')} of Kafka; name it with --kafka" in why) == (1, True)
    right = topic(tmp_path / "kafka")
    topic(tmp_path / "kafka", rename=f"eip-dashboard-{uuid4().hex}")
    with pytest.raises(ValueError, match="5 events were published, and the log has 0"):
        on(tmp_path / "kafka", kafka, charged)
    topic(tmp_path / "kafka", rename=right)
    on(tmp_path / "kafka", kafka, charged)


def test_a_kafka_that_does_not_answer_is_said_in_one_line(tmp_path: Path) -> None:
    """The folder may be used without it afterwards."""
    nobody = Kafka(tmp_path / "nobody").url
    code, said, why = eip("dashboard", "--kafka", nobody, "--folder", str(tmp_path / "data"))
    assert (code, said, why.count("\n")) == (1, "", 1)
    assert why.startswith(f"no Kafka answers at {nobody}; start it, or name another one with --kafka (")

    async def without() -> None:
        async with in_process(tmp_path / "data"):
            pass

    anyio.run(without)


# Without the application: it has one projector


def test_several_projectors_share_the_partitions(kafka: Server) -> None:
    """A key stays in one of four, so each of two sees its customers alone, and their events in order."""

    async def main() -> None:
        heard: dict[Any, list[Message]] = {}
        view, service = ReadModel(MemoryStore(), "dashboard", DASHBOARD), billing(MemoryStore())
        async with (
            KafkaChannel(kafka.url, f"events-{uuid4().hex[:8]}", partitions=4) as events,
            anyio.create_task_group() as tasks,
        ):

            async def project(member: Any) -> None:
                heard[member] = []
                while True:
                    event = await member.receive()
                    heard[member].append(event)
                    await view(event)

            for _ in range(2):
                tasks.start_soon(project, await events.subscribe("events", group="dashboard"))
            tasks.start_soon(Relay(service.outbox, lambda event: events.publish("events", event)).run)
            for number in range(50):
                await service.handle(Command("Charge", f"customer-{number % CUSTOMERS}", {"cents": 1}))
            while {row["charged"] for row in view.rows().values()} != {10}:
                await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()
        streams = [{event.key for event in events} for events in heard.values()]
        assert not set.intersection(*streams), "both got events of one customer"
        assert all(streams), "one of the two got nothing"
        for of_one in heard.values():
            for stream in {event.key for event in of_one}:
                of_it = [stream_version(event) for event in of_one if event.key == stream]
                assert of_it == list(range(1, 11))

    async def in_time() -> None:
        with anyio.fail_after(LIMIT):
            await main()

    anyio.run(in_time)
