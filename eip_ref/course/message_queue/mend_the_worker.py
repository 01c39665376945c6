"""Mend the worker that loses orders

Repair · easy · 3 points · 10 minutes

Answer: async def work(queue, handle)
Called: Your `work(queue, handle)` on four orders, in a process of its own. One order fails twice, with an
    error. At another the process dies, and starts again one second later. At a third the worker is told to
    stop: it is cancelled, and started again.
Promised: No order is acknowledged before it is packed. Every order is packed, and then acknowledged. After an
    error an order is tried again, half a second later or more.
Hint: At which line does the queue forget the order? What can still happen to the worker after that line?
Hint: Three endings, three answers: the handler returned, it raised an `Exception`, or it was cancelled. In
    which of them may the worker say “done”? In which should it say “not done”? In one of them it need say
    nothing at all.
Hint: `try:` handle the message; `except Exception as error:` nack, and let the queue choose the delay;
    `else:` ack. No `finally`. A cancellation is no `Exception`, so it passes through by itself.
Why: The ack comes last, and only when the handler returned. A failed order is handed back with a delay. A
    worker that was cancelled or died says nothing: the lease runs out, and the order is ready again.

ack-on-receive: Acknowledged before the work was done. After an ack the queue forgets the message. Whatever
    happens to the worker from then on happens to the only copy: if it dies or is stopped, nobody will try
    again.
ack-after-failure: Acknowledged an order that had failed. An ack says “done”, and here nothing was done.
    `finally` runs after an error too, and so does whatever follows an `except` that swallows the error.
ack-after-cancel: Acknowledged an order whose handler was cancelled. A cancelled handler is neither done nor
    failed: it was only stopped. `finally`, and `except` for every kind of error, run at that moment as well.
hot-loop: Tried a failing order again without a pause. Nothing has changed since it failed, so it fails again,
    many times a second. The order keeps its place at the head, and the orders behind it wait.
never-acked: Did the work and never acknowledged it. The queue cannot see the work. Without an ack its lease
    runs out, and the queue hands the order out again, to be done once more.
left-behind: An order was left behind. The worker stopped taking orders, or holds one that it neither does nor
    gives back.
dies-of-one-order (NoAddress): One bad order ended the worker. An error that leaves `work` ends it. One order
    that cannot be packed must not stop the others.
swallowed-cancellation (runaway): The worker did not stop when it was told to. A worker is stopped by an error
    that is raised inside it, at an await. An `except` that catches every kind of error catches that one too,
    and the worker goes round for ever.
"""

from __future__ import annotations

from random import Random

import anyio

from ...autograder import kit
from ...lab.wording import seconds
from ...message import Message
from ...message_queue import MessageQueue, Queue
from ...trace import Event, Kind, Trace, record, whoami, working
from .shop import PATIENT, put

__all__ = ["EXERCISE", "a_hard_shift"]

PAUSE = 0.5  #: seconds: an order that fails again sooner than this was tried in a hot loop
PATIENCE = 60.0  #: seconds for four orders of one second each
STOPPED, DIES, FAILS = "the worker is stopped", "the process dies", "no address"
TROUBLES = {STOPPED: 1, DIES: 1, FAILS: 2, "nothing": 0}  #: and how often each of them strikes


class NoAddress(Exception):
    """The order cannot be packed now."""


async def a_hard_shift(work: kit.Answer, seed: int) -> None:
    """Play four orders, a worker, and three troubles: an error, a dead process, and a stop."""
    shift = _Shift(work, seed)
    async with MessageQueue("orders", lease=10, policy=PATIENT) as queue, kit.participants() as start:
        await put(queue, shift.trouble)
        start("worker", shift.process, queue, deaths=4)
        with anyio.move_on_after(PATIENCE):
            await queue.join()
            await anyio.sleep(2)  # whoever acknowledged too early is still at work


class _Shift:
    """A worker's process, and orders with a trouble each at the first attempt."""

    def __init__(self, work: kit.Answer, seed: int) -> None:
        self.work = work
        troubles = Random(seed).sample(list(TROUBLES), len(TROUBLES))
        if troubles.index(DIES) < troubles.index(STOPPED):  # a worker that does not stop shows it first
            troubles = [{DIES: STOPPED, STOPPED: DIES}.get(trouble, trouble) for trouble in troubles]
        self.trouble = {f"order {n}": trouble for n, trouble in enumerate(troubles, 1)}
        self.left = dict(TROUBLES)
        self.stop = anyio.CancelScope()

    async def process(self, queue: Queue) -> None:
        """Run the learner's worker, and start it again one second after it was stopped."""
        while True:
            with anyio.CancelScope() as self.stop:
                await self.work(queue, self.pack)
                await anyio.sleep_forever()  # it returned: nobody works any more
            await anyio.sleep(1)

    async def pack(self, message: Message) -> None:
        with working(whoami(), message.id):
            await anyio.sleep(0.5)
            await self.suffer(self.trouble[message.body])
            await anyio.sleep(0.5)
            kit.happens(message, "packed")

    async def suffer(self, trouble: str) -> None:
        if self.left[trouble]:
            self.left[trouble] -= 1
            if trouble == FAILS:
                raise NoAddress("no address")
            if trouble == DIES:
                await kit.die()
            record(Kind.NOTE, "worker", text="the worker is told to stop")
            self.stop.cancel()


def judge(trace: Trace) -> kit.Symptoms:
    orders = kit.journeys(trace, where="orders")
    for order in sorted(orders, key=lambda order: bool(order.effects)):  # the lost ones first
        for ack in order.all(Kind.ACKED):
            if not order.before(ack, Kind.EFFECT):
                yield _too_early(order, ack)
    for order in orders:
        yield from _too_soon(order)
        if not order.all(Kind.ACKED):
            times = f"{len(order.effects)} times in {trace.end:.0f} s, and never acknowledged"
            if order.effects:
                yield order.seen("never-acked", f"{order} was packed {times}.")
            else:
                yield order.seen("left-behind", f"{order} was not packed within {PATIENCE:.0f} s.")
    kit.require(trace, Kind.CRASHED, "the process never died.")
    kit.require(trace, Kind.FAILED, "no order ever failed.")
    kit.require(trace, Kind.NOTE, "the worker was never told to stop.", where="worker")


def _too_early(order: kit.Journey, ack: Event) -> kit.Symptom:
    mistake, how = "ack-on-receive", ""
    failed, cancelled = order.before(ack, Kind.FAILED), order.before(ack, Kind.CANCELLED)
    if len(order.before(ack, Kind.STARTED)) == len(failed) + len(cancelled) > 0:
        mistake, how = "ack-after-cancel", "its handler was cancelled"
        if failed:
            mistake, how = "ack-after-failure", "it had failed"
        how = f", although {how} at {kit.when((failed or cancelled)[-1])}"
    fate = f"packed only at {kit.when(order.effects[0])}" if order.effects else "never packed"
    return order.seen(mistake, f"{order} was acknowledged at {kit.when(ack)}{how}, and it was {fate}.")


def _too_soon(order: kit.Journey) -> kit.Symptoms:
    for failure in order.all(Kind.FAILED):
        again = next((e for e in order.all(Kind.STARTED) if e.at >= failure.at), None)
        if again is not None and again.at - failure.at < PAUSE:
            pause = seconds(again.at - failure.at) if again.at > failure.at else "no time"
            yield order.seen(
                "hot-loop", f"{order} failed at {kit.when(failure)} and was tried again after {pause}."
            )


EXERCISE = kit.exercise(__name__, __doc__, kit.play(a_hard_shift), judge)
