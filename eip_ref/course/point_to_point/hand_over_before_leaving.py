"""Hand over before leaving

Repair · hard · 4 points · 7 minutes

Answer: async def take_orders(counter, invoices, patience)
Called: Your `take_orders(counter, invoices, patience)`. Six customers pay, one a second; billing needs about
    two seconds for each invoice. After the last customer there are three seconds. Tasks that still run when
    you return are cancelled, as at the end of every program.
Promised: No customer waits for billing. Each invoice is accepted, or named in the report that you return. You
    return when all are accepted, and at the latest `patience` seconds after the last customer.
Hint: Who waits for the tasks that the broken version starts, and who knows how they ended?
Hint: Start them in a task group: its block ends only when all of them have ended. A task group has a
    `cancel_scope`, and a cancel scope has a `deadline`.
Hint: Keep a list of ids that are not accepted yet: add an id before its task starts, and let the task remove
    it after `send`. After the loop, still inside the group's block, set `group.cancel_scope.deadline =
    anyio.current_time() + patience`. Return the list after the block.
Why: The task group owns the tasks, so nothing can outlive it. Its deadline bounds the wait, and a cancelled
    `send` takes its message back, so what is left on the list was certainly not accepted.

no-report: There is no report. What you return is the report: a list with the ids of the invoices that were
    not accepted. It is empty when all were.
customers-wait: The next customer waits for billing. The counter is asked for the next invoice only when the
    one before was taken. So a slow receiver slows the shop itself.
stays-too-long: Waits longer than it may. A shutdown without a bound is a program that cannot be stopped.
    Whoever stops it by force loses everything that it still holds.
nobody-owns-the-tasks: Tasks that nobody waits for. A task that is started and forgotten ends with the
    program, in the middle of its work, and no line of yours learns of it.
left-unreported: Gave up on an invoice and did not say so. Giving up after the time is over is right. But what
    was given up must be named, or it is lost for good.
false-alarm: Reports as not sent what was accepted. Whoever reads the report will send this invoice again, and
    the customer gets it twice.
sent-twice: Sent again what had been accepted. A message that was accepted is in good hands. Sending it once
    more makes a second invoice.
leaves-too-early: Leaves before its time is up. There was still time in which billing would have taken more.
    Reporting those invoices is honest, and makes work for somebody that was not needed.
"""

from __future__ import annotations

from typing import Any

import anyio

from ...autograder import kit
from ...lab.faults import Faults
from ...trace import Kind, Trace, acting
from .counter import Counter, Invoices, false_alarms, invoice, reported, twice

__all__ = ["EXERCISE", "closing_time"]

CUSTOMERS = 6
PATIENCE = 3.0  #: seconds from the last customer until the shop is dark
CLOSES = CUSTOMERS + PATIENCE


async def closing_time(take_orders: kit.Answer, seed: int) -> object:
    """Customers come faster than billing takes invoices; then the shop closes and its program ends.

    Returns what `take_orders` reports. Tasks that it leaves behind are cancelled, as `asyncio.run` does when
    a program ends.
    """
    chance = Faults(seed).random("closing time")
    invoices, counter = Invoices("block"), Counter(chance.randint(10, 80) + 1, CUSTOMERS)
    opens, work = chance.uniform(1.1, 1.7), chance.uniform(1.7, 2.3)
    async with kit.participants() as start:
        # A twentieth of a second beside every time at which something else happens.
        start("billing", _billing, invoices, round(opens, 1) + 0.05, round(work, 1))
        with acting("shop"):
            report, left_at, left_behind = await kit.as_program(
                lambda: take_orders(counter, invoices, PATIENCE)
            )
    evening = {**counter.facts(), **invoices.facts(), "reported": reported(report)}
    kit.write_down(**evening, left_at=left_at, left_behind=left_behind)
    return report


async def _billing(invoices: Invoices, opens: float, work: float) -> None:
    await anyio.sleep(opens)
    with invoices.receiver() as inbox:
        async for _ in inbox:
            await anyio.sleep(work)


def judge(trace: Trace) -> kit.Symptoms:
    evening = kit.facts(trace)
    if evening["reported"] is None:
        yield kit.seen("no-report", "What `take_orders` returned is no list of message ids.")
        return
    for part in (_customers_wait, _stays, _lost, false_alarms, twice, _leaves_early):
        yield from part(trace, evening)
    if not evening["reported"]:
        raise kit.Vacuous("billing took every invoice in time.")


def _customers_wait(trace: Trace, evening: dict[str, Any]) -> kit.Symptoms:
    waited = {message: time for message, time in evening["waited"].items() if time > 0.01}
    if len(evening["waited"]) < CUSTOMERS:
        yield kit.seen("customers-wait", f"Only {len(evening['waited'])} of {CUSTOMERS} were served.")
    elif waited:
        message = max(waited, key=lambda each: waited[each])
        words = f"The customer of {invoice(evening, message)} waited {waited[message]:.1f} s to be served, "
        words += "behind invoices that billing had not taken."
        yield kit.seen("customers-wait", words, trace.filter(Kind.SENT, Kind.ACCEPTED))


def _stays(trace: Trace, evening: dict[str, Any]) -> kit.Symptoms:
    left = evening["left_at"]
    if left > CLOSES + 0.01:
        words = f"`take_orders` returned at {left:.1f} s, and the shop was dark at {CLOSES:g} s."
        yield kit.seen("stays-too-long", words, trace.filter(Kind.ACCEPTED, test=lambda e: e.at > CLOSES))


def _lost(trace: Trace, evening: dict[str, Any]) -> kit.Symptoms:
    """Invoices that were neither accepted nor reported."""
    mistake = "nobody-owns-the-tasks" if evening["left_behind"] else "left-unreported"
    for message in evening["invoices"]:
        if message not in evening["accepted"] and message not in evening["reported"]:
            words = f"When the program ended at {evening['left_at']:.1f} s, {invoice(evening, message)} was "
            words += "not accepted, and the report does not name it."
            yield kit.seen(mistake, words, trace.filter(message=message))


def _leaves_early(trace: Trace, evening: dict[str, Any]) -> kit.Symptoms:
    early = CLOSES - evening["left_at"]
    waiting = [message for message in evening["invoices"] if message not in evening["accepted"]]
    if early > 0.01 and waiting:
        words = (
            f"`take_orders` returned at {evening['left_at']:.1f} s, {early:.1f} s before its time was up, "
        )
        words += f"while {invoice(evening, waiting[0])} still waited."
        yield kit.seen("leaves-too-early", words, trace.filter(message=waiting[0]))


EXERCISE = kit.exercise(__name__, __doc__, kit.play(closing_time), judge)
