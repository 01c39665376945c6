"""Virtual time: `simulate()` runs anyio code with a clock that jumps instead of waiting.

The clock is an asyncio loop whose selector, asked to wait for the next timer, moves the time there
at once. All else is asyncio's own: tasks that are ready run first in, first out. So an hour takes
milliseconds, and the same scenario and seed give the same trace in every process.

*Left out:* threads, sockets, subprocesses and signals. Nothing but tasks and timers can wake a
task here, so waiting for anything else is a `Deadlock`.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import selectors
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextvars import ContextVar
from types import FrameType
from typing import Any

import anyio

from ..signal import alone
from ..trace import Trace, recording
from .crash import Life, abandoned, bury, frames

__all__ = ["Deadlock", "Runaway", "current_seed", "in_simulation", "simulate"]

_seed: ContextVar[int | None] = ContextVar("seed", default=None)


class Deadlock(RuntimeError):
    """Every task waits and no timer is set: nothing can ever happen again."""


class Runaway(RuntimeError):
    """The scenario went past its bound on events or on virtual time."""


def current_seed() -> int | None:
    """The seed of the simulation that runs here, or None outside one."""
    return _seed.get()


def in_simulation() -> bool:
    """Whether this code runs under virtual time."""
    return _seed.get() is not None


_NOT_THE_SCENARIO = ("anyio.", "asyncio.", "eip_ref.")


class _Task(asyncio.Task[Any]):
    """A task whose hash is counted: a set of tasks has the same order in every process."""

    def __init__(self, coro: Coroutine[Any, Any, Any], *, number: int, **rest: Any) -> None:
        self.number = number
        super().__init__(coro, **rest)

    def __hash__(self) -> int:
        return self.number

    def cancel(self, msg: Any | None = None) -> bool:
        # anyio keeps nested cancel scopes in a set that has no order of its own, so tasks that wait and
        # are cancelled together are woken in the order in which they were made. It always says why;
        # asyncio, when it closes the loop, does not.
        if msg is None or not self._waits():
            return super().cancel(msg)
        self.get_loop().cancel_in_order(self, msg)  # type: ignore[attr-defined]
        return True

    def cancel_now(self, msg: Any) -> None:
        # Like anyio, leave alone a task whose wait is over: it has its result, and anyio asks again.
        if self._waits():
            super().cancel(msg)

    def _waits(self) -> bool:
        waiter = getattr(self, "_fut_waiter", None)
        return isinstance(waiter, asyncio.Future) and not waiter.done()


class _JumpingSelector(selectors.BaseSelector):
    """Never waits for files: it moves `now` to the next timer and says that nothing happened."""

    def __init__(self, max_events: int, max_time: float) -> None:
        self.now = 0.0
        self.due: list[float] = []  # when each timer is due, cancelled ones included
        self.stop: BaseException | None = None
        self._left = self._max_events = max_events
        self._max_time = max_time
        self._files: dict[int, selectors.SelectorKey] = {}

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.stop is not None:
            stop, self.stop = self.stop, None
            raise stop
        while self.due and self.due[0] <= self.now:
            heapq.heappop(self.due)
        if timeout is None or (timeout > 0 and self.due and self.due[0] == math.inf):
            raise Deadlock(f"at {self.now:g} s every task waits and no timer is set.\n{_waiting()}")
        self._left -= 1
        if self._left < 0:
            self._left = self._max_events  # for the tasks that now clean up
            raise Runaway(
                f"more than {self._max_events:,} turns of the loop by {self.now:g} s of virtual time; "
                f"is there a loop without a sleep, or without an end?\n{_waiting()}"
            )
        if timeout > 0:
            self._jump(self.now + timeout)
        return []

    def _jump(self, then: float) -> None:
        # asyncio asks for a difference; adding it back may miss the timer by a rounding error.
        # The timers' own times are exact, so take the one that was meant.
        while self.due and self.due[0] < then - 1e-9:
            heapq.heappop(self.due)
        if self.due and self.due[0] <= then + 1e-9:
            then = self.due[0]
        if then > self._max_time:
            raise Runaway(
                f"virtual time would pass its bound of {self._max_time:g} s; "
                f"end the scenario, or allow more with max_time.\n{_waiting()}"
            )
        self.now = then

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        number = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        key = self._files[number] = selectors.SelectorKey(fileobj, number, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._files.pop(fileobj if isinstance(fileobj, int) else fileobj.fileno())

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._files

    def close(self) -> None:
        self._files.clear()


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, selector: _JumpingSelector) -> None:
        self._virtual = selector
        self._numbers = itertools.count(1)
        self._to_cancel: dict[_Task, Any] = {}
        super().__init__(selector)
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        return self._virtual.now

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        heapq.heappush(self._virtual.due, when)
        return super().call_at(when, callback, *args, context=context)

    async def shutdown_asyncgens(self) -> None:
        # Closing the generators of a crashed participant would run code of the dead.
        if not abandoned.get():
            await super().shutdown_asyncgens()

    def cancel_in_order(self, task: _Task, msg: Any) -> None:
        if not self._to_cancel:
            self.call_soon(self._cancel_all)
        self._to_cancel[task] = msg

    def _cancel_all(self) -> None:
        to_cancel, self._to_cancel = self._to_cancel, {}
        for task in sorted(to_cancel, key=hash):
            task.cancel_now(to_cancel[task])

    def _make_task(self, loop: Any, coro: Any, **rest: Any) -> asyncio.Task[Any]:
        life = Life.current(rest.get("context"))
        task = _Task(life.guard(coro) if life else coro, loop=loop, number=next(self._numbers), **rest)
        if life:
            life.adopt(task, coro)
        return task


def simulate(
    scenario: Callable[..., Awaitable[Any]],
    *args: Any,
    seed: int = 0,
    max_events: int = 1_000_000,
    max_time: float = 7 * 24 * 3600.0,
) -> Trace:
    """Run `await scenario(*args)` in virtual time and return its trace.

    Works alike in a script, a test and a notebook cell, since the loop runs in a thread of its own.
    `seed` is what `Faults()` inside the scenario draws from. What the scenario returns is the
    trace's `result`.

    Raises `Deadlock` when every task waits for ever, and `Runaway` past `max_events` (turns of the
    loop, or recorded events) or `max_time` (virtual seconds). An exception of the scenario comes
    out as itself. Each carries the trace so far in its attribute `trace`.
    """
    selector = _JumpingSelector(max_events, max_time)
    outcome: dict[str, Any] = {}

    async def main() -> None:
        asyncio.current_task().set_name("the scenario")  # type: ignore[union-attr]
        outcome["result"] = await scenario(*args)

    def run() -> None:
        _seed.set(seed)
        alone.set(True)
        abandoned.set([])
        loop = _VirtualLoop(selector)
        with recording(lambda: selector.now, limit=max_events, explain=_waiting) as recorder:
            try:
                anyio.run(main, backend_options={"loop_factory": lambda: loop})
            except BaseException as error:
                outcome["error"] = error
        outcome["events"] = tuple(recorder.events)
        refused = [task for task in asyncio.all_tasks(loop) if not task.done()]  # to be cancelled
        bury([*abandoned.get(), *(task.get_coro() for task in refused)])

    thread = threading.Thread(target=run, name="simulation")
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt as interrupt:
        selector.stop = interrupt
        thread.join()
    trace = Trace(outcome["events"], seed=seed, result=outcome.get("result"))
    if "error" in outcome:
        error: BaseException = outcome["error"]
        error.trace = trace  # type: ignore[attr-defined]
        raise error
    return trace


def _waiting() -> str:
    """The tasks that wait, each with the line of the scenario at which it does."""
    return "Waiting tasks:\n" + "\n".join(
        f"  {task.get_name()} waits in {_place(frames(task.get_coro()))}"
        for task in sorted(asyncio.all_tasks(), key=hash)
    )


def _place(stack: list[FrameType]) -> str:
    modules = [frame.f_globals.get("__name__", "") for frame in stack]
    theirs = [f for f, name in zip(stack, modules, strict=True) if not name.startswith(_NOT_THE_SCENARIO)]
    ours = [f for f, name in zip(stack, modules, strict=True) if not name.startswith(("anyio.", "asyncio."))]
    inner = (ours or stack)[-1].f_code.co_qualname
    if not theirs:
        return inner
    outer = f"{theirs[-1].f_code.co_qualname}, line {theirs[-1].f_lineno}"
    return outer if theirs[-1] is (ours or stack)[-1] else f"{outer}, for {inner}"
