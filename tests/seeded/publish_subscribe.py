"""Publish–subscribe under faults: subscribers and members that crash, hang, fail and come back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import anyio

from eip_ref.lab import invariants
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Exponential, Faults, Participant
from eip_ref.message import Message
from eip_ref.message_queue import NEVER, Backoff, MessageQueue
from eip_ref.publish_subscribe import PartitionedTopic, PublishSubscribeChannel, listen
from eip_ref.trace import Trace, acting, record, whoami

from . import SeededRun, proves_something

ALL = (
    invariants.conservation,
    invariants.every_subscription_gets_all,
    invariants.order_per_publisher,
    invariants.one_owner_per_partition,
    invariants.no_gap,
)
LINK: dict[str, Any] = {"loss": 0.1, "duplication": 0.1, "reordering": 0.1, "latency": Exponential(0.5)}


async def shop(chance: Faults, name: str, publish: Callable[[Message], Awaitable[object]]) -> None:
    """Twenty orders of five customers, over a link that delays, loses, doubles and reorders."""
    with acting(name):
        async with chance.link(f"net of {name}", publish, **LINK) as net:
            for number in range(20):
                kind = chance.random(name).choice(["paid", "new"])
                key = f"customer {number % 5}"
                await net.send(Message(f"{name} {number}", type=kind, key=key))
                await chance.sleep(name, Exponential(0.3))


async def subscribers() -> str:
    """Two durable subscribers that crash, one live one; says which policy the durable ones had."""
    chance, channel = Faults(), PublishSubscribeChannel("shop", retain=30)
    random = chance.random("plan")
    policy = random.choice(["block", "drop oldest"])

    async def subscriber(name: str, pattern: str) -> None:
        async def handle(message: Message) -> None:
            await chance.sleep(name, Exponential(0.3))
            if random.random() < 0.1:
                raise ConnectionError("payment service away")
            record("effect", whoami(), message.id, effect="booked")

        inbox = channel.durable(name, pattern, when_full=policy)
        await listen(inbox, handle, dead_letters=dead, attempts=3, backoff=Backoff(0.2))

    async def live() -> None:
        with channel.subscribe("orders.*", when_full="drop oldest", capacity=3) as inbox:
            async for _ in inbox:
                await chance.sleep("live", Exponential(0.5))

    async def publish(message: Message) -> None:
        await channel.publish(f"orders.{message.type}", message)

    plans = (("billing", "orders.>"), ("stock", "orders.paid"))
    async with MessageQueue("failed", policy=NEVER) as dead, anyio.create_task_group() as group:
        for name, pattern in plans:
            channel.durable(name, pattern, when_full=policy).leave()
            crashes = tuple(Crash(at=5 * n + random.uniform(0, 5), restart_after=2) for n in range(2))
            group.start_soon(Participant(name, subscriber, (name, pattern), crashes=crashes).run)
        with acting("live"):
            group.start_soon(live)
        async with anyio.create_task_group() as shops:
            for number in range(2):
                shops.start_soon(shop, chance, f"shop-{number}", publish)
        channel.close()
    return policy


async def members() -> str:
    """Three members that crash, hang, or leave and come back, over four partitions; says their policy."""
    chance = Faults()
    random = chance.random("plan")
    policy = random.choice(["block", "drop oldest"])
    topic = PartitionedTopic("orders", partitions=4, retain=12)
    topic.join("billing", name="first", when_full=policy, session=3).leave()

    async def work(name: str) -> None:
        for _ in range(3):  # leaves now and then, and comes back
            with topic.join("billing", when_full=policy, session=3) as member:
                with anyio.move_on_after(random.uniform(1, 10)) as visit:
                    async for delivery in member:
                        await chance.sleep(name, Exponential(4.0 if random.random() < 0.1 else 0.2))
                        record("effect", whoami(), delivery.message.id, effect="booked")
                        await delivery.ack()
            if not visit.cancelled_caught:
                return

    async def stay() -> None:
        with topic.join("billing", when_full=policy, session=3) as member:
            async for delivery in member:
                await chance.sleep("w3", Exponential(0.2))
                record("effect", whoami(), delivery.message.id, effect="booked")
                await delivery.ack()

    async with anyio.create_task_group() as group:
        for name in ("w1", "w2"):
            crash = Crash(at=random.uniform(1, 10), restart_after=random.choice([0.5, 5.0]))
            group.start_soon(Participant(name, work, (name,), crashes=(crash,)).run)
        async with anyio.create_task_group() as shops:
            for number in range(2):
                shops.start_soon(shop, chance, f"shop-{number}", topic.publish)
            await anyio.sleep(12)  # by now all others may have left; this one stays to the end
            with acting("w3"):
                group.start_soon(stay)
        topic.close()
    return policy


def judge(trace: Trace) -> Sequence[object]:
    """Everything holds, all was read to the end, and, unless its group may miss it, nothing acked is lost."""
    proves_something(trace.count("lost", "duplicated", "crashed"), "no fault hit this run")
    wrong = invariants.check(trace, *ALL, invariants.every_subscription_gets_all(waiting_ok=False))
    if trace.result == "block":  # else a copy of a doubled message may be dropped while the other is out
        wrong += invariants.check(trace, invariants.nothing_acked_lost, invariants.lease_fencing)
    return wrong


def play(scenario: Callable[[], Awaitable[str]], seed: int) -> Trace:
    return simulate(scenario, seed=seed)


RUNS = [
    SeededRun("durable subscribers that crash", partial(play, subscribers), judge),
    SeededRun("a group whose members crash and leave", partial(play, members), judge),
]
