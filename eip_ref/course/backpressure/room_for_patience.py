"""Room for patience

Complete · easy · 2 points · 5 minutes

Answer: def room(patience, packing)
Called: Your `room(patience, packing)` for three shops. In each of them groups of customers come, more than
    can be packed before they leave.
Promised: Nobody whose order was taken in leaves before it is packed, and no order is turned away that could
    have been packed in time.
Hint: Who waits longest? Think of the last customer whose order finds a place.
Hint: Her order waits for all that stand before it. How long does that take, and what comes after it?
Hint: With `room` orders before her in the line, hers is packed `(room + 1) * packing` seconds after she
    came. That must not be more than `patience`.
Why: The last in a full line waits for `room` orders and then for her own packing. So room + 1 = patience /
    packing, rounded down. How many customers come does not matter.

no-room (ValueError): A room that no buffer has. A bound is a whole number, 1 or more.
forgets-her-own-packing: Forgot that her own order must be packed, too. The line is as long as she is
    patient, and when she is at its head her time is over.
rounded-up: Rounded up where only a part of an order was left. The last customer leaves before hers is packed,
    and no part of an order is any use to her.
packed-in-vain: Orders are packed for customers who have left. Whoever stands at the end of the full buffer
    waits too long. The arrivals do not shorten that.
turned-away-in-vain: Turned away who could have been served. The buffer was full, and the line in it was
    shorter than the customer is patient.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

import anyio

from ...autograder import kit
from ...backpressure import Buffer
from ...message import Message
from ...trace import Kind, Trace, acting

__all__ = ["EXERCISE", "groups_of_customers"]

GROUPS = 4


async def groups_of_customers(room: kit.Answer, seed: int) -> None:
    """Play three shops. Groups come, each twice as large as what can be packed before its people leave."""
    shops = _shops(seed)
    async with kit.participants(wait=True) as start:
        for shop in shops:
            with Buffer(
                shop.name, _whole(room(shop.patience, shop.packing)), when_full="drop newest"
            ) as orders:
                start(f"packer of {shop.name}", _pack, orders, shop.packing)
                for group in range(GROUPS):
                    with acting("street"):
                        for number in range(2 * shop.fit):
                            await orders.put(Message(f"order {group + 1}.{number + 1}"))
                    await anyio.sleep(3 * shop.patience)
    kit.write_down(shops=shops)


class Shop(NamedTuple):
    """A shop, the seconds that its customers wait, and the seconds for an order."""

    name: str
    patience: float
    packing: float

    @property
    def fit(self) -> int:
        """The number of orders that can be packed while a customer waits."""
        return int(self.patience // self.packing)


def _shops(seed: int) -> list[Shop]:
    """The shops, with times that a float holds exactly: however an answer divides, it gets the same."""
    some, more = Random(seed).choice((12.0, 15.0, 18.0)), Random(seed).choice((50.0, 57.0))
    return [Shop("tea shop", 5.0, 0.125), Shop("bakery", some, 0.5), Shop("tailor", more, 1.75)]


def _whole(room: object) -> int:
    if type(room) is int and room > 0:
        return room
    raise ValueError(f"`room` returned {room!r}, and not a whole number of 1 or more")


async def _pack(orders: Buffer, packing: float) -> None:
    async for order in orders:
        await anyio.sleep(packing)
        kit.happens(order, "packed")


def judge(trace: Trace) -> kit.Symptoms:
    for shop in (Shop(*fields) for fields in kit.facts(trace)["shops"]):
        orders = [order for order in kit.journeys(trace, where=shop.name) if order.effects]
        waits = {order: order.effects[0].at - order.events[0].at for order in orders}
        late = [order for order, wait in waits.items() if wait > shop.patience + 1e-6]
        told = f"`{shop.name}`, patience {shop.patience:g} s, {shop.packing:g} s for an order"
        if late:
            worst = max(late, key=waits.__getitem__)
            words = f"{told}: {worst} was packed after {waits[worst]:g} s, and {len(late)} in all too late."
            yield worst.seen(_too_late(shop, waits[worst] - shop.patience), words)
        elif len(waits) < GROUPS * shop.fit:
            first = kit.Journey(trace, trace.filter(Kind.DROPPED, where=shop.name)[0].message)
            words = (
                f"{told}: {first} was turned away, and the longest wait of all was {max(waits.values()):g} s."
            )
            yield first.seen("turned-away-in-vain", words)


def _too_late(shop: Shop, by: float) -> str:
    if by < shop.packing - 1e-6:
        return "rounded-up"
    return "forgets-her-own-packing" if by < 1.25 * shop.packing else "packed-in-vain"


EXERCISE = kit.exercise(__name__, __doc__, kit.play(groups_of_customers), judge)
