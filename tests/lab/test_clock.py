"""Virtual time: it jumps, it is exact, it repeats, and it never hangs."""

from __future__ import annotations

import asyncio
import gc
import math
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from types import SimpleNamespace

import anyio
import anyio.lowlevel
import pytest

from eip_ref.lab.clock import Deadlock, Runaway, current_seed, in_simulation, simulate
from eip_ref.lab.faults import Crash, Participant
from eip_ref.point_to_point import PointToPointChannel
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


def test_no_time_jumps_to_a_timer_that_was_cancelled() -> None:
    """Not even where another one is due a billionth of a second later."""

    async def scenario() -> float:
        asyncio.get_running_loop().call_at(math.nextafter(1.0, 0.0), int).cancel()
        await anyio.sleep_until(1.0)
        return anyio.current_time()

    assert simulate(scenario).result == 1.0


@pytest.mark.parametrize("cancelled", [0, 1, 50, 500])
def test_who_began_to_wait_first_goes_on_first(cancelled: int) -> None:
    """Of those that are due at one instant, however its time came out of sums, and who else was cancelled."""
    woken: list[int] = []

    async def sleep(number: int, until: float) -> None:
        await anyio.sleep_until(until)
        woken.append(number)

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with anyio.create_task_group() as group:
            for number in range(30):
                group.start_soon(sleep, number, math.nextafter(1.0, number % 3))
                for place in range(cancelled):
                    loop.call_at(0.5 + place / cancelled, int).cancel()

    simulate(scenario)
    assert woken == [*range(30)]


def test_a_machine_whose_clock_is_coarse_has_the_same_virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows counts its own in steps of 16 ms, and asyncio lets what is due within a step begin at once."""
    coarse = SimpleNamespace(resolution=1 / 64)
    monkeypatch.setattr(time, "get_clock_info", lambda _: coarse)

    async def scenario() -> list[float]:
        woken: list[float] = []

        async def sleep(seconds: float) -> None:
            await anyio.sleep(seconds)
            woken.append(anyio.current_time())

        async with anyio.create_task_group() as group:
            for seconds in (0.010, 0.015, 0.020):
                group.start_soon(sleep, seconds)
        return woken

    assert simulate(scenario).result == [0.010, 0.015, 0.020]


def test_a_deadlock_is_an_error_that_names_who_waits() -> None:
    """Every waiting task is named with its place, at an instant at which asyncio would hang."""

    async def wait_for_nothing() -> None:
        await anyio.Event().wait()

    async def scenario() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(wait_for_nothing, name="billing")
            record(Kind.NOTE, "here", text="before")

    with pytest.raises(Deadlock, match=r"billing waits in .*wait_for_nothing, line \d+") as caught:
        simulate(scenario)
    assert [event.kind for event in caught.value.trace] == ["note"]  # type: ignore[attr-defined]


def test_a_deadlock_names_what_the_scenario_called_and_nothing_inside_it() -> None:
    """A reader of the scenario knows `receive`, and not how it waits."""

    async def nobody_sends() -> None:
        with PointToPointChannel("invoices").receiver() as inbox:
            await inbox.receive()

    with pytest.raises(Deadlock, match=r"nobody_sends, line \d+, for ReceivingEnd.receive$"):
        simulate(nobody_sends)


def test_to_sleep_for_ever_is_a_deadlock_too() -> None:
    """A timer that never comes wakes nobody."""

    async def scenario() -> None:
        with anyio.move_on_after(5):
            await anyio.sleep_forever()
        await anyio.sleep_forever()

    with pytest.raises(Deadlock, match="at 5 s"):
        simulate(scenario)


@pytest.mark.parametrize(
    "wait",
    [
        lambda: anyio.run_process("true"),
        lambda: anyio.connect_tcp("localhost", 80),
        lambda: asyncio.open_connection("127.0.0.1", 80),
        lambda: asyncio.to_thread(int),
    ],
    ids=["process", "host", "address", "thread"],
)
def test_to_wait_for_anything_outside_is_a_deadlock(wait: Callable[[], Awaitable[object]]) -> None:
    """Nothing is begun, and the error says what there is to wait for."""
    with pytest.raises(Deadlock, match="nothing but tasks and timers can wake a task"):
        simulate(wait)


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
    """A task that has left a cancelled scope goes on, whatever woke it before the cancellation came."""

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


async def five_seconds() -> float:
    await anyio.sleep(5)
    return anyio.current_time()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_it_works_inside_a_running_loop(backend: str) -> None:
    """As in a notebook cell: whatever runs already runs on afterwards, with its task and its time."""

    async def outer() -> object:
        await anyio.sleep(0.01)
        task, before = anyio.get_current_task(), anyio.current_time()
        inner = simulate(five_seconds).result
        assert anyio.get_current_task() == task
        assert anyio.current_time() - before < 5
        await anyio.sleep(0.01)
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 0.01)
        return inner

    assert anyio.run(outer, backend=backend) == 5


def test_it_works_inside_itself() -> None:
    """Each simulation has its own time and its own tasks."""

    async def outer() -> tuple[float, float]:
        await anyio.sleep(1)
        return simulate(five_seconds).result, anyio.current_time()

    assert simulate(outer).result == (5, 1)


def test_what_fails_inside_leaves_the_outer_loop_as_it_was() -> None:
    """An error comes out of the inner simulation into a task that goes on."""

    async def forever() -> None:
        await anyio.sleep_forever()

    async def outer() -> float:
        task = asyncio.current_task()
        with pytest.raises(Deadlock, match=r"the scenario waits in .*forever"):
            simulate(forever)
        assert asyncio.current_task() is task
        await anyio.sleep(1)
        return anyio.current_time()

    assert simulate(outer).result == 1


def test_it_needs_no_thread_and_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs where there are none, as in a browser."""

    def none_here(*args: object) -> None:
        raise OSError

    async def scenario() -> threading.Thread:
        await anyio.sleep(1)
        return threading.current_thread()

    monkeypatch.setattr(threading.Thread, "start", none_here)
    monkeypatch.setattr(socket, "socketpair", none_here)
    assert simulate(scenario).result is threading.current_thread()


def test_the_callers_context_is_seen_and_not_changed() -> None:
    """A context variable has its value inside, and keeps it outside whatever the scenario sets."""
    customer: ContextVar[str] = ContextVar("customer", default="nobody")

    async def scenario() -> str:
        before = customer.get()
        customer.set("Ben")
        return before

    customer.set("Ann")
    assert simulate(scenario).result == "Ann"
    assert customer.get() == "Ann"


def test_a_simulation_in_a_life_is_no_part_of_it() -> None:
    """The steps of a participant are its own, not those of what it simulates."""

    async def main(*simulations: Callable[[], object]) -> None:
        await anyio.sleep(1)
        for each in simulations:
            each()

    async def steps(*simulations: Callable[[], object]) -> int:
        participant = Participant("worker", main, simulations)
        await participant.run()
        return participant.steps

    assert simulate(steps, lambda: simulate(five_seconds)).result == simulate(steps).result


async def ticks(ctrl_c_at: int) -> None:
    for n in range(10):
        await anyio.sleep(1)
        record(Kind.NOTE, "clock", text=str(n))
        if n == ctrl_c_at:
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_ends_it_with_the_trace_so_far() -> None:
    """Between two turns: tasks cannot catch it, and clean up."""

    async def scenario() -> None:
        async with anyio.create_task_group() as group:
            try:
                with suppress(KeyboardInterrupt):
                    group.start_soon(anyio.sleep, 100)
                    await ticks(ctrl_c_at=3)
            finally:
                record(Kind.NOTE, "clean-up")

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt) as caught:
        simulate(scenario)
    assert [e.where for e in caught.value.trace] == ["clock"] * 4 + ["clean-up"]  # type: ignore[attr-defined]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_ends_what_never_awaits() -> None:
    """A loop that lets nobody else run can be left too."""

    async def scenario() -> None:
        for turn in range(10):
            record(Kind.NOTE, "busy", text=str(turn))
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        simulate(scenario)
    assert len(caught.value.trace) == 2  # type: ignore[attr-defined]


def test_ctrl_c_after_the_last_turn_is_not_lost() -> None:
    """It is raised when the scenario is over already."""

    async def scenario() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(lambda task: signal.raise_signal(signal.SIGINT))

    with pytest.raises(KeyboardInterrupt):
        simulate(scenario)


def test_ctrl_c_ends_all_simulations_around() -> None:
    """The inner one and the outer one, each with its own trace, even where the first is caught."""

    async def outer() -> None:
        record(Kind.NOTE, "outer")
        with pytest.raises(KeyboardInterrupt) as caught:
            simulate(ticks, 1)
        inner.append(len(caught.value.trace))  # type: ignore[attr-defined]
        await anyio.sleep(1)
        record(Kind.NOTE, "outer")

    inner: list[int] = []
    with pytest.raises(KeyboardInterrupt) as caught:
        simulate(outer)
    assert inner == [2]
    assert len(caught.value.trace) == 1  # type: ignore[attr-defined]


def test_ctrl_c_that_is_to_be_ignored_is_ignored() -> None:
    """As in a worker of a class that is graded: whoever started it decides when it ends."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        trace = simulate(ticks, 1)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(trace) == 10


def test_it_runs_in_a_thread_too() -> None:
    """Ctrl-C goes to the main thread, so a simulation elsewhere has nothing to do with it."""
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(simulate, five_seconds).result().result == 5


def test_a_task_that_is_left_behind_is_cancelled() -> None:
    """It ends with the simulation, and cleans up, as with asyncio.run."""
    ended = []

    async def stray() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            await asyncio.sleep(1)
            ended.append(anyio.current_time())

    async def scenario() -> object:
        task = asyncio.create_task(stray())
        await anyio.sleep(1)
        return task

    simulate(scenario)
    assert ended == [2]


def test_a_generator_that_is_left_half_way_is_closed() -> None:
    """Its clean-up may await, as with asyncio.run."""
    ended = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await anyio.sleep(1)
            ended.append(anyio.current_time())

    async def scenario() -> object:
        generator = numbers()
        await anext(generator)
        return generator

    simulate(scenario)
    assert ended == [1]


def test_a_task_started_too_late_to_be_cancelled_is_named() -> None:
    """In real time it spins until its starter is back; here no time passes, and the error says what to do."""

    async def take(semaphore: anyio.Semaphore) -> None:
        async with semaphore:
            pass

    async def scenario() -> None:
        async with anyio.create_task_group() as group:
            group.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.1)
                group.start_soon(take, anyio.Semaphore(1), name="late")
                await anyio.sleep(0.6)

    with pytest.raises(Runaway, match=r"late was started by a shielded task .* group inside the shield"):
        simulate(scenario, max_events=500)


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


@pytest.fixture
def threshold() -> Iterator[Callable[[int], None]]:
    """Sets the number of new objects after which the collector looks at them, until the test is over."""
    before, *older = gc.get_threshold()
    yield lambda number: gc.set_threshold(number, *older)
    gc.set_threshold(before, *older)


@pytest.mark.parametrize(("outside", "inside"), [(700, 10_000), (50_000, 50_000), (0, 0)])
def test_a_run_is_seldom_collected(threshold: Callable[[int], None], outside: int, inside: int) -> None:
    """It keeps many facts and makes few cycles. Afterwards, and where an error ends it, all is as before."""
    seen = []

    async def looks_and_fails() -> None:
        seen.append(gc.get_threshold()[0])
        raise LookupError

    threshold(outside)
    with pytest.raises(LookupError):
        simulate(looks_and_fails)
    assert (seen, gc.get_threshold()[0]) == ([inside], outside)


def test_the_dead_of_a_simulation_leave_no_task_in_the_list_of_asyncio() -> None:
    """All tasks of a number have one hash there, so those of 100 crashes would slow down what comes later."""

    async def work() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 2)
            await anyio.sleep(2)

    names = vars(asyncio.tasks)
    listed: Sized = names.get("_all_tasks", names.get("_scheduled_tasks", ()))
    before = len(listed)
    simulate(Participant("worker", work, crashes=(Crash(at=1.0, restart_after=1.0),)).run)
    assert len(listed) == before
