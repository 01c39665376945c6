"""Exercise: a store that refuses the write of a worker whose lease is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Protocol

import anyio

from ...autograder.exercise import Diagnosis, Exercise, Mistake, play, require
from ...autograder.forms import a_class
from ...message import Message
from ...message_queue import MessageQueue
from ...trace import Event, Kind, Trace, acting, record, whoami
from .shop import PATIENT, name_of, ranked, seen, story, when

__all__ = ["FENCE_THE_STORE", "a_sleepy_worker"]

SAID = "store"  #: the `where` of a note for each write: what was written, what was answered, what is read

OVERWRITTEN = Mistake(
    "older-overwrites-newer",
    "An older lease overwrote a newer one",
    "The worker that writes last is not the one that has the lease. A slow worker wakes up, knows nothing "
    "of what happened meanwhile, and puts its old result over the new one.",
)
ONE_FENCE = Mistake(
    "one-fence-for-all",
    "Refused a worker that has the newest lease on its invoice",
    "Tokens grow with every lease of the queue, whatever the invoice. A high token on one invoice says "
    "nothing about another one.",
)
REFUSES_ITSELF = Mistake(
    "refuses-its-own-lease",
    "Refused the second write of the same lease",
    "A worker may write more than once while it has the lease. Only an older lease is over.",
)
SAYS_DONE = Mistake(
    "silent-refusal",
    "The answer does not say what happened",
    "The worker has to learn whether it wrote. Without a true answer it goes on as if it had.",
)
READS_WRONG = Mistake(
    "accepted-and-not-kept",
    "An accepted write cannot be read",
    "The answer was “written”, and the store holds something else.",
)
MISTAKES = (OVERWRITTEN, ONE_FENCE, REFUSES_ITSELF, SAYS_DONE, READS_WRONG)


class Store(Protocol):
    """What the learner writes."""

    def write(self, invoice: str, text: str, token: int) -> bool: ...
    def read(self, invoice: str) -> str | None: ...


async def a_sleepy_worker(make: Callable[[], Store], seed: int) -> None:
    """One worker is slow and in time; over a later invoice one sleeps through its lease."""
    chance = Random(seed)
    store = make()
    invoices = [f"invoice {number}" for number in chance.sample(range(11, 30), 4)]
    takes = {invoices[0]: 3.5, chance.choice(invoices[2:]): chance.uniform(8, 10)}  # others 1 s

    async def write(message: Message, version: str, token: int) -> None:
        text = f"{version} by {whoami()}"
        said = store.write(message.body, text, token)
        data = {"invoice": message.body, "token": token, "said": said, "wrote": text}
        record(Kind.NOTE, SAID, message.id, text=f"{text}: {said}", reads=store.read(message.body), **data)
        if store.read(message.body) == text:
            record(Kind.EFFECT, whoami(), message.id, effect=f"{version} by lease {token}")
        else:
            record(Kind.REFUSED, "store", message.id, reason=f"lease {token}")

    async def worker() -> None:
        while True:
            lease = await queue.receive()
            await anyio.sleep(takes.get(lease.message.body, 1.0) if lease.deliveries == 1 else 1.0)
            await write(lease.message, "draft", lease.token)
            await anyio.sleep(1)
            await write(lease.message, "final", lease.token)
            await lease.ack()

    async with MessageQueue("invoices", lease=5, policy=PATIENT) as queue, anyio.create_task_group() as group:
        with acting("shop"):
            for invoice in invoices:
                await queue.put(Message(invoice))
        for name in ("worker-1", "worker-2"):
            with acting(name):
                group.start_soon(worker, name=name)
        await queue.join()
        await anyio.sleep(15)
        group.cancel_scope.cancel()


def judge(trace: Trace) -> list[Diagnosis]:
    require(trace, Kind.EXPIRED, "no lease ran out.")
    found: list[Diagnosis] = []
    fences: dict[str, int] = {}
    kept: dict[str, str] = {}
    for note in trace.filter(Kind.NOTE, where=SAID):
        invoice, token = note.data["invoice"], note.data["token"]
        accepts = token >= fences.get(invoice, token)
        if accepts:
            fences[invoice], kept[invoice] = token, note.data["wrote"]
        found += _wrong(trace, note, accepts, kept.get(invoice))
    if not found:
        require(trace, Kind.REFUSED, "no old lease tried to write.", where="store")
    return ranked(found, MISTAKES)


def _wrong(trace: Trace, note: Event, accepts: bool, kept: str | None) -> Iterator[Diagnosis]:
    said, reads, token = note.data["said"], note.data["reads"], note.data["token"]
    invoice = name_of(trace, note.message)
    write = f"at {when(note)} lease {token} wrote “{note.data['wrote']}” to {invoice}"
    proof = story(trace, note.message)
    if not accepts and reads == note.data["wrote"]:
        yield seen(OVERWRITTEN, f"{write}, over what a newer lease had written.", proof)
    elif accepts and reads != kept and not said:
        yield seen(_why_refused(trace, note), f"{write}, and was refused.", proof)
    elif bool(said) != accepts:
        yield seen(SAYS_DONE, f"{write}. The store answered {said!r}, and it now reads “{reads}”.", proof)
    elif reads != kept:
        yield seen(READS_WRONG, f"{write}, and now it reads “{reads}” and not “{kept}”.", proof)


def _why_refused(trace: Trace, note: Event) -> Mistake:
    def same(event: Event) -> bool:
        return bool(event.data["token"] == note.data["token"] and event.at < note.at and event.data["said"])

    return REFUSES_ITSELF if trace.filter(Kind.NOTE, where=SAID, test=same) else ONE_FENCE


FENCE_THE_STORE = Exercise(
    name="message_queue/fence_the_store",
    title="Fence the store",
    points=2,
    minutes=7,
    difficulty=2,
    kind="complete",
    answer="Store",
    form=a_class(methods=("write", "read")),
    called=(
        "Your `Store()` by two workers on four invoices. Each worker writes a draft, and a second later "
        "the final text, with the token of its lease. Leases are 5 seconds long, and over one invoice a "
        "worker sleeps through its lease, wakes up and writes."
    ),
    promised=(
        "What a newer lease wrote is never overwritten by an older one. `write` answers True when it wrote "
        "and False when it refused. Nobody else is refused."
    ),
    hints=(
        "Tokens grow: the newer lease has the higher token. What must the store remember to notice an old "
        "one?",
        "Remember, for each invoice, the highest token that has written. Refuse a token that is lower. An "
        "equal one is the same lease, writing again.",
        "`if token < self.tokens.get(invoice, token): return False`; else remember the token, keep the "
        "text, and return True.",
    ),
    explanation=(
        "The store remembers the highest token for each invoice and refuses a lower one. It needs no clock "
        "and asks no queue: the token alone says whose lease is newer."
    ),
    run=play(a_sleepy_worker),
    judge=judge,
)
