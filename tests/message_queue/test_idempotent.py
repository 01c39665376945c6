"""Idempotent receiver: one effect, whatever comes how often and in which order."""

from __future__ import annotations

import anyio
import pytest

from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Participant
from eip_ref.message import Message
from eip_ref.message_queue import (
    Attempt,
    Conflict,
    Duplicate,
    IdempotentReceiver,
    Ledger,
    MessageQueue,
    Worker,
)
from tests.backends import Play, everywhere


async def charge(message: Message, transaction: Attempt) -> None:
    """Adds the amount to the customer's bill; it takes a second."""
    bill = transaction.get("bill", 0)
    await anyio.sleep(1)
    transaction.set("bill", bill + message.body)
    transaction.effect("charged", amount=message.body)


@everywhere
def test_a_repeated_message_has_one_effect(play: Play) -> None:
    """The second delivery is recognised by its id and reported as a duplicate."""

    async def scenario() -> object:
        ledger, attempts = Ledger(), []

        async def counted(message: Message, transaction: Attempt) -> None:
            attempts.append(message.id)
            await charge(message, transaction)

        receive = IdempotentReceiver(ledger, counted)
        message = Message(10)
        for _ in range(3):
            await receive(message)
        assert len(attempts) == 1, "what is known to be a duplicate is not worked on"
        return ledger.values["bill"]

    trace = play(scenario)
    assert trace.result == 10
    assert (trace.count("effect"), trace.count("duplicate")) == (1, 2)


async def test_a_value_that_is_changed_in_place_changes_nothing_before_the_commit() -> None:
    """Nor afterwards: what was read and what was written are copies."""
    ledger, lines = Ledger(), ["tea"]
    async with ledger.transaction("first") as attempt:
        attempt.set("lines", lines)
        lines.append("after it was written")

    def change_in_place(message: Message, attempt: Attempt) -> None:
        attempt.get("lines").append("before the commit")
        raise KeyError

    with pytest.raises(KeyError):
        await IdempotentReceiver(ledger, change_in_place)(Message())
    assert ledger.values == {"lines": ["tea"]}


@everywhere
def test_a_failed_first_attempt_does_not_make_the_retry_a_duplicate(play: Play) -> None:
    """10. The record of the id commits with the effect, so a failure leaves neither."""

    async def scenario() -> object:
        ledger, attempts = Ledger(), []

        async def fails_once(message: Message, transaction: Attempt) -> None:
            await charge(message, transaction)
            attempts.append(message.id)
            if len(attempts) == 1:
                raise ConnectionError("payment service away")

        receive = IdempotentReceiver(ledger, fails_once)
        message = Message(10)
        with pytest.raises(ConnectionError):
            await receive(message)
        assert ledger.values == {}
        assert message.id not in ledger
        await receive(message)
        return ledger.values["bill"]

    assert play(scenario).result == 10


@everywhere
def test_a_duplicate_beside_the_running_first_is_never_done_twice(play: Play) -> None:
    """Both run; the first to commit wins, and the other's writes are gone."""

    async def scenario() -> object:
        ledger = Ledger()
        receive = IdempotentReceiver(ledger, charge)
        message = Message(10)
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(receive, message)
        return ledger.values["bill"]

    trace = play(scenario)
    assert trace.result == 10
    assert trace.count("effect") == 1


@everywhere
def test_a_duplicate_is_not_acked_before_the_first_has_committed(play: Play) -> None:
    """If the running first attempt fails after all, the duplicate's own attempt has the effect."""

    async def scenario() -> object:
        ledger = Ledger()

        async def first_fails(message: Message, transaction: Attempt) -> None:
            await charge(message, transaction)
            if message.headers.get("attempt") == 1:
                raise ConnectionError

        receive = IdempotentReceiver(ledger, first_fails)
        message = Message(10)

        async def first() -> None:
            with pytest.raises(ConnectionError):
                await receive(message.copy(headers={"attempt": 1}))

        async with anyio.create_task_group() as group:
            group.start_soon(first)
            group.start_soon(receive, message)
        return ledger.values["bill"]

    assert play(scenario).result == 10


@everywhere
def test_different_messages_do_not_overwrite_each_other(play: Play) -> None:
    """A value that was read and has changed meanwhile is a conflict, not a lost update."""

    async def scenario() -> object:
        ledger, conflicts = Ledger(), []

        async def until_done(message: Message) -> None:
            while True:
                try:
                    return await IdempotentReceiver(ledger, charge)(message)
                except Conflict:
                    conflicts.append(message.id)

        async with anyio.create_task_group() as group:
            for amount in (1, 10, 100):
                group.start_soon(until_done, Message(amount))
        assert conflicts
        return ledger.values["bill"]

    assert play(scenario).result == 111


@everywhere
def test_a_cancelled_attempt_leaves_nothing(play: Play) -> None:
    """Cancellation rolls back like any other end."""

    async def scenario() -> None:
        ledger = Ledger()
        with anyio.move_on_after(0.5):
            await IdempotentReceiver(ledger, charge)(Message(10))
        assert (ledger.values, len(ledger)) == ({}, 0)

    play(scenario)


def test_exactly_one_effect_through_crashes_at_every_step() -> None:
    """9. At least once delivery and an idempotent receiver: one effect, wherever the process dies."""

    async def scenario(step: int) -> Ledger:
        ledger = Ledger()
        async with MessageQueue("orders", lease=10) as queue:
            for amount in (1, 10):
                await queue.put(Message(amount))
            queue.close()
            work = Worker(queue, IdempotentReceiver(ledger, charge))
            await Participant("worker", work.run, crashes=(Crash(step=step, restart_after=1),)).run()
        return ledger

    for step in range(1, 100):
        trace = simulate(scenario, step)
        assert trace.result.values == {"bill": 11}
        assert trace.count("effect") == 2
        if trace.count("crashed") == 0:
            assert step > 5
            return
    pytest.fail("the sweep never ran past the last step")


@everywhere
def test_the_memory_of_ids_is_bounded(play: Play) -> None:
    """The oldest ids are forgotten; the window is what `remember` says."""

    async def scenario() -> None:
        ledger = Ledger(remember=3)
        for n in range(10):
            async with ledger.transaction(f"m{n}"):
                pass
        assert len(ledger) == 3
        with pytest.raises(Duplicate):
            async with ledger.transaction("m7"):
                pass
        async with ledger.transaction("m6"):
            pass

    play(scenario)


def test_a_ledger_that_remembers_nothing_is_refused() -> None:
    """At least one id."""
    with pytest.raises(ValueError, match="remember must be"):
        Ledger(remember=0)


@everywhere
def test_what_handles_may_be_a_plain_function(play: Play) -> None:
    """Its writes commit as those of an async one do."""

    def charge_at_once(message: Message, attempt: Attempt) -> None:
        attempt.set("bill", attempt.get("bill", 0) + message.body)

    async def scenario() -> object:
        ledger, message = Ledger(), Message(10)
        for _ in range(2):
            await IdempotentReceiver(ledger, charge_at_once)(message)
        return ledger.values["bill"]

    assert play(scenario).result == 10
