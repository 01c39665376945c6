"""The message queue under generated loads and faults: whatever happens, the invariants hold."""

from __future__ import annotations

from dataclasses import dataclass

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from eip_ref.lab import invariants
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Exponential, Faults, Participant
from eip_ref.message import Message
from eip_ref.message_queue import (
    Counts,
    DeadLetterPolicy,
    IdempotentReceiver,
    Ledger,
    MessageQueue,
    Transaction,
    Worker,
)
from eip_ref.trace import acting


@dataclass(frozen=True)
class Load:
    """A generated scenario, small enough to shrink to something readable."""

    seed: int
    messages: int
    keys: int
    workers: int
    prefetch: int
    lease: float
    max_failures: int
    loss: float
    duplication: float
    failing: float
    beat: bool
    crashes: tuple[float, ...]


LOADS = st.builds(
    Load,
    seed=st.integers(0, 10_000),
    messages=st.integers(1, 25),
    keys=st.integers(0, 4),
    workers=st.integers(1, 4),
    prefetch=st.integers(1, 4),
    lease=st.sampled_from([1.0, 4.0, 20.0]),
    max_failures=st.integers(1, 4),
    loss=st.sampled_from([0.0, 0.2]),
    duplication=st.sampled_from([0.0, 0.3]),
    failing=st.sampled_from([0.0, 0.3]),
    beat=st.booleans(),
    crashes=st.lists(st.floats(0.1, 30), max_size=3).map(lambda times: tuple(sorted(times))),
)


async def scenario(load: Load) -> tuple[Counts, Ledger]:
    chance, ledger = Faults(), Ledger()

    async def handle(message: Message, transaction: Transaction) -> None:
        await chance.sleep("work", Exponential(1.0))
        if chance.random("failing").random() < load.failing:
            raise ConnectionError("payment service away")
        transaction.set(message.id, "charged")
        transaction.effect("charged", key=message.key)

    policy = DeadLetterPolicy(max_failures=load.max_failures)
    async with MessageQueue("orders", lease=load.lease, policy=policy) as queue:
        async with anyio.create_task_group() as group:
            for number in range(load.workers):
                receive = IdempotentReceiver(ledger, handle)
                worker = Worker(queue, receive, prefetch=load.prefetch, beat=load.beat)
                crashes = tuple(Crash(at=at, restart_after=2) for at in load.crashes) if number == 0 else ()
                group.start_soon(Participant(f"worker-{number}", worker.run, crashes=crashes).run)
            faults = {"loss": load.loss, "duplication": load.duplication, "latency": Exponential(0.5)}
            with acting("shop"):
                async with chance.link("net", queue.put, **faults) as net:
                    for n in range(load.messages):
                        key = f"customer {n % load.keys}" if load.keys else None
                        await net.send(Message(f"order {n}", key=key))
                        await chance.sleep("shop", Exponential(0.3))
            queue.close()
        counts = queue.counts
    assert sum(counts[:5]) == counts.accepted
    return counts, ledger


@settings(max_examples=150, deadline=None)
@given(LOADS)
def test_the_invariants_hold_under_any_load_and_faults(load: Load) -> None:
    """Conservation, fencing, prefetch, one in flight per key, nothing acked lost, one effect per message."""
    trace = simulate(scenario, load, seed=load.seed)
    invariants.assert_holds(
        trace,
        invariants.conservation,
        invariants.lease_fencing,
        invariants.one_in_flight_per_key,
        invariants.no_duplicate_effect,
        invariants.nothing_acked_lost,
        lambda t: invariants.prefetch_never_exceeded(t, limit=load.prefetch),
    )


@settings(max_examples=150, deadline=None)
@given(LOADS)
def test_every_accepted_message_ends_acked_or_dead_and_the_ledger_agrees(load: Load) -> None:
    """When the queue is closed and settled, each message was charged once or is a dead letter."""
    trace = simulate(scenario, load, seed=load.seed)
    counts, ledger = trace.result
    charged, dead = set(ledger.values), set(trace.messages("dead", where="orders"))
    accepted = set(trace.messages("accepted", where="orders"))
    assert charged | dead == accepted
    assert counts.acked + counts.dead == counts.accepted
