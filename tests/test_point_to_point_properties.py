"""Point-to-point under generated loads and absences: whatever happens, its promises hold."""

from __future__ import annotations

from dataclasses import dataclass

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from eip_ref.lab import invariants
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Exponential, Faults
from eip_ref.message import Message
from eip_ref.point_to_point import NotSent, PointToPointChannel, WhenAway
from eip_ref.trace import acting


@dataclass(frozen=True)
class Load:
    """A generated scenario, small enough to shrink to something readable."""

    seed: int
    policy: WhenAway
    capacity: int
    senders: int
    messages: int
    visits: tuple[tuple[float, float], ...]  #: how long the receiver is away, and then here
    closes: bool


VISITS = st.lists(st.tuples(st.floats(0, 5), st.floats(0.1, 5)), min_size=1, max_size=4).map(tuple)
LOADS = st.builds(
    Load,
    seed=st.integers(0, 10_000),
    policy=st.sampled_from(list(WhenAway)),
    capacity=st.integers(1, 5),
    senders=st.integers(1, 3),
    messages=st.integers(1, 15),
    visits=VISITS,
    closes=st.booleans(),
)


async def scenario(load: Load) -> tuple[list[str], list[str], list[str]]:
    chance = Faults()
    capacity = load.capacity if load.policy is WhenAway.BUFFER else 0
    channel = PointToPointChannel("invoices", when_away=load.policy, capacity=capacity)
    accepted: list[str] = []
    refused: list[str] = []
    received: list[str] = []

    async def send(name: str) -> None:
        with acting(name):
            for n in range(load.messages):
                await chance.sleep(name, Exponential(0.5))
                message = Message(f"{name} {n}")
                try:
                    await channel.send(message)
                    accepted.append(message.id)
                except NotSent:
                    refused.append(message.id)

    async def receive() -> None:
        for away, here in (*load.visits, (0.0, 1_000.0)):
            await anyio.sleep(away)
            with channel.receiver() as inbox, anyio.move_on_after(here):
                async for message in inbox:
                    received.append(message.id)
            if load.closes:
                channel.close_receiver()
                return

    async with anyio.create_task_group() as group:
        with acting("billing"):
            group.start_soon(receive)
        async with anyio.create_task_group() as shops:
            for number in range(load.senders):
                shops.start_soon(send, f"shop-{number}")
        channel.close()
    return accepted, refused, [*received, *(message.id for message in channel.undelivered)]


@settings(max_examples=200, deadline=None)
@given(LOADS)
def test_what_was_accepted_is_received_once_or_handed_back_and_nothing_else(load: Load) -> None:
    """No definite refusal was delivered, and no accepted message is lost without a word."""
    trace = simulate(scenario, load, seed=load.seed)
    accepted, refused, received = trace.result
    assert sorted(accepted) == sorted(received)
    assert not set(refused) & set(received)
    assert len(accepted) + len(refused) == load.senders * load.messages


@settings(max_examples=200, deadline=None)
@given(LOADS)
def test_the_invariants_hold(load: Load) -> None:
    """Conservation, one receiver, and the order of each sender."""
    invariants.assert_holds(
        simulate(scenario, load, seed=load.seed),
        invariants.conservation,
        invariants.exactly_one_receiver,
        invariants.fifo(per_sender=True),
    )
