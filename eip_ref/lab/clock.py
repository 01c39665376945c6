"""Virtual time: `simulate()` runs anyio code with a clock that jumps instead of waiting.

The clock is an asyncio loop that moves its time to the next timer when nothing else is ready. All else is
asyncio's own: tasks that are ready run first in, first out, and so do those that are due at one instant: who
began to wait first goes on first. So an hour takes milliseconds, and the same scenario and seed give the same
trace in every process.

*Left out:* threads, sockets, subprocesses and signals. Nothing but tasks and timers can wake a
task here, so waiting for anything else is a `Deadlock`.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import itertools
import math
import signal
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from types import CodeType, FrameType
from typing import Any
from weakref import WeakSet

from anyio._backends._asyncio import _task_states

try:
    import sniffio
except ModuleNotFoundError:  # anyio uses it where it is installed
    sniffio = None  # type: ignore[assignment]

from ..signal import alone
from ..trace import Trace, recording
from ..values import count, duration
from .crash import Life, begin_without_lives, bury, frames, lay_out

__all__ = [
    "Deadlock",
    "Runaway",
    "current_seed",
    "end_the_run",
    "in_simulation",
    "place",
    "simulate",
    "waits_elsewhere",
]

_INSTANT = 1e-9  #: seconds; what is due within them is due together, since sums of seconds are not exact
_MANY_TIMERS = 100  #: more of them are looked through when half of them are cancelled
_NEW_OBJECTS = 10_000  #: of a run, at which the garbage collector looks together; else they are 700

_seed: ContextVar[int | None] = ContextVar("seed", default=None)


class Deadlock(RuntimeError):
    """Every task waits and no timer is set: nothing can ever happen again."""


class Runaway(RuntimeError):
    """The scenario went past its bound on events or on virtual time."""


def current_seed() -> int | None:
    """The seed of the simulation that runs here, or None outside one."""
    return _seed.get()


def in_simulation() -> bool:
    """True for code that runs under virtual time."""
    return _seed.get() is not None


def end_the_run(ending: BaseException) -> bool:
    """End the simulation that runs here with this exception, where no task can catch it; False outside."""
    loop = asyncio._get_running_loop()
    if not isinstance(loop, VirtualLoop):
        return False
    loop.end(ending)
    return True


Told = Callable[[FrameType, str], list[str]]
_elsewhere: dict[CodeType, Told] = {}


def waits_elsewhere(function: Callable[..., Any], tell: Told) -> None:
    """Register a function that waits for what tasks of another process do.

    `tell` is given its frame and the name of the task here, and says in lines who waits where.
    """
    _elsewhere[function.__code__] = tell


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


class VirtualLoop(asyncio.BaseEventLoop):
    """A loop whose time jumps to the next timer when nothing is ready. It has no files and no selector."""

    _ready: deque[Any]  # asyncio's own, as are the next two
    _timer_cancelled_count: int
    _stopping: bool

    def __init__(self, turns: int, max_time: float = math.inf, dead: Collection[object] = ()) -> None:
        self.now = 0.0
        self.ending: BaseException | None = None  #: raised before the next turn
        self._left = self._turns = turns  # how many there may be
        self._max_time = max_time
        self._dead = dead
        self._numbers = itertools.count(1)
        self._timers: list[tuple[float, int, Any]] = []  # a heap; each with how many were set before
        self._set_before = itertools.count()
        self._to_cancel: dict[_Task, Any] = {}
        self._made: WeakSet[_Task] = WeakSet()
        super().__init__()
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        """One turn: all that is ready, or that is due. What becomes ready meanwhile runs in the next one."""
        if self.ending is not None:
            ending, self.ending = self.ending, None
            raise ending
        self._left -= 1
        if self._left < 0:
            self._left = self._turns  # for the tasks that now clean up
            self._runs_on()
        ready = self._ready
        if not ready and not self._stopping and (then := self.next_due()) > self.now:
            self._wait_until(then)
        if self.next_due() < self.now + _INSTANT:
            ready.extend(self._due())
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        timer: Any = asyncio.TimerHandle(when, callback, args, self, context)
        timer._scheduled = True  # asyncio counts such a one when it is cancelled
        heapq.heappush(self._timers, (when, next(self._set_before), timer))
        return timer  # type: ignore[no-any-return]

    def next_due(self) -> float:
        """The time of the next timer that is not cancelled; infinite when there is none."""
        timers = self._timers
        if len(timers) > _MANY_TIMERS and self._timer_cancelled_count > len(timers) / 2:
            timers[:] = (each for each in timers if not each[2]._cancelled)
            heapq.heapify(timers)
            self._timer_cancelled_count = 0
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
            self._timer_cancelled_count -= 1
        return timers[0][0] if timers else math.inf

    def _due(self) -> list[Any]:
        """Take the timers that are due, in the order in which they were set: no rounding error decides."""
        found, soon = list[tuple[int, Any]](), self.now + _INSTANT
        while self.next_due() < soon:
            _, number, timer = heapq.heappop(self._timers)
            timer._scheduled = False
            found.append((number, timer))
        return [timer for _, timer in sorted(found)]

    def _runs_on(self) -> None:
        raise Runaway(
            f"more than {self._turns:,} turns of the loop by {self.now:g} s of virtual time; "
            f"{_why_it_runs_on()}\n{_waiting()}"
        )

    def _wait_until(self, then: float) -> None:
        if then == math.inf:
            raise Deadlock(f"at {self.now:g} s every task waits and no timer is set.\n{_waiting()}")
        if then > self._max_time:
            raise Runaway(
                f"virtual time would pass its bound of {self._max_time:g} s; "
                f"end the scenario, or allow more with max_time.\n{_waiting()}"
            )
        self.now = then

    def _write_to_self(self) -> None:
        """It never sleeps, so nobody has to wake it."""

    def _left_out(self, *args: Any, **rest: Any) -> Any:
        raise Deadlock(
            "nothing but tasks and timers can wake a task in virtual time: here are no threads, "
            "sockets, processes or signals to wait for"
        )

    add_reader = add_writer = add_signal_handler = run_in_executor = _left_out  # type: ignore[assignment]
    create_connection = create_datagram_endpoint = create_server = _left_out
    create_unix_connection = subprocess_exec = subprocess_shell = _left_out

    def run(self, coro: Coroutine[Any, Any, None]) -> None:
        """Run `coro`; then cancel and close what it left behind, as `asyncio.run` does."""
        try:
            self.run_until_complete(coro)
        finally:
            if self.unfinished() or self._asyncgens:  # type: ignore[attr-defined]
                asyncio.Runner(loop_factory=lambda: self).__enter__().close()
            self.close()

    def end(self, ending: BaseException) -> None:
        """Stop with this exception before the next turn; the first one counts."""
        self.ending = self.ending or ending

    def unfinished(self) -> list[_Task]:
        """The tasks that have not ended, in the order in which they were made."""
        return sorted((task for task in self._made if not task.done()), key=hash)

    def forget(self) -> None:
        """Take all tasks from the lists that asyncio and anyio have of them.

        The first has a place for each hash, ours begin at 1 in each simulation, and the dead never leave it:
        so each would make all later simulations slower. The other one keeps who died in a cancel scope.
        """
        for task in self._made:
            asyncio._unregister_task(task)
            _task_states.pop(task, None)

    async def shutdown_asyncgens(self) -> None:
        # Closing the generators of a crashed participant would run code of the dead.
        if not self._dead:
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
        self._made.add(task)
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

    Works alike in a script, a test, a notebook cell and another simulation. The scenario sees the
    caller's context variables and changes none. `seed` is what `Faults()` inside the scenario draws
    from. What the scenario returns is the trace's `result`.

    Raises `Deadlock` when every task waits for ever, and `Runaway` past `max_events` (turns of the
    loop, or recorded events) or `max_time` (virtual seconds). An exception of the scenario comes
    out as itself, and so does the KeyboardInterrupt of a Ctrl-C. Each carries the trace so far in
    its attribute `trace`.
    """
    count("max_events", max_events)
    duration("max_time", max_time, infinite=True)
    return copy_context().run(_run, max_events, max_time, seed, scenario, args)


def _run(
    max_events: int,
    max_time: float,
    seed: int,
    scenario: Callable[..., Awaitable[Any]],
    args: tuple[Any, ...],
) -> Trace:
    _seed.set(seed)
    alone.set(True)
    loop = VirtualLoop(max_events, max_time, dead := begin_without_lives())
    result, raised = None, None

    async def main() -> None:
        nonlocal result
        asyncio.current_task().set_name("the scenario")  # type: ignore[union-attr]
        result = await scenario(*args)

    with recording(loop.time, limit=max_events, explain=_waiting) as recorder:
        try:
            with _set_aside(), _seldom_collected(), _interruptible(loop):
                loop.run(main())
        except BaseException as error:
            raised = error
    lay_out(dead)
    bury(task.get_coro() for task in loop.unfinished())  # those refused to be cancelled
    loop.forget()
    trace = Trace(recorder.events, seed=seed, result=result)
    if raised is not None:
        raised.trace = trace  # type: ignore[attr-defined]
        raise raised
    return trace


@contextmanager
def _set_aside() -> Iterator[None]:
    """Hide the loop and the task that run in this thread already, so that another loop can run here.

    In Python 3.14 the current task belongs to the thread, before that to its loop. So it leaves while
    its loop still runs, and enters when that runs again: which is right for both.
    """
    loop = asyncio._get_running_loop()
    task = asyncio.current_task() if loop else None
    library = sniffio.thread_local.name if sniffio else None
    if loop and task:
        asyncio.tasks._leave_task(loop, task)
    asyncio._set_running_loop(None)
    if sniffio:
        sniffio.thread_local.name = None
        sniffio.current_async_library_cvar.set("asyncio")
    try:
        yield
    finally:
        if sniffio:
            sniffio.thread_local.name = library
        asyncio._set_running_loop(loop)
        if loop and task:
            asyncio.tasks._enter_task(loop, task)


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Have the garbage collector look for cycles after more new objects than usual: a run makes few cycles,
    but facts that stay, and where several traces are kept each look at all of them takes long.
    """
    before, *older = gc.get_threshold()
    gc.set_threshold(max(before, _NEW_OBJECTS) if before else 0, *older)
    try:
        yield
    finally:
        gc.set_threshold(before, *older)


@contextmanager
def _interruptible(loop: VirtualLoop) -> Iterator[None]:
    """Ctrl-C ends the run between two turns of the loop, where no task can catch it; the next, at once."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        loop.ending = KeyboardInterrupt()
        if before is not signal.default_int_handler:
            before(number, frame)

    before: Any = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield  # nobody listens to Ctrl-C here
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if loop.ending is not None:  # it came after the last turn
            raise loop.ending


def _why_it_runs_on() -> str:
    """The likely reason for turns without end. anyio delivers no cancellation to a task that begins later."""
    for task in sorted(asyncio.all_tasks(), key=hash):
        if any(frame.f_code.co_name == "checkpoint_if_cancelled" for frame in frames(task.get_coro())):
            return (
                f"{task.get_name()} was started by a shielded task in a group that is cancelled already, "
                "and spins there; start it in a task group inside the shield."
            )
    return "is there a loop without a sleep, or without an end?"


def _waiting() -> str:
    """The tasks that wait, each with the line of the scenario at which it does."""
    lines = (line for task in sorted(asyncio.all_tasks(), key=hash) for line in _lines(task))
    return "Waiting tasks:\n" + "\n".join(f"  {line}" for line in lines)


def _lines(task: asyncio.Task[Any]) -> list[str]:
    for frame in reversed(frames(task.get_coro())):
        tell = _elsewhere.get(frame.f_code)
        if tell and (told := tell(frame, task.get_name())):
            return told
    return [f"{task.get_name()} waits in {place(task.get_coro())}"]


def place(coro: Any) -> str:
    """The line of the scenario at which a coroutine waits, and the call of the library that does."""
    stack = frames(coro)
    modules = [frame.f_globals.get("__name__", "") for frame in stack]
    theirs = [f for f, name in zip(stack, modules, strict=True) if not name.startswith(_NOT_THE_SCENARIO)]
    ours = [f for f, name in zip(stack, modules, strict=True) if not name.startswith(("anyio.", "asyncio."))]
    if not theirs:
        return (ours or stack)[-1].f_code.co_qualname
    outer = f"{theirs[-1].f_code.co_qualname}, line {theirs[-1].f_lineno}"
    called = ours[ours.index(theirs[-1]) + 1 :]
    return f"{outer}, for {called[0].f_code.co_qualname}" if called else outer
