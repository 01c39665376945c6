"""The Gantt chart of a saga, and of anything that names its steps or branches."""

from __future__ import annotations

import anyio

from eip_ref.course.saga.order_story import OrderServices
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Participant
from eip_ref.lab.figures import gantt
from eip_ref.saga import Orchestrator, Parallel, Saga, SagaLog, Step
from eip_ref.storage import MemoryStore
from eip_ref.trace import Kind, Trace, record
from tests.backends import recorded, virtual_time_only
from tests.saga.stories import NO_TEA, ORDER, QUICK, STOLEN, Network, first, saga


def story(crash: float | None = None) -> Trace:
    """Parallel steps, of which one times out and one is broken; a refusal, and compensation."""
    order, credit, payment, stock, *rest = list(saga())
    slow = Step("payment", payment.command, undo=payment.undo, timeout=0.6)
    stages: list[Step | Parallel] = [order, Parallel(credit, slow, stock), *rest]
    definition = Saga("place order", stages, retry=QUICK, undo_retry=QUICK)

    async def scenario() -> None:
        faults = {"o1/payment": ["silent after"], "o1/credit": ["broken before"], "o1/stock/undo": ["down"]}
        network, log = Network(OrderServices(STOLEN), faults), SagaLog(MemoryStore())
        orchestrator = Orchestrator(definition, log, network.execute)

        async def process() -> None:
            await orchestrator.recover()
            await orchestrator.run("o1", ORDER)

        crashes = (Crash(at=crash, restart_after=0.5),) if crash else ()
        await Participant("orchestrator", process, (), crashes).run()

    return simulate(scenario)


def test_each_step_has_a_row_and_each_attempt_is_told() -> None:
    """Finished, failed, timed out and taken back, with their times, and the changes of the saga."""
    figure = gantt(story(), of="o1")
    assert (
        "credit: failed from 0.1 s to 0.2 s, finished from 1.2 s to 1.3 s and taken back from" in figure.alt
    )
    assert "payment: timed out from 0.1 s to 0.7 s, finished from" in figure.alt
    assert "Running at 0.0 s, compensating at" in figure.alt
    for word in ("taken back", "timed out", "failed", "finished"):
        assert f">{word}<" in figure.svg


def test_the_same_trace_gives_the_same_bytes() -> None:
    """And another one other bytes."""
    assert gantt(story()).svg == gantt(story()).svg
    assert gantt(story()).svg != gantt(story(0.25)).svg


def test_what_a_crash_leaves_without_an_end_is_drawn_as_such() -> None:
    """Up to the crash."""
    figure = gantt(story(0.15))
    assert "no end in sight from 0.1 s to 0.15 s" in figure.alt


@virtual_time_only
async def test_rows_of_several_sagas_carry_their_ids() -> None:
    """And one of them can be drawn alone, from when it began to its end."""
    network = Network(OrderServices(first(tea=3)))
    orchestrator = Orchestrator(saga(), SagaLog(MemoryStore()), network.execute)
    for name in ("o1", "o2"):
        await orchestrator.run(name, ORDER)
    trace = recorded()
    assert "o2 payment: finished from" in gantt(trace).alt
    alone = gantt(trace, of="o2").alt
    assert "o1" not in alone
    assert " payment: finished from" in alone


def test_branches_and_messages_make_rows_too() -> None:
    """For a gateway; and without either, each message is a row."""

    async def branches() -> None:
        for branch in ("user", "orders"):
            record(Kind.STARTED, "gateway", f"r1/{branch}", request="r1", branch=branch)
        await anyio.sleep(1)
        record(Kind.CANCELLED, "gateway", "r1/orders", request="r1", branch="orders")
        await anyio.sleep(1)
        record(Kind.FINISHED, "gateway", "r1/user", request="r1", branch="user")

    async def messages() -> None:
        record(Kind.STARTED, "worker", "m1")
        await anyio.sleep(1)

    alt = gantt(simulate(branches), of="r1").alt
    assert (
        alt == "r1: what ran when. user: finished from 0.0 s to 2.0 s. orders: cancelled from 0.0 s to 1.0 s."
    )
    assert "m1: no end in sight" in gantt(simulate(messages)).alt
    assert gantt(Trace([])).alt == "What ran when. Nothing was started."


@virtual_time_only
async def test_more_rows_than_there_is_room_for_are_named() -> None:
    """The first thirty are drawn."""
    for number in range(33):
        record(Kind.STARTED, "boss", f"m{number}", step=f"step {number}")
    assert gantt(recorded()).alt.endswith("Not shown: step 30, step 31 and step 32.")


@virtual_time_only
async def test_a_refused_order_is_drawn_without_compensation_of_the_refused_step() -> None:
    """What was refused has failed, and no bar takes it back."""
    await Orchestrator(saga(), SagaLog(MemoryStore()), Network(OrderServices(NO_TEA)).execute).run(
        "o1", ORDER
    )
    assert "stock: failed from 0.3 s to 0.4 s." in gantt(recorded()).alt
