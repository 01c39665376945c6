"""Close the tills

Repair · medium · 3 points · 8 minutes

Answer: async def evening(orders, tills)
Called: Your `evening(orders, tills)` with three tills. Each of them sells for some time, and then returns. A
    packer reads `orders` until it is closed.
Promised: The tills sell at the same time, no order is refused, and when the last till has returned the packer
    packs what is left and goes home.
Hint: Who knows that nothing more comes? Not a till: it only knows about itself.
Hint: A task group ends when all of its tasks have ended. What can you do after it?
Hint: Start the tills in `async with anyio.create_task_group() as group`. Behind that block, not in it, write
    `orders.close()`; or put the group inside of `with orders:`.
Why: Only whoever started all tills knows when the last one has returned. The end of a task group is that
    moment, and closing the buffer tells the reader.

one-after-the-other: The tills sell one after the other. While one till sells the others are shut, and their
    customers stand in the street.
closed-too-early: Closed while a till still sells. A buffer that is closed takes nothing more, whoever comes.
    Its sender gets an error, and the customer nothing.
till-cut-short: A till did not sell its last order. Whoever closes the buffer or stops a task must know
    that the work is done.
closed-by-the-clock: The buffer was closed long after the last till. A time that was guessed is too late
    today, and too early on a longer day.
waits-for-ever (deadlock): Nobody closed the buffer. The packer has packed everything and waits for one more
    order. It cannot know that none will come.
an-error-came-out (raised): An error ended the evening. Orders that were sold are packed nowhere.
    A buffer carries messages and nothing else: its end is told by `close()`, not by a `None`.
"""

from __future__ import annotations

from random import Random

import anyio

from ...autograder import kit
from ...backpressure import Buffer, BufferClosed
from ...message import Message
from ...trace import Kind, Trace, acting, record

__all__ = ["EXERCISE", "three_tills"]

TILLS = ("till 1", "till 2", "till 3")
SOON = 2.0  #: seconds: long enough to pack what still waits


async def three_tills(evening: kit.Answer, seed: int) -> None:
    """Play an evening with three tills that close at different times, and one packer."""
    chance = Random(seed)
    counts = dict(zip(TILLS, chance.sample((8, 14, 20), 3), strict=True))

    async def sell(orders: Buffer, name: str) -> None:
        with acting(name):
            record(Kind.STARTED, name, name)
            for number in range(1, counts[name] + 1):
                await anyio.sleep(0.5)
                try:
                    await orders.put(Message(f"order {number} of {name}"))
                except BufferClosed:
                    break  # the till has nowhere to put it, so it shuts
            record(Kind.FINISHED, name, name)

    def till(name: str) -> kit.Answer:
        return lambda orders: sell(orders, name)

    async def pack() -> None:
        async for order in orders:
            await anyio.sleep(0.2)
            kit.happens(order, "packed")

    orders = Buffer("orders", 5, when_full="block")
    async with kit.participants(wait=True) as start:
        start("packer", pack)
        await evening(orders, [till(name) for name in TILLS])


def judge(trace: Trace) -> kit.Symptoms:
    began = trace.filter(Kind.STARTED, test=lambda event: event.where in TILLS)
    refused = trace.filter(Kind.REFUSED, where="orders")
    if refused:
        order = kit.Journey(trace, refused[0].message)
        closed = trace.filter(Kind.CLOSED, where="orders")[0]
        words = f"the buffer was closed at {kit.when(closed)}, and {order} came at {kit.when(refused[0])}."
        yield order.seen("closed-too-early", words, [closed, *order.events])
    if began and began[-1].at - began[0].at > 1:
        words = f"{began[0].where} began at {kit.when(began[0])}, {began[-1].where} at {kit.when(began[-1])}."
        yield kit.seen("one-after-the-other", words, began)
    ended = trace.filter(Kind.FINISHED, test=lambda event: event.where in TILLS)
    missing = sorted({*TILLS} - {event.where for event in ended})
    if missing:
        yield kit.seen("till-cut-short", f"{missing[0]} has not sold its last order.", began)
        return
    last, end = ended[-1], trace.filter(Kind.CLOSED, where="orders")[0]
    if end.at > last.at + SOON:
        words = f"the last till returned at {kit.when(last)}, the buffer was closed at {kit.when(end)}."
        yield kit.seen("closed-by-the-clock", words, [last, end])


EXERCISE = kit.exercise(__name__, __doc__, kit.play(three_tills), judge)
