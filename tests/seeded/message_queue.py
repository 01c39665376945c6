"""The message queue under faults: a bad network, failing handlers, workers and an operator that die."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from random import Random
from typing import NamedTuple

import anyio

from eip_ref.lab import invariants
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Exponential, Faults, Participant
from eip_ref.message import Message
from eip_ref.message_queue import (
    Attempt,
    Counts,
    DeadLetterPolicy,
    IdempotentReceiver,
    Ledger,
    MessageQueue,
    QueueClosed,
    Worker,
    replay,
)
from eip_ref.trace import Trace, acting

from . import SeededRun, proves_something


@dataclass(frozen=True)
class Load:
    """A scenario, small enough to shrink to something readable."""

    seed: int
    messages: int
    keys: int
    workers: int
    prefetch: int
    lease: float
    max_failures: int
    loss: float
    duplication: float
    reordering: float
    failing: float
    beat: bool
    crashes: tuple[float, ...]  #: of the first worker
    replays: tuple[float, ...]  #: when an operator sends the dead letters back; it dies of the first time


class Result(NamedTuple):
    load: Load
    counts: Counts
    charged: set[str]


async def scenario(load: Load) -> Result:
    """A shop puts orders into a queue, over the network, and workers charge them."""
    chance, ledger = Faults(), Ledger()

    async def handle(message: Message, transaction: Attempt) -> None:
        await chance.sleep("work", Exponential(1.0))
        if chance.random("failing").random() < load.failing:
            raise ConnectionError("payment service away")
        transaction.set(message.id, "charged")
        transaction.effect("charged", key=message.key)

    async def operate() -> None:
        for at in load.replays:
            await anyio.sleep_until(at)
            assert queue.dead_letters is not None
            try:
                await replay(queue.dead_letters, queue)
            except QueueClosed:
                return

    policy = DeadLetterPolicy(max_failures=load.max_failures)
    async with MessageQueue("orders", lease=load.lease, policy=policy) as queue:
        async with anyio.create_task_group() as group:
            for number in range(load.workers):
                receive = IdempotentReceiver(ledger, handle)
                worker = Worker(queue, receive, prefetch=load.prefetch, heartbeat=load.beat)
                crashes = tuple(Crash(at=at, restart_after=2) for at in load.crashes) if number == 0 else ()
                group.start_soon(Participant(f"worker-{number}", worker.run, crashes=crashes).run)
            dies = (Crash(step=4, restart_after=1),) if load.replays else ()
            group.start_soon(Participant("operator", operate, crashes=dies).run)
            faults = {"loss": load.loss, "duplication": load.duplication, "reordering": load.reordering}
            with acting("shop"):
                async with chance.link("net", queue.put, latency=Exponential(0.5), **faults) as net:
                    for n in range(load.messages):
                        key = f"customer {n % load.keys}" if load.keys else None
                        await net.send(Message(f"order {n}", key=key))
                        await chance.sleep("shop", Exponential(0.3))
            queue.close()
        return Result(load, queue.counts, set(ledger.values))


def findings(trace: Trace) -> list[object]:
    """Whatever happens: every accepted message ends charged once, or as a dead letter."""
    load, counts, charged = Result(*trace.result)
    wrong: list[object] = [
        *invariants.check(
            trace,
            invariants.conservation,
            invariants.exactly_one_receiver,
            invariants.lease_fencing,
            invariants.one_in_flight_per_key,
            invariants.no_duplicate_effect,
            invariants.nothing_acked_lost,
            partial(invariants.prefetch_never_exceeded, limit=load.prefetch),
        )
    ]
    dead = set(trace.messages("dead", where="orders"))
    if not dead:  # the handler of a dead letter may still run, and have its effect after the next one
        wrong += invariants.order_per_key(trace)
    if charged | dead != set(trace.messages("accepted", where="orders")):
        wrong.append(f"charged {sorted(charged)}, dead {sorted(dead)}, and others were accepted")
    if counts.acked + counts.dead != counts.accepted or sum(counts[:5]) != counts.accepted:
        wrong.append(f"the counters do not add up: {counts}")
    return wrong


def judge(trace: Trace) -> list[object]:
    proves_something(trace.count("lost", "duplicated", "crashed"), "no fault hit this run")
    return findings(trace)


def load_of(seed: int) -> Load:
    """A load that the seed decides."""
    dice = Random(f"load {seed}")
    return Load(
        seed,
        messages=dice.randint(12, 25),
        keys=dice.randint(0, 4),
        workers=dice.randint(1, 4),
        prefetch=dice.randint(1, 4),
        lease=dice.choice([1.0, 4.0, 20.0]),
        max_failures=dice.choice([1, 2, 4, 20]),
        loss=0.1,
        duplication=dice.choice([0.1, 0.3]),
        reordering=dice.choice([0.0, 0.3]),
        failing=dice.choice([0.0, 0.3]),
        beat=dice.random() < 0.5,
        crashes=(dice.uniform(0.1, 2), dice.uniform(4, 20)),
        replays=dice.choice([(), (dice.uniform(3, 9), dice.uniform(9, 12))]),
    )


def play(seed: int) -> Trace:
    return simulate(scenario, load_of(seed), seed=seed)


RUNS = [SeededRun("workers that crash and fail", play, judge)]
