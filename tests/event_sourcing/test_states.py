"""States from events: pure replay, snapshots that may be thrown away, and schemas that change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from eip_ref.event_sourcing import (
    EventTypes,
    Fold,
    FutureVersion,
    IdTaken,
    Loaded,
    MemoryEventStore,
    Newer,
    NoUpcaster,
    Repository,
    Snapshots,
    SQLiteEventStore,
    UnknownType,
    WrongExpectedVersion,
)
from eip_ref.message import Message
from eip_ref.storage import MemoryStore, SQLiteStore
from tests.backends import recorded, virtual_time_only


@dataclass(frozen=True)
class Placed:
    order: str
    cents: int
    currency: str = "EUR"


@dataclass(frozen=True)
class Paid:
    cents: int


@dataclass(frozen=True)
class Order:
    """The state of an order."""

    order: str = ""
    owed: int = 0
    events: int = 0


def apply(state: Order, event: object) -> Order:
    state = replace(state, events=state.events + 1)
    match event:
        case Placed():
            return replace(state, order=event.order, owed=state.owed + event.cents)
        case Paid():
            return replace(state, owed=state.owed - event.cents)
    raise AssertionError(event)


FOLD = Fold(Order(), apply)


def shop_types(newer: str = "refuse", order_version: int = 1) -> EventTypes:
    """The third schema of OrderPlaced: v1 had euros, v2 cents without a currency."""
    types = EventTypes(newer=newer)
    types.register("OrderPlaced", 3, formerly=("OrderMade",))(Placed)
    types.register("OrderPaid")(Paid)
    types.register("Order", order_version)(Order)

    @types.upcaster("OrderPlaced", 1)
    def cents(body: dict[str, Any]) -> dict[str, Any]:
        return {"order": body["order"], "cents": round(100 * body["euros"])}

    @types.upcaster("OrderPlaced", 2)
    def currency(body: dict[str, Any]) -> dict[str, Any]:
        return body | {"currency": "EUR"}

    return types


V1 = Message({"order": "17", "euros": 40}, "OrderPlaced", version=1)
V2 = Message({"order": "17", "cents": 4000}, "OrderPlaced", version=2)
V3 = Message({"order": "17", "cents": 4000, "currency": "EUR"}, "OrderPlaced", version=3)
V4 = Message(V3.body | {"tax": 19}, "OrderPlaced", version=4)


# Replay


async def test_a_state_is_the_fold_of_its_events() -> None:
    """And nothing else: a stream without events is in the initial state, at version 0."""
    orders = Repository(MemoryEventStore(), shop_types(), FOLD)
    assert await orders.load("order-17") == (Order(), 0)
    await orders.save("order-17", [Placed("17", 4000), Paid(1500)], expected=0)
    assert await orders.load("order-17") == (Order("17", 2500, 2), 2)
    assert await orders.load("order-17") == (Order("17", 2500, 2), 2)


async def test_a_change_is_decided_again_after_a_conflict() -> None:
    """Two who pay at once: the second decides on the state that the first has made."""
    orders = Repository(MemoryEventStore(), shop_types(), FOLD)
    await orders.save("order-17", [Placed("17", 4000)], expected=0)
    decisions: list[int] = []

    async def pay_all() -> None:
        def decide(order: Order) -> list[Paid]:
            decisions.append(order.owed)
            return [Paid(order.owed)] if order.owed else []

        assert (await orders.change("order-17", decide)).state.owed == 0

    async with anyio.create_task_group() as group:
        group.start_soon(pay_all)
        group.start_soon(pay_all)
    assert decisions[-1] == 0
    assert await orders.load("order-17") == (Order("17", 0, 2), 2)


async def test_a_change_gives_up_after_its_attempts() -> None:
    """The last conflict comes out; a taken id is not tried again, since it stays taken."""
    store = MemoryEventStore()
    orders = Repository(store, shop_types(), FOLD)
    tried: list[int] = []

    def always_late(order: Order) -> list[Paid]:
        tried.append(order.events)
        store.append_nowait("order-17", [Message({"cents": 1}, "OrderPaid")])
        return [Paid(1)]

    with pytest.raises(WrongExpectedVersion):
        await orders.change("order-17", always_late, attempts=2)
    assert tried == [0, 1]
    taken = Message({"cents": 1}, "OrderPaid", id="taken")
    await store.append("other", [taken])

    def repeat(order: Order) -> list[Message]:
        tried.append(-1)
        return [taken]

    with pytest.raises(IdTaken):
        await orders.change("order-17", repeat)
    assert tried == [0, 1, -1]
    with pytest.raises(ValueError, match="attempt"):
        await orders.change("order-17", always_late, attempts=0)


async def test_a_change_takes_whole_messages_and_answers_the_new_state() -> None:
    """A writer that chooses the ids of its events can repeat them."""
    orders = Repository(MemoryEventStore(), shop_types(), FOLD)
    changed = await orders.change("order-17", lambda order: [replace(V1, id="a"), Paid(1000)])
    assert changed == (Order("17", 3000, 2), 2)
    assert await orders.load("order-17") == changed


# Snapshots


@contextmanager
def in_memory(path: Path, **settings: Any) -> Iterator[Snapshots]:
    yield Snapshots(MemoryStore(), **settings)


@contextmanager
def on_sqlite(path: Path, **settings: Any) -> Iterator[Snapshots]:
    with SQLiteStore(path, synchronous="OFF") as store:
        yield Snapshots(store, **settings)


Place = Callable[..., Any]
both = pytest.mark.parametrize("place", [in_memory, on_sqlite])


class Counting(MemoryEventStore):
    """A store that counts the events it hands out."""

    replayed = 0

    async def read(self, stream: str, *, after: int = 0, limit: int | None = None) -> Any:
        found = await super().read(stream, after=after, limit=limit)
        self.replayed += len(found)
        return found


@both
async def test_fold_of_snapshot_and_tail_is_fold_of_all(tmp_path: Path, place: Place) -> None:
    """A snapshot shortens the replay and changes nothing else."""
    store = Counting()
    with place(tmp_path / "snapshots.db", interval=5) as snapshots:
        orders = Repository(store, shop_types(), FOLD, snapshots=snapshots)
        plain = Repository(store, shop_types(), FOLD)
        await orders.save("order-17", [Placed("17", 100)], expected=0)
        for n in range(1, 23):
            await orders.save("order-17", [Paid(1)], expected=n)
            assert (
                await orders.load("order-17")
                == await plain.load("order-17")
                == (
                    Order("17", 100 - n, n + 1),
                    n + 1,
                )
            )
        assert snapshots.get("order-17").version == 20
        store.replayed = 0
        await orders.load("order-17")
        assert store.replayed == 3


@both
async def test_a_snapshot_can_be_thrown_away_at_any_time(tmp_path: Path, place: Place) -> None:
    """It is a cache: dropping one, or all, changes no state."""
    with place(tmp_path / "snapshots.db", interval=1) as snapshots:
        orders = Repository(MemoryEventStore(), shop_types(), FOLD, snapshots=snapshots)
        for stream in ("one", "two", "three"):
            await orders.save(stream, [Placed("17", 100), Paid(1)], expected=0)
            await orders.load(stream)
        snapshots.drop("one")
        assert [snapshots.get(s) is None for s in ("one", "two", "three")] == [True, False, False]
        snapshots.drop()
        assert [snapshots.get(s) is None for s in ("one", "two", "three")] == [True, True, True]
        assert await orders.load("two") == (Order("17", 99, 2), 2)


@virtual_time_only
@both
async def test_an_older_snapshot_does_not_replace_a_newer_one(tmp_path: Path, place: Place) -> None:
    """Two processes may write snapshots of one stream in any order."""
    with place(tmp_path / "snapshots.db") as snapshots:
        for version in (2, 3, 1):
            snapshots.put("one", Loaded(Message({"at": version}, "Order", id="x", version=4), version))
        kept = snapshots.get("one")
        assert (kept.version, kept.state.body, kept.state.type, kept.state.version, kept.state.id) == (
            3,
            {"at": 3},
            "Order",
            4,
            "x",
        )
        kept.state.body["at"] = 9
        assert snapshots.get("one").state.body == {"at": 3}
        assert snapshots.get("two") is None


async def test_a_snapshot_of_an_old_schema_is_upcast() -> None:
    """Version 1 of the state counted no events: its upcaster says what that means now."""
    store, snapshots = Counting(), Snapshots(MemoryStore())
    orders = Repository(store, (types := shop_types(order_version=2)), FOLD, snapshots=snapshots)
    types.upcaster("Order", 1)(lambda body: {"order": body["id"], "owed": body["owed"], "events": 2})
    await orders.save("order-17", [Placed("17", 4000), Paid(1500), Paid(1)], expected=0)
    snapshots.put("order-17", Loaded(Message({"id": "17", "owed": 2500}, "Order", version=1), 2))
    assert await orders.load("order-17") == (Order("17", 2499, 3), 3)
    assert store.replayed == 1


@pytest.mark.parametrize(
    "state",
    [
        Message({"id": "17"}, "Order", version=1),
        Message({"order": "17", "owed": 1, "events": 1}, "Order", version=9),
        Message({"order": "17"}, "Renamed", version=2),
        Message({"colour": "red"}, "Order", version=2),
    ],
    ids=["old, without upcaster", "from the future", "of an unknown type", "with other fields"],
)
async def test_a_snapshot_that_cannot_be_read_is_not_used(state: Message) -> None:
    """The events are the truth: everything is replayed, and a new snapshot is made."""
    store, snapshots = MemoryEventStore(), Snapshots(MemoryStore(), interval=2)
    orders = Repository(store, shop_types(order_version=2), FOLD, snapshots=snapshots)
    await orders.save("order-17", [Placed("17", 4000), Paid(1500)], expected=0)
    snapshots.put("order-17", Loaded(state, 2))
    assert await orders.load("order-17") == (Order("17", 2500, 2), 2)
    kept = snapshots.get("order-17")
    assert kept is not None
    assert kept.state.body == {"order": "17", "owed": 2500, "events": 2}
    trace = recorded()
    assert "cannot be read" in trace.filter("note")[0].data["text"]


@pytest.mark.parametrize("kept", [[2, "{oops"], [2], 7], ids=["no JSON", "no text", "no list"])
async def test_a_snapshot_that_is_damaged_is_not_used_either(kept: Any) -> None:
    """A cache may be in any state."""
    store, documents = MemoryEventStore(), MemoryStore()
    orders = Repository(store, shop_types(), FOLD, snapshots=Snapshots(documents))
    await orders.save("order-17", [Placed("17", 4000)], expected=0)
    with documents.transaction() as transaction:
        transaction.put("snapshots", "order-17", kept)
    assert await orders.load("order-17") == (Order("17", 4000, 1), 1)


async def test_a_state_of_which_there_can_be_no_snapshot_is_loaded_all_the_same() -> None:
    """The snapshot is a side effect of loading, and what is wrong with it is noted."""
    types, snapshots = EventTypes(), Snapshots(MemoryStore(), interval=2)
    types.register("Paid")(Paid)
    nothing: tuple[int, ...] = ()
    fold = Fold(nothing, lambda state, event: (*state, event.cents))
    payments = Repository(MemoryEventStore(), types, fold, snapshots=snapshots)
    await payments.save("order-17", [Paid(1), Paid(2)], expected=0)
    assert await payments.load("order-17") == ((1, 2), 2)
    assert "tuple is not registered" in recorded().filter("note")[0].data["text"]


async def test_a_snapshot_of_events_that_the_store_never_had_is_not_used() -> None:
    """After a restore of the store from a backup, a snapshot may be ahead of it."""
    store, snapshots = MemoryEventStore(), Snapshots(MemoryStore())
    orders = Repository(store, shop_types(), FOLD, snapshots=snapshots)
    await orders.save("order-17", [Placed("17", 4000)], expected=0)
    snapshots.put("order-17", Loaded(Message({"order": "17", "owed": 0, "events": 5}, "Order"), 5))
    assert await orders.load("order-17") == (Order("17", 4000, 1), 1)
    snapshots.put("gone", Loaded(Message({"order": "18", "owed": 0, "events": 5}, "Order"), 5))
    assert await orders.load("gone") == (Order(), 0)


def test_a_snapshot_of_no_events_is_refused() -> None:
    """`interval` counts events."""
    with pytest.raises(ValueError, match="from 1 on"):
        Snapshots(MemoryStore(), interval=0)


def test_functions_that_nobody_would_wait_for_are_refused() -> None:
    """A replay and a decision are pure, so they are plain functions; told when they are handed over."""

    async def later(*_: object) -> Any:
        raise AssertionError

    with pytest.raises(TypeError, match="apply"):
        Fold(Order(), later)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="upcaster of OrderPlaced"):
        EventTypes().upcaster("OrderPlaced", 1)(later)  # type: ignore[arg-type]


async def test_a_decision_that_nobody_would_wait_for_is_refused() -> None:
    """And nothing is appended."""
    store = MemoryEventStore()

    async def later(order: Order) -> list[Paid]:
        return [Paid(1)]

    with pytest.raises(TypeError, match="decide"):
        await Repository(store, shop_types(), FOLD).change("order-17", later)  # type: ignore[arg-type]
    assert await store.read_all() == []


# Schemas


@pytest.mark.parametrize("message", [V1, V2, V3], ids=["v1", "v2", "v3"])
def test_every_old_version_is_read_as_one_of_today(message: Message) -> None:
    """v1 → v2 → v3 compose."""
    types = shop_types()
    upcast = types.upcast(message)
    assert (upcast.type, upcast.version, upcast.body) == ("OrderPlaced", 3, V3.body)
    assert (upcast.id, upcast.created) == (message.id, message.created)
    assert types.decode(message) == Placed("17", 4000, "EUR")


@virtual_time_only
async def test_stored_bytes_never_change(tmp_path: Path) -> None:
    """Reading an old event upcasts what is read, and leaves what is stored."""
    async with SQLiteEventStore(tmp_path / "shop.db") as store:
        await store.append("order-17", [V1])
        before = store.database.execute("SELECT * FROM events").fetchall()
        orders = Repository(store, shop_types(), FOLD)
        assert (await orders.load("order-17")).state.owed == 4000
        assert store.database.execute("SELECT * FROM events").fetchall() == before
        assert '"euros":40' in before[0][6]
    assert V1.body == {"order": "17", "euros": 40}


def test_an_upcaster_that_changes_what_it_gets_changes_a_copy() -> None:
    """A careless upcaster does not reach the stored event."""
    types = shop_types()

    @types.upcaster("Order", 1)
    def careless(body: dict[str, Any]) -> dict[str, Any]:
        body["owed"] = body.pop("debt")
        return body

    @types.register("Other", 2)
    @dataclass
    class Other:
        owed: int

    types.upcaster("Other", 1)(careless)
    stored = Message({"debt": 3}, "Other")
    assert types.decode(stored) == Other(3)
    assert stored.body == {"debt": 3}


def test_an_unknown_future_version_is_a_clear_error() -> None:
    """A program that is not up to date says so, and reads nothing wrong."""
    with pytest.raises(FutureVersion, match="version 4, and this program knows versions up to 3"):
        shop_types().upcast(V4)


def test_a_future_version_is_tolerated_by_policy() -> None:
    """The fields that are known are read; the message keeps its version and all its fields."""
    types = shop_types(newer="tolerate")
    assert types.decode(V4) == Placed("17", 4000, "EUR")
    assert types.upcast(V4) == V4
    assert types.decode(replace(V4, type="OrderMade")) == Placed("17", 4000, "EUR")
    assert types.upcast(V1).version == 3
    with pytest.raises(TypeError):
        types.decode(Message({"total": 1}, "OrderPlaced", version=4))
    with pytest.raises(ValueError, match="perhaps"):
        EventTypes(newer="perhaps")
    assert EventTypes()._newer == Newer.REFUSE


def test_a_version_without_an_upcaster_is_a_clear_error() -> None:
    """Whoever raises a schema version must say how the old one is read."""
    types = shop_types(order_version=3)
    types.upcaster("Order", 2)(dict)
    with pytest.raises(NoUpcaster, match="Order has no upcaster from version 1"):
        types.decode(Message({}, "Order", version=1))


def test_renaming_a_class_breaks_no_history() -> None:
    """What is stored is the name that was registered, and never that of the class."""
    types = EventTypes()

    @types.register("OrderPlaced")
    @dataclass(frozen=True)
    class WasCalledPlacedOnce:
        order: str

    message = types.encode(WasCalledPlacedOnce("17"))
    assert (message.type, message.version, message.body) == ("OrderPlaced", 1, {"order": "17"})
    assert types.decode(Message({"order": "18"}, "OrderPlaced")) == WasCalledPlacedOnce("18")


def test_a_name_that_an_event_once_had_is_read_for_ever() -> None:
    """When the stored name itself was badly chosen, the old one stays known."""
    types = shop_types()
    assert types.upcast(replace(V1, type="OrderMade")).type == "OrderPlaced"
    assert types.upcast(replace(V3, type="OrderMade")).type == "OrderPlaced"
    assert types.decode(replace(V1, type="OrderMade")) == Placed("17", 4000)
    assert types.encode(Placed("17", 1)).type == "OrderPlaced"
    assert types.today("OrderMade") == "OrderPlaced"
    assert types.today("OrderLost") == "OrderLost"


def test_what_is_registered_wrongly_is_refused_in_words() -> None:
    """Names, versions and upcasters have one meaning each."""
    types = shop_types()
    with pytest.raises(UnknownType, match="was its class renamed"):
        types.decode(Message({}, "OrderLost"))
    with pytest.raises(UnknownType, match="int is not registered"):
        types.encode(17)
    with pytest.raises(ValueError, match="are taken"):
        types.register("OrderMade")(Placed)
    with pytest.raises(ValueError, match="a schema version must be a whole number from 1 on"):
        types.register("New", 0)
    with pytest.raises(TypeError, match="dataclass"):
        types.register("New")(int)
    with pytest.raises(ValueError, match="already"):
        types.upcaster("OrderPlaced", 1)(dict)
    with pytest.raises(ValueError, match="subject"):
        types.register("New", personal=("name",))
