"""Labels for orders

Repair · hard · 3 points · 10 minutes

Answer: async def work(orders, pack, print_label)
Called: Your `work(orders, pack, print_label)` on 61 orders that come quickly, through a buffer with room
    for 10. The shop waits when it is full, and closes it after the last order.
Promised: Every order is packed once and then gets one label, which is printed at most 5 s after the
    packing. `work` returns when all of it is done.
Hint: Who is the only one that makes room in `orders`? What does it do when `orders` is full?
Hint: Do not put anything into a queue that you yourself must empty. Where else could the labels wait, and
    must they wait at all?
Hint: Print the label where you packed the order: `await pack(order)`, then `await print_label(order)`. Or
    put it into a `Buffer` of its own, which a task of its own reads and you close at the end.
Why: The only task that makes room must never wait for room. Whether the label is printed at once or waits
    in a buffer of its own, no queue waits for itself.

label-missing: An order has no label. It was packed, and it never leaves the house.
label-twice: An order has two labels. The postman comes twice, and finds one parcel.
label-first: A label was printed before its order was packed. Whoever carries the parcels out finds a label
    and no parcel.
label-late: A label was printed too late. The parcels pile up, and nobody knows any more whose they are.
not-packed: An order was not packed. It was taken out of the buffer, and is nowhere.
waits-for-itself (deadlock): Somebody waits for ever. Either a buffer is full, and the only one who empties
    it waits for room in it; or its reader waits for more, and nobody closes it.
closed-for-labels (BufferClosed): The label came after the end. The shop closes `orders` when it has sent
    its last order, and a closed buffer takes nothing more.
"""

from __future__ import annotations

import anyio

from ...autograder import kit
from ...backpressure import Buffer
from ...lab.faults import Faults, Uniform
from ...message import Message
from ...trace import Kind, Trace, acting

__all__ = ["EXERCISE", "sixty_one_orders"]

LATEST = 5.0
ORDERS = 61  #: no round number, so that an answer in batches must not forget its last one


async def sixty_one_orders(work: kit.Answer, seed: int) -> None:
    """Play 61 orders, 25 a second. To pack one takes 0.1 s, and to print a label 0.05 s."""
    chance = Faults(seed)

    async def pack(order: Message) -> None:
        await anyio.sleep(0.1)
        kit.happens(order, "packed")

    async def print_label(order: Message) -> None:
        await anyio.sleep(0.05)
        kit.happens(order, "label")

    async def shop(orders: Buffer) -> None:
        with orders:
            for number in range(1, ORDERS + 1):
                await orders.put(Message(f"order {number}"))
                await chance.sleep("shop", Uniform(0.02, 0.06))

    orders = Buffer("orders", 10, when_full="block")
    async with kit.participants(wait=True) as start:
        start("shop", shop, orders)
        with acting("packer"):
            await work(orders, pack, print_label)


def judge(trace: Trace) -> kit.Symptoms:
    kit.require(trace, Kind.ACCEPTED, "no order came.", at_least=ORDERS)
    for order in kit.journeys(trace, where="orders"):
        if not order.label.startswith("order"):
            continue  # a label that was put into the buffer
        packed = [effect for effect in order.effects if effect.data["effect"] == "packed"]
        labels = [effect for effect in order.effects if effect.data["effect"] == "label"]
        if not packed:
            yield order.seen("not-packed", f"{order} was never packed.")
        elif not labels:
            yield order.seen(
                "label-missing", f"{order} was packed at {kit.when(packed[0])} and has no label."
            )
        elif len(labels) > 1:
            times = f"{kit.when(labels[0])} and {kit.when(labels[1])}"
            yield order.seen("label-twice", f"{order} got a label at {times}.")
        elif labels[0].at < packed[0].at:
            times = f"got its label at {kit.when(labels[0])} and was packed at {kit.when(packed[0])}"
            yield order.seen("label-first", f"{order} {times}.")
        elif labels[0].at > packed[0].at + LATEST:
            times = f"packed at {kit.when(packed[0])} and got its label at {kit.when(labels[0])}"
            yield order.seen("label-late", f"{order} was {times}.")


EXERCISE = kit.exercise(__name__, __doc__, kit.play(sixty_one_orders), judge)
