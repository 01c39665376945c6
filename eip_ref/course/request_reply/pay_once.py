"""Pay once

Extend · medium · 4 points · 10 minutes

Answer: async def pay(bank, order)
Called: Your `pay(bank, order)` for two orders, one after the other, on each of six days: the bank is quick;
    it is slow; it refuses twice; it refuses always; it charges and never answers; it charges, the connection
    breaks, and then it refuses.
Promised: No order is charged twice. You return 'paid' only of what the bank has confirmed, 'not paid' only
    of what was certainly not charged, and else 'unknown', within 20 s. What was refused twice is paid all
    the same.
Hint: There are two kinds of error. Which of them says that the bank has done nothing?
Hint: `NotDone`: ask again, after a pause. `Indefinite`: ask again only under the same name, or say
    'unknown'. And what if a refusal comes after something indefinite?
Hint: `await request_again(bank, order, timeout=2, idempotency_key=order, pauses=(0.5, 1, 2))` does it. Then
    `except NotDone:` is one answer, `except Indefinite:` another, and coming through is the third.
Why: With one key for the order the bank knows each repetition, and charges once. A refusal is definite, so
    asking again is safe in any case; but only when no attempt before it was indefinite is the order
    certainly not charged.

no-timeout (ValueError): The request has no end. Without a timeout or a deadline it is not even sent.
one-key-for-all: Two orders have the same key. To the bank they are one operation, so it carries out the first
    and refuses the second.
charged-twice: An order was charged twice. A timeout is no refusal: the bank may be at work on it, and each
    request without the same key is a new charge.
forgot-its-doubt: Forgot that it was in doubt. A refusal speaks of its own attempt. An earlier one had no
    answer, and that one was charged.
said-not-paid: Said 'not paid' of an order that was charged. The customer will pay it again somewhere else.
said-paid: Said 'paid', and the bank has confirmed nothing. If nothing was charged, the tea is given away.
gave-up-at-a-refusal: Gave up although asking again was safe. A refusal is definite: nothing was done, so
    nothing can be done twice.
knows-less: Knows less than it was told. The bank confirmed the charge, or refused it, and the shop heard
    that.
too-patient: Took longer than 20 s. The customer stands at the till.
no-such-word: An answer that is none of the three. Whoever asks decides by 'paid', 'not paid' and 'unknown'.
error-came-out (raised): The function raised an error. It is one of the outcomes that it has to name.
"""

from __future__ import annotations

from typing import Any

import anyio

from ...autograder import kit
from ...message import Message
from ...request_reply import Busy, KeyReused, Requestor, TransportError
from ...trace import Kind, Trace, acting, record
from .ends import answering

__all__ = ["EXERCISE", "six_days"]

QUICK, SLOW, TWICE, ALWAYS, SILENT = "quick", "slow", "busy twice", "closed", "silent"
BROKEN = "broken, then busy"
DAYS = (QUICK, SLOW, TWICE, ALWAYS, SILENT, BROKEN)
PAID, NOT_PAID, UNKNOWN = "paid", "not paid", "unknown"
LIMIT = 20.0
REUSED = "the key of something else"


class Bank:
    """The bank as the shop sees it when it pays one order."""

    def __init__(self, day: str, requestor: Requestor) -> None:
        self._day = day
        self._requestor = requestor
        self._refusals = {TWICE: 2, ALWAYS: 10_000}.get(day, 0)

    async def request(self, body: object, **named: Any) -> Message:
        """Ask for a charge: takes, gives and raises what `Requestor.request` does."""
        if self._refusals:
            self._refusals -= 1
            await anyio.sleep(0.1)
            record(Kind.REFUSED, "bank", str(body), who="bank", reason="busy")
            raise Busy("the bank has too much to do")
        try:
            reply = await self._requestor.request(body, **named)
        except KeyReused:
            record(Kind.REFUSED, "bank", str(body), who="bank", reason=REUSED)
            raise
        if self._day == BROKEN:
            self._refusals = 10_000
            record(Kind.LOST, "line", reply.id, who="")
            raise TransportError("the connection broke")
        return reply


async def six_days(pay: kit.Answer, day: str, seed: int) -> None:
    """Pay two orders, one after the other, on a day of this kind."""
    number = 100 * DAYS.index(day) + seed % 80 + 101

    async def charge(request: Message) -> str:
        await anyio.sleep(3.5 if day == SLOW else 0.2)
        record(Kind.EFFECT, "bank", str(request.body), effect="charged")
        await anyio.sleep(10 * LIMIT if day == SILENT else 0)
        return "charged"

    async with answering(charge, name="bank", asker="shop") as requestor:
        for order in (f"order {number}", f"order {number + 10}"):
            began = anyio.current_time()
            said = await _said(pay, Bank(day, requestor), order)
            record(
                Kind.NOTE,
                "till",
                order,
                who="till",
                text=f"{order}: {said}",
                day=day,
                said=said if isinstance(said, str) else repr(said),
                took=anyio.current_time() - began,
            )


async def _said(pay: kit.Answer, bank: Bank, order: str) -> object:
    """Let `pay` say its word. No deadline surrounds it, so a request that has none is seen to have none."""
    said = None

    async def give_up() -> None:
        await anyio.sleep(2 * LIMIT)
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(give_up)
        with acting("shop"):
            said = await pay(bank, order)
        group.cancel_scope.cancel()
    return said


def judge(trace: Trace) -> kit.Symptoms:
    for note in trace.filter(Kind.NOTE, where="till"):
        day, said, took = note.data["day"], note.data["said"], note.data["took"]
        charges, order = len(trace.filter(Kind.EFFECT, message=note.message)), note.message
        told = f"the bank is {day!r}: you said {said!r} of {order}, and the bank charged it"
        told = f"{told} {('not at all', 'once', 'twice')[min(charges, 2)]}"
        told = f"{told} or more often." if charges > 2 else f"{told}."
        shown = trace.filter(test=lambda event, order=order: event.message == order)  # type: ignore[misc]
        reused = [
            event for event in trace.filter(Kind.REFUSED, message=order) if event.data["reason"] == REUSED
        ]
        if charges > 1:
            yield kit.seen("charged-twice", told, shown)
        elif reused:
            yield kit.seen("one-key-for-all", told, shown)
        elif took > LIMIT:
            yield kit.seen("too-patient", f"the bank is {day!r}: it took {took:.1f} s.", shown)
        elif said not in (PAID, NOT_PAID, UNKNOWN):
            yield kit.seen("no-such-word", told, shown)
        elif said == NOT_PAID and charges:
            yield kit.seen("forgot-its-doubt" if day == BROKEN else "said-not-paid", told, shown)
        elif said == PAID and day in (ALWAYS, SILENT, BROKEN):
            yield kit.seen("said-paid", told, shown)
        elif day == TWICE and said != PAID:
            yield kit.seen("gave-up-at-a-refusal", told, shown)
        elif (day == ALWAYS and said == UNKNOWN) or (day == QUICK and said != PAID):
            yield kit.seen("knows-less", told, shown)


EXERCISE = kit.exercise(__name__, __doc__, kit.cases(six_days, lambda seed: DAYS, judge), judge)
