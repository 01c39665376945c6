"""Both styles on generated orders and faults, beside each other and beside a simple model."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from eip_ref.course.saga.order_story import PLACE_ORDER, OrderServices
from eip_ref.lab.clock import simulate
from eip_ref.saga import (
    IllegalRecord,
    LogRecord,
    Orchestrator,
    Phase,
    RecordType,
    SagaEnded,
    SagaLog,
    SagaState,
    event,
)
from eip_ref.storage import MemoryStore
from tests.saga.stories import Network, holds, saga
from tests.saga.test_choreography import Bus

Books = dict[str, dict[str, Any]]
ORDERS = st.lists(
    st.fixed_dictionaries(
        {
            "customer": st.sampled_from(["ann", "eve"]),
            "item": st.sampled_from(["tea", "saffron"]),
            "quantity": st.integers(1, 3),
            "price": st.integers(1, 40),
        }
    ),
    min_size=1,
    max_size=5,
)
BOOKS = st.fixed_dictionaries(
    {
        "customers": st.fixed_dictionaries({f"credit {n}": st.integers(0, 99) for n in ("ann", "eve")}),
        "payments": st.fixed_dictionaries(
            {f"card {n}": st.integers(0, 99) for n in ("ann", "eve")} | {"stolen eve": st.booleans()}
        ),
        "inventory": st.fixed_dictionaries({f"stock {n}": st.integers(0, 5) for n in ("tea", "saffron")}),
    }
)
STEPS = [step.name for step in saga()]
FAULTS = st.dictionaries(
    st.tuples(st.integers(0, 4), st.sampled_from(STEPS), st.sampled_from(["", "/undo"])),
    st.lists(
        st.sampled_from(["down", "broken before", "broken after", "silent before", "silent after"]),
        max_size=2,
    ),
    max_size=8,
)


def model(first: Books, orders: list[dict[str, Any]]) -> tuple[list[bool], Books]:
    """One order after the other: all of it, or nothing. Which were completed, and the books."""
    books: Books = {name: dict(values) for name, values in first.items()} | {"orders": {}, "shipping": {}}
    completed = []
    for number, order in enumerate(orders):
        customer, item, price = order["customer"], order["item"], order["price"]
        credit, money, stock = f"credit {customer}", f"card {customer}", f"stock {item}"
        enough = (
            books["customers"][credit] >= price
            and books["payments"][money] >= price
            and books["inventory"][stock] >= order["quantity"]
        )
        good = enough and not books["payments"].get(f"stolen {customer}")
        completed.append(good)
        books["orders"][f"order o{number}"] = "confirmed" if good else "rejected"
        if good:
            books["customers"][credit] -= price
            books["payments"][money] -= price
            books["payments"]["till"] = books["payments"].get("till", 0) + price
            books["inventory"][stock] -= order["quantity"]
            books["shipping"][f"parcel o{number}"] = item
    return completed, books


def of_the_business(books: Books) -> Books:
    """Without what follows from the rest: what is set aside and used; and without empty accounts."""
    return {
        name: {
            k: v
            for k, v in values.items()
            if v not in (0, False) and not k.startswith(("used", "set", "aside"))
        }
        for name, values in books.items()
    }


async def orchestrated(first: Books, orders: list[dict[str, Any]], faults: dict[str, list[str]]) -> Any:
    shop, log = OrderServices(first), SagaLog(MemoryStore())
    orchestrator = Orchestrator(saga(), log, Network(shop, faults).execute)
    ends = [(await orchestrator.run(f"o{n}", order)).phase for n, order in enumerate(orders)]
    return [end is Phase.COMPLETED for end in ends], shop.business()


async def choreographed(first: Books, orders: list[dict[str, Any]], copies: int) -> Any:
    shop = OrderServices(first)
    bus = Bus(shop, copies=copies)
    for number, order in enumerate(orders):
        await bus.publish(event(f"o{number}", PLACE_ORDER, order))
    await anyio.sleep(1)
    ends = [bus.monitor.status(f"o{n}").phase for n in range(len(orders))]
    return [end is Phase.COMPLETED for end in ends], shop.business()


@settings(max_examples=60)
@given(BOOKS, ORDERS, FAULTS, st.sampled_from([1, 2]))
def test_both_styles_end_in_the_business_state_of_a_single_transaction(
    first: Books, orders: list[dict[str, Any]], faults: dict[tuple[int, str, str], list[str]], copies: int
) -> None:
    """All or nothing for each order, whoever tells the story, also over a network that fails now and then."""
    named = {f"o{number}/{step}{undo}": list(those) for (number, step, undo), those in faults.items()}
    one = simulate(partial(orchestrated, first, orders, named))
    other = simulate(partial(choreographed, first, orders, copies))
    completed, books = model(first, orders)
    for trace in (one, other):
        holds(trace)
        assert trace.result[0] == completed
        assert of_the_business(trace.result[1]) == of_the_business(books)
    assert one.result[1] == other.result[1]


MARKS = st.sampled_from(list(RecordType))


@settings(max_examples=300)
@given(st.lists(MARKS, max_size=12))
def test_no_sequence_of_entries_gives_a_saga_two_ends(marks: list[RecordType]) -> None:
    """Whatever is appended: after completed or compensated nothing is taken, after stuck only "resumed"."""
    progress = SagaState("o1")
    ends: list[Phase] = []
    for mark in [RecordType.BEGUN, RecordType.INTENT, *marks]:
        data: Any = {"name": "s", "data": None, "deadline": None} if mark is RecordType.BEGUN else "running"
        before = progress.phase, progress.number
        try:
            progress.apply(LogRecord(mark, "a", data))
        except (SagaEnded, IllegalRecord):
            assert (progress.phase, progress.number) == before
            continue
        assert before[0] not in (Phase.COMPLETED, Phase.COMPENSATED)
        assert before[0] is not Phase.STUCK or mark is RecordType.RESUMED
        if progress.phase in (Phase.COMPLETED, Phase.COMPENSATED):
            ends.append(progress.phase)
    assert len(ends) <= 1


@settings(max_examples=200)
@given(BOOKS, ORDERS, st.integers(0, 40))
def test_reading_the_log_gives_the_state_that_the_orchestrator_had(
    first: Books, orders: list[dict[str, Any]], cut: int
) -> None:
    """The fold over all entries is what `run` returned; and any prefix of a log can be read."""

    async def scenario() -> None:
        log = SagaLog(MemoryStore())
        ended = await Orchestrator(saga(), log, OrderServices(first).execute).run("o1", orders[0])
        entries = log.read("o1")
        assert SagaState.of("o1", entries) == ended
        prefix = SagaState.of("o1", entries[:cut])
        assert prefix.number == min(cut, len(entries))

    simulate(scenario)
