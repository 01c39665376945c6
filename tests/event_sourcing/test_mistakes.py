"""The mistakes of event sourcing: each is caught by a test that the real one passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from eip_ref.event_sourcing import (
    STREAM_VERSION,
    EventTypes,
    Loaded,
    MemoryEventStore,
    Projection,
    Projector,
    Reader,
    Recorded,
    Repository,
    Resequencer,
    Snapshots,
    rebuild,
)
from eip_ref.lab import invariants
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Participant
from eip_ref.lab.invariants.reading import gap_free_reading
from eip_ref.message import Message
from eip_ref.storage import MemoryStore
from eip_ref.trace import Trace, acting, record
from tests.backends import virtual_time_only
from tests.broken.event_sourcing import (
    AppendsAgain,
    AppendsOneByOne,
    ChecksNoVersion,
    CommitsPositionFirst,
    CommitsPositionLast,
    HandsOnWhatComes,
    HandsOutItsEvents,
    HoldsBackInMemory,
    Make,
    MigratesHistory,
    ParksOnlyThePoison,
    ReadsPastOpenTransactions,
    Rebuild,
    SortsByWallClock,
    StoresClassNames,
    TrustsSnapshots,
    TrustsWhatItRead,
    mails_from_the_projection,
    rebuilds_in_place,
    swaps_too_early,
)
from tests.event_sourcing.test_projections import SECOND, TOTAL, listing, paid, pay, with_poison
from tests.event_sourcing.test_states import FOLD, V1, Order, Placed, shop_types
from tests.event_sourcing.views import live_view

S = "order-17"
Store = type[MemoryEventStore]


async def two_who_pay(store: MemoryEventStore) -> bool:
    """Both find that 40 are owed, and pay. Is what is owed right in the end?"""
    orders = Repository(store, shop_types(), FOLD)
    await orders.save(S, [Placed("17", 40)], expected=0)

    async def pay_all() -> None:
        def decide(order: Order) -> list[Message]:
            return [Message({"cents": order.owed}, "OrderPaid")] if order.owed else []

        await orders.change(S, decide)

    async with anyio.create_task_group() as group:
        group.start_soon(pay_all)
        group.start_soon(pay_all)
    return (await orders.load(S)).state.owed == 0


async def a_refused_batch(store: MemoryEventStore) -> bool:
    """Is nothing of a batch there when one of its events is refused?"""
    await store.append("other", [paid("b")])
    try:
        await store.append(S, [paid("a"), paid("b")])
    except Exception:
        return await store.read(S) == []
    return False


async def a_lost_confirm(store: MemoryEventStore) -> bool:
    """Is a batch there once when its writer had to send it twice?"""
    for _ in range(2):
        await store.append(S, [paid("a"), paid("b")])
    return len(await store.read(S)) == 2


async def a_reader_who_scribbles(store: MemoryEventStore) -> bool:
    """Is an event as it was, after a reader has changed what it got?"""
    await store.append(S, [paid("a", 40)])
    (await store.read(S))[0].message.body["euros"] = 0
    (event,) = await store.read(S)
    return bool(event.message.body["euros"] == 40)


async def clocks_that_differ(store: MemoryEventStore) -> bool:
    """Is a stream in order when the second writer's clock is behind the first one's?"""
    await store.append(S, [Message(V1.body, "OrderPlaced", created=100.0)])
    await store.append(S, [Message({"cents": 1}, "OrderPaid", created=99.0)])
    return [event.version for event in await store.read(S)] == [1, 2]


@pytest.mark.parametrize(
    ("broken", "story"),
    [
        (ChecksNoVersion, two_who_pay),
        (AppendsOneByOne, a_refused_batch),
        (AppendsAgain, a_lost_confirm),
        (HandsOutItsEvents, a_reader_who_scribbles),
        (SortsByWallClock, clocks_that_differ),
    ],
)
def test_a_store_that_makes_a_mistake_is_found_out(broken: Store, story: Any) -> None:
    """The same story ends well in the real store and badly in the broken one."""

    async def scenario(store: Store) -> Any:
        return await story(store())

    assert simulate(scenario, MemoryEventStore).result is True
    assert simulate(scenario, broken).result is False


def test_a_reader_past_the_horizon_misses_a_late_committer() -> None:
    """And the invariant says which event it missed, and when."""

    async def scenario(make: Store) -> None:
        store = make()
        async with anyio.create_task_group() as group:

            async def late() -> None:
                async with store.transaction() as transaction:
                    transaction.append(S, [paid("late")])
                    await anyio.sleep(2)

            group.start_soon(late)
            await anyio.sleep(1)
            await store.append("other", [paid("early")])
            with anyio.move_on_after(5):
                async for _ in Reader(store, "dashboard"):
                    pass

    assert gap_free_reading(simulate(scenario, MemoryEventStore)) == []
    (finding,) = gap_free_reading(simulate(scenario, ReadsPastOpenTransactions))
    assert finding.words == (
        "dashboard passed message late (OrderPaid) at position 1 before it was there: "
        "position 2 was delivered to dashboard at 1.0 s"
    )


# States


def test_trusting_an_old_snapshot_gives_a_wrong_state() -> None:
    """The schema of the state has changed since: only the events know the truth."""

    async def scenario(make: Any) -> Any:
        store, snapshots = MemoryEventStore(), Snapshots(MemoryStore())
        orders = make(store, shop_types(order_version=2), FOLD, snapshots=snapshots)
        await orders.save(S, [Placed("17", 4000)], expected=0)
        snapshots.put(S, Loaded(Message({"order": "17", "euros_owed": 40}, "Order", version=1), 1))
        return (await orders.load(S)).state

    assert simulate(scenario, Repository).result == Order("17", 4000, 1)
    assert simulate(scenario, TrustsSnapshots).result != Order("17", 4000, 1)


@pytest.mark.parametrize(("make", "can_be_read"), [(EventTypes, True), (StoresClassNames, False)])
def test_renaming_a_class_breaks_the_history_of_who_stores_its_name(make: Any, can_be_read: bool) -> None:
    """The first program wrote the events; the second one has renamed the class."""

    @dataclass(frozen=True)
    class Ordered:
        order: str

    @dataclass(frozen=True)
    class OrderPlaced:
        order: str

    first, second = make(), make()
    first.register("order placed")(Ordered)
    second.register("order placed")(OrderPlaced)
    stored = first.encode(Ordered("17"))
    if can_be_read:
        assert second.decode(stored) == OrderPlaced("17")
    else:
        with pytest.raises(LookupError, match="renamed"):
            second.decode(stored)


@pytest.mark.parametrize(("make", "stays"), [(EventTypes, True), (MigratesHistory, False)])
def test_migrating_events_in_place_rewrites_history(make: type[EventTypes], stays: bool) -> None:
    """An audit asks what was written then, and not what it would look like today."""
    types = make()
    types.register("OrderPlaced", 2)(Placed)
    types.upcaster("OrderPlaced", 1)(lambda body: {"order": body["order"], "cents": 100 * body["euros"]})
    stored = Message({"order": "17", "euros": 40}, "OrderPlaced")
    assert types.decode(stored) == Placed("17", 4000)
    assert (stored.body == {"order": "17", "euros": 40}) is stays


# Projections


async def projecting(make: Make, crash: Crash | None) -> tuple[int, str]:
    """A projection that crashes once: how many steps it took, and what its view shows in the end."""
    store, views = MemoryEventStore(), MemoryStore()
    await pay(store, "abc")

    async def life() -> None:
        projector = make(views, TOTAL)
        while projector.lag(store):
            await projector.catch_up(store)

    process = Participant("projector", life, (), (crash,) if crash else ())
    await process.run()
    return process.steps, live_view(views, "total").get("events", "")


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (Projector, set()),
        (CommitsPositionFirst, {"bc", "ac", "ab"}),
        (CommitsPositionLast, {"aabc", "abbc", "abcc"}),
    ],
    ids=["together", "position first", "position last"],
)
def test_position_and_view_apart_lose_or_double_an_event(make: Make, wrong: set[str]) -> None:
    """A crash at every await: position first loses each event once, position last doubles each once."""
    steps, whole = simulate(projecting, make, None).result
    assert whole == "abc"
    seen = set()
    for step in range(1, steps + 1):
        seen.add(simulate(projecting, make, Crash(step=step, restart_after=1)).result[1])
    assert seen - {"abc"} == wrong


def test_two_projectors_that_trust_what_they_read_double_their_work() -> None:
    """The position must be looked at inside the view's transaction."""

    async def scenario(make: Make) -> Any:
        store, views = MemoryEventStore(), MemoryStore()
        await pay(store, "abc")
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(make(views, TOTAL).catch_up, store)
        return live_view(views, "total").get("events")

    assert simulate(scenario, Projector).result == "abc"
    assert simulate(scenario, TrustsWhatItRead).result == "abcabc"


def test_parking_only_the_poison_puts_a_stream_out_of_order() -> None:
    """What follows a parked event in its stream must wait for it."""

    async def scenario(make: Any) -> Any:
        store, views = MemoryEventStore(), MemoryStore()
        await with_poison(store)
        await make(views, TOTAL, poison="park").catch_up(store)
        mended = Projector(views, Projection("total", {"OrderPaid": listing}))
        await mended.retry_parked()
        return "".join(letter for letter in live_view(views, "total").get("events") if letter not in "yz")

    assert simulate(scenario, Projector).result == "abXcd"
    assert simulate(scenario, ParksOnlyThePoison).result == "abcdX"


@virtual_time_only
async def test_a_projection_that_sends_e_mail_sends_it_again_at_each_rebuild() -> None:
    """Side effects belong into a reactor, which is not replayed."""
    sent: list[str] = []
    store = MemoryEventStore()
    await pay(store, "ab")
    mails = mails_from_the_projection(sent.append)
    views = MemoryStore()
    await Projector(views, mails).catch_up(store)
    await rebuild(Projector(views, Projection(mails.name, mails.handlers, generation=2)), store)
    assert sent == ["a", "b", "a", "b"]


@pytest.mark.parametrize(
    ("how", "projection", "sound"),
    [(rebuild, SECOND, True), (rebuilds_in_place, TOTAL, False), (swaps_too_early, SECOND, False)],
    ids=["beside", "in place", "swapped too early"],
)
def test_a_reader_is_sent_back_in_time_by_a_rebuild_that_is_not_beside(
    how: Rebuild, projection: Projection, sound: bool
) -> None:
    """What a reader has seen in the live view it must see ever after."""

    async def scenario() -> list[int]:
        store, views, seen = MemoryEventStore(), MemoryStore(), list[int]()
        await pay(store, "abcdef")
        await Projector(views, TOTAL).catch_up(store)
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                while True:
                    seen.append(live_view(views, "total").position)
                    await anyio.lowlevel.checkpoint()

            group.start_soon(watch)
            await anyio.lowlevel.checkpoint()
            await how(Projector(views, projection, batch=2), store)
            await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        return seen

    seen = simulate(scenario).result
    assert (seen == sorted(seen)) is sound
    assert seen[-1] == 6


@pytest.mark.parametrize(
    ("make", "without_a_crash", "with_one"),
    [(Resequencer, "123", "123"), (HandsOnWhatComes, "3", "3"), (HoldsBackInMemory, "123", "1")],
)
def test_a_resequencer_that_does_not_keep_what_is_early_loses_it(
    make: type[Resequencer], without_a_crash: str, with_one: str
) -> None:
    """Events come in the order 3, 2, 1, each is acked once, and the process may be killed before the last."""

    def shown(crashed: bool) -> str:
        store, got = MemoryStore(), list[int]()

        def born() -> Resequencer:
            return make(store, "intake", lambda events: got.extend(event.version for event in events))

        first = born()
        for version in (3, 2):
            first.handle(Message(1, "Paid", "order-17", headers={STREAM_VERSION: version}))
        last = born() if crashed else first
        last.handle(Message(1, "Paid", "order-17", headers={STREAM_VERSION: 1}))
        return "".join(map(str, got))

    assert (shown(crashed=False), shown(crashed=True)) == (without_a_crash, with_one)


# The invariant itself


def reading(*steps: tuple[str, int]) -> Trace:
    """A store to which positions are appended ("+"), and one reader that gets (">") and commits ("=")."""

    async def scenario() -> None:
        for sign, position in steps:
            if sign == "+":
                record("accepted", "events", f"e{position}", position=position)
            elif sign == ">":
                record("delivered", "events", f"e{position}", who="view", position=position, reader="view")
            elif sign == "=":
                record("state", "view", who="view", was=0, now=position, reason="checkpoint", store="events")
            else:
                record("opened", "view", who="view", role="participant", store="events", after=position)

    with acting("somebody"):
        return simulate(scenario)


@pytest.mark.parametrize(
    ("steps", "findings"),
    [
        ([("o", 0), ("+", 1), ("+", 3), (">", 1), (">", 3), ("=", 3)], 0),
        ([("o", 0), ("+", 1), ("+", 2), (">", 2)], 1),
        ([("+", 1), ("+", 2), ("o", 0), (">", 2)], 1),
        ([("+", 1), ("+", 2), ("o", 1), (">", 2), ("=", 2)], 0),
        ([("+", 1), ("+", 2), (">", 1), (">", 2), (">", 1), (">", 2)], 0),
        ([("o", 0), ("+", 2), (">", 2), ("+", 1)], 1),
        ([("o", 0), ("+", 2), (">", 2), ("+", 1), (">", 1)], 1),
        ([("o", 0), ("+", 1), ("+", 2), (">", 1), ("=", 2)], 1),
        ([("o", 0), ("+", 1), ("o", 1), ("+", 2), (">", 2)], 1),
        ([("o", 0), ("+", 1), ("+", 2), ("+", 3), ("=", 3)], 3),
        ([("o", 2), ("+", 3), ("+", 1), (">", 3)], 0),
        ([("o", 2), ("+", 3), (">", 3), ("+", 4), (">", 4), ("+", 1)], 0),
    ],
)
def test_gap_free_reading_finds_each_position_that_was_passed(
    steps: list[tuple[str, int]], findings: int
) -> None:
    """Skipped, late, or checkpointed without having been read; repeated and rolled back are no gaps."""
    trace = reading(*steps)
    assert len(gap_free_reading(trace)) == findings
    assert len(invariants.check(trace, gap_free_reading)) == findings


def test_a_recorded_event_cannot_be_changed() -> None:
    """Neither by accident nor on purpose."""
    event = Recorded(1, S, 1, paid("a"), 0.0)
    with pytest.raises(AttributeError):
        event.message.type = "Other"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        event.version = 2  # type: ignore[misc]
