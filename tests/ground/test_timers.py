"""Timers: none is late, and those that became pointless take no room for long."""

from __future__ import annotations

import anyio

from eip_ref.timers import Timers


def test_timers_are_due_in_order_at_their_very_instant() -> None:
    """What is due by now, earliest first, and nothing twice."""
    timers = Timers[float](lambda when, key: True)
    for when in (3.0, 1.0, 2.0):
        timers.set(when, when)
    assert list(timers.due(2.0)) == [1.0, 2.0]
    assert list(timers.due(2.0)) == []


def test_of_timers_that_are_due_together_the_first_set_comes_first() -> None:
    """Their keys are never compared."""
    timers = Timers[object](lambda when, key: True)
    keys = [object(), object(), object()]
    for key in keys:
        timers.set(1.0, key)
    assert list(timers.due(1.0)) == keys


def test_pointless_timers_are_thrown_out_and_live_ones_kept() -> None:
    """The memory follows the open leases, not all leases that ever were."""
    live = {0, 5_000}
    timers = Timers[int](lambda when, key: key in live)
    for key in range(10_000):
        timers.set(float(key), key)
    assert len(timers) < 200
    assert set(timers.due(10_000.0)) == live


async def test_whoever_waits_is_woken_by_an_earlier_timer() -> None:
    """And by a later one only in its time."""
    timers = Timers[str](lambda when, key: True)
    start = anyio.current_time()
    timers.set(start + 100, "late")

    async def earlier() -> None:
        await anyio.sleep(10)
        timers.set(start + 50, "early")
        timers.set(start + 70, "between")

    async with anyio.create_task_group() as group:
        group.start_soon(earlier)
        await timers.wait()
        woken = [anyio.current_time() - start]
        await timers.wait()
        woken.append(anyio.current_time() - start)
    assert woken == [10, 50]
