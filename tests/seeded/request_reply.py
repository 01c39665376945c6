"""Request–reply under faults: bad links both ways, and a bank that is busy, declines and crashes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

import anyio

from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Exponential, Faults, Link, Participant
from eip_ref.lab.invariants import check, conservation, lease_fencing, no_stray_reply
from eip_ref.message import Message
from eip_ref.message_queue import NEVER, MessageQueue, Worker
from eip_ref.request_reply import Indefinite, NotDone, RemoteErrors, Replier, Requestor, request_again
from eip_ref.trace import Trace, record

from . import SeededRun, proves_something


class CardDeclined(Exception):
    """The answer to some orders."""


ERRORS = RemoteErrors(CardDeclined)


@dataclass(frozen=True)
class Load:
    """A scenario, small enough to shrink to something readable."""

    seed: int
    callers: int
    orders: int  #: per caller, one after the other
    timeout: float
    again: bool  #: whether callers use idempotency keys and ask again
    concurrency: int
    backlog: int
    max_waiting: int
    loss: float
    duplication: float
    reordering: float
    declining: float
    crashes: tuple[Crash, ...] = ()  #: of the replier, which listens to a queue


class Result(NamedTuple):
    """What each order's caller learned, the receipt or the error; and how many still wait for a reply."""

    load: Load
    learned: dict[str, Any]
    waiting: int


async def scenario(load: Load) -> Result:
    """Customers of a shop let a bank charge their orders."""
    chance = Faults()
    learned: dict[str, Any] = {}
    faults: dict[str, Any] = {
        "latency": Exponential(0.1),
        "loss": load.loss,
        "duplication": load.duplication,
        "reordering": load.reordering,
    }

    async def charge(request: Message) -> str:
        await chance.sleep("work", Exponential(0.5))
        declined = chance.random("declining").random() < load.declining
        effect = "declined" if declined else "charged"
        record("effect", "bank", request.id, who="bank", effect=effect, order=request.body)
        if declined:
            raise CardDeclined(request.body)
        return f"receipt for {request.body}"

    async def customer(number: int) -> None:
        for n in range(load.orders):
            order = f"order {number}.{n}"
            await chance.sleep(f"customer {number}", Exponential(0.5))
            try:
                learned[order] = (await ask(order)).body
            except Exception as error:
                learned[order] = error

    async def ask(order: str) -> Message:
        if load.again:
            return await request_again(shop, order, timeout=load.timeout, idempotency_key=order)
        return await shop.request(order, timeout=load.timeout)

    async def bank() -> None:
        # A crash forgets whom it refused as busy, and a copy might be carried out: keep room for all.
        backlog = 1_000 if load.crashes else load.backlog
        bounds = {"concurrency": load.concurrency, "backlog": backlog, "grace": 2}
        async with Replier(charge, back.send, name="bank", errors=ERRORS, **bounds) as replier:
            await Worker(requests, replier.receive).run()

    out: Link
    shop = Requestor(lambda m: out.send(m), name="shop", errors=ERRORS, max_waiting=load.max_waiting)
    async with (
        MessageQueue("requests", lease=1, policy=NEVER) as requests,
        chance.link("back", shop.receive, **faults) as back,
        anyio.create_task_group() as group,
    ):
        group.start_soon(Participant("bank", bank, crashes=load.crashes).run)
        async with (
            chance.link("there", requests.put, **faults) as out,
            anyio.create_task_group() as customers,
        ):
            for number in range(load.callers):
                customers.start_soon(customer, number)
        requests.close()
    return Result(load, learned, shop.waiting)


def findings(trace: Trace) -> list[object]:
    """An answer was carried out, "not done" was not, and each reply reached who asked or was dropped.

    Without a crash of the replier each operation has one effect, however often it is asked for.
    """
    load, learned, waiting = Result(*trace.result)
    wrong: list[object] = [*check(trace, conservation, lease_fencing, no_stray_reply)]
    wrong += ["a request still waits"] * waiting
    wrong += _untrue(trace, load, learned)
    return wrong


def _untrue(trace: Trace, load: Load, learned: dict[str, Any]) -> Iterator[str]:
    charged = Counter(e.data["order"] for e in trace.filter("effect") if e.data["effect"] == "charged")
    effects = Counter(e.data["order"] for e in trace.filter("effect"))
    for order, told in learned.items():
        done = f"{order} was charged {charged[order]} times and declined {effects[order] - charged[order]}"
        match told:
            case str():
                true = told == f"receipt for {order}" and charged[order] >= 1
            case NotDone():
                true = effects[order] == 0
            case CardDeclined():
                true = effects[order] > charged[order]
            case _:
                true = isinstance(told, Indefinite)
        if not true:
            yield f"{done}, and its caller was told {told!r}"
        if effects[order] > 1 and not load.crashes:
            yield f"{done}, though nobody crashed"


def judge(trace: Trace) -> list[object]:
    proves_something(trace.result.learned, "nobody asked for anything")
    return findings(trace)


def load_of(seed: int) -> Load:
    """A load that the seed decides."""
    dice = Random(f"load {seed}")
    return Load(
        seed,
        callers=dice.randint(1, 8),
        orders=dice.randint(1, 4),
        timeout=dice.choice([0.5, 1.0, 3.0, 10.0]),
        again=dice.random() < 0.5,
        concurrency=dice.randint(1, 3),
        backlog=dice.randint(0, 2),
        max_waiting=dice.randint(1, 9),
        loss=dice.choice([0.0, 0.2]),
        duplication=dice.choice([0.0, 0.4]),
        reordering=dice.choice([0.0, 0.3]),
        declining=dice.choice([0.0, 0.3]),
        crashes=tuple(
            Crash(at=at, restart_after=0.5)
            for at in sorted(dice.uniform(0.1, 8) for _ in range(dice.choice([0, 0, 1, 2])))
        ),
    )


def play(seed: int) -> Trace:
    return simulate(scenario, load_of(seed), seed=seed)


RUNS = [SeededRun("customers, and a bank that crashes", play, judge)]
