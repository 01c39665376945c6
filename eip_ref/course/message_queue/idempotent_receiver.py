"""Book each payment once

Complete · hard · 4 points · 11 minutes

Answer: async def receive(message, books, book)
Called: Your `receive(message, books, book)` by two workers, on four payments. The first attempt at one
    payment fails. One message comes twice, and the second copy comes while the first is in work. Over one
    payment the worker dies at the moment after the commit, and starts again. The worker acknowledges when
    `receive` returns, and hands the message back when it raises.
Promised: Each payment is booked exactly once, and none is called done before it is booked.
Hint: What do you know at the beginning of `receive`, and what of it is still true at the commit? What is left
    when the process dies at the worst moment?
Hint: One transaction does it all: look for the message's id in the books, book, and write the id into the
    books. It commits as a whole or not at all, and when another attempt was faster the commit raises
    `Conflict`.
Hint: `async with books.transaction() as transaction:` if `transaction.get(message.id)` return; `await
    book(message, transaction)`; `transaction.set(message.id, True)`. Let errors out: the message comes again,
    and then its id is there or it is not.
Why: The record and the effect commit together. A failed attempt leaves neither; a crash after the commit
    leaves both; of two attempts side by side one gets a `Conflict`, comes again, and finds the record.

no-record-in-the-books: The books do not say which messages were booked. The queue hands a message out again
    whenever it cannot know that it was done. So the receiver has to know, and it has to know it after its
    process has died as well.
not-even-begun: Called done, and nobody had begun to book it. `receive` returned, and `book` had not run for
    this payment. Either nothing awaited it, or the payment was taken for another one: a record needs a name
    that no other message has.
recorded-before-the-effect: A failed first attempt made the retry look like a duplicate. The record says that
    the payment is booked, and it is not. The retry believes it.
duplicate-acked-too-early: A duplicate was called done while the first attempt was still running. Nobody knows
    yet how the first attempt ends. Returning means “done”: the worker acknowledges, and this delivery will
    not come again.
recorded-after-the-effect: Died between the effect and the record. Two commits leave a moment between them,
    and a process can die in any moment. Memory that is not in the books dies with the process.
checked-too-early: Two attempts side by side both took the message for new. Between the look into the books
    and the commit another attempt may run from start to end. What was read in a transaction that is over
    protects nothing.
never-booked: A payment was never booked. It came again and again and was never done, or an error stopped
    everything.
"""

from __future__ import annotations

from random import Random

import anyio

from ...autograder import kit
from ...message import Message
from ...message_queue import MessageQueue
from ...trace import Kind, Trace, acting, record, whoami
from .books import Books, Transaction, at_commit
from .shop import PATIENT

__all__ = ["EXERCISE", "four_payments"]

FAILS, COMES_TWICE, DIES, PLAIN = "fails", "comes twice", "dies", "plain"
BALANCE = "balance of "
SLIPS = (AttributeError, NameError, TypeError)  #: errors of a line that is wrong: trying again does not help


async def four_payments(receive: kit.Answer, seed: int) -> None:
    """Play four payments by two workers: one fails first, one comes twice, one kills its worker."""
    payments = _Payments(receive, seed)
    async with MessageQueue("payments", lease=20, policy=PATIENT) as queue, kit.participants() as start:
        with acting("shop"):
            for identity, (payment, trouble) in zip(payments.ids, payments.trouble.items(), strict=True):
                message = Message(payment, id=identity)
                await queue.put(message)
                if trouble == COMES_TWICE:
                    await queue.put(message)
        for name in ("worker-1", "worker-2"):
            start(name, payments.work, queue, deaths=4)
        with anyio.move_on_after(120):
            await queue.join()


class _Payments:
    """Four payments with a trouble each, the books, and what a worker does with a payment."""

    def __init__(self, receive: kit.Answer, seed: int) -> None:
        self.receive, self.books, chance = receive, Books(), Random(seed)
        customers = chance.sample(("Ada", "Ben", "Cem", "Dina"), 4)
        troubles = chance.sample((FAILS, COMES_TWICE, DIES, PLAIN), 4)
        self.trouble = {f"payment of {who}": what for who, what in zip(customers, troubles, strict=True)}
        self.amounts = {payment: chance.randint(5, 60) for payment in self.trouble}
        self.attempts = dict.fromkeys(self.trouble, 0)
        self.ids = [f"p{number}" for number in chance.sample(range(100, 1000), 4)]

    async def work(self, queue: MessageQueue) -> None:
        while True:
            lease = await queue.receive()
            try:
                await self.receive(lease.message, self.books, self._book)
            except (NotImplementedError, *SLIPS):
                raise
            except Exception as error:
                record(Kind.FAILED, whoami(), lease.message.id, error=f"{type(error).__name__}: {error}")
                await lease.nack(reason=str(error))
            else:
                await lease.ack()

    async def _book(self, message: Message, transaction: Transaction) -> None:
        """Add the amount to the balance, in this transaction. This is what the learner is given."""
        self.attempts[message.body] += 1
        first, trouble = self.attempts[message.body] == 1, self.trouble[message.body]
        record(Kind.STARTED, whoami(), message.id)
        await anyio.sleep(4 if trouble == COMES_TWICE and first else 1)
        if trouble == FAILS and first:
            raise ConnectionError("the bank does not answer")
        balance = f"{BALANCE}{message.body.split()[-1]}"
        transaction.set(balance, transaction.get(balance, 0) + self.amounts[message.body])
        at_commit(transaction, lambda: kit.happens(message, "booked"))
        if trouble == DIES and first:
            at_commit(transaction, kit.die_soon)


def judge(trace: Trace) -> kit.Symptoms:
    commits = trace.filter(Kind.NOTE, where="books")
    recorded = any(not name.startswith(BALANCE) for commit in commits for name in commit.data["wrote"])
    for payment in kit.journeys(trace):
        times = [kit.when(effect) for effect in payment.effects]
        if len(times) > 1:
            side_by_side = len(payment.all(Kind.ACCEPTED)) > 1
            late = "checked-too-early" if side_by_side else "recorded-after-the-effect"
            words = f"{payment} was booked at {times[0]} and again at {times[1]}."
            yield payment.seen(late if recorded else "no-record-in-the-books", words)
        yield from _called_done(payment)
        if not times and not payment.all(Kind.ACKED):
            why = [e.data["error"] for e in payment.all(Kind.FAILED)][-1:]
            words = f"{payment} was not booked in {trace.end:.0f} s."
            yield payment.seen("never-booked", " ".join([words, *why]))
    kit.require(trace, Kind.FAILED, "no first attempt failed.")
    kit.require(trace, Kind.CRASHED, "no worker died after its commit.")


def _called_done(payment: kit.Journey) -> kit.Symptoms:
    for ack in payment.all(Kind.ACKED):
        if not payment.before(ack, Kind.EFFECT):
            begun, failed = payment.before(ack, Kind.STARTED), payment.before(ack, Kind.FAILED)
            mistake = "recorded-before-the-effect" if begun else "not-even-begun"
            if len(begun) > len(failed):
                mistake = "duplicate-acked-too-early"
            words = f"{ack.who} called {payment} done at {kit.when(ack)}, and by then it was not booked."
            yield payment.seen(mistake, words)


EXERCISE = kit.exercise(__name__, __doc__, kit.play(four_payments), judge)
