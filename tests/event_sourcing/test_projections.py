"""Projections: each event once, poison by policy, and a rebuild beside the live view."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from eip_ref.event_sourcing import (
    MemoryEventStore,
    PoisonEvent,
    Projection,
    Projector,
    Reactor,
    Recorded,
    Retired,
    View,
    rebuild,
    swap,
)
from eip_ref.lab import invariants
from eip_ref.lab.invariants.reading import gap_free_reading
from eip_ref.message import Message
from eip_ref.storage import MemoryStore, SQLiteStore, Store
from eip_ref.trace import Trace, record
from tests.backends import recorded, virtual_time_only
from tests.event_sourcing.test_states import shop_types
from tests.event_sourcing.views import Copy, live, live_view, view_named

Place = Callable[[Path], Any]


@contextmanager
def in_memory(path: Path) -> Iterator[Store]:
    yield MemoryStore()


@contextmanager
def on_sqlite(path: Path) -> Iterator[Store]:
    with SQLiteStore(path, synchronous="OFF") as views:
        yield views


both = pytest.mark.parametrize("place", [in_memory, on_sqlite])


def paid(identity: str, euros: Any = 1) -> Message:
    return Message({"euros": euros}, "OrderPaid", id=identity)


def add(view: View, event: Recorded) -> None:
    """A handler that is not idempotent, and breaks at euros that are no number."""
    view.put("events", view.get("events", "") + event.message.id)
    view.put("total", view.get("total", 0) + event.message.body["euros"])


def listing(view: View, event: Recorded) -> None:
    """A newer handler, which also breaks at no euros."""
    view.put("events", view.get("events", "") + event.message.id)


TOTAL = Projection("total", {"OrderPaid": add})
SECOND = Projection("total", {"OrderPaid": listing}, generation=2)


async def pay(store: MemoryEventStore, ids: str, stream: str = "order-17", euros: Any = 1) -> None:
    for identity in ids:
        await store.append(stream, [paid(identity, euros)])


def holds(trace: Trace) -> None:
    once_each = invariants.no_duplicate_effect(by=lambda event: (event.where, event.message))
    invariants.assert_holds(trace, gap_free_reading, once_each)


# Once each


@both
async def test_every_event_is_in_the_view_once_in_order(tmp_path: Path, place: Place) -> None:
    """Whatever the batches, and however often the projector is started anew."""
    store = MemoryEventStore()
    with place(tmp_path / "views.db") as views:
        await pay(store, "abcde")
        assert await Projector(views, TOTAL, batch=2).catch_up(store) == 5
        await pay(store, "fg")
        projector = Projector(views, TOTAL, batch=2)
        assert (projector.position, projector.lag(store)) == (5, 2)
        assert await projector.catch_up(store) == 7
        assert await projector.catch_up(store) == 7
        assert projector.lag(store) == 0
        assert live_view(views, "total").items() == [("events", "abcdefg"), ("total", 7)]
    trace = recorded()
    holds(trace)
    assert trace.messages("effect") == list("abcdefg")
    steps = [(e.data["was"], e.data["now"]) for e in trace.filter("state")]
    assert steps == [(0, 2), (2, 4), (4, 5), (5, 7)]


async def test_a_running_projector_takes_in_what_comes() -> None:
    """Also while it is behind, and types that it does not handle move it on."""
    store, views = MemoryEventStore(), MemoryStore()
    async with anyio.create_task_group() as group:
        group.start_soon(Projector(views, TOTAL).run, store)
        await pay(store, "a")
        await anyio.sleep(1)
        await store.append("order-17", [Message(None, "OrderShipped", id="passed over")])
        await anyio.sleep(1)
        assert live_view(views, "total").position == 2
        await pay(store, "b")
        await anyio.sleep(1)
        assert live_view(views, "total").items() == [("events", "ab"), ("total", 2)]
        group.cancel_scope.cancel()
    trace = recorded()
    holds(trace)
    assert trace.messages("effect") == ["a", "passed over", "b"]


@both
async def test_two_projectors_of_one_view_have_one_effect(tmp_path: Path, place: Place) -> None:
    """The position is in the view's transaction: who comes second finds that it is done."""
    store = MemoryEventStore()
    await pay(store, "abcdefgh")
    with place(tmp_path / "views.db") as views:
        async with anyio.create_task_group() as group:
            for batch in (3, 2):
                group.start_soon(Projector(views, TOTAL, batch=batch).catch_up, store)
        assert live_view(views, "total").items() == [("events", "abcdefgh"), ("total", 8)]
    trace = recorded()
    holds(trace)
    assert trace.count("duplicate") >= 4


async def test_a_view_that_is_dropped_under_its_projector_is_noticed() -> None:
    """Going on would leave a gap: the projector stops, and the next run begins anew."""
    store, views = MemoryEventStore(), MemoryStore()
    projector = Projector(views, TOTAL)

    async def run() -> None:
        with pytest.raises(RuntimeError, match="was dropped"):
            await projector.run(store)

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await pay(store, "ab")
        await anyio.sleep(1)
        with views.transaction() as transaction:
            View(transaction, "total.1").clear()
        await pay(store, "c")
    await projector.catch_up(store)
    assert live_view(views, "total").get("events") == "abc"


async def test_handlers_get_the_events_in_todays_schema() -> None:
    """With types; events of types that are not registered are handed on as they are, if handled."""
    store, views = MemoryEventStore(), MemoryStore()
    await store.append("one", [Message({"order": "17", "euros": 40}, "OrderMade"), Message(3, "Other")])

    def note(view: View, event: Recorded) -> None:
        view.put(f"{event.position}", [event.message.type, event.message.version, event.message.body])

    shown = Projection("notes", {"OrderPlaced": note, "Other": note}, types=shop_types())
    await Projector(views, shown).catch_up(store)
    assert live_view(views, "notes").items() == [
        ("1", ["OrderPlaced", 3, {"order": "17", "cents": 4000, "currency": "EUR"}]),
        ("2", ["Other", 1, 3]),
    ]


@virtual_time_only
async def test_a_handler_writes_tables_of_its_own_in_the_same_transaction(tmp_path: Path) -> None:
    """On SQLite, a view can be anything that SQL can query."""
    store = MemoryEventStore()
    await pay(store, "ab")
    await pay(store, "c", euros="broken")

    def insert(view: Any, event: Recorded) -> None:
        views.database.execute("INSERT INTO payments VALUES (?)", event.message.id)
        add(view, event)

    with SQLiteStore(tmp_path / "views.db") as views:
        views.database.create(("CREATE TABLE payments (id TEXT)",))
        with pytest.raises(PoisonEvent):
            await Projector(views, Projection("total", {"OrderPaid": insert})).catch_up(store)
        assert views.database.execute("SELECT id FROM payments").fetchall() == [("a",), ("b",)]


def test_a_handler_under_a_former_name_is_refused() -> None:
    """It would never be called, since events come under today's name: an empty view without lag."""
    types = shop_types()
    with pytest.raises(ValueError, match="'OrderMade' is called 'OrderPlaced' today"):
        Projection("orders", {"OrderMade": print}, types=types)
    Projection("orders", {"OrderPlaced": print, "Other": print}, types=types)


def test_a_handler_that_nobody_would_wait_for_is_refused() -> None:
    """A projection has nothing to wait for: its coroutine would never run, and nothing be in the view."""

    async def later(view: View, event: Recorded) -> None:
        raise AssertionError

    with pytest.raises(TypeError, match="the handler of OrderPaid is called without waiting"):
        Projection("total", {"OrderPaid": later})


# Poison


async def with_poison(store: MemoryEventStore) -> None:
    """A poison event in order-17, and others around it in two streams."""
    await pay(store, "ab")
    await pay(store, "X", euros=None)
    await pay(store, "cd")
    await pay(store, "yz", "order-18")


@both
@pytest.mark.parametrize("batch", [1, 100])
async def test_poison_stops_the_projection_before_it(tmp_path: Path, place: Place, batch: int) -> None:
    """What came before is in the view, and the mended handler goes on at the poison."""
    store = MemoryEventStore()
    await with_poison(store)
    with place(tmp_path / "views.db") as views:
        projector = Projector(views, TOTAL, batch=batch)
        for _ in range(2):
            with pytest.raises(PoisonEvent, match="before X at 3") as caught:
                await projector.catch_up(store)
            assert caught.value.event.message.id == "X"
            assert isinstance(caught.value.error, TypeError)
            assert live_view(views, "total").items() == [("events", "ab"), ("total", 2)]
            assert projector.position == 2
        mended = Projection("total", {"OrderPaid": listing})
        assert await Projector(views, mended, batch=batch).catch_up(store) == 7
        assert live_view(views, "total").get("events") == "abXcdyz"
    trace = recorded()
    holds(trace)
    assert [e.data["now"] for e in trace.filter("state") if e.data["was"] == "running"] == ["stopped"] * 2
    assert trace.messages("failed") == ["X", "X"]


@both
@pytest.mark.parametrize("batch", [1, 100])
async def test_poison_is_skipped_by_policy(tmp_path: Path, place: Place, batch: int) -> None:
    """It is given up for good, and said so; all others are in the view."""
    store = MemoryEventStore()
    await with_poison(store)
    with place(tmp_path / "views.db") as views:
        assert await Projector(views, TOTAL, batch=batch, poison="skip").catch_up(store) == 7
        assert live_view(views, "total").items() == [("events", "abcdyz"), ("total", 6)]
        assert live_view(views, "total").parked == []
    trace = recorded()
    holds(trace)
    assert [(e.message, e.data["position"]) for e in trace.filter("dropped")] == [("X", 3)]


@both
@pytest.mark.parametrize("batch", [1, 100])
async def test_poison_is_parked_by_policy_with_what_follows_in_its_stream(
    tmp_path: Path, place: Place, batch: int
) -> None:
    """Other streams go on; the mended handler takes in what is parked, in order."""
    store = MemoryEventStore()
    await with_poison(store)
    with place(tmp_path / "views.db") as views:
        projector = Projector(views, TOTAL, batch=batch, poison="park")
        assert await projector.catch_up(store) == 7
        assert live_view(views, "total").items() == [("events", "abyz"), ("total", 4)]
        parked = live_view(views, "total").parked
        assert [(p.event.position, p.event.stream) for p in parked] == [(n, "order-17") for n in (3, 4, 5)]
        assert "TypeError" in parked[0].reason
        assert "earlier event of its stream" in parked[1].reason
        assert await projector.retry_parked() == 0
        await pay(store, "e")
        await pay(store, "w", "order-18")
        await projector.catch_up(store)
        assert live_view(views, "total").get("events") == "abyzw"
        mended = Projection("total", {"OrderPaid": listing})
        mended_projector = Projector(views, mended, batch=batch)
        assert await mended_projector.retry_parked() == 4
        assert live_view(views, "total").get("events") == "abyzwXcde"
        assert live_view(views, "total").parked == []
        await pay(store, "f")
        await mended_projector.catch_up(store)
        assert live_view(views, "total").get("events") == "abyzwXcdef"
    trace = recorded()
    holds(trace)
    assert [(e.message, e.data["to"]) for e in trace.filter("dead")] == [("X", "total.1.parked")]
    assert trace.messages("failed") == ["X", "X"]
    assert trace.messages("replayed") == ["X", "c", "d", "e"]


@both
async def test_poison_with_odd_words_is_parked_like_any_other(tmp_path: Path, place: Place) -> None:
    """The reason is kept as far as it can be written."""

    class Odd(Exception):
        def __repr__(self) -> str:
            return "Odd(\ud800)"

    def refuse(view: View, event: Recorded) -> None:
        raise Odd

    store = MemoryEventStore()
    await pay(store, "a")
    with place(tmp_path / "views.db") as views:
        await Projector(views, Projection("total", {"OrderPaid": refuse}), poison="park").catch_up(store)
        assert [parked.reason for parked in live_view(views, "total").parked] == [r"Odd(\ud800)"]


async def test_a_view_that_is_dropped_forgets_what_was_parked() -> None:
    """Or it would come into the next one twice."""
    store, views = MemoryEventStore(), MemoryStore()
    await with_poison(store)
    await Projector(views, TOTAL, poison="park").catch_up(store)
    with views.transaction() as transaction:
        View(transaction, "total.1").clear()
    assert view_named(views, "total.1") == Copy(0, {}, [])


async def test_what_is_parked_is_tried_once_also_by_two() -> None:
    """Two who retry at the same time: the effect is there once."""
    store, views = MemoryEventStore(), MemoryStore()
    await with_poison(store)
    await Projector(views, TOTAL, poison="park").catch_up(store)
    mended = Projector(views, Projection("total", {"OrderPaid": listing}))
    async with anyio.create_task_group() as group:
        group.start_soon(mended.retry_parked)
        group.start_soon(mended.retry_parked)
    assert live_view(views, "total").get("events") == "abyzXcd"
    assert live_view(views, "total").parked == []
    holds(recorded())


def test_a_policy_or_a_generation_that_is_none_is_refused() -> None:
    """Bad settings are told at once."""
    with pytest.raises(ValueError, match="hope"):
        Projector(MemoryStore(), TOTAL, poison="hope")
    with pytest.raises(ValueError, match="generation must be a whole number from 1 on"):
        Projection("total", {}, generation=0)


# Rebuild beside live


@both
async def test_a_rebuild_runs_beside_the_live_view_catches_up_and_swaps(tmp_path: Path, place: Place) -> None:
    """Nothing is lost or doubled meanwhile, the live view stays current, and no reader goes back."""
    store = MemoryEventStore()
    seen: list[tuple[int, int]] = []
    with place(tmp_path / "views.db") as views:
        async with anyio.create_task_group() as group:

            async def keep_paying() -> None:
                for identity in "abcdefghijklmnopqrst":
                    await pay(store, identity)
                    await anyio.sleep(0.1)

            async def watch() -> None:
                while True:
                    seen.append((live(views, "total"), live_view(views, "total").position))
                    await anyio.sleep(0.05)

            old, new = (Projector(views, p, batch=2) for p in (TOTAL, SECOND))
            group.start_soon(keep_paying)
            group.start_soon(old.run, store)
            group.start_soon(watch)
            await anyio.sleep(1.01)
            await rebuild(new, store)
            assert live_view(views, "total").items() == [("events", "abcdefghijk")]
            group.start_soon(new.run, store)
            await anyio.sleep(5)
            group.cancel_scope.cancel()
        assert live_view(views, "total").items() == [("events", "abcdefghijklmnopqrst")]
        assert view_named(views, "total.1").items() == []
        assert seen == sorted(seen)
        assert {live for live, _ in seen} == {1, 2}
    trace = recorded()
    holds(trace)
    swapped = [e.data for e in trace.filter("state", where="total")]
    assert swapped == [{"was": "total.1", "now": "total.2", "reason": "swapped"}]


class Busy(MemoryEventStore):
    """Each time that a batch has been read from it, more has happened, for a while."""

    more = 5

    async def read_all(self, *, after: int = 0, limit: int = 100) -> Any:
        found = await super().read_all(after=after, limit=limit)
        if self.more:
            self.more -= 1
            await pay(self, "vwxyz"[self.more])
        return found


async def test_catching_up_ends_while_others_go_on_writing() -> None:
    """It takes in what was there when it began, and does not chase a writer that never rests."""
    store = Busy()
    await pay(store, "ab")
    assert await Projector(MemoryStore(), TOTAL, batch=1).catch_up(store) == 2
    assert store.more == 3


async def test_a_swap_waits_for_the_view_that_is_ahead() -> None:
    """The live view went on while the new one caught up: it catches up again before the swap."""
    store, views = Busy(), MemoryStore()
    await pay(store, "ab")
    with views.transaction() as transaction:
        View(transaction, "total.1").track(6)  # the old projector is quick
    await rebuild(Projector(views, SECOND), store)
    assert live(views, "total") == 2
    assert live_view(views, "total").position >= 6
    assert live_view(views, "total").get("events").startswith("abzyxw")


async def test_an_old_projector_ends_when_it_is_replaced() -> None:
    """It writes nothing more, and one that is started later has nothing to do."""
    store, views = MemoryEventStore(), MemoryStore()
    await pay(store, "ab")
    old = Projector(views, TOTAL)
    async with anyio.create_task_group() as group:
        group.start_soon(old.run, store)
        await anyio.sleep(1)
        await rebuild(Projector(views, SECOND), store)
        await pay(store, "c")
    await old.run(store)
    with pytest.raises(Retired, match="generation 2"):
        await old.catch_up(store)
    assert view_named(views, "total.1") == Copy(0, {}, [])


async def test_a_rebuild_that_fails_leaves_the_live_view() -> None:
    """And goes on where it stopped, once the handler is mended."""
    store, views = MemoryEventStore(), MemoryStore()
    await pay(store, "ab")
    await Projector(views, TOTAL).catch_up(store)

    def broken(view: View, event: Recorded) -> None:
        listing(view, event)
        if event.message.id == "b":
            raise ZeroDivisionError

    with pytest.raises(PoisonEvent):
        await rebuild(Projector(views, Projection("total", {"OrderPaid": broken}, generation=2)), store)
    assert live(views, "total") == 1
    assert live_view(views, "total").items() == [("events", "ab"), ("total", 2)]
    await rebuild(Projector(views, SECOND), store)
    assert live_view(views, "total").items() == [("events", "ab")]
    await rebuild(Projector(views, SECOND), store)
    assert live_view(views, "total").items() == [("events", "ab")]


async def test_a_rebuild_from_another_history_ends_and_says_so() -> None:
    """Where the live view shows what the store never had, the new one can never take its place."""
    views, other = MemoryStore(), MemoryEventStore("restored")
    store = MemoryEventStore()
    await pay(store, "ab")
    await Projector(views, TOTAL).catch_up(store)
    await pay(other, "a")
    with pytest.raises(RuntimeError, match="restored ends: it was made of another history"):
        await rebuild(Projector(views, SECOND), other)
    assert live(views, "total") == 1


@virtual_time_only
@both
async def test_a_rebuild_that_died_after_its_swap_leaves_no_old_view(tmp_path: Path, place: Place) -> None:
    """Called again, it has nothing to swap and still drops what is old: somebody may be forgotten there."""
    store = MemoryEventStore()
    with place(tmp_path / "views.db") as views:
        await pay(store, "ab")
        for projection in (TOTAL, SECOND):
            await Projector(views, projection).catch_up(store)
        with views.transaction() as transaction:
            assert swap(transaction, "total", 2)  # and here it dies
        with anyio.fail_after(1):
            await Projector(views, TOTAL).run(store)  # which has nothing to do any more
        await rebuild(Projector(views, SECOND), store)
        assert view_named(views, "total.1").items() == []
        assert live_view(views, "total").items() == [("events", "ab")]


# Side effects


async def test_replaying_sends_no_e_mail() -> None:
    """A reactor sends one for each new event; folds and projections are replayed and it is not."""
    sent: list[str] = []

    async def send(event: Recorded) -> None:
        sent.append(event.message.id)
        record("effect", "mailer", event.message.id, effect="e-mail sent")

    store, views = MemoryEventStore(), MemoryStore()
    await pay(store, "ab")
    async with anyio.create_task_group() as group:
        group.start_soon(Reactor(views, "mailer", {"OrderPaid": send}).run, store)
        await anyio.sleep(1)
        await pay(store, "c")
        await store.append("order-17", [Message(None, "OrderShipped")])
        await anyio.sleep(1)
        group.cancel_scope.cancel()
    await pay(store, "d")
    for generation in (1, 2, 3):
        await rebuild(Projector(views, Projection("total", {"OrderPaid": add}, generation)), store)
    assert sent == ["c"]
    async with anyio.create_task_group() as group:
        group.start_soon(Reactor(views, "mailer", {"OrderPaid": send}).run, store)
        await anyio.sleep(1)
        group.cancel_scope.cancel()
    assert sent == ["c", "d"]
    trace = recorded()
    assert [e.message for e in trace.filter("effect", who="mailer")] == ["c", "d"]
    assert trace.messages("finished") == ["c", "d"]
    invariants.assert_holds(trace, gap_free_reading)


async def test_a_reactor_begins_at_the_oldest_event_when_told() -> None:
    """For instance to fill another system for the first time."""
    done: list[str] = []

    async def copy(event: Recorded) -> None:
        done.append(event.message.id)

    store, views = MemoryEventStore(), MemoryStore()
    await pay(store, "ab")
    with anyio.move_on_after(1):
        await Reactor(views, "copier", {"OrderPaid": copy}, history=True).run(store)
    assert done == ["a", "b"]


async def test_a_reactor_that_was_away_goes_on_from_its_first_start() -> None:
    """Also when nothing had happened until it ended."""
    store, views, done = MemoryEventStore(), MemoryStore(), list[str]()
    for letter in "ab":
        await pay(store, letter)
        with anyio.move_on_after(1):
            await Reactor(views, "noter", {"OrderPaid": lambda e: done.append(e.message.id)}).run(store)
    assert done == ["b"]


async def test_the_effect_tells_how_old_its_event_is() -> None:
    """The lag from what happened to what can be read."""
    store = MemoryEventStore()
    await anyio.sleep(1)
    await pay(store, "a")
    await anyio.sleep(2)
    await Projector(MemoryStore(), TOTAL).catch_up(store)
    assert [effect.data["lag"] for effect in recorded().filter("effect")] == [pytest.approx(2)]


async def test_a_plain_function_may_react_too() -> None:
    """A handler that has nothing to wait for need not be a coroutine."""
    store, done = MemoryEventStore(), list[str]()
    await pay(store, "ab")
    with anyio.move_on_after(1):
        reactor = Reactor(
            MemoryStore(), "noter", {"OrderPaid": lambda e: done.append(e.message.id)}, history=True
        )
        await reactor.run(store)
    assert done == ["a", "b"]


async def test_the_place_of_a_reactor_never_moves_back() -> None:
    """Also when two run under one name and the slow one notes its place last."""
    store, views = MemoryEventStore(), MemoryStore()
    await pay(store, "abc")

    async def slowly(event: Recorded) -> None:
        await anyio.sleep(5)

    async def at_once(event: Recorded) -> None:
        await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        for handler in (slowly, at_once):
            group.start_soon(Reactor(views, "mailer", {"OrderPaid": handler}, history=True).run, store)
        for _ in range(4):
            await anyio.sleep(4)
            assert view_named(views, "mailer").position == 3
        group.cancel_scope.cancel()
    moves = [(event.data["was"], event.data["now"]) for event in recorded().filter("state", where="mailer")]
    assert moves == [(0, 1), (1, 2), (2, 3)]


@pytest.mark.parametrize("how", ["failed", "cancelled"])
async def test_an_effect_that_did_not_finish_is_tried_again(how: str) -> None:
    """A reactor whose handler raises or is cancelled has not moved on."""
    tried: list[str] = []

    async def send(event: Recorded) -> None:
        tried.append(event.message.id)
        if len(tried) == 2:
            if how == "failed":
                raise ConnectionError
            await anyio.sleep(60)

    store, views = MemoryEventStore(), MemoryStore()
    await pay(store, "abc")
    for _ in range(2):
        try:
            with anyio.move_on_after(1):
                await Reactor(views, "mailer", {"OrderPaid": send}, history=True).run(store)
        except ConnectionError:
            pass
    assert tried == ["a", "b", "b", "c"]
    trace = recorded()
    assert trace.messages(how) == ["b"]
    assert trace.messages("finished") == ["a", "b", "c"]
