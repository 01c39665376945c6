"""What the adapters of real systems cost beside their clients alone: `make bench-field`.

Both put, take and settle the same messages, in the same form, and wait for the same confirms, on one
server and in turn; the median of the ratios counts. A busy machine slows both. The rates of different
systems are no race: each promised something else, which is printed beside them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from itertools import groupby
from typing import Any, NamedTuple

import anyio
from grpc.aio import insecure_channel

from benchmarks import field_clients as clients
from benchmarks.field_clients import TOPIC, Way, each, echo, in_turn, nothing, times
from eip_ref.field.servers import Server
from eip_ref.message import Message
from eip_ref.request_reply import Replier, grpc, http
from eip_ref.request_reply.grpc import GrpcRequestor
from eip_ref.request_reply.http import HttpRequestor
from tests.field.systems import SYSTEMS
from tests.field.verdicts import System

AIM = 0.9  #: of the client's rate
SECONDS = 2.5  #: for one line
LEAST = 5  #: pairs of rounds
BODY = "x" * 100

Work = Callable[[Way, int], Awaitable[None]]
ALONE = ("log", "publish–subscribe", "request–reply")  #: patterns in which all read the same messages


class Beside(NamedTuple):
    """The client of a system alone, what both promised, and what the adapter alone promised more."""

    client: Callable[[str, str], AbstractAsyncContextManager[Way]]
    promised: str
    more: str = ""
    fraction: int = 1  #: of the messages of a round, for a slow system


REPLIES = "each operation carried out once, at most until its deadline, and errors with their types"
FACTS = "facts for a trace, one turn for others, errors that say what was certainly not done"
MORE_REPLIES = f"{FACTS}: 16 µs"
MEMORY = "an emulator: kept in its memory"
CLIENTS = {
    "rabbitmq-classic": Beside(clients.aio_pika_queue, "persistent, confirmed when on the disk"),
    "rabbitmq-quorum": Beside(clients.aio_pika_queue, "confirmed by the quorum of one node, after fsync"),
    "nats-jetstream": Beside(clients.nats_queue, "in a file, confirmed before fsync; acks confirmed too"),
    "redis-stream": Beside(clients.redis_queue, "appendfsync always: all confirmed after fsync"),
    "postgresql-table": Beside(clients.asyncpg_queue, "synchronous_commit on: all confirmed after fsync"),
    "activemq-classic": Beside(
        clients.stomp_queue,
        "persistent, all with receipts, after fsync",
        "a thread sends, so that a broker that does not read stops no other task",
    ),
    "sqs-standard": Beside(clients.sqs_queue, MEMORY, fraction=10),
    "sqs-fifo": Beside(clients.sqs_queue, MEMORY, fraction=10),
    "pubsub-queue": Beside(clients.pubsub_queue, MEMORY),
    "redis-log": Beside(clients.redis_stream, "appendfsync always: confirmed after fsync, with an offset"),
    "kafka-log": Beside(
        clients.kafka_topic,
        "acks=all of one replica, confirmed before fsync",
        "a read that gets too little asks for the bounds, and each record has its time and its offset",
    ),
    "rabbitmq-topics": Beside(clients.aio_pika_topic, "in memory, confirmed"),
    "nats-core": Beside(clients.nats_subject, "nothing: in no store, not confirmed"),
    "postgresql-notify": Beside(clients.asyncpg_notify, "committed, in no store"),
    "kafka-share": Beside(
        clients.kafka_share,
        "acks=all of one replica, confirmed before fsync; acks confirmed too",
        fraction=10,
    ),
    "rabbitmq-stream": Beside(
        clients.aio_pika_stream,
        "confirmed before fsync, with an offset, which the writer reads back",
        "no more records are under way to a reader than it wants",
    ),
    "kafka-channel": Beside(clients.kafka_topic, "acks=all of one replica, confirmed before fsync"),
    "sns-sqs": Beside(clients.sns_topic, MEMORY, fraction=10),
    "pubsub-channel": Beside(clients.pubsub_topic, MEMORY),
    "rabbitmq-requests": Beside(clients.aio_pika_requests, f"in memory; {REPLIES}", MORE_REPLIES),
    "nats-requests": Beside(clients.nats_requests, f"in no store; {REPLIES}", MORE_REPLIES),
    "http": Beside(
        clients.httpx_requests, REPLIES, f"a bound for the length and the time of a body, {FACTS}"
    ),
    "grpc": Beside(
        clients.grpc_requests,
        REPLIES,
        f"a connection before anything is sent, and work in a task that outlives a call, {FACTS}",
    ),
}


# The adapters


async def by_queue(queue: Any) -> Way:
    async def take() -> None:
        await (await queue.receive()).ack()

    return Way(each(queue.put), times(take))


async def by_channel(channel: Any) -> Way:
    subscription = await channel.subscribe(TOPIC)

    async def put(message: Message) -> None:
        await channel.publish(TOPIC, message)

    return Way(each(put), in_turn(subscription.receive))


async def by_log(log: Any) -> Way:
    place = 0

    async def take(count: int) -> None:
        nonlocal place
        end = place + count
        while place < end:
            place += len(await log.read(place, limit=end - place))

    return Way(each(log.append), take)


async def by_requestor(requestor: Any) -> Way:
    async def ask(message: Message) -> None:
        await requestor.request(message.body, timeout=60)

    return Way(each(ask), nothing)


BY = {
    "queue": by_queue,
    "publish–subscribe": by_channel,
    "log": by_log,
    "request–reply": by_requestor,
}


@asynccontextmanager
async def over_http(name: str) -> AsyncIterator[HttpRequestor]:
    async with http.serve(Replier(echo), f"/{name}") as url, clients.http_client() as client:
        with HttpRequestor(client, url) as requestor:
            yield requestor


@asynccontextmanager
async def over_grpc(name: str) -> AsyncIterator[GrpcRequestor]:
    async with grpc.serve(Replier(echo), name) as address, insecure_channel(address) as channel:
        with GrpcRequestor(channel, service=name) as requestor:
            yield requestor


DIRECT: dict[str, Callable[[str], AbstractAsyncContextManager[Any]]] = {"http": over_http, "grpc": over_grpc}
"""Served by this process: the service of the tests asks its handlers here, by a way of its own."""


@asynccontextmanager
async def adapter(system: System, server: Server, name: str) -> AsyncIterator[Way]:
    async with AsyncExitStack() as stack:
        if system.id in DIRECT:
            opened = DIRECT[system.id](name)
        else:
            if system.pattern == "request–reply":
                await stack.enter_async_context(system.open(server, name, handle=echo))
            opened = system.open(server, name)
        yield await BY[system.pattern](await stack.enter_async_context(opened))


# Measured


async def one_by_one(way: Way, count: int) -> None:
    for _ in range(count):
        await way.put([Message(BODY)])
        await way.take(1)


async def in_flight(way: Way, count: int) -> None:
    await way.put([Message(BODY) for _ in range(count)])
    await way.take(count)


async def seconds(work: Work, way: Way, count: int) -> float:
    start = time.perf_counter()
    await work(way, count)
    return time.perf_counter() - start


async def compare(system: System, server: Server, count: int) -> None:
    """Let the two take turns, each time another one first, and print the median of their ratios."""
    beside = CLIENTS[system.id]
    count = max(1, count // beside.fraction)
    print(f"\n{system.label}: {beside.promised}")
    if beside.more:
        print(f"  the adapter alone: {beside.more}")
    alone = system.pattern in ALONE
    async with (
        adapter(system, server, system.id) as ours,
        beside.client(server.url, system.id + "-client" * alone) as client,
    ):
        for what, work in {"one by one": one_by_one, f"{count} in flight": in_flight}.items():
            await seconds(work, ours, 1), await seconds(work, client, 1)
            pairs: list[tuple[float, float]] = []
            end = time.monotonic() + SECONDS
            while len(pairs) < LEAST or time.monotonic() < end:
                if len(pairs) % 2:
                    theirs, mine = await seconds(work, client, count), await seconds(work, ours, count)
                else:
                    mine, theirs = await seconds(work, ours, count), await seconds(work, client, count)
                pairs.append((mine, theirs))
            tell(what, count, pairs)


def tell(what: str, count: int, pairs: list[tuple[float, float]]) -> None:
    ratio = statistics.median(theirs / mine for mine, theirs in pairs)
    rates = [count / statistics.median(times) for times in zip(*pairs, strict=True)]
    remark = "" if round(ratio, 2) >= AIM else f"   less than {AIM:.0%}"
    print(f"  {what:<14} {rates[0]:7,.0f}/s beside {rates[1]:7,.0f}/s: {ratio:4.0%}{remark}", flush=True)


def main() -> None:
    known = {system.id: system for system in SYSTEMS if system.id in CLIENTS}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--systems", nargs="+", choices=known, default=list(known), metavar="SYSTEM")
    parser.add_argument("--count", type=int, default=100, help="messages of a round, and in flight")
    options = parser.parse_args()
    chosen = sorted((known[each] for each in options.systems), key=lambda system: system.server.name)
    for kind, systems in groupby(chosen, key=lambda system: system.server):
        if missing := kind.missing():
            print(f"\n{missing}")
            continue
        with kind.running() as server:
            for system in systems:
                anyio.run(compare, system, server, options.count, backend="asyncio")
    if others := [system.id for system in SYSTEMS if system.pattern in BY and system.id not in CLIENTS]:
        print(f"\nNo client alone is written for {', '.join(others)}.")


if __name__ == "__main__":
    main()
