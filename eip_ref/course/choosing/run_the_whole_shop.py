"""Run the whole shop

Repair · hard · 6 points · 40 minutes

Answer: async def shop(door, payments, stock, mail, paper)
Called: Your `shop` in short storms: five faults, each alone; services that are deaf to the first three
    messages of each question; a process that dies at 6.45 s, and at each of its first 35 steps. It
    starts again 1 or 2 s later, from the beginning, and has its `paper`.
Promised: Everybody pays once at most. Whoever hears “yes” has paid, has her tea reserved once, and gets
    mail. Whoever hears “no” has paid nothing in the end and gets no mail; “no” is only for those who want
    what is sold out. Everybody hears one of the two, and the first word within 3 s.
Hint: Begin with one fault: `simulate(a_short_storm, shop, "slow payments", seed=1)` is the first storm of
    the check, and `filter(message="slow payments o5").table()` tells what became of order 5 in it. Mend
    the shop for one storm after the other.
Hint: An idempotency key for each question, so that you may ask until there is an answer. What was paid
    and cannot be reserved is paid back. And what must be known after a death stands on the paper before
    anybody hears of it.
Hint: At the door: write the order, say “accepted”, start a task for it. In the task: charge and reserve
    under keys, again and again; refund when stock says "no"; `mail.put`; say the last word; write the row
    again as None. At the start: a task for each row that is not None.
Why: The paper is written before the first word, so a death loses no promise. All steps have keys, so to
    begin again from the paper is harmless. Nobody waits at the door for what payments or stock do.

paid-twice: Somebody paid twice. A charge without an answer may have happened, and it was asked for again
    under no key or a new one. Make the key from the order's id alone: it must be the same in each attempt
    and after each death.
silent: Somebody never heard the end of it. Her task ended without a last word, or died with the process
    and nobody began it again. When your shop starts, is every order that somebody was told about and that
    is not over on the paper, and do you read it?
paid-for-nothing: Somebody paid and got nothing. Either stock had said "no" and her money was not given
    back, or the shop gave up on a charge that happened all the same. A refund, too, is asked for until
    there is an answer, and its order stays on the paper until then.
untrue-yes: A “yes” is not true. It was said before payments and stock had answered "done", or although
    one of them had not. Until then the shop may only say “accepted”.
no-mail: Somebody never got mail. Whoever calls mail does not hear that it is away; its queue keeps the
    order. And an order stays on the paper until it is in the queue.
reserved-twice: Tea was reserved twice for one order. Stock needs a key as much as payments do.
mail-for-nothing: Mail wrote to somebody who heard “no”. Tell mail only when payments and stock have both
    answered "done".
slow: Somebody waited more than 3 s for a first word. Each order waits at the door for the work on others,
    or for its own. Let the work run in a task, and say “accepted” at the door, also
    to those who come again after a death.
no-without-cause: Somebody heard “no”, and stock had not said it. A network that loses a message, a
    service that is slow and many orders at once are no reason to send customers away: ask again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from ...autograder import kit
from ...trace import Kind, Trace
from .lamps import blamed
from .storm import Weather, a_storm

__all__ = ["EXERCISE", "a_short_storm"]

SHORT = Weather(12, 0, (4.0, 6.0), (7.0, 9.0), (10.0, 11.0), milk=0, loss=0.12)
TWO_ORDERS = SHORT._replace(end=2, every=2)
Storm = tuple[tuple[str, ...], Weather]
SHORT_STORMS: dict[str, Storm] = {
    **{fault: ((fault,), SHORT) for fault in ("slow payments", "mail away", "sold out", "network", "spike")},
    "deaf": (("sold out",), SHORT._replace(every=3, deaf=3)),
    **{f"death at {at:g} s": (("network", "death", "sold out"), SHORT._replace(death=at)) for at in (6.45,)},
    **{
        f"death at step {step}": (("death", "sold out"), TWO_ORDERS._replace(dies_at_step=step))
        for step in range(1, 36)
    },
}
MISTAKES = {
    "twice": ("paid-twice", "paid more than once"),
    "silent": ("silent", "never heard “yes” or “no”"),
    "for_nothing": ("paid-for-nothing", "paid, and did not hear “yes”"),
    "untrue": ("untrue-yes", "heard “yes”, and it is not paid and reserved"),
    "no_mail": ("no-mail", "heard “yes”, and never got mail"),
    "slow": ("slow", "waited more than 3 s for a first word"),
}


async def a_short_storm(shop: kit.Answer, name: str, seed: int = 1) -> None:
    """Play one of the short storms: twelve orders with a fault or a death, or two and a death at a step."""
    faults, weather = SHORT_STORMS[name]
    await a_storm(shop, faults, weather._replace(name=f"{name} "))


def judge(trace: Trace) -> kit.Symptoms:
    found = blamed(trace)
    for lamp, (mistake, words) in MISTAKES.items():
        for order in found[lamp][:1]:
            yield _seen(trace, mistake, order, words)
    sold_out = {event.message for event in trace.filter(Kind.NOTE, where="stock")}
    said_no = [e.message for e in trace.filter(Kind.FINISHED, where="customer") if e.data["said"] == "no"]
    for order in [order for order in said_no if order not in sold_out][:1]:
        yield _seen(trace, "no-without-cause", order, "heard “no”, and stock had not said it")
    written = set(trace.messages(Kind.EFFECT, where="mail"))
    for order in [order for order in said_no if order in written][:1]:
        yield _seen(trace, "mail-for-nothing", order, "heard “no”, and mail has written to her")
    reserved = Counter(trace.messages(Kind.EFFECT, where="stock"))
    for order in [order for order, count in reserved.items() if count > 1][:1]:
        yield _seen(trace, "reserved-twice", order, "has her tea reserved more than once")
    kit.require(trace, Kind.STARTED, "no customer came")


def _seen(trace: Trace, mistake: str, order: str, words: str) -> kit.Symptom:
    storm, _, number = order.rpartition(" ")
    return kit.Journey(trace, order).seen(
        mistake, f"in the storm “{storm}” the customer of {number} {words}."
    )


def _storms(seed: int) -> Collection[str]:
    """All of them with the first seed; with others those in which chance has a part."""
    return (
        SHORT_STORMS
        if seed == 1
        else [name for name, (faults, _) in SHORT_STORMS.items() if "network" in faults]
    )


EXERCISE = kit.exercise(__name__, __doc__, kit.cases(a_short_storm, _storms, judge), judge, seeds=(1,))
