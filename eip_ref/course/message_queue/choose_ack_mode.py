"""Exercise: choose when to acknowledge, and whether the receiver must be idempotent, for three jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

import anyio

from ...autograder.exercise import Diagnosis, Exercise, Mistake, require
from ...autograder.forms import function
from ...lab.clock import simulate
from ...message import Message
from ...message_queue import MessageQueue, process
from ...trace import Event, Kind, Trace, acting, record, whoami
from .shop import PATIENT, die, effects, happens, mortal, name_of, ranked, seen, story, when

__all__ = ["CHOOSE_ACK_MODE"]

LEDGER = "ledger"  #: the `where` of a note for each message id that is remembered
JOBS = {  # the job in the learner's words: its queue, a message, what happens
    "charge the card": ("payments", "payment", "charged"),
    "show the temperature": ("readings", "reading", "shown"),
    "send the invoice": ("invoices", "invoice", "e-mailed"),
}

PAYMENT_LOST = Mistake(
    "payment-lost",
    "A payment was lost",
    "The queue was told “done”, and then the process died. The customer has the tea and has not paid.",
)
CHARGED_TWICE = Mistake(
    "charged-twice",
    "A card was charged twice",
    "The process died after the charge and before the ack, so the queue handed the payment out again. "
    "The customer minds.",
)
WENT_BACK = Mistake(
    "display-went-back",
    "The display went back to an old temperature",
    "A reading that comes again comes late, when a newer one is on the display. For news that is soon "
    "replaced, a second try does more harm than a gap.",
)
INVOICE_LOST = Mistake(
    "invoice-lost",
    "An invoice was lost",
    "The queue was told “done”, and then the process died. The customer never hears what is to be paid.",
)
NEEDLESS = Mistake(
    "needless-ledger",
    "Wrote to the ledger where nobody asked for it",
    "An idempotent receiver writes to a ledger for each message. Ask for each job what a repeat would cost, "
    "and whether the effect can commit together with the record at all.",
)
MISTAKES = (PAYMENT_LOST, CHARGED_TWICE, WENT_BACK, INVOICE_LOST, NEEDLESS)


NO_CHOICE = Mistake(
    "no-such-choice",
    "That is no choice here",
    'For each job return two things: "first" or "last", and True or False.',
)
CHOICES = [(ack, idempotent) for ack in ("first", "last") for idempotent in (True, False)]


class NoSuchChoice(Exception):
    """The learner chose what cannot be chosen."""


@dataclass
class _Job:
    """One job: its worker dies over one message before the effect, and over another after it."""

    name: str
    ack: str
    idempotent: bool
    random: Random
    remembered: set[str] = field(default_factory=set)
    attempts: set[str] = field(default_factory=set)

    async def run(self) -> None:
        name, noun, self.effect = JOBS[self.name]
        dies = self.random.sample([2, 3], 2)
        self.dies_before, self.dies_after = (f"{noun} {number}" for number in dies)
        async with MessageQueue(name, lease=5, policy=PATIENT) as queue, anyio.create_task_group() as group:
            group.start_soon(mortal("worker", self._work, queue).run)
            for number in range(1, 5):
                with acting("shop"):
                    await queue.put(Message(f"{noun} {number}", id=f"{noun[0]}{number}"))
                await anyio.sleep(3)
            await queue.join()
            await anyio.sleep(3)
            group.cancel_scope.cancel()

    async def _work(self, queue: MessageQueue) -> None:
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
            await die()
        happens(message, self.effect)
        if self.idempotent:  # at the same instant as the effect: they commit together
            self.remembered.add(message.id)
            record(Kind.NOTE, LEDGER, message.id, text=f"{message.body} is remembered")
        await anyio.sleep(1)
        if first and message.body == self.dies_after:
            await die()


async def _one_job(choose: Callable[[str], tuple[str, bool]], job: str, seed: int) -> None:
    chosen = choose(job)
    if chosen not in CHOICES:
        raise NoSuchChoice(f"for {job!r} you chose {chosen!r}")
    await _Job(job, *chosen, Random(f"{seed}/{job}")).run()


def run(choose: Callable[[str], tuple[str, bool]], seed: int) -> Trace:
    """The jobs one after the other, each as it was chosen; or the first that goes wrong, alone."""
    events: list[Event] = []
    for job in JOBS:
        trace = simulate(_one_job, choose, job, seed, seed=seed, max_events=20_000)
        if judge(trace):
            return trace
        start = events[-1].at if events else 0.0
        events += [event._replace(at=start + event.at) for event in trace]
    return Trace(events, seed=seed)


def judge(trace: Trace) -> list[Diagnosis]:
    require(trace, Kind.CRASHED, "the process did not die twice.", at_least=2)
    found = [
        *_lost(trace, "payments", PAYMENT_LOST),
        *_repeated(trace),
        *_went_back(trace),
        *_lost(trace, "invoices", INVOICE_LOST),
        *_needless(trace),
    ]
    return ranked(found, MISTAKES)


def _lost(trace: Trace, queue: str, mistake: Mistake) -> Iterator[Diagnosis]:
    for message in trace.messages(Kind.ACCEPTED, where=queue):
        if not effects(trace, message):
            ack = trace.filter(Kind.ACKED, message=message)[0]
            words = f"{name_of(trace, message)} was acknowledged at {when(ack)}, and nothing came of it."
            yield seen(mistake, words, story(trace, message))


def _repeated(trace: Trace) -> Iterator[Diagnosis]:
    for message in trace.messages(Kind.ACCEPTED, where="payments"):
        times = effects(trace, message)
        if len(times) > 1:
            words = (
                f"{name_of(trace, message)} was charged at {when(times[0])} and again at {when(times[1])}."
            )
            yield seen(CHARGED_TWICE, words, story(trace, message))


def _went_back(trace: Trace) -> Iterator[Diagnosis]:
    readings = trace.messages(Kind.ACCEPTED, where="readings")
    newest: Event | None = None
    for shown in effects(trace):
        if shown.message not in readings:
            continue
        if newest is not None and readings.index(shown.message) < readings.index(newest.message):
            old, new = name_of(trace, shown.message), name_of(trace, newest.message)
            words = f"{old} came on the display at {when(shown)}, after {new} at {when(newest)}."
            yield seen(WENT_BACK, words, story(trace, shown.message, newest.message))
        else:
            newest = shown


def _needless(trace: Trace) -> Iterator[Diagnosis]:
    for job, (queue, noun, _) in JOBS.items():
        messages = trace.messages(Kind.ACCEPTED, where=queue)
        writes = [e for e in trace.filter(Kind.NOTE, where=LEDGER) if e.message in messages]
        if queue != "payments" and writes:
            words = f"{job}: the ledger was written {len(writes)} times, and no {noun} needed it."
            yield seen(NEEDLESS, words, story(trace, writes[0].message))


CHOOSE_ACK_MODE = Exercise(
    name="message_queue/choose_ack_mode",
    title="Choose the ack mode for three jobs",
    points=2,
    minutes=5,
    difficulty=1,
    kind="choose",
    answer="ack_mode",
    form=function("job"),
    called=(
        "Your `ack_mode(job)` for each job, and then the job as you chose, on four messages. Its process "
        "dies twice: over one message before the effect, over another after the effect and before the last "
        "ack. The lease is 5 seconds long."
    ),
    promised=(
        "Each payment is charged once. The display never goes back to an older temperature. Each invoice is "
        "e-mailed, perhaps twice. The ledger is written only where the job needs it."
    ),
    hints=(
        "Ask two questions for each job: what does a lost message cost, and what does a repeated one cost?",
        "Ack first loses and never repeats. Ack last repeats and never loses. An idempotent receiver makes "
        "a repeat harmless, at the price of a write for each message; it cannot bring back what is lost.",
        "The payment needs both: nothing lost, and nothing repeated. The temperature minds a late repeat "
        "and not a gap. The invoice minds a gap and not a repeat.",
    ),
    explanation=(
        "The payment: last, and idempotent, since the charge and the record can commit together. The "
        "temperature: first, since the next reading replaces a lost one. The invoice: last, and a second "
        "e-mail does no harm; it could not join the ledger's transaction anyway."
    ),
    run=run,
    judge=judge,
    endings={"NoSuchChoice": NO_CHOICE},
)
