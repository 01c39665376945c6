"""The promises of an event store, asked of real databases; `tests/contract` has them in virtual time."""

from __future__ import annotations

from typing import Any

import anyio

from eip_ref.event_sourcing import Expected, IdTaken, Projection, Projector, Recorded, WrongExpectedVersion
from eip_ref.message import Message
from eip_ref.storage import MemoryStore

from .promises import SOON, Site, promise


def events(*ids: str) -> list[Message]:
    return [Message({"said": each}, "Said", id=each) for each in ids]


async def read_to_the_end(store: Any, count: int) -> list[Recorded]:
    """Follow all streams until so many events have come, or no more do."""
    found: list[Recorded] = []
    with anyio.move_on_after(SOON):
        while len(found) < count:
            after = found[-1].position if found else 0
            await store.wait(after=after)
            found += await store.read_all(after=after)
    return found


async def is_refused(store: Any, error: type[Exception], ids: str, expected: int | Expected) -> bool:
    try:
        await store.append("order", events(*ids), expected=expected)
    except error:
        return True
    return False


@promise
async def test_appended_events_are_read_as_they_were_written(site: Site) -> None:
    """Id, type, schema version, body, headers and origins; its key is its stream."""
    async with site.open() as store:
        event = Message({"é\0": [1]}, "OrderPlaced", correlation_id="c", version=3, headers={"tenant": "t"})
        await store.append("order", [event])
        (found,) = await store.read("order")
        assert found.message == event.copy(key="order", created=found.message.created)
        assert abs(found.at - anyio.current_time()) < SOON


@promise
async def test_what_is_there_at_the_opening_is_below_the_horizon(site: Site) -> None:
    """So a projector of a new process catches up, and a reactor of one begins at the present."""
    projector = Projector(MemoryStore(), Projection("ids", {"Said": lambda view, event: None}))
    async with site.open() as store:
        last = (await store.append("order", events("a", "b"))).position
        assert store.committed_up_to >= last
    async with site.open() as store:
        assert await projector.catch_up(store) == last
        assert store.committed_up_to >= last


@promise
async def test_versions_count_per_stream_and_positions_over_all(site: Site) -> None:
    """Each stream has the versions 1, 2, 3; the positions of all events only grow."""
    async with site.open() as store:
        for stream in ("a", "b", "a"):
            await store.append(stream, [Message(None, "Said"), Message(None, "Said")])
        assert [event.version for event in await store.read("a")] == [1, 2, 3, 4]
        assert [event.version for event in await store.read("b", after=1)] == [2]
        found = await store.read_all(limit=100)
        assert [event.stream for event in found] == list("aabbaa")
        assert [event.position for event in found] == sorted({event.position for event in found})


@promise
async def test_the_stream_must_be_as_expected(site: Site) -> None:
    """Exactly n, no stream, exists and any; a conflict names the actual version and appends nothing."""
    async with site.open() as store:
        assert await is_refused(store, WrongExpectedVersion, "a", Expected.EXISTS)
        await store.append("order", events("a"), expected=Expected.NO_STREAM)
        assert await is_refused(store, WrongExpectedVersion, "b", Expected.NO_STREAM)
        assert await is_refused(store, WrongExpectedVersion, "b", 2)
        await store.append("order", events("b"), expected=1)
        await store.append("order", events("c"), expected=Expected.EXISTS)
        assert [event.message.id for event in await store.read("order")] == ["a", "b", "c"]


@promise
async def test_of_two_writers_with_one_expectation_one_is_told(site: Site) -> None:
    """On two connections, at the same time, twenty times: a lost update cannot happen."""
    async with site.open() as one, site.open() as two:
        lost: list[WrongExpectedVersion] = []

        async def write(store: Any, name: str, version: int) -> None:
            try:
                await store.append("order", events(f"{name}{version}"), expected=version)
            except WrongExpectedVersion as error:
                lost.append(error)

        for version in range(20):
            async with anyio.create_task_group() as both:
                both.start_soon(write, one, "a", version)
                both.start_soon(write, two, "b", version)
            assert len(lost) == version + 1
            assert lost[-1].actual == version + 1
        assert len(await one.read("order")) == 20


@promise
async def test_a_refused_batch_leaves_nothing_behind(site: Site) -> None:
    """Appending is atomic: of a batch in which one event is refused, none is there."""
    async with site.open() as store:
        await store.append("order", events("b"))
        assert await is_refused(store, IdTaken, "abc", Expected.ANY)
        assert [event.message.id for event in await store.read("order")] == ["b"]


@promise
async def test_a_repeated_append_has_the_answer_of_the_first(site: Site) -> None:
    """The same events at the same place, also when others have been appended since."""
    async with site.open() as store:
        first = await store.append("order", events("a", "b"), expected=0)
        await store.append("order", events("c"))
        again = await store.append("order", events("a", "b"), expected=0)
        assert (again.version, again.position) == (first.version, first.position)
        assert again.repeated
        assert len(await store.read("order")) == 3


@promise
async def test_a_reader_of_all_skips_nobody_who_commits_late(site: Site) -> None:
    """Eight write at the same time, on connections of their own, and one follows."""
    async with site.open() as store:

        async def write(name: str) -> None:
            async with site.open() as own:
                for number in range(50):
                    await own.append(name, events(f"{name}{number}", f"{name}{number}'"))

        async with anyio.create_task_group() as tasks:
            for name in "abcdefgh":
                tasks.start_soon(write, name)
            found = await read_to_the_end(store, 800)
        seen = {event.message.id for event in found}
        assert len(seen) == 800, f"{800 - len(seen)} events were skipped"


@promise
async def test_who_waits_is_woken_by_an_append_of_another(site: Site) -> None:
    """By another connection, and does not wait for what is there."""
    async with site.open() as one, site.open() as two, anyio.create_task_group() as tasks:
        tasks.start_soon(two.append, "order", events("a"))
        with anyio.fail_after(SOON):
            await one.wait(after=0)
        assert len(await one.read_all()) == 1


@promise
async def test_a_cancelled_append_is_whole_or_not_there(site: Site) -> None:
    """Whatever the instant of the cancellation."""
    async with site.open() as store:
        for step in range(40):
            with anyio.move_on_after(step / 4000):
                await store.append(f"order {step}", [Message(n, "Said") for n in range(5)])
        for step in range(40):
            assert len(await store.read(f"order {step}")) in (0, 5)


@promise
async def test_confirmed_events_survive_a_kill_of_the_database(site: Site) -> None:
    """In their order, with their versions and positions."""
    async with site.open() as store:
        for number in range(300):
            await store.append(f"order {number % 7}", [Message(number, "Said")])
        before = [event[:3] for event in await store.read_all(limit=1_000)]
        await site.restart()
    async with site.open() as store:
        assert [event[:3] for event in await store.read_all(limit=1_000)] == before
        assert len(before) == 300
