"""Offers from many suppliers at once, of lesson 06b: each is slow now and then."""

from __future__ import annotations

from contextlib import AsyncExitStack

import anyio

from ...lab import Faults, Uniform
from ...message import Message
from ...request_reply import Replier, Requestor
from ...trace import Kind, Trace, acting, record

__all__ = ["ask_suppliers", "completeness"]

QUESTIONS = 100
SLOW = 0.02  #: the share of its questions for which a supplier takes 5 s


async def ask_suppliers(suppliers: int, wanted: int, timeout: float = 1.0) -> None:
    """Ask all suppliers 100 times for an offer, and go on with the first `wanted` of the offers.

    The wait ends after `timeout` seconds, with the offers that are there.
    """
    chance = Faults()

    async def offer(request: Message) -> int:
        slow = chance.random("slow").random() < SLOW
        await chance.sleep("suppliers", 5.0 if slow else Uniform(0.05, 0.15))
        return chance.random("price").randint(20, 40)

    async def to_all(attempt: Message) -> None:
        for each in all_of_them:
            await each.receive(attempt)

    async def hear(reply: Message) -> None:
        await shop.receive(reply)

    async with AsyncExitStack() as stack:
        shop = stack.enter_context(Requestor(to_all, name="shop"))
        all_of_them = [
            await stack.enter_async_context(Replier(offer, hear, name=f"supplier {number}", grace=0))
            for number in range(1, suppliers + 1)
        ]
        with acting("shop"):
            for number in range(QUESTIONS):
                began = anyio.current_time()
                offers = await shop.scatter(f"tea {number}", expected_replies=wanted, timeout=timeout)
                waited = anyio.current_time() - began
                record(
                    Kind.EFFECT, "shop", f"tea {number}", effect="bought", offers=len(offers), waited=waited
                )


def completeness(trace: Trace) -> tuple[int, float]:
    """The questions whose offers were all there in time, and the seconds that half of the shops waited."""
    bought = trace.filter(Kind.EFFECT)
    most = max(event.data["offers"] for event in bought)
    waits = sorted(event.data["waited"] for event in bought)
    return sum(event.data["offers"] == most for event in bought), round(waits[len(waits) // 2], 2)
