"""Dead letters, and the way back

Complete · hard · 4 points · 14 minutes

Answer: class Desk(orders, dead, limit) with async work, async replay
Called: `Desk(orders, dead, limit).work(pack)` in a process of its own, on four orders. Two of them have no
    address: `pack` raises an error, until the address book is mended at 60 s. Then `Desk(orders, dead,
    limit).replay()` in another process, and once more half a minute later. Each of the two processes dies
    once, between its two steps of moving one order from queue to queue, and starts again. The limit is 2 or
    3.
Promised: After `limit` failures an order is moved to `dead`, with its id, body and headers, and with the text
    of the error in the header `reason`. The good orders are packed meanwhile. `replay` moves all dead letters
    back, oldest first, and returns. No order is ever lost; one that was in the hands of a process that died
    may be packed twice.
Hint: Moving a message takes two steps, and the process may die between them. After which of the two orders of
    the steps is the message in no queue, and after which is it in both?
Hint: `lease.failures` says how often the order failed before this time. Put a copy into the other queue
    first, and acknowledge then; the same in `replay`. `dead.receive(timeout=0)` raises `Empty` when no letter
    is left.
Hint: In `except Exception as error:` if `lease.failures + 1 < self.limit`, nack; else make
    `lease.message.copy(headers={**lease.message.headers, "reason": str(error)})`, put it into `dead`, ack. In
    `replay`: `while True:` receive with `timeout=0`, on `Empty` return; put, then ack.
Why: Put first, ack then: a crash between the two leaves the order in both queues, which is a repeat and no
    loss. The letter is a copy with one header more, so the replayed order is the one that was sent.

rewritten-letter: The dead letter is no longer the message that it was. People look it up by its id, and the
    replayed message must be the one that was sent: the same id, body and headers.
ack-before-put: An order was lost on its way between two queues. After the ack one queue has forgotten it, and
    before the put the other does not know it. In between it exists nowhere but in a process that may die.
moved-and-kept: An order was put into one queue and never acknowledged in the other. So it was not moved:
    there are two of it now. The first queue hands its own out again, and it is moved again, and again.
retries-for-ever: A poison order was never put aside. It fails each time, and it will fail the next time.
    Somebody has to stop trying and to keep the order where people can look at it.
wrong-count: Put aside after the wrong number of failures. `limit` is the number of attempts that may fail.
    `lease.failures` counts the failures before this lease.
no-reason: The dead letter does not say why it died. Somebody will find it weeks later. Without the error
    nobody knows what to mend.
poison-stops-the-rest (NoAddress): Good orders had to wait for the poison ones. One order that cannot be
    packed must not stop those that can.
replay-never-returns: `replay` does not come back. It waits for dead letters that do not come. The operator
    wants to know when all are on their way.
replayed-out-of-order: The dead letters came back in another order. The one that died first was sent first.
    Whoever waited longest comes first.
not-replayed: A dead letter did not come back. The address book is mended, and the order still lies with the
    dead letters, or nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import anyio
import anyio.lowlevel

from ...autograder import kit
from ...lab.wording import plural
from ...message import Message
from ...message_queue import NEVER, Lease, MessageQueue, Queue, Settled
from ...trace import Event, Kind, Trace, acting, record, whoami, working
from .shop import PATIENT

__all__ = ["EXERCISE", "a_day_with_poison"]

MENDED = 60.0  #: seconds: when the address book is mended
BUSINESS = 40.0  #: seconds: when all the good orders must be packed
LETTERS = "letters"  #: the `where` of a note for each message that is put aside: what it holds
RETURNED = "replay"  #: the `where` of the note that `replay` has returned
ERROR = "no address for "


class NoAddress(Exception):
    """The order cannot be packed now."""


async def a_day_with_poison(make: kit.Answer, seed: int) -> None:
    """Play four orders, two of them poison; worker and operator each die once between two queues."""
    day = _Day(make, seed)
    dead = _Watched("orders.dead", day.heard, policy=NEVER)
    orders = _Watched("orders", day.heard, policy=PATIENT, dead_letters=dead)
    async with dead, orders, kit.participants() as start:
        with acting("shop"):
            for name, gift in day.gift.items():
                await orders.put(Message(f"tea for {name}", headers={"customer": name, "gift": gift}))
        start("worker", day.work, orders, dead, deaths=4)
        await anyio.sleep_until(MENDED)
        record(Kind.NOTE, "address book", text="the address book is mended", limit=day.limit)
        for _ in range(2):  # a letter that was in the operator's hands comes with the second call
            with anyio.move_on_after(15):
                await kit.mortal("operator", day.replay, orders, dead).run()
                record(Kind.NOTE, RETURNED, text="replay has returned")
            await anyio.sleep(15)


class _Watched(MessageQueue):
    """A queue that tells the scenario what it has just taken, and what was just acknowledged."""

    def __init__(self, name: str, heard: Callable[[str, Message], None], **settings: Any) -> None:
        super().__init__(name, lease=10, **settings)
        self._heard = heard

    async def put(self, message: Message, *, delay: float = 0.0) -> None:
        await super().put(message, delay=delay)
        self._heard(self.name, message)
        await anyio.lowlevel.checkpoint()

    async def ack(self, lease: Lease) -> Settled:
        settled = await super().ack(lease)
        self._heard(self.name, lease.message)
        await anyio.lowlevel.checkpoint()
        return settled


class _Day:
    """The troubles of the day: orders without an address, and a death each for worker and operator."""

    def __init__(self, make: kit.Answer, seed: int) -> None:
        chance = Random(seed)
        self.make, self.limit = make, chance.choice((2, 3))
        names = chance.sample(("Ada", "Ben", "Cem", "Dina", "Emil", "Fay"), 4)
        self.poison = [names[place] for place in sorted(chance.sample(range(3), 2))]
        self.gift = {name: chance.choice(("yes", "no")) for name in names}
        self.to_die = {"worker", "operator"}

    async def work(self, orders: Queue, dead: Queue) -> None:
        await self.make(orders, dead, self.limit).work(self._pack)
        await anyio.sleep_forever()

    async def replay(self, orders: Queue, dead: Queue) -> None:
        await self.make(orders, dead, self.limit).replay()

    async def _pack(self, message: Message) -> None:
        with working(whoami(), message.id):
            await anyio.sleep(1)
            name = message.headers.get("customer", "nobody")
            if name in self.poison and anyio.current_time() < MENDED:
                raise NoAddress(f"{ERROR}{name}")
            kit.happens(message, "packed")

    def heard(self, queue: str, message: Message) -> None:
        """Note what a dead letter holds; let the process die that has just moved the unlucky order."""
        if queue == "orders.dead" and whoami() == "worker":
            headers = {name: str(value) for name, value in message.headers.items()}
            body = str(message.body)
            record(Kind.NOTE, LETTERS, message.id, text="a dead letter", body=body, headers=headers)
        as_planned = (whoami() == "operator") == (anyio.current_time() >= MENDED)
        unlucky = message.headers.get("customer") == self.poison[-1]
        if unlucky and as_planned and whoami() in self.to_die:
            self.to_die.remove(whoami())
            kit.die_soon()


def judge(trace: Trace) -> kit.Symptoms:
    orders = [kit.Journey(trace, event.message) for event in trace.filter(Kind.SENT, who="shop")]
    limit = trace.filter(Kind.NOTE, where="address book")[0].data["limit"]
    letters = trace.filter(Kind.NOTE, where=LETTERS)
    for order in [kit.Journey(trace, message) for message in dict.fromkeys(trace.messages())]:
        yield from _lost(order)
        yield from _kept(trace, order)
    for order in orders:
        if not any(failure.at < MENDED for failure in order.all(Kind.FAILED)):
            if not any(effect.at < BUSINESS for effect in order.effects):
                words = f"{order} is a good order and was not packed by {BUSINESS:.0f} s."
                yield order.seen("poison-stops-the-rest", words)
            continue
        yield from _put_aside(order, limit, [letter.data["body"] for letter in letters])
        if not order.effects:
            yield order.seen("not-replayed", f"{order} was not packed by {trace.end:.0f} s.")
    for letter in letters:
        yield from _letter(trace, letter, {order.id: order.label for order in orders})
    yield from _replayed(trace)
    kit.require(trace, Kind.CRASHED, "not both processes died.", at_least=2)


def _lost(order: kit.Journey) -> kit.Symptoms:
    for ack in order.all(Kind.ACKED):
        other = "orders" if ack.where == "orders.dead" else "orders.dead"
        taken = order.before(ack, Kind.ACCEPTED, where=other)
        if ack.where == "orders.dead":
            died = order.before(ack, Kind.ACCEPTED, where="orders.dead")
            taken = [e for e in taken if died and e.at > died[0].at]
        if not taken and not order.before(ack, Kind.EFFECT):
            words = (
                f"{order} was acknowledged in {ack.where} at {kit.when(ack)}, and {other} did not have it."
            )
            yield order.seen("ack-before-put", words)


def _kept(trace: Trace, order: kit.Journey) -> kit.Symptoms:
    """See an order that came back to the queue out of which a living process had moved it."""
    for put in order.all(Kind.ACCEPTED):
        other = "orders" if put.where == "orders.dead" else "orders.dead"
        for held in [e for e in order.before(put, Kind.DELIVERED, where=other) if e.who == put.who][-1:]:
            end = next((event for event in trace if _ends(event, held)), put)
            if end.at >= put.at and end.kind in (Kind.NACKED, Kind.EXPIRED):
                words = f"{order} was put into {put.where} at {kit.when(put)}, and came back to {other} at"
                yield order.seen("moved-and-kept", f"{words} {kit.when(end)}.")


def _ends(event: Event, held: Event) -> bool:
    """True when this event ends the delivery: it was settled or ran out, or the process that held it died."""
    if event.kind == Kind.CRASHED:
        return event.who == held.who and event.at >= held.at
    same = (event.where, event.data.get("lease")) == (held.where, held.data["lease"])
    return same and event.kind in (Kind.ACKED, Kind.NACKED, Kind.EXPIRED)


def _put_aside(order: kit.Journey, limit: int, letters: list[str]) -> kit.Symptoms:
    if order.label not in letters:
        times = plural(len(order.all(Kind.FAILED)), "time")
        words = f"{order} failed {times} in {MENDED:.0f} s, and was never put aside."
        yield order.seen("retries-for-ever", words)
    for letter in order.all(Kind.NOTE, where=LETTERS)[:1]:
        failures = len(order.before(letter, Kind.FAILED))
        if failures != limit:
            words = f"{order} was put aside at {kit.when(letter)} after {plural(failures, 'failure')}, "
            yield order.seen("wrong-count", f"{words}and the limit was {limit}.")


def _letter(trace: Trace, letter: Event, labels: dict[str, str]) -> kit.Symptoms:
    order, (body, headers) = kit.Journey(trace, letter.message), (letter.data["body"], letter.data["headers"])
    known = labels.get(letter.message)
    if known != body or not {"customer", "gift"} <= set(headers):
        lacks = "lacks headers" if known == body else "has another body" if known else "has a new id"
        words = f"The dead letter {order.id} (“{body}”) of {kit.when(letter)} {lacks}."
        yield order.seen("rewritten-letter", words)
    elif ERROR not in headers.get("reason", ""):
        words = f"The dead letter of {order} has the reason {headers.get('reason')!r}."
        yield order.seen("no-reason", words)


def _replayed(trace: Trace) -> kit.Symptoms:
    returns = trace.filter(Kind.NOTE, where=RETURNED)
    if len(returns) < 2:
        moved = trace.filter(Kind.DELIVERED, Kind.ACKED, who="operator")
        yield kit.seen("replay-never-returns", "`replay` had not returned 15 s after it was called.", moved)
    for call in returns:
        for order in _still_there(trace, call):
            words = f"`replay` returned at {kit.when(call)}, and {order} still lay in orders.dead."
            yield order.seen("not-replayed", words)
    died = list(dict.fromkeys(trace.messages(Kind.NOTE, where=LETTERS)))
    again = trace.filter(Kind.ACCEPTED, where="orders", test=lambda event: event.at >= MENDED)
    came = list(dict.fromkeys(again.messages()))
    if sorted(died) == sorted(came) and died != came:
        first = next(letter for letter, back in zip(died, came, strict=True) if letter != back)
        before, after = kit.Journey(trace, first), kit.Journey(trace, came[died.index(first)])
        words = f"{before} died before {after}, and came back after it."
        yield kit.seen("replayed-out-of-order", words, again)


def _still_there(trace: Trace, call: Event) -> list[kit.Journey]:
    """The dead letters that nobody had in hand when `replay` returned."""
    last: dict[str, str] = {}
    for event in trace.filter(Kind.ACCEPTED, Kind.DELIVERED, Kind.ACKED, Kind.RETURNED, where="orders.dead"):
        if event.at <= call.at:
            last[event.message] = event.kind
    waiting = [message for message, kind in last.items() if kind in (Kind.ACCEPTED, Kind.RETURNED)]
    return [kit.Journey(trace, message) for message in waiting]


EXERCISE = kit.exercise(__name__, __doc__, kit.play(a_day_with_poison), judge)
