"""Event sourcing: late committers, what SQLite adds, and pub/sub beside it."""

from __future__ import annotations

import contextlib
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from eip_ref import event_sourcing
from eip_ref.event_sourcing import (
    Expected,
    IdTaken,
    MemoryEventStore,
    Projection,
    Projector,
    Reader,
    Recorded,
    RolledBack,
    SQLiteEventStore,
    UnitOfWork,
    View,
    WrongExpectedVersion,
)
from eip_ref.lab import invariants
from eip_ref.lab.clock import simulate
from eip_ref.lab.invariants.reading import gap_free_reading
from eip_ref.message import Message
from eip_ref.publish_subscribe import PublishSubscribeChannel, SubscriptionEnded
from eip_ref.storage import Database, MemoryStore
from eip_ref.trace import acting
from tests.backends import recorded, virtual_time_only
from tests.broken.event_sourcing import ReadsPastOpenTransactions
from tests.event_sourcing.views import live_view


def events(ids: str) -> list[Message]:
    return [Message({"letter": letter}, "Said", id=letter) for letter in ids]


def letters(found: list[Recorded]) -> str:
    return "".join(event.message.id for event in found)


async def slow_append(store: MemoryEventStore, ids: str, seconds: float, fails: bool = False) -> None:
    """Insert now, commit `seconds` later, as a transaction does that has more to do; or roll back."""
    async with store.transaction() as transaction:
        transaction.append(f"stream of {ids}", events(ids))
        await anyio.sleep(seconds)
        if fails:
            raise ZeroDivisionError


async def commit(store: MemoryEventStore, *appends: tuple[str, str, int | Expected]) -> UnitOfWork:
    """Several appends in one transaction, during which nothing of it can be seen."""
    async with store.transaction() as transaction:
        for stream, ids, expected in appends:
            before = [await store.read(each) for each, _, _ in appends]
            transaction.append(stream, events(ids), expected=expected)
            assert [await store.read(each) for each, _, _ in appends] == before
    return transaction


async def read_for(reader: Reader, seconds: float) -> str:
    """All that the reader gets in that time."""
    found = ""
    with anyio.move_on_after(seconds):
        async for batch in reader:
            found += letters(batch)
    return found


# Late committers: positions are given before the commit


async def test_a_reader_gets_a_late_committer_and_everything_once() -> None:
    """What was inserted first and committed last comes first: nobody reads past an open transaction."""
    store = MemoryEventStore()
    async with anyio.create_task_group() as group:
        group.start_soon(slow_append, store, "a", 3)
        await anyio.sleep(1)
        await store.append("other", events("b"))
        assert [e.position for e in await store.read("other")] == [2]
        assert (store.committed_up_to, await store.read_all()) == (0, [])
        assert await read_for(Reader(store, "dashboard"), 5) == "ab"
        assert store.committed_up_to == 2
    invariants.assert_holds(recorded(), gap_free_reading)


async def test_of_several_open_transactions_the_lowest_holds_the_horizon() -> None:
    """And one that has appended nothing holds nobody up."""
    store = MemoryEventStore()
    async with store.transaction(), anyio.create_task_group() as group:
        await store.append("other", events("a"))
        for letter in "bc":
            group.start_soon(slow_append, store, letter, 3)
            await anyio.sleep(1)
        assert store.committed_up_to == 1
    assert store.committed_up_to == 3


async def test_the_reader_of_what_is_visible_skips_a_late_committer() -> None:
    """E12: the global order has late commits, and who goes on after the highest position misses them."""
    store = ReadsPastOpenTransactions()
    found, position = "", 0
    async with anyio.create_task_group() as group:
        group.start_soon(slow_append, store, "a", 3)
        await anyio.sleep(1)
        await store.append("other", events("b"))
        for _ in range(5):
            for event in await store.read_all(after=position):
                found, position = found + event.message.id, event.position
            await anyio.sleep(1)
    assert found == "b"


async def test_a_gap_that_a_rollback_leaves_holds_nobody_up() -> None:
    """E12: positions have gaps for good; the reader goes on at the instant of the rollback."""
    store = MemoryEventStore()
    async with anyio.create_task_group() as group:

        async def roll_back() -> None:
            with pytest.raises(ZeroDivisionError):
                await slow_append(store, "a", 3, fails=True)

        group.start_soon(roll_back)
        await anyio.sleep(1)
        await store.append("other", events("b"))
        start = anyio.current_time()
        (event,) = await anext(Reader(store, "dashboard"))
        assert anyio.current_time() - start == pytest.approx(2)
        assert (event.position, event.message.id, event.version) == (2, "b", 1)
    assert await store.read("stream of a") == []
    trace = recorded()
    assert [(e.message, e.data["reason"]) for e in trace.filter("refused")] == [("a", "rolled back")]


@pytest.mark.parametrize(("wait", "is_there"), [(9.999, True), (10.0, False), (12.0, False)])
async def test_a_transaction_whose_owner_is_too_slow_holds_the_horizon_only_for_the_patience(
    wait: float, is_there: bool
) -> None:
    """It is rolled back at that instant, its owner is refused, and readers go on without a call."""
    store = MemoryEventStore(patience=10)
    start = anyio.current_time()

    async def slow() -> None:
        if is_there:
            await slow_append(store, "a", wait)
            return
        with pytest.raises(RolledBack, match="10 s"):
            await slow_append(store, "a", wait)

    async with anyio.create_task_group() as group:
        group.start_soon(slow)
        await anyio.sleep(1)
        await store.append("other", events("b"))
        assert letters(await anext(Reader(store, "dashboard"))) == ("ab" if is_there else "b")
        assert anyio.current_time() - start == pytest.approx(min(wait, 10))
    assert letters(await store.read_all()) == ("ab" if is_there else "b")


async def test_an_append_after_the_block_is_refused() -> None:
    """It would get positions, and no commit would ever follow."""
    store = MemoryEventStore()
    async with store.transaction() as transaction:
        pass
    with pytest.raises(RuntimeError, match="is over"):
        transaction.append("order-17", [Message(1, "OrderPlaced")])
    assert store.committed_up_to == 0


async def test_a_transaction_commits_all_its_appends_or_none() -> None:
    """Expectations are judged at the commit, against what is there then and what it appends itself."""
    store = MemoryEventStore()
    good = await commit(store, ("one", "a", 0), ("two", "b", Expected.NO_STREAM), ("one", "c", 1))
    assert [a.version for a in good.appended] == [1, 1, 2]
    with pytest.raises(WrongExpectedVersion) as caught:
        await commit(store, ("one", "d", 2), ("two", "e", 0))
    assert caught.value.actual == 1
    assert letters(await store.read_all()) == "abc"
    with pytest.raises(IdTaken):
        await commit(store, ("one", "d", Expected.ANY), ("two", "d", Expected.ANY))
    assert letters(await store.read_all()) == "abc"


@pytest.mark.parametrize("expected", [0, Expected.NO_STREAM, Expected.ANY])
async def test_a_transaction_that_loses_the_race_is_a_conflict_at_its_commit(
    expected: int | Expected,
) -> None:
    """Another one appended to the stream while it was open: positions grow with the versions of a stream."""
    store = MemoryEventStore()

    async def lose() -> None:
        async with store.transaction() as late:
            late.append("one", events("a"), expected=expected)
            await store.append("one", events("b"), expected=0)

    with pytest.raises(WrongExpectedVersion) as caught:
        await lose()
    assert caught.value.actual == 1
    assert letters(await store.read("one")) == "b"
    assert store.committed_up_to == 2


async def test_a_reader_that_starts_in_the_middle_owes_nothing_before() -> None:
    """`after` is where it begins; from there on it gets all, in batches of at most `limit`."""
    store = MemoryEventStore()
    await store.append("one", events("abcde"))
    reader = Reader(store, "dashboard", after=2, limit=2)
    assert letters(await reader.read()) == "cd"
    assert letters(await reader.read()) == "e"
    assert await reader.read() == []
    assert reader.position == 5
    trace = recorded()
    invariants.assert_holds(trace, gap_free_reading)
    delivered = [(e.message, e.who, e.data["position"]) for e in trace.filter("delivered", where="events")]
    assert delivered == [(m, "dashboard", n) for m, n in zip("cde", (3, 4, 5), strict=True)]


def test_patience_without_length_is_refused() -> None:
    """A store that rolls everything back at once is a mistake."""
    with pytest.raises(ValueError, match="patience"):
        MemoryEventStore(patience=0)


# SQLite


def test_a_confirmed_append_is_in_the_file(tmp_path: Path) -> None:
    """Appended means on the disk: another process finds it, with its times on its own clock."""

    async def write() -> None:
        async with SQLiteEventStore(tmp_path / "shop.db", clock=lambda: 1000.0) as store:
            await anyio.sleep(100)
            await store.append("one", events("ab"), expected=0)

    async def read() -> None:
        async with SQLiteEventStore(tmp_path / "shop.db", clock=lambda: 1500.0) as store:
            found = await store.read_all()
            assert [e[:3] for e in found] == [(1, "one", 1), (2, "one", 2)]
            now = anyio.current_time()
            assert [now - time for e in found for time in (e.at, e.message.created)] == [400.0] * 4
            assert (await store.append("one", events("ab"), expected=0)).repeated
            with pytest.raises(WrongExpectedVersion):
                await store.append("one", events("c"), expected=0)

    simulate(write)
    simulate(read)


@virtual_time_only
@pytest.mark.parametrize("change", ["UPDATE events SET body = '{}'", "DELETE FROM events"])
async def test_the_file_itself_refuses_to_change_an_event(tmp_path: Path, change: str) -> None:
    """Events are immutable also for somebody with a SQL prompt."""
    async with SQLiteEventStore(tmp_path / "shop.db") as store:
        await store.append("one", events("a"))
    with closing(sqlite3.connect(tmp_path / "shop.db")) as file:
        with pytest.raises(sqlite3.IntegrityError, match="an event never"):
            file.execute(change)
        assert file.execute("SELECT body FROM events").fetchall() == [('{"letter":"a"}',)]


@virtual_time_only
async def test_a_reader_in_sqlite_sees_no_position_above_an_open_transaction(tmp_path: Path) -> None:
    """One writer at a time: the next one gets its position after the commit of the first."""
    async with (
        SQLiteEventStore(tmp_path / "shop.db") as writer,
        SQLiteEventStore(tmp_path / "shop.db", "reader") as other,
    ):
        other.database.busy_timeout = 0
        with writer.database.transaction():
            assert writer.append_nowait("one", events("a")).position == 1
            assert (other.committed_up_to, await other.read_all()) == (0, [])
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.append_nowait("two", events("b"))
        assert letters(await other.read_all()) == "a"
        assert other.append_nowait("two", events("b")).position == 2


@virtual_time_only
async def test_an_append_joins_the_transaction_of_its_caller(tmp_path: Path) -> None:
    """State, outbox and events of one command are kept together or not at all."""
    with Database(tmp_path / "shop.db") as file:
        file.create(("CREATE TABLE outbox (id TEXT)",))
        async with SQLiteEventStore(file) as store:
            with contextlib.suppress(ZeroDivisionError), file.transaction():
                file.execute("INSERT INTO outbox VALUES ('a')")
                store.append_nowait("one", events("a"))
                raise ZeroDivisionError
            assert await store.read_all() == []
            with file.transaction():
                store.append_nowait("one", events("b"), expected=0)
                file.execute("INSERT INTO outbox VALUES ('b')")
            assert letters(await store.read_all()) == "b"
            assert file.execute("SELECT id FROM outbox").fetchall() == [("b",)]
    trace = recorded()
    assert trace.messages("accepted") == ["b"]


@virtual_time_only
async def test_what_fails_in_the_transaction_of_a_caller_leaves_nothing_of_its_own(tmp_path: Path) -> None:
    """A batch of which one event is refused is not half there, and what the caller goes on to do is kept."""
    async with SQLiteEventStore(tmp_path / "shop.db") as store:
        with store.database.transaction():
            store.append_nowait("one", events("a"))
            with pytest.raises(IdTaken):
                store.append_nowait("two", events("bca"))
            with pytest.raises(TypeError):
                store.append_nowait("two", [*events("b"), Message((1, 2), "Said")])
            with pytest.raises(WrongExpectedVersion):
                store.append_nowait("one", events("de"), expected=0)
            assert store.append_nowait("one", events("a"), expected=0).repeated
            store.append_nowait("one", events("f"), expected=1)
        assert [(e.stream, e.version, e.message.id) for e in await store.read_all()] == [
            ("one", 1, "a"),
            ("one", 2, "f"),
        ]
    trace = recorded()
    assert trace.messages("accepted") == ["a", "f"]


@virtual_time_only
async def test_a_reader_hears_at_once_of_what_another_opener_of_the_file_appends(tmp_path: Path) -> None:
    """The two share nothing but the file and the process."""
    path = tmp_path / "shop.db"
    one, two = SQLiteEventStore(path), SQLiteEventStore(path, "two")
    async with one, two, anyio.create_task_group() as group:

        async def later() -> None:
            await anyio.sleep(2.5)
            await one.append("one", events("a"))

        group.start_soon(later)
        assert letters(await anext(Reader(two, "dashboard"))) == "a"
        assert anyio.current_time() == pytest.approx(2.5)


def test_it_hears_at_once_too_of_a_store_that_was_made_elsewhere(tmp_path: Path) -> None:
    """Two that open the file in one event loop hear of each other, wherever they were made."""
    one = SQLiteEventStore(tmp_path / "shop.db")

    async def scenario() -> None:
        two = SQLiteEventStore(one.database.path, "two")
        async with one, two, anyio.create_task_group() as group:
            group.start_soon(anext, Reader(one, "dashboard"))
            await anyio.sleep(2.5)
            await two.append("one", events("a"))

    simulate(scenario)


def test_a_reader_finds_by_asking_what_another_process_appends(tmp_path: Path) -> None:
    """Nobody can call it, so it asks every `poll` seconds of its database; in real time."""

    async def main() -> str:
        path = tmp_path / "shop.db"
        async with SQLiteEventStore(Database(path, poll=0.01)) as store, anyio.create_task_group() as group:
            found: list[Recorded] = []

            async def read() -> None:
                found.extend(await anext(Reader(store, "dashboard")))

            group.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            with closing(sqlite3.connect(path)) as other, other:
                other.execute("INSERT INTO events VALUES (1, 'one', 1, 'a', 'Said', 1, '{}', NULL, 0, 0)")
        return letters(found)

    assert anyio.run(main) == "a"


async def test_who_waits_on_a_store_that_is_left_is_told(tmp_path: Path) -> None:
    """And does not wait for ever; nor is it used outside its block, while others have the file open."""
    with Database(tmp_path / "shop.db") as file:
        store = SQLiteEventStore(file)
        with pytest.raises(RuntimeError, match="inside its `async with` block"):
            await store.append("one", events("a"))

        async def wait() -> None:
            with pytest.raises(RuntimeError, match="events is not open"):
                await store.wait(after=0)

        async with anyio.create_task_group() as group, store:
            group.start_soon(wait)
            await anyio.sleep(1)
        for use in (store.read("one"), store.read_all(), store.append("one", events("a"))):
            with pytest.raises(RuntimeError, match="events is not open"):
                await use


# Pub/sub against event sourcing


async def test_the_same_facts_told_and_kept_differ_for_who_comes_late() -> None:
    """A late subscriber of a topic sees nothing; a late reader of a store sees everything."""
    channel, store = PublishSubscribeChannel("news"), MemoryEventStore()
    with acting("shop"):
        for fact in events("abc"):
            await channel.publish("orders", fact)
            await store.append("order-17", [fact])
    inbox = channel.subscribe("orders", name="late", when_full="drop oldest")
    channel.close()
    heard: list[str] = []
    try:
        while True:
            heard.append((await inbox.receive()).id)
    except SubscriptionEnded:
        pass

    def collect(view: View, event: Recorded) -> None:
        view.put("all", [*view.get("all", []), event.message.id])

    views = MemoryStore()
    await Projector(views, Projection("late", {"Said": collect})).catch_up(store)
    assert (heard, letters(await store.read("order-17")), live_view(views, "late").get("all")) == (
        [],
        "abc",
        ["a", "b", "c"],
    )


def test_the_example_of_the_package_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """And prints who hears of what, and what an append answers."""
    assert event_sourcing.__doc__ is not None
    block = event_sourcing.__doc__.split("    async def told_and_kept", 1)[1].split("\nRead `store.py`", 1)[0]
    lines = ["async def told_and_kept", *block.splitlines()]
    code = lines[0] + "\n".join(line.removeprefix("    ") for line in lines[1:])
    names: dict[str, Any] = {
        **vars(event_sourcing),
        "Message": Message,
        "PublishSubscribeChannel": PublishSubscribeChannel,
        "MemoryStore": MemoryStore,
    }
    exec(code, names)
    simulate(names["told_and_kept"])
    assert capsys.readouterr().out.splitlines() == [
        "told: 0 of 2 facts reach a late subscriber",
        "kept: 2 of 2 facts reach a late view, [('OrderPaid', 1), ('OrderPlaced', 1)]",
        "repeated: Appended(version=2, position=2, repeated=True)",
        "refused: order-17 is at version 2, and version 1 was expected",
    ]
    assert len(lines) <= 30


async def test_a_full_disk_is_told_with_the_name_of_the_file(tmp_path: Path) -> None:
    """Nothing of the append is there, and who reads the error knows where to look."""
    async with SQLiteEventStore(tmp_path / "shop.db") as store:
        (pages,) = store.database.one("PRAGMA page_count")
        store.database.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(sqlite3.OperationalError, match=r"shop\.db: .*full"):
            await store.append("order-17", [Message("x" * 100_000, "OrderPlaced")])
        assert await store.read_all() == []
