"""Backpressure under faults: crashing senders, readers and workers, links that lose, double and reorder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import anyio

from eip_ref.backpressure import Buffer, ConsumerPool, Demand, Scaling, TokenBucket, WhenFull
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Exponential, Faults, Participant
from eip_ref.lab.invariants import (
    check,
    conservation,
    exactly_one_receiver,
    lease_fencing,
    no_duplicate_effect,
    nothing_acked_lost,
    one_in_flight_per_key,
    order_per_key,
)
from eip_ref.lab.invariants.demand import (
    demand_never_exceeded,
    depth_never_exceeded,
    drops_counted,
    no_flapping,
    rate_never_exceeded,
)
from eip_ref.message import Message
from eip_ref.message_queue import Attempt, DeadLetterPolicy, IdempotentReceiver, Ledger, MessageQueue
from eip_ref.trace import Trace

from . import SeededRun, proves_something

__all__ = ["RUNS", "play_bucket", "play_buffer", "play_pool"]

RATE, BURST, COOLDOWN = 4.0, 3.0, 8.0


# Buffers and demand


async def buffer_with_crashes(kind: type[Buffer]) -> Buffer:
    """Three senders over a bad link, a reader that requests as much as it likes; some of them die."""
    faults = Faults()
    chance = faults.random("scenario")
    policy = chance.choice([policy for policy in WhenFull if policy is not WhenFull.DISCONNECT])
    buffer = kind("orders", chance.randint(1, 5), when_full=policy, random=faults.random("lots"))

    async def send(name: str, net: Any) -> None:
        for number in range(12):
            await net.send(Message(f"{name} {number}", key=f"customer {number % 3}"))
            await faults.sleep(name, Exponential(0.3))

    async def read() -> None:
        async def receive(message: Message) -> None:
            await faults.sleep("billing", Exponential(0.3))
            demand.request(1)

        demand = Demand("to billing", buffer, receive)
        demand.request(2)
        await demand.run()

    crashes = [Crash(at=chance.uniform(0.1, 4), restart_after=chance.choice([0.5, None])) for _ in range(2)]
    last = Crash(at=chance.uniform(0.1, 4), restart_after=1.0)
    link = {"latency": Exponential(0.2), "loss": 0.1, "duplication": 0.1, "reordering": 0.2}
    async with anyio.create_task_group() as group:
        group.start_soon(Participant("billing", read, crashes=(last,)).run)
        async with faults.link("net", buffer.put, **link) as net, anyio.create_task_group() as senders:
            for number in range(3):
                name = f"shop-{number}"
                dies = (crashes[number],) if number < 2 else ()
                senders.start_soon(Participant(name, partial(send, name, net), crashes=dies).run)
        buffer.close()
    return buffer


def play_buffer(seed: int, kind: type[Buffer] = Buffer) -> Trace:
    return simulate(buffer_with_crashes, kind, seed=seed)


def judge_buffer(trace: Trace) -> Sequence[object]:
    proves_something(trace.count("crashed"), "nobody died")
    counts = trace.result.counts
    wrong: list[object] = [*check(trace, conservation, depth_never_exceeded, drops_counted)]
    wrong += check(trace, partial(exactly_one_receiver, where="orders"))
    wrong += demand_never_exceeded(_lives(trace))
    if counts.waiting or counts.delivered + counts.dropped != counts.accepted:
        wrong.append(f"the counters do not add up: {counts}")
    told = (trace.count("accepted", where="orders"), trace.count("dropped", where="orders"))
    if told != (counts.accepted, counts.dropped):
        wrong.append(f"the trace tells of {told} accepted and dropped, the counters say {counts}")
    return wrong


def _lives(trace: Trace) -> Trace:
    """The subscription of each life of the reader with a name of its own."""
    life, events = 1, []
    for event in trace:
        life += event.kind == "restarted" and event.who == "billing"
        mine = event.where == "to billing"
        events.append(event._replace(where=f"{event.where} {life}") if mine else event)
    return Trace(events)


# Token bucket


async def bucket_with_crashes(kind: type[TokenBucket]) -> float:
    """Five callers share a bucket; some lose patience, cancel a reservation too late, or die."""
    faults = Faults()
    bucket = kind("payments", rate=RATE, burst=BURST)

    async def call(name: str) -> None:
        chance = faults.random(name)
        for _ in range(10):
            await anyio.sleep(chance.expovariate(2.0))
            tokens = chance.choice([0.5, 1, 2, BURST])
            match chance.randrange(3):
                case 0:
                    await bucket.take(tokens)
                case 1:
                    with anyio.move_on_after(chance.expovariate(2.0)):
                        await bucket.take(tokens)
                case _:
                    reservation = bucket.reserve(tokens)
                    await anyio.sleep(chance.expovariate(1.0))
                    if chance.random() < 0.5:
                        reservation.cancel()
                    else:
                        await reservation.wait()

    chance = faults.random("scenario")
    async with anyio.create_task_group() as group:
        for number in range(5):
            at, name = chance.uniform(0.1, 6), f"shop-{number}"
            crashes = (Crash(at=at, restart_after=0.5),) if number < 2 else ()
            group.start_soon(Participant(name, partial(call, name), crashes=crashes).run)
    return bucket.tokens


def play_bucket(seed: int, kind: type[TokenBucket] = TokenBucket) -> Trace:
    return simulate(bucket_with_crashes, kind, seed=seed)


def judge_bucket(trace: Trace) -> Sequence[object]:
    proves_something(trace.count("crashed"), "nobody died")
    wrong: list[object] = [*rate_never_exceeded(trace, rate=RATE, burst=BURST)]
    if trace.result > BURST:
        wrong.append(f"{trace.result} tokens are in a bucket for {BURST}")
    return wrong


# A pool


async def pool_with_crashes(kind: type[ConsumerPool], scaling: Scaling) -> tuple[int, int]:
    """A rush and a lull, again and again, for a pool whose workers die."""
    faults, ledger = Faults(), Ledger()
    chance = faults.random("scenario")

    async def handle(message: Message, transaction: Attempt) -> None:
        await faults.sleep(f"work on {message.body}", Exponential(0.8))
        transaction.set(message.id, "booked")
        transaction.effect("invoice booked", key=message.key)

    async def launch(name: str, work: Any) -> None:
        dies = Crash(step=faults.random(name).randint(1, 120))
        crashes = (dies,) if faults.random(name).random() < 0.4 else ()
        await Participant(name, work, crashes=crashes).run()

    policy = DeadLetterPolicy(max_failures=None)
    async with MessageQueue("orders", lease=6, policy=policy) as queue:
        receive = IdempotentReceiver(ledger, handle)
        pool = kind(
            "billing", queue, receive, scaling=scaling, expected_rate=1.0, interval=2,
            drain=chance.choice([0.3, 5]), launch=launch,
        )  # fmt: skip

        async def send() -> None:
            for number in range(36):
                await queue.put(Message(f"order {number}", key=f"customer {number % 4}"))
                await faults.sleep("shop", Exponential(1.5 if number // 12 == 1 else 0.15))
            queue.close()

        async with anyio.create_task_group() as group:
            group.start_soon(send)
            group.start_soon(pool.run)
        return queue.counts.acked, queue.counts.accepted


def play_pool(seed: int, kind: type[ConsumerPool] = ConsumerPool, scaling: Scaling | None = None) -> Trace:
    scaling = scaling or Scaling(max_consumers=5, catch_up=3, cooldown=COOLDOWN)
    return simulate(pool_with_crashes, kind, scaling, seed=seed)


def judge_pool(trace: Trace) -> Sequence[object]:
    proves_something(len(trace.filter("state", where="billing")) > 1, "the pool never changed")
    wrong: list[object] = [
        *check(trace, conservation, lease_fencing, one_in_flight_per_key, nothing_acked_lost),
        *check(trace, order_per_key, no_duplicate_effect, no_flapping(cooldown=COOLDOWN)),
    ]
    acked, accepted = trace.result
    if acked != accepted:
        wrong.append(f"{acked} of {accepted} orders were done")
    return wrong


RUNS = [
    SeededRun("a buffer between senders and readers that crash", play_buffer, judge_buffer),
    SeededRun("a token bucket whose callers give up and crash", play_bucket, judge_bucket),
    SeededRun("a pool whose workers crash", play_pool, judge_pool),
]
