"""Sagas under faults: an orchestrator that dies, over a network that loses, doubles, delays and reorders."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, NamedTuple

import anyio

from eip_ref.course.saga.order_story import PLACE_ORDER, STEPS, TIMED_OUT, OrderServices, order_choreography
from eip_ref.cqrs import Outbox, Relay
from eip_ref.lab import invariants
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Exponential, Faults, Link
from eip_ref.lab.invariants.sagas import saga_outcome
from eip_ref.message import Message
from eip_ref.message_queue import Backoff, DeadLetterPolicy, MessageQueue, Worker
from eip_ref.saga import (
    Monitor,
    Orchestrator,
    Parallel,
    Phase,
    Retry,
    Saga,
    SagaLog,
    Service,
    Step,
    answering,
    event,
)
from eip_ref.storage import MemoryStore
from eip_ref.trace import Trace

from . import SeededRun, proves_something

NUMBERS = range(1, 4)
RETRY = Retry(attempts=3, backoff=Backoff(initial=0.3, factor=2))
PATIENT = Retry(attempts=5, backoff=Backoff(initial=0.3, factor=2))
FAULTS: dict[str, Any] = {
    "loss": 0.12,
    "duplication": 0.15,
    "reordering": 0.25,
    "latency": Exponential(0.15),
    "hold": Exponential(5.0),
}


class Result(NamedTuple):
    """How the sagas ended, and what the books say."""

    completed: list[str]
    compensated: list[str]
    books: dict[str, dict[str, Any]]
    prices: dict[str, int]


def world(chance: Faults) -> tuple[OrderServices, dict[str, dict[str, Any]]]:
    """A shop in which some orders are refused, at different steps."""
    dice = chance.random("orders")
    values = {
        "customers": {"credit ann": 80, "credit bob": 60, "credit eve": 100},
        "payments": {"card ann": 60, "card bob": 100, "card eve": 100, "stolen eve": True},
        "inventory": {"stock tea": 2},
    }
    orders = {
        f"o{n}": {
            "customer": dice.choice(["ann", "bob", "eve"]),
            "item": "tea",
            "quantity": dice.choice([1, 2]),
            "price": dice.choice([20, 30, 70]),
        }
        for n in NUMBERS
    }
    return OrderServices(values), orders


def definition(chance: Faults) -> Saga:
    """In sequence or partly in parallel, with or without asking, sometimes with a timeout."""
    dice = chance.random("definition")
    ask, timeout = dice.random() < 0.5, dice.choice([1e9, 8.0])
    steps = [Step(s.name, s.command, undo=s.undo, kind=s.kind, timeout=1.0, ask=ask) for s in STEPS]
    order, credit, payment, stock, *rest = steps
    beside: list[Step | Parallel] = [order, Parallel(credit, payment, stock), *rest]
    stages: Sequence[Step | Parallel] = dice.choice([beside, steps])
    return Saga("place order", stages, retry=RETRY, undo_retry=PATIENT, timeout=timeout)


def doom(chance: Faults, name: str, most: float, lives: int) -> tuple[Crash, ...]:
    dice = chance.random(f"doom of {name}")
    times = sorted(dice.uniform(0.1, most) for _ in range(lives))
    return tuple(Crash(at=at, restart_after=dice.uniform(0, 2)) for at in times)


async def orchestrated() -> Result:
    """Three orders at once; after each crash recovery; somebody resumes what is stuck."""
    chance, log = Faults(), SagaLog(MemoryStore())
    shop, orders = world(chance)
    outbox = Outbox(log.store, "commands", versioned=False)
    saga, lives = definition(chance), list[Orchestrator]()

    async def work(command: Message) -> None:
        await answering(shop.services[shop.who(command)], answers.send)(command)

    async def home(answer: Message) -> None:
        await lives[-1].receive(answer)

    async def process(commands: Link) -> None:
        orchestrator = Orchestrator(saga, log, outbox)
        lives.append(orchestrator)
        async with anyio.create_task_group() as group:
            group.start_soon(Relay(outbox, commands.send, claim=0.5).run)
            await orchestrator.recover()
            async with anyio.create_task_group() as sagas:
                for name, order in orders.items():
                    sagas.start_soon(orchestrator.run, name, order)
            while stuck := orchestrator.stuck():
                for state in stuck:
                    await orchestrator.resume(state.id)
            group.cancel_scope.cancel()

    answers = chance.link("answers", home, **FAULTS)
    async with answers, chance.link("commands", work, **FAULTS) as commands:
        crashes = doom(chance, "orchestrator", 12, lives=2)
        await chance.participant("orchestrator", process, commands, crashes=crashes).run()
    prices = {name: order["price"] for name, order in orders.items()}
    ended = [log.find(phase) for phase in (Phase.COMPLETED, Phase.COMPENSATED)]
    return Result(ended[0], ended[1], shop.business(), prices)


async def choreographed() -> Result:
    """Two such orders as events, in queues, the first with a timeout that comes whenever it likes;
    services die and start again, and a monitor looks on."""
    chance, choreography = Faults(), order_choreography()
    shop, orders = world(chance)
    del orders["o3"]
    monitor = Monitor(choreography, patience=1000)
    policy = DeadLetterPolicy(max_failures=None)
    failing = chance.random("failing")
    over = anyio.Event()

    async def arrive(message: Message) -> None:
        for name in choreography.listeners(message.type):
            await queues[name].put(message)
        await monitor.receive(message)
        ended = [s for s in monitor.statuses() if s.phase in (Phase.COMPLETED, Phase.COMPENSATED)]
        if len(ended) == len(orders):
            over.set()

    async def serve(name: str) -> None:
        service = Service(shop.services[name], choreography, bus.send)

        async def react(message: Message) -> None:
            await chance.sleep(f"work of {name}", Exponential(0.1))
            if failing.random() < 0.1:
                raise ConnectionError("database away")
            await service.receive(message)

        await Worker(queues[name], react).run()

    async with AsyncExitStack() as stack:
        queues = {
            name: await stack.enter_async_context(
                MessageQueue(f"{name} events", lease=1.5, policy=policy, backoff=Backoff(0.2, 2, 2))
            )
            for name in shop.services
        }
        faults = FAULTS | {"loss": 0.0}  # between a service and a broker that confirms
        bus = await stack.enter_async_context(chance.link("bus", arrive, **faults))
        async with anyio.create_task_group() as group:
            for name in shop.services:
                crashes = doom(chance, name, 6, lives=1)
                group.start_soon(chance.participant(name, serve, name, crashes=crashes).run)
            for name, order in orders.items():
                await bus.send(event(name, PLACE_ORDER, order))
            await chance.sleep("timeout", Exponential(3.0))
            await bus.send(event("o1", TIMED_OUT, orders["o1"]))
            await over.wait()
            await anyio.sleep(30)  # copies and repetitions that come late
            group.cancel_scope.cancel()
    assert monitor.contradictions == []
    phases = {name: monitor.status(name).phase for name in orders}
    ended = [[n for n, p in phases.items() if p is phase] for phase in (Phase.COMPLETED, Phase.COMPENSATED)]
    prices = {name: order["price"] for name, order in orders.items()}
    return Result(ended[0], ended[1], shop.business(), prices)


def judge(trace: Trace) -> list[object]:
    """Every saga ended once, and the books agree with how."""
    proves_something(trace.count("lost", "duplicated", "crashed"), "no fault hit this run")
    found: list[object] = list(
        invariants.check(trace, partial(saga_outcome, order="reverse"), invariants.no_duplicate_effect)
    )
    completed, compensated, books, prices = trace.result
    if sorted(completed + compensated) != sorted(prices):
        found.append(f"completed {completed} and compensated {compensated}, of {sorted(prices)}")
    if books["payments"].get("till", 0) != sum(prices[name] for name in completed):
        found.append(f"the till holds {books['payments'].get('till', 0)}, and {completed} were completed")
    if left := {k: v for k, v in books["payments"].items() if k.startswith("aside") and v}:
        found.append(f"money was left aside: {left}")
    if {f"parcel {name}" for name in completed} != books["shipping"].keys():
        found.append(f"parcels {sorted(books['shipping'])}, and {completed} were completed")
    confirmed = {name for name in prices if books["orders"].get(f"order {name}") == "confirmed"}
    if confirmed != set(completed):
        found.append(f"{sorted(confirmed)} are confirmed, and {completed} were completed")
    return found


def play(scenario: Any, seed: int) -> Trace:
    return simulate(scenario, seed=seed)


RUNS = [
    SeededRun("saga, orchestrated", partial(play, orchestrated), judge),
    SeededRun("saga, choreographed", partial(play, choreographed), judge),
]
