"""The shop that never recovers, of lesson 04: a short spike, impatient customers, and every second try is one
more job.

Customers come at 8 a second, and the packer packs 10 a second. At 60 s a bus stops, and some more come at
once. Whoever has waited 5 s asks again, up to `tries` times in all, and then leaves.
"""

from __future__ import annotations

import itertools
from collections import defaultdict

import anyio

from ...backpressure import Buffer
from ...lab import Exponential, Faults
from ...lab.demo import Demo, demo, slider
from ...lab.figures import depth
from ...message import Message
from ...trace import Kind, Trace, acting, record

__all__ = ["a_spike", "served", "the_spike_demo"]

PATIENCE = 5.0
SECONDS = 300.0
BUS = 60.0


async def a_spike(spike: int = 100, tries: int = 2, capacity: int = 2000) -> None:
    """Play five minutes. An order that finds the buffer full is turned away at once."""
    chance, numbers = Faults(), itertools.count(1)
    packed = defaultdict[int, anyio.Event](anyio.Event)

    async def packer() -> None:
        async for order in orders:
            await chance.sleep("packing", Exponential(0.1))
            packed[order.body].set()

    async def customer(number: int) -> None:
        came = anyio.current_time()
        for attempt in range(tries):
            order = Message(number, id=f"order {number}.{attempt + 1}")
            with anyio.move_on_after(PATIENCE):
                if await orders.put(order):
                    await packed[number].wait()
                    record(Kind.EFFECT, "shop", order.id, effect="served", came=came)
                return

    async def bus() -> None:
        await anyio.sleep(BUS)
        for _ in range(spike):
            group.start_soon(customer, next(numbers))

    with Buffer("orders", capacity, when_full="drop newest") as orders, acting("shop"):
        async with anyio.create_task_group() as group:
            group.start_soon(packer)
            group.start_soon(bus)
            while anyio.current_time() < SECONDS:
                await chance.sleep("street", Exponential(1 / 8))
                group.start_soon(customer, next(numbers))
            group.cancel_scope.cancel()


def served(trace: Trace, since: float = 0.0) -> int:
    """The number of customers who came since then and were served in time."""
    return sum(event.data["came"] >= since for event in trace.filter(Kind.EFFECT))


def in_words(trace: Trace) -> str:
    turned_away = trace.count(Kind.DROPPED)
    orders = trace.count(Kind.ACCEPTED) - turned_away
    return (
        f"Served in time: {served(trace):,} customers in five minutes, {served(trace, 240)} of them in the "
        f"last minute. The shop took {orders:,} orders and turned {turned_away:,} away."
    )


def the_spike_demo() -> Demo:
    """The spike with its controls."""
    return demo(
        a_spike,
        {
            "spike": slider(0, 200, 10, value=100, label="People in the bus"),
            "tries": slider(1, 4, value=2, label="Tries of a customer"),
            "capacity": slider(10, 2000, 10, value=2000, label="Orders that may wait"),
        },
        presets={
            "No second try": {"tries": 1},
            "A second try": {"tries": 2},
            "A second try, and a bound": {"tries": 2, "capacity": 30},
            "No bus": {"spike": 0},
        },
        summary=in_words,
        figures=[lambda trace: depth(trace, where="orders")],
        player=False,
        seed=1,
        title="The shop that never recovers",
    )
