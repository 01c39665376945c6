"""The outbox: a command leaves because its intent is written, and never without it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from eip_ref.message import Message
from eip_ref.message_queue import MessageQueue, Worker
from eip_ref.saga import (
    Entry,
    Mark,
    MemorySagaLog,
    Orchestrator,
    Phase,
    Post,
    SagaLog,
    SQLiteSagaLog,
    answering,
)
from eip_ref.saga.order_story import Shop
from tests.backends import Play, everywhere
from tests.saga.stories import COMPLETED, NO_TEA, ORDER, amounts, first, holds, saga, untouched, without_zeros

pytestmark = everywhere


@pytest.mark.parametrize("values", [first(), NO_TEA], ids=["completes", "compensates"])
def test_a_saga_over_queues_ends_as_one_that_calls(
    play: Play, tmp_path: Path, values: dict[str, Any]
) -> None:
    """Commands from the outbox into queues, answers from a queue: the same books in the end."""

    async def scenario() -> None:
        shop, queues = Shop(values), dict[str, MessageQueue]()

        async def send(command: Message) -> None:
            await queues[shop.who(command)].put(command)

        async with AsyncExitStack() as stack:
            log = stack.enter_context(SQLiteSagaLog(tmp_path / "sagas.db", synchronous="OFF", clock=float))
            answers = await stack.enter_async_context(MessageQueue("answers"))
            for name in shop.services:
                queues[name] = await stack.enter_async_context(MessageQueue(f"{name} commands"))
            async with anyio.create_task_group() as group:
                for name, service in shop.services.items():
                    group.start_soon(Worker(queues[name], answering(service, answers.put)).run)
                post = Post(log, send)
                group.start_soon(post.run)
                group.start_soon(Worker(answers, post.receive).run)
                ended = await Orchestrator(saga(), log, post).run("o1", ORDER)
                group.cancel_scope.cancel()
            compensates = values is NO_TEA
            assert ended.phase is (Phase.COMPENSATED if compensates else Phase.COMPLETED)
            assert amounts(shop) == (untouched(values) if compensates else without_zeros(COMPLETED))
            assert await log.unsent() == []

    holds(play(scenario))


def directly(shop: Shop, log: SagaLog, sent: list[str] | None = None) -> Post:
    """A post whose commands reach the services at once, and whose answers come back at once."""

    async def send(command: Message) -> None:
        if sent is not None:
            sent.append(command.id)
        await answering(shop.services[shop.who(command)], post.receive)(command)

    post = Post(log, send)
    return post


def test_the_intent_and_its_command_are_written_together(play: Play) -> None:
    """At no moment is there an intent without its command, unsent or sent, nor a command without it."""

    async def scenario() -> None:
        shop, sent = Shop(first()), list[str]()

        class Watched(MemorySagaLog):
            async def append(self, saga: str, number: int, entries: Any, commands: Any = ()) -> None:
                intents = [f"o1/{e.step}" for e in entries if e.mark is Mark.INTENT]
                undos = [f"o1/{e.step}/undo" for e in entries if e.mark is Mark.UNDOING]
                assert [command.id for command in commands] == intents + undos
                await super().append(saga, number, entries, commands)

        log = Watched()
        post = directly(shop, log, sent)
        async with anyio.create_task_group() as group:
            group.start_soon(post.run)
            assert (await Orchestrator(saga(), log, post).run("o1", ORDER)).phase is Phase.COMPLETED
            group.cancel_scope.cancel()
        assert sent == [f"o1/{step.name}" for step in saga()]

    holds(play(scenario))


def test_a_command_that_cannot_be_sent_stays_and_is_sent_when_the_way_is_free(play: Play) -> None:
    """In order, with growing rests; nothing is lost."""

    async def scenario() -> list[tuple[float, int]]:
        log, attempts = MemorySagaLog(), list[tuple[float, int]]()
        began = anyio.current_time()
        begun = Entry(Mark.BEGUN, data={"name": "s", "data": None, "deadline": None})
        await log.append("o1", 0, [begun], [Message(n, id=f"m{n}") for n in range(3)])

        async def send(command: Message) -> None:
            attempts.append((round(anyio.current_time() - began, 3), command.body))
            if len(attempts) in (2, 3, 4, 7):
                raise ConnectionError("broker away")

        async with anyio.create_task_group() as group:
            group.start_soon(Post(log, send).run)
            await anyio.sleep(5)
            await log.append("o1", 1, [], [Message(3, id="m3")])
            await anyio.sleep(5)
            group.cancel_scope.cancel()
        assert await log.unsent() == []
        return attempts

    *first_times, again, once_more = play(scenario).result
    assert first_times == [(0, 0), (0, 1), (0.1, 1), (0.3, 1), (0.7, 1), (0.7, 2)]
    assert once_more[0] - again[0] == pytest.approx(0.1), "the next time, the first rest is short again"


def test_a_crash_between_sending_and_forgetting_sends_again(play: Play) -> None:
    """At least once: whoever receives it must know the key, as participants do."""

    async def scenario() -> list[int]:
        sent = list[int]()
        log = MemorySagaLog()
        begun = Entry(Mark.BEGUN, data={"name": "s", "data": None, "deadline": None})
        await log.append("o1", 0, [begun], [Message(1, id="m1")])

        async def send(command: Message) -> None:
            sent.append(command.body)
            await anyio.sleep(0.5)

        for _ in range(2):
            with anyio.move_on_after(0.3):
                await Post(log, send).run()
        with anyio.move_on_after(1):
            await Post(log, send).run()
        return sent

    assert play(scenario).result == [1, 1, 1]


def test_a_late_answer_is_dropped_and_counted_and_moves_nothing(play: Play) -> None:
    """Of an ended saga, of none, or the second to one command."""

    async def scenario() -> None:
        shop, log = Shop(first()), MemorySagaLog()
        answers: list[Message] = []

        async def send(command: Message) -> None:
            await answering(shop.services[shop.who(command)], keep)(command)

        async def keep(answer: Message) -> None:
            answers.append(answer)
            await post.receive(answer)

        post = Post(log, send)
        async with anyio.create_task_group() as group:
            group.start_soon(post.run)
            await Orchestrator(saga(), log, post).run("o1", ORDER)
            group.cancel_scope.cancel()
        assert post.late == 0
        entries = await log.read("o1")
        for answer in answers:
            await post.receive(answer)
        await post.receive(Message("stray"))
        assert post.late == len(answers) + 1
        assert await log.read("o1") == entries
        assert shop.business() == COMPLETED

    trace = play(scenario)
    assert trace.count("dropped", where="post") == 8
    holds(trace)


def test_an_answer_to_an_earlier_attempt_is_the_answer(play: Play) -> None:
    """All attempts carry one operation; what is sent again does nothing."""

    async def scenario() -> None:
        shop, log, seen = Shop(first()), MemorySagaLog(), set[str]()

        async def later(command: Message, seconds: float) -> None:
            await anyio.sleep(seconds)
            await answering(shop.services[shop.who(command)], post.receive)(command)

        async def send(command: Message) -> None:
            slow = command.id == "o1/stock" and command.id not in seen
            seen.add(command.id)
            group.start_soon(later, command, 10.5 if slow else 2)

        post = Post(log, send)
        async with anyio.create_task_group() as group:
            group.start_soon(post.run)
            ended = await Orchestrator(saga(), log, post).run("o1", ORDER)
            assert ended.phase is Phase.COMPLETED
            await anyio.sleep(20)
            assert post.late == 1
            assert shop.business() == COMPLETED
            group.cancel_scope.cancel()

    trace = play(scenario)
    holds(trace)
    assert trace.count("timed out") == 1
    attempts = trace.filter("started", "finished", message="o1/stock")
    assert attempts[-1].at - attempts[-2].at == pytest.approx(0)


def test_an_answer_that_comes_at_once_is_not_missed(play: Play) -> None:
    """Whoever will wait is known before the command can leave."""

    async def scenario() -> float:
        shop, log = Shop(NO_TEA), MemorySagaLog()
        post = directly(shop, log)
        start = anyio.current_time()

        async def eager() -> None:  # a relay that looks all the time
            while True:
                for place, command in await log.unsent():
                    await log.sent(place)
                    await post._send(command)
                await anyio.sleep(0)

        async with anyio.create_task_group() as group:
            group.start_soon(eager)
            ended = await Orchestrator(saga(), log, post).run("o1", ORDER)
            assert ended.phase is Phase.COMPENSATED
            group.cancel_scope.cancel()
        assert post.late == 0
        return anyio.current_time() - start

    assert play(scenario).result == 0


def test_what_is_no_answer_leaves_the_step_in_doubt(play: Play) -> None:
    """A garbled answer is neither a yes nor a no."""

    async def scenario() -> None:
        log = MemorySagaLog()

        async def send(command: Message) -> None:
            await post.receive(
                command.reply({"perhaps": 1} if not command.id.endswith("undo") else {"done": None})
            )

        post = Post(log, send)
        async with anyio.create_task_group() as group:
            group.start_soon(post.run)
            ended = await Orchestrator(saga(), log, post).run("o1", ORDER)
            group.cancel_scope.cancel()
        assert ended.phase is Phase.COMPENSATED
        assert "this is no answer of a participant" in ended.reason

    play(scenario)


def test_nobody_is_waited_for_when_a_saga_is_left(play: Play) -> None:
    """Cancelled or ended, a saga leaves no waiter behind."""

    async def scenario() -> None:
        log = MemorySagaLog()

        async def send(command: Message) -> None:
            pass

        post = Post(log, send)
        with anyio.move_on_after(1):
            await Orchestrator(saga(), log, post).run("o1", ORDER)
        assert not post._waiting
        await post.receive(Message("x", causation_id="o1/order"))
        assert post.late == 1

    play(scenario)


def test_settings_are_checked(play: Play) -> None:
    """With words."""
    with pytest.raises(ValueError, match="every must be above 0 seconds"):
        Post(MemorySagaLog(), partial(anyio.sleep, 0), every=0)
