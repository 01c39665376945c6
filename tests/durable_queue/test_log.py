"""The durable log: offsets, groups with cursors of their own, replay, retention, compaction."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from eip_ref.durable_queue import ConsumerGroup, SQLiteLog
from eip_ref.lab.clock import simulate
from eip_ref.message import Message
from eip_ref.storage import Database, OffsetGone, Record
from tests.backends import Play, everywhere, recorded

Open = Callable[..., SQLiteLog]
APPENDS = (
    sys.executable,
    "-c",
    "import sys\nfrom tests.durable_queue.test_log import append\nappend(sys.argv[1])",
)


@pytest.fixture
def orders(tmp_path: Path) -> Open:
    """Opens the log "orders" of the same file, each time that it is called."""
    return partial(SQLiteLog, tmp_path / "shop.db", "orders")


async def fill(log: SQLiteLog, *bodies: Any, key: str | None = None) -> None:
    for body in bodies:
        await log.append(Message(body, key=key))


async def everything(log: SQLiteLog) -> list[tuple[int, Any]]:
    return [(offset, message.body) for offset, message, _ in await log.read(log.first)]


@everywhere
def test_offsets_count_up_and_go_on_after_a_restart(play: Play, orders: Open) -> None:
    """Append returns the offset after the commit; the next process goes on behind it."""

    async def scenario() -> list[int]:
        offsets = []
        for _ in range(2):
            async with orders() as log:
                offsets += [await log.append(Message(n)) for n in range(2)]
        async with orders() as log:
            assert await everything(log) == [(0, 0), (1, 1), (2, 0), (3, 1)]
        return offsets

    assert play(scenario).result == [0, 1, 2, 3]


@everywhere
def test_appending_the_same_id_again_answers_with_its_first_offset(play: Play, orders: Open) -> None:
    """A crash between commit and confirm makes the producer send again; the log has it once."""

    async def scenario() -> list[int]:
        async with orders(dedup=10) as log:
            first = [await log.append(Message(n, id=f"order-{n}")) for n in range(3)]
        async with orders(dedup=10) as log:
            return [*first, await log.append(Message(1, id="order-1")), log.end]

    assert play(scenario).result == [0, 1, 2, 1, 3]


@everywhere
def test_reading_takes_nothing_away(play: Play, orders: Open) -> None:
    """Any offset can be read again, and what one reader changes no other sees."""

    async def scenario() -> None:
        async with orders() as log:
            await fill(log, ["tea"], ["milk"], ["bread"])
            (record,) = await log.read(1, limit=1)
            record.message.body.append("changed")
            assert [r.message.body for r in await log.read(1)] == [["milk"], ["bread"]]
            assert await log.read(3) == []
            with pytest.raises(ValueError, match="next offset of orders is 3, not 4"):
                await log.read(4)
            with pytest.raises(ValueError, match="limit must be"):
                await log.read(0, limit=0)

    play(scenario)


@everywhere
def test_appends_share_a_commit(play: Play, orders: Open) -> None:
    """Each is answered with its own offset."""

    async def scenario() -> list[int]:
        offsets: list[int] = []

        async def append(n: int) -> None:
            offsets.append(await log.append(Message(n)))

        statements: list[str] = []
        async with orders(group_commit=5, linger=1) as log:
            log.database.connection.set_trace_callback(statements.append)
            async with anyio.create_task_group() as group:
                for n in range(10):
                    group.start_soon(append, n)
            log.database.connection.set_trace_callback(None)
        assert statements.count("COMMIT") == 2
        return offsets

    assert sorted(play(scenario).result) == list(range(10))


# Groups


@everywhere
def test_each_group_has_its_own_cursor_and_it_survives(play: Play, orders: Open) -> None:
    """What one group has committed moves no other."""

    async def scenario() -> None:
        async with orders() as log:
            await fill(log, *range(5))
            billing, stock = ConsumerGroup(log, "billing"), ConsumerGroup(log, "stock")
            await billing.read(limit=3)
            await billing.commit()
            await stock.read(limit=1)
            await stock.commit()
        async with orders() as log:
            billing, stock = ConsumerGroup(log, "billing"), ConsumerGroup(log, "stock")
            assert (billing.committed, billing.lag, stock.committed, stock.lag) == (3, 2, 1, 4)
            assert [r.message.body for r in await billing.read()] == [3, 4]
            assert [r.message.body for r in await stock.read()] == [1, 2, 3, 4]

    play(scenario)


@everywhere
def test_what_was_read_and_not_committed_comes_again_after_a_restart(play: Play, orders: Open) -> None:
    """Work, then commit: at least once. Commit, then work: at most once."""

    async def scenario() -> None:
        async with orders() as log:
            await fill(log, *range(3))
            group = ConsumerGroup(log, "billing")
            await group.read(limit=2)
            await group.commit(1)
            assert [r.message.body for r in await group.read()] == [2]
        async with orders() as log:
            assert [r.message.body for r in await ConsumerGroup(log, "billing").read()] == [1, 2]

    play(scenario)


@everywhere
def test_a_commit_never_moves_back_and_a_seek_may(play: Play, orders: Open) -> None:
    """A late commit changes nothing; replay from an offset is asked for by name, and is kept."""

    async def scenario() -> None:
        async with orders() as log:
            await fill(log, *range(4))
            group, slow = ConsumerGroup(log, "billing"), ConsumerGroup(log, "billing")
            await slow.read(limit=1)
            await group.read()
            assert await group.commit() == 4
            assert await slow.commit() == 4
            await group.seek(2)
            assert [r.message.body for r in await group.read()] == [2, 3]
            with pytest.raises(ValueError, match="offsets from 0 to 4, and not 5"):
                await group.commit(5)
            with pytest.raises(ValueError, match="and not -1"):
                await group.seek(-1)
            for odd in (0.5, True, math.nan, "1"):
                for move in (group.commit, group.seek):
                    with pytest.raises(ValueError, match="offsets from 0 to 4, and not"):
                        await move(odd)  # type: ignore[arg-type]
                for look in (log.read, log.wait):
                    with pytest.raises(ValueError, match="offset must be a whole number"):
                        await look(odd)  # type: ignore[arg-type]
        async with orders() as log:
            assert ConsumerGroup(log, "billing").committed == 2

    trace = play(scenario)
    moves = [(e.data["was"], e.data["now"], e.data["reason"]) for e in trace.filter("state")]
    assert moves == [(0, 4, "committed"), (4, 4, "committed"), (4, 2, "sought")]


async def test_a_commit_looks_and_writes_in_one_transaction(orders: Open) -> None:
    """Else another process could commit in between, and the group would go back behind it."""
    async with orders() as one, orders() as two:
        await fill(one, *range(9))
        mine, other = ConsumerGroup(one, "billing"), ConsumerGroup(two, "billing")
        statements: list[str] = []
        one.database.connection.set_trace_callback(statements.append)
        await mine.commit(3)
        one.database.connection.set_trace_callback(None)
        looks = [number for number, words in enumerate(statements) if "FROM cursors" in words]
        assert statements[0] == "BEGIN IMMEDIATE"
        assert looks
        assert max(looks) < statements.index("COMMIT") == len(statements) - 1
        await other.commit(9)
        assert await mine.commit(4) == 9
        assert (mine.committed, mine.lag) == (9, 0)


async def test_a_group_hears_of_what_another_opener_has_appended(orders: Open) -> None:
    """At the instant at which it was committed."""
    async with orders() as one, orders() as two, anyio.create_task_group() as tasks:
        start = anyio.current_time()

        async def append_later() -> None:
            await anyio.sleep(3)
            await fill(two, "order 1")

        tasks.start_soon(append_later)
        (found,) = await ConsumerGroup(one, "billing").read()
        assert found.message.body == "order 1"
        assert anyio.current_time() - start == pytest.approx(3)


def test_a_group_hears_of_what_another_process_has_appended(tmp_path: Path) -> None:
    """A file tells nobody, so it is looked for every `poll` seconds."""

    async def main() -> Any:
        path = tmp_path / "shop.db"
        async with SQLiteLog(Database(path, poll=0.01), "orders") as log, anyio.create_task_group() as tasks:
            tasks.start_soon(partial(anyio.run_process, [*APPENDS, str(path)], cwd=Path(__file__).parents[2]))
            with anyio.fail_after(30):
                (found,) = await ConsumerGroup(log, "billing").read()
            return found.message.body

    assert anyio.run(main) == "from elsewhere"


def test_a_group_hears_of_what_another_process_appended_while_it_turned_to_wait(tmp_path: Path) -> None:
    """It waits for the offset that it wants, and not for whatever comes after the end that it sees then."""
    path = tmp_path / "shop.db"

    class Overtaken(SQLiteLog):
        async def read(self, offset: int, *, limit: int = 100) -> list[Record]:
            found = await super().read(offset, limit=limit)
            if not found:
                subprocess.run([*APPENDS, str(path)], check=True, cwd=Path(__file__).parents[2])
            return found

    async def main() -> Any:
        async with Overtaken(Database(path, poll=0.01), "orders") as log:
            with anyio.fail_after(30):
                (found,) = await ConsumerGroup(log, "billing").read()
            return found.message.body

    assert anyio.run(main) == "from elsewhere"


async def test_the_lag_of_a_group_is_that_of_one_moment(tmp_path: Path) -> None:
    """Whatever another process appends and commits between its two readings: it is never below 0."""
    path = tmp_path / "shop.db"

    class Overtaken(SQLiteLog):
        @property
        def end(self) -> int:
            end = super().end
            other.execute("UPDATE logs SET next = 2")
            other.execute("INSERT OR REPLACE INTO cursors VALUES ('orders', 'billing', 2)")
            return end

    with Database(path) as other:
        async with Overtaken(path, "orders") as log:
            assert ConsumerGroup(log, "billing").lag == 0


def append(path: str) -> None:
    """For a process of its own."""

    async def main() -> None:
        async with SQLiteLog(path, "orders") as log:
            await fill(log, "from elsewhere")

    anyio.run(main)


async def test_whoever_waits_at_a_log_that_is_left_is_told(orders: Open) -> None:
    """It is not open any more, so nothing can come."""
    log = orders()
    async with anyio.create_task_group() as tasks:

        async def wait() -> None:
            with pytest.raises(RuntimeError, match="is not open"):
                await log.wait(log.end)

        async with log:
            tasks.start_soon(wait)
            await anyio.sleep(1)


async def test_what_has_expired_is_dropped_and_the_group_waits_for_more(orders: Open) -> None:
    """Each group passes over it, and its next message is the next that somebody still needs."""
    async with orders() as log:
        first, second = ConsumerGroup(log, "first"), ConsumerGroup(log, "second")
        start = anyio.current_time()
        for message in (Message("late", ttl=1), Message("order 1"), Message("late too", ttl=1)):
            await log.append(message)
        await anyio.sleep(1)
        assert [each.message.body for each in await first.read(limit=1)] == ["order 1"]
        assert await first.read(timeout=2) == []
        assert anyio.current_time() - start == pytest.approx(3)
        assert (first.position, await second.read(limit=3, timeout=0)) == (3, await log.read(1, limit=1))
    dropped = recorded().filter("dropped", where=log.name)
    assert [event.data["group"] for event in dropped] == ["first", "first", "second", "second"]


@everywhere
def test_a_group_waits_for_the_next_message_as_long_as_told(play: Play, orders: Open) -> None:
    """It comes at the instant of its append; without one, nothing comes."""

    async def scenario() -> None:
        async with orders() as log, anyio.create_task_group() as tasks:
            group = ConsumerGroup(log, "billing")
            assert await group.read(timeout=2) == []
            start = anyio.current_time()

            async def append_later() -> None:
                await anyio.sleep(3)
                await fill(log, "order 1")

            tasks.start_soon(append_later)
            assert [r.message.body for r in await group.read()] == ["order 1"]
            assert anyio.current_time() - start == pytest.approx(3)
            assert await group.read(timeout=0) == []

    play(scenario)


# Retention


@everywhere
def test_retention_by_age_removes_what_is_old_at_the_very_instant(play: Play, orders: Open) -> None:
    """One tick before it stays."""

    async def scenario() -> None:
        async with orders(keep_seconds=10) as log:
            await fill(log, "old")
            await anyio.sleep(5)
            await fill(log, "new")
            await anyio.sleep(4.999)
            assert await log.retain() == 0
            await anyio.sleep(0.001)
            assert await log.retain() == 1
            assert await everything(log) == [(1, "new")]
            await anyio.sleep(10)
            await fill(log, "newest")
            assert await everything(log) == [(2, "newest")]
            await anyio.sleep(10)
            assert await log.retain() == 1
            assert (log.first, log.end, log.bytes) == (3, 3, 0)

    trace = play(scenario)
    assert [(e.data["offset"], e.data["reason"]) for e in trace.filter("dropped")] == [
        (0, "older than 10 s"),
        (1, "older than 10 s"),
        (2, "older than 10 s"),
    ]


@everywhere
def test_age_goes_on_while_the_file_is_closed(play: Play, orders: Open) -> None:
    """A log that nobody opened for a day has a day less to keep."""

    async def scenario() -> None:
        async with orders(keep_seconds=10) as log:
            await fill(log, "old")
        await anyio.sleep(10)
        async with orders(keep_seconds=10) as log:
            assert await log.retain() == 1

    play(scenario)


@everywhere
def test_retention_by_size_keeps_the_newest_within_the_bound(play: Play, orders: Open) -> None:
    """The text that is kept never exceeds the bound, and the newest message stays in any case."""

    async def scenario() -> None:
        async with orders() as log:
            await fill(log, "x")
            one = log.bytes
        async with orders(keep_bytes=3 * one + 50) as log:
            for n in range(20):
                await fill(log, f"{n % 10}")
                assert log.bytes <= 3 * one + 50
                assert log.bytes == sum(
                    size for (size,) in log.database.execute("SELECT length(envelope) FROM records")
                )
            assert [body for _, body in await everything(log)] == ["7", "8", "9"]
            await fill(log, "a very long body" * 100)
            assert (log.first, log.end) == (21, 22)

    play(scenario)


@everywhere
def test_a_reader_that_came_too_late_is_told_what_it_missed(play: Play, orders: Open) -> None:
    """Nothing is skipped in silence; the reader decides to go on at the first that is left."""

    async def scenario() -> None:
        async with orders(keep_seconds=10) as log:
            await fill(log, 0, 1, 2)
            group = ConsumerGroup(log, "billing")
            await group.read(limit=1)
            await group.commit()
            await anyio.sleep(10)
            await fill(log, 3)
            with pytest.raises(OffsetGone, match="before offset 3; 1 was asked for") as gone:
                await group.read()
            await group.seek(gone.value.first)
            assert [r.message.body for r in await group.read()] == [3]
            assert ConsumerGroup(log, "new").position == 3

    play(scenario)


# Compaction


@everywhere
def test_compaction_keeps_the_last_value_of_each_key_at_its_offset(play: Play, orders: Open) -> None:
    """Messages without a key stay; readers pass over the gaps; another log is not touched."""

    async def scenario() -> None:
        async with orders() as log, SQLiteLog(log.database, "other") as other:
            await fill(other, *range(6), key="a")
            for body, key in (("a1", "a"), ("b1", "b"), ("free", None), ("a2", "a"), ("a3", "a")):
                await fill(log, body, key=key)
            size = log.bytes
            assert await log.compact() == 2
            assert await everything(log) == [(1, "b1"), (2, "free"), (4, "a3")]
            assert log.bytes == pytest.approx(size * 3 / 5, rel=0.05)
            assert [r.offset for r in await log.read(3)] == [4]
            assert await log.compact() == 0
            assert len(await other.read(0)) == 6
            assert await log.append(Message("a4", key="a")) == 5

    trace = play(scenario)
    assert [e.data["offset"] for e in trace.filter("dropped")] == [0, 3]


@everywhere
def test_a_group_behind_a_compaction_ends_with_the_same_last_values(play: Play, orders: Open) -> None:
    """That is what compaction promises: who reads all of it knows the present, not the past."""

    async def scenario() -> None:
        async with orders() as log:
            for n in range(30):
                await log.append(Message(n, key=f"customer {n % 4}"))
            before = {r.message.key: r.message.body for r in await log.read(0)}
            await log.compact()
            after = {r.message.key: r.message.body for r in await log.read(0)}
            assert before == after
            assert len(await log.read(0)) == 4

    play(scenario)


@pytest.mark.parametrize("settings", [{"keep_bytes": 0}, {"keep_seconds": -1}])
def test_wrong_bounds_are_refused_in_words(orders: Open, settings: dict[str, Any]) -> None:
    """A setting that cannot work is an error where it is made."""
    with pytest.raises(ValueError, match=f"{next(iter(settings))} must be"):
        orders(**settings)


def test_a_log_that_is_not_open_says_so(orders: Open) -> None:
    """In words that say what to do."""

    async def scenario() -> None:
        with pytest.raises(RuntimeError, match="inside its `with` block"):
            await orders().append(Message("order 1"))

    simulate(scenario)
