"""The stateful aggregator: what belongs together comes out once, in order, and late messages are not lost."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from eip_ref import aggregator
from eip_ref.aggregator import (
    Aggregate,
    Aggregator,
    AggregatorClosed,
    DuplicateSequence,
    NoCorrelation,
    NoSequence,
    RejectedPart,
    TooManyGroups,
    by_size,
)
from eip_ref.lab import simulate
from eip_ref.lab.faults import Crash, Participant
from eip_ref.message import Message
from eip_ref.message_queue import MessageQueue, Worker
from eip_ref.storage import MemoryStore, SQLiteStore
from eip_ref.trace import Trace
from tests.backends import Play, everywhere, on_asyncio, recorded, virtual_time_only
from tests.docstrings import example


def part(number: Any, order: str | None = "order 17", body: Any = None) -> Message:
    headers = {} if number is None else {"sequence": number}
    return Message(body or f"line {number}", correlation_id=order, headers=headers)


class Desk:
    """An aggregator with its two channels, and when what came out of them."""

    def __init__(self, **how: Any) -> None:
        self.out: list[Aggregate] = []
        self.times: list[float] = []
        self.late: list[Message] = []
        self.failing = 0  # how many times `emit` will fail
        self.seconds = 0.0  # how long it takes
        self.aggregator = Aggregator(
            self._emit,
            **{"complete": by_size(3), "timeout": 10.0, "late": self._late, "name": "lines", **how},
        )

    async def _emit(self, aggregate: Aggregate) -> None:
        await anyio.sleep(self.seconds)
        if self.failing:
            self.failing -= 1
            raise ConnectionError("the channel is away")
        self.out.append(aggregate)
        self.times.append(anyio.current_time())

    async def _late(self, message: Message) -> None:
        self.late.append(message)

    async def take(self, *messages: Message) -> None:
        for message in messages:
            await self.aggregator.receive(message)


def played(play: Play, work: Callable[[Desk], Awaitable[Any]], **how: Any) -> Trace:
    """The trace of some work at a desk; its result is the desk."""

    async def scenario() -> Desk:
        desk = Desk(**how)
        async with desk.aggregator:
            await work(desk)
        return desk

    return play(scenario)


def said(desk: Desk) -> list[tuple[str, list[Any], str]]:
    return [(a.key, [m.body for m in a.messages], a.why) for a in desk.out]


# Completion


@everywhere
def test_a_group_comes_out_once_when_it_has_its_size(play: Play) -> None:
    """By size; in the order of the sequence numbers, whatever the order of arrival."""

    async def work(desk: Desk) -> None:
        await desk.take(part(3), part(1, "order 18"), part(1))
        assert desk.out == []
        await desk.take(part(2))
        assert said(desk) == [("order 17", ["line 1", "line 2", "line 3"], "complete")]
        assert desk.out[0].complete
        assert len(desk.aggregator) == 1

    trace = played(play, work)
    assert trace.count("accepted", where="lines") == 4
    assert trace.messages("started", where="lines") == ["order 17", "order 18"]
    assert [e.data["why"] for e in trace.filter("finished", where="lines")] == ["complete", "closed"]


@everywhere
def test_a_group_comes_out_when_a_predicate_says_so(play: Play) -> None:
    """By predicate, over the messages in their order."""

    async def work(desk: Desk) -> None:
        await desk.take(part(2, body="last"), part(0), part(1))
        assert said(desk) == [("order 17", ["line 0", "line 1", "last"], "complete")]

    def whole(messages: Sequence[Message]) -> bool:
        last = messages[-1]
        return bool(last.body == "last" and last.headers["sequence"] == len(messages) - 1)

    played(play, work, complete=whole)


@everywhere
def test_a_group_that_waits_too_long_comes_out_as_it_is(play: Play) -> None:
    """By timeout, counted from its first message; each group has its own."""

    async def work(desk: Desk) -> None:
        begun = anyio.current_time()
        await desk.take(part(2))
        await anyio.sleep(4)
        await desk.take(part(1, "order 18"), part(1))
        await anyio.sleep(20)
        assert said(desk) == [
            ("order 17", ["line 1", "line 2"], "timed out"),
            ("order 18", ["line 1"], "timed out"),
        ]
        assert [t - begun for t in desk.times] == pytest.approx([10, 14])
        assert not desk.out[0].complete

    trace = played(play, work)
    assert trace.messages("timed out") == ["order 17", "order 18"]


@everywhere
def test_a_slow_hand_over_delays_no_other_timeout(play: Play) -> None:
    """Each group ends by itself."""

    async def work(desk: Desk) -> None:
        begun = anyio.current_time()
        desk.seconds = 5
        await desk.take(part(1), part(1, "order 18"))
        await anyio.sleep(20)
        assert [t - begun for t in desk.times] == pytest.approx([15, 15])

    played(play, work)


@everywhere
def test_closing_hands_out_what_is_there(play: Play) -> None:
    """Nothing that was taken is lost when the block is left, and nothing more is taken."""

    async def work(desk: Desk) -> None:
        await desk.take(part(1), part(1, "order 18"))

    desk = played(play, work).result
    assert said(desk) == [("order 17", ["line 1"], "closed"), ("order 18", ["line 1"], "closed")]

    async def afterwards() -> None:
        with pytest.raises(AggregatorClosed):
            await desk.take(part(2))

    trace = play(afterwards)
    assert trace.filter("refused")[0].data["reason"] == "closed"


# Late, duplicate, and what belongs nowhere


@everywhere
def test_a_late_message_goes_to_its_channel(play: Play) -> None:
    """After completion and after a timeout: it neither vanishes nor begins a new group."""

    async def work(desk: Desk) -> None:
        await desk.take(part(1), part(2), part(3), part(4), part(1, "order 18"))
        await anyio.sleep(11)
        await desk.take(part(2, "order 18"))
        assert [(m.correlation_id, m.body) for m in desk.late] == [
            ("order 17", "line 4"),
            ("order 18", "line 2"),
        ]
        assert (len(desk.out), len(desk.aggregator)) == (2, 0)

    trace = played(play, work)
    assert [e.data["reason"] for e in trace.filter("refused")] == ["late", "late"]


@everywhere
@pytest.mark.parametrize(("seconds", "late"), [(9.999, 0), (10.0, 1), (10.001, 1)])
def test_a_message_at_the_very_timeout_is_late(play: Play, seconds: float, late: int) -> None:
    """A group is over at the instant."""

    async def work(desk: Desk) -> None:
        begun = anyio.current_time()
        await desk.take(part(1))
        await anyio.sleep_until(begun + seconds)
        await desk.take(part(2))
        await anyio.sleep(1)
        assert len(desk.late) == late
        assert len(desk.out[0].messages) == 2 - late

    played(play, work)


@everywhere
def test_a_duplicate_sequence_number_is_rejected(play: Play) -> None:
    """The first counts, and the duplicate does not complete the group."""

    async def work(desk: Desk) -> None:
        await desk.take(part(1), part(2))
        with pytest.raises(DuplicateSequence):
            await desk.take(part(2, body="again"))
        assert desk.out == []
        await desk.take(part(3))
        assert said(desk)[0][1] == ["line 1", "line 2", "line 3"]

    trace = played(play, work)
    assert trace.filter("refused")[0].data["reason"] == "duplicate sequence"


@everywhere
@pytest.mark.parametrize(
    ("message", "error"),
    [
        (part(1, None), NoCorrelation),
        (part(1, ""), NoCorrelation),
        (part(None), NoSequence),
        (part("1"), NoSequence),
        (part(True), NoSequence),
    ],
)
def test_a_message_that_belongs_nowhere_is_rejected(
    play: Play, message: Message, error: type[RejectedPart]
) -> None:
    """Missing correlation, and no place in its group: it opens no group."""

    async def work(desk: Desk) -> None:
        with pytest.raises(error):
            await desk.take(message)
        assert len(desk.aggregator) == 0

    trace = played(play, work)
    assert trace.filter("refused")[0].data["reason"] == error.reason


@everywhere
def test_groups_are_bounded(play: Play) -> None:
    """One group too many is rejected; those that are open go on, and their end makes room."""

    async def work(desk: Desk) -> None:
        await desk.take(part(1, "a"), part(1, "b"))
        with pytest.raises(TooManyGroups):
            await desk.take(part(1, "c"))
        await desk.take(part(2, "a"), part(3, "a"), part(1, "c"))
        assert len(desk.aggregator) == 2

    played(play, work, max_groups=2)


@everywhere
def test_the_memory_of_what_is_over_is_bounded(play: Play) -> None:
    """The last so many: an older one's late message begins a group that only time can end."""

    async def work(desk: Desk) -> None:
        await desk.take(*(part(1, order) for order in ("a", "b", "c")))
        await desk.take(part(2, "c"), part(2, "b"))
        assert [m.correlation_id for m in desk.late] == ["c", "b"]
        await desk.take(part(2, "a"))
        assert [a.key for a in desk.out] == ["a", "b", "c", "a"]

    played(play, work, complete=by_size(1), remember=2)


@everywhere
def test_a_group_that_is_over_keeps_no_memory(play: Play) -> None:
    """Neither its messages nor its timeout; only that it was."""

    async def work(desk: Desk) -> None:
        await desk.take(*(part(1, f"order {n}") for n in range(50)))
        await anyio.sleep(0.1)
        assert len(desk.aggregator) == 0
        assert [task for task in anyio.get_running_tasks() if "order" in str(task.name)] == []

    played(play, work, complete=by_size(1))


@everywhere
def test_a_group_shares_nothing_with_the_sender(play: Play) -> None:
    """What the sender changes afterwards changes nothing here."""

    async def work(desk: Desk) -> None:
        lines = ["tea"]
        await desk.take(part(1, body=lines))
        lines.append("coffee")
        await desk.take(part(2), part(3))
        assert desk.out[0].messages[0].body == ["tea"]

    played(play, work)


# When the hand-over fails


@everywhere
@pytest.mark.parametrize("size", [1, 3])
def test_a_failed_hand_over_undoes_the_message_that_led_to_it(play: Play, size: int) -> None:
    """Its sender sees the error and may send it again; the group comes out once."""

    async def work(desk: Desk) -> None:
        *others, last = (part(n) for n in range(1, size + 1))
        await desk.take(*others)
        desk.failing = 1
        with pytest.raises(ConnectionError):
            await desk.take(last)
        assert len(desk.aggregator) == (size > 1)
        await desk.take(last)
        assert [len(a.messages) for a in desk.out] == [size]

    trace = played(play, work, complete=by_size(size))
    assert trace.count("accepted") == size


@everywhere
def test_a_cancelled_hand_over_undoes_it_too(play: Play) -> None:
    """On cancellation undo and re-raise."""

    async def work(desk: Desk) -> None:
        desk.seconds = 1
        await desk.take(part(1), part(2))
        with anyio.move_on_after(0.5) as scope:
            await desk.take(part(3))
        assert scope.cancelled_caught
        await desk.take(part(3))
        assert [len(a.messages) for a in desk.out] == [3]

    played(play, work)


@everywhere
def test_a_message_that_comes_during_the_hand_over_waits_for_it(play: Play) -> None:
    """If it succeeds the message is late; if it fails the message is taken."""

    async def work(desk: Desk) -> None:
        for failing, late in ((0, 1), (1, 0)):
            desk.seconds, desk.failing, desk.late, desk.out = 0.1, failing, [], []
            order = f"failing {failing}"
            await desk.take(part(1, order), part(2, order))

            async def third(order: str = order) -> None:
                with suppress(ConnectionError):
                    await desk.take(part(3, order))

            async with anyio.create_task_group() as group:
                group.start_soon(third)
                await anyio.sleep(0.05)
                await desk.take(part(4, order))
            assert (len(desk.late), len(desk.out)) == (late, 1)

    played(play, work)


@everywhere
def test_a_failed_hand_over_after_a_timeout_ends_the_block(play: Play) -> None:
    """There is no sender to tell, and going on would lose the group in silence."""

    async def work(desk: Desk) -> None:
        desk.failing = 1
        await desk.take(part(1))
        await anyio.sleep(20)

    with pytest.raises(BaseExceptionGroup) as caught:
        played(play, work)
    assert caught.group_contains(ConnectionError)


@everywhere
def test_a_block_that_fails_hands_nothing_out(play: Play) -> None:
    """Its own error comes out as itself, and what was collected is recorded as dropped."""
    desks: list[Desk] = []

    async def work(desk: Desk) -> None:
        desks.append(desk)
        await desk.take(part(1))
        raise LookupError

    with pytest.raises(LookupError):
        played(play, work)
    assert desks[0].out == []


@pytest.mark.parametrize(
    "how", [{"timeout": 0}, {"timeout": float("inf")}, {"max_groups": 0}, {"remember": 0}]
)
def test_what_cannot_work_is_refused_when_it_is_made(how: dict[str, Any]) -> None:
    """Every bound is one: a group without a timeout may wait for ever."""
    with pytest.raises(ValueError):  # noqa: PT011 - each says what to do
        Desk(**how)
    with pytest.raises(ValueError, match="size must be a whole number from 1 on"):
        by_size(0)


# At least once, and what must survive


async def test_the_same_message_again_is_a_duplicate_and_done_with() -> None:
    """At-least-once channels bring it daily: nothing is raised, so whoever received it can ack."""
    desk = Desk()
    async with desk.aggregator:
        first, second = part(1), part(2)
        await desk.take(first, second, first, second, part(3))
    assert said(desk) == [("order 17", ["line 1", "line 2", "line 3"], "complete")]
    assert recorded().messages("duplicate", where="lines") == [first.id, second.id]


@pytest.fixture(params=["without a store", "in memory", "on disk"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Where open groups are kept."""
    if request.param == "without a store":
        yield {}
    else:
        with MemoryStore() if request.param == "in memory" else SQLiteStore(tmp_path / "a.db") as store:
            yield {"store": store}


async def test_a_part_that_comes_again_is_a_duplicate_and_another_in_its_place_is_rejected(
    kept: dict[str, Any],
) -> None:
    """By its id, while the group is open, and when it is over; the channel for late ones hears of neither."""
    desk = Desk(**kept)
    parts = [part(number) for number in (1, 2, 3)]
    async with desk.aggregator:
        await desk.take(*parts[:2], *parts[:2])
        with pytest.raises(DuplicateSequence, match="another message with the number 2"):
            await desk.take(part(2, body="another"))
        await desk.take(parts[2], *parts, part(1, "order 18"))
        await anyio.sleep(11)
        assert desk.late == []
        await desk.take(part(3, body="another"))
    if kept:
        desk.aggregator = Desk(**kept).aggregator
        async with desk.aggregator:
            await desk.take(parts[0])
    assert [message.body for message in desk.late] == ["another"]
    assert said(desk)[0] == ("order 17", ["line 1", "line 2", "line 3"], "complete")
    again = [parts[n].id for n in (0, 1, 0, 1, 2)] + [parts[0].id] * bool(kept)
    assert recorded().messages("duplicate", where="lines") == again
    assert [each.data["reason"] for each in recorded().filter("refused")] == ["duplicate sequence", "late"]


@pytest.mark.parametrize("key", [None, "", 7, "order\0", "half \ud800"], ids=ascii)
async def test_a_message_without_a_correlation_is_rejected_whatever_function_says_so(
    key: Any, kept: dict[str, Any]
) -> None:
    """Else all that have none would come out as one; and what no store can hold is no key of any."""
    desk = Desk(correlation=lambda message: message.headers.get("order", key), **kept)
    async with desk.aggregator:
        with pytest.raises(NoCorrelation, match="correlation"):
            await desk.take(part(1))
        assert len(desk.aggregator) == 0


@pytest.mark.parametrize("number", [None, "1", True, -1, 1.0, math.nan, math.inf])
async def test_a_number_is_a_whole_number_whatever_function_says_so(
    number: Any, kept: dict[str, Any]
) -> None:
    """In memory as on disk."""
    desk = Desk(sequence=lambda message: number, **kept)
    async with desk.aggregator:
        with pytest.raises(NoSequence, match="number"):
            await desk.take(part(1))


@pytest.mark.parametrize("slot", ["complete", "correlation", "sequence"])
def test_a_slot_that_cannot_wait_refuses_an_async_def(slot: str) -> None:
    """Its coroutine would be true, or a key."""

    async def later(message: Any) -> Any: ...

    with pytest.raises(TypeError, match=f"{slot} is called without waiting"):
        Desk(**{slot: later})


@pytest.mark.parametrize("how", ["cancelled", "by an error"])
async def test_what_is_not_handed_out_is_recorded_as_dropped(how: str) -> None:
    """Nothing that was accepted goes without a trace."""
    desk = Desk()
    taken = part(1)
    with anyio.move_on_after(1), suppress(LookupError):
        async with desk.aggregator:
            await desk.take(taken)
            if how == "by an error":
                raise LookupError
            await anyio.sleep_forever()
    (dropped,) = recorded().filter("dropped")
    assert dropped.message == taken.id
    assert "order 17" in dropped.data["reason"]
    assert recorded().messages("cancelled") == ["order 17"]  # which had begun


@pytest.mark.parametrize(("failing", "answers"), [(0, ["done", "done"]), (1, ["failed", "closed"])])
async def test_whoever_is_handing_out_when_it_is_left_hears_what_came_of_that(
    failing: int, answers: list[str]
) -> None:
    """And whoever waits behind that: its message is late, or was not taken."""
    told: list[str] = []
    desk = Desk(complete=by_size(1), store=MemoryStore())
    desk.failing, desk.seconds = failing, 3.0

    async def send(number: int) -> None:
        try:
            await desk.take(part(number))
            told.append("done")
        except ConnectionError:
            told.append("failed")
        except AggregatorClosed:
            told.append("closed")

    async with anyio.create_task_group() as group, desk.aggregator:
        group.start_soon(send, 1)
        await anyio.sleep(1)
        group.start_soon(send, 2)
        await anyio.sleep(1)
    assert told == answers


@on_asyncio
async def test_an_alarm_that_is_a_moment_early_is_a_timeout_all_the_same() -> None:
    """Where a clock ticks coarsely, timers fire up to a tick before their time."""
    asyncio.get_running_loop()._clock_resolution = 0.05  # type: ignore[attr-defined]
    desk = Desk(timeout=0.1)
    async with desk.aggregator:
        await desk.take(part(1))
        while not desk.out:
            await anyio.sleep(0.001)
    assert [aggregate.why for aggregate in desk.out] == ["timed out"]


async def test_with_a_store_open_groups_go_on_after_a_restart(tmp_path: Path) -> None:
    """With their messages, their time, and what is known to be over."""
    start = anyio.current_time()
    with SQLiteStore(tmp_path / "shop.db", clock=lambda: 1000.0) as store:
        before = Desk(store=store)
        async with before.aggregator:
            await before.take(part(1), part(2), part(1, "order 18"), part(1, "order 19"))
            await before.take(part(2, "order 19"), part(3, "order 19"))
        assert said(before) == [("order 19", ["line 1", "line 2", "line 3"], "complete")]
    await anyio.sleep(4)
    with SQLiteStore(tmp_path / "shop.db", clock=lambda: 1006.0) as store:  # it was away for 2 s more
        after = Desk(store=store)
        async with after.aggregator:
            assert len(after.aggregator) == 2
            await after.take(part(3), part(4, "order 19"))
            assert said(after) == [("order 17", ["line 1", "line 2", "line 3"], "complete")]
            assert [message.body for message in after.late] == ["line 4"]
            await anyio.sleep(7)
            assert said(after)[1:] == [("order 18", ["line 1"], "timed out")]
            assert after.times[-1] - start == pytest.approx(8)
    assert recorded().count("dropped") == 0


async def test_an_aggregator_is_entered_once_at_a_time() -> None:
    """Said in words, and the one that is open goes on."""
    desk = Desk(complete=by_size(1))
    async with desk.aggregator:
        with pytest.raises(RuntimeError, match="lines is open already"):
            async with desk.aggregator:
                pass
        await desk.take(part(1))
    assert len(desk.out) == 1


async def _nobody(message: Message) -> None:
    """Nothing is late here."""


@virtual_time_only
async def test_behind_a_worker_a_crash_loses_no_part(tmp_path: Path) -> None:
    """Acked means stored: killed with two parts of three, the next life hands out all three."""
    out: list[list[Any]] = []

    async def life(queue: MessageQueue) -> None:
        async def emit(aggregate: Aggregate) -> None:
            out.append([message.body for message in aggregate.messages])

        with SQLiteStore(tmp_path / "shop.db") as store:
            async with Aggregator(
                emit, complete=by_size(3), timeout=100, late=_nobody, store=store, name="lines"
            ) as lines:
                await Worker(queue, lines.receive).run()

    async with MessageQueue("parts", lease=5) as queue, anyio.create_task_group() as group:
        assembler = Participant("assembler", lambda: life(queue), crashes=(Crash(at=3, restart_after=1),))
        group.start_soon(assembler.run)
        for number in (1, 2):
            await queue.put(part(number))
        await anyio.sleep(6)
        await queue.put(part(3))
        await anyio.sleep(10)
        group.cancel_scope.cancel()
    assert out == [["line 1", "line 2", "line 3"]]


# The example


def test_the_example_in_the_docstring_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """One group is complete, one times out, and its last part comes too late."""
    names = {**vars(aggregator), "Message": Message}
    exec(example(aggregator), names)
    simulate(names["two_orders"])
    assert capsys.readouterr().out.splitlines() == [
        "0 s  order 17 is complete: tea, cups",
        "5 s  order 18 is timed out: milk",
        "6 s  sugar came too late",
    ]
