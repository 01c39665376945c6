"""The flash sale of lesson 04: one rush at the Tea House, and every answer to it on the same load.

For a minute orders come at `rush` a second, then for two minutes at 5. One packer packs 10 a second. A
customer
whose order is not packed within her `patience` has left.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import accumulate
from random import Random
from typing import NamedTuple

import anyio

from ...backpressure import Buffer, ConsumerPool, Scaling, TokenBucket
from ...lab import simulate
from ...lab.demo import Demo, choice, demo, slider
from ...lab.figures import depth, latency
from ...lab.wording import plural
from ...message import Message
from ...message_queue import MessageQueue
from ...trace import Kind, Trace, acting, record, whoami
from .scaler import paid

__all__ = ["ANSWERS", "Outcome", "a_rush", "compare_the_answers", "outcome", "the_rush_demo"]

PACKING = 0.1  #: seconds for an order
CUSTOMERS = 30  #: that order again and again: the keys
ANSWERS = ("no bound", "block", "drop newest", "drop oldest", "sample", "latest per key", "throttle", "scale")

_MOVES = (Kind.ACCEPTED, Kind.DELIVERED)

Put = Callable[[Message], Awaitable[object]]


async def pack(order: Message) -> None:
    """Pack one order, and write down how long its customer has waited since she came."""
    await anyio.sleep(PACKING)
    waited = anyio.current_time() - order.headers["came"]
    record(Kind.EFFECT, whoami(), order.id, effect="packed", waited=waited)


def customers(rush: float) -> list[float]:
    """The seconds at which they come."""
    return [number / rush for number in range(round(60 * rush))] + [60 + number / 5 for number in range(600)]


async def a_rush(answer: str, capacity: int = 50, rush: float = 20) -> None:
    """Play the rush, of so many orders a second. `answer` is one of ANSWERS."""
    async with _answers(answer, capacity) as put:
        with acting("shop"):
            for number, came in enumerate(customers(rush)):
                await anyio.sleep_until(came)
                headers = {"came": came}
                await put(
                    Message(f"order {number + 1}", key=f"customer {number % CUSTOMERS}", headers=headers)
                )


@asynccontextmanager
async def _answers(answer: str, capacity: int) -> AsyncIterator[Put]:
    if answer == "scale":
        async with _a_pool() as put:
            yield put
    else:
        policy = {"no bound": "block", "throttle": "block"}.get(answer, answer)
        room = 1_000_000 if answer == "no bound" else capacity
        async with anyio.create_task_group() as group:
            with Buffer("orders", room, when_full=policy, random=Random(1)) as orders:
                with acting("packer"):
                    group.start_soon(_pack_all, orders)
                yield _throttled(orders) if answer == "throttle" else orders.put


async def _pack_all(orders: Buffer) -> None:
    async for order in orders:
        await pack(order)


def _throttled(orders: Buffer) -> Put:
    door = TokenBucket("door", rate=1 / PACKING, burst=orders.capacity)

    async def put(order: Message) -> None:
        try:
            door.take_nowait()
        except anyio.WouldBlock:
            record(Kind.REFUSED, "door", order.id, reason="come later")
        else:
            await orders.put(order)

    return put


@asynccontextmanager
async def _a_pool() -> AsyncIterator[Put]:
    scaling = Scaling(max_consumers=5, catch_up=5, cooldown=10)
    async with MessageQueue("orders", lease=600) as orders, anyio.create_task_group() as group:
        pool = ConsumerPool("packer", orders, pack, scaling=scaling, expected_rate=1 / PACKING)
        group.start_soon(pool.run)
        yield orders.put
        orders.close()


# Reading


class Outcome(NamedTuple):
    """The fate of all who came. Times in seconds."""

    in_time: int
    late: int  #: packed when the customer had left
    given_up: int  #: dropped, or turned away at the door
    most_waiting: int
    mean_wait: float
    worst_wait: float
    work: float  #: seconds for which a packer was paid


def outcome(trace: Trace, patience: float = 5) -> Outcome:
    """Read a rush's trace."""
    waits = [event.data["waited"] for event in trace.filter(Kind.EFFECT)]
    in_time = sum(wait <= patience + 1e-9 for wait in waits)
    given_up = trace.count(Kind.DROPPED) + trace.count(Kind.REFUSED, where="door")
    mean = sum(waits) / len(waits)
    return Outcome(
        in_time, len(waits) - in_time, given_up, _most_waiting(trace), mean, max(waits), paid(trace)
    )


def _most_waiting(trace: Trace) -> int:
    """The high-water mark, which a buffer tells when it closes; that of a queue is counted."""
    closed = trace.filter(Kind.CLOSED, where="orders")
    if closed and "high_water" in closed[0].data:
        return int(closed[0].data["high_water"])
    steps = (1 if event.kind == Kind.ACCEPTED else -1 for event in trace.filter(*_MOVES, where="orders"))
    return max(accumulate(steps))


def compare_the_answers(patience: float = 5) -> dict[str, Trace]:
    """Print the outcome of every answer on the same load, and return the traces by answer."""
    traces = {answer: simulate(a_rush, answer) for answer in ANSWERS}
    print("answer          in time   late  given up  most waiting  mean wait  worst wait  packers paid")
    for answer, trace in traces.items():
        it = outcome(trace, patience)
        print(
            f"{answer:<15} {it.in_time:7} {it.late:6} {it.given_up:9} {it.most_waiting:13} "
            f"{it.mean_wait:8.1f} s {it.worst_wait:9.1f} s {it.work:11.0f} s"
        )
    return traces


# Playing


def in_words(trace: Trace, patience: float) -> str:
    it = outcome(trace, patience)
    everybody = it.in_time + it.late + it.given_up
    return (
        f"{it.in_time:,} of {everybody:,} customers got their tea in time, {it.late:,} too late, and "
        f"{it.given_up:,} were turned away. At most "
        f"{plural(it.most_waiting, 'order')} waited; the longest wait was {it.worst_wait:.1f} s. "
        f"Packers were paid for {it.work:.0f} s."
    )


def the_rush_demo() -> Demo:
    """The rush with its controls."""
    return demo(
        a_rush,
        {
            "answer": choice(*ANSWERS, label="Answer"),
            "capacity": slider(1, 200, value=50, label="Orders that may wait"),
            "rush": slider(10, 40, value=20, label="Orders a second in the rush"),
        },
        presets={
            "No bound": {"answer": "no bound"},
            "Drop the oldest": {"answer": "drop oldest"},
            "Latest per customer": {"answer": "latest per key"},
            "Come later": {"answer": "throttle"},
            "More packers": {"answer": "scale"},
        },
        summary=partial(in_words, patience=5),
        figures=[partial(depth, where="orders"), latency],
        player=False,
        seed=None,
        title="Four answers to one rush",
    )
