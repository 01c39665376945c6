"""The mistakes of CQRS: each is caught by what the real one passes. The dual writes are with the crashes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eip_ref.apps.shop_dashboard.services import DASHBOARD, billing, users
from eip_ref.cqrs import (
    Command,
    Commands,
    DomainEvent,
    Feed,
    Inbox,
    Outbox,
    ReadModel,
    Relay,
    WrongExpectedVersion,
    event,
    read,
)
from eip_ref.event_sourcing import PoisonEvent, Recorded, View
from eip_ref.lab import invariants
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Participant
from eip_ref.lab.invariants.views import effect_once_on_view, read_your_writes
from eip_ref.message import Message
from eip_ref.message_queue import Backoff
from eip_ref.storage import MemoryStore, Store, Transaction
from eip_ref.trace import Trace, whoami
from tests.broken import cqrs as broken

ANN = {"name": "Ann", "email": "ann@shop"}


def of_users(kind: Callable[..., Any]) -> Callable[..., Any]:
    """A service that knows the commands of the users service."""

    def make(store: Store, *more: Any) -> Any:
        service = kind(store, "users", *more)
        service._handlers |= users(MemoryStore())._handlers
        return service

    return make


def charge(n: int, key: str | None = None) -> Command:
    return Command("Charge", "ann", {"cents": 1}, key=key, id=f"c{n}")


def charged(version: int, cents: int = 1) -> Message:
    return event(
        DomainEvent("Charged", {"cents": cents}), "billing/ann", version, id=f"e{version}", causation_id="c"
    )


# Commands and events


class DiskFull(Exception):
    """The commit fails."""


class FailingStore(MemoryStore):
    """Its commits fail while `full` is set."""

    full = False

    def transaction(self) -> Any:
        return super().transaction() if not self.full else _fails(super().transaction())


class _fails:
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __enter__(self) -> Transaction:
        transaction: Transaction = self._inner.__enter__()
        return transaction

    def __exit__(self, *error: object) -> bool:
        if error[0] is None:
            failure = DiskFull()
            self._inner.__exit__(DiskFull, failure, None)
            raise failure
        return bool(self._inner.__exit__(*error))


def test_publishing_inside_the_transaction_tells_of_what_never_was() -> None:
    """The commit fails, the broker has heard of it; the real one has nothing to take back."""

    async def scenario(with_outbox: bool) -> tuple[int, int]:
        store, heard = FailingStore(), list[Message]()
        make = of_users(Commands) if with_outbox else of_users(broken.PublishesInsideTheTransaction)
        service = make(store) if with_outbox else make(store, heard.append)
        store.full = True
        with pytest.raises(DiskFull):
            await service.handle(Command("Register", "ann", ANN))
        store.full = False
        return service.state("ann")[0], len(heard) + (len(service.outbox) if with_outbox else 0)

    assert simulate(scenario, False).result == (0, 1)
    assert simulate(scenario, True).result == (0, 0)


NAMES = ['Ann "the cat" Lee', 'x", "admin": "yes', "back\\slash", "new\nline"]


async def name_on_the_view(make: Callable[..., Any], name: str) -> Any:
    service, view = make(MemoryStore()), ReadModel(MemoryStore(), "view", DASHBOARD)
    await service.handle(Command("Register", "ann", {"name": name, "email": "a@b"}))
    (entry,) = service.outbox.claim("relay", seconds=1, limit=1)
    view.handle(entry.message)
    return view.get("ann")


@pytest.mark.parametrize("name", NAMES)
def test_an_event_made_with_a_format_string_breaks_or_lies(name: str) -> None:
    """A quote in a name breaks the event, or adds a field to it (E4)."""
    try:
        row = simulate(name_on_the_view, of_users(broken.FormatsTheEvent), name).result
    except json.JSONDecodeError:
        return
    assert row["name"] != name or "admin" in row


@settings(max_examples=60)
@given(st.text(min_size=1).filter(lambda name: name.strip()))
def test_any_name_arrives_as_it_is(name: str) -> None:
    """Quotes, backslashes, line ends, other alphabets: the body is data, and never a part of a text."""
    row = simulate(name_on_the_view, users, name[:100] if name[:100].strip() else "x" + name[:50]).result
    assert row["name"] in (name[:100], "x" + name[:50])
    assert row.keys() == {"name", "email", "charges", "charged", "paid"}


def test_rows_as_events_tell_what_is_private() -> None:
    """Whoever listens sees the columns of the service; the real event has what was agreed, and no more."""

    async def scenario(make: Callable[..., Any]) -> set[str]:
        service = make(MemoryStore())
        await service.handle(Command("Register", "ann", ANN))
        (entry,) = service.outbox.claim("relay", seconds=1, limit=1)
        return set(entry.message.body)

    assert simulate(scenario, of_users(broken.PublishesItsRows)).result == {"name", "email", "names_before"}
    assert simulate(scenario, users).result == {"name", "email"}


def test_without_a_memory_for_keys_a_repetition_is_done_twice() -> None:
    """The caller heard no answer and asks again: charged once, or twice."""

    async def scenario(kind: Callable[..., Any]) -> int:
        service = kind(MemoryStore(), "billing")
        service._handlers |= billing(MemoryStore())._handlers
        for _ in range(2):
            await service.handle(charge(1, key="k"))
        return int(service.state("ann")[1]["owed"])

    assert simulate(scenario, broken.ForgetsTheAnswer).result == 2
    assert simulate(scenario, Commands).result == 1


def test_without_an_expected_version_the_last_writer_wins() -> None:
    """Two have seen the same name; the first change is gone, and nobody is told."""

    async def scenario(make: Callable[..., Any]) -> str:
        service = make(MemoryStore())
        await service.handle(Command("Register", "ann", ANN))
        await service.handle(Command("Rename", "ann", {"name": "Anna"}, expects=1))
        try:
            await service.handle(Command("Rename", "ann", {"name": "Anne"}, expects=1))
        except WrongExpectedVersion:
            return "conflict"
        return str(service.state("ann")[1]["name"])

    assert simulate(scenario, of_users(broken.LastWriterWins)).result == "Anne"
    assert simulate(scenario, users).result == "conflict"


def test_a_handler_that_updates_the_view_itself_counts_twice() -> None:
    """Its own write, and that of the event; and the view can never be built again as it was."""

    async def scenario(breaks: bool) -> int:
        store, view = MemoryStore(), ReadModel(MemoryStore(), "view", DASHBOARD)
        service = broken.UpdatesTheViewItself(store, "billing", view, DASHBOARD) if breaks else billing(store)
        if breaks:
            service._handlers |= billing(MemoryStore())._handlers
        await service.handle(charge(1))
        await Relay(service.outbox, view).run_once()
        return int(view.get("ann")["charged"])

    assert simulate(scenario, True).result == 2
    assert simulate(scenario, False).result == 1


# Relays


async def relayed(
    make: Callable[..., Relay], outbox_kind: type[Outbox], down: bool, crash: Crash | None, relays: int = 1
) -> list[str]:
    """Five charges of one customer, a slow broker; what it has got, in its order."""
    store, got = MemoryStore(), list[str]()
    outbox = outbox_kind(store, "billing.outbox")
    service = Commands(store, "billing", outbox=outbox)
    service._handlers |= billing(MemoryStore())._handlers
    failures = 1

    async def publish(message: Message) -> None:
        nonlocal failures
        await anyio.sleep(0.1 if whoami() == "relay-0" else 0.5)
        if down and failures:
            failures -= 1
            raise ConnectionError("the broker is down")
        got.append(message.id)
        await anyio.sleep(0.1)

    for n in range(5):
        await service.handle(charge(n))
    async with anyio.create_task_group() as group:
        for n in range(relays):
            relay = make(outbox, publish, f"relay-{n}", claim=2.0, batch=2 + n, backoff=Backoff(initial=0.5))
            crashes = (crash,) if crash else ()
            group.start_soon(Participant(relay.name, relay.run, (), crashes).run)
            await anyio.sleep(0.25)
        await anyio.sleep(30)
        group.cancel_scope.cancel()
    return got


ALL = [f"billing/ann/{n}" for n in range(1, 6)]


def in_order(got: list[str]) -> bool:
    """Whether all have arrived in order, and nothing old came after something new."""
    return list(dict.fromkeys(got)) == ALL and got == sorted(got)


@pytest.mark.parametrize(
    ("kind", "outbox", "settings"),
    [
        (broken.MarksThenPublishes, Outbox, {"crash": Crash(at=0.05, restart_after=1)}),
        (broken.GoesOnAfterAFailure, Outbox, {"down": True}),
        (Relay, broken.WithoutClaims, {"relays": 2}),
    ],
    ids=["marks, then publishes", "goes on after a failure", "two relays without claims"],
)
def test_a_relay_with_a_mistake_loses_or_disorders(kind: Any, outbox: Any, settings: dict[str, Any]) -> None:
    """The real one, in the same trouble, brings all of them in order."""

    def play(kind: Any, outbox: Any) -> list[str]:
        given = {"down": False, "crash": None, "relays": 1} | settings
        result: list[str] = simulate(
            relayed, kind, outbox, given["down"], given["crash"], given["relays"]
        ).result
        return result

    assert not in_order(play(kind, outbox))
    assert in_order(play(Relay, Outbox))


def test_a_relay_that_never_rests_hammers_the_broker() -> None:
    """A hundred attempts a second, instead of a handful in all."""

    async def scenario(kind: type[Relay]) -> int:
        tried = 0

        async def down(message: Message) -> None:
            nonlocal tried
            tried += 1
            raise ConnectionError

        service = billing(MemoryStore())
        await service.handle(charge(1))
        with anyio.move_on_after(20):
            await kind(service.outbox, down).run()
        return tried

    assert simulate(scenario, broken.NeverRests).result > 1_000
    assert simulate(scenario, Relay).result < 10


# Inboxes and projections


async def mails(kind: type[Inbox], fails: int, crash: Crash | None) -> int:
    """One event that comes until it is handled; the handler fails some times, or its process dies."""
    store = MemoryStore()
    failures = fails

    def mail(transaction: Transaction, message: Message) -> None:
        nonlocal failures
        transaction.count("mails")
        if failures:
            failures -= 1
            raise OSError("no paper")

    async def consumer() -> None:
        inbox = kind(store, "mailer")
        inbox.on("Charged", mail)
        for _ in range(3):
            try:
                await inbox(charged(1))
                return
            except OSError:
                await anyio.sleep(1)

    await Participant("mailer", consumer, (), (crash,) if crash else ()).run()
    with store.transaction() as transaction:
        return int(transaction.get("counters", "mails", 0))


def test_an_id_written_before_or_after_the_effect_loses_or_doubles_it() -> None:
    """Only in the same transaction is it once, whatever fails."""
    died = Crash(at=0.05, restart_after=1)
    assert simulate(mails, broken.SeenBeforeTheEffect, 1, None).result == 0
    assert simulate(mails, broken.SeenAfterTheEffect, 0, died).result == 2
    for fails, crash in ((0, None), (1, None), (0, died), (2, died)):
        assert simulate(mails, Inbox, fails, crash).result == 1


def test_an_inbox_that_remembers_for_ever_grows_for_ever() -> None:
    """The real one keeps as many ids as it was told."""

    async def scenario(kind: type[Inbox]) -> int:
        store = MemoryStore()
        inbox = kind(store, "mailer", remember=10)
        inbox.on("Charged", lambda transaction, message: None)
        for n in range(1, 101):
            inbox.handle(charged(n))
        with store.transaction() as transaction:
            return transaction.size("mailer.seen")

    assert simulate(scenario, broken.RemembersForEver).result == 100
    assert simulate(scenario, Inbox).result == 10


async def shuffled(kind: type[ReadModel], order: list[int], fail_at: int = 0) -> dict[str, Any]:
    """Charges, renames and pays come in this order; one of them fails at its first attempt."""
    made = billing(MemoryStore()), users(MemoryStore())
    await made[1].handle(Command("Register", "ann", ANN, id="c0"))
    for n, name in enumerate(("Anna", "Anne"), 1):
        await made[1].handle(Command("Rename", "ann", {"name": name}, id=f"c{n}"))
    await made[0].handle(Command("Charge", "ann", {"cents": 100}, id="c3"))
    entries = [entry for service in reversed(made) for entry in service.outbox.claim("r", seconds=9, limit=9)]
    failing = [fail_at]

    def once(project: Any) -> Any:
        def fails(view: View, event: Recorded) -> None:
            if failing[0] and event.message.id == entries[failing[0]].message.id:
                failing[0] = 0
                raise OSError
            project(view, event)

        return fails

    view = kind(MemoryStore(), "view", {type: once(project) for type, project in DASHBOARD.items()})
    for pick in order:
        for _ in range(2):
            try:
                await view(entries[pick].message)
                break
            except (OSError, PoisonEvent):
                await anyio.sleep(1)
    return view.rows()


EXPECTED = {"ann": {"name": "Anne", "email": "ann@shop", "charges": 1, "charged": 100, "paid": 0}}


@pytest.mark.parametrize(
    ("kind", "order", "fail_at"),
    [
        (broken.AppliesWhateverComes, [0, 1, 2, 3, 3], 0),
        (broken.AppliesWhateverComes, [0, 2, 1, 3], 0),
        (broken.IgnoresWhatIsLate, [2, 0, 1, 3], 0),
        (broken.CheckpointBeforeTheView, [0, 1, 2, 3], 3),
    ],
    ids=["a duplicate", "out of order", "late is old", "checkpoint before the view"],
)
def test_a_projection_with_a_mistake_shows_something_else(
    kind: type[ReadModel], order: list[int], fail_at: int
) -> None:
    """Duplicates count twice, late news overwrites new, or is lost; the real one shows what happened."""
    trace = simulate(shuffled, kind, order, fail_at)
    assert trace.result != EXPECTED
    assert invariants.check(trace, effect_once_on_view)
    good = simulate(shuffled, ReadModel, order, fail_at)
    assert good.result == EXPECTED
    invariants.assert_holds(good, effect_once_on_view)


def test_telling_before_the_commit_tells_what_may_never_be() -> None:
    """The commit fails, and the followers have a row that nobody can read."""

    async def scenario(kind: type[ReadModel]) -> tuple[int, Any]:
        store = FailingStore()
        view, told = kind(store, "view", DASHBOARD), list[Any]()
        view.listeners[told.append] = None
        store.full = True
        with pytest.raises(DiskFull):
            view.handle(charged(1))
        store.full = False
        return len(told), view.get("ann")

    assert simulate(scenario, broken.TellsBeforeTheCommit).result == (1, None)
    assert simulate(scenario, ReadModel).result == (0, None)


def test_rebuilding_in_place_shows_the_half_of_it() -> None:
    """A query in the middle finds less than there was; beside the live view it never does."""

    async def scenario(kind: type[ReadModel]) -> int:
        view = kind(MemoryStore(), "view", DASHBOARD)
        for n in (1, 2, 3):
            view.handle(charged(n, 100))
        least = 300

        async def history() -> AsyncIterator[Message]:
            nonlocal least
            for n in (1, 2, 3):
                least = min(least, (view.get("ann") or {"charged": 0})["charged"])
                yield charged(n, 100)
                await anyio.sleep(1)

        await view.rebuild(history())
        return least

    assert simulate(scenario, broken.RebuildsInPlace).result == 0
    assert simulate(scenario, ReadModel).result == 300


# Reading


async def asked(how: Callable[..., Any], delay: float) -> Any:
    """Ann is answered 201 and looks at once; the event takes a while."""
    service, view = users(MemoryStore()), ReadModel(MemoryStore(), "view", DASHBOARD)

    async def publish(message: Message) -> None:
        await anyio.sleep(delay)
        await view(message)

    answer = await service.handle(Command("Register", "ann", ANN))
    async with anyio.create_task_group() as group:
        group.start_soon(Relay(service.outbox, publish).run)
        reading = await how(view, "ann", at_least={"users/ann": answer.version}, timeout=2.0)
        await anyio.sleep(10)
        group.cancel_scope.cancel()
    return reading


def test_a_read_without_the_version_answers_404_after_201() -> None:
    """She has just been told that it is there."""
    assert simulate(asked, broken.read_without_version, 0.5).result.row is None
    assert simulate(asked, read, 0.5).result.row["name"] == "Ann"


def test_a_read_without_a_mark_passes_the_old_for_the_new() -> None:
    """The invariant finds it; the real read says that it is stale."""
    assert [f.name for f in read_your_writes(simulate(asked, broken.read_without_a_mark, 5))] == [
        "read your writes"
    ]
    honest = simulate(asked, read, 5)
    assert honest.result.stale
    invariants.assert_holds(honest, read_your_writes, effect_once_on_view)


def test_a_read_that_claims_a_version_which_the_view_never_had_is_found() -> None:
    """Saying so is not enough: the view must have had it."""
    trace = simulate(asked, read, 0.5)
    early = Trace([e for e in trace if e.data.get("effect") != "projected"])
    assert "got version 0" in str(read_your_writes(early)[0])
    marked = [e._replace(data={**e.data, "stale": True}) if "stale" in e.data else e for e in early]
    assert "was told of version 1" in str(read_your_writes(Trace(marked))[0])


def test_the_invariant_names_what_is_lost_doubled_out_of_turn_and_made_up() -> None:
    """One finding each, from a trace in which that one thing is wrong."""
    trace = simulate(shuffled, ReadModel, [0, 1, 2, 3])
    projected = [e for e in trace if e.data.get("effect") == "projected"]
    without = [e for e in trace if e is not projected[2]]
    assert "was not projected on view" in str(effect_once_on_view(Trace(without))[0])
    assert effect_once_on_view(Trace(without), open_ok=True) == []
    assert "although version 1" in str(effect_once_on_view(Trace([*trace, projected[3]]))[0])
    gap = [e for e in trace if e is not projected[1]]
    assert "was not before it" in str(effect_once_on_view(Trace(gap))[0])
    uncommitted = [e for e in trace if e.data.get("command") != "Charge"]
    assert "a phantom" in str(effect_once_on_view(Trace(uncommitted))[0])
    nothing = [e for e in trace if e not in projected]
    assert len(effect_once_on_view(Trace(nothing))) == 4


# Feeds


def sockets(make: Callable[[ReadModel], Any], count: int = 3) -> list[int]:
    """How many of ten changes each of the sockets gets, when they take in turn."""

    async def scenario() -> list[int]:
        view = ReadModel(MemoryStore(), "view", DASHBOARD)
        feeds = [make(view) for _ in range(count)]
        got = [0] * count
        for n in range(1, 11):
            view.handle(charged(n))
            for number, feed in enumerate(feeds):
                got[number] += feed() is not None
        return got

    result: list[int] = simulate(scenario).result
    return result


def test_sockets_that_share_a_channel_get_a_part_each() -> None:
    """Ten changes among them (E5), instead of ten for everybody."""
    shared: list[Any] = []

    def of_one_channel(view: ReadModel) -> Any:
        shared.append(shared[0] if shared else broken.SharedFeed(view))
        return shared[0].take

    assert sum(sockets(of_one_channel)) == 10
    assert sockets(lambda view: Feed(view).__enter__().next_nowait) == [10, 10, 10]


def test_a_snapshot_and_then_a_subscription_miss_what_is_between() -> None:
    """A change in that second is in neither."""

    async def scenario(breaks: bool) -> set[int]:
        view = ReadModel(MemoryStore(), "view", DASHBOARD)
        view.handle(charged(1))
        async with anyio.create_task_group() as group:

            async def comes() -> None:
                await anyio.sleep(0.5)
                view.handle(charged(2))
                await anyio.sleep(1)
                view.handle(charged(3))

            group.start_soon(comes)
            with (broken.SnapshotThenSubscribe if breaks else Feed)(view) as feed:
                snapshot = await feed.begin() if isinstance(feed, broken.SnapshotThenSubscribe) else []
                await anyio.sleep(2)
                positions = {change.position for change in snapshot}
                while (change := feed.next_nowait()) is not None:
                    positions.add(change.position)
        return positions

    assert 2 not in simulate(scenario, True).result
    assert 3 in simulate(scenario, False).result


@pytest.mark.parametrize("kind", [broken.UnboundedFeed, Feed])
def test_a_feed_without_a_bound_keeps_everything_for_a_slow_socket(kind: type[Feed]) -> None:
    """The real one holds no more than its buffer."""

    async def scenario() -> int:
        view = ReadModel(MemoryStore(), "view", DASHBOARD)
        with kind(view, capacity=5) as feed:
            feed.next_nowait()
            for n in range(1, 101):
                view.handle(charged(n))
            return len(feed)

    held = simulate(scenario).result
    assert (held > 5) == (kind is broken.UnboundedFeed)


def test_a_socket_that_never_leaves_is_served_for_ever() -> None:
    """Its listener stays, and its buffer fills; the real one leaves nothing."""

    async def scenario(kind: type[Feed]) -> int:
        view = ReadModel(MemoryStore(), "view", DASHBOARD)
        for _ in range(10):
            with kind(view):
                pass
        return len(view.listeners)

    assert simulate(scenario, broken.NeverLeaves).result == 10
    assert simulate(partial(scenario, Feed)).result == 0
