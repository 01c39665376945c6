"""Circuit breakers under faults: sick services, calls that are lost or given up, shops that crash."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

import anyio

from eip_ref.circuit_breaker import (
    Breakers,
    CallRejected,
    CircuitBreaker,
    ConsecutiveFailures,
    FailureRate,
    HalfOpen,
    LastCalls,
    LastSeconds,
    OpenDuration,
    Policy,
    Predicates,
    QueueForLater,
    Source,
    with_fallback,
)
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Exponential, Faults, Participant
from eip_ref.lab.invariants import (
    breaker_legality,
    check,
    conservation,
    no_duplicate_effect,
    nothing_acked_lost,
)
from eip_ref.message import Message
from eip_ref.message_queue import Attempt, Counts, IdempotentReceiver, Ledger, MessageQueue, Worker
from eip_ref.trace import Trace, whoami

from . import SeededRun, proves_something


@dataclass(frozen=True)
class Load:
    """Shops that order through breakers from services that fall sick and get well again."""

    seed: int
    policy: Policy
    half_open: HalfOpen
    patience: float = 3.0  # of the callers; below the work time of a sick service
    sick: float = 0.5  # share of calls that fail while a service is sick
    shops: int = 8
    orders: int = 20
    crash: float | None = None


POLICIES: list[Policy] = [
    ConsecutiveFailures(3),
    FailureRate(0.5, LastCalls(10), min_calls=5),
    FailureRate(0.4, LastSeconds(10), min_calls=4),
]
HALF_OPENS = [
    HalfOpen(1, probe_timeout=5),
    HalfOpen(2, probe_timeout=8, needed=3),
    HalfOpen(3, probe_timeout=5, needed=4, threshold=0.5),
]


def service(chance: Faults, name: str, sick: float) -> Callable[[str], Awaitable[str]]:
    """Sick every other 20 seconds: then slower, often failing, and sometimes never answering."""

    async def serve(order: str) -> str:
        ill = int(anyio.current_time() / 20) % 2 == 1
        if ill and chance.random(f"{name} lost").random() < sick / 5:
            await anyio.sleep(12)
            raise TimeoutError(f"{name} did not answer in time")
        await chance.sleep(f"{name} work", Exponential(4.0 if ill else 0.3))
        if chance.random(f"{name} order").random() < 0.1:
            raise ValueError("no such product")
        if ill and chance.random(f"{name} sick").random() < sick:
            raise ConnectionError(f"{name} is away")
        return f"{order} done"

    return serve


async def outage(load: Load) -> Counts:
    """Orders that cannot be charged now are queued, and a worker charges them later, by the same breaker."""
    chance, ledger = Faults(), Ledger()
    breakers = Breakers(
        lambda name: CircuitBreaker(
            name,
            policy=load.policy,
            half_open=load.half_open,
            open_duration=OpenDuration(4, factor=1.5, jitter=0.2),
            predicates=Predicates(neutral=ValueError),
            random=chance.random(f"jitter {name}"),
        )
    )
    charge = service(chance, "payments", load.sick)

    async def later(message: Message, transaction: Attempt) -> None:
        try:
            await breakers["payments"].call(charge, message.body[0])
        except ValueError:
            transaction.effect("customer told")
            return
        transaction.effect("charged")

    async with MessageQueue("later", lease=60) as queue:
        pay = with_fallback(breakers["payments"], charge, QueueForLater(queue, key=lambda order: order))

        async def shop() -> None:
            for number in range(load.orders):
                with anyio.move_on_after(load.patience):
                    try:
                        answer = await pay(f"{whoami()} {number}")
                        assert answer.source in (Source.LIVE, Source.QUEUED)
                        await breakers["stock"].call(service(chance, "stock", 0.0), "reserve")
                    except (ValueError, CallRejected):
                        pass
                await chance.sleep("shop", Exponential(2.0))

        async with anyio.create_task_group() as group:
            for number in range(load.shops):
                crashes = (Crash(at=load.crash, restart_after=3),) if load.crash and not number else ()
                group.start_soon(Participant(f"shop-{number}", shop, crashes=crashes).run)
        await anyio.sleep_until(190)  # the worker, too, meets a sick service at first
        queue.close()
        await Participant("worker", Worker(queue, IdempotentReceiver(ledger, later)).run).run()
        return queue.counts


def findings(trace: Trace) -> list[object]:
    """Every breaker is legal, and what was queued for later is done then, once, or a dead letter."""
    counts = Counts(*trace.result)
    wrong: list[object] = [
        *check(trace, breaker_legality, conservation, no_duplicate_effect, nothing_acked_lost)
    ]
    if counts.acked + counts.dead != counts.accepted:
        wrong.append(f"the queue was not settled: {counts}")
    return wrong


def judge(trace: Trace) -> list[object]:
    proves_something(trace.count("failed", where="payments"), "no call failed")
    proves_something(trace.count("started", where="stock"), "nothing was ordered from the healthy service")
    return findings(trace)


def load_of(seed: int) -> Load:
    """A load that the seed decides."""
    dice = Random(seed)
    return Load(
        seed,
        dice.choice(POLICIES),
        dice.choice(HALF_OPENS),
        patience=dice.choice([2.0, 9.0, 20.0]),
        sick=dice.choice([0.3, 0.7, 1.0]),
        orders=16,
        crash=dice.choice([None, 25.0, 31.5]),
    )


def play(seed: int) -> Trace:
    return simulate(outage, load_of(seed), seed=seed)


RUNS = [SeededRun("services that fall sick", play, judge)]
