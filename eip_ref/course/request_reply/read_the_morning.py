"""Read the trace of a strange morning

Read the trace · medium · 3 points · 8 minutes

Answer: def read_the_morning()
Called: The morning that you can play: `simulate(a_strange_morning)`. The shop asks the bank to charge six
    orders, once each, and waits a second for each answer.
Promised: Your four lists are those of the trace.
Hint: Follow one message at a time: `morning.filter(message="m2")`. The reply to m2 is named m2.bank.
Hint: An `effect` at the bank is a charge. The shop knows only what was `delivered` to it, and not what was
    `dropped` or `lost`.
Hint: A reply may be a confirmation or a refusal: look at what the bank `refused`, and whether the shop got
    the reply to it.
Why: The bank has charged four orders. Of two of them the shop has the confirmation; one reply was lost and
    one was late. Only the refusal tells the shop for certain that nothing was charged: the request that was
    lost looks to it like the answer that was lost.

no-prediction: A prediction is missing or cannot be read. Return a dictionary with the four names; each of
    them has a list of numbers of orders, such as [1, 4].
charges-miscounted: The bank charged others. A charge is an `effect`, and it needs no answer to be one.
refusal-counts-as-yes: A refusal is no confirmation. The shop got a reply to it, and the reply says that the
    bank did nothing.
late-counts-as-known: The shop has other confirmations. A reply counts when it is delivered to the one who
    waits. What comes later is dropped, and the shop never reads it.
silence-counts-as-no: The shop is not as sure as you say. A silence is not a no. Certain is only what a
    reply says.
late-and-lost-confused: Another reply was late. A late reply arrives and is dropped. A reply that was lost
    never arrives.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress

import anyio

from ...autograder import kit
from ...lab import Faults
from ...message import Message
from ...request_reply import Replier, RequestError, Requestor
from ...trace import Kind, Trace, acting

__all__ = ["EXERCISE", "a_strange_morning"]

SLOW, LOST, REFUSED, REPLY_LOST = 2, 3, 4, 5
CONFIRMED, CHARGED, CERTAIN, LATE = "confirmed", "charged", "certainly not", "late"
MISTAKES = {
    CHARGED: "charges-miscounted",
    CONFIRMED: "late-counts-as-known",
    CERTAIN: "silence-counts-as-no",
    LATE: "late-and-lost-confused",
}


async def a_strange_morning() -> None:
    """Play six orders, one after the other. Each has a fate of its own."""
    chance = Faults()

    async def charge(request: Message) -> str:
        await anyio.sleep(1.3 if request.body == SLOW else 0.2)
        kit.happens(request, "charged")
        return "charged"

    async def send(attempt: Message) -> None:
        await (broken_there if attempt.body == LOST else there).send(attempt)

    async def send_back(reply: Message) -> None:
        await (broken_back if order == REPLY_LOST else back).send(reply)

    async def hear(reply: Message) -> None:
        await shop.receive(reply)

    bank = Replier(charge, send_back, name="bank")
    there, broken_there = (chance.link("to the bank", bank.receive, loss=loss) for loss in (0, 1))
    back, broken_back = (chance.link("to the shop", hear, loss=loss) for loss in (0, 1))
    with Requestor(send, name="shop") as shop, acting("shop"):
        async with AsyncExitStack() as stack:
            for each in (back, broken_back, bank, there, broken_there):
                await stack.enter_async_context(each)
            for order in range(1, 7):
                # Somebody gives order 4 the key of order 1, so the bank refuses it.
                key = "order 1" if order == REFUSED else f"order {order}"
                with suppress(RequestError):
                    await shop.request(order, timeout=1, idempotency_key=key)
                await anyio.sleep(0.5)


def _requests(trace: Trace, kind: Kind, where: str) -> list[int]:
    """The orders whose reply did this here."""
    replies = {f"{event.message}.bank" for event in trace.filter(Kind.SENT, where="to the bank")}
    numbers = _numbers(trace)
    found = trace.filter(kind, where=where, test=lambda event: event.message in replies)
    return sorted({numbers[event.message.removesuffix(".bank")] for event in found})


def _numbers(trace: Trace) -> dict[str, int]:
    asked = trace.filter(Kind.STATE, where="shop", test=lambda event: event.data["now"] == "waiting")
    return {event.message: number for number, event in enumerate(asked, 1)}


def charged(trace: Trace) -> list[int]:
    return sorted(_numbers(trace)[message] for message in trace.messages(Kind.EFFECT))


def certainly_not(trace: Trace) -> list[int]:
    """Those that the bank refused, when the shop heard it."""
    refused = {_numbers(trace)[message] for message in trace.messages(Kind.REFUSED, where="bank")}
    return sorted(refused.intersection(_requests(trace, Kind.DELIVERED, "shop")))


def confirmed(trace: Trace) -> list[int]:
    return [n for n in _requests(trace, Kind.DELIVERED, "shop") if n not in certainly_not(trace)]


READINGS = {
    CHARGED: charged,
    CONFIRMED: confirmed,
    CERTAIN: certainly_not,
    LATE: lambda trace: _requests(trace, Kind.DROPPED, "shop"),
}
RUN = kit.ask(kit.readings(a_strange_morning, READINGS), kit.numbers)


def judge(trace: Trace) -> kit.Symptoms:
    yield from kit.unreadable(trace, "no-prediction")
    for question, said, really in kit.answers(trace):
        if said != really:
            refused = question == CONFIRMED and REFUSED in said
            mistake = "refusal-counts-as-yes" if refused else MISTAKES[question]
            yield kit.seen(mistake, f"For {question!r} you said {said}.")


EXERCISE = kit.exercise(__name__, __doc__, RUN, judge, seeds=(1,))
