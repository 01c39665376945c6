"""The promises of a log, asked of real systems; `tests/contract/test_logs_alike.py` compares our own."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import anyio
import anyio.to_thread
import pytest

from eip_ref.event_sourcing import Projection, Projector, Recorded, View
from eip_ref.field import log as logs
from eip_ref.field.kafka_log import KafkaLog
from eip_ref.field.rabbitmq_stream import RabbitStreamLog
from eip_ref.field.redis_log import RedisLog
from eip_ref.field.servers import Kafka, RabbitMQ, Redis, Server
from eip_ref.message import Message
from eip_ref.storage import MemoryStore, OffsetGone, Record
from eip_ref.trace import recording

from .conftest import Servers
from .promises import SOON, Site, promise
from .systems import SYSTEMS
from .verdicts import System

WAITED_AT = [system for system in SYSTEMS if system.pattern in ("log", "event store")]
OLD = 2.5  #: seconds after which no broker loses a log with its declaration


async def fill(log: Any, *bodies: Any) -> list[int]:
    """Append these bodies, each after the confirm of the one before; return their offsets."""
    return [await log.append(Message(body)) for body in bodies]


async def all_of(log: Any, offset: int = 0) -> list[Record]:
    """All records from an offset on."""
    found: list[Record] = []
    while more := await log.read(found[-1].offset + 1 if found else offset):
        found += more
    return found


def bodies(records: list[Record]) -> list[Any]:
    return [record.message.body for record in records]


def places(records: list[Record]) -> list[tuple[int, str]]:
    """Which message is where."""
    return [(record.offset, record.message.id) for record in records]


# Appended and read


@promise
async def test_records_are_read_in_the_order_of_their_appends(site: Site) -> None:
    """On whatever connection they are read, and in as many pieces as there are."""
    async with site.open() as one, site.open() as two:
        await fill(one, *range(250))
        assert bodies(await all_of(one)) == list(range(250))
        assert bodies(await all_of(two)) == list(range(250))


@promise
async def test_appends_that_wait_for_no_confirm_keep_their_order(site: Site) -> None:
    """Begun one after the other on one connection, many on the way at once."""
    async with site.open() as log:
        async with anyio.create_task_group() as tasks:
            for number in range(200):
                tasks.start_soon(fill, log, number)
        assert bodies(await all_of(log)) == list(range(200))


@promise
async def test_an_append_returns_the_offset_of_its_record(site: Site) -> None:
    """The record can be read by it at once."""
    async with site.open() as log:
        for number in range(10):
            offset = await log.append(Message(number))
            assert offset >= 0, f"the offset is said to be {offset}"
            (record,) = await log.read(offset)
            assert (record.offset, record.message.body) == (offset, number)


@promise
async def test_offsets_have_no_gaps(site: Site) -> None:
    """From 0 on, also with two writers at once."""
    async with site.open() as one, site.open() as two:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fill, one, *range(50))
            tasks.start_soon(fill, two, *range(50))
        assert [record.offset for record in await all_of(one)] == list(range(100))


@promise
async def test_a_reader_at_the_end_misses_nothing_of_two_writers(site: Site) -> None:
    """It reads from where it is while they append: a record never appears behind it."""
    async with site.open() as one, site.open() as two, site.open() as three:
        seen: list[Record] = []
        with anyio.move_on_after(SOON * 3):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(fill, one, *range(100))
                tasks.start_soon(fill, two, *range(100))
                while len(seen) < 200:
                    seen += await three.read(seen[-1].offset + 1 if seen else 0)
        assert places(seen) == places(await all_of(three)), f"{len(seen)} of 200 came"


@promise
async def test_reading_takes_nothing_away(site: Site) -> None:
    """The same offset gives the same records, now and again: a replay."""
    async with site.open() as log:
        await fill(log, *range(20))
        first = places(await all_of(log))
        for offset in (0, 10, 0, 19, 5):
            assert places(await log.read(offset, limit=3)) == first[offset : offset + 3]


@promise
async def test_the_time_of_a_record_stays(site: Site) -> None:
    """It is that of the append, within the clock's step, however often it is read."""
    async with site.open() as log:
        before = anyio.current_time()
        await fill(log, "order")
        after = anyio.current_time()
        (record,) = await log.read(0)
        assert before - 0.01 <= record.at <= after + 0.01
        assert abs((await log.read(0))[0].at - record.at) < 0.01


@promise
async def test_odd_text_is_kept_exactly(site: Site) -> None:
    """As body, type, key and header, in every script, with a zero byte, and long."""
    async with site.open() as log:
        for odd in ("", "a\0b", "\N{HOT BEVERAGE}", "x" * 100_000):
            key = odd.replace("\0", "")[:100]
            message = Message({"body": [odd]}, odd[:100], key=key, headers={"odd": odd})
            await log.append(message)
            kept = (await all_of(log))[-1].message
            assert (kept.id, kept.body, kept.type) == (message.id, message.body, message.type)
            assert (kept.key, kept.headers) == (message.key, message.headers)


@promise
async def test_a_record_of_two_megabytes_is_taken(site: Site) -> None:
    """As the others are: in one piece, and with a confirm."""
    async with site.open() as log:
        try:
            await log.append(Message("x" * 2_000_000))
        except ValueError as error:
            raise AssertionError(str(error)) from error
        assert len((await log.read(0))[0].message.body) == 2_000_000


@promise
async def test_a_body_that_is_not_json_is_refused(site: Site) -> None:
    """By its writer, and not found out by its readers."""
    async with site.open() as log:
        with pytest.raises(TypeError):
            await log.append(Message({1, 2}))
        assert await log.read(0) == []


@promise
async def test_what_is_no_message_hides_nothing_and_can_be_passed_over(site: Site) -> None:
    """A reader gets all that is before it, is then told its offset, and goes on where it says."""
    async with site.open() as log:
        await fill(log, "before")
        with patch.object(logs, "encoded", return_value=b"no message"):
            await log.append(Message())
        await fill(log, "behind")
        async with log.group("readers") as group:
            assert bodies(await group.read(timeout=SOON)) == ["before"]
            with pytest.raises(ValueError, match=r"no message at offset 1: .*; go on at 2 "):
                await group.read(timeout=SOON)
            await group.seek(2)
            assert bodies(await group.read(timeout=SOON)) == ["behind"]


@promise
async def test_a_message_that_is_sent_again_is_stored_once(site: Site) -> None:
    """A writer that heard no confirm sends again with the same id."""
    async with site.open() as log:
        message = Message("order")
        await log.append(message)
        await log.append(message)
        assert bodies(await all_of(log)) == ["order"]


# Offsets


@promise
async def test_at_the_end_there_is_nothing_and_beyond_it_an_error(site: Site) -> None:
    """Whoever asks for an offset that nobody was given has lost its place."""
    async with site.open() as log:
        await fill(log, 1, 2)
        assert await log.read(2) == []
        with pytest.raises(ValueError, match="2, not 3"):
            await log.read(3)


@promise
async def test_first_and_end_are_those_of_the_log(site: Site) -> None:
    """Also of what another connection has appended, and at once."""
    async with site.open() as one, site.open() as two:
        assert (two.first, two.end) == (0, 0)
        for number in range(1, 6):
            await fill(one, number)
            assert (two.first, two.end) == (0, number)


@promise
async def test_a_reader_who_comes_too_late_is_told(site: Site) -> None:
    """And is told the oldest offset; those that stay keep theirs."""
    async with site.open() as log, site.open() as late:
        await fill(log, *range(10))
        await log.forget(4)
        with pytest.raises(OffsetGone) as gone:
            await late.read(3)
        assert gone.value.first == 4
        assert [record.offset for record in await all_of(late, 4)] == list(range(4, 10))
        assert await fill(log, "next") == [10]


def test_a_stream_of_rabbitmq_that_has_evicted_names_its_oldest_offset(servers: Servers) -> None:
    """It evicts when a segment is full; the adapter looks at the offset of what comes."""
    if missing := RabbitMQ.missing():
        pytest.skip(missing)
    url = servers.running(RabbitMQ).url

    async def main() -> None:
        log = RabbitStreamLog(url, f"small-{uuid4()}", max_bytes=20_000, segment_bytes=10_000)
        async with log:
            await fill(log, *["x" * 1_000] * 100)
            with anyio.fail_after(SOON * 3):
                while log.first == 0:
                    await anyio.sleep(0.05)
            with pytest.raises(OffsetGone) as gone:
                await log.read(0)
            assert (await log.read(gone.value.first, limit=2))[0].offset == gone.value.first
            assert gone.value.first <= log.first < log.end
            assert (await all_of(log, log.first))[-1].offset == log.end - 1

    anyio.run(main, backend="asyncio")


def test_a_reader_of_a_stream_of_rabbitmq_goes_on_with_what_comes_next(servers: Servers) -> None:
    """However much it wants, whoever reads at the same time, and also after a read that was cancelled."""
    if missing := RabbitMQ.missing():
        pytest.skip(missing)
    url = servers.running(RabbitMQ).url

    async def main() -> None:
        async with RabbitStreamLog(url, f"small-{uuid4()}") as log:
            await fill(log, *range(30))

            async def read_on(patience: float) -> None:
                seen: list[Record] = []
                for limit in (3, 2, 20, 1, 4):
                    with anyio.move_on_after(patience):
                        seen += await log.read(len(seen), limit=limit)
                    seen += await log.read(len(seen), limit=limit)
                assert bodies(seen) == [*range(30)]

            await read_on(math.inf)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read_on, math.inf)
                tasks.start_soon(read_on, 0)

    anyio.run(main, backend="asyncio")


def test_a_reader_of_kafka_that_goes_on_misses_nothing_in_silence(servers: Servers) -> None:
    """What its client had before it was removed is read; a record that it had not is told to be gone."""
    if missing := Kafka.missing():
        pytest.skip(missing)
    url = servers.running(Kafka).url

    async def main() -> None:
        async with KafkaLog(url, f"small-{uuid4()}") as log, KafkaLog(url, log.name) as late:
            await fill(log, *range(10))
            found = await late.read(0, limit=3)
            await log.forget(6)
            with suppress(OffsetGone):
                while found[-1].offset < 9:
                    found += await late.read(found[-1].offset + 1, limit=1)
            assert bodies(found) == list(range(len(found)))
            for place in (2, 2, 5):  # the second time the client has heard of it too
                with pytest.raises(OffsetGone) as gone:
                    await late.read(place, limit=1)
                assert gone.value.first == 6
                await anyio.sleep(1)
            assert bodies(await all_of(late, 6)) == [6, 7, 8, 9]

    anyio.run(main, backend="asyncio")


@promise
async def test_wait_ends_with_an_append_of_somebody_else(site: Site) -> None:
    """And not before."""
    async with site.open() as one, site.open() as two:
        await fill(one, "first")
        with anyio.move_on_after(site.unit) as early:
            await two.wait(1)
        assert early.cancelled_caught, "there is no record at this offset yet"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fill, one, "second")
            with anyio.fail_after(SOON):
                await two.wait(1)
        assert bodies(await two.read(1)) == ["second"]


@promise
async def test_a_cancelled_read_harms_nobody(site: Site) -> None:
    """Whatever the instant of the cancellation, the next read begins where it is told to."""
    async with site.open() as log:
        await fill(log, *range(20))
        for step in range(30):
            with anyio.move_on_after(step / 2000):
                await log.read(step % 20)
            assert bodies(await log.read(step % 20, limit=1)) == [step % 20]


# Groups


@promise
async def test_a_group_goes_on_where_it_has_committed(site: Site) -> None:
    """On another connection too: what it had read and not committed comes again, and nothing else."""
    async with site.open() as one, site.open() as two:
        await fill(one, *range(10))
        async with one.group("billing") as group:
            assert bodies(await group.read(limit=4)) == [0, 1, 2, 3]
            await group.commit(3)
            assert bodies(await group.read(limit=2)) == [4, 5]
        async with two.group("billing") as group:
            assert bodies(await group.read(limit=3)) == [3, 4, 5]


@promise
async def test_groups_do_not_disturb_each_other(site: Site) -> None:
    """Each has all, at its own place."""
    async with site.open() as log:
        await fill(log, *range(5))
        async with log.group("billing") as one, log.group("stock") as two:
            assert bodies(await one.read()) == list(range(5))
            await one.commit()
            assert bodies(await two.read()) == list(range(5))
            assert (await one.committed(), await two.committed()) == (5, 0)


@promise
async def test_a_group_can_go_back(site: Site) -> None:
    """For a replay, and it stays there when it is opened again."""
    async with site.open() as log:
        await fill(log, *range(5))
        async with log.group("billing") as group:
            await group.read()
            await group.commit()
            await group.seek(2)
        async with log.group("billing") as group:
            assert bodies(await group.read()) == [2, 3, 4]


@pytest.mark.parametrize("at", WAITED_AT, ids=lambda at: at.id)
def test_whoever_waits_at_what_is_left_is_told(at: System, servers: Servers) -> None:
    """At a log and at an event store, and no client opens another connection for what was under way."""
    if missing := at.server.missing():
        pytest.skip(missing)

    async def wait_at(opened: Any) -> None:
        with pytest.raises((ConnectionError, RuntimeError), match=r"left|lost|not open"):
            await (opened.wait(0) if at.pattern == "log" else opened.wait(after=opened.committed_up_to))

    async def main() -> None:
        with anyio.fail_after(SOON):
            async with (
                anyio.create_task_group() as tasks,
                at.open(servers.running(at.server), f"left-{uuid4()}") as opened,
            ):
                tasks.start_soon(wait_at, opened)
                await anyio.sleep(0.3)  # it waits

    anyio.run(main, backend="asyncio")


@pytest.mark.parametrize(
    ("broker", "opened"), [(Kafka, KafkaLog), (RabbitMQ, RabbitStreamLog), (Redis, RedisLog)]
)
def test_a_trace_tells_a_seek_from_a_commit(servers: Servers, broker: type[Server], opened: Any) -> None:
    """In the words of the log on a disk: a figure draws a seek as a reader who goes elsewhere."""
    if missing := broker.missing():
        pytest.skip(missing)
    url = servers.running(broker).url

    async def main() -> None:
        async with opened(url, f"sought-{uuid4()}") as log, log.group("billing") as group:
            await fill(log, *range(3))
            with recording() as recorder:
                await group.commit(2)
                await group.seek(1)
            moves = [(event.data["now"], event.data["reason"]) for event in recorder.trace]
            assert moves == [(2, "committed"), (1, "sought")]
            assert (group.position, await group.committed()) == (1, 1)

    anyio.run(main, backend="asyncio")


@promise
async def test_a_commit_never_moves_back(site: Site) -> None:
    """A member that was slow, and commits what it had read long ago, takes nobody back."""
    async with site.open() as one, site.open() as two:
        await fill(one, *range(5))
        async with one.group("billing") as slow, two.group("billing") as quick:
            await quick.commit(5)
            await slow.commit(2)
            assert await quick.committed() == 5


@promise
async def test_a_group_drops_what_has_expired(site: Site) -> None:
    """Nobody works for a caller who has gone; in the log it stays."""
    async with site.open() as log, log.group("billing") as group:
        late = anyio.current_time() + site.unit / 4
        for body, deadline in (("late", late), ("in time", late + 100), ("late, too", late)):
            await log.append(Message(body, deadline=deadline))
        await anyio.sleep_until(late + site.unit / 4)
        assert bodies(await group.read(limit=1)) == ["in time"]
        assert await group.read(timeout=0.2) == []
        assert await group.commit() == await group.committed() == 3
        assert bodies(await log.read(0)) == ["late", "in time", "late, too"]


@promise
async def test_a_group_waits_for_more(site: Site) -> None:
    """As long as it is told, and no longer than until the next record."""
    async with site.open() as one, site.open() as two, one.group("billing") as group:
        start = anyio.current_time()
        assert await group.read(timeout=site.unit) == []
        assert anyio.current_time() - start >= site.unit * 0.95
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fill, two, "order")
            assert bodies(await group.read()) == ["order"]


# A view of the log


def spend(view: View, event: Recorded) -> None:
    """Count for each customer what the payments have come to."""
    before = view.get(event.stream, 0)
    view.put(event.stream, before + event.message.body)


def as_events(records: list[Record]) -> list[Recorded]:
    """Records as a projector takes them: positions begin with 1."""
    return [Recorded(each.offset + 1, str(each.message.key), 1, each.message, each.at) for each in records]


async def spent(log: Any, projector: Projector) -> dict[str, Any]:
    """Let the projector take in what it has not seen, and return its view."""
    projector.take(as_events(await all_of(log, projector.position)))
    with projector.views.reading() as transaction:
        return dict(View(transaction, projector.name).items())


@promise
async def test_a_view_is_rebuilt_from_the_log(site: Site) -> None:
    """By another process with an empty store: it is the same as the one that grew with the log."""
    async with site.open() as one, site.open() as two:
        projection = Projection("spent", {"Paid": spend})
        grown = Projector(MemoryStore(), projection)
        sums = dict.fromkeys(("ada", "bob", "eve"), 0)
        for number in range(60):
            customer = ("ada", "bob", "eve")[number % 3]
            await one.append(Message(number, "Paid", key=customer))
            sums[customer] += number
            if number % 7 == 0:
                await spent(one, grown)
        assert await spent(one, grown) == sums
        assert await spent(two, Projector(MemoryStore(), projection)) == sums


# The broker is killed


@promise
async def test_what_was_confirmed_survives_a_kill_of_the_broker(site: Site) -> None:
    """It freezes, and is killed, under a writer that goes on; no record that it confirmed is lost.

    The log was made more than two seconds before.
    """
    confirmed: list[int] = []

    async def write(log: Any) -> None:
        while True:
            number = len(confirmed)
            try:
                await log.append(Message(number))
            except ConnectionError:
                return
            confirmed.append(number)

    async with site.open() as log, anyio.create_task_group() as tasks:
        tasks.start_soon(write, log)
        await anyio.sleep(OLD)
        while len(confirmed) < 100:
            await anyio.sleep(0.01)
        site.server.freeze()
        await anyio.sleep(site.unit)
        await anyio.to_thread.run_sync(site.server.kill)
        tasks.cancel_scope.cancel()
    await anyio.to_thread.run_sync(site.server.start)
    async with site.open() as log:
        found = set(bodies(await all_of(log)))
        lost = len(set(confirmed) - found)
        assert not lost, f"{lost} of {len(confirmed)} confirmed records are lost"


@promise
async def test_a_log_that_was_just_made_survives_a_kill_of_the_broker(site: Site) -> None:
    """SIGKILL at the first confirm; the log is there afterwards, and so is the record."""
    async with site.open() as log:
        await fill(log, "order")
        site.server.freeze()
        await site.restart()
    found = None
    with suppress(ConnectionError), anyio.move_on_after(SOON * 3):
        async with site.open() as log:
            found = bodies(await all_of(log))
    assert found == ["order"], "the log is gone, or cannot be used any more"


@promise
async def test_a_log_is_used_on_after_a_kill_of_the_broker(site: Site) -> None:
    """By those who had it open: they read what was there, and append at the next offset."""
    async with site.open() as log, log.group("billing") as group:
        await fill(log, 1, 2)
        await group.read()
        await group.commit()
        await anyio.sleep(OLD)
        await site.restart()
        with anyio.fail_after(SOON * 3):
            while True:
                try:
                    assert await fill(log, 3) == [2]
                    break
                except ConnectionError:
                    await anyio.sleep(0.05)
        assert bodies(await all_of(log)) == [1, 2, 3]
        assert await group.committed() == 2, "the group has lost its place"
        assert bodies(await group.read()) == [3]
