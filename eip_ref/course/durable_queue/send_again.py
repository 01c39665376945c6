"""Send again after a crash

Extend · medium · 2 points · 10 minutes

Answer: async def send_again(put, todo, notes)
Called: Your `send_again(put, todo, notes)` on five orders, of which two are equal. The till dies at one of
    its awaits, a different one in each of 30 runs, and starts again a second later with the same `todo`
    and the same notes.
Promised: Each of the five orders is accepted once, with the text that it has on the list. Two equal orders
    are two orders.
Hint: What does the till know after a restart about an order whose `put` had not returned?
Hint: It must put that order again, and the queue must know that it is the same one. What is the same in
    each life, and different for each order?
Hint: The place of an order in `todo` never changes: `Message(order, id=f"order-{number}")`. Write into the
    notes how many are done, after the `put` and never before it.
Why: The id is made from what is the same in each life, so the queue knows an order that comes again. The
    note comes after the confirm: a crash between the two repeats a put, which is harmless, and never
    leaves one out.

changed: An order was accepted that is not on the list. The body of a message is the order as it stands on
    the list. What tells two orders apart belongs in the id.
lost: An order was never accepted. Either the notes said that it was done before its `put` had returned, or
    it was left out, because another order has the same text.
twice: An order was accepted twice. It was put again after the crash, with another id, so the queue saw two
    orders. A `Message` without an id gets a new one each time.
two-are-one: Two orders became one. The queue knows an order by its id and by nothing else. Two orders got
    the same id here, so the second was taken for the first one, sent again.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import anyio.lowlevel

from ...autograder import kit
from ...lab import Crash, Participant
from ...message import Message
from ...trace import Kind, Trace, record, whoami

__all__ = ["EXERCISE", "Notes", "a_till_dies"]

STEPS = range(1, 31)


class Notes:
    """A sheet of paper: what was written last is there after a crash. It takes one JSON value."""

    def __init__(self) -> None:
        self._value: Any = None

    def read(self) -> Any:
        """The value that was written last; None at the beginning."""
        return self._value

    async def write(self, value: Any) -> None:
        """Return when the value is on the paper, in place of the one before."""
        await anyio.lowlevel.checkpoint()
        self._value = value
        record(Kind.NOTE, "notes", text=f"notes: {value}")
        await anyio.lowlevel.checkpoint()


class _Broker:
    """A durable queue that remembers ids."""

    def __init__(self) -> None:
        self.accepted: dict[str, str] = {}
        self.known: list[str] = []

    async def put(self, message: Message) -> None:
        """Return when the order is on the disk; an id that is known adds nothing."""
        record(Kind.SENT, "orders", message.id, label=message.label)
        await anyio.lowlevel.checkpoint()
        if message.id in self.accepted:
            self.known.append(str(message.body))
            record(Kind.DUPLICATE, "orders", message.id, who=whoami())
        else:
            self.accepted[message.id] = str(message.body)
            record(Kind.ACCEPTED, "orders", message.id)
        await anyio.lowlevel.checkpoint()  # the commit is done, and the confirm is under way


async def a_till_dies(send_again: kit.Answer, step: int, seed: int) -> None:
    """Play the till with its five orders; it dies at this step of its life, and lives again."""
    todo = ["tea for Ada", "tea for Ada", "tea for Ben", "cake for Cem", "milk for Dina"]
    Random(seed).shuffle(todo)
    broker, notes = _Broker(), Notes()
    crashes = (Crash(step=step, restart_after=1),)

    async def life() -> None:
        await send_again(broker.put, [*todo], notes)

    await Participant("till", life, crashes=crashes).run()
    kit.write_down(todo=todo, accepted=list(broker.accepted.values()), known=broker.known, step=step)


def judge(trace: Trace) -> kit.Symptoms:
    day = kit.facts(trace)
    asked, accepted = Counter(day["todo"]), Counter(day["accepted"])
    died = f"The till died at its await number {day['step']}." if _died(trace) else "Nobody died."
    for order in accepted - asked:
        if order not in asked:
            yield kit.seen("changed", f"“{order}” was accepted, and nobody ordered it.", trace)
    for order, times in asked.items():
        if accepted[order] < times:
            mistake = "two-are-one" if order in day["known"] else "lost"
            words = f"“{order}” was ordered {times} times and accepted {accepted[order]} times. {died}"
            yield kit.seen(mistake, words, trace)
        if accepted[order] > times:
            words = f"“{order}” was ordered {times} times and accepted {accepted[order]} times. {died}"
            yield kit.seen("twice", words, trace)


def _died(trace: Trace) -> bool:
    return trace.count(Kind.CRASHED) > 0


EXERCISE = kit.exercise(__name__, __doc__, kit.cases(a_till_dies, lambda seed: STEPS, judge), judge)
