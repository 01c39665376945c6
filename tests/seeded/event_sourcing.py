"""Events under faults: writers and services that crash inside their transactions, links that lose and
double, projections that crash, and a rebuild while all of that goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio

from eip_ref.event_sourcing import (
    IdTaken,
    MemoryEventStore,
    Projection,
    Projector,
    Reactor,
    Recorded,
    RolledBack,
    View,
    WrongExpectedVersion,
    rebuild,
)
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Exponential, Faults, Participant
from eip_ref.lab.invariants import Finding, check, no_duplicate_effect
from eip_ref.lab.invariants.reading import gap_free_reading
from eip_ref.message import Message
from eip_ref.storage import MemoryStore
from eip_ref.trace import Kind, Trace, acting

from ..event_sourcing.views import live, live_view
from . import SeededRun, proves_something

EACH = 3  #: events that each writer has to get into the store
SHOPS = ("shop-1", "shop-2")
CLERKS = ("clerk-1", "clerk-2")
ORDERS = [f"{shop}/{n}" for shop in SHOPS for n in range(EACH)]
STEPS = [f"{clerk}/{n}" for clerk in CLERKS for n in range(EACH)]


@dataclass
class World:
    """What outlives every crash: the store, the views, and what the participants have noted."""

    store: MemoryEventStore
    views: MemoryStore
    faults: Faults
    confirmed: set[str] = field(default_factory=set)
    done: Counter[str] = field(default_factory=Counter)
    mailed: list[str] = field(default_factory=list)


def collect(view: View, event: Recorded) -> None:
    """Not idempotent: a repetition would be there twice."""
    view.put(event.stream, [*view.get(event.stream, []), event.message.id])


# Who writes


async def service(world: World, order: Message) -> None:
    """Appends in a transaction that takes its time, and now and then is rolled back. Never raises."""
    random = world.faults.random(f"service {order.id}")
    try:
        async with world.store.transaction() as transaction:
            await world.faults.sleep("think", Exponential(0.2))
            transaction.append(f"customer-{int(order.id[-1]) % 2}", [order])
            await world.faults.sleep("commit", Exponential(0.5))
            if random.random() < 0.1:
                raise ZeroDivisionError
    except (ZeroDivisionError, RolledBack, WrongExpectedVersion):
        return  # nothing was appended, and the shop will ask again
    world.confirmed.add(order.id)


async def shop(world: World, name: str, send: Callable[[Message], Any]) -> None:
    """Sends each order until it is confirmed, always with the same id."""
    for order in [order for order in ORDERS if order.startswith(name)]:
        while order not in world.confirmed:
            await send(Message({"order": order}, "OrderPlaced", id=order))
            await anyio.sleep(2)


async def clerk(world: World, name: str) -> None:
    """Adds to a stream that others add to as well, always at the version that it has just read."""
    while world.done[name] < EACH:
        identity = f"{name}/{world.done[name]}"
        version = len(await world.store.read("journal"))
        await world.faults.sleep(name, Exponential(0.3))
        try:
            step = Message({"after": version}, "StepTaken", id=identity)
            await world.store.append("journal", [step], expected=version)
        except IdTaken:
            pass  # it had crashed between the commit and its note
        except WrongExpectedVersion:
            continue
        world.done[name] += 1


# Who reads


async def project(world: World, generation: int) -> None:
    shown = Projection("orders", {"OrderPlaced": collect, "StepTaken": collect}, generation)
    projector = Projector(world.views, shown, batch=3)
    if generation > 1:
        await rebuild(projector, world.store)
    await projector.run(world.store)


async def mail(world: World) -> None:
    async def send(event: Recorded) -> None:
        await world.faults.sleep("mail", Exponential(0.1))
        world.mailed.append(event.message.id)

    await Reactor(world.views, "mailer", {"OrderPlaced": send}, history=True).run(world.store)


# The run


def crashes(faults: Faults, name: str, most: int) -> tuple[Crash, ...]:
    random = faults.random(f"crashes of {name}")
    return tuple(
        Crash(step=random.randrange(2, 40), restart_after=random.uniform(0.1, 2))
        for _ in range(random.randrange(most))
    )


async def busy_shop(make: Callable[..., MemoryEventStore]) -> World:
    faults = Faults()
    world = World(make(patience=5), MemoryStore(), faults)
    async with anyio.create_task_group() as everybody:

        def start(name: str, main: Callable[..., Any], *args: Any, most: int = 3) -> Participant:
            participant = Participant(name, main, (world, *args), crashes(faults, name, most))
            everybody.start_soon(participant.run)
            return participant

        async def serve(order: Message) -> None:
            """Each request in a process of its own, which may die at any await, and does not come back."""
            crash = faults.random("service").random() < 0.2
            step = faults.random("service").randrange(2, 6)
            doom = (Crash(step=step),) if crash else ()
            everybody.start_soon(Participant("service", service, (world, order), doom).run)

        start("projector", project, 1)
        start("mailer", mail)
        bad = {"latency": Exponential(0.1), "loss": 0.2, "duplication": 0.2, "reordering": 0.2}
        async with faults.link("net", serve, **bad) as link, anyio.create_task_group() as writers:
            for name in SHOPS:
                participant = Participant(name, shop, (world, name, link.send), crashes(faults, name, 2))
                writers.start_soon(participant.run)
            for name in CLERKS:
                writers.start_soon(Participant(name, clerk, (world, name), crashes(faults, name, 2)).run)
            await anyio.sleep(faults.random("rebuild").uniform(1, 6))
            start("rebuilder", project, 2)
        await anyio.sleep(60)
        everybody.cancel_scope.cancel()
    return world


def judge(trace: Trace) -> Sequence[object]:
    """Everything is stored once and shown once, in the order of its stream; nothing was skipped."""
    world: World = trace.result
    proves_something(
        trace.count(Kind.CRASHED) + trace.count(Kind.LOST) + trace.count(Kind.DUPLICATED) > 0, "no fault"
    )
    once_each = no_duplicate_effect(effect="projected", by=lambda event: (event.where, event.message))
    findings: list[object] = list(check(trace, gap_free_reading, once_each))
    return findings + list(_wrong(world))


def _wrong(world: World) -> Iterator[Finding]:
    streams = {name: [event.message.id for event in events] for name, events in world.store._streams.items()}
    stored = sorted(identity for ids in streams.values() for identity in ids)
    if stored != sorted(ORDERS + STEPS):
        yield Finding("stored once", f"stored {stored}")
    for clerk_ in CLERKS:
        theirs = [identity for identity in streams["journal"] if identity.startswith(clerk_)]
        if theirs != sorted(theirs):
            yield Finding("order of a writer", f"{clerk_} wrote {theirs}")
    for event in world.store._streams["journal"]:
        if event.version != event.message.body["after"] + 1:
            yield Finding("no lost update", f"{event.message.id} was decided on another version: {event}")
    if live(world.views, "orders") != 2:
        yield Finding("swapped", "the rebuild never ended")
    shown = dict(live_view(world.views, "orders").items())
    if shown != streams:
        yield Finding("shown once", f"shown {shown}, stored {streams}")
    if set(world.mailed) != set(ORDERS):
        yield Finding("mailed", f"mailed {world.mailed}")


def play(seed: int, make: Callable[..., MemoryEventStore] = MemoryEventStore) -> Trace:
    with acting(""):
        return simulate(partial(busy_shop, make), seed=seed, max_events=50_000)


RUNS = [SeededRun("late committers, crashes and a rebuild", play, judge)]
