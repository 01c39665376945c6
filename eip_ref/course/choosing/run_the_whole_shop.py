"""Run the whole shop

Repair · hard · 6 points · 40 minutes

Answer: async def shop(door, payments, stock, mail, paper)
Called: Your `shop` in eleven short storms: five faults, each alone, and a process that dies, at six
    moments. It starts again 2 s later, from the beginning, and has its `paper`.
Promised: Everybody pays once at most. Who hears “yes” has paid, has her tea reserved, and gets mail. Who
    hears “no” has paid nothing in the end, and “no” hears only who wants what is sold out. Everybody
    hears one of the two, and the first word within 3 s.
Hint: Which of these does the naive shop break in each storm? Look at one fault alone: `simulate(a_storm,
    shop, ("network",), seed=1)`.
Hint: An idempotency key for each question, so that you may ask until there is an answer. What was paid
    and cannot be reserved is paid back. And what must be known after a death stands on the paper before
    anybody hears of it.
Hint: At the door: write the order, say “accepted”, start a task for it. In the task: charge and reserve
    under keys, again and again; refund when stock says "no"; `mail.put`; say the last word; write the row
    again as None. At the start: a task for each row that is not None.
Why: The paper is written before the first word, so a death loses no promise. All steps have keys, so to
    begin again from the paper is harmless. Nobody waits at the door for what payments or stock do.

paid-twice: Somebody paid twice. A charge without an answer may have happened, and it was repeated as a
    new one.
silent: Somebody never heard the end of it. Her order was known to nobody but a process that died.
paid-for-nothing: Somebody paid and got nothing. Her money was not given back when her tea could not be
    had.
untrue-yes: A “yes” is not true. She heard it before all was done, or although stock had said “no”.
no-mail: Somebody never got mail. Whoever calls mail does not hear that it is away, or that it cannot
    read.
slow: Somebody waited more than 3 s for a first word. Each order waits at the door for the work on others,
    or for its own.
no-without-cause: Somebody heard “no”, and there was tea for her. A network that loses a message, or a
    service that is slow, is no reason to send customers away.
"""

from __future__ import annotations

from ...autograder import kit
from ...trace import Kind, Trace
from .lamps import blamed
from .storm import Weather, a_storm

__all__ = ["EXERCISE"]

ALONE = ("slow payments", "mail away", "sold out", "network", "spike")
DEATHS = (5.005, 5.3, 6.45, 7.6, 8.74, 9.2)
MISTAKES = {
    "twice": ("paid-twice", "paid more than once"),
    "silent": ("silent", "never heard “yes” or “no”"),
    "for_nothing": ("paid-for-nothing", "paid, and did not hear “yes”"),
    "untrue": ("untrue-yes", "heard “yes”, and it is not paid and reserved"),
    "no_mail": ("no-mail", "heard “yes”, and never got mail"),
    "slow": ("slow", "waited more than 3 s for a first word"),
}

Case = tuple[tuple[str, ...], float]


async def _storm(shop: kit.Answer, case: Case, seed: int) -> None:
    faults, death = case
    name = f"{faults[0][:2]} {death:g} "
    weather = Weather(12, death, (4.0, 6.0), (7.0, 9.0), (10.0, 11.0), milk=0, loss=0.12, name=name)
    await a_storm(shop, faults, weather)


def _cases(seed: int) -> list[Case]:
    alone: list[Case] = [((fault,), 0.0) for fault in ALONE]
    return [*alone, *((("network", "death", "sold out"), death) for death in DEATHS)]


def judge(trace: Trace) -> kit.Symptoms:
    found = blamed(trace)
    for lamp, (mistake, words) in MISTAKES.items():
        for order in found[lamp][:1]:
            yield kit.Journey(trace, order).seen(mistake, f"the customer of order {order} {words}.")
    teas = {event.message: event.data["tea"] for event in trace.filter(Kind.STARTED, where="customer")}
    for event in trace.filter(Kind.FINISHED, where="customer"):
        if event.data["said"] == "no" and teas[event.message] != "milk":
            words = f"the customer of order {event.message} heard “no”."
            yield kit.Journey(trace, event.message).seen("no-without-cause", words)
            break
    kit.require(trace, Kind.STARTED, "no customer came")


EXERCISE = kit.exercise(__name__, __doc__, kit.cases(_storm, _cases, judge), judge, seeds=(1,))
