"""Report what was not sent

Repair · easy · 3 points · 6 minutes

Answer: async def send_all(counter, invoices)
Called: Your `send_all(counter, invoices)`. Nine customers pay, one a second. Billing leaves for two seconds
    while an invoice waits for it, comes back, takes two more, and closes for good. At 30 s the lights go out.
Promised: The list that you return names every invoice that the channel did not accept, and no other. A
    refusal does not stop the invoices behind it.
Hint: What does your code do in the line after a refusal, and who hears of it?
Hint: `send` raises an error for each invoice that was certainly not accepted. All these errors have a common
    name, which the lesson's table of conclusions shows.
Hint: Begin with an empty list. Around `await invoices.send(invoice)` alone, catch `NotSent`, and append
    `invoice.id` to the list there. Return the list after the loop.
Why: `NotSent` is the common name of all definite refusals. It is caught for one invoice at a time, so the
    loop goes on, and whoever reads the report can print those invoices or send them later.

retries-for-ever (runaway): Tries again without an end. Some receivers never come back, and a channel says so
    with an error of its own. Trying again helps only against an absence that ends.
no-report: There is no report. What you return is the report: a list with the ids of the invoices that were
    not accepted. It is empty when all were.
one-refusal-stops-all (ReceiverAway, ReceiverClosed): One refusal stopped the invoices behind it. A receiver
    that is away may be back for the next invoice. Here one error ended the whole day's work.
refusal-swallowed: A refusal that nobody hears of. Whoever reads the report believes that this invoice was
    accepted. Nobody will print it or send it again, so it is lost, and without a trace.
false-alarm: Reports as not sent what was accepted. Whoever reads the report will send this invoice again, and
    the customer gets it twice.
sent-twice: Sent again what had been accepted. A message that was accepted is in good hands. Sending it once
    more makes a second invoice.
"""

from __future__ import annotations

from collections import Counter as Tally
from typing import Any

import anyio

from ...autograder import kit
from ...lab.faults import Faults
from ...trace import Kind, Trace, acting
from .counter import Counter, Invoices, false_alarms, invoice, reported, twice

__all__ = ["EXERCISE", "a_day_at_the_counter"]

CUSTOMERS = 9
LIGHTS_OUT = 30.0  #: seconds; who has not reported by then is cancelled


async def a_day_at_the_counter(send_all: kit.Answer, seed: int) -> object:
    """Billing is there, leaves while an invoice waits, comes back, and closes for good.

    Returns what `send_all` reports.
    """
    chance = Faults(seed).random("the day")
    taken, number = chance.randint(1, 2), chance.randint(10, 80)
    invoices, counter, report = Invoices("fail"), Counter(number + 1, CUSTOMERS), None
    async with kit.participants() as start:
        start("billing", _billing, invoices, taken, round(chance.uniform(1.8, 2.2), 1))
        with acting("shop"), anyio.move_on_after(LIGHTS_OUT) as lights:
            report = await send_all(counter, invoices)
    ended = not lights.cancelled_caught
    kit.write_down(**counter.facts(), **invoices.facts(), reported=reported(report), ended=ended)
    return report


async def _billing(invoices: Invoices, taken: int, away: float) -> None:
    with invoices.receiver() as inbox:
        for work in [0.3] * taken + [1.5]:  # the last one takes so long that the next has to wait
            await inbox.receive()
            await anyio.sleep(work)
    await anyio.sleep(away)
    with invoices.receiver() as inbox:
        for _ in range(2):
            await inbox.receive()
            await anyio.sleep(0.3)
        invoices.close_receiver()


def judge(trace: Trace) -> kit.Symptoms:
    day = kit.facts(trace)
    again, times = max(Tally(day["offered"]).items(), key=lambda item: item[1], default=("", 0))
    if not day["ended"] and times > 3:
        words = f"{invoice(day, again)} was sent again and again until {LIGHTS_OUT:g} s."
        yield kit.seen("retries-for-ever", words, trace.filter(message=again))
    if day["reported"] is None:
        yield kit.seen("no-report", f"`send_all` returned no list of message ids by {LIGHTS_OUT:g} s.")
        return
    yield from _stopped(trace, day)
    yield from _unreported(trace, day)
    yield from false_alarms(trace, day)
    yield from twice(trace, day)
    kit.require(trace, Kind.REFUSED, "no invoice was refused.")


def _stopped(trace: Trace, day: dict[str, Any]) -> kit.Symptoms:
    """Invoices that were never offered, although billing had not closed."""
    missing = [message for message in day["invoices"] if message not in day["offered"]]
    if missing and not day["closed"]:
        refused = trace.filter(Kind.REFUSED)[-1:]
        after = f"After the refusal at {refused[0].at:.1f} s" if refused else "Though billing was there"
        more = f", nor were {len(missing) - 1} behind it" if len(missing) > 1 else ""
        words = f"{after} {invoice(day, missing[0])} was never sent{more}."
        yield kit.seen("one-refusal-stops-all", words, refused)


def _unreported(trace: Trace, day: dict[str, Any]) -> kit.Symptoms:
    """Invoices that were not accepted and that the report does not name."""
    known = day["invoices"] if day["closed"] else day["offered"]  # the others are no refusals
    for message in dict.fromkeys(known):
        if message not in day["accepted"] and message not in day["reported"]:
            refused = trace.filter(Kind.REFUSED, message=message)[-1:]
            why = "".join(f" at {refusal.at:.1f} s ({refusal.data['reason']})" for refusal in refused)
            words = f"{invoice(day, message)} was not accepted{why}, and the report does not name it."
            yield kit.seen("refusal-swallowed", words, trace.filter(message=message))


EXERCISE = kit.exercise(__name__, __doc__, kit.play(a_day_at_the_counter, max_events=2_000), judge)
