"""The log in memory: offsets, what is kept, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import anyio
import pytest

from eip_ref.lab.invariants import assert_holds, conservation
from eip_ref.lab.invariants.demand import depth_never_exceeded
from eip_ref.message import Message
from eip_ref.storage import MemoryLog, OffsetGone
from tests.backends import recorded


async def filled(count: int, capacity: int | None = None) -> MemoryLog:
    log = MemoryLog("orders", capacity=capacity)
    for number in range(count):
        assert await log.append(Message(number)) == number
    return log


async def test_messages_are_read_at_their_offsets_in_order() -> None:
    """Reading takes nothing away."""
    log = await filled(3)
    for _ in range(2):
        assert [(each.offset, each.message.body) for each in await log.read(1)] == [(1, 1), (2, 2)]
    assert [each.offset for each in await log.read(0, limit=2)] == [0, 1]
    assert await log.read(3) == []
    assert (log.first, log.end, len(log)) == (0, 3, 3)


async def test_a_record_says_when_it_was_appended() -> None:
    """In seconds on anyio's clock."""
    log, now = MemoryLog("orders"), anyio.current_time()
    await anyio.sleep(5)
    await log.append(Message("tea"))
    assert (await log.read(0))[0].at == pytest.approx(now + 5)


async def test_beyond_the_capacity_the_oldest_is_evicted_and_whoever_asks_for_it_is_told() -> None:
    """Never a silent gap: the error names the oldest offset that is kept."""
    log = await filled(10, capacity=3)
    assert (log.first, log.end, len(log)) == (7, 10, 3)
    assert [each.message.body for each in await log.read(7)] == [7, 8, 9]
    with pytest.raises(OffsetGone, match="keeps no messages before offset 7; 6 was asked for") as gone:
        await log.read(6)
    assert gone.value.first == 7
    trace = recorded()
    assert trace.filter("opened")[0].data == {"role": "channel", "capacity": 3}
    assert trace.count("sent") == 10
    assert [event.data["offset"] for event in trace.filter("accepted")] == list(range(10))
    gone_ones = [(event.data["reason"], event.data["offset"]) for event in trace.filter("dropped")]
    assert gone_ones == [("retention", offset) for offset in range(7)]
    assert_holds(trace, conservation, depth_never_exceeded)


@pytest.mark.parametrize(("offset", "limit"), [(3, 100), (-1, 100), (0.5, 100), (0, 0), (0, 1.5)])
async def test_what_cannot_be_read_is_refused(offset: Any, limit: Any) -> None:
    """An offset that nobody has been given yet, or a limit that is none."""
    log = await filled(2)
    with pytest.raises((ValueError, OffsetGone)):
        await log.read(offset, limit=limit)


async def test_nobody_shares_a_message_with_the_log() -> None:
    """Neither the one who appends nor any who read."""
    log, lines = MemoryLog("orders"), ["bread"]
    await log.append(Message(lines))
    lines.append("milk")
    (await log.read(0))[0].message.body.append("tea")
    assert (await log.read(0))[0].message.body == ["bread"]


@pytest.mark.parametrize("wrong", [(1, 2), {1: "one"}, math.nan, b"tea"])
async def test_what_a_file_would_refuse_is_refused_in_memory_too(wrong: Any) -> None:
    """Before anything is kept."""
    log = MemoryLog("orders")
    with pytest.raises(TypeError, match="cannot be written as JSON"):
        await log.append(Message(wrong))
    assert log.end == 0


async def test_whoever_waits_for_an_offset_is_woken_when_it_is_there() -> None:
    """And not before."""
    log, woken = MemoryLog("orders"), list[int]()

    async def wait() -> None:
        await log.wait(1)
        woken.append(log.end)

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        for number in range(3):
            await anyio.sleep(1)
            await log.append(Message(number))
    await log.wait(0)
    await log.wait(2)
    assert woken == [2]


@pytest.mark.parametrize("wrong", [-1, 0.5, math.nan])
async def test_nobody_waits_for_what_is_no_offset(wrong: Any) -> None:
    """It would never be there, or was there always."""
    with pytest.raises(ValueError, match="offset must be a whole number from 0 on"):
        await (await filled(2)).wait(wrong)


async def test_what_is_cancelled_before_it_began_is_not_kept() -> None:
    """A call that is cancelled at its first instant has certainly not happened."""
    log = MemoryLog("orders")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await log.append(Message("tea"))
    assert log.end == 0


@pytest.mark.parametrize("capacity", [0, -1, 2.5, math.nan])
def test_a_log_that_keeps_nothing_cannot_be_made(capacity: Any) -> None:
    """Its capacity is a whole number from 1 on, or None for all."""
    with pytest.raises(ValueError, match="capacity must be a whole number from 1 on"):
        MemoryLog("orders", capacity=capacity)
