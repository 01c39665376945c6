"""Point-to-point under faults: a receiver that leaves, senders that lose patience, some die; a bad link."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

import anyio

from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Exponential, Faults, Participant
from eip_ref.lab.invariants import check, conservation, exactly_one_receiver, fifo, nothing_acked_lost
from eip_ref.message import Message
from eip_ref.point_to_point import NotSent, PointToPointChannel, Receiver, WhenAway
from eip_ref.trace import Trace, acting

from . import SeededRun, proves_something

NAME = "invoices"


class Visit(NamedTuple):
    """How long the receiver is away, how long it is then here, and whether it leaves by dying."""

    away: float
    here: float
    dies: bool = False


@dataclass(frozen=True)
class Load:
    """A scenario, small enough to shrink to something readable. The first shop sends over the link."""

    seed: int
    policy: WhenAway
    capacity: int
    senders: int
    messages: int
    visits: tuple[Visit, ...]
    closes: bool
    patience: float = math.inf
    faults: dict[str, Any] = field(default_factory=dict)  #: of the link
    crashes: tuple[Crash, ...] = ()  #: of the last shop


class Story(NamedTuple):
    """What the shops were told, what the receiver got, and what was handed back."""

    accepted: list[str]
    refused: list[str]
    received: list[str]
    undelivered: list[str]


async def scenario(load: Load) -> Story:
    """Shops send; the receiver comes and goes."""
    chance = Faults()
    capacity = load.capacity if load.policy is WhenAway.BUFFER else 0
    channel = PointToPointChannel(NAME, when_away=load.policy, capacity=capacity)
    accepted, refused, received = list[str](), list[str](), list[str]()

    async def send(message: Message) -> None:
        try:
            with anyio.move_on_after(load.patience):
                await channel.send(message)
                accepted.append(message.id)
        except NotSent:
            refused.append(message.id)

    async def shop(name: str, numbers: Iterator[int], over: Any) -> None:
        for n in numbers:
            await chance.sleep(name, Exponential(0.5))
            await over(Message(f"{name} {n}"))

    async def read(inbox: Receiver) -> None:
        async for message in inbox:
            received.append(message.id)
            await chance.sleep("billing", Exponential(0.1))

    async def billing() -> None:
        for away, here, dies in (*load.visits, *([] if load.closes else [Visit(0, 1_000)])):
            await anyio.sleep(away)
            crashes = (Crash(at=anyio.current_time() + here),) if dies else ()
            # The connection of a dead process is closed by its system, so it is not a part of its life.
            with channel.receiver() as inbox, anyio.move_on_after(math.inf if dies else here):
                await Participant("billing", read, (inbox,), crashes).run()
        if load.closes:
            await anyio.sleep(load.visits[0].away)  # what comes meanwhile is kept for nobody
            channel.close_receiver()

    async with anyio.create_task_group() as group:
        with acting("billing"):
            group.start_soon(billing)
        async with chance.link("net", send, **load.faults) as net, anyio.create_task_group() as shops:
            for number in range(load.senders):
                name, over = f"shop-{number}", send if number else net.send
                crashes = load.crashes if number == load.senders - 1 else ()
                work = name, iter(range(load.messages)), over
                shops.start_soon(Participant(name, shop, work, crashes).run)
        channel.close()
    return Story(accepted, refused, received, [message.id for message in channel.undelivered])


def findings(trace: Trace) -> list[object]:
    """No definite refusal was delivered, and no accepted message is lost without a word."""
    events = {
        kind: Counter(trace.messages(kind, where=NAME)) for kind in ("sent", "accepted", "refused", "dropped")
    }
    story = Story(*trace.result)
    wrong: list[object] = [
        *check(trace, conservation, exactly_one_receiver, fifo(per_sender=True, where=NAME)),
        *check(trace, nothing_acked_lost(done="delivered", kept=["dropped"])),
    ]
    if Counter(story.accepted) - events["accepted"] or Counter(story.refused) - events["refused"]:
        wrong.append(f"the shops were told otherwise: {story.accepted} accepted, {story.refused} refused")
    if events["accepted"] != Counter(story.received) + Counter(story.undelivered):
        wrong.append(f"accepted {events['accepted']}, but received or handed back {story}")
    if events["dropped"] != Counter(story.undelivered):
        wrong.append(f"dropped {events['dropped']}, but handed back {story.undelivered}")
    dead = {event.who for event in trace.filter("crashed")}
    in_doubt = {event.message for event in trace.filter("sent", test=lambda e: e.who in dead)}
    ended = events["accepted"] + events["refused"]
    if ended - events["sent"] or (events["sent"] - ended).keys() - in_doubt:
        wrong.append(f"accepted and refused, or neither: {events}")
    return wrong


def judge(trace: Trace) -> list[object]:
    proves_something(trace.count("crashed"), "nobody died")
    return findings(trace)


def load_of(seed: int) -> Load:
    """A load that the seed decides: the link is never good, and somebody always dies."""
    dice = Random(f"load {seed}")
    pairs = itertools.repeat((dice.choice([0.5, 3.0]), dice.choice([0.5, 3.0])), dice.randint(1, 4))
    visits = [Visit(dice.uniform(0, away), dice.uniform(0.1, here)) for away, here in pairs]
    visits[0] = visits[0]._replace(dies=dice.random() < 0.7)
    return Load(
        seed,
        policy=dice.choice(list(WhenAway)),
        capacity=dice.randint(1, 5),
        senders=dice.randint(1, 3),
        messages=dice.randint(8, 15),
        visits=tuple(visits),
        closes=dice.random() < 0.5,
        patience=dice.choice([math.inf, 1.0]),
        faults={"latency": Exponential(0.3), "loss": 0.1, "duplication": 0.2, "reordering": 0.2},
        crashes=(Crash(step=dice.randint(2, 9), restart_after=dice.choice([None, 1.0])),),
    )


def play(seed: int) -> Trace:
    return simulate(scenario, load_of(seed), seed=seed)


RUNS = [SeededRun("a receiver that leaves and dies", play, judge)]
