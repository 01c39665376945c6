"""Whoever is refused lets others have a turn, so that one who tries again in a loop stops nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from eip_ref.aggregator import Aggregator, RejectedPart, by_size
from eip_ref.api_gateway import Backend, Branch, BulkheadFull, FanOut, GatewayTimeout
from eip_ref.backpressure import Buffer, BufferClosed, TokenBucket
from eip_ref.circuit_breaker import CallRejected, CircuitBreaker
from eip_ref.cqrs import Command, CommandRejected, Commands, Decision
from eip_ref.durable_queue import SQLiteQueue
from eip_ref.event_sourcing import MemoryEventStore, WrongExpectedVersion
from eip_ref.message import Message
from eip_ref.message_queue import Empty, MessageQueue, QueueFull
from eip_ref.point_to_point import NotSent, PointToPointChannel
from eip_ref.publish_subscribe import ChannelClosed, PublishSubscribeChannel
from eip_ref.request_reply import NotDone, Requestor
from eip_ref.saga import Participant, Refused
from eip_ref.storage import MemoryStore

Call = Callable[[], Awaitable[object]]
Opened = Callable[[Path], AbstractAsyncContextManager[Call]]
TRIES = 20
ONE = Message("order 1", type="Pay", key="a")


@asynccontextmanager
async def full_bulkhead(_: Path) -> AsyncIterator[Call]:
    backend = Backend("stock", timeout=1, max_concurrent=1)
    with backend.bulkhead.place():
        yield lambda: backend.call(print)


@asynccontextmanager
async def open_breaker(_: Path) -> AsyncIterator[Call]:
    breaker = CircuitBreaker("stock breaker")
    breaker.force_open()
    backend = Backend("stock", timeout=1, breaker=breaker)
    yield lambda: backend.call(print)


@asynccontextmanager
async def no_time_left(_: Path) -> AsyncIterator[Call]:
    page = FanOut(Branch("order", print), timeout=10, reserve=6)
    with anyio.CancelScope(deadline=anyio.current_time() + 5):
        yield page


@asynccontextmanager
async def breaker_alone(_: Path) -> AsyncIterator[Call]:
    breaker = CircuitBreaker("stock breaker")
    breaker.force_open()
    yield lambda: breaker.call(print)


def sender(**settings: Any) -> Opened:
    @asynccontextmanager
    async def opened(_: Path) -> AsyncIterator[Call]:
        channel = PointToPointChannel("invoices", **settings)
        if settings["when_away"] == "buffer":
            await channel.send(ONE)
        yield lambda: channel.send(ONE)

    return opened


@asynccontextmanager
async def full_queue(_: Path) -> AsyncIterator[Call]:
    async with MessageQueue("orders", capacity=1) as queue:
        await queue.put(ONE)
        yield lambda: queue.put(ONE)


@asynccontextmanager
async def full_queue_on_disk(folder: Path) -> AsyncIterator[Call]:
    async with SQLiteQueue(folder / "queue.db", "orders", capacity=1, synchronous="OFF") as queue:
        await queue.put(ONE)
        yield lambda: queue.put(ONE)


@asynccontextmanager
async def empty_queue(_: Path) -> AsyncIterator[Call]:
    async with MessageQueue("orders") as queue:
        yield lambda: queue.receive(timeout=0)


@asynccontextmanager
async def closed_buffer(_: Path) -> AsyncIterator[Call]:
    buffer = Buffer("buffer", 1, when_full="block")
    buffer.close()
    yield lambda: buffer.put(ONE)


@asynccontextmanager
async def closed_channel(_: Path) -> AsyncIterator[Call]:
    channel = PublishSubscribeChannel("shop")
    channel.close()
    yield lambda: channel.publish("orders", ONE)


@asynccontextmanager
async def empty_bucket(_: Path) -> AsyncIterator[Call]:
    bucket = TokenBucket("bucket", rate=1e-6, burst=1)
    bucket.take_nowait()
    yield lambda: bucket.take(timeout=0)


@asynccontextmanager
async def closed_aggregator(_: Path) -> AsyncIterator[Call]:
    orders = Aggregator(print, complete=by_size(2), timeout=1, late=print)
    yield lambda: orders.receive(ONE)


@asynccontextmanager
async def closed_requestor(_: Path) -> AsyncIterator[Call]:
    requestor = Requestor(print, name="shop")
    requestor.close()
    yield lambda: requestor.request("price", timeout=1)


@asynccontextmanager
async def wrong_version(_: Path) -> AsyncIterator[Call]:
    store = MemoryEventStore()
    yield lambda: store.append("a", [ONE], expected=7)


@asynccontextmanager
async def rejected_command(_: Path) -> AsyncIterator[Call]:
    def reject(state: object, command: Command) -> Decision:
        raise CommandRejected("no")

    service = Commands(MemoryStore(), "users")
    service.handler("Register", reject)
    yield lambda: service.handle(Command("Register", "ann"))


@asynccontextmanager
async def refusing_participant(_: Path) -> AsyncIterator[Call]:
    def refuse(command: Message, books: object) -> None:
        raise Refused("no")

    bank = Participant("bank", MemoryStore(), {"Pay": refuse})
    yield lambda: bank(ONE)


REFUSING: dict[str, tuple[type[Exception], Opened]] = {
    "a link without a receiver": (NotSent, sender(when_away="fail")),
    "a link whose buffer is full": (NotSent, sender(when_away="buffer", capacity=1)),
    "a queue that is full": (QueueFull, full_queue),
    "a queue on the disk that is full": (QueueFull, full_queue_on_disk),
    "a queue that is empty": (Empty, empty_queue),
    "a buffer that is closed": (BufferClosed, closed_buffer),
    "a channel that is closed": (ChannelClosed, closed_channel),
    "a bucket without tokens": (anyio.WouldBlock, empty_bucket),
    "an aggregator that is closed": (RejectedPart, closed_aggregator),
    "a requestor that is closed": (NotDone, closed_requestor),
    "a stream at another version": (WrongExpectedVersion, wrong_version),
    "a service that rejects": (CommandRejected, rejected_command),
    "a participant that refuses": (Refused, refusing_participant),
    "a breaker that is open": (CallRejected, breaker_alone),
    "a backend whose breaker is open": (CallRejected, open_breaker),
    "a backend whose bulkhead is full": (BulkheadFull, full_bulkhead),
    "a fan-out without time": (GatewayTimeout, no_time_left),
}


@pytest.mark.parametrize("name", REFUSING)
async def test_who_is_refused_lets_others_have_a_turn(name: str, tmp_path: Path) -> None:
    """At each try: what is in the way may be theirs to take away."""
    error, opened = REFUSING[name]
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with opened(tmp_path) as call, anyio.create_task_group() as group:
        group.start_soon(others)
        await anyio.lowlevel.checkpoint()
        before = turns
        for _ in range(TRIES):
            with pytest.raises(error):
                await call()
        assert turns - before >= TRIES // 2
        group.cancel_scope.cancel()
