"""CQRS under faults: slow, lossy, doubling and disordering links to the broker and from it, and crashes.

Two relays share the outbox, the process of the write side and that of the view die and start again,
callers repeat their commands, and readers ask for what they were answered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

import anyio

from eip_ref.apps.shop_dashboard.services import DASHBOARD, billing, users
from eip_ref.cqrs import Command, CommandRejected, Commands, ReadModel, Relay, read
from eip_ref.lab import invariants
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Exponential, Faults
from eip_ref.lab.invariants.views import effect_once_on_view, read_your_writes
from eip_ref.message import Message
from eip_ref.message_queue import Backoff, MessageQueue, Worker
from eip_ref.storage import MemoryStore, Store
from eip_ref.trace import Trace

from . import SeededRun, proves_something

__all__ = ["RUNS", "judge", "story"]

CUSTOMERS = ("ann", "bob")


def commands(random: Random) -> list[tuple[str, Command]]:
    """What the callers want: each with the name of the service and an idempotency key of its own."""
    wanted = [("users", Command("Register", who, {"name": who, "email": f"{who}@shop"})) for who in CUSTOMERS]
    for n in range(6):
        who = random.choice(CUSTOMERS)
        type, data = random.choice([("Charge", {"cents": 10 + n}), ("Pay", {"cents": 5 + n})])
        wanted.append(("billing", Command(type, who, data)))
    random.shuffle(wanted)
    return [
        (service, Command(c.type, c.target, c.data, key=f"k{n}", id=f"c{n}"))
        for n, (service, c) in enumerate(wanted)
    ]


class Link:
    """The way to the broker: late, and sometimes the event or its confirm does not arrive."""

    def __init__(self, queue: MessageQueue, faults: Faults) -> None:
        self._queue, self._faults = queue, faults

    async def publish(self, message: Message) -> None:
        random = self._faults.random("the way to the broker")
        await self._faults.sleep("there", Exponential(0.05))
        if random.random() < 0.15:
            raise ConnectionError("the event was lost")
        # Without a key the queue keeps no order, and the workers behind it jumble what comes.
        await self._queue.put(message.copy(key=None, headers={**message.headers, "stream": message.key}))
        await self._faults.sleep("back", Exponential(0.05))
        if random.random() < 0.15:
            raise ConnectionError("the confirm was lost")


async def story(projection: type[ReadModel] = ReadModel, relay: type[Relay] = Relay) -> None:
    """One run; with other classes, a broken one."""
    faults = Faults()
    random = faults.random("plan")
    write, side = MemoryStore(), MemoryStore()
    wanted, answers = commands(random), dict[str, Any]()
    async with MessageQueue("events", lease=3) as queue:

        async def carry(name: str, services: dict[str, Commands]) -> None:
            async with anyio.create_task_group() as group:
                for service in services.values():
                    pause = Backoff(initial=0.2, max_delay=1)
                    made = relay(
                        service.outbox,
                        Link(queue, faults).publish,
                        f"{name} of {service.name}",
                        claim=2.0,
                        batch=3,
                        backoff=pause,
                    )
                    group.start_soon(made.run)

        async def write_side() -> None:
            services = {"users": users(write), "billing": billing(write)}
            async with anyio.create_task_group() as group:
                group.start_soon(carry, "relay-1", services)
                for service, command in wanted:
                    if command.id not in answers:
                        try:
                            answers[command.id] = (await services[service].handle(command)).version
                        except CommandRejected:
                            answers[command.id] = 0
                        await faults.sleep("thinking", Exponential(0.2))
                await anyio.sleep_forever()

        async def second_relay() -> None:
            await carry("relay-2", {"users": users(write), "billing": billing(write)})

        async def view_side() -> None:
            view = projection(side, "dashboard", DASHBOARD)
            async with anyio.create_task_group() as group:
                group.start_soon(readers, view)
                await jumbled(queue, view, faults)

        async def readers(view: ReadModel) -> None:
            for service, command in wanted:
                while command.id not in answers:
                    await anyio.sleep(0.1)
                stream = f"{service}/{command.target}"
                await read(view, command.target, at_least={stream: answers[command.id]}, timeout=0.5)

        async with anyio.create_task_group() as group:
            for name, main in (
                ("write side", write_side),
                ("relay-2", second_relay),
                ("view side", view_side),
            ):
                crash = Crash(at=random.uniform(0, 0.8), restart_after=random.uniform(0.1, 1))
                group.start_soon(faults.participant(name, main, crashes=(crash,)).run)
            await quiet(write, queue, answers, len(wanted))
            group.cancel_scope.cancel()


async def jumbled(queue: MessageQueue, view: ReadModel, faults: Faults) -> None:
    """Four workers, which take unequal times: the events come out of order."""

    async def handle(message: Message) -> None:
        await faults.sleep("handling", Exponential(0.1))
        await view(message.copy(key=message.headers["stream"]))

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(Worker(queue, handle).run)


async def quiet(write: Store, queue: MessageQueue, answers: dict[str, Any], wanted: int) -> None:
    """Until every command is answered, every outbox empty and every event settled."""
    outboxes = [users(write).outbox, billing(write).outbox]
    while len(answers) < wanted or any(len(outbox) for outbox in outboxes) or not queue_is_idle(queue):
        await anyio.sleep(0.5)


def queue_is_idle(queue: MessageQueue) -> bool:
    return queue.counts.ready + queue.counts.in_flight == 0


def judge(trace: Trace) -> Sequence[object]:
    """What is wrong. A run in which nothing failed proves nothing."""
    troubles = Counter(e.kind for e in trace if e.kind in ("crashed", "failed", "duplicate"))
    proves_something(troubles["crashed"] and troubles.total() > 2, "hardly anything went wrong")
    return invariants.check(
        trace,
        effect_once_on_view,
        read_your_writes,
        invariants.conservation,
        invariants.lease_fencing,
    )


RUNS = [SeededRun("commands, relays and a view", lambda seed: simulate(story, seed=seed), judge)]
