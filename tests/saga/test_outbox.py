"""Sagas with an outbox: a command leaves because its intent is written, and never without it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from eip_ref.course.saga.order_story import OrderServices
from eip_ref.cqrs import Outbox, Relay
from eip_ref.message import Message
from eip_ref.message_queue import MessageQueue, Worker
from eip_ref.saga import LogRecord, Orchestrator, Phase, RecordType, SagaEnded, SagaLog, TakenOver, answering
from eip_ref.storage import MemoryStore, SQLiteStore, Store
from tests.backends import recorded
from tests.saga.stories import COMPLETED, NO_TEA, ORDER, amounts, first, holds, saga, untouched, without_zeros
from tests.saga.test_saga import asking


class Office:
    """An orchestrator with an outbox, and the relay that sends from there."""

    def __init__(self, store: Store, log: SagaLog | None = None) -> None:
        self.log = log or SagaLog(store)
        self.outbox = Outbox(store, "commands", versioned=False)
        self.orchestrator = Orchestrator(saga(), self.log, self.outbox)

    async def run(self, send: Any) -> str:
        """The order o1, while a relay sends."""
        async with anyio.create_task_group() as group:
            group.start_soon(Relay(self.outbox, send).run)
            ended = await self.orchestrator.run("o1", ORDER)
            group.cancel_scope.cancel()
        return str(ended.phase)

    async def at_once(self, shop: OrderServices, command: Message) -> None:
        """A way on which commands reach their service at once, and answers come back at once."""
        await answering(shop.services[shop.who(command)], self.orchestrator.receive)(command)


@pytest.mark.parametrize("values", [first(), NO_TEA], ids=["completes", "compensates"])
async def test_a_saga_over_queues_ends_as_one_that_calls(tmp_path: Path, values: dict[str, Any]) -> None:
    """Commands from the outbox into queues, answers from a queue: the same books in the end."""
    shop, queues = OrderServices(values), dict[str, MessageQueue]()

    async def send(command: Message) -> None:
        await queues[shop.who(command)].put(command)

    async with AsyncExitStack() as stack:
        store = SQLiteStore(tmp_path / "sagas.db", synchronous="OFF", clock=float)
        office = Office(stack.enter_context(store))
        answers = await stack.enter_async_context(MessageQueue("answers"))
        for name in shop.services:
            queues[name] = await stack.enter_async_context(MessageQueue(f"{name} commands"))
        async with anyio.create_task_group() as group:
            for name, service in shop.services.items():
                group.start_soon(Worker(queues[name], answering(service, answers.put)).run)
            group.start_soon(Worker(answers, office.orchestrator.receive).run)
            ended = await office.run(send)
            group.cancel_scope.cancel()
        compensates = values is NO_TEA
        assert ended == ("compensated" if compensates else "completed")
        assert amounts(shop) == (untouched(values) if compensates else without_zeros(COMPLETED))
        assert len(office.outbox) == 0
    holds(recorded())


@pytest.mark.parametrize("values", [first(), NO_TEA], ids=["completes", "compensates"])
async def test_the_intent_and_its_command_are_written_together(values: dict[str, Any]) -> None:
    """At no moment is there an intent without its command, unsent or sent, nor a command without it."""
    shop, store, commits = OrderServices(values), MemoryStore(), list[int]()

    class Watched(SagaLog):
        def append(self, saga: str, number: int, records: Sequence[LogRecord]) -> None:
            super().append(saga, number, records)
            with store.transaction() as transaction:
                transaction.after_commit(compare)

    def compare() -> None:
        intended = {f"o1/{r.step}" for r in office.log.read("o1") if r.type is RecordType.INTENT}
        intended |= {f"o1/{r.step}/undo" for r in office.log.read("o1") if r.type is RecordType.UNDOING}
        with store.reading() as transaction:
            unsent = {Message.from_json(text).id for _, (_, text) in transaction.scan("commands")}
        compared.append((unsent | sent, intended))
        commits.append(len(intended))

    async def send(command: Message) -> None:
        sent.add(command.id)
        await office.at_once(shop, command)

    office, sent = Office(store, Watched(store)), set[str]()
    compared = list[tuple[set[str], set[str]]]()
    await office.run(send)
    assert all(written == intended for written, intended in compared)
    assert commits[-1] == len(compared[-1][0]) == len(sent) > 6
    holds(recorded())


async def test_a_late_answer_is_dropped_and_counted_and_moves_nothing() -> None:
    """Of an ended saga, of none, the second to one command, or the one to a command that has not left."""
    shop, office, answers = OrderServices(first()), Office(MemoryStore()), list[Message]()

    async def keep(answer: Message) -> None:
        answers.append(answer)
        await office.orchestrator.receive(answer)
        if answer.causation_id == "o1/order":
            await office.orchestrator.receive(answer)
            early = answer.copy(causation_id="o1/stock", body={"refused": "sold out"})
            await office.orchestrator.receive(early)

    async def send(command: Message) -> None:
        await answering(shop.services[shop.who(command)], keep)(command)

    await office.run(send)
    assert office.orchestrator.late == 2
    records = office.log.read("o1")
    for answer in [*answers, Message("stray")]:
        await office.orchestrator.receive(answer)
    assert office.orchestrator.late == len(answers) + 3 == 10
    assert office.log.read("o1") == records
    assert shop.business() == COMPLETED
    assert recorded().count("dropped", where="place order") == 10
    holds(recorded())


async def test_an_answer_to_an_earlier_attempt_is_the_answer() -> None:
    """All attempts carry one operation; what is sent again does nothing."""
    shop, office, seen = OrderServices(first()), Office(MemoryStore()), set[str]()

    async def later(command: Message, seconds: float) -> None:
        await anyio.sleep(seconds)
        await office.at_once(shop, command)

    async def send(command: Message) -> None:
        slow = command.id == "o1/stock" and command.id not in seen
        seen.add(command.id)
        group.start_soon(later, command, 10.5 if slow else 2)

    async with anyio.create_task_group() as group:
        assert await office.run(send) == "completed"
        await anyio.sleep(20)
        assert office.orchestrator.late == 1
        assert shop.business() == COMPLETED
    holds(recorded())
    assert recorded().count("timed out") == 1
    attempts = recorded().filter("started", "finished", message="o1/stock")
    assert attempts[-1].at - attempts[-2].at == pytest.approx(0)


async def test_an_answer_that_comes_at_once_is_not_missed() -> None:
    """Whoever will wait is known before the command can leave."""
    shop, office = OrderServices(NO_TEA), Office(MemoryStore())
    start = anyio.current_time()

    async def send(command: Message) -> None:
        await office.at_once(shop, command)

    async def eager() -> None:  # a relay that looks all the time
        relay = Relay(office.outbox, send)
        while True:
            await relay.run_once()

    async with anyio.create_task_group() as group:
        group.start_soon(eager)
        ended = await office.orchestrator.run("o1", ORDER)
        group.cancel_scope.cancel()
    assert ended.phase is Phase.COMPENSATED
    assert office.orchestrator.late == 0
    assert anyio.current_time() - start == pytest.approx(0)


async def test_what_is_no_answer_leaves_the_step_in_doubt() -> None:
    """A garbled answer is neither a yes nor a no."""
    office = Office(MemoryStore())

    async def send(command: Message) -> None:
        garbled = not command.id.endswith("undo")
        await office.orchestrator.receive(command.reply({"perhaps": 1} if garbled else {"done": None}))

    assert await office.run(send) == "compensated"
    (state,) = [office.orchestrator._read("o1")]
    assert "this is no answer of a participant" in state.reason


async def test_after_an_answer_that_nobody_can_read_the_next_one_counts() -> None:
    """It was damaged on the way, and the command is sent again."""
    shop, office, garbled = OrderServices(first()), Office(MemoryStore()), set[str]()

    async def send(command: Message) -> None:
        if command.id in garbled:
            await office.at_once(shop, command)
        else:
            garbled.add(command.id)
            await office.orchestrator.receive(command.reply({"perhaps": 1}))

    assert await office.run(send) == "completed"
    assert office.orchestrator.late == 0
    assert office.orchestrator._read("o1").answers["ship"] == "parcel o1"


async def test_recovery_asks_over_the_outbox_too() -> None:
    """The question leaves as a command does, and what was done is not sent again."""
    shop, office, sent = OrderServices(first()), Office(MemoryStore()), list[str]()
    office.orchestrator = Orchestrator(asking("place order", saga().steps), office.log, office.outbox)

    async def send(command: Message) -> None:
        sent.append(command.id)
        lost = command.id == "o1/stock"
        hear = (lambda answer: None) if lost else office.orchestrator.receive
        await answering(shop.services[shop.who(command)], hear)(command)

    with anyio.move_on_after(2):
        await office.run(send)
    with anyio.fail_after(2):
        assert await office.run(send) == "completed"
    assert (sent.count("o1/stock"), sent.count("o1/stock/ask")) == (1, 1)


async def test_nobody_is_waited_for_when_a_saga_is_left() -> None:
    """Cancelled or ended, a saga leaves nobody behind who waits for its answers."""
    office = Office(MemoryStore())
    with anyio.move_on_after(1):
        await office.run(lambda command: None)
    await office.orchestrator.receive(Message("x", causation_id="o1/order", correlation_id="o1"))
    assert office.orchestrator.late == 1
    assert not office.orchestrator._runs


async def test_two_runs_of_one_saga_hear_the_same_answers() -> None:
    """A recovery beside a run takes no answer away from it; one of the two ends the saga."""
    shop, office = OrderServices(first()), Office(MemoryStore())

    async def send(command: Message) -> None:
        await anyio.sleep(0.1)
        await office.at_once(shop, command)

    async def recover() -> None:
        await anyio.sleep(0.25)
        await office.orchestrator.recover()

    start = anyio.current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(Relay(office.outbox, send).run)
        async with anyio.create_task_group() as runs:
            runs.start_soon(recover)
            with suppress(TakenOver, SagaEnded):
                await office.orchestrator.run("o1", ORDER)
        group.cancel_scope.cancel()
    assert office.log.find(Phase.COMPLETED) == ["o1"]
    assert anyio.current_time() - start < 5, "nobody waited for a timeout"
    assert shop.business() == COMPLETED
    holds(recorded())


def test_an_outbox_in_another_store_is_refused() -> None:
    """Two stores share no transaction."""
    with pytest.raises(ValueError, match="the outbox must be in the store of the log"):
        Orchestrator(saga(), SagaLog(MemoryStore()), Outbox(MemoryStore(), "commands", versioned=False))
