"""Fence the store

Complete · medium · 2 points · 7 minutes

Answer: class Store() with write, read
Called: Your `Store()` by two workers on four invoices. Each worker writes a draft, and a second later the
    final text, with the token of its lease. Leases are 5 seconds long, and over one invoice a worker sleeps
    through its lease, wakes up and writes.
Promised: What a newer lease wrote is never overwritten by an older one. `write` answers True when it wrote
    and False when it refused. Nobody else is refused.
Hint: Tokens grow: the newer lease has the higher token. What must the store remember to notice an old one?
Hint: Remember, for each invoice, the highest token that has written. Refuse a token that is lower. An equal
    one is the same lease, writing again.
Hint: `if token < self.tokens.get(invoice, token): return False`; else remember the token, keep the text, and
    return True.
Why: The store remembers the highest token for each invoice and refuses a lower one. It needs no clock and
    asks no queue: the token alone says whose lease is newer.

older-overwrites-newer: An older lease overwrote a newer one. The worker that writes last is not the one that
    has the lease. A slow worker wakes up, knows nothing of what happened meanwhile, and puts its old result
    over the new one.
one-fence-for-all: Refused a worker that has the newest lease on its invoice. Tokens grow with every lease of
    the queue, whatever the invoice. A high token on one invoice says nothing about another one.
refuses-its-own-lease: Refused the second write of the same lease. A worker may write more than once while it
    has the lease. Only an older lease is over.
silent-refusal: The answer does not say what happened. The worker has to learn whether it wrote. Without a
    true answer it goes on as if it had.
accepted-and-not-kept: An accepted write cannot be read. The answer was “written”, and the store holds
    something else.
"""

from __future__ import annotations

from random import Random

import anyio

from ...autograder import kit
from ...message import Message
from ...message_queue import MessageQueue
from ...trace import Event, Kind, Trace, record, whoami
from .shop import PATIENT, put

__all__ = ["EXERCISE", "a_sleepy_worker"]

SAID = "store"  #: the `where` of a note for each write: what was written, what was answered, what is read


async def a_sleepy_worker(make: kit.Answer, seed: int) -> None:
    """Play a worker that is slow and in time, and one that sleeps through its lease over a later invoice."""
    chance = Random(seed)
    store = make()
    invoices = [f"invoice {number}" for number in chance.sample(range(11, 30), 4)]
    takes = {invoices[0]: 3.5, chance.choice(invoices[2:]): chance.uniform(8, 10)}  # others 1 s

    def write(message: Message, version: str, token: int) -> None:
        text = f"{version} by {whoami()}"
        said = store.write(message.body, text, token)
        data = {"invoice": message.body, "token": token, "said": said, "wrote": text}
        record(Kind.NOTE, SAID, message.id, text=f"{text}: {said}", reads=store.read(message.body), **data)
        if store.read(message.body) == text:
            record(Kind.EFFECT, whoami(), message.id, effect=f"{version} by lease {token}")
        else:
            record(Kind.REFUSED, SAID, message.id, reason=f"lease {token}")

    async def worker() -> None:
        while True:
            lease = await queue.receive()
            await anyio.sleep(takes.get(lease.message.body, 1.0) if lease.deliveries == 1 else 1.0)
            write(lease.message, "draft", lease.token)
            await anyio.sleep(1)
            write(lease.message, "final", lease.token)
            await lease.ack()

    async with MessageQueue("invoices", lease=5, policy=PATIENT) as queue, kit.participants() as start:
        await put(queue, invoices)
        for name in ("worker-1", "worker-2"):
            start(name, worker)
        await queue.join()
        await anyio.sleep(15)


def judge(trace: Trace) -> kit.Symptoms:
    kit.require(trace, Kind.EXPIRED, "no lease ran out.")
    fences: dict[str, int] = {}
    kept: dict[str, str] = {}
    for note in trace.filter(Kind.NOTE, where=SAID):
        invoice, token = note.data["invoice"], note.data["token"]
        accepts = token >= fences.get(invoice, token)
        if accepts:
            fences[invoice], kept[invoice] = token, note.data["wrote"]
        yield from _wrong(trace, note, accepts, kept.get(invoice))
    kit.require(trace, Kind.REFUSED, "no old lease tried to write.", where=SAID)


def _wrong(trace: Trace, note: Event, accepts: bool, kept: str | None) -> kit.Symptoms:
    said, reads, token, wrote = (note.data[name] for name in ("said", "reads", "token", "wrote"))
    invoice = kit.Journey(trace, note.message)
    write = f"at {kit.when(note)} lease {token} wrote “{wrote}” to {invoice}"
    if not accepts and reads == wrote:
        yield invoice.seen("older-overwrites-newer", f"{write}, over what a newer lease had written.")
    elif accepts and reads != kept and not said:
        before = [e for e in invoice.before(note, Kind.NOTE) if e.data["token"] == token and e.data["said"]]
        yield invoice.seen(
            "refuses-its-own-lease" if before else "one-fence-for-all", f"{write}, and was refused."
        )
    elif bool(said) != accepts:
        yield invoice.seen(
            "silent-refusal", f"{write}. The store answered {said!r}, and it now reads “{reads}”."
        )
    elif reads != kept:
        yield invoice.seen("accepted-and-not-kept", f"{write}, and now it reads “{reads}” and not “{kept}”.")


EXERCISE = kit.exercise(__name__, __doc__, kit.play(a_sleepy_worker), judge)
