"""Request–reply under generated loads and faults: whatever happens, nobody is told what is not so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from eip_ref.lab import invariants
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Exponential, Faults, Link, Participant
from eip_ref.lab.invariants.replies import no_stray_reply
from eip_ref.message import Message
from eip_ref.message_queue import NEVER, MessageQueue, Worker
from eip_ref.request_reply import (
    Indefinite,
    NotDone,
    RemoteErrors,
    Replier,
    Requestor,
    request_again,
)
from eip_ref.trace import Trace, record


class CardDeclined(Exception):
    """The answer to some orders."""


ERRORS = RemoteErrors(CardDeclined)


@dataclass(frozen=True)
class Load:
    """A generated scenario, small enough to shrink to something readable."""

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
    crashes: tuple[float, ...] = ()  #: of the replier; then it listens to a queue


LOADS = st.builds(
    Load,
    seed=st.integers(0, 10_000),
    callers=st.integers(1, 6),
    orders=st.integers(1, 4),
    timeout=st.sampled_from([0.5, 1.0, 3.0, 10.0]),
    again=st.booleans(),
    concurrency=st.integers(1, 4),
    backlog=st.integers(0, 4),
    max_waiting=st.integers(1, 6),
    loss=st.sampled_from([0.0, 0.2]),
    duplication=st.sampled_from([0.0, 0.4]),
    reordering=st.sampled_from([0.0, 0.3]),
    declining=st.sampled_from([0.0, 0.3]),
    crashes=st.lists(st.floats(0.1, 8), max_size=2).map(lambda times: tuple(sorted(times))),
)


def random_loads(count: int) -> Iterator[Load]:
    """As many loads as seeds, each drawn from its own seed."""
    for seed in range(count):
        draw = Random(f"load {seed}")
        yield Load(
            seed=seed,
            callers=draw.randint(1, 8),
            orders=draw.randint(1, 4),
            timeout=draw.choice([0.5, 1.0, 3.0, 10.0]),
            again=draw.random() < 0.5,
            concurrency=draw.randint(1, 3),
            backlog=draw.randint(0, 2),
            max_waiting=draw.randint(1, 9),
            loss=draw.choice([0.0, 0.2]),
            duplication=draw.choice([0.0, 0.4]),
            reordering=draw.choice([0.0, 0.3]),
            declining=draw.choice([0.0, 0.3]),
            crashes=tuple(sorted(draw.uniform(0.1, 8) for _ in range(draw.choice([0, 0, 1, 2])))),
        )


async def scenario(load: Load, dies_at_step: int | None = None) -> dict[str, Any]:
    """What each order's caller learned: the receipt, or the error."""
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
        crashes = tuple(Crash(at=at, restart_after=0.5) for at in load.crashes)
        if dies_at_step is not None:
            crashes = (Crash(step=dies_at_step, restart_after=0.5),)
        group.start_soon(Participant("bank", bank, crashes=crashes).run)
        async with (
            chance.link("there", requests.put, **faults) as out,
            anyio.create_task_group() as customers,
        ):
            for number in range(load.callers):
                customers.start_soon(customer, number)
        requests.close()
    assert shop.waiting == 0
    return learned


def judge(load: Load) -> Trace:
    """Run the load and check all that is promised whatever happens."""
    trace = simulate(scenario, load, seed=load.seed)
    invariants.assert_holds(trace, invariants.conservation, no_stray_reply)
    charged = Counter(e.data["order"] for e in trace.filter("effect") if e.data["effect"] == "charged")
    all_effects = Counter(e.data["order"] for e in trace.filter("effect"))
    for order, learned in trace.result.items():
        if isinstance(learned, str):
            assert learned == f"receipt for {order}"
            assert charged[order] >= 1
        elif isinstance(learned, NotDone):
            assert all_effects[order] == 0, f"{order} was done, and its caller was told {learned!r}"
        elif isinstance(learned, CardDeclined):
            assert all_effects[order] > charged[order]
        else:
            assert isinstance(learned, Indefinite)
        if not load.crashes:
            assert all_effects[order] <= 1, f"{order} had {all_effects[order]} effects"
    return trace


@settings(max_examples=150, deadline=None)
@given(LOADS)
def test_whatever_happens_the_caller_is_told_what_is_so(load: Load) -> None:
    """An answer was carried out, "not done" was not, each reply reached who asked or was dropped.

    Without a crash of the replier each operation has one effect, however often it is asked for.
    """
    judge(load)


def test_two_hundred_seeds_of_latency_loss_duplication_reordering_and_crashes() -> None:
    """Zero violations, and every way for a request to end does occur."""
    ends: Counter[str] = Counter()
    for load in random_loads(200):
        trace = judge(load)
        ends.update(type(learned).__name__ for learned in trace.result.values())
        ends.update(str(e.data["reason"]) for e in trace.filter("dropped", where="shop"))
        ends.update(str(e.kind) for e in trace.filter("crashed", "duplicate", "lost"))
    expected = {"str", "TimedOut", "CardDeclined", "Busy", "TooManyWaiting"}
    assert set(ends) == expected | {"late", "duplicate", "crashed", "lost"}
    assert min(ends.values()) >= 10


def test_a_replier_that_crashes_at_any_step_leaves_no_caller_without_an_end() -> None:
    """The crash at every single await of it: each request ends once, and no reply goes astray."""
    load = Load(
        seed=7, callers=2, orders=1, timeout=3, again=True, concurrency=1, backlog=9, max_waiting=9,
        loss=0, duplication=0.4, reordering=0, declining=0,
    )  # fmt: skip
    for step in range(1, 60):
        trace = simulate(scenario, load, step, seed=load.seed)
        invariants.assert_holds(trace, invariants.conservation, no_stray_reply)
        assert all(isinstance(learned, str) for learned in trace.result.values())
