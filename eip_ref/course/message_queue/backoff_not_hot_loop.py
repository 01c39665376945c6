"""Rest instead of a hot loop

Repair · easy · 2 points · 5 minutes

Answer: async def patient_work(queue, handle)
Called: Your `patient_work(queue, handle)` on four orders of one second each. One of them is sold out: it
    fails with an error until the supplier is back, after one to two minutes.
Promised: The other three are packed within 10 seconds. The one that is sold out is tried at most 12 times in
    the first minute, and is packed within 90 seconds after the supplier is back.
Hint: Who should wait here: the worker, or the order?
Hint: A nack takes a delay: the order rests for so many seconds, and the worker goes on with the others. Let
    the rest grow with `lease.failures`, up to a limit. Without a delay the queue chooses one itself.
Hint: `await lease.nack(delay=min(60, 2**lease.failures))`, or simply `await lease.nack()`.
Why: The nack lets the order rest, and the rest grows with each failure: one second, two, four, up to a
    minute. The worker never waits. `lease.nack()` without a delay does the same.

hot-loop: Tried the failing order again without a pause. Nothing has changed since it failed. It keeps its
    place at the head of the queue, so the worker does nothing else.
gave-up: The order was acknowledged and never packed. After the ack the queue forgets the order. It could have
    been packed a minute later.
worker-sleeps: The good orders waited for the bad one. While the worker sleeps, it works on nothing. It is the
    order that should rest.
too-eager: Tried the failing order too often. The pause is too short for a trouble that lasts for minutes. One
    that grows with each failure asks soon when the trouble is short, and seldom when it is long.
too-late: The supplier was back, and the order still waited. A pause that grows has to stop growing somewhere.
dies-of-one-order (SoldOut): One bad order ended the worker. An error that leaves `patient_work` ends it. One
    order that cannot be packed must not stop the others.
"""

from __future__ import annotations

from itertools import pairwise
from random import Random

import anyio

from ...autograder import kit
from ...lab.wording import plural
from ...message import Message
from ...message_queue import MessageQueue
from ...trace import Kind, Trace, whoami, working
from .shop import PATIENT, put

__all__ = ["EXERCISE", "a_supplier_is_away"]

AWAY = 60.0  #: seconds at least for which one order cannot be packed
MAX_ATTEMPTS = 12  #: in the first minute
SOON = 10.0  #: seconds: when all the others must be packed
IN_TIME = 90.0  #: seconds: how long the order may wait after the supplier is back


class SoldOut(Exception):
    """The order cannot be packed now."""


async def a_supplier_is_away(work: kit.Answer, seed: int) -> None:
    """Play four orders, of which one cannot be packed for a minute or two, and one worker."""
    chance = Random(seed)
    orders = [f"order {number}" for number in chance.sample(range(10, 99), 4)]
    sold_out, back = chance.choice(orders[:2]), chance.uniform(AWAY, 2 * AWAY)

    async def pack(message: Message) -> None:
        with working(whoami(), message.id):
            await anyio.sleep(0.1)
            if message.body == sold_out and anyio.current_time() < back:
                raise SoldOut("sold out")
            await anyio.sleep(0.9)
            kit.happens(message, "packed")

    async with MessageQueue("orders", lease=30, policy=PATIENT) as queue, kit.participants() as start:
        await put(queue, orders)
        start("worker", work, queue, pack)
        with anyio.move_on_after(back + IN_TIME):
            await queue.join()
    kit.write_down(back=back)


def judge(trace: Trace) -> kit.Symptoms:
    kit.require(trace, Kind.FAILED, "no order ever failed.")
    bad = kit.Journey(trace, trace.filter(Kind.FAILED)[0].message)
    yield from _too_often(bad)
    for order in kit.journeys(trace, where="orders"):
        packed = order.effects
        if order.id != bad.id and not (packed and packed[0].at <= SOON):
            late = f"packed only at {kit.when(packed[0])}" if packed else "never packed"
            yield order.seen("worker-sleeps", f"{order} could be packed at once, and it was {late}.")
    if not bad.effects:
        yield _never(bad, kit.facts(trace)["back"])


def _too_often(bad: kit.Journey) -> kit.Symptoms:
    begun = bad.all(Kind.STARTED)
    attempts = len([event for event in begun if event.at <= AWAY])
    if attempts > MAX_ATTEMPTS:
        pauses = [later.at - earlier.at for earlier, later in pairwise(begun)]
        words = f"{bad} was tried {plural(attempts, 'time')} in the first {AWAY:.0f} s, "
        words += f"at first after {pauses[0]:.3g} s and at last after {pauses[-1]:.3g} s."
        yield bad.seen("hot-loop" if min(pauses) < 0.5 else "too-eager", words)


def _never(bad: kit.Journey, back: float) -> kit.Symptom:
    for ack in bad.all(Kind.ACKED):
        return bad.seen("gave-up", f"{bad} failed and was acknowledged at {kit.when(ack)}.")
    late = f"from {back:.0f} s on, and was not by {back + IN_TIME:.0f} s"
    return bad.seen("too-late", f"{bad} could be packed {late}.")


EXERCISE = kit.exercise(__name__, __doc__, kit.play(a_supplier_is_away), judge)
