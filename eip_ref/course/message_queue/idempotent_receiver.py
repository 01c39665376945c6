"""Exercise: book each payment once, however often its message comes and however an attempt ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from random import Random
from typing import Protocol

import anyio

from ...autograder.exercise import Diagnosis, Exercise, Mistake, play, require
from ...autograder.forms import async_function
from ...message import Message
from ...message_queue import MessageQueue
from ...trace import Kind, Trace, acting, record, whoami
from .books import Books, Transaction
from .shop import PATIENT, before, die_soon, effects, happens, mortal, name_of, ranked, seen, story, when

__all__ = ["IDEMPOTENT_RECEIVER", "four_payments"]

Book = Callable[[Message, Transaction], Awaitable[None]]

FAILS, COMES_TWICE, DIES, PLAIN = "fails", "comes twice", "dies", "plain"
BALANCE = "balance of "
CUSTOMERS = ("Ada", "Ben", "Cem", "Dina")

NO_RECORD = Mistake(
    "no-record-in-the-books",
    "The books do not say which messages were booked",
    "The queue hands a message out again whenever it cannot know that it was done. So the receiver has to "
    "know, and it has to know it after its process has died as well.",
)
SIDE_BY_SIDE = Mistake(
    "checked-too-early",
    "Two attempts side by side both took the message for new",
    "Between the look into the books and the commit another attempt may run from start to end. What was "
    "read in a transaction that is over protects nothing.",
)
RECORDED_AFTER = Mistake(
    "recorded-after-the-effect",
    "Died between the effect and the record",
    "Two commits leave a moment between them, and a process can die in any moment. Memory that is not in "
    "the books dies with the process.",
)
RECORDED_BEFORE = Mistake(
    "recorded-before-the-effect",
    "A failed first attempt made the retry look like a duplicate",
    "The record says that the payment is booked, and it is not. The retry believes it.",
)
SAID_DONE = Mistake(
    "duplicate-acked-too-early",
    "A duplicate was called done while the first attempt was still running",
    "Nobody knows yet how the first attempt ends. Returning means “done”: the worker acknowledges, and this "
    "delivery will not come again.",
)
NOT_BOOKED = Mistake(
    "never-booked",
    "A payment was never booked",
    "It came again and again and was never done, or an error stopped everything.",
)
MISTAKES = (NO_RECORD, RECORDED_BEFORE, SAID_DONE, RECORDED_AFTER, SIDE_BY_SIDE, NOT_BOOKED)


class Receive(Protocol):
    """What the learner writes."""

    def __call__(self, message: Message, books: Books, book: Book) -> Awaitable[object]: ...


class _Payments:
    """Four payments: one fails first, one comes twice, one kills its worker after the commit."""

    def __init__(self, receive: Receive, seed: int) -> None:
        chance = Random(seed)
        self.receive, self.books = receive, Books()
        customers = chance.sample(CUSTOMERS, 4)
        troubles = chance.sample((FAILS, COMES_TWICE, DIES, PLAIN), 4)
        self.trouble = {
            f"payment of {who}": trouble for who, trouble in zip(customers, troubles, strict=True)
        }
        self.amounts = {payment: chance.randint(5, 60) for payment in self.trouble}
        self.attempts = dict.fromkeys(self.trouble, 0)
        self.ids = [f"p{number}" for number in chance.sample(range(100, 1000), 4)]

    async def run(self) -> None:
        async with (
            MessageQueue("payments", lease=20, policy=PATIENT) as queue,
            anyio.create_task_group() as group,
        ):
            with acting("shop"):
                for identity, (payment, trouble) in zip(self.ids, self.trouble.items(), strict=True):
                    message = Message(payment, id=identity)
                    await queue.put(message)
                    if trouble == COMES_TWICE:
                        await queue.put(message)
            for name in ("worker-1", "worker-2"):
                group.start_soon(mortal(name, self._work, queue).run)
            with anyio.move_on_after(120):
                await queue.join()
            group.cancel_scope.cancel()

    async def _work(self, queue: MessageQueue) -> None:
        while True:
            lease = await queue.receive()
            try:
                await self.receive(lease.message, self.books, self._book)
            except NotImplementedError:
                raise
            except Exception as error:
                record(Kind.FAILED, whoami(), lease.message.id, error=f"{type(error).__name__}: {error}")
                await lease.nack(reason=str(error))
            else:
                await lease.ack()

    async def _book(self, message: Message, transaction: Transaction) -> None:
        """What the shop gives to the learner: add the amount to the balance, in this transaction."""
        self.attempts[message.body] += 1
        attempt, trouble = self.attempts[message.body], self.trouble[message.body]
        record(Kind.STARTED, whoami(), message.id)
        await anyio.sleep(4 if trouble == COMES_TWICE and attempt == 1 else 1)
        if trouble == FAILS and attempt == 1:
            raise ConnectionError("the bank does not answer")
        customer = message.body.split()[-1]
        balance = transaction.get(f"{BALANCE}{customer}", 0)
        transaction.set(f"{BALANCE}{customer}", balance + self.amounts[message.body])
        transaction.then.append(lambda: self._booked(message, dies=trouble == DIES and attempt == 1))

    def _booked(self, message: Message, *, dies: bool) -> None:
        happens(message, "booked")
        if dies:
            die_soon()


async def four_payments(receive: Receive, seed: int) -> None:
    """Four payments by two workers: one fails first, one comes twice, one kills its worker."""
    await _Payments(receive, seed).run()


def judge(trace: Trace) -> list[Diagnosis]:
    found = [*_booked_twice(trace), *_acked_too_early(trace), *_never_booked(trace)]
    if not found:
        require(trace, Kind.FAILED, "no first attempt failed.")
        require(trace, Kind.CRASHED, "no worker died after its commit.")
    return ranked(found, MISTAKES)


def _booked_twice(trace: Trace) -> Iterator[Diagnosis]:
    commits = trace.filter(Kind.NOTE, where="books")
    recorded = any(not name.startswith(BALANCE) for commit in commits for name in commit.data["wrote"])
    for message in dict.fromkeys(effect.message for effect in effects(trace)):
        first, *more = effects(trace, message)
        if more:
            beside = trace.messages(Kind.ACCEPTED).count(message) > 1
            mistake = NO_RECORD if not recorded else SIDE_BY_SIDE if beside else RECORDED_AFTER
            words = f"{name_of(trace, message)} was booked at {when(first)} and again at {when(more[0])}."
            yield seen(mistake, words, story(trace, message))


def _acked_too_early(trace: Trace) -> Iterator[Diagnosis]:
    for ack in trace.filter(Kind.ACKED):
        if before(trace, ack, Kind.EFFECT):
            continue
        failed, started = before(trace, ack, Kind.FAILED), before(trace, ack, Kind.STARTED)
        mistake = SAID_DONE if len(started) > len(failed) else RECORDED_BEFORE
        payment = name_of(trace, ack.message)
        words = f"{ack.who} called {payment} done at {when(ack)}, and by then it was not booked."
        yield seen(mistake, words, story(trace, ack.message))


def _never_booked(trace: Trace) -> Iterator[Diagnosis]:
    acked = trace.messages(Kind.ACKED)
    for message in dict.fromkeys(trace.messages(Kind.ACCEPTED)):
        if not effects(trace, message) and message not in acked:
            why = [e.data["error"] for e in trace.filter(Kind.FAILED, message=message)][-1:]
            words = f"{name_of(trace, message)} was not booked in {trace.end:.0f} s."
            yield seen(NOT_BOOKED, " ".join([words, *why]), story(trace, message)[:12])


IDEMPOTENT_RECEIVER = Exercise(
    name="message_queue/idempotent_receiver",
    title="Book each payment once",
    points=4,
    minutes=11,
    difficulty=3,
    kind="complete",
    answer="receive",
    form=async_function("message", "books", "book"),
    called=(
        "Your `receive(message, books, book)` by two workers, on four payments. The first attempt at one "
        "payment fails. One message comes twice, and the second copy comes while the first is in work. Over "
        "one payment the worker dies at the moment after the commit, and starts again. The worker "
        "acknowledges when `receive` returns, and hands the message back when it raises."
    ),
    promised="Each payment is booked exactly once, and none is called done before it is booked.",
    hints=(
        "What do you know at the beginning of `receive`, and what of it is still true at the commit? What "
        "is left when the process dies at the worst moment?",
        "One transaction does it all: look for the message's id in the books, book, and write the id into "
        "the books. It commits as a whole or not at all, and when another attempt was faster the commit "
        "raises `Conflict`.",
        "`async with books.transaction() as transaction:` if `transaction.get(message.id)` return; `await "
        "book(message, transaction)`; `transaction.set(message.id, True)`. Let errors out: the message "
        "comes again, and then its id is there or it is not.",
    ),
    explanation=(
        "The record and the effect commit together. A failed attempt leaves neither; a crash after the "
        "commit leaves both; of two attempts side by side one gets a `Conflict`, comes again, and finds the "
        "record."
    ),
    run=play(four_payments),
    judge=judge,
)
