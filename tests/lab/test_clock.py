"""Virtual time: it jumps, it is exact, it repeats, and it never hangs."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from eip_ref.lab.clock import Deadlock, Runaway, current_seed, in_simulation, simulate
from eip_ref.trace import Kind, TraceTooLong, record


def test_an_hour_passes_at_once_and_exactly() -> None:
    """The clock jumps to the very time of the next timer."""

    async def hour() -> float:
        for _ in range(36_000):
            await anyio.sleep(0.1)
        start = anyio.current_time()
        await anyio.sleep_until(start + 0.3)
        assert anyio.current_time() == start + 0.3
        return start

    assert simulate(hour).result == pytest.approx(3600)


def test_a_deadline_is_met_to_the_last_bit() -> None:
    """Sums of floats do not blur an instant: who waits until a deadline wakes exactly at it."""
    woken: list[float] = []
    deadlines = [step * 0.1 for step in range(1, 200)]

    async def sleeper(deadline: float) -> None:
        with anyio.CancelScope(deadline=deadline):
            await anyio.sleep_forever()
        woken.append(anyio.current_time())

    async def scenario() -> None:
        async with anyio.create_task_group() as group:
            for deadline in deadlines:
                group.start_soon(sleeper, deadline)
                group.start_soon(anyio.sleep, deadline / 3)

    simulate(scenario)
    assert woken == deadlines


def test_a_deadlock_is_an_error_that_names_who_waits() -> None:
    """Where asyncio would hang, every waiting task is named with its place."""

    async def wait_for_nothing() -> None:
        await anyio.Event().wait()

    async def scenario() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(wait_for_nothing, name="billing")
            record(Kind.NOTE, "here", text="before")

    with pytest.raises(Deadlock, match=r"billing waits in .*wait_for_nothing, line \d+") as caught:
        simulate(scenario)
    assert [event.kind for event in caught.value.trace] == ["note"]  # type: ignore[attr-defined]


def test_to_sleep_for_ever_is_a_deadlock_too() -> None:
    """A timer that never comes wakes nobody."""

    async def scenario() -> None:
        with anyio.move_on_after(5):
            await anyio.sleep_forever()
        await anyio.sleep_forever()

    with pytest.raises(Deadlock, match="at 5 s"):
        simulate(scenario)


def test_a_loop_without_a_sleep_is_stopped() -> None:
    """The bound on turns of the loop is an error, not a hang."""

    async def spin() -> None:
        while True:
            await anyio.sleep(0)

    with pytest.raises(Runaway, match="more than 500 turns"):
        simulate(spin, max_events=500)


def test_a_loop_that_records_without_end_is_stopped_and_says_who_waits() -> None:
    """The bound on recorded events names the waiting tasks too."""

    async def shout() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 10, name="billing")
            await anyio.sleep(1)
            while True:
                record(Kind.NOTE, "here")

    def too_long(error: BaseException) -> bool:
        return (
            isinstance(error, TraceTooLong) and "billing waits" in str(error) and "500 events" in str(error)
        )

    with pytest.raises(ExceptionGroup) as caught:
        simulate(shout, max_events=500)
    assert caught.group_contains(TraceTooLong)
    assert caught.value.subgroup(too_long)


def test_a_cancellation_does_not_outlive_its_scope() -> None:
    """Who has left a cancelled scope goes on, whatever woke him before the cancellation came."""

    async def cancelled_while_ready() -> str:
        async def set_and_cancel() -> None:
            news.set()
            scope.cancel()

        news = anyio.Event()
        async with anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                group.start_soon(set_and_cancel)
                await news.wait()
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
        return "fine"

    async def cancelled_beforehand() -> str:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        return "fine"

    for scenario in (cancelled_while_ready, cancelled_beforehand):
        assert simulate(scenario).result == anyio.run(scenario) == "fine"


@pytest.mark.parametrize("error", [BaseException, Exception])
def test_a_task_that_refuses_every_cancellation_cannot_hang_the_simulation(error: type) -> None:
    """It is a Runaway, also when the code that catches all goes on after the loop has ended."""

    async def stubborn() -> None:
        while True:
            with suppress(error):
                await anyio.lowlevel.checkpoint()

    async def scenario() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(stubborn)
            await anyio.sleep(1)
            group.cancel_scope.cancel()

    with pytest.raises(Runaway):
        simulate(scenario, max_events=500)


def test_virtual_time_has_a_bound() -> None:
    """A scenario that would run for ever in virtual time is stopped at the bound."""
    with pytest.raises(Runaway, match="bound of 10 s"):
        simulate(anyio.sleep, 11, max_time=10)
    simulate(anyio.sleep, 10, max_time=10)


def test_an_exception_comes_out_as_itself_with_the_trace_so_far() -> None:
    """No wrapping: the scenario's own exception, and what had happened before it."""

    async def scenario() -> None:
        record(Kind.NOTE, "here", text="before")
        raise KeyError("stock")

    with pytest.raises(KeyError, match="stock") as caught:
        simulate(scenario)
    assert len(caught.value.trace) == 1  # type: ignore[attr-defined]


def test_it_works_inside_a_running_loop_and_inside_itself() -> None:
    """A notebook cell runs in a loop already; so does a simulation."""

    async def inner() -> float:
        await anyio.sleep(5)
        return anyio.current_time()

    async def outer() -> tuple[float, float]:
        await anyio.sleep(1)
        return simulate(inner).result, anyio.current_time()

    assert simulate(outer).result == (5, 1)
    assert anyio.run(outer)[0] == 5
    assert threading.active_count() == 1 or not any(t.name == "simulation" for t in threading.enumerate())


def test_the_seed_is_known_inside_only() -> None:
    """current_seed() is the simulation's, and None outside."""

    async def scenario() -> tuple[int | None, bool]:
        return current_seed(), in_simulation()

    assert simulate(scenario, seed=42).result == (42, True)
    assert (current_seed(), in_simulation()) == (None, False)


SCRIPT = """
import anyio
from eip_ref.lab import faults
from eip_ref.lab.clock import simulate
from eip_ref.message import Message
from eip_ref.message_queue import MessageQueue, Worker
from eip_ref.trace import acting, record

async def scenario():
    chance = faults.Faults()
    async def handle(message):
        try:
            await chance.sleep("work", faults.Exponential(2.0))
        finally:
            record("note", message.key)
    async with MessageQueue("orders", lease=3) as queue, anyio.create_task_group() as group:
        for n in range(20):
            with acting(f"worker-{n}"):
                group.start_soon(Worker(queue, handle, prefetch=2).run)
        slow = faults.Uniform(0, 1)
        async with chance.link("net", queue.put, latency=slow, loss=0.1, duplication=0.2) as net:
            for n in range(200):
                await net.send(Message(n, key=f"key {n % 7}"))
                await chance.sleep("shop", 0.1)
        group.cancel_scope.cancel()

print(simulate(scenario, seed=3).to_json())
"""


def test_the_trace_is_the_same_in_every_process(tmp_path: Path) -> None:
    """Neither hash seeds nor memory addresses reach a trace, not even where many tasks are cancelled."""
    script = tmp_path / "scenario.py"
    script.write_text(SCRIPT)
    traces = {
        subprocess.run(
            [sys.executable, *flags, str(script)], env=env, check=True, capture_output=True, text=True
        ).stdout
        for flags, env in (
            ([], {"PYTHONHASHSEED": "1"}),
            (["-X", "importtime"], {"PYTHONHASHSEED": "2"}),
            (["-X", "dev", "-W", "ignore"], {"PYTHONHASHSEED": "3", "PYTHONMALLOC": "malloc"}),
        )
    }
    assert len(traces) == 1
    assert len(traces.pop()) > 10_000
