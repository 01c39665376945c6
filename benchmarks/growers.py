"""What is measured at growing sizes: one job for each pattern, done for any number of messages."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.lowlevel

from eip_ref.circuit_breaker import CircuitBreaker, FailureRate, LastSeconds
from eip_ref.durable_queue import SQLiteLog, SQLiteQueue
from eip_ref.event_sourcing import MemoryEventStore, SQLiteEventStore
from eip_ref.lab.clock import simulate
from eip_ref.message import Message
from eip_ref.message_queue import MessageQueue
from eip_ref.point_to_point import PointToPointChannel
from eip_ref.publish_subscribe import PublishSubscribeChannel
from eip_ref.request_reply import Replier, Requestor
from eip_ref.trace import Kind, record

SMALLEST = 1_000
NOWHERE, DISK, MEMORY = "nothing is kept", "messages are kept on disk", "messages are kept in memory"


class Stopwatch:
    """Counts the processor's seconds of the blocks that it is the context of."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count from here to the end of the block."""
        start = time.process_time()
        yield
        self.seconds += time.process_time() - start


Work = Callable[[int, Path, Stopwatch], Awaitable[None]]


async def queue(count: int, folder: Path, watch: Stopwatch) -> None:
    with watch.running():
        async with MessageQueue("orders") as orders:
            for number in range(count):
                await orders.put(Message(number, id="m"))
                await (await orders.receive()).ack()


async def point_to_point(count: int, folder: Path, watch: Stopwatch) -> None:
    channel = PointToPointChannel("orders", when_away="buffer", capacity=1)
    with watch.running(), channel.receiver() as receiver:
        for number in range(count):
            await channel.send(Message(number, id="m"))
            await receiver.receive()


async def publish(count: int, folder: Path, watch: Stopwatch) -> None:
    channel = PublishSubscribeChannel("shop")
    inboxes = [channel.subscribe("orders.*", name=f"s{n}", when_full="block") for n in range(10)]
    with watch.running():
        for number in range(count):
            await channel.publish("orders.paid", Message(number, id="m"))
            for inbox in inboxes:
                await inbox.receive()


async def durable_subscription(count: int, folder: Path, watch: Stopwatch) -> None:
    channel = PublishSubscribeChannel("shop", retain=100)
    with watch.running(), channel.durable("billing", "orders.*", when_full="block") as subscriber:
        for number in range(count):
            await channel.publish("orders.paid", Message(number, id="m"))
            await (await subscriber.receive()).ack()


async def request_reply(count: int, folder: Path, watch: Stopwatch) -> None:
    async def echo(request: Message) -> object:
        return request.body

    async def back(reply: Message) -> None:
        await shop.receive(reply)

    # Both remember a bounded number of answers: here as many as the smallest size has.
    async with Replier(echo, back, name="stock", remember=SMALLEST) as stock:
        with Requestor(stock.receive, name="shop", remember=SMALLEST) as shop, watch.running():
            for number in range(count):
                await shop.request(number, timeout=60)


async def breaker(count: int, folder: Path, watch: Stopwatch) -> None:
    protected = CircuitBreaker("payments", policy=FailureRate(0.5, LastSeconds(60)))
    with watch.running():
        for _ in range(count):
            await protected.call(anyio.lowlevel.checkpoint)


async def durable_queue(count: int, folder: Path, watch: Stopwatch) -> None:
    async with SQLiteQueue(folder / "queue.db", "orders", synchronous="OFF") as orders:
        with watch.running():
            for number in range(count):
                await orders.put(Message(number, id="m"))
                await (await orders.receive()).ack()


async def log_append(count: int, folder: Path, watch: Stopwatch) -> None:
    async with SQLiteLog(folder / "log.db", "orders", synchronous="OFF") as log:
        with watch.running():
            for number in range(count):
                await log.append(Message(number, id="m"))


async def log_read(count: int, folder: Path, watch: Stopwatch) -> None:
    await log_append(count, folder, Stopwatch())
    async with SQLiteLog(folder / "log.db", "orders", synchronous="OFF") as log:
        with watch.running():
            for offset in range(0, count, 100):
                await log.read(offset)


async def append_in_memory(count: int, folder: Path, watch: Stopwatch) -> None:
    store = MemoryEventStore()
    with watch.running():
        for number in range(count):
            await store.append(f"order-{number % 1000}", [Message({"order": number}, "OrderPlaced")])


async def events_append(count: int, folder: Path, watch: Stopwatch) -> None:
    async with SQLiteEventStore(folder / "events.db", synchronous="OFF") as store:
        with watch.running():
            for number in range(count):
                await store.append(f"order-{number % 1000}", [Message({"order": number}, "OrderPlaced")])


async def events_replay(count: int, folder: Path, watch: Stopwatch) -> None:
    async with SQLiteEventStore(folder / "events.db", synchronous="OFF") as store:
        for start in range(0, count, 1000):
            batch = [Message({"order": number}, "OrderPlaced") for number in range(start, start + 1000)]
            await store.append(f"order-{start}", batch)
        with watch.running():
            after = 0
            while found := await store.read_all(after=after, limit=100):
                after = found[-1].position


async def simulation(count: int, folder: Path, watch: Stopwatch) -> None:
    async def story() -> None:
        for number in range(count):
            await anyio.sleep(0.001)
            record(Kind.SENT, "orders", "m1", label="order", number=number)

    with watch.running():
        assert len(simulate(story, max_events=10 * count)) == count


@dataclass(frozen=True)
class Grower:
    """One thing that is measured at every size."""

    name: str
    work: Work
    kept: str = NOWHERE  #: where its messages, or what it says of them, stay


GROWERS = [
    Grower("queue: put, receive, ack", queue),
    Grower("point to point: send, receive", point_to_point),
    Grower("publish to 10, 10 receive", publish),
    Grower("publish, receive, ack; durable", durable_subscription),
    Grower("request and its reply", request_reply),
    Grower("call through a breaker", breaker),
    Grower("SQLite queue: put, receive, ack", durable_queue, kept=DISK),
    Grower("SQLite log: append", log_append, kept=DISK),
    Grower("SQLite log: read", log_read, kept=DISK),
    Grower("SQLite events: append", events_append, kept=DISK),
    Grower("SQLite events: replay", events_replay, kept=DISK),
    Grower("events in memory: append", append_in_memory, kept=MEMORY),
    Grower("simulation: sleep and record", simulation, kept=MEMORY),
]
