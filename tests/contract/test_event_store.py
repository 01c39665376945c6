"""The contract of every event store: the sentences of the protocol, one test each.

An implementation joins by adding its class to STORES, and to `make` if it needs more than a name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from eip_ref.event_sourcing import (
    Appended,
    Expected,
    IdTaken,
    MemoryEventStore,
    Recorded,
    SQLiteEventStore,
    WrongExpectedVersion,
)
from eip_ref.lab import invariants
from eip_ref.lab.invariants.reading import gap_free_reading
from eip_ref.message import Message
from eip_ref.trace import acting
from tests.backends import recorded

from ..backends import Play, everywhere

STORES = pytest.mark.parametrize("make", [MemoryEventStore, SQLiteEventStore], indirect=True)
AnyStore = MemoryEventStore | SQLiteEventStore
Make = Callable[..., AnyStore]
pytestmark = STORES

S = "order-17"


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes stores of one class; those that live in a file have one to themselves in each test."""
    made: Make = request.param
    return partial(made, tmp_path / "events.db", synchronous="OFF") if made is SQLiteEventStore else made


def events(ids: str) -> list[Message]:
    """Events with these letters as their ids."""
    return [Message({"letter": letter}, "Said", id=letter) for letter in ids]


def letters(found: Sequence[Recorded]) -> str:
    return "".join(event.message.id for event in found)


async def everything(store: AnyStore) -> tuple[str, str]:
    """The letters of the stream and of the store, read back."""
    return letters(await store.read(S)), letters(await store.read_all())


# Appending and reading


async def test_appended_events_are_read_as_they_were_written(make: Make) -> None:
    """A stored event has its id, type, schema version, body, headers and origins; its key is its stream."""
    async with make() as store:
        message = Message(
            {"euros": 40, "lines": [1, {"a": None}]},
            type="OrderPlaced",
            version=3,
            correlation_id="c",
            causation_id="d",
            reply_to="shop",
            headers={"who": "anna"},
        )
        assert await store.append(S, [message]) == Appended(1, 1)
        await anyio.sleep(5)
        (event,) = await store.read(S)
        assert event[:3] == (1, S, 1)
        kept = event.message
        assert kept == message.copy(key=S, created=kept.created)
        assert kept.created == pytest.approx(message.created, abs=2e-6)
        assert event.at == pytest.approx(message.created, abs=2e-6)
        assert await store.read_all() == [event]


async def test_versions_count_per_stream_and_positions_over_all_of_them(make: Make) -> None:
    """Each stream has the versions 1, 2, 3 …; the positions of all events only grow."""
    async with make() as store:
        assert await store.append(S, events("ab")) == Appended(2, 2)
        assert await store.append("other", events("c")) == Appended(1, 3)
        assert await store.append(S, events("d")) == Appended(3, 4)
        assert [e[:3] for e in await store.read(S)] == [(1, S, 1), (2, S, 2), (4, S, 3)]
        assert [e.position for e in await store.read_all()] == [1, 2, 3, 4]
        assert store.committed_up_to == 4


async def test_reading_goes_on_after_a_place_and_ends_at_a_limit(make: Make) -> None:
    """`after` is exclusive, both for versions and for positions; `limit` counts events."""
    async with make() as store:
        await store.append("other", events("x"))
        await store.append(S, events("abcd"))
        assert letters(await store.read(S, after=1, limit=2)) == "bc"
        assert letters(await store.read(S, after=4)) == ""
        assert letters(await store.read("nobody")) == ""
        assert letters(await store.read_all(after=1, limit=2)) == "ab"
        assert letters(await store.read_all(after=5)) == ""


async def test_nobody_can_change_what_is_stored(make: Make) -> None:
    """Neither the writer's object nor what a reader got is the stored event."""
    async with make() as store:
        body = {"lines": [1]}
        await store.append(S, [Message(body, "OrderPlaced")])
        body["lines"].append(2)
        (event,) = await store.read(S)
        event.message.body["lines"].append(3)
        (again,) = await store.read_all()
        again.message.body["lines"].append(4)
        assert [e.message.body for e in await store.read(S)] == [{"lines": [1]}]


async def test_waiting_ends_when_there_is_something_to_read(make: Make) -> None:
    """Who waits is woken by an append, and does not wait for what is there."""
    async with make() as store, anyio.create_task_group() as group:
        heard: list[float] = []
        start = anyio.current_time()

        async def listen() -> None:
            await store.wait(after=0)
            await store.wait(after=1)
            heard.append(anyio.current_time() - start)
            await store.wait(after=0)
            heard.append(anyio.current_time() - start)

        group.start_soon(listen)
        await anyio.sleep(1)
        await store.append(S, events("a"))
        await anyio.sleep(1)
        await store.append(S, events("b"))
        await anyio.sleep(1)
        assert heard == pytest.approx([2, 2])


# Atomic


async def test_a_refused_batch_leaves_nothing_behind(make: Make) -> None:
    """Appending a batch is atomic: of one in which a single event is refused, none is there."""
    async with make() as store:
        await store.append("other", events("c"))
        with pytest.raises(IdTaken):
            await store.append(S, events("abcd"))
        assert await everything(store) == ("", "c")
        assert (await store.append(S, events("ab"), expected=Expected.NO_STREAM)).version == 2


async def test_a_cancelled_append_is_whole_or_not_there(make: Make) -> None:
    """Cancelled before the commit it leaves nothing; the confirm itself cannot be cut off."""
    async with make() as store:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await store.append(S, events("ab"))
        assert await everything(store) == ("", "")
        assert (await store.append(S, events("ab"), expected=0)).repeated is False


# Expected versions


@everywhere
@pytest.mark.parametrize(
    ("before", "expected", "fits"),
    [
        (0, 0, True),
        (0, 1, False),
        (0, Expected.NO_STREAM, True),
        (0, Expected.EXISTS, False),
        (0, Expected.ANY, True),
        (2, 0, False),
        (2, 1, False),
        (2, 2, True),
        (2, 3, False),
        (2, Expected.NO_STREAM, False),
        (2, Expected.EXISTS, True),
        (2, Expected.ANY, True),
    ],
)
def test_the_stream_must_be_as_expected(
    make: Make, play: Play, before: int, expected: int | Expected, fits: bool
) -> None:
    """Exactly n, no stream, exists and any; a conflict names the actual version and appends nothing."""

    async def scenario() -> None:
        async with make() as store:
            await store.append("other", events("z"))
            if before:
                await store.append(S, events("ab"))
            if fits:
                assert (await store.append(S, events("cd"), expected=expected)).version == before + 2
                return
            with pytest.raises(WrongExpectedVersion) as caught:
                await store.append(S, events("cd"), expected=expected)
            conflict = caught.value
            assert (type(conflict), conflict.stream, conflict.expected) == (WrongExpectedVersion, S, expected)
            assert conflict.actual == before
            assert S in str(conflict)
            assert len(await store.read(S)) == before

    trace = play(scenario)
    refused = [(e.message, e.data["expected"], e.data["actual"]) for e in trace.filter("refused")]
    assert refused == ([] if fits else [("c", expected, before), ("d", expected, before)])


async def test_of_two_writers_with_the_same_expectation_one_is_told_of_the_other(make: Make) -> None:
    """A lost update cannot happen: the second one gets the conflict, and may decide again."""
    outcomes: list[str] = []
    async with make() as store, anyio.create_task_group() as group:

        async def write(letter: str) -> None:
            version = len(await store.read(S))
            await anyio.sleep(1)
            try:
                await store.append(S, events(letter), expected=version)
                outcomes.append("appended")
            except WrongExpectedVersion as conflict:
                outcomes.append(f"actual {conflict.actual}")

        group.start_soon(write, "a")
        group.start_soon(write, "b")
    assert sorted(outcomes) == ["actual 1", "appended"]


# Repeated appends: the matrix of D13


@pytest.mark.parametrize("expected", [2, Expected.ANY, Expected.EXISTS])
async def test_a_repeated_append_is_a_no_op_with_the_answer_of_the_first(
    make: Make, expected: int | Expected
) -> None:
    """The same events at the same place, also when others have been appended since."""
    async with make() as store:
        await store.append(S, events("ab"))
        first = await store.append(S, events("cd"), expected=expected)
        assert not first.repeated
        await store.append("other", events("x"))
        await store.append(S, events("e"))
        assert await store.append(S, events("cd"), expected=expected) == first._replace(repeated=True)
        assert await everything(store) == ("abcde", "abcdxe")
    trace = recorded()
    repeated = [(e.message, e.data["version"]) for e in trace.filter("duplicate", where="events")]
    assert repeated == [("c", 3), ("d", 4)]


async def test_a_repeated_first_append_expects_no_stream_again(make: Make) -> None:
    """A retry of the append that made the stream is no conflict with itself."""
    async with make() as store:
        for expected in (Expected.NO_STREAM, Expected.NO_STREAM, 0):
            appended = await store.append(S, events("ab"), expected=expected)
        assert appended == Appended(2, 2, repeated=True)


async def test_a_part_of_a_batch_may_be_repeated_when_it_is_in_a_row(make: Make) -> None:
    """All the ids are there, at the place that is expected: nothing is new."""
    async with make() as store:
        await store.append(S, events("abc"))
        assert await store.append(S, events("bc"), expected=1) == Appended(3, 3, repeated=True)
        assert await store.append(S, events("b")) == Appended(2, 2, repeated=True)


@pytest.mark.parametrize(
    ("stream", "batch", "expected"),
    [
        (S, "bcX", 1),
        (S, "Xab", Expected.ANY),
        (S, "cX", Expected.ANY),
        (S, "Xa", 3),
        (S, "ba", Expected.ANY),
        (S, "ac", Expected.ANY),
        ("other", "abc", Expected.ANY),
        ("other", "a", Expected.NO_STREAM),
    ],
    ids=["tail is new", "head is new", "tail is new, any", "at the end", "turned", "with a gap", *"ij"],
)
async def test_a_partly_new_batch_and_one_from_elsewhere_are_conflicts(
    make: Make, stream: str, batch: str, expected: int | Expected
) -> None:
    """Events of which some are in the store already, or all but at another place, are refused."""
    async with make() as store:
        await store.append(S, events("abc"))
        with pytest.raises(IdTaken, match="has already") as caught:
            await store.append(stream, events(batch), expected=expected)
        assert caught.value.actual == (3 if stream == S else 0)
        assert "X at version" not in str(caught.value)
        assert await everything(store) == ("abc", "abc")


@pytest.mark.parametrize("expected", [0, 2, 3, 9, Expected.NO_STREAM])
async def test_a_repetition_that_expects_another_place_is_a_conflict(
    make: Make, expected: int | Expected
) -> None:
    """The ids are known, in a row, but not where the writer now expects them: it must not try again."""
    async with make() as store:
        await store.append(S, events("abc"))
        with pytest.raises(IdTaken, match="b at version 2 of order-17") as caught:
            await store.append(S, events("bc"), expected=expected)
        assert caught.value.actual == 3


async def test_exists_does_not_hold_for_a_repetition_of_the_first_event(make: Make) -> None:
    """A writer that expected the stream to exist cannot have made it."""
    async with make() as store:
        await store.append(S, events("ab"))
        with pytest.raises(IdTaken):
            await store.append(S, events("ab"), expected=Expected.EXISTS)


async def test_a_strict_store_refuses_every_repetition(make: Make) -> None:
    """Strict mode: an id is appended once, and a retry is told so."""
    async with make(strict=True) as store:
        await store.append(S, events("ab"), expected=0)
        with pytest.raises(IdTaken) as caught:
            await store.append(S, events("ab"), expected=0)
        assert caught.value.actual == 2
        assert (await store.append(S, events("c"), expected=2)).version == 3


# What no store takes


@pytest.mark.parametrize(
    ("stream", "batch", "expected", "words"),
    [
        ("a\0b", events("a"), 0, "name of a stream"),
        ("\ud800", events("a"), 0, "name of a stream"),
        (S, events("a"), 1.5, "the expected version must be a whole number"),
        (S, events("a"), True, "the expected version must be a whole number"),
        (S, [Message(1, "Sa\0id")], 0, "type of an event"),
        (S, [Message(1, "Said", version=0)], 0, "schema version of an event"),
        ("", events("a"), 0, "name of a stream must be text, not empty"),
        (S, [], 0, "at least one event"),
        (S, events("aa"), 0, "same id"),
        (S, events("a"), -1, "from 0 on"),
        (S, [Message(1)], 0, "needs a type"),
        (S, [Message(1, "Said", key="other")], 0, "is its stream"),
        (S, [Message(1, "Said", deadline=9)], 0, "does not expire"),
    ],
)
async def test_a_batch_that_makes_no_sense_is_refused_in_words(
    make: Make, stream: str, batch: list[Message], expected: Any, words: str
) -> None:
    """The error says what to do, and nothing is appended."""
    async with make() as store:
        with pytest.raises(ValueError, match=words):
            await store.append(stream, batch, expected=expected)
        assert await store.read_all() == []


@pytest.mark.parametrize(
    "bad",
    [
        *({"body": body} for body in ((1, 2), {1: 2}, math.nan, math.inf, {"a": {1}}, "\ud800", b"a")),
        {"headers": {"who": (1, 2)}},
        {"headers": {1: "one"}},
        {"correlation_id": "\ud800"},
        {"created": math.inf},
        {"created": 1.7e18},
    ],
    ids=str,
)
async def test_what_would_come_back_changed_is_refused(make: Make, bad: dict[str, Any]) -> None:
    """In memory as on a disk: what comes out is what went in, or it does not go in."""
    async with make() as store:
        with pytest.raises(TypeError, match="event 'bad'"):
            await store.append(S, [*events("a"), Message(**{"type": "Said", "id": "bad", **bad})])
        assert await store.read_all() == []


async def test_an_empty_text_is_not_the_same_as_none(make: Make) -> None:
    """An envelope comes back as it was."""
    async with make() as store:
        said = Message("", "Said", correlation_id="", causation_id=None, reply_to="", headers={"a": {}})
        await store.append(S, [said])
        (event,) = await store.read(S)
        assert event.message == said.copy(key=S, created=event.message.created)


async def test_a_store_that_is_entered_twice_is_open_until_it_is_left_twice(make: Make) -> None:
    """Two tasks of one program may each use it in a block of their own."""
    async with make() as store:
        async with store:
            await store.append(S, events("a"))
        await store.append(S, events("b"))
        assert await everything(store) == ("ab", "ab")


async def test_reading_before_the_beginning_and_no_events_is_refused(make: Make) -> None:
    """A place below 0 and a limit of 0 are mistakes of the caller."""
    async with make() as store:
        for read in (partial(store.read, S), store.read_all):
            with pytest.raises(ValueError, match="after must be a whole number from 0 on"):
                await read(after=-1)
            with pytest.raises(ValueError, match="limit must be a whole number from 1 on"):
                await read(limit=0)


# The trace


async def test_the_trace_says_who_appended_what_and_where_it_is(make: Make) -> None:
    """Each event is sent and accepted, with its stream, version and position."""
    async with make() as store:
        with acting("shop"):
            await store.append(S, events("ab"))
    trace = recorded()
    assert [(e.kind, e.who, e.message) for e in trace.filter(where="events")][1:] == [
        ("sent", "shop", "a"),
        ("sent", "shop", "b"),
        ("accepted", "shop", "a"),
        ("accepted", "shop", "b"),
    ]
    data = [dict(e.data) for e in trace.filter("accepted")]
    assert data == [{"key": S, "stream": S, "version": n, "position": n} for n in (1, 2)]
    invariants.assert_holds(trace, gap_free_reading)
