"""The mistakes of sagas: each is caught by the judgement that the real one passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from eip_ref.course.saga.order_story import PLACE_ORDER, TIMED_OUT, OrderServices, order_choreography
from eip_ref.cqrs import Outbox, Relay
from eip_ref.lab import invariants
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Participant
from eip_ref.lab.invariants.sagas import saga_outcome
from eip_ref.message import Message
from eip_ref.saga import (
    LogRecord,
    Orchestrator,
    Parallel,
    RecordType,
    Saga,
    SagaLog,
    Step,
    answering,
    event,
)
from eip_ref.saga import Participant as ParticipantOfSagas
from eip_ref.storage import MemoryStore
from eip_ref.trace import Trace
from tests.broken import saga as broken
from tests.saga.stories import NO_TEA, ORDER, QUICK, STOLEN, Network, first, saga
from tests.saga.test_choreography import Bus
from tests.seeded import saga as seeded


def words(trace: Trace) -> str:
    """What the invariant says."""
    return invariants.in_words(saga_outcome(trace))


def in_parallel() -> Saga:
    order, credit, payment, stock, *rest = list(saga())
    stages: list[Step | Parallel] = [order, Parallel(credit, payment, stock), *rest]
    return Saga("place order", stages, retry=QUICK, undo_retry=QUICK)


async def placed(
    make: Callable[..., Any],
    values: dict[str, Any],
    faults: dict[str, list[str]],
    definition: Saga | None = None,
) -> None:
    """One order, with faults."""
    network = Network(OrderServices(values), faults)
    await make(definition or saga(), SagaLog(MemoryStore()), network.execute).run("o1", ORDER)


async def restarted(make: Callable[..., Any], values: dict[str, Any], at: float) -> None:
    """The orchestrator dies at that time, and is started again without anybody placing the order anew."""
    network, log, begun = Network(OrderServices(values)), SagaLog(MemoryStore()), list[int]()

    async def process() -> None:
        orchestrator = make(saga(), log, network.execute)
        await orchestrator.recover()
        if not begun:
            begun.append(1)
            await orchestrator.run("o1", ORDER)

    await Participant("orchestrator", process, (), (Crash(at=at, restart_after=1),)).run()


async def cancelled(make: Callable[..., Any], values: dict[str, Any], at: float) -> None:
    """The caller loses patience."""
    with anyio.move_on_after(at):
        await make(saga(), SagaLog(MemoryStore()), Network(OrderServices(values)).execute).run("o1", ORDER)


@pytest.mark.parametrize(
    ("wrong", "scenario", "args", "said"),
    [
        (broken.UndoLambdasInMemory, restarted, (NO_TEA, 0.25), "has no outcome at the end"),
        (
            broken.OnlyAfterSuccess,
            placed,
            (first(), {"o1/payment": ["broken after"] * 3}),
            "is compensated, and payment was not taken back",
        ),
        (broken.CompensatesWhatFailed, placed, (NO_TEA, {}), "compensated stock .* certainly did not happen"),
        (broken.CompensatesForwards, placed, (NO_TEA, {}), "compensated payment after order and credit"),
        (
            broken.StopsAtTheFirstFailure,
            placed,
            (STOLEN, {"o1/payment/undo": ["down"] * 3}),
            "is compensated, and credit was not taken back",
        ),
        (broken.SkipsWhatIsInDoubt, restarted, (first(), 0.55), "is completed, and ship is not done"),
        (broken.NotShielded, cancelled, (NO_TEA, 0.45), "has no outcome at the end: it is compensating"),
        (
            broken.CancelsSiblings,
            placed,
            (NO_TEA, {"o1/payment": ["silent after"]}, in_parallel()),
            "is compensated, and payment was not taken back",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_mistake_of_orchestrators_is_caught(
    wrong: Callable[..., Any], scenario: Callable[..., Any], args: tuple[Any, ...], said: str
) -> None:
    """The same story with the real one has no findings, and with the mistake it has this one."""
    assert words(simulate(scenario, Orchestrator, *args)) == ""
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(words(simulate(scenario, wrong, *args)))


async def with_an_outbox(make: Callable[..., Any], step: int) -> None:
    """An orchestrator with an outbox dies at a step, and nobody places the order anew."""
    shop, begun, log = OrderServices(first()), list[int](), SagaLog(MemoryStore())
    outbox = Outbox(log.store, "commands", versioned=False)

    async def process() -> None:
        async def send(command: Message) -> None:
            await answering(shop.services[shop.who(command)], orchestrator.receive)(command)

        orchestrator = make(saga(), log, outbox)
        async with anyio.create_task_group() as group:
            group.start_soon(Relay(outbox, send, claim=2.0).run)
            await orchestrator.recover()
            if not begun:
                begun.append(1)
                await orchestrator.run("o1", ORDER)
            await anyio.sleep(5)
            group.cancel_scope.cancel()

    await Participant("orchestrator", process, (), (Crash(step=step, restart_after=1),)).run()


def test_a_command_sent_before_its_intent_is_written_is_caught() -> None:
    """Some crash leaves an effect of a saga that nobody knows; with one transaction none does."""
    real, wrong = set[str](), set[str]()
    for step in range(1, 30):
        real.add(words(simulate(with_an_outbox, Orchestrator, step)))
        wrong.add(words(simulate(with_an_outbox, broken.SendsBeforeTheIntent, step)))
    assert real == {""}
    assert "saga outcome: saga o1 has no outcome at the end: nobody says how it stands" in wrong


def test_a_log_that_lets_an_ended_saga_move_is_caught() -> None:
    """A late reply makes a completed saga a stuck one."""

    async def scenario(log: SagaLog) -> None:
        begun = LogRecord(RecordType.BEGUN, data={"name": "place order", "data": None, "deadline": None})
        log.append("o1", 0, [begun, LogRecord(RecordType.COMPLETED)])
        log.append("o1", 2, [LogRecord(RecordType.STUCK, data="a late timeout")])

    assert "was completed and changed to stuck" in words(
        simulate(scenario, broken.MovesEndedSagas(MemoryStore()))
    )
    with pytest.raises(Exception, match="came too late"):
        simulate(scenario, SagaLog(MemoryStore()))


async def late(kind: type[ParticipantOfSagas]) -> None:
    """The action arrives after the saga is compensated."""
    values = first()
    values["customers"]["used ann"] = 50
    shop = OrderServices(values)
    services = {n: kind(n, p.store, p._handlers) for n, p in shop.services.items()}
    shop.services.update(services)
    async with anyio.create_task_group() as group:
        network = Network(shop, {"o1/payment": ["late"] * 3, "o1/credit/undo": ["broken after"]}, group)
        await Orchestrator(saga(), SagaLog(MemoryStore()), network.execute).run("o1", ORDER)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (broken.WithoutTombstones, "was compensated at .* and had 'put money aside' at payments"),
        (broken.CompensatesTwice, "had 'released credit' of credit twice"),
    ],
)
def test_a_mistake_of_participants_is_caught(wrong: type[ParticipantOfSagas], said: str) -> None:
    """No tombstone: the late action has its effect. Not idempotent: the compensation has it twice."""
    assert words(simulate(late, ParticipantOfSagas)) == ""
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(words(simulate(late, wrong)))


def test_a_new_key_for_each_attempt_is_caught() -> None:
    """The participant cannot know that it has done this before."""

    async def scenario(wrong: bool) -> None:
        network = Network(OrderServices(first()))
        failed: list[int] = []

        async def execute(command: Message) -> Any:
            answer = await network.execute(command)
            if command.headers["step"] == "payment" and not failed:
                failed.append(1)
                raise ConnectionError
            return answer

        way = broken.key_per_attempt(execute) if wrong else execute
        await Orchestrator(saga(), SagaLog(MemoryStore()), way).run("o1", ORDER)

    assert words(simulate(scenario, False)) == ""
    assert "had 'put money aside' of payment twice" in words(simulate(scenario, True))


def test_a_choreography_that_only_cancels_the_order_is_caught() -> None:
    """E13: the money stays aside for ever."""

    async def scenario(wrong: bool) -> None:
        bus = Bus(OrderServices(NO_TEA), broken.only_order_cancelled() if wrong else None)
        await bus.publish(event("o1", PLACE_ORDER, ORDER))

    assert words(simulate(scenario, False)) == ""
    said = words(simulate(scenario, True))
    assert "is compensated, and payment was not taken back" in said
    assert "is compensated and leaves" in said


def test_a_timeout_that_does_not_ask_the_pivot_is_caught() -> None:
    """The customer has paid, and the order is taken back."""

    async def scenario(wrong: bool) -> None:
        bus = Bus(OrderServices(first()), broken.turns_back_without_asking_the_pivot() if wrong else None)
        bus._lost = "PaymentCharged"
        await bus.publish(event("o1", PLACE_ORDER, ORDER))
        bus._lost = ""
        await bus.publish(event("o1", TIMED_OUT, ORDER))

    assert words(simulate(scenario, False)) == ""
    assert "is compensated, and charge was not taken back" in words(simulate(scenario, True))


def seeds_that_find(run: int, seeds: int) -> int:
    return sum(bool(seeded.RUNS[run].judge(seeded.RUNS[run].play(seed))) for seed in range(seeds))


def test_the_seeded_runs_find_a_participant_without_tombstones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in every seed, but in some of the first thirty; with tombstones in none."""

    class Bad(OrderServices):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            for name, p in list(self.services.items()):
                self.services[name] = broken.WithoutTombstones(name, p.store, p._handlers)

    monkeypatch.setattr(seeded, "OrderServices", Bad)
    assert seeds_that_find(0, 30) > 0


def test_the_seeded_runs_find_a_choreography_that_only_cancels(monkeypatch: pytest.MonkeyPatch) -> None:
    """In some of the first ten seeds."""
    assert order_choreography().ends.keys() == {"OrderConfirmed", "OrderRejected"}
    monkeypatch.setattr(seeded, "order_choreography", broken.only_order_cancelled)
    assert seeds_that_find(1, 10) > 0


def test_the_seeded_runs_find_an_orchestrator_that_skips_what_is_in_doubt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In some of the first twenty seeds."""
    monkeypatch.setattr(seeded, "Orchestrator", broken.SkipsWhatIsInDoubt)
    assert seeds_that_find(0, 20) > 0
