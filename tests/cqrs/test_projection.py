"""Projections: any order, any repetition, two services' streams, rebuilt beside the live view; their lag."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eip_ref.apps.shop_dashboard.services import DASHBOARD
from eip_ref.cqrs import (
    DomainEvent,
    Feed,
    NumberedView,
    ReadModel,
    ResequencerFull,
    RowChange,
    event,
    stream_version,
)
from eip_ref.event_sourcing import PoisonEvent, Recorded, View
from eip_ref.lab.clock import simulate
from eip_ref.message import Message
from eip_ref.storage import MemoryStore, SQLiteStore, Store
from tests.backends import Play, everywhere, recorded

Open = Callable[[], Store]


@pytest.fixture(params=["memory", "sqlite"])
def store_of(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the same store each time."""
    memory = MemoryStore()
    return lambda: memory if request.param == "memory" else SQLiteStore(tmp_path / "a.db", synchronous="OFF")


def told(stream: str, version: int, type: str, **body: Any) -> Message:
    return event(DomainEvent(type, body), stream, version, id=f"{stream}/{version}", causation_id="c")


HISTORY = [
    told("users/ann", 1, "UserRegistered", name="Ann", email="a@shop"),
    told("billing/ann", 1, "Charged", cents=300),
    told("users/ann", 2, "UserRenamed", name="Anna"),
    told("billing/ann", 2, "Paid", cents=100),
    told("billing/ann", 3, "Charged", cents=5),
]
ANN = {"name": "Anna", "email": "a@shop", "charges": 2, "charged": 305, "paid": 100}


class History:
    """The events, one a second; not a generator, since nobody closes those of a rebuild that failed."""

    def __init__(self, *events: Message, breaks: bool = False) -> None:
        self._events = iter(events or HISTORY)
        self._breaks = breaks

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        await anyio.sleep(1)
        message = next(self._events, None)
        if message is None and self._breaks:
            raise ConnectionError
        if message is None:
            raise StopAsyncIteration
        return message


@everywhere
def test_events_in_any_order_and_any_number_make_the_same_view(play: Play, store_of: Open) -> None:
    """All 120 orders, each event twice: held back until its turn, known when it comes again."""

    async def scenario() -> Any:
        rows = []
        with store_of() as store:
            for number, order in enumerate(permutations(HISTORY)):
                view = ReadModel(store, f"view {number}", DASHBOARD)
                for message in (*order, *order[::2]):
                    view.handle(message)
                rows.append(view.rows())
                assert view.lag.held_back == 0
                assert view.seen("billing/ann") == 3
        return rows

    assert play(scenario).result == [{"ann": ANN}] * 120


@settings(max_examples=100)
@given(st.lists(st.sampled_from(range(len(HISTORY))), max_size=20))
def test_a_part_of_the_events_makes_what_their_beginnings_make(picks: list[int]) -> None:
    """Of each stream that counts which has come without a gap from its beginning; the rest waits."""

    async def scenario() -> Any:
        view, oracle = (ReadModel(MemoryStore(), "view", DASHBOARD) for _ in range(2))
        for pick in picks:
            view.handle(HISTORY[pick])
        for stream in ("users/ann", "billing/ann"):
            for place, message in enumerate(m for m in HISTORY if m.key == stream):
                if not {
                    i for i, m in enumerate(HISTORY) if m.key == stream and int(m.id[-1]) <= place + 1
                } <= set(picks):
                    break
                oracle.handle(message)
        return view.rows(), oracle.rows()

    made, expected = simulate(scenario).result
    assert made == expected


@everywhere
def test_a_join_tolerates_either_service_first(play: Play, store_of: Open) -> None:
    """A charge before the name makes a row without a name, which the name then fills; and the other way."""

    async def scenario() -> Any:
        with store_of() as store:
            rows = []
            for number, order in enumerate(([1, 0], [0, 1])):
                view = ReadModel(store, f"view {number}", DASHBOARD)
                for pick in order:
                    view.handle(HISTORY[pick])
                    rows.append((view.get("ann")["name"], view.get("ann")["charged"]))
            return rows

    assert play(scenario).result == [(None, 300), ("Ann", 300), ("Ann", 0), ("Ann", 300)]


@everywhere
def test_what_is_held_back_is_bounded_and_survives(play: Play, store_of: Open) -> None:
    """Beyond the bound it says that an event is missing; when that comes, all of them are applied."""

    async def scenario() -> Any:
        with store_of() as store:
            view = ReadModel(store, "view", DASHBOARD, capacity=2)
            charges = [told("billing/ann", n, "Charged", cents=1) for n in (1, 2, 3, 4)]
            for message in (charges[1], charges[2], charges[2]):
                view.handle(message)
            with pytest.raises(ResequencerFull, match="waits for version 1 of billing/ann"):
                view.handle(charges[3])
            held = view.lag.held_back, view.seen("billing/ann"), view.get("ann")
        with store_of() as store:
            again = ReadModel(store, "view", DASHBOARD, capacity=2)
            again.handle(charges[0])
            return held, again.seen("billing/ann"), again.get("ann")["charged"]

    assert play(scenario).result == ((2, 0, None), 3, 3)


@everywhere
def test_an_event_that_cannot_be_applied_leaves_nothing_behind(play: Play, store_of: Open) -> None:
    """The view, the version and the position are those of before, and its retry is no duplicate."""

    async def scenario() -> Any:
        with store_of() as store:

            def fails(view: View, event: Recorded) -> None:
                view.put("ann", {"half": "done"})
                if bad:
                    raise KeyError("name")

            bad = True
            view = ReadModel(store, "view", {"Charged": fails})
            heard: list[Any] = []
            view.listeners[heard.append] = None
            with pytest.raises(PoisonEvent, match="KeyError"):
                view.handle(HISTORY[1])
            before = view.rows(), view.seen("billing/ann"), view.since(0), heard.copy()
            bad = False
            return before, view.handle(HISTORY[1]), view.rows(), len(heard)

    assert play(scenario).result == (({}, 0, (0, []), []), True, {"ann": {"half": "done"}}, 1)


@everywhere
def test_followers_are_told_after_the_commit(play: Play, store_of: Open) -> None:
    """Whoever is told of a change and looks, finds it, and could read it in another transaction."""

    async def scenario() -> Any:
        with store_of() as store:
            view = ReadModel(store, "view", DASHBOARD)
            seen: list[Any] = []

            def listen(change: Any) -> None:
                if isinstance(store, SQLiteStore):
                    assert not store.database.connection.in_transaction
                seen.append((change.row, view.get("ann")))

            view.listeners[listen] = None
            view.handle(HISTORY[1])
            return seen

    (pair,) = play(scenario).result
    assert pair[0] == pair[1]


@everywhere
def test_an_event_type_without_a_handler_is_passed_over(play: Play, store_of: Open) -> None:
    """It has a place in its stream all the same; nothing waits for it."""

    async def scenario() -> Any:
        with store_of() as store:
            view = ReadModel(store, "view", DASHBOARD)
            view.handle(told("billing/ann", 1, "Reminded"))
            view.handle(told("billing/ann", 2, "Charged", cents=1))
            with pytest.raises(ValueError, match="stream-version"):
                view.handle(Message("x", key="billing/ann"))
            return view.seen("billing/ann"), view.get("ann")["charged"]

    trace = play(scenario)
    assert trace.result == (2, 1)
    assert [effect.data["version"] for effect in trace.filter("effect")] == [1, 2]


@everywhere
def test_the_lag_is_measured_from_the_event_to_the_commit(play: Play, store_of: Open) -> None:
    """The last one, the largest, and how many wait for an earlier one; each is in the trace too."""

    async def scenario() -> Any:
        with store_of() as store:
            view = ReadModel(store, "view", DASHBOARD)
            start = [told("billing/ann", n, "Charged", cents=1) for n in (1, 2, 4)]
            await anyio.sleep(3)
            view.handle(start[0])
            view.handle(start[2])
            await anyio.sleep(1)
            view.handle(told("billing/bob", 1, "Charged", cents=1))
            before = view.lag
            view.handle(start[1])
            after = view.lag
            for version in (2, 3):
                view.handle(told("billing/bob", version, "Charged", cents=1))
            return before, after, view.lag

    trace = play(scenario)
    before, after, last = trace.result
    assert tuple(before) == (0.0, 3.0, 1)
    assert tuple(after) == (4.0, 4.0, 1)
    assert tuple(last) == (0.0, 4.0, 1)
    assert [round(e.data["lag"], 6) for e in trace.filter("effect")] == [3, 0, 4, 0, 0]


@everywhere
def test_a_row_that_stays_as_it_is_has_not_changed(play: Play, store_of: Open) -> None:
    """Setting the same again, or removing what is not there, takes no position; a row is never None."""

    async def scenario() -> Any:
        with store_of() as store, store.transaction() as transaction:
            view = NumberedView(transaction, "view.1")
            for cents in (1, 1, 2):
                view.put("ann", {"cents": cents})
            view.delete("bob")
            view.delete("ann")
            view.delete("ann")
            with pytest.raises(ValueError, match="cannot be None"):
                view.put("ann", None)
            return view.last_change, dict(view.items()), view.since(0)

    assert play(scenario).result == (3, {}, [(3, "ann", None)])


# Rebuilding


@everywhere
def test_a_view_is_rebuilt_beside_the_live_one_and_swapped(play: Play, store_of: Open) -> None:
    """Queries see the old view, whole, until they see the new one, whole; events meanwhile are in both."""

    async def scenario() -> Any:
        with store_of() as store:
            view = ReadModel(store, "view", DASHBOARD)
            for message in HISTORY:
                view.handle(message)
            seen = []

            async def watch() -> None:
                await anyio.sleep(2.5)
                view.handle(told("billing/ann", 4, "Charged", cents=1))
                while True:
                    seen.append(view.rows())
                    await anyio.sleep(1)

            async with anyio.create_task_group() as group:
                group.start_soon(watch)
                await view.rebuild(History())
                after = view.rows()
                view.handle(told("billing/ann", 5, "Charged", cents=1))
                group.cancel_scope.cancel()
            tables = [row["charged"] for row in view.rows().values()]
            return seen, after, tables, view.seen("billing/ann")

    trace = play(scenario)
    seen, after, charged, version = trace.result
    live = {"ann": ANN | {"charges": 3, "charged": 306}}
    assert all(rows == live for rows in seen)
    assert len(seen) >= 2
    assert (after, charged, version) == (live, [307], 5)
    assert [(e.data["was"], e.data["now"]) for e in trace.filter("state", where="view")] == [
        ("view.1", "view.2")
    ]


@everywhere
def test_a_rebuild_with_new_handlers_makes_a_new_view(play: Play, store_of: Open) -> None:
    """The rows are the new ones, those that are gone have a tombstone, and followers hear of all of them."""

    async def scenario() -> Any:
        with store_of() as store:

            def by_letter(view: View, event: Recorded) -> None:
                view.put(
                    "A", {"charged": view.get("A", {"charged": 0})["charged"] + event.message.body["cents"]}
                )

            view = ReadModel(store, "view", DASHBOARD)
            for message in HISTORY:
                view.handle(message)
            with Feed(view) as live:
                before = [live.next_nowait(), live.next_nowait()]
                away = live.position
                await view.rebuild(History(), {"Charged": by_letter})
                heard = [live.next_nowait(), live.next_nowait(), live.next_nowait()]
            with Feed(view, after=away) as back:
                resumed = [back.next_nowait(), back.next_nowait(), back.next_nowait()]
            everything = view.since(0)
            view.handle(told("billing/ann", 4, "Charged", cents=1))
            return before, heard, resumed, everything, view.rows()

    (row, end), heard, resumed, everything, rows = play(scenario).result
    assert (row.key, row.position, end) == ("ann", 5, None)
    assert heard == resumed == [*everything[1], None]
    assert everything == (7, [(6, "ann", None), (7, "A", {"charged": 305})])
    assert rows == {"A": {"charged": 306}}


async def test_who_looks_into_a_view_at_its_swap_leaves_it_its_new_handlers(store_of: Open) -> None:
    """A listener hears of the swap before the rebuild has returned, and may ask for rows at once."""

    def doubled(view: View, event: Recorded) -> None:
        view.put("ann", view.get("ann", 0) + 2 * event.message.body["cents"])

    with store_of() as store:
        view = ReadModel(store, "dashboard", DASHBOARD)
        await view(HISTORY[0])
        view.listeners[lambda change: view.get("ann")] = None
        await view.rebuild(
            History(HISTORY[0], told("billing/ann", 1, "Charged", cents=3)), {"Charged": doubled}
        )
        await view(told("billing/ann", 2, "Charged", cents=4))
        assert view.get("ann") == 14


async def test_a_rebuild_without_handlers_makes_an_empty_view(store_of: Open) -> None:
    """None is "the same as now", and nothing else is."""
    with store_of() as store:
        view = ReadModel(store, "view", DASHBOARD)
        for message in HISTORY:
            view.handle(message)
        await view.rebuild(History(), {})
        assert (view.rows(), view.seen("billing/ann")) == ({}, 3)
        await view.rebuild(History(), DASHBOARD)
        assert view.rows() == {"ann": ANN}


async def test_a_listener_that_fails_keeps_no_change_from_the_others(store_of: Open) -> None:
    """What it raises is a note: the event is in the view, and is not delivered again."""
    with store_of() as store:
        view, heard = ReadModel(store, "dashboard", DASHBOARD), list[str]()

        def fails(change: RowChange) -> None:
            raise KeyError(change.key)

        view.listeners |= dict.fromkeys((fails, lambda change: heard.append(change.key)))
        for message in HISTORY[:2]:
            assert await view(message)
        assert heard == ["ann", "ann"]
        assert len(recorded().filter("note")) == 2


async def test_of_two_who_rebuild_one_view_the_second_is_told_and_swaps_nothing(store_of: Open) -> None:
    """It has not built the next generation, but the one that is live by then."""
    with store_of() as store:
        one, other = (ReadModel(store, "dashboard", DASHBOARD) for _ in range(2))
        history = HISTORY[0]
        await one(history)

        async def overtaken() -> AsyncIterator[Message]:
            yield history
            await one.rebuild(History(history))

        with pytest.raises(RuntimeError, match="somebody else has rebuilt dashboard meanwhile"):
            await other.rebuild(overtaken())
        assert one.rows() == other.rows() != {}


@everywhere
def test_a_rebuild_that_fails_leaves_the_live_view(play: Play, store_of: Open) -> None:
    """By its history, its handlers, its cancellation or a short history; the next one works."""

    async def scenario() -> Any:
        with store_of() as store:

            def broken(view: View, event: Recorded) -> None:
                raise KeyError("no such column")

            view = ReadModel(store, "view", DASHBOARD)
            for message in HISTORY:
                view.handle(message)
            with pytest.raises(ConnectionError):
                await view.rebuild(History(breaks=True))
            with pytest.raises(PoisonEvent, match="KeyError"):
                await view.rebuild(History(), {"Paid": broken})
            with pytest.raises(RuntimeError, match="ends before version"):
                await view.rebuild(History(*HISTORY[:3]))
            with anyio.move_on_after(2.5):
                await view.rebuild(History())
            view.handle(told("billing/ann", 4, "Charged", cents=1))
            before = view.rows()
            await view.rebuild(History(*HISTORY, told("billing/ann", 4, "Charged", cents=1)))
            return before == view.rows(), view.get("ann")["charged"]

    assert play(scenario).result == (True, 306)


@everywhere
def test_a_mistake_in_the_new_handlers_does_not_stop_the_live_view(play: Play, store_of: Open) -> None:
    """An event that comes meanwhile is on the live view; the rebuild says what is wrong. Only one runs."""

    async def scenario() -> Any:
        with store_of() as store:

            def broken(view: View, event: Recorded) -> None:
                if event.message.body["cents"] == 13:
                    raise KeyError("cents")

            view = ReadModel(store, "view", DASHBOARD)

            async def comes() -> None:
                await anyio.sleep(0.5)
                with pytest.raises(RuntimeError, match="being rebuilt"):
                    await view.rebuild(History())
                view.handle(told("billing/bob", 1, "Charged", cents=13))
                with pytest.raises(RuntimeError, match="being rebuilt"):
                    await view.rebuild(History())  # the failed one has not ended yet

            async with anyio.create_task_group() as group:
                group.start_soon(comes)
                with pytest.raises(PoisonEvent, match="KeyError"):
                    await view.rebuild(History(), {"Charged": broken})
            stopped = anyio.current_time()  # at the next event of the history
            rows = view.get("bob")["charged"], view.get("ann")
            await view.rebuild(History(told("billing/bob", 1, "Charged", cents=13)))
            return *rows, view.get("bob")["charged"], stopped

    assert play(scenario).result == (13, None, 13, 1.0)


async def test_no_history_is_too_jumbled_for_a_rebuild() -> None:
    """However many events come before the first one."""
    view = ReadModel(MemoryStore(), "view", DASHBOARD)
    events = [told("billing/ann", n, "Charged", cents=1) for n in range(1_002, 0, -1)]
    await view.rebuild(History(*events))
    assert view.rows()["ann"]["charged"] == 1_002


@everywhere
def test_a_rebuild_is_no_lag(play: Play, store_of: Open) -> None:
    """Old events that are read again tell nothing of how far the live view is behind."""

    async def scenario() -> Any:
        with store_of() as store:
            view = ReadModel(store, "view", DASHBOARD)
            events = [told("billing/ann", n, "Charged", cents=1) for n in (1, 2)]
            for message in events:
                view.handle(message)
            await anyio.sleep(100)
            await view.rebuild(History(*events))
            return tuple(view.lag)

    assert play(scenario).result == (0.0, 0.0, 0)


def test_a_rebuild_that_died_with_its_process_leaves_no_rows(tmp_path: Path) -> None:
    """The next one begins from nothing."""

    async def scenario() -> Any:
        with SQLiteStore(tmp_path / "a.db", synchronous="OFF") as store:
            with store.transaction() as transaction:
                NumberedView(transaction, "view.2").put("ghost", {"charged": 1})
                transaction.put("view.2.versions", "billing/ann", 99)
                transaction.put("view.2.early", "billing/ann 7", "…")
            view = ReadModel(store, "view", DASHBOARD)
            await view.rebuild(History())
            return view.rows()

    assert simulate(scenario).result == {"ann": ANN}


@everywhere
def test_a_rebuild_leaves_nothing_of_the_old_view(play: Play, store_of: Open) -> None:
    """Neither rows nor what they were made of: somebody may have asked to be forgotten."""

    async def scenario() -> Any:
        with store_of() as store:
            view = ReadModel(store, "view", DASHBOARD)
            later = [told("billing/ann", n, "Charged", cents=1) for n in (4, 5)]
            for message in (*HISTORY, later[1]):  # which is held back
                view.handle(message)
            await view.rebuild(History(*HISTORY, *later))
            parts = ("", ".changes", ".parked", ".versions", ".early")
            tables = [f"view.{n}{part}" for n in (1, 2) for part in parts]
            with store.transaction() as transaction:
                counters = [name for name, _ in transaction.scan("counters")]
                return [name for name in tables if transaction.size(name)], counters

    tables, counters = play(scenario).result
    assert tables == ["view.2", "view.2.changes", "view.2.versions"]
    assert all(name.startswith("view.2") for name in counters)


def test_an_event_says_where_it_belongs_and_what_caused_it() -> None:
    """Its place in its stream, the version of its schema, and the command, also for those who correlate."""
    made = event(DomainEvent("Charged", {"cents": 5}, schema=2), "billing/ann", 3, id="e", causation_id="c")
    assert (made.id, made.type, made.key, made.version) == ("e", "Charged", "billing/ann", 2)
    assert (made.causation_id, made.correlation_id) == ("c", "c")
    assert stream_version(made) == 3


def test_who_listens_hears_in_the_order_in_which_they_came() -> None:
    """Whatever their addresses are, so a run is the same wherever it is repeated."""

    async def scenario() -> list[int]:
        heard: list[int] = []

        def hear(number: int, change: RowChange) -> None:
            heard.append(number)

        view = ReadModel(MemoryStore(), "dashboard", DASHBOARD)
        for number in range(50):
            view.listeners[partial(hear, number)] = None
        await view(HISTORY[1])
        return heard

    assert simulate(scenario).result == [*range(50)]
