"""CQRS: commands, relay, inbox, reads and feeds. Projections are in their own file, and so are crashes."""

from __future__ import annotations

import inspect
import math
import sqlite3
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

import eip_ref.cqrs
from eip_ref import cqrs
from eip_ref.apps.shop_dashboard.services import DASHBOARD, billing, users
from eip_ref.cqrs import (
    Command,
    CommandQueue,
    CommandRejected,
    Commands,
    CommandStatus,
    Decision,
    DomainEvent,
    Feed,
    IdempotencyKeyReused,
    Inbox,
    InvalidCommand,
    NotYet,
    Outbox,
    ReadModel,
    Relay,
    TooSlow,
    UnknownCommand,
    UnknownEvent,
    WrongExpectedVersion,
    event,
    read,
)
from eip_ref.lab import invariants
from eip_ref.lab.clock import simulate
from eip_ref.lab.invariants.views import effect_once_on_view, read_your_writes
from eip_ref.message import Message
from eip_ref.message_queue import Backoff
from eip_ref.signal import Signal, alone
from eip_ref.storage import Database, ForeignTransaction, MemoryStore, SQLiteStore, Store, Transaction
from eip_ref.trace import acting, whoami
from tests.backends import Play, everywhere, recorded

Open = Callable[[], Store]
ANN = {"name": "Ann", "email": "ann@shop"}


@pytest.fixture(params=["memory", "sqlite"])
def store_of(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the same store each time."""
    memory = MemoryStore()
    return lambda: memory if request.param == "memory" else SQLiteStore(tmp_path / "a.db", synchronous="OFF")


async def fate(service: Commands, command: Command) -> Any:
    """The answer to a command, or the type of its refusal."""
    try:
        return await service.handle(command)
    except Exception as error:
        return type(error)


def charged(version: int, cents: int = 1, who: str = "ann") -> Message:
    return event(
        DomainEvent("Charged", {"cents": cents}),
        f"billing/{who}",
        version,
        id=f"{who}{version}",
        causation_id="c",
    )


# Commands


@everywhere
def test_a_command_answers_the_id_and_the_version_it_made(play: Play, store_of: Open) -> None:
    """State, outbox and answer are there after the commit; what changes nothing makes no version."""

    async def scenario() -> Any:
        with store_of() as store:
            service = users(store)
            made = await service.handle(Command("Register", "ann", ANN))
            renamed = await service.handle(Command("Rename", "ann", {"name": "Anna"}))
            same = await service.handle(Command("Rename", "ann", {"name": "Anna"}))
            answers = [(a.id, a.version, a.created, a.repeated) for a in (made, renamed, same)]
            return answers, service.state("ann")[1]["name"], len(service.outbox)

    assert play(scenario).result == (
        [("ann", 1, True, False), ("ann", 2, False, False), ("ann", 2, False, False)],
        "Anna",
        2,
    )


@everywhere
def test_a_decision_without_facts_makes_nothing(play: Play, store_of: Open) -> None:
    """No state, no event, no version: nothing was created."""

    async def scenario() -> Any:
        with store_of() as store:
            service = Commands(store, "users")
            service.handler("Ping", lambda state, command: Decision({"seen": True}))
            answer = await service.handle(Command("Ping", "ann"))
            return answer.version, answer.created, service.state("ann"), len(service.outbox)

    assert play(scenario).result == (0, False, (0, None), 0)


@everywhere
@pytest.mark.parametrize(
    ("command", "refusal"),
    [
        (Command("Register", "ann", {"name": " ", "email": "a@b"}, id="c"), InvalidCommand),
        (Command("Rename", "ann", {"name": "Ann"}, id="c"), CommandRejected),
        (Command("Register", "ann", ANN, expects=1, id="c"), WrongExpectedVersion),
        (Command("Erase", "ann", id="c"), UnknownCommand),
    ],
)
def test_a_refused_command_changes_nothing(
    play: Play, store_of: Open, command: Command, refusal: type[Exception]
) -> None:
    """Not valid, refused by the decision, in conflict, unknown: each by its name, and nothing is stored."""

    async def scenario() -> Any:
        with store_of() as store:
            service = users(store)
            return await fate(service, command), service.state("ann"), len(service.outbox)

    assert play(scenario).result == (refusal, (0, None), 0)


@everywhere
def test_of_two_commands_that_saw_the_same_version_one_wins(play: Play, store_of: Open) -> None:
    """The other learns the actual version; with that it can decide again."""

    async def scenario() -> Any:
        with store_of() as store:
            service = users(store)
            await service.handle(Command("Register", "ann", ANN, expects=0))
            fates: list[Any] = []

            async def rename(name: str) -> None:
                fates.append(await fate(service, Command("Rename", "ann", {"name": name}, expects=1)))

            async with anyio.create_task_group() as group:
                for name in "xyz":
                    group.start_soon(rename, name)
            with pytest.raises(WrongExpectedVersion) as caught:
                await service.handle(Command("Register", "ann", ANN, expects=0))
            return fates.count(WrongExpectedVersion), caught.value.actual, service.state("ann")[0]

    assert play(scenario).result == (2, 2, 2)


@everywhere
def test_an_idempotency_key_repeats_the_first_answer(play: Play, store_of: Open) -> None:
    """The answer and a refusal by the decision, even when the state has changed; the work is done once."""

    async def scenario() -> Any:
        with store_of() as store:
            service = billing(store)
            refused = [await fate(service, Command("Pay", "ann", {"cents": 5}, key="p"))]
            first = await service.handle(Command("Charge", "ann", {"cents": 5}, key="k"))
            await service.handle(Command("Charge", "ann", {"cents": 5}))
            again = await service.handle(Command("Charge", "ann", {"cents": 5}, key="k"))
            refused.append(await fate(service, Command("Pay", "ann", {"cents": 5}, key="p")))
            return (
                (first.version, again.version, again.created, again.repeated),
                refused,
                service.state("ann"),
            )

    trace = play(scenario)
    assert trace.result == (
        (1, 1, True, True),
        [CommandRejected, CommandRejected],
        (2, {"owed": 10}),
    )
    assert trace.count("duplicate", where="billing") == 2


@everywhere
def test_an_idempotency_key_of_another_command_is_refused(play: Play, store_of: Open) -> None:
    """Other data, another target, another expectation: a mistake of the caller, and nothing happens."""

    async def scenario() -> Any:
        with store_of() as store:
            service = billing(store)
            await service.handle(Command("Charge", "ann", {"cents": 5}, key="k"))
            others = [
                Command("Charge", "ann", {"cents": 6}, key="k"),
                Command("Charge", "bob", {"cents": 5}, key="k"),
                Command("Charge", "ann", {"cents": 5}, key="k", expects=0),
                Command("Pay", "ann", {"cents": 5}, key="k"),
            ]
            return [await fate(service, other) for other in others], service.state("ann")[0]

    assert play(scenario).result == ([IdempotencyKeyReused] * 4, 1)


@everywhere
def test_what_decided_nothing_is_not_remembered(play: Play, store_of: Open) -> None:
    """A command in conflict, or not valid, may come again with its key when the cause is gone."""

    async def scenario() -> Any:
        with store_of() as store:
            service = billing(store)
            early = Command("Charge", "ann", {"cents": 1}, key="k", expects=1)
            before = await fate(service, early)
            await service.handle(Command("Charge", "ann", {"cents": 1}))
            return before, (await service.handle(early)).version

    assert play(scenario).result == (WrongExpectedVersion, 2)


@everywhere
def test_the_memory_for_keys_is_bounded(play: Play, store_of: Open) -> None:
    """The oldest is forgotten, the newest are known, and the store does not grow with the commands."""

    async def scenario() -> Any:
        with store_of() as store:
            service = Commands(store, "billing", remember=3)
            service._handlers |= billing(store)._handlers
            for n in range(10):
                await service.handle(Command("Charge", "ann", {"cents": 1}, key=str(n)))
            known = [
                (await service.handle(Command("Charge", "ann", {"cents": 1}, key=k))).repeated for k in "796"
            ]
            with store.transaction() as transaction:
                return known, transaction.size("billing.statuses"), transaction.size("billing.statuses.order")

    assert play(scenario).result == ([True, True, False], 3, 3)


def test_a_command_has_one_handler() -> None:
    """A second one is refused when it is given, and not found out at the first command."""
    service = users(MemoryStore())
    with pytest.raises(ValueError, match="Register has a handler"):
        service.handler("Register", lambda state, command: Decision({}))


@everywhere
def test_a_cancelled_caller_leaves_all_or_nothing(play: Play, store_of: Open) -> None:
    """The outcome is indefinite for the caller, and the same key finds out what it was."""

    async def scenario() -> Any:
        with store_of() as store:
            service = billing(store)
            command = Command("Charge", "ann", {"cents": 5}, key="k")
            with anyio.CancelScope() as scope:
                scope.cancel()
                await service.handle(command)
            version = service.state("ann")[0]
            return len(service.outbox) == version, (await service.handle(command)).version

    assert play(scenario).result == (True, 1)


@everywhere
def test_an_accepted_command_is_carried_out_later_and_its_outcome_is_kept(play: Play, store_of: Open) -> None:
    """202 says accepted and not done: pending at first, then the answer, or the refusal in words."""

    async def scenario() -> Any:
        with store_of() as store:
            service = billing(store)
            later = CommandQueue(service)
            charge = Command("Charge", "ann", {"cents": 5}, key="k")
            names = [await later.accept(charge), await later.accept(charge)]
            names.append(await later.accept(Command("Pay", "bob", {"cents": 5}, key="p")))
            with pytest.raises(IdempotencyKeyReused):
                await later.accept(Command("Charge", "ann", {"cents": 6}, key="k"))
            with store.transaction() as transaction:
                assert transaction.size("billing.later") == 2
            pending = later.status("k")
            async with anyio.create_task_group() as group:
                group.start_soon(later.run)
                await anyio.sleep(1)
                await later.accept(Command("Charge", "bob", {"cents": 1}, key="b"))
                await anyio.sleep(1)
                group.cancel_scope.cancel()
            return names, pending, [later.status(n) for n in ("k", "p", "b", "?")], service.state("ann")[0]

    trace = play(scenario)
    names, pending, (done, refused, bob, unknown), version = trace.result
    assert trace.count("accepted", where="billing.later") == trace.count("acked", where="billing.later") == 3
    assert names == ["k", "k", "p"]
    assert pending == CommandStatus()
    assert (done.result.version, done.refused, version) == (1, "", 1)
    assert (refused.result, refused.refused) == (None, "CommandRejected: bob owes 0 cents, and cannot pay 5")
    assert bob.result.id == "bob"
    assert unknown is None


@everywhere
def test_an_accepted_command_at_which_the_code_fails_holds_nothing_up(play: Play, store_of: Open) -> None:
    """Nothing has changed, and that is its outcome, in words; those after it are carried out."""

    async def scenario() -> Any:
        with store_of() as store:
            service = billing(store)
            service.handler("Break", lambda state, command: Decision({"owed": 1 // 0}))
            later = CommandQueue(service)
            await later.accept(Command("Break", "ann", key="b"))
            await later.accept(Command("Charge", "ann", {"cents": 5}, key="k"))
            with anyio.move_on_after(5):
                await later.run()
            return later.status("b"), later.status("k"), service.state("ann")

    trace = play(scenario)
    broken, done, state = trace.result
    assert (broken.result, broken.refused.partition(":")[0]) == (None, "ZeroDivisionError")
    assert (done.result.version, state) == (1, (1, {"owed": 5}))
    assert trace.count("failed", where="billing.later") == 1


class PowerLoss(BaseException):
    """No error: nothing in the process hears of it."""


class LosesPowerAfterwards:
    """A service whose process ends right after it has carried a command out."""

    def __init__(self, service: Commands) -> None:
        self.name, self.store, self._service = service.name, service.store, service

    async def handle(self, command: Command) -> Any:
        await self._service.handle(command)
        raise PowerLoss


class FailsOnce:
    """A service whose store has a fault at the first command."""

    def __init__(self, service: Commands, fault: Exception) -> None:
        self.name, self.store, self._service, self._faults = service.name, service.store, service, [fault]

    async def handle(self, command: Command) -> Any:
        if self._faults:
            raise self._faults.pop()
        return await self._service.handle(command)


@pytest.mark.parametrize("fault", [sqlite3.OperationalError("disk full"), ForeignTransaction()])
async def test_a_fault_of_the_store_is_no_outcome_of_a_command(fault: Exception) -> None:
    """It comes out, and the command waits to be carried out."""
    service = billing(MemoryStore())
    failing: Any = FailsOnce(service, fault)
    later = CommandQueue(failing)
    name = await later.accept(Command("Charge", "ann", {"cents": 5}))
    with pytest.raises(type(fault)):
        await later.run_once()
    assert later.status(name) == CommandStatus()
    assert await later.run_once()
    assert service.state("ann") == (1, {"owed": 5})


@everywhere
def test_an_accepted_command_survives_a_crash_and_is_carried_out_once(play: Play, store_of: Open) -> None:
    """The crash comes after the command is carried out and before its outcome is written down."""

    async def scenario() -> Any:
        with store_of() as store:
            service = billing(store)
            name = await CommandQueue(service).accept(Command("Charge", "ann", {"cents": 5}))
            dying: Any = LosesPowerAfterwards(service)
            with pytest.raises(PowerLoss):
                await CommandQueue(dying).run_once()
            later = CommandQueue(service)
            pending = later.status(name)
            worked = [await later.run_once(), await later.run_once()]
            return pending, worked, later.status(name), service.state("ann")[0]

    pending, worked, done, version = play(scenario).result
    assert pending == CommandStatus()
    assert worked == [True, False]
    assert (done.result.version, version) == (1, 1)


@everywhere
def test_accepted_commands_are_carried_out_in_order(play: Play, store_of: Open) -> None:
    """What is owed is charged before it is paid."""

    async def scenario() -> Any:
        with store_of() as store:
            later = CommandQueue(billing(store))
            names = [
                await later.accept(Command(type, "bob", {"cents": 5})) for type in ("Charge", "Pay", "Charge")
            ]
            while await later.run_once():
                pass
            return [later.status(name) for name in names]

    assert [status.refused for status in play(scenario).result] == ["", "", ""]


# The relay


async def relay_story(
    store: Store, publish: Any, *streams: str, until: float = 1000.0, relays: int = 1, **settings: Any
) -> list[Relay]:
    """Charges the customers in turn, and lets relays work for some time."""
    service = billing(store)
    made = [Relay(service.outbox, publish, f"relay-{n}", **settings) for n in range(relays)]
    async with anyio.create_task_group() as group:
        for relay in made:
            group.start_soon(relay.run)
        for stream in streams:
            await service.handle(Command("Charge", stream, {"cents": 1}))
        await anyio.sleep(until)
        for relay in made:
            relay.stop()
    return made


@everywhere
def test_a_relay_publishes_in_the_order_of_each_stream_and_then_marks(play: Play, store_of: Open) -> None:
    """At the moment of publishing the event is still in the outbox; in the end nothing is."""

    async def scenario() -> Any:
        published: list[tuple[str, int]] = []

        async def publish(message: Message) -> None:
            published.append((message.id, len(outbox)))

        with store_of() as store:
            outbox = billing(store).outbox
            await relay_story(store, publish, "ann", "bob", "ann", "ann", batch=2)
            return published, len(outbox)

    published, left = play(scenario).result
    ids = [identity for identity, _ in published]
    assert [i for i in ids if "ann" in i] == [f"billing/ann/{n}" for n in (1, 2, 3)]
    assert sorted(ids) == sorted({*ids})
    assert (len(ids), left) == (4, 0)
    assert published[-1][1] == 1


@everywhere
def test_a_relay_publishes_through_a_plain_function_too(play: Play, store_of: Open) -> None:
    """What returns without waiting has confirmed; it is the relay that acts."""

    async def scenario() -> Any:
        published: list[tuple[str, str]] = []
        with store_of() as store:
            await relay_story(store, lambda message: published.append((message.id, whoami())), "ann", "ann")
            return published, len(billing(store).outbox)

    trace = play(scenario)
    assert trace.result == ([("billing/ann/1", "relay-0"), ("billing/ann/2", "relay-0")], 0)
    assert trace.count("opened", where="relay-0") == 1


@everywhere
def test_two_relays_never_interleave_one_key(play: Play, store_of: Open) -> None:
    """While one publishes a stream, slowly, the other publishes only other streams."""

    async def scenario() -> Any:
        busy: set[str] = set()
        together = 0

        async def publish(message: Message) -> None:
            nonlocal together
            assert message.key not in busy
            busy.add(str(message.key))
            together = max(together, len(busy))
            await anyio.sleep(0.3)
            busy.discard(str(message.key))
            order.append(message)

        order: list[Message] = []
        with store_of() as store:
            await relay_story(store, publish, *["ann", "bob", "eve"] * 5, relays=2, batch=2)
        return order, together

    trace = play(scenario)
    order, together = trace.result
    assert together == 2
    for who in ("ann", "bob", "eve"):
        assert [m.id for m in order if m.key == f"billing/{who}"] == [
            f"billing/{who}/{n}" for n in range(1, 6)
        ]
    invariants.assert_holds(trace, invariants.conservation, invariants.lease_fencing)


@everywhere
def test_a_relay_that_is_too_slow_gives_up_before_another_begins(play: Play, store_of: Open) -> None:
    """What does not end before the claim is cancelled with it, so that nothing of it comes later."""

    async def scenario() -> Any:
        log: list[tuple[str, str]] = []
        hang = True

        async def publish(message: Message) -> None:
            nonlocal hang
            log.append(("begins", message.id))
            try:
                if hang:
                    hang = False
                    await anyio.sleep(1000)
            finally:
                log.append(("ends", message.id))

        with store_of() as store:
            await relay_story(store, publish, "ann", "ann", relays=2, claim=5.0, batch=1)
            return log, len(billing(store).outbox)

    log, left = play(scenario).result
    assert left == 0
    assert [what for what, _ in log] == ["begins", "ends"] * (len(log) // 2)
    assert list(dict.fromkeys(identity for _, identity in log)) == ["billing/ann/1", "billing/ann/2"]


@everywhere
def test_a_relay_whose_claim_was_over_before_its_mark_claims_again(play: Play, store_of: Open) -> None:
    """What it could not mark is waiting, and no news will come that could wake it."""

    async def scenario() -> Any:
        published: list[str] = []

        async def publish(message: Message) -> None:
            published.append(message.id)
            with anyio.CancelScope(shield=len(published) == 1):
                await anyio.sleep(6 if len(published) == 1 else 1)

        with store_of() as store:
            await relay_story(store, publish, "ann", until=10, claim=5.0)
            return published, len(billing(store).outbox)

    trace = play(scenario)
    assert trace.result == (["billing/ann/1"] * 2, 0)
    assert trace.count("stale", where="billing.outbox") == 1
    handed_out = trace.filter("delivered", where="billing.outbox")
    assert len(handed_out) == 2
    assert not any("deliveries" in event.data for event in handed_out)  # which an outbox does not count


@everywhere
def test_a_relay_rests_longer_and_longer_while_the_broker_is_down(play: Play, store_of: Open) -> None:
    """It tries the same event again, and none of its successors; after that it is as quick as before."""

    async def scenario() -> Any:
        tried: list[tuple[float, str]] = []

        async def publish(message: Message) -> None:
            tried.append((anyio.current_time() - start, message.id))
            if anyio.current_time() - start < 10:
                raise ConnectionError("the broker is down")

        with store_of() as store:
            start = anyio.current_time()
            backoff = Backoff(initial=1, max_delay=4)
            (relay,) = await relay_story(store, publish, "ann", "ann", until=30, backoff=backoff)
            return tried, relay.failures

    trace = play(scenario)
    tried, failures = trace.result
    assert [e.data["failures"] for e in trace.filter("failed", where="relay-0")] == [1, 2, 3, 4]
    assert [round(at, 3) for at, _ in tried] == [0, 1, 3, 7, 11, 11]
    assert [identity for _, identity in tried] == ["billing/ann/1"] * 5 + ["billing/ann/2"]
    assert failures == 0


@everywhere
def test_a_relay_does_not_rest_from_what_another_has_published(play: Play, store_of: Open) -> None:
    """When nothing is left it sleeps until something is committed, and not until its long rest is over."""

    async def scenario() -> list[float]:
        times: list[float] = []

        async def publish(message: Message) -> None:
            times.append(anyio.current_time() - start)
            if len(times) == 1:
                raise ConnectionError("the broker is down")

        with store_of() as store:
            start, service = anyio.current_time(), billing(store)
            await service.handle(Command("Charge", "ann", {"cents": 1}))
            backoff = Backoff(initial=60, max_delay=60)
            relay = Relay(service.outbox, publish, "one", backoff=backoff)
            async with anyio.create_task_group() as group:
                group.start_soon(relay.run)
                await anyio.sleep(30)
                await Relay(service.outbox, publish, "other").run_once()
                await anyio.sleep(40)
                await service.handle(Command("Charge", "ann", {"cents": 1}))
                await anyio.sleep(5)
                relay.stop()
            return times

    assert play(scenario).result == pytest.approx([0, 30, 70])


@everywhere
def test_a_stopped_relay_ends_within_its_batch(play: Play, store_of: Open) -> None:
    """The event in hand is published and marked; the rest of the batch is free for others at once."""

    async def scenario() -> Any:
        published: list[str] = []

        async def publish(message: Message) -> None:
            await anyio.sleep(1)
            published.append(message.id)

        with store_of() as store:
            service = billing(store)
            for _ in range(5):
                await service.handle(Command("Charge", "ann", {"cents": 1}))
            relay = Relay(service.outbox, publish, "one", claim=100)
            async with anyio.create_task_group() as group:
                group.start_soon(relay.run)
                await anyio.sleep(1.5)
                relay.stop()
            other = service.outbox.claim("two", seconds=1, limit=9)
            return published, [entry.message.id for entry in other]

    first, rest = play(scenario).result
    assert first == ["billing/ann/1", "billing/ann/2"]
    assert rest == ["billing/ann/3", "billing/ann/4", "billing/ann/5"]


@everywhere
def test_a_stopped_relay_does_not_wait_for_its_rest_or_for_news(play: Play, store_of: Open) -> None:
    """Idle, or in a long rest, it ends at once, and as soon as an attempt has failed."""

    async def scenario() -> float:
        async def publish(message: Message) -> None:
            raise ConnectionError

        async def slowly(message: Message) -> None:
            await anyio.sleep(2)
            raise ConnectionError

        with store_of() as store:
            start = anyio.current_time()
            await relay_story(store, publish, "ann", until=1, backoff=Backoff(initial=500, max_delay=500))
            await relay_story(store, publish, until=1)
            await relay_story(store, slowly, until=1, backoff=Backoff(initial=500, max_delay=500))
            return anyio.current_time() - start

    assert play(scenario).result == 4


@everywhere
def test_a_cancelled_relay_gives_its_streams_back(play: Play, store_of: Open) -> None:
    """Cancellation is raised again, and nobody has to wait for the claim to end."""

    async def scenario() -> Any:
        with store_of() as store:
            service = billing(store)
            await service.handle(Command("Charge", "ann", {"cents": 1}))
            with anyio.move_on_after(1) as scope:
                await Relay(service.outbox, lambda message: anyio.sleep(100), claim=1000).run()
            return scope.cancelled_caught, len(service.outbox.claim("two", seconds=1, limit=9))

    assert play(scenario).result == (True, 1)


class SlowStore(MemoryStore):
    """Takes a second before each step, and another after it."""

    async def run(self, step: Callable[[Transaction], Any]) -> Any:
        await anyio.sleep(1)
        done = await super().run(step)
        await anyio.sleep(1)
        return done


async def test_a_relay_gives_its_streams_back_through_a_slow_store() -> None:
    """Also when it is cancelled."""
    outbox = Outbox(SlowStore())
    with outbox.store.transaction() as transaction:
        outbox.add(transaction, charged(1))
    with anyio.move_on_after(5):
        await Relay(outbox, lambda message: anyio.sleep(100), claim=1000).run()
    assert len(outbox.claim("two", seconds=1, limit=9)) == 1


async def test_a_relay_publishes_nothing_when_its_claim_ended_before_it_heard_of_it() -> None:
    """Another relay may be at it already."""
    outbox, published = Outbox(SlowStore()), list[Message]()
    with outbox.store.transaction() as transaction:
        outbox.add(transaction, charged(1))
    assert await Relay(outbox, published.append, claim=1).run_once() == 0
    assert published == []


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_batch_that_is_cancelled_before_it_began_publishes_nothing(backend: str) -> None:
    """Also through a plain function, which nobody could cancel."""

    async def scenario() -> list[Message]:
        published: list[Message] = []
        service = billing(MemoryStore())
        await service.handle(Command("Charge", "ann", {"cents": 1}))
        with anyio.CancelScope() as scope:
            scope.cancel()
            await Relay(service.outbox, published.append).run_once()
        return published

    assert anyio.run(scenario, backend=backend) == []


@everywhere
def test_a_relay_takes_over_when_the_claim_of_a_dead_one_runs_out(play: Play, store_of: Open) -> None:
    """At that instant, also when there is no other news."""

    async def scenario() -> Any:
        published: list[float] = []

        async def publish(message: Message) -> None:
            published.append(anyio.current_time() - start)

        with store_of() as store:
            service = billing(store)
            await service.handle(Command("Charge", "ann", {"cents": 1}))
            start = anyio.current_time()
            service.outbox.claim("dead", seconds=5.3, limit=1)
            relay = Relay(service.outbox, publish)
            async with anyio.create_task_group() as group:
                group.start_soon(relay.run)
                await anyio.sleep(50)
                relay.stop()
        return published

    (at,) = play(scenario).result
    assert at == pytest.approx(5.3, abs=0.01)


@everywhere
def test_a_relay_finds_what_another_process_has_written(play: Play, tmp_path: Path) -> None:
    """It looks every `poll` seconds of its database, since nobody here can ring for that."""

    async def scenario() -> Any:
        alone.set(False)  # in a simulation nobody polls
        path = tmp_path / "a.db"
        with SQLiteStore(Database(path, poll=2.0)) as store, SQLiteStore(path) as elsewhere:
            elsewhere.changed = Signal()  # as another process has one of its own
            published: list[float] = []

            async def publish(message: Message) -> None:
                published.append(anyio.current_time() - start)

            relay = Relay(billing(store).outbox, publish)
            start = anyio.current_time()
            async with anyio.create_task_group() as group:
                group.start_soon(relay.run)
                await anyio.sleep(0.5)
                await billing(elsewhere).handle(Command("Charge", "ann", {"cents": 1}))
                await anyio.sleep(5)
                relay.stop()
            return published

    assert play(scenario).result == [2.0]


# The inbox


@everywhere
def test_a_repeated_message_changes_nothing(play: Play, store_of: Open) -> None:
    """The row that says done commits with what was done; the answer says whether it was new."""

    async def scenario() -> Any:
        with store_of() as store:
            inbox = Inbox(store, "mailer")
            inbox.on("Charged", lambda transaction, message: transaction.count("mails"))
            answers = [await inbox(charged(1)), await inbox(charged(1)), await inbox(charged(2))]
            with store.transaction() as transaction:
                return answers, transaction.get("counters", "mails")

    trace = play(scenario)
    assert trace.result == ([True, False, True], 2)
    assert trace.count("duplicate", where="mailer") == 1


@everywhere
def test_a_failed_attempt_does_not_make_its_retry_a_duplicate(play: Play, store_of: Open) -> None:
    """All handlers of the event share one transaction: the first one's work is undone with it."""

    async def scenario() -> Any:
        with store_of() as store:
            inbox = Inbox(store, "mailer")
            fails = [True, False]

            def second(transaction: Transaction, message: Message) -> None:
                if fails.pop(0):
                    raise OSError("no paper")

            inbox.on("Charged", lambda transaction, message: transaction.count("mails"))
            inbox.on("Charged", second)
            with pytest.raises(OSError, match="no paper"):
                await inbox(charged(1))
            again = await inbox(charged(1))
            with store.transaction() as transaction:
                return again, transaction.get("counters", "mails")

    assert play(scenario).result == (True, 1)


@everywhere
def test_an_event_has_many_handlers_in_the_order_given(play: Play, store_of: Open) -> None:
    """Each is called once, for the types that it was given for."""

    async def scenario() -> list[str]:
        called: list[str] = []
        with store_of() as store:
            inbox = Inbox(store, "mailer")
            inbox.on("Charged", lambda t, m: called.append("a"), lambda t, m: called.append("b"))
            inbox.on("Charged", lambda t, m: called.append("c"))
            inbox.on("Paid", lambda t, m: called.append("d"))
            await inbox(charged(1))
        return called

    assert play(scenario).result == ["a", "b", "c"]


@everywhere
@pytest.mark.parametrize("policy", ["ack", "nack"])
def test_an_unknown_type_is_acked_or_nacked_by_policy(play: Play, store_of: Open, policy: str) -> None:
    """Passed over, or refused so that the queue tries it again or lets it die; counted in both cases."""

    async def scenario() -> Any:
        with store_of() as store:
            inbox = Inbox(store, "mailer", unknown=policy)
            try:
                fate: Any = await inbox(charged(1))
            except UnknownEvent:
                fate = "nack"
            inbox.on("Charged", lambda t, m: None)
            return fate, dict(inbox.unknown), await inbox(charged(1))

    trace = play(scenario)
    assert trace.result == (False if policy == "ack" else "nack", {"Charged": 1}, True)
    assert [e.data["policy"] for e in trace.filter("note")] == [policy]


@everywhere
def test_the_memory_of_an_inbox_is_bounded(play: Play, store_of: Open) -> None:
    """It knows the last ids, and no more than that."""

    async def scenario() -> Any:
        with store_of() as store:
            inbox = Inbox(store, "mailer", remember=3)
            inbox.on("Charged", lambda t, m: None)
            for n in range(1, 11):
                await inbox(charged(n))
            again = [await inbox(charged(n)) for n in (8, 10, 7)]
            with store.transaction() as transaction:
                return again, transaction.size("mailer.seen"), transaction.size("mailer.seen.order")

    assert play(scenario).result == ([False, False, True], 3, 3)


# Read your writes


async def reader(store: Store, after: float, **asked: Any) -> Any:
    """Reads version 2, of which the view hears `after` some seconds; when it was answered, and what."""
    view = ReadModel(store, "dashboard", DASHBOARD)
    await view(charged(1, 100))
    start = anyio.current_time()

    async def comes() -> None:
        await anyio.sleep(after)
        await view(charged(2, 50))

    async with anyio.create_task_group() as group:
        group.start_soon(comes)
        with acting("Ann"):
            try:
                reading: Any = await read(view, "ann", at_least={"billing/ann": 2}, **asked)
            except NotYet as error:
                reading = error
        return anyio.current_time() - start, reading


@everywhere
@pytest.mark.parametrize("late", [0.5, 1.9])
def test_a_read_waits_for_the_version_that_it_names(play: Play, store_of: Open, late: float) -> None:
    """Answered as soon as the view has it, and no sooner."""

    async def scenario() -> Any:
        with store_of() as store:
            return await reader(store, late, timeout=2.0)

    trace = play(scenario)
    at, reading = trace.result
    assert at == late
    assert (reading.row["charged"], reading.versions, reading.stale) == (150, {"billing/ann": 2}, False)
    invariants.assert_holds(trace, read_your_writes)


@everywhere
def test_a_read_that_waited_in_vain_is_marked_or_refused(play: Play, store_of: Open) -> None:
    """After the deadline: what there is, marked as stale with its version, or `NotYet`, by policy."""

    async def scenario() -> Any:
        with store_of() as store:
            marked = await reader(store, 5, timeout=2)
        return marked, await reader(MemoryStore(), 5, timeout=2, late="refuse")

    trace = play(scenario)
    (at, reading), (later, refused) = trace.result
    assert at == later == 2
    assert (reading.row["charged"], reading.versions, reading.stale) == (100, {"billing/ann": 1}, True)
    assert (refused.stream, refused.wanted, refused.version) == ("billing/ann", 2, 1)
    assert trace.count("started") == trace.count("timed out") == 2
    invariants.assert_holds(trace, read_your_writes)


@pytest.mark.parametrize("how", ["cancelled", "failed"])
async def test_a_read_that_brings_nothing_has_an_end_in_the_trace(how: str) -> None:
    """Whoever reads it sees no reader that still waits."""

    class Gone(MemoryStore):
        async def news(self) -> None:
            await anyio.sleep(1)
            raise ConnectionError

    view = ReadModel(Gone(), "dashboard", DASHBOARD)
    with suppress(ConnectionError), anyio.move_on_after(0.5 if how == "cancelled" else 2):
        await read(view, "ann", at_least={"billing/ann": 2}, timeout=10)
    assert recorded().messages("started") == recorded().messages(how) == ["read 1"]


@everywhere
def test_a_read_that_names_no_version_does_not_wait(play: Play, store_of: Open) -> None:
    """Nothing was promised to it; and a version below 0 is a mistake."""

    async def scenario() -> Any:
        with store_of() as store:
            view = ReadModel(store, "dashboard", DASHBOARD)
            with pytest.raises(ValueError, match="from 0 on"):
                await read(view, "ann", at_least={"billing/ann": -1})
            start = anyio.current_time()
            reading = await read(view, "ann", timeout=math.inf)
            return reading.row, reading.stale, anyio.current_time() - start

    assert play(scenario).result == (None, False, 0.0)


# Feeds


class History:
    """All events so far."""

    def __init__(self, *events: Message) -> None:
        self._events = iter(events)

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        for message in self._events:
            return message
        raise StopAsyncIteration


async def taken(feed: Feed) -> list[tuple[int, str, int]]:
    """All that the feed has now."""
    changes = []
    while (change := feed.next_nowait()) is not None:
        changes.append((change.position, change.key, change.row["charged"] if change.row else 0))
    return changes


@everywhere
def test_a_feed_gives_the_snapshot_and_then_every_change(play: Play, store_of: Open) -> None:
    """Without a gap and without an overlap, whatever is committed between the two."""

    async def scenario() -> Any:
        with store_of() as store:
            view = ReadModel(store, "dashboard", DASHBOARD)
            await view(charged(1, 1))
            await view(charged(1, 10, "bob"))
            await view(charged(2, 1))
            with Feed(view) as feed:
                await view(charged(3, 1))
                first = await taken(feed)
                await view(charged(4, 1))
                await view(charged(5, 1))
                return first, await taken(feed), feed.position

    assert play(scenario).result == (
        [(2, "bob", 10), (4, "ann", 3)],
        [(5, "ann", 4), (6, "ann", 5)],
        6,
    )


@everywhere
def test_a_feed_resumes_after_a_position(play: Play, store_of: Open) -> None:
    """With what has changed since, and no more; a position that the view never had begins anew."""

    async def scenario() -> Any:
        with store_of() as store:
            view = ReadModel(store, "dashboard", DASHBOARD)
            for n in (1, 2, 3):
                await view(charged(n, 1))
            await view(charged(1, 10, "bob"))
            seen = []
            for after in (4, 3, 2, 99):
                with Feed(view, after=after) as feed:
                    seen.append(await taken(feed))
            return seen

    ann, bob = (3, "ann", 3), (4, "bob", 10)
    assert play(scenario).result == [[], [bob], [ann, bob], [ann, bob]]


async def test_a_position_of_another_history_is_void(store_of: Open) -> None:
    """A feed that resumes with the epoch of another store begins anew; a rebuild is no new epoch."""
    with store_of() as store:
        view, other = ReadModel(store, "dashboard", DASHBOARD), ReadModel(MemoryStore(), "d", DASHBOARD)
        for each in (view, other):
            await each(charged(1, 1))
            await each(charged(1, 1, "bob"))
        with Feed(view, after=2, epoch=other.epoch) as feed:
            assert (feed.position, feed.epoch) == (0, view.epoch)
            assert [position for position, _, _ in await taken(feed)] == [1, 2]
        await view.rebuild(History(charged(1, 1), charged(1, 1, "bob")))
        with Feed(view, after=2, epoch=feed.epoch) as feed:
            assert feed.position == 2
            assert [position for position, _, _ in await taken(feed)] == [3, 4]


async def test_a_feed_is_a_channel_of_its_follower() -> None:
    """By its name, that of whoever acts, or none in particular."""
    view = ReadModel(MemoryStore(), "dashboard", DASHBOARD)
    assert Feed(view).name == "follower"
    with acting("Ann"), Feed(view) as ann, Feed(view, name="phone") as phone:
        await view(charged(1))
        await taken(ann)
        await view(charged(2))
    assert (ann.name, phone.name) == ("Ann", "phone")
    told = [(e.kind, e.message) for e in recorded() if e.where == "dashboard → Ann"]
    first, second = (
        [("accepted", "ann@1"), ("delivered", "ann@1")],
        [("accepted", "ann@2"), ("dropped", "ann@2")],
    )
    assert told == [("opened", ""), *first, *second, ("closed", "")]


@everywhere
@pytest.mark.parametrize("capacity", [1, 2, 5])
def test_a_slow_follower_drops_to_the_latest(play: Play, store_of: Open, capacity: int) -> None:
    """It misses what was in between, never the last state of a row, and holds no more than its buffer."""

    async def scenario() -> Any:
        with store_of() as store:
            view = ReadModel(store, "dashboard", DASHBOARD)
            with Feed(view, capacity=capacity) as feed, Feed(view, capacity=100) as quick:
                await taken(feed)
                await taken(quick)
                most = 0
                for n in range(1, 11):
                    for who in ("ann", "bob", "eve"):
                        await view(charged(n, 1, who))
                        most = max(most, len(feed))
                return await taken(feed), len(await taken(quick)), most <= capacity, feed.skipped

    trace = play(scenario)
    changes, quick, bounded, skipped = trace.result
    assert [e.data["now"] for e in trace.filter("state")].count("behind") == skipped
    invariants.assert_holds(trace, invariants.conservation)
    assert changes == [(28, "ann", 10), (29, "bob", 10), (30, "eve", 10)]
    assert (quick, bounded, skipped) == (30, True, 1)


@everywhere
def test_a_slow_follower_is_cut_off_by_policy(play: Play, store_of: Open) -> None:
    """It gets what is in its buffer, then `TooSlow`; it resumes from there without a gap."""

    async def scenario() -> Any:
        with store_of() as store:
            view = ReadModel(store, "dashboard", DASHBOARD)
            with Feed(view, capacity=2, when_slow="close") as feed:
                await taken(feed)
                for n in range(1, 6):
                    await view(charged(n, 1))
                got = [(await anext(feed)).position for _ in range(2)]
                with pytest.raises(TooSlow):
                    await anext(feed)
            with Feed(view, after=feed.position) as back:
                return got, await taken(back)

    assert play(scenario).result == ([1, 2], [(5, "ann", 5)])


@everywhere
def test_a_snapshot_that_fills_the_buffer_cuts_nobody_off(play: Play, store_of: Open) -> None:
    """Who still reads the snapshot is not slow: changes of that time come after it."""

    async def scenario() -> Any:
        with store_of() as store:
            view = ReadModel(store, "dashboard", DASHBOARD)
            for who in ("ann", "bob"):
                await view(charged(1, 1, who))
            with Feed(view, capacity=2, when_slow="close") as feed:
                first = feed.next_nowait()
                for n in range(2, 9):
                    await view(charged(n, 1))
                return first and first.position, await taken(feed)

    assert play(scenario).result == (1, [(2, "bob", 1), (9, "ann", 8)])


@everywhere
def test_a_follower_that_waits_is_woken_and_one_that_left_costs_nothing(play: Play, store_of: Open) -> None:
    """After it has left, the view knows nothing of it."""

    async def scenario() -> Any:
        with store_of() as store:
            view = ReadModel(store, "dashboard", DASHBOARD)
            got: list[int] = []

            async def follow() -> None:
                with Feed(view) as feed:
                    async for change in feed:
                        got.append(change.position)

            async with anyio.create_task_group() as group:
                group.start_soon(follow)
                await anyio.sleep(1)
                await view(charged(1))
                await view(charged(2))
                await anyio.sleep(1)
                group.cancel_scope.cancel()
            return got, len(view.listeners)

    assert play(scenario).result == ([1, 2], 0)


# The whole


def test_the_example_of_the_package_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """At most 30 lines, and what it prints is the story."""
    text = inspect.getdoc(eip_ref.cqrs) or ""
    story = textwrap.dedent(text[text.index("    async def story") : text.index("Read `commands.py`")])
    assert len(story.strip().splitlines()) <= 30
    names = {name: getattr(cqrs, name) for name in cqrs.__all__} | {"anyio": anyio, "acting": acting}
    names |= {"users": users, "DASHBOARD": DASHBOARD, "MemoryStore": MemoryStore}
    exec(story, names)
    trace = simulate(names["story"])
    invariants.assert_holds(trace, effect_once_on_view, read_your_writes, invariants.conservation)
    assert capsys.readouterr().out.splitlines() == [
        "answered: CommandResult(id='ann', version=1, created=True, repeated=False)",
        "the view has None and the outbox 1 event",
        "read: Ann - stale: False",
        'position 2: Ann "the cat" Lee',
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        partial(Commands, MemoryStore(), "users", remember=0),
        partial(Inbox, MemoryStore(), "mailer", remember=0),
        partial(Inbox, MemoryStore(), "mailer", unknown="drop"),
        partial(Feed, ReadModel(MemoryStore(), "d", {}), capacity=0),
        partial(Feed, ReadModel(MemoryStore(), "d", {}), after=-1),
        partial(Feed, ReadModel(MemoryStore(), "d", {}), when_slow="drop"),
        partial(Relay, users(MemoryStore()).outbox, Inbox(MemoryStore(), "mailer"), claim=0),
        partial(Relay, users(MemoryStore()).outbox, Inbox(MemoryStore(), "mailer"), batch=0),
    ],
)
def test_wrong_settings_are_refused(wrong: Callable[[], object]) -> None:
    """At the making, in words."""
    with pytest.raises(ValueError, match=r"must|not a valid"):
        wrong()
