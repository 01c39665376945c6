"""Choose the ack mode for three jobs

Choose · easy · 2 points · 5 minutes

Answer: def ack_mode(job)
Called: Your `ack_mode(job)` for each job, and then the job as you chose, on four messages. Its process dies
    twice: over one message before the effect, over another after the effect and before the last ack. The
    lease is 5 seconds long.
Promised: Each payment is charged once. The display never goes back to an older temperature. Each invoice is
    e-mailed, perhaps twice. The ledger is written only where the job needs it.
Hint: Ask two questions for each job: what does a lost message cost, and what does a repeated one cost?
Hint: Ack first loses and never repeats. Ack last repeats and never loses. An idempotent receiver makes a
    repeat harmless, at the price of a write for each message; it cannot bring back what is lost.
Hint: The payment needs both: nothing lost, and nothing repeated. The temperature minds a late repeat and not
    a gap. The invoice minds a gap and not a repeat.
Why: The payment: last, and idempotent, since the charge and the record can commit together. The temperature:
    first, since the next reading replaces a lost one. The invoice: last, and a second e-mail does no harm; it
    could not join the ledger's transaction anyway.

payment-lost: A payment was lost. The queue was told “done”, and then the process died. The customer has the
    tea and has not paid.
charged-twice: A card was charged twice. The process died after the charge and before the ack, so the queue
    handed the payment out again. The customer minds.
display-went-back: The display went back to an old temperature. A reading that comes again comes late, when a
    newer one is on the display. For news that is soon replaced, a second try does more harm than a gap.
invoice-lost: An invoice was lost. The queue was told “done”, and then the process died. The customer never
    hears what is to be paid.
needless-ledger: Wrote to the ledger where nobody asked for it. An idempotent receiver writes to a ledger for
    each message. Ask for each job what a repeat would cost, and whether the effect can commit together with
    the record at all.
no-such-choice (NoSuchChoice): That is no choice here. For each job return two things: "first" or "last", and
    True or False.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import anyio

from ...autograder import kit
from ...message import Message
from ...message_queue import MessageQueue, process
from ...trace import Event, Kind, Trace, acting, record, whoami
from .shop import PATIENT

__all__ = ["EXERCISE", "one_job"]

LEDGER = "ledger"  #: the `where` of a note for each message id that is remembered
JOBS = {  # the job in the learner's words: its queue, a message, what happens, the mistake of losing it
    "charge the card": ("payments", "payment", "charged", "payment-lost"),
    "show the temperature": ("readings", "reading", "shown", ""),
    "send the invoice": ("invoices", "invoice", "e-mailed", "invoice-lost"),
}
CHOICES = [(ack, idempotent) for ack in ("first", "last") for idempotent in (True, False)]


class NoSuchChoice(Exception):
    """The learner chose what cannot be chosen."""


async def one_job(choose: kit.Answer, name: str, seed: int) -> None:
    """Play four messages of one job, whose worker dies over one before the effect, over another after it."""
    chosen: tuple[str, bool] = choose(name)
    if chosen not in CHOICES:
        raise NoSuchChoice(f"for {name!r} you chose {chosen!r}")
    queue_name, noun, effect, _ = JOBS[name]
    before, after = (f"{noun} {number}" for number in Random(f"{seed}/{name}").sample([2, 3], 2))
    job = _Job(*chosen, effect, before, after)
    async with MessageQueue(queue_name, lease=5, policy=PATIENT) as queue, kit.participants() as start:
        start("worker", job.work, queue, deaths=4)
        for number in range(1, 5):
            with acting("shop"):
                await queue.put(Message(f"{noun} {number}", id=f"{noun[0]}{number}"))
            await anyio.sleep(3)
        await queue.join()
        await anyio.sleep(3)


@dataclass
class _Job:
    """A worker that acknowledges, and is idempotent, as it was chosen."""

    ack: str
    idempotent: bool
    effect: str
    dies_before: str
    dies_after: str
    remembered: set[str] = field(default_factory=set)
    attempts: set[str] = field(default_factory=set)

    async def work(self, queue: MessageQueue) -> None:
        while True:
            await process(await queue.receive(), self._handle, ack=self.ack)

    async def _handle(self, message: Message) -> None:
        first = message.id not in self.attempts
        self.attempts.add(message.id)
        if message.id in self.remembered:
            record(Kind.DUPLICATE, whoami(), message.id)
            return
        await anyio.sleep(1)
        if first and message.body == self.dies_before:
            await kit.die()
        kit.happens(message, self.effect)
        if self.idempotent:  # at the same instant as the effect: they commit together
            self.remembered.add(message.id)
            record(Kind.NOTE, LEDGER, message.id, text=f"{message.body} is remembered")
        await anyio.sleep(1)
        if first and message.body == self.dies_after:
            await kit.die()


def judge(trace: Trace) -> kit.Symptoms:
    kit.require(trace, Kind.CRASHED, "the process did not die twice.", at_least=2)
    yield from _went_back(trace)
    for job, (queue, noun, _, lost) in JOBS.items():
        messages = kit.journeys(trace, where=queue)
        for message in messages:
            ack, times = message.all(Kind.ACKED), [kit.when(effect) for effect in message.effects]
            if lost and not times:
                words = f"{message} was acknowledged at {kit.when(ack[0])}, and nothing came of it."
                yield message.seen(lost, words)
            if queue == "payments" and len(times) > 1:
                words = f"{message} was charged at {times[0]} and again at {times[1]}."
                yield message.seen("charged-twice", words)
        writes = [message for message in messages if message.all(Kind.NOTE, where=LEDGER)]
        if queue != "payments" and writes:
            words = f"{job}: the ledger was written {len(writes)} times, and no {noun} needed it."
            yield writes[0].seen("needless-ledger", words)


def _went_back(trace: Trace) -> kit.Symptoms:
    readings = trace.messages(Kind.ACCEPTED, where="readings")
    newest: Event | None = None
    for shown in kit.effects(trace):
        if shown.message not in readings:
            continue
        if newest is not None and readings.index(shown.message) < readings.index(newest.message):
            old, new = kit.Journey(trace, shown.message), kit.Journey(trace, newest.message)
            words = f"{old} came on the display at {kit.when(shown)}, after {new} at {kit.when(newest)}."
            yield kit.seen("display-went-back", words, kit.story(trace, old.id, new.id))
        else:
            newest = shown


EXERCISE = kit.exercise(__name__, __doc__, kit.cases(one_job, lambda seed: JOBS, None), judge)
