"""The Resequencer: any order, any repetition, one order per stream; alone, and before a projector."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from itertools import permutations
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eip_ref.event_sourcing import (
    STREAM_VERSION,
    PoisonEvent,
    Projection,
    Projector,
    Recorded,
    Resequencer,
    ResequencerFull,
    View,
    stream_version,
    swap,
)
from eip_ref.lab import invariants
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Participant
from eip_ref.message import Message
from eip_ref.storage import MemoryStore, SQLiteStore, Store
from tests.backends import recorded
from tests.event_sourcing.views import live, live_view, view_named

Open = Callable[[], Store]


@pytest.fixture(params=["memory", "sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the same store each time."""
    memory = MemoryStore()
    return lambda: memory if request.param == "memory" else SQLiteStore(tmp_path / "a.db", synchronous="OFF")


@pytest.fixture
def store(open_store: Open) -> Iterator[Store]:
    with open_store() as store:
        yield store


def event(stream: str, version: int, euros: Any = 1) -> Message:
    return Message({"euros": euros}, "Paid", stream, f"{stream}/{version}", headers={STREAM_VERSION: version})


HISTORY = [event("ann", 1), event("bob", 1), event("ann", 2), event("bob", 2), event("bob", 3)]


class Handed:
    """A receiver that keeps in the store what it was given, and may be told to fail."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.fails = False

    def __call__(self, events: list[Recorded]) -> None:
        with self.store.transaction() as transaction:
            for each in events:
                transaction.put("handed", f"{each.position:03}", f"{each.stream}/{each.version}")
            if self.fails:
                raise KeyError("the receiver is broken")

    @property
    def ids(self) -> list[str]:
        with self.store.reading() as transaction:
            return [identity for _, identity in transaction.scan("handed")]


def test_in_any_order_and_any_number_they_go_on_once_and_in_order() -> None:
    """All 120 orders, each event twice: held back until its turn, known when it comes again."""
    for order in permutations(HISTORY):
        handed = Handed(MemoryStore())
        resequencer = Resequencer(handed.store, "intake", handed)
        new = [resequencer.handle(message) for message in (*order, *order[::2])]
        assert new == [True] * 5 + [False] * 3
        assert sorted(handed.ids) == sorted(message.id for message in HISTORY)
        for stream in ("ann", "bob"):
            theirs = [identity for identity in handed.ids if identity.startswith(stream)]
            assert theirs == sorted(theirs)
        assert (resequencer.versions(), resequencer.held_back) == ({"ann": 2, "bob": 3}, 0)


def test_one_that_is_cleared_begins_anew(store: Store) -> None:
    """It knows nothing, nothing waits, and positions count from 1 again."""
    got = list[Recorded]()
    resequencer = Resequencer(store, "intake", got.extend)
    for version in (1, 3):
        resequencer.handle(event("ann", version))
    resequencer.clear()
    assert (resequencer.versions(), resequencer.held_back) == ({}, 0)
    assert resequencer.handle(event("ann", 1))
    assert [each.position for each in got] == [1, 1]


@settings(max_examples=100)
@given(st.lists(st.sampled_from(range(len(HISTORY))), max_size=20))
def test_of_each_stream_its_beginning_goes_on_and_the_rest_waits(picks: list[int]) -> None:
    """Whatever has come, however often: what follows a gap is held back, and nothing else."""
    handed = Handed(MemoryStore())
    resequencer = Resequencer(handed.store, "intake", handed)
    for pick in picks:
        resequencer.handle(HISTORY[pick])
    come = {HISTORY[pick].id for pick in picks}
    expected = set[str]()
    for stream, last in (("ann", 2), ("bob", 3)):
        for version in range(1, last + 1):
            if f"{stream}/{version}" not in come:
                break
            expected.add(f"{stream}/{version}")
            assert resequencer.version(stream) >= version
    assert set(handed.ids) == expected
    assert resequencer.held_back == len(come - expected)


async def test_what_is_held_back_is_bounded_and_survives(open_store: Open) -> None:
    """Beyond the bound it tells what it waits for; when that comes, also to another process, all go on."""
    payments = [event("ann", version) for version in (1, 2, 3, 4)]
    with open_store() as store:
        resequencer = Resequencer(store, "intake", handed := Handed(store), capacity=2)
        assert [resequencer.handle(payments[n]) for n in (1, 2, 2)] == [True, True, False]
        with pytest.raises(ResequencerFull, match="waits for version 1 of ann and holds back 2 events"):
            resequencer.handle(payments[3])
        assert (resequencer.held_back, resequencer.version("ann"), handed.ids) == (2, 0, [])
    with open_store() as store:
        again = Resequencer(store, "intake", handed := Handed(store), capacity=2)
        assert await again(payments[0])
        assert not await again(payments[1])
        assert await again(payments[3])
        assert handed.ids == ["ann/1", "ann/2", "ann/3", "ann/4"]
    trace = recorded()
    assert [(e.message, e.data["missing"]) for e in trace.filter("note")] == [("ann/2", 1), ("ann/3", 1)]
    assert trace.messages("duplicate") == ["ann/3", "ann/2"]


async def test_what_was_held_back_comes_as_it_was_sent(store: Store) -> None:
    """With its body, headers, origin and time."""
    got: list[Message] = []
    await anyio.sleep(7)
    resequencer = Resequencer(store, "intake", lambda events: got.extend(e.message for e in events))
    early = Message({"euros": [1, None]}, "Paid", "ann", headers={STREAM_VERSION: 2}, causation_id="c")
    await resequencer(early)
    await anyio.sleep(60)
    await resequencer(event("ann", 1))
    assert got[1] == early.copy(created=got[1].created)
    assert got[1].created == pytest.approx(early.created, abs=1e-6)


async def test_a_receiver_that_fails_leaves_nothing_behind(store: Store) -> None:
    """Neither what it wrote nor what was seen; the message comes again and is no duplicate."""
    resequencer = Resequencer(store, "intake", handed := Handed(store))
    await resequencer(event("ann", 2))
    handed.fails = True
    for _ in range(2):
        with pytest.raises(KeyError):
            await resequencer(event("ann", 1))
        assert (handed.ids, resequencer.version("ann"), resequencer.held_back) == ([], 0, 1)
    handed.fails = False
    assert await resequencer(event("ann", 1))
    assert handed.ids == ["ann/1", "ann/2"]


async def test_it_joins_the_transaction_of_its_caller(store: Store) -> None:
    """What is undone there never came."""
    resequencer = Resequencer(store, "intake", handed := Handed(store))
    with suppress(ZeroDivisionError), store.transaction():
        resequencer.handle(event("ann", 2))
        resequencer.handle(event("ann", 1))
        raise ZeroDivisionError
    assert (handed.ids, resequencer.versions(), resequencer.held_back) == ([], {}, 0)
    assert recorded().messages("note") == []


@pytest.mark.parametrize("version", [None, 0, -1, 1.0, True, "1"])
async def test_a_message_that_does_not_say_its_place_is_refused(store: Store, version: Any) -> None:
    """Nobody can tell its turn."""
    with pytest.raises(ValueError, match="stream-version"):
        await Resequencer(store, "intake", Handed(store))(
            Message(1, "Paid", "ann", headers={STREAM_VERSION: version})
        )
    with pytest.raises(ValueError, match="must have a key"):
        stream_version(Message(1, "Paid", headers={STREAM_VERSION: 1}))


async def test_what_could_not_be_held_back_is_refused_at_once(store: Store) -> None:
    """Early or in time, in memory and on SQLite alike."""
    resequencer = Resequencer(store, "intake", Handed(store))
    for version in (1, 2):
        with pytest.raises(TypeError, match=f"ann/{version}"):
            await resequencer(event("ann", version, euros=(1, 2)))
    assert (resequencer.versions(), resequencer.held_back) == ({}, 0)


def test_settings_that_are_none_are_refused() -> None:
    """By name, when it is made."""

    async def later(_: object) -> None:
        raise AssertionError

    with pytest.raises(TypeError, match="hand_on"):
        Resequencer(MemoryStore(), "intake", later)
    with pytest.raises(ValueError, match="capacity"):
        Resequencer(MemoryStore(), "intake", print, capacity=0)
    with pytest.raises(ValueError, match="name of a resequencer"):
        Resequencer(MemoryStore(), "", print)


# Before a projector


def add(view: View, event: Recorded) -> None:
    """Not idempotent, and broken at euros that are no number."""
    view.put("events", [*view.get("events", []), event.message.id])
    view.put("total", view.get("total", 0) + event.message.body["euros"])


def listing(view: View, event: Recorded) -> None:
    view.put("events", [*view.get("events", []), event.message.id])


TOTAL = Projection("total", {"Paid": add})
SECOND = Projection("total", {"Paid": listing}, generation=2)


def intake(views: Store, projection: Projection, poison: str = "stop") -> tuple[Resequencer, Projector]:
    projector = Projector(views, projection, poison=poison)
    return Resequencer(views, projector.name, projector.take), projector


async def test_a_view_is_made_of_messages_in_any_order(open_store: Open) -> None:
    """Each is in the view once, with the position in one commit; what is held back survives with it."""
    with open_store() as views:
        resequencer, projector = intake(views, TOTAL)
        for n in (4, 2, 2, 1, 3):
            await resequencer(HISTORY[n])
        assert live_view(views, "total").items() == [("events", ["bob/1", "bob/2", "bob/3"]), ("total", 3)]
        assert (projector.position, resequencer.held_back) == (3, 1)
    with open_store() as views:
        resequencer, projector = intake(views, TOTAL)
        for n in (2, 0, 0):
            await resequencer(HISTORY[n])
        events = ["bob/1", "bob/2", "bob/3", "ann/1", "ann/2"]
        assert live_view(views, "total").items() == [("events", events), ("total", 5)]
        assert projector.position == 5
    trace = recorded()
    invariants.assert_holds(trace, invariants.no_duplicate_effect())
    effects = trace.filter("effect", where="total.1")
    assert [(e.data["stream"], e.data["version"]) for e in effects][-2:] == [("ann", 1), ("ann", 2)]


async def test_poison_stops_parks_or_is_passed_over_by_policy(store: Store) -> None:
    """A parked event holds back its stream, and is tried again; the policies are those of any projector."""
    poisoned = [event("ann", 1), event("ann", 2, euros=None), event("ann", 3), event("bob", 1)]
    stopping, _ = intake(store, TOTAL)
    await stopping(poisoned[2])
    await stopping(poisoned[0])
    for _ in range(2):
        with pytest.raises(PoisonEvent, match="before ann/2"):
            await stopping(poisoned[1])
        assert (stopping.version("ann"), stopping.held_back) == (1, 1)
    parking, projector = intake(store, Projection("parking", {"Paid": add}), poison="park")
    skipping, _ = intake(store, Projection("skipping", {"Paid": add}), poison="skip")
    for n in (3, 2, 1, 0):
        await parking(poisoned[n])
        await skipping(poisoned[n])
    assert live_view(store, "skipping").get("events") == ["bob/1", "ann/1", "ann/3"]
    assert live_view(store, "parking").get("events") == ["bob/1", "ann/1"]
    assert [each.event.message.id for each in view_named(store, projector.name).parked] == ["ann/2", "ann/3"]
    fixed = Projector(store, Projection("parking", {"Paid": listing}))
    assert await fixed.retry_parked() == 2
    assert live_view(store, "parking").get("events") == ["bob/1", "ann/1", "ann/2", "ann/3"]


class Feed:
    """A view of messages that can be rebuilt: each message goes to every generation that is there."""

    def __init__(self, views: Store) -> None:
        self.views = views
        self.intakes = [intake(views, TOTAL)[0]]

    def handle(self, message: Message) -> None:
        with self.views.transaction():
            for each in self.intakes:
                each.handle(message)

    async def rebuild(self, history: AsyncIterator[Message]) -> bool:
        new, _ = intake(self.views, SECOND)
        live = self.intakes[0]
        self.intakes.append(new)
        async for message in history:
            new.handle(message)
        with self.views.transaction() as transaction:
            made = new.versions()
            if any(made.get(stream, 0) < version for stream, version in live.versions().items()):
                return False
            assert swap(transaction, "total", 2)
            View(transaction, "total.1").clear()
            live.clear()
        self.intakes.remove(live)
        return True


async def test_a_rebuild_runs_beside_the_live_view_and_swaps(store: Store) -> None:
    """From the history and from what comes meanwhile: nothing is lost or doubled in either view."""
    feed = Feed(store)
    for message in HISTORY:
        feed.handle(message)

    async def history() -> AsyncIterator[Message]:
        for message in HISTORY:
            await anyio.sleep(1)
            yield message

    seen: list[Any] = []

    async def meanwhile() -> None:
        await anyio.sleep(2.5)
        feed.handle(event("ann", 4))
        feed.handle(event("ann", 3))
        for _ in range(4):
            seen.append((live(store, "total"), live_view(store, "total").get("total")))
            await anyio.sleep(1)

    async with anyio.create_task_group() as group:
        group.start_soon(meanwhile)
        assert await feed.rebuild(history())
    feed.handle(event("bob", 4))
    feed.handle(event("ann", 1))
    events = ["ann/1", "bob/1", "ann/2", "ann/3", "ann/4", "bob/2", "bob/3", "bob/4"]
    assert live_view(store, "total").items() == [("events", events)]
    assert view_named(store, "total.1").items() == []
    assert seen == [(1, 7), (1, 7), (1, 7), (2, None)]


def test_a_crash_at_any_await_loses_no_message_and_doubles_none(tmp_path: Path) -> None:
    """A channel that delivers late and again, until it has the ack: the view has each once, in order."""

    async def scenario(path: Path, crash: Crash | None) -> tuple[int, Any]:
        acked: list[int] = []

        async def life() -> None:
            with SQLiteStore(path, synchronous="OFF") as views:
                resequencer, _ = intake(views, TOTAL)
                for n in [n for n in (4, 2, 0, 3, 1) if n not in acked]:
                    await resequencer(HISTORY[n])
                    await anyio.sleep(1)
                    acked.append(n)

        process = Participant("process", life, (), (crash,) if crash else ())
        await process.run()
        with SQLiteStore(path, synchronous="OFF") as views:
            return process.steps, live_view(views, "total").get("events")

    def run(step: int) -> Any:
        crash = Crash(step=step, restart_after=1) if step else None
        return simulate(scenario, tmp_path / f"{step}.db", crash)

    steps, whole = run(0).result
    assert whole == ["ann/1", "ann/2", "bob/1", "bob/2", "bob/3"]
    repeated = 0
    for step in range(1, steps + 1):
        trace = run(step)
        assert sorted(trace.result[1]) == sorted(whole)
        assert [e for e in trace.result[1] if e[0] == "b"] == ["bob/1", "bob/2", "bob/3"]
        repeated += trace.count("duplicate")
    assert repeated > 0, "no crash fell between a commit and its ack"
