"""Receipts once more

Complete · medium · 3 points · 10 minutes

Answer: async def receipts(end, print_receipt, dead_letters)
Called: Your `receipts(end, print_receipt, dead_letters)` on a durable subscription with ten orders. One of
    them can never be printed, and over another one the process dies and starts again.
Promised: Every order that can be printed is printed, at most two of them twice, and the other one is in the
    dead letters. Nothing is
    acknowledged before that, and in the end all ten are acknowledged.
Hint: An order that cannot be printed has no ack. What does that do to all orders behind it?
Hint: There are two ways to be done with an order: it is printed, or somebody else has it. After both comes
    the ack.
Hint: `try: await print_receipt(delivery.message)`, `except ValueError: await
    dead_letters.put(delivery.message)`, and after both `await delivery.ack()`.
Why: The position is one number: an order without an ack holds it up for ever, and after each crash all
    behind it is printed again. Put aside counts as done, once the other queue has it.

acked-too-early: Acknowledged before it was done. If the process dies now, the position has passed the order
    and nobody comes back to it.
put-aside-for-nothing: A good order is in the dead letters. Somebody must look at each of them, and this one
    only had to be printed.
order-gone: An order was neither printed nor put aside. It was acknowledged, so it never comes again.
held-up: The position stands still. One order without an ack keeps it, and after each crash everything
    behind it is done again.
printed-again-and-again: Too many receipts. After a crash only what was not acknowledged may come again, and
    that should be little.
stops-at-a-bad-one (ValueError): One order that cannot be printed ended the work. All behind it wait for
    ever.
"""

from __future__ import annotations

from random import Random

import anyio

from ...autograder import kit
from ...message import Message
from ...message_queue import MessageQueue
from ...publish_subscribe import PublishSubscribeChannel
from ...trace import Kind, Trace

__all__ = ["EXERCISE", "ten_receipts"]

ORDERS = 10


async def ten_receipts(receipts: kit.Answer, seed: int) -> None:
    """Play ten orders: one can never be printed, and over a later one the process dies."""
    chance = Random(seed)
    bad, deadly = chance.randint(2, 5), chance.randint(7, 9)
    deaths = [deadly]
    channel = PublishSubscribeChannel("shop", retain=100)

    async def print_receipt(order: Message) -> None:
        await anyio.sleep(1)
        if order.body == bad:
            raise ValueError("no printer has this letter")
        kit.happens(order, "printed")
        await anyio.sleep(0.5)
        if order.body in deaths:
            deaths.remove(order.body)
            await kit.die()

    async def work() -> None:
        end = channel.durable("receipts", "orders", when_full="drop oldest", start="earliest")
        await receipts(end, print_receipt, dead_letters)

    async with MessageQueue("dead letters") as dead_letters, kit.participants() as start:
        for number in range(1, ORDERS + 1):
            await channel.publish("orders", Message(number, id=f"order {number}"))
        start("printer", work, deaths=1)
        await anyio.sleep(60)
    kit.write_down(bad=f"order {bad}")


def judge(trace: Trace) -> kit.Symptoms:
    bad = kit.facts(trace)["bad"]
    log = "shop.log"
    twice = []
    for order in kit.journeys(trace, where=log):
        kind, place = (Kind.ACCEPTED, "dead letters") if order.id == bad else (Kind.EFFECT, None)
        done, acks = order.all(kind, where=place), order.all(Kind.ACKED)
        if order.id != bad and order.all(Kind.ACCEPTED, where="dead letters"):
            words = f"{order} is in the dead letters, and it can be printed."
            yield order.seen("put-aside-for-nothing", words)
        if acks and not order.before(acks[0], kind, where=place):
            when = f"{order} was acknowledged at {kit.when(acks[0])}"
            if done:
                yield order.seen("acked-too-early", f"{when}, before it was done.")
            else:
                yield order.seen("order-gone", f"{when}, and it was neither printed nor put aside.")
        if not acks:
            yield order.seen("held-up", f"{order} was not acknowledged within a minute.")
        if len(order.effects) > 1:
            twice.append(order)
    if len(twice) > 2 or any(len(order.effects) > 2 for order in twice):
        words = f"{len(twice)} receipts were printed more than once, the first of them for {twice[0]}."
        yield twice[0].seen("printed-again-and-again", words)
    kit.require(trace, Kind.CRASHED, "the process did not die.")


EXERCISE = kit.exercise(__name__, __doc__, kit.play(ten_receipts), judge)
